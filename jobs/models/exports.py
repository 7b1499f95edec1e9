"""Files that the worker is to build."""

from __future__ import annotations

from django.db import models


class Export(models.Model):
    """A finished file that the worker is to build; gone as soon as that is done."""

    job = models.ForeignKey("Job", on_delete=models.CASCADE, related_name="exports")
    kind = models.CharField(max_length=8)  # "csv" or "xlsx"
    only = models.CharField(max_length=12, default="all")  # which rows: table.ROW_FILTERS
    written = models.PositiveIntegerField(default=0)  # rows so far, of a workbook
    trouble = models.TextField(default="")  # why it could not be built the last time

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["job", "kind", "only"], name="export_once_a_job"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of job {self.job_id}"
