"""Sending a batch once, and finding out what became of it when the answer was lost.

Before the one POST the intent is committed and journalled. A clear yes and a clear no settle it;
everything else - a lost connection, a time-out, a 5xx, an answer that does not fit, the death of
the process - makes the batch `unknown`, and that is settled by looking at the provider's list,
never by sending again at once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import takewhile

import msgspec
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F
from django.db.models.functions import Greatest

from ..models import (
    Batch,
    Job,
    LateBatch,
    NotMoved,
    SubmissionEvent,
    clock,
    files,
    key_fingerprint,
    pico,
)
from ..provider import client
from ..provider.client import BatchInfo
from ..rules import wording
from . import absence, ceilings, holds, journal, ownership, planning
from .absence import Absence
from .leases import Lease, LeaseLost
from .ownership import LATE_FOR

logger = logging.getLogger(__name__)

# How much older than the newest listed batch one may be that is listed only later.
LISTED_LATE = timedelta(minutes=10)
# How wrong a time by the provider's clock can be that was worked out from its Date, which has full
# seconds only.
CLOCK_MARGIN = timedelta(seconds=3)
# A POST may take so long, and a second more for so many bytes: a small one that hangs is given up
# before its deadline, so that others can be sent. It is settled like every other lost answer.
POST_SECONDS, POST_BYTES_A_SECOND = 180.0, 20_000
# Between two looks at a batch of which a person is to say whether it is sent again.
LOOK_WHILE_ASKED = timedelta(minutes=1)
# What is said when a batch that was found by listing is given back.
WHY_GIVEN_BACK = {
    "given_back": "was not ours: its results belong to another batch. We keep looking for ours. "
    "Nothing is sent again unless you say so.",
    "vanished": "is gone at Anthropic and may not have been ours. We keep looking for ours. "
    "Nothing is sent again unless you say so.",
    "replaced": "was not ours: the results of another one prove that it is ours.",
}
# Until one looks again whether another batch of the same size is settled.
WAIT_FOR_SIZE = timedelta(seconds=15)


def submit(batch: Batch, lease: Lease) -> timedelta:
    """Send a planned batch. Returns how long to wait before the job's next step.

    Raises LeaseLost, and NotMoved when somebody else took it on. ProviderError when the provider
    cannot even be listed; nothing was sent then.
    """
    if _size_is_taken(batch):
        if batch.attempts or batch.size == 1:
            return WAIT_FOR_SIZE
        planning.unplan(batch)  # its rows go into a batch of another size
        return timedelta()
    if batch.attempts and (ownership.find_disowned(batch, at_once=True) or candidates(batch)):
        # A clear no came before, or a person said so, and yet there is one that could be this.
        if not _try_move(
            batch,
            Batch.State.PLANNED,
            Batch.State.UNKNOWN,
            next_action_at=batch.deadline_at,
            # A try that counted as never arrived is looked for again: found, it is paid once.
            given_up=Greatest(F("given_up") - 1, 0),
        ):
            raise NotMoved(f"Batch {batch.pk} is not planned any more.")
        return timedelta()
    if not planning.body_is_whole(batch):
        # Nothing of it was accepted, so its rows can go into another batch.
        planning.unplan(batch)
        return timedelta()
    if batch.baseline_ids is None:
        _take_baseline(batch)
    lease.hold_for(settings.SUBMIT_DEADLINE_SECONDS)
    if not _commit_intent(batch, lease):
        return timedelta(seconds=5)
    try:
        journal.write("intent", **_intent(batch))
    except OSError:
        _not_sent(batch, "This site’s journal could not be written.")
        raise
    wait = _post(batch)
    _journal_outcome(batch)  # first: what the provider says is true whoever has the job by now
    lease.hold_for(0)
    return wait


def _size_is_taken(batch: Batch) -> bool:
    """Whether another batch of its size is unsettled: which is which could not be told from the
    provider's list."""
    others = Batch.objects.unsettled().filter(size=batch.size, practice=batch.practice)
    other = others.exclude(pk=batch.pk).first()
    if other is None:
        return False
    holds.log_once(
        batch.job_id,
        f"Batch {batch.number} waits until it is known whether another one of the same size "
        f"arrived (batch {other.number} of job {other.job_id}).",
    )
    return True


def _try_move(batch: Batch, old: str, new: str, **values: object) -> bool:
    """Change the state of a batch, unless somebody else did, or sent it once more, meanwhile."""
    mine = Batch.objects.filter(attempts=batch.attempts)
    return mine.try_move(batch.pk, old, new, **values)


def _intent(batch: Batch) -> dict[str, object]:
    """All that is needed to find the batch at the provider, and to give it its rows again, when
    the database is gone."""
    assert batch.deadline_at is not None  # noqa: S101 - set with the intent
    return {
        "job": batch.job_id,
        "upload": batch.job.upload_sha256,
        "practice": batch.practice,
        "number": batch.number,
        "nonce": batch.nonce,
        "attempt": batch.attempts,
        "rows": planning.ranges_of(batch),
        "recipe": planning.recipe_hash(batch.job, batch.round),
        "size": batch.size,
        "bytes": batch.body_bytes,
        "sha256": batch.body_sha256,
        "deadline": batch.deadline_at.isoformat(),
        "begun": msgspec.to_builtins(absence.of(batch).begun),
        "baseline": batch.baseline_ids,
        "baseline_at": batch.baseline_at and batch.baseline_at.isoformat(),
    }


def _journal_outcome(batch: Batch) -> None:
    journal.write(
        "outcome",
        job=batch.job_id,
        nonce=batch.nonce,
        attempt=batch.attempts,
        state=batch.state,
        provider_id=batch.provider_id,
    )


def _take_baseline(batch: Batch) -> None:
    """Note what the provider lists before the first attempt. By the provider's own clock: ours may
    be wrong. Never renewed: a later one would hide a batch of the first attempt that is listed
    late."""
    batch.baseline_ids = []
    for info in client.list_batches():
        if batch.baseline_at is None:
            batch.baseline_at = info.created_at
        if info.created_at < batch.baseline_at - 2 * LISTED_LATE:
            break
        if info.total == batch.size:
            batch.baseline_ids.append(info.id)


def _post(batch: Batch) -> timedelta:
    """The one POST of an attempt. How long to wait before the job's next step."""
    # This process may have stood still since the intent (a suspended machine, a slow disk), and
    # somebody else may have looked for the batch and sent it meanwhile.
    seconds = absence.time_left_to_send(batch)
    ours = Batch.objects.filter(pk=batch.pk, state=Batch.State.SUBMITTING, attempts=batch.attempts)
    if not ours.exists():
        raise LeaseLost
    if seconds < settings.SUBMIT_DEADLINE_SECONDS / 2:
        return _not_sent(batch, "Sending was interrupted before anything was sent.")
    seconds = min(seconds, POST_SECONDS + batch.body_bytes / POST_BYTES_A_SECOND)
    try:
        accepted = client.create_batch(files.body_path(batch), batch.size, seconds)
    except client.Unreachable as error:
        return _not_sent(batch, str(error))
    except client.Refused as error:
        return _refused(batch, error)
    except client.Unclear as error:
        return _unclear(batch, str(error))
    return _accepted(batch, accepted)


def _commit_intent(batch: Batch, lease: Lease) -> bool:
    """Say in the database that this batch is being sent; False if it may not be now."""
    now = clock.now()
    batch.absence = absence.begin()
    batch.attempts += 1
    batch.intent_at = batch.intent_at or now
    batch.deadline_at = now + timedelta(seconds=settings.SUBMIT_DEADLINE_SECONDS)
    try:
        with transaction.atomic():
            # The job must still be wanted and ours at this very moment.
            mine = Job.objects.filter(
                pk=batch.job_id, state=Job.State.SUBMITTING, held="", lease_owner=lease.owner
            )
            if mine.update(failures_in_a_row=0) != 1:
                raise LeaseLost
            moved = Batch.objects.filter(attempts=batch.attempts - 1).try_move(
                batch.pk,
                Batch.State.PLANNED,
                Batch.State.SUBMITTING,
                attempts=batch.attempts,
                intent_at=batch.intent_at,
                deadline_at=batch.deadline_at,
                baseline_ids=batch.baseline_ids,
                baseline_at=batch.baseline_at,
                absence=batch.absence,
                empty_looks=0,
            )
            if not moved:
                raise LeaseLost
            _record(
                batch,
                "intent",
                size=batch.size,
                sha256=batch.body_sha256,
                deadline=batch.deadline_at.isoformat(),
                key=key_fingerprint(),
            )
    except IntegrityError:
        # Another batch of the same size is unsettled; which is which could not be told.
        return False
    batch.state = Batch.State.SUBMITTING
    return True


def _accepted(batch: Batch, info: BatchInfo) -> timedelta:
    _settle(batch, Batch.State.IN_PROGRESS, "accepted", **_provider_facts(info))
    holds.end_trouble()
    holds.end_pause()
    holds.log(batch.job_id, f"Batch {batch.number} was sent: {wording.rows(batch.size)}.")
    return timedelta()


def _not_sent(batch: Batch, why: str) -> timedelta:
    wait = _backoff(batch.attempts)
    _settle(batch, Batch.State.PLANNED, "not_sent", next_action_at=clock.now() + wait)
    holds.note_trouble(why)
    return wait


def _refused(batch: Batch, error: client.Refused) -> timedelta:
    # The batch is as it was in the first two cases: what is refused is not what is in it.
    if error.for_now:
        _settle(batch, Batch.State.PLANNED, "refused")
        return holds.wait_for_room(error)
    if error.about_key:
        _settle(batch, Batch.State.PLANNED, "refused")
        return holds.pause(error)
    said = error.message or f"status {error.status}"
    with transaction.atomic():
        _settle(batch, Batch.State.BLOCKED, "refused", refusal=said)
        holds.hold(batch.job_id, holds.in_words(error))
    return timedelta()


def _unclear(batch: Batch, why: str) -> timedelta:
    _settle(batch, Batch.State.UNKNOWN, "unknown", next_action_at=_first_look(batch))
    holds.log(
        batch.job_id,
        f"Batch {batch.number}: {why} We are checking whether it arrived; nothing is sent twice.",
    )
    return timedelta()


def _settle(batch: Batch, state: str, kind: str, **values: object) -> None:
    """The end of a POST: the batch leaves `submitting`, and the event says how."""
    with transaction.atomic():
        if _try_move(batch, Batch.State.SUBMITTING, state, **values):
            batch.state = state
        batch.provider_id = str(values.get("provider_id") or "") or None
        if batch.provider_id and batch.state != state:
            _answered_late(batch, state, values)
        _record(batch, kind)


def _answered_late(batch: Batch, state: str, values: dict[str, object]) -> None:
    """Somebody had doubts meanwhile, and now it is known. What a later try made is one too many:
    it is looked for, to be canceled."""
    open_ = Batch.objects.filter(pk=batch.pk, provider_id=None)
    open_ = open_.filter(state__in=[Batch.State.UNKNOWN, Batch.State.PLANNED])
    later = open_.select_for_update().filter(state=Batch.State.UNKNOWN).first()
    if later is not None and later.attempts > batch.attempts:
        _record(later, "never_arrived", **_time_of_try(later))
        # It is in doubt now, instead of the try that is known.
        values = {**values, "late_until": absence.latest_now() + LATE_FOR}
    open_.filter(state=Batch.State.PLANNED, given_up__gt=0).update(given_up=F("given_up") - 1)
    open_.update(state=state, asked_at=None, **values)


def doubt(batch: Batch) -> None:
    """A batch that is `submitting` while somebody new holds the job: its sender died, and whether
    the POST arrived is not known."""
    first = _first_look(batch)
    if _try_move(batch, Batch.State.SUBMITTING, Batch.State.UNKNOWN, next_action_at=first):
        _record(batch, "unknown")
        holds.log(
            batch.job_id,
            f"Batch {batch.number}: sending was interrupted. We are checking whether it arrived; "
            "nothing is sent twice.",
        )


def reconcile(batch: Batch) -> timedelta:
    """Look for an unknown batch in the provider's list, once its deadline has passed: found, it is
    adopted; not found for the grace time and three complete looks apart, it is planned again.

    Returns how long to wait. Raises ProviderError when the list could not be read to its end: that
    is no look at all.
    """
    client.ask_time()  # after a restart only the provider's clock tells how long it has been
    absent = absence.of(batch)
    if absent.seconds < settings.SUBMIT_DEADLINE_SECONDS:
        return _look_again(batch, _until_deadline(absent), absent)
    if batch.suggested_id and _take_suggested(batch):
        return timedelta()
    if disowned := ownership.find_disowned(batch):
        _adopt(batch, disowned)
        return timedelta()
    if found := candidates(batch):
        chosen = _choose(batch, found)
        if chosen is None:
            return _look_again(batch, absence.LONGEST_PAUSE, absent)
        _adopt(batch, chosen)
        return timedelta()
    looks = batch.empty_looks
    if absence.is_apart(absent, looks):
        looks += 1
        absent.looked = absent.seconds
    if not absence.is_long_enough(absent, looks):
        return _look_again(batch, absence.pause(), absent, looks)
    wanted = batch.job.state == Job.State.SUBMITTING
    if wanted and (settings.RECONCILE_RESUBMIT == "ask" or _list_may_not_show(batch)):
        return _ask(batch, absent, looks)
    if plan_again(batch, looks=looks):
        holds.log(
            batch.job_id,
            f"Batch {batch.number} never arrived at the provider"
            + ("; it is sent again." if wanted else "."),
        )
    return timedelta()


def _list_may_not_show(batch: Batch) -> bool:
    """Whether it may have arrived although it is not in the list: it was sent with another key,
    perhaps of another workspace; it was there once; one that was taken for it was disowned; or only
    the journal knew of it, and who can say what happened to it since?"""
    events = SubmissionEvent.objects.filter(nonce=batch.nonce)
    keys = {event.detail.get("key", key_fingerprint()) for event in events.filter(kind="intent")}
    return keys - {key_fingerprint()} != set() or ownership.was_doubted(batch)


def plan_again(batch: Batch, **detail: object) -> bool:
    """An unknown batch counts as never arrived: it may be sent again. Should it turn up all the
    same, it is found (late.py). False when it was settled otherwise meanwhile."""
    detail |= _time_of_try(batch)
    # It may have arrived all the same, and then this try is charged as well as the next.
    most = pico(ceilings.ceiling_of_batch(batch))
    with transaction.atomic():
        moved = _try_move(
            batch,
            Batch.State.UNKNOWN,
            Batch.State.PLANNED,
            next_action_at=None,
            asked_at=None,
            suggested_id="",
            late_until=absence.latest_now() + LATE_FOR,
            given_up=F("given_up") + 1,
            most_pico=most,
        )
        if moved:
            _record(batch, "never_arrived", **detail)
    return moved


def _time_of_try(batch: Batch) -> dict[str, str]:
    """When the provider can have accepted the last try of a batch: by its own clock if it had said
    its time by then, else by ours."""
    length = timedelta(seconds=settings.SUBMIT_DEADLINE_SECONDS)
    if batch.absence and (begun := absence.of(batch).begun.provider):
        until, by = begun + length, "provider"
    else:
        assert batch.deadline_at is not None  # noqa: S101 - set with the intent
        begun, until, by = batch.deadline_at - length, batch.deadline_at, "here"
    return {"from": begun.isoformat(), "until": until.isoformat(), "clock": by}


def _ask(batch: Batch, absent: Absence, looks: int) -> timedelta:
    """Leave it to a person whether the batch is sent again; it is looked for on."""
    asked = Batch.objects.filter(pk=batch.pk, state=Batch.State.UNKNOWN, attempts=batch.attempts)
    asked.filter(asked_at=None).update(asked_at=clock.now())
    holds.hold(batch.job_id, batch.why_asked)
    return _look_again(batch, LOOK_WHILE_ASKED, absent, looks)


def _take_suggested(batch: Batch) -> bool:
    """A person says which of the provider's batches it is: taken if it can be."""
    suggested = batch.suggested_id
    try:
        info = client.retrieve_batch(suggested)
    except client.Refused as error:
        if error.status not in (400, 404, 422):
            raise
        why = "the provider does not know it"
    else:
        if info.total != batch.size:
            why = (
                f"it has {wording.rows(info.total)}, and this batch has {wording.rows(batch.size)}"
            )
        elif _known_by_another_name([info.id], batch.nonce):
            why = "it is another batch of this site"
        else:
            _adopt(batch, info)
            return True
    Batch.objects.filter(pk=batch.pk, suggested_id=suggested).update(suggested_id="")
    holds.log(batch.job_id, f"Batch {batch.number} is not {suggested}: {why}.")
    return False


def _first_look(batch: Batch) -> datetime:
    """When an unknown batch is due for the first time."""
    return clock.now() + _until_deadline(absence.of(batch))


def _until_deadline(absent: Absence) -> timedelta:
    """How long to wait before the next look at a batch whose POST may still be under way."""
    left = timedelta(seconds=settings.SUBMIT_DEADLINE_SECONDS - absent.seconds)
    return min(max(left, timedelta()), absence.LONGEST_PAUSE)


def _look_again(batch: Batch, pause: timedelta, absent: Absence, looks: int = 0) -> timedelta:
    Batch.objects.filter(pk=batch.pk, state=Batch.State.UNKNOWN, attempts=batch.attempts).update(
        empty_looks=looks,
        absence=msgspec.to_builtins(absent),
        next_action_at=clock.now() + pause,
    )
    return pause


def candidates(batch: Batch, listing: Iterable[BatchInfo] | None = None) -> list[BatchInfo]:
    """Batches at the provider that could be `batch`: of its size, newer than the baseline or listed
    late, and not ours by another name. `listing`: the provider's list, newest first, if it was
    fetched already. Raises ProviderError."""
    if batch.baseline_ids is None:
        return []
    since = batch.baseline_at and batch.baseline_at - LISTED_LATE
    listing = client.list_batches() if listing is None else listing
    found = [
        info
        for info in takewhile(lambda info: since is None or info.created_at >= since, listing)
        if info.total == batch.size and info.id not in batch.baseline_ids
    ]
    taken = _known_by_another_name([info.id for info in found], batch.nonce)
    return [info for info in found if info.id not in taken]


def _known_by_another_name(ids: list[str], nonce: str) -> set[str]:
    """Which of the provider's batches `ids` we know already, and not as the one with `nonce`."""
    events = SubmissionEvent.objects.filter(provider_id__in=ids)
    # Taken for ours by mistake, and given back: it may be another of ours.
    given_back = events.filter(kind="given_back").values_list("nonce", "provider_id")
    mistaken = set(given_back)
    taken = {
        pk
        for known_as, pk in events.values_list("nonce", "provider_id")
        if known_as != nonce and (known_as, pk) not in mistaken
    }
    for known in (
        Batch.objects.filter(provider_id__in=ids),
        LateBatch.objects.filter(provider_id__in=ids),
    ):
        taken |= {str(pk) for pk in known.values_list("provider_id", flat=True)}
    return taken


def _choose(batch: Batch, found: list[BatchInfo]) -> BatchInfo | None:
    """Which of the candidates to take as `batch`: the one whose results prove it, or the only one
    against which nothing speaks. None: look again later."""
    suspects = ownership.suspects(batch)
    if len(found) == 1 and found[0].id not in suspects:
        return found[0]  # its results will prove it, or not
    if proven := _proven_one(batch, found):
        return proven
    # Those that nothing spoke against before: the others are looked at for longer.
    others = [info for info in found if info.id not in suspects]
    return others[0] if suspects and len(others) == 1 else None


def _proven_one(batch: Batch, found: list[BatchInfo]) -> BatchInfo | None:
    """Of several candidates, the one whose results carry the nonce. One whose results cannot be
    fetched keeps none of the others."""
    for info in found:
        if info.status == "ended":
            try:
                if ownership.is_proven(batch, info.id):
                    return info
            except client.ProviderError as error:
                logger.warning("the results of %s could not be looked at: %s", info.id, error)
    return None


def replace_by_proven(batch: Batch) -> bool:
    """The results of an adopted batch are not ours. Whether the provider lists another one whose
    results prove that it is `batch`: that one is taken. Raises ProviderError."""
    proven = _proven_one(batch, candidates(batch))
    if proven is None or not give_back(batch, "replaced"):
        return False
    batch.refresh_from_db()
    _adopt(batch, proven)
    return True


def give_back(batch: Batch, why: str = "given_back") -> bool:
    """What was adopted is not ours, look for ours again: its results said so often enough
    ("given_back"), it has "vanished" before they could, or it is "replaced" by another one. After
    the first two a person says whether it is sent again. False while another batch of its size is
    being looked for. Raises NotMoved."""
    others = Batch.objects.unsettled().filter(size=batch.size, practice=batch.practice)
    if others.exclude(pk=batch.pk).exists():
        holds.log_once(
            batch.job_id,
            f"Batch {batch.number}: what we found is not ours. We look on as soon as another batch "
            "of the same size was found.",
        )
        return False
    with transaction.atomic():
        if why == "given_back":
            ownership.count_against(batch, str(batch.provider_id), ownership.LOOKS)
        else:
            _record(batch, why)
        Batch.objects.filter(provider_id=batch.provider_id).move(
            batch.pk,
            [Batch.State.IN_PROGRESS, Batch.State.ENDED],
            Batch.State.UNKNOWN,
            provider_id=None,
            recovered=False,
            created_at=None,
            expires_at=None,
            ended_at=None,
            cancel_sent_at=None,
            missing_since=None,
            collect_failures=0,
            doubt="",
            doubts=0,
            given_up_at=None,
            counts={},
            empty_looks=0,
            next_action_at=clock.now(),
        )
        # One that is being sent or stopped stays so.
        jobs = Job.objects.filter(pk=batch.job_id)
        open_ = jobs.filter(state__in=[Job.State.SUBMITTING, Job.State.CANCELING])
        again = jobs.try_move(batch.job_id, Job.State.WORKING, Job.State.SUBMITTING)
        if not again and not open_.exists():
            raise NotMoved(f"Job {batch.job_id} is over.")
        found = f"Batch {batch.number}: what we found ({batch.provider_id})"
        holds.log(batch.job_id, f"{found} {WHY_GIVEN_BACK[why]}")
        Job.objects.filter(pk=batch.job_id).update(next_action_at=clock.now())
    return True


def was_found_by_listing(batch: Batch) -> bool:
    """Whether a batch is the provider's `provider_id` only because of its size and time."""
    found = SubmissionEvent.objects.filter(nonce=batch.nonce, provider_id=batch.provider_id)
    return batch.recovered and found.filter(kind="adopted").exists()


def _adopt(batch: Batch, info: BatchInfo) -> None:
    """Take a batch found by listing as `batch`; its results will prove it."""
    with transaction.atomic():
        moved = _try_move(
            batch,
            Batch.State.UNKNOWN,
            Batch.State.IN_PROGRESS,
            recovered=True,
            asked_at=None,
            suggested_id="",
            **_provider_facts(info),
        )
        if moved:
            batch.provider_id, batch.state = info.id, Batch.State.IN_PROGRESS
            _record(batch, "adopted")
            holds.log(batch.job_id, f"Batch {batch.number} had arrived. It was sent once.")
            holds.release(batch.job_id, batch.why_asked)
    if moved:
        _journal_outcome(batch)


def _provider_facts(info: BatchInfo) -> dict[str, object]:
    return {
        "provider_id": info.id,
        "created_at": info.created_at,
        "expires_at": info.expires_at,
        "next_action_at": None,
        "refusal": "",
    }


def _backoff(failures: int) -> timedelta:
    return timedelta(seconds=min(2.0 ** min(failures, 8), 300.0))


def _record(batch: Batch, kind: str, **detail: object) -> None:
    SubmissionEvent.objects.create(
        job_id=batch.job_id,
        nonce=batch.nonce,
        kind=kind,
        provider_id=batch.provider_id or "",
        detail={"attempt": batch.attempts, **detail},
    )
