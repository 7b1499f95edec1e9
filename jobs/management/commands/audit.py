"""`manage.py audit`: read the audit log, and check that nothing in it was changed."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from datetime import UTC, date, datetime, time
from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandError

from ...cli.site_version import require_same_version
from ...models import AuditEntry, AuditHead, audit
from ...models.audit_queries import Wanted, find_entries, names_of
from ...rules import audit_events
from ...rules.plain_text import one_line


class Command(BaseCommand):
    help = (
        "Print the audit log, the oldest entry first. With --verify, check it instead: exit 0 when "
        "every entry is there and as it was written, else 1."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--verify", action="store_true", help="check the chain of hashes")
        parser.add_argument("--json", action="store_true", help="one JSON object a line")
        parser.add_argument("--event", default="", metavar="E", help="such as limits_changed")
        parser.add_argument(
            "--person", default="", metavar="NAME", help="a user name, or the number of a person"
        )
        parser.add_argument(
            "--since", type=day, metavar="DATE", help="from this day on (UTC), as 2026-11-29"
        )
        parser.add_argument("--job", type=int, metavar="N", help="about this job")

    def handle(self, *args: Any, **options: Any) -> None:
        require_same_version()
        if options["verify"]:
            self.verify()
            return
        wanted = Wanted(options["person"], options["event"], options["job"], options["since"])
        for entry in find_entries(wanted).order_by("number").iterator(2000):
            self.stdout.write(_as_json(entry) if options["json"] else _in_words(entry))

    def verify(self) -> None:
        if fault := audit.verify():
            raise CommandError(f"The audit log was changed. {fault}")
        head = AuditHead.get()
        last = head.entry_hash or audit.NO_HASH
        self.stdout.write(f"{head.number:,} entries, chain complete, last hash {last}")


def day(text: str) -> datetime:
    try:
        return datetime.combine(date.fromisoformat(text), time(), UTC)
    except ValueError:
        raise ArgumentTypeError("give a day as 2026-11-29") from None


def _as_json(entry: AuditEntry) -> str:
    values = {
        "number": entry.number,
        "at": entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "event": entry.event,
        "who": entry.who,
        "origin": entry.origin,
        "job": entry.job,
        "target": entry.target,
        "before": entry.detail.before,
        "after": entry.detail.after,
        "hash": entry.entry_hash,
    }
    return msgspec.json.encode(values).decode()


def _in_words(entry: AuditEntry) -> str:
    names = names_of([entry])
    who = "-" if entry.who is None else names.get(entry.who, f"person {entry.who}")
    detail = entry.detail
    parts = [
        f"{entry.number}",
        entry.at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S"),
        entry.origin or "-",
        who,
        audit_events.event_in_words(entry.event),
        f"job {entry.job}" if entry.job is not None else "",
        entry.target,
        *(f"was {words}" for words in audit_events.values_in_words(detail.before)),
        *audit_events.values_in_words(detail.after),
    ]
    return one_line("  ".join(part for part in parts if part))
