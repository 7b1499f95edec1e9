"""A job whose rows are the rows and answers of another one: every row arrives as it was, and
answers that have changed since are never shown as if they were still the same."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models import F
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from jobs.actions import accuracy, job_basics, submissions, teams
from jobs.actions import chains as actions
from jobs.batches import leases
from jobs.drafts import estimates
from jobs.drafts.templates import find_start
from jobs.models import (
    Access,
    GoldStandard,
    Job,
    JobSource,
    Membership,
    Outcome,
    Row,
    Team,
    job_log,
    recipe_of,
)
from jobs.results import next_step
from jobs.rules.judging import MARKED_DOWN
from jobs.rules.right_answers import GoldChoice
from jobs.rules.row_choices import IS, Condition, RowChoice
from jobs.rules.rows_wanted import GOOD, SOME, RowsWanted
from jobs.web.templatetags.chains import DELETED, FRESH, state_of
from jobs.worker import advance, chains, deletion

from ..conftest import Simulator, change_job, store_job

MakeJob = Callable[..., Job]
Drive = Callable[..., Job]
NASTY = [
    ("", ""),
    ("=1+1", '@x"y"'),
    (" lead", "trail "),
    ("a\nb", "c\r\nd\r"),
    ("NULL", "\\N"),
    ("Total", "1.500,00"),
    ("CafÃ©", "007"),
    ('{"a": 1}', "[1]"),
    ("a,b;c\td", "'x'"),
    ("\u2028line", "\ufeffbom"),
    ("name", "text"),
]


def in_draft(job: Job, drive: Drive) -> Job:
    return drive(job, until=lambda job: job.state not in (Job.State.READING,))


def cells_of(job: Job) -> list[list[str]]:
    return [row.content for row in job.rows.in_order()]


@pytest.mark.parametrize("which", ["all", "good", "some"])
def test_every_row_arrives_as_it_was(alice: User, drive: Drive, which: str) -> None:
    """Whatever is in a cell: nothing is guessed, repaired, skipped or run."""
    outcomes: list[Any] = [Outcome.GOOD] * len(NASTY)
    outcomes[3] = {"outcome": Outcome.LOOK, "cause": "max_tokens", "answer": "cut"}
    outcomes[5] = {"outcome": Outcome.LEFT_OUT, "problem": "no"}
    source = store_job(alice, columns=("status", "answer"), rows=NASTY, outcomes=outcomes)
    source.rows.filter(number=2).update(answer='=HYPERLINK("x")\n"quoted"')
    wanted = {
        "all": RowsWanted(),
        "good": RowsWanted(GOOD),
        "some": RowsWanted(SOME, outcome=Outcome.GOOD, text="answer"),
    }[which]
    job = in_draft(actions.use_rows(source, wanted, "", alice), drive)
    assert job.state == Job.State.DRAFT, list(job.problems.all())
    assert job.columns == ["status", "answer", "answer_2", "status_2"]
    rows = list(next_step.wanted_rows(source, wanted).in_order())
    labels = [Outcome(row.outcome).label for row in rows]
    assert cells_of(job) == [
        [*row.content, row.answer, label] for row, label in zip(rows, labels, strict=True)
    ]
    assert job.row_count == len(rows) == {"all": 11, "good": 9, "some": 8}[which]
    assert not job.skipped_count
    assert state_of(JobSource.objects.get(job=job)) == FRESH


def test_answers_that_changed_are_never_shown_as_fresh(alice: User, drive: Drive) -> None:
    """Whatever happens to the source, and whenever the worker looks."""
    rows = [(str(number), "text") for number in range(6)]
    chance = random.Random(3)
    source = store_job(alice, rows=rows)
    source.rows.update(answer="same")
    job = in_draft(actions.use_rows(source, RowsWanted(GOOD), "", alice), drive)
    fresh = stale = 0

    def change(**values: Any) -> None:
        if values:
            source.rows.filter(number=chance.randint(1, 6)).update(**values)
        Job.objects.filter(pk=source.pk).update(rows_changed=F("rows_changed") + 1)

    def restore() -> None:
        change()
        source.rows.update(outcome=Outcome.GOOD, cause="", answer="same")

    def retry() -> None:
        state, finished = Job.State.SUBMITTING, None
        if Job.objects.get(pk=source.pk).state == state:
            state, finished = Job.State.FINISHED, timezone.now()
        source.rows.filter(number=1).update(answer=chance.choice("ab"))
        Job.objects.filter(pk=source.pk).update(state=state, finished_at=finished)

    def look() -> None:
        chains.wake_outdated()
        lease = leases.claim(job.pk)
        if lease:
            chains.compare_with_source(Job.objects.get(pk=job.pk), lease)
            lease.release(None)

    changes: list[Callable[[], Any]] = [
        lambda: change(outcome=Outcome.LOOK, cause=MARKED_DOWN),
        lambda: change(outcome=Outcome.GOOD, cause=""),
        lambda: change(message="no part of the file"),
        retry,
        restore,
        restore,
    ]
    for _ in range(150):
        chance.choice([look, look, look, *changes])()
        link = JobSource.objects.get(job=job)
        now = [cells for part in next_step.row_slices(source, link.wanted) for cells in part]
        if state_of(link) == FRESH:
            fresh += 1
            assert now == cells_of(job)
        elif link.differs_since:
            stale += 1
    assert fresh > 3 and stale > 3
    source.rows.update(outcome=Outcome.GOOD, cause="")
    Job.objects.filter(pk=source.pk).update(contents_deleted_at=timezone.now())
    assert state_of(JobSource.objects.get(job=job)) != FRESH


def test_only_rows_that_changed_are_paid_for_again(
    alice: User, drive: Drive, simulator: Simulator, client_alice: Client
) -> None:
    rows = [(name, f"[simulate:good] {name}") for name in "abc"]
    source = store_job(alice, columns=("name", "text"), rows=rows)
    job = in_draft(actions.use_rows(source, RowsWanted(), "Step two", alice), drive)
    change_job(job, prompt="Rate {{answer}} {{text}}", model="claude-haiku-5-5")
    estimates.estimate_job(Job.objects.get(pk=job.pk))
    job.refresh_from_db()
    assert submissions.confirm(job, job.plan_sha256, alice)
    job = drive(job)
    assert job.good_count == 3
    source.rows.filter(number=2).update(answer="another")
    Job.objects.filter(pk=source.pk).update(rows_changed=F("rows_changed") + 1)
    page = client_alice.get(reverse("job", args=[job.pk])).content.decode()
    assert "We are checking whether it affects your rows" in page
    chains.wake_outdated()
    drive(job, until=lambda _job: JobSource.objects.get(job=job).differs_since is not None)
    page = client_alice.get(reverse("job", args=[job.pk])).content.decode()
    assert "1 row is new or different" in page
    answer = client_alice.post(reverse("update_rows", args=[job.pk]))
    new = Job.objects.latest("pk")
    assert answer.headers["Location"] == reverse("job", args=[new.pk])
    assert (new.previous_id, recipe_of(new).only_new) == (job.pk, True)
    new = drive(new, until=lambda job: bool(job.plan_sha256))
    assert (new.row_count, new.estimate and new.estimate.rows) == (3, 1)
    accepted = simulator.truth()["accepted_rows"]
    assert submissions.confirm(new, new.plan_sha256, alice)
    new = drive(new)
    assert simulator.truth()["accepted_rows"] == accepted + 1
    assert new.good_count == 3 and [row.earlier for row in new.rows.in_order()] == [1, None, 3]


def test_a_draft_takes_the_new_answers_itself(alice: User, drive: Drive) -> None:
    source = store_job(alice)
    job = in_draft(actions.use_rows(source, RowsWanted(), "", alice), drive)
    source.rows.filter(number=2).update(answer="another")
    Job.objects.filter(pk=source.pk).update(rows_changed=F("rows_changed") + 1)
    assert state_of(JobSource.objects.get(job=job)) != FRESH
    assert actions.update_rows(job, alice) == job
    job = in_draft(Job.objects.get(pk=job.pk), drive)
    assert cells_of(job)[1][2] == "another"
    assert state_of(JobSource.objects.get(job=job)) == FRESH


def test_a_deleted_source_leaves_the_copy(
    alice: User, drive: Drive, client_alice: Client, simulator: Simulator
) -> None:
    source = store_job(alice, name="Secret source")
    job = in_draft(actions.use_rows(source, RowsWanted(), "Next one", alice), drive)
    page = client_alice.get(reverse("job", args=[source.pk])).content.decode()
    assert "Next one" in page
    before = cells_of(job)
    assert job_basics.trash_job(source, alice)
    assert state_of(JobSource.objects.get(job=job)) == DELETED
    assert actions.update_rows(job, alice) is None
    assert deletion.begin_deletion(source)
    advance.advance(source.pk)
    assert not Job.objects.filter(pk=source.pk).exists()
    page = client_alice.get(reverse("job", args=[job.pk])).content.decode()
    assert "A deleted job" in page and "keeps its own copy" in page
    assert cells_of(Job.objects.get(pk=job.pk)) == before


def test_who_may_not_see_the_source_does_not_see_its_name(
    alice: User, bob: User, drive: Drive, client_bob: Client, client_alice: Client
) -> None:
    source = store_job(alice, name="Secret source", upload_name="Secret source.csv")
    job = in_draft(actions.use_rows(source, RowsWanted(), "", alice), drive)
    team = Team.objects.create(name="Research")
    Membership.objects.create(team=team, person=bob)
    teams.share_job(job, team, Access.WORK, alice)
    pages = [client_bob.get(reverse(name, args=[job.pk])) for name in ("job", "rows")]
    assert all(page.status_code == 200 for page in pages)
    assert not any(b"Secret source" in page.content for page in pages)
    assert b"Another job" in pages[0].content
    assert b"Secret source" in client_alice.get(reverse("job", args=[job.pk])).content
    assert actions.update_rows(job, bob) is None
    assert client_bob.get(reverse("next_step", args=[source.pk])).status_code == 404


@pytest.mark.parametrize("state", [Job.State.DRAFT, Job.State.FINISHED])
def test_a_job_names_what_it_runs_again_only_to_who_may_see_that(
    alice: User, bob: User, client_alice: Client, client_bob: Client, state: str
) -> None:
    source = store_job(alice, name="Secret source")
    start = find_start(alice, "", str(source.pk))
    assert start is not None
    job = store_job(alice, state, previous=source)
    job_log.write(job.pk, start.in_words)
    team = Team.objects.create(name="Research")
    Membership.objects.create(team=team, person=bob)
    teams.share_job(job, team, Access.WORK, alice)

    def shown(client: Client) -> str:
        pages = [client.get(reverse("job", args=[job.pk]) + tab) for tab in ("", "?tab=details")]
        return "".join(page.content.decode() for page in pages)

    link = f'<a href="{reverse("job", args=[source.pk])}">'
    assert link in shown(client_alice)
    assert link not in shown(client_bob) and "Secret source" not in shown(client_bob)


def test_a_source_that_is_gone_before_its_rows_were_taken(alice: User, drive: Drive) -> None:
    source = store_job(alice)
    job = actions.use_rows(source, RowsWanted(), "", alice)
    assert job_basics.trash_job(source, alice)
    job = in_draft(job, drive)
    assert job.state == Job.State.UNREADABLE and not Row.objects.filter(job=job).exists()
    assert chains.GONE in str(job.problems.get().places)


def test_private_columns_stay_private(alice: User, drive: Drive) -> None:
    source = store_job(alice, private_columns=["text"])
    job = in_draft(actions.use_rows(source, RowsWanted(), "", alice), drive)
    assert job.private_columns == ["text"]


def test_the_rows_of_a_filter_are_used(alice: User, drive: Drive, client_alice: Client) -> None:
    outcomes: list[Any] = [Outcome.GOOD, {"outcome": Outcome.LOOK, "cause": "refusal"}]
    source = store_job(alice, outcomes=outcomes)
    address = reverse("next_step", args=[source.pk])
    page = client_alice.get(f"{address}?outcome=look").content.decode()
    assert "The rows of your filter" in page
    client_alice.post(f"{address}?outcome=look", {"which": "some", "name": "Second look"})
    job = in_draft(Job.objects.get(name="Second look"), drive)
    assert [cells[0] for cells in cells_of(job)] == ["Ben"]


def test_the_rows_that_differ_are_used(alice: User, drive: Drive, client_alice: Client) -> None:
    """And none while it is not known which these are."""
    source = store_job(alice, rows=[("good", "a"), ("bad", "b")])
    source.rows.update(answer="good")
    assert accuracy.choose_gold(source, GoldChoice((("", "name"),)))
    advance.advance(source.pk)
    address = f"{reverse('next_step', args=[source.pk])}?differs=1"
    client_alice.post(address, {"which": "some", "name": "Wrong ones"})
    job = in_draft(Job.objects.get(name="Wrong ones"), drive)
    assert [cells[0] for cells in cells_of(job)] == ["bad"]
    assert accuracy.choose_gold(source, GoldChoice((("", "text"),)))
    assert actions.update_rows(job, alice) is None
    assert client_alice.post(address, {"which": "some"}).status_code == 422
    job = actions.use_rows(source, JobSource.objects.get(job=job).wanted, "Too soon", alice)
    lease = leases.claim(job.pk)
    assert lease and chains.write_upload(job, lease)
    job.refresh_from_db()
    assert job.state == Job.State.UNREADABLE and not Row.objects.filter(job=job).exists()


def test_an_updated_job_sends_no_other_rows(alice: User) -> None:
    """Nor does it lose the column of right answers."""
    source = store_job(alice)
    choice = RowChoice((Condition("name", IS, "Ada"),))
    job = store_job(alice, row_choice=choice)
    JobSource.objects.create(job=job, source=source, sha256=job.upload_sha256)
    gold = GoldChoice((("", "text"),))
    GoldStandard.objects.create(job=job, choice=gold)
    new = actions.update_rows(job, alice)
    assert new and new != job
    assert Job.objects.get(pk=new.pk).row_choice == choice
    assert GoldStandard.objects.get(job=new).choice == gold


def test_a_job_without_its_contents_is_not_updated(alice: User) -> None:
    source, job = store_job(alice), store_job(alice, contents_deleted_at=timezone.now())
    JobSource.objects.create(job=job, source=source, sha256=job.upload_sha256)
    assert actions.update_rows(job, alice) is None


def test_nobody_takes_the_rows_from_a_draft_whose_owner_cannot_see_the_new_ones(
    alice: User, bob: User
) -> None:
    source, job = store_job(bob), store_job(alice, Job.State.DRAFT)
    JobSource.objects.create(job=job, source=source, sha256=job.upload_sha256)
    file = job.upload_file
    assert actions.update_rows(job, bob) is None
    job.refresh_from_db()
    assert (job.state, job.upload_file) == (Job.State.DRAFT, file)


def test_what_happens_to_a_source_is_told_to_who_sees_it(
    alice: User, bob: User, client_alice: Client
) -> None:
    source, job = store_job(bob), store_job(alice)
    JobSource.objects.create(
        job=job,
        source=source,
        sha256=job.upload_sha256,
        seen_finished_at=source.finished_at,
        differs_since=timezone.now(),
        differing_rows=7,
    )
    page = client_alice.get(reverse("job", args=[job.pk])).content.decode()
    assert "Another job" in page and "keeps its own copy" in page
    assert "7 rows" not in page and "changed" not in page.partition('class="chain"')[2][:2_000]
