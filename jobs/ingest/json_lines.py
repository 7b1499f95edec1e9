"""JSONL: one object a line. Objects are the rows of a table, or, with `custom_id` and `params`,
ready-made batch requests that are sent as they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from .text import (
    BOM,
    MAX_COLUMNS,
    MAX_LINE,
    MAX_NAME,
    Finding,
    Line,
    Unreadable,
    not_utf8,
)

TOO_DEEP = "it is nested too deeply"
MOST_TOKENS = 1_000_000  # more than any model writes in one answer
FAULTS_SHOWN = 100  # a file with more bad lines is not read further


class _Request(msgspec.Struct):
    custom_id: Any = None
    params: msgspec.Raw = msgspec.Raw(b"")


_encoder = msgspec.json.Encoder()
_request_decoder = msgspec.json.Decoder(_Request)
_object_decoder = msgspec.json.Decoder(dict[str, Any])
# A cell that is an object or a long number keeps the text that was there.
_raw_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])

# What a batch does not take, with the remedy (Message Batches guide; API version 2026-10-21).
_REFUSED_PARAMS = {
    "stream": "A batch cannot stream. Remove “stream”.",
    "speed": "Fast mode does not work in a batch. Remove “speed”.",
    "fallbacks": "Fallback models do not work in a batch. Remove “fallbacks”.",
    "temperature": "“temperature” is no longer accepted. Remove it.",
    "top_p": "“top_p” is no longer accepted. Remove it.",
    "top_k": "“top_k” is no longer accepted. Remove it.",
}


class JsonLinesReader:
    """Iterates the lines. The first decides: ready-made requests, or the rows of a table."""

    format = "JSONL"
    delimiter = ""

    def __init__(self, path: str) -> None:
        self.path = path
        self.blank_lines = 0
        self.columns: list[str] = []
        self.remarks: list[Finding] = []
        self.position = 0
        self.kind = "table"
        self._seen_ids: dict[str, int] = {}
        for _line, raw in self._raw_lines():
            first = _decode(_request_decoder, raw)
            if isinstance(first, _Request) and first.custom_id and bytes(first.params):
                self.kind = "requests"
            break
        self.position = self.blank_lines = 0

    def _raw_lines(self) -> Iterator[tuple[int, bytes]]:
        with Path(self.path).open("rb") as file:
            number = 0
            while raw := file.readline(MAX_LINE + 1):
                number += 1
                self.position += len(raw)
                if number == 1:
                    raw = raw.removeprefix(BOM)
                if not raw.strip():
                    self.blank_lines += 1
                    continue
                yield number, raw

    def __iter__(self) -> Iterator[Line]:
        if self.kind == "table":
            # A row is a list of cells in the order of the columns, and a later line may bring a
            # column that no earlier one has: the columns come first.
            self.columns = self._collect_columns()
            self.position = self.blank_lines = 0
        faults: list[Finding] = []
        for number, raw in self._raw_lines():
            line = self._request(number, raw) if self.kind == "requests" else self._row(number, raw)
            if isinstance(line, Finding):
                faults.append(line)
                if len(faults) == FAULTS_SHOWN:
                    break
            elif not faults:
                yield line
        if faults:
            raise Unreadable(*faults)

    def _collect_columns(self) -> list[str]:
        names: dict[str, None] = {}
        for _number, raw in self._raw_lines():
            found = _decode(_raw_decoder, raw)
            if isinstance(found, dict):
                names.update(dict.fromkeys(found))
            if len(names) > MAX_COLUMNS:
                raise Unreadable(
                    Finding(f"The objects have more than {MAX_COLUMNS} different keys.", _number)
                )
        for name in names:
            if not name.strip() or len(name) > MAX_NAME or any(c in name for c in "{}\n\0"):
                raise Unreadable(
                    Finding(
                        f"The key “{name[:MAX_NAME]}” cannot be a column name: it is empty, too "
                        "long, or has a brace or line break in it. Rename it."
                    )
                )
        return list(names)

    def _row(self, number: int, raw: bytes) -> Line | Finding:
        found = _decode(_raw_decoder, raw)
        if not isinstance(found, dict):
            return self._fault(number, raw, found)
        cells = [_cell(found[name]) if name in found else "" for name in self.columns]
        if any("\0" in cell for cell in cells):
            return Finding("There is a NUL character (\\u0000) in this line. Remove it.", number)
        sizes = [len(cell) if cell.isascii() else len(cell.encode()) for cell in cells]
        return Line(number, _encoder.encode(cells).decode(), sum(sizes), "", sizes)

    def _request(self, number: int, raw: bytes) -> Line | Finding:
        # Decoded whole: what is stored can then be read again, whatever numbers are in it.
        found = _decode(_object_decoder, raw)
        if not isinstance(found, dict):
            return self._fault(number, raw, found)
        source = raw.decode().strip()
        params = found.get("params")
        if not isinstance(params, dict):
            return Line(number, source, 0, "“params” is missing or not an object.")
        if problem := self._request_problem(number, found.get("custom_id"), params):
            return Line(number, source, 0, problem.replace("\0", "\ufffd"))
        return Line(
            number,
            source,
            len(bytes(_request_decoder.decode(raw).params)),
            model=params["model"],
            max_tokens=params["max_tokens"],
            cached='"cache_control"' in source,
            in_the_us=params.get("inference_geo") == "us",
        )

    def _request_problem(self, number: int, custom_id: Any, params: dict[str, Any]) -> str:
        """Why this request cannot go into a batch; "" when it can."""
        if not isinstance(custom_id, str) or not custom_id:
            return "“custom_id” is missing or not a text."
        if (before := self._seen_ids.setdefault(custom_id, number)) != number:
            same = f"The custom_id “{custom_id[:80]}” is also on line {before}."
            return f"{same} Each may be there once."
        for name, remedy in _REFUSED_PARAMS.items():
            # 0 is a value like any other: `0 in (None, False)` would be true.
            if params.get(name) is not None and params[name] is not False:
                return remedy
        model = params.get("model")
        if not isinstance(model, str) or not model or "\0" in model or len(model) > MAX_NAME:
            return "“model” is missing in “params”, or not the name of a model."
        longest = params.get("max_tokens")
        if type(longest) is not int or not 1 <= longest <= MOST_TOKENS:
            return (
                "“max_tokens” is missing in “params”, or not a whole number from 1 to "
                f"{MOST_TOKENS:,}."
            )
        messages = params.get("messages")
        if not isinstance(messages, list) or not messages:
            return "“messages” is missing in “params”, or empty."
        return ""

    def _fault(self, number: int, raw: bytes, why: object) -> Finding:
        if len(raw) > MAX_LINE:
            return Finding(f"This line has more than {MAX_LINE:,} bytes. Shorten it.", number)
        if isinstance(why, UnicodeDecodeError):
            return not_utf8(number).findings[0]
        if number == 1 and raw.lstrip()[:1] == b"[":
            return Finding(
                "This is a JSON list. Save it as JSONL: one object a line, without the brackets "
                "around them and without commas between them.",
                number,
            )
        beginning = raw[:40].decode(errors="replace").strip()
        detail = f" ({why})" if why == TOO_DEEP else ""
        return Finding(
            f"This line is not a JSON object{detail}. It begins with “{beginning}”. Each line of "
            'a JSONL file must be one complete object, such as {"name": "Ann"}.',
            number,
        )


def _decode(decoder: msgspec.json.Decoder[Any], raw: bytes) -> Any:
    """The decoded line, or the exception that says why not: callers tell by the type."""
    if len(raw) > MAX_LINE:
        return "too long"
    try:
        raw.decode()
        return decoder.decode(raw)
    except UnicodeDecodeError as error:
        return error
    except RecursionError:
        return TOO_DEEP
    except msgspec.DecodeError as error:
        return str(error)


def _cell(raw: msgspec.Raw) -> str:
    """A JSON value as the text of a cell: a string as it is, null as nothing, and anything else
    in the very characters of the file, so that no digit of a long number is lost."""
    text = bytes(raw)
    if text[:1] == b'"':
        decoded = msgspec.json.decode(text)
        return decoded if isinstance(decoded, str) else ""
    return "" if text == b"null" else text.decode()
