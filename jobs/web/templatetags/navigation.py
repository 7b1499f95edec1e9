"""The pages in the header."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django import template

from ...models import sees_everything

register = template.Library()


@dataclass(frozen=True)
class SitePage:
    name: str  # of its address
    title: str
    folders: tuple[str, ...]  # of the addresses that belong to it
    administrators: bool = False  # for them and auditors only


PAGES = (
    SitePage("jobs", "Jobs", ("jobs",)),
    SitePage("templates", "Templates", ("templates",)),
    SitePage("spending", "Spending", ("spending",)),
    SitePage("people", "People", ("people", "teams"), administrators=True),
)


@dataclass(frozen=True)
class Link:
    name: str
    title: str
    current: str  # for aria-current: "page", "true" on a page inside of it, or ""


@register.simple_tag(takes_context=True)
def site_pages(context: dict[str, Any]) -> list[Link]:
    """The pages that the person may open."""
    request = context["request"]
    match = getattr(request, "resolver_match", None)
    folder = request.path.strip("/").partition("/")[0]

    def current(page: SitePage) -> str:
        if match is not None and match.url_name == page.name:
            return "page"
        return "true" if match is not None and folder in page.folders else ""

    shown = [page for page in PAGES if sees_everything(request.user) or not page.administrators]
    return [Link(page.name, page.title, current(page)) for page in shown]
