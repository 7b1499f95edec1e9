"""US dollars as they are stored."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal

# One US dollar in the unit of the columns named `*_pico`: the smallest price, $0.005 for a million
# tokens, is 5,000 of them a token, so every cost is a whole number and adds up exactly in SQL.
PICO = 1_000_000_000_000
# What a job can cost at most, in US dollars: the columns hold 9.2 million.
MOST = Decimal(9_000_000)


def dollars(pico: int) -> Decimal:
    """US dollars of a stored amount, exact."""
    return Decimal(pico).scaleb(-12)


def pico(amount: Decimal) -> int:
    """An amount as it is stored, rounded up: for sums that must not be exceeded."""
    return int((amount * PICO).to_integral_value(ROUND_CEILING))
