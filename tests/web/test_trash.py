"""The trash: a deleted job can be restored for 30 days. Until then nothing of it is removed here or
at the provider, it costs nothing more, and it counts as before."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.db import IntegrityError, connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from jobs.actions import drafts, job_basics, retries, submissions, uploads
from jobs.models import Job, Outcome, Row, Trial, clock, files, storage
from jobs.provider import client, errors
from jobs.retries import rounds, selection
from jobs.rules.retry_choices import RetryChoice
from jobs.spending import ledger
from jobs.worker import advance, deletion, housekeeping, sweep

from ..conftest import Simulator, signed_in
from ..running import SECONDS
from .test_security import JOB_PAGES, job_addresses, send
from .test_views_draft import with_price

MakeJob = Callable[..., Job]
Drive = Callable[..., Job]
HX = {"HX-Request": "true"}
STATES: list[str] = list(Job.DELETABLE)
EPOCH = timezone.now() - timedelta(days=400)


def page_of(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200, path
    return answer.content.decode()


def trashed(make_job: MakeJob, owner: User, state: str = Job.State.FINISHED, **values: Any) -> Job:
    job = make_job(owner, state, **values)
    assert job_basics.trash_job(job, owner)
    job.refresh_from_db()
    return job


# --- Into the trash and back ----------------------------------------------------------------------


@pytest.mark.no_database
@pytest.mark.parametrize("state", STATES)
def test_a_job_in_the_trash_is_nowhere_else(
    make_job: MakeJob, alice: User, client_alice: Client, client_root: Client, state: str
) -> None:
    job = trashed(make_job, alice, state, name="Spring reviews")
    for browser in (client_alice, client_root):
        assert "Spring reviews" not in page_of(browser, "/?q=rev")
        assert "Spring reviews" in page_of(browser, reverse("trash"))
        assert browser.get(f"/jobs/{job.pk}/").headers["Location"] == f"/trash/#job-{job.pk}"
    mine = {reverse("job", args=[job.pk]), *(reverse(n, args=[job.pk]) for n in IN_TRASH)}
    assert not Job.objects.visible_to(alice).exists()
    # A part of the addresses; in the next state it is the next part.
    for number, (method, path) in enumerate(job_addresses(job), STATES.index(state)):
        if number % len(STATES) == 0 and path not in mine:
            assert send(client_alice, method, path).status_code == 404, path
    job.refresh_from_db()
    assert job.trashed_at and job.state == state


IN_TRASH = ("delete", "restore")


@pytest.mark.no_database
def test_the_trash_of_another_person_does_not_exist(
    make_job: MakeJob, alice: User, bob: User, client_bob: Client
) -> None:
    job = trashed(make_job, alice, name="Secret plans")
    for name in ("job", "status", "rows", *IN_TRASH):
        for method in JOB_PAGES[name] or ["GET"]:
            path = reverse(name, args=[job.pk])
            assert send(client_bob, method, path).status_code == 404, path
    for found in (Job.objects.visible_to(bob), Job.objects.in_trash(bob)):
        assert not found.exists(), "all other addresses ask for these: see test_security"
    client_bob.post(reverse("change_jobs"), {"do": "delete", "job": job.pk})
    client_bob.post(reverse("change_jobs"), {"do": "restore", "job": job.pk})
    assert "Secret plans" not in page_of(client_bob, reverse("trash"))
    job.refresh_from_db()
    assert job.trashed_at and job.state == Job.State.FINISHED


def test_what_was_deleted_can_be_undone_at_once(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    job = make_job(alice, name="Spring reviews")
    client_alice.post(reverse("delete", args=[job.pk]))

    page = page_of(client_alice, "/")
    assert "“Spring reviews” is in the trash." in page and "Undo" in page
    assert "is in the trash" not in page_of(client_alice, "/"), "it is said once"
    client_alice.post(reverse("change_jobs"), {"do": "restore", "job": job.pk})

    assert "Spring reviews" in page_of(client_alice, f"/jobs/{job.pk}/")
    log = list(job.events.order_by("pk").values_list("text", flat=True))
    assert log[-2:] == ["Moved to the trash.", "Restored from the trash."]


@pytest.mark.parametrize("state", sorted(set(Job.State) - set(Job.DELETABLE)))
def test_a_job_at_work_is_not_put_into_the_trash(
    make_job: MakeJob, alice: User, client_alice: Client, state: str
) -> None:
    job = make_job(alice, state)
    assert not job_basics.trash_job(job, alice)
    answer = client_alice.post(reverse("change_jobs"), {"do": "trash", "job": job.pk}, follow=True)
    if state != Job.State.DELETING:
        assert "Stop them first" in answer.content.decode()
    assert Job.objects.get().trashed_at is None


def test_the_database_itself_keeps_jobs_at_work_out_of_the_trash(
    make_job: MakeJob, alice: User
) -> None:
    job = trashed(make_job, alice)
    with pytest.raises(IntegrityError):
        Job.objects.filter(pk=job.pk).update(state=Job.State.SUBMITTING)


# --- Nothing is lost, nothing is paid -------------------------------------------------------------


def test_nothing_of_it_is_removed_and_what_it_cost_counts_on(
    alice: User, simulator: Simulator, drive: Drive, mixed: Job
) -> None:
    spent, used = ledger.spent_since(EPOCH), storage.bytes_used(alice)
    assert spent and used and job_basics.trash_job(mixed, alice)
    Job.objects.update(next_action_at=timezone.now())
    sweep.sweep()
    for batch in mixed.batches.all():
        client.retrieve_batch(str(batch.provider_id))  # it is there
    assert files.upload_path(mixed).exists()
    assert all(files.results_path(batch).exists() for batch in mixed.batches.all())
    assert ledger.spent_since(EPOCH) == spent
    assert storage.bytes_used(alice) == used, "the trash counts: see what the quota says"
    assert job_basics.restore_job(mixed, alice)
    assert not job_basics.restore_job(mixed, alice), "it was done"


def test_a_draft_in_the_trash_is_not_submitted(make_job: MakeJob, alice: User) -> None:
    """In another tab, or by a request that was on its way."""
    job = with_price(make_job(alice, Job.State.DRAFT, prompt="Say: {{text}}"))
    assert job_basics.trash_job(job, alice)
    assert not submissions.confirm(job, job.plan_sha256, alice)
    assert Job.objects.get().state == Job.State.DRAFT


def test_rows_of_a_job_in_the_trash_are_not_retried(mixed: Job, alice: User) -> None:
    again = RetryChoice(selection.FOR_NOW)
    planned = rounds.find_plan(mixed, again)
    assert planned and job_basics.trash_job(mixed, alice)
    assert not retries.confirm_retry(mixed, again, planned.key, alice)
    assert not mixed.rounds.exists()


def test_rows_of_a_job_in_the_trash_are_not_tested(make_job: MakeJob, alice: User) -> None:
    job = with_price(make_job(alice, Job.State.DRAFT, prompt="Say: {{text}}"))
    rows = list(job.rows.all()[:1])
    assert drafts.start_trials(job, rows, alice)
    assert job_basics.trash_job(job, alice)
    assert not Trial.objects.exists(), "what waited is not sent any more"
    assert not drafts.start_trials(job, rows, alice)


@pytest.mark.django_db(transaction=True)
def test_of_a_submit_and_a_deletion_at_once_only_one_happens(
    make_job: MakeJob, alice: User
) -> None:
    for _ in range(3):
        job = with_price(make_job(alice, Job.State.DRAFT, prompt="Say: {{text}}"))
        start = threading.Barrier(2)
        done: list[bool] = []

        def race(what: Callable[[], bool], start: Any = start, done: list[bool] = done) -> None:
            start.wait(SECONDS)
            done.append(what())
            connection.close()

        threads = [
            threading.Thread(target=race, args=[act])
            for act in (
                lambda job=job: submissions.confirm(job, job.plan_sha256, alice),
                lambda job=job: job_basics.trash_job(job, alice),
            )
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS)
        job.refresh_from_db()
        assert sorted(done) == [False, True]
        assert (job.trashed_at is None) == (job.state == Job.State.SUBMITTING)


def test_jobs_in_the_trash_wait_for_no_approval(make_job: MakeJob, alice: User, root: User) -> None:
    job = with_price(make_job(alice, Job.State.DRAFT, prompt="Say: {{text}}"))
    Job.objects.filter(pk=job.pk).update(approval_plan=job.plan_sha256, approval_asked_by=alice)
    assert Job.objects.awaiting_approval(root).exists()
    assert job_basics.trash_job(job, alice)
    assert not Job.objects.awaiting_approval(root).exists()


def test_a_file_in_the_trash_is_not_read_and_takes_no_turn(alice: User, drive: Drive) -> None:
    """The wrong file, thrown away while it is read: the right one need not wait for it."""
    job = uploads.create_job(alice, ContentFile(b"a,b\n1,2\n", "wrong.csv"))
    assert job_basics.trash_job(job, alice)
    advance.advance(job.pk)
    job.refresh_from_db()
    assert (job.state, job.next_action_at) == (Job.State.READING, None)
    assert not job.is_being_read and not Row.objects.exists()
    assert job_basics.restore_job(job, alice)
    assert drive(job, until=lambda job: job.state == Job.State.DRAFT).row_count == 1


# --- For good -------------------------------------------------------------------------------------


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta, timedelta | None], None]:
    """`clocks(ours, theirs)`: so much later it is by our clock and by the provider's."""
    began = timezone.now()

    def go(ours: timedelta, theirs: timedelta | None) -> None:
        monkeypatch.setattr(clock, "now", lambda: began + ours)
        told = None if theirs is None else (began + theirs, clock.uptime())
        monkeypatch.setattr(clock, "_provider_date", told)

    return go


MONTH = timedelta(days=30, minutes=1)


@pytest.mark.parametrize(
    ("ours", "theirs", "goes"),
    [
        (MONTH, MONTH, True),
        (MONTH, None, False),  # nobody else says so
        (MONTH, timedelta(), False),  # our clock has leapt
        (timedelta(), MONTH, False),
        (timedelta(days=29), timedelta(days=29), False),
    ],
)
def test_the_trash_is_emptied_after_30_days_by_both_clocks(
    make_job: MakeJob,
    alice: User,
    clocks: Callable[..., None],
    ours: timedelta,
    theirs: timedelta | None,
    goes: bool,
) -> None:
    clocks(timedelta(), None)
    job, kept = trashed(make_job, alice), make_job(alice)
    clocks(ours, theirs)
    housekeeping.tidy_up()
    job.refresh_from_db()
    kept.refresh_from_db()
    assert (job.state == Job.State.DELETING) == goes
    assert kept.state == Job.State.FINISHED


def test_a_job_that_is_restored_at_the_last_moment_stays(
    make_job: MakeJob, alice: User, clocks: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks(timedelta(), None)
    job = trashed(make_job, alice)
    clocks(MONTH, MONTH)
    begin = deletion.begin_deletion

    def restored_before(*args: Any) -> bool:
        assert job_basics.restore_job(job, alice)
        return begin(*args)

    monkeypatch.setattr(deletion, "begin_deletion", restored_before)
    housekeeping.empty_trash()
    job.refresh_from_db()
    assert (job.state, job.trashed_at) == (Job.State.FINISHED, None)


def test_customer_data_can_be_deleted_at_once(
    alice: User, simulator: Simulator, mixed: Job, client_alice: Client
) -> None:
    spent = ledger.spent_since(EPOCH)
    assert job_basics.trash_job(mixed, alice)
    address = reverse("delete", args=[mixed.pk])
    assert "cannot be undone" in page_of(client_alice, address)
    path, (there,) = files.upload_path(mixed), mixed.batches.values_list("provider_id", flat=True)
    assert client_alice.post(address, {"now": "yes"}).headers["Location"] == "/trash/"
    sweep.sweep()
    assert not Job.objects.exists() and not Row.objects.exists() and not path.exists()
    with pytest.raises(errors.NotFound):
        client.retrieve_batch(str(there))
    assert ledger.spent_since(EPOCH) == spent, "what it cost still counts"


def test_a_deletion_says_how_far_it_is(
    make_job: MakeJob, alice: User, client_alice: Client, bob: User, client_bob: Client
) -> None:
    job = make_job(alice, rows=[("a", "b")] * 10, name="Spring reviews")
    assert job_basics.delete_job(job, alice)
    job.rows.filter(number__lte=4).delete()
    page = page_of(client_alice, reverse("trash"))
    assert "4 of 10 rows deleted" in page and "hx-get" in page
    assert "Spring reviews" not in page_of(client_bob, reverse("trash"))
    Job.objects.all().delete()
    part = client_alice.get(reverse("trash"), headers=HX).content.decode()
    assert "hx-get" not in part and "<html" not in part


# --- Archive --------------------------------------------------------------------------------------


def names(client: Client, query: str = "") -> set[str]:
    return {job.name for job in client.get(f"/{query}").context["page"]}


def test_an_archived_job_is_in_a_list_of_its_own(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    old = make_job(alice, name="old")
    make_job(alice, name="new")
    client_alice.post(reverse("archive", args=[old.pk]))
    assert names(client_alice) == {"new"}
    assert names(client_alice, "?state=finished") == {"new"}
    assert names(client_alice, "?state=archived") == {"old"}
    assert client_alice.get(f"/jobs/{old.pk}/").status_code == 200
    client_alice.post(reverse("archive", args=[old.pk]), {"undo": "yes"})
    assert names(client_alice) == {"new", "old"}


def test_a_job_at_work_is_in_the_list_even_if_it_was_archived(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    job = make_job(alice, name="old")
    assert job_basics.archive_job(job) and not job_basics.archive_job(job)
    Job.objects.update(state=Job.State.SUBMITTING)
    assert names(client_alice) == {"old"} and names(client_alice, "?state=archived") == set()
    assert not job_basics.archive_job(make_job(alice, Job.State.WORKING))


@pytest.mark.parametrize("do", ["archive", "trash"])
def test_several_jobs_at_once_and_back(
    make_job: MakeJob, alice: User, bob: User, client_alice: Client, do: str
) -> None:
    """As the form does without script. What is another's, or at work, is left alone."""
    mine = [make_job(alice, name=f"job {number}") for number in range(3)]
    running, theirs = make_job(alice, Job.State.WORKING, name="running"), make_job(bob)
    chosen = [str(job.pk) for job in (*mine[:2], running, theirs)]
    values = {"do": do, "job": [*chosen, "x"], "back": "q=job&sort=name&page=9"}
    answer = client_alice.post(reverse("change_jobs"), values)
    assert answer.headers["Location"] == "/?q=job&sort=name"
    page = page_of(client_alice, "/")
    assert "2 jobs are" in page and "Stop them first" in page
    assert names(client_alice) == {"job 2", "running"}
    theirs.refresh_from_db()
    assert theirs.archived_at is None and theirs.trashed_at is None
    undo = {"archive": "unarchive", "trash": "restore"}[do]
    client_alice.post(reverse("change_jobs"), {"do": undo, "job": chosen})
    assert len(names(client_alice)) == 4


def test_nothing_selected_and_nonsense_change_nothing(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    job = make_job(alice)
    for values in ({"do": "trash"}, {"do": "explode", "job": job.pk}, {"job": job.pk}):
        assert client_alice.post(reverse("change_jobs"), values).status_code == 302
    job.refresh_from_db()
    assert (job.trashed_at, job.archived_at, job.state) == (None, None, Job.State.FINISHED)


# --- The list: counts, order, owners --------------------------------------------------------------


def test_filters_say_how_many_jobs_they_have(
    make_job: MakeJob, alice: User, bob: User, client_alice: Client, client_root: Client
) -> None:
    make_job(alice, Job.State.DRAFT)
    make_job(alice, Job.State.WORKING)
    make_job(alice, outcomes=[Outcome.GOOD, Outcome.ERRORED])
    trashed(make_job, alice)
    assert job_basics.archive_job(make_job(alice))
    make_job(bob, Job.State.DRAFT)
    context = client_alice.get("/").context
    counts = {key: count for key, _words, count in context["filters"]}
    assert counts == {
        "draft": 1,
        "working": 1,
        "finished": 1,
        "attention": 1,
        "approval": 0,
        "archived": 1,
    }
    assert (context["all_count"], context["trash_count"]) == (3, 1)
    assert client_root.get("/").context["all_count"] == 4
    assert client_root.get(f"/?owner={bob.pk}").context["all_count"] == 1
    assert names(client_root, f"?owner={bob.pk}") == {"reviews"}
    assert names(client_alice, f"?owner={bob.pk}") == {"reviews"}, "only an administrator chooses"


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("name", ["a", "B", "c"]),
        ("-name", ["c", "B", "a"]),
        ("-rows", ["c", "a", "B"]),
        ("cost", ["a", "c", "B"]),
        ("made", ["B", "a", "c"]),
        ("nonsense", ["c", "a", "B"]),
    ],
)
def test_the_list_is_sorted_by_its_headings(
    make_job: MakeJob, alice: User, client_alice: Client, sort: str, order: list[str]
) -> None:
    for name, rows, spent in (("B", 1, 30), ("a", 2, 10), ("c", 3, 20)):
        job = make_job(alice, name=name, rows=[("x", "y")] * rows)
        Job.objects.filter(pk=job.pk).update(spent_pico=spent)
    answer = client_alice.get("/", {"sort": sort})
    assert [job.name for job in answer.context["page"]] == order
    assert 'aria-sort="' in answer.content.decode()


def test_a_draft_says_continue_and_a_row_names_its_file(make_job: MakeJob, alice: User) -> None:
    make_job(alice, Job.State.DRAFT, upload_name="spring.xlsx")
    page = page_of(signed_in(alice), "/")
    assert "Continue" in page and "spring.xlsx" in page
