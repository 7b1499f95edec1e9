"""Faults that tests order in advance: each spoils one request, as networks and servers do.

An order is one JSON object: a list of faults for each place in `KINDS`, and any of the `Knobs`. A
knob that is left out or null stays as it is; 0 or false switches it off.
"""

import threading
from collections import Counter, deque
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from jobs.simulator.wire import KIND_OF_STATUS, ApiError, invalid

from .knobs import Knobs

# What can be ordered, and what it does. The batch exists after "accept", not after "reject".
_LOOKS = {
    "status": "an error with the given status",
    "drop": "the connection closes without an answer",
    "cut": "answered with 200, but only half of the promised body comes",
    "stall": "no answer ever comes",
    "empty_object": "answered with 200 and {}",
    "null": "answered with 200 and null",
    "html": "answered with 200 and a page of HTML",
    "drip": "answered one byte every 0.2 s for `seconds`, then the rest",
}
KINDS = {
    "create": {
        "drop_before": "the body is read, the connection closes; not accepted",
        "drop_mid_body": "the connection closes when half of the body is read; not accepted",
        "stall": "the body is read, no answer ever comes; not accepted",
        "drop_after_accept": "accepted, then the connection closes without an answer",
        "reset_after_accept": "accepted, then the connection is reset",
        "accept_408": "accepted, answered with 408",
        "accept_500": "accepted, answered with 500",
        "accept_502": "accepted, answered with 502 and a page of HTML",
        "accept_504": "accepted, answered with 504",
        "accept_529": "accepted, answered with 529",
        "accept_cut": "accepted, answered with 200, but only half of the promised body comes",
        "accept_bad_json": "accepted, answered with 200 and a body that is half an object",
        "accept_empty": "accepted, answered with 200 and no body",
        "accept_no_id": "accepted, answered with 200 and a batch without its id",
        "accept_wrong_total": "accepted, answered with 200 and counts that add up to one fewer",
        "accept_slow": "accepted, answered one byte every 0.2 s for `seconds`, then the rest",
        "accept_307": "accepted, answered with a redirect to the same address",
        "accept_stall": "accepted, but no answer ever comes",
        "reject_400": "invalid_request_error",
        "reject_400_spend": "invalid_request_error: the spend limit is reached",
        "reject_401": "authentication_error",
        "reject_402": "billing_error",
        "reject_403": "permission_error",
        "reject_404": "not_found_error",
        "reject_408": "timeout_error",
        "reject_409": "conflict_error",
        "reject_413": "too large, in HTML as a proxy says it",
        "reject_422": "invalid_request_error",
        "reject_429": "rate_limit_error, with `retry_after` if it is given",
        "reject_500": "api_error",
        "reject_503": "api_error",
        "reject_529": "overloaded_error",
    },
    "results": {
        "cut_at_line": "the connection closes after half of the lines",
        "cut_mid_line": "the connection closes within a line",
        "cut_gzip": "compressed, and the last quarter does not come, though nothing is promised",
        "clean_early_end": "half of the lines, in chunks that end as they should",
        "stall": "half of the lines, then nothing more",
        "drip": "one byte every 0.2 s for `seconds`, then the rest",
        "duplicate_line": "one line comes twice",
        "contradicting_line": "one custom_id comes twice, with different results",
        "missing_line": "one line does not come",
        "long_line": "the text of one answer is `bytes` long",
        "unknown_id": "one line has a custom_id that was never sent",
        "foreign_nonce": "every custom_id has another beginning, up to its last hyphen",
        "unknown_type": "one result is of a type that does not exist",
        "no_message": "one result says that it succeeded, and has no message",
        "redirect": "a 307 to the same path at `other_host`; without one, at this server's other "
        "name, localhost",
        "status_404": "not_found_error",
        "status_429": "rate_limit_error",
        "status_500": "api_error",
        "crlf": "lines end as on Windows",
        "blank_tail": "blank lines follow the last line",
        "byte_order_mark": "a byte order mark stands before the first line",
        "half_character": "the text of one answer begins with half of a character, as an escape",
        "open_end": "the last line comes without its line break",
    },
    "list": {
        **_LOOKS,
        "null_data": "answered with 200 and a page whose data is null",
        "no_cursor": "answered with 200 and a page after which there is more, but not where",
    },
    "retrieve": _LOOKS,
    "count_tokens": _LOOKS,
    "cancel": {
        "status": "not done, an error with the given status",
        "drop": "not done, the connection closes without an answer",
        "drop_after": "done, then the connection closes without an answer",
        "empty_object": "done, answered with 200 and {}",
        "stall": "not done, no answer ever comes",
    },
    "delete": {
        "status": "not done, an error with the given status",
        "drop": "not done, the connection closes without an answer",
        "drop_after": "done, then the connection closes without an answer",
        "empty_object": "done, answered with 200 and {}",
    },
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
    # So many requests to the same place go by unspoiled before it falls.
    after: Annotated[int, Meta(ge=0)] = 0
    # For the kind "status".
    status: int = 500
    # Sent as a header with an error.
    retry_after: float | None = None
    # How long "accept_slow" and "drip" take.
    seconds: float = 5.0
    # How long the text of "long_line" is.
    bytes: Annotated[int, Meta(ge=0)] = 20_000_000
    # Where "redirect" leads: a scheme, host and port.
    other_host: str = ""

    def error(self) -> ApiError:
        """The error of a kind that names a status, such as `reject_429` or `status_404`."""
        name = str(self.status) if self.kind == "status" else self.kind.split("_", maxsplit=1)[1]
        status = int(name.split("_")[0])
        message = _MESSAGES.get(
            name, f"A fault that was asked for: {KIND_OF_STATUS.get(status, status)}"
        )
        return ApiError(status, message, self.retry_after)


# At the top level: msgspec may not learn a type from several threads at the same time.
_order_decoder = msgspec.json.Decoder(dict[str, object])
_faults_decoder = msgspec.json.Decoder(dict[str, list[Fault]])
_knobs_decoder = msgspec.json.Decoder(Knobs)


class FaultQueue:
    """The faults still to come, and the knobs that an order may turn."""

    def __init__(self, knobs: Knobs) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, deque[Fault]] = {place: deque() for place in KINDS}
        self._fell: Counter[str] = Counter()
        self._knobs = knobs

    def add(self, body: bytes) -> None:
        """Put faults behind those that wait, and turn knobs.

        What is unknown is refused, and the whole order with it: it would test nothing.
        """
        with self._lock:
            self._add(body)

    def take(self, place: str) -> Fault | None:
        """The fault for this request, if one waits."""
        with self._lock:
            waiting = self._waiting[place]
            if not waiting:
                return None
            fault = waiting[0]
            if fault.after:
                fault.after -= 1
                return None
            fault.times -= 1
            if not fault.times:
                waiting.popleft()
            self._fell[f"{place}: {fault.kind}"] += 1
            return fault

    def forget(self) -> None:
        """No more faults, and every knob switched off."""
        with self._lock:
            for waiting in self._waiting.values():
                waiting.clear()
            self._set(Knobs())

    def begin_anew(self) -> None:
        """As after a start: what fell so far does not count either."""
        self.forget()
        with self._lock:
            self._fell.clear()

    def state(self) -> dict[str, object]:
        """What is still to come, how the knobs stand, and which faults fell how often so far."""
        with self._lock:
            return {
                **{place: list(waiting) for place, waiting in self._waiting.items()},
                **msgspec.structs.asdict(self._knobs),
                "fell": dict(self._fell),
            }

    def _add(self, body: bytes) -> None:
        try:
            order = _order_decoder.decode(body)
            turned = {name: order.pop(name) for name in Knobs.__struct_fields__ if name in order}
            knobs = _turned(self._knobs, turned)
            faults = _faults_decoder.decode(msgspec.json.encode(order))
        except msgspec.MsgspecError as error:
            raise invalid(str(error)) from error
        for place, ordered in faults.items():
            if place not in KINDS:
                raise invalid(f"no such place or knob: {place}")
            if unknown := [fault.kind for fault in ordered if fault.kind not in KINDS[place]]:
                raise invalid(f"{place}: no such fault: {', '.join(unknown)}")
        for place, ordered in faults.items():
            self._waiting[place].extend(fault for fault in ordered if fault.times > 0)
        self._set(knobs)

    def _set(self, knobs: Knobs) -> None:
        for name, value in msgspec.structs.asdict(knobs).items():
            setattr(self._knobs, name, value)


def _turned(knobs: Knobs, turned: dict[str, object]) -> Knobs:
    off = Knobs()
    given = {
        name: value or getattr(off, name) for name, value in turned.items() if value is not None
    }
    turned_knobs = {**msgspec.structs.asdict(knobs), **given}
    return _knobs_decoder.decode(msgspec.json.encode(turned_knobs))
