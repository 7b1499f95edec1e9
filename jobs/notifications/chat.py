"""Send one message by a plugin of Apprise. In the sender's process only: it changes how all of the
process reaches the network, and afterwards nothing else may run in it."""

from __future__ import annotations

import importlib
import socket
import sys
from collections.abc import Callable
from typing import Any

from .guard import CHATS, PRIVATE, Guard, Refused, chat_of
from .protocol import NOT_REACHED, REFUSED, SENT, UNCLEAR, Chat, Outcome

ANSWER_BYTES = 64_000
# What no plugin on our list does, by the names of Python's audit events.
_LOCAL = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "os.forkpty",
    "pty.spawn",
    "socket.bind",
    "socket.sendto",
    "socket.sendmsg",
)


def send_chat(message: Chat, guard: Guard, seconds: float, begin: Callable[[], None]) -> Outcome:
    """Raises Refused."""
    scheme = chat_of(message.url)
    plugin = _plugin(message.url, scheme)
    if plugin is None:
        raise Refused("Something is missing in this address. Copy it as the service shows it.")
    network = _Network(guard, seconds, begin)
    network.watch()
    said_yes = bool(plugin.notify(title=message.title, body=message.body))
    if network.refused:
        raise Refused(PRIVATE)
    if said_yes and SENT in network.outcomes:
        return Outcome(SENT)
    if UNCLEAR in network.outcomes or SENT in network.outcomes:
        return Outcome(UNCLEAR, "There was no clear answer.")
    if REFUSED in network.outcomes:
        return Outcome(REFUSED, f"The receiver answered with status {network.status}.")
    return Outcome(NOT_REACHED, "The address could not be reached.")


def _plugin(url: str, scheme: str) -> Any:
    """The plugin of Apprise, ready to send; None for an address that it does not understand."""
    from apprise import AppriseAsset  # it takes a second: for chats only
    from apprise.common import PersistentStoreMode

    module, name, _title = CHATS[scheme]
    kind = getattr(importlib.import_module(f"apprise.plugins.{module}"), name)
    is_native = url.lower().startswith("https:")
    found = kind.parse_native_url(url) if is_native else kind.parse_url(url)
    if not found:
        return None
    asset = AppriseAsset(storage_mode=PersistentStoreMode.MEMORY, async_mode=False)
    try:
        return kind(**{**found, "asset": asset})
    except TypeError:  # how plugins say so
        return None


class _Network:
    """Looks at every connection and every answer of this process."""

    def __init__(self, guard: Guard, seconds: float, begin: Callable[[], None]) -> None:
        self.guard, self.seconds, self.begin = guard, seconds, begin
        self.refused = False
        self.outcomes: set[str] = set()
        self.status = 0
        self._of_allowed_names: set[str] = set()

    def watch(self) -> None:
        """From here on, until the process ends."""
        import requests

        look_up, send = socket.getaddrinfo, requests.Session.send

        def getaddrinfo(host: Any, *more: Any, **named: Any) -> Any:
            found = look_up(host, *more, **named)
            if isinstance(host, str) and self.guard.allows_host(host):
                self._of_allowed_names.update(str(one[4][0]) for one in found)
            return found

        def send_once(session: Any, request: Any, **options: Any) -> Any:
            return self._send(send, session, request, options)

        # Of this process, and until it ends.
        socket.getaddrinfo = getaddrinfo
        requests.Session.send = send_once  # type: ignore[method-assign, assignment]  # as above
        sys.addaudithook(self._look)

    def _look(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Before Python does what `event` says: raises to refuse it. So an address is looked at
        when it is connected to, and no name can mean another one by then."""
        if event in _LOCAL:
            raise PermissionError(event)
        if event == "socket.connect" and not self._may_connect(arguments[1]):
            self.refused = True
            raise PermissionError("this address is not allowed")

    def _may_connect(self, address: Any) -> bool:
        if not isinstance(address, tuple):  # a socket of this machine
            return False
        where = str(address[0])
        return self.guard.allows(where) or where in self._of_allowed_names

    def _send(self, send: Any, session: Any, request: Any, options: dict[str, Any]) -> Any:
        """As Session.send, without redirects, and with an answer of a bounded size."""
        import requests

        options |= {"allow_redirects": False, "stream": True, "timeout": self.seconds}
        self.begin()
        try:
            answer = send(session, request, **options)
            body = answer.raw.read(ANSWER_BYTES, decode_content=True)
        except requests.exceptions.ConnectionError as error:
            self.outcomes.add(NOT_REACHED if _never_connected(error) else UNCLEAR)
            raise
        except Exception:
            self.outcomes.add(UNCLEAR)
            raise
        answer._content, answer._content_consumed = body, True
        answer.close()
        self.status = answer.status_code
        is_gateway = self.status in (502, 504)
        is_good = 200 <= self.status < 300
        self.outcomes.add(SENT if is_good else UNCLEAR if is_gateway else REFUSED)
        return answer


def _never_connected(error: Exception) -> bool:
    """Whether an error of requests came before anything was sent."""
    import requests
    from urllib3.exceptions import NewConnectionError, SSLError

    if isinstance(error, requests.exceptions.ConnectTimeout | requests.exceptions.SSLError):
        return True
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", cause)
    return isinstance(reason, NewConnectionError | SSLError)
