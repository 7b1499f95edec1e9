"""Corrected problem files: rows that a person changed in the problem file of a finished job become
Edits that wait to be sent, and the rest is reported.

Reports name a row as the file does: usually by its line in the upload.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec
from django.db import transaction
from django.db.models import F

from ..batches.leases import Lease, LeaseLost
from ..batches.slices import slice_transaction
from ..drafts import reading
from ..ingest.corrected_rows import CorrectedFile, Findings
from ..ingest.corrections import Corrections
from ..ingest.json_faults import find_oddity
from ..ingest.json_reader import REQUEST
from ..ingest.request_reader import RequestReader
from ..ingest.row_cells import line_of
from ..ingest.shapes import LINES_NAMED, Finding, Limits, ParsedRow, Unreadable, row_name
from ..models import CorrectedUpload, Job, Outcome, Row, RowChange, files
from ..rules.judging import NOT_SELECTED
from . import edits
from .selection import CAN_BE_EDITED

SLICE = 1_000  # rows handled at a time
GONE = "The corrected file no longer exists. Upload it again."
DAMAGED = "Our copy of the corrected file is damaged. Upload it again."
SAME_ID = "another request has the same custom_id."
TOO_DEEP = Finding("request", "It is nested too deeply.")


class NotFinished(Exception):
    """The job is no longer finished: some of its rows are being retried."""


# --- The worker -----------------------------------------------------------------------------------


def read_next(job: Job, lease: Lease) -> bool:
    """Read the waiting corrected file; False if there is none. Safe to repeat after a crash. Raises
    LeaseLost."""
    waiting = CorrectedUpload.objects.filter(job=job, found__isnull=True).first()
    if waiting is None:
        return False
    path = files.stored_path(waiting.file)
    try:
        if not reading.is_as_uploaded(waiting.file, waiting.sha256, lease):
            raise Unreadable(Finding("damaged_copy", DAMAGED))
        found, changed = match_rows(job, reading.read_corrected(job, str(path), lease), lease)
    except FileNotFoundError:
        found, changed = Findings(trouble=[GONE]), {}
    except Unreadable as error:
        found, changed = Findings(trouble=list(describe_error(error))), {}
    if len(changed) > SLICE:
        _begin(job, waiting, len(changed))
        for some in _slices(changed):
            with slice_transaction(lease):
                edits.store_sources(job, some)
                RowChange.objects.filter(job=job).update(done=F("done") + len(some))
            lease.renew()
    with transaction.atomic():
        # Unless another file has replaced it in the meantime.
        same = CorrectedUpload.objects.filter(pk=waiting.pk, file=waiting.file)
        if same.update(found=found) and len(changed) <= SLICE:
            try:
                save_changes(job, changed)
            except NotFinished:
                raise LeaseLost from None  # read it once the job has finished again
        RowChange.objects.filter(job=job, kind=RowChange.Kind.CORRECT).delete()
    return True


def _begin(job: Job, waiting: CorrectedUpload, rows: int) -> None:
    """Reserve the job for more edits than fit into one transaction: nothing else may change or send
    rows until all are stored. Raises LeaseLost."""
    with transaction.atomic():
        locked = Job.objects.select_for_update().get(pk=job.pk)
        same = CorrectedUpload.objects.filter(pk=waiting.pk, file=waiting.file)
        other = RowChange.objects.filter(job=job).exclude(kind=RowChange.Kind.CORRECT)
        if locked.state != Job.State.FINISHED or not same.exists() or other.exists():
            raise LeaseLost  # read it once the job has finished again
        # Start over if a worker died: storing the same edits again is harmless.
        values = {"kind": RowChange.Kind.CORRECT, "rows": rows, "done": 0}
        RowChange.objects.update_or_create(job=job, defaults=values)


def save_changes(job: Job, changed: dict[int, str]) -> None:
    """Store corrected sources by row number as Edits, one transaction per slice. Raises
    NotFinished."""
    for some in _slices(changed):
        with slice_transaction(None):
            if not edits.is_open(job):
                raise NotFinished
            edits.store_sources(job, some)


def _slices(changed: dict[int, str]) -> Iterator[dict[int, str]]:
    numbers = iter(sorted(changed))
    while some := tuple(islice(numbers, SLICE)):
        yield {number: changed[number] for number in some}


def describe_error(error: Unreadable) -> Iterator[str]:
    """Why a corrected file cannot be used, with line numbers as a spreadsheet shows them."""
    for finding in error.findings:
        yield f"Line {finding.line:,}: {finding.text}" if finding.line else finding.text


# --- Which rows it changes ------------------------------------------------------------------------


def match_rows(
    job: Job, corrected: CorrectedFile, lease: Lease | None = None
) -> tuple[Findings, dict[int, str]]:
    """The findings of a corrected file, and the new sources by row number. Stores nothing. Raises
    NotCorrected, LeaseLost."""
    corrections = Corrections([corrected])
    is_table = job.kind == Job.Kind.TABLE
    corrections.bind(job.columns if is_table else [REQUEST])
    names = corrections.left()
    numbers, fixed = _rows_named(job, set(names), lease)
    corrected_line = _table_line if is_table else _request_line
    checks = _Checks(job)
    what = "Row" if job.reading.format == "JSON" else "Line"  # as shapes.row_name
    found, changed, wrong = Findings(), {}, []
    edited = set(job.edits.values_list("number", flat=True))
    stays = 0
    for row in _rows(job, sorted(numbers), lease):
        name = numbers[row.number]
        line = corrected_line(corrections, checks, name, row)
        if line is None or line.source == row.source or _content(line) == row.content:
            found.unchanged += 1
            stays += row.number in edited
        elif line.problem:
            wrong.append(f"{what} {name:,} cannot be sent as you corrected it: {line.problem.text}")
        else:
            changed[row.number] = line.source
    for number in [] if is_table else _with_the_id_of_another(job, changed, lease):
        del changed[number]
        name = numbers[number]
        wrong.append(f"{what} {name:,} cannot be sent as you corrected it: {SAME_ID}")
    found.changed = len(changed)
    notes = [finding.text for finding in corrections.remarks_on_files()]
    unknown = [name for name in corrections.left() if name not in fixed]
    found.good, found.wrong, found.unknown = len(fixed), len(wrong), len(unknown)
    notes += _first(wrong)
    notes += _first(
        [f"{what} {name:,} {why}, so it was not changed." for name, why in sorted(fixed.items())]
    )
    notes += _first(
        [f"{what} {name:,} of the corrected file is not in your upload." for name in unknown]
    )
    if stays:
        notes.append(f"Earlier edits that still wait to be sent: {stays:,}.")
    found.notes = notes
    return found, changed


def _rows_named(
    job: Job, names: set[int], lease: Lease | None
) -> tuple[dict[int, int], dict[int, str]]:
    """Of the rows that a file names: the names of editable rows by number, and why others cannot be
    edited, by their name."""
    numbers, fixed = {}, {}
    format_ = job.reading.format
    # A row's number is never larger than its name: names count empty lines, too.
    rows = Row.objects.filter(job=job, number__lte=max(names, default=0))
    for some in rows.value_slices(10 * SLICE, "line", "outcome", "cause"):
        for number, line, outcome, cause in some:
            name = row_name(format_, number, line)
            if name in names and cause == NOT_SELECTED:
                fixed[name] = "was not selected to be sent"
            elif name in names and outcome in CAN_BE_EDITED:
                numbers[number] = name
            elif name in names:
                fixed[name] = "already has a good answer"
        if lease:
            lease.renew()
    return numbers, fixed


def _rows(job: Job, numbers: list[int], lease: Lease | None) -> Iterator[Row]:
    waiting = iter(numbers)
    while some := list(islice(waiting, SLICE)):
        yield from Row.objects.filter(job=job, number__in=some).order_by("number")
        if lease:
            lease.renew()


class _Checks:
    """The checks of a row before it is sent: the same as when an upload is read."""

    def __init__(self, job: Job) -> None:
        choices = job.choices
        self.limits: Limits = reading.reading_limits()
        self.width = len(job.columns)
        self.fill = choices.fill
        self.requests = RequestReader(choices.remedies, self.limits)


def _table_line(corrections: Corrections, checks: _Checks, name: int, row: Row) -> ParsedRow | None:
    """The corrected row of a table; None if unchanged."""
    cells = row.content
    now = corrections.cells(name, cells)
    if now is cells:
        return None
    return line_of(name, now, checks.width, checks.limits, fill=checks.fill)


def _request_line(
    corrections: Corrections, checks: _Checks, name: int, row: Row
) -> ParsedRow | None:
    """The corrected ready-made request; None if unchanged. Raises NotCorrected."""
    text, request = corrections.request(name, row.source, row.content)
    if name not in corrections.changed:
        return None
    try:
        problem = find_oddity(name, text, request)
    except (RecursionError, ValueError):
        problem = TOO_DEEP
    return (
        ParsedRow(name, text, 0, problem) if problem else checks.requests.line(name, text, request)
    )


def _with_the_id_of_another(job: Job, changed: dict[int, str], lease: Lease | None) -> list[int]:
    """The rows in `changed` whose custom_id belongs to another sent row."""
    ids = {_id_decoder.decode(source).custom_id: number for number, source in changed.items()}
    taken: set[int] = set()
    # Rows that were skipped from the start do not count.
    others = Row.objects.filter(job=job).exclude(outcome=Outcome.LEFT_OUT, batch=None)
    for some in others.value_slices(SLICE, "source") if ids else ():
        for number, source in some:
            mine = ids.get(_id_decoder.decode(source).custom_id)
            if mine is not None and mine != number and number not in changed:
                taken.add(mine)
        if lease:
            lease.renew()
    return sorted(taken)


class _Id(msgspec.Struct):
    custom_id: str = ""


_id_decoder = msgspec.json.Decoder(_Id)


def _content(line: ParsedRow) -> Any:
    return None if line.problem else Row(source=line.source).content


def _first(sentences: list[str]) -> list[str]:
    """The first sentences of one kind, and the number of the rest."""
    more = len(sentences) - LINES_NAMED
    return [*sentences[:LINES_NAMED], *([f"And {more:,} more like this."] if more > 0 else [])]
