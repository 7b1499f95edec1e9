"""Every intent to send a batch, outside the database: `journal.jsonl` in DATA_DIR.

If the database is lost or an old copy of it comes back, this file still says what may have been
sent. One JSON object a line, flushed to disk before the POST; ids, counts and hashes only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone


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


def size() -> int:
    """Bytes of the journal; 0 when there is none."""
    try:
        return _path().stat().st_size
    except FileNotFoundError:
        return 0


def entries(begin: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
    """The entries from byte `begin` on, each with the byte at which the next one begins. A line
    that was cut off is {}: what it would have said had not been done yet."""
    try:
        file = _path().open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(begin)
        for line in file:
            if not line.endswith(b"\n"):
                return  # it is being written
            begin += len(line)
            try:
                entry = json.loads(line)
            except ValueError:
                entry = {}
            yield begin, entry
