"""What happens around every request: the content security policy, the sign-in, the time zone."""

from __future__ import annotations

import ipaddress
import re
import secrets
import zoneinfo
from collections.abc import Callable

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden
from django.shortcuts import redirect
from django.urls import Resolver404, resolve
from django.utils import timezone

from ..actions import first_account
from ..models import audit, storage, versions
from ..rules import log_context
from ..spending import price_overrides
from .views import errors

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
# Without an account: `login` and the help with it, `setup` while there is no account at all, what
# browsers and search engines ask for by a fixed address, and the other ways to sign in.
OPEN = (
    "login",
    "setup",
    "help_sign_in",
    "robots",
    "favicon",
    "invitation",
    "account_inactive",
    "account_reset_password",
    "account_reset_password_done",
    "account_reset_password_from_key",
    "account_reset_password_from_key_done",
    "mfa_authenticate",
    "mfa_login_webauthn",
    "openid_connect_login",
    "openid_connect_callback",
    "socialaccount_login_cancelled",
)
# Others could forge lines of the log, or name what belongs to nobody else.
SANE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{7,63}")
# The browser's own time zone, as static/site.js writes it down.
TIME_ZONE_COOKIE = "__Host-time_zone" if settings.HTTPS else "time_zone"
TIME_ZONE_SESSION = "time_zone"  # as it was when the person signed in


def request_id(get_response: GetResponse) -> GetResponse:
    """Give each request an id, or take over that of the proxy, for the log, for what the worker
    does because of it, and for the client."""

    def middleware(request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-ID", "")
        number = given if SANE_ID.fullmatch(given) else secrets.token_hex(8)
        with log_context.about(request=number):
            response = get_response(request)
        response.headers["X-Request-ID"] = number
        return response

    return middleware


def room_to_sign_in(get_response: GetResponse) -> GetResponse:
    """On a full disk there is room to sign in and delete something, for as long as the ballast is
    there."""

    def middleware(request: HttpRequest) -> HttpResponse:
        storage.give_up_ballast_if_full()
        return get_response(request)

    return middleware


def same_version(get_response: GetResponse) -> GetResponse:
    """A web server of another version than the database shows a sentence instead of pages."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if versions.trouble:
            return errors.other_version(request)
        return get_response(request)

    return middleware


def content_security_policy(get_response: GetResponse) -> GetResponse:
    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        # A download brings a stricter one of its own.
        response.headers.setdefault("Content-Security-Policy", POLICY)
        return response

    return middleware


def audit_origin(get_response: GetResponse) -> GetResponse:
    """What is recorded in the audit log meanwhile was done from the address of this client."""

    def middleware(request: HttpRequest) -> HttpResponse:
        with audit.acting_from(client_address(request)):
            return get_response(request)

    return middleware


def client_address(request: HttpRequest) -> str:
    """The network address of the client. Behind the proxy that HTTPS=on promises it is the last
    one in X-Forwarded-For, which the proxy wrote; those before it are the client's own words."""
    peer: str = request.META.get("REMOTE_ADDR", "")
    if not settings.HTTPS:
        return peer
    last = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
    try:
        return str(ipaddress.ip_address(last))
    except ValueError:
        return peer


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
            log_context.add(person=request.user.pk)
            response = get_response(request)
            response.headers.setdefault("Cache-Control", "no-store")
            return response
        if name_of_page(request) in OPEN:
            return get_response(request)
        if request.headers.get("HX-Request") == "true":
            return HttpResponseForbidden(
                "You are signed out.", content_type="text/plain; charset=utf-8"
            )
        if first_account.is_missing():
            return redirect("setup")
        if request.method == "GET":
            return redirect_to_login(request.get_full_path())
        return redirect(settings.LOGIN_URL)

    return middleware


def name_of_page(request: HttpRequest) -> str:
    """The name of the address; "" if there is no such page."""
    try:
        return resolve(request.path_info).url_name or ""
    except Resolver404:
        return ""


def time_zone(get_response: GetResponse) -> GetResponse:
    """Show times as the person's clock does: as the browser says with this request, or said when
    they signed in. What names no time zone is ignored."""

    def middleware(request: HttpRequest) -> HttpResponse:
        zone = _zone(request.COOKIES.get(TIME_ZONE_COOKIE, ""))
        with timezone.override(zone or _zone(request.session.get(TIME_ZONE_SESSION, ""))):
            return get_response(request)

    return middleware


def _zone(name: str) -> zoneinfo.ZoneInfo | None:
    if not name:
        return None
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return None
