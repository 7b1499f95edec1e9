import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0060_row_choices"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Pilot",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "step",
                    models.CharField(
                        choices=[
                            ("drawing", "Choosing the rows"),
                            ("sending", "At work"),
                            ("waiting", "Waiting for a decision"),
                            ("released", "The other rows are sent"),
                            ("ended", "The other rows were not sent"),
                        ],
                        default="drawing",
                        max_length=8,
                    ),
                ),
                ("rows", models.IntegerField()),
                ("by", models.TextField(default="")),
                ("least_good", models.IntegerField(default=0)),
                ("numbers", models.JSONField(default=list)),
                ("result", models.JSONField(null=True)),
                ("decided_at", models.DateTimeField(null=True)),
                ("asks_again", models.BooleanField(default=False)),
                (
                    "decided_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "job",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="pilot",
                        to="jobs.job",
                    ),
                ),
            ],
        ),
    ]
