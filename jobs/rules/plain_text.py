"""Text from outside, such as the provider's words or names of files, in the log and in a terminal.
There a line break would begin a line that says anything, and ESC would move the cursor. Pure."""

from __future__ import annotations

import copy
import logging
import traceback
from collections.abc import Iterator
from itertools import chain
from typing import Any, TextIO

# Control characters of ASCII and Latin-1, other line breaks, what turns the direction of text, and
# halves of characters, which no stream takes.
_CONTROLS = chain(
    range(0x20),
    range(0x7F, 0xA0),
    (0x061C, 0x200E, 0x200F),
    range(0x2028, 0x202F),
    range(0x2066, 0x206A),
    range(0xD800, 0xE000),
)
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

    def format(self, record: logging.LogRecord) -> str:
        # Another formatter may have left the traceback as it would write it.
        record = copy.copy(record)
        record.exc_text = None
        return super().format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:
        return one_line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:
        return _set_in(traceback_text(ei[1]) if ei[1] else "")

    def formatStack(self, stack_info: str) -> str:
        return _set_in(super().formatStack(stack_info))


# Exceptions whose text says what the machine or the program does, never what is in a cell. Those of
# databases are known by their name: only their first line, because PostgreSQL shows the whole row
# in the next one, and not DataError, which quotes the value.
_PLAIN = (OSError, ImportError, AttributeError, TypeError, NameError, RuntimeError)
_OF_DATABASES = ("OperationalError", "IntegrityError", "ProgrammingError", "InternalError")
_OURS, _QUOTES_FILES = "jobs.", "jobs.ingest."


def traceback_text(error: BaseException) -> str:
    """A traceback as Python prints it, but for texts of exceptions that may quote a cell or a
    prompt."""
    return "".join(_traceback(error)).removesuffix("\n")


def chain_of(error: BaseException) -> list[BaseException]:
    """The exception with those that led to it, the first one first."""
    chain: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in chain:
        chain.append(at)
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)
    return chain[::-1]


def _traceback(error: BaseException) -> Iterator[str]:
    for one in chain_of(error):
        yield from _traceback_of_one(one)
        if one is not error:
            yield "\nThe next one was raised because of it, or while it was handled:\n\n"


def _traceback_of_one(error: BaseException) -> Iterator[str]:
    yield "Traceback (most recent call last):\n"
    yield from traceback.format_tb(error.__traceback__)
    kind = type(error)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    yield f"{name}: {text_of(error)}\n"


def text_of(error: BaseException) -> str:
    """What an exception says, unless it may quote a cell."""
    kind = type(error)
    module = kind.__module__
    is_ours = module.startswith(_OURS) and not module.startswith(_QUOTES_FILES)
    if isinstance(error, _PLAIN) or is_ours:
        return str(error)
    if kind.__name__ in _OF_DATABASES:
        return str(error).partition("\n")[0]
    return "(its text is left out: it may quote a cell)"


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
