"""Upload a file, choose how it is read, correct its rows."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib.auth.models import User
from django.core.files.base import File
from django.db import transaction

from ..drafts.templates import Start
from ..ingest.shapes import Choices, CorrectionFile
from ..models import GoldStandard, Job, JobQuerySet, Trial, clock, files, job_log
from ..rules import pricing
from ..rules.recipes import Recipe
from .nudges import nudge_worker
from .stored_files import default_name, store_file, store_upload, upload_name_of


def create_job(
    owner: User,
    upload: File[bytes],
    name: str = "",
    choices: Choices | None = None,
    start: Start | None = None,
) -> Job:
    """Store an upload and create a job for it, with the recipe of `start`. The worker reads the
    file as `choices` say."""
    with store_upload(owner, upload) as taken, transaction.atomic():
        upload_name = taken["upload_name"]
        job = Job.objects.create(
            owner=owner,
            name=name.strip()[:200] or default_name(upload_name),
            choices=choices or Choices(),
            **(start.values if start else {"recipe": Recipe(model=pricing.DEFAULT_MODEL)}),
            **taken,
        )
        job_log.write(job.pk, f"Uploaded {upload_name}.", owner)
        if start:
            job_log.write(job.pk, start.in_words, owner)
        if start and start.gold.is_made:
            GoldStandard.objects.create(job=job, choice=start.gold)
        nudge_worker(job)
    return job


def change_choices(job: Job, choices: Choices, user: User) -> bool:
    """Read the file again with other settings. False if a draft already has them, or the job was
    submitted."""
    if choices == job.choices and job.state != Job.State.UNREADABLE:
        return False
    values: dict[str, Any] = {"choices": choices}
    if choices.sheet not in (job.choices.sheet, job.reading.sheet):
        values["corrections"] = []  # they belong to another sheet
    return _read_anew(job, changed_by=user, **values)


def replace_upload(job: Job, upload: File[bytes], user: User) -> bool:
    """Replace the uploaded file; name and prompt stay. False if the job was submitted meanwhile."""
    with store_upload(job.owner, upload) as taken, transaction.atomic():
        same = Job.objects.filter(upload_file=job.upload_file)
        if job.name == default_name(job.upload_name):
            taken["name"] = default_name(taken["upload_name"])
        as_found = {"choices": Choices(), "corrections": []}
        replaced = _read_anew(job, same, changed_by=user, **as_found, **taken)
        if replaced:
            job_log.write(
                job.pk, f"Uploaded {taken['upload_name']} in place of {job.upload_name}.", user
            )
    # A worker that is reading it notices that it has been replaced.
    files.remove_upload(job.upload_file if replaced else taken["upload_file"])
    return replaced


def correct_rows(job: Job, upload: File[bytes], user: User) -> bool:
    """Upload a corrected problem file: its rows replace those they name. False if the job was
    submitted meanwhile, or its file is being read."""
    name = f"{job.upload_file}.{uuid.uuid4().hex[:8]}"
    with store_file(job.owner, upload, name) as sha256, transaction.atomic():
        same = Job.objects.filter(upload_file=job.upload_file, readings=job.readings)
        corrections = [*job.corrections, CorrectionFile(name, sha256)]
        corrected = _read_anew(job, same, corrections=corrections, changed_by=user)
        if corrected:
            job_log.write(job.pk, f"Uploaded corrected rows: {upload_name_of(upload)}.", user)
    if not corrected:
        files.stored_path(name).unlink(missing_ok=True)
    return corrected


def undo_corrections(job: Job, user: User) -> bool:
    """Read the file without its corrections. False if there are none."""
    with transaction.atomic():
        taken_back = bool(job.corrections) and _read_anew(job, corrections=[], changed_by=user)
        if taken_back:
            job_log.write(job.pk, "Undid the corrected rows.", user)
    for correction in job.corrections if taken_back else []:
        files.stored_path(correction.file).unlink(missing_ok=True)
    return taken_back


def _read_anew(job: Job, jobs: JobQuerySet | None = None, **values: Any) -> bool:
    """Have the worker read the file again. False if the job was submitted meanwhile, or is not
    among `jobs`."""
    same = (Job.objects.all() if jobs is None else jobs).filter(pk=job.pk)
    with transaction.atomic():
        begun = same.read_anew(clock.now(), **values)
        if begun:
            job.trials.filter(state=Trial.State.WAITING).delete()
    return bool(begun)
