"""What people wait for stays small, however many drafts, templates, people and rows there are."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from jobs.actions import reviews
from jobs.drafts import trials
from jobs.models import Job, Outcome, Row, Template, clock
from jobs.models.fields import to_json
from jobs.results import review_sample
from jobs.rules.recipes import Recipe
from jobs.worker import due_times, housekeeping

from ..conftest import Simulator
from ..drafts.test_draft_settings import priced
from ..pages import squeezed

MakeJob = Callable[..., Job]


# --- Drafts ---------------------------------------------------------------------------------------


def copies_of(job: Job, count: int) -> None:
    values = {
        field.attname: getattr(job, field.attname)
        for field in Job._meta.concrete_fields
        if field.name != "id"
    }
    Job.objects.bulk_create(Job(**values) for _ in range(count))


def statements_of_pricing() -> int:
    with CaptureQueriesContext(connection) as found:
        housekeeping.price_stale_drafts()
    return len(found)


@pytest.mark.parametrize("count", [2, 40, 250])
def test_drafts_are_looked_at_in_few_statements(
    alice: User, make_job: MakeJob, simulator: Simulator, settings: Any, count: int
) -> None:
    job = make_job(alice, Job.State.DRAFT, rows=[("a", "b")])
    priced(job)
    job.refresh_from_db()
    copies_of(job, count - 1)
    most = 6 + 3 * housekeeping.LOOKED_AT_IN_TURN
    assert statements_of_pricing() <= most
    assert Job.objects.priced_drafts().count() == count, "nothing has changed"
    settings.PRACTICE, settings.ANTHROPIC_API_KEY = False, "sk-ant-test"
    assert statements_of_pricing() <= 6
    left = max(count - housekeeping.PRICED_AT_ONCE, 0)
    assert Job.objects.priced_drafts().count() == left, "the others have their turn"
    while left:
        assert statements_of_pricing() <= 6
        left = max(left - housekeeping.PRICED_AT_ONCE, 0)
        assert Job.objects.priced_drafts().count() == left


def test_a_price_of_an_older_version_is_worked_out_anew(
    alice: User, make_job: MakeJob, simulator: Simulator
) -> None:
    job = make_job(alice, Job.State.DRAFT, rows=[("a", "b")])
    priced(job)
    job.refresh_from_db()
    assert job.estimate
    old = {name: value for name, value in to_json(job.estimate).items() if name != "prices"}
    Job.objects.filter(pk=job.pk).update(estimate=old)
    housekeeping.price_stale_drafts()
    assert not Job.objects.priced_drafts().exists()


def test_a_change_that_was_missed_is_found_in_turn(
    alice: User, make_job: MakeJob, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(alice, Job.State.DRAFT, rows=[("a", "b")])
    priced(job)
    job.refresh_from_db()
    copies_of(job, 2 * housekeeping.LOOKED_AT_IN_TURN)
    last = Job.objects.order_by("pk").last()
    assert last and last.estimate
    Job.objects.filter(pk=last.pk).update(estimate=replace(last.estimate, key="of before"))
    now = clock.now()
    for minute in range(3):
        later = now + minute * due_times.SAFETY
        monkeypatch.setattr(clock, "now", lambda later=later: later)
        housekeeping.price_stale_drafts()
    assert set(Job.objects.filter(plan_sha256="").values_list("pk", flat=True)) == {last.pk}


def test_a_draft_of_the_same_template_learns_when_a_job_has_finished(
    alice: User, make_job: MakeJob
) -> None:
    template = Template.objects.create(owner=alice, name="t", recipe=Recipe("", "", "m"))
    draft = make_job(alice, Job.State.DRAFT, template=template)
    other = make_job(alice, Job.State.DRAFT)
    job = make_job(alice, Job.State.FINISHED, template=template)
    assert set(job.runs_again()) == {draft, job}
    assert not set(other.runs_again())


# --- Pages ----------------------------------------------------------------------------------------


def test_many_templates_have_pages_and_can_be_searched(
    alice: User, bob: User, client_alice: Client, django_assert_max_num_queries: Any
) -> None:
    recipe = Recipe("Say {{text}}", "x" * 1_000, "claude-haiku-5-5")
    Template.objects.bulk_create(
        Template(owner=owner, name=f"T {number:03}", recipe=recipe, shared=owner == bob)
        for owner in (alice, bob)
        for number in range(30)
    )
    client_alice.get(reverse("jobs"))  # the first page of a session stores it
    with django_assert_max_num_queries(12):
        first = client_alice.get(reverse("templates")).content.decode()
    assert "T 024" in first and "T 025" not in first and "Shared by others" not in first
    assert len(first) < 200_000
    second = client_alice.get(reverse("templates"), {"page": 2}).content.decode()
    assert "T 025" in second and "Yours" in second and "Shared by others" in second
    assert "Page 3 of 3" in client_alice.get(reverse("templates"), {"page": 99}).content.decode()
    found = squeezed(client_alice.get(reverse("templates"), {"q": "t 029"}).content)
    assert found.count("T 029</h3>") == 2 and "T 028" not in found
    nothing = client_alice.get(reverse("templates"), {"q": "<nothing>"}).content.decode()
    assert "No template has “&lt;nothing&gt;” in its name." in nothing


def test_many_people_have_pages(client_root: Client) -> None:
    User.objects.bulk_create(User(username=f"person{number:03}") for number in range(120))
    first = client_root.get(reverse("people")).content.decode()
    last = client_root.get(reverse("people"), {"page": 3}).content.decode()
    assert "person000" in first and "person119" not in first
    assert "person119" in last and "Page 3 of 3" in last


# --- Rows -----------------------------------------------------------------------------------------


@pytest.fixture
def many(alice: User, make_job: MakeJob) -> Job:
    rows = [(f"n{number}", "some text") for number in range(900)]
    return make_job(alice, Job.State.DRAFT, rows=rows)


def rows_looked_up(found: CaptureQueriesContext) -> int:
    """Numbers of rows that the statements name."""
    return sum(query["sql"].count(",") for query in found if "IN (" in query["sql"])


def test_any_rows_to_try_are_looked_up_by_their_numbers(
    many: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    shuffled: list[int] = []
    real_sample = random.sample

    def sample(rows: Sequence[int], count: int) -> list[int]:
        shuffled.append(count)
        return real_sample(rows, count)

    monkeypatch.setattr(random, "sample", sample)
    monkeypatch.setattr(trials, "LOOKED_AT", 300)
    monkeypatch.setattr(trials, "SLICE", 50)
    with CaptureQueriesContext(connection) as found:
        rows = trials.choose_rows(many, 5, at_random=True)
    assert len({row.number for row in rows}) == 5
    assert shuffled == [300] and len(found) == 1
    assert rows_looked_up(found) < 2 * trials.SLICE


def test_any_rows_are_as_likely_as_any_other(many: Job) -> None:
    seen = [row.number for _ in range(60) for row in trials.choose_rows(many, 20, at_random=True)]
    thirds = Counter((number - 1) // 300 for number in seen)
    # 400 each are expected; six standard deviations.
    assert all(abs(thirds[third] - 400) < 100 for third in range(3)), thirds


def test_a_sample_is_drawn_by_number(many: Job, alice: User) -> None:
    many.rows.update(outcome=Outcome.GOOD, answer="x")
    with CaptureQueriesContext(connection) as found:
        assert reviews.draw_sample(many, 100, alice) == 100
    assert not [query for query in found if "RAND" in query["sql"].upper().partition("ORDER")[2]]
    assert reviews.draw_sample(many, 100, alice) == 0
    assert len(set(many.sample.values_list("number", flat=True))) == 100


def test_rare_good_rows_are_all_found(
    many: Job, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(review_sample, "LOOKED_AT", 30)
    good = [7, 450, 899]
    many.rows.filter(number__in=good).update(outcome=Outcome.GOOD, answer="x")
    assert sorted(review_sample.draw_sample(many, 10)) == good
    assert reviews.draw_sample(many, 10, alice) == 3
    seen = Counter(review_sample.draw_sample(many, 1)[0] for _ in range(300))
    assert all(seen[number] > 40 for number in good), seen


def test_rows_that_are_drawn_are_as_likely_as_any_other(many: Job) -> None:
    Row.objects.filter(job=many, number__lte=450).update(outcome=Outcome.GOOD, answer="x")
    seen = [number for _ in range(30) for number in review_sample.draw_sample(many, 40)]
    assert max(seen) <= 450
    thirds = Counter((number - 1) // 150 for number in seen)
    assert all(abs(thirds[third] - 400) < 100 for third in range(3)), thirds
