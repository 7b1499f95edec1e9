"""Edit rows of a finished job before a retry: by hand, or a whole group at once. An Edit waits
until it is sent, and is shown beside the old text."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from django.db import transaction
from django.db.models import F

from ..models import Edit, Job, Row, RowChange, RowQuerySet, clock
from ..models.statements import insert_statement, run_for_each
from ..rules.judging import LONGER, NOT_SELECTED, SHORTEN, WITHOUT
from . import rounds, selection
from .selection import CAN_BE_EDITED

_PUT = (
    insert_statement(Edit, ["job_id", "number", "source"])
    + " ON CONFLICT (job_id, number) DO UPDATE SET source = excluded.source"
)


@dataclass(frozen=True)
class Change:
    """The change in one cell, or in one part of a request."""

    name: str
    before: str
    after: str


@dataclass(frozen=True)
class EditedRow:
    """A row with an edit that waits to be sent."""

    row: Row
    changes: list[Change]


def editable_rows(job: Job) -> RowQuerySet:
    """The rows of a finished job that can be edited and retried."""
    if job.state != Job.State.FINISHED or not rounds.knows_rows(job):
        return Row.objects.none()
    return Row.objects.filter(job=job, outcome__in=CAN_BE_EDITED).exclude(cause=NOT_SELECTED)


def can_be_edited(job: Job, row: Row) -> bool:
    """Whether it is one of `editable_rows`."""
    is_open = job.state == Job.State.FINISHED and rounds.knows_rows(job)
    return is_open and row.outcome in CAN_BE_EDITED and row.cause != NOT_SELECTED


def why_not_editable(job: Job, row: Row) -> str:
    """Why a row cannot be edited, as a sentence."""
    if job.state != Job.State.FINISHED:
        return "You can edit rows once the job has finished."
    if not rounds.knows_rows(job):
        return "This batch was imported without its file, so its rows cannot be edited."
    if row.cause == NOT_SELECTED:
        return f"Row {row.number:,} was not selected to be sent, so it cannot be edited."
    return f"Row {row.number:,} has a good answer, so it cannot be edited."


def edit_row(row: Row, cells: list[str]) -> bool:
    """Save an edit of a row of a table. False if nothing differs: an earlier edit is discarded
    then."""
    return save_edits(row.job, [(row, as_source(cells))]) == 1


def as_source(cells: list[str]) -> str:
    """A row of a table, as Row.source."""
    return json.dumps(cells, ensure_ascii=False, separators=(",", ":"))


def save_edits(job: Job, wanted: Sequence[tuple[Row, str]]) -> int:
    """Save edits, as Row.source; returns how many rows differ. 0 while rows of the job are being
    changed by the worker."""
    with transaction.atomic():
        # Locked: a retry starts either before this or after it.
        return store_edits(job, EditedSources.of(wanted)) if is_open(job) else 0


def is_open(job: Job) -> bool:
    """Whether rows can be edited. Locks the job until the end of the transaction."""
    locked = Job.objects.select_for_update().get(pk=job.pk)
    busy = RowChange.objects.filter(job=job).exists()
    is_there = locked.state == Job.State.FINISHED and locked.contents_deleted_at is None
    return is_there and not busy


@dataclass(frozen=True)
class EditedSources:
    """New sources by row number, and the rows whose source would not change."""

    sources: dict[int, str]
    same: set[int]

    @classmethod
    def of(cls, wanted: Sequence[tuple[Row, str]]) -> EditedSources:
        same = {row.number for row, source in wanted if json.loads(source) == row.content}
        return cls({row.number: source for row, source in wanted if row.number not in same}, same)


def store_edits(job: Job, wanted: EditedSources) -> int:
    """As `save_edits`, if the job is open or the worker is changing it."""
    Edit.objects.filter(job=job, number__in=wanted.same).delete()
    store_sources(job, wanted.sources)
    return len(wanted.sources)


def store_sources(job: Job, sources: Mapping[int, str]) -> None:
    """Store edits by row number, over earlier ones."""
    # bulk_create is ten times slower.
    run_for_each(_PUT, [(job.pk, *edit) for edit in sources.items()])
    note_edits(job)


def note_edits(job: Job) -> None:
    """Note a change of edits, in its transaction: plans that were shown become stale, and the
    worker measures the edits again."""
    changed = Job.objects.filter(pk=job.pk)
    changed.update(edits_version=F("edits_version") + 1, next_action_at=clock.now())


def change_rows(job: Job, cause: str, code: str, name: str, number: int) -> int:
    """Edit all rows with one cause in the same way; returns how many. In one transaction, so for
    few rows. `code`: SHORTEN the column `name` to `number` characters, remove the parameter `name`
    (WITHOUT), or allow a LONGER answer of `number` tokens in ready-made requests."""
    if not can_change(job, code, name, number):
        return 0
    with transaction.atomic():
        if not is_open(job):
            return 0
        return store_edits(
            job, change_sources(job, changeable_rows(job, cause), code, name, number)
        )


def can_change(job: Job, code: str, name: str, number: int) -> bool:
    """Whether `change_rows` knows such a change."""
    return code in _changes(job, name, number)


def changeable_rows(job: Job, cause: str) -> RowQuerySet:
    """The rows that `change_rows` edits."""
    return editable_rows(job).failed().filter(cause=cause)


def change_sources(job: Job, rows: RowQuerySet, code: str, name: str, number: int) -> EditedSources:
    """The edits that `change_rows` makes in `rows`."""
    change = _changes(job, name, number)[code]
    found = list(rows.in_order())
    # Continue from an earlier edit.
    numbers = [row.number for row in found]
    before = dict(job.edits.filter(number__in=numbers).values_list("number", "source"))
    return EditedSources.of([(row, change(before.get(row.number, row.source))) for row in found])


_Parts = dict[str, msgspec.Raw]
_parts_decoder = msgspec.json.Decoder(_Parts)


def _changes(job: Job, name: str, number: int) -> dict[str, Callable[[str], str]]:
    """Functions from old to new source, by code. The rest of a request stays byte for byte."""

    def shorten(source: str) -> str:
        cells, at = json.loads(source), job.columns.index(name)
        # A row of a batch made elsewhere may have too few.
        shorter = [cell[:number].rstrip() for cell in cells[at : at + 1]]
        return as_source([*cells[:at], *shorter, *cells[at + 1 :]])

    def without(source: str) -> str:
        left_out = {name, "tool_choice"} if name == "tools" else {name}
        request, params = _parts(source)
        kept = {key: value for key, value in params.items() if key not in left_out}
        return _joined(request, kept)

    def longer(source: str) -> str:
        request, params = _parts(source)
        # What a request allows already is not less than that it gets.
        before = json.loads(bytes(params.get("max_tokens", b"0")))
        tokens = max(number, before if isinstance(before, int) else 0)
        return _joined(request, {**params, "max_tokens": msgspec.Raw(str(tokens).encode())})

    if job.kind == Job.Kind.TABLE:
        return {SHORTEN: shorten} if name in job.columns and number > 0 else {}
    return {WITHOUT: without, **({LONGER: longer} if number > 0 else {})}


def _parts(source: str) -> tuple[_Parts, _Parts]:
    request = _parts_decoder.decode(source)
    return request, _parts_decoder.decode(request["params"])


def _joined(request: _Parts, params: _Parts) -> str:
    return msgspec.json.encode(
        {**request, "params": msgspec.Raw(msgspec.json.encode(params))}
    ).decode()


def count_waiting(job: Job) -> int:
    """How many rows have edits that wait to be sent."""
    can_be_sent = job.state == Job.State.FINISHED and rounds.knows_rows(job)
    return selection.count_edited(job) if can_be_sent else 0


def is_edited(job: Job, row: Row) -> bool:
    """Whether the row has an edit that waits to be sent."""
    return can_be_edited(job, row) and job.edits.filter(number=row.number).exists()


def changed_rows(job: Job, limit: int) -> list[EditedRow]:
    """The first `limit` rows with edits, and what differs in them."""
    found: list[EditedRow] = []
    edits, after = job.edits.order_by("number").values_list("number", "source"), 0
    while len(found) < limit and (some := dict(edits.filter(number__gt=after)[:limit])):
        after = max(some)
        # By number only: with the outcome as well, SQLite reads all rows that have it.
        for row in Row.objects.filter(job=job, number__in=list(some)).in_order():
            if can_be_edited(job, row):
                found.append(EditedRow(row, _differences(job, row, json.loads(some[row.number]))))
    return found[:limit]


def _differences(job: Job, row: Row, after: Any) -> list[Change]:
    before = row.content
    if job.kind == Job.Kind.TABLE:
        width = max(len(before), len(after), len(job.columns))
        names = [*job.columns, *[""] * (width - len(job.columns))]
        both = [[*one, *[""] * (width - len(one))] for one in (before, after)]
        found = list(map(Change, names, *both))
    else:
        keys = dict.fromkeys([*before.get("params", {}), *after.get("params", {})])
        found = [Change(key, _part(before, key), _part(after, key)) for key in keys]
    return [change for change in found if change.before != change.after]


def _part(request: dict[str, Any], key: str) -> str:
    params = request.get("params", {})
    return json.dumps(params[key], ensure_ascii=False) if key in params else ""


def discard_edits(job: Job, number: int | None = None) -> None:
    """Discard the edits of one row or of all, unless rows are being changed or sent."""
    edits = Edit.objects.filter(job=job)
    with transaction.atomic():
        if is_open(job):
            (edits if number is None else edits.filter(number=number)).delete()
            note_edits(job)
