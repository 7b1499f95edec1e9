"""A database that is older than the journal: an old backup came back, or the database was lost.

Then the journal knows of submissions that the database does not - an attempt, or the name that the
provider gave to a batch - and sending would pay for their rows again. So nothing is sent until
somebody asks for `restore`. It goes through the provider's list and gives the jobs their batches
back, all of one job in one transaction, so that the worker never sees a part of it:

- A batch whose provider's id is in the journal is *in progress*, one without it *unknown*. One that
  the provider had clearly refused is as it was before it was sent.
- Its rows must be free: waiting, stopped without having been sent, or worth sending again. What
  was planned with them since then is taken back. When they are not free, the batch stays out, and
  those of its rows that wait are not sent again.
- A job that goes on sends the rest by itself. One that was a draft, that was confirmed again with
  another recipe, or that had been stopped and was over, sends nothing else: it ends when the
  answers are in.

What cannot be done yet stays unknown, and nothing is sent until it has been.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from ..models import (
    Batch,
    Job,
    JournalState,
    Outcome,
    Row,
    SubmissionDetail,
    SubmissionEvent,
    clock,
    note_change,
)
from ..provider import client, errors
from ..provider.replies import BatchInfo
from ..rules import wording
from . import attempts, holds, planning, restored_batches
from .restored_batches import UNSETTLED, NotYet
from .unknown_submissions import Submission, find_unknown, unknown_nonces

logger = logging.getLogger(__name__)

TRIED_AGAIN_AFTER = timedelta(minutes=5)

WAS_A_DRAFT = (
    "The database of this site was restored from a copy in which this job was not confirmed yet. "
    "What had been sent by then is restored; the rest is not sent."
)
HAS_ANOTHER_RECIPE = (
    "The database of this site was restored from an older copy, in which this job has another "
    "prompt or model than what was sent. What had been sent is restored; the rest is not sent."
)
WAS_STOPPED = (
    "Some of this job had been sent before the database of this site was restored. That is brought "
    "in; nothing else is sent."
)


# --- Asking for it --------------------------------------------------------------------------------


def ask() -> bool:
    """Let the worker do it; False when there is nothing to do."""
    if settings.PRACTICE:
        return False
    behind = JournalState.row().filter(ahead__gt=0)
    return bool(behind.update(asked_at=clock.now(), report=""))


def restore_if_asked() -> None:
    """What `ask` asked for. Should this process die meanwhile, it is done some minutes later."""
    now = clock.now()
    asked = JournalState.row().filter(clock.over("asked_at", TRIED_AGAIN_AFTER, now))
    if not asked.update(asked_at=now + TRIED_AGAIN_AFTER):
        return
    try:
        restore()
        return
    except errors.ProviderError as error:
        report = f"The provider could not be asked: {error}"
    except Exception:
        # Whatever it is: a person waits for an answer, and jobs wait for their turn.
        logger.exception("what is only in the journal could not be restored")
        report = "Something went wrong on this site. The reason is in the worker's log."
    JournalState.row().update(asked_at=None, report=report)


def restore() -> list[str]:
    """Give the jobs back the batches of which only the journal knows. What was found of each, in
    words; administrators see it on their pages, too. Raises ProviderError when the provider's list
    could not be read; nothing is done then. In practice mode nothing is done, either.
    """
    if settings.PRACTICE:
        JournalState.row().update(asked_at=None)
        return ["This site is in practice mode, without a key; there is nothing to look for."]
    unknown, _end = find_unknown(0)
    listing = {info.id: info for info in client.list_batches()} if unknown else {}
    by_job: dict[tuple[int, str], list[Submission]] = defaultdict(list)
    report = []
    for submission in unknown:
        if submission.intents:
            by_job[submission.job, submission.last.upload].append(submission)
        else:
            report.append(_give_up(submission))
    for (job_pk, upload), submissions in by_job.items():
        try:
            report += _restore_job(job_pk, upload, submissions, listing)
        except NotYet as error:
            report.append(_not_yet(job_pk, str(error)))
    left, end = find_unknown(0)
    if left:
        report.append("Some batches could not be checked yet. Nothing is sent until they are.")
    JournalState.row().update(
        ahead=len(left),
        checked=0 if left else end,
        asked_at=None,
        report="\n".join(report),
    )
    Job.objects.filter(state__in=Job.MOVING).update(next_action_at=clock.now())
    return report


def _give_up(submission: Submission) -> str:
    """The journal's lines with the intents are damaged."""
    _remember(None, submission)
    return (
        f"Job {submission.job}: {submission.provider_id} was sent, but the journal does not say "
        "any more with which rows. Its answers stay at the provider for 29 days, and can be "
        "imported under “New job”."
    )


def _remember(job: Job | None, submission: Submission, *, ends: bool = False) -> None:
    """From now on the database knows of it."""
    details = [
        SubmissionDetail(intent.attempt, intent.size, ends=ends) for intent in submission.intents
    ]
    events = [SubmissionEvent(kind="restored", detail=detail) for detail in details]
    for provider_id in submission.ids:
        # One that was taken for it by mistake may be another of ours.
        kind = "restored" if provider_id == submission.provider_id else "given_back"
        events.append(SubmissionEvent(kind=kind, provider_id=provider_id))
    for event in events:
        event.job, event.nonce = job, submission.nonce
    SubmissionEvent.objects.bulk_create(events)


# --- One job --------------------------------------------------------------------------------------


def _restore_job(
    job_pk: int, upload: str, submissions: list[Submission], listing: dict[str, BatchInfo]
) -> list[str]:
    """Restore what was sent of one job. What became of each submission, in words. Raises NotYet
    when nothing was done because the job changed meanwhile."""
    with transaction.atomic():
        # Locked: a worker that plans or sends, and a person who stops or deletes, come after us.
        jobs = Job.objects.select_for_update().filter(pk=job_pk, upload_sha256=upload)
        no_rows = (Job.State.READING, Job.State.UNREADABLE, Job.State.DELETING)
        job = jobs.filter(practice=False).exclude(state__in=no_rows).first()
        if job:
            note_change(job.pk)
        # Somebody else may have asked for it, too.
        submissions = [one for one in submissions if unknown_nonces(one.entries)]
        why_it_ends = _why_it_ends(job, submissions) if job else ""
        report = [
            _restore_one(job, submission, listing, ends=bool(why_it_ends))
            for submission in submissions
        ]
        theirs = Batch.objects.filter(nonce__in=[submission.nonce for submission in submissions])
        if job and theirs.exclude(state__in=Batch.FINAL).exists():
            _set_going(job, submissions[0], why_it_ends)
    return report


def _why_it_ends(job: Job, submissions: list[Submission]) -> str:
    """Why nothing but what was sent already is wanted of a job; "" when it goes on."""
    if job.state == Job.State.DRAFT:
        return WAS_A_DRAFT
    known = "", planning.recipe_hash(job, job.last_round)
    if any(one.last.recipe not in known for one in submissions):
        return HAS_ANOTHER_RECIPE
    if job.state == Job.State.FINISHED:
        stopped = Row.objects.filter(job=job, outcome=Outcome.CANCELED).exists()
    else:
        # Not by a person, but because of other batches of it that were restored before.
        ended = SubmissionEvent.objects.filter(job=job, kind="restored", detail__ends=True)
        stopped = job.state == Job.State.CANCELING and ended.exists()
    return WAS_STOPPED if stopped else ""


def _set_going(job: Job, first: Submission, why_it_ends: str) -> None:
    """Bring a job to the state in which its open batches are seen to. Raises NotYet."""
    if why_it_ends:
        # Nobody wants these stopped: the job ends, but what was sent runs on.
        open_ = job.batches.exclude(state__in=Batch.FINAL)
        open_.filter(cancel_sent_at=None).update(cancel_sent_at=clock.now())
    new = Job.State.CANCELING if why_it_ends else Job.State.SUBMITTING
    if job.state in (new, Job.State.CANCELING):
        return
    values: dict[str, Any] = {
        "finished_at": None,
        "next_action_at": clock.now(),
        "confirmed_at": job.confirmed_at or first.intents[0].at,
    }
    if why_it_ends:
        values["held"] = ""
        holds.log(job.pk, why_it_ends)
    if not Job.objects.try_move(job.pk, job.state, new, **values):
        raise NotYet("it changed just now")


# --- One batch ------------------------------------------------------------------------------------


def _restore_one(
    job: Job | None, submission: Submission, listing: dict[str, BatchInfo], *, ends: bool
) -> str:
    try:
        with transaction.atomic():
            _remember(job, submission, ends=ends)
            became = _bring_in(job, submission, listing)
    except NotYet as error:
        return _not_yet(submission.job, str(error))
    except IntegrityError:
        return _not_yet(submission.job, "another batch has to be found first")
    return f"Job {submission.job}, {wording.rows(submission.last.size)}: {became}"


def _not_yet(job_pk: int, why: str) -> str:
    return f"Job {job_pk}: not checked yet: {why}. Look again in a minute."


def _bring_in(job: Job | None, submission: Submission, listing: dict[str, BatchInfo]) -> str:
    """Bring a batch to where its last attempt left it; says where that is. Raises NotYet."""
    if job is None and _is_being_read(submission.job):
        raise NotYet("the file is being read")
    if job and attempts.is_preparing(job):
        # It would go on without the rows that have come back, and forget what they were asked.
        raise NotYet("the rows of a retry are being prepared")
    if submission.was_refused:
        _refuse(submission)
        return "Anthropic refused it, so nothing was charged. Nothing to do."
    if job is None:
        return (
            "this job is not in the database. "
            f"{submission.provider_id or 'The batch'} was sent. Anthropic keeps its answers for "
            "29 days. You can import them under “New job”."
        )
    batch = restored_batches.batch_with_its_rows(job, submission)
    if batch is None:
        return (
            "its rows have changed since, so its answers can’t be matched. Rows that were "
            "waiting are not sent again."
        )
    if batch.state not in UNSETTLED:
        return f"already in the database as batch {batch.number}. Nothing to do."
    provider_id = submission.provider_id
    if Batch.objects.filter(provider_id=provider_id).exclude(pk=batch.pk).exists():
        provider_id = ""  # it turned out to be another of ours
    restored_batches.settle(batch, submission, provider_id, listing.get(provider_id))
    state = "found" if provider_id in listing else "being looked for"
    holds.log(
        job.pk,
        f"Batch {batch.number} was sent before the database was restored: "
        f"{wording.rows(batch.size)}, {state}.",
    )
    return f"{state} at Anthropic ({provider_id or 'ID not known yet'})."


def _is_being_read(job_pk: int) -> bool:
    reading = Job.objects.filter(pk=job_pk, state=Job.State.READING, practice=False)
    return reading.exists()


def _refuse(submission: Submission) -> None:
    """Nothing of it arrived, so a batch that the database has can simply be sent. It goes on with
    the next attempt: the journal tells attempts apart by their number."""
    batches = Batch.objects.filter(nonce=submission.nonce, attempts__lt=submission.last.attempt)
    open_ = batches.filter(state__in=UNSETTLED).exclude(state=Batch.State.CANCELED)
    open_.update(
        state=Batch.State.PLANNED,
        next_action_at=None,
        **restored_batches.of_last_attempt(submission),
    )
