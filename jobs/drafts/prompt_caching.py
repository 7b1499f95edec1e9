"""What prompt caching of the background would save or cost."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from ..models import Job, recipe_of
from ..rules import pricing, recipes
from ..rules.model_capabilities import model_rules
from ..rules.price_estimates import Estimate
from .price_ranges import MANY_HITS


@dataclass(frozen=True)
class CachingOffer:
    """What prompt caching of the background would save or cost."""

    tokens: int  # of the background
    least: int  # tokens that this model caches at least
    saves: Decimal  # US dollars, if most rows hit the cache
    costs: Decimal  # US dollars more, if no row does

    @property
    def is_possible(self) -> bool:
        return self.tokens >= self.least


def offer_caching(job: Job, estimate: Estimate) -> CachingOffer | None:
    """The offer for a draft; None if its rows share no background, or tokens were not counted."""
    recipe = recipe_of(job)
    if not recipes.has_shared_system(recipe) or not estimate.counted:
        return None
    return price_caching(recipe.model, estimate.basis.counts.shared, estimate.rows)


def price_caching(model: str, tokens: int, rows: int) -> CachingOffer:
    """The offer for `rows` rows with a background of `tokens` tokens."""
    all_tokens = Decimal(tokens * rows)

    def cost(hits: Decimal) -> Decimal:
        read = all_tokens * hits
        return pricing.cost_of_tokens(model, 0, 0, written=all_tokens - read, read=read)

    plain = pricing.cost_of_tokens(model, all_tokens, 0)
    least = model_rules(model).cache_from
    return CachingOffer(tokens, least, plain - cost(MANY_HITS), cost(Decimal(0)) - plain)
