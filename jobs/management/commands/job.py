"""`manage.py job`: from the shell what the pages do in the browser, by the same functions.

What a script wants is on stdout; words for people go to stderr. Exit status: 0 done, 1 not done,
2 wrong use; of `check` also 3 some rows cannot be sent, 4 the file cannot be read; of `wait` also
6 rows need attention, 7 the job is held, 8 time-out.
"""

from __future__ import annotations

import difflib
import json
import os
import sys
import time
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from django.conf import settings
from django.contrib.auth.models import User
from django.core.files import File
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.template.defaultfilters import filesizeformat

from jobs import actions, checking, estimates, exports, restoring, words
from jobs.answer_kinds import (
    COLUMN_KINDS,
    COLUMNS,
    LABELS,
    AnswerColumn,
    AnswerKind,
    kind_problems,
)
from jobs.estimates import Estimate, PartEstimate
from jobs.forms import RecipeForm
from jobs.ingest.answers import Failed, Order, Read, Summary
from jobs.ingest.shapes import NO_HEADER, Choices, Unreadable
from jobs.ingest.words import ENCODINGS, how_it_is_read, python_name
from jobs.matching import needed_columns
from jobs.model_rules import EFFORTS
from jobs.models import Installation, Job, Template, recipe_of
from jobs.pricing import DEFAULT_MODEL, in_words
from jobs.provider import ProviderError
from jobs.reading import limits, read_apart
from jobs.recipes import Recipe
from jobs.reusing import Start, kept_recipe
from jobs.templatetags.show import at_most, money_range

NOT_DONE, WRONG_USE, ROWS_LEFT_OUT, UNREADABLE, ATTENTION, HELD, TIMED_OUT = 1, 2, 3, 4, 6, 7, 8
LOOK_SECONDS = 0.5
# How long a step that needs the worker may wait for one to show up.
WORKER_SECONDS = 30
PROBLEMS_SHOWN = 20
EMPTY = Recipe(prompt="", system="", model=DEFAULT_MODEL)
DELIMITER_NAMES = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "bar": "|"}
FORMATS: dict[str, Callable[[Job], Iterator[bytes]]] = {
    "csv": exports.csv_chunks,
    "jsonl": exports.jsonl_chunks,
    "raw": exports.raw_chunks,
}


class Command(BaseCommand):
    help = "Submit a job and follow it from the shell."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

        check = actions.add_parser("check", help="say how a file is read, and what is wrong in it")
        check.add_argument("file", type=Path, metavar="FILE", help="CSV, Excel, JSONL, ...")
        add_choices(check)
        check.add_argument("--json", action="store_true", help="for programs")

        submit = actions.add_parser("submit", help="make a job of a file and submit it")
        submit.add_argument("file", type=Path, metavar="FILE", help="CSV, Excel, JSONL, ...")
        add_choices(submit)
        submit.add_argument("--name", default="", help="name of the job (the file's)")
        prompt = submit.add_mutually_exclusive_group()
        prompt.add_argument("--prompt", metavar="TEXT", help="what to do with a row; {{column}}")
        prompt.add_argument("--prompt-file", type=Path, metavar="F", help="the same from a file")
        submit.add_argument(
            "--template", metavar="NAME", help="start with what is kept under this name"
        )
        submit.add_argument("--system", metavar="TEXT", help="instructions for every row")
        answer = submit.add_mutually_exclusive_group()
        answer.add_argument("--labels", metavar="A,B", help="each answer is one of these")
        answer.add_argument(
            "--columns", type=Path, metavar="F", help="columns that the answers fill, as JSON"
        )
        submit.add_argument("--model", metavar="ID", help=f"which model answers ({DEFAULT_MODEL})")
        submit.add_argument(
            "--max-tokens", type=int, metavar="N", help="longest answer, in tokens (what suits)"
        )
        submit.add_argument(
            "--effort",
            choices=[effort for effort in EFFORTS if effort],
            default="",
            help="how much it thinks first (as the model does by itself)",
        )
        submit.add_argument(
            "--cache", action="store_true", help="keep the instructions at the provider meanwhile"
        )
        submit.add_argument(
            "--skip-empty", action="store_true", help="leave out rows with an empty cell"
        )
        submit.add_argument("--owner", metavar="USER", help="whose job it is (the administrator's)")
        submit.add_argument("--yes", action="store_true", help="do not ask about the price")

        status = actions.add_parser("status", help="say how a job is doing")
        status.add_argument("id", type=int, metavar="ID")
        status.add_argument("--json", action="store_true", help="for programs")

        wait = actions.add_parser("wait", help="wait until a job has finished")
        wait.add_argument("id", type=int, metavar="ID")
        wait.add_argument("--timeout", type=seconds, metavar="S", help="give up after S seconds")

        export = actions.add_parser("export", help="write a job's results to a file")
        export.add_argument("id", type=int, metavar="ID")
        export.add_argument("--format", choices=FORMATS, default="csv")
        export.add_argument("--output", required=True, metavar="PATH", help="- is stdout")

        retry = actions.add_parser(
            "retry", help="send the rows again that got no answer for a reason that passes"
        )
        retry.add_argument("id", type=int, metavar="ID")
        retry.add_argument("--yes", action="store_true", help="do not ask about the price")

        cancel = actions.add_parser("cancel", help="stop a job")
        cancel.add_argument("id", type=int, metavar="ID")

        actions.add_parser(
            "reconcile",
            help="after a database was restored: find what was sent meanwhile, then send on",
        )

        templates = actions.add_parser("templates", help="list what is kept for other jobs")
        templates.add_argument("--json", action="store_true", help="for programs")

        jobs = actions.add_parser("list", help="list all jobs, newest first")
        jobs.add_argument("--json", action="store_true", help="for programs")

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        try:
            getattr(self, f"do_{action}")(options)
        except CommandError as error:
            # Not left to Django, which writes "CommandError" before it: that looks like a crash.
            self.say(str(error))
            sys.exit(error.returncode)
        except KeyboardInterrupt:
            self.say("Stopped waiting; the job is as it was.")
            sys.exit(130)

    def say(self, text: str) -> None:
        """A line for people."""
        self.stderr.write(text, style_func=str)

    # --- check ------------------------------------------------------------------------------------

    def do_check(self, options: dict[str, Any]) -> None:
        path: Path = options["file"]
        order = Order(str(path.resolve()), choices_from(options), limits())
        found = Summary("", "table")
        readable = False
        try:
            with path.open("rb"):
                pass
            for answer in read_apart(order):
                if isinstance(answer, Read):
                    found, readable = answer.summary, True
                elif isinstance(answer, Failed):
                    raise Unreadable(*answer.findings)
        except OSError as error:
            raise CommandError(f"{path}: {error.strerror}.", returncode=WRONG_USE) from error
        except Unreadable as error:
            for finding in error.findings:
                found.note(finding, leaves_out=True)
        if options["json"]:
            self.stdout.write(json.dumps(facts_of_file(found), indent=1, ensure_ascii=False))
        else:
            self.say_how_it_is_read(found, readable)
        if not readable or found.left_out:
            sys.exit(ROWS_LEFT_OUT if readable else UNREADABLE)

    def say_how_it_is_read(self, found: Summary, readable: bool) -> None:
        if readable:
            self.stdout.write(f"{found.rows:,} rows, {found.left_out:,} of them left out")
            self.stdout.write(f"Columns: {', '.join(found.columns)}")
            chosen = found.understood
            read_as = how_it_is_read(
                found.format, chosen.delimiter, chosen.encoding, chosen.sheet, chosen.header
            )
            self.stdout.write(f"Read as {read_as}")
            if found.blank_lines:
                self.stdout.write(f"Blank lines skipped: {found.blank_lines:,}")
        for group in found.groups:
            self.show_group(group.title, group.remedy, group.places, group.count)

    def show_group(
        self, title: str, remedy: str, places: list[tuple[int, str]], count: int
    ) -> None:
        """What was found of one kind, with its first places."""
        if count > 1:
            self.say(f"{count:,}: {title} {remedy}".strip())
        for line, text in places[:PROBLEMS_SHOWN]:
            self.say(f"Line {line}: {text}" if line else text)
        if count > len(places):
            self.say(f"... and {count - len(places):,} more like these.")
        if count == 1 and remedy:
            self.say(remedy)

    # --- submit -----------------------------------------------------------------------------------

    def do_submit(self, options: dict[str, Any]) -> None:
        refuse_if_nobody_can_be_asked(options)
        prompt = prompt_of(options)
        owner, choices = owner_of(options["owner"]), choices_from(options)
        name = options["template"]
        template = None if name is None else find_template(owner, name)
        recipe = checked_recipe(prompt, options, kept_recipe(template) if template else EMPTY)
        start = Start(recipe, template) if template else None
        job = make_job(options["file"], owner, options["name"], choices, start)
        self.say(f"Job {job.pk} “{job.name}”: reading the file.")
        job = self.wait_for_worker(job, lambda job: job.state != Job.State.READING)
        self.show_problems(job)
        if job.state != Job.State.DRAFT:
            actions.delete(job, job.owner)
            raise CommandError("The file could not be read.")
        self.say(f"{job.row_count:,} rows, {job.left_out_count:,} of them left out.")

        if start:
            recipe = recipe_of(job)  # with the columns as the file writes them
        names = ("template", "system", "model", "max_tokens", "labels", "columns")
        given = [prompt, *(options[name] for name in names)]
        if problems := plan_problems(job, recipe, given):
            actions.delete(job, job.owner)
            raise CommandError("\n".join(problems), returncode=WRONG_USE)
        if job.kind == Job.Kind.TABLE:
            actions.save_recipe(job, recipe)
            job.refresh_from_db()
            for remark in checking.remarks(job):
                self.say(remark)
        job = self.wait_for_worker(job, lambda job: estimates.current(job) is not None)
        estimate = estimates.current(job)
        assert estimate is not None  # noqa: S101 - waited for
        if estimate.trouble:
            raise CommandError(f"{estimate.trouble} The draft is kept as job {job.pk}.")
        self.show_price(estimate)
        if not options["yes"] and not self.agrees(estimate.rows, estimate.most):
            raise CommandError(f"Not submitted. The draft is kept as job {job.pk}.")
        if not actions.confirm(job, job.plan_sha256, job.owner):
            raise CommandError(
                f"Not submitted: job {job.pk} was changed or submitted by someone else just now."
            )
        self.say("Submitted.")
        self.stdout.write(str(job.pk))

    def wait_for_worker(self, job: Job, done: Callable[[Job], bool]) -> Job:
        """The job as it is once the worker has got it so far. Raises CommandError when there is
        no worker."""
        began = time.monotonic()
        while not done(job):
            if is_late(began) and not Installation.get().worker_is_alive:
                raise CommandError(
                    f"The worker is not running, so job {job.pk} waits as a draft. Start the site "
                    "(make run), or the worker alone: python manage.py run_huey"
                )
            time.sleep(LOOK_SECONDS)
            job = find_job(job.pk)
        return job

    def show_problems(self, job: Job) -> None:
        for problem in job.problems.all():
            self.show_group(problem.title, problem.remedy, problem.places, problem.count)

    def show_price(self, estimate: Estimate) -> None:
        self.say(f"Cost in US dollars: {price_in_words(estimate)} (half the normal price).")
        if settings.PRACTICE:
            self.say("Practice mode: no key is set, so nothing is sent and nothing costs money.")

    def agrees(self, rows: int, most: Decimal) -> bool:
        self.stderr.write(
            f"Submit {rows:,} rows for {at_most(most)}? [y/N] ",
            style_func=str,
            ending="",
        )
        self.stderr.flush()
        return sys.stdin.readline().strip().lower() in {"y", "yes"}

    # --- the others -------------------------------------------------------------------------------

    def do_status(self, options: dict[str, Any]) -> None:
        job = find_job(options["id"])
        if options["json"]:
            self.stdout.write(json.dumps(facts(job), indent=1))
            return
        self.stdout.write(f"Job {job.pk} “{job.name}”: {job.get_state_display()}")
        if job.held:
            self.stdout.write(f"Held: {job.held}")
        self.stdout.write(
            f"{job.row_count:,} rows: {job.done_count:,} done, {job.good_count:,} good, "
            f"{job.attention_count:,} need attention, {job.left_out_count:,} left out"
        )
        if job.was_sent:
            self.stdout.write(f"Cost so far: {in_words(job.cost)} (US dollars)")
        if (estimate := estimates.current(job)) and not estimate.trouble:
            self.stdout.write(f"Estimate: {price_in_words(estimate)}")

    def do_wait(self, options: dict[str, Any]) -> None:
        began = time.monotonic()
        warned = False
        while True:
            job = find_job(options["id"])
            if job.state == Job.State.FINISHED:
                break
            if job.state in (Job.State.DRAFT, Job.State.UNREADABLE):
                raise CommandError(f"Job {job.pk} was not submitted: {job.get_state_display()}.")
            if why := job.held or (Installation.get().why_not_sending if job.sends else ""):
                raise CommandError(f"Job {job.pk} is held: {why}", returncode=HELD)
            timeout = options["timeout"]
            if timeout is not None and time.monotonic() - began >= timeout:
                raise CommandError(
                    f"Job {job.pk} has not finished after {timeout:g} seconds; it goes on.",
                    returncode=TIMED_OUT,
                )
            if not warned and is_late(began) and not Installation.get().worker_is_alive:
                warned = True
                self.say("The worker is not running, so nothing happens. Start it: make run")
            time.sleep(LOOK_SECONDS)
        if job.good_count != job.row_count:
            raise CommandError(
                f"Job {job.pk} has finished; {job.row_count - job.good_count:,} of "
                f"{job.row_count:,} rows have no good answer.",
                returncode=ATTENTION,
            )
        self.say(f"Job {job.pk} has finished; all {job.row_count:,} rows have a good answer.")

    def do_export(self, options: dict[str, Any]) -> None:
        job = find_job(options["id"])
        if not job.was_sent:
            raise CommandError(f"Job {job.pk} has no results: {job.get_state_display()}.")
        chunks = FORMATS[options["format"]](job)
        if options["output"] == "-":
            try:
                for chunk in chunks:
                    sys.stdout.buffer.write(chunk)
                sys.stdout.buffer.flush()
            except BrokenPipeError:
                # The reader has enough. Python would complain once more when it closes stdout.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return
        output = Path(options["output"])
        part = output.with_name(f"{output.name}.part")
        try:
            with part.open("wb") as file:
                file.writelines(chunks)
            part.replace(output)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise CommandError(f"{output} cannot be written: {error.strerror}.") from error
        self.say(f"Wrote {output}.")

    def do_retry(self, options: dict[str, Any]) -> None:
        refuse_if_nobody_can_be_asked(options)
        job = find_job(options["id"])
        part = estimates.estimate_part(job, job.rows.worth_sending_again())
        if job.state != Job.State.FINISHED or part is None or not part.rows:
            raise CommandError(f"Job {job.pk} has no rows that can be sent again.")
        self.say(f"Cost in US dollars: {price_in_words(part)}.")
        self.say("They were not charged the first time.")
        if not options["yes"] and not self.agrees(part.rows, part.most):
            raise CommandError("Nothing was sent.")
        if not actions.send_rows_again(job, part.rows, job.owner):
            raise CommandError("Nothing was sent: the job was changed by someone else just now.")
        self.say(f"To be sent again: {words.rows(part.rows)}.")

    def do_cancel(self, options: dict[str, Any]) -> None:
        job = find_job(options["id"])
        if not actions.stop(job, job.owner):
            raise CommandError(
                f"Job {job.pk} cannot be stopped: {find_job(job.pk).get_state_display()}."
            )
        self.say(
            f"Job {job.pk} is being stopped. Answers that are ready by then are kept and paid."
        )

    def do_reconcile(self, options: dict[str, Any]) -> None:
        if not restoring.submissions_unknown():
            self.say("The database knows every submission in the journal; there is nothing to do.")
            return
        try:
            report = restoring.restore()
        except ProviderError as error:
            raise CommandError(f"The provider could not be asked: {error}") from error
        for line in report:
            self.stdout.write(line)
        if left := restoring.submissions_unknown():
            raise CommandError(f"{left} submissions are still unknown; nothing is sent until then.")

    def do_list(self, options: dict[str, Any]) -> None:
        jobs = visible_jobs().order_by("-created_at", "-pk")
        if options["json"]:
            self.stdout.write(json.dumps([facts(job) for job in jobs], indent=1))
            return
        for job in jobs:
            state = "Held" if job.held else job.get_state_display()
            self.stdout.write(
                f"{job.pk:>6}  {state:<18} {job.good_count:>9,} of {job.row_count:>9,} good  "
                f"{in_words(job.cost):>14}  {job.owner.username}  {job.name}"
            )

    def do_templates(self, options: dict[str, Any]) -> None:
        templates = Template.objects.select_related("owner").by_name()
        if options["json"]:
            found = [facts_of_template(template) for template in templates]
            self.stdout.write(json.dumps(found, indent=1))
            return
        for template in templates:
            recipe = kept_recipe(template)
            shared = "shared" if template.shared else "not shared"
            self.stdout.write(
                f"{template.name}  ({template.owner.username}, {shared})  {recipe.model}  "
                f"needs: {', '.join(needed_columns(recipe)) or 'no column'}"
            )


def refuse_if_nobody_can_be_asked(options: dict[str, Any]) -> None:
    if not options["yes"] and not sys.stdin.isatty():
        raise CommandError(
            "Nobody can be asked about the price here. Add --yes to submit without asking.",
            returncode=WRONG_USE,
        )


def visible_jobs() -> Any:
    return Job.objects.exclude(state=Job.State.DELETING).select_related("owner")


def find_job(pk: int) -> Job:
    job: Job | None = visible_jobs().filter(pk=pk).first()
    if job is None:
        raise CommandError(f"There is no job {pk}; `job list` shows all.", returncode=WRONG_USE)
    return job


def find_template(owner: User, name: str) -> Template:
    """The template `name` that `owner` may start with; their own goes before a shared one. Raises
    CommandError."""
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


def make_job(
    path: Path, owner: User, name: str, choices: Choices, start: Start | None = None
) -> Job:
    """A new job from a copy of the file at `path`."""
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
            return actions.create_job(owner, File(file, name=path.name), name, choices, start)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}.", returncode=WRONG_USE) from error


def add_choices(parser: CommandParser) -> None:
    """How the file is to be read; what is not said is found out."""
    parser.add_argument("--encoding", default="", metavar="NAME", help="such as windows-1252")
    parser.add_argument("--delimiter", default="", metavar="C", help="a character, or tab")
    parser.add_argument("--sheet", default="", metavar="NAME", help="of a workbook")
    parser.add_argument(
        "--header-row", type=int, default=0, metavar="N", help="line of the column names; -1: none"
    )
    parser.add_argument("--fill", action="store_true", help="fill short rows with empty cells")


def choices_from(options: dict[str, Any]) -> Choices:
    """Raises CommandError."""
    encoding = python_name(options["encoding"]) if options["encoding"] else ""
    if options["encoding"] and not encoding:
        known = ", ".join(ENCODINGS)
        raise CommandError(
            f"The encoding “{options['encoding']}” is not known. Known are {known}.",
            returncode=WRONG_USE,
        )
    delimiter = DELIMITER_NAMES.get(options["delimiter"], options["delimiter"])
    if delimiter and (len(delimiter) != 1 or delimiter in '"\r\n\0'):
        raise CommandError("--delimiter takes one character, or tab.", returncode=WRONG_USE)
    if options["header_row"] < NO_HEADER:
        raise CommandError("--header-row takes a line from 1 on, or -1.", returncode=WRONG_USE)
    return Choices(encoding, delimiter, options["sheet"], options["header_row"], options["fill"])


def facts_of_file(found: Summary) -> dict[str, Any]:
    """How a file is read, for programs. Keys are only ever added."""
    return {
        "rows": found.rows,
        "rows_left_out": found.left_out,
        "blank_lines": found.blank_lines,
        "columns": found.columns,
        "format": found.format,
        "encoding": found.understood.encoding,
        "delimiter": found.understood.delimiter,
        "sheet": found.understood.sheet,
        "header_row": found.understood.header,
        "problems": [
            {
                "kind": group.kind,
                "lines": [line for line in group.lines if line],
                "count": group.count,
                "message": group.title,
                "remedy": group.remedy,
                "blocking": group.leaves_out,
            }
            for group in found.groups
        ],
    }


def owner_of(username: str | None) -> User:
    """The named user, or else the first administrator. Raises CommandError."""
    if username:
        user = User.objects.filter(username=username).first()
        if user is None:
            raise CommandError(f"There is no user “{username}”.", returncode=WRONG_USE)
        return user
    user = User.objects.filter(is_superuser=True, is_active=True).order_by("pk").first()
    if user is None:
        raise CommandError(
            "There is no account yet, so nobody can own the job. Open the site in a browser to "
            "make the first one, or run: python manage.py createsuperuser",
            returncode=WRONG_USE,
        )
    return user


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


def checked_recipe(prompt: str | None, options: dict[str, Any], base: Recipe) -> Recipe:
    """`base` with what was said instead, checked by the form of the page. Raises CommandError."""
    texts = {
        "prompt": prompt,
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
        }
    )
    if not form.is_valid():
        problems = [
            f"--{name.replace('_', '-')}: {text}"
            for name, texts in form.errors.items()
            for text in texts
        ]
        if "model" in form.errors:
            # A ChoiceField, which the form's own types do not say.
            choices = form.fields["model"].choices  # type: ignore[attr-defined]
            problems.append(f"Models: {', '.join(model for model, _name in choices)}.")
        raise CommandError("\n".join(problems), returncode=WRONG_USE)
    return replace(form.recipe(), answer=answer_kind(options, base.answer))


def answer_kind(options: dict[str, Any], kind: AnswerKind) -> AnswerKind:
    """What `--labels` or `--columns` say instead of `kind`. Raises CommandError."""
    if options["labels"] is not None:
        labels = (label.strip() for label in options["labels"].split(","))
        kind = AnswerKind(LABELS, labels=tuple(filter(None, labels)))
    elif path := options["columns"]:
        try:
            text = path.read_text(encoding="utf-8-sig")
            columns = msgspec.json.decode(text, type=tuple[AnswerColumn, ...])
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


def plan_problems(job: Job, recipe: Recipe, given: list[Any]) -> list[str]:
    """Why the recipe does not go with the file, each as a sentence."""
    if job.kind == Job.Kind.TABLE:
        return checking.recipe_problems(recipe, job.columns)
    if any(value is not None for value in given):
        return [
            "The file holds ready-made requests, which are sent as they are: leave out --prompt, "
            "--prompt-file, --system, --labels, --columns, --model, --max-tokens and --template."
        ]
    return []


def is_late(began: float) -> bool:
    return time.monotonic() - began > WORKER_SECONDS


def price_in_words(estimate: Estimate | PartEstimate) -> str:
    return f"usually {money_range(estimate.low, estimate.high)}, {at_most(estimate.most)}"


def facts(job: Job) -> dict[str, Any]:
    """A job for programs. Keys are only ever added; money is US dollars, as decimal text."""
    estimate = estimates.current(job)
    prices = ("low", "high", "most")
    return {
        "id": job.pk,
        "name": job.name,
        "owner": job.owner.username,
        "state": job.state,
        "held": job.held,
        "rows": job.row_count,
        "done": job.done_count,
        "good": job.good_count,
        "attention": job.attention_count,
        "left_out": job.left_out_count,
        "cost_usd": format(job.cost, "f"),
        "estimate": {name: format(getattr(estimate, name), "f") for name in prices}
        if estimate and not estimate.trouble
        else None,
        "created_at": job.created_at.isoformat(),
        "confirmed_at": job.confirmed_at and job.confirmed_at.isoformat(),
        "finished_at": job.finished_at and job.finished_at.isoformat(),
    }


def facts_of_template(template: Template) -> dict[str, Any]:
    """A template for programs. Keys are only ever added."""
    recipe = kept_recipe(template)
    return {
        "name": template.name,
        "owner": template.owner.username,
        "shared": template.shared,
        "model": recipe.model,
        "columns": needed_columns(recipe),
        "answer": recipe.answer.kind,
        "changed_at": template.changed_at.isoformat(),
    }


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value < float("inf"):
        raise ArgumentTypeError(f"{text} is not a number of seconds")
    return value
