import sys

from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "jobs"

    def ready(self) -> None:
        from django.conf import settings

        from batchsite import error_reports

        from .models import locks  # it needs the settings

        error_reports.start(settings.SENTRY_DSN)

        command = sys.argv[1] if len(sys.argv) > 1 else ""
        try:
            if command != "restore":
                locks.require_finished_restore()
            if command not in ("restore", "upgrade"):
                locks.require_finished_upgrade()
        except locks.Unfinished as error:
            sys.exit(str(error))
