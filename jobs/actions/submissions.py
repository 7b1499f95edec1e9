"""Submit a job, stop it, and continue one that is on hold."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction

from ..batches import holds
from ..models import (
    Batch,
    Job,
    Pilot,
    Trial,
    audit,
    clock,
    job_keys,
    job_log,
    note_change,
    pico,
    sending_row,
)
from ..models.quotas import why_too_many_rows
from ..rules import result_proof, wording
from ..rules.pilots import PilotChoice, choice_problems
from ..spending import cap_notices, caps
from . import approvals
from .nudges import nudge_worker


def confirm(job: Job, plan_sha256: str, user: User, pilot: PilotChoice | None = None) -> bool:
    """Submit a draft exactly as shown: `plan_sha256` is the hash of that plan. False if the draft
    or its price has changed, or it was submitted before.

    The ceiling is reserved, of all rows, also with a `pilot`: rows that are sent first. Raises
    caps.NotAllowed if it exceeds a limit, if a second person has to approve the job first, if
    approval is needed and `user` is not the owner, or if there cannot be such a pilot.
    """
    with transaction.atomic():
        allowed, now = caps.lock_caps(), clock.now()
        # Locked: a concurrent change is either seen here or waits for us.
        job = Job.objects.select_for_update().get(pk=job.pk)
        key_team = job_keys.team_to_confirm(job)  # locked before it is compared with the plan
        estimate = approvals.estimate_of_plan(job, plan_sha256)
        if estimate is None:
            return False
        used = caps.take_up(job, estimate.most, allowed, now)
        require_rows(job.owner, estimate.rows, now)
        if pilot:
            columns = job.columns if job.kind == Job.Kind.TABLE else None
            for problem in choice_problems(pilot, estimate.rows, columns):
                raise caps.NotAllowed(problem)
        approved = {}
        if caps.needs_approval(job, estimate.most, allowed):
            if why := caps.why_approval_is_missing(job, plan_sha256, user):
                raise caps.NotAllowed(why)
            approved = {"approved_by": job.approval_by}
        note_change(job.pk)
        confirmed = Job.objects.filter(plan_sha256=plan_sha256, trashed_at=None).try_move(
            job.pk,
            Job.State.DRAFT,
            Job.State.SUBMITTING,
            confirmed_at=now,
            practice=settings.PRACTICE,
            key_team=key_team,
            next_action_at=now,
            reserved_pico=pico(estimate.most),
            **approved,
            **approvals.NOTHING_ASKED,
        )
        if confirmed:
            # Tests that have not been sent are no longer needed.
            job.trials.filter(state=Trial.State.WAITING).delete()
            if pilot:
                Pilot.objects.create(
                    job=job, rows=pilot.rows, by=pilot.by, least_good=pilot.least_good
                )
            job_log.write(job.pk, f"Submitted {wording.rows(estimate.rows)}.", user)
            cap_notices.tell_if_near(used, now)
            nudge_worker(job)
            after: dict[str, audit.Value] = {
                "plan": plan_sha256,
                "rows": estimate.rows,
                "most_usd": format(estimate.most, "f"),
                "approved_by": job.approval_by_id if approved else None,
                **_of_pilot(pilot),
            }
            audit.record("job_submitted", who=user, job=job.pk, after=after)
    return confirmed


def _of_pilot(pilot: PilotChoice | None) -> dict[str, audit.Value]:
    """What the audit log says of a pilot."""
    if pilot is None:
        return {}
    return {"pilot_rows": pilot.rows, "pilot_rule_percent": pilot.least_good or None}


def require_rows(person: User, rows: int, now: datetime) -> None:
    """Raises caps.NotAllowed when `rows` more are more than the person may send this month."""
    if why := why_too_many_rows(person, rows, now):
        raise caps.NotAllowed(why)


def stop_job(job: Job, user: User) -> bool:
    """Stop a job: unsent rows stay unsent, and batches at the provider are canceled."""
    with transaction.atomic():
        stopped = Job.objects.try_move(
            job.pk,
            [Job.State.SUBMITTING, Job.State.WORKING],
            Job.State.CANCELING,
            next_action_at=clock.now(),
        )
        if stopped:
            holds.end_hold(job.pk)
            job_log.write(job.pk, "Stop requested.", user)
            nudge_worker(job)
            audit.record("job_stopped", who=user, job=job.pk)
    return stopped


def resume_job(job: Job, user: User) -> bool:
    """Continue a job on hold: what was refused may be sent again. False if it is not on hold."""
    with transaction.atomic():
        freed = holds.end_hold(job.pk)
        if freed:
            Job.objects.filter(pk=job.pk).update(next_action_at=clock.now())
            # A refused batch was never accepted, so sending it again cannot be charged twice.
            job.batches.filter(state=Batch.State.BLOCKED).update(
                state=Batch.State.PLANNED, next_action_at=None
            )
            job.batches.filter(state=Batch.State.ENDED).update(
                collect_failures=0, next_action_at=clock.now()
            )
            Job.objects.filter(pk=job.pk).update(failures_in_a_row=0)
            job_log.write(job.pk, "Trying again.", user)
            nudge_worker(job)
            audit.record("job_resumed", who=user, job=job.pk)
    return freed


def resume_sending(job: Job, user: User) -> bool:
    """Retry sending now, for all jobs with the same key. False if sending is not paused."""
    now = clock.now()
    paused = sending_row(job.key_team).exclude(pause="")
    if not paused.update(send_after=now):
        return False
    with transaction.atomic():
        for waiting in Job.objects.sending().filter(key_team=job.key_team):
            Job.objects.filter(pk=waiting.pk).update(next_action_at=now)
            nudge_worker(waiting)
        job_log.write(job.pk, "Trying to send again.", user)
        audit.record("sending_resumed", who=user, job=job.pk)
    return True


def give_up_missing_answers(job: Job, user: User) -> bool:
    """Give up on batches whose results stay incomplete or that the provider no longer has. The
    worker checks each once more; then only the results that arrived are used. False if there are
    no such batches."""
    now = clock.now()
    with transaction.atomic():
        if not holds.end_hold(job.pk):
            return False
        Job.objects.filter(pk=job.pk).update(next_action_at=now)
        away = job.batches.staying_away(result_proof.TRIES)
        if not away.update(given_up_at=now, next_action_at=now):
            transaction.set_rollback(True)
            return False
        job_log.write(job.pk, "Continuing without the missing answers.", user)
        nudge_worker(job)
        audit.record("missing_answers_given_up", who=user, job=job.pk)
    return True
