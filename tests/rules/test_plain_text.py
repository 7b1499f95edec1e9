"""The provider's words, names of files and the like come from outside: in the log and in a terminal
they can neither begin a line of their own nor move the cursor."""

from __future__ import annotations

import io
import logging
import logging.config
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command

from jobs.batches import holds
from jobs.models import Job
from jobs.rules.plain_text import PlainStream, lines, one_line

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
        raise ValueError(BAD)
    except ValueError:
        logger.exception("a step failed", stack_info=True)
    first, *others = stream.getvalue().rstrip("\n").split("\n")
    assert "a step failed" in first
    assert any("forged" in line for line in others)
    assert all(line.startswith("    ") and line.isprintable() for line in others)


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
