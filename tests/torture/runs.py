"""One run, from its plan to its result."""

from __future__ import annotations

import json
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

from . import aftermath, invariants, pilots
from .facts import Facts, gather
from .person import FINAL, Away, Browser, Person, View
from .plans import DELETING, Plan
from .site import CannotBeRead, Site

Answered = TypeVar("Answered")
# Seconds from the end of the chaos until all jobs must be final. A batch that could be ours counts
# as another program's only after five looks at its results, which take 150 s.
LIMIT = 240.0
REST_SECONDS = 1.5  # after the last job is final: whatever still moves gets its turn
ROUND_SECONDS = 0.05
# Faults after which a job may be held. Held without any of them is wrong.
HOLDING = (
    "create: reject_4", "results: ", "list: status", "retrieve: status", "cancel: status",
    "all the time: foreign_batches",
)  # fmt: skip


@dataclass
class Result:
    """What came of a run. `wrong`: by invariant, in words. `expected`: the invariants that its
    mutant breaks."""

    name: str
    repeat: str
    expected: list[str] = field(default_factory=list)
    wrong: dict[str, list[str]] = field(default_factory=dict)
    folder: str = ""
    seconds: float = 0.0
    kills: dict[str, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def is_good(self) -> bool:
        """Nothing is wrong; of a mutant: everything is that has to be, and nothing else."""
        broken = {name.partition(" ")[0] for name in self.wrong}
        return broken == set(self.expected)

    def complain(self, invariant: str, *words: str) -> None:
        if words:
            self.wrong.setdefault(invariant, []).extend(words)


def run(plan: Plan, folder: Path, template: Path, database_url: str) -> Result:
    """Never raises: what fails in the harness is in the result, too."""
    began = time.monotonic()
    result = Result(plan.name, plan.repeat, list(plan.expected), folder=str(folder))
    site = Site(plan, folder, template, database_url)
    try:
        _run(site, plan, result)
    except Exception:  # noqa: BLE001 - it is the result
        result.complain("The harness", traceback.format_exc())
    finally:
        site.stop()
    result.kills = dict(site.kills)
    result.seconds = time.monotonic() - began
    (folder / "result.json").write_text(json.dumps(asdict(result), indent=1))
    return result


def _run(site: Site, plan: Plan, result: Result) -> None:
    site.start()
    secrets = {
        "key": plan.key.encode(),
        "prompt": plan.prompt_canary.encode(),
        "text of cells": plan.cell_canary.encode(),
    }
    view = View()
    browser = Browser(site.web_port, secrets, addresses=site.web_addresses)
    person = Person(browser, view, database=site.database, manage=site.manage)
    for at, order in plan.orders:
        if not at:
            site.provider.order(**order)
    site.start_workers()
    _let_it_run(site, plan, person, result)
    site.calm()
    _rest(site)
    site.stop_workers()
    _until_it_answers(site, person.look_around)
    facts = _until_it_answers(site, lambda: gather(site, person, plan))
    result.held = dict(person.held)
    result.faults = dict(facts.fell) | _knobs_used(plan) | dict(site.troubles)
    result.counts = _counts(facts, person)
    for name, invariant in invariants.ALL.items():
        result.complain(name, *invariant(facts))
    result.complain("I6 nothing leaks", *sorted(person.browser.leaks))
    if not site.troubles["disk full"]:
        result.complain("Pages", *sorted(person.browser.errors))
    _delete(site, plan, person, result, facts)
    result.complain("Processes", *site.complaints)
    asks = plan.restore or plan.environment.get("RECONCILE_RESUBMIT") == "ask"
    if not asks and not any(name.startswith(HOLDING) for name in facts.fell):
        reasons = [f"Without a fault that explains it: {why}" for why in person.held]
        result.complain("Held", *reasons)


def _let_it_run(site: Site, plan: Plan, person: Person, result: Result) -> None:
    """Until every job is final, or time is up: what is not final is seen by the invariants."""
    view = person.view
    scripts = [person.script(job) for job in plan.jobs]
    orders = sorted(
        ((at, order) for at, order in plan.orders if at), key=lambda at_order: at_order[0]
    )
    director = plan.director(site.provider) if plan.director else iter(())
    began = time.monotonic()
    chaos_until, limit = began + plan.chaos_seconds, began + plan.chaos_seconds + LIMIT
    chaos = True
    settle_at = began
    silent: set[int] = set()
    # A restore brings back what was sent, also when it brings back that a pilot was open.
    has_pilots = any(job.pilot for job in plan.jobs) and plan.restore is None
    while scripts:
        now = time.monotonic()
        site.look_after()
        try:
            view.rows = site.database.table("jobs_job")
            early = pilots.sent_too_early(site.database) if has_pilots else []
        except CannotBeRead:
            if site.is_full:
                continue
            raise
        for job in invariants.waits_silently(view.rows):
            if job["id"] not in silent:
                words = f"Job {job['id']} was {job['state']}, never due, in the middle of the run."
                result.complain("I5 nothing waits silently", words)
            silent.add(job["id"])
        if above := invariants.above_the_cap(view.rows):
            result.complain("I8 within the cap", *above)
        result.complain("I9 pilot and rest", *early)
        while chaos and orders and now - began > orders[0][0] and site.provider.is_up():
            site.provider.order(**orders.pop(0)[1])
        if now > settle_at and site.provider.is_up():
            settle_at = now + 1.0
            aftermath.settle_doubts(person, site.provider.truth(ids=True))
        if chaos and now > chaos_until:
            chaos = False
            site.calm()
        next(director, None)
        scripts = [script for script in scripts if goes_on(script)]
        if now > limit:
            words = f"Not all jobs were final {LIMIT:.0f} s after the chaos."
            result.complain("I5 nothing waits silently", words)
            return
        time.sleep(ROUND_SECONDS)


def _delete(site: Site, plan: Plan, person: Person, result: Result, facts: Facts) -> None:
    """The person deletes jobs, and a worker dies in the middle of it: nothing of them is left."""
    deleted = [
        person.jobs[job.name] for job in plan.jobs if job.deletes and job.name in person.jobs
    ]
    if not deleted:
        return
    site.start_workers(dies_at=DELETING)
    scripts = [aftermath.delete(person, pk) for pk in deleted]
    limit = time.monotonic() + LIMIT
    while scripts and time.monotonic() < limit:
        site.look_after()
        person.view.rows = site.database.table("jobs_job")
        scripts = [script for script in scripts if goes_on(script)]
        time.sleep(ROUND_SECONDS)
    if scripts:
        result.complain("Deleted", f"Jobs were not deleted within {LIMIT:.0f} s.")
    site.stop_workers()
    result.counts["jobs deleted"] = len(deleted)
    result.complain("Deleted", *invariants.nothing_is_left(site, facts, deleted))


def goes_on(script: Iterator[None]) -> bool:
    """Let a script come to its next pause; False at its end."""
    try:
        next(script)
    except StopIteration:
        return False
    return True


def _rest(site: Site) -> None:
    """The provider has ended everything, and whatever still moves gets its turn."""
    until = time.monotonic() + REST_SECONDS
    limit = time.monotonic() + LIMIT
    while time.monotonic() < until or not all(b["ended"] for b in site.provider.truth()["batches"]):
        if time.monotonic() > limit:
            raise TimeoutError("not all batches ended at the provider")
        site.look_after()
        time.sleep(ROUND_SECONDS)


def _until_it_answers(site: Site, ask: Callable[[], Answered]) -> Answered:
    deadline = time.monotonic() + 30
    while True:
        try:
            return ask()
        except Away:
            if time.monotonic() > deadline:
                raise
            site.look_after()
            time.sleep(0.1)


def _knobs_used(plan: Plan) -> dict[str, int]:
    """Knobs that were turned on, as faults of a kind of their own."""
    turned = {
        name
        for _at, order in plan.orders
        for name, value in order.items()
        if not isinstance(value, list) and value and not name.endswith("retry_after")
    }
    return {f"all the time: {name}": 1 for name in turned}


def _counts(facts: Facts, person: Person) -> dict[str, int]:
    accepted = invariants.accepted_rows(facts)
    collected = list(invariants.batches_with_results(facts))
    changed = [invariants.changed_lines(facts, batch, sent) for batch, sent in collected]
    outcomes = Counter(row["outcome"] for row in facts.rows)
    return {
        "jobs": len(facts.jobs),
        "jobs final": sum(job["state"] in FINAL for job in facts.jobs),
        "jobs stopped": len(facts.stopped),
        "double clicks": person.confirmed_twice,
        "rows sent again by two clicks": person.rounds_twice,
        "corrected files": person.corrections,
        "decisions of a person": person.decisions,
        "pages": person.browser.requests,
        "POSTs": facts.posts,
        "batches accepted": len(facts.ours),
        "batches of others": len(facts.sent) - len(facts.ours),
        "adopted": facts.events["adopted"],
        "sent again": facts.events["never_arrived"],
        "rows": len(facts.rows),
        "rows accepted": sum(accepted.values()),
        "rows accepted twice": len(invariants.accepted_too_often(facts)),
        "rows paid": sum(invariants.paid_tags(facts).values()),
        "rows paid twice": len(invariants.paid_too_often(facts)),
        "rows good": outcomes["good"],
        "result files": len(collected),
        "result files exact": sum(not lines for lines in changed),
        "result files with a line that a fault changed": sum(map(bool, changed)),
        "jobs held": sum(person.held.values()),
        "pressed “Try again”": person.tries,
        **pilots.counts_of(facts.pilots, person),
    }
