"""Columns with a type, and statements that are put together from what the models declare."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connection, models
from django.test import Client
from django.utils import timezone

from jobs.ingest.protocol import FileFacts
from jobs.ingest.shapes import Choices
from jobs.models import Attempt, Job, ModelCatalog, Round, Row, Template, Trial, results
from jobs.models.fields import StructField, to_json
from jobs.models.statements import column_list, insert_statement, update_statement
from jobs.rules.recipes import Recipe
from jobs.rules.retry_choices import MeasuredEdits, RoundEstimate
from jobs.rules.tallies import Tally

MakeJob = Callable[..., Job]
RECIPE = Recipe("Say {{a}}", "", "claude-haiku-5-5", 5)


def test_a_recipe_comes_back_as_one(alice: User, make_job: MakeJob) -> None:
    template = Template.objects.create(owner=alice, name="t", recipe=RECIPE)
    assert Template.objects.get().recipe == RECIPE
    assert list(Template.objects.values_list("recipe", flat=True)) == [RECIPE]
    with_one, without = make_job(alice, template=template), make_job(alice)
    found = {job.pk: job.template for job in Job.objects.select_related("template")}
    assert found == {with_one.pk: template, without.pk: None}


@pytest.mark.parametrize("recipe", [RECIPE, None])
def test_a_round_may_have_none(alice: User, make_job: MakeJob, recipe: Recipe | None) -> None:
    Round.objects.create(
        job=make_job(alice),
        number=2,
        recipe=recipe,
        what="",
        rows=1,
        bytes=1,
        estimate=RoundEstimate(Decimal(1), Decimal(2), Decimal("3.50")),
        asked_at=timezone.now(),
    )
    assert Round.objects.get().recipe == recipe
    with connection.cursor() as cursor:
        cursor.execute("SELECT recipe FROM jobs_round")
        (stored,) = cursor.fetchone()
    assert (stored == "{}") is (recipe is None), "the column is never null"
    Round.objects.update(recipe=None)
    assert Round.objects.get().recipe is None


def test_rows_attempts_and_trials_have_the_columns_of_a_result() -> None:
    for model in (Row, Attempt, Trial):
        assert column_list(model, results.NO_RESULT) == ", ".join(results.NO_RESULT)


def test_a_statement_names_only_columns_that_are_there() -> None:
    assert insert_statement(Row, ["job_id", "number"]) == (
        "INSERT INTO jobs_row (job_id, number) VALUES (%s, %s)"
    )
    assert insert_statement(Row, ["number"], {"cause": "", "size": 0}) == (
        "INSERT INTO jobs_row (number, cause, size) VALUES (%s, '', 0)"
    )
    assert update_statement(Row, ["source"], ["job_id", "number"]) == (
        "UPDATE jobs_row SET source = %s WHERE job_id = %s AND number = %s"
    )
    with pytest.raises(ValueError, match="Row has no columns gone"):
        insert_statement(Row, ["job_id", "gone"])
    with pytest.raises(ValueError, match="Row has no columns job"):
        update_statement(Row, ["source"], ["job"])


def json_columns() -> list[models.Field[Any, Any]]:
    found = [
        field
        for model in apps.get_app_config("jobs").get_models()
        for field in model._meta.concrete_fields
    ]
    return [field for field in found if isinstance(field, models.JSONField)]


@pytest.mark.parametrize("column", json_columns(), ids=str)
def test_every_column_of_json_has_one_reader_that_is_made_at_import(
    column: models.Field[Any, Any],
) -> None:
    assert isinstance(column, StructField)
    usual = column.get_default()
    if usual is not None:
        assert column.read(to_json(usual)) == usual


def test_what_older_and_newer_versions_stored_can_be_read(alice: User, make_job: MakeJob) -> None:
    job = make_job(alice)
    stored = Job.objects.filter(pk=job.pk)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE jobs_job SET tally = %s, reading = %s, choices = %s, recipe = %s",
            [
                '{"causes": [["good", "", 2]], "of_tomorrow": 1}',
                '{"format": "CSV"}',
                "{}",
                '{"prompt": "Say", "of_tomorrow": {"a": 1}}',
            ],
        )
    job = stored.get()
    assert job.tally == Tally(causes=[("good", "", 2)])
    assert job.reading == FileFacts("CSV") and job.choices == Choices()
    assert job.recipe == Recipe("Say")


def test_what_can_be_worked_out_again_counts_as_missing_when_it_does_not_fit(
    client_alice: Client, alice: User, make_job: MakeJob
) -> None:
    """An older version stored it otherwise: the pages that list the job come up all the same."""
    job = make_job(alice, Job.State.DRAFT)
    stored = ('{"most": "1", "of_yesterday": true}', "[1]", '{"most": {}}')
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE jobs_job SET estimate = %s, answers = %s, edits_measured = %s", stored
        )
        cursor.execute("UPDATE jobs_modelcatalog SET entries = %s", ['[{"id": 1}]'])
    job = Job.objects.get(pk=job.pk)
    assert (job.estimate, job.answers, job.edits_measured) == (None, None, MeasuredEdits())
    assert ModelCatalog.get().entries == []
    for page in ("/", f"/jobs/{job.pk}/"):
        assert client_alice.get(page).status_code == 200


def test_parts_of_a_struct_can_be_looked_for(alice: User, make_job: MakeJob) -> None:
    cached, plain = make_job(alice, cached=True), make_job(alice, prompt="")
    assert list(Job.objects.filter(recipe__cached=True)) == [cached]
    assert list(Job.objects.exclude(recipe__prompt="")) == [cached]
    assert list(Job.objects.filter(tally__outcomes__good__gt=1).order_by("pk")) == [cached, plain]
    models_asked = Job.objects.values_list("recipe__model", flat=True)
    assert set(models_asked) == {"claude-haiku-5-5"}
