"""Options that several subcommands share. Wrong use raises CommandError with WRONG_USE."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from django.conf import settings
from django.contrib.auth.models import User
from django.core.files import File
from django.core.management.base import CommandError, CommandParser
from django.forms import BaseForm
from django.template.defaultfilters import filesizeformat

from ..actions import chains, uploads
from ..drafts.templates import NothingToStartWith, Start, find_start, template_recipe
from ..ingest.shapes import Choices
from ..models import Job, Template, administrators, storage
from ..retries.selection import FOR_NOW
from ..rules.answer_formats import (
    COLUMN_KINDS,
    COLUMNS,
    LABELS,
    AnswerColumn,
    AnswerKind,
    kind_problems,
)
from ..rules.model_capabilities import EFFORTS
from ..rules.pricing import DEFAULT_MODEL
from ..rules.recipes import Recipe
from ..rules.retry_choices import RetryChoice
from ..rules.rows_wanted import ALL, GOOD, RowsWanted
from ..web.forms.recipes import RecipeForm
from ..web.forms.retries import AgainForm
from .exit_codes import WRONG_USE
from .reading_options import add_choices
from .row_options import add_row_choice

EMPTY = Recipe(prompt="", system="", model=DEFAULT_MODEL)
_columns_decoder = msgspec.json.Decoder(tuple[AnswerColumn, ...])


def make_job(
    path: Path, owner: User, name: str, choices: Choices, start: Start | None = None
) -> Job:
    """Create a job from a copy of the file at `path`."""
    with open_upload(path) as file:
        try:
            return uploads.create_job(owner, file, name, choices, start)
        except storage.NoRoom as why:
            raise CommandError(str(why)) from None


def make_job_of(options: dict[str, Any], owner: User, choices: Choices, start: Start | None) -> Job:
    """Create the job that the options ask for: of a file, or of the rows of another job."""
    path: Path | None = options["file"]
    source_pk: int | None = options.get("source")
    if (path is None) == (source_pk is None):
        raise CommandError("Name a FILE, or a job with --from ID.", returncode=WRONG_USE)
    if path is not None:
        if options.get("which"):
            raise CommandError("--rows needs --from.", returncode=WRONG_USE)
        return make_job(path, owner, options["name"], choices, start)
    source = Job.objects.visible_to(owner).filter(pk=source_pk or 0).first()
    if source is None or not chains.can_be_used(source):
        raise CommandError(
            f"--from: {owner.username} sees no finished job {source_pk} with answers.",
            returncode=WRONG_USE,
        )
    try:
        wanted = RowsWanted(options["which"] or ALL)
        return chains.use_rows(source, wanted, options["name"], owner, start)
    except storage.NoRoom as why:
        raise CommandError(str(why)) from None


@contextmanager
def open_upload(path: Path) -> Iterator[File[bytes]]:
    """Open the file at `path` for an upload."""
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise CommandError(f"{path} is not a file.", returncode=WRONG_USE)
        if not size:
            raise CommandError(f"{path} is empty.", returncode=WRONG_USE)
        if size > settings.MAX_UPLOAD_BYTES:
            raise CommandError(
                f"{path} is larger than {filesizeformat(settings.MAX_UPLOAD_BYTES)} "
                "(MAX_UPLOAD_BYTES). Split it into several files.",
                returncode=WRONG_USE,
            )
        with path.open("rb") as file:
            yield File(file, name=path.name)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}.", returncode=WRONG_USE) from error


def add_recipe(parser: CommandParser, *, of_jobs: bool = True) -> None:
    """Add the file and the recipe. `of_jobs`: or another job, whose rows are used."""
    file = parser.add_argument("file", type=Path, metavar="FILE", help="CSV, Excel, JSONL, ...")
    if of_jobs:
        file.nargs, file.required = "?", False
        parser.add_argument(
            "--from", dest="source", type=int, metavar="ID", help="the rows and answers of this job"
        )
        parser.add_argument(
            "--rows", dest="which", choices=[ALL, GOOD], help="with --from: which rows (all)"
        )
    add_choices(parser)
    parser.add_argument("--name", default="", help="name of the job (the file's)")
    parser.add_argument("--owner", metavar="USER", help="whose job it is (the administrator's)")
    add_prompt(parser)
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--template", metavar="NAME", help="start with what is kept under this name")
    start.add_argument("--like", metavar="ID", help="run this job again on another file")
    parser.add_argument(
        "--reuse",
        "--only-new",
        dest="only_new",
        action="store_true",
        help="reuse the answers of earlier jobs: rows that they answered are not sent",
    )
    answer = parser.add_mutually_exclusive_group()
    answer.add_argument("--labels", metavar="A,B", help="each answer is one of these")
    answer.add_argument(
        "--columns", type=Path, metavar="F", help="columns that the answers fill, as JSON"
    )
    parser.add_argument("--model", metavar="ID", help=f"which model answers ({DEFAULT_MODEL})")
    parser.add_argument(
        "--max-tokens", type=int, metavar="N", help="longest answer, in tokens (what suits)"
    )
    parser.add_argument(
        "--effort",
        choices=[effort for effort in EFFORTS if effort],
        help="how much it thinks first (as the model does by itself)",
    )
    parser.add_argument(
        "--cache", action="store_true", help="use prompt caching for what all rows share"
    )
    parser.add_argument(
        "--skip-duplicates",
        "--same-once",
        action="store_true",
        help="of rows that are the same, send one",
    )
    parser.add_argument("--skip-empty", action="store_true", help="skip rows with an empty cell")
    add_private(parser)
    add_row_choice(parser)


def add_private(parser: CommandParser) -> None:
    parser.add_argument(
        "--private",
        action="append",
        default=[],
        metavar="COLUMN",
        help="a column that must never leave this site; can be repeated",
    )


def require_columns(names: Sequence[str], columns: Sequence[str]) -> None:
    """Raise CommandError when one of the private columns `names` is not in the file: a name that is
    misspelled would protect nothing."""
    missing = [name for name in names if name not in columns]
    if missing:
        raise CommandError(
            f"--private: the file has no column “{missing[0]}”. Its columns: {', '.join(columns)}.",
            returncode=WRONG_USE,
        )


def add_prompt(parser: CommandParser) -> None:
    """Add the prompt."""
    prompt = parser.add_mutually_exclusive_group()
    prompt.add_argument("--prompt", metavar="TEXT", help="what to do with a row; {{column}}")
    prompt.add_argument("--prompt-file", type=Path, metavar="F", help="the same from a file")
    parser.add_argument("--system", metavar="TEXT", help="instructions for every row")


def recipe_was_given(options: dict[str, Any]) -> bool:
    """Whether any option of the recipe was given that says what to do with a row of a table."""
    texts = ("prompt", "prompt_file", "template", "like", "system", "model", "max_tokens", "effort")
    flags = ("cache", "skip_duplicates", "skip_empty")
    said = [*texts, "labels", "columns"]
    return any(options[name] is not None for name in said) or any(map(options.get, flags))


def start_from(options: dict[str, Any], owner: User) -> Start | None:
    """The template or job to start from; None if neither was given."""
    if (name := options["template"]) is not None:
        template = find_template(owner, name)
        return Start(template_recipe(template), template)
    try:
        return find_start(owner, "", options["like"] or "")
    except NothingToStartWith as error:
        raise CommandError(str(error), returncode=WRONG_USE) from error


def owner_of(username: str | None) -> User:
    """The named user, or else the first administrator."""
    if username:
        user = User.objects.filter(username=username).first()
        if user is None:
            raise CommandError(f"There is no user “{username}”.", returncode=WRONG_USE)
        return user
    user = administrators().order_by("pk").first()
    if user is None:
        raise CommandError(
            "There is no account yet, so nobody can own the job. Open the site in a browser to "
            "make the first one, or run: python manage.py createsuperuser",
            returncode=WRONG_USE,
        )
    return user


def find_template(owner: User, name: str) -> Template:
    """The template `name` that `owner` can use; their own takes precedence over a shared one."""
    visible = Template.objects.visible_to(owner)
    found = list(visible.filter(name=name).select_related("owner"))
    if own := [template for template in found if template.owner_id == owner.pk]:
        return own[0]
    if len(found) == 1:
        return found[0]
    if found:
        owners = " and ".join(sorted(template.owner.username for template in found))
        raise CommandError(
            f"More than one template is called “{name}”: {owners} share theirs. Save one of them "
            "under a name of your own.",
            returncode=WRONG_USE,
        )
    names = sorted(set(visible.values_list("name", flat=True)))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    meant = f" Did you mean “{close[0]}”?" if close else " `job templates` lists all."
    raise CommandError(
        f"{owner.username} has no template “{name}”, and none is shared.{meant}",
        returncode=WRONG_USE,
    )


def prompt_of(options: dict[str, Any]) -> str | None:
    path: Path | None = options["prompt_file"]
    if path is None:
        prompt: str | None = options["prompt"]
        return prompt
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}.", returncode=WRONG_USE) from error
    except UnicodeDecodeError:
        raise CommandError(f"{path} is not text in UTF-8.", returncode=WRONG_USE) from None


def retry_from(options: dict[str, Any]) -> RetryChoice:
    """Which rows to retry and what changes in the recipe, checked by the form of the page."""
    texts = {"prompt": prompt_of(options), "system": options["system"]}
    given = {name: text for name, text in texts.items() if text is not None}
    form = AgainForm(
        {
            "which": options["group"] or FOR_NOW,
            "max_tokens": options["max_tokens"],
            "model": options["model"] or "",
            "asks": list(given),
            **given,
        }
    )
    if not form.is_valid():
        raise CommandError("\n".join(_problems_of(form)), returncode=WRONG_USE)
    return form.again


def _problems_of(form: BaseForm) -> list[str]:
    return [
        f"--{name.replace('_', '-')}: {text}"
        for name, texts in form.errors.items()
        for text in texts
    ]


def checked_recipe(options: dict[str, Any], base: Recipe) -> Recipe:
    """`base` changed by the options, checked by the form of the page."""
    texts = {
        "prompt": prompt_of(options),
        **{name: options[name] for name in ("system", "model", "max_tokens")},
    }
    form = RecipeForm(
        {
            **vars(base),
            "max_tokens": base.max_tokens or None,
            **{name: text for name, text in texts.items() if text is not None},
            "effort": options["effort"] or base.effort,
            "cached": options["cache"] or base.cached,
            "skip_empty": options["skip_empty"] or base.skip_empty,
            "skip_duplicates": options["skip_duplicates"] or base.skip_duplicates,
            "only_new": options["only_new"] or base.only_new,
        }
    )
    if not form.is_valid():
        problems = _problems_of(form)
        if "model" in form.errors:
            choices = form.fields["model"].choices  # type: ignore[attr-defined]  # a ChoiceField
            problems.append(f"Models: {', '.join(model for model, _name in choices)}.")
        raise CommandError("\n".join(problems), returncode=WRONG_USE)
    private = tuple(dict.fromkeys([*base.private, *options["private"]]))
    return replace(form.recipe(), answer=answer_kind(options, base.answer), private=private)


def answer_kind(options: dict[str, Any], kind: AnswerKind) -> AnswerKind:
    """`kind`, or what `--labels` or `--columns` ask for."""
    if options["labels"] is not None:
        labels = (label.strip() for label in options["labels"].split(","))
        kind = AnswerKind(LABELS, labels=tuple(filter(None, labels)))
    elif path := options["columns"]:
        try:
            text = path.read_text(encoding="utf-8-sig")
            columns = _columns_decoder.decode(text)
        except OSError as error:
            raise CommandError(f"{path}: {error.strerror}.", returncode=WRONG_USE) from error
        except UnicodeDecodeError:
            raise CommandError(f"{path} is not text in UTF-8.", returncode=WRONG_USE) from None
        except msgspec.DecodeError as error:
            raise CommandError(
                f"{path} is not a JSON list of columns ({error}). Write it so: "
                '[{"name": "mood", "kind": "choice", "choices": ["good", "bad"], "description": '
                f'"how the writer feels", "required": true}}]. Kinds: {", ".join(COLUMN_KINDS)}.',
                returncode=WRONG_USE,
            ) from None
        kind = AnswerKind(COLUMNS, columns=columns)
    if problems := kind_problems(kind):
        raise CommandError("\n".join(problems), returncode=WRONG_USE)
    return kind
