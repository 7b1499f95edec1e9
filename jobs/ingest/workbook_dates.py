"""Dates and times of workbooks: days before 1900, and what a date format shows."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

from .workbook_cells import as_text
from .workbook_formats import DATE, DIGIT, MARK, TEXT, NumberFormat, Token

MONTHS = [
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
# Day 0. Excel takes 1900 for a leap year, so that its days before March 1900 are one less.
EPOCH = datetime(1899, 12, 30)
EPOCH_1904 = datetime(1904, 1, 1)
LEAP = 60

Moment = date | time | timedelta


def moment_of(serial: float, format: NumberFormat, epoch: datetime) -> Moment | None:
    """The date or time that a number stands for. None: no date that we can write."""
    if format.elapsed or not format.has_day:
        return _time_of(serial, format)
    if epoch == EPOCH and 1 <= serial < LEAP:
        serial += 1
    try:
        moment = epoch + timedelta(milliseconds=round(serial * 86_400_000))
    except OverflowError:
        return None
    is_day = not (moment.hour or moment.minute or moment.second or moment.microsecond)
    return moment.date() if is_day else moment


def _time_of(serial: float, format: NumberFormat) -> Moment | None:
    try:
        lasting = timedelta(milliseconds=round(serial * 86_400_000))
    except OverflowError:
        return None
    if format.elapsed or not timedelta() <= lasting < timedelta(days=1):
        return lasting
    return (datetime.min + lasting).time()


def shown_date(value: Moment, format: NumberFormat) -> str:
    """What the spreadsheet shows for a date, a time or a duration."""
    if isinstance(value, timedelta):
        if value < timedelta():
            return as_text(value)
        return shown_moment(format.dates, datetime.min + value % timedelta(days=1), value)
    if isinstance(value, time):
        return shown_moment(format.dates, datetime.combine(EPOCH, value))
    moment = value if isinstance(value, datetime) else datetime.combine(value, time())
    return shown_moment(format.dates, moment)


def hides_a_part(value: Moment, format: NumberFormat) -> bool:
    """Whether the format does not show the whole of a date."""
    return isinstance(value, date) and not format.whole_day and not format.elapsed


def shown_moment(tokens: list[Token], moment: datetime, lasting: timedelta | None = None) -> str:
    """A date or time as a date format shows it, with English names. `lasting`: a duration."""
    parts = [token.text.lower() for token in tokens if token.kind == DATE]
    noon = any(part in ("am/pm", "a/p") for part in parts)
    texts = []
    before = ""  # the part before
    dates = [at for at, token in enumerate(tokens) if token.kind == DATE]
    for at, token in enumerate(tokens):
        if token.kind == DATE:
            part = token.text.lower()
            after = next((tokens[i].text.lower() for i in dates if i > at), "")
            minutes = part[0] == "m" and ("h" in before or "s" in after) and len(part) < 3
            texts.append(_moment_part(part, moment, lasting, minutes=minutes, noon=noon))
            before = part
        elif token == (MARK, "."):
            texts.append(".")
        elif token.kind == DIGIT and before.startswith(("s", "[s")):
            place = sum(one.kind == DIGIT for one in tokens[:at])
            texts.append(f"{moment.microsecond:06}"[place : place + 1])
        elif token.text in "/,-" or token.kind == TEXT:
            texts.append(token.text)
    return "".join(texts)


def _moment_part(
    part: str, moment: datetime, lasting: timedelta | None, *, minutes: bool, noon: bool
) -> str:
    if part.startswith("["):
        spent = lasting or timedelta(hours=moment.hour, minutes=moment.minute)
        unit = {"h": 3600, "m": 60, "s": 1}[part[1]]
        return str(int(spent.total_seconds() // unit)).zfill(len(part) - 2)
    hour = moment.hour % 12 or 12 if noon else moment.hour
    numbers = {"d": moment.day, "h": hour, "s": moment.second, "m": moment.month}
    if minutes:
        numbers["m"] = moment.minute
    if part in ("am/pm", "a/p"):
        return part.upper().split("/")[moment.hour >= 12]
    if part[0] in "ye":
        return f"{moment.year:04}" if len(part) > 2 or part[0] == "e" else f"{moment.year % 100:02}"
    if part[0] in "md" and len(part) > 2:
        names = MONTHS if part[0] == "m" else DAYS
        name = names[(moment.month - 1) if part[0] == "m" else moment.weekday()]
        return name[0] if len(part) == 5 else name if len(part) == 4 else name[:3]
    return str(numbers[part[0]]).zfill(len(part)) if part[0] in numbers else ""
