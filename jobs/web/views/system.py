"""The System page: the state of each part of the site, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.html import format_html, format_html_join
from django.views.decorators.http import require_safe

from ...models import Alarm, api_key
from ...rules import site_health
from ...rules.site_health import ATTENTION, BROKEN, Finding, SiteFacts
from ...rules.wording import size
from ...worker import site_facts
from ..templatetags.show import ago
from .access import everything_readers_only

SOLVED = 10  # alarms that are shown
GOOD = "good"


@dataclass(frozen=True)
class Line:
    """One part of the site. `words`: facts about it, whether or not something is wrong."""

    name: str
    words: str
    findings: list[Finding]

    @property
    def state(self) -> str:
        levels = {one.level for one in self.findings}
        return BROKEN if BROKEN in levels else ATTENTION if levels else GOOD


@require_safe
@everything_readers_only
def system(request: HttpRequest) -> HttpResponse:
    facts = site_facts.gather()
    findings = site_health.judge(facts)
    lines = [
        Line(name, words, [one for one in findings if one.part == part])
        for part, name, words in _parts(facts)
    ]
    context = {
        "lines": lines,
        "wrong": sum(one.state != GOOD for one in lines),
        "alarms": Alarm.objects.open()[:50],
        "solved": Alarm.objects.exclude(solved_at=None).order_by("-solved_at")[:SOLVED],
    }
    return render(request, "system/system.html", context)


def _parts(facts: SiteFacts) -> Iterator[tuple[str, str, str]]:
    """Each part, its name, and facts about it."""
    yield "web", "Web server", f"Version {facts.version}."
    yield "worker", "Worker", _workers(facts)
    nothing = "Nothing is waiting for the worker."
    yield (
        "queue",
        "Queue",
        f"Jobs waiting for the worker: {facts.due_jobs:,}." if facts.due_jobs else nothing,
    )
    yield "jobs", "Jobs", "" if facts.held_jobs else "No action is needed."
    kind = "PostgreSQL" if connection.vendor == "postgresql" else "SQLite"
    yield "database", "Database", f"{kind}, up to date."
    yield "disk", "Disk", f"{size(facts.free)} of {size(facts.total)} free."
    yield "provider", "Anthropic", _provider(facts)
    waiting = f"Batches to download: {facts.waiting_results:,}."
    yield (
        "results",
        "Results",
        waiting if facts.waiting_results else "Everything has been downloaded.",
    )
    yield (
        "journal",
        "Journal",
        "" if facts.journal_ahead else "The database has everything that was sent.",
    )
    yield "backups", "Backups", _backup(facts)
    yield "copies", "Copies", _copies(facts)
    yield "audit", "Audit log", _audit(facts)
    yield "mail", "Email", f"Sent from {settings.DEFAULT_FROM_EMAIL}." if facts.has_mail else ""


def _workers(facts: SiteFacts) -> str:
    if facts.tick_at is None:
        return ""
    alive = site_health.alive_workers(facts)
    each = ((one.machine, one.version, ago(one.started_at)) for one in alive)
    return format_html(
        "Last seen {}.{}",
        ago(facts.tick_at),
        format_html_join("", " Version {1} on {0}, started {2}.", each),
    )


def _provider(facts: SiteFacts) -> str:
    if facts.practice:
        return "Practice mode: a simulator answers."
    return f"The key in use ends in {api_key.current()[-4:]}."


def _backup(facts: SiteFacts) -> str:
    if facts.backup_at is None:
        return ""
    return format_html("Newest: {}, in {}.", ago(facts.backup_at), facts.backup_folder)


def _copies(facts: SiteFacts) -> str:
    if not facts.copy_to:
        return "" if facts.has_old_copies else "Off: nothing is copied to object storage."
    if facts.copies_open:
        return f"To {facts.copy_to}. Files to copy or delete there: {facts.copies_open:,}."
    return f"To {facts.copy_to}, up to date."


def _audit(facts: SiteFacts) -> str:
    if facts.audit_fault:
        return ""
    if facts.audit_checked_at is None:
        return "Checked once a day."
    entries = f"{facts.audit_entries:,}"
    return format_html("Complete: {} entries, checked {}.", entries, ago(facts.audit_checked_at))
