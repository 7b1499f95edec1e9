"""Read an upload into rows: in a child process, stored in slices, with progress.

A hostile file may take all memory or run forever. So a child process reads it, with limits on
memory and time and without access to the database. If it dies, only this file counts as unreadable.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import IO, Any

import msgspec
from django.conf import settings
from django.db import transaction

from ..batches.leases import Lease, LeaseLost
from ..batches.slices import delete_rows, slice_transaction
from ..ingest.corrected_rows import CorrectedFile, NotCorrected
from ..ingest.finding_kinds import asks
from ..ingest.protocol import (
    CorrectedFileRead,
    CorrectedRowsRead,
    Failed,
    FileRead,
    FindingGroup,
    ReaderInput,
    ReaderOutput,
    RowsRead,
    UploadSummary,
    frames,
    too_long,
    too_much,
)
from ..ingest.shapes import Choices, CorrectionFile, Finding, Limits, Unreadable, unreadable
from ..models import (
    FileProblem,
    Job,
    Outcome,
    Row,
    files,
    note_change,
    storage,
)
from ..models.results import NO_RESULT
from ..models.statements import insert_statement, renew_statistics, run_for_each
from ..rules import column_matching
from ..rules.row_choices import RowChoice
from .private_columns import private_columns_for

logger = logging.getLogger(__name__)

SLICE = 2_000  # rows per transaction
BLOCK = 1 << 20
LOOKS = 3  # before a file counts as missing
MANY = 10_000  # new rows, after which the database's statistics are out of date
SILENCE = 5.0  # seconds without output after which the lease is renewed

# Signals of a machine or supervisor that shuts down.
STOPPED = (-signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP)


def reading_limits() -> Limits:
    return Limits(
        rows=settings.MAX_ROWS,
        columns=settings.MAX_COLUMNS,
        cell=settings.MAX_CELL_BYTES,
        line=settings.MAX_LINE_BYTES,
        unpacked=settings.MAX_UNPACKED_BYTES,
        rows_bytes=settings.MAX_UNPACKED_BYTES,
        memory=settings.READING_MEMORY_BYTES,
        seconds=settings.READING_SECONDS,
    )


# --- The job --------------------------------------------------------------------------------------


def read_upload(job: Job, lease: Lease) -> None:
    """Read the upload of a job in state reading into rows; it is then a draft, or unreadable.

    Begun anew when an earlier reading was cut short, or when the choices were changed meanwhile. A
    corrected file that cannot be used is left out, and what is wrong with it is said beside the
    rows. Raises LeaseLost, and OSError when our own copy of a file cannot be had.
    """
    good: list[CorrectionFile] = list(job.corrections)
    notes: list[Finding] = []
    damage = _damage(job, job.upload_file, job.upload_sha256, lease)
    for correction in job.corrections:
        if fault := _damage(job, correction.file, correction.sha256, lease):
            text = f"Our copy of your corrected file is {fault}, so it was not used."
            notes.append(Finding("damaged_copy", text))
            good.remove(correction)
    with transaction.atomic():
        lease.require()
        FileProblem.objects.filter(job=job).delete()
    if damage:
        give_up(job, unreadable("damaged_copy", f"Our copy of your file is {damage}."), lease)
        return
    while True:
        try:
            summary = _read_rows(job, [correction.file for correction in good], lease)
        except Unreadable as error:
            index = _faulty_correction(error, good)
            if index is None:
                give_up(job, error, lease)
                return
            del good[index]
            notes += map(_of_corrections, error.findings)
        else:
            for note in notes:
                summary.note(note)
            _finish(job, summary, _applied_corrections(job, good), lease)
            return


def _damage(job: Job, name: str, sha256: str, lease: Lease) -> str:
    """ "missing", "damaged" or "" if our copy of a file is intact. Raises OSError, LeaseLost."""
    try:
        return "" if is_as_uploaded(name, sha256, lease) else "damaged"
    except FileNotFoundError:
        if job.failures_in_a_row < LOOKS:
            raise  # its disk may be unmounted for a moment
        return "missing"


def is_as_uploaded(name: str, sha256: str, lease: Lease | None) -> bool:
    """Whether our copy of a file is what was uploaded; True for one without a hash. Raises OSError,
    LeaseLost."""
    digest = hashlib.sha256()
    with files.stored_path(name).open("rb") as file:
        while sha256 and (block := file.read(BLOCK)):
            digest.update(block)
            if lease:
                lease.renew()
    return digest.hexdigest() == sha256 or not sha256


def _applied_corrections(job: Job, good: list[CorrectionFile]) -> list[CorrectionFile]:
    """The corrected files to keep: those that could be used, now or with earlier choices, which may
    be restored."""
    return [
        msgspec.structs.replace(correction, used=True)
        for correction in job.corrections
        if correction in good or correction.used
    ]


def _faulty_correction(error: Unreadable, corrections: list[CorrectionFile]) -> int | None:
    """Index of the corrected file that is at fault; None if it is the upload itself."""
    if isinstance(error, NotCorrected):
        return error.index
    if corrections and error.findings[0].kind == "too_much":
        return len(corrections) - 1  # everything could be read before the newest one
    return None


def _of_corrections(finding: Finding) -> Finding:
    where = f" Line {finding.line:,} of it: " if finding.line else " "
    remedy = f" {finding.remedy}" if finding.kind == "no_row_column" else ""
    return Finding("correction", f"Your corrected file was not used.{where}{finding.text}{remedy}")


def _read_rows(job: Job, corrections: list[str], lease: Lease) -> UploadSummary:
    """Read and store the rows. Raises Unreadable, NotCorrected, LeaseLost."""
    delete_rows(Row.objects.filter(job=job), lease)
    order = ReaderInput(
        str(files.upload_path(job)),
        job.choices,
        reading_limits(),
        SLICE,
        [str(files.stored_path(name)) for name in corrections],
    )
    stored, stored_bytes = 0, 0
    for answer in read_apart(order, lease):
        if isinstance(answer, RowsRead):
            _require_room(job)
            stored_bytes += sum(len(row[1].encode()) + storage.ROW_BYTES for row in answer.rows)
            _store(job, answer, stored, stored_bytes, lease)
            stored += len(answer.rows)
            lease.renew()
        elif isinstance(answer, FileRead):
            if stored >= MANY:
                renew_statistics(Row)
            return answer.summary
        elif isinstance(answer, Failed):
            if answer.correction is not None:
                raise NotCorrected(answer.correction, *answer.findings)
            _note_how_far(job, answer.summary)
            raise Unreadable(*answer.findings)
    raise AssertionError("read_apart ends with an answer or an exception")


def _note_how_far(job: Job, summary: UploadSummary | None) -> None:
    """Store what was understood of an unreadable file, so that people can choose how to read it."""
    if summary is not None:
        Job.objects.filter(pk=job.pk).update(reading=summary.facts, kind=summary.kind)


def _require_room(job: Job) -> None:
    """Raises Unreadable if the owner's quota is used up, and OSError (ENOSPC) if the disk is full:
    then the file is read later."""
    try:
        storage.require_quota(job.owner)
    except storage.NoRoom as why:
        raise unreadable("no_room", str(why)) from None
    if storage.is_low():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(settings.DATA_DIR))


def _progress(job: Job, position: int, rows: int, stored_bytes: int) -> None:
    """Store the progress. Raises LeaseLost if the job was deleted or trashed, or the choices
    have changed."""
    wanted = Job.objects.filter(pk=job.pk, state=Job.State.READING, readings=job.readings)
    wanted = wanted.filter(trashed_at=None)
    if not wanted.update(read_bytes=position, row_count=rows, stored_bytes=stored_bytes):
        raise LeaseLost


_GIVEN = ("job_id", "number", "line", "source", "size", "problem", "outcome", "cause")
# Values of the other columns without a default in the database.
_NEW = {"attempts": 0, **{n: value for n, value in NO_RESULT.items() if n not in _GIVEN}}
_INSERT = insert_statement(Row, _GIVEN, _NEW)
_SENT = (Outcome.WAITING.value, "")
_LEFT_OUT = (Outcome.LEFT_OUT.value, "left_out")


def _store(job: Job, read: RowsRead, before: int, stored_bytes: int, lease: Lease) -> None:
    """Store rows after the first `before` ones, and the progress. Raises LeaseLost."""
    with slice_transaction(lease):
        _insert(job, read.rows, before)
        _progress(job, read.position, before + len(read.rows), stored_bytes)


def _insert(job: Job, rows: list[tuple[int, str, int, str]], before: int) -> None:
    """Rows (line, source, size, problem) after the first `before` ones."""
    values = [
        (job.pk, number, *row, *(_LEFT_OUT if row[3] else _SENT))
        for number, row in enumerate(rows, start=before + 1)
    ]
    # bulk_create is ten times slower: SQLite allows it 50 rows per statement.
    run_for_each(_INSERT, values)


def give_up(job: Job, error: Unreadable, lease: Lease) -> None:
    """End with no rows, only with the reasons why the file cannot be read."""
    delete_rows(Row.objects.filter(job=job), lease)
    found = UploadSummary("", "table")
    for finding in error.findings:
        found.note(finding, leaves_out=True)
    _settle(job, Job.State.UNREADABLE, found.groups, lease, row_count=0, stored_bytes=0)


def _finish(
    job: Job, summary: UploadSummary, corrections: list[CorrectionFile], lease: Lease
) -> None:
    recipe = _fitted_recipe(job, summary)
    recipe["private_columns"] = private_columns_for(job, summary.columns)
    if summary.kind == Job.Kind.REQUESTS:
        recipe["row_choice"] = RowChoice()  # of the table that was here before
    state, skipped = Job.State.DRAFT, summary.skipped
    if job.is_external:
        # None of it will be sent, and requests that this site would not send may have answers.
        attach_file(job, lease)
        state, skipped = Job.State.WORKING, 0
    _settle(
        job,
        state,
        summary.groups,
        lease,
        read_bytes=job.upload_bytes,
        kind=summary.kind,
        columns=summary.columns,
        skipped_count=skipped,
        corrections=corrections,
        reading=summary.facts,
        **recipe,
    )


def attach_file(job: Job, lease: Lease) -> None:
    """Put all rows of an imported job into its batch until the results show which belong to it: a
    row in no batch could be sent. Raises LeaseLost."""
    batch = job.batches.get(is_external=True)
    rows = Row.objects.filter(job=job)
    for some in rows.value_slices(SLICE):
        slice_ = rows.filter(number__gte=some[0][0], number__lte=some[-1][0])
        with slice_transaction(lease):
            note_change(job.pk)
            slice_.update(batch=batch, outcome=Outcome.WAITING, cause="")
        lease.renew()


def make_rows(job: Job, lease: Lease) -> None:
    """Create the rows of a batch imported without its file, one per request. The results identify
    them later. Safe to repeat after a crash. Raises LeaseLost."""
    size = job.batches.get(is_external=True).size
    delete_rows(Row.objects.filter(job=job), lease)
    for begin in range(0, size, SLICE):
        count = min(SLICE, size - begin)
        rows = [(begin + n, '{"custom_id": ""}', 0, "") for n in range(1, count + 1)]
        with slice_transaction(lease):
            _insert(job, rows, begin)
        lease.renew()
    attach_file(job, lease)
    same = Job.objects.filter(readings=job.readings, lease_owner=lease.owner)
    if not same.try_move(job.pk, Job.State.READING, Job.State.WORKING, row_count=size):
        raise LeaseLost


def _fitted_recipe(job: Job, summary: UploadSummary) -> dict[str, Any]:
    """What changes of the recipe that a job began with, or that was written for another file, when
    it names its columns almost as this file does; noted in `summary`.

    The recipe in `job` is the one that is stored: only that of a draft can be changed.
    """
    recipe = job.recipe
    if summary.kind != Job.Kind.TABLE:
        if recipe.prompt.strip():
            text = "Your prompt is not used. The requests in this file have their own."
            summary.note(Finding("prompt_not_used", text))
        return {}
    names = column_matching.same_columns(recipe, summary.columns)
    for name, column in names.items():
        text = f"The prompt now uses {{{{{column}}}}} instead of {{{{{name}}}}}, as in this file."
        summary.note(Finding("renamed", text))
    return {"recipe": column_matching.with_columns(recipe, names)} if names else {}


def _settle(job: Job, state: str, groups: list[FindingGroup], lease: Lease, **values: Any) -> None:
    """Store the outcome of a reading. Raises LeaseLost, also if the choices have changed."""
    with transaction.atomic():
        lease.require()  # another worker may have begun to read it anew
        FileProblem.objects.bulk_create(
            FileProblem(
                job=job,
                kind=group.kind,
                count=group.count,
                lines=group.lines,
                texts=group.texts,
                leaves_out=group.leaves_out,
                fix=group.fix[:200],
                options=group.options if any(group.options) else [],
            )
            for group in sorted(groups, key=lambda one: (not one.leaves_out, not asks(one.kind)))
        )
        moved = Job.objects.filter(readings=job.readings).try_move(
            job.pk,
            Job.State.READING,
            state,
            **values,
        )
        if not moved:
            raise LeaseLost


# --- A corrected file -----------------------------------------------------------------------------


def read_corrected(job: Job, path: str, lease: Lease | None = None) -> CorrectedFile:
    """Read a corrected file of a sent job. Raises Unreadable, LeaseLost."""
    like = Choices(encoding=job.reading.encoding, delimiter=job.reading.delimiter)
    rows: list[tuple[int, list[str | None]]] = []
    for answer in read_apart(
        ReaderInput(path, like, reading_limits(), SLICE, corrected=True), lease
    ):
        if isinstance(answer, CorrectedRowsRead):
            rows += answer.rows
        elif isinstance(answer, CorrectedFileRead):
            return replace(answer.file, rows=rows)
        elif isinstance(answer, Failed):
            raise Unreadable(*answer.findings)
    raise AssertionError("read_apart ends with an answer or an exception")


# --- The child process ----------------------------------------------------------------------------


def read_apart(order: ReaderInput, lease: Lease | None = None) -> Iterator[ReaderOutput]:
    """Yield what a child process reads from a file. Closing the generator stops the child.

    Raises Unreadable if it dies, LeaseLost.
    """
    with tempfile.TemporaryFile() as errors:
        child = start_child(errors)
        assert child.stdin is not None and child.stdout is not None  # noqa: S101 - asked for
        ended = False
        try:
            with suppress(BrokenPipeError), child.stdin as order_to:
                order_to.write(msgspec.json.encode(order))
            for answer in frames(_blocks(child.stdout, lease)):
                yield answer
                ended = not isinstance(answer, RowsRead | CorrectedRowsRead)
        finally:
            child.kill()
            child.wait()
            child.stdout.close()
        if not ended:
            if lease is not None and child.returncode in STOPPED:
                raise LeaseLost  # the site is stopping; the file is read again later
            errors.seek(0)
            said = errors.read(10_000).decode(errors="replace")
            raise _cause_of_death(order, child.returncode, said)


def start_child(errors: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "jobs.ingest"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        cwd=settings.BASE_DIR,
        env={"PYTHONIOENCODING": "utf-8", "MALLOC_ARENA_MAX": "1"},
        start_new_session=True,  # Ctrl-C is for the parent; the child ends with it
    )


def _blocks(output: IO[bytes], lease: Lease | None) -> Iterator[bytes]:
    while True:
        ready, _, _ = select.select([output], [], [], SILENCE)
        if lease is not None:
            lease.renew()
        if ready:
            block = os.read(output.fileno(), BLOCK)
            if not block:
                return
            yield block


def _cause_of_death(order: ReaderInput, status: int, said: str) -> Unreadable:
    logger.warning("the process that read %s ended with %s: %s", order.path, status, said)
    out_of_memory = (-signal.SIGKILL, -signal.SIGABRT)
    if "memory allocation" in said or "MemoryError" in said or status in out_of_memory:
        return Unreadable(too_much(order.limits))
    if status == -signal.SIGXCPU:
        return Unreadable(too_long(order.limits))
    return unreadable("too_much", "The program that reads files failed on this one.")
