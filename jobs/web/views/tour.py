"""The tour goes on, or is over."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from ...models import Tour
from .access import find_job, person


@require_POST
def tour(request: HttpRequest) -> HttpResponse:
    """`step`: the next one, or the one after the last to leave the tour. `job`: whose page it was
    shown on; without it, the list of jobs."""
    step, job = request.POST.get("step", ""), request.POST.get("job", "")
    if step not in {str(number) for number in range(2, Tour.OVER + 1)}:
        raise Http404
    Tour.objects.advance(person(request), int(step))
    if job.isascii() and job.isdecimal() and len(job) < 19:
        return redirect("job", find_job(request, int(job)).pk)
    return redirect("jobs")
