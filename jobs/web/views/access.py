"""Who may see and do what."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from django.contrib.auth.models import User
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404

from ...models import Job

View = TypeVar("View", bound=Callable[..., HttpResponseBase])


def find_job(request: HttpRequest, pk: int) -> Job:
    """The job, if the person may see it. Raises Http404, also for somebody else's job: they need
    not know that it exists."""
    return get_object_or_404(Job.objects.visible_to(request.user), pk=pk)


def person(request: HttpRequest) -> User:
    """Who is signed in; the middleware lets nobody else come so far."""
    return cast(User, request.user)


def asked(request: HttpRequest, name: str) -> str:
    """A text of the address's query, without NUL, which PostgreSQL does not take."""
    return request.GET.get(name, "").replace("\0", "").strip()[:200]


def administrators_only(view: View) -> View:
    """404 for everybody else."""

    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not person(request).is_superuser:
            raise Http404
        return view(request, *args, **kwargs)

    return cast(View, checked)
