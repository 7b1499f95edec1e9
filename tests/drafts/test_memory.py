"""Rows whose request any earlier job has answered are not sent, and nobody gets an answer in this
way that they may not see."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.http import StreamingHttpResponse
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from jobs.actions import accuracy, job_basics, people, reviews, submissions
from jobs.batches import leases
from jobs.drafts import advice, deduplication, estimates
from jobs.ingest.request_keys import lasting_key
from jobs.models import (
    Access,
    Batch,
    Job,
    Membership,
    Outcome,
    Role,
    Row,
    Team,
    note_asked,
    note_change,
    recipe_of,
)
from jobs.results import review_sample, table
from jobs.retries import edits
from jobs.retries.selection import EDITED
from jobs.rules.judging import MARKED_DOWN
from jobs.rules.retry_choices import RoundEstimate
from jobs.rules.right_answers import GoldChoice
from jobs.rules.row_contents import compile_request_key
from jobs.web.views.rows import DRAWER
from jobs.worker import advance, retention, tally

from ..conftest import Simulator, send_again, store_job
from ..pages import squeezed
from .test_draft_settings import priced

MakeJob = Callable[..., Job]
Drive = Callable[..., Job]
PROMPT = "Is this positive? {{%s}}"
ASKED = {"model": "claude-haiku-5-5", "max_tokens": 9, "messages": []}
MAY = [("1", "[simulate:good] a"), ("2", "[simulate:good] b"), ("3", "[simulate:refusal]")]
JUNE = [("x", "b"), ("y", "new"), ("z", "a")]


# Of a table, or ready-made requests.
Rows = Sequence[Sequence[str] | Mapping[str, Any]]
# What is asked of the rows here, as ready-made requests.
REQUESTS, AGAIN = (
    [{"custom_id": name, "params": {**ASKED, "system": text}} for name, text in rows]
    for rows in ([("1", "a"), ("2", "b")], JUNE)
)


def answered(owner: User, rows: Rows = (("1", "a"), ("2", "b")), **values: Any) -> Job:
    """A finished job of this version: its requests are remembered."""
    usual: dict[str, Any] = {"practice": True}
    if not isinstance(rows[0], Mapping):
        usual |= {"columns": ("id", "text"), "prompt": PROMPT % "text"}
    job = store_job(owner, rows=rows, **{**usual, **values})
    key_of_cells = compile_request_key(recipe_of(job), job.columns)
    for row in job.rows.all():
        sent = row.content if job.kind == Job.Kind.TABLE else json.dumps(row.content["params"])
        key = key_of_cells(sent) if job.kind == Job.Kind.TABLE else lasting_key(sent.encode())
        job.rows.filter(pk=row.pk).update(request_key=key)
    note_asked(job, 1, recipe_of(job))
    return job


def draft(owner: User, **values: Any) -> Job:
    """A draft with other columns that asks the same, and runs no job again."""
    usual: dict[str, Any] = {"rows": JUNE}
    if not isinstance(values.get("rows", JUNE)[0], Mapping):
        usual |= {"columns": ("no", "review"), "prompt": PROMPT % "review"}
    return store_job(owner, **{"state": Job.State.DRAFT, "only_new": True, **usual, **values})


def claimed(job: Job) -> leases.Lease:
    Job.objects.filter(pk=job.pk).update(next_action_at=timezone.now())
    lease = leases.claim(job.pk)
    assert lease is not None
    return lease


def marked(job: Job) -> list[int | None]:
    """The jobs whose answers the rows of `job` got."""
    lease = claimed(job)
    deduplication.mark_repeated_rows(job, lease)
    return list(job.rows.in_order().values_list("earlier_job", flat=True))


def marks(job: Job) -> list[str]:
    """What marks the reused answers in the CSV of `job`."""
    [header, *lines] = csv.reader(io.StringIO(b"".join(table.csv_chunks(job)).decode(), newline=""))
    assert header[-1] == "reused"
    return [line[-1] for line in lines]


def test_any_earlier_job_answers_a_row_that_was_sent_there(
    alice: User, make_job: MakeJob, drive: Drive, simulator: Simulator, client_alice: Client
) -> None:
    rows = [(number, text.replace("refusal", "good")) for number, text in MAY]
    may = make_job(alice, Job.State.DRAFT, columns=("id", "t"), rows=MAY, prompt=PROMPT % "t")
    priced(may)
    assert submissions.confirm(may, may.plan_sha256, alice)
    may = drive(may)
    job = draft(alice, rows=[("x", MAY[1][1]), ("y", rows[2][1]), ("z", MAY[0][1])])
    estimate = priced(job)
    assert (estimate.rows, estimate.basis.survey.reused) == (1, 2)
    assert advice.saved_by_reuse(job, estimate) > 0
    page = client_alice.get(reverse("confirm", args=[job.pk])).content.decode()
    assert "2 of 3 rows are answered from earlier jobs" in page and "Saves about" in page
    before = simulator.truth()["accepted_rows"]
    assert submissions.confirm(job, job.plan_sha256, alice)
    job = drive(job)
    assert simulator.truth()["accepted_rows"] == before + 1
    lines = [json.loads(line) for line in b"".join(table.jsonl_chunks(job)).splitlines()]
    assert [(one["earlier_job"], one["earlier_row"]) for one in lines] == [
        (may.pk, 2),
        (None, None),
        (may.pk, 1),
    ]
    answers = dict(may.rows.values_list("number", "answer"))
    assert [lines[0]["answer"], lines[2]["answer"]] == [answers[2], answers[1]]
    assert [one["cost_usd"] for one in lines if one["reused"]] == ["0", "0"]
    assert marks(job) == ["yes", "", "yes"]
    page = client_alice.get(reverse("row", args=[job.pk, 1])).content.decode()
    assert f"row 2 of job {may.pk}" in page
    # Once its text is changed, it is sent like others.
    job.rows.filter(number=1).update(outcome=Outcome.LOOK, cause=MARKED_DOWN)
    assert edits.edit_row(job.rows.get(number=1), ["x", "[simulate:good] changed"])
    assert send_again(job, alice, EDITED) == 1
    assert marks(drive(job)) == ["", "", "yes"]


def test_a_file_names_no_job_that_its_reader_may_not_see(
    alice: User, bob: User, client_alice: Client, client_bob: Client
) -> None:
    may = answered(alice)
    job = draft(alice, state=Job.State.SUBMITTING)
    assert marked(job) == [may.pk, None, may.pk]
    # Only now is it shared; what answered it is not.
    team = Team.objects.create(name="readers")
    Membership.objects.create(team=team, person=bob)
    Job.objects.filter(pk=job.pk).update(team=team)

    pages = [reverse("row", args=[job.pk, 1]), reverse("receipt", args=[job.pk])]
    for headers in ({}, {"HX-Target": DRAWER}):
        said = squeezed(client_bob.get(pages[0], headers=headers).content)
        assert "same request from an earlier job, at no cost." in said
    assert tally.count_up(job)
    assert "Answered by an earlier job" in squeezed(client_bob.get(pages[1]).content)

    def earlier(client: Client) -> list[tuple[int | None, int | None]]:
        answer = client.get(reverse("download", args=[job.pk, "jsonl"]))
        assert isinstance(answer, StreamingHttpResponse)
        lines = [json.loads(line) for line in answer.getvalue().splitlines()]
        assert [bool(one["answer"]) for one in lines] == [True, False, True]
        # That some earlier job answered is no secret.
        assert [one["reused"] for one in lines] == [True, False, True]
        return [(one["earlier_job"], one["earlier_row"]) for one in lines]

    assert earlier(client_alice) == [(may.pk, 2), (None, None), (may.pk, 1)]
    assert earlier(client_bob) == [(None, None)] * 3
    # Nor the job that it runs again, whose rows older versions do not name.
    job.rows.exclude(earlier=None).update(earlier_job=None)
    Job.objects.filter(pk=job.pk).update(previous=may)
    assert earlier(client_alice) == [(may.pk, 2), (None, None), (may.pk, 1)]
    assert earlier(client_bob) == [(None, None)] * 3


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "Is it? {{review}}"},
        {"system": "Be strict."},
        {"model": "claude-sonnet-5-5"},
        {"effort": "none"},
        {"max_tokens": 99},
        {"answer": {"kind": "labels", "labels": ["yes", "no"]}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_only_the_very_same_request_is_answered(alice: User, change: dict[str, object]) -> None:
    answered(alice)
    assert marked(draft(alice, state=Job.State.SUBMITTING, **change)) == [None] * 3


@pytest.mark.parametrize(
    "change",
    [
        {"practice": False},
        {"state": Job.State.WORKING},
        {"state": Job.State.DELETING},
        {"trashed_at": timezone.now()},
        {"contents_deleted_at": timezone.now()},
        {"is_external": True},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_job_that_is_gone_or_not_alike_answers_nothing(
    alice: User, change: dict[str, object]
) -> None:
    may = answered(alice)
    assert marked(draft(alice, state=Job.State.SUBMITTING)) == [may.pk, None, may.pk]
    Job.objects.filter(pk=may.pk).update(**change)
    assert marked(draft(alice, state=Job.State.SUBMITTING)) == [None] * 3


@pytest.mark.parametrize("ready_made", [False, True])
def test_an_answer_that_goes_out_of_sight_before_it_is_copied_is_not_copied(
    alice: User, bob: User, monkeypatch: pytest.MonkeyPatch, ready_made: bool
) -> None:
    """Alice leaves the team while the answers are looked for."""
    team = Team.objects.create(name="readers")
    member = Membership.objects.create(team=team, person=alice)
    rows: dict[str, Any] = {"rows": REQUESTS} if ready_made else {}
    may = answered(bob, team=team, **rows)
    again: dict[str, Any] = {"rows": AGAIN} if ready_made else {}
    job = draft(alice, state=Job.State.SUBMITTING, **again)
    assert marked(job) == [may.pk, None, may.pk]
    job = draft(alice, state=Job.State.SUBMITTING, **again)
    mark = deduplication._mark

    def leaves_meanwhile(*arguments: Any) -> int:
        member.delete()
        return mark(*arguments)

    monkeypatch.setattr(deduplication, "_mark", leaves_meanwhile)
    assert marked(job) == [None] * 3
    assert not job.rows.exclude(answer="").exists()


def test_an_answer_that_is_not_good_is_not_used(alice: User) -> None:
    may = answered(alice)
    may.rows.filter(number=1).update(outcome=Outcome.LOOK, cause=MARKED_DOWN)
    may.rows.filter(number=2).update(outcome=Outcome.WAITING)  # it is sent again
    assert marked(draft(alice, state=Job.State.SUBMITTING)) == [None] * 3


def retry_elsewhere(source: Job, answer: str, prompt: str = "", request: str = "") -> None:
    """A retry of the first row of `source` from its confirmation to its end: with another prompt,
    or of another text."""
    row, number = source.rows.filter(number=1), source.last_round + 1
    with transaction.atomic():
        note_change(source.pk)
        recipe = recipe_of(source)
        if prompt:
            recipe = replace(recipe, prompt=prompt)
        cost = RoundEstimate(Decimal(1), Decimal(1), Decimal(1))
        asked = {"rows": 1, "bytes": 1, "estimate": cost, "asked_at": timezone.now()}
        source.rounds.create(number=number, recipe=recipe, which="edited", **asked)
        key_of = compile_request_key(recipe, source.columns)
        cells = ["1", request or "a"]
        row.update(source=json.dumps(cells), answer=answer, request_key=key_of(cells), round=number)
        note_asked(source, number, recipe)


@pytest.mark.parametrize("found_by", ["the previous job", "the hash of the request"])
@pytest.mark.parametrize("change", [{"prompt": "Is it? {{text}}"}, {"request": "other"}])
def test_an_answer_that_is_renewed_before_it_is_copied_is_looked_at_again(
    alice: User, monkeypatch: pytest.MonkeyPatch, found_by: str, change: dict[str, str]
) -> None:
    may = answered(alice)
    job = draft(alice, state=Job.State.SUBMITTING)
    if found_by == "the previous job":
        may.rows.update(request_key=None)  # as of older versions
        Job.objects.filter(pk=job.pk).update(previous=may)
        job.refresh_from_db()
    search, retried = deduplication._mark, False

    def retried_meanwhile(*arguments: Any) -> int:
        nonlocal retried
        if not retried:
            retried = True
            retry_elsewhere(may, "to another request", **change)
        return search(*arguments)

    monkeypatch.setattr(deduplication, "_mark", retried_meanwhile)
    lease = claimed(job)
    while not Job.objects.get(pk=job.pk).deduplicated:
        deduplication.mark_repeated_rows(job, lease)
    assert retried
    rows = job.rows.in_order()
    assert list(rows.values_list("earlier_job", flat=True)) == [may.pk, None, None]
    assert not job.rows.filter(answer="to another request").exists()


def test_nothing_of_a_request_is_kept_when_its_retention_is_over(alice: User) -> None:
    may = answered(alice)
    Job.objects.filter(pk=may.pk).update(contents_deleted_at=timezone.now())
    may.refresh_from_db()
    retention.delete_contents(may, claimed(may))
    assert not may.rows.exclude(request_key=None).exists() and not may.asked_recipes.exists()


def test_a_draft_is_priced_anew_when_its_answers_change(alice: User, simulator: Simulator) -> None:
    may, job = answered(alice), draft(alice)
    assert priced(job).rows == 1
    assert job_basics.trash_job(may, alice)
    assert not submissions.confirm(job, job.plan_sha256, alice)
    assert estimates.current(job) is None
    assert priced(job).rows == 3


@pytest.mark.parametrize("change", ["right answers", "marked as good"])
def test_whatever_changes_the_version_of_its_sources_has_a_draft_priced_anew(
    alice: User, simulator: Simulator, change: str
) -> None:
    """Else nobody could confirm it until it is looked at in turn."""
    may, job = answered(alice), draft(alice)
    priced(job)
    if change == "right answers":
        assert accuracy.choose_gold(may, GoldChoice((("", "text"),)))
    else:
        reviews.draw_sample(may, 1, alice)
        row = may.rows.get(number=may.sample.get().number)
        key = review_sample.answer_key(row)
        assert reviews.mark_answer(may, row.number, key, True, "", alice)
    job.refresh_from_db()
    assert estimates.current(job) is None
    assert Job.objects.due(timezone.now()).filter(pk=job.pk).exists()


def test_answers_that_vanish_after_it_was_confirmed_hold_the_job(
    alice: User, simulator: Simulator
) -> None:
    """One row of another job would do in number, not in length: the ceiling is a ceiling."""
    may, job = answered(alice), draft(alice, rows=[("x", "b"), ("y", "a" * 500), ("z", "a")])
    long = answered(alice, rows=[("1", "a" * 500)])
    assert priced(job).rows == 0
    assert submissions.confirm(job, job.plan_sha256, alice)
    Job.objects.filter(pk=long.pk).update(trashed_at=timezone.now())
    posts = simulator.truth()["posts"]
    advance.advance(job.pk)
    job.refresh_from_db()
    assert job.held == deduplication.GONE and not job.deduplicated
    assert simulator.truth()["posts"] == posts
    answered(alice, rows=[("1", "a" * 500)])
    assert submissions.resume_job(job, alice)
    advance.advance(job.pk)
    job.refresh_from_db()
    assert job.deduplicated and not Row.objects.filter(job=job, outcome="waiting").exists()
    assert may.rows.count() == 2


def test_other_answers_do_not_make_up_for_copies_that_are_sent_after_all(
    alice: User, simulator: Simulator
) -> None:
    """As many rows are answered as was said, but of them more had the same request."""
    may = answered(alice)
    job = draft(alice, rows=[("w", "a"), ("x", "b"), ("y", "c"), ("z", "c")], skip_duplicates=True)
    assert priced(job).rows == 1
    assert submissions.confirm(job, job.plan_sha256, alice)
    Job.objects.filter(pk=may.pk).update(trashed_at=timezone.now())
    answered(alice, rows=[("1", "c")])
    posts = simulator.truth()["posts"]
    advance.advance(job.pk)
    job.refresh_from_db()
    assert job.held == deduplication.GONE and not job.deduplicated
    assert simulator.truth()["posts"] == posts


def test_looking_again_comes_to_an_end(alice: User) -> None:
    """A worker died after it had found a copy, and a backup gave one row its batch again. Meanwhile
    another job has answered them all."""
    rows = [(number, "c") for number in "wxyz"]
    job = draft(alice, state=Job.State.SUBMITTING, rows=rows, skip_duplicates=True)
    sent = Batch.objects.create(job=job, number=1, nonce="n", size=1, practice=True, body_bytes=1)
    job.rows.filter(number=1).update(batch=sent)
    job.rows.filter(number=2).update(same_as=1)
    may = answered(alice, rows=[("1", "c")])
    assert marked(job) == [None, may.pk, may.pk, may.pk]
    job.refresh_from_db()
    assert job.deduplicated
    assert not Row.objects.unsent(job).exists()


def test_a_retry_that_asks_otherwise_gets_no_answers_to_the_old_prompt(
    alice: User, drive: Drive, simulator: Simulator
) -> None:
    """The job was stopped before any row was found to be answered already."""
    good = [f"{name} [simulate:good]" for name in "abb"]
    answered(alice, rows=[("1", good[0]), ("2", good[1])])
    job = draft(alice, rows=list(zip("xyz", good, strict=True)), skip_duplicates=True)
    assert priced(job).rows == 0
    assert submissions.confirm(job, job.plan_sha256, alice)
    assert submissions.stop_job(job, alice)
    job = drive(job)
    assert send_again(job, alice, "canceled", prompt="Is it good? {{review}}") == 3
    job = drive(job)
    assert job.good_count == simulator.truth()["accepted_rows"] == 3
    assert not job.rows.exclude(earlier=None, same_as=None).exists()


def test_reuse_never_crosses_who_may_see_what(alice: User, bob: User, root: User) -> None:
    """Whatever is shared with whom: everyone who sees the new job sees the job that answered."""
    users = [alice, bob, root, *(User.objects.create_user(f"u{n}") for n in range(2))]
    people.store_role(users[3], Role.APPROVER)
    people.store_role(users[4], Role.AUDITOR)
    teams = [Team.objects.create(name=f"t{n}") for n in range(2)]
    chance = random.Random(7)
    for user in users:
        for team in teams:
            if chance.random() < 0.5:
                Membership.objects.create(team=team, person=user)
    reused = {False: 0, True: 0}
    for _ in range(20):
        Job.objects.all().delete()
        ready_made = chance.random() < 0.5
        before: dict[str, Any] = {"rows": REQUESTS} if ready_made else {}
        after: dict[str, Any] = {"rows": AGAIN} if ready_made else {}
        for _ in range(3):
            one = answered(
                chance.choice(users),
                **before,
                team=chance.choice([None, *teams]),
                team_access=chance.choice(Access.values),
            )
            if chance.random() < 0.2:
                Job.objects.filter(pk=one.pk).update(trashed_at=timezone.now())
        job = draft(
            chance.choice(users[:4]),
            **after,
            state=Job.State.SUBMITTING,
            team=chance.choice([None, *teams]),
        )
        if chance.random() < 0.5:
            job.previous = Job.objects.order_by("?").exclude(pk=job.pk).first()
            job.save()
        sources = {pk for pk in marked(job) if pk}
        reused[ready_made] += bool(sources)
        for user in users:
            seen = Job.objects.visible_to(user)
            if seen.filter(pk=job.pk).exists():
                assert seen.filter(pk__in=sources).count() == len(sources), user
    assert all(1 < count < 10 for count in reused.values()), reused


@pytest.fixture(autouse=True)
def _in_practice(settings: Any) -> None:
    settings.PRACTICE = True
