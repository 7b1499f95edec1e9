"""`manage.py run_huey`: the worker, with the tasks of this site."""

from __future__ import annotations

from typing import Any

from huey.contrib.djhuey.management.commands import run_huey


class Command(run_huey.Command):  # type: ignore[misc]  # huey has no types
    def handle(self, *args: Any, **options: Any) -> None:
        # Huey itself would look for them in jobs/tasks.py.
        from ...worker import tasks  # noqa: F401 - they register themselves

        super().handle(*args, **{**options, "disable_autoload": True})
