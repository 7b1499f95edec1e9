"""Prices that an administrator has entered go before those of the table, from their day on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from jobs.actions import submissions
from jobs.drafts import checks, estimates, model_catalog
from jobs.models import Job, ModelCatalog, PriceOverride, key_fingerprint
from jobs.rules import pricing, published_prices
from jobs.rules.judging import Judgment, Usage
from jobs.rules.pilots import PilotChoice
from jobs.rules.provider_lists import ModelInfo
from jobs.spending import price_overrides
from jobs.web.templatetags import show
from jobs.worker import advance, pilots

from ..conftest import Simulator, send_again
from ..drafts.test_draft_settings import priced
from ..driven_jobs import Drive, confirmed
from ..pages import squeezed

MakeJob = Callable[..., Job]
NEW = "claude-next-1"
COMPARED = date(2026, 11, 23)


def today() -> date:
    return timezone.now().astimezone(UTC).date()


def test_what_is_entered_holds_from_its_day_on(root: User) -> None:
    price_overrides.add_price(
        "claude-haiku-5-5", today() + timedelta(days=1), Decimal(9), Decimal(9), root
    )
    assert pricing.priced_model("claude-haiku-5-5").prices.input == Decimal("0.1"), "not yet"
    price_overrides.add_price("claude-haiku-5-5", today(), Decimal("0.2"), Decimal("1.5"), root)
    known = pricing.priced_model("claude-haiku-5-5")
    assert (known.prices.input, known.prices.cache_write_1h) == (Decimal("0.2"), Decimal("0.4"))
    assert known.source == f"entered by root on {today()}, from {today()} on"
    assert known.context == 1_000_000, "what else is known of it stays"
    judged = Judgment("good", answered_by=known.id, usage=Usage(input_tokens=1_000_000))
    assert pricing.cost_in_pico(judged) == 10**11
    assert pricing.cost_of_tokens(known.id, 1_000_000, 0, 500_000) == Decimal("0.1"), "one price"
    price_overrides.add_price("claude-haiku-4-5", today(), Decimal(7), Decimal(8), root)
    assert pricing.priced_model("claude-haiku-4-5-20251001").prices.input == 7, (
        "by its other name, too"
    )
    price_overrides.withdraw_price(
        PriceOverride.objects.get(model="claude-haiku-5-5", since=today()).pk, root
    )
    assert pricing.priced_model("claude-haiku-5-5").prices.input == Decimal("0.1")


def test_a_draft_is_priced_anew(
    make_job: MakeJob, alice: User, root: User, simulator: Simulator
) -> None:
    job = make_job(alice, Job.State.DRAFT)
    before = priced(job)
    price_overrides.add_price(job.recipe.model, today(), Decimal(1), Decimal(5), root)
    assert not submissions.confirm(job, job.plan_sha256, alice), "that price holds no more"
    advance.advance(job.pk)
    job.refresh_from_db()
    after = estimates.current(job)
    assert after is not None and after.most == pytest.approx(10 * before.most)
    assert submissions.confirm(job, job.plan_sha256, alice)


def test_what_became_dearer_since_it_was_confirmed_is_not_sent(
    alice: User, root: User, simulator: Simulator, drive: Drive
) -> None:
    """The other rows of a pilot may wait for days. A lower price changes nothing."""
    job = confirmed(alice, [[f"n{number}", "x"] for number in range(12)], pilot=PilotChoice(2))
    most = estimates.current(job).most  # type: ignore[union-attr]  # it was confirmed
    price_overrides.add_price(job.recipe.model, today(), Decimal("0.01"), Decimal("0.02"), root)
    job = drive(job, until=lambda job: bool(job.held))
    price_overrides.withdraw_price(PriceOverride.objects.get().pk, root)
    price_overrides.add_price(job.recipe.model, today(), Decimal(1), Decimal(5), root)
    assert pilots.release_rest(job, alice)
    job = drive(job, until=lambda job: bool(job.held))
    assert "has risen since this was submitted" in job.held
    assert simulator.truth()["accepted_rows"] == 2
    assert submissions.stop_job(job, alice)
    job = drive(job)
    assert job.cost <= most
    assert send_again(job, alice, "canceled") == 10, "at the new price"
    assert drive(job).good_count == 12


def test_a_model_without_a_price_can_be_sent_once_one_is_entered(
    make_job: MakeJob,
    alice: User,
    client_root: Client,
    client_alice: Client,
    settings: Settings,
    simulator: Simulator,
) -> None:
    settings.PRACTICE, settings.ANTHROPIC_API_KEY = False, "sk-ant-test"
    listed = [ModelInfo(NEW, "Claude Next", "sonnet", max_input_tokens=5000, max_tokens=900)]
    ModelCatalog.objects.update(
        entries=listed,
        key=key_fingerprint(),
        listed_at=timezone.now(),
    )
    job = make_job(alice, Job.State.DRAFT, model=NEW)
    assert "ask an administrator to enter its price" in checks.problems(job)[0]
    address = reverse("spending_prices")
    page = squeezed(client_root.get(address).content)
    assert "No price is known for" in page and NEW in page
    assert client_alice.post(address, {}).status_code == 404
    form = {"model_id": NEW, "since": today(), "read": "3", "written": "15"}
    page = client_root.post(address, form, follow=True).content.decode()
    assert "No price is known for" not in page and "entered by root" in page
    assert '$3.00</span> read, <span class="num">$15.00' in page and "$0.005" not in page
    assert "$0.01</td>" in page, "all digits of what the cheapest costs to read again"
    assert checks.problems(job) == []
    offer = model_catalog.find_model(NEW)
    assert offer is not None and offer.has_price and (offer.context, offer.longest) == (5000, 900)
    answer = client_root.post(address, {"withdraw": PriceOverride.objects.get().pk}, follow=True)
    assert "No price is known for" in answer.content.decode()
    assert PriceOverride.objects.count() == 1, "what was entered once stays on record"


def test_the_page_says_where_each_price_is_from_and_how_old_it_is(
    client_root: Client, root: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def page() -> str:
        return squeezed(client_root.get(reverse("spending_prices")).content)

    price_overrides.add_price("claude-opus-5-5", today(), Decimal(3), Decimal(9), root)
    text = page()
    assert f"compared with Anthropic's own pages on 2026-11-23 ({show.days_ago(COMPARED)})" in text
    assert f"own table, from Anthropic's pages (2026-11-23) · {show.days_ago(COMPARED)}" in text
    assert f"entered by root on {today()}, from {today()} on · today" in text
    monkeypatch.setattr(published_prices, "version", lambda: "0.2.4")
    pricing._on.cache_clear()
    assert "Prices are from genai-prices 0.2.4, unless stated otherwise" in page(), (
        "nobody compared that one"
    )
    pricing._on.cache_clear()


@pytest.mark.parametrize("days", [0, 1, 2, 1_234])
def test_an_age_in_words(days: int) -> None:
    words = {0: "today", 1: "yesterday", 2: "2 days ago", 1_234: "1,234 days ago"}
    assert show.days_ago(today() - timedelta(days=days)) == words[days]


@pytest.mark.parametrize(
    "change",
    [{"model_id": ""}, {"model_id": "<b>"}, {"read": "-1"}, {"written": "x"}, {"since": "soon"}],
)
def test_a_price_that_is_none_is_not_entered(client_root: Client, change: dict[str, str]) -> None:
    form = {"model_id": NEW, "since": today(), "read": "3", "written": "15", **change}
    assert client_root.post(reverse("spending_prices"), form).status_code == 422
    assert client_root.post(reverse("spending_prices"), {"withdraw": "x"}).status_code == 302
    assert not PriceOverride.objects.exists()
