"""Results of a batch that was made elsewhere which belong to no row of the file, for the end of the
problem file: they were paid for, so none is dropped."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator

from ..batches import external_ids, result_files, stored_results
from ..ingest.corrected_file import OURS
from ..models import Batch, Job
from ..rules.judging import judge_result, read_line
from ..rules.spreadsheet_cells import plain_cell

NO_ROW = "No row of your file has the ID “{}”."


def unmatched_chunks(job: Job) -> Iterator[bytes]:
    """Each of them as a line: of a table CSV with the answer, of ready-made requests JSONL with the
    result as it was received. Raises DamagedResults: at once for a results file that is missing or
    cut off, and before the first line for one that does not fit its hash."""
    batch = external_ids.is_external(job)
    if batch is None or batch.state != Batch.State.COLLECTED:
        return iter(())
    stored_results.open_results(batch).file.close()
    return _stray_chunks(job, batch)


def _stray_chunks(job: Job, batch: Batch) -> Iterator[bytes]:
    path = stored_results.require_whole(batch)
    found = external_ids.numbers(job, external_ids.ids_of(path))
    said = set()  # a line can be there twice
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
    delimiter = job.reading.get("delimiter") or ","
    cells = ["", text, f"Its answer: {answer}" if answer else "It has no answer."]
    csv.writer(written, delimiter=delimiter).writerow(
        map(plain_cell, [*cells, *[""] * len(job.columns)])
    )
    return written.getvalue().encode(errors="replace")
