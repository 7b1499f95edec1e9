"""Tokens of a draft's rows: the provider counts a sample, which gives tokens per byte, and the
bytes of all rows are known from reading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from ..batches.leases import Lease
from ..ingest.request_reader import measure_input
from ..models import Job, Outcome, Row, recipe_of
from ..provider import client, errors
from ..rules import recipes
from ..rules.model_capabilities import model_rules
from ..rules.recipes import Recipe

SAMPLE = 20  # rows to count
OVERHEAD = 12  # tokens of a request besides its text
LEAST_TOKEN_BYTES = 1  # in any language: a token is at least one byte
TOKEN_BYTES = 2.5  # bytes per token where it cannot be counted (token counting page)


@dataclass(frozen=True)
class Counts:
    """Bytes and tokens of the counted rows. Empty if the provider was not available."""

    sizes: tuple[int, ...] = ()
    tokens: tuple[int, ...] = ()
    # Tokens of the background, if all rows share it and it is long enough to cache.
    shared: int = 0
    refused: int = 0  # bytes of the longest row that was not counted

    @property
    def longest(self) -> int:
        """Tokens of the longest row, which is always in the sample."""
        return max(round(self.refused / TOKEN_BYTES), *self.tokens, 0)

    @property
    def least(self) -> int:
        """Tokens of the shortest row: a bound for the text that all rows repeat. 0 if none was
        counted."""
        return min(self.tokens, default=0)

    def tokens_of(self, rows: int, size: int, token_bytes: float) -> tuple[float, float]:
        """Tokens of `rows` rows with `size` bytes in total: the expected number, and the margin.

        `token_bytes`: bytes per token if nothing was counted.
        """
        if not self.tokens:
            expected = size / token_bytes + OVERHEAD * rows
            return expected, expected * 0.3
        overhead, rate = _line_through(self.sizes, self.tokens)
        expected = overhead * rows + rate * size
        pairs = zip(self.sizes, self.tokens, strict=True)
        off = [count - overhead - rate * one for one, count in pairs]
        # Twice the standard error of the mean, and 2% because counting is an estimate itself.
        spread = 2 * stdev(off) / len(off) ** 0.5 if len(off) > 2 else 0.1 * expected / max(rows, 1)
        return expected, spread * rows + 0.02 * expected


def count_tokens(job: Job, lease: Lease | None = None) -> Counts:
    """Have the provider count a sample of rows, free of charge. Without tokens if that is not
    possible now. Raises LeaseLost."""
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


def _line_through(sizes: Sequence[int], tokens: Sequence[int]) -> tuple[float, float]:
    """Overhead and tokens per byte by least squares, or by the plain ratio if the sampled rows are
    too alike for a line."""
    mean_size, mean_tokens = fmean(sizes), fmean(tokens)
    spread = sum((size - mean_size) ** 2 for size in sizes)
    if spread > 0:
        rate = (
            sum(
                (size - mean_size) * (count - mean_tokens)
                for size, count in zip(sizes, tokens, strict=True)
            )
            / spread
        )
        if 0.05 < rate < 2:
            return mean_tokens - rate * mean_size, rate
    return 0.0, mean_tokens / max(mean_size, 1)
