"""What the command tells programs, as objects for JSON. Keys are only ever added; money is US
dollars, as decimal text."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from jobs import estimates, pricing
from jobs.answer_kinds import COLUMNS, stored_values
from jobs.estimates import Estimate
from jobs.ingest.answers import Summary
from jobs.judging import problem_in_words
from jobs.matching import needed_columns
from jobs.model_rules import efforts_of
from jobs.models import Job, Outcome, Template, Try
from jobs.offers import Offer
from jobs.reusing import kept_recipe


def facts_of_file(found: Summary) -> dict[str, Any]:
    """How a file is read."""
    return {
        "rows": found.rows,
        "rows_left_out": found.left_out,
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
                "remedy": group.remedy,
                "blocking": group.leaves_out,
            }
            for group in found.groups
        ],
    }


def facts(job: Job) -> dict[str, Any]:
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
        "left_out": job.left_out_count,
        "cost_usd": format(job.cost, "f"),
        "estimate": facts_of_estimate(estimates.current(job)),
        "created_at": job.created_at.isoformat(),
        "confirmed_at": job.confirmed_at and job.confirmed_at.isoformat(),
        "finished_at": job.finished_at and job.finished_at.isoformat(),
    }


def facts_of_template(template: Template) -> dict[str, Any]:
    """What is kept under a name, and what it needs."""
    recipe = kept_recipe(template)
    return {
        "name": template.name,
        "owner": template.owner.username,
        "shared": template.shared,
        "model": recipe.model,
        "columns": needed_columns(recipe),
        "answer": recipe.answer.kind,
        "changed_at": template.changed_at.isoformat(),
    }


def facts_of_estimate(estimate: Estimate | None) -> dict[str, str] | None:
    """None while there is no price."""
    if estimate is None or estimate.trouble:
        return None
    return {name: format(getattr(estimate, name), "f") for name in ("low", "high", "most")}


def facts_of_tries(job: Job, tries: Sequence[Try]) -> dict[str, Any]:
    """Rows that were tried together, with the price of the whole job that they taught."""
    return {
        "job": job.pk,
        "model": job.model,
        "practice": any(one.practice for one in tries),
        "rows": [_facts_of_try(one) for one in tries],
        "cost_usd": format(sum((one.cost for one in tries), Decimal(0)), "f"),
        "estimate": facts_of_estimate(estimates.current(job)),
    }


def _facts_of_try(one: Try) -> dict[str, Any]:
    answered = one.state == Try.State.ANSWERED
    in_columns = one.answer_kind.get("kind") == COLUMNS and one.outcome == Outcome.GOOD
    return {
        "row": one.number,
        "cells": dict(one.cells),
        "state": one.state,
        "status": one.outcome if answered else None,
        "cause": one.cause or None,
        "answer": stored_values(one.answer) if in_columns else one.answer or None,
        "problem": problem_in_words(one.cause, one.message) or None,
        "input_tokens": one.input_tokens,
        "output_tokens": one.output_tokens,
        "cost_usd": format(one.cost, "f"),
    }


def facts_of_model(offer: Offer) -> dict[str, Any]:
    """A model that can be chosen; prices are for a million tokens in a batch."""
    prices = pricing.model(offer.id).prices if offer.has_price else None
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
