"""What is wrong in a file, in words for people."""

from __future__ import annotations

from ..ingest.protocol import FindingGroup
from ..models import FileProblem, Job
from .console import Console
from .reading_options import flags_of

PROBLEMS_SHOWN = 20


def show_problems(console: Console, job: Job) -> None:
    for problem in job.problems.all():
        show_group(console, problem)


def show_group(console: Console, group: FindingGroup | FileProblem) -> None:
    """Write one kind of problem: its first places, and other ways to read the file."""
    if group.count > 1:
        console.say(f"{group.count:,}: {group.title} {group.remedy}".strip())
    options = group.options or [[] for _text in group.texts]
    for (line, text), offered in list(zip(group.places, options, strict=True))[:PROBLEMS_SHOWN]:
        console.say(f"Line {line}: {text}" if line and group.leaves_out else text)
        for option in offered:
            console.say(f"  {option.label}: {flags_of(option)}")
            for read in option.sample:
                console.say(f"    {read}")
    if group.count > len(group.places):
        console.say(f"... and {group.count - len(group.places):,} more like these.")
    if group.count == 1 and group.remedy:
        console.say(group.remedy)
