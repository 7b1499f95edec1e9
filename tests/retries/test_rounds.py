"""Rows that failed are sent again, as a new round of the same job: only these, for a price that was
shown, by the same safe path; what they came to before is kept."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from jobs.actions import retries
from jobs.drafts import estimates
from jobs.models import NOT_GOOD, Attempt, Edit, Job, Outcome, Row, SpendingCaps, recipe_of_round
from jobs.retries import edits, problem_groups, rounds
from jobs.retries.selection import EDITED
from jobs.rules.answer_statistics import AnswerStatistics
from jobs.rules.judging import CAUSES, describe_cause
from jobs.rules.retry_choices import RetryChoice
from jobs.spending import caps, receipts
from jobs.worker import tally

from ..conftest import CUT, REFUSED, Simulator, send_again, sent
from ..driven_jobs import Drive
from ..pages import squeezed

MakeJob = Callable[..., Job]


def text(client: Client, address: str) -> str:
    return squeezed(client.get(address).content)


def outcomes(job: Job) -> list[str]:
    return list(job.rows.in_order().values_list("outcome", flat=True))


def test_every_reason_is_a_group_with_words_a_charge_and_what_can_be_done(mixed: Job) -> None:
    found = {group.name: group for group in problem_groups.find_groups(mixed)}
    assert found.keys() == {"cut_off", "refused", "api_error"} or len(found) == 3
    assert found["cut_off"].rows == 2 and found["cut_off"].charged > 0
    assert [remedy.code for remedy in found["cut_off"].remedies] == ["longer", "ask", "leave_out"]
    longer = found["cut_off"].remedies[0]
    assert "1,000 tokens" in longer.words and longer.plan is not None and longer.plan.rows == 2
    assert sum(group.rows for group in found.values()) == 4
    assert all(group.first and group.last for group in found.values())


def test_longer_answers_are_allowed_for_those_that_were_cut_off_and_only_they_are_sent(
    mixed: Job, alice: User, client_alice: Client, drive: Drive, simulator: Simulator
) -> None:
    before = {row.number: row for row in mixed.rows.filter(cause="cut_off")}
    cost = mixed.cost
    accepted = simulator.truth()["accepted_rows"]
    # As if a longer answer were enough.
    for row in before.values():
        Row.objects.filter(pk=row.pk).update(source=row.source.replace(CUT, ""))
    assert send_again(mixed, alice, "cut_off", max_tokens=1000) == 2
    job = drive(mixed)
    assert simulator.truth()["accepted_rows"] == accepted + 2
    assert outcomes(job).count(Outcome.GOOD) == 6
    kept = {one.number: one for one in Attempt.objects.filter(job=job)}
    assert kept.keys() == before.keys()
    for number, one in kept.items():
        was = before[number]
        assert (one.outcome, one.cause, one.answer) == (was.outcome, was.cause, was.answer)
        assert (one.cost_pico, one.batch_id, one.attempt) == (was.cost_pico, was.batch_id, 1)
        row = job.rows.get(number=number)
        assert row.attempts == 1 and row.batch is not None and row.batch.round == 2
    again = sum((row.cost for row in job.rows.filter(number__in=before)), Decimal(0))
    assert job.cost == cost + again, "both are paid"
    assert job.spent_pico == int(job.cost.scaleb(12)) and not job.reserved_pico
    receipt = receipts.receipt_of(job)
    assert receipt.charged == job.cost
    assert recipe_of_round(job, 2).max_tokens == 1000
    assert job.estimate is not None and job.estimate.rows == 8, "what was confirmed first"
    number = next(iter(before))
    page = text(client_alice, reverse("row", args=[job.pk, number]))
    assert "<strong>Attempt 1</strong>: Check this – Answer cut off" in page
    assert before[number].answer[:40] in page and '"max_tokens": 500' in page
    assert '"max_tokens": 1000' in page, "what it was asked the second time"


def test_what_was_not_shown_is_not_sent(mixed: Job, alice: User) -> None:
    planned = rounds.find_plan(mixed, RetryChoice("refused"))
    assert planned is not None
    other = rounds.find_plan(mixed, RetryChoice("cut_off", max_tokens=1000))
    assert other is not None
    assert not retries.confirm_retry(
        mixed, RetryChoice("cut_off", max_tokens=2000), other.key, alice
    )
    assert retries.confirm_retry(mixed, RetryChoice("refused"), planned.key, alice)
    assert not retries.confirm_retry(mixed, RetryChoice("refused"), planned.key, alice), (
        "a second click"
    )
    assert not Attempt.objects.filter(job=mixed).exclude(number=4).exists()


def test_the_caps_hold_for_a_round_and_a_second_person_sends_what_is_dear(
    mixed: Job, alice: User, root: User, client_alice: Client, client_root: Client
) -> None:
    again = RetryChoice("cut_off", max_tokens=1000)
    planned = rounds.find_plan(mixed, again)
    assert planned is not None
    SpendingCaps.objects.update(most_a_job=planned.price.most / 2)
    with pytest.raises(caps.NotAllowed):
        retries.confirm_retry(mixed, again, planned.key, alice)
    page = text(client_alice, reverse("retry", args=[mixed.pk]) + "?which=cut_off&max_tokens=1000")
    assert "the limit per job is" in page and '<button class="btn btn-primary' not in page
    SpendingCaps.objects.update(most_a_job=None, approval_above=planned.price.most / 2)
    with pytest.raises(caps.NotAllowed, match="second person"):
        retries.confirm_retry(mixed, again, planned.key, alice)
    mixed.refresh_from_db()
    assert mixed.state == Job.State.FINISHED and not Attempt.objects.filter(job=mixed).exists()
    address = reverse("retry", args=[mixed.pk])
    form = {"which": "cut_off", "max_tokens": 1000, "key": planned.key}
    client_alice.post(address, {**form, "approval": "ask"})
    assert "1 job is waiting for your approval" in text(client_root, "/")
    job_page = text(client_root, reverse("job", args=[mixed.pk]))
    assert "A retry of this job is waiting for approval" in job_page and address in job_page
    page = text(client_root, address)
    assert "alice asks for your approval" in page and "Approve 2 rows" in page
    client_root.post(address, {**form, "approval": "give"})
    mixed.refresh_from_db()
    assert mixed.state == Job.State.FINISHED, "approving sends nothing"
    with pytest.raises(caps.NotAllowed, match="only its owner"):
        retries.confirm_retry(mixed, again, planned.key, root)
    page = text(client_alice, address)
    assert "root approved this." in page and "Practice with 2 rows" in page
    client_alice.post(address, form)
    mixed.refresh_from_db()
    assert mixed.rounds.get().approved_by == root
    assert mixed.reserved_pico >= int(planned.price.most.scaleb(12))


def test_rows_are_edited_in_the_page_shown_and_sent(
    mixed: Job, client_alice: Client, client_bob: Client, drive: Drive, simulator: Simulator
) -> None:
    address = reverse("edit_row", args=[mixed.pk, 4])
    assert client_bob.get(address).status_code == 404
    good = client_alice.get(reverse("edit_row", args=[mixed.pk, 1]), follow=True)
    assert "Row 1 has a good answer, so it cannot be edited." in good.content.decode()
    assert f"text 4 {REFUSED}" in text(client_alice, address)
    page = client_alice.post(address, {"cell": ["n4", "<b>kinder</b>\r\ntext"]}, follow=True)
    shown = page.content.decode()
    assert "&lt;b&gt;kinder&lt;/b&gt;" in shown and "<b>kinder" not in shown
    client_alice.post(reverse("edit_row", args=[mixed.pk, 5]), {"cell": ["n5", "text 5"]})
    client_alice.post(reverse("edit_row", args=[mixed.pk, 2]), {"cell": ["n2", f"text 2 {CUT}"]})
    assert list(mixed.edits.values_list("number", flat=True)) == [4, 5], "one is as it was"
    again = reverse("retry", args=[mixed.pk])
    page_text = text(client_alice, f"{again}?which=edited")
    assert "Retry 2 rows?" in page_text
    [key] = re.findall(r'name="key" value="(\w+)"', page_text)
    client_alice.post(again, {"which": "edited", "key": key})
    job = drive(mixed)
    assert not Edit.objects.filter(job=job).exists()
    row = job.rows.get(number=4)
    assert row.outcome == Outcome.GOOD and row.content == ["n4", "<b>kinder</b>\ntext"]
    assert row.size == len("n4<b>kinder</b>\ntext")
    [kept] = Attempt.objects.filter(job=job, number=4)
    assert json.loads(kept.source) == ["n4", f"text 4 {REFUSED}"] and kept.cause == "refused"
    assert simulator.accepted()["0000004"] == 2 and simulator.accepted()["0000001"] == 1


def test_the_rows_of_a_group_can_be_edited_from_a_list(mixed: Job, client_alice: Client) -> None:
    page = text(client_alice, reverse("problems", args=[mixed.pk]))
    address = f"{reverse('edits', args=[mixed.pk])}?cause=refused"
    assert address in page
    shown = text(client_alice, address)
    assert f"n4 | text 4 {REFUSED}" in shown and reverse("edit_row", args=[mixed.pk, 4]) in shown
    assert edits.edit_row(mixed.rows.get(number=4), ["n4", "kinder"])
    assert reverse("edit_row", args=[mixed.pk, 4]) not in text(client_alice, address)
    assert client_alice.get(f"{address}%00").status_code == 200


def test_all_rows_of_a_group_are_shortened_and_it_is_shown_first(
    mixed: Job, client_alice: Client
) -> None:
    mixed.rows.filter(number=4).update(cause="request_too_large", outcome=Outcome.ERRORED)
    tally.count_up(mixed)
    mixed.refresh_from_db()
    group = problem_groups.find_group(mixed, "request_too_large")
    assert group is not None
    shorten = group.remedies[0]
    assert (shorten.code, shorten.value) == ("shorten", "text")
    assert 100_000 < shorten.number < 400_000, "a model of 200,000 tokens"
    address = reverse("change_rows", args=[mixed.pk, "request_too_large"])
    given = {"code": "shorten", "name": "text", "number": "4"}
    assert ">text</ins>" in client_alice.post(address, given, follow=True).content.decode()
    assert edits.changed_rows(mixed, 5)[0].changes[0].after == "text"
    for wrong in ({"name": "nope"}, {"number": "0"}, {"number": "x"}, {"code": "without"}):
        edits.discard_edits(mixed)
        client_alice.post(address, {**given, **wrong})
        assert not mixed.edits.exists()


def test_rows_are_asked_otherwise(
    mixed: Job,
    alice: User,
    client_alice: Client,
    drive: Drive,
    simulator: Simulator,
    make_job: MakeJob,
) -> None:
    address = reverse("change_prompt", args=[mixed.pk, "refused"])
    assert "Say: {{text}}" in text(client_alice, address)
    given = {
        "prompt": "Say {{nothing}}",
        "system": "",
        "model": mixed.recipe.model,
        "max_tokens": "500",
    }
    answer = client_alice.post(address, given)
    assert answer.status_code == 422 and "nothing" in answer.content.decode()
    # The marker of the simulator is in the text, so the name alone is asked for.
    page = client_alice.post(address, {**given, "prompt": "Greet {{name}}, kindly"})
    shown = squeezed(page.content)
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', shown))
    assert fields["prompt"] == "Greet {{name}}, kindly" and fields["asks"] == "prompt"
    client_alice.post(reverse("retry", args=[mixed.pk]), fields)
    job = drive(mixed)
    assert job.rows.get(number=4).outcome == Outcome.GOOD
    assert job.recipe.prompt == "Say: {{text}}", "what the others were asked"
    assert recipe_of_round(job, 2).prompt == "Greet {{name}}, kindly"
    # Whoever runs the job again asks what the others were asked.
    good = job.good_count
    rows = [tuple(row.content) for row in job.rows.in_order()]
    values = {
        "prompt": job.recipe.prompt,
        "model": job.recipe.model,
        "max_tokens": 500,
        "only_new": True,
    }
    again = make_job(alice, Job.State.DRAFT, rows=rows, previous=job, **values)
    estimates.estimate_job(again)
    again.refresh_from_db()
    estimate = estimates.current(again)
    assert estimate is not None and estimate.basis.survey.known == good - 1


def test_left_out_on_purpose_needs_no_attention(
    mixed: Job, alice: User, client_alice: Client
) -> None:
    address = reverse("ignore_rows", args=[mixed.pk, "refused"])
    assert "Ignore 1 row?" in text(client_alice, address)
    Job.objects.filter(pk=mixed.pk).update(answers=AnswerStatistics(5))
    client_alice.post(address, {"rows": "0"})
    client_alice.post(address, {"rows": "2"})
    assert Job.objects.get(pk=mixed.pk).answers == AnswerStatistics(5), "nothing has changed"
    assert mixed.rows.get(number=4).outcome == Outcome.LOOK, "not as many as were shown"
    client_alice.post(address, {"rows": "1"})
    row = mixed.rows.get(number=4)
    assert (row.outcome, row.cause) == (Outcome.LEFT_OUT, "set_aside")
    mixed.refresh_from_db()
    assert mixed.attention_count == 3
    for cause in (
        "cut_off",
        *(g.name for g in problem_groups.find_groups(mixed) if g.name != "cut_off"),
    ):
        group = problem_groups.find_group(mixed, cause)
        assert group is not None and retries.ignore_rows(mixed, cause, group.rows, alice)
        mixed.refresh_from_db()
    assert mixed.attention_count == 0
    assert "Nothing needs your attention" in text(
        client_alice, reverse("problems", args=[mixed.pk])
    )


def test_a_parameter_that_is_not_taken_is_taken_out_of_ready_made_requests(
    make_job: MakeJob, alice: User, client_alice: Client, simulator: Simulator, drive: Drive
) -> None:
    params = {
        "model": "claude-haiku-4-5",
        "max_tokens": 50,
        "top_k": 5,
        "messages": [{"role": "user", "content": "hello"}],
    }
    rows = [{"custom_id": f"r{number}", "params": params} for number in range(3)]
    job = sent(make_job, alice, drive, rows)
    group = problem_groups.find_group(job, "invalid_request_error")
    assert group is not None
    first = group.remedies[0]
    assert (first.code, first.value) == ("without", "top_k")
    address = reverse("change_rows", args=[job.pk, "invalid_request_error"])
    page = client_alice.post(address, {"code": "without", "name": "top_k"}, follow=True)
    assert "top_k" in page.content.decode()
    assert send_again(job, alice, EDITED) == 3
    job = drive(job)
    assert "top_k" not in job.rows.get(number=2).content["params"]
    assert list(job.rows.get(number=2).content["params"]) == ["model", "max_tokens", "messages"]
    assert job.good_count == 3


@pytest.mark.parametrize("cause", [*CAUSES, "a_new_error", ""])
def test_every_cause_there_is_has_words_and_what_cannot_succeed_is_not_sent_blindly(
    cause: str,
) -> None:
    known = describe_cause(cause)
    assert known.title and known.advice and known.charged and known.who
    if cause in ("invalid_request_error", "request_too_large", "too_long", "cut_off", "refused"):
        assert "again" not in known.remedies
    assert known.remedies or cause in ("set_aside", "not_selected")


def test_the_pages_are_for_those_who_may_see_the_job(mixed: Job, client_bob: Client) -> None:
    for name in ("problems", "retry", "edits"):
        assert client_bob.get(reverse(name, args=[mixed.pk])).status_code == 404
    for name in ("change_prompt", "ignore_rows"):
        assert client_bob.get(reverse(name, args=[mixed.pk, "refused"])).status_code == 404
    assert client_bob.post(reverse("change_rows", args=[mixed.pk, "x"])).status_code == 404
    assert set(NOT_GOOD) >= {Outcome.LOOK, Outcome.CANCELED}
