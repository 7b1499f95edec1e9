"""Whether the duplicates of a job are marked is called what the page calls it."""

from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("jobs", "0035_one_row_models")]

    operations = [
        migrations.RenameField(model_name="job", old_name="spared", new_name="deduplicated")
    ]
