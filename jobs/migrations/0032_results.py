"""Trials have the columns of a result that rows have. What Django writes into new attempts is no
matter of the database."""

from __future__ import annotations

from django.db import migrations, models

WITHOUT_DEFAULT = {
    "cause": models.CharField(default="", max_length=60),
    "answer": models.TextField(default=""),
    "message": models.TextField(default=""),
    "request_id": models.CharField(default="", max_length=100),
    "answered_by": models.CharField(default="", max_length=100),
    "stop_reason": models.CharField(default="", max_length=60),
    "input_tokens": models.IntegerField(default=0),
    "cache_write_tokens": models.IntegerField(default=0),
    "cache_read_tokens": models.IntegerField(default=0),
    "output_tokens": models.IntegerField(default=0),
    "thinking_tokens": models.IntegerField(default=0),
    "cost_pico": models.BigIntegerField(default=0),
}
OUTCOMES = [
    ("waiting", "Waiting"),
    ("good", "Good"),
    ("look", "Needs a look"),
    ("errored", "Could not be processed"),
    ("expired", "Not reached in 24 hours"),
    ("canceled", "Stopped by you"),
    ("left_out", "Left out"),
]


class Migration(migrations.Migration):
    dependencies = [("jobs", "0031_marking")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AlterField(
                    "attempt",
                    "outcome",
                    models.CharField(choices=OUTCOMES, default="waiting", max_length=8),
                ),
                *(
                    migrations.AlterField("attempt", name, field)
                    for name, field in WITHOUT_DEFAULT.items()
                ),
            ]
        ),
        migrations.AddField("try", "request_id", models.CharField(default="", max_length=100)),
        migrations.AddField("try", "cache_write_tokens", models.IntegerField(default=0)),
        migrations.AddField("try", "cache_read_tokens", models.IntegerField(default=0)),
    ]
