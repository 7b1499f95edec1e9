"""Where the rows of a job come from, and which jobs go on with them."""

from __future__ import annotations

from dataclasses import dataclass

from django import template
from django.db.models import Q
from django.template import Context

from ...models import AnswersVersion, Job, JobSource
from ..views.access import is_seen

register = template.Library()

MOST_NEXT = 10  # jobs that are named
# What is known of the answers of the source.
FRESH, CHECKING, CHANGING, DIFFERS = "fresh", "checking", "changing", "differs"
DELETED, CLEARED, WRITING, HIDDEN = "deleted", "cleared", "writing", "hidden"


@dataclass(frozen=True)
class Chain:
    """The jobs before and after one, as far as a person sees them."""

    link: JobSource | None  # None: it begins the chain
    source: Job | None  # None: deleted, or not theirs to see
    state: str  # of the answers of the source
    next: list[Job]

    @property
    def can_update(self) -> bool:
        return self.state == DIFFERS and self.source is not None


def state_of(link: JobSource) -> str:
    """Whether the job still has the answers that its source has. FRESH only if they were compared
    as they are now."""
    source = link.source
    if source is None or source.trashed_at or source.state == Job.State.DELETING:
        return DELETED
    if not link.sha256:
        return WRITING
    if source.contents_deleted_at:
        return CLEARED
    if source.state != Job.State.FINISHED:
        return CHANGING
    if link.seen != AnswersVersion.of(source):
        return CHECKING
    return DIFFERS if link.differs_since else FRESH


@register.simple_tag(takes_context=True)
def previous_job(context: Context, job: Job) -> int | None:
    """The job that this one runs again, if the person may see it."""
    pk = job.previous_id
    return pk if pk and is_seen(context["request"], pk) else None


@register.simple_tag(takes_context=True)
def chain_of(context: Context, job: Job) -> Chain | None:
    """None for a job that is alone."""
    mine = JobSource.objects.filter(Q(job=job) | Q(source=job)).order_by("-pk")
    links = list(mine.select_related("job", "source")[: MOST_NEXT + 1])
    # Of a file that a person replaced, the rows come from there.
    links = [one for one in links if one.sha256 in ("", one.job.upload_sha256)]
    if not links:
        return None
    found = {pk for one in links for pk in (one.job_id, one.source_id) if pk}
    user = context["request"].user
    seen = set(Job.objects.visible_to(user).filter(pk__in=found).values_list("pk", flat=True))
    link = next((one for one in links if one.job_id == job.pk), None)
    after = [one.job for one in links if one.source_id == job.pk and one.job_id in seen]
    if link is None:
        return Chain(None, None, "", after) if after else None
    source, state = link.source, state_of(link)
    if link.source_id not in seen:
        # What happens to somebody else's job is not theirs to know.
        source, state = None, state if state in (DELETED, WRITING) else HIDDEN
    return Chain(link, source, state, after)
