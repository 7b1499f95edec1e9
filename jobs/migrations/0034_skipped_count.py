"""Rows that a person wants ignored are not counted as skipped any more."""

from __future__ import annotations

from typing import Any

from django.db import migrations


def count_skipped(apps: Any, _editor: Any) -> None:
    jobs = apps.get_model("jobs", "Job").objects
    for pk, count, tally in jobs.filter(skipped_count__gt=0).values_list(
        "pk", "skipped_count", "tally"
    ):
        ignored = sum(
            rows
            for outcome, cause, rows in tally.get("causes", [])
            if (outcome, cause) == ("left_out", "set_aside")
        )
        if ignored:
            jobs.filter(pk=pk).update(skipped_count=max(count - ignored, 0))


class Migration(migrations.Migration):
    dependencies = [("jobs", "0033_names")]

    operations = [migrations.RunPython(count_skipped, migrations.RunPython.noop)]
