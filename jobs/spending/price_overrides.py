"""Prices that administrators have entered: instead of the bundled ones, or for unknown models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from ..models import Job, ModelCatalog, PriceOverride, audit, recipe_of_round
from ..rules import pricing
from ..rules.pricing import ModelFacts, PricedModel, TokenPrices
from ..rules.provider_lists import ModelInfo

# Of the price of input, where nothing else is entered (pricing page: cache writes and reads).
WRITE_5M, WRITE_1H, READ = Decimal("1.25"), Decimal(2), Decimal("0.1")


def load_prices() -> None:
    """Load the prices in force today. Called in every process before anything about money; one
    small query if no price was ever entered."""
    now = timezone.now()
    pricing.use_prices(_in_force(now) if _has_any() else (), _day(now))


# Asked with each request, so it is not put together anew.
_ANY = f"SELECT 1 FROM {PriceOverride._meta.db_table} LIMIT 1"  # noqa: S608 - a name of ours


def _has_any() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(_ANY)
        return cursor.fetchone() is not None


def _day(moment: datetime) -> date:
    return moment.astimezone(UTC).date()


def find_risen(job: Job) -> str:
    """A model of a confirmed job, or of its last retry, with a higher price now than when it was
    confirmed: what is sent now may cost more than its maximum. "" if there is none."""
    last, now = job.rounds.last(), timezone.now()
    since = last.asked_at if last else job.confirmed_at
    if since is None or (_day(since) == _day(now) and not _has_any()):
        return ""
    models = {recipe_of_round(job, job.last_round).model}
    if job.kind == Job.Kind.REQUESTS:
        models = {*job.reading.models, *(last.contents if last else ())}
    before = pricing.prices_on(_day(since), _in_force(since))
    for model in sorted(models):
        known = pricing.find_model(model)
        then = before.get(known.id if known else model)
        with suppress(pricing.UnknownPrice):
            if then and pricing.has_risen(then, pricing.priced_model(model)):
                return model
    return ""


def _in_force(moment: datetime) -> Iterator[PricedModel]:
    entered = PriceOverride.objects.filter(since__lte=_day(moment), entered_at__lte=moment)
    entered = entered.filter(Q(withdrawn_at=None) | Q(withdrawn_at__gt=moment))
    latest = {own.model: own for own in entered.select_related("entered_by")}
    listed = {entry.id: entry for entry in ModelCatalog.get().entries}
    for own in latest.values():
        kept = (own.cache_write_5m, own.cache_write_1h, own.cache_read)
        who = own.entered_by.username if own.entered_by else "an administrator"
        source = f"entered by {who} on {own.entered_at:%Y-%m-%d}, from {own.since} on"
        yield PricedModel(
            **vars(_known(own.model, listed.get(own.model) or ModelInfo(own.model))),
            prices=TokenPrices(own.input, own.output, *kept),
            long_prompt_above=None,
            long_prices=None,
            source=source,
            as_of=own.entered_at.astimezone(UTC).date(),
        )


def _known(model_id: str, listed: ModelInfo) -> ModelFacts:
    """Other facts about a model: from the bundled table, else from the provider's list."""
    return pricing.find_model(model_id) or ModelFacts(
        id=model_id,
        aliases=(),
        name=listed.display_name or model_id,
        family=listed.line or "",
        status="active",
        limited=True,  # offered only where the provider lists it
        retires=None,
        context=listed.max_input_tokens or 0,
        max_output=listed.max_tokens or 0,
    )


def add_price(model_id: str, since: date, read: Decimal, written: Decimal, user: User) -> None:
    """Set prices from `since` on, in US dollars per million tokens: `read` of input, `written` of
    output. Cache prices follow from the input price, as the provider has it for nearly all
    models."""
    with transaction.atomic():
        PriceOverride.objects.create(
            model=model_id,
            since=since,
            input=read,
            output=written,
            cache_write_5m=read * WRITE_5M,
            cache_write_1h=read * WRITE_1H,
            cache_read=read * READ,
            entered_by=user,
        )
        after = {"since": str(since), "input_usd": str(read), "output_usd": str(written)}
        audit.record("price_entered", who=user, target=f"model {model_id}", after=after)
    _take_effect()


def withdraw_price(pk: int, user: User) -> None:
    with transaction.atomic():
        price = PriceOverride.objects.filter(pk=pk, withdrawn_at=None)
        own = price.first()
        if own and price.update(withdrawn_at=timezone.now()):
            before = {"since": str(own.since), "input_usd": str(own.input)}
            before["output_usd"] = str(own.output)
            audit.record("price_withdrawn", who=user, target=f"model {own.model}", before=before)
    _take_effect()


def _take_effect() -> None:
    """Apply prices here now, in other processes with their next request. Drafts are estimated
    again."""
    load_prices()
    Job.objects.priced_drafts().price_anew(timezone.now())
