"""JSON output of the command. Keys are only ever added; money is US dollars as decimal text."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from ..drafts import estimates
from ..drafts.estimates import PartEstimate
from ..drafts.model_catalog import OfferedModel
from ..drafts.shares import count_reused
from ..drafts.templates import template_recipe
from ..ingest.finding_kinds import asks
from ..ingest.protocol import UploadSummary
from ..models import Job, Outcome, Pilot, Template, Trial, find_pilot, recipe_of
from ..retries.problem_groups import ProblemGroup, Remedy
from ..rules import pricing
from ..rules.answer_formats import COLUMNS, stored_values
from ..rules.column_matching import needed_columns
from ..rules.judging import describe_problem
from ..rules.model_capabilities import efforts_of
from ..rules.price_estimates import Estimate
from ..rules.spreadsheet_cells import plain_number
from ..spending.receipts import Receipt
from ..web.templatetags.show import days_ago
from .reading_options import flags_of


def facts_of_file(found: UploadSummary) -> dict[str, Any]:
    """How a file was read."""
    return {
        "rows": found.rows,
        "rows_left_out": found.skipped,
        "blank_lines": found.blank_lines,
        "columns": found.columns,
        "format": found.format,
        "encoding": found.understood.encoding,
        "delimiter": found.understood.delimiter,
        "sheet": found.understood.sheet,
        "header_row": found.understood.header,
        "problems": [
            {
                "kind": group.kind,
                "lines": [line for line in group.lines if line],
                "count": group.count,
                "message": group.title,
                "texts": group.texts,
                "question": asks(group.kind),
                "options": [
                    {"label": one.label, "flags": flags_of(one), "sample": one.sample}
                    for offered in group.options
                    for one in offered
                ],
                "remedy": group.remedy,
                "blocking": group.leaves_out,
            }
            for group in found.groups
        ],
    }


def facts_of_job(job: Job) -> dict[str, Any]:
    """How a job is doing."""
    return {
        "id": job.pk,
        "name": job.name,
        "owner": job.owner.username,
        "state": job.state,
        "held": job.held,
        "rows": job.row_count,
        "done": job.done_count,
        "good": job.good_count,
        "attention": job.attention_count,
        "left_out": job.unsent_count,
        "not_selected": job.unselected_count,
        "pilot": _facts_of_pilot(find_pilot(job)),
        "brought_in": job.is_external,
        "cost_usd": format(job.cost, "f"),
        "estimate": facts_of_estimate(estimates.current(job)),
        "created_at": job.created_at.isoformat(),
        "confirmed_at": job.confirmed_at and job.confirmed_at.isoformat(),
        "finished_at": job.finished_at and job.finished_at.isoformat(),
    }


def _facts_of_pilot(pilot: Pilot | None) -> dict[str, Any] | None:
    """None for a job without one."""
    if pilot is None:
        return None
    found = pilot.result
    return {
        "step": pilot.step,
        "rows": len(pilot.numbers) or pilot.rows,
        "by": pilot.by or None,
        "rule": pilot.least_good or None,
        "good": found and found.good,
        "cost_usd": found and format(found.cost, "f"),
        "rest_rows": found and found.rest_rows,
        "rest_usd": found
        and {"low": format(found.rest_low, "f"), "high": format(found.rest_high, "f")},
    }


def facts_of_template(template: Template) -> dict[str, Any]:
    """A template and the columns that it needs."""
    recipe = template_recipe(template)
    return {
        "name": template.name,
        "owner": template.owner.username,
        "shared": template.shared,
        "model": recipe.model,
        "columns": needed_columns(recipe),
        "answer": recipe.answer.kind,
        "changed_at": template.changed_at.isoformat(),
    }


def facts_of_estimate(estimate: Estimate | PartEstimate | None) -> dict[str, str] | None:
    """None while there is no price."""
    if estimate is None or (isinstance(estimate, Estimate) and estimate.trouble):
        return None
    return {name: format(getattr(estimate, name), "f") for name in ("low", "high", "most")}


def estimate_in_full(job: Job, estimate: Estimate) -> dict[str, Any]:
    """The estimate of a draft and its basis."""
    learned = (
        "tested rows" if estimate.tested else "earlier jobs" if estimate.earlier else "a guess"
    )
    money = facts_of_estimate(estimate) or dict.fromkeys(("low", "high", "most"))
    return {
        "rows": estimate.rows,
        "model": job.recipe.model or ", ".join(job.reading.models),
        "input_tokens": {"low": estimate.input_low, "high": estimate.input_high},
        "output_tokens": {
            "low": estimate.output_low,
            "high": estimate.output_high,
            "most": estimate.output_most,
        },
        "usual": {"low": money["low"], "high": money["high"]},
        "most": money["most"],
        # Of the higher end of the usual.
        "normal_price": format(estimate.normal_high, "f"),
        "currency": "USD",
        "basis": {
            "input": f"counted on {estimate.counted} rows" if estimate.counted else "bytes",
            "output": learned,
            "rows_tried": estimate.tested,
            "rows_of_earlier_jobs": estimate.earlier,
            "prices_of": pricing.version(),
        },
        "problem": estimate.trouble or None,
        "reused_rows": count_reused(job, recipe_of(job), estimate.basis.survey),
    }


def facts_of_trials(job: Job, trials: Sequence[Trial]) -> dict[str, Any]:
    """Rows that were tested together, with the estimate for the whole job."""
    return {
        "job": job.pk,
        "model": job.recipe.model,
        "practice": any(one.practice for one in trials),
        "rows": [_facts_of_trial(one) for one in trials],
        "cost_usd": format(sum((one.cost for one in trials), Decimal(0)), "f"),
        "estimate": facts_of_estimate(estimates.current(job)),
    }


def _facts_of_trial(one: Trial) -> dict[str, Any]:
    answered = one.state == Trial.State.ANSWERED
    in_columns = one.answer_kind.kind == COLUMNS and one.outcome == Outcome.GOOD
    return {
        "row": one.number,
        "cells": dict(one.cells),
        "state": one.state,
        "status": one.outcome if answered else None,
        "cause": one.cause or None,
        "answer": stored_values(one.answer) if in_columns else one.answer or None,
        "problem": describe_problem(one.cause, one.message) or None,
        "input_tokens": one.all_input_tokens,
        "output_tokens": one.output_tokens,
        "cost_usd": format(one.cost, "f"),
    }


def facts_of_model(offer: OfferedModel) -> dict[str, Any]:
    """A model to choose; prices are per million tokens in a batch."""
    prices = pricing.priced_model(offer.id).prices if offer.has_price else None
    names = ("input", "output", "cache_write_1h", "cache_read")
    return {
        "id": offer.id,
        "name": offer.name,
        "description": offer.words,
        "default": offer.id == pricing.DEFAULT_MODEL,
        "context_tokens": offer.context,
        "longest_answer_tokens": offer.longest,
        "efforts": [effort for effort in efforts_of(offer.id) if effort],
        "deprecated": offer.deprecated,
        "retires": offer.retires and offer.retires.isoformat(),
        "batch_usd_per_million_tokens": prices
        and {name: format(getattr(prices, name) * pricing.BATCH, "f") for name in names},
    }


def facts_of_receipt(receipt: Receipt) -> dict[str, Any]:
    """What a job was charged, or would have been in practice mode."""
    return {
        "charged": format(receipt.charged, "f"),
        "estimated": facts_of_estimate(receipt.estimate),
        "by_model": [
            {
                "model": line.model,
                "what": line.what,
                "rows": line.rows,
                "input_tokens": line.input_tokens,
                "cache_write_tokens": line.cache_write_tokens,
                "cache_read_tokens": line.cache_read_tokens,
                "output_tokens": line.output_tokens,
                "thinking_tokens": line.thinking_tokens,
                "cost": format(line.cost, "f"),
            }
            for line in receipt.lines
        ],
        "not_charged": receipt.not_charged,
        "rows_without_a_price": receipt.unpriced,
        "currency": "USD",
    }


def facts_of_prices(model: pricing.PricedModel) -> dict[str, Any]:
    """US dollars per million tokens, at the normal rate and in a batch."""
    above = model.long_prices
    return {
        "model": model.id,
        "name": model.name,
        "status": model.status,
        "normal": _rates(model.prices, Decimal(1)),
        "batch": _rates(model.prices, pricing.BATCH),
        "above_prompt_tokens": model.long_prompt_above,
        "normal_above": above and _rates(above, Decimal(1)),
        "batch_above": above and _rates(above, pricing.BATCH),
        "currency": "USD",
        "source": model.source,
        "as_of": model.as_of and model.as_of.isoformat(),
        "age": model.as_of and days_ago(model.as_of),
    }


def facts_of_group(group: ProblemGroup) -> dict[str, Any]:
    """Rows with one problem, and the remedies for it."""
    return {
        "cause": group.name,
        "outcome": group.outcome,
        "words": group.title,
        "advice": group.cause.advice,
        "rows": group.rows,
        "charged": plain_number(group.charged),
        "who": group.cause.who,
        "first": group.first and group.first.isoformat(),
        "last": group.last and group.last.isoformat(),
        "said": [{"words": said.words, "rows": said.rows} for said in group.messages],
        "remedy": group.remedies[0].code if group.remedies else None,
        "price": _price_of(group.remedies[0]) if group.remedies else None,
        "remedies": [
            {
                "code": remedy.code,
                "words": remedy.words,
                "value": remedy.value or None,
                "price": _price_of(remedy),
            }
            for remedy in group.remedies
        ],
        "currency": "USD",
    }


def _price_of(remedy: Remedy) -> dict[str, Any] | None:
    """None if the remedy sends nothing by itself or has no price yet."""
    if remedy.plan is None:
        return None
    price = remedy.plan.price
    usual = {"low": plain_number(price.low), "high": plain_number(price.high)}
    return {"rows": price.rows, "usual": usual, "most": plain_number(price.most)}


def _rates(prices: pricing.TokenPrices, rate: Decimal) -> dict[str, str]:
    return {name: plain_number(price * rate) for name, price in vars(prices).items()}
