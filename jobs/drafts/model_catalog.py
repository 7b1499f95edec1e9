"""The models to choose from: the provider's list for this account, refreshed by the worker, with
our prices. Until it has been fetched, the bundled table."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.conf import settings

from ..models import ModelCatalog, clock, fingerprint_of_owner, key_fingerprint
from ..provider import errors
from ..rules import pricing
from ..rules.provider_lists import ModelInfo

logger = logging.getLogger(__name__)

FRESH = timedelta(hours=6)
AGAIN = timedelta(minutes=10)  # after a failed request

# What each family of models is good for, cheapest first.
FAMILIES = {
    "haiku": "Fast and cheap",
    "sonnet": "A good balance",
    "opus": "Thorough, for hard questions",
    "fable": "The strongest",
    "mythos": "The strongest, for approved accounts",
}


@dataclass(frozen=True)
class OfferedModel:
    """A model that can be chosen. Lengths are in tokens."""

    id: str
    name: str
    family: str
    context: int
    longest: int
    deprecated: bool
    retires: date | None  # not before that day, unless it is deprecated
    has_price: bool = True

    @property
    def words(self) -> str:
        return FAMILIES.get(self.family, "")


def refresh() -> None:
    """Fetch the list of models if it is due. Not in practice mode: the simulator has no account."""
    if settings.PRACTICE:
        return
    from ..provider import client  # which is slow to import, and pages need only the list

    now, key = clock.now(), key_fingerprint()
    catalog = ModelCatalog.row()
    # Another key may see other models.
    catalog.exclude(key=key).update(key=key, entries=[], due_at=now)
    due = catalog.filter(clock.over("due_at", FRESH, now), key=key)
    # Even if this fails, the next attempt comes later.
    if not due.update(due_at=now + AGAIN):
        return
    try:
        found = client.list_models()
    except errors.ProviderError as error:
        logger.warning("could not fetch the list of models: %s", error)
        return
    catalog.filter(key=key).update(entries=found, listed_at=now, due_at=now + FRESH)


def list_models() -> list[OfferedModel]:
    """The models to choose from: cheapest family first, and in a family the newest first."""
    known = _listed()
    if known is None:
        found = [_of_table(model) for model in pricing.choosable_models()]
    else:
        found = [_of_list(info) for info in known if info.lifecycle != "retired"]
    order = [*FAMILIES]
    return sorted(
        found,
        key=lambda offer: order.index(offer.family) if offer.family in order else len(order),
    )


def last_refresh() -> datetime | None:
    """When the list of models was fetched; None if the bundled table is used."""
    catalog = ModelCatalog.get()
    return catalog.listed_at if _is_known(catalog) else None


def _listed() -> list[ModelInfo] | None:
    catalog = ModelCatalog.get()
    if not _is_known(catalog):
        return None
    return catalog.entries


def _is_known(catalog: ModelCatalog) -> bool:
    """Whether the list was fetched with the current key."""
    mine = not settings.PRACTICE and catalog.key == fingerprint_of_owner(None)
    return mine and bool(catalog.entries)


def _of_table(model: pricing.PricedModel) -> OfferedModel:
    return OfferedModel(
        model.id,
        model.name,
        model.family,
        model.context,
        model.max_output,
        model.status == "deprecated",
        model.retires,
    )


def _of_list(info: ModelInfo) -> OfferedModel:
    """Facts from the provider's list override bundled ones."""
    model = _known(info.id)
    nothing = OfferedModel(info.id, info.id, info.line or "", 0, 0, False, None, has_price=False)
    known = _of_table(model) if model else nothing
    said: dict[str, Any] = {
        "name": info.display_name,
        "context": info.max_input_tokens,
        "longest": info.max_tokens,
        "retires": info.retires_at and info.retires_at.date(),
    }
    told = {name: value for name, value in said.items() if value}
    deprecated = info.lifecycle == "deprecated"
    return OfferedModel(**{**vars(known), **told, "deprecated": deprecated})


def find_model(model_id: str) -> OfferedModel | None:
    return next((offer for offer in list_models() if offer.id == model_id), None)


def model_problems(model_id: str) -> list[str]:
    """Why a model cannot be used, as a sentence."""
    models = list_models()
    offer = next((offer for offer in models if offer.id == model_id), None)
    if offer is None:
        return [f"{name_of(model_id)} is no longer offered.{_instead(model_id, models)}"]
    if not offer.has_price:
        return [
            f"There is no price for {offer.name} yet. Choose another model, or ask an "
            "administrator to enter its price under “Spending”."
        ]
    return []


def model_remarks(model_id: str) -> list[str]:
    """Warnings about a model that can be used, as sentences."""
    models = list_models()
    offer = next((offer for offer in models if offer.id == model_id), None)
    if offer is None or not offer.deprecated:
        return []
    when = f" on {offer.retires:%-d %B %Y}" if offer.retires else " soon"
    return [f"{offer.name} will be switched off{when}.{_instead(model_id, models)}"]


def _instead(model_id: str, models: list[OfferedModel]) -> str:
    """Which model of the same family to use instead, as a sentence."""
    family = _family(model_id)
    for offer in models:
        if offer.family == family and not offer.deprecated and offer.id != model_id:
            return f" Choose {offer.name} instead."
    return " Choose another model."


def _family(model_id: str) -> str:
    known = _known(model_id)
    return known.family if known else ""


def name_of(model_id: str) -> str:
    """The name of a model; its id if it is unknown."""
    known = _known(model_id)
    return known.name if known else model_id


def has_price(model_id: str) -> bool:
    return _known(model_id) is not None


def _known(model_id: str) -> pricing.PricedModel | None:
    with suppress(pricing.UnknownPrice):
        return pricing.priced_model(model_id)
    return None
