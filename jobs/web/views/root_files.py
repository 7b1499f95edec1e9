"""Addresses that stay: what browsers and search engines ask for, and those of pages that moved."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.templatetags.static import static
from django.urls import reverse
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

DAY = 24 * 3600
# Nothing to keep out: every page but the sign-in needs an account.
ROBOTS = "User-agent: *\nDisallow:\n"


@cache_control(public=True, max_age=DAY)
@require_safe
def robots(request: HttpRequest) -> HttpResponse:
    return HttpResponse(ROBOTS, content_type="text/plain; charset=utf-8")


@cache_control(public=True, max_age=DAY)
@require_safe
def favicon(request: HttpRequest) -> HttpResponse:
    """Pages name theirs; this is for what shows no page, such as a download in a tab."""
    return redirect(static("favicon.svg"))


@require_safe
def moved(request: HttpRequest, name: str, **arguments: object) -> HttpResponse:
    """The page has another address now; what was asked for stays."""
    query = request.META.get("QUERY_STRING", "")
    to = reverse(name, kwargs=arguments)
    return redirect(f"{to}?{query}" if query else to, permanent=True)
