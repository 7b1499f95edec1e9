"""The API keys of the site and of teams, for administrators."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from ...actions import api_keys, teams
from ...models import Team, api_key
from ..forms.api_keys import ApiKeyForm
from .access import administrators_only, person


@sensitive_post_parameters("api_key")
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@administrators_only
def key(request: HttpRequest) -> HttpResponse:
    if settings.ANTHROPIC_API_KEY:  # the environment wins, so there is nothing to enter
        ends = api_key.last_characters(settings.ANTHROPIC_API_KEY)
        return render(request, "spending/key.html", {"tab": "key", "is_set": True, "ends": ends})
    form = ApiKeyForm(request.POST or None)
    if form.is_valid():
        try:
            api_keys.change(person(request), form.cleaned_data["api_key"])
        except api_keys.KeyRefused as why:
            form.add_error("api_key", str(why))
        else:
            messages.success(request, "API key saved.")
            return redirect("api_key")
    stored = api_key.stored()
    context = {
        "tab": "key",
        "form": form,
        "ends": api_key.last_characters(stored),
        "is_readable": bool(stored),
        "is_stored": api_key.is_stored(),
    }
    return render(request, "spending/key.html", context, status=422 if form.errors else 200)


@sensitive_post_parameters("api_key")
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@administrators_only
def team_key(request: HttpRequest, pk: int) -> HttpResponse:
    """Give a team a key of its own, or with `remove` take it away."""
    team = get_object_or_404(Team, pk=pk)
    if request.POST.get("remove"):
        api_keys.remove_of_team(team, person(request))
        messages.success(request, "API key removed.")
        return redirect("team", pk)
    form = ApiKeyForm(request.POST or None)
    if form.is_valid():
        try:
            api_keys.change_of_team(team, person(request), form.cleaned_data["api_key"])
        except api_keys.KeyRefused as why:
            form.add_error("api_key", str(why))
        else:
            messages.success(request, "API key saved.")
            return redirect("team", pk)
    stored = api_key.stored_for(pk)
    context = {
        "team": team,
        "form": form,
        "ends": api_key.last_characters(stored),
        "is_readable": bool(stored),
        "job_count": teams.jobs_with_key(team).count(),
    }
    return render(request, "people/team_key.html", context, status=422 if form.errors else 200)
