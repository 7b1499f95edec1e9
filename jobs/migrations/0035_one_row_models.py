"""What there is once on a site, by what it is about: until now it was one row of one table."""

from __future__ import annotations

from typing import Any

import django.utils.timezone
from django.db import migrations, models

# Where each column goes, and how it is called there.
MOVED = {
    "Heartbeat": {
        "tick_at": "tick_at",
        "next_tick_at": "next_tick_at",
        "next_poll_at": "next_poll_at",
        "provider_trouble": "provider_trouble",
        "site_trouble": "site_trouble",
    },
    "Sending": {
        "send_after": "send_after",
        "pause": "pause",
        "pause_key": "pause_key",
        "pauses_in_a_row": "pauses_in_a_row",
        "crowded_at": "crowded_at",
    },
    "SpendingCaps": {
        "most_a_job": "most_a_job",
        "most_a_person": "most_a_person",
        "most_a_month": "most_a_month",
        "approval_above": "approval_above",
        "stopped_at": "stopped_at",
    },
    "ModelCatalog": {
        "entries": "model_list",
        "listed_at": "model_list_at",
        "key": "model_list_key",
        "due_at": "model_list_due_at",
    },
    "ExternalBatchList": {
        "entries": "batch_list",
        "listed_at": "batch_list_at",
        "key": "batch_list_key",
        "asked_at": "batch_list_asked_at",
        "trouble": "batch_list_trouble",
    },
    "JournalState": {
        "checked": "journal_checked",
        "ahead": "journal_ahead",
        "asked_at": "restore_asked_at",
        "report": "restore_report",
    },
}


def move(apps: Any, _editor: Any) -> None:
    before = apps.get_model("jobs", "Installation").objects.filter(pk=1).first()
    for model, columns in MOVED.items():
        values = {new: getattr(before, old) for new, old in columns.items()} if before else {}
        apps.get_model("jobs", model).objects.create(pk=1, **values)


def one_row(name: str, **fields: models.Field[Any, Any]) -> migrations.CreateModel:
    key = models.BigAutoField(
        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
    )
    return migrations.CreateModel(name, [("id", key), *fields.items()], options={"abstract": False})


class Migration(migrations.Migration):
    dependencies = [("jobs", "0034_skipped_count")]

    operations = [
        one_row(
            "Heartbeat",
            tick_at=models.DateTimeField(null=True),
            next_tick_at=models.DateTimeField(default=django.utils.timezone.now),
            next_poll_at=models.DateTimeField(default=django.utils.timezone.now),
            provider_trouble=models.TextField(default=""),
            site_trouble=models.TextField(default=""),
        ),
        one_row(
            "Sending",
            send_after=models.DateTimeField(default=django.utils.timezone.now),
            pause=models.TextField(default=""),
            pause_key=models.CharField(default="", max_length=16),
            pauses_in_a_row=models.IntegerField(default=0),
            crowded_at=models.DateTimeField(null=True),
        ),
        one_row(
            "SpendingCaps",
            most_a_job=models.DecimalField(decimal_places=2, max_digits=12, null=True),
            most_a_person=models.DecimalField(decimal_places=2, max_digits=12, null=True),
            most_a_month=models.DecimalField(decimal_places=2, max_digits=12, null=True),
            approval_above=models.DecimalField(decimal_places=2, max_digits=12, null=True),
            stopped_at=models.DateTimeField(null=True),
        ),
        one_row(
            "ModelCatalog",
            entries=models.JSONField(default=list),
            listed_at=models.DateTimeField(null=True),
            key=models.CharField(default="", max_length=16),
            due_at=models.DateTimeField(default=django.utils.timezone.now),
        ),
        one_row(
            "ExternalBatchList",
            entries=models.JSONField(default=list),
            listed_at=models.DateTimeField(null=True),
            key=models.CharField(default="", max_length=16),
            asked_at=models.DateTimeField(null=True),
            trouble=models.TextField(default=""),
        ),
        one_row(
            "JournalState",
            checked=models.BigIntegerField(default=0),
            ahead=models.IntegerField(default=0),
            asked_at=models.DateTimeField(null=True),
            report=models.TextField(default=""),
        ),
        migrations.RunPython(move, migrations.RunPython.noop),
        *(
            migrations.RemoveField("installation", column)
            for columns in MOVED.values()
            for column in columns.values()
        ),
    ]
