"""Write down what is in the rows of large jobs, for the search, in the background.

The rows of a job are taken in parts. A part whose rows have changed is written anew, one whose rows
are as they were is only said to be true for the rows of now. Nobody waits for any of it, so there
are pauses, and an index waits until its job is left alone for a while.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db import transaction

from ..models import SEARCHED, Job, Row, SearchIndex, SearchPart, clock, files, storage
from ..results.search_index import remove_index, search_text
from ..rules import trigrams

logger = logging.getLogger(__name__)

# Of a part: whichever comes first. Its texts are in memory while it is written.
PART_ROWS, PART_CHARACTERS = 16_384, 8_000_000
SLICE = 200  # rows of one query
TURN_SECONDS = 20  # then other jobs get theirs
# After the last change of a job's rows; for a part, in which nobody else takes the job; after
# trouble such as a full disk.
SETTLED, CLAIMED, TROUBLED = timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=5)
PAUSE_SECONDS = 0.1  # the longest
KEPT = timedelta(days=30)  # after someone last looked at the rows
LEFT_SECONDS = 3600  # for which a file may be there without its part


class _Changed(Exception):
    """The rows are others by now, or gone."""


def has_due() -> bool:
    return SearchIndex.objects.due(clock.now()).exists()


def look() -> None:
    """Go on with the index that waits longest, for one turn."""
    turn = clock.Countdown(TURN_SECONDS)
    index = _claim(clock.now())
    if index is None:
        return
    after: timedelta | None = None
    try:
        after = _build(index, turn)
    except _Changed:
        after = SETTLED
    except OSError as error:
        logger.warning("job %s: its rows cannot be indexed: %s", index.job_id, error.strerror)
        after = TROUBLED
    finally:
        if after is not None:
            SearchIndex.objects.filter(pk=index.pk).update(due_at=clock.now() + after)


def _claim(now: datetime) -> SearchIndex | None:
    """The index that is due longest, as mine for a while. None while its job is being changed."""
    index = SearchIndex.objects.due(now).select_related("job").order_by("due_at").first()
    if index is None:
        return None
    version = index.job.rows_version
    # The first time, someone has just looked at the rows.
    is_settled = index.seen_version in (-1, version)
    mine = SearchIndex.objects.filter(pk=index.pk, due_at=index.due_at)
    until = now + (CLAIMED if is_settled else SETTLED)
    if not mine.update(due_at=until, seen_version=version) or not is_settled:
        return None
    return index


def _build(index: SearchIndex, turn: clock.Countdown) -> timedelta:
    """Bring the parts up to date until the turn is over. Returns when to go on. Raises _Changed,
    OSError."""
    job, first = index.job, 1
    version = job.rows_version
    parts = {part.first: part for part in SearchPart.objects.filter(job=job)}
    while first <= job.row_count:
        part = parts.get(first)
        is_there = part is not None and files.search_path(part.file).exists()
        if part is None or not is_there or part.version != version:
            if turn.is_over:
                return timedelta()
            part = _renew(job, first, part, is_there)
            SearchIndex.objects.filter(pk=index.pk).update(due_at=clock.now() + CLAIMED)
        first = part.last + 1
    SearchIndex.objects.filter(pk=index.pk).update(version=version)
    return timedelta()


def _renew(job: Job, first: int, part: SearchPart | None, is_there: bool) -> SearchPart:
    """The part with the rows of now, which begins with row `first`."""
    if storage.is_low():
        raise OSError(0, "the disk is almost full")
    texts = list(_texts(job, first, part.last if part else job.row_count, whole=part is not None))
    hashed = hashlib.blake2b(digest_size=16)
    for text in texts:
        hashed.update(f"{len(text)}:{text}".encode(errors="surrogatepass"))
    last = first + len(texts) - 1
    if part and is_there and bytes(part.digest) == hashed.digest() and part.last == last:
        _store(job, part, part.file)
        return part
    name = f"{job.pk}-{first}-{secrets.token_hex(8)}"
    new = SearchPart(job=job, first=first, last=last, digest=hashed.digest(), file=name)
    new.version = job.rows_version
    pause = _Pause()
    packing = trigrams.Part()
    for at, text in enumerate(texts):
        packing.add(text)
        if at % SLICE == 0:
            pause.take()
    path = files.search_path(name)
    packed = packing.pack()
    files.require_room(path.parent, len(packed))
    try:
        with files.written_whole(path) as file:
            file.write(packed)
        _store(job, new, part.file if part else "")
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return new


def _texts(job: Job, first: int, last: int, *, whole: bool) -> Iterator[str]:
    """What is searched of each row, to `last` if `whole`, else until it is enough for a part."""
    rows = Row.objects.filter(job=job, number__gte=first, number__lte=last)
    expected, length, pause = first, 0, _Pause()
    for some in rows.value_slices(SLICE, *SEARCHED, after=first - 1):
        for number, *values in some:
            if number != expected:
                raise _Changed
            text = search_text(values)
            expected, length = expected + 1, length + len(text)
            yield text
            is_full = expected - first >= PART_ROWS or length >= PART_CHARACTERS
            if is_full and not whole:
                return
        pause.take()
    if expected <= last:
        raise _Changed


def _store(job: Job, part: SearchPart, old_file: str) -> None:
    """Say that the part has the rows of now, unless they have changed. Raises _Changed."""
    with transaction.atomic():
        same = Job.objects.select_for_update().filter(
            pk=job.pk,
            rows_version=job.rows_version,
            state__in=Job.SENT,
            contents_deleted_at=None,
        )
        # Removing an index begins with its row: what is stored before that is removed with it.
        if not same or not SearchIndex.objects.select_for_update().filter(job=job):
            raise _Changed
        SearchPart.objects.update_or_create(
            job=job,
            first=part.first,
            defaults={
                "last": part.last,
                "version": job.rows_version,
                "digest": part.digest,
                "file": part.file,
            },
        )
    if old_file and old_file != part.file:
        files.search_path(old_file).unlink(missing_ok=True)


class _Pause:
    """Rests as long as was worked, but for PAUSE_SECONDS at most."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def take(self) -> None:
        time.sleep(min(time.monotonic() - self._began, PAUSE_SECONDS))
        self._began = time.monotonic()


# --- Removing -------------------------------------------------------------------------------------


def remove_old() -> None:
    """Remove the indexes of jobs whose rows nobody looks at, and what was left of writing one."""
    unused = SearchIndex.objects.filter(used_at__lte=clock.now() - KEPT)
    for pk in list(unused.values_list("job_id", flat=True)[:100]):
        remove_index(pk)
    before = time.time() - LEFT_SECONDS
    old = [path for path in files.search_files() if path.stat().st_mtime < before]
    names = [path.name for path in old]
    known = set(SearchPart.objects.filter(file__in=names).values_list("file", flat=True))
    for path in old:
        if path.name not in known:
            path.unlink(missing_ok=True)
