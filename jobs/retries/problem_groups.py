"""The problems of a finished job: rows together that failed for one reason, in
plain words, with what can be done about them and what that costs."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property

from django.conf import settings

from ..models import NOT_GOOD, Job, Row, RowQuerySet, dollars
from ..rules import judging, pricing, recipes, wording
from ..rules.judging import LEAVE_OUT, LONGER, OTHER_ERROR, SHORTEN, WITHOUT, Cause, describe_cause
from ..rules.recipes import Recipe
from ..rules.retry_choices import RetryChoice
from ..rules.tallies import CauseGroup
from . import rounds, selection
from .rounds import RetryPlan, changed_recipe

LOOKED_AT = 200  # rows of a group whose messages are read
MESSAGES = 3  # of a group that are shown
SAMPLE = 200  # rows of a group to measure cells of
# Parameters that every request needs.
NEEDED = ("model", "messages", "max_tokens")
# The provider's messages about a prompt that does not fit: "prompt is too long: 250000 tokens >
# 200000 maximum", "input length and `max_tokens` exceed context limit".
_TOO_LONG = re.compile(r"too long|context (?:limit|window|length)|exceed", re.IGNORECASE)


@dataclass(frozen=True)
class ProviderMessage:
    """A message of the provider, and how many of the first rows have it."""

    words: str
    rows: int
    request_id: str  # of one of these rows


@dataclass(frozen=True)
class Remedy:
    """One way to fix a group of rows."""

    code: str  # of judging.AGAIN, LONGER, ...
    words: str
    plan: RetryPlan | None = None  # with its price; None: free, or priced later
    value: str = ""  # maximum answer length, column, or parameter
    number: int = 0  # characters of the column to keep


@dataclass(frozen=True)
class ProblemGroup:
    """Rows of a job with the same problem."""

    job: Job
    outcome: str
    name: str  # of the cause
    rows: int
    own: int  # rows without duplicates
    charged: Decimal  # US dollars, for all rows
    first: datetime | None  # when the provider ended the first of these rows
    last: datetime | None

    @property
    def cause(self) -> Cause:
        return describe_cause(self.name)

    @property
    def title(self) -> str:
        known = self.cause.title
        return known if self.is_known else f"{known} ({self.name})"

    @property
    def is_moment(self) -> bool:
        """Whether all of them ended within a minute."""
        if self.first is None or self.last is None:
            return False
        return self.last - self.first < timedelta(minutes=1)

    @property
    def is_known(self) -> bool:
        return self.cause is not OTHER_ERROR

    @cached_property
    def messages(self) -> list[ProviderMessage]:
        """The provider's messages for the first rows, most frequent first."""
        some = self.all_rows.in_order().values_list("message", "request_id")[:LOOKED_AT]
        # Not asked for alone: all rows of the group would be read for one that has a message.
        found = [one for one in some if one[0]]
        ids = dict(reversed(found))
        counts = Counter(message for message, _id in found)
        return [
            ProviderMessage(text, rows, ids[text]) for text, rows in counts.most_common(MESSAGES)
        ]

    @cached_property
    def remedies(self) -> list[Remedy]:
        """Ways to fix the group, best first, and none that cannot succeed."""
        if self.job.state != Job.State.FINISHED or self.job.practice != settings.PRACTICE:
            return []
        codes = self.cause.remedies
        if not rounds.knows_rows(self.job):
            codes = (LEAVE_OUT,)
        elif self._is_unknown:
            codes = (judging.ASK, judging.EDIT, LEAVE_OUT)
        found = [remedy for code in codes if (remedy := self._remedy(code))]
        # A plain retry is impossible, for instance because the model was retired.
        has_no_way = not {judging.AGAIN, judging.ASK} & {one.code for one in found}
        if judging.AGAIN in codes and has_no_way and self._can_be_asked():
            found.insert(0, self._ask())
        return found

    @cached_property
    def _is_unknown(self) -> bool:
        return self.job.is_external and rounds.lacks_prompt(self.job, self.recipe)

    def _can_be_asked(self) -> bool:
        can = rounds.can_change_prompt(self.job)
        return can and bool(selection.sizes_by_round(self.job, self.name))

    @property
    def all_rows(self) -> RowQuerySet:
        return Row.objects.filter(job=self.job, outcome=self.outcome, cause=self.name)

    def _remedy(self, code: str) -> Remedy | None:
        is_table = self.job.kind == Job.Kind.TABLE
        if not self.own and code not in (judging.EDIT, LEAVE_OUT):
            return None
        match code:
            case judging.AGAIN:
                plan = rounds.find_plan(self.job, RetryChoice(self.name))
                return Remedy(code, self._words_for_again(plan.rows), plan) if plan else None
            case judging.LONGER:
                return self._longer() if is_table else self._longer_of_requests()
            case judging.SHORTEN:
                return self._shorten() if is_table else None
            case judging.WITHOUT:
                return None if is_table else self._without()
            case judging.ASK:
                return self._ask() if is_table else None
            case judging.EDIT:
                return Remedy(code, "Edit rows")
            case judging.LEAVE_OUT:
                return Remedy(LEAVE_OUT, "Ignore these rows")
            case _:
                raise ValueError(f"no such remedy: {code}")

    def _words_for_again(self, count: int) -> str:
        if self.name == "billing_error":
            return "Add credit, then retry"
        if self.cause.who == judging.ADMINISTRATOR:
            return "Once this is fixed, retry"
        return f"Retry {wording.rows(count)}"

    def _ask(self) -> Remedy:
        if self._is_unknown:
            return Remedy(judging.ASK, "Write a prompt, then retry")
        return Remedy(judging.ASK, "Change prompt for these rows")

    def _longer(self) -> Remedy | None:
        tokens = longer_answer(self.recipe)
        if not tokens:
            return None
        plan = rounds.find_plan(self.job, RetryChoice(self.name, max_tokens=tokens))
        words = f"Allow answers of {tokens:,} tokens and retry"
        return Remedy(LONGER, words, plan, str(tokens)) if plan else None

    def _longer_of_requests(self) -> Remedy | None:
        """What they allow differs from request to request; it is changed before they are sent."""
        row = self.all_rows.in_order().first()
        params = row.content.get("params", {}) if row else {}
        before = Recipe("", "", str(params.get("model")), int(params.get("max_tokens") or 1))
        tokens = longer_answer(before)
        words = f"Allow answers of {tokens:,} tokens"
        return Remedy(LONGER, words, value=str(tokens)) if tokens else None

    @cached_property
    def recipe(self) -> Recipe:
        """What its rows were asked last."""
        return changed_recipe(self.job, RetryChoice(self.name))

    def _shorten(self) -> Remedy | None:
        """Of the columns that the prompt uses, the one with the longest cells in these rows."""
        if self.name == "invalid_request_error" and not any(
            _TOO_LONG.search(message.words) for message in self.messages
        ):
            return None
        used = set(recipes.columns_used(self.recipe.template))
        places = [at for at, name in enumerate(self.job.columns) if name in used]
        longest: Counter[int] = Counter()
        for row in self.all_rows.in_order()[:SAMPLE]:
            cells = row.content
            for at in places:
                # A row of a batch made elsewhere may have too few.
                longest[at] = max(longest[at], *map(len, cells[at : at + 1]), 0)
        if not longest or not max(longest.values()):
            return None
        column = self.job.columns[longest.most_common(1)[0][0]]
        return Remedy(SHORTEN, f"Shorten “{column}” to fit", None, column, self._fitting())

    def _fitting(self) -> int:
        """Characters of one column that surely fit: half a token each, beside the longest answer
        and as much again for the rest of the prompt."""
        known = pricing.find_model(self.recipe.model)
        room = (known.context if known else 100_000) - 2 * self.recipe.longest
        return max(2 * room - len(self.recipe.template), 1_000)

    def _without(self) -> Remedy | None:
        """The parameter that the provider named, if these requests have it and it can be missed."""
        row = self.all_rows.in_order().first()
        if row is None:
            return None
        params = row.content.get("params", {})
        if self.name == "unfinished":
            return Remedy(WITHOUT, "Remove the tools", value="tools") if "tools" in params else None
        for message in self.messages:
            for name in params:
                if name not in NEEDED and re.search(rf"\b{re.escape(name)}\b", message.words):
                    return Remedy(WITHOUT, f"Remove “{name}” from the requests", value=name)
        return None


def longer_answer(recipe: Recipe) -> int:
    """The maximum answer length to try after that of `recipe` was too short: twice as many tokens,
    up to the model's limit. 0 if the model allows no more."""
    known = pricing.find_model(recipe.model)
    most = known.max_output if known and known.max_output else 2 * recipe.longest
    tokens = min(2 * recipe.longest, most)
    return tokens if tokens > recipe.longest else 0


def find_groups(job: Job) -> list[ProblemGroup]:
    """The problems of a sent job, most rows first."""
    found = [
        ProblemGroup(
            job,
            one.outcome,
            one.cause,
            one.rows,
            one.own,
            dollars(one.cost_pico),
            _time(one.first),
            _time(one.last),
        )
        for one in _counted(job)
        if one.outcome in NOT_GOOD
    ]
    return sorted(found, key=lambda group: -group.rows)


def find_group(job: Job, cause: str) -> ProblemGroup | None:
    return next((group for group in find_groups(job) if group.name == cause), None)


def _counted(job: Job) -> list[CauseGroup]:
    """Groups from the tally. That of an older version has only the counts."""
    return job.tally.groups or [
        CauseGroup(outcome, cause, rows, own=rows) for outcome, cause, rows in job.tally.causes
    ]


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
