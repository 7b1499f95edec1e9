"""The audit log: who did what, when, from where, and what it changed.

Entries are only ever added, and outlive the jobs and people they are about. Each one carries the
hash of the one before it, and `AuditHead` the number and the hash of the last one, so that `verify`
finds an entry that was changed, removed or put in between. An entry names people by their number
only. It holds no cell, prompt, answer, key or password.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn, TypeAlias

import msgspec
from django.contrib.auth.models import AnonymousUser, User
from django.db import models, transaction

from ..rules.plain_text import one_line
from ..rules.structs import reader_of
from . import clock
from .fields import StructField
from .site import AuditHead

Value: TypeAlias = str | int | bool | None
NO_HASH = "0" * 64  # before the first entry
SLICE = 2_000  # entries that are checked at once

# The network address of the request that is being answered, or "shell" or "worker".
_origin: ContextVar[str] = ContextVar("origin", default="")


@contextmanager
def acting_from(origin: str) -> Iterator[None]:
    """What is recorded in this block was done from `origin`: a network address, "shell" or
    "worker"."""
    token = _origin.set(origin[:45])
    try:
        yield
    finally:
        _origin.reset(token)


class AuditDetail(msgspec.Struct, frozen=True, omit_defaults=True):
    """What changed: settings and counts by their names."""

    before: dict[str, Value] = {}
    after: dict[str, Value] = {}


class AuditQuerySet(models.QuerySet["AuditEntry"]):
    """Entries are read and added, never changed."""

    def update(self, **values: Any) -> NoReturn:
        raise TypeError("The audit log is append-only.")

    def delete(self) -> NoReturn:
        raise TypeError("The audit log is append-only.")


class AuditEntry(models.Model):
    number = models.BigIntegerField(unique=True)  # 1, 2, 3 …: none is missing
    at = models.DateTimeField()
    event = models.CharField(max_length=40, db_index=True)  # such as "signed_in"
    # Plain numbers: an entry outlives the person and the job.
    who = models.BigIntegerField(
        null=True, db_index=True
    )  # None: the worker, the shell, a stranger
    origin = models.CharField(max_length=45)
    job = models.BigIntegerField(null=True, db_index=True)
    target = models.CharField(max_length=200)  # what else it is about, such as "person 12"
    detail = StructField[AuditDetail](reader_of(AuditDetail), default=AuditDetail)
    before_hash = models.CharField(max_length=64)
    entry_hash = models.CharField(max_length=64)

    objects = AuditQuerySet.as_manager()

    class Meta:
        ordering = ["number"]

    def __str__(self) -> str:
        return f"{self.number}: {self.event}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self.pk is not None:
            raise TypeError("The audit log is append-only.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("The audit log is append-only.")

    def worked_out_hash(self) -> str:
        """SHA-256, in hex, of the entry and of the hash before it."""
        parts = (
            self.before_hash,
            self.number,
            self.at.astimezone(UTC).isoformat(timespec="microseconds"),
            self.event,
            self.who,
            self.origin,
            self.job,
            self.target,
            sorted(self.detail.before.items()),
            sorted(self.detail.after.items()),
        )
        return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def record(
    event: str,
    *,
    who: User | AnonymousUser | None = None,
    job: int | None = None,
    target: str = "",
    before: Mapping[str, Value] | None = None,
    after: Mapping[str, Value] | None = None,
) -> None:
    """Add an entry, in the transaction that makes the change: both happen or none does. Record
    last: from here to its end, the transaction keeps others from adding theirs."""
    with transaction.atomic():
        head = AuditHead.row().select_for_update().get()
        entry = AuditEntry(
            number=head.number + 1,
            at=clock.now(),
            event=event,
            who=who.pk if who is not None else None,
            origin=_origin.get(),
            job=job,
            target=one_line(target)[:200],
            detail=AuditDetail(before=dict(before or {}), after=dict(after or {})),
            before_hash=head.entry_hash or NO_HASH,
        )
        entry.entry_hash = entry.worked_out_hash()
        entry.save(force_insert=True)
        AuditHead.row().update(number=entry.number, entry_hash=entry.entry_hash)


def record_change(
    event: str,
    before: Mapping[str, Value],
    after: Mapping[str, Value],
    *,
    who: User | None = None,
    job: int | None = None,
    target: str = "",
) -> None:
    """Add an entry with the values that differ; none when all are equal."""
    changed = [name for name in after if before.get(name) != after[name]]
    if changed:
        record(
            event,
            who=who,
            job=job,
            target=target,
            before={name: before.get(name) for name in changed},
            after={name: after[name] for name in changed},
        )


@dataclass(frozen=True)
class Check:
    """How far a check of the log is."""

    number: int = 0  # the last entry that was looked at
    entry_hash: str = NO_HASH
    fault: str = ""  # in a sentence: the first one
    is_over: bool = False


def verify() -> str:
    """What is wrong with the log, in one sentence: the first fault. "" when every entry is there
    and as it was written."""
    check = Check()
    while not check.is_over:
        check = check_slice(check)
    return check.fault


def check_slice(check: Check, most: int = SLICE) -> Check:
    """Look at `most` more entries. Entries that are added meanwhile are looked at, too."""
    head = AuditHead.get()
    number, entry_hash = check.number, check.entry_hash
    entries = list(AuditEntry.objects.filter(number__gt=number).order_by("number")[:most])
    for entry in entries:
        number += 1
        fault = ""
        if entry.number != number:
            fault = f"Entry {number} is missing."
        elif entry.before_hash != entry_hash or entry.entry_hash != entry.worked_out_hash():
            fault = _not_as_written(entry)
        entry_hash = entry.entry_hash
        if number == head.number and entry_hash != head.entry_hash:
            fault = fault or _not_as_written(entry)
        if fault:
            return Check(number, entry_hash, fault, is_over=True)
    if len(entries) == most:
        return Check(number, entry_hash)
    fault = ""
    if number < head.number:
        fault = f"Entry {number + 1} is missing."
    elif number > AuditHead.get().number:
        fault = f"Entry {head.number + 1} was not written by this site."
    return Check(number, entry_hash, fault, is_over=True)


def _not_as_written(entry: AuditEntry) -> str:
    return f"Entry {entry.number}, of {_day(entry.at)}, is not as it was written."


def _day(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def person(user: User) -> str:
    """`user` as the target of an entry."""
    return f"person {user.pk}"
