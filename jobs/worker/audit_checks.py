"""Check the audit log once a day, in slices."""

from __future__ import annotations

import logging
from datetime import timedelta

from ..models import AuditCheck, audit, clock

logger = logging.getLogger(__name__)

EVERY = timedelta(days=1)
SLICES = 5  # a minute


def check_if_due() -> None:
    """Look at the next entries, when a check is due or under way."""
    now = clock.now()
    state = AuditCheck.row().filter(clock.over("due_at", EVERY, now)).first()
    if state is None:
        return
    check = audit.Check(state.number, state.entry_hash or audit.NO_HASH)
    for _slice in range(SLICES):
        check = audit.check_slice(check)
        if check.is_over:
            break
    mine = AuditCheck.row().filter(number=state.number)  # of two workers the second changes nothing
    if not check.is_over:
        mine.update(number=check.number, entry_hash=check.entry_hash)
        return
    if check.fault:
        logger.error("the audit log was changed: %s", check.fault)
    mine.update(
        number=0,
        entry_hash="",
        due_at=now + EVERY,
        checked_at=now,
        checked=check.number,
        fault=check.fault,
    )


def ask() -> None:
    """Check it within a minute."""
    AuditCheck.row().update(due_at=clock.now())
