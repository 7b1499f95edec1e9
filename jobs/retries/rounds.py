"""Rows of a finished job that are sent again, as a new round of the same job. What they came to
before is kept as attempts, and they go out by the same path as the first time."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace

import msgspec
from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Count, Max, Sum

from ..batches.leases import Lease
from ..drafts import checks, estimates
from ..drafts.estimates import Measured, PartEstimate
from ..drafts.reading import limits as reading_limits
from ..ingest.protocol import UploadSummary
from ..ingest.request_reader import RequestReader
from ..models import (
    NOT_GOOD,
    Edit,
    Job,
    Outcome,
    Round,
    Row,
    RowChange,
    RowQuerySet,
    clock,
    recipe_of_round,
)
from ..rules.judging import IGNORED, MARKED_DOWN, PASSING_CAUSES, describe_cause
from ..rules.recipes import Recipe

# Which rows, besides the name of a cause.
FOR_NOW = "passing"  # all that got no answer for a reason that passes
EDITED = "edited"  # all that were changed, see Edit
# Causes of rows whose answer needed more than the longest that was allowed.
TOO_SHORT = ("cut_off", "empty")
SLICE = 1_000  # edits that are read at a time
MEASURED_AT_ONCE = 2_000  # edits; more are measured by the worker
STILL_CHECKING = "Your changes are still being checked. Look again in a moment."
BUSY = "Rows of this job are being changed just now. Nothing was sent. Try again in a moment."
_request_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True)
class Again:
    """What is to be sent again: which rows, and what of the recipe is different."""

    which: str  # FOR_NOW, EDITED or a cause
    max_tokens: int | None = None  # the longest answer, 0: what suits; None: as it was
    model: str = ""  # "": as it was
    prompt: str | None = None  # None: as it was
    system: str | None = None

    def recipe(self, job: Job, last: int | None = None) -> Recipe:
        """What the rows of a table are to be asked: what they were asked last, and the changes.
        `last`: the round of that, when it is known."""
        before = recipe_of_round(job, _last_of(job, self.which) if last is None else last)
        return replace(
            before,
            max_tokens=before.max_tokens if self.max_tokens is None else self.max_tokens,
            model=self.model or before.model,
            prompt=before.prompt if self.prompt is None else self.prompt,
            system=before.system if self.system is None else self.system,
        )


@dataclass(frozen=True)
class Plan:
    """What a person is shown before rows are sent again, and confirms."""

    again: Again
    recipe: Recipe
    bytes: int  # of the rows, as Row.size
    price: PartEstimate
    key: str  # a hash of all this
    earlier: list[int]  # the rounds that its rows were last in; empty: whichever
    contents: dict[str, dict[str, int]]  # as Measured.models

    @property
    def rows(self) -> int:
        return self.price.rows


def rows_of(job: Job, which: str) -> RowQuerySet:
    """The rows that one round sends again: of `all_rows_of`, those that were asked last what most
    of them were."""
    earlier = _asked_alike(job, by_round(job, which)) if job.last_round > 1 else []
    return of_rounds(all_rows_of(job, which), earlier)


def of_rounds(rows: RowQuerySet, numbers: Collection[int]) -> RowQuerySet:
    """Those of `rows` that were last in one of these rounds; all of them when there is none."""
    return rows.filter(round__in=numbers) if numbers else rows


def all_rows_of(job: Job, which: str, between: tuple[int, int] | None = None) -> RowQuerySet:
    """The rows that are to be sent again; `between`: only those with a number above the first and
    up to the second. Those that are the same as one of them are not among them, nor those that wait
    to be sent as they were changed."""
    rows, edits = Row.objects.filter(job=job), Edit.objects.filter(job=job)
    if between:
        # Of the edits too: SQLite reads all that are asked for, for each slice of the rows.
        here = {"number__gt": between[0], "number__lte": between[1]}
        rows, edits = rows.filter(**here), edits.filter(**here)
    edited = edits.values("number")
    if which == EDITED:
        rows = rows.filter(number__in=edited, outcome__in=[*NOT_GOOD, Outcome.LEFT_OUT])
    else:
        rows = _with_cause(rows, which).exclude(number__in=edited)
    if which != EDITED and job.kind == Job.Kind.REQUESTS:
        # Requests of a batch made elsewhere that this site would not send, see reading.py.
        rows = rows.exclude(size=0)
    return rows


def _with_cause(rows: RowQuerySet, which: str) -> RowQuerySet:
    if which == FOR_NOW:
        return rows.failed().filter(cause__in=PASSING_CAUSES)
    if which == IGNORED:
        set_aside = rows.filter(outcome=Outcome.LEFT_OUT, cause=IGNORED)
        return set_aside.filter(same_as=None, earlier=None)
    return rows.failed().filter(cause=which)


def changed_of(job: Job, which: str) -> int:
    """How many rows would be sent again, but wait to be sent as they were changed."""
    if which == EDITED:
        return 0
    edited = Edit.objects.filter(job=job).values("number")
    return _with_cause(Row.objects.filter(job=job), which).filter(number__in=edited).count()


ByRound = dict[int, Measured]


def by_round(job: Job, which: str) -> ByRound:
    """What is in the rows of `all_rows_of`, by the round that they were last in. From what was
    counted and measured, where that is as new as the rows; else all rows are looked at."""
    if which == EDITED and job.edits_measured.get("of") == _edits_of(job):
        stored = job.edits_measured["rounds"].items()
        return {int(number): Measured(*found) for number, found in stored}
    counted = None if which == EDITED else _in_tally(job, which)
    if counted is not None and not job.edits.all()[MEASURED_AT_ONCE:].exists():
        edited = list(job.edits.values_list("number", flat=True))
        return _without(counted, Row.objects.filter(job=job, number__in=edited), which)
    return _grouped(all_rows_of(job, which))


def _in_tally(job: Job, which: str) -> ByRound | None:
    """Rows with a cause, those that were edited among them; None when they were not counted so."""
    groups = job.tally.get("groups") or [{}]
    is_current = job.tally_version == job.rows_version and job.state == Job.State.FINISHED
    if not is_current or not all("rounds" in group for group in groups):
        return None
    if job.is_external and job.kind == Job.Kind.REQUESTS:
        return None  # some of them would not be sent
    outcomes = [Outcome.LEFT_OUT] if which == IGNORED else list(NOT_GOOD)
    causes = PASSING_CAUSES if which == FOR_NOW else (which,)
    found: ByRound = {}
    for group in groups:
        if group["outcome"] in outcomes and group["cause"] in causes:
            for number, counted in group["rounds"].items():
                found[int(number)] = _both(found.get(int(number)), Measured(*counted))
    return found


def _both(one: Measured | None, other: Measured) -> Measured:
    if one is None:
        return other
    largest = max(one.largest, other.largest)
    return Measured(one.rows + other.rows, one.bytes + other.bytes, largest)


def _without(counted: ByRound, edited: RowQuerySet, which: str) -> ByRound:
    """The largest may be one of those that are edited: then the others are taken for as large."""
    for number, less in _grouped(_with_cause(edited, which)).items():
        one = counted.get(number, Measured(0, 0, 0))
        left = Measured(one.rows - less.rows, one.bytes - less.bytes, one.largest)
        counted[number] = left
    return {number: one for number, one in counted.items() if one.rows > 0}


def _grouped(rows: RowQuerySet) -> ByRound:
    groups = rows.values("round").annotate(
        count=Count("pk"),
        largest=Max("size"),
        all_bytes=Sum("size"),  # not "size", which is the name of the column
    )
    return {
        one["round"]: Measured(one["count"], int(one["all_bytes"]), one["largest"])
        for one in groups.order_by("round")
    }


def _asked_alike(job: Job, found: ByRound) -> list[int]:
    """The rounds in which rows were asked last what most of these were. Empty: all were asked the
    same."""
    if len(found) < 2:
        return []
    asked: dict[Recipe, list[int]] = {}
    count: Counter[Recipe] = Counter()
    for number in sorted(found):
        recipe = recipe_of_round(job, number)
        asked.setdefault(recipe, []).append(number)
        count[recipe] += found[number].rows
    return asked[count.most_common(1)[0][0]] if len(asked) > 1 else []


def _last_of(job: Job, which: str) -> int:
    """The last round of the rows of `rows_of`."""
    if job.last_round == 1:
        return 1
    found = by_round(job, which)
    return max(_asked_alike(job, found) or found, default=1)


def count_with_cause(job: Job, cause: str) -> int | None:
    """How many rows with a cause would be sent again, those that were edited among them; None when
    they were not counted."""
    found = _in_tally(job, cause)
    return None if found is None else sum(one.rows for one in found.values())


def count_edited(job: Job) -> int | None:
    """How many rows wait to be sent as they were edited; None when they were not measured."""
    if job.edits_measured.get("of") != _edits_of(job):
        return None
    return sum(one.rows for one in by_round(job, EDITED).values())


class CannotBeSent(Exception):
    """Rows cannot be sent again as somebody wants it; the message says why."""


def plan(job: Job, again: Again) -> Plan | None:
    """As `make_plan`; None when rows cannot be sent so."""
    with suppress(CannotBeSent):
        return make_plan(job, again)
    return None


def make_plan(job: Job, again: Again) -> Plan:
    """What `again` comes to, and costs. Raises CannotBeSent."""
    if job.state != Job.State.FINISHED:
        raise CannotBeSent("Rows can be sent again when the job has finished.")
    if job.practice != settings.PRACTICE:
        was, now = ("practice", "not") if job.practice else ("not practice", "practice")
        raise CannotBeSent(f"This job was {was}, and this site is {now} now: send it as a new job.")
    if not knows_rows(job):
        raise CannotBeSent("The batch came without its file, so its rows are not known here.")
    if RowChange.objects.filter(job=job).exists():
        raise CannotBeSent(BUSY)
    found_by_round = by_round(job, again.which)
    if not found_by_round:
        raise CannotBeSent("There are no such rows to be sent again.")
    earlier = _asked_alike(job, found_by_round)
    last = max(earlier or found_by_round)
    recipe = again.recipe(job, last)
    _check(job, again, recipe)
    chosen = [found_by_round[number] for number in earlier or found_by_round]
    found = _measured(job, again, chosen, earlier)
    at_least = _longest_before(job, last, recipe) if again.which in TOO_SHORT else 0
    price = estimates.estimate_again(job, found, recipe, at_least)
    if price is None:
        raise CannotBeSent("The price of sending them again is not known.")
    shown = [job.pk, job.last_round, asdict(again), msgspec.to_builtins(recipe), asdict(found)]
    # Of two rows that are as large, one can be marked, or changed, instead of the other.
    shown.append(job.edits_version if again.which == EDITED else 0)
    shown.append(job.rows_changed if again.which == MARKED_DOWN else 0)
    shown += map(str, asdict(price).values())
    key = hashlib.sha256(json.dumps(shown).encode()).hexdigest()[:32]
    return Plan(again, recipe, found.bytes, price, key, earlier, found.models)


def versions(job: Job) -> tuple[object, ...]:
    """Equal versions of a job mean that a plan made of the one holds for the other."""
    return (
        job.state,
        job.practice,
        job.rows_version,
        job.rows_changed,
        job.edits_version,
    )


def _check(job: Job, again: Again, recipe: Recipe) -> None:
    """Raises CannotBeSent when they cannot be asked so."""
    if job.kind == Job.Kind.REQUESTS:
        if again != Again(again.which):
            raise CannotBeSent("Ready-made requests say themselves what is asked, and of whom.")
    elif is_unknown(job, recipe):
        raise CannotBeSent("What these rows were asked is not known here. Write what to ask.")
    elif problems := checks.recipe_problems(recipe, job.columns):
        raise CannotBeSent(" ".join(problems))


def _measured(
    job: Job, again: Again, chosen: Sequence[Measured], earlier: Collection[int]
) -> Measured:
    """What is in the rows that were `chosen`, those of `earlier` rounds. Raises CannotBeSent."""
    if again.which == EDITED:
        return _measured_edits(job, earlier)
    found = Measured(0, 0, 0)
    for one in chosen:
        found = _both(found, one)
    requests = _Requests()
    # Else they are as the file was read, by a version that knew all that the price needs, or it
    # was noted what was changed in them.
    is_known = not estimates.lacks_bounds(job.reading.get("models") or {})
    is_known = is_known and not job.rounds.filter(which="").exists()
    if job.kind == Job.Kind.REQUESTS and not is_known:
        rows = of_rounds(all_rows_of(job, again.which), earlier)
        for number, source in rows.values_list("number", "source").iterator():
            requests.add(number, source)
    return replace(found, models=requests.models)


def _measured_edits(job: Job, earlier: Collection[int]) -> Measured:
    """What was measured of them; few are measured at once."""
    known = job.edits_measured
    if known.get("of") == _edits_of(job):
        if known["trouble"]:
            raise CannotBeSent(known["trouble"])
        return Measured(**known["measured"])
    if job.edits.all()[MEASURED_AT_ONCE:].exists():
        raise CannotBeSent(STILL_CHECKING)
    return _measure(job, earlier)


def _edits_of(job: Job) -> list[int]:
    """Equal ones mean the same edits of rows that have become nothing else."""
    return [job.edits_version, job.last_round]


def measure_edits(job: Job, lease: Lease | None = None) -> None:
    """Measure the edits of a finished job, if they are too many for a page to do that. Raises
    LeaseLost."""
    of = _edits_of(job)
    if job.edits_measured.get("of") == of or not job.edits.all()[MEASURED_AT_ONCE:].exists():
        return
    rounds = by_round(job, EDITED)
    trouble, measured = "", Measured(0, 0, 0)
    try:
        measured = _measure(job, _asked_alike(job, rounds), lease)
    except CannotBeSent as why:
        trouble = str(why)
    found = {
        "of": of,
        "trouble": trouble,
        "measured": asdict(measured),
        "rounds": {number: [one.rows, one.bytes, one.largest] for number, one in rounds.items()},
    }
    job.edits_measured = found
    Job.objects.filter(pk=job.pk, edits_version=of[0]).update(edits_measured=found)


def _measure(job: Job, earlier: Collection[int], lease: Lease | None = None) -> Measured:
    """What is in the changed rows that were last in one of these rounds. Raises CannotBeSent."""
    count = largest = total = after = 0
    requests = _Requests()
    edits = Edit.objects.filter(job=job).order_by("number").values_list("number", "source")
    while some := list(edits.filter(number__gt=after)[:SLICE]):
        between = after, some[-1][0]
        # Only of rows that can be sent: another may have got its answer since it was changed.
        rows = of_rounds(all_rows_of(job, EDITED, between), earlier)
        to_send = set(rows.values_list("number", flat=True))
        after = between[1]
        for number, source in some:
            if number not in to_send:
                continue
            size = size_of(job, source)
            count, total, largest = count + 1, total + size, max(largest, size)
            if job.kind == Job.Kind.REQUESTS:
                requests.add(number, source)
        if lease:
            lease.renew()
    return Measured(count, total, largest, requests.models)


class _Requests:
    """Ready-made requests that are to be sent again, checked as when a file is read."""

    def __init__(self) -> None:
        self._checks = RequestReader((), reading_limits())
        self._summary = UploadSummary("JSONL", Job.Kind.REQUESTS)

    def add(self, number: int, source: str) -> None:
        """Raises CannotBeSent."""
        line = self._checks.line(number, source, json.loads(source))
        if line.problem:
            raise CannotBeSent(f"Row {number:,} cannot be sent as it is now: {line.problem.text}")
        self._summary.add(line)

    @property
    def models(self) -> dict[str, dict[str, int]]:
        """What is in them, as in Job.reading["models"]."""
        return self._summary.models


def knows_rows(job: Job) -> bool:
    """Of a batch that was made elsewhere the rows are known if its file was attached."""
    return not job.is_external or job.upload_bytes > 0


def can_be_asked(job: Job) -> bool:
    """Whether rows of this job can be asked something else than they were."""
    if job.state != Job.State.FINISHED or job.practice != settings.PRACTICE:
        return False
    return job.kind == Job.Kind.TABLE and knows_rows(job)


def is_unknown(job: Job, recipe: Recipe) -> bool:
    """Whether `recipe` is what a table was asked that came with a batch made elsewhere: nobody here
    knows it. The rows can be sent again once somebody has written what to ask."""
    return job.is_external and job.kind == Job.Kind.TABLE and not recipe.prompt


def size_of(job: Job, source: str) -> int:
    """Bytes of a row, as Row.size."""
    if job.kind == Job.Kind.TABLE:
        return sum(len(cell.encode()) for cell in json.loads(source))
    return len(_request_decoder.decode(source)["params"])


def in_words(job: Job, planned: Plan) -> str:
    """Which rows, and what is different, for the log of the job."""
    again = planned.again
    if again.which == EDITED:
        which = "As they were changed"
    elif again.which == FOR_NOW:
        which = "They got no answer for a reason that passes"
    else:
        which = describe_cause(again.which).title
    changes = []
    if again.max_tokens:
        changes.append(f"answers of up to {again.max_tokens:,} tokens")
    elif again.max_tokens == 0:
        changes.append("answers as long as suits")
    if again.model:
        changes.append(f"model {again.model}")
    if again.prompt is not None or again.system is not None:
        changes.append("asked otherwise")
    return f"{which}{': ' if changes else ''}{', '.join(changes)}."[:200]


def _longest_before(job: Job, last: int, recipe: Recipe) -> int:
    """Tokens that the answers to these rows were allowed, which were not enough."""
    before = recipe_of_round(job, last)
    return before.longest if before.longest < recipe.longest else 0


def start(job: Job, planned: Plan, what: str, user: User) -> None:
    """Make the round, inside a transaction. The worker takes its rows, see preparation.py."""
    again = planned.again
    Round.objects.create(
        job=job,
        number=job.last_round + 1,
        recipe=planned.recipe if job.kind == Job.Kind.TABLE else None,
        what=what,
        rows=planned.rows,
        bytes=planned.bytes,
        estimate={name: str(getattr(planned.price, name)) for name in ("low", "high", "most")},
        asked_by=user,
        asked_at=clock.now(),
        step=Round.Step.TAKING,
        which=again.which,
        earlier=planned.earlier,
        asks_otherwise=again.prompt is not None or again.system is not None,
        contents=planned.contents,
    )
