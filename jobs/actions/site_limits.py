"""What administrators allow on the site: limits of spending, and the switch that stops it."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from ..batches import holds
from ..models import RoleQuota, SpendingCaps, audit, outbox

CAPS = ("most_a_job", "most_a_person", "most_a_month", "approval_above")


def change_limits(values: Mapping[str, Decimal | None], user: User) -> None:
    """Set the amounts named in CAPS, in US dollars; None: any amount."""
    with transaction.atomic():
        before = SpendingCaps.row().select_for_update().get()
        SpendingCaps.row().update(**values)
        after = SpendingCaps.get()
        old = {name: _text(getattr(before, name)) for name in CAPS}
        new = {name: _text(getattr(after, name)) for name in CAPS}
        audit.record_change("limits_changed", old, new, who=user)


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount:.2f}"


def stop_spending(user: User) -> None:
    """Send nothing new, for all jobs."""
    with transaction.atomic():
        if SpendingCaps.row().filter(stopped_at=None).update(stopped_at=timezone.now()):
            outbox.tell("spending_stopped", holds.people_who_send())
            audit.record("spending_stopped", who=user)


def allow_spending(user: User) -> None:
    with transaction.atomic():
        if SpendingCaps.row().exclude(stopped_at=None).update(stopped_at=None):
            outbox.tell("spending_resumed", holds.people_who_send())
            audit.record("spending_allowed", who=user)


def change_quotas(values: Mapping[str, tuple[int | None, int | None]], user: User) -> None:
    """Set what one person may take up, by role: bytes and rows a month."""
    with transaction.atomic():
        SpendingCaps.row().select_for_update().get()  # of two at once, the second waits
        was = {one.role: (one.most_bytes, one.most_rows) for one in RoleQuota.objects.all()}
        for role, (most_bytes, most_rows) in values.items():
            RoleQuota.objects.update_or_create(
                role=role, defaults={"most_bytes": most_bytes, "most_rows": most_rows}
            )
        before, after = _by_name(was), _by_name(values)
        audit.record_change("quotas_changed", before, after, who=user)


def _by_name(values: Mapping[str, tuple[int | None, int | None]]) -> dict[str, audit.Value]:
    named: dict[str, audit.Value] = {}
    for role, (most_bytes, most_rows) in values.items():
        named |= {f"{role}_bytes": most_bytes, f"{role}_rows_a_month": most_rows}
    return named
