from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0066_count_anew"),
    ]

    operations = [
        migrations.AddField(
            model_name="export",
            name="written",
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AlterField(
            model_name="attempt",
            name="outcome",
            field=models.CharField(
                choices=[
                    ("waiting", "Waiting"),
                    ("good", "Good"),
                    ("look", "Check this"),
                    ("errored", "Failed"),
                    ("expired", "Not reached in 24 hours"),
                    ("canceled", "Stopped by you"),
                    ("left_out", "Skipped"),
                ],
                default="waiting",
                max_length=8,
            ),
        ),
        migrations.AlterField(
            model_name="row",
            name="outcome",
            field=models.CharField(
                choices=[
                    ("waiting", "Waiting"),
                    ("good", "Good"),
                    ("look", "Check this"),
                    ("errored", "Failed"),
                    ("expired", "Not reached in 24 hours"),
                    ("canceled", "Stopped by you"),
                    ("left_out", "Skipped"),
                ],
                default="waiting",
                max_length=8,
            ),
        ),
        migrations.AlterField(
            model_name="trial",
            name="outcome",
            field=models.CharField(
                choices=[
                    ("waiting", "Waiting"),
                    ("good", "Good"),
                    ("look", "Check this"),
                    ("errored", "Failed"),
                    ("expired", "Not reached in 24 hours"),
                    ("canceled", "Stopped by you"),
                    ("left_out", "Skipped"),
                ],
                default="waiting",
                max_length=8,
            ),
        ),
    ]
