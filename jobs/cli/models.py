"""`manage.py job models`: list the models that can be chosen."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandParser

from ..drafts import model_catalog
from ..drafts.model_catalog import OfferedModel
from ..rules import pricing
from .console import Console
from .facts import facts_of_model


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")


def run(console: Console, options: dict[str, Any]) -> None:
    found = model_catalog.list_models()
    if options["json"]:
        console.write(json.dumps([facts_of_model(offer) for offer in found], indent=1))
        return
    for offer in found:
        notes = [f"reads {offer.context:,}", f"writes {offer.longest:,} tokens"]
        if offer.retires:
            until = "switched off on" if offer.deprecated else "in service until at least"
            notes.append(f"{until} {offer.retires}")
        console.write(f"{offer.id:<20} {model_price(offer):<34} {offer.words}")
        console.write(f"{'':<20} {', '.join(notes)}")


def model_price(offer: OfferedModel) -> str:
    if not offer.has_price:
        return "no price known"
    prices = pricing.priced_model(offer.id).prices
    read, written = prices.input * pricing.BATCH, prices.output * pricing.BATCH
    return f"${read:,.3f} in, ${written:,.3f} out a million"
