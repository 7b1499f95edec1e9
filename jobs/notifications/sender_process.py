"""What the process does that sends one message; see __main__.py and sending.py. It ends with the
message, so whoever waits for it can bound the time, the memory and the bytes of all of it."""

from __future__ import annotations

import http.client
import resource
import signal
import smtplib
import socket
import ssl
from collections.abc import Callable
from typing import IO

import msgspec

from .chat import send_chat
from .guard import Guard, Refused, check_webhook
from .protocol import (
    BEGINS,
    FORBIDDEN,
    NOT_REACHED,
    REFUSED,
    SENT,
    UNCLEAR,
    Chat,
    Mail,
    Order,
    Outcome,
    Webhook,
)

MEMORY, CPU_SECONDS, LIFE_SECONDS = 1_000_000_000, 20, 60
# Gateways that do not know what became of it.
_NO_ANSWER = (502, 504)
NO_ANSWER = "There was no clear answer."

Begin = Callable[[], None]


def run(order: Order, output: IO[bytes]) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(LIFE_SECONDS)  # should the worker be gone that would end it

    def begin() -> None:
        output.write(BEGINS)
        output.flush()

    output.write(msgspec.json.encode(_send(order, begin)) + b"\n")
    output.flush()


def _send(order: Order, begin: Begin) -> Outcome:
    guard, message = Guard(order.allowed), order.message
    try:
        if isinstance(message, Webhook):
            return send_webhook(message, guard, order.seconds, begin)
        if isinstance(message, Chat):
            return send_chat(message, guard, order.seconds, begin)
        return send_mail(message, order.seconds, begin)
    except Refused as error:
        return Outcome(FORBIDDEN, str(error))


# --- Webhooks -------------------------------------------------------------------------------------


def send_webhook(message: Webhook, guard: Guard, seconds: float, begin: Begin) -> Outcome:
    """One POST, without a redirect. Raises Refused."""
    parts = check_webhook(message.url, guard)
    host = parts.hostname or ""
    is_https = parts.scheme == "https"
    port = parts.port or (443 if is_https else 80)
    try:
        connected = _connect(guard.resolve(host, port), port, seconds)
        if is_https:
            context = ssl.create_default_context()
            connected = context.wrap_socket(connected, server_hostname=host)
    except ssl.SSLError:
        return Outcome(NOT_REACHED, "Its certificate was not accepted.")
    except OSError:
        return Outcome(NOT_REACHED, "The address could not be reached.")
    connection = http.client.HTTPConnection(host, port)
    connection.sock = connected
    target = parts.path or "/"
    if parts.query:
        target += f"?{parts.query}"
    begin()
    try:
        name = f"[{host}]" if ":" in host else host
        headers = {"Host": name if parts.port is None else f"{name}:{port}", **message.headers}
        connection.request("POST", target, message.body.encode(), headers)
        answer = connection.getresponse()  # the body is not read
    except (OSError, http.client.HTTPException):
        return Outcome(UNCLEAR, NO_ANSWER)
    finally:
        connection.close()
    return outcome_of(answer.status)


def _connect(addresses: list[str], port: int, seconds: float) -> socket.socket:
    """Raises OSError."""
    trouble = OSError("no address")
    for address in addresses[:3]:
        try:
            return socket.create_connection((address, port), seconds)
        except OSError as error:
            trouble = error
    raise trouble


def outcome_of(status: int) -> Outcome:
    """Of an answer over HTTP. A redirect is a no: it is not followed."""
    if 200 <= status < 300:
        return Outcome(SENT)
    if status in _NO_ANSWER:
        return Outcome(UNCLEAR, f"A gateway answered with status {status}.")
    return Outcome(REFUSED, f"The receiver answered with status {status}.")


# --- Mail -----------------------------------------------------------------------------------------


def send_mail(message: Mail, seconds: float, begin: Begin) -> Outcome:
    """The server's certificate is checked: what follows may be a password or a reset link."""
    context = ssl.create_default_context()
    try:
        server = _mail_server(message, seconds, context)
        if message.starts_tls:
            server.starttls(context=context)
        if message.user:
            server.login(message.user, message.password)
        server.ehlo_or_helo_if_needed()
        if server.mail(message.sender)[0] != 250:
            return Outcome(REFUSED, "The mail server refused the sender.")
        if server.rcpt(message.to)[0] not in (250, 251):
            return Outcome(REFUSED, "The mail server refused the recipient.")
    except ssl.SSLError:
        return Outcome(NOT_REACHED, "The certificate of the mail server was not accepted.")
    except UnicodeError:
        return Outcome(FORBIDDEN, "The mail server takes no such letters in a mail address.")
    except smtplib.SMTPAuthenticationError:
        return Outcome(REFUSED, "The mail server rejected our password.")
    except (OSError, smtplib.SMTPException):
        return Outcome(NOT_REACHED, "The mail server could not be reached.")
    begin()
    try:
        code, _said = server.data(message.message)
    except smtplib.SMTPDataError:
        return Outcome(REFUSED, "The mail server refused the message.")
    except (OSError, smtplib.SMTPException):
        return Outcome(UNCLEAR, NO_ANSWER)
    finally:
        server.close()
    if code != 250:
        return Outcome(REFUSED, "The mail server refused the message.")
    return Outcome(SENT)


def _mail_server(message: Mail, seconds: float, context: ssl.SSLContext) -> smtplib.SMTP:
    """A connection. Raises OSError, smtplib.SMTPException."""
    if not message.is_tls:
        return smtplib.SMTP(message.host, message.port, timeout=seconds)
    # Without a context, it takes any certificate.
    return smtplib.SMTP_SSL(message.host, message.port, timeout=seconds, context=context)
