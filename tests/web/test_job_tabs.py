"""The tabs of a sent job's page: answers first, problems by remedy, one notice at a time."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from jobs.models import Batch, Heartbeat, Job, Outcome
from jobs.rules.answer_statistics import AnswerStatistics, ColumnStatistics, NumberStatistics
from jobs.rules.retry_choices import RoundEstimate
from jobs.web.views.job_header import approximately, estimate_left
from jobs.worker import tally

from ..database_work import counted
from .test_views_batch_trouble import ESTIMATE
from .test_views_job_page import BAD, HX, MakeJob, add_batch, page_of, seen

LABELS = {"kind": "labels", "labels": ["good", "bad"]}
TABS = ("answers", "problems", "cost", "details")


@pytest.fixture(autouse=True)
def worker(db: None) -> None:
    Heartbeat.objects.update(tick_at=timezone.now())


def job_of(make_job: MakeJob, owner: User, count: int) -> Job:
    """A finished job with rows of every fate, as many as wanted."""
    outcomes = (BAD * count)[:count]
    rows = [(f"n{number}", "text") for number in range(1, count + 1)]
    return make_job(owner, rows=rows, outcomes=outcomes, estimate=ESTIMATE, practice=True)


# --- Tabs -----------------------------------------------------------------------------------------


def test_every_tab_is_a_page_of_its_own_and_says_which_it_is(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    job = job_of(make_job, alice, 6)
    for tab in TABS:
        page = page_of(client_alice, job, tab)
        assert re.search(rf'id="tab-{tab}"[^>]* aria-current="page"', page), tab
        assert page.count('aria-current="page"') == 1
    links = re.findall(r'id="tab-(\w+)" href="([^"]+)"', page_of(client_alice, job))
    assert [key for key, _address in links] == list(TABS)
    for key, address in links:
        answer = client_alice.get(address)
        assert answer.context["tab"] == key
    assert client_alice.get(f"/jobs/{job.pk}/?tab=nothing%00").context["tab"] == "answers"
    assert client_alice.get(reverse("problems", args=[job.pk])).context["tab"] == "problems"


def test_a_tab_takes_as_much_for_many_rows_as_for_few(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    few, many = job_of(make_job, alice, 60), job_of(make_job, alice, 600)
    for tab in TABS:
        page_of(client_alice, few, tab)
        with counted() as small:
            page_of(client_alice, few, tab)
        with counted() as large:
            page_of(client_alice, many, tab)
        # Of these, four ask for the pilot, the right answers, and the jobs before and after it.
        assert len(small.statements) <= {"problems": 76, "cost": 21}.get(tab, 22), tab
        assert len(large.statements) <= len(small.statements), tab
        # What Anthropic said is read of the first rows of each group.
        allowed = 540 if tab == "problems" else 0
        assert large.returned <= small.returned + allowed, tab


def test_a_finished_job_shows_answers_in_few_words(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    job = job_of(make_job, alice, 60)
    for number in range(1, 16):
        add_batch(job, number, 4, Batch.State.COLLECTED, collected_at=timezone.now())
    page = page_of(client_alice, job)
    shut = re.sub(r"<details.*?</details>", "", page)
    words = re.findall(r"\w+", seen(shut).partition("<footer")[0])
    assert len(words) <= 200
    assert "batch" not in seen(shut).partition("batchsite")[0]


# --- Answers --------------------------------------------------------------------------------------


def test_labels_are_counted_and_lead_to_their_rows(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    outcomes = [{"outcome": Outcome.GOOD, "answer": label} for label in ("good", "bad", "good")]
    rows = [("a", "x"), ("b", "<b>y</b>"), ("c", "z")]
    column = ColumnStatistics("", "choice", 0, [("good", 2), ("bad", 1)])
    job = make_job(
        alice, rows=rows, outcomes=outcomes, answer=LABELS, answers=AnswerStatistics(3, [column])
    )
    page = page_of(client_alice, job)
    assert f'href="/jobs/{job.pk}/rows/?label=good">good</a>' in page
    assert ">2</span><span" in page.replace("> <", "><") and "67%" in page
    lines = client_alice.get(f"/jobs/{job.pk}/").context["lines"]
    assert [(line.row.number, line.answer) for line in lines] == [
        (1, "good"),
        (2, "bad"),
        (3, "good"),
    ]
    assert "Show all rows" in page and "Check quality" in page


def test_numbers_are_summed_up_and_plain_text_is_only_shown(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    numbers = NumberStatistics(2, "1", "5", "3", True, [])
    columns = [
        ColumnStatistics("score", "number", 0, [], 0, numbers),
        ColumnStatistics("why", "text"),
    ]
    kind = {"kind": "columns", "columns": [{"name": "score", "kind": "number"}, {"name": "why"}]}
    good = {"outcome": Outcome.GOOD, "answer": '{"score": 5, "why": "so"}'}
    job = make_job(alice, outcomes=[good, good], answer=kind, answers=AnswerStatistics(2, columns))
    page = page_of(client_alice, job)
    assert ">3</strong> on average" in page and "from 1 to 5" in page
    assert [
        one.column.name for one in client_alice.get(f"/jobs/{job.pk}/").context["summaries"]
    ] == ["score"]


def test_answers_come_as_soon_as_one_batch_is_in(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    """Before that the page says what happens; with the first answers it is loaded anew once."""
    job = make_job(alice, Job.State.WORKING, rows=[("a", "x"), ("b", "y")])
    add_batch(job, 1, 2, Batch.State.IN_PROGRESS)
    answer = client_alice.get(f"/jobs/{job.pk}/")
    page = answer.content.decode()
    assert "Answers appear here" in page and 'id="download-main"' not in page
    watched = answer.context["part"].watch_url
    assert client_alice.get(watched, headers=HX).status_code == 204

    job.rows.filter(number=2).update(outcome=Outcome.GOOD, answer="It is y.")
    tally.count_up(job)
    assert client_alice.get(watched, headers=HX).headers["HX-Refresh"] == "true"
    answer = client_alice.get(f"/jobs/{job.pk}/")
    assert "It is y." in answer.content.decode() and 'id="download-main"' in answer.content.decode()
    assert (
        "HX-Refresh" not in client_alice.get(answer.context["part"].watch_url, headers=HX).headers
    )


# --- Problems -------------------------------------------------------------------------------------


def test_what_passes_is_one_retry_and_the_rest_is_decided(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    job = job_of(make_job, alice, 12)
    page = page_of(client_alice, job, "problems")
    assert "6 rows usually work on retry" in page and "You decide: 4 rows" in page
    assert page.count('id="send-rows-again"') == 1
    assert "Retry 6 rows · at most $" in page
    assert f'href="{reverse("retry", args=[job.pk])}?which=passing"' in page
    merged = client_alice.get(f"/jobs/{job.pk}/?tab=problems").context["merged"]
    assert [[group.name for group in one.groups] for one in merged] == [
        ["overloaded_error", "expired"],
        ["brand_new_error"],
        ["cut_off"],
    ]
    assert [example.number for example in merged[0].examples] == [2, 3, 8]
    assert merged[0].examples[0].cell == "n2" and merged[0].examples[0].trouble == "Overloaded"
    assert merged[2].examples[0].trouble == "It beg"


def test_while_a_job_moves_its_problems_are_shown_without_buttons(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    job = job_of(make_job, alice, 12)
    Job.objects.update(state=Job.State.WORKING)
    page = page_of(client_alice, job, "problems")
    assert "once the job has finished" in page and "Anthropic overloaded" in page
    assert "/retry/" not in page and "/ignore/" not in page


# --- One notice at a time -------------------------------------------------------------------------


def test_of_several_notices_the_most_urgent_one_is_open(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    job = make_job(alice, Job.State.SUBMITTING, held="The credit is used up.", practice=True)
    page = page_of(client_alice, job)
    assert "more notice" not in page and page.count('class="notice ') == 1
    Heartbeat.objects.update(tick_at=timezone.now() - timedelta(minutes=5))
    page = page_of(client_alice, job)
    first, others = page.split('<details class="fold-inner more-notices">')
    assert "The worker is not running" in first and "The credit is used up." not in first
    assert "1 more notice" in others and "The credit is used up." in others


# --- How long it takes ----------------------------------------------------------------------------

MINUTE = timedelta(minutes=1)


def test_what_is_left_is_told_by_this_job_and_by_others() -> None:
    # Nothing done and nothing known: nothing is said.
    assert estimate_left(0, 100, MINUTE, None) is None
    assert estimate_left(0, 100, 5 * MINUTE, 3 * MINUTE) is None, "it takes longer than others did"
    assert estimate_left(100, 100, MINUTE, 9 * MINUTE) is None
    assert estimate_left(0, 100, MINUTE, 13 * MINUTE) == 12 * MINUTE
    assert estimate_left(25, 100, 4 * MINUTE, None) == 12 * MINUTE
    # A quarter by its own speed, three quarters by what others took.
    assert estimate_left(25, 100, 4 * MINUTE, 8 * MINUTE) == 6 * MINUTE


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (20, "Less than a minute left"),
        (61, "About 2 minutes left"),
        (12 * 60, "About 12 minutes left"),
        (17 * 60, "About 20 minutes left"),
        (80 * 60, "About 1 hour 30 minutes left"),
    ],
)
def test_what_is_left_is_said_roughly(seconds: int, words: str) -> None:
    assert approximately(timedelta(seconds=seconds)) == words


def test_earlier_jobs_of_the_site_tell_how_long_one_takes(
    make_job: MakeJob, alice: User, bob: User, client_alice: Client
) -> None:
    now = timezone.now()
    rows = [(str(number), "x") for number in range(5)]

    def took(minutes: int, owner: User, **values: object) -> Job:
        begun = now - timedelta(days=1)
        ended = begun + timedelta(minutes=minutes)
        return make_job(owner, rows=rows, confirmed_at=begun, finished_at=ended, **values)

    for minutes in (10, 11, 90):
        took(minutes, bob, practice=False)
    took(1, bob, practice=True)  # in another mode
    retried = took(600, bob, practice=False)
    price = RoundEstimate(Decimal(1), Decimal(1), Decimal(1))
    retried.rounds.create(number=2, rows=1, bytes=1, what="", asked_at=now, estimate=price)
    job = make_job(
        alice, Job.State.WORKING, rows=rows, practice=False, confirmed_at=now - timedelta(minutes=3)
    )
    assert Job.objects.usual_duration(job) == timedelta(minutes=11)
    large = make_job(alice, Job.State.WORKING, rows=rows, row_count=10_000, practice=False)
    assert Job.objects.usual_duration(large) is None
    assert "About 8 minutes left" in page_of(client_alice, job)
    Job.objects.filter(pk=job.pk).update(held="No credit.", state=Job.State.SUBMITTING)
    assert " minutes left" not in page_of(client_alice, job), "a job that stands still has no end"
