"""Open and close alarms, and tell administrators: once when something begins, once when it is over.
What is wrong is decided in rules/site_health.py."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import transaction

from ..models import Alarm, clock, outbox
from ..models.outbox import Facts
from ..rules import site_health
from ..rules.site_health import Finding
from . import site_facts

logger = logging.getLogger(__name__)

KEPT = timedelta(days=90)  # solved ones


def check() -> None:
    """Called every minute."""
    facts = site_facts.gather()
    settle([one for one in site_health.judge(facts) if one.is_alarm], facts.now)


def settle(findings: Sequence[Finding], now: datetime) -> None:
    """Have exactly these alarms open."""
    open_ones = {(one.kind, one.subject): one for one in Alarm.objects.open()}
    for finding in findings:
        if open_ones.pop((finding.kind, finding.subject), None) is None:
            _open(finding, now)
    for alarm in open_ones.values():
        with transaction.atomic():
            if Alarm.objects.try_solve(alarm.pk, now):
                over = site_health.over_in_words(alarm.kind, alarm.subject)
                tell_administrators("alarm_over", over, f"alarm {alarm.pk} over")


def _open(finding: Finding, now: datetime) -> None:
    with transaction.atomic():
        alarm = Alarm.objects.try_open(finding.kind, finding.subject, finding.text, now)
        if alarm is not None:
            tell_administrators("alarm", f"{finding.text} {finding.remedy}", f"alarm {alarm.pk}")


def tell_administrators(event: str, text: str, key: str) -> None:
    """The one place at which alarms leave. `event`: "alarm" or "alarm_over"; `text`: sentences of
    ours, without anyone else's words; `key`: nobody is told of it twice."""
    if event == "alarm":
        logger.error("alarm: %s", text)
    else:
        logger.warning("alarm over: %s", text)
    outbox.tell_administrators(event, Facts(text=text), key=key)


def forget_old() -> None:
    Alarm.objects.filter(solved_at__lt=clock.now() - KEPT).delete()
