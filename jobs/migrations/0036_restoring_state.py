"""A batch that is being restored has a state of its own."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0035_one_row_models"),
    ]

    operations = [
        migrations.AlterField(
            model_name="batch",
            name="state",
            field=models.CharField(
                choices=[
                    ("restoring", "Being restored"),
                    ("planning", "Being prepared"),
                    ("planned", "Ready to send"),
                    ("submitting", "Sending"),
                    ("unknown", "Checking whether it arrived"),
                    ("blocked", "Refused"),
                    ("in_progress", "Being processed"),
                    ("ended", "Fetching the answers"),
                    ("collected", "Done"),
                    ("canceled", "Stopped before it was sent"),
                    ("lost", "Lost at the provider"),
                ],
                default="planned",
                max_length=12,
            ),
        ),
    ]
