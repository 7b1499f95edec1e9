import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0064_recent_jobs"),
    ]

    operations = [
        migrations.CreateModel(
            name="SearchIndex",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("used_at", models.DateTimeField()),
                ("version", models.IntegerField(default=-1)),
                ("seen_version", models.IntegerField(default=-1)),
                ("due_at", models.DateTimeField()),
                (
                    "job",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="search_index",
                        to="jobs.job",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="SearchPart",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("first", models.IntegerField()),
                ("last", models.IntegerField()),
                ("version", models.IntegerField()),
                ("digest", models.BinaryField(max_length=16)),
                ("file", models.CharField(max_length=100)),
                (
                    "job",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="jobs.job",
                    ),
                ),
            ],
            options={
                "ordering": ["first"],
                "constraints": [
                    models.UniqueConstraint(fields=("job", "first"), name="search_part_once"),
                    models.CheckConstraint(
                        condition=models.Q(("last__gte", models.F("first"))),
                        name="search_part_order",
                    ),
                ],
            },
        ),
    ]
