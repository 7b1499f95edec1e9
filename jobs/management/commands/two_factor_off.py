"""`manage.py two_factor_off NAME`: the way back for an administrator without phone and codes."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from jobs.actions import people
from jobs.cli.site_version import require_same_version
from jobs.models import audit


class Command(BaseCommand):
    help = "Remove two-factor sign-in of one person. They sign in with the password alone then."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")

    def handle(self, *args: object, **options: str) -> None:
        require_same_version()
        person = User.objects.filter(username=options["username"]).first()
        if person is None:
            raise CommandError(f"There is no person “{options['username']}”.")
        with audit.acting_from("shell"):
            removed = people.remove_two_factor(person, None)
        self.stdout.write(
            f"{person.username} signs in with the password alone now."
            if removed
            else f"{person.username} has no two-factor sign-in."
        )
