"""A job before it is sent: the file as it was read, the recipe, the price, and the confirmation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import msgspec
from django.contrib import messages
from django.contrib.auth.models import User
from django.core.files.base import File
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ... import actions
from ...actions import approvals
from ...drafts import advice, checks, estimates, model_catalog
from ...drafts.estimates import Estimate, Prices
from ...drafts.upload_handler import why_refused
from ...ingest.words import how_it_is_read
from ...models import (
    Job,
    Outcome,
    Row,
    SpendingCaps,
    answer_kind_of,
    choices_of,
    recipe_of,
    storage,
)
from ...rules import column_matching, wording
from ...rules.answer_formats import COLUMN_KINDS, AnswerColumn
from ...rules.model_capabilities import (
    BY_ITSELF,
    EFFORTS,
    NONE,
    effort_choices,
    effort_of,
    efforts_of,
)
from ...rules.recipes import PLAIN_FIELDS
from ...rules.row_contents import Contents
from ...spending import caps
from ..forms import FILE_NAMES, ReadingForm, RecipeForm, UploadForm
from .access import find_job, person
from .columns import missing_context
from .parts import whole_number
from .requests import readable_request
from .trials import trial_hint, trials_context

FIRST_ROWS = 5


# --- The page -------------------------------------------------------------------------------------


def draft_page(
    request: HttpRequest, job: Job, form: RecipeForm | None = None, status: int = 200
) -> HttpResponse:
    """`row`: the row of the preview."""
    form = form or RecipeForm(initial=_as_initial(job))
    context = {
        "job": job,
        "form": form,
        **file_context(job),
        "same_file": same_file(request, job),
        "first_rows": [row.content for row in job.rows.in_order()[:FIRST_ROWS]],
        "format": format_in_words(job),
        "starters": _starters(job),
        # One more for the next one.
        "answer_columns": [*answer_kind_of(job).columns, AnswerColumn("")],
        "column_kinds": COLUMN_KINDS,
        "request_models": _request_models(job),
        **preview(job, whole_number(request.GET.get("row"), 1)),
        **price(job),
        **(trials_context(job) if job.kind == Job.Kind.TABLE else {}),
        "form_problems": _form_problems(form),
    }
    template = "draft/table.html" if job.kind == Job.Kind.TABLE else "draft/requests.html"
    return render(request, template, context, status=status)


def file_context(job: Job) -> dict[str, Any]:
    """What is to be said of a file that was read, and of one that could not be."""
    found = list(job.problems.all())
    return {
        "problems": [problem for problem in found if problem.leaves_out],
        "not_corrected": [problem for problem in found if problem.kind == "correction"],
        "remarks": [
            problem for problem in found if not problem.leaves_out and problem.kind != "correction"
        ],
        "reading_form": ReadingForm(job),
        "file_names": ",".join(FILE_NAMES),
        "was_chosen": any(map(job.choices.get, ("encoding", "delimiter", "sheet", "header"))),
    }


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
        found.get("format", ""),
        found.get("delimiter", ""),
        found.get("encoding", ""),
        found.get("sheet", ""),
        found.get("header", 0),
    )


def same_file(request: HttpRequest, job: Job) -> Job | None:
    """The newest earlier job of this person with the very same file, if there is one."""
    theirs = Job.objects.visible_to(request.user).filter(owner=person(request))
    same = theirs.filter(upload_sha256=job.upload_sha256).exclude(upload_sha256="")
    return same.filter(pk__lt=job.pk).order_by("-pk").first()


def _starters(job: Job) -> list[tuple[str, str, str]]:
    """Beginnings of a prompt, for the column that holds most of the text: what they are for, the
    text, and the labels that go with it."""
    sizes = job.reading.get("column_bytes") or []
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
        ("Summarise", f"Summarise this text in one sentence.\n\n{text}", ""),
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


def _request_models(job: Job) -> list[dict[str, Any]]:
    """Of ready-made requests: the models they ask for, with the name of each."""
    return [
        {
            "name": model_catalog.name_of(model_id),
            "has_price": model_catalog.has_price(model_id),
            **numbers,
        }
        for model_id, numbers in (job.reading.get("models") or {}).items()
    ]


# --- Parts of it ----------------------------------------------------------------------------------


def preview(job: Job, number: int) -> dict[str, Any]:
    """The request of one row as it is saved, and the rows beside it."""
    number = min(max(number, 1), job.row_count)
    row = job.rows.filter(number=number).first()
    return {
        "preview": readable_request(job, row, recipe_of(job)) if row else None,
        "preview_empty": _why_left_out(job, row) if row else "",
        "preview_row": row,
        "previous_row": number - 1,
        "next_row": number + 1 if number < job.row_count else None,
        "longest_row": job.reading.get("longest_row") or 1,
    }


def _why_left_out(job: Job, row: Row) -> str:
    """The column whose empty cell keeps a row of a table from being sent; "" when it is sent."""
    recipe = recipe_of(job)
    unknown = column_matching.missing_columns(recipe, job.columns)
    if job.kind != Job.Kind.TABLE or unknown or row.outcome == Outcome.LEFT_OUT:
        return ""
    contents = Contents(recipe, job.columns)
    empty = contents.empty(row.content)
    return empty[0] if empty and contents.is_left_out(empty) else ""


def price(job: Job) -> dict[str, Any]:
    """The price of a draft, whether it can be confirmed, and if not, why."""
    problems = checks.problems(job)
    estimate = None if problems else estimates.current(job)
    blocked = ""
    if not job.sendable_count:
        blocked = "No row of this file can be sent. Mend the problems above and upload it again."
    elif problems:
        blocked = "Finish the prompt first."
    elif estimate is not None:
        blocked = estimate.trouble or _not_allowed(job, estimate)
        if not (blocked or job.plan_sha256):  # a price, but no plan to confirm: not done yet
            estimate = None
    return {
        "recipe_problems": problems,
        **missing_context(job),
        # That nothing is written yet needs no warning.
        "notes": [*problems, *_remarks(job, estimate)] if job.prompt.strip() else [],
        **(_what_it_means(job, estimate) if job.kind == Job.Kind.TABLE else {}),
        "estimate": estimate,
        "is_counting": not problems and not blocked and estimate is None,
        "blocked": blocked,
        "can_go_on": estimate is not None and not blocked,
    }


def _not_allowed(job: Job, estimate: Estimate) -> str:
    """Why so much may not be spent now; "" when it may."""
    return caps.in_the_way(job, estimate.most, SpendingCaps.get(), timezone.now())


def _remarks(job: Job, estimate: Estimate | None) -> list[str]:
    """What is odd about a draft that can be sent, each as a sentence."""
    found = checks.remarks(job)
    offer = model_catalog.find(job.model)
    if estimate and offer and estimate.basis.counts.longest > offer.context:
        found.append(
            f"Row {job.reading.get('longest_row'):,} is longer than {offer.name} can read "
            f"({estimate.basis.counts.longest:,} of {offer.context:,} tokens). It would be "
            "refused, at no charge. Shorten it, or choose a model that reads more."
        )
    if estimate and job.only_new and job.previous_id and not estimate.basis.survey.known:
        found.append(
            f"No row keeps its answer from job {job.previous_id}, so all are sent: the prompt, the "
            "kind of answer, the model or the cells are not the same as there."
        )
    if estimate and (count := estimate.basis.survey.empty) and not job.skip_empty:
        found.append(
            f"In {wording.rows(count)} a cell that is used is empty. They are sent all the same, "
            "unless you choose to leave them out."
        )
    return found


def _what_it_means(job: Job, estimate: Estimate | None) -> dict[str, Any]:
    """What the settings of a recipe mean for this job: beside each model its price, and so on."""
    models, recipe = model_catalog.offered(), recipe_of(job)
    others = [dataclasses.replace(recipe, model=offer.id) for offer in models]
    none: list[Prices | None] = [None] * len(models)
    prices = estimates.prices_with(job, estimate, others) if estimate else none
    shown = list(zip(models, prices, strict=True))
    newest = {offer.family: offer for offer in reversed(models) if not offer.deprecated}
    first = [newest[family] for family in model_catalog.FAMILIES if family in newest]
    return {
        "current_models": [pair for one in first for pair in shown if pair[0] is one],
        "older_models": [pair for pair in shown if pair[0] not in first],
        "models_asked_at": model_catalog.asked_at(),
        **trial_hint(job),
        "longest": recipe.longest,
        "thinks": effort_of(recipe.model, recipe.effort) != NONE,
        "effort_choices": effort_choices(recipe.model, recipe.effort),
        "keeping": estimates.keeping(job, estimate) if estimate else None,
        "advice": advice.advice_for(job, estimate),
    }


def _form_problems(form: RecipeForm) -> list[str]:
    return [str(error) for errors in form.errors.values() for error in errors]


# --- What it answers ------------------------------------------------------------------------------


@require_POST
def recipe(request: HttpRequest, pk: int) -> HttpResponse:
    """Save the recipe as far as it is written; a model or a length that is impossible is not
    saved, but the texts beside it are: nobody wants to write them twice. `show`: the row of the
    preview, `row` the same as typed; `go`: then on to the confirmation; `keep`: then on to the page
    that keeps it as a template."""
    job = find_job(request, pk)
    if job.state != Job.State.DRAFT or job.kind != Job.Kind.TABLE:
        return _elsewhere(request, job)
    form = RecipeForm(request.POST)
    number = whole_number(request.POST.get("show") or request.POST.get("row"), 1)
    form.full_clean()
    model_before = job.model
    actions.save_recipe(job, form.recipe(saved=recipe_of(job)), person(request))
    job.refresh_from_db()
    if request.headers.get("HX-Request"):
        context = {
            "job": job,
            "answering": True,
            "model_changed": job.model != model_before,
            "form_problems": _form_problems(form),
            **preview(job, number),
            **price(job),
        }
        return render(request, "draft/_side.html", context)
    if form.errors:
        return draft_page(request, job, form, status=422)
    if "go" in request.POST:
        return redirect("confirm", job.pk)
    if "keep" in request.POST:
        return redirect("keep", job.pk)
    query = QueryDict(mutable=True)
    query["row"] = str(number)
    return redirect(f"{reverse('job', args=[job.pk])}?{query.urlencode()}#preview")


@require_POST
def take_advice(request: HttpRequest, pk: int) -> HttpResponse:
    """`code`: of the advice that is taken."""
    job = find_job(request, pk)
    if job.state == Job.State.DRAFT:
        found = advice.find(job, estimates.current(job), request.POST.get("code", ""))
        if found:
            actions.save_recipe(job, found.recipe, person(request))
            messages.success(request, "Changed. The price is worked out anew.")
        else:
            messages.info(request, "Nothing was changed: the job has changed since you looked.")
    return redirect("job", pk)


@require_POST
def reading(request: HttpRequest, pk: int) -> HttpResponse:
    """Read the file anew, in the way that was chosen. `fix`: a remedy for all ready-made requests;
    `plain`: without any; `fill`: short rows are filled with empty cells; `uncorrected`: without the
    rows that were corrected."""
    job = find_job(request, pk)
    if job.state not in Job.OPEN:
        return _elsewhere(request, job)
    if request.POST.get("uncorrected"):
        actions.take_back_corrections(job, person(request))
        return redirect("job", pk)
    chosen = choices_of(job)
    if request.POST.get("plain"):
        chosen = msgspec.structs.replace(chosen, remedies=())
    elif request.POST.get("fill"):
        chosen = msgspec.structs.replace(chosen, fill=True)
    elif fix := request.POST.get("fix", "")[:200]:
        chosen = msgspec.structs.replace(chosen, remedies=(*chosen.remedies, fix))
    else:
        form = ReadingForm(job, request.POST)
        if not form.is_valid():
            texts = [str(error) for errors in form.errors.values() for error in errors]
            messages.error(request, " ".join(texts))
            return redirect("job", pk)
        chosen = form.choices()
    if not actions.read_differently(job, chosen, person(request)):
        messages.info(request, "It is read in this very way already.")
    return redirect("job", pk)


@require_POST
def correct(request: HttpRequest, pk: int) -> HttpResponse:
    """`file`: the problem file, corrected."""
    job = find_job(request, pk)
    take_file(request, job, actions.correct_rows)
    return redirect("job", pk)


@require_POST
def replace(request: HttpRequest, pk: int) -> HttpResponse:
    """`file`: another one in place of the upload."""
    job = find_job(request, pk)
    take_file(request, job, actions.replace_upload)
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


def _elsewhere(request: HttpRequest, job: Job) -> HttpResponse:
    """The job is no draft any more, perhaps by another tab: show what it is now."""
    address = reverse("job", args=[job.pk])
    if request.headers.get("HX-Request"):
        return HttpResponse(headers={"HX-Redirect": address})
    return redirect(address)


@require_safe
def price_card(request: HttpRequest, pk: int) -> HttpResponse:
    """The price as a part of the draft's page; it comes back until there is one."""
    job = find_job(request, pk)
    if job.state != Job.State.DRAFT or not request.headers.get("HX-Request"):
        return _elsewhere(request, job)
    context = {"job": job, "answering": True, **price(job)}
    return render(request, "draft/_priced.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def confirm(request: HttpRequest, pk: int) -> HttpResponse:
    """GET shows everything that is about to be sent, with the sums; POST sends exactly that."""
    job = find_job(request, pk)
    if request.method == "POST":
        return _confirmed(request, job)
    if job.state != Job.State.DRAFT:
        return redirect("job", job.pk)
    sums = price(job)
    if not sums["can_go_on"]:
        if sums["is_counting"]:
            return render(request, "draft/counting.html", {"job": job})
        messages.warning(request, sums["blocked"])
        return redirect("job", job.pk)
    context = {
        "job": job,
        "model_name": model_catalog.name_of(job.model),
        "effort": EFFORTS[job.effort if job.effort in efforts_of(job.model) else BY_ITSELF],
        "thinks": effort_of(job.model, job.effort) != NONE,
        "longest": recipe_of(job).longest,
        **_not_sent(job, sums["estimate"]),
        "answer_kind": answer_kind_of(job),
        "request_models": _request_models(job),
        "format": format_in_words(job),
        **_approval(request, job, sums["estimate"]),
        **sums,
    }
    return render(request, "draft/confirm.html", context)


def _approval(request: HttpRequest, job: Job, estimate: Estimate) -> dict[str, Any]:
    """Whether a second person has to approve the job, whether this one can, or somebody has."""
    allowed, user = SpendingCaps.get(), person(request)
    needed = caps.needs_approval(job, estimate.most, allowed)
    approved = needed and caps.is_approved(job, job.plan_sha256)
    return {
        "needs_approval": needed,
        "approval_above": allowed.approval_above,
        "is_approved": approved,
        "can_approve": job.awaits_approval and needed and caps.can_approve(job, user),
        "nobody_can": caps.why_nobody_can_approve(job) if needed and not approved else "",
        "is_owner": job.owner_id == user.pk,
        "can_submit": not needed or (approved and job.owner_id == user.pk),
        "approval_link": request.build_absolute_uri(reverse("confirm", args=[job.pk])),
    }


def _not_sent(job: Job, estimate: Estimate) -> dict[str, int]:
    """How many rows are left out, how many of them for an empty cell, how many keep the answer of
    the job before, and how many get that of another row."""
    survey = estimate.basis.survey
    return {
        "left_out": job.skipped_count + survey.left_out,
        "left_out_empty": survey.left_out,
        "known": survey.known if job.only_new else 0,
        "same": survey.alike if job.same_once else 0,
    }


def _confirmed(request: HttpRequest, job: Job) -> HttpResponse:
    """`approval`: "ask" for that of a second person, "give" it, or "withdraw" what was asked."""
    plan, user = request.POST.get("plan_sha256", "").replace("\0", ""), person(request)
    approval, to = request.POST.get("approval"), "confirm"
    if approval == "withdraw":
        if approvals.withdraw(job, user):
            messages.success(request, "Request withdrawn.")
        return redirect("job", job.pk)
    try:
        if approval == "ask":
            done = approvals.ask(job, plan, user)
        elif approval == "give":
            done = approvals.approve(job, plan, user)
            if done:
                messages.success(request, f"Approved. {job.owner.username} can submit it now.")
        else:
            done, to = actions.confirm(job, plan, user), "job"
    except caps.NotAllowed as why:
        messages.warning(request, f"Nothing was sent. {why}")
        return redirect("job", job.pk)
    if done:
        return redirect(to, job.pk)
    job.refresh_from_db()
    if job.state == Job.State.DRAFT:
        messages.warning(
            request,
            "Nothing was sent: the job or its price has changed since you looked. Check it again.",
        )
        return redirect("confirm", job.pk)
    messages.info(request, "This job was submitted before. It was not submitted again.")
    return redirect("job", job.pk)
