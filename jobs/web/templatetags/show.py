"""How the site writes sums, numbers, times and states."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django import template
from django.contrib.auth.models import User
from django.contrib.humanize.templatetags.humanize import naturaltime
from django.core.serializers.json import DjangoJSONEncoder
from django.templatetags.static import static
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString

from batchsite import __version__

from ...ingest.protocol import FileFacts
from ...ingest.shapes import Option
from ...models import Batch, Job, Outcome, RowChange, role_of
from ...rules import pricing
from ...rules import wording as words
from ...rules.judging import CAUSES
from ...rules.text_changes import Piece

register = template.Library()

CENT = Decimal("0.01")
ICONS = "vendor/tabler-icons-3.34.0/icons.svg"


@register.simple_tag
def icon(name: str, css: str = "") -> SafeString:
    """A picture that only decorates: what it stands for is said in words beside it."""
    return format_html(
        '<svg class="icon {}" width="24" height="24" viewBox="0 0 24 24" aria-hidden="true">'
        '<use href="{}#{}"></use></svg>',
        css,
        static(ICONS),
        name,
    )


@register.filter
def as_json(value: Any) -> str:
    """For an attribute that a script reads."""
    return json.dumps(value, cls=DjangoJSONEncoder)


@register.filter
def role_name(user: User) -> str:
    return str(role_of(user).label)


@register.simple_tag
def version() -> str:
    """ "0.1.0": a tag, so that error pages without a context show it, too."""
    return __version__


@register.filter
def inserted(text: str, column: str) -> SafeString:
    """A piece of a filled prompt: marked if it comes from a column, and named if that is empty."""
    if not column:
        return format_html("{}", text)
    if not text.strip():
        return format_html('<mark class="inserted is-empty">{} is empty</mark>', column[:40])
    return format_html('<mark class="inserted" title="{}">{}</mark>', column, text)


@register.filter
def changed(piece: Piece) -> SafeString:
    """A piece of two compared texts, as what was removed or added."""
    tag = {"removed": "del", "added": "ins"}.get(piece.change)
    return format_html(f"<{tag}>{{}}</{tag}>" if tag else "{}", piece.text)


@register.filter
def is_applied(option: Option, reading: FileFacts) -> bool:
    """Whether a file that was read so has what the option would change."""
    return all(getattr(reading, name, None) == value for name, value in option.change.items())


@register.filter
def number(value: int | None) -> str:
    """1204 -> 1,204"""
    return f"{value or 0:,}"


@register.filter
def figure(amount: Decimal | str) -> str:
    """Any number: "1,200", "0.25"; in short when it has very many digits: "1.2e+40" """
    exact = Decimal(amount)
    text = f"{exact:,f}"
    return text if len(text) <= 20 else f"{exact:.3g}"


@register.filter
def percent_of(part: int, whole: int) -> str:
    """ "38%"; what is not quite nothing or all is not called so: "0.2%", "< 0.1%" """
    share = 100 * part / max(whole, 1)
    if 0 < share < 0.1:
        return "< 0.1%"
    return f"{share:.1f}%" if 0 < share < 1 or 99 <= share < 100 else f"{share:.0f}%"


@register.filter
def rows(count: int | None) -> str:
    return words.rows(count or 0)


@register.filter
def jobs(count: int | None) -> str:
    return words.jobs(count or 0)


@register.filter
def size(count: int | None) -> str:
    return words.size(count or 0)


@register.filter
def money(amount: Decimal | None) -> str:
    return pricing.format_dollars(amount or Decimal(0))


@register.filter
def small_money(amount: Decimal) -> str:
    """A sum as `money` writes it; of one below a cent the two digits that tell: "$0.00043" """
    if not 0 < amount < CENT:
        return money(amount)
    digits = 1 - amount.adjusted()
    return f"${amount:.{digits}f}"


@register.filter
def at_most(amount: Decimal) -> str:
    """ "at most $3.11" for $3.102: a most is never rounded down."""
    return f"at most {pricing.format_dollars(pricing.round_up(amount))}"


@register.filter
def about(amount: Decimal) -> str:
    """ "about $1.65"; of a sum below a cent "less than $0.01" """
    words = pricing.format_dollars(amount)
    return f"about {words}" if amount >= CENT else words


@register.filter
def rate(amount: Decimal) -> str:
    """The price of a million tokens, all of its digits: "$8.00", "$0.005" """
    digits = max(-int(amount.normalize().as_tuple().exponent), 2)
    return f"${amount:,.{digits}f}"


@register.simple_tag
def money_range(low: Decimal, high: Decimal) -> str:
    """ "$1.40 to $1.90", "up to $0.04", or one sum when both read the same."""
    least, most = pricing.format_dollars(low), pricing.format_dollars(high)
    if low < CENT <= high:
        return f"up to {most}"
    return least if least == most else f"{least} to {most}"


@register.filter
def clock(moment: datetime) -> SafeString:
    """The time alone; day and time when it was another day."""
    local = timezone.localtime(moment)
    words = date_format(local, "H:i:s" if local.date() == timezone.localdate() else "j M, H:i")
    return format_html('<time datetime="{}">{}</time>', moment.isoformat(), words)


@register.filter
def at_minute(moment: datetime) -> SafeString:
    """ "14:05", or "3 Oct, 14:05" when it is another day."""
    local = timezone.localtime(moment)
    words = date_format(local, "H:i" if local.date() == timezone.localdate() else "j M, H:i")
    return format_html('<time datetime="{}">{}</time>', moment.isoformat(), words)


@register.filter
def day(moment: datetime) -> str:
    """ "3 October 2026" """
    return date_format(timezone.localtime(moment), "j F Y")


@register.filter
def ago(moment: datetime) -> SafeString:
    """ "3 minutes ago", with the exact time to hover over."""
    # Only the largest unit: nobody needs "2 months, 1 week ago".
    words = str(naturaltime(moment)).split(",")[0].removesuffix(" ago") + " ago"
    if timezone.now() - moment < timedelta(minutes=1):
        words = "just now"
    exact = date_format(timezone.localtime(moment), "j M Y, H:i")
    return format_html('<time datetime="{}" title="{}">{}</time>', moment.isoformat(), exact, words)


@register.filter
def days_ago(day: date) -> str:
    """How old something of this day, in UTC, is: "today", "yesterday", "3 days ago" """
    days = (timezone.now().astimezone(UTC).date() - day).days
    return "today" if days < 1 else "yesterday" if days == 1 else f"{days:,} days ago"


@register.filter
def duration(span: timedelta) -> str:
    """ "less than a minute", "12 minutes", "3 hours 5 minutes" """
    minutes = max(int(span.total_seconds()), 0) // 60
    if minutes < 1:
        return "less than a minute"
    hours, minutes = divmod(minutes, 60)
    in_minutes = "1 minute" if minutes == 1 else f"{minutes} minutes"
    if not hours:
        return in_minutes
    in_hours = "1 hour" if hours == 1 else f"{hours} hours"
    return f"{in_hours} {in_minutes}" if minutes else in_hours


OUTCOME_COLOURS: dict[str, str] = {
    Outcome.WAITING: "secondary",
    Outcome.GOOD: "green",
    Outcome.LOOK: "yellow",
    Outcome.ERRORED: "red",
    Outcome.EXPIRED: "orange",
    Outcome.CANCELED: "secondary",
    Outcome.LEFT_OUT: "secondary",
}
STATE_COLOURS: dict[str, str] = {
    Job.State.UNREADABLE: "red",
    Job.State.DRAFT: "secondary",
    Job.State.FINISHED: "green",
}
BATCH_COLOURS: dict[str, str] = {
    Batch.State.COLLECTED: "green",
    Batch.State.BLOCKED: "red",
    Batch.State.LOST: "red",
    Batch.State.UNKNOWN: "yellow",
    Batch.State.RESTORING: "yellow",
    Batch.State.PLANNING: "secondary",
    Batch.State.PLANNED: "secondary",
    Batch.State.CANCELED: "secondary",
}


ROW_CHANGES: dict[str, str] = {
    RowChange.Kind.FORGET: "Undoing changes",
    RowChange.Kind.CORRECT: "Applying your corrected rows",
    RowChange.Kind.MARK: "Marking identical answers",
}


@register.simple_tag
def badge(words: str, colour: str) -> SafeString:
    return format_html('<span class="badge tag-{}">{}</span>', colour, words)


@register.filter
def processed(job: Job) -> int:
    """Rows that the provider dealt with, one way or another."""
    return job.done_count - job.outcome_count(Outcome.CANCELED)


@register.filter
def state_in_words(job: Job, paused: bool) -> str:
    return job_state(job, paused)[0]


@register.filter
def state_badge(job: Job, paused: bool) -> SafeString:
    return badge(*job_state(job, paused))


@register.filter
def outcome_badge(row: Any) -> SafeString:
    """Of rows that were not sent, their cause tells more than their outcome."""
    by_cause = row.outcome == Outcome.LEFT_OUT and row.cause in CAUSES
    text = CAUSES[row.cause].title if by_cause else row.get_outcome_display()
    return badge(text, OUTCOME_COLOURS[row.outcome])


@register.filter
def batch_badge(batch: Batch) -> SafeString:
    return badge(batch.get_state_display(), BATCH_COLOURS.get(batch.state, "blue"))


@register.filter
def row_change_title(change: RowChange) -> str:
    """ "Undoing changes" """
    return ROW_CHANGES.get(change.kind, change.get_kind_display())


def job_state(job: Job, paused: bool = False) -> tuple[str, str]:
    """The state of a job in words, and its colour: green only when nothing is left to do. `paused`:
    no job of this site can send at the moment."""
    if job.held and job.state != Job.State.FINISHED:
        return "Action needed", "red"
    if paused and job.sends:
        return "Sending is paused", "red"
    if job.awaits_approval:
        return "Waiting for approval", "yellow"
    if job.asks_for_approval:
        return "Approved", "green"
    if job.state != Job.State.FINISHED:
        return job.get_state_display(), STATE_COLOURS.get(job.state, "blue")
    stopped = bool(job.outcome_count(Outcome.CANCELED))
    words = "Stopped" if stopped else "Finished"
    if attention := job.attention_count:
        if attention == 1:
            return f"{words} – 1 problem", "yellow"
        return f"{words} – {attention:,} problems", "yellow"
    if strays := job.stray_count:
        if strays == 1:
            return f"{words} – 1 result fits no row", "yellow"
        return f"{words} – {strays:,} results fit no row", "yellow"
    return words, "secondary" if stopped else "green"
