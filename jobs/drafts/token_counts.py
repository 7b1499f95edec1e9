"""Tokens of a draft's rows: the provider counts a sample, which gives tokens per byte, and the
bytes of all rows are known from reading."""

from __future__ import annotations

from typing import Any

from ..batches.leases import Lease
from ..ingest.request_reader import measure_input
from ..models import Job, Outcome, Row, recipe_of
from ..provider import errors
from ..rules import recipes
from ..rules.model_capabilities import model_rules
from ..rules.price_estimates import OVERHEAD, Counts
from ..rules.recipes import Recipe

SAMPLE = 20  # rows to count
LEAST_TOKEN_BYTES = 1  # in any language: a token is at least one byte


def count_tokens(job: Job, lease: Lease | None = None) -> Counts:
    """Have the provider count a sample of rows, free of charge. Without tokens if that is not
    possible now. Raises LeaseLost."""
    from ..provider import client  # which is slow to import, and pages use only what was counted

    sample = _sample(job)
    asked = [params for params, _size in sample]
    shared = _shared_params(recipe_of(job)) if job.kind == Job.Kind.TABLE else None
    try:
        if lease:
            lease.hold_for(client.READ_SECONDS)
        found = client.count_tokens([*asked, *([shared] if shared else [])])
    except errors.ProviderError:
        return Counts(refused=max((size for _params, size in sample), default=0))
    pairs = [(size, tokens) for (_, size), tokens in zip(sample, found, strict=False)]
    counted = [(size, tokens) for size, tokens in pairs if tokens is not None]
    return Counts(
        tuple(size for size, _tokens in counted),
        tuple(tokens for _size, tokens in counted),
        max((found[-1] or 0) - OVERHEAD, 0) if shared else 0,
        max((size for size, tokens in pairs if tokens is None), default=0),
    )


def _shared_params(recipe: Recipe) -> dict[str, Any] | None:
    """A request with little more than the background; None if it cannot be cached."""
    if not recipes.has_shared_system(recipe):
        return None
    # Anything shorter is below the minimum.
    if len(recipe.system.encode()) < LEAST_TOKEN_BYTES * model_rules(recipe.model).cache_from:
        return None
    system = recipes.compile_template(recipe.system, [])([])
    hardly = [{"role": "user", "content": "."}]
    return {"model": recipe.model, "system": system, "messages": hardly}


def _sample(job: Job) -> list[tuple[dict[str, Any], int]]:
    """Up to SAMPLE rows, spread evenly over the file and including the longest: the `params` and
    bytes of each, as `text_bytes` measures them, or as input_sizes does for ready-made requests."""
    last = max(job.row_count - 1, 0)
    spread = {1 + index * last // (SAMPLE - 2) for index in range(SAMPLE - 1)}
    rows = Row.objects.filter(
        job=job, outcome=Outcome.WAITING, number__in=spread | {job.reading.longest_row}
    ).order_by("number")
    if job.kind == Job.Kind.REQUESTS:
        found = [(row.content["params"], row.size) for row in rows]
        return [(params, measure_input(params, size)[0].usual) for params, size in found]
    params_of = recipes.compile_recipe(recipe_of(job), job.columns)
    filled = [params_of(row.content) for row in rows]
    return [
        (params, recipes.text_bytes(params))
        for params in filled
        if params["messages"][0]["content"].strip()
    ]
