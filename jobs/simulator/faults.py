"""Faults that tests order in advance: each spoils one request, as networks and servers do."""

import threading
from collections import deque
from collections.abc import Sequence

import msgspec
from msgspec import Struct, field

from jobs.simulator.wire import KIND_OF_STATUS, ApiError, invalid

_FOREIGN_NONCE = b"ffffffffffff"
# What can be ordered, and what it does. The batch exists after "accept", not after "reject".
_LOOKS = {
    "status": "an error with the given status",
    "drop": "the connection closes without an answer",
}
KINDS = {
    "create": {
        "drop_before": "the body is read, the connection closes; not accepted",
        "drop_mid_body": "the connection closes when half of the body is read; not accepted",
        "stall": "the body is read, no answer ever comes; not accepted",
        "drop_after_accept": "accepted, then the connection closes without an answer",
        "reset_after_accept": "accepted, then the connection is reset",
        "accept_500": "accepted, answered with 500",
        "accept_502": "accepted, answered with 502 and a page of HTML",
        "accept_504": "accepted, answered with 504",
        "accept_cut": "accepted, answered with 200, but only half of the promised body comes",
        "accept_bad_json": "accepted, answered with 200 and a body that is half an object",
        "accept_slow": "accepted, answered one byte every 0.2 s for `seconds`, then the rest",
        "accept_307": "accepted, answered with a redirect to the same address",
        "accept_stall": "accepted, but no answer ever comes",
        "reject_400": "invalid_request_error",
        "reject_400_spend": "invalid_request_error: the spend limit is reached",
        "reject_401": "authentication_error",
        "reject_402": "billing_error",
        "reject_403": "permission_error",
        "reject_413": "too large, in HTML as a proxy says it",
        "reject_429": "rate_limit_error, with `retry_after` if it is given",
        "reject_500": "api_error",
        "reject_529": "overloaded_error",
    },
    "results": {
        "cut_at_line": "the connection closes after half of the lines",
        "cut_mid_line": "the connection closes within a line",
        "clean_early_end": "half of the lines, in chunks that end as they should",
        "duplicate_line": "one line comes twice",
        "missing_line": "one line does not come",
        "unknown_id": "one line has a custom_id that was never sent",
        "foreign_nonce": "every custom_id has another beginning, up to its last hyphen",
        "unknown_type": "one result is of a type that does not exist",
        "status_404": "not_found_error",
        "status_429": "rate_limit_error",
        "status_500": "api_error",
        "crlf": "lines end as on Windows",
        "blank_tail": "blank lines follow the last line",
    },
    "list": _LOOKS,
    "retrieve": _LOOKS,
    "count_tokens": _LOOKS,
}
_MESSAGES = {
    "400_spend": "You have reached your specified API usage limits. You will regain access later.",
    "401": "invalid x-api-key",
    "402": "Your credit balance is too low to access the API.",
    "403": "Your API key does not have permission to use the specified resource.",
    "404": "Not found",
    "429": "This request would exceed your organization's rate limit.",
    "500": "Internal server error",
    "529": "Overloaded",
}


class Fault(Struct, forbid_unknown_fields=True):
    """One fault, and on how many requests it falls."""

    kind: str
    times: int = 1
    # For the kind "status".
    status: int = 500
    # Sent as a header with an error.
    retry_after: float | None = None
    # How long "accept_slow" drips.
    seconds: float = 5.0

    def error(self) -> ApiError:
        """The error of a kind that names a status, such as `reject_429` or `status_404`."""
        name = str(self.status) if self.kind == "status" else self.kind.split("_", maxsplit=1)[1]
        status = int(name.split("_")[0])
        message = _MESSAGES.get(
            name, f"A fault that was asked for: {KIND_OF_STATUS.get(status, status)}"
        )
        return ApiError(status, message, self.retry_after)


class Order(Struct, forbid_unknown_fields=True):
    """Faults to come, by what they fall on."""

    create: list[Fault] = []
    results: list[Fault] = []
    listing: list[Fault] = field(name="list", default_factory=list)
    retrieve: list[Fault] = []
    count_tokens: list[Fault] = []
    # New batches stay out of the list for so long.
    list_hide_seconds: float | None = None

    def by_place(self) -> dict[str, list[Fault]]:
        """The faults under the names used in the order."""
        return {
            "create": self.create,
            "results": self.results,
            "list": self.listing,
            "retrieve": self.retrieve,
            "count_tokens": self.count_tokens,
        }


class FaultQueue:
    """The faults still to come."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, deque[Fault]] = {place: deque() for place in KINDS}
        self.list_hide_seconds = 0.0

    def add(self, body: bytes) -> None:
        """Put faults behind those that wait. An unknown kind is refused: it would test nothing."""
        try:
            order = msgspec.json.decode(body, type=Order)
        except msgspec.MsgspecError as error:
            raise invalid(str(error)) from error
        for place, faults in order.by_place().items():
            if unknown := [fault.kind for fault in faults if fault.kind not in KINDS[place]]:
                raise invalid(f"{place}: no such fault: {', '.join(unknown)}")
        with self._lock:
            for place, faults in order.by_place().items():
                self._waiting[place].extend(fault for fault in faults if fault.times > 0)
            if order.list_hide_seconds is not None:
                self.list_hide_seconds = order.list_hide_seconds

    def take(self, place: str) -> Fault | None:
        """The fault for this request, if one waits."""
        with self._lock:
            waiting = self._waiting[place]
            if not waiting:
                return None
            fault = waiting[0]
            fault.times -= 1
            if not fault.times:
                waiting.popleft()
            return fault

    def forget(self) -> None:
        """No more faults."""
        with self._lock:
            for waiting in self._waiting.values():
                waiting.clear()
            self.list_hide_seconds = 0.0

    def waiting(self) -> Order:
        """What is still to come."""
        with self._lock:
            return Order(
                create=list(self._waiting["create"]),
                results=list(self._waiting["results"]),
                listing=list(self._waiting["list"]),
                retrieve=list(self._waiting["retrieve"]),
                count_tokens=list(self._waiting["count_tokens"]),
                list_hide_seconds=self.list_hide_seconds,
            )


def spoiled(kind: str, lines: Sequence[bytes]) -> bytes:
    """The results with one of the faults in the lines themselves, which come with their ends."""
    middle = len(lines) // 2
    before, line, after = b"".join(lines[:middle]), lines[middle], b"".join(lines[middle + 1 :])
    match kind:
        case "duplicate_line":
            line += line
        case "missing_line":
            line = b""
        case "unknown_id":
            line = line.replace(_custom_id(line), b"nobody-sent-this", 1)
        case "unknown_type":
            line = b'{"custom_id":"' + _custom_id(line) + b'","result":{"type":"postponed"}}\n'
        case "foreign_nonce":
            return b"".join(_with_foreign_nonce(one) for one in lines)
        case "crlf":
            return b"".join(lines).replace(b"\n", b"\r\n")
        case "blank_tail":
            after += b"\n\n"
        case _:  # the others spoil the transfer, not the lines
            pass
    return before + line + after


def _custom_id(line: bytes) -> bytes:
    return line.split(b'"', maxsplit=4)[3]


def _with_foreign_nonce(line: bytes) -> bytes:
    custom_id = _custom_id(line)
    number = custom_id.rpartition(b"-")[2]
    return line.replace(custom_id, _FOREIGN_NONCE + b"-" + number, 1)
