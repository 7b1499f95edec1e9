"""Whatever a person sends again, changes, leaves out and stops, and whenever the worker dies: after
each round the job adds up, and no row was sent without need."""

from __future__ import annotations

import csv
import io
import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from jobs.actions import retries, submissions
from jobs.batches import collection, planning, result_rows, submission
from jobs.drafts import estimates
from jobs.models import Attempt, Job, Outcome, Row, processes
from jobs.results import table
from jobs.retries import edits, problem_groups, selection
from jobs.retries.selection import EDITED, FOR_NOW
from jobs.rules.retry_choices import RetryChoice
from jobs.spending import receipts
from jobs.worker import finishing, sent_jobs, tally

from ..conftest import Simulator, drive_job, is_over, send_again, store_job

MARKS = ("", "cut", "refusal", "errored", "invalid", "expired", "empty")
COLUMNS = ("name", "text")
# Where the worker dies: before or after these do their work.
DEATHS: list[tuple[Any, str]] = [
    (planning, "plan_next_batch"),
    (submission, "submit"),
    (collection, "collect"),
    (result_rows, "store"),
    (tally, "count_up"),
    (finishing, "finish_job"),
]


class Killed(BaseException):
    """What nobody catches, as nobody catches SIGKILL."""


@dataclass(frozen=True)
class Step:
    """What a person does next, and what happens to the worker meanwhile."""

    what: str  # "cause", "longer", "edit", "passing", "leave_out"
    which: int  # of the causes there are
    rows: tuple[int, ...]  # that are changed, by their place among those that can be
    mark: str  # what they say then
    stop_after: int | None  # looks of the worker
    death: int | None  # place in DEATHS
    late: bool  # it dies after its work, not before


STEPS = st.builds(
    Step,
    st.sampled_from(["cause", "cause", "longer", "edit", "edit", "passing", "leave_out"]),
    st.integers(0, 5),
    st.lists(st.integers(0, 7), min_size=1, max_size=4).map(tuple),
    st.sampled_from(["", *MARKS]),
    st.sampled_from([None, None, None, 0, 1, 2]),
    st.sampled_from([None, *range(len(DEATHS))]),
    st.booleans(),
)


def cells(number: int, mark: str) -> list[str]:
    return [f"n{number}", f"text {number}{f' [simulate:{mark}]' if mark else ''}"]


@contextmanager
def death(step: Step) -> Iterator[None]:
    """The worker dies once where `step` says, if it comes there."""
    if step.death is None:
        yield
        return
    module, name = DEATHS[step.death]
    does, alive = getattr(module, name), [True]

    def dies(*given: Any, **named: Any) -> Any:
        if not alive:
            return does(*given, **named)
        alive.clear()
        if step.late:
            does(*given, **named)
        raise Killed

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, name, dies)
        yield


def work(job: Job, until: Callable[[Job], bool] = is_over) -> Job:
    """As drive_job, by another worker when one has died."""
    while True:
        try:
            return drive_job(job, until)
        except Killed:
            # Leases of another process with our number are those of a dead one.
            processes.PROCESS = f"{processes.PROCESS.rpartition('|')[0]}|{next(_WORKERS):08x}"


_WORKERS = itertools.count(1)


def run(job: Job, step: Step, user: User) -> Job:
    """Let the worker do what there is to do, stopped and killed as `step` says."""
    with death(step):
        if step.stop_after is not None:
            looks = iter(range(step.stop_after))
            work(job, until=lambda now: is_over(now) or next(looks, None) is None)
            submissions.stop_job(job, user)
        return work(job)


def take(job: Job, step: Step, user: User) -> set[int]:
    """Do what a person does; the numbers of the rows that are sent again by it."""
    causes = [group.name for group in problem_groups.find_groups(job)]
    cause = causes[step.which % len(causes)] if causes else "nothing"
    if step.what == "leave_out":
        count = job.rows.failed().filter(cause=cause).count()
        retries.ignore_rows(job, cause, count, user)
        return set()
    again = RetryChoice({"edit": EDITED, "passing": FOR_NOW}.get(step.what, cause))
    if step.what == "longer":
        again = RetryChoice(cause, 500 + 100 * job.last_round)
    if step.what == "edit":
        can_be = list(edits.editable_rows(job).in_order())
        for place in {place % len(can_be) for place in step.rows} if can_be else ():
            edits.edit_row(can_be[place], cells(can_be[place].number, step.mark))
    numbers = set(selection.retry_rows(job, again.which).values_list("number", flat=True))
    sent = send_again(job, user, again.which, max_tokens=again.max_tokens)
    assert sent in (0, len(numbers))
    return numbers if sent else set()


@dataclass
class Books:
    """What a person knows of the job, by which it is checked."""

    wanted: dict[int, list[str]]  # the cells of each row
    may_be_sent: Counter[int]  # how often at most
    good: dict[int, str]  # the answers


def check(job: Job, books: Books, simulator: Simulator) -> None:
    rows = list(job.rows.in_order())
    names, *lines = csv.reader(io.StringIO(b"".join(table.csv_chunks(job, plain=True)).decode()))
    assert [line[:2] for line in lines] == [[*books.wanted[row.number], ""][:2] for row in rows], (
        "all rows, in their order"
    )
    for row in rows:
        if row.number in books.good:
            assert (row.outcome, row.answer) == (Outcome.GOOD, books.good[row.number])
    # The money
    in_rows = sum((row.cost for row in rows), Decimal(0))
    before = sum((one.cost for one in Attempt.objects.filter(job=job)), Decimal(0))
    cost = names.index("cost_usd")
    in_file = sum((Decimal(line[cost] or 0) for line in lines), Decimal(0))
    assert in_file == job.cost == receipts.receipt_of(job).charged == in_rows + before
    assert job.spent_pico == int(job.cost.scaleb(12)) and job.reserved_pico == 0
    for kind in ("input_tokens", "output_tokens"):
        place = names.index(kind)
        assert sum(int(line[place] or 0) for line in lines) == getattr(job.tally, kind), (
            "of all attempts"
        )
    # The tally
    found = Counter(row.outcome for row in rows)
    assert not found[Outcome.WAITING] and found == Counter(job.tally.outcomes)
    assert sum(found.values()) == job.row_count == len(books.wanted)
    assert sum(group.rows for group in job.tally.groups) == job.row_count
    # What was sent
    accepted = {int(number): count for number, count in simulator.accepted().items()}
    for number, count in accepted.items():
        assert count <= books.may_be_sent[number], f"row {number} was sent too often"
    for row in rows:
        if row.batch_id and row.outcome in (Outcome.GOOD, Outcome.LOOK):
            assert accepted[row.number], f"row {row.number} was never sent"
        assert row.attempts + (row.batch_id is not None) >= accepted.get(row.number, 0)
        if row.same_as and row.outcome != Outcome.GOOD:
            assert books.wanted[row.same_as] == books.wanted[row.number], "the same no more"
    books.good |= {row.number: row.answer for row in rows if row.outcome == Outcome.GOOD}


def begin(user: User, marks: Sequence[str], skip_duplicates: bool) -> Job:
    """A confirmed job: a row for each mark, one more that is left out, and the first ones again."""
    wanted = [cells(number, mark) for number, mark in enumerate(marks, start=1)]
    rows = [*wanted, ["short", ""], *wanted[:2]]
    outcomes: list[Any] = [Outcome.WAITING] * len(rows)
    outcomes[len(marks)] = {"outcome": "left_out", "cause": "left_out", "problem": "Too short."}
    job = store_job(
        user,
        Job.State.DRAFT,
        COLUMNS,
        rows,
        outcomes,
        prompt="Say: {{text}}",
        model="claude-haiku-4-5",
        max_tokens=500,
        skip_duplicates=skip_duplicates,
    )
    estimates.estimate_job(job)
    job.refresh_from_db()
    assert submissions.confirm(job, job.plan_sha256, user)
    return job


@settings(
    max_examples=2 if os.environ["DATABASE_URL"] else 5,  # SQL differs there, rounds do not
    deadline=None,
    phases=[Phase.generate],  # a failure is short enough, and to look for a shorter one takes long
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    marks=st.lists(st.sampled_from(MARKS), min_size=3, max_size=6),
    skip_duplicates=st.booleans(),
    first=STEPS,
    steps=st.lists(STEPS, min_size=1, max_size=5),
)
def test_after_every_round_the_job_adds_up(
    alice: User,
    simulator: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    marks: list[str],
    skip_duplicates: bool,
    first: Step,
    steps: list[Step],
) -> None:
    simulator.begin_anew()
    monkeypatch.setattr(sent_jobs, "PAUSE_OF_A_BATCH", timedelta())
    job = begin(alice, marks, skip_duplicates)
    wanted = {row.number: row.content for row in job.rows.in_order()}
    to_send = job.rows.filter(outcome=Outcome.WAITING).values_list("number", flat=True)
    books = Books(wanted, Counter(to_send), {})
    job = run(job, first, alice)
    check(job, books, simulator)
    for step in steps:
        sent = take(job, step, alice)
        books.may_be_sent.update(sent)
        job.refresh_from_db()
        job = run(job, step, alice)
        books.wanted |= {
            row.number: row.content for row in Row.objects.filter(job=job, number__in=sent)
        }
        check(job, books, simulator)
    Job.objects.filter(pk=job.pk).delete()
