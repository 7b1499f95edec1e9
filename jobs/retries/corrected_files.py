"""The problem file of a finished job that comes back corrected: the rows that are different in it
wait as Edits to be sent, and what else it has is said.

What is said of a row names it as the file does: by its line in the upload, as a rule.
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
from ..ingest.columns import line_of
from ..ingest.corrected_file import CorrectedFile
from ..ingest.corrections import Corrections
from ..ingest.json_lines import REQUEST, oddity
from ..ingest.requests import Requests
from ..ingest.shapes import LINES_NAMED, Finding, Limits, Line, Unreadable, row_name
from ..models import CorrectedUpload, Job, Outcome, Row, RowChange, choices_of, files
from ..rules.structs import reader_of
from . import edits

SLICE = 1_000  # rows that are looked at together
GONE = "It is not there any more. Upload it again."
DAMAGED = "Our copy of it is damaged. Upload it again."
SAME_ID = "its custom_id is that of another request."
TOO_DEEP = Finding("request", "It is nested too deeply.")


class NotFinished(Exception):
    """The job is not finished any more: rows of it are being sent again."""


class Findings(msgspec.Struct):
    """What came of a corrected file: how many of its rows are what, and sentences."""

    changed: int = 0  # they wait as Edits
    unchanged: int = 0
    good: int = 0  # have a good answer by now
    wrong: int = 0  # cannot be sent as they were corrected
    unknown: int = 0  # are not in the upload
    notes: list[str] = []
    trouble: list[str] = []  # why nothing of the file was used; empty when it was

    @property
    def in_short(self) -> str:
        """ "14 changed, 3 not changed, 2 unknown" """
        counts = {
            "changed": self.changed,
            "not changed": self.unchanged,
            "good by now": self.good,
            "cannot be sent": self.wrong,
            "unknown": self.unknown,
        }
        said = [f"{count:,} {what}" for what, count in counts.items() if count]
        return ", ".join(said) or "no rows"


_read_found = reader_of(Findings)


# --- The worker -----------------------------------------------------------------------------------


def read_next(job: Job, lease: Lease) -> bool:
    """Read the corrected file that waits for that; False when there is none. When it is cut off,
    it is begun anew, and comes to the same. Raises LeaseLost."""
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
            with slice_transaction():
                edits.store_sources(job, some)
                RowChange.objects.filter(job=job).update(done=F("done") + len(some))
            lease.renew()
    with transaction.atomic():
        # Not what was uploaded in its place meanwhile.
        same = CorrectedUpload.objects.filter(pk=waiting.pk, file=waiting.file)
        if same.update(found=msgspec.to_builtins(found)) and len(changed) <= SLICE:
            try:
                save_changes(job, changed)
            except NotFinished:
                raise LeaseLost from None  # it is read when the job has finished again
        RowChange.objects.filter(job=job, kind=RowChange.Kind.CORRECT).delete()
    return True


def _begin(job: Job, waiting: CorrectedUpload, rows: int) -> None:
    """More rows are to be kept than fit into one transaction: until all are kept nothing else may
    change or send rows of the job. Raises LeaseLost."""
    with transaction.atomic():
        locked = Job.objects.select_for_update().get(pk=job.pk)
        same = CorrectedUpload.objects.filter(pk=waiting.pk, file=waiting.file)
        other = RowChange.objects.filter(job=job).exclude(kind=RowChange.Kind.CORRECT)
        if locked.state != Job.State.FINISHED or not same.exists() or other.exists():
            raise LeaseLost  # it is read when the job has finished again
        # One that was begun by a worker that died begins anew: the same rows come to the same.
        values = {"kind": RowChange.Kind.CORRECT, "rows": rows, "done": 0}
        RowChange.objects.update_or_create(job=job, defaults=values)


def read_findings(corrected: CorrectedUpload) -> Findings | None:
    """What came of it; None while it is to be read."""
    return None if corrected.found is None else _read_found(corrected.found)


def save_changes(job: Job, changed: dict[int, str]) -> None:
    """Let rows (their source, by number) wait to be sent as they were corrected, in a transaction
    for each slice of them. Raises NotFinished."""
    for some in _slices(changed):
        with slice_transaction():
            if not edits.is_open(job):
                raise NotFinished
            edits.store_sources(job, some)


def _slices(changed: dict[int, str]) -> Iterator[dict[int, str]]:
    numbers = iter(sorted(changed))
    while some := tuple(islice(numbers, SLICE)):
        yield {number: changed[number] for number in some}


def describe_error(error: Unreadable) -> Iterator[str]:
    """Why a corrected file cannot be used, with the line as a spreadsheet shows it."""
    for finding in error.findings:
        yield f"Line {finding.line:,}: {finding.text}" if finding.line else finding.text


# --- Which rows it changes ------------------------------------------------------------------------


def match_rows(
    job: Job, corrected: CorrectedFile, lease: Lease | None = None
) -> tuple[Findings, dict[int, str]]:
    """What came of a corrected file, and the rows that it changes: their new source, by number.
    Nothing is stored. Raises NotCorrected, LeaseLost."""
    corrections = Corrections([corrected])
    is_table = job.kind == Job.Kind.TABLE
    corrections.bind(job.columns if is_table else [REQUEST])
    names = corrections.left()
    numbers, good = _rows_named(job, set(names), lease)
    corrected_line = _table_line if is_table else _request_line
    checks = _Checks(job)
    what = "Row" if job.reading.get("format") == "JSON" else "Line"  # as shapes.row_name
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
    unknown = [name for name in corrections.left() if name not in good]
    found.good, found.wrong, found.unknown = len(good), len(wrong), len(unknown)
    notes += _first(wrong)
    notes += _first(
        [
            f"{what} {name:,} has a good answer by now, so it stays as it is."
            for name in sorted(good)
        ]
    )
    notes += _first(
        [
            f"The corrected file has a {what.lower()} {name:,}, which your file does not have."
            for name in unknown
        ]
    )
    if stays:
        wait = "waits as you changed it" if stays == 1 else "wait as you changed them"
        notes.append(f"Of those not changed in the file, {stays:,} {wait} before.")
    found.notes = notes
    return found, changed


def _rows_named(job: Job, names: set[int], lease: Lease | None) -> tuple[dict[int, int], set[int]]:
    """Of the rows that a file names: the names of those that can be changed, by number, and the
    names of those that cannot, because they are good by now."""
    numbers, good = {}, set()
    format_ = job.reading.get("format", "")
    # No row has a larger number than name: lines that hold none are counted, too.
    rows = Row.objects.filter(job=job, number__lte=max(names, default=0))
    for some in rows.value_slices(10 * SLICE, "line", "outcome"):
        for number, line, outcome in some:
            name = row_name(format_, number, line)
            if name in names and outcome in edits.CAN_BE_EDITED:
                numbers[number] = name
            elif name in names:
                good.add(name)
        if lease:
            lease.renew()
    return numbers, good


def _rows(job: Job, numbers: list[int], lease: Lease | None) -> Iterator[Row]:
    waiting = iter(numbers)
    while some := list(islice(waiting, SLICE)):
        yield from Row.objects.filter(job=job, number__in=some).order_by("number")
        if lease:
            lease.renew()


class _Checks:
    """What a row has to be like that is sent: as when its upload was read."""

    def __init__(self, job: Job) -> None:
        choices = choices_of(job)
        self.limits: Limits = reading.reading_limits()
        self.width = len(job.columns)
        self.fill = choices.fill
        self.requests = Requests(choices.remedies, self.limits)


def _table_line(corrections: Corrections, checks: _Checks, name: int, row: Row) -> Line | None:
    """A row of a table as it was corrected; None when it was not."""
    cells = row.content
    now = corrections.cells(name, cells)
    if now is cells:
        return None
    return line_of(name, now, checks.width, checks.limits, fill=checks.fill)


def _request_line(corrections: Corrections, checks: _Checks, name: int, row: Row) -> Line | None:
    """A ready-made request as it was corrected; None when it was not. Raises NotCorrected."""
    text, request = corrections.request(name, row.source, row.content)
    if name not in corrections.changed:
        return None
    try:
        problem = oddity(name, text, request)
    except (RecursionError, ValueError):
        problem = TOO_DEEP
    return Line(name, text, 0, problem) if problem else checks.requests.line(name, text, request)


def _with_the_id_of_another(job: Job, changed: dict[int, str], lease: Lease | None) -> list[int]:
    """Those of `changed` whose custom_id is that of another row that was sent."""
    ids = {_id_decoder.decode(source).custom_id: number for number, source in changed.items()}
    taken: set[int] = set()
    # What was left out from the start has no claim to its id.
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


def _content(line: Line) -> Any:
    return None if line.problem else Row(source=line.source).content


def _first(sentences: list[str]) -> list[str]:
    """The first sentences of one kind, and how many more there are."""
    more = len(sentences) - LINES_NAMED
    return [*sentences[:LINES_NAMED], *([f"And {more:,} more like this."] if more > 0 else [])]
