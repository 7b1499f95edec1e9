"""Handle steps that fail: when to retry them, and when to tell a person."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F

from ..batches import holds
from ..batches.holds import SEE_THE_LOG
from ..models import FileProblem, Job, clock
from ..provider import errors
from . import due_times

FAILURES_BEFORE_HOLD = 5  # of a step that fails for a reason of our own, before a person is told


def after_refusal(job_pk: int, error: errors.ProviderError) -> datetime:
    """Handle a provider error in a step. Returns when to take the step again."""
    holds.note_provider_error(error)
    if isinstance(error, errors.Refused):
        if error.is_about_account and Job.objects.sending().filter(pk=job_pk).exists():
            return clock.now() + min(holds.pause(error), due_times.SAFETY)
        if error.needs_action and not error.is_about_account:
            holds.hold(job_pk, holds.in_words(error))
    return after_failure(job_pk)


def after_failure(job_pk: int, longest: timedelta = timedelta(seconds=300)) -> datetime:
    Job.objects.filter(pk=job_pk).update(failures_in_a_row=F("failures_in_a_row") + 1)
    failures = Job.objects.values_list("failures_in_a_row", flat=True).get(pk=job_pk)
    return clock.now() + min(timedelta(seconds=2 ** min(failures, 9)), longest)


def report_failures(job_pk: int) -> None:
    """Tell a person when a step keeps failing for a reason of our own."""
    failing = Job.objects.filter(pk=job_pk, failures_in_a_row__gte=FAILURES_BEFORE_HOLD - 1)
    with transaction.atomic():
        if failing.try_move(job_pk, Job.State.READING, Job.State.UNREADABLE, row_count=0):
            why = f"The file could not be read. {SEE_THE_LOG}"
            FileProblem.objects.create(job_id=job_pk, lines=[0], texts=[why], leaves_out=True)
        if failing.filter(state__in=Job.SENT).exists():
            holds.hold(job_pk, f"A step of this job keeps failing. {SEE_THE_LOG}")
