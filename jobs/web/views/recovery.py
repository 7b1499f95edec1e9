"""After the database was restored from an older copy: what was sent meanwhile is looked for. For
administrators only."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from ...actions import restored_sites
from ...models import JournalState
from .access import administrators_only, person
from .fragments import answer, make_part

POLL_SECONDS = 2


@require_safe
@administrators_only
def restored(request: HttpRequest) -> HttpResponse:
    state = JournalState.get()
    context = {
        "journal": state,
        "is_looking": state.is_ahead and state.asked_at is not None,
        "report": state.report.splitlines(),
    }
    part = make_part(
        request,
        "restored",
        "recovery/_restored.html",
        context,
        url=request.path,
        seconds=POLL_SECONDS if state.is_ahead and not state.report else None,
    )
    if request.headers.get("HX-Request"):
        return answer(request, part)
    return render(request, "recovery/restored.html", {"part": part})


@require_POST
@administrators_only
def look(request: HttpRequest) -> HttpResponse:
    """The worker looks for them at the provider."""
    if not restored_sites.ask_for_recovery(person(request)):
        messages.info(
            request, "The database has every batch that was sent. There is nothing to find."
        )
    return redirect("restored")


@require_POST
@administrators_only
def seen(request: HttpRequest) -> HttpResponse:
    """The report was read: it is shown no more. What became of each batch is in its job's log."""
    JournalState.row().update(report="")
    messages.success(request, "Report dismissed.")
    return redirect("jobs")
