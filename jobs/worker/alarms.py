"""Open and close alarms, and tell administrators: once when something begins, once when it is over.
What is wrong is decided in rules/site_health.py."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet

from ..models import Alarm, Job, administrators, clock, outbox
from ..models.outbox import Facts
from ..rules import site_health
from ..rules.site_health import Finding, SiteFacts
from . import site_facts

logger = logging.getLogger(__name__)

KEPT = timedelta(days=90)  # solved ones


def check() -> None:
    """Called every minute."""
    facts = site_facts.gather()
    settle([one for one in site_health.judge(facts) if one.is_alarm], facts)


def settle(findings: Sequence[Finding], facts: SiteFacts) -> None:
    """Have these alarms open, and close those that are over."""
    open_ones = {(one.kind, one.subject): one for one in Alarm.objects.open()}
    for finding in findings:
        if open_ones.pop((finding.kind, finding.subject), None) is None:
            _open(finding, facts.now)
    for alarm in open_ones.values():
        if site_health.stays_open(alarm.kind, alarm.subject, facts):
            continue
        with transaction.atomic():
            if Alarm.objects.try_solve(alarm.pk, facts.now):
                over = site_health.over_in_words(alarm.kind, alarm.subject)
                tell("alarm_over", alarm, over)


def _open(finding: Finding, now: datetime) -> None:
    with transaction.atomic():
        alarm = Alarm.objects.try_open(finding.kind, finding.subject, finding.text, now)
        if alarm is not None:
            tell("alarm", alarm, f"{finding.text} {finding.remedy}")


def tell(event: str, alarm: Alarm, text: str) -> None:
    """The one place at which alarms leave. `event`: "alarm" or "alarm_over"; `text`: sentences of
    ours, without anyone else's words. Nobody is told twice of one alarm."""
    if event == "alarm":
        logger.error("alarm: %s", text)
    else:
        logger.warning("alarm over: %s", text)
    key = f"alarm {alarm.pk}" if event == "alarm" else f"alarm {alarm.pk} over"
    outbox.tell(event, _whom_to_tell(alarm), facts=Facts(text=text), key=key)


def _whom_to_tell(alarm: Alarm) -> QuerySet[User]:
    """Administrators, without those who hear of it by another notification."""
    people = administrators()
    if alarm.kind == "key_paused":
        return people.none()  # "sending_paused" tells all of them
    if alarm.kind == "job_held":  # "action_needed" tells its owner, and those who follow it
        job = Job.objects.filter(pk=alarm.subject)
        people = people.exclude(pk__in=job.values("owner"))
        people = people.exclude(pk__in=job.exclude(followers=None).values("followers__person"))
    return people


def forget_old() -> None:
    Alarm.objects.filter(solved_at__lt=clock.now() - KEPT).delete()
