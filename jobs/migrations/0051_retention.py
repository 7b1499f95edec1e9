from typing import Any

from django.db import migrations, models


def _id() -> tuple[str, Any]:
    field: Any = models.BigAutoField(
        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
    )
    return "id", field


def make_row(apps: Any, schema_editor: Any) -> None:
    apps.get_model("jobs", "Retention").objects.create(pk=1)


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0050_private_columns"),
    ]

    operations = [
        migrations.CreateModel(
            name="Retention",
            fields=[
                _id(),
                ("days", models.IntegerField(null=True)),
                ("deletes_batches", models.BooleanField(default=False)),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.AddField(
            model_name="batch",
            name="delete_after",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="batch",
            name="deleted_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="batch",
            name="deletion_failures",
            field=models.IntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="batch",
            name="deletion_id",
            field=models.CharField(default="", max_length=100),
        ),
        migrations.AddField(
            model_name="batch",
            name="removed_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="job",
            name="contents_are_gone",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name="job",
            name="contents_deleted_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="job",
            name="deletes_batches",
            field=models.BooleanField(null=True),
        ),
        migrations.AddField(
            model_name="job",
            name="retention_days",
            field=models.IntegerField(null=True),
        ),
        migrations.RunPython(make_row, migrations.RunPython.noop),
    ]
