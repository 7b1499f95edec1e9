"""The link with which the first account is made. The token in it is stored as a hash only, and is
good until there is an account."""

from __future__ import annotations

import hashlib
import secrets

from django.contrib.auth.models import User

from ..models import Installation


def is_missing() -> bool:
    """Is there no account yet? One made on the command line counts."""
    return Installation.get().set_up_at is None and not User.objects.exists()


def make_token() -> str:
    """A new token, in place of an earlier one; "" when there is an account."""
    token = secrets.token_urlsafe(24)
    if not is_missing():
        return ""
    made = Installation.row().filter(set_up_at=None).update(set_up_token=_hash(token))
    return token if made else ""


def is_token(text: str) -> bool:
    """Whether this token was made last."""
    known = Installation.get().set_up_token
    return bool(known) and secrets.compare_digest(known, _hash(text))


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
