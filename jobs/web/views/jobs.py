"""A new job: from an upload, pasted cells or a sample. And its name."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.files.base import ContentFile, File
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ...actions import job_basics, uploads
from ...drafts.templates import NothingToStartWith, Start, find_start
from ...drafts.upload_handler import why_refused
from ...ingest.shapes import Choices
from ...models import storage
from .. import examples
from ..forms.jobs import NameForm
from ..forms.uploads import UploadForm
from .access import find_job, person
from .downloads import to_be_saved
from .templates import start_context


@require_http_methods(["GET", "HEAD", "POST"])
def new_job(request: HttpRequest) -> HttpResponse:
    """An upload: the file is on our disk when this is called, and the worker reads it. `template`
    or `like`: the id of a template, or of a job, to begin with."""
    form = UploadForm(request.POST or None, request.FILES or None)
    start, no_start = _start(request)
    if request.method == "POST":
        form = UploadForm(request.POST, request.FILES)
        if form.is_valid() and not no_start:
            try:
                return _made(request, form.cleaned_data["file"], start=start)
            except storage.NoRoom as why:
                form.add_refusal(str(why))
        if refused := why_refused(request):
            form.add_refusal(refused)
    status = 422 if form.errors or (no_start and request.method == "POST") else 200
    context = {
        **upload_context(request, form),
        **start_context(request, start, no_start),
        "pastes": "paste" in request.GET,
    }
    only_the_form = request.method == "POST" and request.headers.get("HX-Request")
    template = "jobs/_upload.html" if only_the_form else "jobs/new.html"
    return render(request, template, context, status=status)


def upload_context(request: HttpRequest, form: UploadForm | None = None) -> dict[str, Any]:
    """What the drop zone needs, and what it can take."""
    return {
        "form": form or UploadForm(),
        "examples": examples.EXAMPLES.values(),
        "max_bytes": settings.MAX_UPLOAD_BYTES,
        "max_rows": settings.MAX_ROWS,
        "max_columns": settings.MAX_COLUMNS,
        "max_cell": settings.MAX_CELL_BYTES,
    }


def _start(request: HttpRequest) -> tuple[Start | None, str]:
    """What the new job is to begin with, and why that cannot be had, if so."""
    asked_for = request.POST if request.method == "POST" else request.GET
    try:
        return find_start(
            person(request), asked_for.get("template", ""), asked_for.get("like", "")
        ), ""
    except NothingToStartWith as error:
        return None, str(error)


@require_POST
def new_sample_job(request: HttpRequest) -> HttpResponse:
    """A job from one of our samples, to try things with. `name`: its file; or `example`: one of
    EXAMPLES, whose prompt it begins with."""
    example = examples.EXAMPLES.get(request.POST.get("example", ""))
    name = example.file if example else request.POST.get("name", "")
    if name not in examples.SAMPLE_NAMES:
        raise Http404
    start = Start(example.recipe, example=example.title) if example else None
    with (examples.SAMPLES / name).open("rb") as file:
        return _made_or_refused(request, File(file, name=name), start=start)


@require_POST
def new_pasted_job(request: HttpRequest) -> HttpResponse:
    """A job from cells that were copied from a spreadsheet: lines, with tabs between the cells."""
    cells = request.POST.get("cells", "")
    if not cells.strip():
        messages.error(request, "There was nothing to read: paste some cells first.")
        return redirect("new_job")
    start, no_start = _start(request)
    if no_start:
        messages.error(request, f"{no_start} Paste the cells again to begin without it.")
        return redirect("new_job")
    pasted = ContentFile(cells.encode(), "Pasted cells.tsv")
    return _made_or_refused(request, pasted, Choices(delimiter="\t"), start)


def _made_or_refused(
    request: HttpRequest,
    upload: File[bytes],
    choices: Choices | None = None,
    start: Start | None = None,
) -> HttpResponse:
    try:
        return _made(request, upload, choices, start)
    except storage.NoRoom as why:
        messages.error(request, str(why))
        return redirect("new_job")


def _made(
    request: HttpRequest,
    upload: File[bytes],
    choices: Choices | None = None,
    start: Start | None = None,
) -> HttpResponse:
    job = uploads.create_job(person(request), upload, choices=choices, start=start)
    address = reverse("job", args=[job.pk])
    if request.headers.get("HX-Request"):
        return HttpResponse(headers={"HX-Redirect": address})
    return redirect(address)


@require_safe
def sample(request: HttpRequest, name: str) -> StreamingHttpResponse:
    if name not in examples.SAMPLE_NAMES:
        raise Http404
    return to_be_saved(request, FileResponse((examples.SAMPLES / name).open("rb")), name)


@require_POST
def rename(request: HttpRequest, pk: int) -> HttpResponse:
    job = find_job(request, pk)
    form = NameForm(request.POST)
    if form.is_valid():
        job_basics.rename_job(job, form.cleaned_data["name"])
        messages.success(request, "The job has a new name.")
    else:
        messages.error(request, " ".join(map(str, form.errors["name"])))
    return redirect("job", pk)
