"""Prices of tokens and costs of requests, in US dollars. Pure; Decimal and integers only.

Prices entered by an administrator come first (`use_prices`), then those of the package genai-prices
(published_prices.py), then those of models.json, which has prices that the package lacks and all
other facts about models. A batch costs half of every token price, including prompt caching
(Anthropic's pricing page: "multipliers stack").
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, ROUND_UP, Decimal
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from . import published_prices
from .judging import GOOD, LOOK, Judgment, Usage
from .model_capabilities import model_rules

DEFAULT_MODEL = "claude-haiku-5-5"  # the cheapest in service
BATCH = Decimal("0.5")
US_ONLY = Decimal("1.1")  # inference_geo "us", for every kind of token
# A web search, also in a batch (pricing page: $10 for 1,000).
SEARCH = Decimal("0.01")
# No model has a higher price for prompts of up to this many tokens. A token has at least one byte,
# so shorter texts need not be counted.
LONG_FROM = 100_000
# Refusals before any output that are not charged (refusals page, September 2026).
FREE_REFUSALS = {"cyber", "general_harms", None}
# Money is stored as whole picodollars. Prices are for a million tokens, so a price of one dollar is
# a million picodollars per token.
_UNITS_A_DOLLAR, _UNITS_A_TOKEN = 1_000_000_000_000, 1_000_000


class UnknownPrice(LookupError):
    """A model has no known price."""


@dataclass(frozen=True)
class TokenPrices:
    """US dollars per million tokens, without the batch discount."""

    input: Decimal
    output: Decimal
    cache_write_5m: Decimal
    cache_write_1h: Decimal
    cache_read: Decimal


@dataclass(frozen=True)
class ModelFacts:
    """Facts about a model, without prices. Lengths are in tokens."""

    id: str
    aliases: tuple[str, ...]
    name: str
    family: str
    status: str  # active, deprecated, retired
    limited: bool  # only for selected organizations
    retires: date | None
    context: int
    max_output: int


@dataclass(frozen=True)
class PricedModel(ModelFacts):
    """A model with its prices."""

    prices: TokenPrices
    long_prompt_above: int | None  # tokens of a prompt above which `long_prices` apply
    long_prices: TokenPrices | None
    source: str  # where the prices come from
    as_of: date | None  # when they were last confirmed; None: unknown

    def prices_for(self, prompt_tokens: int) -> TokenPrices:
        if self.long_prices is None or prompt_tokens <= (self.long_prompt_above or 0):
            return self.prices
        return self.long_prices


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(Path(__file__).with_name("models.json").read_text())
    return table


@cache
def all_models() -> tuple[ModelFacts, ...]:
    """All models of the bundled table, the newest generation first."""
    return tuple(
        ModelFacts(
            id=entry["ids"][0],
            aliases=tuple(entry["ids"][1:]),
            name=entry["name"],
            family=entry["family"],
            status=entry["status"],
            limited=entry["limited"],
            retires=date.fromisoformat(entry["retires"]) if entry["retires"] else None,
            context=entry["context"],
            max_output=entry["max_output"],
        )
        for entry in _table()["models"]
    )


@cache
def find_model(model_id: str) -> ModelFacts | None:
    """The model with this id or alias, if the bundled table has it."""
    ours = (known for known in all_models() if model_id in (known.id, *known.aliases))
    return next(ours, None)


def source() -> tuple[str, date | None]:
    """Where most prices come from, and when they were last confirmed."""
    version, compared = published_prices.version(), _table()["compared"]
    words = f"{published_prices.PACKAGE} {version}"
    if version != compared["version"]:
        return words, None
    day = date.fromisoformat(compared["date"])
    return f"{words}, compared with Anthropic's own pages on {day}", day


@lru_cache(maxsize=2)
def _on(day: date) -> dict[str, PricedModel]:
    """Models with a price on this day by id, without entered prices."""
    found = {}
    for known, entry in zip(all_models(), _table()["models"], strict=True):
        if priced := _published(known, day) or _bundled(known, entry):
            found[known.id] = priced
    return found


def _published(known: ModelFacts, day: date) -> PricedModel | None:
    said = published_prices.published((known.id, *known.aliases), day, BATCH)
    if not said:
        return None
    # Ignore a step above the context: it is left over from a larger one.
    above = said.above if said.above and said.above < known.context else None
    return PricedModel(
        **vars(known),
        prices=TokenPrices(**said.prices),
        long_prompt_above=above,
        long_prices=TokenPrices(**said.long_prices) if above and said.long_prices else None,
        source=source()[0],
        as_of=source()[1],
    )


def _bundled(known: ModelFacts, entry: dict[str, Any]) -> PricedModel | None:
    prices = entry.get("usd_per_mtok")
    if not prices:
        return None
    return PricedModel(
        **vars(known),
        prices=TokenPrices(**{kind: Decimal(amount) for kind, amount in prices.items()}),
        long_prompt_above=None,
        long_prices=None,
        source=f"{_table()['source']} ({_table()['date']})",
        as_of=date.fromisoformat(_table()["date"]),
    )


# Entered prices by model id, and the day whose prices apply. Every process reads them from the
# database before it deals with money.
_own: dict[str, PricedModel] = {}
_day: date | None = None


def use_prices(entered: Iterable[PricedModel], day: date | None = None) -> None:
    """Use these prices, and for other models those of `day` (default: today)."""
    global _own, _day
    # In one step each: another thread may be calculating a price.
    _own, _day = {known.id: known for known in entered}, day


def _of_today() -> dict[str, PricedModel]:
    return _on(_day or datetime.now(UTC).date())


def prices_on(day: date, entered: Iterable[PricedModel]) -> dict[str, PricedModel]:
    """The prices of models by id that applied on `day` when these had been entered."""
    return {**_on(day), **{known.id: known for known in entered}}


def has_risen(before: PricedModel, now: PricedModel) -> bool:
    """Whether any request may cost more now."""
    steps = {0, *(one.long_prompt_above + 1 for one in (before, now) if one.long_prompt_above)}
    return any(
        amount > getattr(before.prices_for(tokens), kind)
        for tokens in steps
        for kind, amount in vars(now.prices_for(tokens)).items()
    )


def version() -> str:
    """Identifies the state of all prices."""
    state = hashlib.sha256(repr((priced_models(), SEARCH)).encode()).hexdigest()[:16]
    return f"{published_prices.PACKAGE} {published_prices.version()}, {_table()['date']}, {state}"


def priced_models() -> list[PricedModel]:
    """All models with a price, the newest generation of the table first."""
    priced = {**_of_today(), **_own}
    table = [priced.pop(known.id) for known in all_models() if known.id in priced]
    return [*table, *priced.values()]


def priced_model(model_id: str) -> PricedModel:
    """The model with this id or alias. Raises UnknownPrice when it has no price."""
    known = find_model(model_id)
    own_id = known.id if known else model_id
    priced = _own.get(own_id) or _of_today().get(own_id)
    if priced is None:
        raise UnknownPrice(model_id)
    return priced


def choosable_models() -> list[PricedModel]:
    """Models that people can choose for a new job: not retired and open to everyone."""
    return [known for known in priced_models() if known.status != "retired" and not known.limited]


def cost_of_tokens(
    model_id: str,
    input_tokens: Decimal | int,
    output_tokens: Decimal | int,
    prompt_tokens: int = 0,
    *,
    written: Decimal | int = 0,
    read: Decimal | int = 0,
    batch: bool = True,
) -> Decimal:
    """US dollars for these tokens of `model_id`, with prompts of `prompt_tokens`. `written` and
    `read`: tokens written to and read from the 1-hour cache, in addition to the input.

    Raises UnknownPrice.
    """
    prices = priced_model(model_id).prices_for(prompt_tokens)
    total = prices.input * input_tokens + prices.output * output_tokens
    total += prices.cache_write_1h * written + prices.cache_read * read
    return total / 1_000_000 * (BATCH if batch else 1)


def ceiling_of_tokens(
    model_id: str,
    input_tokens: int,
    output_tokens: Decimal | int,
    prompt_tokens: int,
    *,
    written: Decimal | int = 0,
    batch: bool = True,
) -> Decimal:
    """The most that these tokens can cost. `written` tokens, besides the input, may be cached
    for five minutes or an hour or be read from the cache, whichever costs most. Includes the price
    for any region, because the region is a setting of the workspace that no request shows.

    Raises UnknownPrice.
    """
    known = priced_model(model_id)
    most = Decimal(0)
    # Entered prices may make long prompts cheaper than short ones.
    for prices in {known.prices, known.prices_for(prompt_tokens)}:
        kept = max(prices.input, prices.cache_write_5m, prices.cache_write_1h, prices.cache_read)
        total = prices.input * input_tokens + kept * written + prices.output * output_tokens
        most = max(most, total / 1_000_000)
    if model_rules(known.id).region:
        most *= US_ONLY
    return most * (BATCH if batch else 1)


def caching_savings(model_id: str, written: int, read: int) -> Decimal:
    """US dollars saved by caching `written` tokens for an hour and reading `read` tokens from the
    cache; negative if caching cost more. Raises UnknownPrice."""
    without = cost_of_tokens(model_id, written + read, 0)
    return without - cost_of_tokens(model_id, 0, 0, written=written, read=read)


def cost_in_pico(judged: Judgment, *, batch: bool = True) -> int:
    """What one result was charged, in picodollars; without `batch` at the normal price.

    Only succeeded results are charged, and refusals depending on their category. Raises
    UnknownPrice.
    """
    usage = judged.usage
    if usage is None or judged.outcome not in (GOOD, LOOK):
        return 0
    if (
        judged.stop_reason == "refusal"
        and judged.refusal_category in FREE_REFUSALS
        and not usage.output_tokens
    ):
        return 0
    return _usage_in_pico(usage, judged.answered_by, BATCH if batch else Decimal(1))


def known_cost_in_pico(judged: Judgment) -> int:
    """As `cost_in_pico`, of a row of a batch; 0 without a price, which the job's tally counts."""
    try:
        return cost_in_pico(judged)
    except UnknownPrice:
        return 0


def _usage_in_pico(usage: Usage, model_id: str, rate: Decimal) -> int:
    written = usage.cache_creation_input_tokens or 0
    read = usage.cache_read_input_tokens or 0
    plain = usage.input_tokens or 0
    prices = priced_model(model_id).prices_for(plain + written + read)
    total = prices.input * plain + prices.output * (usage.output_tokens or 0)
    if read:
        total += prices.cache_read * read
    if written:
        split = usage.cache_creation
        hour = (split.ephemeral_1h_input_tokens or 0) if split else 0
        total += prices.cache_write_5m * max(written - hour, 0) + prices.cache_write_1h * hour
    if usage.inference_geo == "us":
        total *= US_ONLY
    tools = usage.server_tool_use
    searches = (tools.web_search_requests or 0) if tools else 0
    units = total * rate * _UNITS_A_TOKEN
    if searches:
        units += SEARCH * searches * _UNITS_A_DOLLAR
    return int(units.to_integral_value(ROUND_HALF_UP))


def round_up(amount: Decimal) -> Decimal:
    """Round up to the next cent: a maximum is never rounded down."""
    return amount.quantize(Decimal("0.01"), ROUND_UP)


def format_dollars(amount: Decimal) -> str:
    """An amount for people, in cents."""
    if amount == 0:
        return "$0.00"
    if amount < Decimal("0.01"):
        return "less than $0.01"
    return f"${amount.quantize(Decimal('0.01'), ROUND_HALF_UP):,}"
