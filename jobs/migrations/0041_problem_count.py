"""How many problems a file has is the sum of what is stored of each kind."""

from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("jobs", "0040_job_recipe_only")]

    operations = [migrations.RemoveField("job", "problem_count")]
