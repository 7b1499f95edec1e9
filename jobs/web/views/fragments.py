"""Parts of pages that keep themselves up to date: the browser asks again every few seconds, and
is answered only when there is something else to see."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.safestring import SafeString

from ...models import Job


@dataclass(frozen=True)
class Part:
    """A piece of a page with the address it comes from. `seconds` is the time between two looks;
    None when there is nothing left to watch. Its template must be the same for the same data, so
    forms in it have their token outside of it (`<button form=…>`)."""

    id: str
    html: SafeString
    url: str
    seconds: int | None
    # The first look follows at once: what it waits for is often done by then.
    at_once: bool = False

    @property
    def version(self) -> str:
        seen = f"{self.seconds}{self.html}"
        return hashlib.sha256(seen.encode()).hexdigest()[:16]

    @property
    def watch_url(self) -> str:
        separator = "&" if "?" in self.url else "?"
        return f"{self.url}{separator}{urlencode({'v': self.version})}"


def make_part(
    request: HttpRequest,
    part_id: str,
    template: str,
    context: dict[str, Any],
    *,
    url: str,
    seconds: int | None,
    at_once: bool = False,
) -> Part:
    html = render_to_string(template, context, request)
    return Part(part_id, html, url, seconds, at_once)


def answer(request: HttpRequest, part: Part) -> HttpResponse:
    """The part alone; 204, on which htmx changes nothing, when the browser has it as it is."""
    if request.GET.get("v") == part.version:
        return HttpResponse(status=204)
    return render(request, "_part.html", {"part": part})


def reload_page() -> HttpResponse:
    """Tell htmx to load the whole page anew: it has become another one."""
    return HttpResponse(headers={"HX-Refresh": "true"})


def whole_number(text: str | None, otherwise: int = 0) -> int:
    """The number in an address or a field, `otherwise` when there is none."""
    is_one = text and text.isascii() and text.isdigit() and len(text) < 10
    return int(text or 0) if is_one else otherwise


def redirect_to_job(request: HttpRequest, job: Job) -> HttpResponse:
    """The job is no draft any more, perhaps by another tab: show what it is now."""
    address = reverse("job", args=[job.pk])
    if request.headers.get("HX-Request"):
        return HttpResponse(headers={"HX-Redirect": address})
    return redirect(address)
