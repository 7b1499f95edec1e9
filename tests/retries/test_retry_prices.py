"""A retry costs no more than the person was told, and counts toward every cap."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from jobs.actions import approvals, external_batches, retries
from jobs.models import (
    Job,
    SpendingCaps,
    clock,
    dollars,
    pico,
)
from jobs.results import table
from jobs.retries import edits, preparation, problem_groups, rounds
from jobs.retries.selection import EDITED
from jobs.rules import pricing
from jobs.rules.retry_choices import RetryChoice
from jobs.spending import caps, ledger, receipts
from jobs.worker import tally

from ..batches.test_external import in_lines, in_table, made_elsewhere
from ..conftest import CUT, ERRORED, REFUSED, Simulator, drive_job, send_again, sent
from ..driven_jobs import Drive
from .test_rounds import text
from .test_rounds_hard import MakeJob, let_succeed, request


def cost_of_round(job: Job) -> Decimal:
    """US dollars that the rows of the last round were charged."""
    rows = job.rows.filter(batch__round=job.last_round)
    return sum((row.cost for row in rows), Decimal(0))


def assert_costs_no_more_than_was_said(job: Job, user: User, which: str, **different: Any) -> None:
    planned = rounds.find_plan(job, RetryChoice(which, **different))
    assert planned is not None
    assert send_again(job, user, which, **different) == planned.rows
    assert 0 < cost_of_round(drive_job(job)) <= planned.price.most


# --- What a round costs at most -------------------------------------------------------------------


def test_requests_that_were_made_longer_before_cost_no_more_than_is_said(
    make_job: MakeJob, alice: User, simulator: Simulator, drive: Drive
) -> None:
    rows = [request(number, f"hello {CUT if number == 1 else ''}") for number in range(4)]
    job = sent(make_job, alice, drive, rows)
    assert edits.change_rows(job, "cut_off", "longer", "", 20_000) == 1
    assert send_again(job, alice, EDITED) == 1
    assert_costs_no_more_than_was_said(drive(job), alice, "cut_off")


def test_a_row_is_not_priced_by_columns_that_are_not_used(
    make_job: MakeJob, alice: User, simulator: Simulator, drive: Drive
) -> None:
    rows = [("n" * 8_000, f"hi {number}") for number in range(9)]
    rows.append(("m", "word " * 1_000 + ERRORED))
    job = sent(make_job, alice, drive, rows, max_tokens=20)
    [group] = problem_groups.find_groups(job)
    let_succeed(job, 10)
    assert_costs_no_more_than_was_said(job, alice, group.name)


def test_one_long_row_is_not_priced_as_the_short_ones(
    make_job: MakeJob, alice: User, simulator: Simulator, drive: Drive
) -> None:
    rows = [("n", f"{number} " + "word " * 200) for number in range(100)]
    rows.append(("m", "word " * 90_000 + ERRORED))
    job = sent(make_job, alice, drive, rows, max_tokens=20, model="claude-haiku-5-5")
    [group] = problem_groups.find_groups(job)
    let_succeed(job, 101)
    assert_costs_no_more_than_was_said(job, alice, group.name)


def test_a_row_that_was_edited_to_a_long_one_is_priced_as_a_long_one(
    make_job: MakeJob, alice: User, simulator: Simulator, drive: Drive
) -> None:
    rows = [("a", "short"), ("b", f"short {REFUSED}"), ("c", "x")]
    job = sent(make_job, alice, drive, rows, max_tokens=20, model="claude-haiku-5-5")
    assert edits.edit_row(job.rows.get(number=2), ["b", "word " * 150_000])
    assert_costs_no_more_than_was_said(job, alice, EDITED)


def test_a_row_with_many_tokens_for_its_letters_costs_no_more_than_is_said(
    make_job: MakeJob, alice: User, simulator: Simulator, drive: Drive
) -> None:
    # 3 bytes a letter, and a letter may be two tokens; the rows that were counted are English.
    rows = [("a", f"{number} " + "word " * 50) for number in range(40)]
    rows.append(("b", "鬱" * 3_000 + REFUSED))
    job = sent(make_job, alice, drive, rows, max_tokens=20)
    planned = rounds.find_plan(job, RetryChoice("refused"))
    assert planned is not None
    assert planned.price.most >= pricing.cost_of_tokens("claude-haiku-4-5", 2 * 3_000, 20)


def test_a_row_that_was_never_counted_costs_no_more_than_is_said(
    root: User, simulator: Simulator, drive: Drive
) -> None:
    simulator.faults(expire_share=1)
    attached = in_table([["id", "name"], ["a", "鬱" * 3_000]])
    job = drive(external_batches.import_batch(root, made_elsewhere(simulator, ["a"]), attached))
    for model in ("claude-haiku-4-5", "claude-opus-5-5"):
        again = RetryChoice("expired", prompt="Spell {{name}}.", max_tokens=20, model=model)
        planned = rounds.find_plan(job, again)
        assert planned is not None
        assert planned.price.most >= pricing.cost_of_tokens(model, 2 * 3_000, 20)


def test_longer_instructions_that_are_cached_cost_no_more_than_is_said(
    make_job: MakeJob, alice: User, simulator: Simulator, drive: Drive
) -> None:
    system = "Follow the rule and be kind. " * 1_000
    rows = [("a", "x"), ("b", f"y {REFUSED}")]
    job = sent(make_job, alice, drive, rows, max_tokens=20, system=system, cached=True)
    asked = {"prompt": "Greet {{name}}", "system": system * 6}
    assert_costs_no_more_than_was_said(job, alice, "refused", **asked)


def test_the_job_its_file_and_its_receipt_agree_on_what_it_cost(
    mixed: Job, alice: User, drive: Drive
) -> None:
    assert send_again(mixed, alice, "cut_off", max_tokens=1000) == 2
    job = drive(mixed)
    assert retries.ignore_rows(job, "cut_off", 2, alice)
    job.refresh_from_db()
    lines = [json.loads(line) for line in b"".join(table.jsonl_chunks(job)).splitlines()]
    assert [line["row"] for line in lines] == list(range(1, 9))
    in_file = sum((Decimal(line["cost_usd"]) for line in lines), Decimal(0))
    assert in_file == job.cost == receipts.receipt_of(job).charged


# --- Caps -----------------------------------------------------------------------------------------


def test_the_cap_of_a_job_counts_what_it_has_cost_before(mixed: Job, alice: User) -> None:
    again = RetryChoice("cut_off", max_tokens=1000)
    planned = rounds.find_plan(mixed, again)
    assert planned is not None and planned.price.most < 1
    Job.objects.filter(pk=mixed.pk).update(spent_pico=pico(Decimal(3)))
    SpendingCaps.objects.update(most_a_job=3)
    with pytest.raises(caps.NotAllowed, match="the limit per job is"):
        retries.confirm_retry(mixed, again, planned.key, alice)
    SpendingCaps.objects.update(most_a_job=4)
    assert retries.confirm_retry(mixed, again, planned.key, alice)


def test_small_rounds_do_not_lead_around_the_second_person(
    mixed: Job, alice: User, root: User, drive: Drive
) -> None:
    """What was sent before counts together, by what it was charged."""
    again = RetryChoice("cut_off", max_tokens=1000)
    planned = rounds.find_plan(mixed, again)
    assert planned is not None
    above = ledger.committed_to_job(mixed) + planned.price.most
    SpendingCaps.objects.update(approval_above=above)
    assert retries.confirm_retry(mixed, again, planned.key, alice)
    job = drive(mixed)
    again = RetryChoice("cut_off", max_tokens=1100)
    planned = rounds.find_plan(job, again)
    assert planned is not None and planned.price.most < above
    with pytest.raises(caps.NotAllowed, match="second person"):
        retries.confirm_retry(job, again, planned.key, alice)
    assert approvals.request_approval(job, planned.key, alice, again)
    assert approvals.approve(job, planned.key, root)
    assert retries.confirm_retry(job, again, planned.key, alice)
    job = drive(job)
    assert ledger.unapproved_amount(job) == ledger.committed_to_job(job) - cost_of_round(job) > 0


def test_a_round_of_an_older_job_counts_for_the_month_in_which_it_is_sent(
    mixed: Job, alice: User, drive: Drive
) -> None:
    Job.objects.filter(pk=mixed.pk).update(confirmed_at=clock.now() - timedelta(days=62))
    month = ledger.month_of(clock.now())
    assert ledger.committed_since(month) == 0
    assert send_again(mixed, alice, "cut_off", max_tokens=1000) == 2
    mixed.refresh_from_db()
    assert ledger.committed_since(month) == dollars(mixed.reserved_pico) > 0
    job = drive(mixed)
    assert ledger.committed_since(month) == cost_of_round(job) > 0


def test_what_a_round_of_a_job_that_was_brought_in_may_cost_stays_reserved(
    root: User, simulator: Simulator, drive: Drive
) -> None:
    ids = [f"r{number}" for number in range(8)]
    simulator.faults(expire_share=0.5)
    job = drive(external_batches.import_batch(root, made_elsewhere(simulator, ids), in_lines(ids)))
    simulator.reset()
    assert send_again(job, root)
    job.refresh_from_db()
    reserved = job.reserved_pico
    tally.count_up(job)
    job.refresh_from_db()
    assert job.reserved_pico == reserved > 0


# --- Ready-made requests that were changed --------------------------------------------------------


def test_requests_that_ask_another_model_now_cost_no_more_than_is_said(
    make_job: MakeJob, alice: User, simulator: Simulator, drive: Drive
) -> None:
    rows = [request(number, f"hello {REFUSED if number < 2 else ''}") for number in range(30)]
    job = sent(make_job, alice, drive, rows)
    changed = [
        request(0, "word " * 4_000, model="claude-opus-5-5", max_tokens=4_000),
        request(1, "short", max_tokens=50),
    ]
    found = list(job.rows.filter(cause="refused").in_order())
    assert edits.save_edits(job, list(zip(found, map(json.dumps, changed), strict=True))) == 2
    planned = rounds.find_plan(job, RetryChoice(EDITED))
    assert planned is not None
    opus = pricing.cost_of_tokens("claude-opus-5-5", 4_000, 4_000)
    assert opus < planned.price.most < 3 * opus, "each is priced as what it is"
    assert_costs_no_more_than_was_said(job, alice, EDITED)


# --- What the pages say of a round ----------------------------------------------------------------


def test_while_a_round_is_sent_its_rows_are_counted_and_its_price_is_in_what_is_said(
    make_job: MakeJob, alice: User, client_alice: Client, simulator: Simulator, drive: Drive
) -> None:
    job = sent(make_job, alice, drive, [("a", "x"), ("b", f"y {REFUSED}"), ("c", "z")])
    first = job.estimate.most if job.estimate else Decimal(0)
    assert send_again(job, alice, "refused", prompt="{{name}} " * 20_000) == 1
    job.refresh_from_db()
    assert "Preparing the retry: 0 of 1 row" in text(client_alice, reverse("job", args=[job.pk]))
    preparation.prepare_next(job)
    assert "Sending the retry: 0 of 1 row" in text(client_alice, reverse("job", args=[job.pk]))
    simulator.faults(stuck=True)
    job = drive(job, until=lambda job: job.state == Job.State.WORKING)
    assert "Retry: 0 of 1 row done" in text(client_alice, reverse("job", args=[job.pk]))
    said = client_alice.get(reverse("stop", args=[job.pk])).context["said"]
    assert said.most == first + job.rounds.get().estimate.most
