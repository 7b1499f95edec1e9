"""What a job was charged."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from ...drafts import model_catalog
from ...spending import receipts
from .access import find_job

BATCHES_SHOWN = 200


@require_safe
def receipt(request: HttpRequest, pk: int) -> HttpResponse:
    job = find_job(request, pk)
    if not job.was_sent:
        return redirect("job", pk)
    try:
        found = receipts.receipt_of(job)
    except receipts.NotCounted:
        return render(request, "job_page/receipt.html", {"job": job})
    lines = [(line, model_catalog.name_of(line.model)) for line in found.lines]
    context = {
        "job": job,
        "receipt": found,
        "lines": lines,
        "deleted_batches": job.batches.exclude(deleted_at=None)[:BATCHES_SHOWN],
        "read": sum(
            one.input_tokens + one.cache_write_tokens + one.cache_read_tokens for one in found.lines
        ),
        "written": sum(one.output_tokens for one in found.lines),
    }
    return render(request, "job_page/receipt.html", context)
