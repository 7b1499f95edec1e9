"""Sending a batch once, and finding out what became of it when the answer was lost.

Before the one POST the intent is committed and journalled. A clear yes and a clear no settle it;
everything else - a lost connection, a time-out, a 5xx, an answer that does not fit, the death of
the process - makes the batch `unknown`, and that is settled by looking at the provider's list,
never by sending again at once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import timedelta
from itertools import takewhile

import msgspec
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F

from . import batching, clock, estimates, files, holding, journal, provider, words
from .leases import Lease, LeaseLost
from .models import Batch, Job, LateBatch, SubmissionEvent, key_fingerprint, pico
from .provider import BatchInfo

logger = logging.getLogger(__name__)

# How much older than the newest listed batch one may be that is listed only later.
LISTED_LATE = timedelta(minutes=10)
LOOKS_BEFORE_RESEND = 3
# After a batch counted as never arrived: how long the list is searched for it all the same.
LATE_FOR = timedelta(hours=48)
# How wrong a time by the provider's clock can be that was worked out from its Date, which has full
# seconds only.
CLOCK_MARGIN = timedelta(seconds=3)
# A POST may take so long, and a second more for so many bytes: a small one that hangs is given up
# before its deadline, so that others can be sent. It is settled like every other lost answer.
POST_SECONDS, POST_BYTES_A_SECOND = 180.0, 20_000
# Between two looks at a batch of which a person is to say whether it is sent again.
LOOK_WHILE_ASKED = timedelta(minutes=1)
# Until one looks again whether another batch of the same size is settled.
WAIT_FOR_SIZE = timedelta(seconds=15)


def submit(batch: Batch, lease: Lease) -> timedelta:
    """Send a planned batch. Returns how long to wait before the job's next step.

    Raises LeaseLost. ProviderError when the provider cannot even be listed; nothing was sent then.
    """
    if _size_is_taken(batch):
        if batch.attempts or batch.size == 1:
            return WAIT_FOR_SIZE
        batching.unplan(batch)  # its rows go into a batch of another size
        return timedelta()
    if batch.attempts and candidates(batch):
        # A clear no came before, and yet there is a batch that could be this one.
        _move(batch, Batch.State.PLANNED, Batch.State.UNKNOWN, next_action_at=batch.deadline_at)
        return timedelta()
    if not batching.body_is_whole(batch):
        # Nothing of it was accepted, so its rows can go into another batch.
        batching.unplan(batch)
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
    lease.hold_for(0)
    _journal_outcome(batch)
    return wait


def _size_is_taken(batch: Batch) -> bool:
    """Whether another batch of its size is unsettled: which is which could not be told from the
    provider's list."""
    others = Batch.objects.unsettled().filter(size=batch.size, practice=batch.practice)
    other = others.exclude(pk=batch.pk).first()
    if other is None:
        return False
    holding.log_once(
        batch.job_id,
        f"Batch {batch.number} waits until it is known whether another one of the same size "
        f"arrived (batch {other.number} of job {other.job_id}).",
    )
    return True


def _move(batch: Batch, old: str, new: str, **values: object) -> bool:
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
        "rows": batching.ranges_of(batch),
        "recipe": batching.recipe_hash(batch.job, batch.round),
        "size": batch.size,
        "bytes": batch.body_bytes,
        "sha256": batch.body_sha256,
        "deadline": batch.deadline_at.isoformat(),
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
    for info in provider.list_batches():
        if batch.baseline_at is None:
            batch.baseline_at = info.created_at
        if info.created_at < batch.baseline_at - 2 * LISTED_LATE:
            break
        if info.total == batch.size:
            batch.baseline_ids.append(info.id)


def _post(batch: Batch) -> timedelta:
    """The one POST of an attempt. How long to wait before the job's next step."""
    assert batch.deadline_at is not None  # noqa: S101 - set with the intent
    # This process may have stood still since the intent (a suspended machine, a slow disk), and
    # somebody else may have looked for the batch and sent it meanwhile.
    seconds = (batch.deadline_at - clock.now()).total_seconds()
    ours = Batch.objects.filter(pk=batch.pk, state=Batch.State.SUBMITTING, attempts=batch.attempts)
    if not ours.exists():
        raise LeaseLost
    if seconds < settings.SUBMIT_DEADLINE_SECONDS / 2:
        return _not_sent(batch, "Sending was interrupted before anything was sent.")
    seconds = min(seconds, POST_SECONDS + batch.body_bytes / POST_BYTES_A_SECOND)
    try:
        accepted = provider.create_batch(files.body_path(batch), batch.size, seconds)
    except provider.Unreachable as error:
        return _not_sent(batch, str(error))
    except provider.Refused as error:
        return _refused(batch, error)
    except provider.Unclear as error:
        return _unclear(batch, str(error))
    return _accepted(batch, accepted)


def _commit_intent(batch: Batch, lease: Lease) -> bool:
    """Say in the database that this batch is being sent; False if it may not be now."""
    now = clock.now()
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
    holding.end_trouble()
    holding.end_pause()
    holding.log(batch.job_id, f"Batch {batch.number} was sent: {words.rows(batch.size)}.")
    return timedelta()


def _not_sent(batch: Batch, why: str) -> timedelta:
    wait = _backoff(batch.attempts)
    _settle(batch, Batch.State.PLANNED, "not_sent", next_action_at=clock.now() + wait)
    holding.note_trouble(why)
    return wait


def _refused(batch: Batch, error: provider.Refused) -> timedelta:
    # The batch is as it was in the first two cases: what is refused is not what is in it.
    if error.for_now:
        _settle(batch, Batch.State.PLANNED, "refused")
        return holding.wait_for_room(error)
    if error.about_key:
        _settle(batch, Batch.State.PLANNED, "refused")
        return holding.pause(error)
    said = error.message or f"status {error.status}"
    with transaction.atomic():
        _settle(batch, Batch.State.BLOCKED, "refused", refusal=said)
        holding.hold(batch.job_id, holding.in_words(error))
    return timedelta()


def _unclear(batch: Batch, why: str) -> timedelta:
    _settle(batch, Batch.State.UNKNOWN, "unknown", next_action_at=batch.deadline_at)
    holding.log(
        batch.job_id,
        f"Batch {batch.number}: {why} We are checking whether it arrived; nothing is sent twice.",
    )
    return timedelta()


def _settle(batch: Batch, state: str, kind: str, **values: object) -> None:
    """The end of a POST: the batch leaves `submitting`, and the event says how."""
    with transaction.atomic():
        if _move(batch, Batch.State.SUBMITTING, state, **values):
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
        values = {**values, "late_until": clock.now() + LATE_FOR}
    open_.filter(state=Batch.State.PLANNED, given_up__gt=0).update(given_up=F("given_up") - 1)
    open_.update(state=state, asked_at=None, **values)


def doubt(batch: Batch) -> None:
    """A batch that is `submitting` while somebody new holds the job: its sender died, and whether
    the POST arrived is not known."""
    if _move(batch, Batch.State.SUBMITTING, Batch.State.UNKNOWN, next_action_at=batch.deadline_at):
        _record(batch, "unknown")
        holding.log(
            batch.job_id,
            f"Batch {batch.number}: sending was interrupted. We are checking whether it arrived; "
            "nothing is sent twice.",
        )


def reconcile(batch: Batch) -> timedelta:
    """Look for an unknown batch in the provider's list, once its deadline has passed: found, it is
    adopted; not found for the grace time and three complete looks, it is planned again.

    Returns how long to wait. Raises ProviderError when the list could not be read to its end: that
    is no look at all.
    """
    now = clock.now()
    assert batch.deadline_at is not None  # noqa: S101 - set with the intent
    if now < batch.deadline_at:
        latest = now + timedelta(seconds=settings.SUBMIT_DEADLINE_SECONDS)
        if batch.deadline_at > latest:  # from a clock that was wrong then
            same = Batch.objects.filter(pk=batch.pk, attempts=batch.attempts)
            same.update(deadline_at=latest)
        return min(batch.deadline_at, latest) - now
    if batch.suggested_id and _take_suggested(batch):
        return timedelta()
    found = candidates(batch)
    if len(found) > 1:
        proven = _told_apart(batch, found)
        if proven is None:
            return _look_again(batch, timedelta(seconds=60))
        found = [proven]
    if found:
        _adopt(batch, found[0])
        return timedelta()
    grace = timedelta(seconds=settings.RECONCILE_GRACE_SECONDS)
    looks = batch.empty_looks + 1
    if now < batch.deadline_at + grace or looks < LOOKS_BEFORE_RESEND:
        pause = min(max(grace / LOOKS_BEFORE_RESEND, timedelta(seconds=1)), timedelta(seconds=60))
        return _look_again(batch, pause, looks)
    wanted = batch.job.state == Job.State.SUBMITTING
    if wanted and (settings.RECONCILE_RESUBMIT == "ask" or _list_may_not_show(batch)):
        return _ask(batch, looks)
    if plan_again(batch, looks=looks):
        holding.log(
            batch.job_id,
            f"Batch {batch.number} never arrived at the provider"
            + ("; it is sent again." if wanted else "."),
        )
    return timedelta()


def _list_may_not_show(batch: Batch) -> bool:
    """Whether it may have arrived although it is not in the list: it was sent with another key,
    perhaps of another workspace; it was there once; or only the journal knew of it, and who can say
    what happened to it since?"""
    events = SubmissionEvent.objects.filter(nonce=batch.nonce)
    keys = {event.detail.get("key", key_fingerprint()) for event in events.filter(kind="intent")}
    return keys - {key_fingerprint()} != set() or (
        events.filter(kind__in=["restored", "vanished"]).exists()
    )


def plan_again(batch: Batch, **detail: object) -> bool:
    """An unknown batch counts as never arrived: it may be sent again. Should it turn up all the
    same, it is found (late.py). False when it was settled otherwise meanwhile."""
    detail |= _time_of_try(batch)
    # It may have arrived all the same, and then this try is charged as well as the next.
    most = pico(estimates.most_of_batch(batch))
    with transaction.atomic():
        moved = _move(
            batch,
            Batch.State.UNKNOWN,
            Batch.State.PLANNED,
            next_action_at=None,
            asked_at=None,
            suggested_id="",
            late_until=clock.now() + LATE_FOR,
            given_up=F("given_up") + 1,
            most_pico=most,
        )
        if moved:
            _record(batch, "never_arrived", **detail)
    return moved


def _time_of_try(batch: Batch) -> dict[str, str]:
    """When the provider can have accepted the last try of a batch, by our clock."""
    assert batch.deadline_at is not None  # noqa: S101 - set with the intent
    begun = batch.deadline_at - timedelta(seconds=settings.SUBMIT_DEADLINE_SECONDS)
    return {"from": begun.isoformat(), "until": batch.deadline_at.isoformat()}


def _ask(batch: Batch, looks: int) -> timedelta:
    """Leave it to a person whether the batch is sent again; it is looked for on."""
    asked = Batch.objects.filter(pk=batch.pk, state=Batch.State.UNKNOWN, attempts=batch.attempts)
    asked.filter(asked_at=None).update(asked_at=clock.now())
    holding.hold(batch.job_id, batch.why_asked)
    return _look_again(batch, LOOK_WHILE_ASKED, looks)


def _take_suggested(batch: Batch) -> bool:
    """A person says which of the provider's batches it is: taken if it can be."""
    suggested = batch.suggested_id
    try:
        info = provider.retrieve_batch(suggested)
    except provider.Refused as error:
        if error.status not in (400, 404, 422):
            raise
        why = "the provider does not know it"
    else:
        if info.total != batch.size:
            why = f"it has {words.rows(info.total)}, and this batch has {words.rows(batch.size)}"
        elif _known_by_another_name([info.id], batch.nonce):
            why = "it is another batch of this site"
        else:
            _adopt(batch, info)
            return True
    Batch.objects.filter(pk=batch.pk, suggested_id=suggested).update(suggested_id="")
    holding.log(batch.job_id, f"Batch {batch.number} is not {suggested}: {why}.")
    return False


def _look_again(batch: Batch, pause: timedelta, looks: int = 0) -> timedelta:
    Batch.objects.filter(pk=batch.pk, state=Batch.State.UNKNOWN, attempts=batch.attempts).update(
        empty_looks=looks, next_action_at=clock.now() + pause
    )
    return pause


def candidates(batch: Batch, listing: Iterable[BatchInfo] | None = None) -> list[BatchInfo]:
    """Batches at the provider that could be `batch`: of its size, newer than the baseline or listed
    late, and not ours by another name. `listing`: the provider's list, newest first, if it was
    fetched already. Raises ProviderError."""
    if batch.baseline_ids is None:
        return []
    since = batch.baseline_at and batch.baseline_at - LISTED_LATE
    listing = provider.list_batches() if listing is None else listing
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


class _OnlyId(msgspec.Struct):
    custom_id: str


def _told_apart(batch: Batch, found: list[BatchInfo]) -> BatchInfo | None:
    """Of several candidates, the one whose results carry the nonce. Those that carry another are
    excluded for good; those that still run are looked at again when they have ended. One whose
    results cannot be fetched keeps none of the others."""
    for info in found:
        if info.status == "ended":
            try:
                first = first_custom_id(info.id)
            except provider.ProviderError as error:
                logger.warning("the results of %s could not be looked at: %s", info.id, error)
                continue
            if first.startswith(f"{batch.nonce}-"):
                return info
            if first:  # a result that could not be read proves nothing
                exclude(batch, info.id)
    return None


def first_custom_id(provider_id: str) -> str:
    """The custom_id of the first result of an ended batch; "" when it has none that can be read.
    Raises ProviderError."""
    beginning = []
    for block in provider.result_blocks(provider_id):
        beginning.append(block)
        if b"\n" in block:
            break
    line = b"".join(beginning).partition(b"\n")[0]
    try:
        return msgspec.json.decode(line, type=_OnlyId).custom_id
    except msgspec.DecodeError:
        return ""


def give_back(batch: Batch, *, vanished: bool = False) -> bool:
    """What was adopted is not ours, or has `vanished` before its results could prove anything: look
    for ours again. It is adopted again if it comes back. False while another batch of its size is
    being looked for."""
    others = Batch.objects.unsettled().filter(size=batch.size, practice=batch.practice)
    if others.exclude(pk=batch.pk).exists():
        holding.log_once(
            batch.job_id,
            f"Batch {batch.number}: what we found is not ours. We look on as soon as another batch "
            "of the same size was found.",
        )
        return False
    with transaction.atomic():
        if vanished:
            _record(batch, "vanished")
        else:
            exclude(batch, str(batch.provider_id))
        moved = Batch.objects.try_move(
            batch.pk,
            batch.state,
            Batch.State.UNKNOWN,
            provider_id=None,
            adopted=False,
            created_at=None,
            expires_at=None,
            ended_at=None,
            cancel_sent_at=None,
            missing_since=None,
            counts={},
            empty_looks=0,
            next_action_at=clock.now(),
        )
        Job.objects.try_move(batch.job_id, Job.State.WORKING, Job.State.SUBMITTING)
        if moved:
            what = "is gone there, and was perhaps not ours" if vanished else "was not ours"
            holding.log(batch.job_id, f"Batch {batch.number}: what we found {what}; looking on.")
    Job.objects.filter(pk=batch.job_id).update(next_action_at=clock.now())
    return moved


def was_found_by_listing(batch: Batch) -> bool:
    """Whether a batch is the provider's `provider_id` only because of its size and time."""
    found = SubmissionEvent.objects.filter(nonce=batch.nonce, provider_id=batch.provider_id)
    return batch.adopted and found.filter(kind="adopted").exists()


def exclude(batch: Batch, provider_id: str) -> None:
    """Remember that this batch of the provider's is not `batch`."""
    SubmissionEvent.objects.create(
        job_id=batch.job_id, nonce=batch.nonce, kind="given_back", provider_id=provider_id
    )
    batch.baseline_ids = [*(batch.baseline_ids or []), provider_id]
    Batch.objects.filter(pk=batch.pk).update(baseline_ids=batch.baseline_ids)


def _adopt(batch: Batch, info: BatchInfo) -> None:
    """Take a batch found by listing as `batch`; its results will prove it."""
    with transaction.atomic():
        moved = _move(
            batch,
            Batch.State.UNKNOWN,
            Batch.State.IN_PROGRESS,
            adopted=True,
            asked_at=None,
            suggested_id="",
            **_provider_facts(info),
        )
        if moved:
            batch.provider_id, batch.state = info.id, Batch.State.IN_PROGRESS
            _record(batch, "adopted")
            holding.log(batch.job_id, f"Batch {batch.number} had arrived. It was sent once.")
            holding.release(batch.job_id, batch.why_asked)
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
