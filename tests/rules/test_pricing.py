"""What a request costs, to the last digit, by the published prices."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from anthropic._data import DEPRECATED_MODELS

from jobs.rules.judging import CacheCreation, Judgment, Usage
from jobs.rules.model_capabilities import model_rules
from jobs.rules.pricing import (
    PricedModel,
    UnknownPrice,
    all_models,
    ceiling_of_tokens,
    choosable_models,
    cost_in_pico,
    cost_of_tokens,
    format_dollars,
    priced_model,
    priced_models,
)

from ..environment import ROOT

pytestmark = pytest.mark.no_database


def cost(model_id: str, usage: Usage, outcome: str = "good", **values: str | None) -> Decimal:
    judged = Judgment(outcome, answered_by=model_id, usage=usage, **values)  # type: ignore[arg-type]  # values by name
    return Decimal(cost_in_pico(judged)) / 10**12


def published() -> Iterator[tuple[str, str, int, str, Decimal]]:
    """Of each model: its id, the rate, the length of a prompt, a kind of tokens, and what a million
    of these cost."""
    text = (ROOT / "tests" / "data" / "prices.json").read_text()
    for entry in json.loads(text, parse_float=Decimal, parse_int=Decimal)["models"]:
        above = entry.get("above", {})
        edge = int(above.get("prompt_tokens", 1_000_000))
        for length, prices in ((edge, entry), (edge + 1, above)):
            for rate in ("standard", "batch"):
                for kind, price in (prices.get(rate) or {}).items():
                    for model_id in entry["ids"]:
                        yield model_id, rate, length, kind, price


PUBLISHED = [case for case in published() if case[0] != "claude-mythos-preview"]


@pytest.mark.parametrize(
    ("model_id", "rate", "length", "kind", "price"),
    PUBLISHED,
    ids=[f"{case[0]}-{case[1]}-{case[2]}-{case[3]}" for case in PUBLISHED],
)
def test_every_published_price(
    model_id: str, rate: str, length: int, kind: str, price: Decimal
) -> None:
    """`length` tokens of one kind in one request, on both sides of the edge where there is one."""
    counts: dict[str, Any] = {
        "input": {"input_tokens": length},
        "output": {"input_tokens": length, "output_tokens": 1000},
        "cache_read": {"cache_read_input_tokens": length},
        "cache_write_5m": {
            "cache_creation_input_tokens": length,
            "cache_creation": CacheCreation(length, 0),
        },
        "cache_write_1h": {
            "cache_creation_input_tokens": length,
            "cache_creation": CacheCreation(0, length),
        },
    }
    in_batch = rate == "batch"

    def charged(**usage: Any) -> Decimal:
        judged = Judgment("good", answered_by=model_id, usage=Usage(**usage))
        return Decimal(cost_in_pico(judged, batch=in_batch)) / 10**12

    if kind == "output":
        found, tokens = charged(**counts[kind]) - charged(**counts["input"]), 1000
    else:
        found, tokens = charged(**counts[kind]), length
    assert found == price * tokens / 1_000_000


def test_a_model_whose_price_in_a_batch_is_not_published_has_none() -> None:
    with pytest.raises(UnknownPrice):
        priced_model("claude-mythos-preview")


def test_a_batch_costs_half_of_the_normal_price() -> None:
    million = cost_of_tokens("claude-opus-4-6", 1_000_000, 1_000_000)
    assert million == Decimal("2.5") + Decimal("12.5")
    assert cost_of_tokens("claude-opus-4-6", 1_000_000, 1_000_000, batch=False) == 2 * million


def test_the_smallest_price_is_exact() -> None:
    assert cost("claude-haiku-5-5", Usage(input_tokens=1)) == Decimal("0.00000005")
    assert cost("claude-haiku-5-5", Usage(cache_read_input_tokens=1)) == Decimal("0.000000005")


def test_a_long_prompt_moves_the_whole_request_to_the_higher_price() -> None:
    below = cost("claude-haiku-5-5", Usage(input_tokens=100_000, output_tokens=1000))
    above = cost("claude-haiku-5-5", Usage(input_tokens=100_001, output_tokens=1000))
    assert below == Decimal("0.005") + Decimal("0.00025")
    assert above == Decimal("100001") * Decimal("0.00000025") + Decimal("0.00125")


def test_cache_tokens_have_prices_of_their_own() -> None:
    usage = Usage(
        input_tokens=0,
        cache_creation_input_tokens=3_000_000,
        cache_read_input_tokens=1_000_000,
        cache_creation=CacheCreation(1_000_000, 2_000_000),
    )
    # Opus 5: 6.25 for five minutes, 10 for an hour, 0.50 read, and half of it all.
    assert cost("claude-opus-5", usage) == (Decimal("6.25") + 20 + Decimal("0.5")) / 2


def test_keeping_it_in_the_us_costs_a_tenth_more() -> None:
    usage = Usage(input_tokens=1_000_000, inference_geo="us")
    assert cost("claude-opus-5", usage) == Decimal("2.75")


@pytest.mark.parametrize(
    ("category", "charged"),
    [("cyber", False), (None, False), ("bio", True), ("frontier_llm", True)],
)
def test_a_refusal_is_charged_by_its_category(category: str | None, charged: bool) -> None:
    usage = Usage(input_tokens=1_000_000, output_tokens=0)
    refusal = {"stop_reason": "refusal", "refusal_category": category}
    assert (cost("claude-opus-5", usage, "look", **refusal) > 0) is charged


def test_a_refusal_in_the_middle_of_an_answer_is_charged() -> None:
    usage = Usage(input_tokens=10, output_tokens=5)
    assert cost("claude-opus-5", usage, "look", stop_reason="refusal", refusal_category=None) > 0


@pytest.mark.parametrize("outcome", ["errored", "expired", "canceled"])
def test_what_was_not_answered_costs_nothing(outcome: str) -> None:
    assert cost("claude-opus-5", Usage(input_tokens=10), outcome) == 0


def test_a_model_without_a_price_is_said_so() -> None:
    with pytest.raises(UnknownPrice):
        cost_of_tokens("claude-9", 1, 1)


def test_aliases_are_the_same_model_and_retired_ones_are_not_offered() -> None:
    assert priced_model("claude-haiku-4-5-20251001") is priced_model("claude-haiku-4-5")
    offered = {known.id for known in choosable_models()}
    assert "claude-haiku-5-5" in offered
    assert "claude-opus-4-1" not in offered


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        ("0", "$0.00"),
        ("0.0004", "less than $0.01"),
        ("0.01", "$0.01"),
        ("1234.565", "$1,234.57"),
    ],
)
def test_money_in_words(amount: str, words: str) -> None:
    assert format_dollars(Decimal(amount)) == words


def test_the_table_knows_each_model_that_the_package_says_will_end() -> None:
    """And on which day: it is what people are warned of."""
    ours = {name: one for one in all_models() for name in (one.id, *one.aliases)}
    for name, said in DEPRECATED_MODELS.items():
        day = datetime.strptime(re.sub(r"(\d)(st|nd|rd|th)", r"\1", said), "%B %d, %Y").date()
        assert name in ours, name
        assert ours[name].retires == day and ours[name].status != "active", name


# --- The most that tokens can cost ----------------------------------------------------------------

# What can make the same tokens dearer than their price says.
DEARER: dict[str, dict[str, Any]] = {
    "nothing": {"input_tokens": 120_000},
    "the US": {"input_tokens": 120_000, "inference_geo": "us"},
    "kept for five minutes": {"cache_creation_input_tokens": 120_000, "inference_geo": "us"},
    "kept for an hour": {
        "cache_creation_input_tokens": 120_000,
        "cache_creation": CacheCreation(ephemeral_1h_input_tokens=120_000),
        "inference_geo": "us",
    },
    "read": {"cache_read_input_tokens": 120_000, "inference_geo": "us"},
}


@pytest.mark.parametrize("why", DEARER)
@pytest.mark.parametrize("known", priced_models(), ids=lambda known: known.id)
@pytest.mark.parametrize("batch", [True, False], ids=["batch", "alone"])
def test_a_ceiling_holds_whatever_makes_tokens_dearer(
    why: str, known: PricedModel, batch: bool
) -> None:
    """Long prompts, the country, how long a beginning is kept, with or without a batch."""
    usage = Usage(output_tokens=500, **DEARER[why])
    if not model_rules(known.id).region:
        usage.inference_geo = "not_available"
    judged = Judgment("good", answered_by=known.id, usage=usage)
    charged = Decimal(cost_in_pico(judged, batch=batch)) / 10**12
    kept = 0 if usage.input_tokens else 120_000
    most = ceiling_of_tokens(
        known.id, usage.input_tokens or 0, 500, 120_000, written=kept, batch=batch
    )
    assert charged <= most
    if why in ("the US", "kept for an hour"):
        assert charged == most, "nor is it more than need be"
