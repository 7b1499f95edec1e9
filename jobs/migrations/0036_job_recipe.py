"""The recipe of a job is one struct, as in templates, rounds and trials: first an empty one."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("jobs", "0035_one_row_models")]

    operations = [migrations.AddField("job", "recipe", models.JSONField(default=dict))]
