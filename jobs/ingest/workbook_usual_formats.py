"""The number formats that most cells have, such as 0.0% and "INV-"00000, laid out quickly."""

from __future__ import annotations

import re
from typing import NamedTuple

# The digits of a format, and a percent sign behind them.
USUAL = re.compile(r"(?:(?P<grouped>#,##)|#*)(?P<whole>0+)(?:\.(?P<rest>0+))?(?P<percent>%)?")


class UsualFormat(NamedTuple):
    """A format with one number and text around it."""

    before: str
    after: str
    whole: int  # digits that are always shown
    rest: int  # digits after the point
    is_grouped: bool
    is_percent: bool

    def read(self, number: str) -> str:
        """`number`: not negative, and not in scientific notation. No digit is lost."""
        whole, _point, rest = number.partition(".")
        if self.is_percent:
            rest = rest.ljust(2, "0")
            whole, rest = (whole + rest[:2]).lstrip("0") or "0", rest[2:]
        whole = f"{int(whole):,}" if self.is_grouped else whole.zfill(self.whole)
        rest = rest.ljust(self.rest, "0")
        return f"{self.before}{whole}{'.' if rest else ''}{rest}{self.after}"
