"""Update old prices of drafts and remove files that nobody needs."""

from __future__ import annotations

from django.db.models import Q

from ..batches import stored_results
from ..batches.isolation import isolated
from ..drafts import estimates
from ..models import Job, clock, files
from ..results import builder
from ..spending import price_overrides

PRICED_AT_ONCE = 100  # drafts a minute
LOOKED_AT_IN_TURN = 10


def price_stale_drafts() -> None:
    """Estimate drafts again whose prices or mode have changed, a bounded number each time. Other
    changes have a draft estimated when they happen; in case that was missed, a few drafts are
    checked in turn."""
    price_overrides.load_prices()
    drafts = Job.objects.priced_drafts().order_by("pk")
    # Estimates of older versions do not name their price list.
    others = ~Q(estimate__has_key="prices") | ~Q(estimate__prices=estimates.price_list())
    stale = drafts.filter(others)
    if found := list(stale.values_list("pk", flat=True)[:PRICED_AT_ONCE]):
        Job.objects.filter(pk__in=found).price_anew(clock.now())
        return
    turns = -(-drafts.count() // LOOKED_AT_IN_TURN)
    if turns:
        begin = int(clock.now().timestamp() // 60) % turns * LOOKED_AT_IN_TURN
        some = drafts.select_related("previous")[begin : begin + LOOKED_AT_IN_TURN]
        old = []
        for job in some:
            with isolated(f"job {job.pk}: the look at its price"):
                if estimates.current(job) is None:
                    old.append(job.pk)
        Job.objects.filter(pk__in=old).price_anew(clock.now())


def tidy_up() -> None:
    """Remove files of interrupted uploads and old exports; check some results for damage."""
    with isolated("removing old exports"):
        builder.remove_old_exports()
    with isolated("checking results for damage"):
        stored_results.check_some()
    with isolated("removing interrupted uploads"):
        files.remove_old_strays(_known_uploads)


def _known_uploads(names: list[str]) -> set[str]:
    jobs = Job.objects.filter(upload_file__in=names)
    return set(jobs.values_list("upload_file", flat=True))
