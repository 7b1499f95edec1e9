"""How many threads of the worker may do the same kind of thing at once.

A thread that talks to the provider may wait for minutes. Each kind of work has slots of its own,
and the worker has more threads than all slots together. So slow downloads never keep files from
being read, and there is always a thread for the tick. Slots belong to this process and end with it.
"""

from __future__ import annotations

from threading import BoundedSemaphore
from typing import Self

from django.db.models import Exists, OuterRef, QuerySet

from ..models import Job, Try

# Steps of jobs: reading files, pricing and trying drafts, sending batches, fetching results (and
# canceling and deleting at the provider), building finished files.
READING, PRICING, TRYING, SENDING, FETCHING, BUILDING = (
    "reading",
    "pricing",
    "trying",
    "sending",
    "fetching",
    "building",
)
# Looks at the provider: at the list, at batches that turn up late, and what a person asked for.
WATCHING, LATE, ASKED = "watching", "late", "asked"

_KINDS: dict[str, str] = {
    Job.State.READING: READING,
    Job.State.UNREADABLE: BUILDING,
    Job.State.SUBMITTING: SENDING,
    Job.State.WORKING: FETCHING,
    Job.State.CANCELING: FETCHING,
    Job.State.FINISHED: BUILDING,
    Job.State.DELETING: FETCHING,
}  # a draft's depends on whether rows of it are to be tried

SIZES = {
    READING: 4,  # one more than large files are read at once, so that small ones go on
    PRICING: 2,
    TRYING: 3,
    SENDING: 3,
    FETCHING: 4,
    BUILDING: 2,
    WATCHING: 1,
    LATE: 1,
    ASKED: 1,
}
# In a web process: people who wait for the provider to say what a batch is.
FINDING, FINDING_SIZE = "finding", 2
# One more for the tick, one for what is done every minute, and one to find that no slot is free.
THREADS = sum(SIZES.values()) + 3

# So many jobs of a kind are nudged a second, those that wait longest first: enough for all slots,
# and the queue stays short when none is free.
NUDGED = 10

_free = {kind: BoundedSemaphore(size) for kind, size in {**SIZES, FINDING: FINDING_SIZE}.items()}


def next_kinds(jobs: QuerySet[Job]) -> list[tuple[int, str]]:
    """Each of `jobs` by its id, with the kind of slot that its next step needs."""
    open_ = Try.objects.filter(state__in=[Try.State.WAITING, Try.State.SENDING])
    found = jobs.annotate(has_tries=Exists(open_.filter(job=OuterRef("pk"))))
    return [
        (pk, _KINDS.get(state, TRYING if has_tries else PRICING))
        for pk, state, has_tries in found.values_list("pk", "state", "has_tries")
    ]


class Slot:
    """The slot of one thread, of one kind at a time; given back when the block ends."""

    def __init__(self) -> None:
        self._kind = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._give_back()

    def take(self, kind: str) -> bool:
        """Take a slot of `kind` instead of the one before, without waiting. False when none is
        free."""
        if kind == self._kind:
            return True
        if not _free[kind].acquire(blocking=False):
            return False
        self._give_back()
        self._kind = kind
        return True

    def take_for(self, job_pk: int) -> str:
        """Take a slot for the next step of a job. Its kind; "" when none is free."""
        for _pk, kind in next_kinds(Job.objects.filter(pk=job_pk)):
            if self.take(kind):
                return kind
        return ""

    def _give_back(self) -> None:
        if self._kind:
            _free[self._kind].release()
            self._kind = ""
