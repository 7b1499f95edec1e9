"""`job verify`: compares the files of jobs with their hashes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..batches import stored_results
from ..drafts.reading import is_as_uploaded
from ..models import Job


class Damage(NamedTuple):
    """A file that is missing or is not what was written."""

    job: int
    words: str


def look_for_damage(jobs: Iterable[Job]) -> Iterator[Damage | None]:
    """One for every upload and results file that should be there; None for a whole one. Damaged
    results are fetched again by the worker; finished files are checked whenever they are given
    out."""
    for job in jobs:
        uploads = [("upload", job.upload_file, job.upload_sha256)] if job.upload_bytes else []
        uploads += [
            ("corrected file", one["file"], one.get("sha256", "")) for one in job.corrections
        ]
        for what, name, sha256 in uploads:
            try:
                whole = is_as_uploaded(name, sha256, None)
            except OSError as error:
                yield Damage(job.pk, f"The {what} cannot be read: {error.strerror}.")
            else:
                fault = f"The {what} does not hold what was written to it."
                yield None if whole else Damage(job.pk, fault)
        for batch in job.batches.order_by("number"):
            if stored_results.has_file(batch):
                damaged = stored_results.check(batch)
                yield Damage(job.pk, str(damaged)) if damaged else None
