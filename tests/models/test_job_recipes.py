"""The recipe of a job moves from ten columns into one, and back."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import msgspec
import pytest
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState
from pytest_django import DjangoDbBlocker

from jobs.rules.answer_formats import AnswerColumn, AnswerKind
from jobs.rules.recipes import Recipe, read_recipe

pytestmark = pytest.mark.no_database  # on one of SQLite in memory

ALIAS = "old"
COLUMNS = AnswerKind("columns", (), (AnswerColumn("mood", "choice", ("good", "bad")),))
RECIPES = [
    Recipe(),
    Recipe("Say {{text}}", "Be brief.", "claude-haiku-5-5", 300, effort="low", cached=True),
    Recipe("“ü”\n{{text}}", answer=COLUMNS, skip_empty=True, skip_duplicates=True, only_new=True),
    Recipe("a", answer=AnswerKind("labels", ("x", "y"))),
    Recipe("b", model="m"),
]


WITH_BOTH, FILLED_BY, WITH_RECIPE = (
    "0038_job_recipe",
    "0039_job_recipe_values",
    "0040_job_recipe_only",
)


class OldDatabase:
    """One in memory, as it was after a migration. It begins with the recipe in one column."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._executor = MigrationExecutor(connection)
        # Those that a new database takes at once, one by one.
        self._loader = MigrationLoader(connection, replace_migrations=False)
        self._executor.loader = self._loader
        with connection.schema_editor() as editor:
            for model in self._state(WITH_RECIPE).apps.get_models():
                editor.create_model(model)

    def jobs(self, name: str) -> Any:
        """Jobs as they are after this migration."""
        return self._state(name).apps.get_model("jobs", "Job").objects.using(ALIAS).order_by("pk")

    def go_back(self) -> None:
        for name in (WITH_RECIPE, FILLED_BY):
            self._executor.unapply_migration(*self._step(name))

    def go_on(self) -> None:
        for name in (FILLED_BY, WITH_RECIPE):
            self._executor.apply_migration(*self._step(name))

    def _state(self, name: str, at_end: bool = True) -> ProjectState:
        return self._loader.project_state([("jobs", name)], at_end=at_end)

    def _step(self, name: str) -> tuple[ProjectState, Migration]:
        return self._state(name, at_end=False), self._loader.get_migration("jobs", name)


@pytest.fixture
def old(django_db_blocker: DjangoDbBlocker) -> Iterator[OldDatabase]:
    connections.settings[ALIAS] = {**connections.settings["default"], "NAME": ":memory:"}
    with django_db_blocker.unblock():
        try:
            yield OldDatabase(connections[ALIAS])
        finally:
            connections[ALIAS].close()
            del connections[ALIAS], connections.settings[ALIAS]


def test_recipes_of_jobs_survive_the_migration_both_ways(
    old: OldDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = old.jobs(WITH_RECIPE)
    owner = jobs.model._meta.get_field("owner").related_model.objects.using(ALIAS).create()
    for recipe in RECIPES:
        jobs.create(owner=owner, upload_bytes=0, recipe=msgspec.to_builtins(recipe))
    monkeypatch.setattr(import_module(f"jobs.migrations.{FILLED_BY}"), "SLICE", 2)
    old.go_back()
    before = old.jobs(WITH_BOTH)
    assert [one.prompt for one in before] == [one.prompt for one in RECIPES]
    assert before[2].same_once and before[2].answer_kind["columns"][0]["name"] == "mood"
    before.update(recipe={})
    # Stored by older versions: a plain answer was {}.
    before.filter(pk=before[0].pk).update(answer_kind={})
    old.go_on()
    stored = old.jobs(WITH_RECIPE).values_list("recipe", flat=True)
    assert [read_recipe(one) for one in stored] == RECIPES
