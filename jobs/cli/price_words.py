"""Prices in words for people."""

from __future__ import annotations

from ..drafts.estimates import PartEstimate
from ..rules.price_estimates import Estimate
from ..web.templatetags.show import at_most, money_range


def price_in_words(estimate: Estimate | PartEstimate) -> str:
    return f"usually {money_range(estimate.low, estimate.high)}, {at_most(estimate.most)}"


def half(estimate: Estimate) -> str:
    return " (half the normal price)" if estimate.is_half else ""
