"""How long a session lasts, who needs a second factor, and what auditors cannot do."""

from __future__ import annotations

import time
from collections.abc import Callable

from allauth.mfa.utils import is_mfa_enabled
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.auth import logout
from django.contrib.auth.models import User
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden
from django.shortcuts import redirect
from django.utils import timezone

from ..models import is_administrator, only_reads
from .middleware import name_of_page
from .views.errors import Refused, forbidden

GetResponse = Callable[[HttpRequest], HttpResponse]
BEGAN, SEEN = "session_began", "session_seen"  # in the session, as seconds since 1970
TRACKED_EVERY = 300  # seconds; each time costs a write
# What people do for themselves, whatever their role is.
OWN = {"logout", "password", "tour", "account_mail", "usersessions_list", "account_reauthenticate"}
OWN |= {"notifications_read", "notification_settings", "notification_add", "notification_test"}
OWN |= {"notification_remove", "follow"}
# Where a person gets to who has to set up two-factor sign-in first.
SET_UP = {"logout", "password", "help_sign_in", "account_reauthenticate", "robots", "favicon"}
AUDITOR = "You are an auditor. You can read everything, and change nothing."


def session_limits(get_response: GetResponse) -> GetResponse:
    """Sign out who has opened no page for SESSION_IDLE_HOURS, or signed in over SESSION_MAX_DAYS
    ago. A page that renews itself is not activity."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.user.is_authenticated:
            now = time.time()
            began = request.session.setdefault(BEGAN, now)
            seen = request.session.setdefault(SEEN, 0.0) or began
            is_over = now - began > settings.SESSION_MAX_DAYS * 24 * 3600
            if is_over or now - seen > settings.SESSION_IDLE_HOURS * 3600:
                UserSession.objects.filter(session_key=request.session.session_key).delete()
                logout(request)
            elif is_by_hand(request) and now - request.session[SEEN] > TRACKED_EVERY:
                track(request, now)
        return get_response(request)

    return middleware


def is_by_hand(request: HttpRequest) -> bool:
    return request.method != "GET" or request.headers.get("HX-Request") != "true"


def track(request: HttpRequest, now: float) -> None:
    """Remember that this session is used; also for the list of sessions. A full disk or a busy
    database is no reason to show no page."""
    mine = UserSession.objects.filter(session_key=request.session.session_key)
    try:
        if not mine.update(last_seen_at=timezone.now()):
            UserSession.objects.create_from_request(request)
    except DatabaseError:
        return
    request.session[SEEN] = now


def two_factor_required(get_response: GetResponse) -> GetResponse:
    """Lead people who need a second factor and have none to the page that sets one up."""

    def middleware(request: HttpRequest) -> HttpResponse:
        user = request.user
        if user.is_authenticated and lacks_two_factor(request, user):
            name = name_of_page(request)
            if name not in SET_UP and not name.startswith("mfa_"):
                if request.headers.get("HX-Request") == "true":
                    return HttpResponseForbidden("Set up two-factor sign-in first.")
                return redirect("mfa_index")
        return get_response(request)

    return middleware


def must_have_two_factor(user: User) -> bool:
    required: str = settings.REQUIRE_TWO_FACTOR
    return required == "all" or (required == "administrators" and is_administrator(user))


def lacks_two_factor(request: HttpRequest, user: User) -> bool:
    """Who came by single sign-on has proven themselves there."""
    if not must_have_two_factor(user) or is_mfa_enabled(user, types=["totp", "webauthn"]):
        return False
    records = request.session.get("account_authentication_methods", [])
    return not any(record.get("method") == "socialaccount" for record in records)


def auditors_change_nothing(get_response: GetResponse) -> GetResponse:
    """The one place that refuses what would change something."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.method not in ("GET", "HEAD", "OPTIONS") and only_reads(request.user):
            name = name_of_page(request)
            if name not in OWN and not name.startswith("mfa_"):
                return forbidden(request, Refused(AUDITOR))
        return get_response(request)

    return middleware
