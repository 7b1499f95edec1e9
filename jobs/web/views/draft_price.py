"""The price of a draft, and what to know before it is confirmed."""

from __future__ import annotations

import dataclasses
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from ...drafts import advice, checks, estimates, model_catalog, prompt_caching
from ...drafts.price_ranges import PriceRange
from ...models import Job, SpendingCaps, recipe_of
from ...rules import wording
from ...rules.model_capabilities import NONE, effort_choices, effort_of
from ...rules.price_estimates import Estimate
from ...spending import caps
from .access import find_job
from .columns import missing_context
from .fragments import redirect_to_job
from .tested_rows import trial_hint


def request_models(models: dict[str, dict[str, int]]) -> list[dict[str, Any]]:
    """Of ready-made requests: the models they ask for, with the name of each. `models`: as
    FileFacts.models."""
    return [
        {
            "name": model_catalog.name_of(model_id),
            "has_price": model_catalog.has_price(model_id),
            **numbers,
        }
        for model_id, numbers in models.items()
    ]


def price(job: Job) -> dict[str, Any]:
    """The price of a draft, whether it can be confirmed, and if not, why."""
    problems = checks.problems(job)
    estimate = None if problems else estimates.current(job)
    blocked = ""
    if not job.sendable_count:
        blocked = "No row of this file can be sent. Fix the problems above and upload it again."
    elif problems:
        blocked = "Finish the prompt first."
    elif estimate is not None:
        blocked = estimate.trouble or _not_allowed(job, estimate)
        if not (blocked or job.plan_sha256):  # a price, but no plan to confirm: not done yet
            estimate = None
    # That nothing is written yet needs no warning.
    is_written = job.kind == Job.Kind.TABLE and bool(job.recipe.prompt.strip())
    remarks = _remarks(job, estimate) if is_written else []
    return {
        "is_prompt_done": not problems,
        "is_tested": job.trials.of_rows().exists(),
        "trials_pending": job.trials.of_rows().pending().exists(),
        "field_problems": checks.field_problems(job) if is_written else {},
        **missing_context(job),
        "recipe_remarks": remarks,
        "empty_rows": _empty_rows(job, estimate),
        "notes": [*problems, *remarks] if is_written else [],
        **(_what_it_means(job, estimate) if job.kind == Job.Kind.TABLE else {}),
        "estimate": estimate,
        "is_counting": not problems and not blocked and estimate is None,
        "blocked": blocked,
        "can_go_on": estimate is not None and not blocked,
    }


def _not_allowed(job: Job, estimate: Estimate) -> str:
    """Why so much may not be spent now; "" when it may."""
    return caps.why_over_cap(job, estimate.most, SpendingCaps.get(), timezone.now())


def _remarks(job: Job, estimate: Estimate | None) -> list[str]:
    """What is odd about a draft that can be sent, each as a sentence."""
    found = checks.remarks(job)
    offer = model_catalog.find_model(job.recipe.model)
    if estimate and offer and estimate.basis.counts.longest > offer.context:
        found.append(
            f"Row {job.reading.longest_row:,} is longer than {offer.name} can read "
            f"({estimate.basis.counts.longest:,} of {offer.context:,} tokens). It would be "
            "refused, at no charge. Shorten it, or choose a model that reads more."
        )
    if estimate and job.recipe.only_new and job.previous_id and not estimate.basis.survey.answered:
        found.append(
            f"No row keeps its answer from job {job.previous_id}, so all are sent: the prompt, the "
            "kind of answer, the model or the cells are not the same as there."
        )
    if count := _empty_rows(job, estimate):
        found.append(f"{wording.rows(count)} with an empty cell will be sent anyway.")
    return found


def _empty_rows(job: Job, estimate: Estimate | None) -> int:
    """How many rows with an empty cell are sent."""
    return estimate.basis.survey.sent_with_gap if estimate and not job.recipe.skip_empty else 0


def _what_it_means(job: Job, estimate: Estimate | None) -> dict[str, Any]:
    """What the settings of a recipe mean for this job: beside each model its price, and so on."""
    models, recipe = model_catalog.list_models(), recipe_of(job)
    others = [dataclasses.replace(recipe, model=offer.id) for offer in models]
    none: list[PriceRange | None] = [None] * len(models)
    prices = estimates.price_recipes(job, estimate, others) if estimate else none
    shown = list(zip(models, prices, strict=True))
    newest = {offer.family: offer for offer in reversed(models) if not offer.deprecated}
    first = [newest[family] for family in model_catalog.FAMILIES if family in newest]
    chosen = next((pair for pair in shown if pair[0].id == recipe.model), None)
    return {
        "current_models": [pair for one in first for pair in shown if pair[0] is one],
        "older_models": [pair for pair in shown if pair[0] not in first],
        "chosen_model": chosen,
        "models_asked_at": model_catalog.last_refresh(),
        **trial_hint(job),
        "longest": recipe.longest,
        "thinks": effort_of(recipe.model, recipe.effort) != NONE,
        "effort_choices": effort_choices(recipe.model, recipe.effort),
        "caching": prompt_caching.offer_caching(job, estimate) if estimate else None,
        "advice": advice.best_advice(job, estimate),
    }


@require_safe
def price_card(request: HttpRequest, pk: int) -> HttpResponse:
    """The price as a part of the draft's page; it comes back until there is one."""
    job = find_job(request, pk)
    if job.state != Job.State.DRAFT or not request.headers.get("HX-Request"):
        return redirect_to_job(request, job)
    context = {"job": job, "answering": True, **price(job)}
    return render(request, "draft/_priced.html", context)
