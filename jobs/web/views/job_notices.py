"""What a person should know or do about a sent job before anything else: one notice at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...models import Job, SiteState
from .pilots import waits_for_decision


@dataclass(frozen=True)
class Notice:
    """`template` says it; `thing` is what it is about, where there may be several."""

    template: str
    thing: Any = None


def notices_of(job: Job, site: SiteState, found: Mapping[str, Any]) -> list[Notice]:
    """All notices, the most urgent one first. `found`: what batch_trouble.trouble_of found, and
    `changing`, `edited` and `imported`."""
    imported = found["imported"]
    unmatched = imported and (imported.strays or imported.without)
    possible = [
        (_stands_still(job, site, found), "job_page/_worker.html"),
        (found["held"], "job_page/_held.html"),
        (found["paused"], "job_page/_paused.html"),
        (waits_for_decision(found["pilot"]), "job_page/_pilot.html"),
        (found["changes_prompt"], "job_page/_pilot_ended.html"),
        (imported and imported.asks, "external_batches/_imported.html"),
        (found["losses"], "job_page/_losses.html"),
        (job.asks_for_approval, "job_page/_approval.html"),
        (found["changing"], "_row_change.html"),
        (found["late"], "job_page/_late.html"),
        (unmatched and not imported.asks, "external_batches/_imported.html"),
        (found["edited"], "job_page/_edited.html"),
        (found["ends"], "retention/_notice.html"),
    ]
    asked = [Notice("job_page/_doubt.html", doubt) for doubt in found["asked"]]
    asked += [Notice("job_page/_waiting.html", one) for one in found["waiting"] if one.urgent]
    calm = [Notice("job_page/_waiting.html", one) for one in found["waiting"] if not one.urgent]
    others = [Notice(template) for is_there, template in possible if is_there]
    is_first = bool(others) and others[0].template == "job_page/_worker.html"
    first = others[:1] if is_first else []
    return [*first, *asked, *others[len(first) :], *calm]


def _stands_still(job: Job, site: SiteState, found: Mapping[str, Any]) -> bool:
    """Whether `_worker.html` has something to say about a job that should move."""
    if not job.is_moving:
        return False
    heartbeat = site.heartbeat
    out_of_reach = site.provider_trouble and not job.held and not found["paused"]
    return bool(not heartbeat.worker_is_alive or out_of_reach or heartbeat.site_trouble)
