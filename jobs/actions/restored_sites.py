"""After the database was restored from an older copy."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db import transaction

from ..batches import recovery
from ..models import audit


def ask_for_recovery(user: User | None) -> bool:
    """Let the worker look for what was sent after the backup. False when there is nothing to
    do."""
    with transaction.atomic():
        asked = recovery.ask()
        if asked:
            audit.record("recovery_requested", who=user)
    return asked
