import sys

from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "jobs"

    def ready(self) -> None:
        from .models import locks  # it needs the settings

        if sys.argv[1:2] != ["restore"]:
            try:
                locks.require_finished_restore()
            except locks.Unfinished as error:
                sys.exit(str(error))
