"""An upload becomes rows: read in slices, its problems kept with their lines, progress shown."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.db import connection, transaction

from . import files
from .ingest import Finding, Line, Reader, Unreadable, open_upload
from .ingest.text import MAX_ROWS
from .leases import Lease
from .models import Job, Outcome, Problem, Row

SLICE = 2_000  # rows of one transaction
SLICE_BYTES = 8_000_000
PROBLEMS_KEPT = 1_000
# What is known of the requests to one model; the last two are 1 if any of them asks for it.
MODEL_FACTS = ("rows", "bytes", "max_tokens_sum", "max_tokens_most", "cached", "in_the_us")


@dataclass
class Summary:
    """What was found while reading, for `Job.reading`; sizes in bytes of UTF-8 text."""

    rows: int = 0
    left_out: int = 0
    text_bytes: int = 0
    column_bytes: list[int] = field(default_factory=list)
    longest_row: int = 0  # its number
    longest_size: int = -1
    models: dict[str, dict[str, int]] = field(default_factory=dict)

    def add(self, line: Line) -> None:
        self.rows += 1
        if line.problem:
            self.left_out += 1
            return
        self.text_bytes += line.size
        if line.size > self.longest_size:
            self.longest_row, self.longest_size = self.rows, line.size
        if line.model:
            model = self.models.setdefault(line.model, dict.fromkeys(MODEL_FACTS, 0))
            model["rows"] += 1
            model["cached"] |= line.cached
            model["in_the_us"] |= line.in_the_us
            model["bytes"] += line.size
            model["max_tokens_sum"] += line.max_tokens
            model["max_tokens_most"] = max(model["max_tokens_most"], line.max_tokens)
        elif self.column_bytes:
            sizes = self.column_bytes
            for index, size in enumerate(line.cell_sizes):
                sizes[index] += size
        else:
            self.column_bytes = list(line.cell_sizes)


def read_upload(job: Job, lease: Lease) -> None:
    """Read the upload of a job in state reading into rows; it is then a draft, or unreadable.

    Begun anew when an earlier reading was cut short. Raises LeaseLost.
    """
    Row.objects.filter(job=job).delete()
    Problem.objects.filter(job=job).delete()
    path = files.upload_path(job)
    digest = _sha256(path, lease)
    summary = Summary()
    try:
        reader = open_upload(str(path))
        for lines in _slices(reader):
            _store(job, lines, summary)
            Job.objects.filter(pk=job.pk).update(read_bytes=reader.position, row_count=summary.rows)
            lease.renew()
        if not summary.rows:
            raise Unreadable(
                Finding("There are no rows below the header. Add rows, or check that you saved it.")
            )
    except Unreadable as unreadable:
        _give_up(job, unreadable, digest)
        return
    _finish(job, reader, summary, digest)


def _sha256(path: Path, lease: Lease) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            lease.renew()
    return digest.hexdigest()


def _slices(reader: Reader) -> Iterator[list[Line]]:
    size = 0
    slice_: list[Line] = []
    for taken, line in enumerate(reader, start=1):
        if taken > MAX_ROWS:
            raise Unreadable(
                Finding(f"The file has more than {MAX_ROWS:,} rows. Split it into several files.")
            )
        slice_.append(line)
        size += len(line.source)
        if len(slice_) == SLICE or size > SLICE_BYTES:
            yield slice_
            slice_, size = [], 0
    if slice_:
        yield slice_


_INSERT = (
    "INSERT INTO jobs_row (job_id, number, line, source, size, problem, outcome, cause, answer,"
    " message, request_id, answered_by, stop_reason, input_tokens, cache_write_tokens,"
    " cache_read_tokens, output_tokens, thinking_tokens, cost_pico)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, '', '', '', '', '', 0, 0, 0, 0, 0, 0)"
)


def _store(job: Job, lines: list[Line], summary: Summary) -> None:
    rows: list[tuple[Any, ...]] = []
    problems = []
    for line in lines:
        summary.add(line)
        outcome = Outcome.LEFT_OUT.value if line.problem else Outcome.WAITING.value
        cause = "left_out" if line.problem else ""
        rows.append(
            (job.pk, summary.rows, line.line, line.source, line.size, line.problem, outcome, cause)
        )
        if line.problem and summary.left_out <= PROBLEMS_KEPT:
            problems.append(Problem(job=job, line=line.line, text=line.problem, row_left_out=True))
    with transaction.atomic():
        # bulk_create takes ten times as long: SQLite allows it 50 rows a statement.
        with connection.cursor() as cursor:
            cursor.executemany(_INSERT, rows)
        Problem.objects.bulk_create(problems)


def _give_up(job: Job, unreadable: Unreadable, digest: str) -> None:
    """The file cannot be read: no rows, only what is wrong with it."""
    Row.objects.filter(job=job).delete()
    Problem.objects.filter(job=job).delete()
    with transaction.atomic():
        Problem.objects.bulk_create(
            Problem(job=job, line=finding.line, text=finding.text)
            for finding in unreadable.findings
        )
        Job.objects.move(
            job.pk,
            Job.State.READING,
            Job.State.UNREADABLE,
            upload_sha256=digest,
            row_count=0,
            problem_count=len(unreadable.findings),
            next_action_at=None,
        )


def _finish(job: Job, reader: Reader, summary: Summary, digest: str) -> None:
    with transaction.atomic():
        Problem.objects.bulk_create(
            Problem(job=job, line=remark.line, text=remark.text) for remark in reader.remarks
        )
        Job.objects.move(
            job.pk,
            Job.State.READING,
            Job.State.DRAFT,
            upload_sha256=digest,
            read_bytes=job.upload_bytes,
            kind=reader.kind,
            columns=reader.columns,
            row_count=summary.rows,
            left_out_count=summary.left_out,
            problem_count=summary.left_out + len(reader.remarks),
            reading={
                "format": reader.format,
                "encoding": "UTF-8",
                "delimiter": reader.delimiter,
                "blank_lines": reader.blank_lines,
                "text_bytes": summary.text_bytes,
                "column_bytes": summary.column_bytes,
                "longest_row": summary.longest_row,
                "models": summary.models,
            },
        )
