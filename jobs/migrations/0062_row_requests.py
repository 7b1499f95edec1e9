import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("jobs", "0061_pilots")]

    operations = [
        migrations.AddField(
            model_name="row",
            name="earlier_job",
            field=models.BigIntegerField(null=True),
        ),
        migrations.AddField(
            model_name="row",
            name="request_key",
            field=models.BinaryField(max_length=16, null=True),
        ),
        migrations.AddIndex(
            model_name="row",
            index=models.Index(
                condition=models.Q(("request_key__isnull", False)),
                fields=["request_key"],
                name="row_request",
            ),
        ),
        migrations.CreateModel(
            name="AskedRecipe",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("round", models.IntegerField()),
                ("key", models.CharField(db_index=True, max_length=16)),
                (
                    "job",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="asked_recipes",
                        to="jobs.job",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("job", "round"), name="asked_recipe_once_a_round"
                    )
                ],
            },
        ),
    ]
