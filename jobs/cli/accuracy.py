"""`manage.py job accuracy`: the answers of a job beside a column with the right ones."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandError, CommandParser

from ..models import Job, answer_shape_of
from ..results import accuracy as comparing
from ..results.review_sample import format_percent
from ..rules.accuracy import Accuracy, ColumnAccuracy
from ..rules.right_answers import PLAIN, GoldChoice, answer_columns, read_tolerance
from .access import find_job
from .console import Console
from .exit_codes import WRONG_USE


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("id", type=int, metavar="ID")
    parser.add_argument(
        "--gold",
        action="append",
        default=[],
        metavar="COLUMN",
        help="the column of the file with the right answers; of answers in several columns "
        "ANSWER=COLUMN, once for each; without it, what was chosen on the page",
    )
    parser.add_argument("--ignore-accents", action="store_true", help="é is e")
    parser.add_argument("--tolerance", default="0", metavar="N", help="a number may be off by N")
    parser.add_argument("--json", action="store_true", help="as JSON, on stdout")


def run(console: Console, options: dict[str, Any]) -> None:
    job = find_job(options["id"])
    if job.kind != Job.Kind.TABLE or not job.was_sent:
        words = "has no answers yet" if job.kind == Job.Kind.TABLE else "has no columns to compare"
        raise CommandError(f"Job {job.pk} {words}.", returncode=WRONG_USE)
    choice = _choice_of(job, options)
    found = comparing.compare_job(job, choice)
    if seen := comparing.columns_that_claude_sees(job, choice):
        console.say(f"Claude saw the right answers: the prompt uses “{seen[0]}”.")
    if options["json"]:
        console.write(json.dumps(facts_of_accuracy(found), indent=1, ensure_ascii=False))
        return
    for one in found.columns:
        for line in column_in_words(one):
            console.write(line)
    if found.unanswered:
        console.write(f"Not counted: {found.unanswered:,} rows without a good answer.")


def _choice_of(job: Job, options: dict[str, Any]) -> GoldChoice:
    if not options["gold"]:
        gold = comparing.find_gold(job)
        if gold is None:
            raise CommandError("Name a column: --gold COLUMN.", returncode=WRONG_USE)
        return gold.choice
    if read_tolerance(options["tolerance"]) is None:
        words = f"--tolerance: “{options['tolerance']}” is no number that a value can be off by."
        raise CommandError(words, returncode=WRONG_USE)
    pairs = tuple(_pair(job, text) for text in options["gold"])
    return GoldChoice(pairs, False, options["ignore_accents"], options["tolerance"])


def _pair(job: Job, text: str) -> tuple[str, str]:
    """A column of the answer, and the one of the file with the right answers."""
    asked = [column.name for column in answer_columns(answer_shape_of(job))]
    answer, is_pair, column = text.partition("=")
    if text in job.columns or not is_pair:
        column = text
        named = next((name for name in asked if name.casefold() == text.casefold()), None)
        answer = asked[0] if len(asked) == 1 else named or ""
        if answer not in asked:
            names = ", ".join(asked)
            words = f"Say which answers “{text}” is for: --gold ANSWER={text}. Answers: {names}."
            raise CommandError(words, returncode=WRONG_USE)
    if answer not in asked:
        names = ", ".join(name for name in asked if name != PLAIN) or "one, without a name"
        words = f"The answers have no column “{answer}”. There are: {names}."
        raise CommandError(words, returncode=WRONG_USE)
    if column not in job.columns:
        words = f"The file has no column “{column}”. It has: {', '.join(job.columns)}."
        raise CommandError(words, returncode=WRONG_USE)
    return answer, column


def facts_of_accuracy(found: Accuracy) -> dict[str, Any]:
    """The first column, and the others by name where there are several."""
    first = found.columns[0] if found.columns else ColumnAccuracy(PLAIN, "", "text")
    facts = {**_facts_of_column(first), "unanswered": found.unanswered}
    if len(found.columns) > 1:
        facts["columns"] = {one.name: _facts_of_column(one) for one in found.columns}
    return facts


def _facts_of_column(one: ColumnAccuracy) -> dict[str, Any]:
    low, high = one.bounds
    return {
        "compared": one.compared,
        "correct": one.correct,
        "accuracy": one.accuracy,
        "low": low,
        "high": high,
        "kappa": one.kappa,
        "labels": {
            label.label: {
                "precision": label.precision,
                "recall": label.recall,
                "rows": label.rows,
            }
            for label in one.labels
        },
        # A line for each right answer, a place for each answer: both in this order.
        "confusion": [list(line) for line in one.confusion],
        "order": [label.label for label in one.labels],
        "exact": one.exact,
        "mean_error": float(one.mean_error) if one.mean_error else None,
        "not_comparable": one.unreadable,
    }


def column_in_words(one: ColumnAccuracy) -> list[str]:
    name = comparing.name_of_column(one.name)
    if one.accuracy is None:
        return [f"{name}: no right answer to compare with."]
    low, high = (format_percent(share) for share in one.bounds)
    lines = [
        f"{name}: {one.correct:,} of {one.compared:,} are right ({format_percent(one.accuracy)}). "
        f"Likely {low} to {high} of all answers."
    ]
    if one.kappa is not None:
        lines.append(f"  Cohen’s kappa: {one.kappa:.2f}")
    if one.mean_error:
        lines.append(f"  Off by {float(one.mean_error):,.6g} on average")
    if one.kind == "text":
        lines.append(f"  Equal to the letter: {one.exact:,}")
    for label in one.labels:
        shares = [
            "–" if share is None else format_percent(share)
            for share in (label.precision, label.recall)
        ]
        lines.append(
            f"  {label.label}: {label.rows:,} rows, precision {shares[0]}, recall {shares[1]}"
        )
    if one.unreadable:
        lines.append(f"  Not compared: {one.unreadable:,} right answers are no clear number.")
    return lines
