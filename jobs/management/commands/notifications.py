"""`manage.py notifications`: where a person gets notifications, from the shell."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError

from ...actions import notifications
from ...cli.site_version import require_same_version
from ...models import Channel, Delivery, Destination, audit
from ...models.notifications import Wanted
from ...notifications import sending
from ...notifications.guard import Refused
from ...rules.notification_events import EVENTS

CHOSEN = [name for name, event in EVENTS.items() if event.is_chosen]


class Command(BaseCommand):
    help = "List, add, remove and test where a person gets notifications beside the bell."

    def add_arguments(self, parser: ArgumentParser) -> None:
        what = parser.add_subparsers(dest="what", required=True)
        for name in ("list", "add", "remove", "test"):
            one = what.add_parser(name)
            one.add_argument("--owner", required=True, metavar="USER", help="whose they are")
            if name in ("remove", "test"):
                one.add_argument("number", type=int, help="as `list` shows it")
            if name == "add":
                where = one.add_mutually_exclusive_group(required=True)
                where.add_argument("--webhook", metavar="URL")
                where.add_argument("--apprise", metavar="URL", help="such as slack://…")
                where.add_argument("--mail", metavar="ADDRESS")
                one.add_argument("--secret", default="", metavar="TEXT", help="of a webhook")
                one.add_argument(
                    "--event",
                    action="append",
                    choices=CHOSEN,
                    metavar="NAME",
                    help=f"only this one; can be repeated: {', '.join(CHOSEN)}",
                )

    def handle(self, *args: Any, **options: Any) -> None:
        require_same_version()
        owner = User.objects.filter(username=options["owner"]).first()
        if owner is None:
            raise CommandError(f"There is no person “{options['owner']}”.")
        with audit.acting_from("shell"):
            getattr(self, options["what"])(owner, options)

    def list(self, owner: User, _options: dict[str, Any]) -> None:
        for one in owner.destinations.all():
            last = one.deliveries.order_by("-pk").first()
            state = f"{last.get_state_display()}. {last.trouble}".strip() if last else "-"
            wanted = [name for name in CHOSEN if one.wanted.gets(name)]
            events = "all" if wanted == CHOSEN else ",".join(wanted)
            self.stdout.write(f"{one.pk}\t{one.channel}\t{one.label}\t{events}\t{state}")

    def add(self, owner: User, options: dict[str, Any]) -> None:
        channel, address = next(
            (channel, options[name])
            for name, channel in (
                ("webhook", Channel.WEBHOOK),
                ("apprise", Channel.APPRISE),
                ("mail", Channel.MAIL),
            )
            if options[name]
        )
        only = Wanted(dict.fromkeys(options["event"] or (), True), others=not options["event"])
        try:
            added, secret = notifications.add_destination(
                owner, channel, address, None, secret=options["secret"], wanted=only
            )
        except Refused as why:
            raise CommandError(str(why)) from None
        self.stdout.write(str(added.pk))
        if channel == Channel.WEBHOOK and not options["secret"]:
            self.stderr.write(f"Its secret, shown only now: {secret}")

    def remove(self, owner: User, options: dict[str, Any]) -> None:
        notifications.remove_destination(self._one(owner, options), None)
        self.stdout.write("Removed.")

    def test(self, owner: User, options: dict[str, Any]) -> None:
        """Send it from here, without the worker."""
        made = notifications.test_destination(self._one(owner, options))
        if made is None:
            raise CommandError("The last test message is still on its way.")
        sending.deliver(made)
        made.refresh_from_db()
        if made.state != Delivery.State.SENT:
            raise CommandError(f"{made.get_state_display()}. {made.trouble}")
        self.stdout.write("Sent.")

    def _one(self, owner: User, options: dict[str, Any]) -> Destination:
        found = owner.destinations.filter(pk=options["number"]).first()
        if found is None:
            raise CommandError(f"{owner.username} has no destination {options['number']}.")
        return found
