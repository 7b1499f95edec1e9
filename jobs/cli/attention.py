"""`manage.py job attention`: why rows are not good, and what can be done about them."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandParser

from ..retries import problem_groups
from ..rules import pricing, wording
from .access import find_job
from .console import Console
from .facts import facts_of_group
from .price_words import price_in_words


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("id", type=int, metavar="ID")
    parser.add_argument("--json", action="store_true", help="as JSON, on stdout")


def run(console: Console, options: dict[str, Any]) -> None:
    job = find_job(options["id"])
    found = problem_groups.find_groups(job)
    if options["json"]:
        groups = [facts_of_group(group) for group in found]
        console.write(json.dumps(groups, indent=1, ensure_ascii=False))
        return
    if not found:
        console.write("Nothing needs attention.")
    for group in found:
        console.write(
            f"{wording.rows(group.rows)}: {group.title} ({group.name}), "
            f"charged {pricing.format_dollars(group.charged)}. {group.cause.advice}"
        )
        for remedy in group.remedies:
            price = f": {price_in_words(remedy.plan.price)}" if remedy.plan else ""
            console.write(f"  {remedy.code}: {remedy.words}{price}")
