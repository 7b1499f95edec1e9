"""The recipe of each job, from the columns that it was stored in. In slices, each with its own
transaction; what an interrupted run has done is done once more."""

from __future__ import annotations

from typing import Any

from django.db import migrations, transaction

SLICE = 500  # jobs
PLAIN = (
    "prompt",
    "system",
    "model",
    "max_tokens",
    "effort",
    "cached",
    "skip_empty",
    "same_once",
    "only_new",
)


def fill(apps: Any, editor: Any) -> None:
    database = editor.connection.alias
    jobs = apps.get_model("jobs", "Job").objects.using(database)
    columns = jobs.order_by("pk").values_list("pk", "answer_kind", *PLAIN)
    after = 0
    while some := list(columns.filter(pk__gt=after)[:SLICE]):
        with transaction.atomic(using=database):
            for pk, answer, *values in some:
                # {} was a plain answer.
                recipe = {**dict(zip(PLAIN, values, strict=True)), "answer": answer or {}}
                jobs.filter(pk=pk).update(recipe=recipe)
        after = some[-1][0]


def empty(apps: Any, editor: Any) -> None:
    """Back to the columns."""
    database = editor.connection.alias
    jobs = apps.get_model("jobs", "Job").objects.using(database)
    after = 0
    while some := list(
        jobs.order_by("pk").values_list("pk", "recipe").filter(pk__gt=after)[:SLICE]
    ):
        with transaction.atomic(using=database):
            for pk, recipe in some:
                if "skip_duplicates" in recipe:  # as it is called now
                    recipe["same_once"] = recipe.pop("skip_duplicates")
                values = {name: recipe[name] for name in PLAIN if name in recipe}
                jobs.filter(pk=pk).update(answer_kind=recipe.get("answer", {}), **values)
        after = some[-1][0]


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("jobs", "0038_job_recipe")]

    operations = [migrations.RunPython(fill, empty)]
