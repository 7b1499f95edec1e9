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
    rows = Row.objects.filter(batch=batch, number__in=numbers)
    found = {number: _params_of(source) for number, source in rows.values_list("number", "source")}
    return {number: params for number, params in found.items() if params is not None}


def _params_of(source: str) -> dict[str, Any] | None:
    try:
        return _decoder.decode(source).params
    except (msgspec.MsgspecError, RecursionError):
        return None


def store_columns(job_pk: int, answers: Sequence[tuple[int, Any, Judgment]]) -> None:
    """Note the columns that these answers fill (of each the number of its row, its `params`, and
    how it was judged), in the transaction that stores them."""
    # Results come in any order.
    _add_columns(
        job_pk,
        [
            (params, judged.answer)
            for _number, params, judged in sorted(answers, key=lambda answer: answer[0])
            if judged.outcome == GOOD and judged.stop_reason == CALLED
        ],
    )


def store_columns_of_copies(job_pk: int, numbers: Sequence[int]) -> None:
    """The same for those of these rows that got the answer of another job."""
    copies = Row.objects.filter(job=job_pk, number__in=numbers, earlier__isnull=False)
    called = copies.filter(outcome=GOOD, stop_reason=CALLED).in_order()
    found = called.values_list("source", "answer")
    _add_columns(job_pk, [(_params_of(source), answer) for source, answer in found])


def _add_columns(job_pk: int, inputs: Sequence[tuple[Any, str]]) -> None:
    """`inputs`: of each answer its `params`, and the input of the tool as it is stored."""
    if not inputs:
        return
    stored = Job.objects.select_for_update().values_list("answer_columns", flat=True).get(pk=job_pk)
    known = {column.name: column for column in stored}
    changed = False
    for params, answer in inputs:
        changed |= add_columns(known, columns_of(params, stored_values(answer)))
    if changed:
        Job.objects.filter(pk=job_pk).update(answer_columns=tuple(known.values()))
