"""What a person was told: the bell, the list, and what a script shows of an open tab."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from ...models import Delivery, Notification, NotificationChoices, clock
from ...models.notifications import hide_jobs
from .access import person
from .fragments import whole_number

PAGE = 50
SHOWN_AT_ONCE = 5  # by the browser

_TROUBLE = (Delivery.State.FAILED, Delivery.State.UNCLEAR)


@require_safe
def notifications(request: HttpRequest) -> HttpResponse:
    """The newest ones, or those before the one with the number `before`."""
    mine = Notification.objects.of(person(request)).select_related("job")
    if before := whole_number(request.GET.get("before", "")):
        mine = mine.filter(pk__lt=before)
    found = list(mine[: PAGE + 1])
    shown, has_more = found[:PAGE], len(found) > PAGE
    hide_jobs(shown, person(request))
    troubles = _troubles(shown)
    context = {
        "items": [(one, address_of(one), troubles.get(one.pk, [])) for one in shown],
        "newest": shown[0].pk if shown and not before else 0,
        "has_unread": any(one.read_at is None for one in shown),
        "older": shown[-1].pk if has_more else None,
    }
    return render(request, "notifications/list.html", context)


def _troubles(shown: list[Notification]) -> dict[int, list[Delivery]]:
    """Of each notification, what could not be sent, or may not have been."""
    found: dict[int, list[Delivery]] = {}
    deliveries = Delivery.objects.filter(notification__in=shown, state__in=_TROUBLE)
    for one in deliveries.select_related("destination").order_by("pk"):
        found.setdefault(one.notification_id or 0, []).append(one)
    return found


def address_of(one: Notification) -> str:
    """Where it leads on this site; "" for nowhere. A job in the trash is not shown, nor one that
    the person may no longer see."""
    if one.job is not None:
        return "" if one.job.trashed_at or one.hides_job else reverse("job", args=[one.job.pk])
    return reverse("spending") if one.event.startswith(("cap_", "spending_")) else ""


@require_POST
def read(request: HttpRequest) -> HttpResponse:
    """Mark those up to the number `newest` as read: what came meanwhile was not seen."""
    newest = whole_number(request.POST.get("newest", ""))
    mine = Notification.objects.of(person(request)).filter(pk__lte=newest)
    mine.mark_read(clock.now())
    if request.headers.get("HX-Request") == "true":
        return render(request, "notifications/_bell.html")
    return redirect("notifications")


@require_safe
def bell(request: HttpRequest) -> HttpResponse:
    return render(request, "notifications/_bell.html")


@require_safe
def news(request: HttpRequest) -> JsonResponse:
    """What came after the notification with the number `after`, as far as the person wants the
    browser to show it: {"newest": number, "items": [{"id", "title", "body", "url"}]}. Without
    `after`, only the number."""
    user = person(request)
    mine = Notification.objects.of(user)
    if not request.GET.get("after"):  # "0" is one: nothing was there at the first look
        return JsonResponse({"newest": mine.values_list("pk", flat=True).first() or 0, "items": []})
    after = whole_number(request.GET["after"])
    found = list(mine.filter(pk__gt=after).select_related("job")[:PAGE])
    hide_jobs(found, user)
    chosen = NotificationChoices.of(user)
    items = [
        {"id": str(one.uid), "title": one.title, "body": one.detail, "url": address_of(one)}
        for one in found
        if chosen.shows(one.event) and one.read_at is None
    ]
    newest = found[0].pk if found else after
    return JsonResponse({"newest": newest, "items": items[:SHOWN_AT_ONCE][::-1]})
