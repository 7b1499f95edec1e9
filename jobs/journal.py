"""Every intent to send a batch, outside the database: `journal.jsonl` in DATA_DIR.

If the database is lost or an old copy of it comes back, this file still says what may have been
sent. One JSON object a line, flushed to disk before the POST; ids, counts and hashes only.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone


def write(kind: str, **facts: Any) -> None:
    """Append one entry and wait until the disk has it. Raises OSError when it cannot."""
    line = json.dumps({"at": timezone.now().isoformat(), "kind": kind, **facts}) + "\n"
    path = Path(settings.DATA_DIR, "journal.jsonl")
    # One write of one line with O_APPEND: entries of several workers do not mix.
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        entry = line.encode()
        if os.write(file, entry) != len(entry):
            raise OSError("The journal could not be written: the disk is full.")
        os.fsync(file)
    finally:
        os.close(file)
