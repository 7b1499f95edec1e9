"""The facts that say how the site is: some small queries and a look at the disk, however many rows
and jobs there are."""

from __future__ import annotations

import shutil

from django.conf import settings
from django.db.models import Count, Min, Window
from django.db.models.functions import Coalesce

from batchsite import __version__

from ..batches import holds
from ..models import (
    PILOT_IS_IN,
    AuditCheck,
    Batch,
    Job,
    JournalState,
    LastBackup,
    SiteState,
    TeamSending,
    WorkerProcess,
    clock,
    storage,
)
from ..rules.provider_lists import KEPT
from ..rules.site_health import SiteFacts, WorkerFacts
from . import copying

HELD = 100  # held jobs that are named
WORKERS = 50


def gather() -> SiteFacts:
    now = clock.now()
    state = SiteState()
    beat, sending, caps = state.heartbeat, state.sending, state.caps
    disk = shutil.disk_usage(settings.DATA_DIR)
    due = Job.objects.due(now).aggregate(jobs=Count("pk"), oldest=Min("next_action_at"))
    held = Job.objects.filter(practice=settings.PRACTICE, trashed_at=None, state__in=Job.SENT)
    # That a pilot waits for its owner is no trouble.
    held = held.exclude(held__in=("", PILOT_IS_IN)).exclude(state=Job.State.FINISHED)
    # One query: how many there are is beside each of the newest.
    named = list(held.order_by("-pk").values_list("pk", Window(Count("pk")))[:HELD])
    waiting = (
        Batch.objects.not_fetched(now)
        .filter(practice=settings.PRACTICE)
        .aggregate(
            batches=Count("pk"),
            since=Min(Coalesce("ended_at", "expires_at")),
            made=Min("created_at"),
        )
    )
    backup, audit = LastBackup.get(), AuditCheck.get()
    return SiteFacts(
        now=now,
        version=__version__,
        practice=settings.PRACTICE,
        tick_at=beat.tick_at,
        workers=tuple(
            WorkerFacts(
                one.machine, one.name, one.version, one.started_at, one.seen_at, one.died_at
            )
            for one in WorkerProcess.objects.order_by("-pk")[:WORKERS]
        ),
        due_jobs=due["jobs"],
        oldest_due=due["oldest"],
        held_jobs=tuple(pk for pk, _all in named),
        held_count=named[0][1] if named else 0,
        paused=sending.paused_because,
        paused_teams=_paused_teams(),
        stopped_at=caps.stopped_at,
        provider_trouble=beat.provider_trouble,
        provider_away_since=beat.provider_away_since,
        site_trouble=beat.site_trouble or ("" if storage.is_writable() else holds.UNUSABLE),
        free=disk.free,
        total=disk.total,
        reserve=settings.DISK_RESERVE_BYTES,
        journal_ahead=JournalState.get().ahead,
        waiting_results=waiting["batches"],
        waiting_since=waiting["since"],
        waiting_until=waiting["made"] + KEPT if waiting["made"] else None,
        backup_at=backup.made_at,
        backup_folder=backup.folder,
        backup_troubles=backup.troubles,
        backup_hours=settings.BACKUP_MAX_HOURS,
        **copying.facts(),
        audit_fault=audit.fault,
        audit_checked_at=audit.checked_at,
        audit_entries=audit.checked,
        has_mail=settings.HAS_MAIL,
    )


def _paused_teams() -> tuple[tuple[str, str], ...]:
    """Their names, and why."""
    paused = TeamSending.objects.exclude(pause="").select_related("team")
    found = ((one.team.name, one.paused_because) for one in paused)
    return tuple((name, why) for name, why in found if why)
