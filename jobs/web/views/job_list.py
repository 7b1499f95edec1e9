"""The list of jobs: filters with counts, sorting, pages."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.models import User
from django.core.paginator import Paginator
from django.db.models import Count, Exists, F, OrderBy, OuterRef, Q, QuerySet
from django.db.models.functions import Lower
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from ...drafts import estimates
from ...models import ATTENTION, AWAITS_APPROVAL, Job, SiteState, sees_everything
from ..templatetags.show import job_state
from .access import asked, person
from .fragments import answer, make_part, whole_number
from .job_changes import UNDO
from .job_header import icon_of
from .jobs import upload_context

PAGE = 25
POLL_SECONDS = 5
MOST_OWNERS = 200  # in the menu of an administrator

NEEDS_ATTENTION = ~Q(held="") | Q(
    *(Q(**{f"tally__outcomes__{outcome}__gt": 0}) for outcome in ATTENTION),
    Q(tally__strays__gt=0),
    _connector=Q.OR,
)
# As Job.is_archived.
ARCHIVED = Q(archived_at__isnull=False, state__in=Job.DELETABLE)
# What `?state=` can be: words for the person, and which jobs are meant.
FILTERS: dict[str, tuple[str, Q]] = {
    "draft": ("Drafts", Q(state__in=Job.OPEN)),
    "working": ("Working", Q(state__in=set(Job.SENT) - {Job.State.FINISHED})),
    "finished": ("Finished", Q(state=Job.State.FINISHED)),
    "attention": ("Needs attention", NEEDS_ATTENTION),
    "approval": ("Waiting for approval", AWAITS_APPROVAL),
    "archived": ("Archived", ARCHIVED),
}
# What `?sort=` can be, with "-" for the largest first: the heading and the order.
SORTS: dict[str, tuple[str, F | Lower]] = {
    "name": ("Job", Lower("name")),
    "state": ("State", F("state")),
    "rows": ("Rows", F("row_count")),
    "cost": ("Cost", F("spent_pico")),
    "made": ("Created", F("created_at")),
}
LARGEST_FIRST = {"rows", "cost", "made"}  # at the first click
NEWEST = "-made"


@require_safe
def jobs(request: HttpRequest) -> HttpResponse:
    """`q`: words of the name, `state`: one of FILTERS, `owner`: an id, for people who see
    everything, `sort`: one of SORTS, `page`."""
    query, chosen = asked(request, "q"), asked(request, "state")
    owner = whole_number(request.GET.get("owner")) if sees_everything(person(request)) else 0
    site = SiteState()
    found = _found(request, query, chosen, owner, site)
    page = Paginator(found, PAGE).get_page(request.GET.get("page"))
    for job in page.object_list:
        job.may_work = job.is_workable  # type: ignore[attr-defined]  # of _found
        # What it is expected to cost; the price of a draft that is being changed is not shown.
        job.expected = estimates.stored_estimate(job)  # type: ignore[attr-defined]  # for the page
        words, colour = job_state(job, job.sends and site.is_paused(job.key_team))
        is_plain = job.state == Job.State.DRAFT and colour == "secondary"
        icon = "pencil" if is_plain else icon_of(job, colour)
        job.pill = {"words": words, "colour": colour, "icon": icon}  # type: ignore[attr-defined]  # likewise
    context = {
        "page": page,
        "query": query,
        "chosen": chosen,
        "owner": owner,
        "columns": _columns(asked(request, "sort") or NEWEST),
        "filtered": bool(query or chosen in FILTERS or owner),
    }
    address = request.GET.copy()
    address.pop("v", None)
    part = make_part(
        request,
        "jobs",
        "jobs/_jobs.html",
        context,
        url=f"{request.path}?{address.urlencode()}",
        seconds=POLL_SECONDS if any(job.is_moving for job in page.object_list) else None,
    )
    if request.headers.get("HX-Request"):
        return answer(request, part)
    counts = _counts(request, owner, site)
    context |= {
        "part": part,
        "filters": [(key, words, counts[key]) for key, (words, _jobs) in FILTERS.items()],
        "all_count": counts["all"],
        "trash_count": counts["trash"],
        "is_empty": not context["filtered"] and not sum(counts.values()),
        "owners": _owners(request),
        "undo": request.session.pop(UNDO, None),
        "back": address.urlencode(),
    }
    if context["is_empty"]:
        context |= upload_context(request)
    return render(request, "jobs/list.html", context)


def _found(
    request: HttpRequest, query: str, chosen: str, owner: int, site: SiteState
) -> QuerySet[Job]:
    workable = Job.objects.workable_by(request.user).filter(pk=OuterRef("pk"))
    found = Job.objects.visible_to(request.user).select_related("owner", "team")
    found = found.annotate(is_workable=Exists(workable))
    if owner:
        found = found.filter(owner=owner)
    if query:
        found = found.filter(name__icontains=query)
    found = found.filter(_meant_by(chosen, site))
    return found.defer("columns", "reading").order_by(*_order(asked(request, "sort") or NEWEST))


def _meant_by(chosen: str, site: SiteState) -> Q:
    """The jobs of a filter; of no filter, all that are not archived."""
    if chosen == "archived":
        return ARCHIVED
    if chosen not in FILTERS:
        return ~ARCHIVED
    meant = FILTERS[chosen][1]
    if chosen == "attention":
        meant |= _paused(site)
    return meant & ~ARCHIVED


def _paused(site: SiteState) -> Q:
    """The jobs that cannot send what they have left."""
    sends = Q(state=Job.State.SUBMITTING, practice=settings.PRACTICE)
    if site.why_nobody_sends:
        return sends
    paused = Q(key_team__in=site.paused_teams)
    if site.is_paused(None):
        paused |= Q(key_team=None)
    return sends & paused


def _counts(request: HttpRequest, owner: int, site: SiteState) -> dict[str, int]:
    """How many jobs each filter has, by one look at the person's jobs."""
    theirs = Job.objects.visible_to(request.user)
    trash = Job.objects.in_trash(request.user)
    if owner:
        theirs, trash = theirs.filter(owner=owner), trash.filter(owner=owner)
    wanted = {key: Count("pk", filter=_meant_by(key, site)) for key in ["all", *FILTERS]}
    counted: dict[str, int] = theirs.aggregate(**wanted)
    return {**counted, "trash": trash.count()}


def _owners(request: HttpRequest) -> list[User]:
    """Whose jobs there are, for an administrator; empty if there is no choice."""
    if not sees_everything(person(request)):
        return []
    having = User.objects.filter(pk__in=Job.objects.visible_to(request.user).values("owner"))
    found = list(having.order_by("username")[:MOST_OWNERS])
    return found if len(found) > 1 else []


def _order(sort: str) -> list[OrderBy]:
    key, down = sort.removeprefix("-"), sort.startswith("-")
    if key not in SORTS:
        return _order(NEWEST)
    newest = [F("created_at").desc(), F("pk").desc()]
    return [OrderBy(SORTS[key][1], descending=down), *newest]


def _columns(sort: str) -> dict[str, dict[str, str]]:
    """The headings that sort: words, the `sort` of a click, and `aria`, how it is sorted now."""
    now, down = sort.removeprefix("-"), sort.startswith("-")
    if now not in SORTS:
        return _columns(NEWEST)
    found = {}
    for key, (words, _by) in SORTS.items():
        goes_down = not down if key == now else key in LARGEST_FIRST
        aria = ("descending" if down else "ascending") if key == now else ""
        found[key] = {"words": words, "sort": f"-{key}" if goes_down else key, "aria": aria}
    return found
