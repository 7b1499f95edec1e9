"""Batches that were made elsewhere: the list of them and importing one, for administrators only,
because the list is that of everybody who uses the key; and what the page of such a job says."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from django.contrib import messages
from django.db.models import Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from ...actions import external_batches
from ...batches import external, external_ids
from ...batches.result_rows import NO_ROW
from ...drafts.upload_handler import why_refused
from ...models import Attempt, Batch, ExternalBatchList, FileProblem, Job, Row, dollars, storage
from ...models.privacy import shown_content
from ..forms.external_batches import IdsForm, ImportForm
from ..forms.uploads import ReadingForm
from .access import administrators_only, asked, find_job_to_change, person
from .fragments import Part, answer, make_part

POLL_SECONDS = 1


@require_http_methods(["GET", "HEAD", "POST"])
@administrators_only
def import_batch(request: HttpRequest) -> HttpResponse:
    """GET shows what is there, POST makes a job of the batch `provider_id`, with `file` if there is
    one. `id`: of the batch that was picked from the list."""
    form = ImportForm(initial={"provider_id": asked(request, "id")})
    if request.method == "POST":
        form = ImportForm(request.POST, request.FILES)
        if form.is_valid():
            try:
                job = external_batches.import_batch(
                    person(request), form.cleaned_data["provider_id"], form.cleaned_data["file"]
                )
            except external.NotPossible as why:
                form.add_error("provider_id", str(why))
            except storage.NoRoom as why:
                form.add_refusal(str(why))
            else:
                return redirect("job", job.pk)
        if refused := why_refused(request):
            form.add_refusal(refused)
    part = _list(request)
    if request.headers.get("HX-Request"):
        return answer(request, part)
    status = 422 if form.errors else 200
    return render(
        request, "external_batches/import_batch.html", {"form": form, "part": part}, status=status
    )


def _list(request: HttpRequest) -> Part:
    listing = ExternalBatchList.get()
    looking = listing.asked_at is not None
    found = external.listed(listing)
    context = {
        "listing": listing,
        "looking": looking,
        "found": found,
        "all_shown": found is not None and len(listing.entries) < external.MOST_LISTED,
    }
    seconds = POLL_SECONDS if looking else None
    return make_part(
        request,
        "batches",
        "external_batches/_list.html",
        context,
        url=request.path,
        seconds=seconds,
    )


@require_POST
@administrators_only
def look(request: HttpRequest) -> HttpResponse:
    """The worker looks at the provider's list."""
    external.ask()
    return redirect("import_batch")


# --- An imported job ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Imported:
    """What the page of such a job says of its batch."""

    batch: Batch
    has_file: bool
    asks: bool  # where the ids are
    matched_by: str  # in words; "" without a table
    strays: FileProblem | None  # results that belong to no row: their number, and the first ids
    strays_cost: Decimal  # US dollars
    without: int  # rows of the file without a result

    @property
    def stray_ids(self) -> str:
        """ "a-1, a-2 and more" """
        if self.strays is None:
            return ""
        shown = ", ".join(self.strays.texts)
        return f"{shown} and more" if self.strays.count > len(self.strays.texts) else shown


def imported_of(job: Job) -> Imported | None:
    """None for a job that was made here."""
    batch = external_ids.external_batch_of(job) if job.is_external else None
    if batch is None:
        return None
    known = job.kind == Job.Kind.TABLE and external_ids.is_known(job, job.ids_are)
    collected = batch.state == Batch.State.COLLECTED
    strays = job.problems.filter(kind=NO_ROW).first()
    return Imported(
        batch,
        bool(job.upload_bytes),
        external_ids.is_open(job) and batch.state == Batch.State.ENDED,
        external_ids.in_words(job.ids_are) if known and collected else "",
        strays,
        dollars(batch.cost_pico) - _cost_of_rows(batch) if strays else Decimal(0),
        job.skipped_count if collected else 0,
    )


def _cost_of_rows(batch: Batch) -> Decimal:
    """What its results that belong to a row cost, in US dollars, also if these were sent again."""
    pico = 0
    for results in (Row.objects.filter(batch=batch), Attempt.objects.filter(batch=batch)):
        pico += int(results.aggregate(pico=Sum("cost_pico"))["pico"] or 0)
    return dollars(pico)


@require_http_methods(["GET", "HEAD", "POST"])
def ids(request: HttpRequest, pk: int) -> HttpResponse:
    """GET asks which row of the file each result belongs to, POST takes the answer: `way`; or, with
    `again`, how the file is to be read instead."""
    job = find_job_to_change(request, pk)
    if not external_ids.is_open(job):
        return redirect("job", pk)
    if "again" in request.POST:
        return _read_again(request, job)
    batch = external_ids.external_batch_of(job)
    fits = dict(job.ids_may_be)
    ways = [*fits, *(f"{external_ids.COLUMN}{name}" for name in job.columns)]
    choices = [(way, _in_words(way, fits.get(way, 0))) for way in dict.fromkeys(ways)]
    form = IdsForm(choices, request.POST or None)
    if request.method == "POST" and form.is_valid():
        if external_batches.choose_ids(job, form.cleaned_data["way"], person(request)):
            messages.success(request, "The answers go to their rows now.")
        return redirect("job", pk)
    first = [(row.number, shown_content(job, row)) for row in job.rows.in_order()[:3]]
    context = {
        "job": job,
        "form": form,
        "batch": batch,
        "first_rows": first,
        "reading_form": ReadingForm(job),
    }
    return render(request, "external_batches/ids.html", context, status=422 if form.errors else 200)


def _read_again(request: HttpRequest, job: Job) -> HttpResponse:
    form = ReadingForm(job, request.POST)
    if not form.is_valid():
        texts = [str(error) for errors in form.errors.values() for error in errors]
        messages.error(request, " ".join(texts))
        return redirect("ids", job.pk)
    external_batches.read_file_again(job, form.choices(), person(request))
    return redirect("job", job.pk)


def _in_words(way: str, count: int) -> str:
    results = "1 result fits" if count == 1 else f"{count:,} results fit"
    return f"{external_ids.in_words(way)} – {results}"
