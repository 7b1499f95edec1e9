"""Pages for what went wrong, in the site's own layout."""

from __future__ import annotations

import sys

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string

from ...models import storage

# The same for a part of a page, which shows it where it says that something was saved.
SHORT = {
    "500": "Something went wrong on our side. Nothing was saved. Try again in a moment.",
    "busy": "The site is busy. Nothing was saved or sent. Try again in a minute.",
    "full": "The site’s disk is full. Nothing was saved or sent. Tell your administrator.",
}


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return render(request, "errors/400.html", status=400)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return render(request, "errors/403.html", status=403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return render(request, "errors/404.html", status=404)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    # Without the request: the page must not depend on a session that may be the trouble.
    return HttpResponse(render_to_string("errors/csrf.html"), status=403)


def server_error(request: HttpRequest) -> HttpResponse:
    """What went wrong is the exception that is being handled. A disk that is full and a database
    that another program keeps locked are no faults of the site, and pass."""
    error = sys.exception()
    name = "500"
    if storage.is_disk_full(error):
        name = "full"
    elif storage.is_database_busy(error):
        name = "busy"
    status = 500 if name == "500" else 503
    if request.headers.get("HX-Request"):
        return HttpResponse(SHORT[name], status=status, content_type="text/plain; charset=utf-8")
    # Without the request, so that it works when the database does not.
    response = HttpResponse(render_to_string(f"errors/{name}.html"), status=status)
    if status == 503:
        response.headers["Retry-After"] = "30"
    return response
