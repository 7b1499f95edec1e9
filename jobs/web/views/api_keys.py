"""The API key of the site, for administrators."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from ...actions import api_keys
from ...models import api_key
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
