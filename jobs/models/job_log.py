"""The log of a job, which its page shows. What the worker did is in the site's log, too."""

from __future__ import annotations

import logging

from django.contrib.auth.models import User

from ..rules import log_context
from ..rules.plain_text import one_line
from .events import JobEvent

logger = logging.getLogger(__name__)


def write(job_pk: int, text: str, who: User | None = None) -> None:
    """Add a line. `who`: the person who did it; None: the worker."""
    text = one_line(text)
    JobEvent.objects.create(job_id=job_pk, text=text, who=who)
    if who is None:
        with log_context.about(job=job_pk):
            logger.info("job %s: %s", job_pk, text)


def write_once(job_pk: int, text: str) -> None:
    """Add a line of the worker's, unless it is the last one already."""
    text = one_line(text)
    last = JobEvent.objects.filter(job_id=job_pk).last()
    if last is None or last.text != text:
        write(job_pk, text)
