"""Who works on a job: a lease with an end, not a lock. A worker that dies does not hold a job for
ever, and one that was too slow notices that another has taken over."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ..models import Job, clock, processes

LENGTH = timedelta(seconds=60)
RENEW_SECONDS = 10


class LeaseLost(Exception):
    """Someone else works on the job by now; stop without another change."""


@dataclass
class Lease:
    """The right to change job `job_pk`, for a minute from the last `renew`."""

    job_pk: int
    owner: str
    until: datetime  # what `claim` wrote into `next_action_at` as well
    _renewed: clock.Countdown = field(default_factory=lambda: clock.Countdown(RENEW_SECONDS))
    # Called by each `renew`, to check on what goes on beside the work that renews the lease.
    look_after: Callable[[], None] | None = None

    def renew(self) -> None:
        """Keep the lease; call it often, outside transactions: it writes every ten seconds. Raises
        LeaseLost."""
        if self.look_after:
            self.look_after()
        if not self._renewed.is_over:
            return
        self._renewed = clock.Countdown(RENEW_SECONDS)
        mine = Job.objects.filter(pk=self.job_pk, lease_owner=self.owner)
        if mine.update(lease_until=clock.now() + LENGTH) != 1:
            raise LeaseLost

    def require(self) -> None:
        """In a transaction: nobody else takes the job until its end. What was worked out before may
        be old when this worker stood still, or its machine was suspended. Raises LeaseLost."""
        mine = Job.objects.filter(pk=self.job_pk, lease_owner=self.owner)
        if mine.update(lease_owner=self.owner) != 1:
            raise LeaseLost

    def hold_for(self, seconds: float) -> None:
        """Keep the lease through a step that cannot renew it. Raises LeaseLost."""
        self._renewed = clock.Countdown(seconds)
        mine = Job.objects.filter(pk=self.job_pk, lease_owner=self.owner)
        until = clock.now() + LENGTH + timedelta(seconds=seconds)
        if mine.update(lease_until=until) != 1:
            raise LeaseLost

    def release(self, next_action_at: datetime | None) -> None:
        """Give the lease back; the job is due again at `next_action_at`, or earlier if somebody
        asked for that meanwhile."""
        mine = Job.objects.filter(pk=self.job_pk, lease_owner=self.owner)
        mine.filter(next_action_at=self.until).update(next_action_at=next_action_at)
        mine.update(lease_until=None, lease_owner="")


def claim(job_pk: int) -> Lease | None:
    """The lease on a job that is due, or None: not due, or someone has it."""
    now = clock.now()
    owner = f"{processes.PROCESS}|{secrets.token_hex(4)}"
    due = Job.objects.due(now).filter(pk=job_pk)
    # Should this process die, the job is due again when the lease ends.
    until = now + LENGTH
    if due.update(lease_until=until, lease_owner=owner, next_action_at=until) != 1:
        return None
    return Lease(job_pk, owner, until)


def free_leases_of_the_dead() -> None:
    """Free what processes of this machine held that are gone, so that a job goes on at once when
    its worker was killed. A lease of another machine, or in doubt, runs out by itself."""
    leased = Job.objects.filter(lease_until__isnull=False)
    for pk, owner in leased.values_list("pk", "lease_owner"):
        if owner and processes.has_ended(owner.rpartition("|")[0]):
            Job.objects.filter(pk=pk, lease_owner=owner).update(
                lease_until=None, lease_owner="", next_action_at=clock.now()
            )
