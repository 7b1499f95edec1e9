"""Import a batch that was made elsewhere."""

from __future__ import annotations

import uuid
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.files.base import File
from django.db import IntegrityError, transaction
from django.db.models import F

from ..batches import external, external_ids, holds, planning
from ..ingest.shapes import Choices
from ..models import Batch, Job, audit, clock, job_log
from ..rules import wording
from .nudges import nudge_worker
from .stored_files import default_name, store_upload

# --- A batch that was made elsewhere -------------------------------------------------------------


def import_batch(
    owner: User,
    provider_id: str,
    upload: File[bytes] | None = None,
    name: str = "",
    choices: Choices | None = None,
    id_column: str = "",
) -> Job:
    """Import a batch that this site did not send, with the file it was made from, if any.
    `id_column` is the column of that file with the custom_ids.

    Calls the provider, so do not call it within a transaction. Raises external.NotPossible.
    """
    info = external.find(provider_id)
    taking: AbstractContextManager[dict[str, Any]]
    if upload:
        taking = store_upload(owner, upload)
    else:
        # The rows come with the results.
        nothing = {"upload_name": "", "upload_file": uuid.uuid4().hex, "upload_bytes": 0}
        taking = nullcontext(nothing)
    ended = info.status == "ended"
    now = clock.now()
    try:
        with taking as taken, transaction.atomic():
            usual = default_name(taken["upload_name"]) if upload else info.id
            job = Job.objects.create(
                owner=owner,
                name=name.strip()[:200] or usual,
                kind=Job.Kind.TABLE if upload else Job.Kind.REQUESTS,
                choices=choices or Choices(),
                practice=settings.PRACTICE,
                is_external=True,
                ids_are=f"{external_ids.COLUMN}{id_column[:200]}" if id_column else "",
                **taken,
            )
            Batch.objects.create(
                job=job,
                number=1,
                size=info.total,
                nonce=planning.new_nonce(),
                practice=job.practice,
                is_external=True,
                state=Batch.State.ENDED if ended else Batch.State.IN_PROGRESS,
                body_bytes=0,
                provider_id=info.id,
                created_at=info.created_at,
                expires_at=info.expires_at,
                ended_at=info.ended_at or now if ended else None,
                counts=info.counts if ended else {},
            )
            batch = f"{info.id} ({wording.rows(info.total)})"
            file = f"with {taken['upload_name']}" if upload else "without a file"
            job_log.write(job.pk, f"Imported {batch} {file}.", owner)
            nudge_worker(job)
            audit.record("batch_imported", who=owner, job=job.pk, target=info.id)
    except IntegrityError:
        external.refuse_known(info.id)  # imported by someone else meanwhile
        raise
    return job


def choose_ids(job: Job, way: str, user: User) -> bool:
    """Choose how results are matched to rows of the file; `way` as in external_ids.in_words. False
    if that is settled or `way` is unknown."""
    if not external_ids.is_open(job) or not external_ids.is_known(job, way):
        return False
    now = clock.now()
    with transaction.atomic():
        open_ = Job.objects.filter(pk=job.pk, ids_are=job.ids_are, state__in=Job.MOVING)
        chosen = open_.update(ids_are=way, next_action_at=now)
        if chosen:
            holds.end_hold(job.pk)
            job.batches.filter(state=Batch.State.ENDED).update(next_action_at=now)
            job_log.write(job.pk, f"IDs of the batch: {external_ids.in_words(way)}.", user)
            nudge_worker(job)
    return bool(chosen)


def read_file_again(job: Job, choices: Choices, user: User) -> bool:
    """Read the file of an imported batch again with other settings, because its IDs were not found.
    False if they are known by now."""
    now = clock.now()
    with transaction.atomic():
        same = Job.objects.filter(ids_are=job.ids_are, readings=job.readings)
        begun = external_ids.is_open(job) and same.try_move(
            job.pk,
            Job.State.WORKING,
            Job.State.READING,
            readings=F("readings") + 1,
            read_bytes=0,
            row_count=0,
            choices=choices,
            ids_may_be=[],
            next_action_at=now,
        )
        if begun:
            holds.end_hold(job.pk)
            job.batches.filter(state=Batch.State.ENDED).update(next_action_at=now)
            job_log.write(job.pk, "Reading the file with new settings.", user)
            nudge_worker(job)
    return begun
