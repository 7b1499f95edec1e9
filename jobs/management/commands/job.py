"""`manage.py job`: from the shell what the pages do in the browser, by the same functions.

What a script wants is on stdout; words for people go to stderr. Exit status: 0 done, 1 not done,
2 wrong use; of `check` also 3 some rows cannot be sent; of `check` and `resend` also 4 the file
cannot be read; of `try` and `wait` also 6 rows need attention; of `wait` also 7 the job is held,
8 time-out.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
import textwrap
import time
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any, cast

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser, OutputWrapper

from ... import actions
from ...actions import approvals
from ...batches import external, recovery, stored_results, unknown_submissions
from ...batches.stored_results import DamagedResults
from ...cli.facts import (
    estimate_in_full,
    facts,
    facts_of_file,
    facts_of_group,
    facts_of_model,
    facts_of_prices,
    facts_of_receipt,
    facts_of_template,
    facts_of_trials,
)
from ...cli.options import (
    EMPTY,
    WRONG_USE,
    add_choices,
    add_prompt,
    add_recipe,
    again_from,
    checked_recipe,
    choices_from,
    make_job,
    opened,
    owner_of,
    recipe_was_given,
    start_from,
)
from ...cli.verify import look_for_damage
from ...drafts import checks, estimates, model_catalog
from ...drafts.estimates import Estimate, PartEstimate
from ...drafts.model_catalog import OfferedModel
from ...drafts.reading import read_apart, read_corrected, reading_limits
from ...drafts.templates import template_recipe
from ...drafts.trials import MOST_ROWS, choose_rows
from ...ingest.descriptions import how_it_is_read
from ...ingest.protocol import Failed, FileRead, ReaderInput, UploadSummary
from ...ingest.shapes import Unreadable
from ...models import Heartbeat, Job, Outcome, SiteState, SpendingCaps, Template, Trial, recipe_of
from ...provider.errors import ProviderError
from ...results import table, unmatched, workbook
from ...retries import corrected_files, measurements, problem_groups, rounds, selection
from ...retries.rounds import RetryChoice
from ...retries.selection import EDITED
from ...rules import pricing, wording
from ...rules.column_matching import needed_columns
from ...rules.judging import describe_problem
from ...rules.plain_text import PlainStream
from ...rules.pricing import format_dollars
from ...rules.recipes import Recipe
from ...spending import caps, price_overrides, receipts
from ...web.templatetags.show import at_most, money_range

NOT_DONE, ROWS_LEFT_OUT, UNREADABLE, ATTENTION, HELD, TIMED_OUT = 1, 3, 4, 6, 7, 8
LOOK_SECONDS = 0.5
# How long a step that needs the worker may wait for one to show up.
WORKER_SECONDS = 30
PROBLEMS_SHOWN = 20
PROVIDER_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
FORMATS = ("csv", "xlsx", "jsonl", "raw")


class Command(BaseCommand):
    help = "Submit a job and follow it from the shell."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

        check = actions.add_parser("check", help="say how a file is read, and what is wrong in it")
        check.add_argument("file", type=Path, metavar="FILE", help="CSV, Excel, JSONL, ...")
        add_choices(check)
        check.add_argument("--json", action="store_true", help="for programs")

        submit = actions.add_parser("submit", help="make a job of a file and submit it")
        add_recipe(submit)
        submit.add_argument("--yes", action="store_true", help="do not ask about the price")

        try_ = actions.add_parser("try", help="have a few rows answered at once; submit nothing")
        add_recipe(try_)
        try_.add_argument(
            "--rows", type=rows_to_test, default=3, metavar="N", help=f"1 to {MOST_ROWS} (3)"
        )
        try_.add_argument("--random", action="store_true", help="any rows, not the first ones")
        try_.add_argument("--json", action="store_true", help="for programs")

        estimate = actions.add_parser("estimate", help="say what a job would cost; submit nothing")
        add_recipe(estimate)
        estimate.add_argument("--json", action="store_true", help="for programs")

        adopt = actions.add_parser("adopt", help="bring in a batch that was made elsewhere")
        adopt.add_argument("batch", metavar="BATCH_ID", help="as the provider calls it")
        adopt.add_argument("--file", type=Path, metavar="FILE", help="that it was made from")
        adopt.add_argument(
            "--id-column", default="", metavar="NAME", help="of a table: the custom_ids"
        )
        add_choices(adopt)
        adopt.add_argument("--name", default="", help="name of the job (the file's)")
        adopt.add_argument("--owner", metavar="USER", help="whose job it is (the administrator's)")

        verify = actions.add_parser("verify", help="compare the files of jobs with their hashes")
        verify.add_argument("id", type=int, nargs="?", metavar="ID", help="of one job (all)")
        verify.add_argument("--json", action="store_true", help="for programs")

        receipt = actions.add_parser("receipt", help="say what a job was charged")
        receipt.add_argument("id", type=int, metavar="ID")
        receipt.add_argument("--json", action="store_true", help="for programs")

        prices = actions.add_parser("prices", help="list the prices of all models")
        prices.add_argument("--json", action="store_true", help="for programs")

        models = actions.add_parser("models", help="list the models that can be chosen")
        models.add_argument("--json", action="store_true", help="for programs")

        status = actions.add_parser("status", help="say how a job is doing")
        status.add_argument("id", type=int, metavar="ID")
        status.add_argument("--json", action="store_true", help="for programs")

        wait = actions.add_parser("wait", help="wait until a job has finished")
        wait.add_argument("id", type=int, metavar="ID")
        wait.add_argument("--timeout", type=seconds, metavar="S", help="give up after S seconds")

        export = actions.add_parser("export", help="write a job's results to a file")
        export.add_argument("id", type=int, metavar="ID")
        what = export.add_mutually_exclusive_group()
        what.add_argument("--format", choices=FORMATS, default="csv")
        what.add_argument(
            "--problem-file", action="store_true", help="the rows left out, with what is wrong"
        )
        export.add_argument(
            "--only",
            choices=table.ROW_FILTERS,
            default="all",
            help="which rows; not with raw (all)",
        )
        export.add_argument(
            "--plain", action="store_true", help="CSV without a byte order mark, for programs"
        )
        export.add_argument("--output", required=True, metavar="PATH", help="- is stdout")

        attention = actions.add_parser(
            "attention", help="why rows are not good, and what can be done about them"
        )
        attention.add_argument("id", type=int, metavar="ID")
        attention.add_argument("--json", action="store_true", help="as JSON, on stdout")

        retry = actions.add_parser(
            "retry", help="send rows again: those that got no answer for a reason that passes"
        )
        retry.add_argument("id", type=int, metavar="ID")
        retry.add_argument("--group", metavar="CAUSE", help="those that `job attention` names so")
        retry.add_argument(
            "--max-tokens", type=int, metavar="N", help="allow answers of so many tokens"
        )
        add_prompt(retry)
        retry.add_argument("--model", metavar="ID", help="which model answers this time")
        retry.add_argument("--yes", action="store_true", help="do not ask about the price")

        resend = actions.add_parser(
            "resend", help="send the rows again that were changed in a corrected problem file"
        )
        resend.add_argument("id", type=int, metavar="ID")
        resend.add_argument("file", type=Path, metavar="CORRECTED_FILE")
        resend.add_argument("--yes", action="store_true", help="do not ask about the price")

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
        self.stdout, self.stderr = plain(self.stdout), plain(self.stderr)
        if action != "check":  # which needs no database
            price_overrides.load_prices()
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
        order = ReaderInput(str(path.resolve()), choices_from(options), reading_limits())
        found = UploadSummary("", "table")
        readable = False
        try:
            with path.open("rb"):
                pass
            for answer in read_apart(order):
                if isinstance(answer, FileRead):
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

    def say_how_it_is_read(self, found: UploadSummary, readable: bool) -> None:
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
        job = self.make_draft(options)
        job = self.wait_for_worker(job, lambda job: estimates.current(job) is not None)
        estimate = estimates.current(job)
        assert estimate is not None  # noqa: S101 - waited for
        if estimate.trouble:
            raise CommandError(f"{estimate.trouble} The draft is kept as job {job.pk}.")
        self.show_price(estimate)
        if not options["yes"] and not self.agrees(estimate.rows, estimate.most):
            raise CommandError(f"Not submitted. The draft is kept as job {job.pk}.")
        if caps.needs_approval(job, estimate.most, SpendingCaps.get()):
            approvals.ask(job, job.plan_sha256, job.owner)
            raise CommandError(
                f"Not submitted: a second person has to approve job {job.pk}. An administrator "
                "other than its owner finds it in the list of jobs. Then its owner submits it on "
                f"its page. {caps.why_nobody_can_approve(job)}".strip()
            )
        try:
            confirmed = actions.confirm(job, job.plan_sha256, job.owner)
        except caps.NotAllowed as why:
            raise CommandError(f"Not submitted. {why} The draft is kept as job {job.pk}.") from why
        if not confirmed:
            raise CommandError(
                f"Not submitted: job {job.pk} was changed or submitted by someone else just now."
            )
        self.say("Submitted.")
        self.stdout.write(str(job.pk))

    def make_draft(self, options: dict[str, Any]) -> Job:
        """A draft of the file with the recipe that was given; none is left behind when the two do
        not go together. Raises CommandError."""
        owner, choices = owner_of(options["owner"]), choices_from(options)
        start = start_from(options, owner)
        recipe = checked_recipe(options, start.recipe if start else EMPTY)
        if start:
            start = replace(start, recipe=recipe)
        job = make_job(options["file"], owner, options["name"], choices, start)
        self.say(f"Job {job.pk} “{job.name}”: reading the file.")
        job = self.wait_for_worker(job, lambda job: job.state != Job.State.READING)
        self.show_problems(job)
        if job.state != Job.State.DRAFT:
            actions.delete(job, job.owner)
            raise CommandError("The file could not be read.")
        self.say(f"{job.row_count:,} rows, {job.skipped_count:,} of them left out.")
        if start:
            recipe = recipe_of(job)  # with the columns as the file writes them
        if problems := plan_problems(job, recipe, recipe_was_given(options)):
            actions.delete(job, job.owner)
            raise CommandError("\n".join(problems), returncode=WRONG_USE)
        if job.kind == Job.Kind.TABLE:
            actions.save_recipe(job, recipe, job.owner)
            job.refresh_from_db()
            for remark in checks.remarks(job):
                self.say(remark)
        return job

    def wait_for_worker(self, job: Job, done: Callable[[Job], bool]) -> Job:
        """The job as it is once the worker has got it so far. Raises CommandError when there is
        no worker."""
        began = time.monotonic()
        while not done(job):
            if is_late(began) and not Heartbeat.get().worker_is_alive:
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
        self.say(f"Cost in US dollars: {price_in_words(estimate)}{half(estimate)}.")
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

    # --- adopt ------------------------------------------------------------------------------------

    def do_adopt(self, options: dict[str, Any]) -> None:
        owner, choices, path = owner_of(options["owner"]), choices_from(options), options["file"]
        if not PROVIDER_ID.fullmatch(options["batch"]):
            raise CommandError(f"{options['batch']} is no id of a batch.", returncode=WRONG_USE)
        if options["id_column"] and path is None:
            raise CommandError("--id-column needs --file.", returncode=WRONG_USE)
        facts = options["name"], choices, options["id_column"]
        try:
            with opened(path) if path else nullcontext() as file:
                job = actions.bring_in(owner, options["batch"], file, *facts)
        except external.NotPossible as why:
            raise CommandError(f"Not brought in. {why}") from why
        self.say(f"Brought in as job {job.pk} “{job.name}”. `job wait {job.pk}` waits for its end.")
        self.stdout.write(str(job.pk))

    # --- money ------------------------------------------------------------------------------------

    def do_estimate(self, options: dict[str, Any]) -> None:
        job = self.make_draft(options)
        job = self.wait_for_worker(job, lambda job: estimates.current(job) is not None)
        estimate = estimates.current(job)
        assert estimate is not None  # noqa: S101 - waited for
        found = estimate_in_full(job, estimate)
        actions.delete(job, job.owner)
        if options["json"]:
            self.stdout.write(json.dumps(found, indent=1, ensure_ascii=False))
        elif not estimate.trouble:
            self.stdout.write(f"{wording.rows(estimate.rows)}, {found['model']}")
            self.stdout.write(f"In US dollars: {price_in_words(estimate)}{half(estimate)}")
            self.stdout.write(f"The length of the answers is from: {found['basis']['output']}")
        if estimate.trouble:
            raise CommandError(estimate.trouble)

    def do_receipt(self, options: dict[str, Any]) -> None:
        job = find_job(options["id"])
        if not job.was_sent:
            raise CommandError(f"Job {job.pk} has no receipt: {job.get_state_display()}.")
        receipt = receipts.receipt_of(job)
        if options["json"]:
            found = facts_of_receipt(receipt)
            self.stdout.write(json.dumps(found, indent=1, ensure_ascii=False))
            return
        would = "would have been charged: practice mode" if job.practice else "charged"
        self.stdout.write(f"{format_dollars(receipt.charged)} (US dollars) {would}")
        for line in receipt.lines:
            self.stdout.write(
                f"  {line.what}, {line.model}: {wording.rows(line.rows)}, "
                f"{line.input_tokens + line.cache_write_tokens + line.cache_read_tokens:,} tokens "
                f"read, {line.output_tokens:,} written: {format_dollars(line.cost)}"
            )
        if receipt.may_be_charged:
            more = format_dollars(receipt.may_be_charged)
            self.stdout.write(f"  Up to {more} more may have been charged: an answer was lost.")
        for why, count in receipt.not_charged.items():
            self.stdout.write(f"  Not charged: {wording.rows(count)}: {why}")
        if receipt.estimate:
            self.stdout.write(f"Estimated: {price_in_words(receipt.estimate)}")

    def do_prices(self, options: dict[str, Any]) -> None:
        found = [facts_of_prices(model) for model in pricing.priced_models()]
        if options["json"]:
            self.stdout.write(json.dumps(found, indent=1))
            return
        self.stdout.write("US dollars for a million tokens in a batch")
        by_source: dict[str, list[dict[str, Any]]] = {}
        for model in found:
            age = f" ({model['age']})" if model["age"] else ""
            by_source.setdefault(f"From {model['source']}{age}", []).append(model)
        for source, those in by_source.items():
            self.stdout.write(source)
            for model in those:
                batch = model["batch"]
                self.stdout.write(
                    f"  {model['model']:<20} in {batch['input']:>8}  out {batch['output']:>8}  "
                    f"write for an hour {batch['cache_write_1h']:>8}  "
                    f"read {batch['cache_read']:>8}"
                )

    # --- try --------------------------------------------------------------------------------------

    def do_try(self, options: dict[str, Any]) -> None:
        job = self.make_draft(options)
        rows = choose_rows(job, options["rows"], at_random=options["random"])
        try:
            asked = job.kind == Job.Kind.TABLE and actions.start_trials(job, rows, job.owner)
        except caps.NotAllowed as why:
            actions.delete(job, job.owner)
            raise CommandError(str(why)) from why
        if not asked:
            actions.delete(job, job.owner)
            raise CommandError(
                "Ready-made requests cannot be tried."
                if job.kind != Job.Kind.TABLE
                else "None of these rows can be sent: their prompt is empty."
            )
        job = self.wait_for_worker(
            job,
            lambda job: not job.trials.pending().exists() and estimates.current(job) is not None,
        )
        trials = list(job.trials.all())
        if options["json"]:
            found = facts_of_trials(job, trials)
            self.stdout.write(json.dumps(found, indent=1, ensure_ascii=False))
        else:
            self.show_trials(trials)
        estimate = estimates.current(job)
        if estimate and not estimate.trouble:
            self.say(f"The whole job: {price_in_words(estimate)}.")
        self.say(f"The draft is kept as job {job.pk}; nothing else was sent.")
        if any(one.outcome != Outcome.GOOD for one in trials):
            sys.exit(ATTENTION)

    def show_trials(self, trials: list[Trial]) -> None:
        for one in trials:
            self.stdout.write(f"Row {one.number}")
            for name, cell in one.cells:
                self.stdout.write(f"  {name}: {shorten(cell)}")
            if problem := describe_problem(one.cause, one.message):
                self.stdout.write(f"  {problem}")
            if one.answer:
                self.stdout.write(f"  -> {one.answer}")
        cost = sum((one.cost for one in trials), Decimal(0))
        tokens = (
            sum(one.all_input_tokens for one in trials),
            sum(one.output_tokens for one in trials),
        )
        would = "would have been charged: practice mode" if settings.PRACTICE else "charged"
        self.stdout.write(
            f"{format_dollars(cost)} (US dollars, normal price) {would}; {tokens[0]:,} tokens "
            f"read, {tokens[1]:,} written"
        )

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
            self.stdout.write(f"Cost so far: {format_dollars(job.cost)} (US dollars)")
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
            if why := job.held or (SiteState().why_not_sending if job.sends else ""):
                raise CommandError(f"Job {job.pk} is held: {why}", returncode=HELD)
            timeout = options["timeout"]
            if timeout is not None and time.monotonic() - began >= timeout:
                raise CommandError(
                    f"Job {job.pk} has not finished after {timeout:g} seconds; it goes on.",
                    returncode=TIMED_OUT,
                )
            if not warned and is_late(began) and not Heartbeat.get().worker_is_alive:
                warned = True
                self.say("The worker is not running, so nothing happens. Start it: make run")
            time.sleep(LOOK_SECONDS)
        on_purpose = job.ignored_count
        if without := job.row_count - job.good_count - on_purpose:
            raise CommandError(
                f"Job {job.pk} has finished; {without:,} of {job.row_count:,} rows have no good "
                "answer.",
                returncode=ATTENTION,
            )
        if job.stray_count:
            raise CommandError(
                f"Job {job.pk} has finished; results of the batch that belong to no row of the "
                f"file: {job.stray_count:,}.",
                returncode=ATTENTION,
            )
        left_out = f"; left out on purpose: {on_purpose:,}" if on_purpose else ""
        self.say(
            f"Job {job.pk} has finished; all {job.good_count:,} rows have a good answer{left_out}."
        )

    def do_export(self, options: dict[str, Any]) -> None:
        job = find_job(options["id"])
        if not job.was_sent and not (options["problem_file"] and job.state != Job.State.READING):
            raise CommandError(f"Job {job.pk} has no results: {job.get_state_display()}.")
        if options["output"] == "-":
            self.write_to_stdout(job, options)
            return
        output = Path(options["output"])
        part = output.with_name(f"{output.name}.part")
        try:
            write_export(job, options, part)
            part.replace(output)
        except DamagedResults as damaged:
            raise refused_because_damaged(damaged) from damaged
        except OSError as error:
            raise CommandError(f"{output} cannot be written: {error.strerror}.") from error
        finally:
            part.unlink(missing_ok=True)
        self.say(f"Wrote {output}.")

    def write_to_stdout(self, job: Job, options: dict[str, Any]) -> None:
        try:
            if is_workbook(options):
                with tempfile.TemporaryDirectory() as folder:
                    path = Path(folder, "rows.xlsx")
                    write_export(job, options, path)
                    with path.open("rb") as file:
                        shutil.copyfileobj(file, sys.stdout.buffer)
            else:
                for chunk in chunks_of(job, options):
                    sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
        except DamagedResults as damaged:
            raise refused_because_damaged(damaged) from damaged
        except BrokenPipeError:
            # The reader has enough. Python would complain once more when it closes stdout.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def do_verify(self, options: dict[str, Any]) -> None:
        one = options["id"]
        jobs = [find_job(one)] if one else visible_jobs().order_by("pk").iterator()
        looked_at = list(look_for_damage(jobs))
        damaged = [found for found in looked_at if found]
        if options["json"]:
            found = [{"job": one.job, "damage": one.words} for one in damaged]
            self.stdout.write(json.dumps(found, indent=1, ensure_ascii=False))
        else:
            for one in damaged:
                self.stdout.write(f"Job {one.job}: {one.words}")
        if damaged:
            raise CommandError(f"{len(damaged):,} of {len(looked_at):,} files are damaged.")
        self.say(f"All {len(looked_at):,} files are whole.")

    def do_retry(self, options: dict[str, Any]) -> None:
        refuse_if_nobody_can_be_asked(options)
        job = find_job(options["id"])
        self.send_round(job, again_from(options), options)

    def send_round(self, job: Job, again: RetryChoice, options: dict[str, Any]) -> None:
        """Say what sending rows again costs, ask, and send them. Raises CommandError."""
        try:
            planned = rounds.make_plan(job, again)
        except measurements.CannotRetry as why:
            raise CommandError(str(why)) from why
        self.say(rounds.describe_retry(job, planned))
        self.say(f"Cost in US dollars: {price_in_words(planned.price)}.")
        if not options["yes"] and not self.agrees(planned.rows, planned.price.most):
            raise CommandError("Nothing was sent.")
        needed = caps.needs_approval(job, planned.price.most, SpendingCaps.get())
        if needed and not caps.is_approved(Job.objects.get(pk=job.pk), planned.key):
            approvals.ask(job, planned.key, job.owner, again)
            raise CommandError(
                f"Nothing was sent: a second person has to approve that rows of job {job.pk} are "
                "sent again. An administrator other than its owner finds it in the list of jobs. "
                f"Then its owner sends them. {caps.why_nobody_can_approve(job)}".strip()
            )
        try:
            sent = actions.send_round(job, again, planned.key, job.owner)
        except caps.NotAllowed as why:
            raise CommandError(f"Nothing was sent. {why}") from why
        if not sent:
            raise CommandError("Nothing was sent: the job was changed by someone else just now.")
        self.say(f"To be sent again: {wording.rows(planned.rows)}.")

    def do_resend(self, options: dict[str, Any]) -> None:
        refuse_if_nobody_can_be_asked(options)
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
            why = " ".join(
                [*corrected_files.describe_error(error), "Nothing of the file was used."]
            )
            raise CommandError(why, returncode=UNREADABLE) from error
        self.say(f"Rows: {found.in_short}.")
        for note in found.notes:
            self.say(note)
        if not changed:
            raise CommandError("Nothing was sent: no row is different in the file.")
        try:
            corrected_files.save_changes(job, changed)
        except corrected_files.NotFinished as error:
            raise CommandError(f"Nothing was sent: job {job.pk} was changed meanwhile.") from error
        job.refresh_from_db()
        measurements.measure_edits(job)
        if waited := selection.retry_rows(job, EDITED).count() - len(changed):
            self.say(f"Changed before, and sent with them: {wording.rows(waited)}.")
        self.send_round(job, RetryChoice(EDITED), options)

    def do_attention(self, options: dict[str, Any]) -> None:
        job = find_job(options["id"])
        found = problem_groups.find_groups(job)
        if options["json"]:
            groups = [facts_of_group(group) for group in found]
            self.stdout.write(json.dumps(groups, indent=1, ensure_ascii=False))
            return
        if not found:
            self.stdout.write("Nothing needs attention.")
        for group in found:
            self.stdout.write(
                f"{wording.rows(group.rows)}: {group.title} ({group.name}), "
                f"charged {pricing.format_dollars(group.charged)}. {group.cause.advice}"
            )
            for remedy in group.remedies:
                price = f": {price_in_words(remedy.plan.price)}" if remedy.plan else ""
                self.stdout.write(f"  {remedy.code}: {remedy.words}{price}")

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
        if not unknown_submissions.submissions_unknown():
            self.say("The database knows every submission in the journal; there is nothing to do.")
            return
        try:
            report = recovery.restore()
        except ProviderError as error:
            raise CommandError(f"The provider could not be asked: {error}") from error
        for line in report:
            self.stdout.write(line)
        if left := unknown_submissions.submissions_unknown():
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
                f"{format_dollars(job.cost):>14}  {job.owner.username}  {job.name}"
            )

    def do_models(self, options: dict[str, Any]) -> None:
        found = model_catalog.list_models()
        if options["json"]:
            self.stdout.write(json.dumps([facts_of_model(offer) for offer in found], indent=1))
            return
        for offer in found:
            notes = [f"reads {offer.context:,}", f"writes {offer.longest:,} tokens"]
            if offer.retires:
                until = "switched off on" if offer.deprecated else "in service until at least"
                notes.append(f"{until} {offer.retires}")
            self.stdout.write(f"{offer.id:<20} {model_price(offer):<34} {offer.words}")
            self.stdout.write(f"{'':<20} {', '.join(notes)}")

    def do_templates(self, options: dict[str, Any]) -> None:
        templates = Template.objects.select_related("owner").by_name()
        if options["json"]:
            found = [facts_of_template(template) for template in templates]
            self.stdout.write(json.dumps(found, indent=1))
            return
        for template in templates:
            recipe = template_recipe(template)
            shared = "shared" if template.shared else "not shared"
            self.stdout.write(
                f"{template.name}  ({template.owner.username}, {shared})  {recipe.model}  "
                f"needs: {', '.join(needed_columns(recipe)) or 'no column'}"
            )


def plain(output: OutputWrapper) -> OutputWrapper:
    """The same output, which no control characters of cells, answers or messages reach."""
    return OutputWrapper(cast("Any", PlainStream(cast("Any", output)._out)), output.ending)


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


def refused_because_damaged(damaged: DamagedResults) -> CommandError:
    """What was written so far must not be taken for the file."""
    stored_results.note_damage(damaged)
    return CommandError(f"Nothing whole was written. {damaged}")


def is_workbook(options: dict[str, Any]) -> bool:
    return options["format"] == "xlsx" and not options["problem_file"]


def write_export(job: Job, options: dict[str, Any], path: Path) -> None:
    """Write what `export` is to give. Raises OSError and CommandError."""
    if not is_workbook(options):
        with path.open("wb") as file:
            file.writelines(chunks_of(job, options))
        return
    try:
        workbook.write_workbook(job, path, options["only"])
    except workbook.TooWide as error:
        raise CommandError(str(error)) from error


def chunks_of(job: Job, options: dict[str, Any]) -> Iterator[bytes]:
    """The bytes of a file that is no workbook."""
    if options["problem_file"]:
        return chain(table.problem_chunks(job), unmatched.unmatched_chunks(job))
    if options["format"] == "raw":
        return table.raw_chunks(job)
    if options["format"] == "jsonl":
        return table.jsonl_chunks(job, options["only"])
    return table.csv_chunks(job, options["only"], plain=options["plain"])


def plan_problems(job: Job, recipe: Recipe, was_given: bool) -> list[str]:
    """Why the recipe does not go with the file, each as a sentence."""
    if job.kind == Job.Kind.TABLE:
        return checks.recipe_problems(recipe, job.columns)
    if was_given:
        return [
            "The file holds ready-made requests, which are sent as they are: leave out --prompt "
            "and the other options that say what to do with a row."
        ]
    return []


def is_late(began: float) -> bool:
    return time.monotonic() - began > WORKER_SECONDS


def model_price(offer: OfferedModel) -> str:
    if not offer.has_price:
        return "no price known"
    prices = pricing.priced_model(offer.id).prices
    read, written = prices.input * pricing.BATCH, prices.output * pricing.BATCH
    return f"${read:,.3f} in, ${written:,.3f} out a million"


def shorten(text: str) -> str:
    """One line of a terminal."""
    return textwrap.shorten(text, 100, placeholder=" …")


def price_in_words(estimate: Estimate | PartEstimate) -> str:
    return f"usually {money_range(estimate.low, estimate.high)}, {at_most(estimate.most)}"


def half(estimate: Estimate) -> str:
    return " (half the normal price)" if estimate.is_half else ""


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value < float("inf"):
        raise ArgumentTypeError(f"{text} is not a number of seconds")
    return value


def rows_to_test(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MOST_ROWS):
        raise ArgumentTypeError(f"{text} is not a number from 1 to {MOST_ROWS}")
    return int(text)
