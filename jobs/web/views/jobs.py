"""The list of jobs, a new one, and what can be done with any job: name it, delete it."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.contrib import messages
from django.core.files.base import ContentFile, File
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ...actions import job_basics, uploads
from ...drafts import estimates
from ...drafts.templates import NothingToStartWith, Start, find_start
from ...drafts.upload_handler import why_refused
from ...ingest.shapes import Choices
from ...models import ATTENTION, AWAITS_APPROVAL, Job, SiteState, storage
from ..forms.jobs import NameForm
from ..forms.uploads import UploadForm
from .access import asked, find_job, person
from .downloads import to_be_saved
from .fragments import answer, make_part
from .templates import start_context

PAGE = 25
POLL_SECONDS = 5

NEEDS_ATTENTION = ~Q(held="") | Q(
    *(Q(**{f"tally__outcomes__{outcome}__gt": 0}) for outcome in ATTENTION),
    Q(tally__strays__gt=0),
    _connector=Q.OR,
)
# What `?state=` can be: words for the person, and which jobs are meant.
FILTERS: dict[str, tuple[str, Q]] = {
    "draft": (
        "Drafts",
        Q(state__in=[Job.State.READING, Job.State.UNREADABLE, Job.State.DRAFT]),
    ),
    "working": (
        "Working",
        Q(state__in=[Job.State.SUBMITTING, Job.State.WORKING, Job.State.CANCELING]),
    ),
    "finished": ("Finished", Q(state=Job.State.FINISHED)),
    "attention": ("Needs attention", NEEDS_ATTENTION),
    "approval": (
        "Waiting for approval",
        AWAITS_APPROVAL,
    ),
}
SAMPLES = Path(__file__).resolve().parent.parent / "samples"
SAMPLE_NAMES = ["reviews.csv", "requests.jsonl"]


@require_safe
def jobs(request: HttpRequest) -> HttpResponse:
    """`q`: words of the name, `state`: one of FILTERS, `page`."""
    query, chosen = asked(request, "q"), asked(request, "state")
    paused = bool(SiteState().why_not_sending)
    found = _found(request, query, chosen, paused)
    page = Paginator(found, PAGE).get_page(request.GET.get("page"))
    for job in page.object_list:
        # What it is expected to cost; the price of a draft that is being changed is not shown.
        job.expected = estimates.stored_estimate(job)  # type: ignore[attr-defined]  # for the page
    context = {
        "page": page,
        "paused": paused,
        "query": query,
        "chosen": chosen,
        "filters": {key: words for key, (words, _jobs) in FILTERS.items()},
        "filtered": bool(query or chosen in FILTERS),
    }
    address = request.GET.copy()
    address.pop("v", None)
    part = make_part(
        request,
        "jobs",
        "jobs/_jobs.html",
        context,
        url=f"{request.path}?{address.urlencode()}",
        seconds=POLL_SECONDS if any(job.is_moving for job in page.object_list) else None,
    )
    if request.headers.get("HX-Request"):
        return answer(request, part)
    return render(request, "jobs/list.html", {**context, "part": part})


def _found(request: HttpRequest, query: str, chosen: str, paused: bool) -> QuerySet[Job]:
    found = Job.objects.visible_to(request.user).select_related("owner")
    if query:
        found = found.filter(name__icontains=query)
    if chosen == "attention" and paused:
        found = found.filter(NEEDS_ATTENTION) | found.sending()
    elif chosen in FILTERS:
        found = found.filter(FILTERS[chosen][1])
    return found.defer("columns", "reading").order_by("-created_at", "-pk")


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
        "form": form,
        **start_context(request, start, no_start),
        "max_bytes": settings.MAX_UPLOAD_BYTES,
        "max_rows": settings.MAX_ROWS,
        "max_columns": settings.MAX_COLUMNS,
        "max_cell": settings.MAX_CELL_BYTES,
        "samples": SAMPLE_NAMES,
    }
    only_the_form = request.method == "POST" and request.headers.get("HX-Request")
    template = "jobs/_upload.html" if only_the_form else "jobs/new.html"
    return render(request, template, context, status=status)


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
    """A job from one of our samples, to try things with."""
    name = request.POST.get("name", "")
    if name not in SAMPLE_NAMES:
        raise Http404
    with (SAMPLES / name).open("rb") as file:
        return _made_or_refused(request, File(file, name=name))


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
    if name not in SAMPLE_NAMES:
        raise Http404
    return to_be_saved(FileResponse((SAMPLES / name).open("rb")), name)


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


@require_http_methods(["GET", "HEAD", "POST"])
def delete(request: HttpRequest, pk: int) -> HttpResponse:
    """GET asks, POST deletes."""
    job = find_job(request, pk)
    if request.method != "POST":
        return render(request, "jobs/delete.html", {"job": job})
    if job_basics.delete_job(job, person(request)):
        messages.success(request, f"“{job.name}” and everything of it is being deleted.")
        return redirect("jobs")
    messages.error(
        request, "This job cannot be deleted while Claude works on it. Stop it first, then delete."
    )
    return redirect("job", pk)
