"""Signing in, passwords, invitations, roles and teams."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth import authenticate
from django.contrib.auth import forms as auth_forms
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest

from ...models import Access, Role, Team, is_reserved_name
from .styled import StyledField, StyledForm

# --- Accounts -------------------------------------------------------------------------------------


class SignInForm(auth_forms.AuthenticationForm):
    bound_field_class = StyledField
    error_messages = {
        "invalid_login": "Wrong user name or password. Capital letters matter in both.",
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
        say_rules(self.fields["password1"], self.fields["password2"])

    def clean_username(self) -> str:
        name: str = super().clean_username()  # None if somebody has it
        if name and is_reserved_name(name):
            raise forms.ValidationError("Names like this are for erased accounts. Choose another.")
        return name

    def make(self, *, administrator: bool) -> User:
        """The account, stored."""
        user: User = self.save(commit=False)
        user.is_superuser = user.is_staff = administrator
        user.save()
        return user


class InvitedForm(AccountForm):
    """The account of a person who was invited."""


class ChangePasswordForm(auth_forms.PasswordChangeForm):
    bound_field_class = StyledField

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request = request
        say_rules(self.fields["new_password1"], self.fields["new_password2"])

    def clean_old_password(self) -> str:
        """Checked as at a sign-in, so that wrong ones are counted: see sign_in_limits.py."""
        given: str = self.cleaned_data["old_password"]
        found = authenticate(self.request, username=self.user.username, password=given)
        if found is None or found.pk != self.user.pk:
            raise forms.ValidationError("Wrong password. Capital letters matter.")
        return given


def say_rules(first: forms.Field, again: forms.Field) -> None:
    """AUTH_PASSWORD_VALIDATORS in one sentence instead of a list."""
    first.help_text = "At least 8 characters, not only digits, and not a common password."
    again.help_text = ""


# --- Invitations, people and teams ----------------------------------------------------------------


class InviteForm(StyledForm):
    mail = forms.EmailField(
        label="Email address",
        required=False,
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "off"}),
    )
    role = forms.ChoiceField(choices=Role.choices, initial=Role.MEMBER)
    teams = forms.ModelMultipleChoiceField(
        Team.objects.all(), required=False, widget=forms.CheckboxSelectMultiple
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["mail"].help_text = (
            "We send the link to it."
            if settings.HAS_MAIL
            else "Optional. Email is not set up here, so you get the link to copy."
        )
        self.fields["role"].help_text = (
            "Members send jobs. Approvers also approve others’ jobs. Administrators do everything. "
            "Auditors only read."
        )

    def clean_mail(self) -> str:
        mail: str = self.cleaned_data["mail"]
        if mail and User.objects.filter(email__iexact=mail).exists():
            raise forms.ValidationError("A person with this email address has an account.")
        return mail


class RoleForm(StyledForm):
    role = forms.ChoiceField(choices=Role.choices)


class NewOwnerForm(StyledForm):
    """Who gets the jobs of a person; empty: nobody."""

    new_owner = forms.ModelChoiceField(
        User.objects.none(), required=False, label="New owner", empty_label="Keep the current owner"
    )

    def __init__(self, person: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        others = User.objects.filter(is_active=True).exclude(pk=person.pk).order_by("username")
        others = others.exclude(profile__role=Role.AUDITOR)
        self.fields["new_owner"] = forms.ModelChoiceField(
            others, required=False, label="New owner", empty_label="Keep the current owner"
        )


class TeamForm(StyledForm):
    name = forms.CharField(max_length=100)
    most_a_month = forms.DecimalField(
        label="Limit per month, in dollars",
        required=False,
        min_value=Decimal(0),
        max_digits=12,
        decimal_places=2,
        help_text="For all jobs of the team together. Empty: no limit.",
    )
    people = forms.ModelMultipleChoiceField(
        User.objects.filter(is_active=True).order_by("username"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )


class ShareForm(StyledForm):
    """With which team a job or template is shared, and what its people may do."""

    team = forms.ModelChoiceField(Team.objects.none(), required=False, empty_label="No team")
    team_access = forms.ChoiceField(
        label="They can", choices=Access.choices, widget=forms.RadioSelect, initial=Access.READ
    )

    def __init__(self, teams: QuerySet[Team], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["team"] = forms.ModelChoiceField(
            teams, required=False, empty_label="No team", label="Team"
        )
