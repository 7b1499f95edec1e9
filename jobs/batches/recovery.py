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
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Max, Q

from ..models import (
    Batch,
    Job,
    JournalState,
    NotMoved,
    Outcome,
    Row,
    RowQuerySet,
    SubmissionEvent,
    clock,
    note_change,
)
from ..provider import client
from ..provider.client import BatchInfo
from ..rules import wording
from . import absence, attempts, holds, journal, planning

logger = logging.getLogger(__name__)

Entry = journal.Intent | journal.Outcome

READ_AT_ONCE = 500  # entries that are compared by one query
RANGES_AT_ONCE = 200  # runs of rows in one query: SQLite takes a thousand conditions
TRIED_AGAIN_AFTER = timedelta(minutes=5)
CLEAR_NO = (Batch.State.PLANNED, Batch.State.BLOCKED)
# States in the database of a batch of which the journal may know more.
UNSETTLED = (*CLEAR_NO, Batch.State.SUBMITTING, Batch.State.UNKNOWN, Batch.State.CANCELED)
NEVER_SENT = {"outcome": Outcome.WAITING, "cause": "", "message": ""}

WAS_A_DRAFT = (
    "The database of this site was restored from a copy in which this job was not confirmed yet. "
    "What had been sent by then is brought in; the rest is not sent."
)
HAS_ANOTHER_RECIPE = (
    "The database of this site was restored from an older copy, in which this job has another "
    "prompt or model than what was sent. What had been sent is brought in; the rest is not sent."
)
WAS_STOPPED = (
    "Some of this job had been sent before the database of this site was restored. That is brought "
    "in; nothing else is sent."
)


class _NotYet(Exception):
    """This one cannot be given back now; says why."""


class _NotFree(Exception):
    """The rows of a batch are not its own any more."""


@dataclass
class _Submission:
    """All that the journal says of one batch."""

    nonce: str
    job: int
    intents: list[journal.Intent] = field(default_factory=list)
    outcomes: list[journal.Outcome] = field(default_factory=list)
    settled: dict[int, str] = field(default_factory=dict)  # attempt -> state after it; "": open

    def add(self, entry: Entry) -> None:
        if isinstance(entry, journal.Intent):
            self.intents.append(entry)
            self.settled[entry.attempt] = ""
        else:
            self.outcomes.append(entry)
            self.settled[entry.attempt] = entry.state

    @property
    def entries(self) -> list[Entry]:
        return [*self.intents, *self.outcomes]

    @property
    def last(self) -> journal.Intent:
        return self.intents[-1]

    @property
    def was_practice(self) -> bool:
        return any(intent.practice for intent in self.intents)

    @property
    def ids(self) -> list[str]:
        """The names that the provider gave it, that of the last attempt last. Several, when one was
        taken for it by mistake, or when an attempt was answered too late."""
        by_attempt = sorted(self.outcomes, key=lambda outcome: outcome.attempt)
        named = [outcome.provider_id for outcome in by_attempt if outcome.provider_id]
        return list(dict.fromkeys(reversed(named)))[::-1]

    @property
    def provider_id(self) -> str:
        return self.ids[-1] if self.ids else ""

    @property
    def was_refused(self) -> bool:
        """Every attempt got a clear no."""
        return not self.ids and all(state in CLEAR_NO for state in self.settled.values())


# --- What the database does not know -------------------------------------------------------------


def submissions_unknown() -> int:
    """How many batches the journal has submissions of that the database does not know; 0 when all
    is as it should be, and in practice mode, which costs nothing. Only what is new in the journal
    is read."""
    if settings.PRACTICE:
        return 0
    state = JournalState.get()
    size = journal.size()
    if state.ahead or size == state.checked:
        return state.ahead
    begin = state.checked if size > state.checked else 0
    unknown, end = _unknown(begin)
    if unknown:
        JournalState.row().update(ahead=len(unknown))
        logger.error("the journal has %s batches that the database does not know", len(unknown))
    elif end != state.checked:
        JournalState.row().update(checked=end)
    return len(unknown)


def count_unknown() -> tuple[int, int]:
    """How many batches, and rows in them, the journal has submissions of that the database does not
    know, whatever mode this process is in."""
    unknown, _end = _unknown(0)
    return len(unknown), sum(one.last.size for one in unknown if one.intents)


def _unknown(begin: int) -> tuple[list[_Submission], int]:
    """What the journal says of the batches of which it has, from byte `begin` on, something that
    the database does not know; and where the journal ends."""
    nonces: set[str] = set()
    end = begin
    entries = journal.entries(begin)
    while part := list(islice(entries, READ_AT_ONCE)):
        end = part[-1][0]
        nonces |= _unknown_nonces([entry for _end, entry in part if entry])
    return (_submissions(nonces) if nonces else []), end


def _unknown_nonces(entries: Sequence[Entry]) -> set[str]:
    """The nonces of those of `entries` that the database does not know. Whatever is in the journal
    was committed before, so an event for it must be there."""
    intents = [entry for entry in entries if isinstance(entry, journal.Intent)]
    outcomes = [entry for entry in entries if isinstance(entry, journal.Outcome)]
    events = SubmissionEvent.objects.all()
    tried = events.filter(
        nonce__in={intent.nonce for intent in intents}, kind__in=["intent", "restored"]
    )
    attempts = {(event.nonce, event.detail.get("attempt")) for event in tried}
    named = {outcome.provider_id for outcome in outcomes if outcome.provider_id}
    ids = set(events.filter(provider_id__in=named).values_list("provider_id", flat=True))
    return {
        *(
            intent.nonce
            for intent in intents
            if not intent.practice and (intent.nonce, intent.attempt) not in attempts
        ),
        *(outcome.nonce for outcome in outcomes if outcome.provider_id in named - ids),
    }


def _submissions(nonces: Collection[str]) -> list[_Submission]:
    """All that the journal says of the batches with `nonces`, in the order in which they were sent.
    What was only practice is left out."""
    found: dict[str, _Submission] = {}
    for _end, entry in journal.entries():
        if entry and entry.nonce in nonces:
            found.setdefault(entry.nonce, _Submission(entry.nonce, entry.job)).add(entry)
    return [submission for submission in found.values() if not submission.was_practice]


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
    except client.ProviderError as error:
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
    unknown, _end = _unknown(0)
    listing = {info.id: info for info in client.list_batches()} if unknown else {}
    by_job: dict[tuple[int, str], list[_Submission]] = defaultdict(list)
    report = []
    for submission in unknown:
        if submission.intents:
            by_job[submission.job, submission.last.upload].append(submission)
        else:
            report.append(_give_up(submission))
    for (job_pk, upload), submissions in by_job.items():
        try:
            report += _restore_job(job_pk, upload, submissions, listing)
        except _NotYet as error:
            report.append(_not_yet(job_pk, str(error)))
    left, end = _unknown(0)
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


def _give_up(submission: _Submission) -> str:
    """The journal's lines with the intents are damaged."""
    _remember(None, submission)
    return (
        f"Job {submission.job}: {submission.provider_id} was sent, but the journal does not say "
        "any more with which rows. Its answers stay at the provider for 29 days, and can be "
        "brought in under “New job”."
    )


def _remember(job: Job | None, submission: _Submission, *, ends: bool = False) -> None:
    """From now on the database knows of it."""
    details = [
        {"attempt": intent.attempt, "size": intent.size, "ends": ends}
        for intent in submission.intents
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
    job_pk: int, upload: str, submissions: list[_Submission], listing: dict[str, BatchInfo]
) -> list[str]:
    """Restore what was sent of one job. What became of each submission, in words. Raises _NotYet
    when nothing was done because the job changed meanwhile."""
    with transaction.atomic():
        # Locked: a worker that plans or sends, and a person who stops or deletes, come after us.
        jobs = Job.objects.select_for_update().filter(pk=job_pk, upload_sha256=upload)
        no_rows = (Job.State.READING, Job.State.UNREADABLE, Job.State.DELETING)
        job = jobs.filter(practice=False).exclude(state__in=no_rows).first()
        if job:
            note_change(job.pk)
        # Somebody else may have asked for it, too.
        submissions = [one for one in submissions if _unknown_nonces(one.entries)]
        why_it_ends = _why_it_ends(job, submissions) if job else ""
        report = [
            _restore_one(job, submission, listing, ends=bool(why_it_ends))
            for submission in submissions
        ]
        theirs = Batch.objects.filter(nonce__in=[submission.nonce for submission in submissions])
        if job and theirs.exclude(state__in=Batch.FINAL).exists():
            _set_going(job, submissions[0], why_it_ends)
    return report


def _why_it_ends(job: Job, submissions: list[_Submission]) -> str:
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


def _set_going(job: Job, first: _Submission, why_it_ends: str) -> None:
    """Bring a job to the state in which its open batches are seen to. Raises _NotYet."""
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
        raise _NotYet("it changed just now")


# --- One batch ------------------------------------------------------------------------------------


def _restore_one(
    job: Job | None, submission: _Submission, listing: dict[str, BatchInfo], *, ends: bool
) -> str:
    try:
        with transaction.atomic():
            _remember(job, submission, ends=ends)
            became = _bring_in(job, submission, listing)
    except _NotYet as error:
        return _not_yet(submission.job, str(error))
    except IntegrityError:
        return _not_yet(submission.job, "another batch has to be found first")
    return f"Job {submission.job}, {wording.rows(submission.last.size)}: {became}"


def _not_yet(job_pk: int, why: str) -> str:
    return f"Job {job_pk}: not checked yet: {why}. Look again in a minute."


def _bring_in(job: Job | None, submission: _Submission, listing: dict[str, BatchInfo]) -> str:
    """Bring a batch to where its last attempt left it; says where that is. Raises _NotYet."""
    if job is None and _is_being_read(submission.job):
        raise _NotYet("the file is being read")
    if job and attempts.is_preparing(job):
        # It would go on without the rows that have come back, and forget what they were asked.
        raise _NotYet("the rows of a retry are being prepared")
    if submission.was_refused:
        _refuse(submission)
        return "Anthropic refused it, so nothing was charged. Nothing to do."
    if job is None:
        return (
            "this job is not in the database. "
            f"{submission.provider_id or 'The batch'} was sent. Anthropic keeps its answers for "
            "29 days. You can import them under “New job”."
        )
    batch = _batch_with_its_rows(job, submission)
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
    _settle(batch, submission, provider_id, listing.get(provider_id))
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


def _refuse(submission: _Submission) -> None:
    """Nothing of it arrived, so a batch that the database has can simply be sent. It goes on with
    the next attempt: the journal tells attempts apart by their number."""
    batches = Batch.objects.filter(nonce=submission.nonce, attempts__lt=submission.last.attempt)
    open_ = batches.filter(state__in=UNSETTLED).exclude(state=Batch.State.CANCELED)
    open_.update(state=Batch.State.PLANNED, next_action_at=None, **_of_last_attempt(submission))


def _settle(
    batch: Batch, submission: _Submission, provider_id: str, info: BatchInfo | None
) -> None:
    """A batch goes on as the one that the provider calls `provider_id`, and of which its list says
    `info`; without an id it is looked for. Raises _NotYet."""
    values = _of_last_attempt(submission)
    values["attempts"] = max(batch.attempts, values["attempts"])
    values["intent_at"] = batch.intent_at or values["intent_at"]
    if provider_id:
        made = info.created_at if info else submission.last.at
        values |= {
            "state": Batch.State.IN_PROGRESS,
            "provider_id": provider_id,
            "created_at": made,
            "expires_at": info.expires_at if info else made + timedelta(hours=24),
            "recovered": True,
            "next_action_at": None,
            "refusal": "",
            "asked_at": None,
            "suggested_id": "",
        }
    else:
        values |= {"state": Batch.State.UNKNOWN, "next_action_at": clock.now(), "empty_looks": 0}
    same = Batch.objects.filter(pk=batch.pk, state=batch.state, attempts=batch.attempts)
    if not same.update(**values):
        raise _NotYet("it is being worked on")
    Job.objects.filter(pk=batch.job_id, held=batch.why_asked).update(held="")


def _of_last_attempt(submission: _Submission) -> dict[str, Any]:
    """The columns of a batch that its last intent had committed."""
    last = submission.last
    return {
        "attempts": last.attempt,
        "intent_at": submission.intents[0].at,
        "deadline_at": last.deadline,
        "absence": absence.begin_at(last.begun) if last.begun else None,
        "baseline_ids": last.baseline,
        "baseline_at": last.baseline_at,
    }


# --- The rows of a batch --------------------------------------------------------------------------


def _batch_with_its_rows(job: Job, submission: _Submission) -> Batch | None:
    """The batch with its rows, made anew if the database does not have it; None when they are not
    free any more, and then those that wait are stopped. Raises _NotYet."""
    known = Batch.objects.filter(job=job, nonce=submission.nonce).first()
    if known and known.state == Batch.State.PLANNING:
        # It has some of its rows. The worker empties it, and then it is made anew with all of them.
        raise _NotYet("the batch was being prepared when the backup was made")
    if known and known.state != Batch.State.CANCELED:
        return known
    ranges = submission.last.rows
    _take_back_what_was_planned(job, ranges)
    try:
        with transaction.atomic():
            batch = known or _new_batch(job, submission.last)
            if _take_rows(batch, ranges) != batch.size:
                raise _NotFree
    except _NotFree:
        for rows in _slices(job, ranges):
            waiting = rows.filter(batch=None, outcome=Outcome.WAITING)
            waiting.update(outcome=Outcome.CANCELED, cause="canceled")
        return None
    return batch


def _take_back_what_was_planned(job: Job, ranges: list[tuple[int, int]]) -> None:
    """What was planned with these rows since then was never sent. Raises _NotYet when some are in
    a batch that was, because they were sent again only after that one had ended."""
    open_ = {batch.pk: batch for batch in job.batches.exclude(state__in=Batch.FINAL)}
    for rows in _slices(job, ranges):
        for pk in rows.exclude(batch=None).values_list("batch", flat=True).distinct():
            batch = open_.pop(pk, None)
            if batch is None:
                continue
            if batch.state not in CLEAR_NO:
                raise _NotYet("an earlier batch of these rows comes first")
            try:
                with transaction.atomic():
                    Batch.objects.move(pk, CLEAR_NO, Batch.State.PLANNED)
                    planning.unplan(batch)
            except NotMoved:
                raise _NotYet("an earlier batch of these rows is being sent") from None


def _new_batch(job: Job, intent: journal.Intent) -> Batch:
    number = intent.number
    if job.batches.filter(number=number).exists():
        number = (job.batches.aggregate(last=Max("number"))["last"] or 0) + 1
    return Batch.objects.create(
        job=job,
        number=number,
        round=job.last_round,
        nonce=intent.nonce,
        size=intent.size,
        practice=False,
        body_sha256=intent.sha256,
        body_bytes=intent.bytes,
    )


def _take_rows(batch: Batch, ranges: list[tuple[int, int]]) -> int:
    """Give a batch the rows that are free of those it was sent with; how many these are."""
    stopped = batch.job.batches.filter(state=Batch.State.CANCELED).values_list("pk", flat=True)
    # A list: in a query of its own, an UPDATE would not see what others change meanwhile.
    not_sent = Q(batch=None) | Q(batch__in=list(stopped))
    taken = 0
    for rows in _slices(batch.job, ranges):
        free = rows.filter(not_sent, outcome__in=[Outcome.WAITING, Outcome.CANCELED])
        taken += free.update(batch=batch, round=batch.round, **NEVER_SENT)
        # Rows that had their answer, or none, may have been sent again after the backup.
        settled = rows.exclude(outcome=Outcome.WAITING)
        attempts.keep_attempts(settled)
        again = {"batch": batch, "round": batch.round}
        taken += settled.update(**{**attempts.NO_RESULT, **again})
    return taken


def _slices(job: Job, ranges: list[tuple[int, int]]) -> Iterator[RowQuerySet]:
    """The rows of a job with these numbers, in as many parts as the database needs."""
    for begin in range(0, len(ranges), RANGES_AT_ONCE):
        wanted = Q()
        for first, last in ranges[begin : begin + RANGES_AT_ONCE]:
            wanted |= Q(number__gte=first, number__lte=last)
        yield Row.objects.filter(wanted, job=job)
