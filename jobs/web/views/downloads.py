"""Files to take away. They are data, whatever is in them: always saved, never shown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import PurePath
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import (
    FileResponse,
    Http404,
    HttpRequest,
    StreamingHttpResponse,
)
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_safe

from ...batches import holds, stored_results
from ...batches.stored_results import DamagedResults
from ...ingest.corrections import EXCEL_CELL
from ...models import Batch, Job, SiteState, audit, checksums
from ...models.checksums import CheckedFile, Damaged
from ...results import builder, table, unmatched, workbook
from .. import request_limits
from .access import find_job, is_seen, person
from .fragments import answer, make_part

TYPES = {
    ".csv": "text/csv; charset=utf-8",
    ".jsonl": "application/jsonl",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
KINDS = ("csv", "xlsx", "jsonl", "raw", "problems")
CHOICES = {"all": "All rows", "good": "Good rows only", "attention": "Rows with problems"}
ONLY_MASKED = "This job has private columns. You can download CSV and JSONL, where they are masked."
AWAITED_SECONDS = 20  # for a CSV that is being built; then it is written while it is downloaded
LOOK_SECONDS = 2  # between two looks whether a workbook is ready


@require_safe
def download(request: HttpRequest, pk: int, kind: str) -> HttpResponseBase:
    """A file of the job: `?only=` good rows or those that need attention, `?plain=1` a CSV without
    a byte order mark, `?semicolons=1` one with semicolons."""
    job = find_job(request, pk)
    response = _file(request, job, kind)
    if response.has_header("Content-Disposition"):  # no page that waits or explains
        rows = request.GET.get("only", "all")
        note("file_downloaded", request, job, response, file=kind, rows=rows)
    return response


def note(
    event: str,
    request: HttpRequest,
    job: Job | None = None,
    response: HttpResponseBase | None = None,
    **what: audit.Value,
) -> None:
    """Record who takes a file; a HEAD takes none. When that fails, `response`, which would have
    been the file, gives back its place among the downloads at once."""
    if request.method != "GET":
        return
    try:
        audit.record(event, who=person(request), job=job.pk if job else None, after=what)
    except BaseException:
        if response is not None:
            request_limits.give_up(response)
        raise


def _file(request: HttpRequest, job: Job, kind: str) -> HttpResponseBase:
    only = request.GET.get("only", "all")
    can_be = job.was_sent or (kind == "problems" and job.state != Job.State.READING)
    if kind not in KINDS or only not in table.ROW_FILTERS or not can_be:
        raise Http404
    if job.contents_deleted_at:
        messages.info(request, "The cells and answers of this job were deleted.")
        return redirect("job", job.pk)
    if job.masked and kind in ("xlsx", "problems"):
        messages.info(request, ONLY_MASKED)
        return redirect("job", job.pk)
    if kind == "xlsx":
        return _workbook(request, job, only)
    form = {name: bool(request.GET.get(name)) for name in ("plain", "semicolons")}
    name = table.file_name(job, kind, only)
    is_ready = kind == "csv" and not any(form.values()) and not job.masked
    if is_ready and (file := _built_csv(request, job, only)):
        return _ready(request, job, kind, only, file)
    try:
        chunks = _chunks(request, job, kind, only, form)
    except DamagedResults as damaged:
        return _say_damaged(request, damaged)
    return to_be_saved(request, StreamingHttpResponse(_noting_damage(chunks)), name)


def _built_csv(request: HttpRequest, job: Job, only: str) -> CheckedFile | None:
    """The CSV that the worker has built or is building. Who waits for it takes one of the places
    for downloads, so that pages have the other threads. Raises TooManyDownloads."""
    with request_limits.place_to_wait(person(request).pk):
        return builder.open_or_await(job, only, AWAITED_SECONDS)


def _ready(
    request: HttpRequest, job: Job, kind: str, only: str, file: CheckedFile
) -> HttpResponseBase:
    """A finished file that lies ready. One that turns out to be damaged breaks off, and is built
    anew."""

    def blocks() -> Iterator[bytes]:
        try:
            yield from file.blocks()
        except Damaged:
            builder.rebuild_export(job, kind, only)
            raise

    return to_be_saved(request, _of_size(blocks(), file.size), table.file_name(job, kind, only))


def _of_size(blocks: Iterator[bytes], size: int) -> StreamingHttpResponse:
    """By its size the browser knows that a download that broke off is not whole."""
    return StreamingHttpResponse(blocks, headers={"Content-Length": str(size)})


def _noting_damage(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """`blocks`, which break off where results on our disk turn out to be damaged."""
    try:
        yield from blocks
    except DamagedResults as damaged:
        stored_results.note_damage(damaged)
        raise


def _say_damaged(request: HttpRequest, damaged: DamagedResults) -> HttpResponseBase:
    stored_results.note_damage(damaged)
    messages.error(request, str(damaged))
    return redirect("job", damaged.batch.job_id)


def _chunks(
    request: HttpRequest, job: Job, kind: str, only: str, form: dict[str, bool]
) -> Iterator[bytes]:
    if kind == "csv":
        return table.csv_chunks(job, only, **form)
    if kind == "jsonl":
        return table.jsonl_chunks(job, only, sees=partial(is_seen, request))
    if kind == "raw":
        return table.raw_chunks(job)
    return chain(table.problem_chunks(job), unmatched.unmatched_chunks(job))


def _workbook(request: HttpRequest, job: Job, only: str) -> HttpResponseBase:
    """The workbook, if it is ready or the job is small; else a page that waits for the worker."""
    if workbook.is_too_wide(job):
        raise Http404
    is_part = bool(request.headers.get("HX-Request"))
    ready = builder.open_ready(job, "xlsx", only)
    if ready and not is_part:
        return _ready(request, job, "xlsx", only, ready)
    file = ready.file if ready else None
    if file is None and job.row_count <= builder.AT_ONCE:
        try:
            file = builder.make_workbook(job, only)
        except OSError as error:
            messages.error(
                request,
                f"{holds.disk_in_words(error)} So the Excel file cannot be made now. "
                "Download CSV or JSONL instead.",
            )
            return redirect("job", job.pk)
    if file and not is_part:
        return to_be_saved(request, FileResponse(file), table.file_name(job, "xlsx", only))
    url = download_url(job, "xlsx", only)
    context: dict[str, Any] = {
        "job": job,
        "words": CHOICES[only],
        "count": _counts(job)[only],
        "url": url,
    }
    if file:
        with file:
            context["size"] = file.seek(0, 2)
    else:
        context["export"] = builder.request_export(job, "xlsx", only)
        context["site"] = SiteState()
    seconds = None if file else LOOK_SECONDS
    part = make_part(
        request, "preparing", "job_page/_preparing.html", context, url=url, seconds=seconds
    )
    if is_part:
        return answer(request, part)
    return render(request, "job_page/preparing.html", {"job": job, "part": part})


def download_url(job: Job, kind: str, only: str = "all") -> str:
    url = reverse("download", args=[job.pk, kind])
    return url if only == "all" else f"{url}?{urlencode({'only': only})}"


@dataclass(frozen=True)
class Choice:
    """Files with some of the rows of a job."""

    only: str  # of table.ROW_FILTERS
    words: str
    rows: int
    urls: dict[str, str]  # by kind
    sizes: dict[str, int]  # bytes, by kind, of those that lie ready


def downloads_of(job: Job) -> dict[str, Any]:
    """What the page of a sent job says of its files."""
    counts = _counts(job)
    choices = [
        Choice(
            only,
            words,
            counts[only],
            {kind: download_url(job, kind, only) for kind in ("xlsx", "csv", "jsonl")},
            _sizes(job, only),
        )
        for only, words in CHOICES.items()
        if only == "all" or counts[only]
    ]
    too_wide = workbook.is_too_wide(job)
    ready = "xlsx" in choices[0].sizes or job.row_count <= builder.AT_ONCE
    return {
        "choices": choices,
        "too_wide": workbook.TOO_WIDE if too_wide else "",
        "more_sheets": job.row_count >= workbook.SHEET_ROWS,
        "sheet_rows": workbook.SHEET_ROWS,
        "cell_length": EXCEL_CELL,
        "is_prepared": not ready and not too_wide and builder.expect_workbook(job),
    }


def _counts(job: Job) -> dict[str, int]:
    """Rows by the choice among them."""
    some = {only: job.outcome_count(*outcomes) for only, outcomes in table.ROW_FILTERS.items()}
    return {**some, "all": job.row_count}


def _sizes(job: Job, only: str) -> dict[str, int]:
    sizes = {}
    for kind in ("xlsx", "csv"):
        with suppress(Damaged):
            file = checksums.open_with_facts(builder.path_of(job, kind, only))
            file.file.close()
            sizes[kind] = file.size
    return sizes


@require_safe
def batch_raw(request: HttpRequest, pk: int, number: int) -> HttpResponseBase:
    """The results of one batch, exactly as the provider sent them; of a batch whose results stayed
    incomplete, what did arrive."""
    job = find_job(request, pk)
    batch = get_object_or_404(job.batches, number=number)
    if not stored_results.has_file(batch):
        raise Http404
    name = f"job-{job.pk}-batch-{batch.number}"
    if batch.state != Batch.State.COLLECTED:
        name += "-incomplete"
    try:
        file = stored_results.open_results(batch)
    except DamagedResults as damaged:
        return _say_damaged(request, damaged)
    file.file.close()
    blocks = _noting_damage(stored_results.blocks(batch))
    response = to_be_saved(request, _of_size(blocks, file.size), f"{name}.jsonl")
    note("file_downloaded", request, job, response, file="batch", batch=batch.number)
    return response


def to_be_saved(
    request: HttpRequest, response: StreamingHttpResponse, name: str
) -> StreamingHttpResponse:
    """`response` as a file to save under `name`. Should a browser show it nevertheless, nothing
    in it may run. Raises TooManyDownloads."""
    request_limits.hold_place_to_send(person(request).pk, response)
    response.headers["Content-Type"] = TYPES[PurePath(name).suffix]
    # A line break would break the header; other unseen characters make a name look like another.
    seen = "".join(character for character in name if character.isprintable())
    response.headers["Content-Disposition"] = content_disposition_header(True, seen) or "attachment"
    response.headers["Content-Security-Policy"] = "sandbox"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
