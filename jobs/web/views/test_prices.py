"""What a test of an edited prompt may cost, on its button and once more when it is pressed."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from django.conf import settings
from django.http import HttpRequest

from ...drafts import checks, trials
from ...models import Job, Row, dollars
from ...rules import pricing
from ...rules.pricing import UnknownPrice
from ...rules.recipes import Recipe
from ..templatetags.show import at_most

MOST_SEEN = Decimal(10) ** 12  # no test costs more


def most_of_a_test(job: Job, rows: Sequence[Row], recipe: Recipe) -> Decimal | None:
    """In US dollars; None if it cannot be sent or has no price."""
    if checks.recipe_problems(recipe, job.columns):
        return None
    try:
        planned = trials.plan_trials(job, list(rows), recipe, 0)
    except UnknownPrice:
        return None
    return dollars(sum(one.most_pico for one in planned))


def higher_price(request: HttpRequest, job: Job, rows: Sequence[Row], recipe: Recipe) -> str:
    """Why a test does not start that may cost more than its button showed (`seen`, in US dollars),
    or ""."""
    most = most_of_a_test(job, rows, recipe)
    if settings.PRACTICE or most is None:
        return ""
    if covers(seen_price(request), most):
        return ""
    return f"Nothing was sent. This test now costs {at_most(most)}. Test again to send it."


def seen_price(request: HttpRequest) -> Decimal:
    """The price in US dollars that was shown beside the button (`seen`); 0 if it is none."""
    try:
        seen = Decimal(request.POST.get("seen", ""))
    except InvalidOperation:
        return Decimal(0)
    return seen if seen.is_finite() and 0 <= seen <= MOST_SEEN else Decimal(0)


def covers(seen: Decimal, most: Decimal) -> bool:
    """Whether a test that costs up to `most` costs no more than was shown, in full cents."""
    return pricing.round_up(most) <= pricing.round_up(seen)
