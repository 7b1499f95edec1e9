"""Entering the API key of the site."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db import transaction

from ..models import api_key, audit, key_fingerprint
from ..provider import client
from ..provider.errors import ProviderError, Refused, Unreachable


class KeyRefused(Exception):
    """The key was not stored. The text says why."""


def change(user: User, key: str) -> None:
    """Test a key and store it; web and worker use it from now on, unless this is practice mode.
    Raises KeyRefused."""
    try:
        client.check_key(key)
    except Refused as error:
        if error.status in (401, 403):
            raise KeyRefused("Anthropic does not accept this key. Copy it again.") from None
        if not error.is_rate_limit and not error.is_about_billing:
            raise KeyRefused(f"Anthropic refused the test with status {error.status}.") from None
    except Unreachable as error:
        raise KeyRefused(f"{error} Nothing was changed.") from None
    except ProviderError:
        raise KeyRefused("Anthropic did not answer. Nothing was changed. Try again.") from None
    before = key_fingerprint()
    with transaction.atomic():
        try:
            api_key.store(key)
        except OSError:
            raise KeyRefused("The key could not be written to DATA_DIR.") from None
        audit.record(
            "api_key_changed",
            who=user,
            before={"fingerprint": before},
            after={"fingerprint": key_fingerprint()},
        )
