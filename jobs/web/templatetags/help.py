"""The "?" of a page, and terms that explain themselves."""

from __future__ import annotations

from typing import Any

from django import template
from django.contrib.auth.models import AnonymousUser, User
from django.template import Context
from django.urls import reverse

from ...models import Job, is_administrator
from .. import help_pages, help_places, tour

register = template.Library()

# What people ask about most: the term, and what it means in at most two sentences.
TERMS = {
    "token": (
        "A token is a piece of text, about four letters of English. "
        "Anthropic charges for the tokens that Claude reads and writes."
    ),
    "batch": (
        "A batch is up to 100,000 rows that we send to Anthropic together. "
        "It costs half the normal price and usually takes less than an hour."
    ),
    "ceiling": (
        "The most this job can be charged: every answer as long as you allow. "
        "We reserve this amount when you submit. Most jobs cost much less."
    ),
}


@register.simple_tag(takes_context=True)
def help_address(context: Context) -> str:
    """Where the "?" of this page leads."""
    request = context.get("request")
    match = getattr(request, "resolver_match", None)
    state = getattr(context.get("job"), "state", "")
    place = help_places.place_of(getattr(match, "url_name", None) or "", state)
    administrator = is_administrator(getattr(request, "user", AnonymousUser()))
    if place.partition("#")[0] in help_pages.names_for(administrator):
        return help_pages.address_of(place)
    return reverse("help")


@register.simple_tag(takes_context=True)
def tour_step(context: Context) -> int:
    """The step of the tour that this page shows, 0 for none."""
    request = context.get("request")
    match = getattr(request, "resolver_match", None)
    user, job = getattr(request, "user", None), context.get("job")
    if match is None or not isinstance(user, User) or not user.is_authenticated:
        return 0
    return tour.step_on(match.url_name or "", user, job if isinstance(job, Job) else None)


@register.inclusion_tag("help/_term.html")
def explain(term: str, words: str = "", place: str = "") -> dict[str, Any]:
    """A button that explains a term: `{% explain "ceiling" "at most" %}`. `words`: how the sentence
    calls it. `place`: tells two of the same term on one page apart."""
    return {"id": f"term-{term}-{place}".rstrip("-"), "words": words or term, "text": TERMS[term]}
