"""Whose word about prices counts: the package's where all of it is certain, else the table's; never
the normal price for a batch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from genai_prices.data_snapshot import DataSnapshot, get_snapshot, set_custom_snapshot
from genai_prices.types import (
    ClauseStartsWith,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    PriceVariant,
    StartDateConstraint,
    Tier,
)

from jobs.rules import pricing, published_prices
from jobs.rules.judging import Judgment, ServerToolUse, Usage
from jobs.rules.pricing import UnknownPrice

pytestmark = pytest.mark.no_database

HAIKU, OPUS = "claude-haiku-5-5", "claude-opus-5-5"
TODAY, TOMORROW = date(2026, 11, 26), date(2026, 11, 27)
Edit = Callable[[dict[str, ModelInfo]], object]


@pytest.fixture
def changed() -> Iterator[Callable[[Edit], None]]:
    """`changed(edit)`: the package as if its models of Anthropic, by their ids, were so."""

    def change(edit: Edit) -> None:
        anthropic = next(one for one in get_snapshot().providers if one.id == "anthropic")
        ours = deepcopy(anthropic)
        edit({model.id: model for model in ours.models})
        set_custom_snapshot(DataSnapshot([ours], from_auto_update=False))
        pricing._on.cache_clear()

    pricing.use_prices([], TODAY)
    yield change
    set_custom_snapshot(None)
    pricing._on.cache_clear()


def normal_of(model: ModelInfo) -> dict[str, Any]:
    assert isinstance(model.prices, ModelPrice)
    return vars(model.prices)


def variant_of(model: ModelInfo) -> PriceVariant:
    return next(one for one in model.price_variants or () if one.when == {"processing": "batch"})


def batch_of(model: ModelInfo) -> dict[str, Any]:
    return vars(variant_of(model).prices)


def test_most_prices_are_the_packages() -> None:
    table = {known.id for known in pricing.priced_models() if "own table" in known.source}
    assert table == {
        "claude-mythos-5-1",  # the package does not have these two
        "claude-mythos-5",
        "claude-opus-4-1",  # nor the prices of these in a batch
        "claude-opus-4-0",
        "claude-sonnet-4-0",
        "claude-3-5-haiku-20241022",
    }
    assert len(pricing.priced_models()) > len(table)


def test_the_table_has_no_price_that_the_package_has() -> None:
    priced = {
        entry["ids"][0]
        for entry in pricing._table()["models"]
        if "usd_per_mtok" in entry
        and published_prices.published(entry["ids"], TODAY, pricing.BATCH)
    }
    assert not priced


# --- What is not certain --------------------------------------------------------------------------


def no_batch(haiku: ModelInfo) -> None:
    haiku.price_variants = None


def another_context(haiku: ModelInfo) -> None:
    variant_of(haiku).when["processing"] = "cheap"


def batch_from_tomorrow_on(haiku: ModelInfo) -> None:
    variant_of(haiku).constraint = StartDateConstraint(TOMORROW)


def one_kind_missing_in_a_batch(haiku: ModelInfo) -> None:
    del batch_of(haiku)["output_mtok"]


def one_kind_missing(haiku: ModelInfo) -> None:
    normal_of(haiku)["cache_write_1h_mtok"] = None


def one_step_missing_in_a_batch(haiku: ModelInfo) -> None:
    batch_of(haiku)["cache_read_mtok"] = Decimal("0.005")


def not_half(haiku: ModelInfo) -> None:
    batch_of(haiku)["cache_write_mtok"].base = Decimal("0.0624")


def not_half_above(haiku: ModelInfo) -> None:
    batch_of(haiku)["input_mtok"].tiers[0].price = Decimal("0.26")


def another_step_in_a_batch(haiku: ModelInfo) -> None:
    for price in batch_of(haiku).values():
        price.tiers[0].start = 90_000


def steps_that_differ(haiku: ModelInfo) -> None:
    for prices in (normal_of(haiku), batch_of(haiku)):
        prices["input_mtok"].tiers[0].start = 90_000


def a_kind_without_a_step(haiku: ModelInfo) -> None:
    for prices in (normal_of(haiku), batch_of(haiku)):
        prices["input_mtok"] = prices["input_mtok"].base


def two_steps(haiku: ModelInfo) -> None:
    for prices, amount in ((normal_of(haiku), "2"), (batch_of(haiku), "1")):
        for kind in batch_of(haiku):
            prices[kind].tiers.append(Tier(200_000, Decimal(amount)))


@pytest.mark.parametrize(
    "doubt",
    [
        no_batch,
        another_context,
        batch_from_tomorrow_on,
        one_kind_missing_in_a_batch,
        one_kind_missing,
        one_step_missing_in_a_batch,
        not_half,
        not_half_above,
        another_step_in_a_batch,
        steps_that_differ,
        a_kind_without_a_step,
        two_steps,
    ],
)
def test_what_is_not_certain_in_the_package_is_not_used(
    changed: Callable[[Edit], None], doubt: Callable[[ModelInfo], None]
) -> None:
    version = pricing.version()
    changed(lambda models: doubt(models[HAIKU]))
    with pytest.raises(UnknownPrice):
        pricing.priced_model(HAIKU)
    assert HAIKU not in {known.id for known in pricing.priced_models()}
    assert pricing.priced_model(OPUS).prices.input == 4
    assert pricing.version() != version


def test_without_prices_in_a_batch_the_table_takes_over(
    changed: Callable[[Edit], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = deepcopy(pricing._table())
    entry = next(one for one in table["models"] if HAIKU in one["ids"])
    entry["usd_per_mtok"] = dict.fromkeys(vars(pricing.priced_model(HAIKU).prices), "3")
    monkeypatch.setattr(pricing, "_table", lambda: table)
    changed(lambda models: None)
    assert pricing.priced_model(HAIKU).prices.input == Decimal("0.1"), "the package goes first"
    changed(lambda models: no_batch(models[HAIKU]))
    known = pricing.priced_model(HAIKU)
    assert known.prices.input == 3 and known.long_prices is None
    assert "own table" in known.source
    # Half of what the table says.
    assert pricing.cost_of_tokens(HAIKU, 1_000_000, 0) == Decimal("1.5")


def test_a_price_holds_from_its_day_on(changed: Callable[[Edit], None]) -> None:
    def dearer_tomorrow(models: dict[str, ModelInfo]) -> None:
        opus, new = models[OPUS], deepcopy(variant_of(models[OPUS]))
        now, later = ModelPrice(**normal_of(opus)), ModelPrice(**normal_of(opus))
        for price in (later, new.prices):
            vars(price).update({kind: 2 * vars(price)[kind] for kind in batch_of(opus)})
        begin = new.constraint = StartDateConstraint(TOMORROW)
        opus.prices = [ConditionalPrice(prices=now), ConditionalPrice(begin, prices=later)]
        opus.price_variants = [new, *(opus.price_variants or ())]

    changed(dearer_tomorrow)
    before, version = pricing.priced_model(OPUS).prices, pricing.version()
    assert before.output == 20
    pricing.use_prices([], TOMORROW)
    after = pricing.priced_model(OPUS).prices
    assert vars(after) == {kind: 2 * amount for kind, amount in vars(before).items()}
    assert pricing.version() != version
    pricing.use_prices([], TODAY)
    assert pricing.priced_model(OPUS).prices == before
    assert pricing.version() == version


def test_a_model_that_only_looks_alike_is_not_taken(changed: Callable[[Edit], None]) -> None:
    def rename(models: dict[str, ModelInfo]) -> None:
        models[OPUS].id = "claude-opus-5-5-fast"
        models[OPUS].match = ClauseStartsWith(starts_with="claude-opus-5-5")

    changed(rename)
    with pytest.raises(UnknownPrice):
        pricing.priced_model(OPUS)
    with pytest.raises(UnknownPrice):
        pricing.priced_model("claude-opus-5-5-fast")


def test_a_step_beyond_the_longest_prompt_is_none() -> None:
    """Sonnet 4.5 once held more than 200,000 tokens, at a higher price."""
    sonnet = pricing.priced_model("claude-sonnet-4-5")
    assert (sonnet.context, sonnet.long_prompt_above, sonnet.long_prices) == (200_000, None, None)


def test_a_search_costs_the_same_everywhere() -> None:
    usage = Usage(input_tokens=1_000_000, inference_geo="us", server_tool_use=ServerToolUse(1_000))
    judged = Judgment("good", answered_by="claude-opus-5", usage=usage)
    dollar = 10**12
    assert pricing.cost_in_pico(judged) == (2.5 * 1.1 + 10) * dollar
    assert pricing.cost_in_pico(judged, batch=False) == (5 * 1.1 + 10) * dollar
    searched = msgspec.structs.replace(usage, input_tokens=0, server_tool_use=ServerToolUse(1))
    judged = Judgment("look", answered_by="claude-opus-5", usage=searched, cause="unfinished")
    assert pricing.cost_in_pico(judged) == dollar // 100, "whatever becomes of it"


def test_where_prices_are_from_and_since_when(monkeypatch: pytest.MonkeyPatch) -> None:
    words = "genai-prices 0.2.3, compared with Anthropic's own pages on 2026-11-23"
    assert pricing.source() == (words, date(2026, 11, 23))
    monkeypatch.setattr(published_prices, "version", lambda: "0.2.4")
    assert pricing.source() == ("genai-prices 0.2.4", None), "that one was not compared"


def test_the_reader_of_a_file_needs_no_prices() -> None:
    """It works with little memory, in a process of its own for each file."""
    code = """
import json, sys
from jobs.ingest.request_reader import RequestReader
from jobs.ingest.shapes import Limits
params = {"model": "claude-opus-4-1", "max_tokens": 9, "messages": []}
RequestReader((), Limits()).line(1, "{}", {"custom_id": "a", "params": params})
print(sorted(name for name in sys.modules if name.startswith(("genai_prices", "pydantic"))))
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert json.loads(found.stdout) == []
