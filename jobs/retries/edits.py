"""Rows of a finished job that are changed before they are sent again: by hand, or all of a group at
once. What is changed waits as an Edit until it is sent, and is shown beside what was there."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from django.db import connection, transaction
from django.db.models import F

from ..models import NOT_GOOD, Edit, Job, Outcome, Row, RowChange, RowQuerySet, clock
from ..models.statements import insert_statement
from ..rules.judging import LONGER, SHORTEN, WITHOUT
from . import rounds, selection

_PUT = (
    insert_statement(Edit, ["job_id", "number", "source"])
    + " ON CONFLICT (job_id, number) DO UPDATE SET source = excluded.source"
)
CAN_BE_EDITED = (*NOT_GOOD, Outcome.LEFT_OUT)


@dataclass(frozen=True)
class Change:
    """What is different in one cell, or one part of a request."""

    name: str
    before: str
    after: str


@dataclass(frozen=True)
class EditedRow:
    """A row that waits to be sent as it was changed."""

    row: Row
    changes: list[Change]


def editable_rows(job: Job) -> RowQuerySet:
    """The rows of a finished job that can be changed and sent again."""
    if job.state != Job.State.FINISHED or not rounds.knows_rows(job):
        return Row.objects.none()
    return Row.objects.filter(job=job, outcome__in=CAN_BE_EDITED)


def why_not_editable(job: Job, row: Row) -> str:
    """Why a row cannot be changed, as a sentence."""
    if job.state != Job.State.FINISHED:
        return "Rows can be edited when the job has finished."
    if not rounds.knows_rows(job):
        return "The batch came without its file, so its rows cannot be edited."
    return f"Row {row.number:,} has a good answer, so it stays as it is."


def edit_row(row: Row, cells: list[str]) -> bool:
    """Keep what a row of a table is to be. False when that is what it is already; an earlier change
    of it is forgotten then."""
    return save_edits(row.job, [(row, _as_json(cells))]) == 1


def _as_json(cells: list[str]) -> str:
    return json.dumps(cells, ensure_ascii=False, separators=(",", ":"))


def save_edits(job: Job, wanted: Sequence[tuple[Row, str]]) -> int:
    """Keep what rows are to be, as Row.source; how many of them are not as they were. 0 while other
    rows of the job are being changed."""
    with transaction.atomic():
        # Locked: a round that starts meanwhile comes after us, or has come before.
        return store_edits(job, EditedSources.of(wanted)) if is_open(job) else 0


def is_open(job: Job) -> bool:
    """Whether its rows can be edited, within a transaction: until its end nobody else does."""
    locked = Job.objects.select_for_update().get(pk=job.pk)
    busy = RowChange.objects.filter(job=job).exists()
    return locked.state == Job.State.FINISHED and not busy


@dataclass(frozen=True)
class EditedSources:
    """What rows are to be, by number, and those that are so already."""

    sources: dict[int, str]
    same: set[int]

    @classmethod
    def of(cls, wanted: Sequence[tuple[Row, str]]) -> EditedSources:
        same = {row.number for row, source in wanted if json.loads(source) == row.content}
        return cls({row.number: source for row, source in wanted if row.number not in same}, same)


def store_edits(job: Job, wanted: EditedSources) -> int:
    """As `keep`, of a job that is open or that the worker is changing."""
    Edit.objects.filter(job=job, number__in=wanted.same).delete()
    store_sources(job, wanted.sources)
    return len(wanted.sources)


def store_sources(job: Job, sources: Mapping[int, str]) -> None:
    """Keep what rows are to be, by number, in place of earlier changes of them."""
    # bulk_create takes ten times as long.
    with connection.cursor() as cursor:
        cursor.executemany(_PUT, [(job.pk, *edit) for edit in sources.items()])
    note_edits(job)


def note_edits(job: Job) -> None:
    """Say, in the transaction that changes edits of a job, that they are not what they were: a plan
    that was shown is old, and the worker measures them anew."""
    changed = Job.objects.filter(pk=job.pk)
    changed.update(edits_version=F("edits_version") + 1, next_action_at=clock.now())


def change_rows(job: Job, cause: str, code: str, name: str, number: int) -> int:
    """Change all rows with one cause in the same way; how many were changed. For a few rows: as
    many as there are, it takes as long. `code`: SHORTEN the column `name` to `number` characters,
    take the parameter `name` WITHOUT, or allow a LONGER answer of `number` tokens in ready-made
    requests."""
    if not can_change(job, code, name, number):
        return 0
    with transaction.atomic():
        if not is_open(job):
            return 0
        return store_edits(
            job, change_sources(job, changeable_rows(job, cause), code, name, number)
        )


def can_change(job: Job, code: str, name: str, number: int) -> bool:
    """Whether this is a change of all rows that there is."""
    return code in _changes(job, name, number)


def changeable_rows(job: Job, cause: str) -> RowQuerySet:
    """The rows of a group that `change_all` changes."""
    return editable_rows(job).failed().filter(cause=cause)


def change_sources(job: Job, rows: RowQuerySet, code: str, name: str, number: int) -> EditedSources:
    """What `change_all` makes of `rows`."""
    change = _changes(job, name, number)[code]
    found = list(rows.in_order())
    # One that was changed before is changed further.
    numbers = [row.number for row in found]
    before = dict(job.edits.filter(number__in=numbers).values_list("number", "source"))
    return EditedSources.of([(row, change(before.get(row.number, row.source))) for row in found])


_Parts = dict[str, msgspec.Raw]
_parts_decoder = msgspec.json.Decoder(_Parts)


def _changes(job: Job, name: str, number: int) -> dict[str, Callable[[str], str]]:
    """From the source of a row to another one. Of a request all else stays to the letter."""

    def shorten(source: str) -> str:
        cells, at = json.loads(source), job.columns.index(name)
        # A row of a batch made elsewhere may have too few.
        shorter = [cell[:number].rstrip() for cell in cells[at : at + 1]]
        return _as_json([*cells[:at], *shorter, *cells[at + 1 :]])

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


def waiting_rows(job: Job) -> RowQuerySet:
    """The rows that wait to be sent as they were changed."""
    return editable_rows(job).filter(number__in=job.edits.values("number"))


def count_waiting(job: Job) -> int:
    """How many rows wait to be sent as they were changed."""
    measured = selection.count_edited(job)
    return waiting_rows(job).count() if measured is None else measured


def changed_rows(job: Job, limit: int) -> list[EditedRow]:
    """The first `limit` rows that wait to be sent as they were changed, with what is different."""
    rows = waiting_rows(job).in_order()[:limit]
    numbers = [row.number for row in rows]
    edits = dict(job.edits.filter(number__in=numbers).values_list("number", "source"))
    return [EditedRow(row, _differences(job, row, json.loads(edits[row.number]))) for row in rows]


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
    """Take back what was changed, in one row or in all, unless rows are being changed or sent."""
    edits = Edit.objects.filter(job=job)
    with transaction.atomic():
        if is_open(job):
            (edits if number is None else edits.filter(number=number)).delete()
            note_edits(job)
