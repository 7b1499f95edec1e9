"""What happens around every request: the content security policy, the sign-in, the time zone."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone

from ..models import Installation, storage
from ..spending import price_overrides

GetResponse = Callable[[HttpRequest], HttpResponse]

# Scripts, styles and everything else from this site only, and none of them inline. `data:` is for
# the small pictures inside the stylesheet (arrows, ticks).
POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "font-src 'self'",
        "manifest-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ]
)
# Pages without an account: `login`, and `setup` while there is no account at all.
OPEN = ("login", "setup")
# The browser's own time zone, as static/site.js writes it down.
TIME_ZONE_COOKIE = "time_zone"


def room_to_sign_in(get_response: GetResponse) -> GetResponse:
    """On a full disk there is room to sign in and delete something, for as long as the ballast is
    there."""

    def middleware(request: HttpRequest) -> HttpResponse:
        storage.give_up_ballast_if_full()
        return get_response(request)

    return middleware


def content_security_policy(get_response: GetResponse) -> GetResponse:
    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        # A download brings a stricter one of its own.
        response.headers.setdefault("Content-Security-Policy", POLICY)
        return response

    return middleware


def prices_in_force(get_response: GetResponse) -> GetResponse:
    """What an administrator entered on another process a moment ago holds on this one, too."""

    def middleware(request: HttpRequest) -> HttpResponse:
        price_overrides.load_prices()
        return get_response(request)

    return middleware


def sign_in_required(get_response: GetResponse) -> GetResponse:
    """Nobody sees anything without an account: pages lead to the sign-in, or to the set-up when
    there is no account yet; fragments answer 403, so that a poll never shows a sign-in form
    inside a page. What a signed-in person gets to see is not for caches or shared computers."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.user.is_authenticated:
            response = get_response(request)
            response.headers.setdefault("Cache-Control", "no-store")
            return response
        if request.path in {reverse(name) for name in OPEN}:
            return get_response(request)
        if request.headers.get("HX-Request") == "true":
            return HttpResponseForbidden("You are signed out.", content_type="text/plain")
        if needs_set_up():
            return redirect("setup")
        if request.method == "GET":
            return redirect_to_login(request.get_full_path())
        return redirect(settings.LOGIN_URL)

    return middleware


def needs_set_up() -> bool:
    """Is there no account yet? One made on the command line counts."""
    return Installation.get().set_up_at is None and not User.objects.exists()


def time_zone(get_response: GetResponse) -> GetResponse:
    """Show times as the person's clock does. A cookie that names no time zone is ignored."""

    def middleware(request: HttpRequest) -> HttpResponse:
        with timezone.override(_zone(request.COOKIES.get(TIME_ZONE_COOKIE, ""))):
            return get_response(request)

    return middleware


def _zone(name: str) -> zoneinfo.ZoneInfo | None:
    if not name:
        return None
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return None
