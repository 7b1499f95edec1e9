"""What can go wrong with a job that was sent: its pages say so, and say what a person can do."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from jobs.models import (
    PICO,
    Batch,
    Heartbeat,
    Job,
    JobEvent,
    JournalState,
    LateBatch,
    Outcome,
    Row,
    Sending,
    files,
    key_fingerprint,
)
from jobs.retries import preparation, rounds, selection
from jobs.rules import result_proof
from jobs.rules.price_estimates import Estimate
from jobs.rules.retry_choices import RetryChoice
from jobs.web.templatetags.show import at_most
from jobs.worker import tally

from ..conftest import Simulator
from ..driven_jobs import Drive, confirmed
from ..pages import squeezed
from .test_views_job_page import HX, MakeJob, add_batch, page_of, text

KEY_REFUSED = "Anthropic rejected this site’s API key."
ESTIMATE = Estimate(
    key="",
    low=Decimal(6),
    high=Decimal(12),
    most=Decimal(30),
    normal_low=Decimal(12),
    normal_high=Decimal(24),
    input_tokens=1,
    output_low=1,
    output_high=1,
    output_most=1,
    rows=6,
    counted=6,
)


@pytest.fixture(autouse=True)
def live(db: None, settings: Settings) -> None:
    """A site with a key, whose worker runs."""
    settings.PRACTICE = False
    settings.ANTHROPIC_API_KEY = "a key"
    Heartbeat.objects.update(tick_at=timezone.now())


@pytest.fixture
def sending(make_job: MakeJob, alice: User) -> Job:
    """A job of six rows with something left to send."""
    return six_rows(make_job, alice, Job.State.SUBMITTING)


def six_rows(make_job: MakeJob, owner: User, state: str, **values: Any) -> Job:
    rows = [(f"n{number}", "text") for number in range(1, 7)]
    return make_job(owner, state, rows=rows, estimate=ESTIMATE, **values)


def with_rows(job: Job, number: int, numbers: Sequence[int], state: str, **values: Any) -> Batch:
    """A batch of the job with the rows of those numbers."""
    batch = add_batch(job, number, len(numbers), state, **values)
    job.rows.filter(number__in=numbers).update(batch=batch)
    return batch


def pause(**values: Any) -> None:
    values = {"pause": KEY_REFUSED, "pause_key": key_fingerprint(), **values}
    Sending.objects.update(**values)


def post(client: Client, name: str, *arguments: int, **data: str) -> str:
    """The page to which the answer leads."""
    answer = client.post(reverse(name, args=arguments), data, follow=True)
    assert answer.redirect_chain
    return squeezed(answer.content)


def action(name: str, *arguments: int) -> str:
    """What a button of the page has that does `name`."""
    return f'formaction="{reverse(name, args=arguments)}"'


# --- Sending is paused ----------------------------------------------------------------------------


def test_a_job_whose_sending_is_paused_says_why_and_when_it_is_tried_again(
    sending: Job, client_alice: Client
) -> None:
    pause(send_after=timezone.now() + timedelta(minutes=7))
    Heartbeat.objects.update(provider_trouble=KEY_REFUSED)
    page = page_of(client_alice, sending)
    assert page.count(KEY_REFUSED) == 1, "one reason is said once"
    assert "Sending is paused" in page and "We keep trying automatically; next attempt at" in page
    assert action("send_now", sending.pk) in page and "no room" not in page


def test_trying_now_asks_the_worker_at_once(sending: Job, client_alice: Client) -> None:
    pause(send_after=timezone.now() + timedelta(minutes=7))
    assert "Trying to send now." in post(client_alice, "send_now", sending.pk)
    assert Sending.get().send_after <= timezone.now()
    assert "next attempt at" not in page_of(client_alice, sending)
    Sending.objects.update(pause="")
    assert "no longer paused" in post(client_alice, "send_now", sending.pk)
    assert "Sending is paused" not in page_of(client_alice, sending)


def test_a_pause_concerns_only_jobs_that_send_with_this_key(
    make_job: MakeJob, alice: User, client_alice: Client, sending: Job
) -> None:
    working = six_rows(make_job, alice, Job.State.WORKING, name="is working")
    practice = six_rows(make_job, alice, Job.State.SUBMITTING, name="is practice", practice=True)
    pause()
    before = Sending.get().send_after
    for job in (working, practice):
        assert "Sending is paused" not in page_of(client_alice, job)
        assert "no longer paused" in post(client_alice, "send_now", job.pk)
    assert Sending.get().send_after == before
    listed = text(client_alice, "/")
    assert listed.count("Sending is paused") == 1
    found = client_alice.get("/?state=attention").context["page"]
    assert [job.pk for job in found] == [sending.pk]
    pause(pause_key="of another key")
    assert "Sending is paused" not in page_of(client_alice, sending)
    assert not client_alice.get("/?state=attention").context["page"].object_list


def test_a_held_job_says_only_what_holds_it(sending: Job, client_alice: Client) -> None:
    pause()
    Job.objects.update(held="Batch 1 was refused.")
    page = page_of(client_alice, sending)
    assert "Batch 1 was refused." in page and action("try_again", sending.pk) in page
    assert KEY_REFUSED not in page
    assert "Action needed" in text(client_alice, "/")


def test_a_job_that_waits_for_room_says_until_when(sending: Job, client_alice: Client) -> None:
    assert "no room" not in page_of(client_alice, sending)
    Sending.objects.update(send_after=timezone.now() + timedelta(minutes=2))
    assert "Anthropic has no room for more right now; next attempt at" in page_of(
        client_alice, sending
    )


def test_trouble_of_the_site_is_said_where_something_should_move(
    make_job: MakeJob, alice: User, client_alice: Client, sending: Job
) -> None:
    reading = make_job(alice, Job.State.READING)
    finished = make_job(alice)
    Heartbeat.objects.update(site_trouble="The disk of this site is full.")
    for job in (sending, reading):
        page = page_of(client_alice, job)
        assert "The disk of this site is full." in page
        assert "Jobs resume automatically once this is fixed, and nothing is lost" in page
    assert "disk" not in page_of(client_alice, finished)


# --- The database is older than the journal -------------------------------------------------------


def test_behind_the_journal_administrators_are_told_everywhere_and_others_whom_to_ask(
    sending: Job, client_alice: Client, client_root: Client
) -> None:
    JournalState.objects.update(ahead=3)
    page = page_of(client_alice, sending)
    assert "An administrator has to look for them at the provider" in page
    assert action("send_now", sending.pk) not in page and action("restored_look") not in page
    assert reverse("restored") not in page
    page = page_of(client_root, sending)
    assert action("restored_look") in page and action("send_now", sending.pk) not in page
    for path in ("/", "/people/", "/jobs/new/", "/no/such/page/"):
        for client, told in ((client_root, True), (client_alice, False)):
            shown = client.get(path).content.decode()
            assert ("Sending is paused." in shown) is told, path


def test_behind_the_journal_is_nothing_in_practice(
    client_root: Client, settings: Settings, sending: Job
) -> None:
    settings.PRACTICE = True
    Job.objects.update(practice=True)
    JournalState.objects.update(ahead=3, report="old")
    for path in ("/", f"/jobs/{sending.pk}/"):
        page = text(client_root, path)
        assert "Sending is paused.</strong>" not in page and reverse("restored") not in page


def test_an_administrator_has_them_looked_for_and_reads_what_was_found(
    client_root: Client, client_alice: Client
) -> None:
    JournalState.objects.update(ahead=3)
    address = reverse("restored")
    page = text(client_root, address)
    assert "3 batches" in page and action("restored_look") in page

    page = post(client_root, "restored_look")
    assert "Looking for the batches" in page and action("restored_look") not in page
    assert JournalState.get().asked_at
    part = client_root.get(address).context["part"]
    assert client_root.get(part.watch_url, headers=HX).status_code == 204

    JournalState.objects.update(ahead=0, asked_at=None, report="Job 4: found.\nJob <5>: gone.")
    found = client_root.get(part.watch_url, headers=HX).content.decode()
    assert "Job 4: found.</li>" in found and "Job &lt;5&gt;: gone.</li>" in found
    assert "hx-get" not in found and action("restored_look") not in found
    assert reverse("restored") in text(client_root, "/"), "every page says that there is a report"
    assert reverse("restored") not in text(client_alice, "/")

    assert "dismissed" in post(client_root, "restored_seen")
    assert reverse("restored") not in text(client_root, "/")
    assert "Nothing to do" in text(client_root, address)
    assert "nothing to find" in post(client_root, "restored_look")
    assert not JournalState.get().asked_at


def test_what_could_not_be_looked_at_yet_is_looked_for_again(client_root: Client) -> None:
    JournalState.objects.update(ahead=1, report="Job 4: not yet.")
    page = text(client_root, reverse("restored"))
    assert "Job 4: not yet." in page and "Look again" in page and "So nothing is sent until" in page
    assert action("restored_seen") not in page


@pytest.mark.parametrize("name", ["restored", "restored_look", "restored_seen"])
def test_only_administrators_restore(client_alice: Client, name: str) -> None:
    JournalState.objects.update(ahead=1, report="secret")
    assert client_alice.get(reverse(name)).status_code in (404, 405)
    assert client_alice.post(reverse(name)).status_code in (404, 405)
    state = JournalState.get()
    assert (state.asked_at, state.report) == (None, "secret")


# --- Did it arrive? -------------------------------------------------------------------------------


@pytest.fixture
def asked(sending: Job) -> Batch:
    """Batch 2, of rows 3 and 4, is in doubt, and a person is asked."""
    now = timezone.now()
    with_rows(sending, 1, [1, 2], Batch.State.IN_PROGRESS)
    batch = with_rows(
        sending,
        2,
        [3, 4],
        Batch.State.UNKNOWN,
        attempts=1,
        intent_at=now - timedelta(minutes=40),
        deadline_at=now - timedelta(minutes=30),
        asked_at=now,
        empty_looks=17,
    )
    Job.objects.update(held=batch.why_asked)
    return batch


def test_the_person_who_is_asked_reads_what_is_known_and_what_it_may_cost(
    asked: Batch, client_alice: Client
) -> None:
    page = page_of(client_alice, asked.job)
    assert "did batch 2 arrive?" in page and "Batch 2 has 2 of this job’s 6 rows" in page
    # Two rows of six, of an estimate of at most $30.
    assert "been looking for 30 minutes" in page and ">17</span> times" in page
    assert 'twice: <span class="num">at most $10.00</span> more' in page
    assert action("look_again", asked.job_id, 2) in page
    for name in ("send_again", "this_is_it"):
        assert f'href="{reverse(name, args=[asked.job_id, 2])}"' in page
    assert action("try_again", asked.job_id) not in page, "trying again would do nothing"
    assert page.count("it is not in the provider’s list") == 0, "it is said once"


def test_what_else_holds_the_job_can_be_tried_again(asked: Batch, client_alice: Client) -> None:
    add_batch(asked.job, 3, 1, Batch.State.BLOCKED)
    page = page_of(client_alice, asked.job)
    assert action("try_again", asked.job_id) in page and "did batch 2 arrive?" in page
    Batch.objects.filter(number=3).update(state=Batch.State.PLANNED)
    Job.objects.update(held="A step of this job fails again and again.")
    page = page_of(client_alice, asked.job)
    assert action("try_again", asked.job_id) in page and "fails again and again" in page


def test_a_batch_nobody_is_asked_about_says_how_long_it_is_looked_for(
    asked: Batch, client_alice: Client, settings: Settings
) -> None:
    settings.RECONCILE_GRACE_SECONDS = 600
    deadline = timezone.now() + timedelta(minutes=1)
    Batch.objects.filter(pk=asked.pk).update(asked_at=None, deadline_at=deadline)
    Job.objects.update(held="")
    assert "arrive?" not in page_of(client_alice, asked.job)
    page = page_of(client_alice, asked.job, "details")
    assert "arrive?" not in page and "Checking whether it arrived" in page
    until = timezone.localtime(deadline + timedelta(minutes=10))
    assert re.search(rf"until <time [^>]*>[^<]*{until:%H:%M}</time>", page)


def test_looking_again_is_due_at_once_and_logged(asked: Batch, client_alice: Client) -> None:
    page = post(client_alice, "look_again", asked.job_id, 2)
    assert "Looking for batch 2 again." in page and "Batch 2: looking again." in page
    asked.refresh_from_db()
    assert asked.next_action_at and asked.next_action_at <= timezone.now()


def test_sending_again_is_confirmed_with_the_amount_on_the_button(
    asked: Batch, client_alice: Client
) -> None:
    address = reverse("send_again", args=[asked.job_id, 2])
    page = text(client_alice, address)
    assert "Resend, at most $10.00 more</button>" in page
    assert "about <span" in page and "$2.00 to $4.00" in page
    asked.refresh_from_db()
    assert asked.state == Batch.State.UNKNOWN, "looking changes nothing"

    assert "Sending batch 2 again." in post(client_alice, "send_again", asked.job_id, 2)
    asked.refresh_from_db()
    assert asked.state == Batch.State.PLANNED
    assert "has been settled" in post(client_alice, "send_again", asked.job_id, 2)
    assert "has been settled" in html.unescape(
        client_alice.get(address, follow=True).content.decode()
    )


def test_in_practice_sending_again_is_said_to_cost_nothing(
    asked: Batch, client_alice: Client, settings: Settings
) -> None:
    settings.PRACTICE = True
    Job.objects.update(practice=True)
    assert "Free in practice mode." in page_of(client_alice, asked.job)
    page = text(client_alice, reverse("send_again", args=[asked.job_id, 2]))
    assert "Resend</button>" in page and "$10.00" not in page


def test_a_person_names_the_batch_by_its_id(asked: Batch, client_alice: Client) -> None:
    address = reverse("this_is_it", args=[asked.job_id, 2])
    assert "exactly <strong" in text(client_alice, address)
    page = post(client_alice, "this_is_it", asked.job_id, 2, provider_id=" msgbatch_01AbC-x ")
    assert "Checking msgbatch_01AbC-x." in page
    assert "Batch 2: checking whether it is msgbatch_01AbC-x." in page
    asked.refresh_from_db()
    assert asked.suggested_id == "msgbatch_01AbC-x"

    Batch.objects.filter(pk=asked.pk).update(state=Batch.State.IN_PROGRESS, provider_id="x")
    page = post(client_alice, "this_is_it", asked.job_id, 2, provider_id="msgbatch_2")
    assert "has been settled" in page


@pytest.mark.parametrize(
    "given", ["", "msgbatch_1/../2", "msgbatch_ö", "<b>", "a b", "x" * 101, "msgbatch_1\nx", "a\0b"]
)
def test_what_is_no_id_is_not_taken(asked: Batch, client_alice: Client, given: str) -> None:
    address = reverse("this_is_it", args=[asked.job_id, 2])
    answer = client_alice.post(address, {"provider_id": given})
    assert answer.status_code == 422
    assert "is-invalid" in answer.content.decode()
    asked.refresh_from_db()
    assert asked.suggested_id == ""


def test_a_batch_that_is_not_there_cannot_be_decided_about(
    asked: Batch, client_alice: Client
) -> None:
    for name in ("look_again", "send_again", "this_is_it"):
        assert client_alice.post(reverse(name, args=[asked.job_id, 9])).status_code == 404


def test_from_the_question_to_the_answers_over_the_pages(
    alice: User,
    client_alice: Client,
    simulator: Simulator,
    drive: Drive,
    settings: Settings,
) -> None:
    """The real worker asks, and the pages' answer goes to it."""
    settings.PRACTICE = True
    settings.RECONCILE_RESUBMIT = "ask"
    settings.SUBMIT_DEADLINE_SECONDS = 1
    settings.RECONCILE_GRACE_SECONDS = 0.5
    simulator.faults(create=[{"kind": "drop_before"}])
    job = drive(confirmed(alice, [["a", "x"]]), until=lambda job: bool(job.held))
    page = page_of(client_alice, job)
    assert "did batch 1 arrive?" in page
    assert action("try_again", job.pk) not in page, "the question is all that holds it"

    post(client_alice, "this_is_it", job.pk, 1, provider_id="msgbatch_nobody")
    drive(job, until=lambda job: job.events.filter(text__contains="does not know it").exists())
    assert "Batch 1 is not msgbatch_nobody" in page_of(client_alice, job)
    post(client_alice, "send_again", job.pk, 1)

    assert drive(job).good_count == 1
    assert simulator.truth()["posts"] == 2


# --- Late batches ---------------------------------------------------------------------------------


def late_batch(batch: Batch, **values: Any) -> LateBatch:
    now = timezone.now()
    Batch.objects.filter(pk=batch.pk).update(late_until=now + timedelta(days=2))
    return LateBatch.objects.create(
        batch=batch,
        provider_id=f"msgbatch_late_{batch.pk}",
        size=batch.size,
        created_at=now,
        found_at=now,
        cancel_sent_at=now,
        **values,
    )


def test_a_batch_that_was_sent_twice_is_shown_with_what_it_cost(
    sending: Job, client_alice: Client
) -> None:
    first = with_rows(sending, 1, [1, 2], Batch.State.IN_PROGRESS)
    second = with_rows(sending, 2, [3, 4], Batch.State.IN_PROGRESS)
    assert "was sent twice" not in page_of(client_alice, sending)
    over = late_batch(first, ended_at=timezone.now(), finished=1, cost_pico=PICO * 5 // 4)
    running = late_batch(second)
    Row.objects.filter(number=1).update(outcome=Outcome.GOOD)
    tally.count_up(sending)
    page = page_of(client_alice, sending)
    assert "A batch was sent twice, and one was canceled" in page
    assert over.provider_id in page and running.provider_id in page
    assert "It had already answered 1 row" in page and "$1.25</strong> more" in page
    assert "It is being canceled." in page
    page = page_of(client_alice, sending, "cost")
    assert "Not in this sum" in page and ">$1.25</span>" in page
    LateBatch.objects.filter(pk=over.pk).update(finished=0, cost_pico=0)
    assert "so it cost nothing" in page_of(client_alice, sending)
    assert "Not in this sum" not in page_of(client_alice, sending, "cost")


def test_a_batch_that_turned_up_after_a_stop_was_not_sent_twice(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    job = six_rows(make_job, alice, Job.State.FINISHED)
    late_batch(add_batch(job, 1, 6, Batch.State.CANCELED))
    page = page_of(client_alice, job)
    assert "A batch turned up late and was canceled" in page and "was sent twice" not in page


# --- Results that stay incomplete -----------------------------------------------------------------


@pytest.fixture
def incomplete(make_job: MakeJob, alice: User) -> Batch:
    """Of batch 1, of rows 1 to 4, three answers did arrive, and the job is held."""
    job = six_rows(make_job, alice, Job.State.WORKING, held="The results stay incomplete.")
    batch = with_rows(
        job,
        1,
        [1, 2, 3, 4],
        Batch.State.ENDED,
        collect_failures=result_proof.TRIES,
        arrived=3,
        ended_at=timezone.now(),
    )
    job.rows.filter(number__lte=3).update(outcome=Outcome.GOOD)
    tally.count_up(job)
    path = files.incomplete_path(batch)
    files.make_folder(path.parent)
    path.write_bytes(b'{"half": 1}\n{"a li')
    return batch


def test_what_did_arrive_is_said_and_can_be_downloaded(
    incomplete: Batch, client_alice: Client
) -> None:
    page = page_of(client_alice, incomplete.job, "details")
    address = reverse("batch_raw", args=[incomplete.job_id, 1])
    assert "3 of 4 answers arrived" in page and address in page
    answer = client_alice.get(address)
    assert b"".join(answer.streaming_content) == b'{"half": 1}\n{"a li'  # type: ignore[attr-defined]  # a stream has it
    assert "incomplete" in answer.headers["Content-Disposition"]
    assert answer.headers["Content-Security-Policy"] == "sandbox"
    files.incomplete_path(incomplete).unlink()
    assert client_alice.get(address).status_code == 404
    assert address not in page_of(client_alice, incomplete.job, "details")


def test_a_person_may_go_on_without_the_missing_answers(
    incomplete: Batch, client_alice: Client
) -> None:
    page = page_of(client_alice, incomplete.job)
    address = reverse("finish_without", args=[incomplete.job_id])
    assert action("try_again", incomplete.job_id) in page and f'href="{address}"' in page
    page = text(client_alice, address)
    assert "3 of 4 answers" in page and "Continue without 1 answer</button>" in page
    assert "may have charged for lost answers" in page
    incomplete.refresh_from_db()
    assert incomplete.state == Batch.State.ENDED, "looking changes nothing"

    assert "continues without the missing" in post(
        client_alice, "finish_without", incomplete.job_id
    )

    incomplete.refresh_from_db()
    assert incomplete.given_up_at is not None, "the worker looks once more"
    assert "No answers are missing" in post(client_alice, "finish_without", incomplete.job_id)
    assert client_alice.get(address).status_code == 302


def test_nobody_is_asked_to_give_up_while_it_is_still_tried(
    incomplete: Batch, client_alice: Client
) -> None:
    Batch.objects.update(collect_failures=2, arrived=0)
    page = page_of(client_alice, incomplete.job, "details")
    assert reverse("finish_without", args=[incomplete.job_id]) not in page
    assert "tried 2 times; retrying automatically" in page


# --- Rows that can be sent again ------------------------------------------------------------------


def test_rows_that_were_not_reached_are_offered_to_be_sent_again_for_a_price(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    job = six_rows(make_job, alice, Job.State.FINISHED)
    job.rows.filter(number__in=[2, 5]).update(outcome=Outcome.EXPIRED, cause="expired")
    job.rows.filter(number=6).update(outcome=Outcome.ERRORED, cause="invalid_request_error")
    tally.count_up(job)
    address = reverse("retry", args=[job.pk])
    assert f'href="{address}?which=passing"' in page_of(client_alice, job, "problems")
    page = text(client_alice, f"{address}?which=passing")
    job.refresh_from_db()  # the plan comes from what was counted
    planned = rounds.find_plan(job, RetryChoice(selection.FOR_NOW))
    assert planned is not None and planned.rows == 2
    assert f"Retry 2 rows · {at_most(planned.price.most)}</button>" in page
    assert "The first time was not charged" in page
    [key] = re.findall(r'name="key" value="(\w+)"', page)

    assert "have changed" in post(client_alice, "retry", job.pk, which="passing", key="other")
    assert "The retry has started." in post(client_alice, "retry", job.pk, which="passing", key=key)

    job.refresh_from_db()
    assert job.state == Job.State.SUBMITTING
    assert preparation.prepare_next(job)
    assert job.rows.filter(outcome=Outcome.WAITING).count() == 2
    assert job.rows.get(number=6).outcome == Outcome.ERRORED
    assert "have changed" in post(client_alice, "retry", job.pk, which="passing", key=key)
    assert client_alice.get(f"{address}?which=passing").status_code == 302


@pytest.mark.parametrize("which", ["", "nothing", "x" * 61, "\0"])
def test_nothing_is_sent_for_a_group_that_is_none(
    make_job: MakeJob, alice: User, client_alice: Client, which: str
) -> None:
    job = six_rows(make_job, alice, Job.State.FINISHED)
    job.rows.filter(number=2).update(outcome=Outcome.EXPIRED, cause="expired")
    post(client_alice, "retry", job.pk, which=which, key="x")
    job.refresh_from_db()
    assert job.state == Job.State.FINISHED


# --- Deadlines ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("warnings", "urgent"), [(1, False), (3, False), (4, True), (5, True)])
def test_answers_that_are_not_fetched_are_warned_of_ever_more_urgently(
    make_job: MakeJob, alice: User, client_alice: Client, warnings: int, urgent: bool
) -> None:
    job = six_rows(make_job, alice, Job.State.WORKING)
    created = timezone.now() - timedelta(days=20, hours=1)
    batch = with_rows(
        job,
        3,
        [1, 2],
        Batch.State.ENDED,
        created_at=created,
        ended_at=created + timedelta(hours=1),
        warnings_given=warnings,
    )
    page = page_of(client_alice, job)
    assert "The answers of batch 3 have been ready since" in page
    deleted = timezone.localtime(created + timedelta(days=29))
    assert f"deletes them on {deleted:%-d %B %Y}" in page
    assert (", in 8 days." in page) is urgent
    assert ("notice-red" in page) is urgent
    Batch.objects.filter(pk=batch.pk).update(state=Batch.State.COLLECTED)
    assert "have been ready since" not in page_of(client_alice, job)


def test_answers_that_are_just_being_fetched_are_no_trouble(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    job = six_rows(make_job, alice, Job.State.WORKING)
    with_rows(job, 1, [1], Batch.State.ENDED, created_at=timezone.now(), ended_at=timezone.now())
    assert "have been ready since" not in page_of(client_alice, job)


def test_a_lost_batch_is_said_in_red_and_honestly(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    lost = {"outcome": Outcome.ERRORED, "cause": "lost"}
    deleted = {**lost, "message": "The provider deleted these answers on 3 October 2026."}
    outcomes = [Outcome.GOOD, lost, deleted, deleted, lost, Outcome.GOOD]
    job = six_rows(make_job, alice, Job.State.FINISHED, outcomes=outcomes)
    tries = {"collect_failures": result_proof.TRIES, "arrived": 1}
    with_rows(job, 1, [1, 2], Batch.State.LOST, **tries)
    with_rows(job, 2, [3, 4], Batch.State.LOST)
    with_rows(job, 3, [5], Batch.State.LOST)
    assert page_of(client_alice, job, "details").count('tag-red">Lost at the provider') == 3
    page = page_of(client_alice, job)
    assert "1 of 2 answers arrived and are kept. 1 is lost." in page
    assert "Anthropic never returned all of its answers" in page
    assert "deleted these answers on 3 October 2026. 2 rows have no answer." in page
    assert "Anthropic no longer has it. 1 row has no answer." in page
    assert "may still have charged for them" in page
    assert "notice-red" in page
    _good, failed = client_alice.get(f"/jobs/{job.pk}/").context["counts"]
    assert (failed.words, failed.rows) == ("failed", 4)
    assert "It may have been charged." in page_of(client_alice, job, "problems")


def test_after_24_hours_no_time_is_left_and_the_page_says_so(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    job = six_rows(make_job, alice, Job.State.WORKING)
    now = timezone.now()
    ends = now - timedelta(minutes=5)
    with_rows(job, 1, [1], Batch.State.IN_PROGRESS, expires_at=ends)
    page = page_of(client_alice, job)
    assert "1 batch is past the 24-hour limit; waiting for Anthropic to end it" in page
    assert "limit is 24 hours" not in page
    ends = now + timedelta(hours=2, seconds=30)
    with_rows(job, 2, [2], Batch.State.IN_PROGRESS, expires_at=ends)
    page = page_of(client_alice, job)
    assert "1 batch is past the 24-hour limit; waiting for Anthropic to end it" in page
    assert "limit is 24 hours: at most 2 hours left" in page


# --- All of it ------------------------------------------------------------------------------------


def test_trouble_takes_no_query_a_batch(
    asked: Batch, client_alice: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(3, 9):
        batch = add_batch(asked.job, number, 1, Batch.State.LOST)
        late_batch(batch)
    # As always: session, user, role, prices, job, round, batches, installation, log, the bell,
    # whether the person follows the job, its pilot, and the job it came from. Of each batch that
    # somebody is asked about what it costs, and which ones it is not (2); all late ones (1); why
    # all lost ones were lost (1).
    with django_assert_num_queries(17 + 2 + 1 + 1):
        page_of(client_alice, asked.job)


def test_buttons_in_the_part_that_changes_have_a_form_beside_it(
    asked: Batch, client_alice: Client
) -> None:
    """A button without its form would do nothing, and nobody would see why."""
    JobEvent.objects.create(job=asked.job, text="x")
    whole = page_of(client_alice, asked.job)
    part = client_alice.get(reverse("status", args=[asked.job_id]), headers=HX).content.decode()
    forms = set(re.findall(r'<button[^>]* form="([^"]+)"', part))
    assert forms and all(f'<form id="{form}" method="post">' in whole for form in forms)
