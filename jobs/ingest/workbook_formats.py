"""Number formats of workbooks: what a spreadsheet shows for a number, and what of it we read.

A format has up to four sections, `positive;negative;zero;text`. What is read of a number is its
stored value, unless the format says something that the value does not: a percent sign, leading
zeros, or text such as INV-00042, 5 kg and Yes. No digit is ever lost: 0.075 with `0%` is shown as
8 % and read as 7.5%.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import ROUND_HALF_UP, Context, Decimal
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from .workbook_cells import number_text
from .workbook_usual_formats import USUAL, UsualFormat

DIGITS = "0#?"
_TOKEN = re.compile(
    r'"([^"]*)"?'  # 1: text
    r"|\\(.)"  # 2: a character of text
    r"|[_*](?:.|$)"  # padding
    r"|\[(\$[^\]]*|[<>=][^\]]*|[^\]]*)\]"  # 3: a currency, a condition, [h], a color
    r"|(General|G/[^;]*)"  # 4
    r"|(AM/PM|A/P|y+|m+|d+|h+|s+|e+(?![+-])|g+|b+)"  # 5: of a date
    r"|(E[+-])"  # 6
    r"|([0#?.,%/@])"  # 7
    r"|(;)"  # 8: the next section
    r"|(.)",  # 9: any other character is text
    re.DOTALL | re.IGNORECASE,
)
_CONDITION = re.compile(r"(<=|>=|<>|=|<|>)\s*(-?[0-9.]+(?:E[+-]?[0-9]+)?)", re.IGNORECASE)
_ELAPSED = re.compile(r"h+|m+|s+", re.IGNORECASE)
# Written as text in a format; other currencies have a sign of their own.
_CURRENCIES = re.compile(
    r"AED|AUD|BRL|CAD|CHF|CLP|CNY|COP|CZK|DKK|EUR|GBP|HKD|HUF|IDR|ILS|INR|JPY|KRW|MXN|MYR|NOK|NZD"
    r"|PHP|PLN|RMB|RON|RUB|SAR|SEK|SGD|THB|TRY|TWD|UAH|USD|VND|ZAR|kr\.?|zł|Kč|Ft|Fr\.?|Rs\.?|Rp"
    r"|lei|лв\.?|руб\.?|р\.|грн\.?"  # noqa: RUF001 - as they are written
)
_GROUPS = set(" \u00a0\u202f'’.")  # between digits: other signs of thousands
_EXACT = Context(prec=700, rounding=ROUND_HALF_UP)

TEXT, DIGIT, DATE, MARK = range(4)


class Token(NamedTuple):
    kind: int
    text: str


class Reading(NamedTuple):
    """Of one cell: as it is read unless a person chose, and as the spreadsheet shows it."""

    read: str
    shown: str
    same: bool = False  # they mean the same, though they differ


class Section:
    """What is between two semicolons of a format."""

    def __init__(self) -> None:
        self.tokens: list[Token] = []
        self.condition: tuple[str, Decimal] | None = None
        self.currency = False
        self.general = False

    def close(self) -> None:
        """Find out what the tokens mean together."""
        tokens = self.tokens
        self.marks = {token.text for token in tokens if token.kind == MARK}
        self.is_date = any(token.kind == DATE for token in tokens)
        self.is_text = "@" in self.marks
        places = [at for at, token in enumerate(tokens) if token.kind == DIGIT]
        self.first, self.last = (places[0], places[-1]) if places else (0, -1)
        self.has_digits = bool(places)
        point = next((at for at in range(len(tokens)) if tokens[at] == (MARK, ".")), None)
        self.point = point
        whole = [at for at in places if point is None or at < point]
        self.last_whole = whole[-1] if whole else (point or 0) - 1
        self.decimals = len(places) - len(whole)
        self.padded = sum(tokens[at].text == "0" for at in whole) > 1
        commas = [at for at, token in enumerate(tokens) if token == (MARK, ",")]
        self.grouped = any(self.first < at < self.last_whole for at in commas)
        self.thousands = 0  # how often it is divided by 1,000
        at = (max(self.last, point or 0) if self.decimals or point else self.last_whole) + 1
        while self.has_digits and at < len(tokens) and tokens[at] == (MARK, ","):
            self.thousands, at = self.thousands + 1, at + 1
        self.percents = sum(token == (MARK, "%") for token in tokens)
        self.scientific = bool({"E+", "E-"} & self.marks)
        self.fraction = "/" in self.marks and self.has_digits
        texts = [(at, token.text) for at, token in enumerate(tokens) if token.kind == TEXT]
        within = "".join(text for at, text in texts if self.first < at < self.last)
        around = "".join(text for at, text in texts if not self.first < at < self.last)
        if _CURRENCIES.fullmatch(around.strip()) or any(map(is_currency, around)):
            self.currency = True
        self.spaced = bool(within) and not self.padded and set(within) <= _GROUPS
        self.says = self.has_words(around) or (bool(within.strip()) and not self.spaced)
        self.says = self.says or (self.padded and not self.grouped)

    def has_words(self, text: str) -> bool:
        """Whether it says more than a sign and brackets do."""
        return bool(text.strip(" \u00a0\u202f-–—+().,:'")) and not self.currency

    @property
    def is_plain(self) -> bool:
        """Whether a number looks with it as it is stored, save for digits after the point."""
        return self.general or (
            self.has_digits
            and not (self.says or self.grouped or self.spaced or self.thousands or self.percents)
            and not (self.scientific or self.fraction or self.currency or self.padded)
            and not any(token.kind == TEXT and token.text.strip() for token in self.tokens)
        )

    @property
    def shows_sign(self) -> bool:
        """Whether its text tells a negative number from a positive one."""
        return bool(set("-–\u2212(") & set(self.text)) or self.has_words(self.text)

    @property
    def text(self) -> str:
        return "".join(token.text for token in self.tokens if token.kind == TEXT)


class NumberFormat:
    def __init__(self, code: str) -> None:
        self.code = code
        sections = _sections(code)
        self.words = sections[3] if len(sections) > 3 else None  # for text
        if self.words is None and sections[-1].is_text:
            self.words = sections.pop()
        self.sections = sections[:3]
        self.is_date = any(section.is_date for section in self.sections)
        self.dates = [token for one in self.sections[:1] for token in one.tokens]
        parts = "".join(token.text.lower() for token in self.dates if token.kind == DATE)
        self.elapsed = "[" in parts
        self.has_time = bool(set("hs") & set(parts))
        # An m is a month, unless it stands beside hours or seconds.
        self.has_day = bool(set("ydeg") & set(parts)) or ("m" in parts and not self.has_time)
        self.whole_day = bool(set("ye") & set(parts)) and "m" in parts and "d" in parts
        words = [one for one in self.sections if not one.has_digits and not one.general]
        self.says_words = any(one.has_words(one.text) for one in words)
        # Whether all cells are read as they are stored.
        self.reads_stored = (
            not self.is_date
            and not self.says_words
            and not (self.words and self.words.text.strip())
        )
        self.reads_stored &= all(map(_reads_stored, self.sections)) and bool(self.sections)
        self._quick = self._quick_way()
        self._plain_below = self._find_plain()
        # With it, nothing is shown.
        self.hides = bool(self.sections) and not any(one.tokens for one in self.sections)

    @property
    def matters(self) -> bool:
        """Whether what is shown can mean anything else than what is stored."""
        if self.is_date:
            return not self.whole_day or self.elapsed
        if self.words and (self.words.text.strip() or not self.words.tokens):
            return True
        first = self.sections[0] if len(self.sections) == 1 else None
        return bool(self.sections) and not (first and first.general and not first.text.strip())

    def read_number(self, value: float, stored: str) -> str:
        """How a number is read: as of_number() says, and quicker. `stored`: its number_text()."""
        if self._quick and 0 < value < 1e9 and "E" not in stored:
            return self._quick.read(stored)
        return self.of_number(value).read

    def _quick_way(self) -> UsualFormat | None:
        """For the most usual formats, such as 0.0%, 00000 and "INV-"00000."""
        first = self.sections[0] if self.sections else None
        if first is None or any(section.condition for section in self.sections):
            return None
        places = [at for at, token in enumerate(first.tokens) if token.kind != TEXT]
        if not places or not (first.says or first.percents) or first.currency:
            return None
        begin, end = places[0], places[-1] + 1
        code = "".join(token.text for token in first.tokens[begin:end])
        if len(places) != end - begin or not (found := USUAL.fullmatch(code)):
            return None
        if found["percent"] and len(places) != len(first.tokens):
            return None
        before, after = ("".join(t.text for t in first.tokens[:begin]), first.tokens[end:])
        return UsualFormat(
            before,
            "".join(token.text for token in after) + (found["percent"] or ""),
            len(found["whole"]),
            len(found["rest"] or ""),
            bool(found["grouped"]),
            bool(found["percent"]),
        )

    def shows_as_stored(self, value: float) -> bool:
        """Whether it is certain, and quickly found out, that what is shown means what is stored."""
        return -self._plain_below < value < self._plain_below and (
            round(value, self.sections[0].decimals) == value
        )

    def _find_plain(self) -> float:
        """Numbers below it look as they are stored, if they have no more digits than are shown."""
        first = self.sections[0] if len(self.sections) == 1 else None
        if first is None or first.condition or not self.reads_stored:
            return 0
        code = "".join(token.text for token in first.tokens)
        if not (found := USUAL.fullmatch(code)) or found["percent"] or first.says:
            return 0
        return 1_000 if found["grouped"] else 1e9

    def of_number(self, value: float) -> Reading:
        """How a number is read and shown. Not for dates."""
        stored = number_text(value)
        if not self.sections:
            return self.of_text(stored)
        number = Decimal(stored) if stored != "#NUM!" else None
        if number is None:
            return Reading(stored, stored)
        at, signed = self._section(number)
        if at is None:
            return Reading(stored, "#" * 8)
        section = self.sections[at]
        if section.general:
            shown = section.text and _with_general(section, number if signed else abs(number))
            shown = shown or number_text(float(number if signed else abs(number)))
            return Reading(shown if section.says or section.text.strip() else stored, shown)
        sign = "-" if signed and number < 0 else ""
        shown = sign + _laid_out(section, abs(number), exact=False)
        if not number or not shown.strip("-0., ()"):
            sign = "" if not number else sign
        shown = shown if shown.strip("-0.,%") or not sign else shown.removeprefix("-")
        if not section.has_digits:
            return Reading(shown if self.says_words else stored, shown)
        if section.currency or section.thousands or section.scientific or section.fraction:
            return Reading(stored, shown)
        if section.percents or section.says:
            if number < 0 and not sign and not section.shows_sign:
                sign = "-"  # that it is red says so
            return Reading(sign + _laid_out(section, abs(number), exact=True), shown)
        return Reading(stored, shown)

    def of_text(self, text: str) -> Reading:
        """How a text is read and shown."""
        if self.words is None:
            return Reading(text, text)
        shown = "".join(
            text if token == (MARK, "@") else token.text
            for token in self.words.tokens
            if token.kind == TEXT or token.text == "@"
        )
        return Reading(shown if self.words.is_text else text, shown)

    def _section(self, number: Decimal) -> tuple[int | None, bool]:
        """Which section shows it, and whether with a minus sign of its own."""
        if any(section.condition for section in self.sections):
            for at, section in enumerate(self.sections):
                if section.condition is None or _holds(section.condition, number):
                    below = section.condition and section.condition[0][0] == "<"
                    return at, not (below and section.condition and section.condition[1] <= 0)
            return None, True
        if number == 0 and len(self.sections) > 2:
            return 2, False
        return (1, False) if number < 0 and len(self.sections) > 1 else (0, True)


@lru_cache(maxsize=2_000)
def number_format(code: str) -> NumberFormat:
    return NumberFormat(code)


def differs(shown: str, stored: str) -> bool:
    """Whether they mean different things: 2.50 and 2.5 do not, nor does a dash for 0."""
    shown = shown.strip()
    if shown == stored.strip() or (shown in ("-", "–") and stored == "0"):
        return False
    try:
        return Decimal(shown) != Decimal(stored)
    except ArithmeticError:
        return True


def _sections(code: str) -> list[Section]:
    sections = [Section()]
    for match in _TOKEN.finditer(code):
        section = sections[-1]
        quoted, escaped, bracket, general, date, power, mark, end, other = match.groups()
        if end:
            sections.append(Section())
        elif general:
            section.general = True
            section.tokens.append(Token(MARK, "General"))
        elif bracket is not None:
            _add_bracket(section, bracket)
        elif date:
            section.tokens.append(Token(DATE, date))
        elif mark and mark in DIGITS:
            section.tokens.append(Token(DIGIT, mark))
        elif power or mark:
            section.tokens.append(Token(MARK, (power or mark).upper()))
        elif text := quoted or escaped or other:
            section.tokens.append(Token(TEXT, text))
    for section in sections:
        section.close()
    return sections


def _add_bracket(section: Section, bracket: str) -> None:
    if bracket.startswith("$"):
        symbol = bracket[1:].partition("-")[0]
        if symbol:
            section.currency = True
            section.tokens.append(Token(TEXT, symbol))
    elif match := _CONDITION.fullmatch(bracket.strip()):
        section.condition = match[1], Decimal(match[2])
    elif _ELAPSED.fullmatch(bracket):
        section.tokens.append(Token(DATE, f"[{bracket}]"))


def is_currency(character: str) -> bool:
    return unicodedata.category(character) == "Sc"


def _holds(condition: tuple[str, Decimal], number: Decimal) -> bool:
    sign, limit = condition
    return {
        "<": number < limit,
        "<=": number <= limit,
        ">": number > limit,
        ">=": number >= limit,
        "=": number == limit,
        "<>": number != limit,
    }[sign]


def _reads_stored(section: Section) -> bool:
    if section.general:
        return not section.text.strip()
    if not section.has_digits or section.scientific or section.fraction:
        return True
    return bool(section.currency or section.thousands) or not (section.percents or section.says)


def _with_general(section: Section, number: Decimal) -> str:
    return "".join(
        token.text if token.kind == TEXT else number_text(float(number)) * (token.text == "General")
        for token in section.tokens
    )


def _laid_out(section: Section, number: Decimal, *, exact: bool) -> str:
    """The number, not negative, as the section shows it; `exact`: with all of its digits."""
    if not section.has_digits:
        return section.text
    number = _EXACT.multiply(number, Decimal(10) ** (2 * section.percents - 3 * section.thousands))
    if section.scientific:
        return _scientific(section, number)
    if section.fraction:
        return _fraction(section, number)
    decimals = section.decimals
    if exact:
        exponent = number.normalize(_EXACT).as_tuple().exponent
        decimals = max(decimals, -exponent if isinstance(exponent, int) else 0)
    number = number.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP, _EXACT)
    whole, _point, rest = f"{number:f}".partition(".")
    return _filled(section, section.tokens, whole.lstrip("0"), rest)


def _filled(section: Section, tokens: list[Token], whole: str, rest: str) -> str:
    """The digits of a number in their places, with the text between them."""
    places = sum(1 for at, one in enumerate(tokens) if _is_whole_place(section, at, one))
    if places and section.decimals == 0 and section.point is None and rest:
        rest = "." + rest
    padded = whole.rjust(places, "\0")
    spare = len(padded) - places  # digits without a place stand in the first one
    pieces: list[str] = []
    taken = decimal = 0
    for at, token in enumerate(tokens):
        if token.kind == TEXT:
            pieces.append(token.text)
        elif _is_whole_place(section, at, token):
            end = spare + taken + 1
            for place in range(0 if taken == 0 else end - 1, end):
                digit = padded[place]
                digit = {"0": "0", "#": "", "?": " "}[token.text] if digit == "\0" else digit
                left = len(padded) - place - 1
                comma = section.grouped and left and left % 3 == 0 and digit.isdigit()
                pieces.append(digit + ("," if comma else ""))
            taken += 1
            if taken == places and rest.startswith("."):
                pieces.append(rest)
        elif token.kind == DIGIT:
            decimal += 1
            following = rest[decimal - 1 :]
            if following.strip("0") or token.text == "0":
                last = decimal == section.decimals
                pieces.append(following if last else following[:1])
            else:
                pieces.append(" " if token.text == "?" else "")
        elif token == (MARK, "."):
            pieces.append((whole if not places else "") + ".")
            pieces.append("" if section.decimals else rest)
        elif token == (MARK, "%"):
            pieces.append("%")
    return "".join(pieces)


def _is_whole_place(section: Section, at: int, token: Token) -> bool:
    return token.kind == DIGIT and (section.point is None or at < section.point)


def _scientific(section: Section, number: Decimal) -> str:
    mantissa = section.tokens[: next(i for i, t in enumerate(section.tokens) if t.text[0] == "E")]
    places = sum(
        t.kind == DIGIT and not (section.point and i > section.point)
        for i, t in enumerate(mantissa)
    )
    decimals = sum(token.kind == DIGIT for token in mantissa) - places
    power = number.adjusted() if number else 0
    power -= power % max(places, 1)
    scaled = number.scaleb(-power).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP, _EXACT)
    if scaled >= Decimal(10) ** max(places, 1):
        power += max(places, 1)
        scaled = number.scaleb(-power).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP, _EXACT)
    digits = sum(token.kind == DIGIT for token in section.tokens) - places - decimals
    return f"{scaled:f}E{'-' if power < 0 else '+'}{abs(power):0{max(digits, 1)}}"


def _fraction(section: Section, number: Decimal) -> str:
    slash = next(at for at, token in enumerate(section.tokens) if token == (MARK, "/"))
    after = "".join(token.text for token in section.tokens[slash + 1 :]).strip()
    before = "".join(token.text for token in section.tokens[:slash]).strip()
    if after.isdigit() and int(after):
        bottom = int(after)
        top = int((number * bottom).quantize(Decimal(1), ROUND_HALF_UP, _EXACT))
    else:
        digits = sum(token.kind == DIGIT for token in section.tokens[slash + 1 :])
        near = Fraction(number).limit_denominator(10 ** min(max(digits, 1), 6) - 1)
        top, bottom = near.numerator, near.denominator
    if " " not in before:
        return f"{top}/{bottom}"
    whole, top = divmod(top, bottom)
    if not top:
        return str(whole)
    return f"{whole} {top}/{bottom}" if whole else f"{top}/{bottom}"
