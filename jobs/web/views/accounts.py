"""The first account, signing in, changing one's password."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth import login as sign_in
from django.contrib.auth import views as auth_views
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse_lazy
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from ...models import Installation
from ..forms.people import AccountForm, ChangePasswordForm, SignInForm
from ..middleware import needs_set_up


@sensitive_post_parameters("password1", "password2")
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def setup(request: HttpRequest) -> HttpResponse:
    if not needs_set_up():
        return redirect("jobs")
    form = AccountForm(request.POST or None)
    if form.is_valid():
        user = _make_first_account(form)
        if user is None:
            messages.info(request, "Somebody else made the first account a moment ago. Sign in.")
            return redirect("login")
        sign_in(request, user)
        return redirect("jobs")
    return render(request, "accounts/setup.html", {"form": form})


@transaction.atomic
def _make_first_account(form: AccountForm) -> User | None:
    """The administrator; None when another request made one first."""
    won = Installation.row().filter(set_up_at=None).update(set_up_at=timezone.now())
    return form.make(administrator=True) if won else None


login = auth_views.LoginView.as_view(
    template_name="accounts/login.html",
    authentication_form=SignInForm,
    redirect_authenticated_user=True,
)
logout = auth_views.LogoutView.as_view(next_page=reverse_lazy("login"))


class _PasswordView(auth_views.PasswordChangeView):
    template_name = "accounts/password.html"
    form_class = ChangePasswordForm
    success_url = reverse_lazy("password")

    def form_valid(self, form: ChangePasswordForm) -> HttpResponse:  # type: ignore[override]  # its form
        messages.success(self.request, "Your password was changed.")
        return super().form_valid(form)


password = _PasswordView.as_view()
