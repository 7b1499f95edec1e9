"""Who may see and do what."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from django.contrib.auth.models import User
from django.db.models import Exists, OuterRef
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404

from ...models import Job, is_administrator, sees_everything
from ...models.privacy import masked_columns
from ...rules import log_context
from ...spending import caps
from .errors import Refused

View = TypeVar("View", bound=Callable[..., HttpResponseBase])


READER = "You can read this job, but not change it. Ask {owner} to let your team work on it."
SAFE = ("GET", "HEAD", "OPTIONS")


def find_job(request: HttpRequest, pk: int) -> Job:
    """The job, if the person may see it, and may change it where the request would change it.
    Raises Http404, also for somebody else's job: they need not know that it exists. Raises Refused
    for one that they may only read."""
    job = _seen_job(request, pk)
    if request.method not in SAFE and not job.may_work:
        raise Refused(READER.format(owner=job.owner.username))
    return job


def find_job_to_change(request: HttpRequest, pk: int) -> Job:
    """As `find_job`, for pages that only ask for what to change."""
    job = _seen_job(request, pk)
    if not job.may_work:
        raise Refused(READER.format(owner=job.owner.username))
    return job


def find_job_to_approve(request: HttpRequest, pk: int) -> Job:
    """As `find_job`; who may approve it can do that, and nothing else."""
    job = _seen_job(request, pk)
    may_approve = job.awaits_approval and caps.can_approve(job, person(request))
    if may_approve:
        request.reads_only = False  # type: ignore[attr-defined]  # there is one button
    approves = may_approve and request.POST.get("approval") == "give"
    if request.method not in SAFE and not job.may_work and not approves:
        raise Refused(READER.format(owner=job.owner.username))
    return job


def find_own_job(request: HttpRequest, pk: int) -> Job:
    """The job, if it is the person's to share. Raises Http404 or Refused, as `find_job`."""
    job = _seen_job(request, pk)
    if not Job.objects.owned_by(request.user).filter(pk=pk).exists():
        raise Refused(f"Only {job.owner.username} and administrators can do this.")
    return job


def find_seen_job(request: HttpRequest, pk: int) -> Job:
    """The job, if the person may see it, whatever they want to do. Raises Http404."""
    return _seen_job(request, pk)


def is_seen(request: HttpRequest, pk: int) -> bool:
    """Whether the person may know of the job with this number."""
    return Job.objects.visible_to(request.user).filter(pk=pk).exists()


def _seen_job(request: HttpRequest, pk: int) -> Job:
    log_context.add(job=pk)
    workable = Job.objects.workable_by(request.user).filter(pk=OuterRef("pk"))
    seen = Job.objects.visible_to(request.user)
    job = get_object_or_404(seen.annotate(is_workable=Exists(workable)), pk=pk)
    job.may_work = job.is_workable  # type: ignore[attr-defined]  # of this query
    request.reads_only = not job.may_work  # type: ignore[attr-defined]  # for base.html
    job.masked = masked_columns(request.user, job)
    return job


def person(request: HttpRequest) -> User:
    """Who is signed in; the middleware lets nobody else come so far."""
    return cast(User, request.user)


def asked(request: HttpRequest, name: str) -> str:
    """A text of the address's query, without NUL, which PostgreSQL does not take."""
    return request.GET.get(name, "").replace("\0", "").strip()[:200]


def everything_readers_only(view: View) -> View:
    """Administrators and auditors see it; only administrators may POST. 404 for everybody else."""

    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        user = person(request)
        if not (is_administrator if request.method not in SAFE else sees_everything)(user):
            raise Http404
        return view(request, *args, **kwargs)

    return cast(View, checked)


def administrators_only(view: View) -> View:
    """404 for everybody else."""

    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not is_administrator(person(request)):
            raise Http404
        return view(request, *args, **kwargs)

    return cast(View, checked)
