"""What the journal knows of that the database does not: batches that were sent after a backup."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from itertools import islice

from django.conf import settings

from ..models import JournalState, SubmissionEvent
from . import journal
from .journaled_batches import Entry, JournaledBatch

logger = logging.getLogger(__name__)

READ_AT_ONCE = 500  # entries that are compared by one query


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
    unknown, end = find_unknown(begin)
    if unknown:
        JournalState.row().update(ahead=len(unknown))
        logger.error("the journal has %s batches that the database does not know", len(unknown))
    elif end != state.checked:
        JournalState.row().update(checked=end)
    return len(unknown)


def count_unknown() -> tuple[int, int]:
    """How many batches, and rows in them, the journal has submissions of that the database does not
    know, whatever mode this process is in."""
    unknown, _end = find_unknown(0)
    return len(unknown), sum(one.last.size for one in unknown if one.intents)


def find_unknown(begin: int) -> tuple[list[JournaledBatch], int]:
    """What the journal says of the batches of which it has, from byte `begin` on, something that
    the database does not know; and where the journal ends."""
    nonces: set[str] = set()
    end = begin
    entries = journal.entries(begin)
    while part := list(islice(entries, READ_AT_ONCE)):
        end = part[-1][0]
        nonces |= unknown_nonces([entry for _end, entry in part if entry])
    return (_read_batches(nonces) if nonces else []), end


def unknown_nonces(entries: Sequence[Entry]) -> set[str]:
    """The nonces of those of `entries` that the database does not know. Whatever is in the journal
    was committed before, so an event for it must be there."""
    intents = [entry for entry in entries if isinstance(entry, journal.Intent)]
    outcomes = [entry for entry in entries if isinstance(entry, journal.Outcome)]
    events = SubmissionEvent.objects.all()
    tried = events.filter(
        nonce__in={intent.nonce for intent in intents}, kind__in=["intent", "restored"]
    )
    attempts = {(event.nonce, event.detail.attempt) for event in tried}
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


def _read_batches(nonces: Collection[str]) -> list[JournaledBatch]:
    """All that the journal says of the batches with `nonces`, in the order in which they were sent.
    What was only practice is left out."""
    found: dict[str, JournaledBatch] = {}
    for _end, entry in journal.entries():
        if entry and entry.nonce in nonces:
            found.setdefault(entry.nonce, JournaledBatch(entry.nonce, entry.job)).add(entry)
    return [journaled for journaled in found.values() if not journaled.was_practice]
