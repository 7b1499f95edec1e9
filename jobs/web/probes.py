"""What other programs ask to learn how the site is. Answered before everything else that happens
around a request, so that it needs no host name, no https, no session and no database.

/healthz  this web server answers. For load balancers and containers.
/readyz   the database answers, a worker is alive, the disk can be written to and has its reserve,
          and the provider was reached lately. For monitoring: a load balancer must not take pages
          away from people who could look for the reason on them.
/metrics  numbers for Prometheus, for who knows METRICS_TOKEN.

Strangers learn a yes or a no, and many who ask cost no more than one look a second.
"""

from __future__ import annotations

import hmac
import threading
from collections.abc import Callable

from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed

from ..models import Heartbeat, clock, storage, versions
from ..rules import site_health
from . import metrics

GetResponse = Callable[[HttpRequest], HttpResponse]

FRESH_SECONDS = 1.0  # an answer counts for so long
PLAIN = "text/plain; charset=utf-8"
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


def answer_probes(get_response: GetResponse) -> GetResponse:
    def middleware(request: HttpRequest) -> HttpResponse:
        probe = PROBES.get(request.path_info.rstrip("/"))
        if probe is None:
            return get_response(request)
        if request.method not in ("GET", "HEAD"):
            response: HttpResponse = HttpResponseNotAllowed(["GET", "HEAD"])
        else:
            response = probe(request)
        response.headers["Content-Length"] = str(len(response.content))
        if request.method == "HEAD":
            response.content = b""  # gunicorn would drop it, and log that
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response._has_been_logged = True  # type: ignore[attr-defined]  # Django would call it an error
        return response

    return middleware


def healthz(request: HttpRequest) -> HttpResponse:
    return _plain("ok", 200)


def readyz(request: HttpRequest) -> HttpResponse:
    return _plain("ok", 200) if _readiness.is_given() else _plain("not ready", 503)


def show_metrics(request: HttpRequest) -> HttpResponse:
    if not settings.METRICS_TOKEN:
        return _plain("not found", 404)
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    given, wanted = token.strip().encode(), settings.METRICS_TOKEN.encode()
    if not hmac.compare_digest(given, wanted) or kind.lower() != "bearer":
        response = _plain("a token is needed", 401)
        response.headers["WWW-Authenticate"] = "Bearer"
        return response
    try:
        return HttpResponse(metrics.exposition(), content_type=PROMETHEUS)
    except (DatabaseError, InterfaceError, OSError):
        return _plain("the database or the disk cannot be used", 503)


def _plain(words: str, status: int) -> HttpResponse:
    return HttpResponse(f"{words}\n", status=status, content_type=PLAIN)


PROBES = {"/healthz": healthz, "/readyz": readyz, "/metrics": show_metrics}


def is_ready() -> bool:
    """Look now: one query, and one look at the disk."""
    try:
        if versions.trouble or storage.is_low() or not storage.is_writable():
            return False
        beat = Heartbeat.get()
    except (DatabaseError, InterfaceError, OSError, Heartbeat.DoesNotExist):
        return False  # away, or its tables are of another version
    since = beat.provider_away_since
    is_away = since is not None and site_health.is_away(since, clock.now())  # which asks PostgreSQL
    return beat.worker_is_alive and not is_away


class Readiness:
    """The last look, shared by all who ask this process. While one looks, which can take long if
    the database hangs, the others get the last answer, or a no if that is old."""

    PATIENCE = 10.0  # seconds that an old answer counts while somebody looks

    def __init__(self, look: Callable[[], bool]) -> None:
        self._look = look
        self._lock = threading.Lock()
        self._answer, self._at = False, float("-inf")

    def is_given(self) -> bool:
        if clock.uptime() - self._at < FRESH_SECONDS:
            return self._answer
        if not self._lock.acquire(blocking=False):
            return self._answer and clock.uptime() - self._at < self.PATIENCE
        try:
            self._answer = self._look()
            self._at = clock.uptime()
            return self._answer
        finally:
            self._lock.release()


_readiness = Readiness(lambda: is_ready())
