"""The recipe of a job moves from ten columns into one, and back."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader

from jobs.models import Job
from jobs.rules.answer_formats import AnswerColumn, AnswerKind
from jobs.rules.recipes import Recipe

from ..conftest import store_job

COLUMNS = AnswerKind("columns", (), (AnswerColumn("mood", "choice", ("good", "bad")),))
RECIPES = [
    Recipe(),
    Recipe("Say {{text}}", "Be brief.", "claude-haiku-5-5", 300, effort="low", cached=True),
    Recipe("“ü”\n{{text}}", answer=COLUMNS, skip_empty=True, skip_duplicates=True, only_new=True),
    Recipe("a", answer=AnswerKind("labels", ("x", "y"))),
    Recipe("b", model="m"),
]


LAST, FILLED_BY = "0038_job_recipe", "0039_job_recipe_values"  # with the columns; filled by


def migrate(name: str) -> Any:
    """Jobs as they are after this migration, one of those that a new database takes at once."""
    executor = MigrationExecutor(connection)
    executor.loader = MigrationLoader(connection, replace_migrations=False)
    executor.migrate([("jobs", name)])
    return executor.loader.project_state([("jobs", name)]).apps.get_model("jobs", "Job")


@pytest.mark.django_db(transaction=True)
def test_recipes_of_jobs_survive_the_migration_both_ways(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    owner = User.objects.create_user("ann")
    for recipe in RECIPES:
        store_job(owner, Job.State.DRAFT, recipe=recipe)
    values = import_module(f"jobs.migrations.{FILLED_BY}")
    monkeypatch.setattr(values, "SLICE", 2)
    whole = MigrationLoader(connection, replace_migrations=False)
    newest = max(name for app, name in whole.graph.nodes if app == "jobs")
    try:
        before = migrate(LAST).objects.order_by("pk")
        assert [one.prompt for one in before] == [one.prompt for one in RECIPES]
        assert before[2].same_once and before[2].answer_kind["columns"][0]["name"] == "mood"
        before.update(recipe={})
        # Stored by older versions: a plain answer was {}.
        before.filter(pk=before[0].pk).update(answer_kind={})
    finally:
        migrate(newest)

    assert [one.recipe for one in Job.objects.order_by("pk")] == RECIPES
