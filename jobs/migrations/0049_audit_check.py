from typing import Any

import django.utils.timezone
from django.db import migrations, models


def make_row(apps: Any, schema_editor: Any) -> None:
    apps.get_model("jobs", "AuditCheck").objects.create(pk=1)


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0048_open_pages"),
    ]

    operations = [
        migrations.CreateModel(
            name="AuditCheck",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.BigIntegerField(default=0)),
                ("entry_hash", models.CharField(default="", max_length=64)),
                ("due_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("checked_at", models.DateTimeField(null=True)),
                ("checked", models.BigIntegerField(default=0)),
                ("fault", models.CharField(default="", max_length=200)),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.RunPython(make_row, migrations.RunPython.noop),
    ]
