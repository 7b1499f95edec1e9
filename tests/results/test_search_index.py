"""A search in the rows of a large job finds what looking into each row would find."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Q
from django.test import Client
from django.urls import reverse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.actions import reviews
from jobs.batches import leases
from jobs.models import (
    SEARCHED,
    Job,
    Row,
    SearchIndex,
    SearchPart,
    clock,
    files,
    note_change,
    storage,
)
from jobs.results import review_sample, row_browser, search_index
from jobs.results.row_browser import RowFilter
from jobs.rules import trigrams
from jobs.worker import deletion, retention, search_building, sweep

from ..conftest import store_job
from ..pages import squeezed

MakeJob = Callable[..., Job]
# Letters whose capitals are other letters, more than one, or none; what means something to a
# database, to JSON or to HTML; and pictures of several characters.
LETTERS = (
    "abkAB  sS\xdf\u017fiI\u0131\u0130\xc4\xe4\xe9\xc9\u03c3\u03c2\u03a3\u0149\u01f0\ufb01\u212a"
    "-%_\\\"'\n\t<&>;/\U0001f600\U0001f44d\U0001f3fde\u0301\xf8\u4e2d\u6587"
)
texts = st.text(LETTERS, max_size=12)
WORDS = (
    "Größe",
    "GRÖSSE",
    "straße",
    "100%_",
    'so "so"',
    "<b>&amp;</b>",
    "C:\\new",
    "\U0001f44d\U0001f3fd ok",
    "\u0131i\u0131",
)

CHANGES: list[Callable[[str], str]] = [str, str.lower, str.upper, str.title, str.swapcase]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_index, "LEAST_ROWS", 1)
    monkeypatch.setattr(search_building, "PART_ROWS", 8)
    monkeypatch.setattr(search_building, "SLICE", 3)
    monkeypatch.setattr(search_building, "PAUSE_SECONDS", 0)
    monkeypatch.setattr(trigrams, "_FEW", 4)
    monkeypatch.setattr(trigrams, "_SINGLE", 2)


def build(job: Job, turns: int = 9) -> SearchIndex:
    """Have the worker index a job, as if someone had looked at its rows and time had passed."""
    job.refresh_from_db()
    search_index.expect_search(job)
    for _ in range(turns):
        SearchIndex.objects.filter(job=job).update(due_at=clock.now())
        search_building.look()
    job.refresh_from_db()
    return SearchIndex.objects.get(job=job)


@contextmanager
def no_index(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(row_browser, "find_candidates", lambda *_: None)
        yield


def found(job: Job, **wanted: Any) -> list[int]:
    places = row_browser.find_rows(job, RowFilter(**wanted), None, 1_000).places
    return [place.number for place in places]


def of_parts(job: Job) -> dict[int, str]:
    return dict(SearchPart.objects.filter(job=job).values_list("first", "file"))


def files_of(job: Job) -> set[str]:
    return {path.name for path in files.search_files(job.pk)}


@pytest.fixture
def job(make_job: MakeJob, alice: User) -> Job:
    """30 rows in four parts."""
    rows = [(f"name {number}", f"Text no. {number % 7}") for number in range(1, 31)]
    outcomes = [{"outcome": "good", "answer": f"Answer {number}"} for number in range(1, 31)]
    job = make_job(alice, rows=rows, outcomes=outcomes)
    index = build(job)
    assert index.version == job.rows_version and len(of_parts(job)) == 4
    return job


def forget_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only candidates are found: whatever else would be looked into is not."""
    everything = row_browser._wanted_rows

    def only(job: Job, wanted: RowFilter, tests: Any, numbers: list[int], *others: Any) -> Any:
        tests = [*tests, Q(number__in=numbers)]
        return everything(job, wanted, tests, numbers, *others)

    monkeypatch.setattr(row_browser, "_wanted_rows", only)


# --- The same rows --------------------------------------------------------------------------------


@settings(max_examples=16, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_search_finds_the_same_rows_with_and_without_an_index(
    data: st.DataObject, db: None, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_rows(monkeypatch)
    some = st.one_of(texts, st.sampled_from(WORDS))
    rows = data.draw(st.lists(st.tuples(some, some), min_size=1, max_size=20))
    results: list[dict[str, Any]] = [
        {"outcome": "good", "answer": data.draw(some), "cost_pico": number % 3}
        if number % 3
        else {"outcome": "errored", "cause": "api_error", "message": data.draw(some)}
        for number in range(len(rows))
    ]
    results[-1] = {"outcome": "left_out", "cause": "left_out", "problem": data.draw(some)}
    in_columns = {"kind": "columns", "columns": [{"name": "mood"}]}
    if data.draw(st.booleans()):
        results[:-1] = [
            {**one, "answer": json.dumps({"mood": one.get("answer", "")}, ensure_ascii=False)}
            for one in results[:-1]
        ]
        job = store_job(alice, rows=rows, outcomes=results, answer=in_columns)
    else:
        job = store_job(alice, rows=rows, outcomes=results)
    build(job, 3)
    written = [cell for row in rows for cell in row]
    written += [one.get(name, "") for one in results for name in ("answer", "message", "problem")]
    for _ in range(12):
        text = data.draw(st.one_of(some, st.sampled_from(written)))
        begin, length = (data.draw(st.integers(0, 9)) for _ in range(2))
        change = data.draw(st.sampled_from(CHANGES))
        wanted: dict[str, Any] = {
            "text": change(text[begin : begin + length] or text).replace("\0", "").strip(),
            "outcome": data.draw(st.sampled_from(["", "good", "attention"])),
            "sort": data.draw(st.sampled_from(["number", "cost", "cause"])),
            "descending": data.draw(st.booleans()),
        }
        with no_index(monkeypatch):
            expected = found(job, **wanted)
        assert found(job, **wanted) == expected, wanted


def test_capitals_of_every_letter_are_folded_as_the_database_folds_them(db: None) -> None:
    """What the database takes for the same, `fold` does, too."""
    every = (chr(code) for code in range(sys.maxunicode + 1))
    letters = [one for one in every if one.lower() != one or one.upper() != one]
    with connection.cursor() as cursor:
        cursor.execute("SELECT UPPER(%s)", ["\n".join(letters)])
        capitals = cursor.fetchone()[0].split("\n")
    assert len(letters) > 2_000
    assert list(map(trigrams.fold, letters)) == list(map(trigrams.fold, capitals))


@pytest.mark.parametrize("text", ["é", "no", "%", "_", '"', "no. 3", "NAME 12", "answer 7", "zzz"])
def test_short_and_long_terms_have_the_same_pages(
    job: Job, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pages(backwards: bool) -> list[list[int]]:
        all_pages, place = [], None
        while True:
            got = row_browser.find_rows(job, RowFilter(text=text), place, 4, backwards=backwards)
            all_pages.append([one.number for one in got.places])
            place = got.onward
            if place is None:
                return all_pages

    for backwards in (False, True):
        with no_index(monkeypatch):
            expected = pages(backwards)
        assert pages(backwards) == expected


def test_a_rare_text_needs_no_look_into_other_rows(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidates = search_index.find_candidates(job, "answer 17")
    assert candidates and candidates.numbers(None, False, 99) == [17]
    nothing = search_index.find_candidates(job, "nowhere")
    assert nothing and nothing.count == 0
    assert search_index.find_candidates(job, "no") is None, "too short for an index"
    # Whatever a page may take: it is full, or all that there is was found.
    monkeypatch.setattr(row_browser, "SECONDS", 0)
    got = row_browser.find_rows(job, RowFilter(text="answer 17"), None, 50)
    assert [place.number for place in got.places] == [17] and not got.cut


# --- Rows that change -----------------------------------------------------------------------------


def change_row(job: Job, number: int, **values: str) -> None:
    note_change(job.pk)
    Row.objects.filter(job=job, number=number).update(**values)
    job.refresh_from_db()


@pytest.mark.parametrize("column", SEARCHED)
def test_a_changed_row_is_found_at_once_and_its_part_is_written_anew(job: Job, column: str) -> None:
    before = of_parts(job)
    change_row(job, 12, **{column: '["a new word", ""]'})

    assert found(job, text="new word") == [12]
    assert found(job, text="answer 17") == [17]

    build(job)
    after = of_parts(job)
    assert {first for first in before if before[first] != after[first]} == {9}
    assert files_of(job) == set(after.values()), "nothing is left of what the row was"
    candidates = search_index.find_candidates(job, "new word")
    assert candidates and candidates.numbers(None, False, 99) == [12]


def test_an_index_waits_until_its_job_is_left_alone(job: Job) -> None:
    change_row(job, 1, answer="another word")
    for _ in range(3):
        search_building.look()
    assert not search_building.has_due(), "the last change was just now"
    assert SearchIndex.objects.get(job=job).version != job.rows_version
    SearchIndex.objects.filter(job=job).update(due_at=clock.now() - timedelta(seconds=1))
    assert search_building.has_due()
    change_row(job, 1, answer="yet another")
    search_building.look()
    assert not search_building.has_due()
    build(job)
    assert found(job, text="yet another") == [1]


def test_rows_that_change_while_they_are_written_down_are_not_taken_for_old_ones(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack, changes = trigrams.Part.pack, iter(["meanwhile one", "meanwhile two"])

    def pack_later(part: trigrams.Part) -> bytes:
        if said := next(changes, ""):
            change_row(job, 2, answer=said)
        return pack(part)

    change_row(job, 2, answer="before")
    monkeypatch.setattr(trigrams.Part, "pack", pack_later)
    for _ in range(6):
        build(job, 1)
        for text in ("meanwhile one", "meanwhile two", "before"):
            rows = Row.objects.filter(job=job, answer=text)
            assert found(job, text=text) == [row.number for row in rows]
    assert found(job, text="meanwhile two") == [2]
    assert SearchIndex.objects.get(job=job).version == job.rows_version
    assert files_of(job) == set(of_parts(job).values())


def test_the_note_of_a_mark_is_found_at_once(job: Job, alice: User) -> None:
    reviews.draw_sample(job, 30, alice)
    for number, note in ((3, "much too long"), (30, "much too short")):
        key = review_sample.answer_key(Row.objects.get(job=job, number=number))
        assert reviews.mark_answer(job, number, key, False, note, alice)
    job.refresh_from_db()
    build(job)
    key = review_sample.answer_key(Row.objects.get(job=job, number=3))
    assert reviews.mark_answer(job, 3, key, False, "rather rude", alice)
    job.refresh_from_db()
    assert SearchIndex.objects.get(job=job).version == job.rows_version
    assert found(job, text="rather RUDE") == [3]
    assert found(job, text="much too") == [30]


def test_the_worker_goes_on_where_it_was_stopped(
    make_job: MakeJob, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(alice, rows=[("a", f"word {number}") for number in range(1, 31)])
    monkeypatch.setattr(search_building, "TURN_SECONDS", 0)
    search_index.expect_search(job)
    search_building.look()
    assert len(of_parts(job)) == 0 and search_building.has_due()
    monkeypatch.setattr(search_building, "TURN_SECONDS", 60)
    pack = trigrams.Part.pack

    def die(part: trigrams.Part) -> bytes:
        if len(of_parts(job)) == 2:
            raise RuntimeError
        return pack(part)

    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(trigrams.Part, "pack", die)
        search_building.look()
    begun = of_parts(job)
    assert sorted(begun) == [1, 9] and not search_building.has_due(), "it rests after a failure"
    for number in (5, 12, 29):
        assert found(job, text=f"word {number}")[0] == number
    build(job)
    assert begun.items() <= of_parts(job).items() and len(of_parts(job)) == 4


def test_a_damaged_or_lost_file_hides_no_row_and_is_replaced(job: Job) -> None:
    first, second, *_others = of_parts(job).values()
    path = files.search_path(first)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:40])
    files.search_path(second).unlink()
    assert found(job, text="answer 3") == [3, 30] and found(job, text="answer 12") == [12]
    assert SearchIndex.objects.outdated().exists()
    files.search_path(first).unlink()
    build(job)
    assert len(files_of(job)) == 4
    candidates = search_index.find_candidates(job, "answer 12")
    assert candidates and candidates.numbers(None, False, 99) == [12]


# --- What is deleted ------------------------------------------------------------------------------


def lease_of(job: Job) -> leases.Lease:
    Job.objects.filter(pk=job.pk).update(next_action_at=clock.now())
    lease = leases.claim(job.pk)
    assert lease
    return lease


def test_nothing_of_deleted_cells_is_left_in_an_index(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleared = retention._clear

    def clear(*args: Any, **values: Any) -> None:
        assert not files_of(job), "they go before the first row is emptied"
        cleared(*args, **values)

    monkeypatch.setattr(retention, "_clear", clear)
    Job.objects.filter(pk=job.pk).update(contents_deleted_at=clock.now())
    job.refresh_from_db()
    retention.delete_contents(job, lease_of(job))
    assert not files_of(job) and not of_parts(job)
    job.refresh_from_db()
    search_index.expect_search(job)
    search_building.look()
    assert not files_of(job) and not SearchIndex.objects.exists()


@pytest.mark.parametrize("when", ["contents", "job", "index"])
def test_an_index_that_is_being_written_does_not_outlive_its_rows(
    make_job: MakeJob, alice: User, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    job = make_job(alice, rows=[("a", f"word {number}") for number in range(1, 31)])
    keep = files.keep

    def delete_then_keep(*args: Any, **values: Any) -> None:
        if when == "contents":
            Job.objects.filter(pk=job.pk).update(contents_deleted_at=clock.now())
        elif when == "job":
            assert deletion.begin_deletion(job)
        search_index.remove_index(job.pk)
        keep(*args, **values)

    search_index.expect_search(job)
    monkeypatch.setattr(files, "keep", delete_then_keep)
    search_building.look()
    assert not files_of(job) and not of_parts(job)


@pytest.mark.usefixtures("simulator")
def test_a_deleted_job_takes_its_index_with_it(job: Job) -> None:
    assert files_of(job) and deletion.begin_deletion(job)
    job.refresh_from_db()
    deletion.delete_job(job, lease_of(job))
    assert not files_of(job) and not SearchPart.objects.exists()


def test_an_index_that_nobody_uses_and_what_was_left_of_one_go(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    stray = files.search_path(f"{job.pk}-1-0000.part")
    stray.write_bytes(b"")
    search_building.remove_old()
    assert stray.exists() and len(of_parts(job)) == 4, "it may be being written"
    monkeypatch.setattr(search_building, "LEFT_SECONDS", -1)
    search_building.remove_old()
    assert not stray.exists() and len(files_of(job)) == 4
    SearchIndex.objects.update(used_at=clock.now() - search_building.KEPT)
    search_index.expect_search(job)
    search_building.remove_old()
    assert len(files_of(job)) == 4, "someone has just looked at the rows"
    SearchIndex.objects.update(used_at=clock.now() - search_building.KEPT)
    search_building.remove_old()
    assert not files_of(job) and not of_parts(job) and not SearchIndex.objects.exists()


def test_files_are_for_the_site_alone_and_show_no_text(job: Job) -> None:
    for name in files_of(job):
        path = files.search_path(name)
        assert path.stat().st_mode & 0o777 == 0o600
        assert b"nswer" not in path.read_bytes() and b"ext no" not in path.read_bytes()


# --- When there is one ----------------------------------------------------------------------------


def test_a_large_job_is_indexed_once_someone_looks_at_its_rows(
    make_job: MakeJob, alice: User, client_alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_index, "LEAST_ROWS", 3)
    jobs = [make_job(alice, state, rows=[("a", "b")] * 3) for state in ("finished", "draft")]
    small = make_job(alice, rows=[("a", "b")] * 2)
    sweep.sweep(step=lambda _pk: None, look=lambda _kind: None)
    assert not SearchIndex.objects.exists()
    for job in (*jobs, small):
        for _ in range(2):
            assert client_alice.get(reverse("rows", args=[job.pk])).status_code == 200
    assert list(SearchIndex.objects.values_list("job", flat=True)) == [jobs[0].pk]
    looks: list[str] = []
    sweep.sweep(step=lambda _pk: None, look=looks.append)
    assert looks == ["indexing"]
    sweep.take_look("indexing")
    assert len(of_parts(jobs[0])) == 1 and not search_building.has_due()
    looks.clear()
    sweep.sweep(step=lambda _pk: None, look=looks.append)
    assert not looks


def test_a_page_says_that_a_search_is_being_prepared(
    make_job: MakeJob, alice: User, client_alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(alice, rows=[("a", f"word {number}") for number in range(1, 31)])
    monkeypatch.setattr(row_browser, "SECONDS", 0)
    monkeypatch.setattr(row_browser, "FIRST_SLICE", 10)
    address = f"{reverse('rows', args=[job.pk])}?q=nowhere"
    said = "We are preparing this job for search."
    page = squeezed(client_alice.get(address).content)
    assert "Nothing found so far" in page and said in page
    build(job)
    page = squeezed(client_alice.get(address).content)
    assert "No row matches" in page and said not in page


def test_a_disk_that_is_almost_full_takes_no_index(
    make_job: MakeJob, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(alice)
    monkeypatch.setattr(storage, "is_low", lambda _needed=0: True)
    search_index.expect_search(job)
    search_building.look()
    assert not of_parts(job) and not search_building.has_due()
    assert found(job, text="likes it") == [1]


def test_a_database_with_other_capitals_gets_no_index(
    make_job: MakeJob, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert search_index.has_plain_capitals()
    job = make_job(alice)
    with monkeypatch.context() as patch:
        patch.setattr(search_index, "has_plain_capitals", lambda: False)
        search_index.expect_search(job)
        assert not SearchIndex.objects.exists() and not search_building.has_due()
    build(job, 1)
    assert of_parts(job) and search_index.find_candidates(job, "likes it") is not None
    # One that came with a backup is not used, and none is said to be prepared.
    SearchIndex.objects.update(version=-1)
    assert search_index.is_awaited(job)
    monkeypatch.setattr(search_index, "has_plain_capitals", lambda: False)
    assert not search_index.is_awaited(job)
    assert search_index.find_candidates(job, "likes it") is None
