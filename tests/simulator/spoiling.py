"""Results with faults in the lines themselves."""

import gzip
from collections.abc import Sequence
from typing import Any

import msgspec

from .faults import Fault

_FOREIGN_NONCE = b"ffffffffffff"
_FILLER = " and so on"


def spoiled(fault: Fault, lines: Sequence[bytes]) -> bytes:
    """The results with one of the faults in the lines, which come with their ends."""
    middle = len(lines) // 2
    before, line, after = b"".join(lines[:middle]), lines[middle], b"".join(lines[middle + 1 :])
    match fault.kind:
        case "duplicate_line":
            line += line
        case "contradicting_line":
            line += _contradiction(line)
        case "missing_line":
            line = b""
        case "unknown_id":
            line = line.replace(_custom_id(line), b"nobody-sent-this", 1)
        case "unknown_type":
            line = _result(line, b"postponed")
        case "no_message":
            line = _result(line, b"succeeded")
        case "foreign_nonce":
            return b"".join(_with_foreign_nonce(one) for one in lines)
        case "long_line":
            return b"".join(_with_a_long_text(lines, fault.bytes))
        case "crlf":
            return b"".join(lines).replace(b"\n", b"\r\n")
        case "blank_tail":
            after += b"\n\n"
        case "byte_order_mark":
            before = b"\xef\xbb\xbf" + before
        case "half_character":
            line = line.replace(b'"text":"', b'"text":"\\ud83d ', 1)
        case "open_end":
            return b"".join(lines).removesuffix(b"\n")
        case _:  # the others spoil the transfer, not the lines
            pass
    return before + line + after


def cut_gzip(whole: bytes) -> bytes:
    """The results, compressed, without the last quarter: the checksum at the end is missing."""
    packed = gzip.compress(whole, 1)
    return packed[: len(packed) * 3 // 4]


def _custom_id(line: bytes) -> bytes:
    return line.split(b'"', maxsplit=4)[3]


def _result(line: bytes, kind: bytes) -> bytes:
    """A line for the same request, with a result that has nothing but a type."""
    return b'{"custom_id":"' + _custom_id(line) + b'","result":{"type":"' + kind + b'"}}\n'


def _contradiction(line: bytes) -> bytes:
    other = _result(line, b"expired")
    return other if other != line else _result(line, b"canceled")


def _with_foreign_nonce(line: bytes) -> bytes:
    custom_id = _custom_id(line)
    number = custom_id.rpartition(b"-")[2]
    return line.replace(custom_id, _FOREIGN_NONCE + b"-" + number, 1)


def _with_a_long_text(lines: Sequence[bytes], size: int) -> list[bytes]:
    """The first answer with a text gets one of so many bytes, which begins like its own."""
    longer = list(lines)
    for position, line in enumerate(lines):
        read: dict[str, Any] = msgspec.json.decode(line)
        content = read["result"].get("message", {}).get("content", [])
        texts = [block for block in content if block["type"] == "text"]
        if texts:
            missing = max(0, size - len(texts[0]["text"].encode()))
            texts[0]["text"] += (_FILLER * (missing // len(_FILLER) + 1))[:missing]
            longer[position] = msgspec.json.encode(read) + b"\n"
            break
    return longer
