from typing import Any

from django.db import migrations, models


def _id() -> tuple[str, Any]:
    field: Any = models.BigAutoField(
        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
    )
    return "id", field


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0051_retention"),
    ]

    operations = [
        migrations.CreateModel(
            name="RoleQuota",
            fields=[
                _id(),
                ("role", models.CharField(max_length=20, unique=True)),
                ("most_bytes", models.BigIntegerField(null=True)),
                ("most_rows", models.IntegerField(null=True)),
            ],
        ),
    ]
