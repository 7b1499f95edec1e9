"""`manage.py copies`: what is in object storage, and getting it back."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.template.defaultfilters import filesizeformat

from ...models import StoredCopy
from ...worker import copies
from ...worker.backups import NAME, BadBackup
from ...worker.object_storage import Failed, Storage


class Command(BaseCommand):
    help = (
        "List copies in object storage, or fetch one into a folder: a backup by its name, another "
        "file by its key. Hashes are checked. Nothing is changed in the storage or on the site."
    )
    requires_system_checks: list[str] = []  # the database may be gone

    def add_arguments(self, parser: ArgumentParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True)
        listing = acts.add_parser("list", help="print date, size and key of each copy")
        listing.add_argument("prefix", nargs="?", default="", help="such as backups/")
        listing.add_argument(
            "--unknown", action="store_true", help="only those that this site does not know"
        )
        fetching = acts.add_parser("fetch", help="fetch a backup or a file")
        fetching.add_argument("key", help="such as 2026-11-28T02-15-00Z, or results/12-abc.jsonl")
        fetching.add_argument("folder", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.COPY_TO:
            raise CommandError("COPY_TO is not set.")
        try:
            storage = Storage(copies.place())
            if options["act"] == "list":
                self.list_all(storage, options["prefix"], unknown=options["unknown"])
            else:
                self.fetch(storage, options["key"], options["folder"].resolve())
        except (Failed, BadBackup, OSError) as error:
            raise CommandError(str(error)) from None

    def list_all(self, storage: Storage, prefix: str, *, unknown: bool) -> None:
        known = set[str]()
        if unknown:
            mine = StoredCopy.objects.filter(
                place=settings.COPY_TO, endpoint=settings.S3_ENDPOINT_URL
            )
            known.update(mine.values_list("key", flat=True))
        for one in storage.keys(prefix):
            if one.key not in known:
                date = f"{one.at:%Y-%m-%d %H:%M}"
                self.stdout.write(f"{date}  {filesizeformat(one.size):>9}  {one.key}")

    def fetch(self, storage: Storage, key: str, folder: Path) -> None:
        if NAME.fullmatch(key):
            path = copies.fetch_backup(storage, key, folder)
            self.stdout.write(f"The backup is complete: {path}")
            self.stdout.write(f"Stop the site, then run: manage.py restore {path}")
        else:
            path = copies.fetch_file(storage, key, folder)
            self.stdout.write(f"Fetched: {path}")
