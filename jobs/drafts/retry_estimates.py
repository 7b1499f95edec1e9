"""What sending rows of a finished job again costs."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from ..models import Job
from ..rules import pricing, recipes
from ..rules.answer_formats import output_format
from ..rules.model_capabilities import model_rules
from ..rules.price_estimates import Basis
from ..rules.recipes import Recipe
from ..rules.retry_choices import RetrySize
from .estimates import PartEstimate, current
from .price_ranges import price_share, sum_ranges
from .shares import Share, build_request_shares, ceiling_around_cells, count_cached
from .token_counts import LEAST_TOKEN_BYTES


def estimate_retry(
    job: Job, found: RetrySize, recipe: Recipe, at_least: int
) -> PartEstimate | None:
    """What a retry of rows of a finished job costs; None if there are no rows or no price.

    `recipe` is for tables only. `at_least`: the answers needed more tokens than this.
    """
    whole = current(job)
    if not found.rows or (whole is None and not job.is_external):
        return None
    basis = whole.basis if whole else Basis()
    if job.kind == Job.Kind.TABLE:
        shares = [_table_share(job, found, recipe, at_least, basis)]
    elif found.models:
        shares = build_request_shares(found.models)
    else:
        changed = [one.contents for one in job.rounds.all() if one.contents]
        shares = build_request_shares(job.reading.models)
        shares += [one for models in changed for one in build_request_shares(models)]
        uses = {name: sum(getattr(one, name) for one in shares) for name in ("searches", "turns")}
        if changed:
            shares = [replace(one, **uses) for one in shares]
        shares = [_request_share(one, found) for one in shares]
    try:
        prices = [price_share(one, basis) for one in shares]
    except pricing.UnknownPrice:
        return None
    if found.models:
        whole_price = sum_ranges(prices)
        return PartEstimate(found.rows, *(whole_price[name] for name in ("low", "high", "most")))
    # It is unknown how many of these requests go to which model.
    return PartEstimate(
        found.rows,
        min(one.low for one in prices),
        max(one.high for one in prices),
        max(one.most for one in prices),
    )


def _table_share(job: Job, found: RetrySize, recipe: Recipe, at_least: int, basis: Basis) -> Share:
    form = recipes.form_bytes({"format": output_format(recipe.answer)})
    fixed = len(recipes.static_text(recipe.template).encode()) + form
    # A prompt may use a column more than once.
    times = max(Counter(recipes.columns_used(recipe.template)).values(), default=0)
    low, high = _earlier_lengths(job, recipe)
    if at_least:
        low, high = at_least, recipe.longest
    around = ceiling_around_cells(job, recipe, basis)
    cached = count_cached(recipe, basis)
    if cached and recipe.system != job.recipe.system:  # another background was counted
        cached = len(recipe.system.encode()) // LEAST_TOKEN_BYTES
    return Share(
        recipe.model,
        found.rows,
        fixed * found.rows + found.bytes * times,
        round(low * found.rows),
        round(high * found.rows),
        recipe.longest * found.rows,
        cached=cached,
        is_cached=basis.counts.shared > 0 and cached >= model_rules(recipe.model).cache_from,
        scale=model_rules(job.recipe.model).token_bytes / model_rules(recipe.model).token_bytes,
        most=around * found.rows + found.bytes * times,
        most_row=around + found.largest * times,
    )


def _earlier_lengths(job: Job, recipe: Recipe) -> tuple[float, float]:
    """Tokens of an answer, from .. to, by the good ones of the job; a guess without any."""
    lengths = job.tally.lengths
    if lengths is None or not lengths.answers:
        return recipes.expected_output(recipe)
    mean = (lengths.text[0] + lengths.thinking[0]) / lengths.answers
    return min(mean * 0.5, recipe.longest), min(mean * 2, recipe.longest)


def _request_share(share: Share, found: RetrySize) -> Share:
    """The rows of the retry as if all went to the model of `share`."""
    few = found.rows / share.rows
    return replace(
        share,
        rows=found.rows,
        bytes=found.bytes,
        output_low=round(share.output_low * few),
        output_high=round(share.output_high * few),
        longest=share.longest_most * found.rows,
        long=0,
        most=min(found.bytes + share.surplus * found.rows, share.most_row * found.rows),
        most_row=min(found.largest + share.surplus, share.most_row),
        linked=min(share.linked, found.rows),
    )
