"""`manage.py job templates`: list what is kept for other jobs."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandParser

from ..drafts.templates import template_recipe
from ..models import Template
from ..rules.column_matching import needed_columns
from .console import Console
from .facts import facts_of_template


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")


def run(console: Console, options: dict[str, Any]) -> None:
    templates = Template.objects.select_related("owner").by_name()
    if options["json"]:
        found = [facts_of_template(template) for template in templates]
        console.write(json.dumps(found, indent=1))
        return
    for template in templates:
        recipe = template_recipe(template)
        shared = "shared" if template.shared else "not shared"
        console.write(
            f"{template.name}  ({template.owner.username}, {shared})  {recipe.model}  "
            f"needs: {', '.join(needed_columns(recipe)) or 'no column'}"
        )
