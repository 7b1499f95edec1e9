"""Prompt caching: what it saves or costs is known before a job is sent."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from jobs.actions import submissions
from jobs.drafts import prompt_caching
from jobs.models import Job, recipe_of
from jobs.rules import pricing
from jobs.rules.recipes import Recipe, compile_recipe

from ..conftest import Simulator, change_job
from .test_draft_settings import LONG, Drive, MakeJob, advice, priced, shown

# --- Kept instructions ----------------------------------------------------------------------------


@pytest.mark.no_database
def test_only_instructions_that_all_rows_share_are_kept() -> None:
    kept = compile_recipe(Recipe("{{a}}", "Be brief.", "m", cached=True), ["a"])(["x"])
    assert kept["system"] == [
        {
            "type": "text",
            "text": "Be brief.",
            "cache_control": {"type": "ephemeral", "ttl": "1h"},
        }
    ]
    own = compile_recipe(Recipe("Go", "Be {{a}}.", "m", cached=True), ["a"])(["x"])
    assert own["system"] == "Be x."


@pytest.mark.parametrize("cached", [False, True])
def test_keeping_instructions_costs_what_was_said(
    alice: User,
    make_job: MakeJob,
    simulator: Simulator,
    drive: Drive,
    client_alice: Client,
    cached: bool,
) -> None:
    rows = [(f"n{number}", "text") for number in range(40)]
    job = make_job(alice, Job.State.DRAFT, rows=rows, system=LONG, cached=cached, effort="none")
    estimate = priced(job)
    offer = prompt_caching.offer_caching(job, estimate)
    assert offer is not None and offer.is_possible
    assert offer.tokens == pytest.approx(len(LONG) / 2.55, rel=0.1)
    assert offer.saves > 0, "most rows find it"
    assert offer.costs > 0, "few do: written again and again, at twice the price of reading"
    assert submissions.confirm(job, job.plan_sha256, job.owner)
    job = drive(job)
    assert job.cost <= estimate.most
    assert estimate.low <= job.cost <= estimate.high
    assert bool(job.tally.cache_read_tokens) is cached
    hits = job.rows.filter(cache_read_tokens__gt=0).count()
    assert job.tally.cache_hits == hits
    page = shown(client_alice, job, "?tab=cost")
    assert (f"{hits} of 40 rows read from the cache" in page) is cached
    if cached:
        plain = pricing.cost_of_tokens(
            job.recipe.model, job.tally.input_tokens, job.tally.output_tokens
        )
        assert f"would have saved {pricing.format_dollars(plain - job.cost)}" in page


def test_short_instructions_are_not_worth_keeping(
    alice: User, make_job: MakeJob, client_alice: Client, simulator: Simulator
) -> None:
    job = make_job(alice, Job.State.DRAFT, system="Be brief.", cached=True)
    estimate = priced(job)
    offer = prompt_caching.offer_caching(job, estimate)
    assert offer is not None and not offer.is_possible
    assert "It saves nothing here. This model caches instructions from 1,024 tokens on." in shown(
        client_alice, job
    )
    change_job(job, cached=False, plan_sha256="")
    without = priced(job)
    assert (without.low, without.high) == (estimate.low, estimate.high)
    assert without.most < estimate.most, "the least length that is kept is a guess"


def test_a_preamble_that_every_row_repeats_is_moved_and_kept(
    alice: User, make_job: MakeJob, client_alice: Client, simulator: Simulator
) -> None:
    rows = [(f"n{number}", "text") for number in range(500)]
    prompt = f"{LONG}\nWrite \\{{{{so}}}}.\nThe text: {{{{text}}}}, by {{{{name}}}}"
    job = make_job(alice, Job.State.DRAFT, rows=rows, prompt=prompt)
    before = compile_recipe(recipe_of(job), job.columns)(["n", "t"])
    found = advice(job)["instructions"]
    assert "Every prompt begins with the same text" in found.text
    client_alice.post(reverse("take_advice", args=[job.pk]), {"code": "instructions"})
    job.refresh_from_db()
    assert job.recipe.cached and job.recipe.prompt == "The text: {{text}}, by {{name}}"
    after = compile_recipe(recipe_of(job), job.columns)(["n", "t"])
    sent = f"{after['system'][0]['text']}\n{after['messages'][0]['content']}"
    assert sent.split() == before["messages"][0]["content"].split(), "no word is lost"
    assert not {"instructions", "kept"} & advice(job).keys()


def test_long_instructions_are_worth_keeping(
    alice: User, make_job: MakeJob, client_alice: Client, simulator: Simulator
) -> None:
    rows = [(f"n{number}", "text") for number in range(500)]
    job = make_job(alice, Job.State.DRAFT, rows=rows, system=LONG)
    before = priced(job)
    found = advice(job)["kept"]
    client_alice.post(reverse("take_advice", args=[job.pk]), {"code": "kept"})
    after = priced(job)
    assert job.recipe.cached and after.low < before.low
    assert f"save up to {pricing.format_dollars(before.low - after.low)} if" in found.text
