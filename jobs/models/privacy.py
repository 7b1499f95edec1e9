"""Private columns as people see them: masked to those who only look."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User

from ..rules.row_choices import IS, Condition, RowChoice
from .jobs import Job
from .trials import Trial

MASK = "••••"


class WithContent(Protocol):
    """A Row, or what was read of one."""

    @property
    def content(self) -> Any: ...


def sees_private(user: User | AbstractBaseUser | AnonymousUser, job: Job) -> bool:
    """Whether `user` may read the cells of private columns of a job that they see."""
    return job.owner_id == user.pk or Job.objects.workable_by(user).filter(pk=job.pk).exists()


def masked_columns(user: User | AbstractBaseUser | AnonymousUser, job: Job) -> frozenset[str]:
    """The columns of a job that are masked to `user`."""
    if not job.private_columns or sees_private(user, job):
        return frozenset()
    return frozenset(job.private_columns)


def mask_trial(job: Job, one: Trial) -> bool:
    """Mask a test for being shown, if it was made with a cell in one of `job.masked`: these cells,
    and the answer, which may quote them. Whether it had one. `one` must not be saved then."""
    if not any(name in job.masked for name, _cell in one.cells):
        return False
    one.cells = [(name, MASK if name in job.masked else cell) for name, cell in one.cells]
    one.answer = MASK
    one.message = ""
    return True


def shown_content(job: Job, row: WithContent) -> Any:
    """The content of a row of `job`, with MASK in place of each cell in one of `job.masked`."""
    content = row.content
    if not job.masked or not isinstance(content, list):
        return content
    # Of a row with too few or too many cells nobody knows which is which.
    fits = len(content) == len(job.columns)
    names = job.columns if fits else [next(iter(job.masked))] * len(content)
    return [MASK if name in job.masked else cell for name, cell in zip(names, content, strict=True)]


def shown_choice(job: Job) -> RowChoice:
    """Which rows of `job` are sent, with MASK in place of what a cell in one of `job.masked` must
    be like."""
    choice = job.row_choice
    where = (
        Condition(one.column, IS, MASK) if one.column in job.masked else one for one in choice.where
    )
    return replace(choice, where=tuple(where))
