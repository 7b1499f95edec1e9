"""How a draft could cost less: each piece of advice says what it saves and can be taken by a click.

Amounts are US dollars at the batch rate, by the draft's own estimate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

from ..models import Job, Outcome, recipe_of, trial_key
from ..rules import pricing, recipes, wording
from ..rules.answer_formats import TEXT
from ..rules.model_capabilities import rules_of
from ..rules.recipes import Recipe
from . import estimates, model_catalog, prompt_caching
from .answer_lengths import LEAST_TRIED
from .estimates import Estimate

# A longest answer this many times as long as what was needed is far too long.
FAR_ABOVE = 4
# What a person would not miss.
LEAST = Decimal("0.01")


@dataclass(frozen=True)
class Advice:
    """One way to pay less."""

    code: str
    text: str
    button: str
    recipe: Recipe  # as it would be


def advice_for(job: Job, estimate: Estimate | None) -> list[Advice]:
    """What a person may do to pay less for a draft, none while there is no price."""
    if estimate is None or estimate.trouble or job.kind != Job.Kind.TABLE:
        return []
    recipe = recipe_of(job)
    return [
        *_cheaper_model(job, estimate, recipe),
        *_only_new(job, estimate, recipe),
        *_same_rows(job, estimate, recipe),
        *_shared_instructions(job, estimate, recipe),
        *_prompt_caching(job, estimate, recipe),
        *_shorter(job, estimate, recipe),
    ]


def find_advice(job: Job, estimate: Estimate | None, code: str) -> Advice | None:
    return next((one for one in advice_for(job, estimate) if one.code == code), None)


def _shorter(job: Job, estimate: Estimate, recipe: Recipe) -> Iterator[Advice]:
    """The longest answer is far above what the tried rows needed."""
    tested = job.trials.to_learn_from().filter(recipe_key=trial_key(job, recipe))
    needed = list(tested.values_list("number", "output_tokens", "outcome"))
    rows = {number for number, _tokens, _outcome in needed}
    if len(rows) < LEAST_TRIED or any(outcome != Outcome.GOOD for _, _, outcome in needed):
        return
    longest = max(tokens for _, tokens, _ in needed)
    if recipe.longest < FAR_ABOVE * longest:
        return
    # Twice as long as any of them, in round numbers.
    enough = -(-2 * longest // 50) * 50
    shorter = replace(recipe, max_tokens=enough)
    [prices] = estimates.price_recipes(job, estimate, [shorter])
    if prices is None or estimate.most - prices.most < LEAST:
        return
    yield Advice(
        "shorter",
        f"No tried answer needed more than {longest:,} tokens, and {recipe.longest:,} are allowed. "
        f"With {enough:,} the job costs {pricing.in_words(estimate.most - prices.most)} less at "
        "most; what it usually costs stays the same.",
        f"Allow {enough:,} tokens",
        shorter,
    )


def _only_new(job: Job, estimate: Estimate, recipe: Recipe) -> Iterator[Advice]:
    """The job that this one runs again has answered some of the rows already."""
    if recipe.only_new or not (count := estimate.basis.survey.known):
        return
    new = replace(recipe, only_new=True)
    if (saves := _saved(job, estimate, new)) >= LEAST:
        have = "has its answer" if count == 1 else "have their answers"
        yield Advice(
            "only_new",
            f"{wording.rows(count)} {have} from job {job.previous_id}. If only the others are "
            f"sent, the job usually costs {pricing.in_words(saves)} less.",
            "Send only new and changed rows",
            new,
        )


def _saved(job: Job, estimate: Estimate, other: Recipe) -> Decimal:
    """US dollars that the job usually costs less with `other`; 0 when that is not known."""
    [prices] = estimates.price_recipes(job, estimate, [other])
    if prices is None:
        return Decimal(0)
    return (estimate.low + estimate.high - prices.low - prices.high) / 2


def _same_rows(job: Job, estimate: Estimate, recipe: Recipe) -> Iterator[Advice]:
    """Some rows repeat an earlier one, so that one answer would do."""
    if recipe.same_once or not (count := estimate.basis.survey.alike):
        return
    once = replace(recipe, same_once=True)
    if (saves := _saved(job, estimate, once)) >= LEAST:
        which = f"{wording.rows(count)} {'repeats' if count == 1 else 'repeat'} an earlier one"
        yield Advice(
            "once",
            f"{which} in the cells that are used. Sent once, with the answer copied to the others, "
            f"the job usually costs {pricing.in_words(saves)} less.",
            "Send them once",
            once,
        )


def _shared_instructions(job: Job, estimate: Estimate, recipe: Recipe) -> Iterator[Advice]:
    """Each row repeats a long text that could be kept once at the provider."""
    head = recipes.shared_beginning(recipe.prompt)
    if recipe.system.strip() and not recipes.is_shared(recipe):
        return
    token_bytes = rules_of(recipe.model).token_bytes
    tokens = round(len(f"{recipe.system}{head}".encode()) / token_bytes)
    if not head or tokens < rules_of(recipe.model).cache_from:
        return
    moved = recipes.with_instructions(recipe, head)
    offer = prompt_caching.price_caching(moved.model, tokens, estimate.rows)
    if offer.saves >= LEAST:
        yield Advice(
            "instructions",
            _caching_text(offer, "Every row begins with the same text"),
            "Make it the instructions, and keep them",
            replace(moved, cached=True),
        )


def _prompt_caching(job: Job, estimate: Estimate, recipe: Recipe) -> Iterator[Advice]:
    """The instructions are long enough to be kept."""
    offer = prompt_caching.offer_caching(job, estimate)
    if offer and offer.is_possible and not recipe.cached and offer.saves >= LEAST:
        yield Advice(
            "kept",
            _caching_text(offer, "The instructions are the same for all rows"),
            "Keep the instructions",
            replace(recipe, cached=True),
        )


def _caching_text(offer: prompt_caching.CachingOffer, what: str) -> str:
    less = pricing.in_words(offer.saves)
    more = pricing.in_words(offer.costs)
    return (
        f"{what}, about {offer.tokens:,} tokens. Kept at Anthropic while the job runs, they may "
        f"cost up to {less} less, when most rows find them, and up to {more} more, when none does."
    )


def _cheaper_model(job: Job, estimate: Estimate, recipe: Recipe) -> Iterator[Advice]:
    """A cheaper model gave the same answers to all rows that were tried with both."""
    if recipe.answer.kind == TEXT:  # two free texts are never the same
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
        if prices is None or len(both) < LEAST_TRIED:
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
            f"{name} gave the same answers to all {count} rows that you tried with both. With it "
            f"the job usually costs {pricing.in_words(saves)} less.",
            f"Use {name}",
            other,
        )


def _answers(job: Job) -> dict[str, dict[int, str]]:
    """The good answers that were tried, by the trial_key and the row; the last one counts."""
    found: dict[str, dict[int, str]] = {}
    tested = job.trials.to_learn_from().filter(outcome=Outcome.GOOD)
    for key, number, answer in tested.values_list("recipe_key", "number", "answer"):
        found.setdefault(key, {})[number] = answer
    return found
