"""What the person does when the pilot of a job is in, and what has to be true of its rows and the
others."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from .site import as_json

if TYPE_CHECKING:
    from .facts import Facts
    from .person import Person
    from .plans import PilotPlan
    from .processes import Process
    from .site import Database

PILOT_IS_IN = "The pilot is in"  # how the reason begins for which its job is held
OPEN = "'drawing', 'sending', 'waiting'"  # steps of a pilot that keep the others from being sent
COMMAND_SECONDS = 60.0  # that the person gives a command


# --- What they do ---------------------------------------------------------------------------------


def let_others_go(person: Person, plan: PilotPlan, pk: int) -> Iterator[None]:
    """Two clicks at once, or the command twice at once. Whatever breaks off is done again when the
    job still waits."""
    from .person import Away, wait_for

    if plan.by_command:
        yield from _run_twice(person, plan, pk)
    else:
        try:
            person.browser.post_twice(f"/jobs/{pk}/continue/")
            person.continued["clicks"] += 1
        except Away:
            yield from wait_for(0.3)
    yield from wait_for(0.3)


def _run_twice(person: Person, plan: PilotPlan, pk: int) -> Iterator[None]:
    assert person.manage is not None
    person.continued["commands"] += 1
    running = [person.manage("job", "continue", str(pk)) for _ in range(2)]
    deaths = [plan.command_deaths.pop() for _ in running if plan.command_deaths]
    began = time.monotonic()
    while not all(one.has_ended() for one in running):
        for command, seconds in zip(running, deaths, strict=False):
            _kill_after(person, command, seconds)
        if time.monotonic() - began > COMMAND_SECONDS:
            for command in running:
                command.signal(signal.SIGKILL)
        yield


def _kill_after(person: Person, command: Process, seconds: float) -> None:
    if command.status is None and time.monotonic() - command.born > seconds:
        person.continued["commands, SIGKILL"] += 1
        command.signal(signal.SIGKILL)
        command.wait()


# --- What has to be true --------------------------------------------------------------------------


def sent_too_early(database: Database) -> list[str]:
    """During the run: while a pilot is open, no other row of its job is in a batch."""
    found = database.read(
        "SELECT jobs_pilot.job_id, jobs_pilot.rows, COUNT(*) AS sent FROM jobs_pilot"  # noqa: S608 - ours
        " JOIN jobs_row ON jobs_row.job_id = jobs_pilot.job_id AND jobs_row.batch_id IS NOT NULL"
        f" WHERE jobs_pilot.step IN ({OPEN}) GROUP BY jobs_pilot.job_id, jobs_pilot.rows"
    )
    return [
        f"Job {one['job_id']} has {one['sent']} rows in batches, and a pilot of {one['rows']}."
        for one in found
        if one["sent"] > one["rows"]
    ]


def pilot_and_rest(facts: Facts) -> list[str]:
    """The rows of a pilot are accepted before all others, and these only after one decision. Both
    together cost no more than was confirmed for the whole. That they are the whole, each row once,
    is seen with all jobs."""
    wrong = []
    plans = {pk: plan.pilot for pk, plan in facts.plans.items()}
    for pilot in facts.pilots:
        pk, plan = pilot["job_id"], plans.get(pilot["job_id"])
        numbers = as_json(pilot["numbers"])
        if plan is None:
            wrong.append(f"Job {pk} has a pilot that nobody wanted.")
            continue
        if pilot["step"] not in ("released", "ended"):
            wrong.append(f"The pilot of job {pk} is still {pilot['step']}.")
        if pilot["step"] == "ended" and pk not in facts.stopped:
            wrong.append(f"Nobody stopped job {pk}, and its other rows were not sent.")
        if facts.plan.restore is None:  # else it may be drawn again, from the rows that are left
            if pilot["step"] == "released" and len(numbers) != plan.rows:
                wrong.append(f"The pilot of job {pk} had {len(numbers)} rows, not {plan.rows}.")
            wrong += _mixed(facts, pk, set(numbers))
            decided = [e for e in facts.log if e["job_id"] == pk and _is_decision(e["text"])]
            if len(decided) != (pilot["step"] == "released"):
                wrong.append(f"The others of job {pk} were let go {len(decided)} times.")
        wrong += _dearer(facts, pk)
    wanted = {pk for pk, plan in plans.items() if plan and pk not in facts.stopped}
    sent = {job["id"] for job in facts.jobs if job["confirmed_at"]}
    if lacking := sorted((wanted & sent) - {one["job_id"] for one in facts.pilots}):
        wrong.append(f"Jobs without the pilot that they were to have: {lacking}.")
    return wrong


def _is_decision(text: str) -> bool:
    return text.startswith("Sending the other ")


def _mixed(facts: Facts, job: int, first: set[int]) -> list[str]:
    """Batches, in the order in which they were accepted, that bring other rows with those of the
    pilot, or before all of these."""
    seen: set[int] = set()
    for batch in facts.ours:
        nonce = batch.custom_ids[0].rpartition("-")[0]
        if facts.job_of_nonce.get(nonce) != job:
            continue
        new = {int(one.rpartition("-")[2]) for one in batch.custom_ids} - seen
        if new - first and not first <= seen:
            return [f"Job {job}: {batch.id} has rows that wait for its pilot."]
        seen |= new
    return []


def _dearer(facts: Facts, job: int) -> list[str]:
    if any(one["job_id"] == job for one in facts.attempts):
        return []  # it was confirmed anew for these
    said = [as_json(e["detail"])["after"] for e in facts.confirmations if e["job"] == job]
    cost = sum(batch.cost_pico for batch in facts.batches if batch.job == job)
    most = int(Decimal(said[-1]["most_usd"]) * 10**12) if said else 0
    return [f"Job {job} cost {cost}, confirmed was {most}."] if cost > most else []


def counts_of(pilots: Sequence[dict[str, Any]], person: Person) -> dict[str, int]:
    released = [one for one in pilots if one["step"] == "released"]
    return {
        "pilots": len(pilots),
        "pilots, others let go": len(released),
        "pilots, by their rule": sum(
            one["decided_at"] is not None and one["decided_by_id"] is None for one in released
        ),
        "pilots, “job continue” twice at once": person.continued["commands"],
        "pilots, “job continue” killed": person.continued["commands, SIGKILL"],
        "pilots, two clicks": person.continued["clicks"],
    }
