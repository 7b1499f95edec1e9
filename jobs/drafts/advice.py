"""How a draft could cost less. Each piece of advice says what it saves and is applied with one
click.

Amounts are US dollars at the batch rate, by the draft's own estimate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

from ..models import Job, Outcome, recipe_of, trial_key
from ..rules import pricing, recipes, wording
from ..rules.answer_formats import TEXT
from ..rules.model_capabilities import model_rules
from ..rules.price_estimates import Estimate
from ..rules.recipes import Recipe
from . import estimates, model_catalog, prompt_caching
from .answer_lengths import LEAST_TESTED

# A maximum answer length is too large if it is this many times what was needed.
FAR_ABOVE = 4
SHORTER = "shorter"
# Smaller savings are not worth a mention.
LEAST = Decimal("0.01")
# One piece of advice is shown unasked, if it saves as much: US dollars, or a share of the price.
LEAST_SHOWN, LEAST_SHARE = Decimal(1), Decimal("0.1")


@dataclass(frozen=True)
class Advice:
    """One way to pay less."""

    code: str
    text: str
    button: str
    recipe: Recipe  # with the advice applied
    saves: Decimal  # US dollars, as far as is known


def advice_for(job: Job, estimate: Estimate | None) -> list[Advice]:
    """The advice for a draft; none until it has a price."""
    if estimate is None or estimate.trouble or job.kind != Job.Kind.TABLE:
        return []
    recipe = recipe_of(job)
    return [
        *_cheaper_model(job, estimate, recipe),
        *_only_new(job, estimate, recipe),
        *_same_rows(job, estimate, recipe),
        *_empty_cells(estimate, recipe),
        *_shared_instructions(job, estimate, recipe),
        *_prompt_caching(job, estimate, recipe),
        *_shorter(job, estimate, recipe),
    ]


def best_advice(job: Job, estimate: Estimate | None) -> Advice | None:
    """The one that saves most, if that is worth interrupting for."""
    if estimate is None:
        return None
    enough = min(LEAST_SHOWN, LEAST_SHARE * estimate.most)
    worth = [
        one
        for one in advice_for(job, estimate)
        # A lower ceiling alone charges nobody less.
        if one.saves >= (LEAST_SHOWN if one.code == SHORTER else max(enough, LEAST))
    ]
    return max(worth, key=lambda one: one.saves, default=None)


def find_advice(job: Job, estimate: Estimate | None, code: str) -> Advice | None:
    return next((one for one in advice_for(job, estimate) if one.code == code), None)


def _shorter(job: Job, estimate: Estimate, recipe: Recipe) -> Iterator[Advice]:
    """Lower a maximum answer length that is far above what tested rows needed."""
    tested = job.trials.to_learn_from().filter(recipe_key=trial_key(job, recipe))
    needed = list(tested.values_list("number", "output_tokens", "outcome"))
    rows = {number for number, _tokens, _outcome in needed}
    if len(rows) < LEAST_TESTED or any(outcome != Outcome.GOOD for _, _, outcome in needed):
        return
    longest = max(tokens for _, tokens, _ in needed)
    if recipe.longest < FAR_ABOVE * longest:
        return
    # Twice the longest tested answer, rounded up.
    enough = -(-2 * longest // 50) * 50
    shorter = replace(recipe, max_tokens=enough)
    [prices] = estimates.price_recipes(job, estimate, [shorter])
    if prices is None or estimate.most - prices.most < LEAST:
        return
    less = pricing.format_dollars(estimate.most - prices.most)
    yield Advice(
        SHORTER,
        f"No tested answer needed more than {longest:,} tokens, and {recipe.longest:,} are "
        f"allowed. Allowing {enough:,} lowers the most this job can cost by {less}. The expected "
        "price stays the same.",
        f"Allow {enough:,} tokens",
        shorter,
        estimate.most - prices.most,
    )


def _only_new(job: Job, estimate: Estimate, recipe: Recipe) -> Iterator[Advice]:
    """Reuse the answers of earlier jobs."""
    survey = estimate.basis.survey
    if recipe.only_new or not (count := survey.answered):
        return
    new = replace(recipe, only_new=True)
    if (saves := _saved(job, estimate, new)) >= LEAST:
        whose = "Earlier jobs have" if survey.reused else f"Job {job.previous_id} has"
        yield Advice(
            "only_new",
            f"{whose} already answered {wording.rows(count)}. Sending only the others saves about "
            f"{pricing.format_dollars(saves)}.",
            "Reuse earlier answers",
            new,
            saves,
        )


def saved_by_reuse(job: Job, estimate: Estimate) -> Decimal:
    """US dollars that the answers of earlier jobs save at the expected price; 0 if unknown."""
    if job.kind == Job.Kind.REQUESTS:
        prices = estimates.price_all_requests(job, estimate)
        return prices.expected - estimate.expected if prices else Decimal(0)
    return -_saved(job, estimate, replace(recipe_of(job), only_new=False))


def _saved(job: Job, estimate: Estimate, other: Recipe) -> Decimal:
    """US dollars that `other` saves at the expected price; 0 if unknown."""
    [prices] = estimates.price_recipes(job, estimate, [other])
    return estimate.expected - prices.expected if prices else Decimal(0)


def _same_rows(job: Job, estimate: Estimate, recipe: Recipe) -> Iterator[Advice]:
    """Skip duplicates."""
    if recipe.skip_duplicates or not (count := estimate.basis.survey.alike):
        return
    once = replace(recipe, skip_duplicates=True)
    if (saves := _saved(job, estimate, once)) >= LEAST:
        yield Advice(
            "once",
            f"This file has {wording.rows(count)} with the same cells as an earlier one. Sending "
            f"each only once and copying its answer saves about {pricing.format_dollars(saves)}.",
            "Skip duplicates",
            once,
            saves,
        )


def _empty_cells(estimate: Estimate, recipe: Recipe) -> Iterator[Advice]:
    """Skip rows with an empty cell: offered beside the remark about them, whatever it saves."""
    if count := 0 if recipe.skip_empty else estimate.basis.survey.sent_with_gap:
        yield Advice(
            "skip_empty",
            f"{wording.rows(count)} with an empty cell will be sent anyway.",
            "Skip rows with an empty cell",
            replace(recipe, skip_empty=True),
            Decimal(0),
        )


def _shared_instructions(job: Job, estimate: Estimate, recipe: Recipe) -> Iterator[Advice]:
    """Cache a long text at the beginning of each prompt as background."""
    head = recipes.shared_beginning(recipe.prompt)
    if recipe.system.strip() and not recipes.has_shared_system(recipe):
        return
    token_bytes = model_rules(recipe.model).token_bytes
    tokens = round(len(f"{recipe.system}{head}".encode()) / token_bytes)
    if not head or tokens < model_rules(recipe.model).cache_from:
        return
    moved = recipes.move_to_system(recipe, head)
    offer = prompt_caching.price_caching(moved.model, tokens, estimate.rows)
    if offer.saves >= LEAST:
        yield Advice(
            "instructions",
            _caching_text(offer, "Every prompt begins with the same text"),
            "Move it to the background and cache it",
            replace(moved, cached=True),
            offer.saves,
        )


def _prompt_caching(job: Job, estimate: Estimate, recipe: Recipe) -> Iterator[Advice]:
    """Cache a background that is long enough."""
    offer = prompt_caching.offer_caching(job, estimate)
    if offer and offer.is_possible and not recipe.cached and offer.saves >= LEAST:
        yield Advice(
            "kept",
            _caching_text(offer, "All rows share the same background"),
            "Turn on prompt caching",
            replace(recipe, cached=True),
            offer.saves,
        )


def _caching_text(offer: prompt_caching.CachingOffer, what: str) -> str:
    less = pricing.format_dollars(offer.saves)
    more = pricing.format_dollars(offer.costs)
    return (
        f"{what} (about {offer.tokens:,} tokens). Prompt caching may save up to {less} if most "
        f"rows hit the cache, or cost up to {more} more if none does."
    )


def _cheaper_model(job: Job, estimate: Estimate, recipe: Recipe) -> Iterator[Advice]:
    """Use a cheaper model that gave the same answers to all rows tested with both."""
    if recipe.answer.kind == TEXT:  # free texts never match
        return
    answers = _answers(job)
    mine = answers.get(trial_key(job, recipe), {})
    others = [
        replace(recipe, model=offer.id)
        for offer in model_catalog.list_models()
        if offer.id != recipe.model and offer.has_price and not offer.deprecated
    ]
    best: tuple[Decimal, Recipe, int] | None = None
    for other, prices in zip(others, estimates.price_recipes(job, estimate, others), strict=True):
        theirs = answers.get(trial_key(job, other), {})
        both = mine.keys() & theirs.keys()
        if prices is None or len(both) < LEAST_TESTED:
            continue
        saves = (estimate.low + estimate.high - prices.low - prices.high) / 2
        agree = all(mine[row] == theirs[row] for row in both)
        if agree and saves >= LEAST and (best is None or saves > best[0]):
            best = saves, other, len(both)
    if best:
        saves, other, count = best
        name = model_catalog.name_of(other.model)
        yield Advice(
            "cheaper",
            f"{name} gave the same answers to all {count} rows that you tested with both models. "
            f"Using it saves about {pricing.format_dollars(saves)}.",
            f"Use {name}",
            other,
            saves,
        )


def _answers(job: Job) -> dict[str, dict[int, str]]:
    """The good test answers by trial_key and row number; the last one counts."""
    found: dict[str, dict[int, str]] = {}
    tested = job.trials.to_learn_from().filter(outcome=Outcome.GOOD)
    for key, number, answer in tested.values_list("recipe_key", "number", "answer"):
        found.setdefault(key, {})[number] = answer
    return found
