"""Decide about the rows that wait for the pilot of their job."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db import transaction

from ..batches import holds
from ..models import Job, Pilot, audit, clock, job_log
from ..worker import pilots
from .nudges import nudge_worker


def continue_job(job: Job, user: User) -> bool:
    """Send the other rows, once, whatever is clicked twice. False if the pilot is not in or
    somebody has decided already. Raises caps.NotAllowed while nothing may be spent."""
    released = pilots.release_rest(job, user)
    if released:
        nudge_worker(job)
    return released


def end_pilot(job: Job, *, ask_again: bool, user: User) -> bool:
    """Stop a job whose pilot is in, so that its prompt can be changed: the other rows are not sent,
    and what was reserved for them is free. `ask_again`: the rows of the pilot are to be asked
    again, too. False if the pilot is not in or somebody has decided already."""
    with transaction.atomic():
        now, state = clock.now(), Job.State
        if not Job.objects.try_move(job.pk, state.WORKING, state.CANCELING, next_action_at=now):
            return False
        waiting = Pilot.objects.filter(job=job, step=Pilot.Step.WAITING)
        ended = waiting.update(
            step=Pilot.Step.ENDED, asks_again=ask_again, decided_at=now, decided_by=user
        )
        if not ended:
            transaction.set_rollback(True)
            return False
        holds.end_hold(job.pk)
        job_log.write(job.pk, "Stopped after the pilot, to change the prompt.", user)
        nudge_worker(job)
        audit.record("pilot_ended", who=user, job=job.pk, after={"asks_again": ask_again})
    return True
