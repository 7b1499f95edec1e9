"""`manage.py restore`: put a backup back, while the site is stopped."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from ...models import audit, locks
from ...worker import restores
from ...worker.backups import BadBackup
from ...worker.dumps import DumpError
from ...worker.restores import Restored, SiteRuns


class Command(BaseCommand):
    help = (
        "Put a backup back. Stop the site first. What is there now is moved aside, not deleted. "
        "Exit 0: done, and it says what is left to do; 1: not done."
    )
    requires_system_checks: list[str] = []  # the database may be gone

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "folder", type=Path, metavar="DIR", help="a backup, or a folder of them: the newest"
        )
        parser.add_argument("--json", action="store_true", help="for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            restored = restores.restore(options["folder"])
        except SiteRuns as error:
            raise CommandError(f"Nothing was changed: {error}. Stop the site first.") from None
        except (BadBackup, DumpError, DatabaseError, OSError) as error:
            if locks.unfinished_mark().exists():
                raise CommandError(
                    f"The restore is not finished: {error}. Nothing is lost. Fix that and run it "
                    "again; the site does not start before."
                ) from error
            raise CommandError(f"Nothing was changed. {error}") from error
        with audit.acting_from("shell"):
            made_at = restored.made_at.isoformat(timespec="seconds")
            audit.record("backup_restored", after={"made_at": made_at, **restored.counts})
        if options["json"]:
            self.stdout.write(msgspec.json.encode(restored).decode())
        else:
            self.stdout.write("\n".join(in_words(restored)))


def in_words(restored: Restored) -> list[str]:
    counts = restored.counts
    lines = [
        f"Restored the backup of {restored.made_at:%-d %B %Y, %H:%M} UTC: {counts['jobs']:,} jobs, "
        f"{counts['rows']:,} rows.",
        f"What was there before is in {restored.aside}.",
    ]
    if restored.aside_schema:
        lines.append(f"The tables from before are in the schema {restored.aside_schema}.")
    if restored.batches_to_reconcile:
        lines.append(
            f"{restored.batches_to_reconcile:,} batches ({restored.rows_to_reconcile:,} rows) were "
            "sent after this backup, by the journal. Nothing is sent until they are found again: "
            "start the site, then run “manage.py job reconcile”, or press “Find them at "
            "Anthropic” on its pages."
        )
    elif not restored.spending_stopped:
        lines.append("The journal has nothing that was sent after this backup. Start the site.")
    if restored.spending_stopped:
        lines.append(
            "The journal of the time after this backup is not here, or damaged. Batches may have "
            "been sent that nobody here knows of. Spending is stopped. Look at the batches in "
            "Anthropic’s Console. Stop the jobs of those that are missing here, and import them. "
            "Then press “Allow spending again” under Spending, Limits."
        )
    return lines
