"""Update old prices of drafts and remove files that nobody needs."""

from __future__ import annotations

import logging
from datetime import timedelta

from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.db.models import Exists, OuterRef, Q

from ..batches import stored_results
from ..batches.isolation import isolated
from ..batches.slices import SLICE, slice_transaction
from ..drafts import estimates
from ..models import Delivery, Invitation, Job, Notification, audit, clock, files
from ..results import builder
from ..spending import cap_notices, price_overrides
from . import alarms, deletion, retention, search_building

logger = logging.getLogger(__name__)

PRICED_AT_ONCE = 100  # drafts a minute
LOOKED_AT_IN_TURN = 10
IN_TRASH = timedelta(days=30)
EMPTIED_AT_ONCE = 100  # jobs an hour
NOTIFICATIONS_KEPT, KEYS_KEPT = timedelta(days=90), timedelta(days=500)


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
    with isolated("removing old search indexes"):
        search_building.remove_old()
    with isolated("checking results for damage"):
        stored_results.check_some()
    with isolated("emptying the trash"):
        empty_trash()
    with isolated("telling of limits"):
        cap_notices.check_all()
    with isolated("telling what is deleted soon"):
        retention.warn_due()
    with isolated("removing old notifications"):
        remove_old_notifications()
    with isolated("forgetting mail addresses of old invitations"):
        Invitation.objects.all().forget_mails(clock.now())
    with isolated("removing ended sessions"):
        remove_ended_sessions()
    with isolated("deleting what is kept no longer"):
        retention.begin_due()
    with isolated("forgetting old alarms"):
        alarms.forget_old()
    with isolated("removing interrupted uploads"):
        files.remove_old_strays(_known_uploads)


def empty_trash() -> None:
    """Delete jobs that have been in the trash for 30 days by our clock and by the provider's. One
    clock alone may have leapt, and a deletion cannot be undone."""
    if clock.provider_now() is None:
        return
    old = Job.objects.filter(trashed_at__lte=clock.earliest_now() - IN_TRASH)
    old = old.filter(state__in=Job.DELETABLE)
    for job in old.order_by("trashed_at")[:EMPTIED_AT_ONCE]:
        with isolated(f"job {job.pk}: emptying the trash"):
            with slice_transaction(None):
                # One that was restored meanwhile stays.
                begun = deletion.begin_deletion(job, old)
                if begun:
                    audit.record("trash_emptied", job=job.pk)
            if begun:
                logger.info("job %s: deleted after 30 days in the trash", job.pk)


def remove_old_notifications() -> None:
    """Those of which a key says that they are told once stay longer: the month of a limit, or the
    time in which a job is kept."""
    now = clock.now()
    old = Notification.objects.filter(made_at__lte=now - NOTIFICATIONS_KEPT)
    old = old.filter(Q(key=None) | Q(made_at__lte=now - KEYS_KEPT)).order_by("pk")
    Notification.objects.filter(pk__in=list(old.values_list("pk", flat=True)[:SLICE])).delete()
    mails = Delivery.objects.filter(notification=None, made_at__lte=now - NOTIFICATIONS_KEPT)
    mails.filter(pk__in=list(mails.values_list("pk", flat=True)[:SLICE])).delete()


def remove_ended_sessions() -> None:
    """And their lines in people's lists of sessions."""
    ended = Session.objects.filter(expire_date__lte=clock.now())
    Session.objects.filter(pk__in=list(ended.values_list("pk", flat=True)[:SLICE])).delete()
    there = Session.objects.filter(session_key=OuterRef("session_key"))
    lines = UserSession.objects.exclude(Exists(there))
    UserSession.objects.filter(pk__in=list(lines.values_list("pk", flat=True)[:SLICE])).delete()


def _known_uploads(names: list[str]) -> set[str]:
    jobs = Job.objects.filter(upload_file__in=names)
    return set(jobs.values_list("upload_file", flat=True))
