"""`manage.py erase`: erase the data or the name of a person."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError

from ...actions import erasure, people
from ...cli.site_version import require_same_version
from ...models import audit
from ...rules import wording


class Command(BaseCommand):
    help = (
        "Erase a person. --data moves their jobs to the trash and deletes their templates; --name "
        "erases their user name, email address and sign-in. What was spent stays."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("person", metavar="USER", help="the user name")
        parser.add_argument("--data", action="store_true", help="their jobs and templates")
        parser.add_argument("--name", action="store_true", help="their name; cannot be undone")
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *args: Any, **options: Any) -> None:
        require_same_version()
        if not (options["data"] or options["name"]):
            raise CommandError("Say what to erase: --data, --name or both.")
        person = User.objects.filter(username=options["person"]).first()
        if person is None:
            raise CommandError(f"There is no person “{options['person']}”.")
        if not options["yes"] and not self.is_confirmed(person):
            raise CommandError("Nothing was erased.")
        with audit.acting_from("shell"):
            if options["data"]:
                trashed, running = erasure.erase_data(person, None)
                self.stdout.write(f"Jobs moved to the trash: {trashed}. Deleted in 30 days.")
                if running:
                    self.stderr.write(f"Still running, stop first: {wording.jobs(running)}.")
            if options["name"]:
                try:
                    name = erasure.erase_name(person, None)
                except people.NotPossible as why:
                    raise CommandError(str(why)) from why
                self.stdout.write(f"The name is erased. The account is now called {name}.")

    def is_confirmed(self, person: User) -> bool:
        self.stderr.write(f"Erase {person.username}? [y/N] ", ending="")
        self.stderr.flush()
        return sys.stdin.readline().strip().lower() in {"y", "yes"}
