"""`manage.py run_huey`: the worker, with the tasks of this site."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from typing import Any

from huey.contrib.djhuey import HUEY
from huey.contrib.djhuey.management.commands import run_huey

# Of mallopt(3), for glibc: how many heaps the threads share. With one for each thread, memory
# that one has freed is of no use to the others.
M_ARENA_MAX, HEAPS = -8, 1
# Who waits for a page gets the processor before a job that takes a while.
BEHIND_PAGES = 5


class Command(run_huey.Command):  # type: ignore[misc]  # huey has no types
    def handle(self, *args: Any, **options: Any) -> None:
        # Huey itself would look for tasks in jobs/tasks.py. These register themselves.
        from ...worker.consumer import SiteConsumer

        with suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).mallopt(M_ARENA_MAX, HEAPS)
        os.nice(BEHIND_PAGES)
        HUEY.consumer_class = SiteConsumer
        super().handle(*args, **{**options, "disable_autoload": True})
