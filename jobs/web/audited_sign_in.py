"""Changes of how a person signs in, each in one transaction with its record in the audit log.

django-allauth makes the changes in its own views, and says so afterwards. So its views are wrapped:
what the person has before and after is compared.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse

from ..models import audit

View = Callable[..., HttpResponse]
Way = tuple[str, int]  # its kind and its number
ADDED = {
    "totp": "two_factor_added",
    "recovery_codes": "recovery_codes_created",
    "webauthn": "passkey_added",
    "single_sign_on": "single_sign_on_linked",
}
REMOVED = {
    "totp": "two_factor_removed",
    "webauthn": "passkey_removed",
    "single_sign_on": "single_sign_on_unlinked",
}


def ways_of(user: User) -> set[Way]:
    """What `user` can sign in with, beside the password."""
    found = Authenticator.objects.filter(user=user).values_list("type", "pk")
    linked = SocialAccount.objects.filter(user=user).values_list("pk", flat=True)
    return {(str(kind), pk) for kind, pk in found} | {("single_sign_on", pk) for pk in linked}


def audited(view: View) -> View:
    """`view`, whose POST may change how the person signs in."""

    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method != "POST" or not request.user.is_authenticated:
            return view(request, *args, **kwargs)
        user = request.user
        with transaction.atomic():
            User.objects.select_for_update().get(pk=user.pk)  # two changes at once are two records
            before = ways_of(user)
            answer = view(request, *args, **kwargs)
            after = ways_of(user)
            for way in sorted(after - before):
                audit.record(ADDED[way[0]], who=user)
            for way in sorted(before - after):
                if event := REMOVED.get(way[0]):
                    audit.record(event, who=user)
        return answer

    return wrapped
