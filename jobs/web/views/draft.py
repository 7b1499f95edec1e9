"""A job before it is sent: the file as it was read, the recipe, the price, and the confirmation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from django.contrib import messages
from django.contrib.auth.models import User
from django.core.files.base import File
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from ...actions import drafts, uploads
from ...drafts import advice, estimates, model_catalog
from ...drafts.upload_handler import why_refused
from ...ingest.descriptions import how_it_is_read
from ...ingest.shapes import Choices, Option, choices_from
from ...models import (
    FileProblem,
    Job,
    Outcome,
    Row,
    answer_kind_of,
    recipe_of,
    storage,
)
from ...models.privacy import shown_content
from ...results import next_step
from ...rules import column_matching
from ...rules.answer_formats import COLUMN_KINDS, COLUMNS, LABELS, TEXT, AnswerColumn
from ...rules.recipes import PLAIN_FIELDS, columns_that_leave
from ...rules.row_contents import RowContents
from ..forms.recipes import RecipeForm
from ..forms.uploads import FILE_NAMES, ReadingForm, UploadForm
from .access import find_job, person
from .bad_rows import skipped_kinds
from .draft_price import price, request_models
from .fragments import redirect_to_job, whole_number
from .requests import filled_texts, readable_request
from .tested_rows import trials_context

FIRST_ROWS = 5
_BEFORE = "reading_before"  # in a session: a file, and how it was read before the last change
# What each kind of answer is for.
ANSWER_WORDS = {
    TEXT: "Claude writes freely: a summary, a translation, a reply.",
    LABELS: "Claude picks exactly one of your labels for each row.",
    COLUMNS: "Claude fills several columns, such as product, price and tone.",
}


# --- The page -------------------------------------------------------------------------------------


def draft_page(
    request: HttpRequest, job: Job, form: RecipeForm | None = None, status: int = 200
) -> HttpResponse:
    """`row`: the row of the preview."""
    if not job.may_work:
        return render(request, "draft/read_only.html", _read_only(job))
    form = form or RecipeForm(initial=_as_initial(job))
    context = {
        "job": job,
        "form": form,
        **file_context(job),
        "has_before": _choices_before(request, job) is not None,
        "same_file": same_file(request, job),
        "first_rows": [shown_content(job, row) for row in job.rows.in_order()[:FIRST_ROWS]],
        "format": format_in_words(job),
        "starters": _starters(job),
        # One more for the next one.
        "answer_columns": [*answer_kind_of(job).columns, AnswerColumn("")],
        "column_kinds": COLUMN_KINDS,
        "request_models": request_models(job.reading.models),
        **preview(job, whole_number(request.GET.get("row"), 1)),
        **price(job),
        **leaving(job),
        **(trials_context(job) if job.kind == Job.Kind.TABLE else {}),
        "answer_kind_words": ANSWER_WORDS,
    }
    add_form_problems(context, form)
    template = "draft/table.html" if job.kind == Job.Kind.TABLE else "draft/requests.html"
    return render(request, template, context, status=status)


def _read_only(job: Job) -> dict[str, Any]:
    """What people see of a draft that they may not change."""
    return {
        "job": job,
        "format": format_in_words(job),
        "first_rows": [row.content for row in job.rows.in_order()[:FIRST_ROWS]],
        "model_name": model_catalog.name_of(job.recipe.model),
    }


def file_context(job: Job) -> dict[str, Any]:
    """What is to be said of a file that was read, and of one that could not be."""
    found, chosen = list(job.problems.all()), job.choices
    told = [one for one in found if not one.leaves_out and one.kind != "correction"]
    return {
        "skipped_kinds": skipped_kinds(job, [one for one in found if one.leaves_out]),
        "not_corrected": [problem for problem in found if problem.kind == "correction"],
        # That most rows would be skipped matters more than what is only doubtful.
        "questions": sorted(
            (problem for problem in told if problem.asks),
            key=lambda problem: problem.kind != "mostly_skipped",
        ),
        "remarks": [problem for problem in told if not problem.asks],
        "mostly_skipped": job.skipped_count * 3 > job.row_count,
        "good_count": job.row_count - job.skipped_count,
        "fill_is_offered": any(_offers(problem, "fill") for problem in found),
        "is_asked": any(any(problem.options) for problem in found),
        "problem_count": sum(problem.count for problem in found),
        "reading_form": ReadingForm(job),
        "file_names": ",".join(FILE_NAMES),
        "was_chosen": chosen != Choices(remedies=chosen.remedies),
    }


def _offers(problem: FileProblem, field: str) -> bool:
    """Whether one of its buttons changes this field of the choices."""
    return any(field in option.change for options in problem.options for option in options)


def _as_initial(job: Job) -> dict[str, object]:
    recipe = recipe_of(job)
    return {
        **{name: getattr(recipe, name) for name in PLAIN_FIELDS},
        "max_tokens": recipe.max_tokens or None,
        "answer_kind": recipe.answer.kind,
        "labels": "\n".join(recipe.answer.labels),
    }


def format_in_words(job: Job) -> str:
    """ "CSV, commas, UTF-8" """
    found = job.reading
    return how_it_is_read(
        found.format,
        found.delimiter,
        found.encoding,
        found.sheet,
        found.header,
    )


def same_file(request: HttpRequest, job: Job) -> Job | None:
    """The newest earlier job of this person with the very same file, if there is one."""
    theirs = Job.objects.visible_to(request.user).filter(owner=person(request))
    same = theirs.filter(upload_sha256=job.upload_sha256).exclude(upload_sha256="")
    return same.filter(pk__lt=job.pk).order_by("-pk").first()


def _starters(job: Job) -> list[tuple[str, str, str]]:
    """Beginnings of a prompt, for the column that holds most of the text: what they are for, the
    text, and the labels that go with it."""
    sizes = job.reading.column_bytes
    if not job.columns or not sizes:
        return []
    column = job.columns[sizes.index(max(sizes))]
    text = f"{{{{{column}}}}}"
    return [
        (
            "Sort",
            f"Is this text positive, negative or mixed?\n\n{text}",
            "positive\nnegative\nmixed",
        ),
        ("Summarize", f"Summarize this text in one sentence.\n\n{text}", ""),
        (
            "Translate",
            f"Translate this text into English. Answer with the translation.\n\n{text}",
            "",
        ),
        (
            "Pick out",
            "List the products, places and people that this text names, separated by "
            f"semicolons. Answer “none” if there are none.\n\n{text}",
            "",
        ),
    ]


# --- Parts of it ----------------------------------------------------------------------------------


def preview(job: Job, number: int) -> dict[str, Any]:
    """The request of one row as it is saved, and the rows beside it."""
    number = min(max(number, 1), job.row_count)
    row = job.rows.filter(number=number).first()
    return {
        "preview": readable_request(job, row, recipe_of(job)) if row else None,
        "preview_texts": filled_texts(job, row, recipe_of(job)) if row else [],
        "preview_empty": _why_left_out(job, row) if row else "",
        "preview_row": row,
        "previous_row": number - 1,
        "next_row": number + 1 if number < job.row_count else None,
        "longest_row": job.reading.longest_row or 1,
    }


def leaving(job: Job) -> dict[str, Any]:
    """Which columns of a table leave this site, and which never do."""
    if job.kind != Job.Kind.TABLE:
        return {}
    recipe = recipe_of(job)
    return {
        "leaving": columns_that_leave(recipe, job.columns),
        "private_columns": [name for name in job.columns if name in recipe.private],
    }


def _why_left_out(job: Job, row: Row) -> str:
    """The column whose empty cell keeps a row of a table from being sent; "" when it is sent."""
    recipe = recipe_of(job)
    unknown = column_matching.missing_columns(recipe, job.columns)
    if job.kind != Job.Kind.TABLE or unknown or row.outcome == Outcome.LEFT_OUT:
        return ""
    contents = RowContents(recipe, job.columns)
    empty = contents.empty(row.content)
    return empty[0] if empty and contents.is_skipped(empty) else ""


def add_form_problems(context: dict[str, Any], form: RecipeForm) -> None:
    """Put what is wrong with the form at its fields, beside what keeps the recipe from being
    sent. `has_form_errors`: something typed is not saved."""
    found = dict(context["field_problems"])
    for name, errors in form.errors.items():
        field = "answer" if name in ("answer_kind", "labels") else name
        found[field] = [*(f"{error} This is not saved yet." for error in errors)]
    context["field_problems"] = found
    context["has_form_errors"] = bool(form.errors)
    context["can_go_on"] = context["can_go_on"] and not form.errors
    context["more_has_problem"] = any(
        found.get(name) for name in ("system", "effort", "max_tokens")
    )


# --- What it answers ------------------------------------------------------------------------------


@require_POST
def recipe(request: HttpRequest, pk: int) -> HttpResponse:
    """Save the recipe as far as it is written; a model or a length that is impossible is not
    saved, but the texts beside it are: nobody wants to write them twice. `show`: the row of the
    preview, `row` the same as typed; `go`: then on to the confirmation; `keep`: then on to the page
    that keeps it as a template."""
    job = find_job(request, pk)
    if job.state != Job.State.DRAFT or job.kind != Job.Kind.TABLE:
        return redirect_to_job(request, job)
    form = RecipeForm(request.POST)
    number = whole_number(request.POST.get("show") or request.POST.get("row"), 1)
    form.full_clean()
    model_before = job.recipe.model
    drafts.save_recipe(job, form.recipe(saved=recipe_of(job)), person(request))
    job.refresh_from_db()
    if request.headers.get("HX-Request"):
        context = {
            "job": job,
            "answering": True,
            "model_changed": job.recipe.model != model_before,
            **preview(job, number),
            **price(job),
            **leaving(job),
        }
        add_form_problems(context, form)
        return render(request, "draft/_saved.html", context)
    if form.errors:
        return draft_page(request, job, form, status=422)
    if "go" in request.POST:
        return redirect("confirm", job.pk)
    if "save_as_template" in request.POST:
        return redirect("save_as_template", job.pk)
    query = QueryDict(mutable=True)
    query["row"] = str(number)
    return redirect(f"{reverse('job', args=[job.pk])}?{query.urlencode()}#preview")


@require_POST
def reuse_answers(request: HttpRequest, pk: int) -> HttpResponse:
    """`only_new`: sent if ready-made requests get the answers of earlier jobs."""
    job = find_job(request, pk)
    if job.state != Job.State.DRAFT or job.kind != Job.Kind.REQUESTS:
        return redirect_to_job(request, job)
    drafts.reuse_answers(job, person(request), wanted="only_new" in request.POST)
    if not request.headers.get("HX-Request"):
        return redirect("job", pk)
    job.refresh_from_db()
    return render(request, "draft/_priced.html", {"job": job, "answering": True, **price(job)})


@require_POST
def mark_private(request: HttpRequest, pk: int) -> HttpResponse:
    """`private`: the places of the columns that never leave this site, from 1."""
    job = find_job(request, pk)
    if job.state != Job.State.DRAFT or job.kind != Job.Kind.TABLE:
        return redirect_to_job(request, job)
    places = {whole_number(text) for text in request.POST.getlist("private")}
    names = {name for place, name in enumerate(job.columns, 1) if place in places}
    if drafts.mark_private(job, names, person(request)):
        messages.success(request, "Private columns saved.")
    return redirect("job", pk)


@require_POST
def take_advice(request: HttpRequest, pk: int) -> HttpResponse:
    """`code`: of the advice that is taken; `next`: "confirm" to return to the last look."""
    job = find_job(request, pk)
    if job.state == Job.State.DRAFT:
        found = advice.find_advice(job, estimates.current(job), request.POST.get("code", ""))
        if found:
            drafts.save_recipe(job, found.recipe, person(request))
            messages.success(request, "Changed. We are working out the new price.")
        else:
            messages.info(request, "Nothing was changed: the job has changed since you looked.")
    return redirect("confirm" if request.POST.get("next") == "confirm" else "job", pk)


@require_POST
def reading(request: HttpRequest, pk: int) -> HttpResponse:
    """Read the file anew, in the way that was chosen. `option`: the name of one that was offered;
    `fix`: a remedy for all ready-made requests; `plain`: without any; `fill`: short rows are filled
    with empty cells; `detect`: nothing else is chosen; `before`: as it was read before the last
    change; `uncorrected`: without the rows that were corrected."""
    job = find_job(request, pk)
    if job.state not in Job.OPEN:
        return redirect_to_job(request, job)
    if request.POST.get("uncorrected"):
        uploads.undo_corrections(job, person(request))
        return redirect("job", pk)
    chosen = job.choices
    if request.POST.get("plain"):
        chosen = msgspec.structs.replace(chosen, remedies=())
    elif request.POST.get("detect"):
        chosen = Choices(remedies=chosen.remedies)
    elif request.POST.get("before") and (before := _choices_before(request, job)):
        chosen = before
    elif request.POST.get("fill"):
        chosen = msgspec.structs.replace(chosen, fill=True)
    elif name := request.POST.get("option"):
        option = _find_option(job, name)
        if option is None:
            messages.info(request, "The file was read again since you looked. Nothing was changed.")
            return redirect("job", pk)
        chosen = option.applied(chosen)
    elif fix := request.POST.get("fix", "")[:200]:
        chosen = msgspec.structs.replace(chosen, remedies=(*chosen.remedies, fix))
    else:
        form = ReadingForm(job, request.POST)
        if not form.is_valid():
            texts = [str(error) for errors in form.errors.values() for error in errors]
            messages.error(request, " ".join(texts))
            return redirect("job", pk)
        chosen = form.choices()
    before = job.choices
    if uploads.change_choices(job, chosen, person(request)):
        request.session[_BEFORE] = [job.upload_file, msgspec.to_builtins(before)]
    else:
        messages.info(request, "It is read in this very way already.")
    return redirect("job", pk)


def _choices_before(request: HttpRequest, job: Job) -> Choices | None:
    """How the file was read before it was changed in this session, or by itself; None if it is read
    in that way now."""
    file, stored = request.session.get(_BEFORE, ("", None))
    if file != job.upload_file and job.choices == next_step.CHOICES:
        return None  # we wrote it, so nothing was found out
    before = (
        choices_from(stored) if file == job.upload_file else Choices(remedies=job.choices.remedies)
    )
    return before if before != job.choices else None


def _find_option(job: Job, name: str) -> Option | None:
    """The way to read the file that was offered under this `name` (FileProblem.choices); None if
    there is none any more."""
    for problem in job.problems.all():
        for _line, _text, options in problem.choices:
            for known, option in options:
                if known == name:
                    return option
    return None


@require_POST
def correct(request: HttpRequest, pk: int) -> HttpResponse:
    """`file`: the problem file, corrected."""
    job = find_job(request, pk)
    take_file(request, job, uploads.correct_rows)
    return redirect("job", pk)


@require_POST
def replace(request: HttpRequest, pk: int) -> HttpResponse:
    """`file`: another one in place of the upload."""
    job = find_job(request, pk)
    take_file(request, job, uploads.replace_upload)
    return redirect("job", pk)


def take_file(
    request: HttpRequest, job: Job, take: Callable[[Job, File[bytes], User], bool]
) -> None:
    """Let `take` have the `file` that was uploaded; say why when it cannot."""
    form = UploadForm(request.POST, request.FILES)
    valid = form.is_valid()
    if refused := why_refused(request):
        form.add_refusal(refused)
    if form.errors or not valid:
        messages.error(request, " ".join(map(str, form.errors["file"])))
        return
    try:
        taken = take(job, form.cleaned_data["file"], person(request))
    except storage.NoRoom as why:
        messages.error(request, str(why))
        return
    if not taken:
        messages.error(
            request,
            "The file was not used, because the job has changed since you looked. Look again.",
        )
