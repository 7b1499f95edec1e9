import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


def begin_histories(apps, schema_editor):
    """What each template holds now is its first version."""
    versions = apps.get_model("jobs", "TemplateVersion")
    for template in apps.get_model("jobs", "Template").objects.iterator():
        versions.objects.create(
            template=template, number=1, recipe=template.recipe, saved_at=template.changed_at
        )


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0062_row_requests"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="JobSource",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("wanted", models.JSONField(default=dict)),
                ("sha256", models.CharField(default="", max_length=64)),
                ("seen_changed", models.IntegerField(default=0)),
                ("seen_finished_at", models.DateTimeField(null=True)),
                ("differs_since", models.DateTimeField(null=True)),
                ("differing_rows", models.IntegerField(default=0)),
                (
                    "job",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="origin",
                        to="jobs.job",
                    ),
                ),
                (
                    "source",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="next_steps",
                        to="jobs.job",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="TemplateVersion",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.IntegerField()),
                ("recipe", models.JSONField()),
                ("saved_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("restored", models.IntegerField(default=0)),
                (
                    "saved_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "template",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="versions",
                        to="jobs.template",
                    ),
                ),
            ],
            options={
                "ordering": ["-number"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("template", "number"), name="version_once_a_template"
                    )
                ],
            },
        ),
        migrations.RunPython(begin_histories, migrations.RunPython.noop),
    ]
