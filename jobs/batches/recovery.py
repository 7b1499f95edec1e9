"""A database that is older than the journal: an old backup came back, or the database was lost.

Then the journal knows of submissions that the database does not - an attempt, or the name that the
provider gave to a batch - and sending would pay for their rows again. So nothing is sent until
somebody asks for `restore`. It goes through the provider's list and gives the jobs their batches
back. Rows come back slice by slice (restored_rows.py). Then all batches of a job are settled in one
transaction, so that the worker never sees only some of them:

- A batch whose provider's id is in the journal is *in progress*, one without it *unknown*. One that
  the provider had clearly refused is as it was before it was sent.
- Its rows must be free: waiting, stopped without having been sent, or worth sending again. What
  was planned with them since then is taken back. When they are not free, the batch stays out, and
  those of its rows that wait are not sent again. Nor are its answers given to other rows: those of
  a draft that was read with other settings when it was sent.
- A job that goes on sends the rest by itself. One that was a draft, that was confirmed again with
  another recipe, or that had been stopped and was over, sends nothing else: it ends when the
  answers are in.

What cannot be done yet stays unknown, and nothing is sent until it has been.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Max

from ..models import (
    PILOT_IS_IN,
    Batch,
    Job,
    JournalState,
    SubmissionDetail,
    SubmissionEvent,
    clock,
    job_log,
    note_change,
    pico,
)
from ..provider import client, errors
from ..provider.replies import BatchInfo
from ..rules import wording
from . import (
    attempts,
    batch_keys,
    ceilings,
    holds,
    journal,
    planning,
    restored_batches,
    restored_rows,
)
from .journaled_batches import JournaledBatch
from .ownership import LATE_FOR
from .restored_batches import UNSETTLED
from .restored_rows import NO_ROWS, NotYet
from .unknown_submissions import find_unknown, unknown_nonces

logger = logging.getLogger(__name__)

# After a restore of which nothing was heard for so long: its process died.
TRIED_AGAIN_AFTER = timedelta(minutes=1)

SEE_THE_LOG = "Something went wrong on this site. The reason is in the worker's log."
JOURNAL_IS_GONE = (
    "The journal went missing after the restore, so we do not know what was sent. Nothing is sent. "
    "Put journal.jsonl back into DATA_DIR. If it is lost, restore the backup again. Then spending "
    "is stopped."
)
WAS_A_DRAFT = (
    "The database of this site was restored from a copy in which this job was not confirmed yet. "
    "What had been sent by then is restored; the rest is not sent."
)
WAS_ANOTHER_DRAFT = (
    "The database of this site was restored from a copy in which this job was not confirmed yet, "
    "and has another prompt or model than what was sent. What had been sent is restored; the rest "
    "is not sent."
)
HAS_ANOTHER_RECIPE = (
    "The database of this site was restored from an older copy, in which this job has another "
    "prompt or model than what was sent. What had been sent is restored; the rest is not sent."
)
WAS_READ_OTHERWISE = (
    "Rows of this file were sent after the backup from which this site was restored, but the file "
    "was read with other settings. Their answers can’t be matched to the rows here. Import them "
    "under “New job” before you send these rows again."
)
WAS_STOPPED = (
    "Some of this job had been sent before the database of this site was restored. That is brought "
    "in; nothing else is sent."
)


@dataclass(frozen=True)
class _Prepared:
    """A batch of which everything slow is done."""

    journaled: JournaledBatch
    has_rows: bool  # False: its rows are not free any more
    most_pico: int  # the most that one try of it costs; 0 if it was tried once
    is_other: bool = False  # its numbers mean other rows than those that the job has


# --- Asking for it --------------------------------------------------------------------------------


def ask() -> bool:
    """Let the worker do it; False when there is nothing to do."""
    if settings.PRACTICE:
        return False
    behind = JournalState.row().filter(ahead__gt=0)
    return bool(behind.update(asked_at=clock.now(), report=""))


def restore_if_asked() -> None:
    """What `ask` asked for. Should this process die meanwhile, it is done a minute later."""
    now = clock.now()
    asked = JournalState.row().filter(clock.over("asked_at", TRIED_AGAIN_AFTER, now))
    if not asked.update(asked_at=now + TRIED_AGAIN_AFTER):
        return
    try:
        restore()
        return
    except errors.ProviderError as error:
        report = f"We could not ask Anthropic: {error}"
    except Exception:
        # Whatever it is: a person waits for an answer, and jobs wait for their turn.
        logger.exception("what is only in the journal could not be restored")
        report = SEE_THE_LOG
    JournalState.row().update(asked_at=None, report=report)


def _be_heard() -> None:
    """Postpone the next restore. Called for each batch, so that no other worker starts one while
    this one is running."""
    asked = JournalState.row().exclude(asked_at=None)
    asked.update(asked_at=clock.now() + TRIED_AGAIN_AFTER)


def restore() -> list[str]:
    """Give the jobs back the batches of which only the journal knows. What was found of each, in
    words; administrators see it on their pages, too. Raises ProviderError when the provider's list
    could not be read; nothing is done then. In practice mode nothing is done, either.
    """
    if settings.PRACTICE:
        JournalState.row().update(asked_at=None)
        return ["This site is in practice mode, without a key; there is nothing to look for."]
    unknown, _end = find_unknown(0)
    if not unknown and JournalState.get().ahead and not any(one for _end, one in journal.entries()):
        # It had batches that the database does not know, and it is not there any more.
        JournalState.row().update(asked_at=None, report=JOURNAL_IS_GONE)
        return [JOURNAL_IS_GONE]
    if unknown:
        # First of all: while this is set, nothing is planned or sent.
        JournalState.row().update(ahead=len(unknown))
        _watch_on()
    listing = _list_all(unknown)
    by_job: dict[tuple[int, str], list[JournaledBatch]] = defaultdict(list)
    report = []
    for journaled in unknown:
        if journaled.intents:
            by_job[journaled.job, journaled.last.upload].append(journaled)
        else:
            report.append(_give_up(journaled))
    for (job_pk, upload), batches in by_job.items():
        try:
            report += _restore_job(job_pk, upload, batches, listing)
        except NotYet as error:
            report.append(_not_yet(job_pk, str(error)))
        except Exception:
            # The other jobs get their batches back all the same.
            logger.exception("the batches of job %s could not be restored", job_pk)
            report.append(f"Job {job_pk}: not checked yet: {SEE_THE_LOG}")
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


def _list_all(unknown: list[JournaledBatch]) -> dict[str, BatchInfo]:
    """What the provider lists with each key that one of `unknown` was sent with. Nothing for a key
    of a team that is missing or refused: its batches wait for it. Raises ProviderError, of the
    site's key."""
    listing: dict[str, BatchInfo] = {}
    teams = {one.last.key_team if one.intents else None for one in unknown}
    batch_keys.for_each_key(
        teams, lambda _team: listing.update((info.id, info) for info in client.list_batches())
    )
    return listing


def _watch_on() -> None:
    """What the late watch looked for when the backup was made, it looks for two more days: what
    appeared since then is not known here any more."""
    made = SubmissionEvent.objects.aggregate(last=Max("at"))["last"] or clock.now()
    watched = Batch.objects.filter(late_until__gt=made, practice=False)
    watched.update(late_until=clock.latest_now() + LATE_FOR)


def _give_up(journaled: JournaledBatch) -> str:
    """The journal's lines with the intents are damaged."""
    _remember(None, journaled)
    return (
        f"Job {journaled.job}: {journaled.provider_id} was sent, but the journal does not say "
        "any more with which rows. Its answers stay at the provider for 29 days, and can be "
        "imported under “New job”."
    )


def _remember(job: Job | None, journaled: JournaledBatch, *, ends: bool = False) -> None:
    """From now on the database knows of it."""
    details = [
        SubmissionDetail(intent.attempt, intent.size, ends=ends) for intent in journaled.intents
    ]
    events = [SubmissionEvent(kind="restored", detail=detail) for detail in details]
    for provider_id in journaled.ids:
        # One that was taken for it by mistake may be another of ours.
        kind = "restored" if provider_id == journaled.provider_id else "given_back"
        detail = SubmissionDetail(journaled.attempt_of(provider_id))
        events.append(SubmissionEvent(kind=kind, provider_id=provider_id, detail=detail))
    for event in events:
        event.job, event.nonce = job, journaled.nonce
    SubmissionEvent.objects.bulk_create(events)


# --- One job --------------------------------------------------------------------------------------


def _restore_job(
    job_pk: int, upload: str, batches: list[JournaledBatch], listing: dict[str, BatchInfo]
) -> list[str]:
    """Restore what was sent of one job. What became of each batch, in words. Raises NotYet if
    nothing was settled because the job changed meanwhile."""
    jobs = Job.objects.filter(pk=job_pk, upload_sha256=upload, practice=False)
    jobs = jobs.exclude(state__in=NO_ROWS)
    said: dict[str, str] = {}  # of each, by its nonce
    prepared = []
    job = jobs.first()
    for journaled in batches:
        _be_heard()
        said[journaled.nonce] = ""
        try:
            prepared.append(_prepare(job, journaled))
        except NotYet as error:
            said[journaled.nonce] = _not_yet(job_pk, str(error))
    with transaction.atomic():
        # Locked: a worker that plans or sends, and a person who stops or deletes, come after us.
        job = jobs.select_for_update().first()
        if job:
            note_change(job.pk)
        # Somebody else may have asked for it, too.
        prepared = [one for one in prepared if unknown_nonces(one.journaled.entries)]
        if job and prepared:
            # Its answers are paid for: show them, even if it was in the trash at the backup.
            # And with the key that it was sent with.
            key_team = prepared[0].journaled.last.key_team
            Job.objects.filter(pk=job.pk).update(trashed_at=None, key_team=key_team)
        batches = [one.journaled for one in prepared]
        why_it_ends = _why_it_ends(job, prepared) if job else ""
        for one in prepared:
            said[one.journaled.nonce] = _restore_one(job, one, listing, ends=bool(why_it_ends))
        theirs = Batch.objects.filter(nonce__in=[journaled.nonce for journaled in batches])
        settled = theirs.exclude(state__in=[*Batch.FINAL, Batch.State.RESTORING])
        is_other = why_it_ends == WAS_READ_OTHERWISE
        if job and (settled.exists() or (is_other and job.state != Job.State.DRAFT)):
            _set_going(job, batches[0], why_it_ends)
        elif job and is_other:
            job_log.write(job.pk, why_it_ends)  # a person decides what is sent of a draft
    return list(filter(None, said.values()))


def _prepare(job: Job | None, journaled: JournaledBatch) -> _Prepared:
    """Do what takes long, in short transactions. Raises NotYet."""
    if job is None or journaled.was_refused:
        return _Prepared(journaled, True, 0)
    if not restored_rows.are_the_same(job, journaled.last):
        return _Prepared(journaled, False, 0, is_other=True)
    has_rows = restored_rows.give_rows_back(job, journaled.last)
    batch = Batch.objects.filter(job=job, nonce=journaled.nonce).first()
    was_tried_again = len(journaled.settled) > 1
    most = pico(ceilings.ceiling_of_batch(batch)) if batch and was_tried_again else 0
    return _Prepared(journaled, has_rows, most)


def _why_it_ends(job: Job, prepared: list[_Prepared]) -> str:
    """Why nothing but what was sent already is wanted of a job; "" when it goes on."""
    if any(one.is_other for one in prepared):
        return WAS_READ_OTHERWISE
    batches = [one.journaled for one in prepared]
    known = "", planning.recipe_hash(job, job.last_round)
    is_same = all(one.last.recipe in known for one in batches)
    if job.state == Job.State.DRAFT:
        return WAS_A_DRAFT if is_same else WAS_ANOTHER_DRAFT
    if not is_same:
        return HAS_ANOTHER_RECIPE
    if job.state == Job.State.FINISHED:
        stopped = restored_rows.was_stopped(job, [one.nonce for one in batches])
    else:
        # Not by a person, but because of other batches of it that were restored before.
        ended = SubmissionEvent.objects.filter(job=job, kind="restored", detail__ends=True)
        stopped = job.state == Job.State.CANCELING and ended.exists()
    return WAS_STOPPED if stopped else ""


def _set_going(job: Job, first: JournaledBatch, why_it_ends: str) -> None:
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
    if not Job.objects.try_move(job.pk, job.state, new, **values):
        raise NotYet("it changed just now")
    if why_it_ends:
        holds.end_hold(job.pk)
        job_log.write(job.pk, why_it_ends)
    else:
        # Its other rows may have been sent since. If some still wait, people are told again.
        holds.end_hold(job.pk, PILOT_IS_IN)


# --- One batch ------------------------------------------------------------------------------------


def _restore_one(
    job: Job | None, prepared: _Prepared, listing: dict[str, BatchInfo], *, ends: bool
) -> str:
    journaled = prepared.journaled
    try:
        with transaction.atomic():
            _remember(job, journaled, ends=ends)
            became = _bring_in(job, prepared, listing)
    except NotYet as error:
        return _not_yet(journaled.job, str(error))
    except IntegrityError:
        return _not_yet(journaled.job, "another batch has to be found first")
    return f"Job {journaled.job}, {wording.rows(journaled.last.size)}: {became}"


def _not_yet(job_pk: int, why: str) -> str:
    return f"Job {job_pk}: not checked yet: {why}. Look again in a minute."


def _bring_in(job: Job | None, prepared: _Prepared, listing: dict[str, BatchInfo]) -> str:
    """Bring a batch to where its last attempt left it; says where that is. Raises NotYet."""
    journaled = prepared.journaled
    if job is None and _is_being_read(journaled.job):
        raise NotYet("the file is being read")
    if job and attempts.is_preparing(job):
        # The retry would miss the rows that come back, and lose how they were asked.
        raise NotYet("the rows of a retry are being prepared")
    if journaled.was_refused:
        _refuse(journaled)
        return "Anthropic refused it, so nothing was charged. Nothing to do."
    if job is None:
        return (
            "this job is not in the database. "
            f"{journaled.provider_id or 'The batch'} was sent. Anthropic keeps its answers for "
            "29 days. You can import them under “New job”."
        )
    if prepared.is_other:
        return (
            "its file was read with other settings then, so its answers can’t be matched. "
            f"{journaled.provider_id or 'The batch'} was sent. You can import it under “New job”."
        )
    if not prepared.has_rows:
        return (
            "its rows have changed since, so its answers can’t be matched. Rows that were "
            "waiting are not sent again."
        )
    batch = Batch.objects.filter(job=job, nonce=journaled.nonce).first()
    if batch is None or batch.state in (Batch.State.PLANNING, Batch.State.CANCELED):
        raise NotYet("it changed just now")
    if batch.state not in UNSETTLED:
        restored_batches.doubt_other_tries(batch, journaled, batch.provider_id, prepared.most_pico)
        return f"already in the database as batch {batch.number}. Nothing to do."
    if batch.state == Batch.State.RESTORING and not restored_rows.has_all_rows(batch):
        raise NotYet("its rows changed just now")
    provider_id = restored_batches.find_free_id(batch, journaled)
    restored_batches.settle(batch, journaled, provider_id, listing.get(provider_id))
    batch.refresh_from_db()
    restored_batches.doubt_other_tries(batch, journaled, provider_id or None, prepared.most_pico)
    state = "found" if provider_id in listing else "being looked for"
    job_log.write(
        job.pk,
        f"Batch {batch.number} was sent before the database was restored: "
        f"{wording.rows(batch.size)}, {state}.",
    )
    return f"{state} at Anthropic ({provider_id or 'ID not known yet'})."


def _is_being_read(job_pk: int) -> bool:
    reading = Job.objects.filter(pk=job_pk, state=Job.State.READING, practice=False)
    return reading.exists()


def _refuse(journaled: JournaledBatch) -> None:
    """Nothing of it arrived, so a batch that the database has can simply be sent. It goes on with
    the next attempt: the journal tells attempts apart by their number."""
    batches = Batch.objects.filter(nonce=journaled.nonce, attempts__lt=journaled.last.attempt)
    batches.filter(state__in=UNSETTLED).update(
        state=Batch.State.PLANNED,
        next_action_at=None,
        **restored_batches.of_last_attempt(journaled),
    )
