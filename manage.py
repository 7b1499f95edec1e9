#!/usr/bin/env python
"""The command line of the site: `python manage.py help`."""

import gc
import os
import signal
import sys

from batchsite import __version__


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "batchsite.settings")
    if sys.argv[1:] in (["version"], ["--version"]):
        # Django answers these two itself, with its own version, before it looks for a command.
        sys.stdout.write(f"{__version__}\n")
        return
    gc.set_threshold(10_000)  # nearly all that is imported stays, and need not be looked through
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
        sys.stdout.flush()
    except BrokenPipeError:  # `manage.py job list | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)


if __name__ == "__main__":
    main()
