"""Teams, and sharing jobs and templates with them."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from ...actions import teams as changes
from ...models import Access, Team, Template
from ...spending import caps
from ..forms.people import ShareForm, TeamForm
from .access import administrators_only, everything_readers_only, find_own_job, person


@require_http_methods(["GET", "HEAD"])
@everything_readers_only
def teams(request: HttpRequest) -> HttpResponse:
    found = Team.objects.annotate(
        job_count=Count("jobs", distinct=True), person_count=Count("people", distinct=True)
    )
    return render(request, "people/teams.html", {"teams": found})


@require_http_methods(["GET", "HEAD", "POST"])
@administrators_only
def team(request: HttpRequest, pk: int = 0) -> HttpResponse:
    """Make a team (0) or change one; with `delete`, delete it."""
    found = get_object_or_404(Team, pk=pk) if pk else None
    if request.method == "POST" and found and request.POST.get("delete"):
        try:
            changes.delete_team(found, person(request))
        except changes.KeyInUse as why:
            messages.warning(request, str(why))
            return redirect("team", pk)
        messages.success(request, f"Team “{found.name}” deleted.")
        return redirect("teams")
    initial: dict[str, object] = {}
    if found:
        initial = {
            "name": found.name,
            "most_a_month": found.most_a_month,
            "people": found.people.all(),
        }
    form = TeamForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            saved = changes.save_team(
                found, data["name"], data["most_a_month"], data["people"], person(request)
            )
        except changes.NameTaken:
            form.add_error("name", "There is a team with this name.")
        else:
            messages.success(request, f"Team “{saved.name}” saved.")
            return redirect("teams")
    context = {"form": form, "team": found, "practice": settings.PRACTICE}
    status = 422 if form.errors else 200
    return render(request, "people/team.html", context, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
def share_job(request: HttpRequest, pk: int) -> HttpResponse:
    job = find_own_job(request, pk)
    user = person(request)
    form = ShareForm(
        changes.teams_to_share_with(user),
        request.POST or None,
        initial={"team": job.team_id, "team_access": job.team_access},
    )
    if request.method == "POST" and form.is_valid():
        found = form.cleaned_data["team"]
        try:
            changes.share_job(job, found, Access(form.cleaned_data["team_access"]), user)
        except caps.NotAllowed as why:
            form.add_error("team", str(why))
        else:
            messages.success(
                request, f"Shared with {found.name}." if found else "No longer shared with a team."
            )
            return redirect("job", pk)
    status = 422 if form.errors else 200
    return render(request, "people/share.html", {"form": form, "job": job}, status=status)


@require_POST
def share_template(request: HttpRequest, pk: int) -> HttpResponse:
    template = get_object_or_404(Template.objects.changeable_by(request.user), pk=pk)
    user = person(request)
    form = ShareForm(changes.teams_to_share_with(user), request.POST)
    if form.is_valid():
        found = form.cleaned_data["team"]
        changes.share_template(template, found, Access(form.cleaned_data["team_access"]), user)
        whose = found.name if found else "No team"
        messages.success(request, f"{whose} can use “{template.name}” now.")
    return redirect("templates")
