"""Sends answers as they should not be."""

import socket
import struct
import time
from collections.abc import Callable

import msgspec

from jobs.simulator import bodies
from jobs.simulator.replies import HTML, JSON, JSONL, Replier
from jobs.simulator.wire import BatchObject, encode

from .faults import Fault
from .spoiling import cut_gzip, spoiled

_DRIP_EVERY = 0.2
_NO_CURSOR = {"has_more": True, "last_id": None}


class FaultReplier(Replier):
    """The connection to one client, which may go wrong in every way."""

    def refuse(self, fault: Fault) -> bool:
        """The faults by which nothing is accepted; whether this was one."""
        if fault.kind == "drop_before":
            self.drop()
        elif fault.kind == "stall":
            self._stall()
        elif fault.kind == "reject_413":
            self.send_too_large()
        elif fault.kind.startswith("reject_"):
            self.send_api_error(fault.error())
        else:
            return False
        return True

    def spoil_answer(self, fault: Fault, batch: BatchObject) -> None:
        """The faults that follow when a batch has been accepted."""
        answer = encode(batch)
        match fault.kind:
            case "drop_after_accept":
                self.drop()
            case "reset_after_accept":
                self._reset()
            case "accept_stall":
                self._stall()
            case "accept_cut":
                self._send_half(answer)
            case "accept_bad_json":
                self.send_body(200, answer[: len(answer) // 2])
            case "accept_empty":
                self.send_body(200, b"")
            case "accept_no_id":
                known = msgspec.to_builtins(batch)
                del known["id"]
                self.send_json(known)
            case "accept_wrong_total":
                batch.request_counts.processing -= 1
                self.send_json(batch)
            case "accept_307":
                self.send_body(307, b"", headers={"location": self.path})
            case "accept_502":
                self.send_body(502, b"<html><body><h1>502 Bad Gateway</h1></body></html>\n", HTML)
            case "accept_slow":
                self.send_head(200, JSON, len(answer))
                self._drip(answer, fault.seconds)
            case _:  # accept_408, accept_500, accept_504, accept_529
                self.send_api_error(fault.error())

    def answer_or_spoil(self, fault: Fault | None, make: Callable[[], object]) -> None:
        """Send what `make` does and returns, or what becomes of that by a fault."""
        if fault is None:
            self.send_json(make())
            return
        match fault.kind:
            case "cut":
                self._send_half(encode(make()))
            case "drop_after":
                make()
                self.drop()
            case "empty_object":
                make()
                self.send_json({})
            case "null":
                self.send_json(None)
            case "html":
                self.send_body(200, b"<html><body><h1>Back soon</h1></body></html>\n", HTML)
            case "null_data" | "no_cursor":
                page = msgspec.to_builtins(make())
                odd = {"data": None} if fault.kind == "null_data" else _NO_CURSOR
                self.send_json({**page, **odd})
            case "drop":
                self.drop()
            case "drip":
                answer = encode(make())
                self.send_head(200, JSON, len(answer))
                self._drip(answer, fault.seconds)
            case "stall":
                self._stall()
            case _:
                self.send_api_error(fault.error())

    def spoil_results(self, fault: Fault, whole: bytes, other_host: str) -> None:
        """The faults of a download."""
        lines = whole.splitlines(keepends=True)
        middle = len(lines) // 2
        half = b"".join(lines[:middle])
        match fault.kind:
            case "cut_at_line":
                self._send_cut(half, len(whole), JSONL)
            case "cut_mid_line":
                self._send_cut(half + lines[middle][:10], len(whole), JSONL)
            case "clean_early_end":
                self.send_head(200, JSONL, None)
                if half:
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(half), half))
                self.wfile.write(b"0\r\n\r\n")
            case "cut_gzip":
                self.send_body(200, cut_gzip(whole), JSONL, {"content-encoding": "gzip"})
            case "stall":
                self.send_head(200, JSONL, len(whole))
                self.wfile.write(half)
                self.wfile.flush()
                self._stall()
            case "drip":
                self.send_head(200, JSONL, len(whole))
                self._drip(whole, fault.seconds)
            case "redirect":
                self.send_body(307, b"", headers={"location": f"{other_host}{self.path}"})
            case "status_404" | "status_429" | "status_500":
                self.send_api_error(fault.error())
            case _:
                self.send_body(200, spoiled(fault, lines), JSONL)

    def read_some(self) -> None:
        """Take a part of the body: half of it, or the first chunk."""
        size = bodies.expected_size(self.headers)
        if size is None:
            next(bodies.pieces(self.headers, self.rfile), None)
        else:
            self.rfile.read(size // 2)

    def drop(self) -> None:
        """Close the connection without a word."""
        self.close_connection = True

    def _reset(self) -> None:
        """Close the connection rudely: the client gets a reset instead of an end."""
        self.close_connection = True
        not_lingering = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, not_lingering)
        # Taken from under the server, which would end the connection politely first.
        socket.close(self.connection.detach())

    def _stall(self) -> None:
        """Never answer; wait until the client has had enough."""
        self.close_connection = True
        self.connection.settimeout(None)
        while self.connection.recv(1 << 16):
            pass

    def _send_half(self, answer: bytes) -> None:
        self._send_cut(answer[: len(answer) // 2], len(answer), JSON)

    def _send_cut(self, part: bytes, promised: int, kind: str) -> None:
        """Promise more than is sent."""
        self.close_connection = True
        self.send_head(200, kind, promised)
        self.wfile.write(part)

    def _drip(self, body: bytes, seconds: float) -> None:
        """Send byte by byte for so long, then the rest."""
        drops = min(len(body), int(seconds / _DRIP_EVERY))
        for position in range(drops):
            self.wfile.write(body[position : position + 1])
            self.wfile.flush()
            time.sleep(_DRIP_EVERY)
        self.wfile.write(body[drops:])
