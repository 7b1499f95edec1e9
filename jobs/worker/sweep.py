"""Find what is due: looks at the provider, and jobs that can take a step."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, Min

from ..batches import (
    external,
    holds,
    late,
    leases,
    polling,
    provider_deletion,
    recovery,
    slots,
)
from ..batches.isolation import isolated
from ..models import (
    COUNT_ANEW,
    Batch,
    ExternalBatchList,
    Heartbeat,
    Job,
    JournalState,
    ModelCatalog,
    SearchIndex,
    Sending,
    TeamSending,
    api_key,
    clock,
)
from ..notifications import sending
from ..provider import errors
from . import copying, search_building
from .advance import advance

logger = logging.getLogger(__name__)

# A sign of life is stored so often: whoever reads it wants one within site_health.SIGN_OF_LIFE.
BEAT = timedelta(seconds=30)
# While nothing changes, the next sweep is then at the latest: times that are not asked for below.
IDLE = timedelta(seconds=20)
TROUBLE_SECONDS = 5.0
COUNTED_ANEW_AT_ONCE = 10  # jobs that an older version counted

# Checks at the provider, what is sent to people, copies, and search indexes, by kind of slot.
LOOKS: dict[str, tuple[Callable[[], None], ...]] = {
    slots.WATCHING: (lambda: polling.watch(),),
    slots.LATE: (lambda: late.look(), lambda: provider_deletion.delete_some()),
    slots.MAILING: (lambda: sending.send_due(sending.MAIL),),
    slots.TELLING: (lambda: sending.send_due(sending.OTHERS),),
    slots.COPYING: (lambda: copying.look(),),
    slots.INDEXING: (lambda: search_building.look(),),
    slots.ASKED: (lambda: recovery.restore_if_asked(), lambda: external.list_if_asked()),
}


def sweep(
    step: Callable[[int], None] | None = None, look: Callable[[str], None] | None = None
) -> None:
    """Call `look` (usually `take_look`) for every look at the provider that is due, and `step`
    (usually `advance`) for every job that is due and may find a slot; those that wait longest come
    first. One that fails does not stop the others. Safe to call at any time, from anywhere, as
    often as one likes. Asks the provider nothing itself, and writes nothing while nothing is due,
    but for the sign of life."""
    global _next
    _next = clock.Countdown(TROUBLE_SECONDS)  # should this one fail
    now = _note_tick()
    with isolated("the leases of dead workers"):
        leases.free_leases_of_the_dead()
    kinds = _looks_due(now)
    if any(one.row().exclude(asked_at=None).exists() for one in (JournalState, ExternalBatchList)):
        kinds.append(slots.ASKED)
    with isolated("notifications that are due"):
        for kind, channels in ((slots.MAILING, sending.MAIL), (slots.TELLING, sending.OTHERS)):
            if sending.has_due(channels):
                kinds.append(kind)
    with isolated("copies that are due"):
        if copying.has_due():
            kinds.append(slots.COPYING)
    for kind in kinds:
        with isolated(f"the look {kind!r}"):
            (look or take_look)(kind)
    with isolated("jobs to be counted"):
        _schedule_stale_counts(now)
    step_due(step or advance)
    _next = clock.Countdown(_seconds_until_due(now))


_next = clock.Countdown(0)


def is_due() -> bool:
    """Whether something may be due by now although nobody has written into the database since the
    last sweep."""
    return _next.is_over


def _seconds_until_due(now: datetime) -> float:
    """From `now` until the next thing is due of which the time is known, or IDLE."""
    soon = Job.objects.filter(next_action_at__gt=now, next_action_at__lt=now + IDLE)
    times = [soon.aggregate(first=Min("next_action_at"))["first"]]
    if IDLE.total_seconds() > settings.POLL_SECONDS and polling.has_any():
        times.append(Heartbeat.get().next_poll_at)
    waits = [time - now for time in times if time and time > now]
    first: timedelta = min([IDLE, *waits])
    return first.total_seconds()


def _looks_due(now: datetime) -> list[str]:
    """The looks at the provider's batches that are due, if there is anything to look at, and at
    search indexes."""
    poll = timedelta(seconds=settings.POLL_SECONDS)
    troubled = Exists(TeamSending.objects.exclude(trouble=""))
    outdated = Exists(SearchIndex.objects.due(now))
    next_poll_at, trouble, of_teams, site_trouble, has_outdated = (
        Heartbeat.row()
        .values_list("next_poll_at", "provider_trouble", troubled, "site_trouble", outdated)
        .get()
    )
    indexing = [slots.INDEXING] if has_outdated else []
    if now < next_poll_at <= now + poll:
        return indexing
    if site_trouble:
        holds.end_site_trouble()
    kinds = [slots.WATCHING] if trouble or of_teams or polling.has_any() else []
    kinds += [slots.LATE] if late.has_any() or provider_deletion.has_any() else []
    due = Heartbeat.row().filter(clock.over("next_poll_at", poll, now))
    return indexing + (kinds if kinds and due.update(next_poll_at=now + poll) == 1 else [])


def step_due(step: Callable[[int], None]) -> None:
    """Call `step` for every job that is due and may find a slot."""
    nudged: Counter[str] = Counter()
    of_one: Counter[tuple[str, int]] = Counter()
    for pk, kinds, owner in slots.next_steps(
        Job.objects.due(clock.now()).order_by("next_action_at")
    ):
        for kind in kinds:
            if nudged[kind] < slots.NUDGED and of_one[kind, owner] < slots.NUDGED_OF_ONE_PERSON:
                nudged[kind] += 1
                of_one[kind, owner] += 1
                with isolated(f"job {pk}"):
                    step(pk)
                break


def _note_tick() -> datetime:
    """Note that the worker is alive, and whether the clock was set back. Returns the time.

    The last tick is read before the clock: it can be ahead of the clock only if the clock was set
    back in between, however long this sweep or another one waits for the database. Of several
    sweeps at once, only the first one counts.
    """
    heartbeat = Heartbeat.row()
    last = heartbeat.values_list("tick_at", flat=True).first()
    now = clock.now()
    mine = heartbeat.filter(tick_at=last)
    if not clock.was_set_back(last, now):
        if last is None or abs(now - last) >= BEAT:
            mine.update(tick_at=now)
        return now
    with transaction.atomic():
        if not mine.update(tick_at=now, next_poll_at=now):
            return now
        Sending.row().update(send_after=now)
        TeamSending.objects.update(send_after=now)
        ModelCatalog.row().update(due_at=now)
    # Without this, work would wait until the clock is back where it was. Being due too early
    # costs nothing; absence.py guards what would.
    logger.warning("the clock was set back; what waits is looked at now")
    for waiting in (Job.objects.all(), Batch.objects.all()):
        waiting.filter(next_action_at__gt=now).update(next_action_at=now)
    return now


def _schedule_stale_counts(now: datetime) -> None:
    """Make jobs due whose numbers are out of date, after a worker died or a person changed rows.
    The next step counts them. A job whose steps fail waits for its own time."""
    stale = Job.objects.stale().filter(lease_until=None, failures_in_a_row=0)
    found = list(stale.order_by("-pk").values_list("pk", "tally_version", "next_action_at"))
    # After an update these may be all jobs of the site: files that people wait for come in between.
    anew = [one for one in found if one[1] == COUNT_ANEW][:COUNTED_ANEW_AT_ONCE]
    changed = [one for one in found if one[1] != COUNT_ANEW]
    if pks := [pk for pk, _version, due_at in changed + anew if due_at is None or due_at > now]:
        Job.objects.filter(pk__in=pks).update(next_action_at=now)


def take_look(kind: str) -> None:
    """Run the checks of a kind at the provider, unless another thread does."""
    with slots.Slot() as slot:
        if not slot.take(kind):
            return
        for look in LOOKS[kind]:
            with isolated(f"the look {kind!r}"), api_key.held():
                try:
                    look()
                except errors.ProviderError as error:
                    holds.note_provider_error(error)
                    logger.warning("the provider could not be asked: %s", error)
