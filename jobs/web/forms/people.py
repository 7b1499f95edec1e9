"""Signing in, accounts and passwords."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth import forms as auth_forms
from django.contrib.auth.models import User

from .styled import StyledField

# --- Accounts -------------------------------------------------------------------------------------


class SignInForm(auth_forms.AuthenticationForm):
    bound_field_class = StyledField
    error_messages = {
        "invalid_login": "The user name and the password do not go together. Check both; capital "
        "and small letters count.",
    }


# The forms below are generic in the stubs only: at run time they take no type in brackets.
class AccountForm(auth_forms.UserCreationForm):  # type: ignore[type-arg]  # as Django has it
    """User name and password of a new account."""

    bound_field_class = StyledField

    class Meta:
        model = User
        fields = ("username",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].help_text = "Letters, digits and . + - _ @"
        self.fields["username"].widget.attrs.pop("autofocus", None)
        _say_rules(self.fields["password1"], self.fields["password2"])

    def make(self, *, administrator: bool) -> User:
        """The account, stored."""
        user: User = self.save(commit=False)
        user.is_superuser = user.is_staff = administrator
        user.save()
        return user


class NewPersonForm(AccountForm):
    administrator = forms.BooleanField(
        required=False,
        help_text="Sees everybody's jobs and can add people.",
    )


class ChangePasswordForm(auth_forms.PasswordChangeForm):
    bound_field_class = StyledField

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _say_rules(self.fields["new_password1"], self.fields["new_password2"])


class SetPasswordForm(auth_forms.SetPasswordForm):  # type: ignore[type-arg]  # as Django has it
    bound_field_class = StyledField

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _say_rules(self.fields["new_password1"], self.fields["new_password2"])


def _say_rules(first: forms.Field, again: forms.Field) -> None:
    """AUTH_PASSWORD_VALIDATORS in one sentence instead of a list."""
    first.help_text = "At least 8 characters; not only digits, and not one that many people use."
    again.help_text = ""
