"""The page of a job that is being read, sent, worked on, stopped or finished."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models import F
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from jobs.models import Batch, FileProblem, Heartbeat, Job, JobEvent, Outcome, note_change
from jobs.rules import wording
from jobs.worker import tally

from ..pages import squeezed

MakeJob = Callable[..., Job]
HX = {"HX-Request": "true"}


def text(client: Client, path: str, **options: Any) -> str:
    answer = client.get(path, **options)
    assert answer.status_code == 200
    return squeezed(answer.content)


def page_of(client: Client, job: Job, tab: str = "") -> str:
    return text(client, f"/jobs/{job.pk}/", data={"tab": tab} if tab else None)


def seen(page: str) -> str:
    """The words of the main part of a page, without its tags."""
    return re.sub(r"<[^>]+>", " ", page.partition("<main")[2])


def add_batch(job: Job, number: int, size: int, state: str, **values: Any) -> Batch:
    sent = state in (Batch.State.IN_PROGRESS, Batch.State.ENDED, Batch.State.COLLECTED)
    return Batch.objects.create(
        job=job,
        number=number,
        size=size,
        state=state,
        nonce=f"n{job.pk}-{number}",
        body_sha256="",
        body_bytes=0,
        provider_id=f"msgbatch_{job.pk}_{number}" if sent else None,
        **values,
    )


@pytest.fixture(autouse=True)
def worker(db: None) -> None:
    Heartbeat.objects.update(tick_at=timezone.now())


# --- Reading --------------------------------------------------------------------------------------


def test_a_file_being_read_shows_how_far_it_is(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    job = make_job(alice, Job.State.READING, upload_bytes=10_000_000, read_bytes=2_500_000)
    page = page_of(client_alice, job)
    assert "25% of 10 MB" in page and "You can close this page" in page
    assert "every 2s" in page and "hx-trigger" in page


def test_when_a_file_was_read_the_page_becomes_the_draft(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    job = make_job(alice, Job.State.READING)
    url = client_alice.get(f"/jobs/{job.pk}/").context["part"].watch_url
    assert client_alice.get(url, headers=HX).status_code == 204

    Job.objects.update(read_bytes=1)
    assert client_alice.get(url, headers=HX).status_code == 200
    Job.objects.update(state=Job.State.DRAFT)

    assert client_alice.get(url, headers=HX).headers["HX-Refresh"] == "true"
    assert "2 rows, 2 columns" in page_of(client_alice, job)


def test_a_file_that_cannot_be_read_says_why_and_how_to_go_on(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    job = make_job(alice, Job.State.UNREADABLE, rows=())
    FileProblem.objects.create(
        job=job, lines=[7], texts=["A quote is opened and never closed."], leaves_out=True
    )
    page = page_of(client_alice, job)
    assert "Line 7" in page and "never closed" in page
    assert "Upload the corrected file" in page and reverse("delete", args=[job.pk]) in page
    assert "hx-get" not in page.partition("<main")[2]


# --- Sending and working --------------------------------------------------------------------------


@pytest.fixture
def working(make_job: MakeJob, alice: User) -> Job:
    rows = [(f"name {number}", "text") for number in range(5)]
    outcomes = [Outcome.GOOD, Outcome.ERRORED, Outcome.WAITING, Outcome.WAITING, Outcome.WAITING]
    job = make_job(alice, Job.State.WORKING, rows=rows, outcomes=outcomes)
    now = timezone.now()
    add_batch(job, 1, 2, Batch.State.COLLECTED, collected_at=now)
    ends = now + timedelta(hours=23, minutes=30, seconds=30)
    add_batch(job, 2, 3, Batch.State.IN_PROGRESS, expires_at=ends, created_at=now)
    return job


def test_progress_is_what_is_known(working: Job, client_alice: Client) -> None:
    JobEvent.objects.create(job=working, text="Batch 1: 2 answers are in.")
    page = page_of(client_alice, working)
    assert ">2 of 5 rows done</h2>" in page
    assert 'role="img" aria-label="5 rows: 1 good, 1 failed, 3 waiting"' in page
    assert "at most 23 hours 30 minutes left" in page and "less than a minute so far" in page
    assert "You can close this page" in page and "%" not in seen(page)
    page = page_of(client_alice, working, "details")
    assert "1 of 2 done" in page and "Batch 1: 2 answers are in." in page


def test_a_finished_page_watches_until_changed_rows_are_counted(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    """Else its headline would stay what it was before the rows changed."""
    job = make_job(alice, Job.State.FINISHED)
    assert 'hx-trigger="every' not in page_of(client_alice, job).partition("<main")[2]
    note_change(job.pk)
    part = client_alice.get(f"/jobs/{job.pk}/").context["part"]
    assert part.seconds
    answer = client_alice.get(part.watch_url, headers=HX)
    assert "HX-Refresh" not in answer.headers
    Job.objects.filter(pk=job.pk).update(tally_version=F("rows_version"))
    assert client_alice.get(part.watch_url, headers=HX).headers["HX-Refresh"] == "true"
    # A draft is not counted; the page about its reading becomes another one.
    Job.objects.filter(pk=job.pk).update(state=Job.State.DRAFT, tally_version=-1)
    assert client_alice.get(part.watch_url, headers=HX).headers["HX-Refresh"] == "true"


def test_the_page_watches_and_is_told_only_what_is_new(working: Job, client_alice: Client) -> None:
    url = client_alice.get(f"/jobs/{working.pk}/?tab=details").context["part"].watch_url
    assert client_alice.get(url, headers=HX).status_code == 204
    assert client_alice.get(url, headers=HX).status_code == 204

    JobEvent.objects.create(job=working, text="Something happened.")
    answer = client_alice.get(url, headers=HX)

    part = answer.content.decode()
    assert "Something happened." in part and "<html" not in part
    assert "hx-get" in part and url not in html.unescape(part)


def test_the_page_is_loaded_anew_once_when_the_job_is_over(
    working: Job, client_alice: Client
) -> None:
    Job.objects.update(state=Job.State.FINISHED, finished_at=timezone.now())
    status = reverse("status", args=[working.pk])

    assert client_alice.get(status, headers=HX).headers["HX-Refresh"] == "true"
    assert "data-poll" not in page_of(client_alice, working).partition("<main")[2]


def test_the_status_alone_is_no_page(working: Job, client_alice: Client) -> None:
    status = reverse("status", args=[working.pk])
    assert client_alice.get(status).headers["Location"] == f"/jobs/{working.pk}/"


@pytest.mark.parametrize(
    ("practice", "age", "seconds"),
    [(True, 120, 2), (False, 1, 5), (False, 20, 15), (False, 120, 30)],
)
def test_the_longer_it_takes_the_less_often_the_page_asks(
    working: Job, client_alice: Client, practice: bool, age: int, seconds: int
) -> None:
    confirmed_at = timezone.now() - timedelta(minutes=age)
    Job.objects.update(confirmed_at=confirmed_at, practice=practice)
    assert f'hx-trigger="every {seconds}s, look"' in page_of(client_alice, working)


def test_a_job_being_sent_says_how_much_is_out(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    job = make_job(alice, Job.State.SUBMITTING)
    add_batch(job, 1, 1, Batch.State.IN_PROGRESS)
    add_batch(job, 2, 1, Batch.State.PLANNED)
    assert "Sending: 1 of 2 rows" in page_of(client_alice, job)


def test_a_worker_that_is_not_running_is_said(working: Job, client_alice: Client) -> None:
    assert "worker is not running" not in page_of(client_alice, working)
    Heartbeat.objects.update(tick_at=timezone.now() - timedelta(minutes=5))
    assert "The worker is not running" in page_of(client_alice, working)


def test_trouble_with_the_provider_is_said(working: Job, client_alice: Client) -> None:
    Heartbeat.objects.update(provider_trouble="The provider did not answer in time.")
    page = page_of(client_alice, working)
    assert "We can’t reach Anthropic right now" in page and "did not answer in time" in page


def test_the_page_takes_the_same_few_queries_for_many_batches(
    working: Job, client_alice: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    # Session, user, role, prices, job, round, batches, installation, pilot, the jobs before and
    # after it, how long others took and the first rows.
    with django_assert_num_queries(20):
        page_of(client_alice, working)
    for number in range(3, 20):
        add_batch(working, number, 1, Batch.State.COLLECTED, collected_at=timezone.now())
        JobEvent.objects.create(job=working, text="Something happened.")
    with django_assert_num_queries(20):
        page_of(client_alice, working)


# --- A person is needed ---------------------------------------------------------------------------


def test_a_held_job_says_why_and_can_be_tried_again(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    job = make_job(alice, Job.State.SUBMITTING, held="The credit is used up. Top it up.")
    batch = add_batch(job, 1, 2, Batch.State.BLOCKED, refusal="Your credit balance is too low.")
    Heartbeat.objects.update(provider_trouble="The credit is used up.")
    page = page_of(client_alice, job)
    assert "The credit is used up. Top it up." in page and "Action needed" in page
    assert "We keep trying automatically" not in page
    assert "Your credit balance is too low." in page_of(client_alice, job, "details")
    address = reverse("try_again", args=[job.pk])
    assert client_alice.get(address).status_code == 405

    first = client_alice.post(address, follow=True)
    second = client_alice.post(address, follow=True)

    assert "The job is running again" in first.content.decode()
    assert "did not need anything" in second.content.decode()
    batch.refresh_from_db()
    assert batch.state == Batch.State.PLANNED
    assert JobEvent.objects.filter(job=job, text="Trying again.").count() == 1


# --- Stopping -------------------------------------------------------------------------------------


def test_stopping_says_what_it_costs_first(working: Job, client_alice: Client) -> None:
    Job.objects.update(state=Job.State.SUBMITTING)
    working.rows.filter(number=3).update(batch=working.batches.get(number=2))
    working.batches.filter(number=2).update(size=1)

    page = text(client_alice, reverse("stop", args=[working.pk]))

    assert ">2 rows</strong> were not sent" in page
    assert ">1 row</strong> is at Anthropic" in page
    assert ">2 rows</strong> are done" in page
    working.refresh_from_db()
    assert working.state == Job.State.SUBMITTING


def test_a_job_is_stopped_once(working: Job, client_alice: Client) -> None:
    address = reverse("stop", args=[working.pk])

    first = client_alice.post(address, follow=True)
    second = client_alice.post(address, follow=True)

    assert "is being stopped" in first.content.decode()
    assert "nothing left to stop" in second.content.decode()
    assert JobEvent.objects.filter(job=working, text="Stop requested.").count() == 1
    assert client_alice.get(address).headers["Location"] == f"/jobs/{working.pk}/"


# --- Results --------------------------------------------------------------------------------------

BAD = [
    {"outcome": Outcome.GOOD, "answer": "fine", "cost_pico": 20_000_000_000},
    {"outcome": Outcome.ERRORED, "cause": "overloaded_error", "message": "Overloaded"},
    {"outcome": Outcome.ERRORED, "cause": "overloaded_error", "message": "Overloaded"},
    {"outcome": Outcome.LOOK, "cause": "cut_off", "answer": "It beg", "cost_pico": 10_000_000_000},
    {"outcome": Outcome.EXPIRED, "cause": "expired"},
    {"outcome": Outcome.ERRORED, "cause": "brand_new_error", "message": "Never heard of"},
]


@pytest.fixture
def finished(make_job: MakeJob, alice: User) -> Job:
    return make_job(alice, rows=[(str(number), "x") for number in range(6)], outcomes=BAD)


def test_results_say_what_is_good_and_what_is_not(finished: Job, client_alice: Client) -> None:
    page = page_of(client_alice, finished)
    assert "Finished – 5 problems" in page and "1 of 6 answers are good." in page
    assert "state-pill tag-yellow" in page and "Fix 5 rows" in page
    for outcome, words in (("good", "good"), ("look", "to check"), ("errored", "failed")):
        assert f"?outcome={outcome}" in page and f"</strong> {words}</a>" in page
    assert 'aria-label="6 rows: 1 good, 1 to check, 3 failed, 1 not reached"' in page
    assert "errored<" not in page and "brand_new_error<" not in page


def test_failures_are_grouped_by_cause_in_words(finished: Job, client_alice: Client) -> None:
    answer = client_alice.get(f"/jobs/{finished.pk}/?tab=problems")
    groups = answer.context["groups"]
    assert [(group.cause.title, group.rows) for group in groups] == [
        ("Anthropic overloaded", 2),
        ("Failed at Anthropic", 1),
        ("Not reached in 24 hours", 1),
        ("Answer cut off", 1),
    ]
    page = squeezed(answer.content)
    for group in groups:
        address = f"/jobs/{finished.pk}/rows/?outcome={group.outcome}&cause={group.name}"
        assert f'href="{address}">Show {wording.rows(group.rows)}</a>' in page
        found = client_alice.get(address).context["page"]
        assert len(found.rows) == found.total == group.rows


def test_the_cost_stands_beside_the_estimate(
    finished: Job, client_alice: Client, settings: Settings
) -> None:
    settings.PRACTICE = False
    page = page_of(client_alice, finished, "cost")
    assert ">$0.03</strong>" in page and "charged</dt>" in page
    assert "$0.03 charged" in page_of(client_alice, finished)
    Job.objects.update(practice=True)
    page = page_of(client_alice, finished, "cost")
    assert "would have been charged; this was practice" in page
    assert "$0.03 in practice" in page


def test_rows_without_a_price_are_not_hidden(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    unpriced = {"outcome": Outcome.GOOD, "output_tokens": 7, "cost_pico": 0}
    job = make_job(alice, outcomes=[unpriced, unpriced])
    assert "2 rows are not in this sum" in page_of(client_alice, job, "cost")


def test_only_a_job_of_good_answers_is_green(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    page = page_of(client_alice, make_job(alice))
    assert "state-pill tag-green" in page and "All 2 answers are good." in page
    left_out = {"outcome": Outcome.LEFT_OUT, "cause": "left_out", "problem": "Too many cells."}
    page = page_of(client_alice, make_job(alice, outcomes=[Outcome.GOOD, left_out]))
    assert "state-pill tag-green" in page and "1 row skipped from the start" in page
    page = page_of(client_alice, make_job(alice, outcomes=[Outcome.GOOD, Outcome.CANCELED]))
    assert "state-pill tag-green" not in page and "Stopped" in page


def test_the_tally_is_what_the_page_counts_by(finished: Job, client_alice: Client) -> None:
    finished.rows.filter(number=2).update(outcome=Outcome.GOOD, cause="")
    tally.count_up(finished)
    assert "Finished – 4 problems" in page_of(client_alice, finished)


# --- The receipt ----------------------------------------------------------------------------------


def test_the_receipt_says_what_was_charged_and_what_was_not(
    make_job: MakeJob, alice: User, client_alice: Client, client_bob: Client
) -> None:
    charged = {"answered_by": "claude-haiku-5-5", "output_tokens": 1200, "cost_pico": 20 * 10**9}
    job = make_job(
        alice,
        outcomes=[
            {"outcome": Outcome.GOOD, **charged},
            {"outcome": Outcome.ERRORED, "cause": "overloaded_error"},
        ],
    )
    address = reverse("receipt", args=[job.pk])
    assert client_bob.get(address).status_code == 404
    page = squeezed(client_alice.get(address).content)
    assert "$0.02</strong>" in page and "Claude Haiku 5.5, batch price" in page
    assert "1 row</span>: Anthropic overloaded" in page
    assert address in page_of(client_alice, job, "cost")
    draft = make_job(alice, Job.State.DRAFT)
    assert client_alice.get(reverse("receipt", args=[draft.pk])).status_code == 302
