"""The audit log, for administrators."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from ...models import AuditCheck, AuditEntry
from ...models.audit_queries import Wanted, find_entries, names_of
from ...rules import audit_events
from ...rules.spreadsheet_cells import plain_cell
from ...worker import audit_checks
from .access import everything_readers_only
from .downloads import note, to_be_saved
from .fragments import whole_number

PAGE = 50
AT_ONCE = 500  # entries of a download
DAYS = {"": "Any time", "1": "Today", "7": "7 days", "30": "30 days", "365": "1 year"}
FILTERS = ("person", "event", "job", "days")
COLUMNS = ("number", "at", "event", "who", "person", "from", "job", "target", "before", "after")


@dataclass(frozen=True)
class Shown:
    """An entry as the page shows it."""

    entry: AuditEntry
    who: str

    @property
    def event(self) -> str:
        return audit_events.event_in_words(self.entry.event)

    @property
    def origin(self) -> str:
        return {"": "—", "shell": "command line"}.get(self.entry.origin, self.entry.origin)

    @property
    def target(self) -> str:
        return self.entry.target

    @property
    def changes(self) -> list[tuple[str, str, str]]:
        """The name of each value, what it was ("" for nothing) and what it is."""
        before, after = self.entry.detail.before, self.entry.detail.after
        return [
            (
                audit_events.value_name(name),
                audit_events.value_in_words(before[name]) if name in before else "",
                audit_events.value_in_words(after[name]) if name in after else "",
            )
            for name in dict.fromkeys([*before, *after])
            if name in before or after[name] is not None
        ]


def _wanted(query: QueryDict) -> Wanted:
    days = query.get("days", "")
    job = query.get("job", "").strip()
    return Wanted(
        person=query.get("person", "").replace("\0", "").strip()[:150],
        event=query.get("event", "").replace("\0", "").strip()[:40],
        job=whole_number(job) if job else None,
        since=timezone.now() - timedelta(days=int(days)) if days and days in DAYS else None,
    )


@require_safe
@everything_readers_only
def audit_log(request: HttpRequest) -> HttpResponse:
    """`person`, `event`, `job`, `days`: which entries; `before` and `after`: a number, of the entry
    that the page ends above or begins below."""
    entries = find_entries(_wanted(request.GET))
    if before := whole_number(request.GET.get("before", "")):
        entries = entries.filter(number__lt=before)
    after = whole_number(request.GET.get("after", ""))
    if after and not before:
        newer = entries.filter(number__gt=after).order_by("number")[: PAGE + 1]
        found = list(newer)
        has_newer, found = len(found) > PAGE, found[:PAGE][::-1]
        has_older = True
    else:
        found = list(entries[: PAGE + 1])
        has_newer, has_older, found = bool(before), len(found) > PAGE, found[:PAGE]
    names = names_of(found)
    kept = {name: request.GET[name] for name in FILTERS if request.GET.get(name)}
    context = {
        "entries": [Shown(entry, _name(entry, names)) for entry in found],
        "older": _address(kept, before=found[-1].number) if found and has_older else "",
        "newer": _address(kept, after=found[0].number) if found and has_newer else "",
        "events": sorted(audit_events.EVENTS.items(), key=lambda pair: pair[1]),
        "days": DAYS,
        "chosen": kept,
        "csv": urlencode(kept),
        "check": AuditCheck.get(),
    }
    return render(request, "audit/list.html", context)


def _name(entry: AuditEntry, names: dict[int, str]) -> str:
    if entry.who is None:
        return "batchsite" if entry.origin == "worker" else "—"
    return names.get(entry.who, f"person {entry.who}")


def _address(kept: dict[str, str], **place: int) -> str:
    return f"?{urlencode({**kept, **place})}"


@require_POST
@everything_readers_only
def check(request: HttpRequest) -> HttpResponse:
    """The worker checks the whole log."""
    audit_checks.ask()
    messages.success(request, "Checking the log. The result is here in a minute.")
    return redirect("audit")


@require_safe
@everything_readers_only
def download(request: HttpRequest) -> StreamingHttpResponse:
    """The entries that were filtered, as CSV."""
    wanted = _wanted(request.GET)
    last = find_entries(wanted).values_list("number", flat=True).first() or 0
    response = StreamingHttpResponse(_lines(wanted, last))
    response = to_be_saved(request, response, "audit-log.csv")
    note("audit_log_downloaded", request, response=response)
    return response


class _Echo:
    def write(self, text: str) -> str:
        return text


def _lines(wanted: Wanted, last: int) -> Iterator[str]:
    writer: Any = csv.writer(_Echo())
    yield "\ufeff" + str(writer.writerow(COLUMNS))
    entries = find_entries(wanted).filter(number__lte=last).order_by("number")
    following = entries.iterator(AT_ONCE)
    while some := list(islice(following, AT_ONCE)):
        names = names_of(some)
        yield "".join(str(writer.writerow(_cells(entry, names))) for entry in some)


def _cells(entry: AuditEntry, names: dict[int, str]) -> list[str]:
    detail = entry.detail
    cells = (
        str(entry.number),
        f"{entry.at:%Y-%m-%dT%H:%M:%SZ}",
        entry.event,
        "" if entry.who is None else str(entry.who),
        _name(entry, names) if entry.who is not None else "",
        entry.origin,
        "" if entry.job is None else str(entry.job),
        entry.target,
        "; ".join(audit_events.values_in_words(detail.before)),
        "; ".join(audit_events.values_in_words(detail.after)),
    )
    return [plain_cell(cell) for cell in cells]
