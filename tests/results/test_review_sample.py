"""A sample of the answers is drawn once, read and marked; what it says of all answers; and all
answers counted."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from jobs.actions import reviews
from jobs.batches import leases
from jobs.models import Batch, Job, Outcome, Row, SampledAnswer
from jobs.results import review_sample, statistics, table
from jobs.results.statistics import Histogram
from jobs.rules.answer_formats import FREE_TEXT, AnswerColumn, AnswerKind
from jobs.rules.answer_statistics import AnswerStatistics
from jobs.rules.judging import MARKED_DOWN
from jobs.web.templatetags.show import job_state
from jobs.worker import sweep, tally

from ..conftest import Simulator
from ..drafts.test_deduplication import sent
from ..drafts.test_draft_settings import priced
from ..web.test_untrusted_text import HX, NASTY, inspect
from ..web.test_views_job_page import add_batch
from ..web.test_views_rows import text

MakeJob = Callable[..., Job]
Drive = Callable[..., Job]
ROWS = [(f"name {number}", f"Text no. {number}") for number in range(1, 61)]
FIELDS = AnswerKind(
    "columns",
    (),
    (
        AnswerColumn("mood", "choice", ("good", "bad", "odd")),
        AnswerColumn("stars", "number", required=False),
        AnswerColumn("again", "yes_no"),
        AnswerColumn("words", "list"),
        AnswerColumn("why"),
    ),
)


@pytest.fixture
def job(make_job: MakeJob, alice: User) -> Job:
    return make_job(alice, rows=ROWS)


def drawn(job: Job, size: int = 10) -> list[int]:
    reviews.draw_sample(job, size, job.owner)
    job.refresh_from_db()
    return list(job.sample.values_list("number", flat=True))


def mark(job: Job, number: int, good: bool | None, note: str = "", key: str = "") -> bool:
    key = key or review_sample.answer_key(job.rows.get(number=number))
    done = reviews.mark_answer(job, number, key, good, note, job.owner)
    job.refresh_from_db()
    return done


def counted(job: Job) -> AnswerStatistics:
    Job.objects.filter(pk=job.pk).update(next_action_at="2020-01-01T00:00Z")
    lease = leases.claim(job.pk)
    assert lease is not None
    statistics.count_answers(job, lease)
    lease.release(None)
    job.refresh_from_db()
    summary = job.answers
    assert summary is not None
    return summary


# --- What is drawn --------------------------------------------------------------------------------


def test_a_sample_is_drawn_at_random_once_and_grows_by_more(job: Job, bob: User) -> None:
    first = drawn(job)
    assert len(set(first)) == 10 and first != sorted(first)
    assert set(first) <= set(range(1, 61))
    assert reviews.draw_sample(job, 10, job.owner) == 0, "it stays as it is"
    assert drawn(job, 40)[:10] == first
    assert len(set(drawn(job, 40))) == 40 and job.drawn_from == 60
    assert reviews.draw_sample(job, 100, job.owner) == 20, "there are no more"


@pytest.mark.no_database
def test_every_answer_has_the_same_chance(job: Job) -> None:
    """Each of 60 answers is drawn 30 of 60 times, in 50 samples 25 times, give or take 3.5."""
    times = [0] * 61
    for _ in range(50):
        SampledAnswer.objects.all().delete()
        for number in drawn(job, 30):
            times[number] += 1
    assert all(5 < count < 45 for count in times[1:])


def test_only_good_answers_that_were_asked_for_are_drawn(make_job: MakeJob, alice: User) -> None:
    good: dict[str, Any] = {"outcome": Outcome.GOOD}
    outcomes = [
        good,
        {**good, "same_as": 1},
        {**good, "earlier": 1},
        {"outcome": Outcome.LOOK, "cause": "cut_off", "answer": "It"},
        {"outcome": Outcome.ERRORED, "cause": "api_error"},
        good,
        good,
    ]
    job = make_job(alice, rows=ROWS[:7], outcomes=outcomes)
    # What a batch that is not over has brought is stored again when the rest comes.
    job.rows.filter(number=6).update(batch=add_batch(job, 1, 1, Batch.State.ENDED))
    job.rows.filter(number=7).update(batch=add_batch(job, 2, 1, Batch.State.COLLECTED))
    assert sorted(drawn(job)) == [1, 7]


def test_the_page_draws_what_was_chosen(job: Job, client_alice: Client) -> None:
    address = reverse("review", args=[job.pk])
    assert "Check a few of your 60 answers" in text(client_alice, address)
    client_alice.post(address, {"size": "7"})
    assert not job.sample.exists(), "that was not to be chosen"
    client_alice.post(address, {"size": "20"})
    assert job.sample.count() == 20
    assert "0 of 20 checked" in text(client_alice, address)
    # Looking at it again changes nothing.
    before = list(job.sample.values_list("number", flat=True))
    text(client_alice, address + "?list=1")
    assert list(job.sample.values_list("number", flat=True)) == before


# --- Marks ----------------------------------------------------------------------------------------


def test_an_answer_marked_down_needs_a_look_and_can_be_taken_back(job: Job) -> None:
    number = drawn(job)[0]
    before = job.rows.get(number=number)
    cost = job.tally.cost_pico
    assert job_state(job) == ("Finished", "green")

    assert mark(job, number, False, "It is the other way round.")

    row = job.rows.get(number=number)
    assert (row.outcome, row.cause) == (Outcome.LOOK, MARKED_DOWN)
    assert (row.answer, row.message) == (before.answer, "It is the other way round.")
    assert (job.good_count, job.attention_count) == (59, 1)
    assert job_state(job) == ("Finished – 1 problem", "yellow")
    assert job.tally.cost_pico == cost
    lines = b"".join(table.csv_chunks(job)).decode().splitlines()
    assert "Check this,Marked as not good: It is the other way round." in lines[number]
    reading = job.sample.get(number=number)
    assert (reading.marked_by, reading.good) == (job.owner, False) and reading.marked_at

    assert mark(job, number, False, "Worse."), "another note"
    assert job.rows.get(number=number).message == "Worse."
    assert mark(job, number, None)
    after = job.rows.get(number=number)
    assert (after.outcome, after.cause, after.message) == (Outcome.GOOD, "", "")
    assert (job.good_count, job.attention_count) == (60, 0)
    assert review_sample.summarize_review(job).read == 0


def test_marks_outlive_that_the_job_is_counted_again(job: Job) -> None:
    numbers = drawn(job)
    mark(job, numbers[0], False)
    mark(job, numbers[1], True, "Nice.")
    tally.count_up(job)
    counted(job)
    found = review_sample.load_sample(job)
    assert [one.good for one in found[:3]] == [False, True, None]
    assert (job.good_count, found[1].reading.note) == (59, "Nice.")


def test_the_tally_is_what_counting_all_rows_comes_to(make_job: MakeJob, alice: User) -> None:
    outcomes: list[Any] = [
        {
            "outcome": Outcome.GOOD,
            "answered_by": f"model {number % 2}",
            "output_tokens": 50 + number,
            "thinking_tokens": number,
            "cost_pico": number * 10**9,
        }
        for number in range(12)
    ]
    outcomes[0] = {"outcome": Outcome.LOOK, "cause": "cut_off", "answer": "It"}
    free = 5
    outcomes[free - 1] = {"outcome": Outcome.GOOD, "output_tokens": 0}
    job = make_job(alice, rows=ROWS[:12], outcomes=outcomes)
    before = job.tally
    numbers = drawn(job)
    steps = [*((number, False) for number in numbers), *((number, True) for number in numbers)]
    for number, good in steps:
        mark(job, number, good)
        by_mark, is_stale = job.tally, job.is_stale
        assert is_stale is (number == free), "that one is left to the worker"
        tally.count_up(job)
        job.refresh_from_db()
        assert is_stale or by_mark == job.tally
    assert job.tally == before
    Job.objects.filter(pk=job.pk).update(tally={"outcomes": {}})  # as an old version left it
    mark(job, numbers[0], False)
    sweep.sweep()  # all rows are counted by the worker, not while others wait for the job
    job.refresh_from_db()
    assert (job.good_count, job.attention_count) == (10, 2)


def test_rows_with_a_copy_of_the_answer_go_with_it(
    make_job: MakeJob, alice: User, drive: Drive, simulator: Simulator
) -> None:
    rows = [("1", "good"), ("2", "bad"), ("3", "good")]
    job = make_job(
        alice,
        Job.State.DRAFT,
        columns=("id", "text"),
        rows=rows,
        prompt="Is this positive? {{text}}",
        skip_duplicates=True,
    )
    job = drive(sent(job))
    assert sorted(drawn(job)) == [1, 2]
    mark(job, 1, False)
    causes = job.rows.in_order().values_list("cause", flat=True)
    assert list(causes) == [MARKED_DOWN, "", MARKED_DOWN]
    assert job.good_count == 1
    mark(job, 1, True)
    assert job.good_count == 3


def test_a_row_that_was_sent_again_loses_its_mark(job: Job, client_alice: Client) -> None:
    down, up, gone = drawn(job)[:3]
    mark(job, down, False, "Wrong.")
    mark(job, up, True)
    mark(job, gone, True)
    key = review_sample.answer_key(job.rows.get(number=down))
    batch = add_batch(job, 2, 2, Batch.State.COLLECTED)
    # The very same words, but another answer: nobody has read it.
    for number in (down, up):
        job.rows.filter(number=number).update(
            batch=batch, outcome=Outcome.GOOD, cause="", message=""
        )
    job.rows.filter(number=gone).update(outcome=Outcome.ERRORED, cause="api_error", answer="")

    found = {one.reading.number: one for one in review_sample.load_sample(job)}
    assert found[down].good is found[up].good is found[gone].good is None
    assert (
        review_sample.summarize_review(job).read,
        review_sample.summarize_review(job).drawn,
    ) == (0, 9)
    assert not mark(job, down, False, key=key), "it was read before"
    assert not mark(job, gone, True), "there is nothing to read"
    assert job.rows.get(number=down).outcome == Outcome.GOOD
    page = text(client_alice, reverse("review", args=[job.pk]) + "?list=1")
    assert "The mark was for the earlier answer" in page and "Wrong." not in page
    assert "This row no longer has a good answer" in page
    assert mark(job, down, True) and review_sample.summarize_review(job).read == 1


def test_an_answer_marked_down_is_not_used_again(
    make_job: MakeJob, job: Job, alice: User, simulator: Simulator
) -> None:
    Job.objects.filter(pk=job.pk).update(practice=True)
    again = make_job(alice, Job.State.DRAFT, rows=ROWS, previous=job, only_new=True)
    assert priced(again).basis.survey.known == 60
    mark(job, drawn(job)[0], False)
    again.refresh_from_db()
    assert again.plan_sha256 == "" and again.next_action_at is not None
    assert priced(again).basis.survey.known == 59


# --- What it says ---------------------------------------------------------------------------------


@pytest.mark.no_database
def test_the_share_in_words() -> None:
    share = review_sample.ReviewResult(40, 38, 40, everything=False)
    words = "38 of 40 checked answers are good. Likely 83–99% of all answers are good"
    assert share.in_words == words
    nearly_all = review_sample.ReviewResult(100, 99, 100, everything=False).in_words
    assert "Likely 95–99.8% of" in nearly_all, "not 100 %: one of them is not good"
    assert (
        review_sample.ReviewResult(6, 5, 6, everything=True).in_words
        == "5 of 6 checked answers are good. These are all answers of the job"
    )
    assert "Likely" in review_sample.ReviewResult(5, 5, 6, everything=True).in_words


@pytest.mark.no_database
def test_the_share_is_on_the_pages(job: Job, client_alice: Client) -> None:
    page = text(client_alice, reverse("job", args=[job.pk]))
    assert "Check quality" in page and "of all answers" not in page
    numbers = drawn(job)
    for number in numbers[:4]:
        mark(job, number, True)
    mark(job, numbers[4], False)
    words = "4 of 5 checked answers are good. Likely 38–96% of all answers are good"
    for name in ("job", "review"):
        assert words in text(client_alice, reverse(name, args=[job.pk]))
    assert "5 of 10 checked" in text(client_alice, reverse("job", args=[job.pk]))
    cause = text(client_alice, reverse("problems", args=[job.pk]))
    assert "Marked as not good" in cause and "Finished – 1 problem" in cause


def test_when_all_were_read_it_is_no_estimate(make_job: MakeJob, alice: User) -> None:
    job = make_job(alice, rows=ROWS[:3])
    for number in drawn(job):
        mark(job, number, number > 1)
    assert (
        review_sample.summarize_review(job).in_words
        == "2 of 3 checked answers are good. These are all answers of the job"
    )
    # There may be more of them later.
    for state in (Job.State.WORKING, Job.State.SUBMITTING):
        Job.objects.filter(pk=job.pk).update(state=state)
        job.refresh_from_db()
        assert not review_sample.summarize_review(job).is_exact


# --- Reading, page by page ------------------------------------------------------------------------


@pytest.mark.no_database
def test_after_the_last_one_the_result_has_the_bad_ones_and_what_to_do(
    job: Job, client_alice: Client
) -> None:
    numbers = drawn(job)
    address = reverse("review", args=[job.pk])
    assert "result=1" not in text(client_alice, address), "nothing was found yet"
    for number in numbers[:-1]:
        mark(job, number, number != numbers[2], "Too short." if number == numbers[2] else "")
    assert "9 of 10 checked" in text(client_alice, address), "one is left"
    early = text(client_alice, f"{address}?result=1")
    assert "8 of 9 checked answers are good" in early and "Check the other 1" in early
    mark(job, numbers[-1], True)
    page = text(client_alice, address)
    assert "9 of 10 checked answers are good. Likely 60–98% of all answers are good." in page
    assert "Not good: 1 row" in page and "Too short." in page
    assert f"name {numbers[2]}<" in page
    assert f"name {numbers[1]}<" not in page
    for link in (
        reverse("improve", args=[job.pk]),
        reverse("download", args=[job.pk, "xlsx"]),
        f"{address}?at=3",
    ):
        assert f'href="{link}"' in page
    assert 'name="size" value="20"' in page, "more can be checked"
    assert "3 of 10" in text(client_alice, f"{address}?at=3")
    mark(job, numbers[2], True)
    page = text(client_alice, address)
    assert "All 10 checked answers are good" in page and "Improve the prompt" not in page


@pytest.mark.no_database
def test_the_prompt_is_in_view_and_folded_when_it_is_long(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    for prompt, folds in (("Is {{text}} good?", False), ("Say {{text}}. " * 30, True)):
        job = make_job(alice, rows=ROWS[:3], prompt=prompt)
        drawn(job)
        for query in ("", "?list=1"):
            page = text(client_alice, reverse("review", args=[job.pk]) + query)
            shown = page[page.index('aria-label="The prompt"') :].split("</section>")[0]
            assert prompt.strip() in shown and ("<summary>" in shown) == folds


@pytest.mark.no_database
def test_one_after_the_other_without_a_script(job: Job, client_alice: Client) -> None:
    numbers = drawn(job)
    address = reverse("review", args=[job.pk])
    for place, number in enumerate(numbers, start=1):
        page = client_alice.get(address)
        shown = page.context["shown"]
        assert (shown.position, shown.row.number) == (place, number)
        assert f"Text no. {number}" in page.content.decode()
        values = {"mark": "good", "key": shown.key, "note": f"no. {place}"}
        answer = client_alice.post(reverse("mark_answer", args=[job.pk, number]), values)
        assert answer.status_code == 302
    # All are read: now it says what was found.
    assert "All 10 checked answers are good" in text(client_alice, address)
    found = list(job.sample.values_list("good", "note"))
    assert found == [(True, f"no. {place}") for place in range(1, 11)]
    # One that is looked at again can be taken back, and stays in view.
    shown = client_alice.get(address + "?at=3").context["shown"]
    values = {"mark": "unread", "key": shown.key, "note": "Hm."}
    answer = client_alice.post(reverse("mark_answer", args=[job.pk, numbers[2]]), values)
    assert answer.headers["Location"] == f"{address}?at=3"
    assert job.sample.get(position=3).good is None
    values |= {"mark": "note", "note": "Later."}
    client_alice.post(reverse("mark_answer", args=[job.pk, numbers[2]]), values)
    assert list(job.sample.values_list("good", "note"))[2] == (None, "Later.")


def test_in_the_list_only_the_row_and_the_progress_are_sent(job: Job, client_alice: Client) -> None:
    number = drawn(job)[0]
    key = review_sample.answer_key(job.rows.get(number=number))
    address = reverse("mark_answer", args=[job.pk, number])
    values = {"mark": "bad", "key": key, "note": "", "list": "1"}
    part = client_alice.post(address, values, headers=HX).content.decode()
    assert f'id="row-{number}"' in part and 'hx-swap-oob="true"' in part and "<html" not in part
    assert part.count("<article") == 1 and "Not good</span>" in part
    answer = client_alice.post(address, values)
    assert answer.headers["Location"].endswith(f"?list=1#row-{number}")
    stale = client_alice.post(address, {**values, "key": "other"}, headers=HX)
    assert stale.headers["HX-Refresh"] == "true"


def test_nobody_else_reads_or_marks_them(job: Job, client_bob: Client, client_root: Client) -> None:
    number = drawn(job)[0]
    key = review_sample.answer_key(job.rows.get(number=number))
    address = reverse("mark_answer", args=[job.pk, number])
    values = {"mark": "bad", "key": key}
    assert client_bob.get(reverse("review", args=[job.pk])).status_code == 404
    assert client_bob.get(reverse("answer_counts", args=[job.pk])).status_code == 404
    assert client_bob.post(reverse("review", args=[job.pk]), {"size": 40}).status_code == 404
    assert client_bob.post(address, values).status_code == 404
    assert job.sample.count() == 10 and job.rows.get(number=number).outcome == Outcome.GOOD
    # An administrator may, and it is said who it was.
    client_root.post(address, values)
    marked_by = job.sample.get(number=number).marked_by
    assert marked_by is not None and marked_by.username == "root"


def test_only_what_was_drawn_can_be_marked(job: Job, client_alice: Client) -> None:
    numbers = drawn(job)
    other = next(row for row in job.rows.all() if row.number not in numbers)
    values = {"mark": "bad", "key": review_sample.answer_key(other)}
    answer = client_alice.post(reverse("mark_answer", args=[job.pk, other.number]), values)
    assert answer.status_code == 404
    assert not mark(job, other.number, False)
    first = reverse("mark_answer", args=[job.pk, numbers[0]])
    client_alice.post(
        first, {"mark": "evil", "key": review_sample.answer_key(job.rows.get(number=1))}
    )
    client_alice.post(first, {"mark": "bad"})
    assert job.rows.filter(outcome=Outcome.LOOK).count() == 0


def test_there_is_nothing_to_read_of_a_draft(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    draft = make_job(alice, Job.State.DRAFT)
    assert client_alice.get(reverse("review", args=[draft.pk])).status_code == 404
    working = make_job(alice, Job.State.WORKING)
    assert "nothing to check yet" in text(client_alice, reverse("review", args=[working.pk]))
    assert "Not counted yet" in text(client_alice, reverse("answer_counts", args=[working.pk]))


REQUEST = {
    "custom_id": NASTY,
    "params": {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": NASTY}]},
}


@pytest.mark.no_database
@pytest.mark.parametrize("kind", ["text", "columns", "requests"])
def test_whatever_stands_in_an_answer_is_only_text(
    make_job: MakeJob, alice: User, client_alice: Client, kind: str
) -> None:
    wanted = AnswerKind("columns", (), (AnswerColumn(NASTY[:99], "list"), AnswerColumn("b")))
    values = {
        "columns": [NASTY, "b"],
        "name": NASTY[:200],
        "prompt": "{{b}}",
        "rows": [REQUEST] * 12 if kind == "requests" else [(NASTY, NASTY)] * 12,
        "answer": wanted if kind == "columns" else FREE_TEXT,
    }
    if kind == "requests":
        del values["columns"]
    said = json.dumps({NASTY[:99]: [NASTY], "b": NASTY}) if kind == "columns" else NASTY
    outcomes = [{"outcome": Outcome.GOOD, "answer": said}] * 12
    job = make_job(alice, outcomes=outcomes, **values)
    counted(job)
    number = drawn(job)[0]
    mark(job, number, False, NASTY)
    address = reverse("review", args=[job.pk])
    pages = [address, address + "?at=1", address + "?list=1", address + "?at=" + NASTY]
    pages += [reverse("answer_counts", args=[job.pk]), reverse("job", args=[job.pk])]
    for path in pages:
        inspect(client_alice.get(path).content.decode())


# --- All answers, counted -------------------------------------------------------------------------


def answer(**values: Any) -> dict[str, Any]:
    usual = {"mood": "good", "stars": 3, "again": True, "words": [], "why": "So."}
    return {"outcome": Outcome.GOOD, "answer": json.dumps({**usual, **values})}


@pytest.mark.no_database
def test_each_column_is_counted_in_its_way(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    outcomes = [
        answer(words=["a", "b", "a"]),
        answer(mood="bad", stars=None, again=False, words=["a"], why="Because."),
        answer(stars=5),
        answer(stars=4.5),
        {"outcome": Outcome.LOOK, "cause": "cut_off", "answer": "{"},
    ]
    job = make_job(alice, rows=ROWS[:5], outcomes=outcomes, answer=FIELDS)
    summary = counted(job)
    mood, stars, again, words, why = summary.columns
    assert summary.count == 4
    assert mood.values == [("good", 3), ("bad", 1), ("odd", 0)]
    assert again.values == [("yes", 3), ("no", 1)]
    assert (words.values, words.empty) == ([("a", 2), ("b", 1)], 2)
    assert stars.numbers is not None and stars.empty == 1
    assert (stars.numbers.least, stars.numbers.most) == ("3", "5")
    assert sum(bar.count for bar in stars.numbers.bars) == 3
    assert why.numbers is not None and why.numbers.most == "8"
    page = text(client_alice, reverse("answer_counts", args=[job.pk]))
    assert 'What <span class="num">4</span> answers say' in page and "75%" in page
    assert '<span class="num">1</span> left empty (25%)' in page

    # A mark is an opinion about an answer, which says the same as before.
    mark(job, drawn(job)[0], False)
    assert counted(job) == summary


def test_labels_and_lengths(make_job: MakeJob, alice: User) -> None:
    kind = AnswerKind("labels", ("yes", "no", "never"))
    good = [{"outcome": Outcome.GOOD, "answer": label} for label in ("no", "yes", "no")]
    job = make_job(alice, rows=ROWS[:3], outcomes=good, answer=kind)
    assert counted(job).columns[0].values == [("no", 2), ("yes", 1), ("never", 0)]
    plain = make_job(alice, rows=ROWS[:3], outcomes=good)
    [lengths] = counted(plain).columns
    assert lengths.numbers is not None
    assert [(bar.least, bar.count) for bar in lengths.numbers.bars] == [("2", 2), ("3", 1)]


def test_the_worker_counts_when_a_job_finishes_and_those_that_finished_before(
    make_job: MakeJob, alice: User, drive: Drive, simulator: Simulator
) -> None:
    job = make_job(alice, Job.State.DRAFT, rows=ROWS[:4])
    job = drive(sent(job))
    summary = job.answers
    assert summary is not None and summary.count == 4
    old = make_job(alice, rows=ROWS[:4], next_action_at="2020-01-01T00:00Z")
    assert old.answers is None
    sweep.sweep()
    old.refresh_from_db()
    assert old.answers is not None and old.next_action_at is None


def test_many_rows_are_counted_slice_by_slice(
    make_job: MakeJob, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "SLICE", 7)
    assert counted(make_job(alice, rows=ROWS)).count == 60


@pytest.mark.no_database
@pytest.mark.parametrize(
    "numbers",
    [
        list(range(5000)),
        [random.Random(1).gauss(0, 1) for _ in range(5000)],
        [random.Random(2).lognormvariate(0, 8) for _ in range(5000)],
        [10.0**power for power in range(-300, 300)] * 2,
        [7],
        [0.87, 0.87],
        [-0.5, 0, 0.5],
        [1e200, 1e200 + 1, 10**30, 10**30 + 1],
        [index / 7 for index in range(3000)] + [1e9],
    ],
    ids=str,
)
def test_no_number_is_lost_or_in_the_wrong_bar(numbers: list[float]) -> None:
    """Whatever the numbers are, memory stays flat and each is in the bar where it belongs."""
    spread = Histogram()
    for number in numbers:
        spread.add(Decimal(str(number)))
        assert len(spread.bins) <= statistics.MOST_BINS
    found = spread.numbers()
    assert sum(bar.count for bar in found.bars) == found.count == len(numbers)
    assert len(found.bars) <= statistics.BARS
    exact = [Decimal(str(number)) for number in numbers]
    assert (Decimal(found.least), Decimal(found.most)) == (min(exact), max(exact))
    for bar in found.bars:
        least, below = Decimal(bar.least), Decimal(bar.below)
        assert bar.count == sum(least <= number < below for number in exact) or least == below


@pytest.mark.no_database
def test_edges_are_numbers_as_people_write_them() -> None:
    spread = Histogram()
    for stars in (1, 5, 4, 4, 2):
        spread.add(Decimal(stars))
    found = spread.numbers()
    assert [(bar.least, bar.count) for bar in found.bars] == [
        ("1", 1),
        ("2", 1),
        ("3", 0),
        ("4", 2),
        ("5", 1),
    ]
    assert found.mean == "3.2"


def test_a_list_with_no_end_of_values_stays_small(
    make_job: MakeJob, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "MOST_VALUES", 50)
    outcomes = [answer(words=["often", f"w{index}", f"x{index}"]) for index in range(60)]
    job = make_job(alice, rows=ROWS, outcomes=outcomes, answer=FIELDS)
    words = counted(job).columns[3]
    assert words.values[0] == ("often", 60) and len(words.values) == statistics.VALUES_KEPT
    assert words.others + sum(times for _value, times in words.values) == 180


def test_the_whole_list_is_read_with_few_queries(
    job: Job, client_alice: Client, django_assert_max_num_queries: Any
) -> None:
    drawn(job, 40)
    client_alice.get(reverse("jobs"))  # the first page of a session stores it
    with django_assert_max_num_queries(14):
        client_alice.get(reverse("review", args=[job.pk]) + "?list=1")
    assert Row.objects.filter(job=job).count() == 60
