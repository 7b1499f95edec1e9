"""Who may make the first account: whoever has the link that `serve` shows, and on a practice site
for one machine everybody on that machine."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest

from ..actions import first_account

# With one of these, a request came through a proxy, perhaps from another machine.
OF_PROXIES = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP")


def is_for_this_machine() -> bool:
    """Is this a practice site that only this machine can reach, as far as its settings say?"""
    names = [settings.BIND, *settings.ALLOWED_HOSTS]
    return settings.PRACTICE and not settings.HTTPS and all(map(_is_loopback, names))


def may_set_up(request: HttpRequest) -> bool:
    if first_account.is_token(request.GET.get("token", "")):
        return True
    return (
        is_for_this_machine()
        and _is_loopback(request.get_host())
        and _is_loopback(_in_brackets(request.META.get("REMOTE_ADDR", "")))
        and not any(name in request.headers for name in OF_PROXIES)
    )


def _is_loopback(host: str) -> bool:
    """Whether `host`, with or without a port, is this machine."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _in_brackets(address: str) -> str:
    return f"[{address}]" if ":" in address else address
