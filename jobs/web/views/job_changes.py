"""What is done with one job, or with several at once: archive, trash, restore, delete. And the
trash."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from django.contrib import messages
from django.contrib.auth.models import User
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ...actions import job_basics
from ...models import Job, is_administrator
from .access import find_job, find_own_job, person
from .fragments import answer, make_part, whole_number

PAGE = 25
UNDO = "undo"  # of the session: what the last click did, until the list has offered to undo it


@dataclass(frozen=True)
class Change:
    """What can be done with a job. `one` and `several` say what was done, `undo` what undoes it."""

    do: Callable[[Job, User], bool]
    one: str
    several: str
    undo: str = ""


# What `do` can be.
CHANGES = {
    "archive": Change(
        lambda job, _user: job_basics.archive_job(job),
        "“{name}” is archived.",
        "{n} jobs are archived.",
        "unarchive",
    ),
    "unarchive": Change(
        lambda job, _user: job_basics.unarchive_job(job),
        "“{name}” is back in the list.",
        "{n} jobs are back in the list.",
        "archive",
    ),
    "trash": Change(
        lambda job, user: job_basics.trash_job(job, user),
        "“{name}” is in the trash.",
        "{n} jobs are in the trash.",
        "restore",
    ),
    "restore": Change(
        lambda job, user: job_basics.restore_job(job, user),
        "“{name}” is restored.",
        "{n} jobs are restored.",
    ),
    "delete": Change(
        lambda job, user: job_basics.delete_job(job, user),
        "“{name}” is being deleted for good.",
        "{n} jobs are being deleted for good.",
    ),
}
STILL_RUNNING = "Running jobs can’t be archived or deleted. Stop them first."


def change(request: HttpRequest, do: str, some: Iterable[Job]) -> int:
    """Do one of CHANGES with each job, and say so. How many it was done with."""
    what = CHANGES[do]
    done = [job for job in some if what.do(job, person(request))]
    if not done:
        return 0
    words = what.several.format(n=len(done))
    if len(done) == 1:
        words = what.one.format(name=done[0].name)
    if what.undo:
        request.session[UNDO] = {"do": what.undo, "jobs": [job.pk for job in done], "words": words}
    else:
        messages.success(request, words)
    return len(done)


@require_POST
def change_jobs(request: HttpRequest) -> HttpResponse:
    """`do`: one of CHANGES, `job`: ids, as many as a page has, `back`: the query of the list."""
    do = request.POST.get("do", "")
    pks = [whole_number(text) for text in request.POST.getlist("job")[:PAGE]]
    if do not in CHANGES or not pks:
        messages.info(request, "Select the jobs first.")
    else:
        some = list(Job.objects.of(request.user).filter(pk__in=pks))
        done = change(request, do, some)
        if done < len(some) and do in ("archive", "trash"):
            messages.info(request, STILL_RUNNING)
    return _back(request)


def _back(request: HttpRequest) -> HttpResponse:
    """To the list as it was, or to the trash."""
    if request.POST.get("back") == "trash":
        return redirect("trash")
    query = QueryDict(request.POST.get("back", "")[:1000])
    kept = {name: query[name] for name in ("q", "state", "owner", "sort") if name in query}
    address = reverse("jobs")
    return redirect(f"{address}?{urlencode(kept)}" if kept else address)


@require_POST
def archive(request: HttpRequest, pk: int) -> HttpResponse:
    """`undo`: put it back into the list."""
    do = "unarchive" if request.POST.get("undo") else "archive"
    if not change(request, do, [find_job(request, pk)]) and do == "archive":
        messages.info(request, STILL_RUNNING)
    return _back(request)


@require_http_methods(["GET", "HEAD", "POST"])
def delete(request: HttpRequest, pk: int) -> HttpResponse:
    """GET asks. POST moves the job to the trash; with `now`, and of a job in the trash, it deletes
    it for good."""
    job = Job.objects.in_trash(request.user).filter(pk=pk).first() or find_own_job(request, pk)
    if request.method != "POST":
        return render(request, "jobs/delete.html", {"job": job})
    at_once = bool(request.POST.get("now"))
    if change(request, "delete" if at_once else "trash", [job]):
        return redirect("trash" if job.trashed_at else "jobs")
    if job.can_be_deleted:
        return redirect("trash")  # it is there already
    messages.error(
        request, "This job cannot be deleted while Claude works on it. Stop it first, then delete."
    )
    return redirect("job", pk)


@require_POST
def restore(request: HttpRequest, pk: int) -> HttpResponse:
    """Take a job out of the trash."""
    job = get_object_or_404(Job.objects.in_trash(request.user), pk=pk)
    change(request, "restore", [job])
    return redirect("job", pk)


# --- The trash ------------------------------------------------------------------------------------


@require_safe
def trash(request: HttpRequest) -> HttpResponse:
    """What can be restored, and what is being deleted for good, with how far that is. `page`."""
    there = Job.objects.in_trash(request.user).select_related("owner").order_by("-trashed_at")
    page = Paginator(there.defer("columns", "reading"), PAGE).get_page(request.GET.get("page"))
    being_deleted = _being_deleted(request)
    part = make_part(
        request,
        "deleting",
        "jobs/_deleting.html",
        {"being_deleted": being_deleted},
        url=request.path,
        seconds=2 if being_deleted else None,
    )
    if request.headers.get("HX-Request"):
        return answer(request, part)
    return render(request, "jobs/trash.html", {"page": page, "part": part})


def _being_deleted(request: HttpRequest) -> list[Job]:
    """The newest few, each with `done`: how many of its rows are deleted. They are deleted in their
    order, so that the first one that is left tells."""
    user = person(request)
    deleting = Job.objects.filter(state=Job.State.DELETING)
    mine = deleting if is_administrator(user) else deleting.filter(owner=user)
    found = list(mine.defer("columns", "reading").order_by("-pk")[:10])
    for job in found:
        first = job.rows.order_by("number").values_list("number", flat=True).first()
        job.done = job.row_count if first is None else first - 1  # type: ignore[attr-defined]  # for the page
    return found
