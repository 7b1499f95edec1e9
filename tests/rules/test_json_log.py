"""The log as JSON: one object a line that nothing from outside can forge, with fields by which
lines are found again, from a request to what the worker does because of it."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
from django.contrib.auth.models import User
from django.test import Client, TestCase

from jobs.models import Job, job_log
from jobs.rules import json_log, log_context
from jobs.rules.json_log import JsonFormatter
from jobs.worker import advance, tasks

from ..conftest import store_job
from .test_plain_text import BAD, CELL

Entry = dict[str, Any]


@pytest.fixture
def written() -> Iterator[Callable[[], list[Entry]]]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    loggers = [logging.getLogger(name) for name in ("jobs", "django.request")]
    for logger in loggers:
        logger.addHandler(handler)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    for logger in loggers:
        logger.removeHandler(handler)


@pytest.mark.no_database
def test_no_text_from_outside_begins_a_line_or_moves_the_cursor(
    written: Callable[[], list[Entry]],
) -> None:
    with log_context.about(request="abc", job=7):
        logging.getLogger("jobs.test").warning("the provider said: %s", BAD)
        try:
            raise OSError(BAD)
        except OSError:
            logging.getLogger("jobs.test").exception("a step failed")
    first, second = written()
    assert first["message"].isprintable() and "forged" in first["message"]
    assert (first["request"], first["job"], first["level"]) == ("abc", 7, "WARNING")
    assert second["logger"] == "jobs.test" and "forged" in second["error"]
    assert all(line.isprintable() for line in second["error"].split("\n"))
    assert json.loads(json_log.line("ERROR", "serve", BAD))["message"].isprintable()


@pytest.mark.no_database
def test_what_a_line_is_about_cannot_replace_what_it_is() -> None:
    record = logging.LogRecord("jobs", logging.ERROR, "", 0, "said", (), None)
    with log_context.about(message="forged", level="DEBUG", logger="x", time="never"):
        entry = json.loads(JsonFormatter().format(record))
    assert (entry["message"], entry["level"], entry["logger"]) == ("said", "ERROR", "jobs")
    assert log_context.current() == {}


@pytest.mark.no_database
def test_no_cell_is_in_an_error() -> None:
    try:
        raise ValueError(CELL)
    except ValueError:
        record = logging.LogRecord("jobs", logging.ERROR, "", 0, "failed", (), sys.exc_info())
    entry = JsonFormatter().format(record)
    assert "Elm Street" not in entry and "test_json_log.py" in entry


def test_a_request_is_followed_from_the_page_to_the_worker(
    alice: User, client_alice: Client, written: Callable[[], list[Entry]]
) -> None:
    job = store_job(alice, Job.State.WORKING, practice=True)
    headers = {"X-Request-ID": "proxy-0123456789"}
    with (
        mock.patch.object(tasks, "nudge") as nudge,
        TestCase.captureOnCommitCallbacks(execute=True),
    ):
        answer = client_alice.post(f"/jobs/{job.pk}/stop/", headers=headers)
    assert answer.status_code == 302 and answer.headers["X-Request-ID"] == "proxy-0123456789"
    assert nudge.call_args.args == (job.pk, "proxy-0123456789")

    def step(pk: int, *_: object) -> None:
        job_log.write(pk, "Stopped.")

    with mock.patch.object(advance, "_advance", step):
        tasks.nudge.call_local(*nudge.call_args.args)
    last = written()[-1]
    assert last["message"] == f"job {job.pk}: Stopped."
    assert (last["request"], last["job"]) == ("proxy-0123456789", job.pk)
    assert "person" not in last, "the worker did it"


@pytest.mark.parametrize(
    "given", ["", "short", "a b", "x" * 65, "line\nbreak", "<script>12345", "é" * 9]
)
def test_an_id_that_could_forge_something_is_replaced(client_alice: Client, given: str) -> None:
    answers = [client_alice.get("/", headers={"X-Request-ID": given}) for _ in range(2)]
    first, second = (answer.headers["X-Request-ID"] for answer in answers)
    assert first != second and given not in (first, second)
    assert len(first) == 16 and first.isalnum()


def test_the_log_says_whose_request_and_which_job_failed(
    alice: User, client_alice: Client, written: Callable[[], list[Entry]]
) -> None:
    job = store_job(alice, columns=["name", "secret"], rows=[("Ada", CELL)])
    client_alice.raise_request_exception = False
    with mock.patch("jobs.web.views.job_page.render", side_effect=ValueError(CELL)):
        answer = client_alice.get(f"/jobs/{job.pk}/")
    assert answer.status_code == 500
    (entry,) = (one for one in written() if one["logger"] == "django.request")
    assert (entry["person"], entry["job"]) == (alice.pk, job.pk)
    assert entry["request"] == answer.headers["X-Request-ID"]
    assert "Elm Street" not in json.dumps(entry)
