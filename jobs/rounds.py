"""Rows of a finished job that are sent again, as a new round of the same job. What they came to
before is kept as attempts, and they go out by the same path as the first time."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace

import msgspec
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Count, F, Max, OuterRef, Subquery, Sum
from django.db.models.functions import Coalesce

from . import checking, clock, estimates
from .estimates import Measured, PartEstimate
from .ingest.answers import Summary
from .ingest.requests import Requests
from .judging import MARKED_DOWN, PASSING, SET_ASIDE, cause_in_words
from .models import (
    NOT_GOOD,
    Attempt,
    Edit,
    Job,
    Outcome,
    Round,
    Row,
    RowQuerySet,
    note_change,
    recipe_of_round,
)
from .reading import limits as reading_limits
from .recipes import Recipe

# Which rows, besides the name of a cause.
FOR_NOW = "passing"  # all that got no answer for a reason that passes
EDITED = "edited"  # all that were changed, see Edit
# Causes of rows whose answer needed more than the longest that was allowed.
TOO_SHORT = ("cut_off", "empty")
SLICE = 500  # rows that are changed at a time
_request_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
# What a row holds before a result came for it.
NO_RESULT = {
    "batch": None,
    "outcome": Outcome.WAITING,
    "cause": "",
    "answer": "",
    "message": "",
    "problem": "",
    "request_id": "",
    "answered_by": "",
    "stop_reason": "",
    "input_tokens": 0,
    "cache_write_tokens": 0,
    "cache_read_tokens": 0,
    "output_tokens": 0,
    "thinking_tokens": 0,
    "cost_pico": 0,
}


@dataclass(frozen=True)
class Again:
    """What is to be sent again: which rows, and what of the recipe is different."""

    which: str  # FOR_NOW, EDITED or a cause
    max_tokens: int | None = None  # the longest answer, 0: what suits; None: as it was
    model: str = ""  # "": as it was
    prompt: str | None = None  # None: as it was
    system: str | None = None

    def recipe(self, job: Job, rows: RowQuerySet) -> Recipe:
        """What the rows of a table are to be asked: what they were asked last, and the changes."""
        # With one round there is nothing to look for in rows that may be many.
        again = job.last_round > 1
        last = rows.aggregate(last=Max("round"))["last"] if again else None
        before = recipe_of_round(job, last or 1)
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

    @property
    def rows(self) -> int:
        return self.price.rows


def rows_of(job: Job, which: str) -> RowQuerySet:
    """The rows that one round sends again: of `all_rows_of`, those that were asked last what most
    of them were."""
    rows = all_rows_of(job, which)
    return _asked_alike(job, rows) if job.last_round > 1 else rows


def all_rows_of(job: Job, which: str) -> RowQuerySet:
    """The rows that are to be sent again. Those that are the same as one of them are not among
    them, nor those that wait to be sent as they were changed."""
    rows = Row.objects.filter(job=job)
    edited = Edit.objects.filter(job=job).values("number")
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
        return rows.failed().filter(cause__in=PASSING)
    if which == SET_ASIDE:
        set_aside = rows.filter(outcome=Outcome.LEFT_OUT, cause=SET_ASIDE)
        return set_aside.filter(same_as=None, earlier=None)
    return rows.failed().filter(cause=which)


def changed_of(job: Job, which: str) -> int:
    """How many rows would be sent again, but wait to be sent as they were changed."""
    if which == EDITED:
        return 0
    edited = Edit.objects.filter(job=job).values("number")
    return _with_cause(Row.objects.filter(job=job), which).filter(number__in=edited).count()


def _asked_alike(job: Job, rows: RowQuerySet) -> RowQuerySet:
    asked: dict[Recipe, list[int]] = {}
    count: Counter[Recipe] = Counter()
    for number, found in rows.values_list("round").annotate(rows=Count("pk")).order_by("round"):
        recipe = recipe_of_round(job, number)
        asked.setdefault(recipe, []).append(number)
        count[recipe] += found
    if len(asked) < 2:
        return rows
    return rows.filter(round__in=asked[count.most_common(1)[0][0]])


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
    rows = rows_of(job, again.which)
    if not rows.exists():
        raise CannotBeSent("There are no such rows to be sent again.")
    recipe = again.recipe(job, rows)
    _check(job, again, recipe)
    found, contents = _measured(job, again, rows)
    at_least = _longest_before(job, rows, recipe) if again.which in TOO_SHORT else 0
    price = estimates.estimate_again(job, found, recipe, at_least)
    if price is None:
        raise CannotBeSent("The price of sending them again is not known.")
    shown = [job.pk, job.last_round, asdict(again), msgspec.to_builtins(recipe), asdict(found)]
    # Of two rows that are as large, one can be marked instead of the other.
    shown += [contents, job.rows_changed if again.which == MARKED_DOWN else 0]
    shown += map(str, asdict(price).values())
    key = hashlib.sha256(json.dumps(shown).encode()).hexdigest()[:32]
    return Plan(again, recipe, found.bytes, price, key)


def _check(job: Job, again: Again, recipe: Recipe) -> None:
    """Raises CannotBeSent when they cannot be asked so."""
    if job.kind == Job.Kind.REQUESTS:
        if again != Again(again.which):
            raise CannotBeSent("Ready-made requests say themselves what is asked, and of whom.")
    elif is_unknown(job, recipe):
        raise CannotBeSent("What these rows were asked is not known here. Write what to ask.")
    elif problems := checking.recipe_problems(recipe, job.columns):
        raise CannotBeSent(" ".join(problems))


def _measured(job: Job, again: Again, rows: RowQuerySet) -> tuple[Measured, str]:
    """What is in these rows, and a hash of what was changed in them. Raises CannotBeSent."""
    if again.which == EDITED:
        return _measured_edits(job, rows)
    found = rows.aggregate(
        count=Count("pk"),
        largest=Coalesce(Max("size"), 0),
        # Not "size", which is the name of the column.
        all_bytes=Coalesce(Sum("size"), 0),
    )
    requests = _Requests()
    # Else they are as the file was read, by a version that knew all that the price needs.
    is_known = job.last_round == 1 and not estimates.lacks_bounds(job.reading.get("models") or {})
    if job.kind == Job.Kind.REQUESTS and not is_known:
        for number, source in rows.values_list("number", "source").iterator():
            requests.add(number, source)
    return Measured(found["count"], found["all_bytes"], found["largest"], requests.models), ""


def _measured_edits(job: Job, rows: RowQuerySet) -> tuple[Measured, str]:
    # Only of rows that can be sent: another may have got its answer since it was changed.
    numbers = set(rows.values_list("number", flat=True))
    sizes, contents, requests = [], hashlib.sha256(), _Requests()
    for number, source in job.edits.values_list("number", "source").iterator():
        if number in numbers:
            sizes.append(size_of(job, source))
            contents.update(f"{number}:{len(source)}:{source}".encode())
            if job.kind == Job.Kind.REQUESTS:
                requests.add(number, source)
    measured = Measured(len(sizes), sum(sizes), max(sizes, default=0), requests.models)
    return measured, contents.hexdigest()


class _Requests:
    """Ready-made requests that are to be sent again, checked as when a file is read."""

    def __init__(self) -> None:
        self._checks = Requests((), reading_limits())
        self._summary = Summary("JSONL", Job.Kind.REQUESTS)

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
    return not job.brought_in or job.upload_bytes > 0


def can_be_asked(job: Job) -> bool:
    """Whether rows of this job can be asked something else than they were."""
    if job.state != Job.State.FINISHED or job.practice != settings.PRACTICE:
        return False
    return job.kind == Job.Kind.TABLE and knows_rows(job)


def is_unknown(job: Job, recipe: Recipe) -> bool:
    """Whether `recipe` is what a table was asked that came with a batch made elsewhere: nobody here
    knows it. The rows can be sent again once somebody has written what to ask."""
    return job.brought_in and job.kind == Job.Kind.TABLE and not recipe.prompt


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
        which = cause_in_words(again.which).title
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


def _longest_before(job: Job, rows: RowQuerySet, recipe: Recipe) -> int:
    """Tokens that the answers to these rows were allowed, which were not enough."""
    before = Again(FOR_NOW).recipe(job, rows)
    return before.longest if before.longest < recipe.longest else 0


def start(job: Job, planned: Plan, what: str, user: User) -> bool:
    """Keep what the rows came to, and let them wait to be sent; inside a transaction. False when
    they are not as many any more."""
    note_change(job.pk)
    which = planned.again.which
    rows = rows_of(job, which)
    number = job.last_round + 1
    Round.objects.create(
        job=job,
        number=number,
        recipe=msgspec.to_builtins(planned.recipe) if job.kind == Job.Kind.TABLE else {},
        what=what,
        rows=planned.rows,
        bytes=planned.bytes,
        estimate={name: str(getattr(planned.price, name)) for name in ("low", "high", "most")},
        asked_by=user,
        asked_at=clock.now(),
    )
    keep_attempts(rows)
    numbers = list(rows.values_list("number", flat=True))
    slices = [numbers[begin : begin + SLICE] for begin in range(0, len(numbers), SLICE)]
    for some in slices if which == EDITED else ():
        _take_edits(job, some)
    waits = {**NO_RESULT, "round": number}
    sent = rows.update(**waits)
    for some in slices:
        if which == EDITED:
            Edit.objects.filter(job=job, number__in=some).delete()
        copies = Row.objects.filter(job=job, same_as__in=some).exclude(outcome=Outcome.GOOD)
        if planned.again.prompt is None and planned.again.system is None:
            copies.update(**waits)  # they wait for the answer of the row that they are like
        else:
            copies.update(same_as=None)  # in what is used now they may differ
    return sent == planned.rows


_KEPT = (
    "number, batch_id, outcome, cause, answer, message, problem, request_id, answered_by,"
    " stop_reason, input_tokens, cache_write_tokens, cache_read_tokens, output_tokens,"
    " thinking_tokens, cost_pico"
)


def keep_attempts(rows: RowQuerySet) -> None:
    """Keep what those of `rows` came to that were sent, before they are sent again."""
    sent = rows.exclude(batch=None)
    chosen, values = sent.values("pk").query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(
            # What is put together here are names of columns, and SQL that Django wrote.
            f"INSERT INTO jobs_attempt (job_id, attempt, source, {_KEPT})"  # noqa: S608
            f" SELECT job_id, attempts + 1, '', {_KEPT} FROM jobs_row WHERE id IN ({chosen})",
            values,
        )
    sent.update(attempts=F("attempts") + 1)


# A row that was changed asks something else now than the one that it was the same as.
_EDIT = (
    "UPDATE jobs_row SET source = %s, size = %s, same_as = NULL, earlier = NULL"
    " WHERE job_id = %s AND number = %s"
)
_SAME_AS = "UPDATE jobs_row SET same_as = %s WHERE job_id = %s AND number = %s"


def _take_edits(job: Job, numbers: Sequence[int]) -> None:
    """Put what a person wrote into these rows. Earlier attempts remember what was there."""
    row = Row.objects.filter(job=job, number=OuterRef("number"))
    before = Attempt.objects.filter(job=job, number__in=numbers, source="")
    before.update(source=Subquery(row.values("source")))
    edits = job.edits.filter(number__in=numbers).values_list("number", "source")
    edited = [(source, size_of(job, source), job.pk, number) for number, source in edits]
    with connection.cursor() as cursor:
        cursor.executemany(_EDIT, edited)
    # Those that were the same as one of them are not any more: the first of them stands for the
    # others now.
    first: dict[int | None, int] = {}
    copies = Row.objects.filter(job=job, same_as__in=numbers).exclude(outcome=Outcome.GOOD)
    stand_for = [
        (first.setdefault(original, number), job.pk, number)
        for number, original in copies.in_order().values_list("number", "same_as")
    ]
    with connection.cursor() as cursor:
        cursor.executemany(_SAME_AS, stand_for)
    Row.objects.filter(job=job, number__in=first.values()).update(same_as=None)
