"""What django-allauth asks this site: who may come in, what it says, and how it stores secrets."""

from __future__ import annotations

import logging
from typing import Any, NoReturn

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialAccount, SocialLogin
from cryptography.fernet import Fernet
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest
from django.shortcuts import redirect, render
from django.template.loader import render_to_string

from ..actions import invitations, people
from ..models import audit, is_reserved_name, outbox
from ..models.encryption import cipher
from .middleware import client_address
from .views.access import person

logger = logging.getLogger(__name__)

SAID = {
    "incorrect_code": "Wrong code. Enter the code that your app shows now.",
    "incorrect_password": "Wrong password. Capital letters matter.",
    "invalid_password_reset": "This link no longer works. Ask for a new one.",
    "too_many_login_attempts": "Too many wrong codes. Wait five minutes, then try again.",
    "rate_limited": "Too many wrong codes. Wait five minutes, then try again.",
    "cannot_delete_authenticator": "Your administrator requires two-factor sign-in.",
    "cannot_generate_recovery_codes": "Add an app or a passkey first.",
    "connected_other": "That account is already linked to another person here.",
    "no_password": "You have no password here, so this is your only way to sign in.",
}
# What to say for the templates that allauth names.
NOTICES = {
    "mfa/messages/totp_activated.txt": "App added. You need its code when you sign in.",
    "mfa/messages/totp_deactivated.txt": "App removed.",
    "mfa/messages/recovery_codes_generated.txt": "New recovery codes created.",
    "mfa/messages/webauthn_added.txt": "Passkey added.",
    "mfa/messages/webauthn_removed.txt": "Passkey removed.",
    "socialaccount/messages/account_connected.txt": "Account linked.",
    "socialaccount/messages/account_connected_updated.txt": "Account linked.",
    "socialaccount/messages/account_connected_other.txt": SAID["connected_other"],
    "socialaccount/messages/account_disconnected.txt": "Account no longer linked.",
}
# Made while the provider answers, so it is recorded after it; other changes: audited_sign_in.py.
LINKED = "socialaccount/messages/account_connected.txt"
REFUSED = "Wrong code, or it has expired. Try again."


class AccountAdapter(DefaultAccountAdapter):
    error_messages = {
        name: SAID.get(name, REFUSED) for name in DefaultAccountAdapter.error_messages
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def generate_unique_username(self, txts: list[str | None], regex: str | None = None) -> str:
        """Of who comes by single sign-on for the first time."""
        name: str = super().generate_unique_username(txts, regex)
        if is_reserved_name(name):
            name = super().generate_unique_username(["user"], regex)
        return name

    def get_client_ip(self, request: HttpRequest) -> str:
        return client_address(request) or "127.0.0.1"

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Wrong passwords are counted where people sign in, not here."""

    def set_password(self, user: User, password: str) -> None:
        """By a reset link."""
        with transaction.atomic():
            super().set_password(user, password)
            people.end_sessions(user)
            audit.record("password_reset", who=user, target=audit.person(user))

    def add_message(
        self,
        request: HttpRequest,
        level: int,
        message_template: str | None = None,
        message_context: dict[str, Any] | None = None,
        extra_tags: str = "",
        message: str | None = None,
    ) -> None:
        """Say it in our words; what has none is not said."""
        name = message_template or ""
        if name == LINKED:
            audit.record("single_sign_on_linked", who=person(request))
        if text := NOTICES.get(name) or message:
            messages.add_message(request, level, text)

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """The worker sends it."""
        subject = render_to_string(f"{template_prefix}_subject.txt", context).strip()
        text = render_to_string(f"{template_prefix}_message.txt", context).strip()
        outbox.post_mail(email, subject, text)

    def respond_user_inactive(self, request: HttpRequest, user: User) -> Any:
        audit.record("deactivated_refused", target=audit.person(user))
        return redirect("account_inactive")


class MFAAdapter(DefaultMFAAdapter):
    error_messages = {name: SAID.get(name, REFUSED) for name in DefaultMFAAdapter.error_messages}

    def encrypt(self, text: str) -> str:
        return _cipher().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return _cipher().decrypt(encrypted_text.encode()).decode()

    def generate_authenticator_name(self, user: User, type: Authenticator.Type) -> str:
        count = Authenticator.objects.filter(user=user, type=type).count()
        return f"Passkey {count + 1}"


def _cipher() -> Fernet:
    """Secrets of authenticator apps are stored encrypted, by a key of this site."""
    return cipher("batchsite two-factor")


class SingleSignOnAdapter(DefaultSocialAccountAdapter):
    """A person is known by the issuer's `sub` only. Mail addresses link nobody."""

    error_messages = {
        name: SAID.get(name, "Single sign-on failed.")
        for name in DefaultSocialAccountAdapter.error_messages
    }

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        found = sociallogin.account.extra_data
        id_token, userinfo = found.get("id_token") or {}, found.get("userinfo") or {}
        if not id_token or userinfo.get("sub", id_token["sub"]) != id_token["sub"]:
            refuse(request, "failed")
        sociallogin.email_addresses = []
        # What is stored of it: nothing but the name that the page of linked accounts shows.
        name = userinfo.get("preferred_username") or id_token.get("preferred_username") or ""
        groups = groups_of(userinfo) | groups_of(id_token)
        sociallogin.account.extra_data = {"sub": id_token["sub"], "name": str(name)[:150]}
        if sociallogin.is_existing:  # allauth has stored all of it
            stored = SocialAccount.objects.filter(pk=sociallogin.account.pk)
            stored.update(extra_data=sociallogin.account.extra_data)
        allowed = {*settings.OIDC_ALLOWED_GROUPS, *people.role_groups()}
        is_allowed = bool(groups & allowed)
        invitation = invitations.find(request.session.get("invitation", ""))
        if settings.OIDC_ALLOWED_GROUPS and not is_allowed:
            refuse(request, "not_allowed")
        if sociallogin.is_existing:
            people.take_role_from_groups(sociallogin.user, groups)
        elif sociallogin.state.get("process") != "connect" and not (is_allowed or invitation):
            refuse(request, "not_invited")
        request.single_sign_on_allowed = is_allowed  # type: ignore[attr-defined]  # for save_user
        request.single_sign_on_groups = groups  # type: ignore[attr-defined]  # for save_user

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        return True  # pre_social_login has refused those who may not

    def populate_user(self, request: HttpRequest, sociallogin: SocialLogin, data: Any) -> User:
        user: User = super().populate_user(request, sociallogin, data)
        if user.email and User.objects.filter(email__iexact=user.email).exists():
            user.email = ""
        return user

    def save_user(self, request: HttpRequest, sociallogin: SocialLogin, form: Any = None) -> User:
        """A new person: by an invitation, or by their groups."""
        with transaction.atomic():
            user: User = super().save_user(request, sociallogin, form)
            audit.record("person_added", who=user, target=audit.person(user))
            token = request.session.pop("invitation", "")
            invited = bool(token) and invitations.take(token, user)
            # It may have been used or withdrawn since pre_social_login looked at it.
            comes_in = invited or request.single_sign_on_allowed  # type: ignore[attr-defined]
            if comes_in:
                people.take_role_from_groups(user, request.single_sign_on_groups)  # type: ignore[attr-defined]
            else:
                transaction.set_rollback(True)
        if not comes_in:
            refuse(request, "not_invited")
        return user

    def get_connect_redirect_url(self, request: HttpRequest, socialaccount: Any) -> str:
        return "/account/"

    def on_authentication_error(
        self,
        request: HttpRequest,
        provider: Any,
        error: Any = None,
        exception: Exception | None = None,
        extra_context: Any = None,
    ) -> None:
        if error != "cancelled":
            refuse(request, "failed")


def groups_of(claims: dict[str, Any]) -> set[str]:
    groups = claims.get(settings.OIDC_GROUPS_CLAIM) or []
    return {groups} if isinstance(groups, str) else {str(group) for group in groups}


def refuse(request: HttpRequest, why: str) -> NoReturn:
    """In a page. On record only after the provider has said who it is: strangers fill no log."""
    logger.warning("Single sign-on refused: %s", why)
    if why != "failed":
        audit.record("single_sign_on_refused", after={"why": why})
    page = render(request, "socialaccount/refused.html", {"why": why}, status=403)
    raise ImmediateHttpResponse(page)
