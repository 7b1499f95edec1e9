"""Which rows of a large job may hold a text, without looking into each.

The worker writes down what is in the rows, part by part (see worker/search_building.py). A part
counts while Job.rows_version is that of its rows; the rows of any other part may hold anything. So
a search finds the same rows with an index as without it: whoever asks here has to look into the
rows that are named, and no others hold the text.
"""

from __future__ import annotations

import logging
import mmap
from collections.abc import Sequence
from datetime import timedelta

from django.db import connection

from ..models import (
    Job,
    Outcome,
    Row,
    SearchIndex,
    SearchPart,
    clock,
    files,
    forms_of,
)
from ..rules import trigrams
from ..rules.judging import MARKED_DOWN

logger = logging.getLogger(__name__)

LEAST_ROWS = 20_000  # in a smaller job, each row is looked into in no time
NOTED_EVERY = timedelta(days=1)


class Candidates:
    """Numbers of the rows that may hold a text."""

    def __init__(self, digits: bytes | bytearray) -> None:
        """`digits`: a "1" or a "0" for each row of the job."""
        self._digits = digits
        self.count = digits.count(b"1")

    def numbers(self, start: int | None, down: bool, most: int) -> list[int]:
        """Up to `most` from `start` on, itself included, or from the beginning; `down`: from there
        to the beginning, or from the end."""
        found: list[int] = []
        if down:
            at = len(self._digits) if start is None else max(start, 0)
            while len(found) < most and (at := self._digits.rfind(b"1", 0, at)) >= 0:
                found.append(at + 1)
            return found
        at = max(start or 1, 1) - 2
        while len(found) < most and (at := self._digits.find(b"1", at + 1)) >= 0:
            found.append(at + 1)
        return found


def search_text(values: Sequence[str]) -> str:
    """The texts of a row, as in SEARCHED, as one: what is in one of them is in this, too."""
    return "\n".join(values)


def is_for(job: Job) -> bool:
    """Whether the rows of a job are to be found by an index."""
    is_large = job.row_count >= LEAST_ROWS
    has_rows = job.state in Job.SENT and job.contents_deleted_at is None
    return is_large and has_rows and has_plain_capitals()


def has_plain_capitals() -> bool:
    """Whether the database knows the same capitals as trigrams.fold. One for Turkish or Greek does
    not; there a search looks into every row."""
    if connection.vendor == "sqlite":
        return True
    with connection.cursor() as cursor:
        cursor.execute("SELECT UPPER('iά')")
        return bool(cursor.fetchone()[0] == "iά".upper())


def find_candidates(job: Job, text: str) -> Candidates | None:
    """None where every row has to be looked into."""
    forms = {trigrams.fold(form) for both in forms_of(text) for form in both}
    if not is_for(job) or min(map(len, forms)) < trigrams.LENGTH:
        return None
    parts = SearchPart.objects.filter(job=job, version=job.rows_version)
    pieces = [trigrams.keys_of(form) for form in forms]
    digits = bytearray()
    for part in parts.order_by("first"):
        size = part.last - part.first + 1
        found = _look_into(part, size, pieces)
        if found is None:
            # Until it is built anew, each of its rows is looked into.
            SearchIndex.objects.filter(job=job).update(version=-1)
            continue
        digits += b"1" * (part.first - 1 - len(digits))
        digits += trigrams.digits_of(found, size)
    if not digits:
        return None
    digits += b"1" * (job.row_count - len(digits))
    # A mark may come with a note, and is no change of `rows_version`.
    marked = Row.objects.filter(job=job, outcome=Outcome.LOOK, cause=MARKED_DOWN)
    for number in marked.values_list("number", flat=True):
        digits[number - 1] = ord("1")
    return Candidates(digits)


def _look_into(part: SearchPart, size: int, pieces: Sequence[set[int]]) -> int | None:
    """Which rows of a part may hold one of the pieces; None when its file cannot be read."""
    try:
        with files.search_path(part.file).open("rb") as file:
            packed = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        return trigrams.may_hold(packed, size, pieces)
    except (OSError, ValueError, trigrams.Unreadable) as error:
        logger.warning("job %s: %s cannot be read: %s", part.job_id, part.file, error)
        return None


def expect_search(job: Job) -> None:
    """Have the worker index the rows of a job because someone looks at them."""
    if not is_for(job):
        return
    now = clock.now()
    index = SearchIndex.objects.filter(job=job).first()
    if index is None:
        SearchIndex.objects.bulk_create(
            [SearchIndex(job=job, used_at=now, due_at=now)], ignore_conflicts=True
        )
    elif abs(now - index.used_at) > NOTED_EVERY:
        SearchIndex.objects.filter(pk=index.pk).update(used_at=now)


def is_awaited(job: Job) -> bool:
    """Whether the worker is still about to index the rows of a job."""
    return is_for(job) and SearchIndex.objects.outdated().filter(job=job).exists()


def remove_index(job_pk: int) -> None:
    """Remove all that is stored for the search in a job. Repeatable."""
    SearchIndex.objects.filter(job=job_pk).delete()
    SearchPart.objects.filter(job=job_pk).delete()
    for path in files.search_files(job_pk):
        path.unlink(missing_ok=True)
