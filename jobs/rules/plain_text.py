"""Text from outside, such as the provider's words or names of files, in the log and in a terminal.
There a line break would begin a line that says anything, and ESC would move the cursor. Pure."""

from __future__ import annotations

import logging
from itertools import chain
from typing import Any, TextIO

# Control characters of ASCII and Latin-1, other line breaks, and what turns the direction of text.
_CONTROLS = chain(range(0x20), range(0x7F, 0xA0), range(0x2028, 0x202F), range(0x2066, 0x206A))
_ESCAPES = {code: repr(chr(code))[1:-1] for code in _CONTROLS}
_ESCAPES_IN_LINES = {code: text for code, text in _ESCAPES.items() if chr(code) not in "\n\t"}


def one_line(text: str) -> str:
    """The text with each control character as Python writes it, such as \\x1b."""
    return text.translate(_ESCAPES)


def lines(text: str) -> str:
    """The same for a text of several lines."""
    return text.translate(_ESCAPES_IN_LINES)


class LineFormatter(logging.Formatter):
    """One record, one line; those of a traceback are set in, so that none looks like a record."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return one_line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:
        return _set_in(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:
        return _set_in(super().formatStack(stack_info))


def _set_in(text: str) -> str:
    return "\n".join(f"    {line}" for line in lines(text).split("\n"))


class PlainStream:
    """A text stream, such as standard output, that no control characters go through."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(lines(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
