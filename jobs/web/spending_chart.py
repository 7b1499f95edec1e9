"""The chart of spending by day, in the coordinates of its SVG."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from ..spending.days import Days

HEIGHT = 120
STEP = 20  # from one day to the next
GAP = 5  # between two bars
LEAST = 2  # the height of the bar of a cent, so that it is seen


@dataclass(frozen=True)
class Bar:
    """A day: its bar reaches from `y` down for `height`; 0 without charges."""

    day: date
    charged: Decimal
    x: int
    y: int
    height: int


@dataclass(frozen=True)
class Chart:
    bars: list[Bar]
    charged: Decimal  # US dollars, of all days
    top: Decimal  # US dollars at the upper edge
    half: Decimal

    width = STEP
    bar_width = STEP - GAP
    height = HEIGHT
    middle_line = HEIGHT // 2

    @property
    def full_width(self) -> int:
        return STEP * len(self.bars)

    @property
    def middle(self) -> Bar:
        return self.bars[len(self.bars) // 2]


def draw_chart(days: Days) -> Chart:
    bars = []
    for number, one in enumerate(days.days):
        height = round(HEIGHT * one.charged / days.top)
        height = max(height, LEAST) if one.charged else 0
        bars.append(Bar(one.day, one.charged, number * STEP, HEIGHT - height, height))
    return Chart(bars, days.charged, days.top, days.half)
