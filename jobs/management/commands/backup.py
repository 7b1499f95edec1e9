"""`manage.py backup`: a copy of all that the site cannot make again, while it runs."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path
from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from django.template.defaultfilters import filesizeformat

from ...models import LastBackup, audit, locks, versions
from ...worker import backups, copies
from ...worker.dumps import DumpError

WITH_TROUBLES = 3


class Command(BaseCommand):
    help = (
        "Back up database, journal, uploads and results into a new dated folder below DIR. Exit 0: "
        "made; 3: made, but files are missing or damaged on the site; 1: not made."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_options(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            made = backups.make(options["folder"].resolve(), options["keep"])
        except locks.Taken:
            raise CommandError("No backup was made: another one is still being made.") from None
        except (DumpError, DatabaseError, OSError) as error:
            raise CommandError(f"No backup was made. {error}") from error
        # People back up before they upgrade: an older database has no place to note it.
        if not versions.why_other_schema():
            note(made, options["keep"])
        if options["json"]:
            self.stdout.write(msgspec.json.encode(made).decode())
        else:
            self.report(made)
        if made.manifest.troubles:
            sys.exit(WITH_TROUBLES)

    def report(self, made: backups.Made) -> None:
        counts, stored = made.manifest.counts, len(made.manifest.files)
        self.stdout.write(f"Backup made: {made.path}")
        self.stdout.write(
            f"{counts['jobs']:,} jobs, {counts['rows']:,} rows, {stored:,} files; "
            f"{made.copied_files:,} files are new ({filesizeformat(made.copied_bytes)})."
        )
        if made.removed:
            self.stdout.write(f"Old backups removed: {len(made.removed)}.")
        for trouble in made.manifest.troubles:
            self.stderr.write(trouble)


def note(made: backups.Made, keep: int) -> None:
    manifest = made.manifest
    LastBackup.note(manifest.made_at, made.path, len(manifest.troubles))
    copies.note_backup(Path(made.path), manifest, keep=keep, removed=made.removed)
    with audit.acting_from("shell"):
        audit.record("backup_made", after=manifest.counts)


def add_options(parser: ArgumentParser) -> None:
    """Of each command that makes a backup."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="a folder for backups only")
    parser.add_argument(
        "--keep",
        type=at_least_one,
        default=14,
        metavar="N",
        help="how many backups stay, with the new one (default: 14)",
    )
    parser.add_argument("--json", action="store_true", help="for programs")


def at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError("give a number of 1 or more")
    return int(text)
