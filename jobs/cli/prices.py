"""`manage.py job prices`: list the prices of all models."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandParser

from ..rules import pricing
from .console import Console
from .facts import facts_of_prices


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")


def run(console: Console, options: dict[str, Any]) -> None:
    found = [facts_of_prices(model) for model in pricing.priced_models()]
    if options["json"]:
        console.write(json.dumps(found, indent=1))
        return
    console.write("US dollars for a million tokens in a batch")
    by_source: dict[str, list[dict[str, Any]]] = {}
    for model in found:
        age = f" ({model['age']})" if model["age"] else ""
        by_source.setdefault(f"From {model['source']}{age}", []).append(model)
    for source, those in by_source.items():
        console.write(source)
        for model in those:
            batch = model["batch"]
            console.write(
                f"  {model['model']:<20} in {batch['input']:>8}  out {batch['output']:>8}  "
                f"write for an hour {batch['cache_write_1h']:>8}  "
                f"read {batch['cache_read']:>8}"
            )
