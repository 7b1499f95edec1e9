"""The provider's words, names of files and the like come from outside: in the log and in a terminal
they can neither begin a line of their own nor move the cursor."""

from __future__ import annotations

import io
import logging
import logging.config
import sys
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command

from jobs.batches import holds
from jobs.ingest.shapes import unreadable
from jobs.models import Job
from jobs.rules.plain_text import LineFormatter, PlainStream, lines, one_line

LOGGING: Any = settings.LOGGING
BAD = "no\r\n2026-01-01 ERROR jobs: forged \x1b[2J\x9b31m\x00\u2028\u202e"


@pytest.fixture
def logged() -> tuple[logging.Logger, io.StringIO]:
    """A logger with the site's own formatter, and what it writes."""
    config = logging.config.DictConfigurator(LOGGING)
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(config.configure_formatter(LOGGING["formatters"]["line"]))
    logger = logging.Logger("jobs.test")
    logger.addHandler(handler)
    return logger, stream


@pytest.mark.no_database
def test_a_record_is_one_line_without_control_characters(
    logged: tuple[logging.Logger, io.StringIO],
) -> None:
    logger, stream = logged
    logger.warning("the provider said: %s", BAD)
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert text.rstrip("\n").isprintable()
    assert r"no\r\n2026-01-01 ERROR jobs: forged \x1b[2J\x9b31m\x00\u2028\u202e" in text


@pytest.mark.no_database
def test_lines_of_a_traceback_cannot_look_like_records(
    logged: tuple[logging.Logger, io.StringIO],
) -> None:
    logger, stream = logged
    try:
        raise OSError(BAD)
    except OSError:
        logger.exception("a step failed", stack_info=True)
    first, *others = stream.getvalue().rstrip("\n").split("\n")
    assert "a step failed" in first
    assert any("forged" in line for line in others)
    assert all(line.startswith("    ") and line.isprintable() for line in others)


@pytest.mark.no_database
def test_what_another_formatter_left_of_a_traceback_is_not_used(
    logged: tuple[logging.Logger, io.StringIO],
) -> None:
    logger, stream = logged
    plain = logging.StreamHandler(io.StringIO())
    plain.setFormatter(logging.Formatter("%(message)s"))
    logger.handlers.insert(0, plain)
    try:
        raise OSError(BAD)
    except OSError:
        logger.exception("a step failed: %s", "\u200f\u061c\ud800")
    first, *others = stream.getvalue().rstrip("\n").split("\n")
    assert r"\u200f\u061c\ud800" in first
    assert others and all(line.startswith("    ") and line.isprintable() for line in others)


@pytest.mark.no_database
def test_tabs_and_breaks_of_lines_stay_where_there_are_several_lines() -> None:
    assert lines("a\tb\nc\r\x1b") == "a\tb\nc\\r\\x1b"
    assert one_line("a\tb\nc ä 名 🙂") == "a\\tb\\nc ä 名 🙂"


@pytest.mark.no_database
def test_a_plain_stream_is_otherwise_the_stream() -> None:
    stream = io.StringIO()
    PlainStream(stream).write("a\x1b[31mb\n")
    assert stream.getvalue() == "a\\x1b[31mb\n"
    assert PlainStream(stream).isatty() is False


def test_neither_the_log_of_a_job_nor_the_terminal_has_control_characters(
    alice: User, make_job: Callable[..., Job]
) -> None:
    job = make_job(alice, state=Job.State.WORKING, name="file\x1b]0;name\x07.csv")
    holds.hold(job.pk, f"The provider refused: {BAD}")
    assert all(event.text.isprintable() for event in job.events.all())
    said = io.StringIO()
    call_command("job", "status", str(job.pk), stdout=said)
    assert "\\x1b" in said.getvalue()
    assert all(line.isprintable() for line in said.getvalue().split("\n"))


class IntegrityError(Exception):
    """Stands for that of any database: they are known by their name."""


CELL = "Ann Miller, 12 Elm Street"


@pytest.mark.no_database
@pytest.mark.parametrize(
    "error",
    [
        ValueError(f"invalid literal for int() with base 10: {CELL!r}"),
        KeyError(CELL),
        UnicodeDecodeError("utf-8", CELL.encode(), 0, 1, "bad"),
        unreadable("quotes", f"This row has {CELL}."),
        IntegrityError(f"null value in column “size”\nDETAIL: Failing row contains ({CELL})."),
    ],
    ids=lambda error: type(error).__name__,
)
def test_no_cell_is_in_the_traceback_of_an_exception_or_of_its_cause(error: Exception) -> None:
    for raised in (error, caused_by(error)):
        text = formatted(raised)
        assert "Elm Street" not in text
        assert type(error).__name__ in text
        assert "test_plain_text.py" in text  # where it happened


@pytest.mark.no_database
def test_what_the_machine_says_is_in_the_log() -> None:
    assert "No space left on device" in formatted(OSError(28, "No space left on device"))
    assert "null value in column" in formatted(IntegrityError("null value in column\nDETAIL: x"))
    assert "DETAIL" not in formatted(IntegrityError("null value in column\nDETAIL: x"))


def test_exceptions_that_cause_each_other_come_to_an_end() -> None:
    first, second = RuntimeError("one"), RuntimeError("two")
    first.__cause__, second.__cause__ = second, first
    assert formatted(first).count("RuntimeError") == 2


def caused_by(error: Exception) -> Exception:
    outer = RuntimeError("It failed.")
    outer.__cause__ = error
    return outer


def formatted(error: Exception) -> str:
    """The record of an exception that was raised here."""
    try:
        raise error
    except Exception:  # noqa: BLE001 - whichever it is
        record = logging.LogRecord("jobs", logging.ERROR, "", 0, "failed", (), sys.exc_info())
    return LineFormatter("%(message)s").format(record)
