"""A pilot: some rows of a job are sent first, and the others wait for a decision. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import sqrt
from statistics import fmean, stdev

MOST_ROWS = 5_000  # of a pilot
USUAL_ROWS, LEAST_USUAL = 100, 10  # offered, if the job has enough
USUAL_RULE, LEAST_RULE = 97, 50  # percent; the page offers no less than the least


def usual_rows(rows: int) -> int:
    """How many of a job's `rows` a pilot is offered with: a tenth, but not so few that they say
    nothing."""
    return max(min(USUAL_ROWS, max(rows // 10, LEAST_USUAL), rows - 1), 1)


@dataclass(frozen=True)
class PilotChoice:
    """What a person wants to send first."""

    rows: int
    by: str = ""  # the column each of whose values has its share
    # Percent of good rows from which the others are sent without asking; 0: a person decides.
    least_good: int = 0


@dataclass(frozen=True)
class PilotResult:
    """What became of a pilot, and what the other rows will cost by it, in US dollars."""

    rows: int
    good: int
    cost: Decimal
    rest_rows: int
    rest_low: Decimal  # the usual range
    rest_high: Decimal
    reused: int = 0  # rows of the job that have the answer of an earlier one to the same prompt

    @property
    def rest_expected(self) -> Decimal:
        return (self.rest_low + self.rest_high) / 2

    @property
    def good_percent(self) -> float:
        return 100 * self.good / self.rows if self.rows else 0.0


def choice_problems(choice: PilotChoice, rows: int, columns: Sequence[str] | None) -> list[str]:
    """Why a job that sends `rows` rows cannot begin with this pilot, as sentences. `columns`: of
    the table; None for ready-made requests."""
    found = []
    if not 1 <= choice.rows <= MOST_ROWS:
        found.append(f"Send from 1 to {MOST_ROWS:,} rows first.")
    elif choice.rows >= rows:
        found.append(
            f"This job sends {rows:,} {'row' if rows == 1 else 'rows'}. Send fewer than that first."
        )
    if not 0 <= choice.least_good <= 100:
        found.append("The share of good rows is from 1 to 100 percent.")
    if choice.by and columns is None:
        found.append("Ready-made requests have no columns, so no value can have its share.")
    elif choice.by and choice.by not in (columns or ()):
        found.append(f"Your file has no column “{choice.by[:100]}” whose values can have a share.")
    return found


def price_of_rest(
    costs: Sequence[Decimal], bytes_sent: int, rows: int, rest_bytes: int, most: Decimal
) -> tuple[Decimal, Decimal]:
    """What the other `rows` rows will cost, from .. to, by what each row of the pilot did.

    `bytes_sent`: of the pilot. The cost lies between their share by rows and their share by bytes,
    give or take twice the standard error; never above `most`.
    """
    if not costs:
        return Decimal(0), most
    total = sum(costs, Decimal(0))
    shares = [total * rows / len(costs)]
    if bytes_sent and rest_bytes:
        shares.append(total * rest_bytes / bytes_sent)
    plain = [float(one) for one in costs]
    mean = fmean(plain)
    off = 2 * stdev(plain) / sqrt(len(plain)) / mean if len(plain) > 1 and mean else 0.5
    low = min(shares) * Decimal(max(1 - off, 0))
    high = min(max(shares) * Decimal(1 + off), most)
    return min(low, high), high


def keeps_rule(result: PilotResult, least_good: int, spent: Decimal, high: Decimal) -> bool:
    """Whether the rest may be sent without asking: enough rows are good, and the whole stays within
    the usual price that was shown, up to `high` US dollars. `spent`: by the job so far."""
    if not least_good or not result.rows:
        return False
    is_good = result.good * 100 >= least_good * result.rows
    return is_good and spent + result.rest_expected <= high
