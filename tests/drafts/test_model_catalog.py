"""Which models are offered: those of the provider's list, until they are switched off."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from jobs.drafts import checks, estimates, model_catalog
from jobs.models import Job, ModelCatalog
from jobs.rules.provider_lists import ModelInfo

from ..conftest import Simulator
from .test_draft_settings import MakeJob, shown

# --- Models ---------------------------------------------------------------------------------------


@pytest.fixture
def with_key(db: None, settings: Settings) -> None:
    settings.PRACTICE, settings.ANTHROPIC_API_KEY = False, "sk-ant-test"


def test_what_the_provider_offers_goes_before_what_is_bundled(
    with_key: None, simulator: Simulator, client_alice: Client, alice: User, make_job: MakeJob
) -> None:
    assert model_catalog.last_refresh() is None
    assert model_catalog.find_model("claude-haiku-5-5") is not None, (
        "the bundled table, until it was asked"
    )
    assert model_catalog.find_model("claude-mythos-5-2") is None
    model_catalog.refresh()
    assert model_catalog.last_refresh() is not None
    assert model_catalog.find_model("claude-mythos-5-2") is not None, "this account was let in"
    assert model_catalog.find_model("claude-opus-4-1") is None, "it is retired"
    assert model_catalog.find_model("claude-haiku-4-5") is not None, "listed by its other name"
    unpriced = model_catalog.find_model("claude-mythos-preview")
    assert unpriced is not None and not unpriced.has_price
    job = make_job(alice, Job.State.DRAFT, model="claude-mythos-preview")
    assert "no price for Claude Mythos Preview" in checks.problems(job)[0]
    page = shown(client_alice, job)
    assert "Anthropic listed these models" in page and "Claude Mythos 5.2" in page
    assert [offer.family for offer in model_catalog.list_models()][:2] == ["haiku", "haiku"], (
        "cheapest first"
    )


def test_the_list_is_asked_for_now_and_then_and_for_each_key(
    with_key: None, simulator: Simulator, settings: Settings
) -> None:
    model_catalog.refresh()
    first = model_catalog.last_refresh()
    model_catalog.refresh()
    assert model_catalog.last_refresh() == first, "that was lately"
    due = timezone.now() - timedelta(minutes=1)
    ModelCatalog.objects.update(due_at=due)
    model_catalog.refresh()
    assert model_catalog.last_refresh() != first
    settings.ANTHROPIC_API_KEY = "sk-ant-another"
    assert model_catalog.last_refresh() is None, "what another key saw says nothing of this one"
    simulator.stop()
    model_catalog.refresh()
    assert model_catalog.last_refresh() is None
    assert model_catalog.find_model("claude-haiku-5-5") is not None
    assert ModelCatalog.get().due_at > timezone.now(), "not again at once"


def test_a_model_that_is_switched_off_is_refused_and_its_successor_named(
    alice: User, make_job: MakeJob, client_alice: Client
) -> None:
    job = make_job(alice, Job.State.DRAFT, model="claude-opus-4-1")
    words = "Claude Opus 4.1 is no longer offered. Choose Claude Opus 5.5 instead."
    assert checks.problems(job) == [words]
    assert words in shown(client_alice, job)
    estimates.estimate_job(job)
    job.refresh_from_db()
    assert not job.plan_sha256, "it cannot be confirmed"


def test_a_model_that_will_be_switched_off_warns(alice: User, make_job: MakeJob) -> None:
    job = make_job(alice, Job.State.DRAFT, model="claude-sonnet-4-5")
    assert checks.problems(job) == []
    assert checks.remarks(job) == [
        "Claude Sonnet 4.5 will be switched off on 30 November 2026. Choose Claude Sonnet 5.5 "
        "instead."
    ]


def test_the_provider_says_when_a_model_is_switched_off(with_key: None) -> None:
    told = ModelInfo(
        "claude-haiku-5-5",
        "Claude Haiku 5.5",
        lifecycle="deprecated",
        retires_at=timezone.now().replace(year=2027, month=3, day=1),
        max_input_tokens=5_000,
        max_tokens=100,
    )
    offer = model_catalog._of_list(told)
    assert (offer.deprecated, offer.context, offer.longest) == (True, 5_000, 100)
    assert offer.retires is not None and offer.retires.month == 3
