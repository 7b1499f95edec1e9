"""Delete the cells and answers of jobs whose retention is over. Rows stay as empty records, so that
counts, receipts and spending are as they were."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import msgspec
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q

from ..batches.isolation import isolated
from ..batches.leases import Lease
from ..batches.slices import SLICE, delete_rows, slice_transaction
from ..models import (
    Attempt,
    CorrectedUpload,
    Edit,
    FileProblem,
    Job,
    Notification,
    Retention,
    Row,
    SampledAnswer,
    Trial,
    audit,
    clock,
    files,
    job_log,
    outbox,
)
from ..models.outbox import Facts
from ..rules.answer_statistics import AnswerStatistics
from ..rules.recipes import without_examples

logger = logging.getLogger(__name__)

BEGUN_AT_ONCE = 100  # jobs an hour
WARNED_BEFORE = timedelta(days=3)
_WARNING = "contents_expiring:"
_OPEN_TRIALS = (Trial.State.WAITING, Trial.State.SENDING)


def begin_due() -> None:
    """Begin to delete what is due by our clock and by the provider's: one alone may have leapt, and
    a deletion cannot be undone."""
    if clock.provider_now() is None:
        return
    now, site = clock.earliest_now(), Retention.get()
    over = Q(pk=None)
    for days in filter(None, {site.days, *_days_of_jobs()}):
        mine = Q() if days == site.days else Q(retention_days=days)
        over |= mine & Q(finished_at__lte=now - timedelta(days=days))
    old = Job.objects.filter(over, state=Job.State.FINISHED, contents_deleted_at=None)
    for job in old.order_by("finished_at")[:BEGUN_AT_ONCE]:
        with isolated(f"job {job.pk}: deleting its cells and answers"):
            _begin(job)


def warn_due() -> None:
    """Tell people whose cells and answers are deleted soon, once for each end of a job: one that
    ran again is kept anew."""
    now, site = clock.now(), Retention.get()
    soon = Q(pk=None)
    for days in filter(None, {site.days, *_days_of_jobs()}):
        mine = Q() if days == site.days else Q(retention_days=days)
        soon |= mine & Q(finished_at__lte=now - timedelta(days=days) + WARNED_BEFORE)
    told = Notification.objects.filter(job=OuterRef("pk"), person=OuterRef("owner"))
    told = told.filter(key__startswith=_WARNING, made_at__gte=OuterRef("finished_at"))
    jobs = Job.objects.filter(soon, state=Job.State.FINISHED, contents_deleted_at=None)
    jobs = jobs.filter(trashed_at=None, owner__is_active=True).exclude(Exists(told))
    for job in jobs.select_related("owner").order_by("finished_at")[:BEGUN_AT_ONCE]:
        days = min(filter(None, (job.retention_days, site.days)), default=0)
        ended = job.finished_at or now
        left = ended + timedelta(days=days) - now
        facts = Facts(days=max(left.days, 0), whose="site")
        key = f"{_WARNING}{job.pk}:{ended:%Y-%m-%d %H:%M:%S}"
        with isolated(f"job {job.pk}: telling that its cells and answers are deleted soon"):
            outbox.tell_about_job("results_expiring", job, facts, key=key)


def _days_of_jobs() -> set[int | None]:
    chosen = Job.objects.exclude(retention_days=None).filter(contents_deleted_at=None)
    return set(chosen.values_list("retention_days", flat=True).distinct())


def _begin(job: Job) -> None:
    """From here on every page says that they are deleted, and no row is sent again."""
    with transaction.atomic():
        mine = Job.objects.filter(pk=job.pk, state=Job.State.FINISHED, contents_deleted_at=None)
        mine = mine.filter(finished_at=job.finished_at)
        now = clock.now()
        if mine.update(contents_deleted_at=now, next_action_at=now):
            job.trials.filter(state=Trial.State.WAITING).delete()
            # Its answers are of no use to the jobs that run it again.
            job.runs_again().price_anew(now)
            Job.objects.filter(previous=job).update(previous=None)
            job_log.write(job.pk, "Deleting all cells and answers, as the retention says.")


def delete_contents(job: Job, lease: Lease) -> None:
    """Delete them in slices. Repeatable. Raises LeaseLost."""
    _remove_files(job)
    is_table = job.kind == Job.Kind.TABLE
    empty = msgspec.json.encode([""] * len(job.columns)).decode() if is_table else "{}"
    _clear(Row.objects.filter(job=job).exclude(source=empty, answer=""), lease, source=empty)
    _clear(Attempt.objects.filter(job=job).exclude(source="", answer=""), lease, source="")
    delete_rows(Edit.objects.filter(job=job), lease)
    with transaction.atomic():
        FileProblem.objects.filter(job=job).delete()
        CorrectedUpload.objects.filter(job=job).delete()
        SampledAnswer.objects.filter(job=job).update(note="")
        job.exports.all().delete()
        _clear_trials(job)
        for one in job.rounds.exclude(recipe=None):
            one.recipe = one.recipe and without_examples(one.recipe)
            one.save(update_fields=["recipe"])
        done = Job.objects.filter(pk=job.pk, contents_are_gone=False).update(
            contents_are_gone=True,
            recipe=without_examples(job.recipe),
            answers=AnswerStatistics(),
            corrections=[],
            upload_bytes=0,
            stored_bytes=0,
            rows_changed=F("rows_changed") + 1,
        )
        if done:
            job_log.write(job.pk, "All cells and answers are deleted.")
            audit.record("job_contents_deleted", job=job.pk, after={"rows": job.row_count})


def _remove_files(job: Job) -> None:
    for batch in job.batches.filter(removed_at=None):
        files.body_path(batch).unlink(missing_ok=True)
        files.results_path(batch).unlink(missing_ok=True)
        files.incomplete_path(batch).unlink(missing_ok=True)
        files.remove_incoming(batch)
        job.batches.filter(pk=batch.pk).update(removed_at=clock.now(), damaged_at=None, damage="")
    files.remove_stray_bodies(job)
    for path in files.exports_of(job.pk):
        files.remove_export(path)
    if job.upload_file:
        files.remove_upload(job.upload_file)
    for corrected in CorrectedUpload.objects.filter(job=job):
        files.remove_stored(corrected.file)


def _clear(rows: Any, lease: Lease, *, source: str) -> None:
    """Empty what may hold text of the file or of an answer; numbers and costs stay."""
    last = 0
    ordered = rows.order_by("number").values_list("number", flat=True)
    while numbers := list(ordered.filter(number__gt=last)[:SLICE]):
        with slice_transaction():
            rows.model.objects.filter(
                job_id=lease.job_pk, number__gt=last, number__lte=numbers[-1]
            ).update(source=source, answer="", message="", problem="")
        last = numbers[-1]
        lease.renew()


def _clear_trials(job: Job) -> None:
    tested = job.trials.exclude(state__in=_OPEN_TRIALS)
    tested.update(cells=[], params="{}", answer="", message="", recipe=None)
