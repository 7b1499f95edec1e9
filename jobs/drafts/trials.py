"""Tests: a few rows of a draft answered now through the Messages API, to see what a prompt does
before paying for the whole job.

Each is sent at most once: its state is committed before it is sent, and it is not sent again if its
answer is lost, because it may have been charged. The person can run another test.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Sequence
from datetime import timedelta
from decimal import Decimal
from itertools import islice
from typing import Any

import msgspec
from django.conf import settings
from django.db.models import Q
from msgspec.structs import replace

from ..batches import holds
from ..batches.leases import Lease
from ..ingest.input_sizes import AROUND, AROUND_FORM
from ..models import (
    SPENDING_IS_STOPPED,
    Job,
    Outcome,
    Row,
    SpendingCaps,
    Trial,
    clock,
    pico,
    recipe_of,
    trial_key,
)
from ..models.results import result_values
from ..provider import client, errors
from ..rules import pricing, recipes, row_choices
from ..rules.answer_formats import output_format
from ..rules.judging import Judgment, Result, judge_result
from ..rules.recipes import Recipe
from ..rules.row_choices import RowFilter
from ..rules.row_contents import RowContents
from .token_counts import LEAST_TOKEN_BYTES

logger = logging.getLogger(__name__)

MOST_ROWS = 20
# Rows read to find some that can be sent: at a time, and at most.
SLICE, LOOKED_AT = 200, 20_000
SECONDS = 300.0  # for one answer
LATE = timedelta(minutes=10)
TOO_LATE = "This test waited too long and was not sent. Test this row again."
LOST = "The answer did not arrive and may have been charged. The row was not sent again."

_encoder = msgspec.json.Encoder()


def choose_rows(job: Job, count: int, *, at_random: bool) -> list[Row]:
    """Up to `count` rows of a draft that can be sent: the first ones, or random ones."""
    is_table = job.kind == Job.Kind.TABLE
    contents = RowContents(recipe_of(job), job.columns) if is_table else None
    # Whether the sample includes a row takes a look at all rows.
    filtered = not row_choices.choice_problems(job.row_choice, job.columns)
    wanted = RowFilter(job.row_choice, job.columns) if is_table and filtered else None

    def would_be_sent(row: Row) -> bool:
        if wanted and not wanted.fits(row.content):
            return False
        return contents is None or not contents.is_skipped(contents.empty(row.content))

    every: Sequence[int] = range(1, job.row_count + 1)
    # Do not sort all rows: a million take seconds.
    numbers = random.sample(every, min(len(every), LOOKED_AT)) if at_random else every
    looked_at = (numbers[at : at + SLICE] for at in range(0, min(len(numbers), LOOKED_AT), SLICE))
    found = (row for some in looked_at for row in _in_order_of(job, some) if would_be_sent(row))
    return sorted(islice(found, count), key=lambda row: row.number)


def _in_order_of(job: Job, numbers: Sequence[int]) -> Iterator[Row]:
    rows = job.rows.filter(outcome=Outcome.WAITING, number__in=numbers)
    by_number = {row.number: row for row in rows}
    return (by_number[number] for number in numbers if number in by_number)


def plan_trials(job: Job, rows: list[Row], recipe: Recipe, round_number: int) -> list[Trial]:
    """The tests for `rows`, not stored yet, without rows that are skipped for empty cells. Raises
    UnknownPrice."""
    params_of = recipes.compile_recipe(recipe, job.columns)
    contents = RowContents(recipe, job.columns)
    used = dict.fromkeys(recipes.columns_used(recipe.prompt))
    planned = []
    for row in rows:
        cells = dict(zip(job.columns, row.content, strict=True))
        params = params_of(row.content)
        sent = not contents.is_skipped(contents.empty(row.content))
        if sent and params["messages"][0]["content"].strip():
            planned.append(
                Trial(
                    job=job,
                    round=round_number,
                    number=row.number,
                    cells=[(name, cells[name]) for name in used],
                    params=encode_params(params),
                    model=recipe.model,
                    recipe=recipe,
                    recipe_key=trial_key(job, recipe),
                    practice=settings.PRACTICE,
                    most_pico=pico(ceiling_of(params, recipe)),
                    answer_kind=recipe.answer,
                )
            )
    return planned


def encode_params(params: dict[str, Any]) -> str:
    """The JSON text of a request, as it is stored and sent."""
    return _encoder.encode(params).decode()


def ceiling_of(params: dict[str, Any], recipe: Recipe) -> Decimal:
    """The most that one request can cost at the normal rate, in US dollars. Raises
    UnknownPrice."""
    around = AROUND_FORM if output_format(recipe.answer) else AROUND
    tokens = recipes.text_bytes(params) // LEAST_TOKEN_BYTES + around
    # Cache writes are charged.
    written = tokens if recipe.cached else 0
    return pricing.ceiling_of_tokens(
        recipe.model, tokens - written, recipe.longest, tokens, written=written, batch=False
    )


def answer_next(job: Job, lease: Lease) -> bool:
    """Send the next waiting test; False if none waits. Raises LeaseLost."""
    # This worker holds the job, so a test that is being sent was left by a worker that died.
    for cut_off in job.trials.filter(state=Trial.State.SENDING):
        _settle(cut_off, Trial.State.UNKNOWN, message=LOST)
    waiting = job.trials.filter(state=Trial.State.WAITING)
    # A person who asked so long ago, or of another provider, does not expect to pay for it now.
    in_time = clock.near("asked_at", LATE, clock.now())
    Trial.objects.filter(pk__in=waiting.values("pk")).filter(
        ~in_time | ~Q(practice=settings.PRACTICE)
    ).update(state=Trial.State.FAILED, message=TOO_LATE)
    found = waiting.order_by("round", "number").first()
    if found is None:
        return False
    if SpendingCaps.get().stopped_at:
        waiting.update(state=Trial.State.FAILED, message=SPENDING_IS_STOPPED)
        return True
    lease.hold_for(SECONDS)
    if Trial.objects.try_move(found.pk, Trial.State.WAITING, Trial.State.SENDING):
        _answer(found)
        # The person waits for the others for as long as answers come.
        waiting.update(asked_at=clock.now())
    return True


def settle_restored() -> None:
    """After a restore: what waited when the backup was made was probably sent since."""
    Trial.objects.pending().update(state=Trial.State.UNKNOWN, message=LOST)


def _answer(one: Trial) -> None:
    try:
        message = client.create_message(one.params.encode(), SECONDS)
    except (errors.Unreachable, errors.Refused) as error:
        words = _why_not(error)
        _settle(one, Trial.State.FAILED, message=words)
        if not isinstance(error, errors.Refused) or error.is_about_account or error.is_rate_limit:
            # The rest of this test would fail as well.
            rest = Trial.objects.filter(job=one.job_id, round=one.round, state=Trial.State.WAITING)
            rest.update(state=Trial.State.FAILED, message=words)
    except errors.ProviderError as error:
        _settle(one, Trial.State.UNKNOWN, message=f"{error} {LOST}")
    else:
        wanted = one.answer_kind
        judged = judge_result(Result(type="succeeded", message=message), wanted)
        _settle(one, Trial.State.ANSWERED, **result_values(judged, _cost(one, judged)))


def _why_not(error: errors.Unreachable | errors.Refused) -> str:
    if isinstance(error, errors.Unreachable):
        return str(error)
    if isinstance(error, errors.NotFound):
        said = f" ({error.message})" if error.message else ""
        return f"Anthropic does not know this model, or this site’s key may not use it.{said}"
    return holds.in_words(error)


def _cost(one: Trial, judged: Judgment) -> int:
    try:
        return pricing.cost_in_pico(judged, batch=False)
    except pricing.UnknownPrice:
        # The answer names the model differently; the price is the same.
        return pricing.cost_in_pico(replace(judged, answered_by=one.model), batch=False)


def _settle(one: Trial, state: str, **values: Any) -> None:
    """Store the result of a test, also of one given up as lost. Raises NotMoved if it has one."""
    texts = {
        name: value.replace("\0", "\ufffd") if isinstance(value, str) else value
        for name, value in values.items()
    }
    Trial.objects.move(one.pk, [Trial.State.SENDING, Trial.State.UNKNOWN], state, **texts)
    logger.info("job %s: test of row %s: %s", one.job_id, one.number, state)
