"""`manage.py upgrade`: bring the database up to date, while the site is stopped."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from ...models import audit, locks
from ...worker import upgrades
from ...worker.dumps import DumpError
from .backup import add_options


class Command(BaseCommand):
    help = (
        "Update the database to this version: back it up into DIR, migrate it, and check it. If "
        "that fails, put the old database back. Stop the site first. Exit 0: done, or there was "
        "nothing to do; 1: not done, and it says why."
    )
    requires_system_checks: list[str] = []  # the database is of another version

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_options(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with audit.acting_from("shell"):
                done = upgrades.upgrade(options["folder"].resolve(), options["keep"])
        except upgrades.SiteRuns as error:
            raise CommandError(f"Nothing was changed: {error}. Stop the site first.") from None
        except upgrades.Failed as error:
            raise CommandError(failed_in_words(error)) from error
        except upgrades.Refused as error:
            raise CommandError(f"Nothing was changed. {error}") from None
        except (DumpError, upgrades.BadBackup, DatabaseError, OSError, locks.Taken) as error:
            if locks.upgrade_mark().exists():
                raise CommandError(
                    f"The upgrade is not finished: {error}. Nothing is lost. Fix that and run it "
                    "again; the site does not start before."
                ) from error
            raise CommandError(f"Nothing was changed. {error}") from error
        if options["json"]:
            self.stdout.write(msgspec.json.encode(done).decode())
        else:
            self.stdout.write("\n".join(in_words(done)))


def in_words(done: upgrades.Upgraded) -> list[str]:
    if not done.backup:
        return [f"The database is up to date with version {done.after}. Start the site."]
    before = done.before or "an earlier version"
    return [
        f"Backup made: {done.backup}",
        f"Upgraded from {before} to {done.after}, with {done.migrations:,} migrations. Start the "
        "site.",
    ]


def failed_in_words(error: upgrades.Failed) -> str:
    earlier = f"version {error.version}" if error.version else "the earlier version"
    return (
        f"The upgrade failed, and the database is as it was before. {error}\n"
        f"Install {earlier} again and start the site. People sign in again. The database that "
        f"failed is in {error.aside}."
    )
