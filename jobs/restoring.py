"""A database that is older than the journal: an old backup came back, or the database was lost.

Then the journal knows of submissions that the database does not, and sending would pay for their
rows again. So nothing is sent until somebody asks for `restore`: it goes through those submissions
and the provider's list, and gives the jobs their batches back.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Max, Q

from . import batching, clock, holding, journal, provider, words
from .models import Batch, Installation, Job, Outcome, Row, SubmissionEvent
from .provider import BatchInfo

logger = logging.getLogger(__name__)

READ_AT_ONCE = 500  # entries that are compared by one query
TRIED_AGAIN_AFTER = timedelta(minutes=5)


@dataclass
class _Submission:
    """All that the journal says of one batch, and the database does not know."""

    intents: list[dict[str, Any]] = field(default_factory=list)  # by attempt
    provider_id: str = ""
    settled_as: str = ""  # the batch's state after the last attempt, if that was noted

    @property
    def last(self) -> dict[str, Any]:
        return self.intents[-1]

    @property
    def was_refused(self) -> bool:
        return not self.provider_id and self.settled_as in (
            Batch.State.PLANNED,
            Batch.State.BLOCKED,
        )


class _NotYet(Exception):
    """This one cannot be given back now; says why."""


def submissions_unknown() -> int:
    """How many submissions in the journal the database does not know; 0 when all is as it should
    be. Only what is new in the journal is read."""
    site = Installation.get()
    size = journal.size()
    if site.journal_ahead or size == site.journal_checked:
        return site.journal_ahead
    begin = site.journal_checked if size > site.journal_checked else 0
    unknown, end = _unknown(begin)
    count = sum(len(submission.intents) for submission in unknown.values())
    if count:
        Installation.objects.filter(pk=1).update(journal_ahead=count)
        logger.error("the journal has %s submissions that the database does not know", count)
    else:
        Installation.objects.filter(pk=1).update(journal_checked=end)
    return count


def _unknown(begin: int) -> tuple[dict[str, _Submission], int]:
    """The submissions from byte `begin` of the journal on that the database does not know, by
    nonce, and where the journal ends."""
    found: dict[str, _Submission] = defaultdict(_Submission)
    end = begin
    entries: list[dict[str, Any]] = []
    for following, entry in journal.entries(begin):
        end = following
        entries.append(entry)
        if len(entries) == READ_AT_ONCE:
            _sort(entries, found)
            entries = []
    _sort(entries, found)
    return found, end


def _sort(entries: list[dict[str, Any]], found: dict[str, _Submission]) -> None:
    intents = [
        entry for entry in entries if entry.get("kind") == "intent" and not entry.get("practice")
    ]
    events = SubmissionEvent.objects.filter(
        nonce__in={entry["nonce"] for entry in intents}, kind__in=["intent", "restored"]
    )
    known = {(event.nonce, event.detail.get("attempt")) for event in events}
    for entry in entries:
        if entry.get("kind") == "intent":
            if not entry.get("practice") and (entry["nonce"], entry["attempt"]) not in known:
                found[entry["nonce"]].intents.append(entry)
        elif entry.get("kind") == "outcome" and entry["nonce"] in found:
            batch = found[entry["nonce"]]
            batch.settled_as = entry["state"]
            batch.provider_id = entry["provider_id"] or batch.provider_id


def ask() -> bool:
    """Let the worker do it; False when there is nothing to do."""
    behind = Installation.objects.filter(pk=1, journal_ahead__gt=0)
    return bool(behind.update(restore_asked_at=clock.now(), restore_report=""))


def restore_if_asked() -> None:
    """What `ask` asked for. Should this process die meanwhile, it is done some minutes later."""
    now = clock.now()
    asked = Installation.objects.filter(pk=1, restore_asked_at__lte=now)
    if asked.update(restore_asked_at=now + TRIED_AGAIN_AFTER):
        try:
            restore()
        except provider.ProviderError as error:
            report = f"The provider could not be asked: {error}"
            Installation.objects.filter(pk=1).update(restore_asked_at=None, restore_report=report)


def restore() -> list[str]:
    """Give the jobs back the batches of which only the journal knows. What was found of each, in
    words; administrators see it on their pages, too. Raises ProviderError when the provider's list
    could not be read; nothing is done then.
    """
    unknown, _end = _unknown(0)
    listing = {info.id: info for info in provider.list_batches()} if unknown else {}
    report = []
    for nonce, submission in unknown.items():
        try:
            with transaction.atomic():
                report.append(_restore_one(nonce, submission, listing))
        except (_NotYet, IntegrityError) as error:
            why = error if isinstance(error, _NotYet) else "another batch has to be found first"
            report.append(f"Job {submission.last['job']}: not yet, {why}. Look again in a minute.")
    left, end = _unknown(0)
    if left:
        report.append("Some could not be looked at yet; nothing is sent until they are.")
    values = {"journal_ahead": len(left), "restore_asked_at": None}
    Installation.objects.filter(pk=1).update(
        **values, journal_checked=0 if left else end, restore_report="\n".join(report)
    )
    Job.objects.filter(state__in=Job.MOVING).update(next_action_at=clock.now())
    return report


def _restore_one(nonce: str, submission: _Submission, listing: dict[str, BatchInfo]) -> str:
    entry = submission.last
    what = f"Job {entry['job']}, {words.rows(entry['size'])}"
    job = Job.objects.filter(pk=entry["job"], upload_sha256=entry["upload"], practice=False).first()
    waits = Job.objects.filter(pk=entry["job"], state=Job.State.READING, practice=False)
    if job is None and waits.filter(upload_sha256="").exists():
        raise _NotYet("the file is being read")
    for intent in submission.intents:
        SubmissionEvent.objects.create(
            job=job,
            nonce=nonce,
            kind="restored",
            provider_id=submission.provider_id,
            detail={"attempt": intent["attempt"], "size": intent["size"]},
        )
    if submission.was_refused:
        return f"{what}: the provider had refused it. Nothing to do."
    if job is None or job.state in (Job.State.READING, Job.State.UNREADABLE, Job.State.DELETING):
        return (
            f"{what}: this database does not have the job. "
            f"{submission.provider_id or 'The batch'} was sent; its answers stay at the provider "
            "for 29 days."
        )
    batch = _batch_for(job, nonce, submission)
    if batch is None:
        return (
            f"{what}: its rows have changed since, so its answers cannot be brought in. Those that "
            "were waiting are not sent again."
        )
    _settle(job, batch, submission, listing)
    if job.state in (Job.State.DRAFT, Job.State.CANCELING):
        _end_without_the_rest(job, entry)
    state = "found" if submission.provider_id in listing else "being looked for"
    holding.log(
        job.pk,
        f"Batch {batch.number} was sent before the database of this site was restored: "
        f"{words.rows(batch.size)}, {state}.",
    )
    return f"{what}: {state} at the provider ({submission.provider_id or 'id not known yet'})."


def _batch_for(job: Job, nonce: str, submission: _Submission) -> Batch | None:
    """The batch with its rows, made anew if the database does not have it; None when the rows are
    no longer free."""
    entry = submission.last
    known = Batch.objects.filter(job=job, nonce=nonce).first()
    if known is not None:
        return known
    # What was planned since then was never sent, and has their rows now.
    for planned in job.batches.filter(state=Batch.State.PLANNED, attempts=0):
        batching.unplan(planned)
    number = entry["number"]
    if job.batches.filter(number=number).exists():
        number = (job.batches.aggregate(last=Max("number"))["last"] or 0) + 1
    wanted = Q()
    for first, last in entry["rows"]:
        wanted |= Q(number__gte=first, number__lte=last)
    rows = Row.objects.filter(wanted, job=job)
    waiting = rows.filter(batch=None, outcome=Outcome.WAITING)
    # Rows that got no answer the first time may have been sent again after the backup.
    again = rows.worth_sending_again()
    if waiting.count() + again.count() != entry["size"]:
        waiting.update(outcome=Outcome.CANCELED, cause="canceled")
        return None
    batch = Batch.objects.create(
        job=job,
        number=number,
        nonce=nonce,
        size=entry["size"],
        practice=False,
        body_sha256=entry["sha256"],
        body_bytes=entry["bytes"],
    )
    waiting.update(batch=batch)
    if again.update(batch=batch, outcome=Outcome.WAITING, cause="", message=""):
        Job.objects.move(job.pk, Job.State.FINISHED, Job.State.SUBMITTING, finished_at=None)
    return batch


def _settle(job: Job, batch: Batch, submission: _Submission, listing: dict[str, BatchInfo]) -> None:
    """Bring a batch to where its last attempt left it."""
    entry = submission.last
    values: dict[str, Any] = {
        "attempts": entry["attempt"],
        "intent_at": batch.intent_at or _time(submission.intents[0]["at"]),
        "deadline_at": _time(entry["deadline"]),
        "baseline_ids": entry["baseline"],
        "baseline_at": _time(entry["baseline_at"]),
        "next_action_at": clock.now(),
        "empty_looks": 0,
    }
    if submission.provider_id:
        info = listing.get(submission.provider_id)
        made = info.created_at if info else _time(entry["at"]) or clock.now()
        values |= {
            "state": Batch.State.IN_PROGRESS,
            "provider_id": submission.provider_id,
            "created_at": made,
            "expires_at": info.expires_at if info else made + timedelta(hours=24),
            "adopted": True,
            "next_action_at": None,
        }
    else:
        values["state"] = Batch.State.UNKNOWN
    if job.state == Job.State.DRAFT:
        values["cancel_sent_at"] = clock.now()  # the job ends, but what was sent runs on
    unsettled = [
        Batch.State.PLANNED,
        Batch.State.BLOCKED,
        Batch.State.SUBMITTING,
        Batch.State.UNKNOWN,
    ]
    Batch.objects.filter(pk=batch.pk, state__in=unsettled).update(**values)


def _end_without_the_rest(job: Job, entry: dict[str, Any]) -> None:
    """A job that is a draft in this database, and was confirmed and partly sent in the one that is
    gone: what was sent is brought in, the rest stays unsent, because the recipe may be another."""
    moved = Job.objects.move(
        job.pk,
        Job.State.DRAFT,
        Job.State.CANCELING,
        confirmed_at=_time(entry["at"]),
        next_action_at=clock.now(),
    )
    if moved:
        holding.log(
            job.pk,
            "The database of this site was restored from a copy in which this job was not "
            "confirmed yet. What had been sent by then is brought in; the rest is not sent.",
        )


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
