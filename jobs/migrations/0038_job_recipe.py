"""The recipe of a job is one struct, as in templates, rounds and trials: first an empty one."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("jobs", "0037_restoring_state")]

    operations = [migrations.AddField("job", "recipe", models.JSONField(default=dict))]
