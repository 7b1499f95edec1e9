"""`manage.py job adopt`: import a batch that was made elsewhere."""

from __future__ import annotations

import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from ..actions import external_batches
from ..batches import external
from .console import Console
from .exit_codes import WRONG_USE
from .options import open_upload, owner_of
from .reading_options import add_choices, choices_from

PROVIDER_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("batch", metavar="BATCH_ID", help="as the provider calls it")
    parser.add_argument("--file", type=Path, metavar="FILE", help="that it was made from")
    parser.add_argument(
        "--id-column", default="", metavar="NAME", help="of a table: the custom_ids"
    )
    add_choices(parser)
    parser.add_argument("--name", default="", help="name of the job (the file's)")
    parser.add_argument("--owner", metavar="USER", help="whose job it is (the administrator's)")


def run(console: Console, options: dict[str, Any]) -> None:
    owner, choices, path = owner_of(options["owner"]), choices_from(options), options["file"]
    if not PROVIDER_ID.fullmatch(options["batch"]):
        raise CommandError(f"{options['batch']} is not a batch ID.", returncode=WRONG_USE)
    if options["id_column"] and path is None:
        raise CommandError("--id-column needs --file.", returncode=WRONG_USE)
    facts = options["name"], choices, options["id_column"]
    try:
        with open_upload(path) if path else nullcontext() as file:
            job = external_batches.import_batch(owner, options["batch"], file, *facts)
    except external.NotPossible as why:
        raise CommandError(f"Not imported. {why}") from why
    console.say(
        f"Imported as job {job.pk} “{job.name}”. `job wait {job.pk}` waits until it finishes."
    )
    console.write(str(job.pk))
