"""The rows of a job with their answers, and the files to take away."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from itertools import pairwise, product
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin

import msgspec
import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.http import StreamingHttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from jobs.models import (
    ATTENTION,
    Batch,
    Difference,
    GoldStandard,
    Job,
    Outcome,
    Row,
    checksums,
    files,
)
from jobs.results import row_browser
from jobs.results.row_browser import RowFilter
from jobs.rules.accuracy import Accuracy
from jobs.rules.answer_formats import AnswerKind, as_answer
from jobs.rules.judging import describe_cause
from jobs.rules.right_answers import GoldChoice
from jobs.web.views import rows as rows_view
from jobs.worker import tally

from ..pages import squeezed
from .test_views_draft import READY_MADE
from .test_views_job_page import BAD, add_batch

MakeJob = Callable[..., Job]


def text(client: Client, path: str, **options: Any) -> str:
    answer = client.get(path, **options)
    assert answer.status_code == 200
    return squeezed(answer.content)


def numbers(client: Client, job: Job, **query: str) -> list[int]:
    return [
        row.number for row in client.get(reverse("rows", args=[job.pk]), query).context["page"].rows
    ]


@pytest.fixture
def finished(make_job: MakeJob, alice: User) -> Job:
    rows = [(f"name {number}", f"Text no. {number}") for number in range(1, 7)]
    return make_job(alice, rows=rows, outcomes=BAD)


# --- The table ------------------------------------------------------------------------------------


FOUND: list[tuple[dict[str, str], list[int]]] = [
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
]


def test_rows_are_filtered_and_searched(finished: Job, client_alice: Client) -> None:
    for query, found in FOUND:
        assert numbers(client_alice, finished, **query) == found, query


def test_a_search_finds_quotes_and_line_breaks(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    rows = [("a", 'She said "no".'), ("b", "One\nTwo"), ("c", "Ünïcode"), ("d", "C:\\new 100%_")]
    job = make_job(alice, rows=rows)
    assert numbers(client_alice, job, q='said "no"') == [1]
    assert numbers(client_alice, job, q="One\nTwo") == [2]
    assert numbers(client_alice, job, q="Ünïcode") == [3]
    for form in ("ünïcode", "ÜNÏCODE", "ünïCODE"):
        assert numbers(client_alice, job, q=form) == [3]
    assert numbers(client_alice, job, q="c:\\NEW") == numbers(client_alice, job, q="%_") == [4]


def test_a_search_finds_what_is_in_answers_of_every_kind(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    kind = {"kind": "columns", "columns": [{"name": "mood"}]}
    stored = as_answer(msgspec.convert(kind, AnswerKind), {"mood": 'so "so"\nlà'})
    for wanted, answer in (({}, 'so "so"\nlà'), (kind, stored)):
        outcomes = [{"outcome": "good", "answer": answer}, "good"]
        job = make_job(alice, outcomes=outcomes, answer=wanted)
        assert numbers(client_alice, job, q='"so"') == [1]
        assert numbers(client_alice, job, q='"\nLÀ') == [1]


def test_failures_are_shown_with_cause_cells_and_the_providers_words(
    finished: Job, client_alice: Client
) -> None:
    page = text(client_alice, f"{reverse('rows', args=[finished.pk])}?outcome=attention")
    assert "Anthropic overloaded" in page and "Overloaded" in page and "Text no. 2" in page
    assert "Answer cut off" in page and "It beg" in page
    assert "Failed at Anthropic" in page and "Never heard of" in page
    assert "Text no. 1<" not in page


def test_nothing_found_says_so(finished: Job, client_alice: Client) -> None:
    page = text(client_alice, f"{reverse('rows', args=[finished.pk])}?q=zzz")
    assert "No row matches" in page and "Show all rows" in page


@pytest.fixture
def long(make_job: MakeJob, alice: User) -> Job:
    rows = [(f"name {number}", "same text") for number in range(1, 121)]
    return make_job(alice, rows=rows, outcomes=[Outcome.GOOD, Outcome.EXPIRED] * 60)


def walked(client: Client, job: Job, rel: str = "next", **query: str) -> list[list[int]]:
    """The numbers on each page, as the links lead from one to the next, or to the one before."""
    address = f"{reverse('rows', args=[job.pk])}?{urlencode(query)}"
    pages: list[list[int]] = []
    while address and len(pages) < 50:
        answer = client.get(address)
        pages.append([row.number for row in answer.context["page"].rows])
        page = squeezed(answer.content)
        links = re.findall(r'<a class="btn[^"]*" rel="(\w+)" href="([^"]*)"', page)
        link = dict(links).get(rel, "")
        address = urljoin(address, link) if link else ""
    return pages


@pytest.fixture
def mixed(make_job: MakeJob, alice: User, monkeypatch: pytest.MonkeyPatch) -> Job:
    """66 rows, in which few things go together: outcomes, causes, labels, models, costs that are
    the same for many. There are ten on a page."""
    monkeypatch.setattr(rows_view, "PAGE", 10)
    kinds: list[dict[str, Any]] = [
        {"outcome": "good", "answer": "happy"},
        {"outcome": "good", "answer": "cross"},
        {"outcome": "look", "cause": "cut_off", "answer": "I think"},
        {"outcome": "errored", "cause": "api_error", "message": "It broke"},
        {"outcome": "errored", "cause": "strange_error"},
        {"outcome": "expired", "cause": "expired"},
        {"outcome": "canceled", "cause": "canceled"},
        {"outcome": "left_out", "cause": "left_out", "problem": "It has 4 cells."},
        {"outcome": "waiting"},
    ]
    outcomes = []
    for number in range(1, 67):
        kind = kinds[number * 7 % 9 if number % 4 else 0]
        if kind["outcome"] in ("good", "look"):
            kind = {
                **kind,
                "output_tokens": number % 5,
                "cost_pico": number % 3 * 10**9,
                "answered_by": ("small", "large")[number % 2],
            }
        outcomes.append(kind)
    labels = {"kind": "labels", "labels": ["happy", "cross"]}
    rows = [(f"name {number}", f"Text {number % 6}") for number in range(1, 67)]
    return make_job(alice, rows=rows, outcomes=outcomes, answer=labels)


KEYS: dict[str, Callable[[Row], Any]] = {
    "": lambda row: row.number,
    "cost": lambda row: (row.cost_pico, row.number),
    "output": lambda row: (row.output_tokens, row.number),
    "cause": lambda row: (
        not row.cause,
        describe_cause(row.cause).title if row.cause else "",
        row.cause,
        row.number,
    ),
}
FITS: list[tuple[dict[str, Any], Callable[[Row], bool]]] = [
    ({}, lambda row: True),
    ({"outcome": "attention"}, lambda row: row.outcome in ATTENTION),
    ({"outcome": "errored"}, lambda row: row.outcome == "errored"),
    ({"cause": "cut_off"}, lambda row: row.cause == "cut_off"),
    ({"label": "happy"}, lambda row: row.answer == "happy"),
    (
        {"model": "large", "outcome": "look"},
        lambda row: row.outcome == "look" and row.number % 2 == 1,
    ),
    ({"text": "text 3"}, lambda row: row.number % 6 == 3),
    (
        {"text": "TEXT 4", "label": "cross", "model": "small"},
        lambda row: row.number % 6 == 4 and row.answer == "cross",
    ),
    ({"differs": True}, lambda row: row.number % 5 == 0),
    (
        {"differs": True, "outcome": "good"},
        lambda row: row.number % 5 == 0 and row.outcome == "good",
    ),
    ({"differs": True, "text": "text 3"}, lambda row: row.number % 30 == 15),
]


def paged(job: Job, wanted: RowFilter, *, back: bool = False) -> list[list[int]]:
    """The numbers on each page from the first to the last, or from the last one back."""
    page = rows_view.find_page(job, wanted, "", rows_view.END if back else "")
    pages = [page]
    while place := page.before if back else page.after:
        begin, end = ("", str(place)) if back else (str(place), "")
        page = rows_view.find_page(job, wanted, begin, end)
        pages.append(page)
        assert len(pages) < 50
    return [[row.number for row in page.rows] for page in pages]


def test_every_row_is_on_one_page_and_in_order(mixed: Job) -> None:
    different = range(5, 67, 5)
    Difference.objects.bulk_create(Difference(job=mixed, number=number) for number in different)
    GoldStandard.objects.create(
        job=mixed,
        choice=GoldChoice((("", "name"),)),
        compared=Accuracy(different=len(different)),
        compared_rows=mixed.rows_version,
        compared_choice=1,
    )
    for query, fits in FITS:
        rows = [row for row in mixed.rows.all() if fits(row)]
        assert rows
        for sort in rows_view.SORTS:
            key, down = KEYS[sort.removeprefix("-").removeprefix("number")], sort[:1] == "-"
            expected = [row.number for row in sorted(rows, key=key, reverse=down)]
            wanted = RowFilter(**query, sort=sort.lstrip("-") or "number", descending=down)
            assert row_browser.count_rows(mixed, wanted) in (None, len(rows)), wanted

            pages = paged(mixed, wanted)

            assert [number for page in pages for number in page] == expected, wanted
            assert all(len(page) == 10 for page in pages[:-1]), wanted
            # From the last page back come the same rows, though its pages begin elsewhere; it ends
            # with the first page.
            back = paged(mixed, wanted, back=True)
            assert back[-1] == expected[:10], wanted
            for later, earlier in pairwise(back[:-1]):
                assert expected.index(earlier[-1]) + 1 == expected.index(later[0]), wanted
            assert {number for page in back for number in page} == set(expected), wanted


@pytest.mark.no_database
def test_links_lead_from_page_to_page(
    mixed: Job, client_alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows_view, "PAGE", 20)
    for query in ({"sort": "-cost", "col": "2"}, {"outcome": "good", "q": "text", "page": "7"}):
        forward = walked(client_alice, mixed, **query)
        assert len(forward) > (2 if "sort" in query else 1)
        assert len({n for page in forward for n in page}) == sum(map(len, forward))
        back = walked(client_alice, mixed, "prev", to="end", **query)
        assert {n for page in back for n in page} == {n for page in forward for n in page}


@pytest.mark.no_database
def test_a_search_whose_time_is_up_says_how_far_it_came_and_goes_on(
    mixed: Job, client_alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_browser, "SECONDS", 0)
    monkeypatch.setattr(row_browser, "FIRST_SLICE", 10)

    page = text(client_alice, f"{reverse('rows', args=[mixed.pk])}?q=name+45")

    assert "Nothing found so far" in page and "Searched up to row 10" in page
    assert "Keep looking" in page
    assert [n for page in walked(client_alice, mixed, q="name 45") for n in page] == [45]
    for sort in rows_view.SORTS:
        kind = sort.lstrip("-") or "number"
        wanted = RowFilter(text="name 45", sort=kind, descending=sort[:1] == "-")
        found, back = paged(mixed, wanted), paged(mixed, wanted, back=True)
        assert len(found) > 2 and [number for page in found for number in page] == [45]
        assert {number for page in back for number in page} == {45}


def test_an_address_shows_the_same_rows_whatever_becomes_of_others(
    long: Job, client_alice: Client
) -> None:
    second = {"outcome": "expired", "from": "102"}
    before = numbers(client_alice, long, **second)
    Row.objects.filter(job=long, number=2).update(outcome=Outcome.GOOD)
    tally.count_up(long)
    assert numbers(client_alice, long, **second) == before == list(range(102, 121, 2))


@pytest.mark.no_database
def test_strange_addresses_show_rows_all_the_same(mixed: Job, client_alice: Client) -> None:
    """What is wanted of the rows is read by one name after the other, a place by the order."""
    strange = ["-", "-1", "0", "x", "1-x", "x-1", "9" * 18, "9" * 40, "٣", "1-2-3", "a\0b", "'\"<"]
    names = ["from", "to", "col", "sort", "outcome", "cause", "label", "model"]
    for value in [*strange, f"{'9' * 18}-{'9' * 18}"]:
        query = {**dict.fromkeys(names, value), "q": "zzz"}
        assert client_alice.get(f"/jobs/{mixed.pk}/rows/", query).status_code == 200
        for sort, down in (("number", False), ("cost", True), ("output", True), ("cause", False)):
            wanted = RowFilter(cause="zzz", sort=sort, descending=down)
            for begin, end in ((value, ""), ("", value)):
                assert rows_view.find_page(mixed, wanted, begin, end).rows == [], value
    assert client_alice.get(f"/jobs/{mixed.pk}/rows/7/", query).status_code == 200


def test_the_rows_of_others_are_not_found(mixed: Job, client_bob: Client) -> None:
    for address in ("", "?q=text", "?outcome=good&sort=-cost", "7/", "7/?outcome=good"):
        assert client_bob.get(f"/jobs/{mixed.pk}/rows/{address}").status_code == 404


def test_what_can_be_chosen_is_what_there_is(mixed: Job, client_alice: Client, long: Job) -> None:
    shown = client_alice.get(f"/jobs/{mixed.pk}/rows/?outcome=errored").context
    assert [key for key, _words, _count in shown["filters"]][:3] == ["", "attention", "good"]
    assert {key for key, _words, _count in shown["causes"]} == {"api_error", "strange_error"}
    assert shown["labels"] == ("happy", "cross") and shown["models"] == ["large", "small"]
    assert "cost" in shown["sorts"] and "cause" in shown["sorts"]
    shown = client_alice.get(f"/jobs/{long.pk}/rows/").context
    assert not shown["labels"] and not shown["models"]


@pytest.mark.parametrize(("query", "count"), [({}, 9), ({"outcome": "expired"}, 9)])
def test_pages_of_rows_take_few_queries_and_count_nothing(
    long: Job,
    client_alice: Client,
    django_assert_num_queries: DjangoAssertNumQueries,
    query: dict[str, str],
    count: int,
) -> None:
    with django_assert_num_queries(
        count
    ) as queries:  # session, user, role, prices, job, numbers, rows, right answers, bell
        client_alice.get(reverse("rows", args=[long.pk]), query)
    of_rows = [one["sql"] for one in queries.captured_queries if "notification" not in one["sql"]]
    assert not any("COUNT(" in one for one in of_rows)


def test_pages_come_from_indexes_alone(mixed: Job) -> None:
    sorts, outcomes = ("", "-number", "cost", "-output", "cause"), ("", "attention", "good")
    for sort, outcome in product(sorts, outcomes):
        kind, down = sort.lstrip("-") or "number", sort[:1] == "-"
        wanted = RowFilter(outcome=outcome, sort=kind, descending=down)
        middle = row_browser.find_rows(mixed, wanted, None, 20).onward
        with CaptureQueriesContext(connection) as queries:
            row_browser.find_rows(mixed, wanted, middle, 20)
        assert queries.captured_queries, wanted
        for query in queries.captured_queries if connection.vendor == "sqlite" else ():
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN QUERY PLAN {query['sql']}")
                steps = [step[3] for step in cursor.fetchall()]
            assert not [one for one in steps if "TEMP B-TREE" in one or "SCAN" in one], wanted
            searches = [step for step in steps if step.startswith("SEARCH")]
            assert searches and all("COVERING INDEX" in step for step in searches), wanted


def test_the_columns_of_the_prompt_are_shown_first(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    columns = ["a", "b", "c", "d", "e"]
    job = make_job(alice, columns=columns, rows=[tuple("12345")], prompt="{{e}} and {{c}}")
    page = client_alice.get(reverse("rows", args=[job.pk]))
    assert page.context["columns"] == ["a", "c", "e"]
    assert "2 more columns" in page.content.decode()


def test_columns_can_be_chosen(make_job: MakeJob, alice: User, client_alice: Client) -> None:
    columns = [f"column {number}" for number in range(1, 31)]
    job = make_job(alice, columns=columns, rows=[tuple(map(str, range(1, 31)))])
    address = reverse("rows", args=[job.pk])
    page = client_alice.get(f"{address}?col=30&col=2&col=77&col=x")
    assert page.context["columns"] == ["column 2", "column 30"]
    assert "28 more columns" in page.content.decode()
    # Going on keeps them.
    assert f"{address}1/?col=30&amp;col=2" in page.content.decode()
    every = "&".join(f"col={number}" for number in range(1, 31))
    assert len(client_alice.get(f"{address}?{every}").context["columns"]) == 12


def test_long_texts_are_folded_and_the_longest_cut(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    job = make_job(alice, rows=[("a", "short"), ("b", "long " * 50 + "end"), ("c", "x" * 5_000)])
    page = text(client_alice, f"/jobs/{job.pk}/rows/")
    assert page.count("<details><summary>") == 2 and "long end" in page
    assert page.count("The whole text") == 1 and "x" * 2_000 not in page


def test_costs_are_a_column_only_on_request(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    paid = {"outcome": Outcome.GOOD, "cost_pico": 20_000_000_000, "output_tokens": 45}
    job = make_job(alice, outcomes=[paid, "good"])
    tally.count_up(job)
    address = f"/jobs/{job.pk}/rows/"
    assert "$0.02" not in text(client_alice, address)
    for query in ("?cost=1", "?sort=cost", "?sort=-cost"):
        assert "$0.02" in text(client_alice, address + query)


def test_a_filter_that_applies_at_once_has_the_address_of_what_it_shows(
    finished: Job, client_alice: Client
) -> None:
    address = reverse("rows", args=[finished.pk])
    query = {"q": "", "cause": "", "outcome": "attention", "sort": "-number"}
    answer = client_alice.get(address, query, headers={"HX-Request": "true"})
    assert answer.headers["HX-Push-Url"] == f"{address}?outcome=attention&sort=-number"
    assert "HX-Push-Url" not in client_alice.get(address, query).headers


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
    assert "100 uncached, 0 cache write, 23 cache read" in page
    assert '"content": "Greet Ada."' in page and "Line 2 of reviews.csv" in page
    assert f"/jobs/{job.pk}/rows/2/" in page


def test_the_next_row_is_the_next_of_those_looked_at(mixed: Job, client_alice: Client) -> None:
    for query in ("outcome=attention", "outcome=errored&sort=-cost", "q=text+3", "sort=cause"):
        chosen = dict(parse_qsl(query))
        order = numbers(client_alice, mixed, **chosen)
        for before, number, after in zip(order, order[1:], order[2:5], strict=False):
            shown = client_alice.get(f"/jobs/{mixed.pk}/rows/{number}/?{query}")
            assert shown.context["previous"].number == before
            assert shown.context["next"].number == after
            assert f"/jobs/{mixed.pk}/rows/{after}/?{query}" in html.unescape(
                shown.content.decode()
            )
        ends = {"previous": order[0], "next": numbers(client_alice, mixed, to="end", **chosen)[-1]}
        for side, number in ends.items():
            shown = client_alice.get(f"/jobs/{mixed.pk}/rows/{number}/?{query}")
            assert shown.context[side] is None


def test_a_row_opens_beside_the_table_and_its_link_leads_to_its_page(
    mixed: Job, client_alice: Client
) -> None:
    query = "?outcome=attention"
    order = numbers(client_alice, mixed, outcome="attention")
    address = f"/jobs/{mixed.pk}/rows/{order[1]}/{query}"
    table = text(client_alice, f"/jobs/{mixed.pk}/rows/{query}")
    assert f'href="{address}&" hx-get="{address}&"' in table and 'id="row-drawer"' in table
    beside = {"HX-Request": "true", "HX-Target": "row-drawer"}
    drawer = text(client_alice, address, headers=beside)
    assert "<html" not in drawer and f'Row <span class="num">{order[1]}</span>' in drawer
    for other in (order[0], order[2]):
        assert f'hx-get="/jobs/{mixed.pk}/rows/{other}/{query}&"' in drawer
    assert "<html" in text(client_alice, address, headers={"HX-Request": "true"})


def test_a_row_shows_first_what_the_prompt_uses_and_what_can_be_done(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    refused = {"outcome": Outcome.LOOK, "cause": "refused"}
    job = make_job(
        alice,
        columns=["a", "b", "c"],
        rows=[("1", "2", "3"), ("4", "5", "6")],
        outcomes=[refused, "good"],
        prompt="Add {{c}}",
        practice=True,
    )
    page = text(client_alice, f"/jobs/{job.pk}/rows/1/")
    assert page.index(">c</dt>") < page.index("2 columns that the prompt does not use")
    assert page.index("2 columns that the prompt does not use") < page.index(">a</dt>")
    assert 'Add <mark class="inserted" title="c">3</mark>' in page and "Not charged" in page
    assert reverse("edit_row", args=[job.pk, 1]) in page
    assert reverse("change_prompt", args=[job.pk, "refused"]) in page
    page = text(client_alice, f"/jobs/{job.pk}/rows/2/")
    assert "/edit/" not in page and "/change-prompt/" not in page


def test_a_next_row_that_is_far_away_is_looked_for_on_request(
    mixed: Job, client_alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows_view, "NEIGHBOUR_SECONDS", 0)
    monkeypatch.setattr(row_browser, "FIRST_SLICE", 10)
    page = text(client_alice, f"/jobs/{mixed.pk}/rows/15/?q=name+55")
    assert f"/jobs/{mixed.pk}/rows/?q=name+55&from=26" in page and "Search later rows" in page


def test_a_row_that_is_none_is_not_found(finished: Job, client_alice: Client) -> None:
    Row.objects.filter(job=finished, number=3).delete()
    for number in ("0", "3", "99999999999999999999999"):
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
    page = text(client_alice, f"/jobs/{job.pk}/rows/1/edit/")
    assert "It has 4 cells." in page and "many" in page and "Copy what you need into" in page
    assert "Copy what you need" not in text(client_alice, f"/jobs/{job.pk}/rows/2/edit/")
    assert text(client_alice, f"/jobs/{job.pk}/rows/2/")
    assert "is skipped: It has 4 cells." in text(
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
    request = {**READY_MADE, "params": {**READY_MADE["params"], "messages": turns}}  # type: ignore[dict-item]  # a value of another kind
    page = text(client_alice, f"/jobs/{make_job(alice, rows=[request]).pk}/rows/1/")
    assert "And now?\n[image]" in page and "After 2 earlier messages" in page


# --- Files to take away ---------------------------------------------------------------------------


def content(answer: Any) -> bytes:
    assert isinstance(answer, StreamingHttpResponse)
    return b"".join(answer.streaming_content)  # type: ignore[arg-type]  # values by name


@pytest.mark.no_database
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


@pytest.mark.no_database
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
    size, sha256 = checksums.facts_of(path)
    Batch.objects.filter(pk=batch.pk).update(results_bytes=size, results_sha256=sha256)

    answer = client_alice.get(reverse("batch_raw", args=[finished.pk, 1]))

    assert content(answer) == received
    assert answer.headers["Content-Type"] == "application/jsonl"
    assert answer.headers["Content-Security-Policy"] == "sandbox"
    assert answer.headers["Content-Disposition"].startswith("attachment; ")
    assert client_alice.get(reverse("batch_raw", args=[finished.pk, 2])).status_code == 404


def test_a_batch_at_work_has_no_results_yet(finished: Job, client_alice: Client) -> None:
    add_batch(finished, 1, 6, Batch.State.IN_PROGRESS)
    assert client_alice.get(reverse("batch_raw", args=[finished.pk, 1])).status_code == 404
