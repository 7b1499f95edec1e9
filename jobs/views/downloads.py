"""Files to take away. They are data, whatever is in them: always saved, never shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from django.http import FileResponse, Http404, HttpRequest, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_safe

from .. import exports, files, strays
from ..models import Batch, Job
from .access import find_job
from .trouble import has_incomplete_file

CSV = "text/csv; charset=utf-8"
JSON_LINES = "application/jsonl"


def _problems(job: Job) -> Iterator[bytes]:
    yield from exports.problem_chunks(job)
    yield from strays.stray_chunks(job)


# What can be downloaded of a job, and where the bytes come from.
KINDS: dict[str, Callable[[Job], Iterator[bytes]]] = {
    "csv": exports.csv_chunks,
    "jsonl": exports.jsonl_chunks,
    "raw": exports.raw_chunks,
    "problems": _problems,
}


@require_safe
def download(request: HttpRequest, pk: int, kind: str) -> StreamingHttpResponse:
    job = find_job(request, pk)
    ready = job.was_sent or (kind == "problems" and job.state != Job.State.READING)
    if kind not in KINDS or not ready:
        raise Http404
    name = exports.file_name(job, kind)
    content_type = CSV if name.endswith(".csv") else JSON_LINES
    response = StreamingHttpResponse(KINDS[kind](job), content_type=content_type)
    return to_be_saved(response, name)


@require_safe
def batch_raw(request: HttpRequest, pk: int, number: int) -> StreamingHttpResponse:
    """The results of one batch, exactly as the provider sent them; of a batch whose results stayed
    incomplete, what did arrive."""
    job = find_job(request, pk)
    batch = get_object_or_404(job.batches, number=number)
    path, name = files.results_path(batch), f"job-{job.pk}-batch-{batch.number}"
    if has_incomplete_file(batch):
        path, name = files.incomplete_path(batch), f"{name}-incomplete"
    elif batch.state != Batch.State.COLLECTED:
        raise Http404
    response = FileResponse(path.open("rb"), content_type=JSON_LINES)
    return to_be_saved(response, f"{name}.jsonl")


def to_be_saved(response: StreamingHttpResponse, name: str) -> StreamingHttpResponse:
    """`response` as a file to save under `name`. Should a browser show it nevertheless, nothing
    in it may run."""
    # A line break would break the header; other unseen characters make a name look like another.
    seen = "".join(character for character in name if character.isprintable())
    response.headers["Content-Disposition"] = content_disposition_header(True, seen) or "attachment"
    response.headers["Content-Security-Policy"] = "sandbox"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
