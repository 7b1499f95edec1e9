"""Where a person gets notifications: webhooks, chats and mail addresses. Addresses and secrets are
stored encrypted, and never shown again."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec
from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from ..models import Channel, Destination
from ..models.encryption import cipher
from ..models.notifications import Wanted
from .guard import CHATS, Guard, Refused, chat_of, check_webhook

MOST = 10  # of one person
ALL = Wanted()
SHORTEST_SECRET, LONGEST_SECRET = 16, 200
_PURPOSE = "batchsite: destinations of notifications"


class Sealed(msgspec.Struct, frozen=True):
    """What is stored encrypted."""

    address: str
    secret: str = ""  # of a webhook: what its messages are signed with


_read = msgspec.json.Decoder(Sealed).decode


def guard() -> Guard:
    return Guard(settings.NOTIFY_PRIVATE_HOSTS)


def add(
    person: User, channel: str, address: str, secret: str = "", wanted: Wanted = ALL
) -> Destination:
    """Raises Refused when the address cannot be used, or the person has too many."""
    address = address.strip()
    label = _label(channel, address)
    if channel == Channel.WEBHOOK and not SHORTEST_SECRET <= len(secret) <= LONGEST_SECRET:
        why = f"The secret needs {SHORTEST_SECRET} to {LONGEST_SECRET} characters."
        raise Refused(why, "secret")
    if Destination.objects.filter(person=person).count() >= MOST:
        raise Refused(f"There are {MOST} webhooks and chats already. Remove one first.", "")
    plain = msgspec.json.encode(Sealed(address, secret))
    return Destination.objects.create(
        person=person,
        channel=channel,
        label=label,
        sealed=cipher(_PURPOSE).encrypt(plain).decode(),
        wanted=wanted,
    )


def _label(channel: str, address: str) -> str:
    """What is shown of an address: nothing that could be a secret. Raises Refused."""
    if channel == Channel.WEBHOOK:
        return (check_webhook(address, guard()).hostname or "")[:200]
    if channel == Channel.APPRISE:
        scheme = chat_of(address)
        title = CHATS[scheme][2]
        host = urlsplit(address).hostname or ""
        # Of the other services, the place of the host is taken by a token.
        return f"{title} ({host})"[:200] if scheme.startswith(("json", "mmost")) else title
    try:
        validate_email(address)
    except ValidationError:
        raise Refused("Enter an email address.") from None
    return address[:200]


def unseal(destination: Destination) -> Sealed:
    """Raises cryptography.fernet.InvalidToken if SECRET_KEY has changed since."""
    return _read(cipher(_PURPOSE).decrypt(destination.sealed.encode()))
