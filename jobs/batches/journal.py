"""Every intent to send a batch, outside the database: `journal.jsonl` in DATA_DIR.

If the database is lost or an old copy of it comes back, this file still says what may have been
sent. One JSON object a line, flushed to disk before the POST; ids, counts and hashes only.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
from django.conf import settings
from django.utils import timezone

from ..models.clock import Moment

logger = logging.getLogger(__name__)

_Time = Annotated[datetime, msgspec.Meta(tz=True)]


class Intent(msgspec.Struct, tag_field="kind", tag="intent"):
    """A batch is about to be sent."""

    at: _Time
    job: int
    upload: str  # the hash of the job's file
    number: int
    nonce: str
    attempt: int  # 1, 2, ...
    rows: list[tuple[int, int]]  # first and last number of each run of rows
    size: int
    bytes: int
    sha256: str
    deadline: _Time
    baseline: list[str] | None
    baseline_at: _Time | None
    practice: bool = False
    # planning.recipe_hash and planning.places_hash; older entries have none.
    recipe: str = ""
    places: str = ""
    begun: Moment | None = None  # older entries have none
    # Job.key_team, Batch.key and Batch.workspace; older entries have none.
    key_team: int | None = None
    key: str = ""
    workspace: str = ""


class Outcome(msgspec.Struct, tag_field="kind", tag="outcome"):
    """How an attempt ended, or that its batch was found later on."""

    job: int
    nonce: str
    attempt: int
    state: str  # of the batch from then on
    provider_id: str | None


class _Late(msgspec.Struct, tag_field="kind", tag="late"):
    """For people who read the journal; the late batch is found again without it."""


class _Begun(msgspec.Struct, tag_field="kind", tag="begun"):
    """The first entry of a site. Its random name tells this journal from that of another machine,
    and a site that never sent anything from one whose journal is gone."""


class _Gap(msgspec.Struct, tag_field="kind", tag="gap"):
    """A backup was restored without the journal of the time after it: what was sent between the
    entry before and this one may be missing."""


GAP = b'{"kind":"gap"}\n'
_decoder = msgspec.json.Decoder(Intent | Outcome | _Late | _Begun | _Gap)
_warned: set[int] = set()  # the bytes at which lines begin that this process has warned of


def _path() -> Path:
    return Path(settings.DATA_DIR, "journal.jsonl")


def write(kind: str, **facts: Any) -> None:
    """Append one entry and wait until the disk has it. Raises OSError when it cannot."""
    line = json.dumps({"at": timezone.now().isoformat(), "kind": kind, **facts}) + "\n"
    # One write of one line with O_APPEND: entries of several workers do not mix.
    file = os.open(_path(), os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        entry = line.encode()
        size = os.fstat(file).st_size
        if size and os.pread(file, 1, size - 1) != b"\n":
            entry = b"\n" + entry  # the one before was cut off by a full disk or a power cut
        if os.write(file, entry) != len(entry):
            raise OSError("The journal could not be written: the disk is full.")
        os.fsync(file)
    finally:
        os.close(file)


def begin() -> None:
    """Begin the journal of a new site."""
    if not size():
        write("begun", site=secrets.token_hex(8))


def size() -> int:
    """Bytes of the journal; 0 when there is none."""
    try:
        return _path().stat().st_size
    except FileNotFoundError:
        return 0


def entries(begin: int = 0) -> Iterator[tuple[int, Intent | Outcome | None]]:
    """The entries from byte `begin` on, each with the byte at which the next one begins. None for
    a line that says nothing: most likely it was cut off, and what it would have said had not been
    done yet."""
    try:
        file = _path().open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(begin)
        for line in file:
            if not line.endswith(b"\n"):
                return  # it is being written
            entry = _read(line, begin)
            begin += len(line)
            yield begin, entry


def has_damage(lines: bytes) -> bool:
    """Whether something that was written cannot be read any more. A line that was cut off while it
    was written is none: what it would have said had not been done yet."""
    for line in lines[: lines.rfind(b"\n") + 1].splitlines():
        try:
            _decoder.decode(line)
        except msgspec.ValidationError:
            return True
        except msgspec.DecodeError as error:
            if "truncated" not in str(error):
                return True
        except (UnicodeDecodeError, RecursionError):
            return True
    return False


def _read(line: bytes, begin: int) -> Intent | Outcome | None:
    try:
        entry = _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        if begin not in _warned:
            _warned.add(begin)
            logger.warning("the journal's line at byte %s is skipped: %s", begin, error)
        return None
    return None if isinstance(entry, _Late | _Begun | _Gap) else entry
