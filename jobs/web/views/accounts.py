"""The first account, signing in and out, passwords, and accepting an invitation."""

from __future__ import annotations

import logging
from typing import Any

from allauth.account.adapter import get_adapter
from allauth.account.decorators import reauthentication_required
from allauth.account.internal.flows.login import perform_password_login
from allauth.account.models import Login
from allauth.account.views import PasswordResetView
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import views as auth_views
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse_lazy
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_safe
from requests import RequestException

from ...actions import first_account, invitations, people
from ...models import Installation, audit
from .. import openid_connect
from ..first_visit import is_for_this_machine, may_set_up
from ..forms.people import AccountForm, ChangePasswordForm, InvitedForm, SignInForm
from ..middleware import TIME_ZONE_SESSION

logger = logging.getLogger(__name__)


@sensitive_post_parameters("password1", "password2")
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def setup(request: HttpRequest) -> HttpResponse:
    if not first_account.is_missing():
        return redirect("jobs")
    if not may_set_up(request):
        is_local = is_for_this_machine()
        return render(request, "accounts/setup_link.html", {"is_local": is_local}, status=403)
    form = AccountForm(request.POST or None)
    if form.is_valid():
        user = _make_first_account(form)
        if user is None:
            messages.info(request, "Someone else created the first account a moment ago. Sign in.")
            return redirect("login")
        get_adapter().login(request, user)
        remember_time_zone(request)
        return redirect("jobs")
    return render(request, "accounts/setup.html", {"form": form})


@transaction.atomic
def _make_first_account(form: AccountForm) -> User | None:
    """The administrator; None when another request made one first."""
    won = Installation.row().filter(set_up_at=None).update(set_up_at=timezone.now())
    if not won:
        return None
    user = form.make(administrator=True)
    after: dict[str, str | int | bool | None] = {"role": "administrator"}
    audit.record("person_added", who=user, target=audit.person(user), after=after)
    return user


class _SignInView(auth_views.LoginView):
    template_name = "accounts/login.html"
    authentication_form = SignInForm
    redirect_authenticated_user = True

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        """django-allauth asks for the second factor, if there is one, and signs in."""
        remember_time_zone(self.request)
        given = {"username": form.cleaned_data["username"]}
        login = Login(user=form.get_user(), redirect_url=self.get_success_url())
        answer: HttpResponse = perform_password_login(self.request, given, login)
        return answer

    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        sso = settings.OIDC_NAME if settings.HAS_SSO else ""
        return {**super().get_context_data(**kwargs), "single_sign_on": sso}


def remember_time_zone(request: HttpRequest) -> None:
    """What the page wrote into its hidden field, for a browser that does not keep the cookie."""
    request.session[TIME_ZONE_SESSION] = request.POST.get("time_zone", "")[:100]


class _SignOutView(auth_views.LogoutView):
    next_page = "login"

    def post(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        if request.user.is_authenticated:
            audit.record("signed_out", who=request.user)
        return super().post(request, *args, **kwargs)


login = _SignInView.as_view()
logout = _SignOutView.as_view()


class _PasswordView(auth_views.PasswordChangeView):
    template_name = "accounts/password.html"
    form_class = ChangePasswordForm
    success_url = reverse_lazy("password")

    def get_form_kwargs(self) -> dict[str, Any]:
        return {"request": self.request, **super().get_form_kwargs()}

    def form_valid(self, form: ChangePasswordForm) -> HttpResponse:  # type: ignore[override]  # its form
        """Every other session ends; this one gets another key."""
        user: User = form.user
        before = self.request.session.session_key
        with transaction.atomic():
            answer = super().form_valid(form)
            here = self.request.session.session_key or ""
            UserSession.objects.filter(user=user, session_key=before).update(session_key=here)
            people.end_sessions(user, keep=here)
            audit.record("password_changed", who=user, target=audit.person(user))
        messages.success(self.request, "Your password was changed.")
        return answer


password = _PasswordView.as_view()


@require_safe
def inactive(request: HttpRequest) -> HttpResponse:
    messages.error(request, "Your account is deactivated. Ask an administrator.")
    return redirect("login")


@require_safe
def single_sign_on_canceled(request: HttpRequest) -> HttpResponse:
    messages.info(request, "You are not signed in. Single sign-on was canceled.")
    return redirect("login")


class _ForgottenView(PasswordResetView):
    """A link by mail; without mail, who to ask."""

    def dispatch(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        if not settings.HAS_MAIL:
            return render(request, "account/password_reset.html")
        answer: HttpResponse = super().dispatch(request, *args, **kwargs)
        return answer


forgotten = _ForgottenView.as_view()


@sensitive_post_parameters("password1", "password2")
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """GET asks for a user name and a password; POST makes the account, once."""
    found = invitations.find(token)
    if request.user.is_authenticated:
        messages.info(request, "You are signed in. Sign out first to accept an invitation.")
        return redirect("jobs")
    if found is None:
        return render(request, "accounts/invitation_over.html", status=410)
    sso = settings.OIDC_NAME if settings.HAS_SSO else ""
    if sso:
        request.session["invitation"] = token  # for who goes on to single sign-on
    form = InvitedForm(request.POST or None)
    if form.is_valid():
        user = _make_invited_account(form, token, found.mail)
        if user is None:
            return render(request, "accounts/invitation_over.html", status=410)
        get_adapter().login(request, user)
        remember_time_zone(request)
        return redirect("jobs")
    context = {"form": form, "invitation": found, "single_sign_on": sso}
    return render(request, "accounts/invitation.html", context)


def _make_invited_account(form: InvitedForm, token: str, mail: str) -> User | None:
    """None when the invitation was used up or withdrawn meanwhile."""
    with transaction.atomic():
        user = form.make(administrator=False)
        if not invitations.take(token, user):
            transaction.set_rollback(True)
            return None
        if mail and not User.objects.filter(email__iexact=mail).exists():
            User.objects.filter(pk=user.pk).update(email=mail)
        audit.record("person_added", who=user, target=audit.person(user))
    return User.objects.get(pk=user.pk)


def _links(request: HttpRequest) -> bool:
    return request.GET.get("process") == "connect"


@require_safe
@reauthentication_required(app="allauth.socialaccount", enabled=_links)
def single_sign_on(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Lead to the provider; say so when it cannot be reached. Who links another account gives the
    password first."""
    try:
        answer: HttpResponse = openid_connect.login(request, provider_id)
    except (RequestException, OAuth2Error, KeyError, ValueError) as error:
        logger.error("Single sign-on cannot be started: %s", type(error).__name__)
        return render(request, "socialaccount/refused.html", {"why": "failed"}, status=403)
    return answer
