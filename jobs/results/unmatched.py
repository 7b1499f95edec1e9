"""Results of an imported batch that match no row of the file. They were paid for, so the problem
file has them at its end."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator

from ..batches import external_ids, result_files, stored_results
from ..ingest.corrected_rows import OURS
from ..models import Batch, Job
from ..rules.judging import judge_result
from ..rules.result_lines import read_line
from ..rules.spreadsheet_cells import plain_cell
from .table import problem_delimiter

NO_ROW = "No row of your file has the ID “{}”."


def unmatched_chunks(job: Job) -> Iterator[bytes]:
    """One line for each: CSV with the answer for a table, JSONL with the result as received for
    ready-made requests. Raises DamagedResults: immediately for a results file that is missing or
    cut off, and before the first line for one that does not match its hash."""
    batch = external_ids.external_batch_of(job)
    if batch is None or batch.state != Batch.State.COLLECTED:
        return iter(())
    stored_results.open_results(batch).file.close()
    return _stray_chunks(job, batch)


def _stray_chunks(job: Job, batch: Batch) -> Iterator[bytes]:
    path = stored_results.require_whole(batch)
    found = external_ids.numbers(job, external_ids.ids_of(path))
    said = set()  # a line may appear twice
    with path.open("rb") as file:
        for line in result_files.lines(file):
            custom_id = external_ids.id_in(line) if line.strip() else None
            if custom_id is None or custom_id in found or custom_id in said:
                continue
            said.add(custom_id)
            text = NO_ROW.format(custom_id)
            if job.kind == Job.Kind.REQUESTS:
                yield _in_json(text, line)
            else:
                yield _in_csv(job, text, judge_result(read_line(line).result, tool=None).answer)


def _in_json(text: str, line: bytes) -> bytes:
    ours = dict(zip(OURS, ("", text, ""), strict=True))
    head = json.dumps(ours, ensure_ascii=False)[:-1].encode(errors="replace")
    return b'%b, "result": %b}\n' % (head, line.strip())


def _in_csv(job: Job, text: str, answer: str) -> bytes:
    written = io.StringIO(newline="")
    delimiter = problem_delimiter(job)
    cells = ["", text, f"Its answer: {answer}" if answer else "It has no answer."]
    csv.writer(written, delimiter=delimiter).writerow(
        map(plain_cell, [*cells, *[""] * len(job.columns)])
    )
    return written.getvalue().encode(errors="replace")
