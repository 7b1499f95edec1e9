"""What the reader process does; see __main__.py and drafts/reading.py."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from dataclasses import replace
from typing import IO

from .corrected_file import read_corrected
from .corrected_rows import NotCorrected
from .corrections import read_corrections
from .file_formats import open_upload
from .protocol import (
    CorrectedFileRead,
    CorrectedRowsRead,
    Failed,
    FileRead,
    ReaderInput,
    ReaderOutput,
    RowsRead,
    UploadSummary,
    frame,
    too_much,
)
from .shapes import Finding, Limits, Unreadable, row_name, unreadable

LAST_WORDS = 1 << 16  # bytes of any file it writes, such as standard error
SLICE_BYTES = 8_000_000  # of rows per message


def run(order: ReaderInput, output: IO[bytes]) -> None:
    """Read the file of `order` and write ReaderOutputs to `output`."""
    _limit(order.limits)
    for answer in _of_corrected(order) if order.corrected else answers(order):
        output.write(frame(answer))
        output.flush()


def _limit(limits: Limits) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory, limits.memory))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.seconds, limits.seconds + 5))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LAST_WORDS, LAST_WORDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def answers(order: ReaderInput) -> Iterator[ReaderOutput]:
    """What is read of an upload, in slices; the last one says how it ended."""
    summary = None
    try:
        reader = open_upload(order.path, order.choices, order.limits)
        corrections = read_corrections(order.corrections, order.limits, reader.understood)
        reader.corrections = corrections
        summary = UploadSummary(reader.format, reader.kind, reader.understood, list(reader.sheets))
        rows: list[tuple[int, str, int, str]] = []
        size = total = 0
        is_corrected = bool(corrections)
        most_rows, most_bytes = order.limits.rows, order.limits.rows_bytes
        add, most = summary.add, order.slice
        for line in reader:
            if summary.rows == most_rows:
                text = f"The file has more than {summary.rows:,} rows."
                raise unreadable("too_many_rows", text, line.line)
            add(line)
            source, problem = line.source, line.problem
            if is_corrected and not problem:
                row = row_name(reader.format, summary.rows, line.line)
                if row in corrections.changed:
                    text = "This row was corrected."
                    summary.note(Finding("corrected", text, line.line))
            rows.append((line.line, source, line.size, _in_words(problem) if problem else ""))
            size += len(source)
            if total + size > most_bytes:
                text = f"The rows take more than {most_bytes // 1_000_000:,} MB."
                raise unreadable("too_much", text, line.line)
            if len(rows) == most or size > SLICE_BYTES:
                yield RowsRead(rows, reader.position)
                total += size
                rows, size = [], 0
        if not summary.rows:
            text = "The file has column names but no rows."
            if any(remark.kind == "repeated_names" for remark in reader.remarks):
                text = "All rows of the file repeat the column names."
            raise unreadable("no_rows", text)
        if rows:
            yield RowsRead(rows, reader.position)
        summary.close(reader)
        for remark in corrections.remarks():
            summary.note(remark)
        yield FileRead(summary)
    except NotCorrected as error:
        yield Failed(list(error.findings), error.index)
    except Unreadable as error:
        yield Failed(list(error.findings), summary=summary)
    except MemoryError:
        yield Failed([too_much(order.limits)])


def _of_corrected(order: ReaderInput) -> Iterator[ReaderOutput]:
    try:
        found = read_corrected(order.path, order.limits, order.choices)
        for begin in range(0, len(found.rows), order.slice):
            yield CorrectedRowsRead(found.rows[begin : begin + order.slice])
        yield CorrectedFileRead(replace(found, rows=[]))
    except Unreadable as error:
        yield Failed(list(error.findings))
    except MemoryError:
        yield Failed([too_much(order.limits)])


def _in_words(problem: Finding) -> str:
    """What is wrong and, on a second line, how to fix it."""
    text = problem.text.replace("\n", " ")
    return f"{text}\n{problem.remedy}".strip()
