"""Advice on a draft: what would save money or answers."""

from __future__ import annotations

from dataclasses import replace

from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from jobs.drafts import advice as best
from jobs.models import Job, Outcome, recipe_of
from jobs.rules import pricing

from ..conftest import Simulator, change_job
from .test_draft_settings import MakeJob, advice, priced, shown, tried


def test_answers_that_were_cut_off_when_tried_warn_before_all_of_them_are_paid(
    alice: User, make_job: MakeJob, client_alice: Client, simulator: Simulator
) -> None:
    job = make_job(alice, Job.State.DRAFT, max_tokens=50)
    tried(job, [50, 30, 50])
    job.trials.filter(output_tokens=50).update(outcome=Outcome.LOOK, cause="cut_off")
    words = "Answers cut off at 50 tokens: 2 of 3 rows that you tested."
    assert words in shown(client_alice, job)
    priced(job)
    assert words in client_alice.get(reverse("confirm", args=[job.pk])).content.decode()
    change_job(job, max_tokens=80)
    assert "cut off at" not in shown(client_alice, job), "longer ones are allowed by now"


# --- Advice ---------------------------------------------------------------------------------------


def test_a_longest_answer_far_above_what_was_needed_is_named(
    alice: User, make_job: MakeJob, client_alice: Client, client_bob: Client, simulator: Simulator
) -> None:
    rows = [(f"n{number}", "text") for number in range(500)]
    job = make_job(alice, Job.State.DRAFT, rows=rows, effort="none")
    tried(job, [30, 41, 35])
    before = priced(job)
    found = advice(job)["shorter"]
    assert found.saves < best.LEAST_SHOWN and best.best_advice(job, before) != found, "not unasked"
    assert "No tested answer needed more than 41 tokens, and 1,024 are allowed" in found.text
    address = reverse("take_advice", args=[job.pk])
    assert client_bob.post(address, {"code": "shorter"}).status_code == 404
    client_alice.post(address, {"code": "shorter"})
    job.refresh_from_db()
    assert job.recipe.max_tokens == 100
    after = priced(job)
    assert (after.low, after.tested) == (before.low, 3), "as it says"
    assert after.high < before.high, "rows that are cut off, of which there may be some, cost less"
    saved = before.most - after.most
    assert f"lowers the most this job can cost by {pricing.format_dollars(saved)}." in found.text
    assert "shorter" not in advice(job)
    client_alice.post(address, {"code": "nonsense"})
    job.refresh_from_db()
    assert job.recipe.max_tokens == 100


def test_a_longest_answer_that_was_reached_is_not_made_shorter(
    alice: User, make_job: MakeJob, simulator: Simulator
) -> None:
    rows = [(f"n{number}", "text") for number in range(500)]
    job = make_job(alice, Job.State.DRAFT, rows=rows)
    tried(job, [30, 41, 35])
    job.trials.filter(number=2).update(outcome=Outcome.LOOK, cause="cut_off")
    assert "shorter" not in advice(job)


def test_a_cheaper_model_that_gives_the_same_answers_is_named(
    alice: User, make_job: MakeJob, simulator: Simulator
) -> None:
    rows = [(f"n{number}", "text") for number in range(5000)]
    labels = {"kind": "labels", "labels": ["good", "bad"]}
    job = make_job(alice, Job.State.DRAFT, rows=rows, model="claude-opus-5-5", answer=labels)
    tried(job, [50, 50, 50])
    assert "cheaper" not in advice(job)
    change_job(job, model="claude-haiku-5-5", plan_sha256="")
    tried(job, [50, 50, 50])
    change_job(job, model="claude-opus-5-5", plan_sha256="")
    job.trials.update(outcome=Outcome.GOOD, answer="good")
    found = advice(job)["cheaper"]
    assert "Claude Haiku 5.5 gave the same answers to all 3 rows" in found.text
    assert found.recipe == replace(recipe_of(job), model="claude-haiku-5-5")
    job.trials.filter(model="claude-haiku-5-5", number=2).update(answer="bad")
    assert "cheaper" not in advice(job), "they do not agree any more"
