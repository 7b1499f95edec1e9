"""Delete the cells and answers of jobs whose retention is over. Rows stay as empty records, so that
counts, receipts and spending are as they were."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.db import transaction
from django.db.models import CharField, Exists, F, OuterRef, Q, Value
from django.db.models.functions import Cast, Coalesce, Concat

from ..batches.isolation import isolated
from ..batches.leases import Lease
from ..batches.slices import SLICE, delete_rows, slice_transaction
from ..models import (
    Attempt,
    CorrectedUpload,
    Difference,
    Edit,
    FileProblem,
    GoldStandard,
    Job,
    JobQuerySet,
    JobSource,
    Notification,
    Retention,
    RightAnswer,
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
from ..models.retention import WARNED_BEFORE, deleted_on, ended_jobs, over_by
from ..results import search_index
from ..rules.accuracy import without_cells
from ..rules.answer_statistics import AnswerStatistics
from ..rules.recipes import without_examples
from ..rules.row_choices import RowChoice

logger = logging.getLogger(__name__)

BEGUN_AT_ONCE = 100  # jobs an hour
_WARNING = "contents_expiring:"
_OPEN_TRIALS = (Trial.State.WAITING, Trial.State.SENDING)


def begin_due() -> None:
    """Begin to delete what is due by our clock and by the provider's: one alone may have leapt, and
    a deletion cannot be undone. Nor is anything deleted that its owner was not told of for
    WARNED_BEFORE, however long no worker ran to tell it."""
    if clock.provider_now() is None:
        return
    now, site = clock.earliest_now(), Retention.get()
    told = Notification.objects.filter(
        person=OuterRef("owner"), key=OuterRef("key"), made_at__lte=now - WARNED_BEFORE
    )
    # Those of whom nobody is told are in warn_due, too.
    untold = Q(owner__is_active=False) | Q(trashed_at__isnull=False)
    old = _with_key(ended_jobs().filter(over_by(now, site)), site)
    old = old.filter(untold | Exists(told))
    for job in old.order_by("finished_at")[:BEGUN_AT_ONCE]:
        with isolated(f"job {job.pk}: deleting its cells and answers"):
            _begin(job, now)


def warn_due() -> None:
    """Tell people whose cells and answers are deleted soon, once for each end of a job until
    somebody changes when that is."""
    now, site = clock.now(), Retention.get()
    told = Notification.objects.filter(person=OuterRef("owner"), key=OuterRef("key"))
    jobs = ended_jobs().filter(over_by(now + WARNED_BEFORE, site))
    jobs = jobs.filter(trashed_at=None, owner__is_active=True)
    jobs = _with_key(jobs, site).exclude(Exists(told))
    for job in jobs.select_related("owner").order_by("finished_at")[:BEGUN_AT_ONCE]:
        left = max((deleted_on(job, site) or now) - now, WARNED_BEFORE)
        facts = Facts(days=max(round(left / timedelta(days=1)), 0), whose="site")
        with isolated(f"job {job.pk}: telling that its cells and answers are deleted soon"):
            outbox.tell_about_job("results_expiring", job, facts, key=job.key)  # type: ignore[attr-defined]  # of this query


def _with_key(jobs: JobQuerySet, site: Retention) -> JobQuerySet:
    """With `key`, that of the notification for the time when they are deleted."""
    chosen = Coalesce(Cast("retention_changed_at", CharField()), Value(""))
    by_site = f":{site.changed_at:%Y-%m-%dT%H:%M:%S}:" if site.changed_at else ""
    ended = Cast("finished_at", CharField())
    key = Concat(
        Value(_WARNING), Cast("pk", CharField()), Value(":"), ended, Value(by_site), chosen
    )
    return jobs.annotate(key=key)


def _begin(job: Job, now: datetime) -> None:
    """From here on every page says that they are deleted, and no row is sent again. The list that
    `job` is from may be old: it must still be due, by the settings of now."""
    with transaction.atomic():
        site = Retention.row().select_for_update().get()
        mine = ended_jobs().filter(over_by(now, site), pk=job.pk, finished_at=job.finished_at)
        if mine.update(contents_deleted_at=clock.now(), next_action_at=clock.now()):
            job.trials.filter(state=Trial.State.WAITING).delete()
            # Its answers are of no use to the jobs that run it again.
            job.runs_again().price_anew(clock.now())
            Job.objects.filter(previous=job).update(previous=None)
            job_log.write(job.pk, "Deleting all cells and answers. Their retention time has ended.")


def delete_contents(job: Job, lease: Lease) -> None:
    """Delete them in slices. Repeatable. Raises LeaseLost."""
    _remove_files(job)
    is_table = job.kind == Job.Kind.TABLE
    empty = msgspec.json.encode([""] * len(job.columns)).decode() if is_table else "{}"
    rows = Row.objects.filter(job=job).exclude(source=empty, answer="", request_key=None)
    _clear(rows, lease, source=empty, request_key=None)
    _clear(Attempt.objects.filter(job=job).exclude(source="", answer=""), lease, source="")
    delete_rows(Edit.objects.filter(job=job), lease)
    delete_rows(Difference.objects.filter(job=job), lease)
    with transaction.atomic():
        FileProblem.objects.filter(job=job).delete()
        CorrectedUpload.objects.filter(job=job).delete()
        SampledAnswer.objects.filter(job=job).update(note="")
        RightAnswer.objects.filter(job=job).update(values={})
        for gold in GoldStandard.objects.filter(job=job).exclude(compared=None):
            gold.compared = gold.compared and without_cells(gold.compared)
            gold.save(update_fields=["compared"])
        job.exports.all().delete()
        job.asked_recipes.all().delete()
        _clear_trials(job)
        for link in JobSource.objects.filter(job=job):
            link.wanted = link.wanted.without_text()  # it was searched for in cells
            link.save(update_fields=["wanted"])
        for one in job.rounds.exclude(recipe=None):
            one.recipe = one.recipe and without_examples(one.recipe)
            one.save(update_fields=["recipe"])
        done = Job.objects.filter(pk=job.pk, contents_are_gone=False).update(
            contents_are_gone=True,
            recipe=without_examples(job.recipe),
            row_choice=RowChoice(),
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
    search_index.remove_index(job.pk)
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


def _clear(rows: Any, lease: Lease, **values: str | None) -> None:
    """Empty what may hold text of the file or of an answer; numbers and costs stay."""
    last = 0
    ordered = rows.order_by("number").values_list("number", flat=True)
    while numbers := list(ordered.filter(number__gt=last)[:SLICE]):
        with slice_transaction(lease):
            rows.model.objects.filter(
                job_id=lease.job_pk, number__gt=last, number__lte=numbers[-1]
            ).update(answer="", message="", problem="", **values)
        last = numbers[-1]
        lease.renew()


def _clear_trials(job: Job) -> None:
    tested = job.trials.exclude(state__in=_OPEN_TRIALS)
    tested.update(cells=[], params="{}", answer="", message="", recipe=None)
