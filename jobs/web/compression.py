"""Pages are compressed. Static files are by whitenoise, and downloads are sent as they are."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.middleware.gzip import GZipMiddleware

LEAST = 1000  # bytes; below, the headers weigh more


class PageCompression(GZipMiddleware):
    """Compresses whole HTML pages and parts of pages.

    From the length of compressed pages an attacker who makes someone load them again and again can
    guess a secret on them (BREACH). The only secret on a page is the CSRF token, which is masked
    anew each time. The random bytes that are added to each answer make it slow to learn anything
    else, and the session cookie, SameSite=Lax, does not come with what other sites load in the
    background."""

    max_random_bytes = 100

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:  # type: ignore[override]  # a narrower type
        kind = response.headers.get("Content-Type", "")
        if response.streaming or not kind.startswith("text/html") or len(response.content) < LEAST:
            return response
        return super().process_response(request, response)  # type: ignore[return-value]  # as above


def compress_pages(get_response: Callable[[HttpRequest], HttpResponse]) -> PageCompression:
    return PageCompression(get_response)
