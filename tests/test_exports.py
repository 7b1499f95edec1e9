"""The finished file has one line for each line of the upload, in its order, and runs nothing."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User

from jobs import exports
from jobs.cells import plain_cell
from jobs.ingest.corrections import beside
from jobs.models import Job, Outcome, Row

MakeJob = Callable[..., Job]


def joined(job: Job) -> list[list[str]]:
    text = b"".join(exports.csv_chunks(job)).decode("utf-8-sig")
    return list(csv.reader(io.StringIO(text, newline="")))


def answered(job: Job, number: int, **values: Any) -> None:
    Row.objects.filter(job=job, number=number).update(**values)


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+1+1",
        "-1+cmd|' /C calc'!A0",
        "@SUM(1)",
        "\t=1",
        "\r=1",
        "  =1",
        "\uff1d1+1",
        '=HYPERLINK("http://x")',
        "\0=1",
    ],
)
def test_a_formula_becomes_plain_text(text: str) -> None:
    assert plain_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["-5", "+49", "-1,234.5", "-1e-5", "a=b", "", "Ann", "-7%", "007"])
def test_what_is_no_formula_stays_as_it_is(text: str) -> None:
    assert plain_cell(text) == text


def test_our_columns_never_take_the_name_of_theirs() -> None:
    names = beside(exports.ANSWER_COLUMNS, ["Answer", "status", "status_2"])
    assert names == ["answer_2", "status_3", "problem", "input_tokens", "output_tokens", "cost_usd"]


def test_the_joined_file_keeps_cells_and_order(alice: User, make_job: MakeJob) -> None:
    rows = [("Ann", 'say "hi", ok'), ("=1+1", "two\nlines"), ("Zoë 😀", "")]
    job = make_job(alice, columns=("name", "text"), rows=rows)
    answered(job, 2, answer="@evil", outcome=Outcome.GOOD, cause="", cost_pico=50_000)
    header, *lines = joined(job)
    assert header[:2] == ["name", "text"]
    assert header[2:] == list(exports.ANSWER_COLUMNS)
    assert [line[:2] for line in lines] == [
        ["Ann", 'say "hi", ok'],
        ["'=1+1", "two\nlines"],
        ["Zoë 😀", ""],
    ]
    assert lines[1][2] == "'@evil"


def test_a_row_of_the_wrong_width_is_in_the_file_with_all_its_cells(
    alice: User, make_job: MakeJob
) -> None:
    job = make_job(alice, columns=("a", "b"), rows=[("1", "2"), ("3", "4"), ("5", "6")])
    left_out = {"outcome": Outcome.LEFT_OUT, "cause": "left_out", "batch": None}
    answered(job, 1, source='["1"]', problem="Too few.", **left_out)
    answered(job, 2, source='["1","2","3","4"]', problem="Too many.", **left_out)
    _header, few, many, _good = joined(job)
    assert few[:2] == ["1", ""]
    assert few[3:5] == ["Left out", "Too few."]
    assert many[:2] == ["1", "2"]
    assert many[4] == "Too many. Cells beyond the header: 3 | 4"


def test_jsonl_is_exact(alice: User, make_job: MakeJob) -> None:
    job = make_job(alice, columns=("name",), rows=[("=1+1",), ("Ann",)])
    answered(job, 1, answer="=2\u2028", outcome=Outcome.GOOD, cause="", cost_pico=1)
    answered(job, 2, answer="", outcome=Outcome.ERRORED, cause="api_error", message="Oops")
    lines = b"".join(exports.jsonl_chunks(job)).decode().split("\n")
    first, second = json.loads(lines[0]), json.loads(lines[1])
    assert (first["cells"], first["answer"]) == ({"name": "=1+1"}, "=2\u2028")
    assert first["cost_usd"] == "0.000000000001"
    assert (second["answer"], second["status"]) == (None, "errored")
    assert second["problem"] == "Fault at the provider: Oops"


def test_the_problem_file_names_every_row_that_is_left_out(alice: User, make_job: MakeJob) -> None:
    job = make_job(alice, columns=("a",), rows=[("1",), ("2",), ("3",)])
    left_out = Row.objects.filter(job=job, number__gt=1)
    left_out.update(outcome=Outcome.LEFT_OUT, problem="Bad.\nMend it.")
    text = b"".join(exports.problem_chunks(job)).decode("utf-8-sig")
    lines = list(csv.reader(io.StringIO(text)))
    assert lines[0] == ["row", "problem", "how to fix", "a"]
    assert lines[1:] == [["3", "Bad.", "Mend it.", "2"], ["4", "Bad.", "Mend it.", "3"]]


def test_the_export_reads_a_slice_at_a_time(
    alice: User, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "SLICE", 2)
    job = make_job(alice, columns=("n",), rows=[(str(n),) for n in range(7)])
    assert [line[0] for line in joined(job)[1:]] == [str(n) for n in range(7)]
    assert len(list(exports.csv_chunks(job))) == 1 + 4
