"""The columns of a job that the inputs of forced tools fill, as its results come in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ..models import Batch, Job, Row
from ..rules.answer_formats import stored_values
from ..rules.judging import CALLED, GOOD, Judgment
from ..rules.tool_answers import add_columns, columns_of


class _Request(msgspec.Struct):
    params: dict[str, Any] | None = None


_decoder = msgspec.json.Decoder(_Request)


def requests_of(batch: Batch, numbers: Sequence[int]) -> dict[int, Any]:
    """The `params` of these rows, by number; without those that nobody knows: of a batch that was
    made elsewhere, from a table or without a file."""
    if batch.job.kind != Job.Kind.REQUESTS:
        return {}
    found = {}
    rows = Row.objects.filter(batch=batch, number__in=numbers)
    for number, source in rows.values_list("number", "source"):
        try:
            params = _decoder.decode(source).params
        except (msgspec.MsgspecError, RecursionError):
            continue
        if params is not None:
            found[number] = params
    return found


def store_columns(job_pk: int, answers: Sequence[tuple[int, Any, Judgment]]) -> None:
    """Note the columns that these answers fill (of each the number of its row, its `params`, and
    how it was judged), in the transaction that stores them."""
    # Results come in any order.
    inputs = [
        (params, stored_values(judged.answer))
        for _number, params, judged in sorted(answers, key=lambda answer: answer[0])
        if judged.outcome == GOOD and judged.stop_reason == CALLED
    ]
    if not inputs:
        return
    stored = Job.objects.select_for_update().values_list("answer_columns", flat=True).get(pk=job_pk)
    known = {column.name: column for column in stored}
    changed = False
    for params, values in inputs:
        changed |= add_columns(known, columns_of(params, values))
    if changed:
        Job.objects.filter(pk=job_pk).update(answer_columns=tuple(known.values()))
