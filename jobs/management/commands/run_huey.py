"""`manage.py run_huey`: the worker, with the tasks of this site."""

from __future__ import annotations

from typing import Any

from huey.contrib.djhuey import HUEY
from huey.contrib.djhuey.management.commands import run_huey


class Command(run_huey.Command):  # type: ignore[misc]  # huey has no types
    def handle(self, *args: Any, **options: Any) -> None:
        # Huey itself would look for tasks in jobs/tasks.py. These register themselves.
        from ...worker.consumer import SiteConsumer

        HUEY.consumer_class = SiteConsumer
        super().handle(*args, **{**options, "disable_autoload": True})
