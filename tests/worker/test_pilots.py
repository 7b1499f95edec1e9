"""Some rows of a job are sent first, and the others wait for a decision: together they are the
whole job, sent once, at the price that was confirmed."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any
from unittest import mock

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from jobs.actions import approvals, retries, submissions
from jobs.actions import pilots as decisions
from jobs.actions.accuracy import choose_gold
from jobs.batches import collection, holds, leases, planning
from jobs.drafts import deduplication, estimates
from jobs.drafts import pilots as drafted_pilots
from jobs.models import (
    PILOT_IS_IN,
    AuditEntry,
    Difference,
    GoldStandard,
    Job,
    JobQuerySet,
    Notification,
    Outcome,
    Pilot,
    Row,
    SpendingCaps,
    dollars,
    note_change,
)
from jobs.models.pilots import PilotQuerySet
from jobs.provider import client
from jobs.results import accuracy, statistics
from jobs.results.review_sample import format_percent
from jobs.retries import rounds
from jobs.rules import notification_events
from jobs.rules.accuracy import wilson_interval
from jobs.rules.answer_formats import AnswerKind
from jobs.rules.pilots import PilotChoice
from jobs.rules.retry_choices import RetryChoice
from jobs.rules.right_answers import GoldChoice
from jobs.spending import caps, ledger
from jobs.web.views.accuracy import accuracy_of_pilot
from jobs.worker import pilots, sent_jobs, sweep, tally

from ..conftest import Simulator, drive_job, put_off_look, send_again, store_job
from ..driven_jobs import counted, joined

Step = Pilot.Step


def draft_of(
    owner: User, count: int = 0, bad: int = 0, rows: Sequence[Any] = (), **values: Any
) -> Job:
    """A priced draft of `rows`, or of `count`; `bad` of these get no good answer."""
    ends = ["[simulate:refusal]"] * bad + ["[simulate:good]"] * (count - bad)
    cells = [(str(n), "Oslo" if n % 4 else "Rome", f"text {n} {end}") for n, end in enumerate(ends)]
    job = store_job(
        owner,
        Job.State.DRAFT,
        columns=("id", "shop", "text"),
        rows=rows or cells,
        prompt="Is this positive? {{text}}",
        max_tokens=40,
        **values,
    )
    with mock.patch.object(client, "count_tokens", counted):
        estimates.estimate_job(job)
    job.refresh_from_db()
    return job


def begun(owner: User, rows: int, pilot: PilotChoice, bad: int = 0, **values: Any) -> Job:
    job = draft_of(owner, rows, bad, **values)
    assert submissions.confirm(job, job.plan_sha256, owner, pilot)
    job.refresh_from_db()
    return job


def is_in(job: Job) -> bool:
    return job.held == PILOT_IS_IN


def test_the_pilot_is_sent_first_and_then_the_rest(alice: User, simulator: Simulator) -> None:
    job = begun(alice, 60, PilotChoice(12, "shop"))
    most = job.estimate.most if job.estimate else Decimal(0)
    job = drive_job(job, until=is_in)
    pilot = Pilot.objects.get()
    assert (job.state, pilot.step, len(pilot.numbers)) == (Job.State.WORKING, Step.WAITING, 12)
    first = simulator.accepted()
    assert first == Counter({f"{number:07}": 1 for number in pilot.numbers})
    shops = Counter(row.content[1] for row in job.rows.filter(number__in=pilot.numbers))
    assert shops == {"Oslo": 9, "Rome": 3}
    # The rest is reserved, and the price of the rest is narrower than what was said.
    found = pilot.result
    assert found is not None and (found.rows, found.good, found.rest_rows) == (12, 12, 48)
    assert found.cost == job.cost > 0
    assert dollars(job.reserved_pico) > most / 2
    assert dollars(job.reserved_pico) + job.cost <= most
    assert 0 < found.rest_low <= found.rest_high <= dollars(job.reserved_pico)
    assert ledger.committed_to_job(job) <= most
    # People are told once, and a look again changes nothing.
    told = Notification.objects.filter(person=alice, event="action_needed")
    assert told.count() == 1
    assert "send the other rows" in notification_events.detail_of("action_needed", told[0].facts)
    job = drive_job(job, until=lambda job: True)
    assert simulator.accepted() == first and told.count() == 1
    # It is continued once, whatever is clicked twice.
    assert decisions.continue_job(job, alice)
    assert not decisions.continue_job(job, alice)
    assert not decisions.end_pilot(job, ask_again=True, user=alice)
    job = drive_job(job)
    assert simulator.accepted() == Counter({f"{number:07}": 1 for number in range(1, 61)})
    assert (job.good_count, job.reserved_pico, job.held) == (60, 0, "")
    assert found.rest_low * Decimal("0.5") < job.cost - found.cost < found.rest_high * 2
    assert [line[0] for line in joined(job)[1:]] == [str(number) for number in range(60)]
    events = AuditEntry.objects.filter(job=job.pk).values_list("event", flat=True)
    assert [one for one in events if "sent" in one] == ["rest_sent"]


@pytest.mark.parametrize(
    ("bad", "least_good", "by_itself"), [(0, 97, True), (8, 97, False), (0, 0, False)]
)
def test_a_rule_sends_the_rest_only_if_it_is_kept(
    alice: User, simulator: Simulator, bad: int, least_good: int, by_itself: bool
) -> None:
    job = begun(alice, 24, PilotChoice(8, "", least_good), bad)
    Pilot.objects.filter(job=job).update(step=Step.SENDING, numbers=list(range(1, 9)))
    job = drive_job(job, until=lambda job: job.state == Job.State.FINISHED or is_in(job))
    assert (job.state == Job.State.FINISHED) == by_itself
    events = AuditEntry.objects.filter(job=job.pk).values_list("event", flat=True)
    assert ("rest_sent_by_rule" in events) == by_itself
    assert simulator.truth()["accepted_rows"] == (24 if by_itself else 8)


def test_while_spending_is_off_nobody_sends_the_rest(alice: User, simulator: Simulator) -> None:
    job = begun(alice, 24, PilotChoice(8, "", 50))
    Pilot.objects.filter(job=job).update(step=Step.SENDING, numbers=list(range(1, 9)))
    drive_job(job, until=lambda job: job.state == Job.State.WORKING)
    SpendingCaps.row().update(stopped_at=timezone.now())
    job = drive_job(job, until=is_in)
    with pytest.raises(caps.NotAllowed):
        decisions.continue_job(job, alice)
    assert Pilot.objects.get().step == Step.WAITING
    # With spending on again, a lower limit per job still counts.
    SpendingCaps.row().update(stopped_at=None, most_a_job=Decimal("0.000001"))
    with pytest.raises(caps.NotAllowed, match="limit per job"):
        decisions.continue_job(job, alice)
    SpendingCaps.row().update(most_a_job=None)
    Job.objects.filter(pk=job.pk).update(next_action_at=timezone.now())  # it is looked at again
    assert drive_job(job).good_count == 24  # by its rule


@pytest.mark.parametrize("when", ["before it is drawn", "while it is in"])
def test_a_stop_during_the_pilot_frees_what_is_reserved(
    alice: User, simulator: Simulator, when: str
) -> None:
    job = begun(alice, 30, PilotChoice(10))
    if when == "while it is in":
        job = drive_job(job, until=is_in)
    assert submissions.stop_job(job, alice)
    job = drive_job(job)
    sent = 10 if when == "while it is in" else 0
    assert (job.good_count, job.outcome_count(Outcome.CANCELED)) == (sent, 30 - sent)
    assert (job.reserved_pico, job.held) == (0, "")
    assert ledger.committed_to_job(job) == job.cost
    assert not Pilot.objects.open().exists()
    # The rows that were stopped can be retried, all of them.
    assert send_again(job, alice, "canceled") == 30 - sent
    job = drive_job(job)
    assert job.good_count == 30
    assert set(simulator.accepted().values()) == {1}


@pytest.mark.no_database
@pytest.mark.parametrize("ask_again", [False, True])
def test_another_prompt_for_the_rest_with_or_without_the_pilot(
    alice: User, simulator: Simulator, ask_again: bool
) -> None:
    job = drive_job(begun(alice, 30, PilotChoice(10)), until=is_in)
    cost = job.cost
    assert decisions.end_pilot(job, ask_again=ask_again, user=alice)
    assert not decisions.continue_job(job, alice)
    job = drive_job(job)
    assert (job.cost, job.reserved_pico) == (cost, 0)
    again = RetryChoice("canceled", prompt="Is it good? {{text}}")
    plan = rounds.make_plan(job, again)
    assert plan.rows == (30 if ask_again else 20)
    # Nothing that was paid for is lost.
    answered = job.rows.exclude(answer="")
    assert answered.count() == 10
    assert retries.confirm_retry(job, again, plan.key, alice)
    job = drive_job(Job.objects.get(pk=job.pk))
    assert job.good_count == 30
    assert simulator.truth()["accepted_rows"] == (40 if ask_again else 30)
    assert job.cost > cost
    # Stopping a retry later takes nothing back of what it has answered.
    Job.objects.filter(pk=job.pk).update(next_action_at=timezone.now())
    lease = leases.claim(job.pk)
    assert lease is not None
    pilots.take_back_answers(job, lease)
    assert job.rows.filter(outcome=Outcome.GOOD, problem="").count() == 30


@pytest.mark.no_database
@pytest.mark.parametrize("ask_again", [False, True])
def test_another_prompt_is_for_the_answers_of_earlier_jobs_as_for_the_pilot(
    alice: User, client_alice: Client, simulator: Simulator, ask_again: bool
) -> None:
    """They are answers to the old prompt, too: the page says so, and the same choice is theirs."""
    drive_job(begun(alice, 6, PilotChoice(1, "", 1)))
    cells = [(str(n), "Oslo", f"text {n} [simulate:good]") for n in range(20)]
    job = draft_of(alice, rows=cells, only_new=True)
    assert job.estimate is not None and job.estimate.rows == 14
    assert submissions.confirm(job, job.plan_sha256, alice, PilotChoice(4))
    job = drive_job(job, until=is_in)
    accepted = simulator.truth()["accepted_rows"]
    address = reverse("end_pilot", args=[job.pk])
    page = words_on(client_alice, address)
    assert "The 4 rows of the pilot and 6 rows answered from earlier jobs" in page
    assert "those answers are to the old prompt, too" in page
    old = dict(job.rows.exclude(earlier=None).values_list("number", "answer"))
    assert len(old) == 6
    client_alice.post(address, {"again": "yes" if ask_again else "no"})
    job = drive_job(job)
    # Nothing is lost before they are asked again.
    assert dict(job.rows.filter(number__in=old).values_list("number", "answer")) == old
    again = RetryChoice("canceled", prompt="Is it good? {{text}}")
    plan = rounds.make_plan(job, again)
    assert plan.rows == (20 if ask_again else 10)
    assert retries.confirm_retry(job, again, plan.key, alice)
    job = drive_job(Job.objects.get(pk=job.pk))
    assert job.good_count == 20
    assert simulator.truth()["accepted_rows"] == accepted + plan.rows
    new_prompt = job.rounds.get().number
    asked = set(job.rows.filter(round=new_prompt).values_list("number", flat=True))
    assert (set(old) <= asked) == ask_again
    reused = set(job.rows.exclude(earlier=None).values_list("number", flat=True))
    assert reused == (set() if ask_again else set(old))


def test_a_click_at_the_moment_when_the_pilot_comes_in_holds_nothing(
    alice: User, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = begun(alice, 20, PilotChoice(5))

    def clicked(job: Job, pilot: Pilot) -> bool:
        assert decisions.continue_job(job, alice)
        return False

    monkeypatch.setattr(pilots, "_keeps_rule", clicked)
    job = drive_job(job)
    assert (job.good_count, job.held) == (20, "")


def test_duplicates_and_empty_rows_are_no_part_of_a_pilot(
    alice: User, simulator: Simulator
) -> None:
    job = draft_of(alice, 20, skip_duplicates=True, skip_empty=True)
    job.rows.filter(number__in=[1, 2]).update(source='["1", "Oslo", ""]')
    job.rows.filter(number__in=range(3, 10)).update(source='["1", "Oslo", "same"]')
    Job.objects.filter(pk=job.pk).update(estimate=None, plan_sha256="")
    job.refresh_from_db()
    estimates.estimate_job(job)
    job.refresh_from_db()
    assert job.estimate is not None and job.estimate.rows == 12
    assert submissions.confirm(job, job.plan_sha256, alice, PilotChoice(5))
    job = drive_job(job, until=is_in)
    result = Pilot.objects.get().result
    assert result is not None and result.rows == 5
    assert not {1, 2, *range(4, 10)} & set(Pilot.objects.get().numbers)
    decisions.continue_job(job, alice)
    job = drive_job(job)
    assert (job.good_count, job.skipped_count) == (18, 2)
    assert simulator.truth()["accepted_rows"] == 12


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        (PilotChoice(30), "This job sends 30 rows"),
        (PilotChoice(0), "from 1 to 5,000"),
        (PilotChoice(5, "city"), "no column “city”"),
        (PilotChoice(5, "", 101), "from 1 to 100"),
    ],
)
def test_a_pilot_that_cannot_be_is_refused_and_nothing_is_sent(
    alice: User, choice: PilotChoice, says: str, simulator: Simulator
) -> None:
    job = draft_of(alice, 30)
    with pytest.raises(caps.NotAllowed, match=says):
        submissions.confirm(job, job.plan_sha256, alice, choice)
    job.refresh_from_db()
    assert (job.state, job.reserved_pico) == (Job.State.DRAFT, 0)
    assert not Pilot.objects.exists()


def test_a_pilot_passes_the_gates_of_the_whole(
    alice: User, root: User, simulator: Simulator
) -> None:
    """Approval and limits are about all rows, not about those that go first."""
    job = draft_of(alice, 30)
    assert job.estimate is not None
    few, plan = PilotChoice(1), job.plan_sha256
    SpendingCaps.row().update(most_a_job=job.estimate.most / 2)
    with pytest.raises(caps.NotAllowed, match="limit per job"):
        submissions.confirm(job, plan, alice, few)
    SpendingCaps.row().update(most_a_job=None, approval_above=job.estimate.most / 2)
    with pytest.raises(caps.NotAllowed, match="A second person"):
        submissions.confirm(job, plan, alice, few)
    assert approvals.request_approval(job, plan, alice)
    assert approvals.approve(job, plan, root)
    assert submissions.confirm(job, plan, alice, few)
    # What was approved is sent without another approval.
    job = drive_job(job, until=is_in)
    assert decisions.continue_job(job, alice)
    assert drive_job(job).good_count == 30


# --- Right answers --------------------------------------------------------------------------------


def words_on(client: Client, address: str) -> str:
    page = re.sub(r"<[^>]+>", "", client.get(address).content.decode())
    return re.sub(r"\s+(?=[.%)])|(?<=\()\s+", "", " ".join(page.split()))


def test_who_decides_sees_how_many_answers_of_the_pilot_are_right(
    alice: User, client_alice: Client, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = AnswerKind("labels", labels=("good", "bad"))
    rows = [("good", "good" if n % 2 else "bad", f"{n} [simulate:good]") for n in range(1, 25)]
    job = draft_of(alice, rows=rows, answer=kind)
    assert submissions.confirm(job, job.plan_sha256, alice, PilotChoice(8))
    job = drive_job(job, until=is_in)
    numbers = Pilot.objects.get().numbers
    page = client_alice.get(reverse("job", args=[job.pk])).content.decode()
    assert "pilot-right" not in page  # nothing is chosen

    # A column that is chosen while the pilot waits is compared at once, in its rows only.
    Job.objects.filter(pk=job.pk).update(next_action_at=timezone.now() + timedelta(hours=1))
    assert choose_gold(job, GoldChoice((("", "shop"),)))
    page = client_alice.get(reverse("job", args=[job.pk])).content.decode()
    assert "We are comparing the answers with the right ones." in page
    assert Job.objects.due(timezone.now()).filter(pk=job.pk).exists()
    job = drive_job(job, until=lambda job: GoldStandard.objects.get().is_current(job))
    found = GoldStandard.objects.get().compared
    assert found is not None and found.rows == 8
    [one] = found.columns
    answers = dict(job.rows.filter(number__in=numbers).values_list("number", "answer"))
    right = {number for number in numbers if answers[number] == rows[number - 1][1]}
    assert (one.compared, one.correct) == (8, len(right))
    differ = set(Difference.objects.values_list("number", flat=True))
    assert differ == set(numbers) - right
    low, high = map(format_percent, wilson_interval(len(right), 8))
    page = words_on(client_alice, reverse("job", args=[job.pk]))
    said = f"{len(right)} of 8 compared answers are right ({format_percent(len(right) / 8)})."
    assert f"{said} Likely {low[:-1]}–{high} of all answers are right." in page, page
    whole = words_on(client_alice, reverse("accuracy", args=[job.pk]))
    assert "This compares the rows of the pilot." in whole

    # A pilot is small, however large its job is: nothing is put off that no step would make good.
    with monkeypatch.context() as large_job:
        large_job.setattr(accuracy, "LARGE", 20)
        note_change(job.pk)
        Job.objects.filter(pk=job.pk).update(next_action_at=timezone.now())
        assert not GoldStandard.objects.get().is_current(Job.objects.get())
        job = drive_job(job, until=lambda job: GoldStandard.objects.get().is_current(job))

    # In the end all rows are compared.
    assert decisions.continue_job(job, alice)
    job = drive_job(drive_job(job), until=lambda job: GoldStandard.objects.get().is_current(job))
    found = GoldStandard.objects.get().compared
    assert found is not None and found.rows == 24


@pytest.mark.no_database
def test_right_answers_that_claude_sees_or_a_person_does_not_say_nothing_of_a_pilot(
    alice: User, client_alice: Client, simulator: Simulator
) -> None:
    job = begun(alice, 24, PilotChoice(8))
    assert choose_gold(job, GoldChoice((("", "text"),)))  # the prompt has that column
    job = drive_job(job, until=is_in)
    assert GoldStandard.objects.get().is_current(job)
    page = words_on(client_alice, reverse("job", args=[job.pk]))
    assert "Claude sees the right answers" in page and "Likely" not in page
    assert choose_gold(job, GoldChoice((("", "shop"),)))
    job.masked = frozenset(["shop"])
    assert accuracy_of_pilot(job) is None


# --- Kills and stops ------------------------------------------------------------------------------


class Killed(BaseException):
    """What SIGKILL is to a step: nothing after it happens, nothing within a transaction stays, and
    the lease is not given back."""


# Where a worker may die: before or after each of these, whenever the dice say so.
SEAMS: list[tuple[Any, str]] = [
    (drafted_pilots, "draw_numbers"),
    (PilotQuerySet, "update"),
    (JobQuerySet, "try_move"),
    (planning, "_fill"),
    (deduplication, "copy_answers"),
    (statistics, "count_answers"),
    (tally, "count_up"),
    (collection, "collect"),
    (holds, "hold"),
    (pilots, "take_back_answers"),
]


def die_at_times(monkeypatch: pytest.MonkeyPatch, dice: random.Random) -> Callable[[bool], None]:
    armed = False

    def arm(on: bool) -> None:
        nonlocal armed
        armed = on

    def wrap(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if armed and dice.random() < 0.12:
                raise Killed
            result = real(*args, **kwargs)
            if armed and dice.random() < 0.12:
                raise Killed
            return result

        monkeypatch.setattr(owner, name, call)

    for owner, name in SEAMS:
        wrap(owner, name)
    return arm


# Together these seeds take every decision, and kill a worker at every point there is.
@pytest.mark.parametrize("seed", range(6, 12))
def test_pilot_and_rest_are_the_whole_under_kills_and_stops(
    alice: User, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(sent_jobs, "PAUSE_OF_A_BATCH", timedelta())
    dice = random.Random(seed)
    rows, first = dice.randint(8, 40), dice.randint(1, 7)
    decision = ("continue", "rule", "stop", "stop early", "end", "ask again")[seed % 6]
    rule = 1 if decision == "rule" else 0
    job = begun(alice, rows, PilotChoice(first, dice.choice(["", "shop"]), rule))
    assert job.estimate is not None
    most, high = job.estimate.most, job.estimate.high
    arm = die_at_times(monkeypatch, dice)
    deaths, tries, early = 0, 0, dice.randint(1, 6)
    while job.state != Job.State.FINISHED:
        tries += 1
        assert tries < 2_000, f"{job.state}, held: {job.held!r}, {Pilot.objects.get().step}"
        put_off_look(0)
        Job.objects.filter(pk=job.pk, lease_until=None).update(next_action_at=timezone.now())
        arm(True)
        try:
            sweep.sweep()
        except Killed:
            deaths += 1
            mine = Job.objects.filter(pk=job.pk)
            mine.update(lease_until=None, lease_owner="", next_action_at=timezone.now())
        finally:
            arm(False)
        job = Job.objects.get(pk=job.pk)
        # Never more at the provider, or promised, than was confirmed.
        if not job.is_stale:
            assert dollars(job.spent_pico + job.reserved_pico) <= most
        if Pilot.objects.open().exists():
            assert Row.objects.exclude(batch=None).count() <= first
        if decision == "stop early" and tries == early:
            submissions.stop_job(job, alice)
        if is_in(job) and decision != "rule":
            assert sum(simulator.accepted().values()) == first
            _decide(job, decision, alice)
    accepted = simulator.accepted()
    assert set(accepted.values()) <= {1}, "a row was sent twice"
    sent, whole = sum(accepted.values()), range(1, rows + 1)
    assert [row.number for row in job.rows.in_order()] == list(whole)
    assert len(joined(job)) == rows + 1
    assert job.reserved_pico == 0
    assert job.cost == dollars(sum(row.cost_pico for row in job.rows.all())) <= most
    assert ledger.committed_to_job(job) == job.cost
    again = first if decision == "ask again" and sent else 0
    assert job.good_count == sent - again
    assert job.good_count + job.outcome_count(Outcome.CANCELED) == rows
    if decision in ("continue", "rule"):
        assert sent == rows and job.cost <= high * 2
    elif decision != "stop early":
        assert sent == first
    assert not Pilot.objects.open().exists()
    assert deaths, "another seed is needed: nobody died"


def _decide(job: Job, decision: str, user: User) -> None:
    match decision:
        case "continue":
            # Two clicks at a time.
            assert decisions.continue_job(job, user) and not decisions.continue_job(job, user)
        case "stop":
            assert submissions.stop_job(job, user)
        case "end" | "ask again":
            assert decisions.end_pilot(job, ask_again=decision == "ask again", user=user)
