"""What a seed stands for: jobs, faults and deaths, all drawn in advance.

The same seed gives the same plan. What really happens also depends on how fast the machine is, so a
seed that failed may have to be repeated a few times.
"""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from .. import dying_worker
from .site import Provider

# Nothing is deleted before the invariants have looked at everything that was.
DELETING = "deleting: the provider's copy is gone"
POINTS = {
    point: passes
    for point, passes in dying_worker.POINTS.items()
    if not point.startswith("deleting")
}
PILOT_POINTS = dying_worker.PILOT_POINTS

MODELS = ("claude-haiku-5-5", "claude-sonnet-5-5", "claude-haiku-4-5")
# What people have in their cells; `{text}` in some of them is a canary that no log may show.
CELLS = (
    "all fine, {text}",
    'she said "never again", twice',
    "two\nlines of {text}",
    "windows\r\nlines",
    "emoji 🎈, accents é ü, a hair\u200aspace and \u2028 a line separator",
    "=SUM(A1:A9)",
    '=HYPERLINK("http://x/";"{text}")',
    "+49 30 1234",
    "-3",
    "@home",
    "\t=1+1",
    "a;b,c\td|e",
    "{{id}} {{nobody}}",
    "\\",
    "",
    "   ",
)
# The simulator obeys them, so that every kind of end comes up.
MARKERS = ("[simulate:errored]", "[simulate:refusal]", "[simulate:cut]", "[simulate:expired]")


@dataclass
class PlannedRow:
    """One line of an upload."""

    tag: str  # its own text: begins the prompt, so the answer must quote it
    content: list[str] | dict[str, Any]  # cells, or a ready-made request
    left_out: bool = False  # it cannot be sent


@dataclass
class PilotPlan:
    """Some rows that are sent first."""

    rows: int
    rule: int = 0  # percent of good ones from which the others follow by themselves
    by: str = ""  # a column of the table
    # Who lets the others go, if the rule does not: two clicks, or two times `job continue` at once,
    # each of which is killed so many seconds after its start.
    by_command: bool = False
    command_deaths: list[float] = field(default_factory=list)

    @property
    def fields(self) -> dict[str, str]:
        """Of the form on the page that confirms a job."""
        rule = {"pilot_rule": "on", "pilot_share": str(self.rule)} if self.rule else {}
        return {"first": "yes", "pilot_rows": str(self.rows), "pilot_by": self.by, **rule}


@dataclass
class JobPlan:
    """One upload, and what the person does with it. Times are seconds."""

    name: str  # of the upload, without its ending
    kind: Literal["csv", "jsonl"]
    rows: list[PlannedRow]
    recipe: dict[str, str] = field(default_factory=dict)  # of a table: the fields of the form
    start: float = 0.0  # after the site is up
    stop_after: float | None = None  # after it was confirmed
    pilot: PilotPlan | None = None
    # What is done once it has finished: see aftermath.py.
    sends_again: bool = False
    corrects: bool = False
    deletes: bool = False

    @property
    def file_name(self) -> str:
        return f"{self.name}.{self.kind}"

    @property
    def columns(self) -> list[str]:
        return ["id", "text", "more"] if self.kind == "csv" else []

    def content(self) -> bytes:
        if self.kind == "jsonl":
            lines = [json.dumps(row.content, ensure_ascii=False) for row in self.rows]
            return ("\n".join(lines) + "\n").encode()
        text = io.StringIO(newline="")
        csv.writer(text).writerows([self.columns, *(row.content for row in self.rows)])
        return text.getvalue().encode()


@dataclass
class Life:
    """How one life of a worker ends."""

    end: Literal["kill", "point", "deploy", "rest"]
    seconds: float = 0.0  # from its start; with a point: if it does not come to it before
    point: str = ""
    passes: int = 1


@dataclass
class WebDeath:
    """`master`: its workers are left behind, and notice by themselves."""

    at: float  # seconds after the beginning
    end: Literal["kill", "master", "deploy"]


@dataclass
class Plan:
    """Everything about a run."""

    name: str  # of its folder, and in the report
    repeat: str  # the line that runs it again
    seed: int
    jobs: list[JobPlan]
    orders: list[tuple[float, dict[str, Any]]] = field(default_factory=list)  # at, what
    workers: list[list[Life]] = field(default_factory=lambda: [[]])
    web_deaths: list[WebDeath] = field(default_factory=list)
    chaos_seconds: float = 40.0  # after that nothing is killed and no fault is left
    provider_deaths: list[float] = field(default_factory=list)  # seconds after the beginning
    # When the clock of the site leaps, and how far in seconds (SQLite only).
    clock_leaps: list[tuple[float, float]] = field(default_factory=list)
    # When the disk is full, and for how long: it is a small one then, if one can be mounted.
    disk_full: tuple[float, float] | None = None
    # When the site is backed up, and when all of it is killed and that backup restored.
    restore: tuple[float, float] | None = None
    simulator: dict[str, str] = field(default_factory=dict)  # its options
    environment: dict[str, str] = field(default_factory=dict)  # settings of the site
    # Whether all workers but the first, and a second web server, are on another machine; when its
    # cable is pulled out, and for how long.
    second_host: bool = False
    cable_out: list[tuple[float, float]] = field(default_factory=list)
    mutant: str = ""  # and the invariants that it breaks, by the beginnings of their names
    expected: tuple[str, ...] = ()
    # A script that changes faults when something has happened, instead of at a time.
    director: Callable[[Provider], Iterator[None]] | None = None

    @property
    def key(self) -> str:
        return f"sk-ant-canary-key-{self.seed}"

    @property
    def prompt_canary(self) -> str:
        return prompt_canary(self.seed)

    @property
    def cell_canary(self) -> str:
        return cell_canary(self.seed)


def prompt_canary(seed: int) -> str:
    return f"canary-prompt-{seed}"


def cell_canary(seed: int) -> str:
    return f"canary-cell-{seed}"


def drawn(seed: int, *, postgres: bool, hosts: int = 1) -> Plan:
    """The plan of a seed. On PostgreSQL there are always two workers, on two `hosts` three."""
    chance = random.Random(seed)
    count = chance.choice([2, 2, 3])
    two_workers = postgres or chance.random() < 0.3
    plan = Plan(
        name=f"seed-{seed}",
        repeat=f"make torture RUNS=1 SEED={seed}" + (" DATABASE=postgresql" if postgres else ""),
        seed=seed,
        jobs=[_job(chance, seed, number) for number in range(1, count + 1)],
        orders=_orders(chance),
        workers=[_lives(chance, seed, worker) for worker in range(1 + two_workers)],
        web_deaths=_web_deaths(chance),
        simulator={
            "seconds": f"{chance.choice([0.0, 0.3, 1.0, 2.0])}",
            "failures": chance.choice(["life", "none"]),
        },
        environment={
            "SUBMIT_DEADLINE_SECONDS": f"{chance.choice([1.0, 1.5, 2.0])}",
            "RECONCILE_GRACE_SECONDS": "2",
            "POLL_SECONDS": "0.1",
            "BATCH_MAX_REQUESTS": f"{chance.choice([12, 20, 33])}",
        },
    )
    for lives in plan.workers:
        _lead_to(lives[0].point, plan, chance)
    _add_troubles(plan, chance, postgres=postgres)
    # From dice of their own: what is drawn above stays what it is without pilots.
    _add_pilots(plan, random.Random(f"pilots of {seed}"))
    if hosts > 1:
        _add_host(plan, random.Random(f"hosts of {seed}"))
    return plan


def _add_pilots(plan: Plan, chance: random.Random) -> None:
    """Some jobs send some rows first, and some workers die on the way of these."""
    for job in plan.jobs:
        if chance.random() < 0.5:
            job.pilot = PilotPlan(
                rows=chance.randint(3, 20),
                rule=chance.choice([0, 0, 50, 97]),
                by=chance.choice(["", "text"]) if job.kind == "csv" else "",
                by_command=chance.random() < 0.6,
                command_deaths=[chance.uniform(0.2, 4) for _ in range(chance.randint(0, 3))],
            )
    if any(job.pilot for job in plan.jobs):
        for lives in plan.workers:
            point = chance.choice(list(PILOT_POINTS))
            lives.insert(1, Life("point", chance.uniform(4, 12), point, PILOT_POINTS[point]))


def _add_troubles(plan: Plan, chance: random.Random, *, postgres: bool) -> None:
    """What happens to the whole site, and what the person does after the end."""
    for _ in range(chance.choice([0, 0, 1, 2])):
        plan.provider_deaths.append(chance.uniform(0.5, 10))
    if not postgres and chance.random() < 0.25:
        for _ in range(chance.randint(1, 2)):
            leap = chance.choice([7200, -2700, 86_400, -60])
            plan.clock_leaps.append((chance.uniform(0, 8), leap))
    if chance.random() < 0.15:
        plan.environment["RECONCILE_RESUBMIT"] = "ask"
    one_of = chance.random()
    if one_of < 0.15:
        begin = chance.uniform(1, 4)
        plan.restore = (begin, begin + chance.uniform(0.5, 6))
        for job in plan.jobs:
            job.start, job.stop_after = 0.0, None  # what is decided after a backup is not in it
    elif one_of < 0.3:
        plan.environment["DISK_RESERVE_BYTES"] = "50000000"  # the disk is small
        plan.disk_full = (chance.uniform(0.5, 6), chance.uniform(0.5, 3))
    for job in plan.jobs:
        if job.stop_after is None and plan.restore is None:
            job.sends_again = chance.random() < 0.4
            job.corrects = job.kind == "csv" and chance.random() < 0.3
        job.deletes = chance.random() < 0.4


def _add_host(plan: Plan, chance: random.Random) -> None:
    plan.second_host = True
    plan.repeat += " HOSTS=2"
    plan.workers.append(_lives(chance, plan.seed, 2))
    begin = 0.0
    for _ in range(chance.choice([0, 1, 1, 2])):
        begin += chance.uniform(0.5, 8)
        plan.cable_out.append((begin, chance.choice([0.5, 2, 6, 12])))
        begin += plan.cable_out[-1][1]


def _lead_to(point: str, plan: Plan, chance: random.Random) -> None:
    """Some points are reached only when something goes wrong, or when a job is stopped."""
    faults = plan.orders[0][1]["create"]
    if point == "looking: found, not adopted":
        faults.insert(0, {"kind": chance.choice(_ARRIVES)})
    elif point.startswith("looking"):
        faults.insert(0, {"kind": chance.choice(_LOST)})
    elif point.startswith("stopping"):
        plan.jobs[0].stop_after = chance.uniform(0.3, 1.5)
        plan.simulator["seconds"] = "3"


# --- Jobs -----------------------------------------------------------------------------------------


def _job(chance: random.Random, seed: int, number: int) -> JobPlan:
    rows = chance.randint(30, 90)
    kind: Literal["csv", "jsonl"] = "jsonl" if chance.random() < 0.3 else "csv"
    make = _requests if kind == "jsonl" else _table
    return JobPlan(
        name=f"upload-{seed}-{number}",
        kind=kind,
        rows=make(chance, seed, number, rows),
        recipe={} if kind == "jsonl" else _recipe(chance, seed),
        start=chance.uniform(0, 2.0),
        stop_after=chance.uniform(0, 5) if chance.random() < 0.15 else None,
    )


def tag(job: int, row: int) -> str:
    return f"j{job}r{row:04d}"


def _recipe(chance: random.Random, seed: int) -> dict[str, str]:
    # The tag comes first, then a canary, then text of the person's.
    prompt = "{{id}} " + prompt_canary(seed) + " What is to be said of this?\n\n{{text}} {{more}}"
    return {
        "prompt": prompt,
        "system": chance.choice(["", "Be brief, {{id}}."]),
        "model": chance.choice(MODELS),
        "max_tokens": "300",
    }


def _cell(chance: random.Random, seed: int) -> str:
    return chance.choice(CELLS).replace("{text}", cell_canary(seed))


def _table(chance: random.Random, seed: int, job: int, rows: int) -> list[PlannedRow]:
    table = []
    for number in range(1, rows + 1):
        cells = [tag(job, number), _cell(chance, seed), _cell(chance, seed)]
        if chance.random() < 0.03:
            cells[2] += chance.choice(MARKERS)
        left_out = chance.random() < 0.01
        table.append(PlannedRow(cells[0], cells[:2] if left_out else cells, left_out))
    return table


def _requests(chance: random.Random, seed: int, job: int, rows: int) -> list[PlannedRow]:
    requests = []
    # Long enough to be cached, which has prices of its own.
    cached = [{"type": "text", "text": "Rules. " * 1500, "cache_control": {"type": "ephemeral"}}]
    use_cache = chance.random() < 0.3
    for number in range(1, rows + 1):
        text = f"{tag(job, number)} {prompt_canary(seed)} {_cell(chance, seed)}"
        if chance.random() < 0.03:
            text += chance.choice(MARKERS)
        params: dict[str, Any] = {
            "model": MODELS[0],
            "max_tokens": chance.choice([200, 300]),
            "messages": [{"role": "user", "content": text}],
        }
        if use_cache:
            params["system"] = cached
        left_out = number > 1 and chance.random() < 0.01
        if left_out:
            params["stream"] = True
        request = {"custom_id": f"my-own-id-{number}", "params": params}
        requests.append(PlannedRow(tag(job, number), request, left_out))
    return requests


# --- Faults ---------------------------------------------------------------------------------------

_ARRIVES = (
    "drop_after_accept", "reset_after_accept", "accept_408", "accept_500", "accept_502",
    "accept_504", "accept_529", "accept_cut", "accept_bad_json", "accept_empty", "accept_no_id",
    "accept_wrong_total", "accept_slow", "accept_307", "accept_stall",
)  # fmt: skip
_LOST = (
    "drop_before", "drop_mid_body", "stall", "reject_408", "reject_409", "reject_500",
    "reject_503", "reject_529",
)  # fmt: skip
_REFUSED = (
    "reject_400", "reject_400_spend", "reject_401", "reject_402", "reject_403", "reject_404",
    "reject_413", "reject_422",
)  # fmt: skip
_RESULTS = (
    "foreign_nonce",
    "cut_at_line", "cut_mid_line", "cut_gzip", "clean_early_end", "stall", "duplicate_line",
    "contradicting_line", "missing_line", "long_line", "unknown_id", "unknown_type", "redirect",
    "status_404", "status_429", "status_500", "crlf", "blank_tail", "no_message", "drip",
)  # fmt: skip
_CANCEL = ("drop", "status", "drop_after", "stall", "empty_object")
_LOOKS = ("status", "status", "drop", "cut", "stall", "empty_object", "null", "html", "drip")
# An origin that nobody may talk to: results come from the API's own.
_ELSEWHERE = "http://127.0.0.1:9"


def _orders(chance: random.Random) -> list[tuple[float, dict[str, Any]]]:
    order: dict[str, Any] = {"create": [], "results": []}
    for _ in range(chance.randint(1, 6)):
        kinds = chance.choices([_ARRIVES, _LOST, _REFUSED, ("reject_429",)], [5, 2, 1, 1])[0]
        order["create"].append(_fault(chance, kinds))
    for _ in range(chance.randint(0, 4)):
        order["results"].append(_fault(chance, _RESULTS))
    for place in ("list", "retrieve", "count_tokens", "cancel"):
        if chance.random() < 0.4:
            kinds = {"cancel": _CANCEL, "list": (*_LOOKS, "null_data", "no_cursor")}.get(
                place, _LOOKS
            )
            order[place] = [_fault(chance, kinds) for _ in range(chance.randint(1, 3))]
    order.update(_knobs(chance))
    orders = [(0.0, order)]
    if chance.random() < 0.15:
        begin = chance.uniform(0, 6)
        orders += [(begin, {"stuck": True}), (begin + chance.uniform(1, 5), {"stuck": False})]
    return orders


def _fault(chance: random.Random, kinds: tuple[str, ...]) -> dict[str, Any]:
    fault: dict[str, Any] = {"kind": chance.choice(kinds), "after": chance.choice([0, 0, 1, 2, 4])}
    match fault["kind"]:
        case "reject_429" | "status_429":
            fault |= {"retry_after": chance.choice([0, 1, 2]), "times": chance.randint(1, 2)}
        case "status":
            fault |= {"status": chance.choice([404, 408, 429, 500, 502, 503, 529])}
            fault |= {"retry_after": 1} if fault["status"] == 429 else {}
        case "accept_slow" | "drip":
            fault |= {"seconds": 4.0}
        case "long_line":
            fault |= {"bytes": 1_000_000}
        case "redirect":
            fault |= {"other_host": _ELSEWHERE}
        case "missing_line" | "contradicting_line":
            fault |= {"times": chance.choice([1, 1, 1, 5])}
        case "foreign_nonce":
            fault |= {"times": chance.choice([1, 1, 2, 3])}  # five in a row would be believed
    return fault


def _knobs(chance: random.Random) -> dict[str, Any]:
    knobs: dict[str, Any] = {}
    if chance.random() < 0.5:
        # Shorter than the grace time: one that is listed later than that may be paid twice.
        knobs["list_hide_seconds"] = chance.uniform(0.2, 1.5)
    if chance.random() < 0.25:
        knobs["foreign_batches"] = chance.randint(1, 2)
    if chance.random() < 0.3:
        knobs["page_limit"] = chance.randint(1, 3)
    if chance.random() < 0.2:
        knobs |= {"queue_limit": chance.randint(35, 80), "queue_retry_after": 1}
    if chance.random() < 0.3:
        knobs["retrieve_404_seconds"] = chance.uniform(0.2, 3)
    if chance.random() < 0.3:
        knobs["canceling_seconds"] = chance.uniform(0.2, 2)
    if chance.random() < 0.2:
        knobs["clock_ahead_seconds"] = chance.choice([-7200, -60, 60, 7200])
    if chance.random() < 0.2:
        knobs["expire_share"] = chance.uniform(0.05, 0.4)
    if chance.random() < 0.2:
        knobs["results_host"] = _ELSEWHERE
    if chance.random() < 0.2:
        knobs["wrong_counts_seconds"] = chance.uniform(0.5, 4)
    return knobs


# --- Deaths ---------------------------------------------------------------------------------------


def _lives(chance: random.Random, seed: int, worker: int) -> list[Life]:
    """Every point gets its turn: over as many seeds as there are points, each comes first once."""
    points = list(POINTS)
    first = points[(seed + worker * len(points) // 2) % len(points)]
    lives = [Life("point", chance.uniform(6, 12), first, min(POINTS[first], 20))]
    for _ in range(chance.randint(1, 5)):
        match chance.choices(["kill", "point", "deploy"], [5, 4, 2])[0]:
            case "point":
                point = chance.choice(points)
                passes = chance.randint(1, min(POINTS[point], 20))
                lives.append(Life("point", chance.uniform(4, 8), point, passes))
            case "deploy":
                lives.append(Life("deploy", chance.uniform(0.5, 4)))
            case _:
                lives.append(Life("kill", chance.uniform(0.3, 4)))
    return lives


def _web_deaths(chance: random.Random) -> list[WebDeath]:
    count = chance.choice([0, 0, 1, 2])
    ends: list[Literal["kill", "master", "deploy"]] = ["kill", "master", "deploy"]
    return [WebDeath(chance.uniform(0, 12), chance.choice(ends)) for _ in range(count)]
