"""A person's own account: mail address, sessions, and the ways to sign in."""

from __future__ import annotations

from allauth.account.decorators import reauthentication_required
from allauth.mfa.base.views import IndexView
from allauth.mfa.utils import is_mfa_enabled
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from ...actions import people
from ...models import audit, role_of
from ..account_middleware import lacks_two_factor
from ..forms.accounts import MailForm
from .access import person


@require_safe
def account(request: HttpRequest) -> HttpResponse:
    user = person(request)
    context = {
        "role": role_of(user).label,
        "teams": user.memberships.select_related("team").order_by("team__name"),
        "has_two_factor": is_mfa_enabled(user, types=["totp", "webauthn"]),
        "has_password": user.has_usable_password(),
        "single_sign_on": settings.OIDC_NAME if settings.HAS_SSO else "",
        "is_linked": SocialAccount.objects.filter(user=user).exists(),
    }
    return render(request, "accounts/account.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@reauthentication_required
def mail(request: HttpRequest) -> HttpResponse:
    """Who can read this mail can reset the password, so the password is asked for first."""
    user = person(request)
    form = MailForm(user, request.POST or None, initial={"mail": user.email})
    if form.is_valid():
        with transaction.atomic():
            User.objects.filter(pk=user.pk).update(email=form.cleaned_data["mail"])
            audit.record("mail_changed", who=user, target=audit.person(user))
        messages.success(request, "Email address saved.")
        return redirect("account")
    return render(request, "accounts/mail.html", {"form": form})


class _TwoFactorView(IndexView):
    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        required = lacks_two_factor(self.request, person(self.request))
        return {**super().get_context_data(**kwargs), "two_factor_is_required": required}


two_factor = _TwoFactorView.as_view()


@require_http_methods(["GET", "HEAD", "POST"])
def sessions(request: HttpRequest) -> HttpResponse:
    """POST ends the session with the number `session`, or all others. What is left of sessions that
    have ended is removed by housekeeping."""
    user, here = person(request), request.session.session_key or ""
    theirs = UserSession.objects.filter(user=user)
    if request.method != "POST":
        signed_in = Session.objects.filter(expire_date__gt=timezone.now())
        found = sorted(
            theirs.filter(session_key__in=signed_in.values("session_key")),
            key=lambda one: (one.session_key != here, -one.last_seen_at.timestamp()),
        )
        shown = [(one, device_of(one.user_agent), one.session_key == here) for one in found]
        return render(request, "accounts/sessions.html", {"sessions": shown})
    if pk := request.POST.get("session", ""):
        others = theirs.exclude(session_key=here)
        get_object_or_404(others, pk=int(pk) if pk.isdecimal() and len(pk) < 19 else 0).end()
        messages.success(request, "That device is signed out.")
    else:
        people.end_sessions(user, keep=here)
        messages.success(request, "All other devices are signed out.")
    audit.record("sessions_ended", who=user, target=audit.person(user))
    return redirect("usersessions_list")


BROWSERS = ("Edg", "OPR", "Firefox", "Chrome", "Safari")
NAMES = {"Edg": "Edge", "OPR": "Opera"}
SYSTEMS = ("Android", "iPhone", "iPad", "Windows", "Mac OS X", "Linux")


def device_of(user_agent: str) -> str:
    """ "Firefox on Linux" """
    browser = next((name for name in BROWSERS if name in user_agent), "")
    system = next((name for name in SYSTEMS if name in user_agent), "")
    words = [NAMES.get(browser, browser) or "A browser", system.removesuffix(" OS X")]
    return " on ".join(word for word in words if word)
