"""What a person chooses to be told, and where: a part of their account."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from ...actions import notifications as changes
from ...models import (
    Channel,
    Delivery,
    Destination,
    NotificationChoices,
    Role,
    is_administrator,
    outbox,
    role_of,
)
from ...models.notifications import Wanted
from ...notifications.guard import Refused
from ...rules.notification_events import EVENTS
from ..forms.notifications import DestinationForm
from .access import find_seen_job, person


def events_for(user: User) -> dict[str, str]:
    """The events that `user` may be told of, with their labels."""
    approves = role_of(user) in (Role.APPROVER, Role.ADMINISTRATOR)
    return {
        name: event.label
        for name, event in EVENTS.items()
        if event.is_chosen
        and (is_administrator(user) or not event.for_administrators)
        and (approves or name != "approval_wanted")
    }


@require_http_methods(["GET", "HEAD", "POST"])
def notification_settings(request: HttpRequest) -> HttpResponse:
    """POST saves what is mailed and what the browser shows."""
    user = person(request)
    events = events_for(user)
    if request.method == "POST":
        mail, browser = request.POST.getlist("mail"), request.POST.getlist("browser")
        changes.choose(user, events, mail=mail, browser=browser)
        messages.success(request, "Notifications saved.")
        return redirect("notification_settings")
    chosen = NotificationChoices.of(user)
    context: dict[str, Any] = {
        "events": [
            (name, label, chosen.mails(name), chosen.shows(name), EVENTS[name].group)
            for name, label in events.items()
        ],
        "has_mail": settings.HAS_MAIL,
        "destinations": _destinations(user, events),
    }
    return render(request, "notifications/settings.html", context)


def _destinations(
    user: User, events: dict[str, str]
) -> list[tuple[Destination, str, Delivery | None]]:
    """Each with what it gets, in words, and the last thing that was sent there."""
    shown = []
    for one in user.destinations.all():
        last = one.deliveries.order_by("-pk").first()
        labels = [label for name, label in events.items() if one.wanted.gets(name)]
        what = "Everything" if len(labels) == len(events) else ", ".join(labels) or "Nothing"
        shown.append((one, what, last))
    return shown


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def add(request: HttpRequest) -> HttpResponse:
    """A new webhook or chat. Its secret is shown this once if we made it."""
    user = person(request)
    events = events_for(user)
    form = DestinationForm(list(events.items()), request.POST or None)
    if form.is_valid():
        found = form.cleaned_data
        wanted = Wanted({name: name in found["events"] for name in events})
        try:
            added, secret = changes.add_destination(
                user,
                found["channel"],
                found["address"],
                user,
                secret=found["secret"],
                wanted=wanted,
            )
        except Refused as why:
            form.add_error(why.about or None, str(why))
        else:
            changes.test_destination(added)
            if found["channel"] == Channel.WEBHOOK and not found["secret"]:
                context = {"secret": secret, "added": added}
                return render(request, "notifications/secret.html", context)
            messages.success(request, "Added. A test message is on its way.")
            return redirect("notification_settings")
    return render(request, "notifications/add.html", {"form": form})


def _own(request: HttpRequest, pk: int) -> Destination:
    return get_object_or_404(
        Destination.objects.select_related("person"), pk=pk, person=request.user
    )


@require_POST
def test(request: HttpRequest, pk: int) -> HttpResponse:
    if changes.test_destination(_own(request, pk)):
        messages.success(request, "A test message is on its way. Its result appears here.")
    else:
        messages.info(request, "The last test message is still on its way.")
    return redirect("notification_settings")


@require_POST
def remove(request: HttpRequest, pk: int) -> HttpResponse:
    changes.remove_destination(_own(request, pk), person(request))
    messages.success(request, "Removed. Nothing more is sent there.")
    return redirect("notification_settings")


@require_POST
def follow(request: HttpRequest, pk: int) -> HttpResponse:
    """`on`: yes or no. Whoever may see a job may follow it."""
    job = find_seen_job(request, pk)
    on = request.POST.get("on") == "yes"
    changes.follow(job, person(request), on=on)
    is_mailed = settings.HAS_MAIL and person(request).email and not outbox.is_practice(job)
    if on and is_mailed:
        messages.success(request, "We’ll email you when this job ends.")
    elif on:
        messages.success(request, "The bell will tell you when this job ends or needs a decision.")
    return redirect("job", pk)
