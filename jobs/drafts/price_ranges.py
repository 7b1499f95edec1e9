"""What the rows of a share cost: a range, and a ceiling."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

from ..rules import pricing
from ..rules.model_capabilities import model_rules
from ..rules.price_estimates import Basis, Counts
from . import answer_lengths
from .shares import Share

# Guess: tokens that a model reads of tool results in each turn.
USUAL_FIND = 20_000
# The same for the linked files of one request.
USUAL_LINKED = 20_000
# Share of rows that hit the cache: usual rates in batches, where caching is best effort
# (batch processing guide).
FEW_HITS, MANY_HITS = Decimal("0.30"), Decimal("0.98")


@dataclass(frozen=True)
class PriceRange:
    """The price of one share, in US dollars at the batch rate."""

    rows: int
    low: Decimal
    high: Decimal
    most: Decimal
    fees: Decimal = Decimal(0)  # part of `high` and `most` that costs the same without batches

    @property
    def expected(self) -> Decimal:
        """The one best guess: the middle of the usual range."""
        return (self.low + self.high) / 2


def sum_ranges(prices: Iterable[PriceRange]) -> dict[str, Decimal]:
    found = list(prices)
    low = sum((one.low for one in found), Decimal(0))
    high = sum((one.high for one in found), Decimal(0))
    fees = sum((one.fees for one in found), Decimal(0))
    return {
        "low": low,
        "high": high,
        "most": sum((one.most for one in found), Decimal(0)),
        "normal_low": low / pricing.BATCH,
        "normal_high": (high - fees) / pricing.BATCH + fees,
    }


def expect_input(share: Share, counts: Counts) -> tuple[float, float]:
    """Input tokens of a share: the expected number, and the margin up and down."""
    token_bytes = model_rules(share.model).token_bytes
    expected, margin = counts.tokens_of(share.rows, share.bytes, token_bytes)
    scale = share.scale if counts.tokens else 1  # otherwise they are in tokens of this model
    return expected * scale, margin * scale


def price_share(share: Share, basis: Basis) -> PriceRange:
    """The price of a share. Raises UnknownPrice."""
    longest = round(basis.counts.longest * share.scale)
    if not 0 < share.long < share.rows or share.turns:
        return _price_at_one_rate(share, basis, longest)
    # Only the long rows cost more per token.
    few = share.long / share.rows
    long = replace(
        share,
        rows=share.long,
        bytes=share.long_bytes,
        output_low=round(share.output_low * few),
        output_high=round(share.output_high * few),
        longest=share.long_longest,
        most=share.long_most,
        linked=min(share.linked, share.long),
    )
    others = replace(
        share,
        rows=share.rows - long.rows,
        bytes=share.bytes - long.bytes,
        output_low=share.output_low - long.output_low,
        output_high=share.output_high - long.output_high,
        longest=share.longest - long.longest,
        most=share.most - long.most,
        most_row=0,
        linked=share.linked - long.linked,
    )
    one, other = _price_at_one_rate(long, basis, longest), _price_at_one_rate(others, basis, 0)
    return PriceRange(share.rows, one.low + other.low, one.high + other.high, one.most + other.most)


def _price_at_one_rate(share: Share, basis: Basis, longest: int) -> PriceRange:
    """The price of rows with one price per token; the longest has `longest` tokens. Raises
    UnknownPrice."""
    counts = basis.counts
    known = answer_lengths.cache_hit_rates(basis.earlier)
    hits = tuple(map(Decimal, known)) if known else (FEW_HITS, MANY_HITS)
    expected, margin = expect_input(share, counts)
    cacheable = Decimal(share.cached * share.rows)

    def cost(tokens: float, output: int, hits: Decimal, prompt: int, cached: Decimal) -> Decimal:
        plain = max(Decimal(round(tokens)) - cached, Decimal(0))
        read = cached * hits
        return pricing.cost_of_tokens(
            share.model, plain, output, prompt, written=cached - read, read=read
        )

    usual = cacheable if share.is_cached else Decimal(0)
    few, many = hits
    found = share.turns * USUAL_FIND + share.linked * USUAL_LINKED
    high = cost(expected + margin + found, share.output_high, few, longest, usual)
    # The context window bounds each row, and it is the only bound for tool results.
    context = pricing.priced_model(share.model).context
    tokens = min(share.most, share.rows * context) + share.turns * context
    longest = context if share.turns else min(share.most_row, context)
    # In the worst case every row writes to the cache, however short the prefix is.
    written = tokens if share.may_cache_all else share.cached * share.rows
    most = pricing.ceiling_of_tokens(
        share.model, max(tokens - written, 0), share.longest, longest, written=written
    )
    if share.in_the_us:
        high *= pricing.US_ONLY
    fees = pricing.SEARCH * share.searches
    return PriceRange(
        share.rows,
        cost(max(expected - margin, 0), share.output_low, many, 0, usual),
        high + fees,
        max(high, most) + fees,
        fees,
    )
