"""`manage.py job verify`: compare the files of jobs with their hashes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from django.core.management.base import CommandError, CommandParser

from ..batches import stored_results
from ..drafts.reading import is_as_uploaded
from ..models import Job
from .access import find_job, visible_jobs
from .console import Console


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("id", type=int, nargs="?", metavar="ID", help="of one job (all)")
    parser.add_argument("--json", action="store_true", help="for programs")


def run(console: Console, options: dict[str, Any]) -> None:
    one = options["id"]
    jobs = [find_job(one)] if one else visible_jobs().order_by("pk").iterator()
    looked_at = list(look_for_damage(jobs))
    damaged = [found for found in looked_at if found]
    if options["json"]:
        found = [{"job": one.job, "damage": one.words} for one in damaged]
        console.write(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        for one in damaged:
            console.write(f"Job {one.job}: {one.words}")
    if damaged:
        raise CommandError(f"{len(damaged):,} of {len(looked_at):,} files are damaged.")
    console.say(f"All {len(looked_at):,} files are intact.")


class Damage(NamedTuple):
    """A file that is missing or has changed since it was written."""

    job: int
    words: str


def look_for_damage(jobs: Iterable[Job]) -> Iterator[Damage | None]:
    """Check every upload and results file of `jobs`; yield None for each intact one. The worker
    fetches damaged results again. Exports are not checked here but on every download."""
    for job in jobs:
        uploads = [("upload", job.upload_file, job.upload_sha256)] if job.upload_bytes else []
        uploads += [("corrected file", one.file, one.sha256) for one in job.corrections]
        for what, name, sha256 in uploads:
            try:
                whole = is_as_uploaded(name, sha256, None)
            except OSError as error:
                yield Damage(job.pk, f"The {what} cannot be read: {error.strerror}.")
            else:
                fault = f"The {what} has changed since it was written."
                yield None if whole else Damage(job.pk, fault)
        for batch in job.batches.order_by("number"):
            if stored_results.has_file(batch):
                damaged = stored_results.check(batch)
                yield Damage(job.pk, str(damaged)) if damaged else None
