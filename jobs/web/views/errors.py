"""Pages for what went wrong, in the site's own layout."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import HttpRequest, HttpResponse
from django.http.multipartparser import MultiPartParserError
from django.shortcuts import render
from django.template.loader import render_to_string

from ...models import storage


class Refused(PermissionDenied):
    """The message says to the person why they may not do it."""


# The same for a part of a page, which shows it where it says that something was saved.
SHORT = {
    "500": "Something went wrong on our side. Nothing was saved. Try again in a moment.",
    "busy": "The site is busy. Nothing was saved or sent. Try again in a minute.",
    "crowded": "Too many people sign in at once. Nothing was changed. Try again in a minute.",
    "too_large": "You are signed out, and this is too large to be read. Sign in, then try again.",
    "too_slow": "Your upload was too slow, so we stopped it. Nothing was saved. Try again.",
    "downloads": "Too many downloads are under way. Try again when one of them has ended.",
    "uploads": "Too many uploads are under way. Nothing was saved. Try again in a minute.",
    "version": "This site is being upgraded. Nothing was saved. Try again in a few minutes.",
    "full": "The site’s disk is full. Nothing was saved or sent. Tell your administrator.",
    "disk": "The site can’t use its disk. Nothing was saved or sent. Tell your administrator.",
}
# Of a form that was not accepted, what is offered to be sent again.
MOST_TYPED, MOST_FIELDS = 200_000, 200  # characters, fields
SHORTEST_TYPED = 20  # characters; shorter ones are choices
SECRET = re.compile("pass|secret|token|api_?key", re.IGNORECASE)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return render(request, "errors/400.html", status=400)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    reason = str(exception) if isinstance(exception, Refused) else ""
    if reason and request.headers.get("HX-Request") == "true":
        return HttpResponse(reason, status=403, content_type="text/plain; charset=utf-8")
    return render(request, "errors/403.html", {"reason": reason}, status=403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return render(request, "errors/404.html", status=404)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    fields = typed_fields(request)
    if fields:
        return render(request, "errors/csrf_resend.html", {"fields": fields}, status=403)
    # Without the request: the page must not depend on a session that may be the trouble.
    return HttpResponse(render_to_string("errors/csrf.html"), status=403)


@dataclass(frozen=True)
class TypedField:
    """A field of a form that was not accepted. `shows`: a text that a person typed."""

    name: str
    value: str

    @property
    def shows(self) -> bool:
        return len(self.value) >= SHORTEST_TYPED and any(map(str.isspace, self.value))


def typed_fields(request: HttpRequest) -> list[TypedField]:
    """What a person typed into a form of ours, so that they can send it again; empty if nothing is
    worth it, it is too much, there are files or passwords with it, or the form may not be ours: a
    stranger's must not be offered with a token of ours."""
    is_ours = request.headers.get("Sec-Fetch-Site") == "same-origin" or (
        request.headers.get("Origin") == f"{request.scheme}://{request.get_host()}"
    )
    user = getattr(request, "user", None)
    if request.method != "POST" or not is_ours or user is None or not user.is_authenticated:
        return []
    try:
        given, has_files = request.POST, bool(request.FILES)
    except (OSError, SuspiciousOperation, MultiPartParserError):
        return []
    fields = [
        TypedField(name, value)
        for name, values in given.lists()
        for value in values
        if name != "csrfmiddlewaretoken"
    ]
    is_secret = any(SECRET.search(field.name) for field in fields)
    size = sum(len(field.name) + len(field.value) for field in fields)
    if has_files or is_secret or size > MOST_TYPED or len(fields) > MOST_FIELDS:
        return []
    return fields if any(field.shows for field in fields) else []


def server_error(request: HttpRequest) -> HttpResponse:
    """What went wrong is the exception that is being handled. A disk that is full or cannot be
    used, and a database that another program keeps locked, are no faults of the site, and pass."""
    error = sys.exception()
    name = "500"
    if storage.is_disk_full(error):
        name = "full"
    elif storage.is_database_busy(error):
        name = "busy"
    elif storage.is_disk_unusable(error):
        name = "disk"
    status = 500 if name == "500" else 503
    if request.headers.get("HX-Request"):
        return HttpResponse(SHORT[name], status=status, content_type="text/plain; charset=utf-8")
    # Without the request, so that it works when the database does not.
    response = HttpResponse(render_to_string(f"errors/{name}.html"), status=status)
    if status == 503:
        response.headers["Retry-After"] = "30"
    return response


def other_version(request: HttpRequest) -> HttpResponse:
    """The database is of another version than this web server. Its log says what to do."""
    return _refusal(request, "version", 503)


def crowded(request: HttpRequest) -> HttpResponse:
    """More passwords are being checked than this process takes at once."""
    return _refusal(request, "crowded", 503)


def too_large(request: HttpRequest) -> HttpResponse:
    """A stranger sends more than any form that they can have."""
    return _refusal(request, "too_large", 413)


def too_many_uploads(request: HttpRequest) -> HttpResponse:
    return _refusal(request, "uploads", 503)


def too_many_downloads(request: HttpRequest) -> HttpResponse:
    return _refusal(request, "downloads", 503)


def too_slow(request: HttpRequest) -> HttpResponse:
    """The body arrives so slowly that others would wait for it."""
    return _refusal(request, "too_slow", 408)


def _refusal(request: HttpRequest, name: str, status: int) -> HttpResponse:
    if request.headers.get("HX-Request"):
        response = HttpResponse(SHORT[name], content_type="text/plain; charset=utf-8")
    else:
        response = HttpResponse(render_to_string(f"errors/{name}.html"))
    response.status_code = status
    if status == 503:
        response.headers["Retry-After"] = "30"
    response._has_been_logged = True  # type: ignore[attr-defined]  # Django would call it an error
    return response
