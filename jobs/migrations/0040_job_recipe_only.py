"""The columns that the recipe of a job was stored in are gone."""

from __future__ import annotations

from django.db import migrations

GONE = (
    "prompt",
    "system",
    "model",
    "max_tokens",
    "answer_kind",
    "effort",
    "cached",
    "skip_empty",
    "same_once",
    "only_new",
)


class Migration(migrations.Migration):
    dependencies = [("jobs", "0039_job_recipe_values")]

    operations = [migrations.RemoveField("job", name) for name in GONE]
