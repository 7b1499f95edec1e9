"""The tour of three steps for people who make their first job."""

from __future__ import annotations

from django.contrib.auth.models import User

from ..models import Job, Tour

START_PAGES = ("jobs", "new_job")


def step_on(url_name: str, user: User, job: Job | None) -> int:
    """The step that `user` sees on this page, 0 for none. The first one while they have no job,
    the others on the draft of their first one."""
    on_draft = url_name == "job" and job is not None and job.state == Job.State.DRAFT
    if not on_draft and url_name not in START_PAGES:
        return 0
    theirs = list(Job.objects.filter(owner=user).values_list("pk", flat=True)[:2])
    if theirs != ([job.pk] if on_draft and job else []):
        return 0
    step = Tour.objects.step_of(user)
    if step == Tour.OVER:
        return 0
    return max(step, 2) if on_draft else 1
