"""The prices of Anthropic's models that come with the package genai-prices. Pure.

For a context that it does not know, the package silently returns the normal price. So its prices of
a model count only if all batch prices exist and are in proportion; otherwise the caller uses its
own table.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo

PACKAGE = "genai-prices"
# What the package calls each kind of token.
_KINDS = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cache_write_5m": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "cache_read": "cache_read_mtok",
}


class PublishedPrices(NamedTuple):
    """US dollars for a million tokens, by the kind of token."""

    prices: dict[str, Decimal]
    # For prompts of more than `above` tokens, if their price differs.
    above: int | None = None
    long_prices: dict[str, Decimal] | None = None


@cache
def version() -> str:
    """The version of the package that is installed."""
    # Imported here: the process that reads a file does not ask, and it would start later.
    from importlib import metadata

    return metadata.version(PACKAGE)


def published(ids: Sequence[str], day: date, batch: Decimal) -> PublishedPrices | None:
    """The normal prices of the model with these ids on this day; None unless all are known and cost
    `batch` times as much in a batch."""
    found = _find(ids)
    if found is None:
        return None
    begin = datetime.combine(day, time.min, UTC)
    normal = _read(found.get_prices(begin))
    in_batch = _read(found.get_prices(begin, {"processing": "batch"}))
    return normal if normal and in_batch == _times(normal, batch) else None


def _find(ids: Sequence[str]) -> ModelInfo | None:
    # Imported here: the process that reads a file needs no prices.
    from genai_prices.data_snapshot import get_snapshot

    for provider in get_snapshot().providers:
        if provider.id == "anthropic":
            found = provider.find_model(ids[0])
            # find_model also returns similar ids.
            return found if found and found.id in ids else None
    return None


def _read(price: Any) -> PublishedPrices | None:
    """None unless there is a price of each kind, all with the same single step or none."""
    from genai_prices.types import TieredPrices

    found: dict[str, Any] = {kind: getattr(price, name, None) for kind, name in _KINDS.items()}
    if all(isinstance(amount, Decimal) for amount in found.values()):
        return PublishedPrices(found)
    if not all(isinstance(one, TieredPrices) and len(one.tiers) == 1 for one in found.values()):
        return None
    steps = {kind: one.tiers[0] for kind, one in found.items()}
    edges = {step.start for step in steps.values()}
    if len(edges) > 1:
        return None
    base = {kind: one.base for kind, one in found.items()}
    return PublishedPrices(base, edges.pop(), {kind: step.price for kind, step in steps.items()})


def _times(said: PublishedPrices, factor: Decimal) -> PublishedPrices:
    def times(prices: dict[str, Decimal]) -> dict[str, Decimal]:
        return {kind: amount * factor for kind, amount in prices.items()}

    long_prices = times(said.long_prices) if said.long_prices else None
    return PublishedPrices(times(said.prices), said.above, long_prices)
