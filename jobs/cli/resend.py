"""`manage.py job resend`: send the rows again that were changed in a corrected problem file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from ..drafts.reading import read_corrected
from ..ingest.shapes import Unreadable
from ..models import Job
from ..retries import corrected_files, measurements, selection
from ..retries.selection import EDITED
from ..rules import wording
from ..rules.retry_choices import RetryChoice
from .access import find_job
from .console import Console, require_confirmation
from .exit_codes import UNREADABLE, WRONG_USE
from .retry import send_rows


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("id", type=int, metavar="ID")
    parser.add_argument("file", type=Path, metavar="CORRECTED_FILE")
    parser.add_argument("--yes", action="store_true", help="do not ask about the price")


def run(console: Console, options: dict[str, Any]) -> None:
    require_confirmation(options)
    job, path = find_job(options["id"]), options["file"]
    if job.state != Job.State.FINISHED:
        raise CommandError(f"Job {job.pk} has not finished: {job.get_state_display()}.")
    try:
        with path.open("rb"):
            pass
        corrected = read_corrected(job, str(path.resolve()))
        found, changed = corrected_files.match_rows(job, corrected)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}.", returncode=WRONG_USE) from error
    except Unreadable as error:
        why = " ".join([*corrected_files.describe_error(error), "Nothing from the file was used."])
        raise CommandError(why, returncode=UNREADABLE) from error
    console.say(f"Rows: {found.in_short}.")
    for note in found.notes:
        console.say(note)
    if not changed:
        raise CommandError("Nothing was sent: no row is different in the file.")
    try:
        corrected_files.save_changes(job, changed)
    except corrected_files.NotFinished as error:
        raise CommandError(f"Nothing was sent: job {job.pk} was changed meanwhile.") from error
    job.refresh_from_db()
    measurements.measure_edits(job)
    if waited := selection.retry_rows(job, EDITED).count() - len(changed):
        console.say(f"Also sent, because they were changed earlier: {wording.rows(waited)}.")
    send_rows(console, job, RetryChoice(EDITED), options)
