"""How many threads of the worker may do the same kind of thing at once.

A thread that talks to the provider may wait for minutes. Each kind of work has slots of its own,
and the worker has more threads than all slots together. So slow downloads never keep files from
being read, and there is always a thread for the tick. Slots belong to this process and end with it.

Of the slots for calls to the provider, the jobs of one person get only some. So calls that hang do
not keep other people's jobs waiting, nor this person's other jobs, unless many hang at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from threading import Lock
from typing import Any, NamedTuple, Self

from django.db.models import Exists, OuterRef, Q, QuerySet

from ..models import LONGEST_WAIT, Batch, Export, Job, Trial, clock

# Steps of jobs: reading files, pricing and testing drafts, sending batches, fetching results (and
# canceling and deleting at the provider), building finished files.
READING, PRICING, TESTING, SENDING, FETCHING, BUILDING = (
    "reading",
    "pricing",
    "testing",
    "sending",
    "fetching",
    "building",
)
# Looks at the provider: at the list, at batches that turn up late, and what a person asked for.
WATCHING, LATE, ASKED = "watching", "late", "asked"
# Mails, and webhooks and chats, whose receivers may be slow.
MAILING, TELLING = "mailing", "telling"
COPYING = "copying"  # to object storage
INDEXING = "indexing"  # for the search in rows

_KINDS: dict[str, str] = {
    Job.State.READING: READING,
    Job.State.UNREADABLE: BUILDING,
    Job.State.SUBMITTING: SENDING,
    Job.State.WORKING: FETCHING,
    Job.State.CANCELING: FETCHING,
    Job.State.FINISHED: BUILDING,
    Job.State.DELETING: FETCHING,
}  # that of drafts and finished jobs depends on whether a test waits; see also _next_kinds

SIZES = {
    READING: 4,  # one more than large files are read at once, so that small ones go on
    PRICING: 3,
    TESTING: 3,
    SENDING: 6,
    FETCHING: 5,
    BUILDING: 2,
    WATCHING: 1,
    LATE: 1,
    ASKED: 1,
    MAILING: 1,
    TELLING: 3,
    COPYING: 1,
    INDEXING: 1,
}
# How many of them the jobs of one person may have at a time.
OF_ONE_PERSON = {PRICING: 2, TESTING: 2, SENDING: 4, FETCHING: 3}
# In a web process: people who wait for the provider to say what a batch is.
FINDING, FINDING_SIZE = "finding", 2
# One more for the tick, one for what is done every minute, and one to find that no slot is free.
THREADS = sum(SIZES.values()) + 3

# So many jobs of a kind are nudged a second, those that wait longest first, and so many of one
# person: enough for all slots, and the queue stays short when none is free.
NUDGED, NUDGED_OF_ONE_PERSON = 10, 4

_sizes = {**SIZES, FINDING: FINDING_SIZE}
_lock = Lock()
_taken: Counter[str] = Counter()  # by kind
_taken_by: Counter[tuple[str, int]] = Counter()  # by kind and person


class Next(NamedTuple):
    """The next step of a job: the kinds of slot that it may take, the best one first, and whose
    job it is."""

    job_pk: int
    kinds: tuple[str, ...]
    owner_pk: int


class _Facts(NamedTuple):
    """What decides about the next step of a job beside its state."""

    has_trials: bool = False
    has_results: bool = False  # to fetch now
    has_damage: bool = False  # results to fetch again now
    has_wish: bool = False  # a file that a person waits for


# The facts that matter in a state; in others none does.
_BY_FACTS: dict[str, tuple[str, ...]] = {
    Job.State.DRAFT: ("has_trials",),
    Job.State.SUBMITTING: ("has_results", "has_damage"),
    Job.State.FINISHED: ("has_trials", "has_damage", "has_wish"),
}


def next_steps(jobs: QuerySet[Job]) -> list[Next]:
    """The next step of each of `jobs`."""
    found = list(jobs.values_list("pk", "owner_id", "state", "held"))
    # Most states say all of it, and this is asked every second: only what matters is looked up.
    asked = {
        fact
        for _pk, _owner, state, held in found
        for fact in _BY_FACTS.get(state, ())
        if held or (state, fact) != (Job.State.SUBMITTING, "has_damage")
    }
    facts = _facts_of(jobs, sorted(asked)) if asked else {}
    return [
        Next(pk, _next_kinds(state, held, facts.get(pk, _Facts())), owner)
        for pk, owner, state, held in found
    ]


def _facts_of(jobs: QuerySet[Job], asked: Sequence[str]) -> dict[int, _Facts]:
    now = clock.now()
    mine = Batch.objects.filter(job=OuterRef("pk"))
    open_ = Trial.objects.filter(state__in=[Trial.State.WAITING, Trial.State.SENDING])
    # A query that is not used is not built, which takes longer than to run it.
    queries: dict[str, Callable[[], QuerySet[Any]]] = {
        "has_trials": lambda: open_.filter(job=OuterRef("pk")),
        "has_results": lambda: mine.to_fetch().filter(_is_due(now)),
        "has_damage": lambda: mine.to_fetch_again().filter(_is_due(now)),
        "has_wish": lambda: Export.objects.filter(job=OuterRef("pk"), trouble=""),
    }
    found = jobs.filter(state__in=_BY_FACTS).annotate(
        **{fact: Exists(queries[fact]()) for fact in asked}
    )
    return {
        pk: _Facts(**dict(zip(asked, facts, strict=True)))
        for pk, *facts in found.values_list("pk", *asked)
    }


def _is_due(now: datetime) -> Q:
    return Q(next_action_at=None) | clock.over("next_action_at", LONGEST_WAIT, now)


def _next_kinds(state: str, held: str, facts: _Facts) -> tuple[str, ...]:
    if state == Job.State.DRAFT:
        return (TESTING,) if facts.has_trials else (PRICING,)
    if state == Job.State.FINISHED and facts.has_trials:
        return (TESTING,)
    # Jobs that still send, and finished ones, may have something to fetch. What is sent sooner is
    # answered sooner, and results wait. Files that people wait for are built first.
    if state == Job.State.SUBMITTING and held and (facts.has_results or facts.has_damage):
        return (FETCHING,)
    if state == Job.State.SUBMITTING and facts.has_results:
        return SENDING, FETCHING
    if state == Job.State.FINISHED and facts.has_damage and not facts.has_wish:
        return (FETCHING,)
    return (_KINDS[state],)


class Slot:
    """The slot of one thread, of one kind at a time; given back when the block ends."""

    def __init__(self) -> None:
        self._kind, self._owner_pk = "", 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        with _lock:
            self._give_back()

    def take(self, kind: str, owner_pk: int = 0) -> bool:
        """Take a slot of `kind` instead of the one before, without waiting. `owner_pk`: the person
        whose job it is for. False when none is free."""
        if kind == self._kind:
            return True
        most_of_one = OF_ONE_PERSON.get(kind) if owner_pk else None
        with _lock:
            if _taken[kind] >= _sizes[kind]:
                return False
            if most_of_one is not None and _taken_by[kind, owner_pk] >= most_of_one:
                return False
            self._give_back()
            self._kind, self._owner_pk = kind, owner_pk
            _taken[kind] += 1
            _taken_by[kind, owner_pk] += 1
        return True

    def take_for(self, job_pk: int, but: str = "") -> str:
        """Take a slot for the next step of a job, of any kind `but` one. Its kind; "" when none is
        free."""
        for step in next_steps(Job.objects.filter(pk=job_pk)):
            for kind in step.kinds:
                if kind != but and self.take(kind, step.owner_pk):
                    return kind
        return ""

    def _give_back(self) -> None:
        """With the lock held."""
        if self._kind:
            _taken[self._kind] -= 1
            _taken_by[self._kind, self._owner_pk] -= 1
            if not _taken_by[self._kind, self._owner_pk]:
                del _taken_by[self._kind, self._owner_pk]
            self._kind, self._owner_pk = "", 0
