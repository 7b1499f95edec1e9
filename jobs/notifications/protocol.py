"""What the worker and the process that sends say to each other. Only msgspec: no Django."""

from __future__ import annotations

import msgspec

SENT = "sent"
REFUSED = "refused"  # the receiver clearly did not take it
NOT_REACHED = "not_reached"  # nothing of it has left
UNCLEAR = "unclear"  # it may have arrived
FORBIDDEN = "forbidden"  # we do not send there; trying again is of no use


class Webhook(msgspec.Struct, frozen=True, tag=True):
    url: str
    headers: dict[str, str]
    body: str


class Chat(msgspec.Struct, frozen=True, tag=True):
    """For Apprise."""

    url: str
    title: str
    body: str


class Mail(msgspec.Struct, frozen=True, tag=True):
    host: str
    port: int
    user: str
    password: str
    is_tls: bool  # from the first byte
    starts_tls: bool
    sender: str
    to: str
    message: bytes  # with its headers


class Order(msgspec.Struct, frozen=True):
    """What to send. `allowed`: as in guard.Guard."""

    message: Webhook | Chat | Mail
    allowed: list[str]
    seconds: float  # for one step; the whole is bounded by whoever waits for it


class Outcome(msgspec.Struct, frozen=True):
    kind: str
    why: str = ""  # for people, with nothing that the receiver said


# The line that is written before the first byte of the message leaves.
BEGINS = b"begins\n"
