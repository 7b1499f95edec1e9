"""What was spent and what may still be charged. Caps, approval, receipts, the spending page and
deletion all go by what stands here.

Money is in US dollars, in the mode this site is in: practice and real jobs never count together.
A job counts for the month in which it was confirmed, each retry for that in which it was asked for,
and a test for that in which it was run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import F, Max, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.fields.json import KT
from django.db.models.functions import Coalesce, TruncDate, TruncMonth

from ..models import (
    Batch,
    Job,
    LateBatch,
    PastSpending,
    Round,
    Team,
    Trial,
    TrialQuerySet,
    clock,
    dollars,
)

NO_TEMPLATE = "Without a template"
DELETED = "(deleted)"
LATE_BATCHES = "late batches"
_NAMES = ("job__owner__username", "job__template__name")
_PART = 1_000_000_000
_JOBS_AT_ONCE = 500
# Tests whose cost is unknown: not answered yet, or the answer was lost.
_OPEN_TRIALS = (Trial.State.WAITING, Trial.State.SENDING, Trial.State.UNKNOWN)


@dataclass(frozen=True)
class Charge:
    """What a job, one of its retries or its tests were charged for one model."""

    at: datetime
    person: str
    template: str
    job: str
    model: str
    what: str  # "rows", "retry", "tests" or "deleted job"
    amount: Decimal


@dataclass(frozen=True)
class OpenCharge:
    """What may still be charged, at most: for rows under way, or for requests in doubt."""

    at: datetime
    owner_pk: int
    team_pk: int | None
    amount: Decimal


def month_of(moment: datetime) -> datetime:
    """When the month of `moment` begins, in UTC: the same for everyone."""
    there = moment.astimezone(UTC)
    return there.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def sum_pico(rows: QuerySet[Any], column: str) -> int:
    """The sum of a column of amounts, in two parts: SQLite's sum overflows at 9.2 million
    dollars."""
    parts = rows.aggregate(high=Sum(F(column) / _PART), low=Sum(F(column) % _PART))
    return int(parts["high"] or 0) * _PART + int(parts["low"] or 0)


# --- All of it ------------------------------------------------------------------------------------


def committed_since(
    since: datetime, owner: User | None = None, team: Team | None = None
) -> Decimal:
    """US dollars that count toward the caps since then: charged, or may still be charged. Of all
    jobs, or those of `owner`, or those shared with `team`."""
    mine = [
        one.amount
        for one in open_charges(since)
        if (owner is None or one.owner_pk == owner.pk) and (team is None or one.team_pk == team.pk)
    ]
    return spent_since(since, owner, team) + sum(mine, Decimal(0))


def committed_by(whose: str, since: datetime) -> dict[int, Decimal]:
    """`committed_since` of each person or team that has any, by its number. `whose`: "owner" or
    "team"."""
    found: dict[int, Decimal] = defaultdict(Decimal)
    for one in _sums(since, None):
        # A job, and what was kept of one, have it themselves.
        path = whose if one.rows.model in (Job, PastSpending) else f"job__{whose}"
        rows = one.rows.exclude(**{path: None}).order_by().values(path)
        parts = rows.annotate(high=Sum(F(one.column) / _PART), low=Sum(F(one.column) % _PART))
        for pk, high, low in parts.values_list(path, "high", "low"):
            found[pk] += one.sign * dollars(int(high or 0) * _PART + int(low or 0))
    for charge in open_charges(since):
        pk = charge.owner_pk if whose == "owner" else charge.team_pk
        if pk is not None:
            found[pk] += charge.amount
    return found


def spent_since(since: datetime, owner: User | None = None, team: Team | None = None) -> Decimal:
    """US dollars charged since then: the sum of `charges`."""
    sums = _sums(since, owner, team)
    return dollars(sum(one.sign * sum_pico(one.rows, one.column) for one in sums))


def spent_by_day(since: datetime, owner: User | None = None) -> dict[date, Decimal]:
    """US dollars charged since then, by day in UTC: `spent_since`, taken apart in the database."""
    found: dict[date, int] = defaultdict(int)
    for one in _sums(since, owner):
        days = (
            one.rows.annotate(day=TruncDate(one.at, tzinfo=UTC))
            .values("day")
            .annotate(high=Sum(F(one.column) / _PART), low=Sum(F(one.column) % _PART))
            .order_by()
        )
        for day, high, low in days.values_list("day", "high", "low"):
            found[day] += one.sign * (int(high or 0) * _PART + int(low or 0))
    return {day: dollars(pico) for day, pico in found.items() if pico}


@dataclass(frozen=True)
class _Sum:
    """A part of what was charged: a column of amounts, counted by the moment in `at`."""

    rows: QuerySet[Any]
    column: str
    at: str
    sign: int = 1


def _sums(since: datetime, owner: User | None, team: Team | None = None) -> list[_Sum]:
    """What was charged since then is the sum of these."""
    whose = {"owner": owner, "team": team}
    mine = {name: value for name, value in whose.items() if value is not None}
    job_mine = {f"job__{name}": value for name, value in mine.items()}
    here, job_here = {"practice": settings.PRACTICE}, {"job__practice": settings.PRACTICE}
    jobs = Job.objects.filter(confirmed_at__gte=since, **here, **mine)
    rounds = Round.objects.filter(**job_here, **job_mine)
    trials = Trial.objects.filter(asked_at__gte=since, **here, **job_mine)
    past = PastSpending.objects.filter(at__gte=since, **here, **mine)
    # Retries count toward the day on which they were confirmed, not that of their job.
    of_jobs = rounds.filter(job__confirmed_at__gte=since)
    return [
        _Sum(jobs, "spent_pico", "confirmed_at"),
        _Sum(of_jobs, "spent_pico", "job__confirmed_at", -1),
        _Sum(rounds.filter(asked_at__gte=since), "spent_pico", "asked_at"),
        _Sum(trials, "cost_pico", "asked_at"),
        _Sum(past, "spent_pico", "at"),
    ]


def open_charges(since: datetime) -> Iterator[OpenCharge]:
    """What may still be charged for what was confirmed since then: under way, or in doubt."""
    here = {"practice": settings.PRACTICE}
    now = clock.now()
    under_way = Job.objects.filter(reserved_pico__gt=0, **here).annotate(
        begun=Coalesce(Max("rounds__asked_at"), "confirmed_at", "created_at")
    )
    for at, owner, team, most in under_way.values_list("begun", "owner", "team", "reserved_pico"):
        if at >= since:
            yield OpenCharge(at, owner, team, dollars(most))
    doubtful = _with_begin(_in_doubt(Batch.objects.filter(**here), now)).select_related("job")
    for batch in doubtful.filter(begun__gte=since):
        yield OpenCharge(batch.begun, batch.job.owner_id, batch.job.team_id, _doubt(batch))
    trials = Trial.objects.filter(state__in=_OPEN_TRIALS, asked_at__gte=since, **here)
    of_trials = trials.values_list("asked_at", "job__owner", "job__team", "most_pico")
    for at, owner, team, most in of_trials:
        yield OpenCharge(at, owner, team, dollars(most))
    past = PastSpending.objects.filter(open_pico__gt=0, at__gte=since, **here)
    past = past.filter(Q(open_until=None) | Q(open_until__gt=now))
    for at, owner, team, most in past.values_list("at", "owner", "team", "open_pico"):
        yield OpenCharge(at, owner, team, dollars(most))


def charges(since: datetime, owner: User | None = None) -> Iterator[Charge]:
    """All charges since then, newest jobs first; with `owner`, only theirs. In practice mode: what
    would have been charged."""
    mine = {} if owner is None else {"owner": owner}
    job_mine = {} if owner is None else {"job__owner": owner}
    again = Round.objects.filter(asked_at__gte=since).values("job")
    begun = Q(confirmed_at__gte=since) | Q(pk__in=again)
    sent = Job.objects.filter(begun, practice=settings.PRACTICE, spent_pico__gt=0, **mine)
    for job in _charged(sent):
        yield from (charge for charge in _of_job(job) if charge.at >= since)
    tested = Trial.objects.filter(asked_at__gte=since, practice=settings.PRACTICE, **job_mine)
    yield from _of_trials(tested)
    past = PastSpending.objects.filter(at__gte=since, practice=settings.PRACTICE, spent_pico__gt=0)
    for one in past.filter(**mine).select_related("owner").order_by("-at", "-pk"):
        for model, amount in one.models_used.items():
            yield Charge(
                one.at,
                one.owner.username,
                one.template or NO_TEMPLATE,
                DELETED,
                model,
                "deleted job",
                amount,
            )


# --- One job --------------------------------------------------------------------------------------


def committed_to_job(job: Job) -> Decimal:
    """US dollars of a job that count toward the cap per job: charged or may still be charged, with
    its tests."""
    job = Job.objects.get(pk=job.pk)
    return dollars(job.spent_pico + job.reserved_pico) + _of_tests(job) + _doubts(job)


def unapproved_amount(job: Job) -> Decimal:
    """As `committed_to_job`, without what a second person has approved."""
    job = Job.objects.get(pk=job.pk)
    rounds = list(job.rounds.all())
    first = job.spent_pico - sum(one.spent_pico for one in rounds)
    counted = sum(one.spent_pico for one in rounds if one.approved_by_id is None)
    newest = rounds[-1] if rounds else job
    if newest.approved_by_id is None:
        counted += job.reserved_pico
    if job.approved_by_id is None:
        counted += first
    # Approval of the job covers its tests.
    tests = Decimal(0) if job.approved_by_id else _of_tests(job)
    return dollars(counted) + tests + _doubts(job)


def possible_charges(job: Job) -> Decimal:
    """US dollars that may have been charged without any answer: for tests whose answer was lost,
    and for batches sent again because they seemed not to have arrived."""
    lost = job.trials.filter(practice=job.practice, state=Trial.State.UNKNOWN)
    return dollars(sum_pico(lost, "most_pico")) + _doubts(job)


def keep_spending(job: Job) -> None:
    """Keep what a job has cost and may still be charged, in the transaction that deletes it, for
    both modes."""
    # Locked: costs of tests and late batches are stored either before this reads them, or after the
    # job is gone. Otherwise some could be lost in between.
    job = Job.objects.select_for_update().get(pk=job.pk)
    list(job.trials.select_for_update().values_list("pk"))
    template = job.template.name if job.template else ""
    found = _charged(Job.objects.filter(pk=job.pk))
    charged = [(job.practice, charge) for one in found for charge in _of_job(one)]
    for practice in (False, True):
        trials = job.trials.filter(practice=practice)
        charged += [(practice, charge) for charge in _of_trials(trials)]
    for practice, charge in charged:
        PastSpending.objects.create(
            owner=job.owner,
            team=job.team,
            at=charge.at,
            practice=practice,
            template=template,
            models_used={charge.model: charge.amount},
            spent_pico=int(charge.amount.scaleb(12)),
        )
    # A test that is being sent may be charged; one that waits was never sent.
    sent = job.trials.filter(state__in=[Trial.State.SENDING, Trial.State.UNKNOWN])
    for at, practice, most in sent.values_list("asked_at", "practice", "most_pico"):
        _remember_open(job, at, practice, most, None)
    for batch in _with_begin(_in_doubt(job.batches.all(), clock.now())):
        most = batch.given_up * batch.most_pico
        _remember_open(job, batch.begun, batch.practice, most, batch.late_until)


def _remember_open(
    job: Job, at: datetime, practice: bool, most_pico: int, until: datetime | None
) -> None:
    PastSpending.objects.create(
        owner=job.owner,
        team=job.team,
        at=at,
        practice=practice,
        template=job.template.name if job.template else "",
        spent_pico=0,
        open_pico=most_pico,
        open_until=until,
    )


def _of_tests(job: Job) -> Decimal:
    """What the tests of a job were charged or may still be, in the current mode."""
    trials = job.trials.filter(practice=settings.PRACTICE)
    open_trials = trials.filter(state__in=_OPEN_TRIALS)
    return dollars(sum_pico(trials, "cost_pico") + sum_pico(open_trials, "most_pico"))


def _doubts(job: Job) -> Decimal:
    return sum(map(_doubt, _in_doubt(job.batches.all(), clock.now())), Decimal(0))


def _in_doubt(batches: QuerySet[Batch], now: datetime) -> QuerySet[Batch]:
    """Batches with a lost submission that may still turn up, or has and is still running."""
    running = LateBatch.objects.filter(ended_at=None).values("batch")
    return batches.filter(Q(late_until__gt=now) | Q(pk__in=running), given_up__gt=0)


def _doubt(batch: Batch) -> Decimal:
    return dollars(batch.given_up * batch.most_pico)


def _with_begin(batches: QuerySet[Batch]) -> QuerySet[Any]:
    """With `begun`: when the job or retry of each batch was confirmed."""
    again = Round.objects.filter(job=OuterRef("job"), number=OuterRef("round"))
    asked_at = Subquery(again.values("asked_at")[:1])
    return batches.annotate(begun=Coalesce(asked_at, "job__confirmed_at", "job__created_at"))


class _ChargedJob(NamedTuple):
    """Of a job what its charges are made of. The page of spending has to do with thousands, and
    would take ten times as long to read all of each."""

    pk: int
    confirmed_at: datetime | None
    person: str
    template: str | None
    name: str
    state: str
    model: str | None
    spent_pico: int
    # As in Tally. One of an older version does not tell the models, or the rounds, apart.
    by_model: dict[str, int] | None
    by_round: dict[str, dict[str, int]] | None
    rounds: list[tuple[int, datetime, int]]  # number, asked_at, spent_pico

    @property
    def shown_template(self) -> str:
        return self.template or NO_TEMPLATE

    @property
    def shown_name(self) -> str:
        return DELETED if self.state == Job.State.DELETING else self.name


def _charged(jobs: QuerySet[Job]) -> Iterator[_ChargedJob]:
    """The newest first."""
    of_jobs = Round.objects.filter(job__in=jobs.values("pk")).order_by("number")
    rounds: dict[int, list[tuple[int, datetime, int]]] = defaultdict(list)
    for pk, number, at, pico in of_jobs.values_list("job", "number", "asked_at", "spent_pico"):
        rounds[pk].append((number, at, pico))
    columns = ("pk", "confirmed_at", "owner__username", "template__name", "name", "state")
    sums = (KT("recipe__model"), "spent_pico", "tally__by_model", "tally__by_round")
    found: QuerySet[Any, tuple[Any, ...]] = jobs.order_by("-confirmed_at", "-pk").values_list(
        *columns, *sums
    )
    for values in found.iterator(chunk_size=_JOBS_AT_ONCE):
        yield _ChargedJob._make((*values, rounds[values[0]]))


def _of_job(job: _ChargedJob) -> Iterator[Charge]:
    if job.confirmed_at is None:
        return
    named = dict(job.by_model or {str(job.model): job.spent_pico})
    first = job.spent_pico
    for number, asked_at, spent_pico in job.rounds:
        again = (job.by_round or {}).get(str(number), {})
        first -= spent_pico
        for model, amount in again.items():
            named[model] = named.get(model, 0) - amount
        yield from _charges(job, asked_at, "retry", again, spent_pico)
    yield from _charges(job, job.confirmed_at, "rows", named, first)


def _charges(
    job: _ChargedJob, at: datetime, what: str, named: dict[str, int], all_pico: int
) -> Iterator[Charge]:
    """One for each model; what is more than these came late."""
    late = all_pico - sum(named.values())
    for model, amount in {**named, LATE_BATCHES: late}.items():
        if amount:
            shown = job.person, job.shown_template, job.shown_name
            yield Charge(at, *shown, model, what, dollars(amount))


def _of_trials(trials: TrialQuerySet) -> Iterator[Charge]:
    groups = (
        trials.exclude(cost_pico=0)
        .annotate(month=TruncMonth("asked_at", tzinfo=UTC))
        .values(*_NAMES, "job__name", "job__state", "model", "month")
        .annotate(pico=Sum("cost_pico"))
        .order_by("-month")
    )
    for group in groups:
        yield Charge(
            group["month"],
            group["job__owner__username"],
            group["job__template__name"] or NO_TEMPLATE,
            DELETED if group["job__state"] == Job.State.DELETING else group["job__name"],
            group["model"],
            "tests",
            dollars(int(group["pico"])),
        )
