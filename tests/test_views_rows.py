"""The rows of a job with their answers, and the files to take away."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import StreamingHttpResponse
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from jobs import files
from jobs.models import Batch, Job, Outcome, Row

from .test_views_draft import READY_MADE
from .test_views_watch import BAD, add_batch

MakeJob = Callable[..., Job]


def text(client: Client, path: str, **options: Any) -> str:
    answer = client.get(path, **options)
    assert answer.status_code == 200
    return html.unescape(answer.content.decode())


def numbers(client: Client, job: Job, **query: str) -> list[int]:
    return [
        row.number for row in client.get(reverse("rows", args=[job.pk]), query).context["page"].rows
    ]


@pytest.fixture
def finished(make_job: MakeJob, alice: User) -> Job:
    rows = [(f"name {number}", f"Text no. {number}") for number in range(1, 7)]
    return make_job(alice, rows=rows, outcomes=BAD)


# --- The table ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, [1, 2, 3, 4, 5, 6]),
        ({"outcome": "nonsense"}, [1, 2, 3, 4, 5, 6]),
        ({"outcome": "attention"}, [2, 3, 4, 5, 6]),
        ({"outcome": "good"}, [1]),
        ({"outcome": "errored"}, [2, 3, 6]),
        ({"outcome": "attention", "cause": "overloaded_error"}, [2, 3]),
        ({"cause": "cut_off"}, [4]),
        ({"q": "no. 4"}, [4]),
        ({"q": "overLOADED"}, [2, 3]),
        ({"q": "it beg", "outcome": "attention"}, [4]),
        ({"q": "it beg", "outcome": "good"}, []),
        ({"q": "%"}, []),
        ({"q": "zzz"}, []),
        ({"q": "a\0b"}, []),
        ({"cause": "cut\0_off"}, [4]),
    ],
)
def test_rows_are_filtered_and_searched(
    finished: Job, client_alice: Client, query: dict[str, str], found: list[int]
) -> None:
    assert numbers(client_alice, finished, **query) == found


def test_a_search_finds_quotes_and_line_breaks(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    job = make_job(alice, rows=[("a", 'She said "no".'), ("b", "One\nTwo"), ("c", "Ünïcode")])
    assert numbers(client_alice, job, q='said "no"') == [1]
    assert numbers(client_alice, job, q="One\nTwo") == [2]
    assert numbers(client_alice, job, q="Ünïcode") == [3]


def test_failures_are_shown_with_cause_cells_and_the_providers_words(
    finished: Job, client_alice: Client
) -> None:
    page = text(client_alice, f"{reverse('rows', args=[finished.pk])}?outcome=attention")
    assert "Provider overloaded" in page and "Overloaded" in page and "Text no. 2" in page
    assert "Answer cut off" in page and "It beg" in page
    assert "Failed at the provider" in page and "Never heard of" in page
    assert "Text no. 1<" not in page


def test_nothing_found_says_so(finished: Job, client_alice: Client) -> None:
    page = text(client_alice, f"{reverse('rows', args=[finished.pk])}?q=zzz")
    assert "No row matches" in page and "Show all rows" in page


@pytest.fixture
def long(make_job: MakeJob, alice: User) -> Job:
    rows = [(f"name {number}", "same text") for number in range(1, 121)]
    return make_job(alice, rows=rows, outcomes=[Outcome.GOOD, Outcome.EXPIRED] * 60)


@pytest.mark.parametrize(
    ("query", "first", "last", "end"),
    [
        ({}, 1, 50, "Page 1 of 3"),
        ({"page": "3"}, 101, 120, "Page 3 of 3"),
        ({"page": "99"}, 101, 120, "Page 3 of 3"),
        ({"page": "-1"}, 1, 50, "Page 1 of 3"),
        ({"page": "x"}, 1, 50, "Page 1 of 3"),
        ({"outcome": "expired"}, 2, 100, "Page 1 of 2"),
        ({"outcome": "expired", "page": "2"}, 102, 120, "Page 2 of 2"),
        ({"q": "same"}, 1, 50, "Page 1<"),
        ({"q": "same", "page": "3"}, 101, 120, "Page 3<"),
    ],
)
def test_rows_are_paged(
    long: Job, client_alice: Client, query: dict[str, str], first: int, last: int, end: str
) -> None:
    shown = numbers(client_alice, long, **query)
    assert (shown[0], shown[-1]) == (first, last)
    assert end in client_alice.get(reverse("rows", args=[long.pk]), query).content.decode()


def test_a_page_beyond_the_end_of_a_search_is_empty(long: Job, client_alice: Client) -> None:
    assert numbers(client_alice, long, q="same", page="9" * 15) == []


@pytest.mark.parametrize(("query", "count"), [({}, 5), ({"outcome": "expired"}, 6)])
def test_pages_of_rows_take_few_queries_and_count_nothing(
    long: Job,
    client_alice: Client,
    django_assert_num_queries: DjangoAssertNumQueries,
    query: dict[str, str],
    count: int,
) -> None:
    with django_assert_num_queries(count) as queries:  # session, user, prices, job, (numbers,) rows
        client_alice.get(reverse("rows", args=[long.pk]), query)
    assert not any("COUNT(" in query["sql"] for query in queries.captured_queries)


def test_the_columns_of_the_prompt_are_shown_first(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    columns = ["a", "b", "c", "d", "e"]
    job = make_job(alice, columns=columns, rows=[tuple("12345")], prompt="{{e}} and {{c}}")
    page = client_alice.get(reverse("rows", args=[job.pk]))
    assert page.context["columns"] == ["a", "c", "e"]
    assert "2 more columns" in page.content.decode()


# --- One row --------------------------------------------------------------------------------------


def test_a_row_shows_its_request_and_its_whole_answer(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    answer = {
        "outcome": Outcome.GOOD,
        "answer": "Line one\n" * 500 + "the end",
        "input_tokens": 100,
        "cache_read_tokens": 23,
        "output_tokens": 45,
        "cost_pico": 20_000_000_000,
        "request_id": "req_7",
        "answered_by": "claude-haiku-5-5",
    }
    job = make_job(alice, outcomes=[answer, "good"], prompt="Greet {{name}}.", system="Kindly.")

    page = text(client_alice, f"/jobs/{job.pk}/rows/1/")

    assert "the end</pre>" in page and "Greet Ada." in page and "Kindly." in page
    assert "123 read, 45 written" in page and "$0.02" in page and "req_7" in page
    assert '"content": "Greet Ada."' in page and "line 2 of reviews.csv" in page
    assert f"/jobs/{job.pk}/rows/2/" in page


@pytest.mark.parametrize("number", ["0", "3", "99999999999999999999999"])
def test_a_row_that_is_none_is_not_found(finished: Job, client_alice: Client, number: str) -> None:
    Row.objects.filter(job=finished, number=3).delete()
    assert client_alice.get(f"/jobs/{finished.pk}/rows/{number}/").status_code == 404


def test_a_row_that_was_left_out_says_why(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    left_out = {"outcome": Outcome.LEFT_OUT, "cause": "left_out", "problem": "It has 4 cells."}
    job = make_job(alice, rows=[("a", "b", "too", "many"), ("c",)], outcomes=[left_out, left_out])
    page = text(client_alice, f"/jobs/{job.pk}/rows/1/")
    assert "It has 4 cells." in page and "(beyond the header)" in page and "many" in page
    assert "nothing is sent for it" in page
    assert "It has 4 cells." in text(client_alice, f"/jobs/{job.pk}/rows/")
    assert text(client_alice, f"/jobs/{job.pk}/rows/2/")
    assert "is left out: It has 4 cells." in text(
        client_alice, f"/jobs/{make_job(alice, 'draft', outcomes=[left_out] * 2).pk}/"
    )


@pytest.mark.parametrize(
    "source",
    [
        '{"custom_id": 5, "params": "text"}',
        '{"custom_id": null}',
        '{"params": {"messages": "text", "system": 7}, "custom_id": []}',
        '{"params": {"messages": [5], "model": {}}, "custom_id": "x"}',
    ],
)
def test_strange_ready_made_requests_are_shown_too(
    make_job: MakeJob, alice: User, client_alice: Client, source: str
) -> None:
    left_out = {"outcome": Outcome.LEFT_OUT, "cause": "left_out", "problem": "Not a request."}
    job = make_job(alice, rows=[READY_MADE, READY_MADE], outcomes=["good", left_out])
    Row.objects.filter(job=job, number=2).update(source=source)
    assert "Say hello." in text(client_alice, f"/jobs/{job.pk}/rows/1/")
    assert "Not a request." in text(client_alice, f"/jobs/{job.pk}/rows/2/")
    assert "Not a request." in text(client_alice, f"/jobs/{job.pk}/rows/")


def test_a_conversation_shows_its_last_turn(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    blocks = [{"type": "text", "text": "And now?"}, {"type": "image", "source": {}}]
    turns = [
        {"role": "user", "content": "First."},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": blocks},
    ]
    request = {**READY_MADE, "params": {**READY_MADE["params"], "messages": turns}}  # type: ignore[dict-item]
    page = text(client_alice, f"/jobs/{make_job(alice, rows=[request]).pk}/rows/1/")
    assert "And now?\n[image]" in page and "After 2 earlier messages" in page


# --- Files to take away ---------------------------------------------------------------------------


def content(answer: Any) -> bytes:
    assert isinstance(answer, StreamingHttpResponse)
    return b"".join(answer.streaming_content)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "content_type", "name"),
    [
        ("csv", "text/csv; charset=utf-8", "reviews - with answers.csv"),
        ("jsonl", "application/jsonl", "reviews - with answers.jsonl"),
        ("raw", "application/jsonl", "reviews - as received.jsonl"),
        ("problems", "text/csv; charset=utf-8", "reviews - problems.csv"),
    ],
)
def test_downloads_are_saved_and_never_shown(
    finished: Job, client_alice: Client, kind: str, content_type: str, name: str
) -> None:
    answer = client_alice.get(reverse("download", args=[finished.pk, kind]))
    content(answer)
    assert answer.headers["Content-Type"] == content_type
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}"'
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"] == "sandbox"
    assert answer.headers["Cache-Control"] == "no-store"


def test_the_csv_has_the_rows_with_their_answers(finished: Job, client_alice: Client) -> None:
    lines = content(client_alice.get(reverse("download", args=[finished.pk, "csv"]))).decode()
    assert len(lines.splitlines()) == 7 and "Text no. 1" in lines and "fine" in lines


def test_there_are_no_other_downloads(make_job: MakeJob, alice: User, client_alice: Client) -> None:
    job = make_job(alice)
    assert client_alice.get(f"/jobs/{job.pk}/download/exe/").status_code == 404
    assert client_alice.post(f"/jobs/{job.pk}/download/csv/").status_code == 405
    draft = make_job(alice, Job.State.DRAFT)
    assert client_alice.get(f"/jobs/{draft.pk}/download/csv/").status_code == 404
    assert client_alice.get(f"/jobs/{draft.pk}/download/problems/").status_code == 200


@pytest.mark.parametrize(
    ("upload_name", "header"),
    [
        ("grüße.csv", "attachment; filename*=utf-8''gr%C3%BC%C3%9Fe%20-%20with%20answers.csv"),
        ('a"b\\.csv', 'attachment; filename="a\\"b\\\\ - with answers.csv"'),
        ("a\r\nSet-Cookie: x.csv", 'attachment; filename="aSet-Cookie: x - with answers.csv"'),
        ("a\u202egnp.csv", 'attachment; filename="agnp - with answers.csv"'),
    ],
)
def test_a_file_name_cannot_break_out(
    make_job: MakeJob, alice: User, client_alice: Client, upload_name: str, header: str
) -> None:
    job = make_job(alice, upload_name=upload_name)
    answer = client_alice.get(reverse("download", args=[job.pk, "csv"]))
    content(answer)
    assert answer.headers["Content-Disposition"] == header


def test_a_batch_is_downloaded_as_received(finished: Job, client_alice: Client) -> None:
    batch = add_batch(finished, 1, 6, Batch.State.COLLECTED)
    path = files.results_path(batch)
    path.parent.mkdir(parents=True)
    received = json.dumps({"custom_id": "x"}).encode() + b"\n"
    path.write_bytes(received)

    answer = client_alice.get(reverse("batch_raw", args=[finished.pk, 1]))

    assert content(answer) == received
    assert answer.headers["Content-Type"] == "application/jsonl"
    assert answer.headers["Content-Security-Policy"] == "sandbox"
    assert answer.headers["Content-Disposition"].startswith("attachment; ")
    assert client_alice.get(reverse("batch_raw", args=[finished.pk, 2])).status_code == 404


def test_a_batch_at_work_has_no_results_yet(finished: Job, client_alice: Client) -> None:
    add_batch(finished, 1, 6, Batch.State.IN_PROGRESS)
    assert client_alice.get(reverse("batch_raw", args=[finished.pk, 1])).status_code == 404
