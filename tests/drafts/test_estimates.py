"""The price that is shown holds the price that is charged."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile

from jobs.actions import submissions, uploads
from jobs.drafts import estimates, token_counts
from jobs.models import Job
from jobs.results import table
from jobs.rules import pricing
from jobs.rules.price_estimates import Estimate
from jobs.spending.receipts import receipt_of

from ..conftest import USUAL_SAMPLE, Simulator
from ..driven_jobs import Drive

MakeJob = Callable[..., Job]
WORDS = ["a", "word " * 5, "Grüße 😀 " * 9, "long text, " * 60, ""]


@pytest.fixture(autouse=True)
def usual_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_counts, "SAMPLE", USUAL_SAMPLE)


def estimated(job: Job) -> Estimate:
    estimates.estimate_job(job)
    job.refresh_from_db()
    estimate = estimates.current(job)
    assert estimate is not None
    assert estimate.low <= estimate.high <= estimate.most
    assert estimate.normal_low == estimate.low / pricing.BATCH
    return estimate


def charged(job: Job, drive: Drive) -> Job:
    """The same job, sent: what it came to."""
    Job.objects.filter(pk=job.pk).update(next_action_at="2020-01-01T00:00:00Z")
    job.refresh_from_db()
    assert submissions.confirm(job, job.plan_sha256, job.owner)
    return drive(job)


@pytest.mark.parametrize("count", [1, 2, 19, 20, 21, 300])
def test_a_table_of_any_length(
    alice: User, simulator: Simulator, drive: Drive, make_job: MakeJob, count: int
) -> None:
    rows = [(f"n{number}", WORDS[number % len(WORDS)]) for number in range(count)]
    prompt = "Tell me about {{text}} and {{name}}, {{name}}."
    job = make_job(alice, state=Job.State.DRAFT, rows=rows, prompt=prompt, max_tokens=400)
    estimate = estimated(job)
    assert estimate.rows == count
    assert min(count, 19) <= estimate.counted <= 20, "the longest row may be one of the spread"
    job = charged(job, drive)
    assert job.tally.input_tokens == pytest.approx(estimate.input_tokens, rel=0.05)
    assert job.cost <= estimate.most


def test_rows_that_are_all_alike(alice: User, simulator: Simulator, make_job: MakeJob) -> None:
    job = make_job(alice, state=Job.State.DRAFT, rows=[("same", "text")] * 50)
    estimate = estimated(job)
    assert estimate.low > 0


def request(model: str, text: str, max_tokens: int) -> dict[str, Any]:
    params = {"model": model, "max_tokens": max_tokens, "messages": [{"role": "user"}]}
    params["messages"][0]["content"] = text  # type: ignore[index]  # a map within
    return {"custom_id": f"{model} {text[:9]} {max_tokens}", "params": params}


def test_ready_made_requests_of_two_models(
    alice: User, simulator: Simulator, drive: Drive, make_job: MakeJob
) -> None:
    rows = [
        request(model, "[simulate:good] " + "word " * number, 100 + number)
        for number in range(20)
        for model in ("claude-haiku-5-5", "claude-opus-5-5")
    ]
    job = make_job(alice, state=Job.State.DRAFT, rows=rows)
    estimate = estimated(job)
    assert estimate.output_most == sum(row["params"]["max_tokens"] for row in rows)
    job = charged(job, drive)
    assert estimate.low <= job.cost <= estimate.most


def test_requests_that_search_the_web(alice: User, simulator: Simulator, drive: Drive) -> None:
    """What is found is read as input, and each search has a fee that is no less in a batch."""
    tools = [
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 3},
        {"type": "web_fetch_20250910", "name": "web_fetch", "max_uses": 2},
    ]
    rows = [request("claude-haiku-5-5", f"{word} [simulate:good]", 90) for word in "abcdefgh"]
    for row in rows[1:]:
        row["params"]["tools"] = tools
    upload = ContentFile("\n".join(map(json.dumps, rows)).encode(), "requests.jsonl")
    job = drive(uploads.create_job(alice, upload), until=lambda job: bool(job.plan_sha256))
    estimate = estimates.current(job)
    assert estimate is not None
    assert estimate.counted == 1, "what has such tools is not counted"
    # Three searches each, and six turns with up to a million tokens, at the price of long prompts
    # in the US.
    fees, found = 7 * 3 * pricing.SEARCH, 7 * 6 * Decimal("0.25") * pricing.US_ONLY
    assert fees + found < estimate.most < (fees + found) * Decimal("1.001")
    assert fees < estimate.high < estimate.most
    assert estimate.low < pricing.SEARCH, "the model may do without"
    assert estimate.normal_high == 2 * (estimate.high - fees) + fees
    assert not estimate.is_half
    assert submissions.confirm(job, job.plan_sha256, alice)
    job = drive(job)
    assert estimate.low < job.cost <= estimate.most
    lines = b"".join(table.raw_chunks(job)).splitlines()
    used = [json.loads(line)["result"]["message"]["usage"]["server_tool_use"] for line in lines]
    searches = sum(one["web_search_requests"] for one in used if one)
    tokens = sum(
        pricing.cost_of_tokens(row.answered_by, row.input_tokens, row.output_tokens)
        for row in job.rows.all()
    )
    assert searches and job.cost == tokens + searches * pricing.SEARCH
    assert receipt_of(job).charged == job.cost == sum(row.cost for row in job.rows.all())


@pytest.mark.parametrize("ready_made", [False, True])
def test_a_workspace_that_runs_models_in_the_us_charges_no_more_than_the_most(
    alice: User, simulator: Simulator, drive: Drive, make_job: MakeJob, ready_made: bool
) -> None:
    """No request says so: it is a setting at the provider, and costs a tenth more."""
    simulator.faults(workspace_geo="us")
    # Every answer is as long as can be, and all that is read is a token a letter.
    texts = [f"{word} b c d e f [simulate:cut]" for word in "xyz"]
    rows: list[Any] = [request("claude-opus-5-5", text, 2_000) for text in texts]
    if not ready_made:
        rows = [(f"n{number}", text) for number, text in enumerate(texts)]
    recipe = {"model": "claude-opus-5-5", "prompt": "{{text}}", "max_tokens": 2_000}
    job = make_job(alice, Job.State.DRAFT, rows=rows, **({} if ready_made else recipe))
    estimate = estimated(job)
    job = charged(job, drive)
    in_the_us = sum(
        pricing.cost_of_tokens(row.answered_by, row.input_tokens, row.output_tokens)
        for row in job.rows.all()
    )
    assert job.cost == receipt_of(job).charged == in_the_us * pricing.US_ONLY
    output = job.rows.count() * 2_000
    assert pricing.cost_of_tokens("claude-opus-5-5", 0, output) < job.cost <= estimate.most


@pytest.mark.parametrize("written", ["cache_control", "\\u0063ache_control"])
def test_what_is_to_be_kept_is_seen_however_it_is_written(
    alice: User, simulator: Simulator, drive: Drive, written: str
) -> None:
    """Writing it for an hour costs twice the price of input."""
    row = request("claude-opus-5-5", "word " * 4_000, 9)
    plain, kept = json.dumps(row), json.dumps({**row, "params": {**row["params"], "CC": {}}})
    kept = kept.replace('"CC": {}', f'"{written}": {{"type": "ephemeral", "ttl": "1h"}}')
    most = []
    for text in (plain, kept):
        upload = ContentFile(text.encode(), "requests.jsonl")
        job = drive(uploads.create_job(alice, upload), until=lambda job: bool(job.plan_sha256))
        estimate = estimates.current(job)
        assert estimate is not None
        most.append(estimate.most)
    assert most[1] > most[0] * Decimal("1.9")


def test_a_model_without_a_price_among_others_stops_the_whole_job(
    alice: User, simulator: Simulator, make_job: MakeJob
) -> None:
    rows = [request("claude-haiku-5-5", "Hi", 10), request("claude-unheard-of", "Hi", 10)]
    job = make_job(alice, state=Job.State.DRAFT, rows=rows)
    estimate = estimated(job)
    assert "claude-unheard-of" in estimate.trouble
    assert estimate.most == Decimal(0)
    assert job.plan_sha256 == ""


def test_an_estimate_survives_being_stored(
    alice: User, simulator: Simulator, make_job: MakeJob
) -> None:
    job = make_job(alice, state=Job.State.DRAFT)
    estimate = estimated(job)
    assert Job.objects.get(pk=job.pk).estimate == estimate
    assert job.plan_sha256 == estimates.plan_of(job, estimate)


def test_one_very_long_row_does_not_make_the_others_dear(
    alice: User, simulator: Simulator, drive: Drive, make_job: MakeJob
) -> None:
    """Above 100,000 tokens a row of Haiku costs five times as much; only that row."""
    rows = [(f"n{number}", "word " * 400) for number in range(200)]
    job = make_job(alice, Job.State.DRAFT, rows=rows, prompt="Say: {{text}}", max_tokens=200)
    plain = estimated(job)
    long = make_job(
        alice,
        Job.State.DRAFT,
        rows=[*rows, ("x", "word " * 80_000)],
        prompt="Say: {{text}}",
        max_tokens=200,
    )
    estimate = estimated(long)
    tokens = estimate.basis.counts.longest
    assert tokens > pricing.LONG_FROM
    prices = pricing.priced_model("claude-haiku-5-5").long_prices
    assert prices is not None
    by_itself = (prices.input * tokens + prices.output * 200) / 1_000_000 * pricing.BATCH
    # It was counted, but another one may be all of one-letter words: a token has at least a byte.
    at_most = (prices.input * 400_000 + prices.output * 200) / 1_000_000 * pricing.BATCH
    at_most *= pricing.US_ONLY
    assert by_itself < estimate.most - plain.most < at_most * Decimal("1.02")
    charged_for = charged(long, drive)
    assert estimate.low <= charged_for.cost <= estimate.most
    requests = [
        {
            "custom_id": str(n),
            "params": {
                "model": "claude-haiku-5-5",
                "max_tokens": 200,
                "messages": [{"role": "user", "content": text}],
            },
        }
        for n, (_, text) in enumerate([*rows, ("x", "word " * 80_000)])
    ]
    ready_made = make_job(alice, Job.State.DRAFT, rows=requests)
    assert estimated(ready_made).most == pytest.approx(estimate.most, rel=Decimal("0.2"))


def test_no_model_has_a_price_for_shorter_prompts_than_are_taken_as_short() -> None:
    edges = [
        known.long_prompt_above for known in pricing.priced_models() if known.long_prompt_above
    ]
    assert edges and min(edges) >= pricing.LONG_FROM
