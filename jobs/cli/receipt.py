"""`manage.py job receipt`: say what a job was charged."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandError, CommandParser

from ..rules import wording
from ..rules.pricing import format_dollars
from ..spending import receipts
from ..worker import tally
from .access import find_job
from .console import Console
from .facts import facts_of_receipt
from .price_words import price_in_words


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("id", type=int, metavar="ID")
    parser.add_argument("--json", action="store_true", help="for programs")


def run(console: Console, options: dict[str, Any]) -> None:
    job = find_job(options["id"])
    if not job.was_sent:
        raise CommandError(f"Job {job.pk} has no receipt: {job.get_state_display()}.")
    tally.count_if_stale(job.pk)
    job.refresh_from_db()
    try:
        receipt = receipts.receipt_of(job)
    except receipts.NotCounted:
        raise CommandError(f"Job {job.pk} is being counted. Try again in a minute.") from None
    if options["json"]:
        found = facts_of_receipt(receipt)
        console.write(json.dumps(found, indent=1, ensure_ascii=False))
        return
    would = "would have been charged: practice mode" if job.practice else "charged"
    console.write(f"{format_dollars(receipt.charged)} (US dollars) {would}")
    for line in receipt.lines:
        console.write(
            f"  {line.what}, {line.model}: {wording.rows(line.rows)}, "
            f"{line.input_tokens + line.cache_write_tokens + line.cache_read_tokens:,} tokens "
            f"read, {line.output_tokens:,} written: {format_dollars(line.cost)}"
        )
    if receipt.may_be_charged:
        more = format_dollars(receipt.may_be_charged)
        console.write(f"  Up to {more} more may have been charged: an answer was lost.")
    for why, count in receipt.not_charged.items():
        console.write(f"  Not charged: {wording.rows(count)}: {why}")
    if receipt.estimate:
        console.write(f"Estimated: {price_in_words(receipt.estimate)}")
