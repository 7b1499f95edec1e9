"""Forms of django-allauth in this site's words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from allauth.account import forms as account
from allauth.mfa.base import forms as two_factor
from allauth.mfa.models import Authenticator
from allauth.mfa.totp import forms as totp
from allauth.mfa.webauthn import forms as passkeys
from django import forms
from django.contrib.auth.models import User
from django.http import HttpRequest

from ...models import audit, outbox
from .people import say_rules
from .styled import StyledField, StyledForm

TOO_MANY = ("too_many_login_attempts", "rate_limited")  # codes of allauth's errors


class _Worded:
    """Our labels and controls: allauth's have placeholders that say the same once more."""

    bound_field_class = StyledField
    labels: dict[str, str] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, forms.Field] = self.fields  # type: ignore[attr-defined]  # of a form
        for name, field in fields.items():
            field.widget.attrs.pop("placeholder", None)
            field.help_text = ""
            field.label = self.labels.get(name, field.label)


@contextmanager
def _failure_recorded(event: str, user: User | None, by: User | None = None) -> Iterator[None]:
    """Add a refusal to the audit log, without what was given. After too many, which is what ends
    the guessing, nothing more is added. What is no passkey at all is refused, too."""
    try:
        try:
            yield
        except (LookupError, TypeError, ValueError) as error:  # of the library for passkeys
            raise forms.ValidationError("Wrong passkey. Try again.") from error
    except forms.ValidationError as error:
        if error.code not in TOO_MANY:
            audit.record(event, who=by, target=audit.person(user) if user else "")
        raise


class ForgottenPasswordForm(_Worded, account.ResetPasswordForm):
    labels = {"email": "Email address"}

    def clean_email(self) -> str:
        """Nobody is looked for: the worker does that, so that the time a page takes tells nobody
        who has an account."""
        return str(self.cleaned_data["email"])

    def save(self, request: HttpRequest, **kwargs: Any) -> str:
        email: str = self.cleaned_data["email"]
        outbox.post_reset(email, request.build_absolute_uri("/").rstrip("/"))
        return email


class NewPasswordForm(_Worded, account.ResetPasswordKeyForm):
    labels = {"password1": "New password", "password2": "Repeat the new password"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        say_rules(self.fields["password1"], self.fields["password2"])

    def clean(self) -> dict[str, Any]:
        found: dict[str, Any] = super().clean() or {}
        if "password2" in self.errors:
            del self.errors["password2"]
            self.add_error("password2", "The two passwords differ.")
        return found


class ReauthenticateForm(_Worded, account.ReauthenticateForm):
    labels = {"password": "Password"}


class CodeForm(_Worded, two_factor.AuthenticateForm):
    labels = {"code": "Code"}

    def clean_code(self) -> str:
        with _failure_recorded("second_step_failed", self.user):
            return str(super().clean_code())


class CodeAgainForm(_Worded, two_factor.ReauthenticateForm):
    labels = {"code": "Code"}

    def clean_code(self) -> str:
        with _failure_recorded("second_step_not_confirmed", self.user, by=self.user):
            return str(super().clean_code())


class PasskeyForm(passkeys.AuthenticateWebAuthnForm):
    def clean_credential(self) -> Authenticator:
        with _failure_recorded("second_step_failed", self.user):
            return super().clean_credential()


class PasskeyAgainForm(passkeys.ReauthenticateWebAuthnForm):
    def clean_credential(self) -> Authenticator:
        with _failure_recorded("second_step_not_confirmed", self.user, by=self.user):
            return super().clean_credential()


class PasskeySignInForm(passkeys.LoginWebAuthnForm):
    def clean_credential(self) -> Authenticator:
        """Whose passkey it is says only what was given, so nobody is named."""
        with _failure_recorded("passkey_refused", None):
            return super().clean_credential()


class ActivateAppForm(_Worded, totp.ActivateTOTPForm):
    labels = {"code": "Code that the app shows"}


class AddPasskeyForm(_Worded, passkeys.AddWebAuthnForm):
    labels = {"name": "Name", "passwordless": "Sign in with it instead of a password"}


class RenamePasskeyForm(_Worded, passkeys.EditWebAuthnForm):
    labels = {"name": "Name"}


class MailForm(StyledForm):
    mail = forms.EmailField(
        label="Email address",
        required=False,
        max_length=254,
        help_text="You can sign in with it.",
        widget=forms.EmailInput(attrs={"autocomplete": "email"}),
    )

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user

    def clean_mail(self) -> str:
        mail: str = self.cleaned_data["mail"]
        others = User.objects.exclude(pk=self.user.pk).filter(email__iexact=mail)
        if mail and others.exists():
            raise forms.ValidationError("Another person has this email address.")
        return mail
