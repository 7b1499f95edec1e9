"""Use the rows and answers of a finished job in a new one."""

from __future__ import annotations

import uuid
from dataclasses import replace

from django.contrib.auth.models import User
from django.db import transaction

from ..drafts.templates import Start, gold_columns
from ..models import GoldStandard, Job, JobSource, audit, clock, files, job_log, recipe_of, storage
from ..results import next_step
from ..rules import pricing
from ..rules.recipes import Recipe
from ..rules.row_choices import RowChoice
from ..rules.rows_wanted import RowsWanted
from .nudges import nudge_worker


def can_be_used(job: Job) -> bool:
    """Whether its rows can begin another job: it has finished and keeps its answers."""
    return job.state == Job.State.FINISHED and not job.contents_deleted_at


def use_rows(
    source: Job,
    wanted: RowsWanted,
    name: str,
    user: User,
    start: Start | None = None,
    choice: RowChoice | None = None,
) -> Job:
    """Create a job of `user` that begins with the rows of `source`, with the recipe of `start`, and
    sends those of `choice`. The worker writes its file. Raises storage.NoRoom."""
    storage.require_room(user, source.stored_bytes)
    # Whoever sees the new job may not see this one: nothing here has its name.
    values = {**(start.values if start else {"recipe": Recipe(model=pricing.DEFAULT_MODEL)})}
    private = dict.fromkeys([*source.private_columns, *values.pop("private_columns", ())])
    with transaction.atomic():
        job = Job.objects.create(
            owner=user,
            name=name.strip()[:200] or f"Next step of job {source.pk}",
            choices=next_step.CHOICES,
            upload_name=f"job {source.pk} with answers.csv",
            upload_file=uuid.uuid4().hex,
            upload_bytes=0,
            private_columns=list(private),
            row_choice=choice or RowChoice(),
            **values,
        )
        JobSource.objects.create(job=job, source=source, wanted=wanted)
        if start and start.gold.is_made:
            GoldStandard.objects.create(job=job, choice=start.gold)
        job_log.write(job.pk, f"Begins with the rows of job {source.pk}.", user)
        for column, called in next_step.added_columns(source).items():
            if column != called:
                text = f"The column {column!r} is called {called!r}, because the name was taken."
                job_log.write(job.pk, text)
        after: dict[str, audit.Value] = {"new_job": job.pk, "rows": wanted.which}
        audit.record("rows_used", who=user, job=source.pk, after=after)
        nudge_worker(job)
    return job


def update_rows(job: Job, user: User) -> Job | None:
    """Take the answers of its source as they are now: a draft reads them anew; of a job that was
    sent a new one is made, which reuses the answers to all rows that are as they were. None if the
    source cannot be used. Raises storage.NoRoom."""
    link = JobSource.objects.filter(job=job).first()
    if link is None or job.contents_deleted_at:  # then nobody knows any more which rows it had
        return None
    source = Job.objects.visible_to(user).filter(next_steps=link).first()
    if source is None or not can_be_used(source) or not next_step.are_known(source, link.wanted):
        return None
    if job.state == Job.State.FINISHED:
        recipe = replace(recipe_of(job), only_new=True)
        start = Start(recipe, template=job.template, previous=job, gold=gold_columns(job))
        return use_rows(source, link.wanted, job.name, user, start, job.row_choice)
    if not Job.objects.visible_to(job.owner).filter(pk=source.pk).exists():
        return None  # the worker takes what its owner sees, and what is there would be lost
    with transaction.atomic():
        drafts = Job.objects.filter(pk=job.pk, upload_file=job.upload_file)
        begun = drafts.filter(state=Job.State.DRAFT).read_anew(
            clock.now(),
            upload_file=uuid.uuid4().hex,
            upload_bytes=0,
            upload_sha256="",
            corrections=[],
            changed_by=user,
        )
        if not begun:
            return None
        JobSource.objects.filter(pk=link.pk).update(sha256="")
        job_log.write(job.pk, "Reading the new answers.", user)
        nudge_worker(job)
    files.remove_upload(job.upload_file)
    return job
