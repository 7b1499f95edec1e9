"""The page of a finished example."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from ..examples import EXAMPLES


@require_safe
def example(request: HttpRequest, name: str) -> HttpResponse:
    """What went in, what was asked, and what came out."""
    found = EXAMPLES.get(name)
    if found is None:
        raise Http404
    return render(request, "jobs/example.html", {"example": found})
