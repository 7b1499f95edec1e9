"""Finding out what became of a batch whose answer was lost: looking for it at the provider, and
sending it again only when it is sure not to have arrived."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import timedelta
from itertools import takewhile

import msgspec
from django.conf import settings
from django.db import transaction
from django.db.models import F

from ..models import (
    Absence,
    Batch,
    Job,
    LateBatch,
    NotMoved,
    SubmissionEvent,
    clock,
    job_log,
    key_fingerprint,
    pico,
)
from ..provider import client, errors
from ..provider.replies import BatchInfo
from ..rules import wording
from . import absence, batch_keys, ceilings, holds, ownership
from .acceptance_windows import CLOCK_MARGIN, window_of_last_try
from .ownership import LATE_FOR
from .submission_records import (
    journal_outcome,
    provider_facts,
    record,
    try_move,
    until_deadline,
)

logger = logging.getLogger(__name__)

# How much older than the newest listed batch one may be that is listed only later.
LISTED_LATE = timedelta(minutes=10)
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


def reconcile(batch: Batch) -> timedelta:
    """Look for an unknown batch in the provider's list, once its deadline has passed: found, it is
    adopted; not found for the grace time and three complete looks apart, it is planned again.

    Returns how long to wait. Raises ProviderError when the list could not be read to its end: that
    is no look at all.
    """
    client.sync_clock()  # after a restart only the provider's clock tells how long it has been
    absent = absence.of(batch)
    if absent.seconds < settings.SUBMIT_DEADLINE_SECONDS:
        return _look_again(batch, until_deadline(absent), absent)
    wanted = batch.job.state == Job.State.SUBMITTING
    looks = batch.empty_looks
    if not batch_keys.can_see(batch):
        # The list of another workspace says nothing about this batch, and nothing in it is ours.
        if wanted:
            return _ask(batch, absent, looks, batch_keys.other_key_in_words(batch))
    elif (pause := _find(batch, absent)) is not None:
        return pause
    if absence.is_apart(absent, looks):
        looks += 1
        absent = msgspec.structs.replace(absent, looked=absent.seconds)
    if not absence.is_long_enough(absent, looks):
        return _look_again(batch, absence.pause(), absent, looks)
    if wanted and (settings.RECONCILE_RESUBMIT == "ask" or _list_may_not_show(batch)):
        return _ask(batch, absent, looks)
    if plan_again(batch, looks=looks):
        job_log.write(
            batch.job_id,
            f"Batch {batch.number} never arrived at the provider"
            + ("; it is sent again." if wanted else "."),
        )
    return timedelta()


def _find(batch: Batch, absent: Absence) -> timedelta | None:
    """Look for an unknown batch at the provider. How long to wait if it was found, or may have
    been; None if there is no trace of it. Raises ProviderError."""
    if batch.suggested_id and _take_suggested(batch):
        return timedelta()
    if disowned := ownership.find_disowned(batch):
        _adopt(batch, disowned)
        return timedelta()
    found = candidates(batch)
    if not found:
        return None
    chosen = _choose(batch, found)
    if chosen is None:
        return _look_again(batch, absence.pause(), absent)
    _adopt(batch, chosen)
    return timedelta()


def _list_may_not_show(batch: Batch) -> bool:
    """Whether it may have arrived although it is not in the list: it was sent with another key,
    perhaps of another workspace; it was there once; one that was taken for it was disowned; or only
    the journal knew of it, and who can say what happened to it since?"""
    events = SubmissionEvent.objects.filter(nonce=batch.nonce)
    keys = {event.detail.key for event in events.filter(kind="intent")}
    return keys - {key_fingerprint(), None} != set() or ownership.was_doubted(batch)


def plan_again(batch: Batch, **detail: object) -> bool:
    """An unknown batch counts as never arrived: it may be sent again. Should it turn up all the
    same, it is found (late.py). False when it was settled otherwise meanwhile."""
    detail |= window_of_last_try(batch).detail
    # It may have arrived all the same, and then this try is charged as well as the next.
    most = pico(ceilings.ceiling_of_batch(batch))
    with transaction.atomic():
        moved = try_move(
            batch,
            Batch.State.UNKNOWN,
            Batch.State.PLANNED,
            next_action_at=None,
            asked_at=None,
            suggested_id="",
            late_until=clock.latest_now() + LATE_FOR,
            given_up=F("given_up") + 1,
            most_pico=most,
        )
        if moved:
            record(batch, "never_arrived", **detail)
    return moved


def _ask(batch: Batch, absent: Absence, looks: int, why: str = "") -> timedelta:
    """Leave it to a person whether the batch is sent again; it is looked for on."""
    asked = Batch.objects.filter(pk=batch.pk, state=Batch.State.UNKNOWN, attempts=batch.attempts)
    with transaction.atomic():
        asked.filter(asked_at=None).update(asked_at=clock.now())
        holds.hold(batch.job_id, f"{batch.why_asked} {why}".strip())
    return _look_again(batch, LOOK_WHILE_ASKED, absent, looks)


def _take_suggested(batch: Batch) -> bool:
    """A person says which of the provider's batches it is: taken if it can be."""
    suggested = batch.suggested_id
    try:
        info = client.retrieve_batch(suggested)
    except errors.Refused as error:
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
    job_log.write(batch.job_id, f"Batch {batch.number} is not {suggested}: {why}.")
    return False


def _look_again(batch: Batch, pause: timedelta, absent: Absence, looks: int = 0) -> timedelta:
    Batch.objects.filter(pk=batch.pk, state=Batch.State.UNKNOWN, attempts=batch.attempts).update(
        empty_looks=looks,
        absence=absent,
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
            except errors.ProviderError as error:
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
    others = others.listed_beside(batch.workspace)
    if others.exclude(pk=batch.pk).exists():
        job_log.write_once(
            batch.job_id,
            f"Batch {batch.number}: what we found is not ours. We look on as soon as another batch "
            "of the same size was found.",
        )
        return False
    with transaction.atomic():
        if why == "given_back":
            ownership.count_against(batch, str(batch.provider_id), ownership.LOOKS)
        else:
            record(batch, why)
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
        job_log.write(batch.job_id, f"{found} {WHY_GIVEN_BACK[why]}")
        Job.objects.filter(pk=batch.job_id).update(next_action_at=clock.now())
    return True


def was_found_by_listing(batch: Batch) -> bool:
    """Whether a batch is the provider's `provider_id` only because of its size and time."""
    found = SubmissionEvent.objects.filter(nonce=batch.nonce, provider_id=batch.provider_id)
    return batch.recovered and found.filter(kind="adopted").exists()


def _adopt(batch: Batch, info: BatchInfo) -> None:
    """Take a batch found by listing as `batch`; its results will prove it. If an earlier try that
    was given up made it, the last try is in doubt instead, because it may turn up as well."""
    last_try: dict[str, object] = {}
    begun = absence.of(batch).begun
    last_began = begun and begun.provider and begun.provider - CLOCK_MARGIN
    if batch.given_up and last_began and info.created_at < last_began:
        last_try = {"late_until": clock.latest_now() + LATE_FOR}
    with transaction.atomic():
        moved = try_move(
            batch,
            Batch.State.UNKNOWN,
            Batch.State.IN_PROGRESS,
            recovered=True,
            asked_at=None,
            suggested_id="",
            **last_try,
            **provider_facts(info),
        )
        if moved:
            if last_try:
                record(batch, "never_arrived", **window_of_last_try(batch).detail)
            batch.provider_id, batch.state = info.id, Batch.State.IN_PROGRESS
            record(batch, "adopted")
            job_log.write(batch.job_id, f"Batch {batch.number} had arrived. It was sent once.")
            holds.end_hold(batch.job_id, batch.why_asked, go_on=True)
    if moved:
        journal_outcome(batch)
