"""When the pilot of a job is in: what came of it, and whether the other rows are sent.

They wait until `release_rest`, whose conditional UPDATE succeeds once. All of the job was confirmed
and its ceiling reserved, so nothing more is reserved then.
"""

from __future__ import annotations

from decimal import Decimal

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction

from ..batches import holds
from ..batches.ceilings import sent_bytes
from ..batches.leases import Lease
from ..batches.slices import SLICE, slice_transaction, slices_of
from ..drafts import estimates
from ..models import (
    PILOT_IS_IN,
    Job,
    Outcome,
    Pilot,
    Row,
    audit,
    clock,
    dollars,
    find_pilot,
    job_log,
    note_change,
)
from ..results import accuracy, statistics
from ..rules import wording
from ..rules.pilots import PilotResult, keeps_rule, price_of_rest
from ..spending import caps
from . import tally

Step = Pilot.Step
TOLD = "The first rows are answered. Look at the answers, then send the other rows."
ASKED_AGAIN = "This row is to be asked again with another prompt."


def step_of_pilot(job: Job, lease: Lease) -> bool:
    """Take the next step of a pilot whose batches are all in. False if the job has none that keeps
    it from finishing. Raises LeaseLost."""
    pilot = find_pilot(job)
    if pilot is None or not pilot.is_open:
        return False
    if pilot.step == Step.SENDING:
        statistics.count_answers(job, lease)
        if not tally.count_up(job):
            return True  # rows keep changing: it is tried again
        job.refresh_from_db()
        mine = Pilot.objects.filter(pk=pilot.pk, step=Step.SENDING)
        mine.update(step=Step.WAITING, result=_result_of(job, pilot))
        pilot.refresh_from_db()
    if pilot.is_waiting and not job.held and not Row.objects.unsent(job).exists():
        # A restore brought back that the others were sent, too.
        mine = Pilot.objects.filter(pk=pilot.pk, step=Step.WAITING)
        return not mine.update(step=Step.RELEASED)
    if pilot.is_waiting and not (_keeps_rule(job, pilot) and _release_by_rule(job)):
        _hold(job)
        accuracy.compare_if_due(job, lease, pilot.numbers)  # for the person who decides
    return True


def _hold(job: Job) -> None:
    """Say that a person decides, unless one has just done so: that would hold the other rows."""
    with transaction.atomic():
        Job.objects.select_for_update().get(pk=job.pk)  # before the pilot, as in release_rest
        if Pilot.objects.filter(job=job, step=Step.WAITING).exists():
            holds.hold(job.pk, PILOT_IS_IN, told=TOLD)


def _result_of(job: Job, pilot: Pilot) -> PilotResult:
    mine = Row.objects.filter(job=job, number__in=pilot.numbers)
    found = list(mine.values_list("outcome", "cost_pico", "size"))
    costs = [dollars(pico) for _outcome, pico, _size in found]
    rest = Row.objects.unsent(job).exclude(number__in=pilot.numbers).count()
    size = sum(size for _outcome, _pico, size in found)
    rest_bytes = max(sent_bytes(job) - size, 0)
    low, high = price_of_rest(costs, size, rest, rest_bytes, dollars(job.reserved_pico))
    good = sum(outcome == Outcome.GOOD for outcome, _pico, _size in found)
    reused = Row.objects.filter(job=job, earlier__isnull=False).count()
    return PilotResult(len(found), good, sum(costs, Decimal(0)), rest, low, high, reused)


def _keeps_rule(job: Job, pilot: Pilot) -> bool:
    estimate = estimates.current(job)
    if pilot.result is None or estimate is None:
        return False
    return keeps_rule(pilot.result, pilot.least_good, job.cost, estimate.high)


def _release_by_rule(job: Job) -> bool:
    try:
        return release_rest(job, None)
    except caps.NotAllowed:
        return False  # a person is told, and it is tried again


def release_rest(job: Job, user: User | None) -> bool:
    """Let the other rows be sent. `user`: who wants it; None: the pilot's rule. False if the pilot
    is not in, or somebody has decided already. Raises caps.NotAllowed while nothing may be spent,
    or when the limit per job is lower than what the job may cost by now."""
    with transaction.atomic():
        allowed, now = caps.lock_caps(), clock.now()
        if why := caps.why_over_cap(job, Decimal(0), allowed, now):
            raise caps.NotAllowed(why)
        jobs = Job.objects.filter(practice=settings.PRACTICE, trashed_at=None)
        states = Job.State
        if not jobs.try_move(job.pk, states.WORKING, states.SUBMITTING, next_action_at=now):
            return False
        waiting = Pilot.objects.filter(job=job, step=Step.WAITING)
        pilot = waiting.first()
        if not waiting.update(step=Step.RELEASED, decided_at=now, decided_by=user):
            transaction.set_rollback(True)
            return False
        holds.end_hold(job.pk, PILOT_IS_IN)
        result = pilot.result if pilot else None
        rest = wording.rows(result.rest_rows) if result else "rows"
        by_rule = "" if user else " by the rule of the pilot"
        job_log.write(job.pk, f"Sending the other {rest}{by_rule}.", user)
        after: dict[str, audit.Value] = {
            "rows": result.rest_rows if result else None,
            "most_usd": format(dollars(Job.objects.get(pk=job.pk).reserved_pico), "f"),
        }
        event = "rest_sent" if user else "rest_sent_by_rule"
        audit.record(event, who=user, job=job.pk, after=after)
    return True


def take_back_answers(job: Job, lease: Lease) -> None:
    """Let the rows of a pilot that was ended for another prompt count as stopped, if they are to be
    asked again, and so those with the answer of an earlier job. What they were answered stays with
    them until then. Raises LeaseLost."""
    pilot = find_pilot(job)
    # What a retry has answered since is not taken back.
    if pilot is None or not pilot.asks_again or job.last_round > 1:
        return
    kept = (Outcome.WAITING, Outcome.CANCELED, Outcome.LEFT_OUT)
    for some in slices_of(pilot.numbers):
        with slice_transaction(lease):
            note_change(job.pk)
            asked = Row.objects.filter(job=job, number__in=some).exclude(outcome__in=kept)
            asked.update(outcome=Outcome.CANCELED, cause="canceled", problem=ASKED_AGAIN)
        lease.renew()
    reused = Row.objects.filter(job=job, earlier__isnull=False)
    for rows in reused.value_slices(SLICE):
        with slice_transaction(lease):
            note_change(job.pk)
            # From now on they are rows like others, which a retry may send.
            reused.filter(number__in=[number for (number,) in rows]).update(
                outcome=Outcome.CANCELED,
                cause="canceled",
                problem=ASKED_AGAIN,
                earlier=None,
                earlier_job=None,
                request_key=None,
            )
        lease.renew()
