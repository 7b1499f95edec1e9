"""Pages for what went wrong, in the site's own layout."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string


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
    # Without the request, so that it works when the database does not.
    return HttpResponse(render_to_string("errors/500.html"), status=500)
