"""Problem groups merged by what to do about them: one retry for all that usually pass, and a
decision for each of the others. With a few of their rows, to see what is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from django.conf import settings

from ..models import Job, Row
from ..rules import recipes
from ..rules.retry_choices import RetryChoice
from . import rounds
from .problem_groups import ProblemGroup, Remedy
from .rounds import RetryPlan
from .selection import FOR_NOW

EXAMPLES = 3
LONGEST = 200  # characters of a cell or a message


@dataclass(frozen=True)
class ExampleRow:
    """A row with a problem: the text that the prompt uses of it, and what is wrong."""

    number: int
    cell: str
    trouble: str


@dataclass(frozen=True)
class RemedyGroup:
    """Groups that one click can help, or one group that a person has to decide about."""

    job: Job
    groups: list[ProblemGroup]
    plan: RetryPlan | None  # of the retry of all groups together

    @property
    def rows(self) -> int:
        return sum(group.rows for group in self.groups)

    @property
    def is_decision(self) -> bool:
        return self.plan is None

    @property
    def first(self) -> ProblemGroup:
        return self.groups[0]

    @cached_property
    def remedies(self) -> list[Remedy]:
        """Of a decision: what can be done, best first."""
        return self.first.remedies if self.is_decision else []

    @cached_property
    def examples(self) -> list[ExampleRow]:
        found: list[ExampleRow] = []
        for group in self.groups:
            if wanted := EXAMPLES - len(found):
                found += find_examples(group, wanted)
        return found


def merge_groups(job: Job, groups: list[ProblemGroup]) -> list[RemedyGroup]:
    """`groups` by what to do, the retry first."""
    passing = [group for group in groups if group.cause.passing]
    can_retry = job.state == Job.State.FINISHED and job.practice == settings.PRACTICE
    plan = rounds.find_plan(job, RetryChoice(FOR_NOW)) if passing and can_retry else None
    if plan is None:
        return [RemedyGroup(job, [group], None) for group in groups]
    others = [group for group in groups if group not in passing]
    return [RemedyGroup(job, passing, plan), *(RemedyGroup(job, [one], None) for one in others)]


def find_examples(group: ProblemGroup, count: int = EXAMPLES) -> list[ExampleRow]:
    """The first rows of a group."""
    rows = group.all_rows.in_order()[:count]
    used = recipes.columns_used(group.recipe.template) if group.job.kind == Job.Kind.TABLE else []
    return [
        ExampleRow(row.number, _text_of(group.job, row, used)[:LONGEST], _trouble_of(row))
        for row in rows
    ]


def _text_of(job: Job, row: Row, used: list[str]) -> str:
    """The longest cell that the prompt uses, or the prompt of a ready-made request."""
    try:
        content = row.content
    except (ValueError, RecursionError):
        return row.source
    if isinstance(content, dict):
        params = content.get("params")
        return recipes.prompt_text(params) if isinstance(params, dict) else row.source
    named = list(zip(job.columns, content, strict=False))
    cells = [cell for name, cell in named if name in used] or [cell for _name, cell in named]
    return max(cells, key=len, default="")


def _trouble_of(row: Row) -> str:
    """What was said about the row, or the end of the answer that is not as it should be."""
    if row.message:
        return row.message[:LONGEST]
    answer = row.answer.strip()
    return answer if len(answer) <= LONGEST else f"… {answer[-LONGEST:]}"
