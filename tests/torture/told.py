"""What the person of a run is told: a webhook, which refuses half of what it gets once, and the
invariant of what it got."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from .facts import Facts
    from .site import Database

ENDS = ("job_finished", "job_problems")


def told_in(database: Database) -> list[dict[str, Any]]:
    """Each notification of a job, with what became of it on its way to the webhook."""
    return database.read(
        "SELECT uid, event, job_id, state, trouble FROM jobs_notification"
        " LEFT JOIN jobs_delivery ON notification_id = jobs_notification.id"
        " WHERE job_id IS NOT NULL ORDER BY jobs_notification.id"
    )


def told_once(facts: Facts) -> list[str]:
    """Whatever dies, each notification arrives at most once, and where it may be missing, that is
    noted. Of every job that has ended the person was told once. One that is being sent was so when
    the workers were stopped: what becomes of it is seen by tests/notifications."""
    arrived = Counter(one.id for one in facts.arrivals if one.taken)
    twice = [(uid, count) for uid, count in arrived.items() if count > 1]
    wrong = [f"Notification {uid} arrived {count} times." for uid, count in twice]
    for one in facts.told:
        wrong += _of_one(one, arrived[str(UUID(str(one["uid"])))])
    ends = Counter(one["job_id"] for one in facts.told if one["event"] in ENDS)
    for job in facts.jobs:
        told = ends[job["id"]]
        if job["state"] == "finished" and told != 1:
            wrong.append(f"The person was told {told} times that job {job['id']} has ended.")
    return wrong


def _of_one(one: dict[str, Any], arrived: int) -> Iterator[str]:
    what = f"{one['event']} of job {one['job_id']} is {one['state']} ({one['trouble']})"
    match one["state"]:
        case None:
            yield f"{what}: there is no delivery of it."
        case "sent" if not arrived:
            yield f"{what}, and never arrived."
        case "waiting" if arrived:
            yield f"{what}, and will arrive again."
        case "unclear" | "failed" if not one["trouble"]:
            yield f"{what}, without a trace of why."
