"""What is wrong in a file, in words for people."""

from __future__ import annotations

from ..models import Job
from .console import Console

PROBLEMS_SHOWN = 20


def show_problems(console: Console, job: Job) -> None:
    for problem in job.problems.all():
        show_group(console, problem.title, problem.remedy, problem.places, problem.count)


def show_group(
    console: Console, title: str, remedy: str, places: list[tuple[int, str]], count: int
) -> None:
    """Write one kind of problem with its first places."""
    if count > 1:
        console.say(f"{count:,}: {title} {remedy}".strip())
    for line, text in places[:PROBLEMS_SHOWN]:
        console.say(f"Line {line}: {text}" if line else text)
    if count > len(places):
        console.say(f"... and {count - len(places):,} more like these.")
    if count == 1 and remedy:
        console.say(remedy)
