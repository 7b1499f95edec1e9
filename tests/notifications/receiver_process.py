"""A receiver of webhooks and a mail server in a process of their own. Each message is a line in a
log before its sender hears anything, as with a receiver that never forgets."""

from __future__ import annotations

import json
import os
import threading
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import msgspec

from .receivers import Received, hook_receiver, mail_server


class Arrival(msgspec.Struct, frozen=True):
    """A message. `id`: of a webhook its id, of a mail its recipient and subject. `taken`: the
    sender was told so, and not that it was refused."""

    channel: str
    id: str
    taken: bool


_read = msgspec.json.Decoder(Arrival).decode


def arrivals_in(log: Path) -> list[Arrival]:
    return [_read(line) for line in log.read_text().splitlines()]


def main(log: str, ports: str) -> None:
    """Serves until it is killed. Webhooks whose id ends with an even digit are refused once, so
    that they are sent again. Where it listens is written to `ports`."""
    lock, refused = threading.Lock(), set[str]()
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(channel: str, name: str, taken: bool) -> None:
        with lock:
            os.write(descriptor, msgspec.json.encode(Arrival(channel, name, taken)) + b"\n")
            os.fsync(descriptor)

    def answer(one: Received, handler: BaseHTTPRequestHandler) -> None:
        name = str(one.json["id"])
        taken = int(name[-1], 16) % 2 == 1 or name in refused
        refused.add(name)
        note("webhook", name, taken)
        handler.send_response(200 if taken else 500)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    class Mails(list[EmailMessage]):
        def append(self, mail: EmailMessage, /) -> None:
            note("mail", f"{mail['To']} {mail['Subject']}", True)

    with hook_receiver() as hooks, mail_server() as mails:
        hooks.answer = answer
        mails.mails = Mails()
        part = Path(f"{ports}.part")
        part.write_text(json.dumps([hooks.url, mails.port]))
        part.rename(ports)
        threading.Event().wait()
