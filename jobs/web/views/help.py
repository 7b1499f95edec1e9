"""The help inside the site."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from ...models import is_administrator
from .. import help_pages
from ..help_search import search
from .access import asked, person


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """`q`: words to look for."""
    query = asked(request, "q")
    pages = help_pages.pages_for(is_administrator(person(request)))
    context = {
        "query": query,
        "hits": search(query, pages),
        "using": [page for page in pages if page.name in help_pages.USING],
        "running": [page for page in pages if page.name in help_pages.RUNNING],
    }
    return render(request, "help/index.html", context)


@require_safe
def page(request: HttpRequest, name: str) -> HttpResponse:
    """404 for administrators' pages to everybody else."""
    if name not in help_pages.names_for(is_administrator(person(request))):
        raise Http404
    return render(request, "help/page.html", {"page": help_pages.find_page(name)})


@require_safe
def sign_in(request: HttpRequest) -> HttpResponse:
    """The one page that can be read without an account."""
    return render(request, "help/page.html", {"page": help_pages.find_page(help_pages.SIGN_IN)})
