"""What nobody may do: see another's job, act without meaning to."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.http import Http404
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern, get_resolver, reverse
from django.utils import timezone
from pytest_django import Settings

from jobs.models import (
    Batch,
    ExternalBatchList,
    Job,
    JobEvent,
    JournalState,
    Row,
    Sending,
    files,
)
from jobs.web.views import errors

from ..conftest import PASSWORD, set_up_path
from .test_untrusted_text import POLICY, inspect
from .test_views_draft import RECIPE, with_price
from .test_views_job_page import add_batch

MakeJob = Callable[..., Job]
HX = {"HX-Request": "true"}
# What an address of a job can be asked for; GET where it is not said.
JOB_PAGES: dict[str, list[str]] = {
    "job": [],
    "status": [],
    "recipe": ["POST"],
    "price": [],
    "confirm": ["GET", "POST"],
    "stop": ["GET", "POST"],
    "follow": ["POST"],
    "continue_job": ["POST"],
    "end_pilot": ["GET", "POST"],
    "try_again": ["POST"],
    "send_now": ["POST"],
    "finish_without": ["GET", "POST"],
    "problems": [],
    "retry": ["GET", "POST"],
    "edits": ["GET", "POST"],
    "upload_edits": ["POST"],
    "change_prompt": ["GET", "POST"],
    "change_rows": ["POST"],
    "ignore_rows": ["GET", "POST"],
    "edit_row": ["GET", "POST"],
    "ids": ["GET", "POST"],
    "rename": ["POST"],
    "share_job": ["GET", "POST"],
    "archive": ["POST"],
    "delete": ["GET", "POST"],
    "restore": ["POST"],
    "receipt": [],
    "rows": [],
    "row": [],
    "review": ["GET", "POST"],
    "mark_answer": ["POST"],
    "answer_counts": [],
    "differences": [],
    "choose_rows": ["GET", "POST"],
    **{key: ["GET", "POST"] for key in ("accuracy", "right_answers", "compare_versions")},
    "columns": ["GET", "POST"],
    "save_as_template": ["GET", "POST"],
    "next_step": ["GET", "POST"],
    "update_rows": ["POST"],
    "reading": ["POST"],
    "start_trials": ["POST"],
    "trials": [],
    "compare": [],
    "take_advice": ["POST"],
    "reuse_answers": ["POST"],
    "mark_private": ["POST"],
    "job_retention": ["POST"],
    "use_trial": ["POST"],
    "use_example": ["POST"],
    "mark_trial": ["POST"],
    "improve": ["GET", "POST"],
    "correct": ["POST"],
    "replace": ["POST"],
    "download": [],
    "batch_raw": [],
    "look_again": ["POST"],
    "send_again": ["GET", "POST"],
    "this_is_it": ["GET", "POST"],
}
ARGUMENTS: dict[str, list[Any]] = {
    "row": [1],
    "change_prompt": ["refused"],
    "change_rows": ["refused"],
    "ignore_rows": ["refused"],
    "edit_row": [1],
    "mark_answer": [1],
    "download": ["csv"],
    "batch_raw": [3],
    "look_again": [1],
    "send_again": [1],
    "this_is_it": [1],
    "use_trial": [1],
    "use_example": [1],
    "mark_trial": [1],
}
PAGES = (
    "help",
    "jobs",
    "trash",
    "new_job",
    "import_batch",
    "templates",
    "password",
    "people",
    *("audit", "audit_csv", "retention", "system", "teams", "new_team"),
    *("notifications", "notifications_bell", "notifications_news"),
    *("notification_settings", "notification_add"),
    "restored",
    "spending",
    "spending_csv",
    "spending_limits",
    "spending_prices",
    "api_key",
)
POSTS = (
    "change_jobs",
    "new_job",
    "new_sample_job",
    "new_pasted_job",
    "import_batch",
    "import_batch_look",
    "logout",
    "tour",
    "password",
    "people",
    "audit_check",
    "retention",
    "new_team",
    "restored_look",
    "restored_seen",
    "spending_limits",
    "spending_prices",
    "api_key",
    "spending_quotas",
    "spending_switch",
    "notifications_read",
)
TEMPLATE_POSTS = (
    *("template_rename", "template_share", "template_team", "template_delete"),
    "template_history",
)
PERSON_POSTS = (
    *("person_active", "person_password", "person_role", "person_two_factor"),
    *("hand_over", "erase_person", "invitation_withdraw"),
    *("team", "team_key", "notification_test", "notification_remove"),
)
# Questions about jobs and what belongs to them, not about the person who asks.
OF_JOBS = r'FROM "jobs_(job|row|batch|trial|round|edit|attempt|pilot)'
STATES: list[str] = [state for state in Job.State if state != Job.State.DELETING]
OPEN = ("setup", "login", "help_sign_in", "robots", "favicon")


def job_addresses(job: Job) -> Iterator[tuple[str, str]]:
    """Every address of a job, with each method it takes."""
    for name, methods in JOB_PAGES.items():
        for method in methods or ["GET"]:
            yield method, reverse(name, args=[job.pk, *ARGUMENTS.get(name, [])])


def send(client: Client, method: str, path: str, **options: Any) -> Any:
    return client.get(path, **options) if method == "GET" else client.post(path, **options)


def everything() -> list[tuple[Any, ...]]:
    """What must not change."""
    return [
        *Job.objects.order_by("pk").values_list("pk", "state", "name", "recipe", "held"),
        *Job.objects.order_by("pk").values_list("archived_at", "trashed_at"),
        *User.objects.order_by("pk").values_list("pk", "is_active", "password"),
        *Batch.objects.order_by("pk").values_list("pk", "state", "suggested_id", "next_action_at"),
        *JournalState.objects.values_list("asked_at", "report"),
        *Sending.objects.values_list("send_after"),
        *ExternalBatchList.objects.values_list("asked_at"),
        (JobEvent.objects.count(), Row.objects.count()),
    ]


def in_trouble(job: Job) -> Job:
    """`job` with all that a person can decide about: it is held, batch 1 perhaps arrived, batch 2
    stays incomplete, batch 3 can be downloaded, sending is paused, and the database is older than
    the journal."""
    Sending.objects.update(pause="no")
    JournalState.objects.update(ahead=1, report="found")
    Job.objects.filter(pk=job.pk).update(held="wait", practice=True)
    add_batch(job, 1, 2, Batch.State.UNKNOWN, asked_at=timezone.now())
    add_batch(job, 2, 3, Batch.State.ENDED, collect_failures=9)
    path = files.results_path(add_batch(job, 3, 1, Batch.State.COLLECTED))
    files.make_folder(path.parent)
    path.touch()
    return job


def test_the_lists_here_have_every_address() -> None:
    """A new page has to be put into the lists above, and so into these tests."""
    patterns = get_resolver().url_patterns[0].url_patterns  # type: ignore[union-attr]  # it is there
    named = {one.name for one in patterns if isinstance(one, URLPattern)}
    names = named - {None}  # an address that only leads to a new one has no name
    known = {*JOB_PAGES, *PAGES, *POSTS, *OPEN, *TEMPLATE_POSTS}
    known |= {"sample", "example", "person", "invitation", "help_page", *PERSON_POSTS}
    assert names == known


# --- Who sees what --------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [Job.State.DRAFT, Job.State.WORKING])
def test_another_persons_job_does_not_exist(
    make_job: MakeJob, alice: User, bob: User, client_bob: Client, state: str
) -> None:
    """Every other address is asked for as a fragment: in the other state it is the others. Only
    for bob's jobs is the database asked, so the state of this one makes no difference."""
    job = in_trouble(make_job(alice, state))
    if state == Job.State.DRAFT:
        with_price(job)
    before = everything()
    for number, (method, path) in enumerate(job_addresses(job), STATES.index(state)):
        options = {"data": {"name": "x", "plan_sha256": job.plan_sha256, **RECIPE}}
        headers = HX if number % 2 else {}
        with CaptureQueriesContext(connection) as queries:
            answer = send(client_bob, method, path, headers=headers, **options)
        assert answer.status_code == 404, (method, path)
        about = [one["sql"] for one in queries if re.search(OF_JOBS, one["sql"])]
        assert about and all(f'"owner_id" = {bob.pk}' in one for one in about), (method, path)
    assert everything() == before


@pytest.mark.parametrize("state", STATES)
def test_in_no_state_anything_of_another_persons_job_is_seen(
    make_job: MakeJob, alice: User, bob: User, client_bob: Client, state: str
) -> None:
    job = make_job(alice, state)
    for number, path in enumerate(("", "status/", "rows/", "download/csv/")):
        headers = HX if number % 2 else {}
        assert client_bob.get(f"/jobs/{job.pk}/{path}", headers=headers).status_code == 404, path
    assert client_bob.post(f"/jobs/{job.pk}/rename/", {"name": "x"}).status_code == 404
    assert not Job.objects.visible_to(bob).exists() and not Job.objects.in_trash(bob).exists()


def test_another_persons_job_and_none_look_the_same(
    make_job: MakeJob, alice: User, client_bob: Client
) -> None:
    job = make_job(alice, name="Secret plans")
    theirs, none = (client_bob.get(f"/jobs/{pk}/").content for pk in (job.pk, job.pk + 999))

    def without_token(page: bytes) -> bytes:
        return re.sub(rb"[A-Za-z0-9]{64}", b"", page)

    assert without_token(theirs) == without_token(none)
    assert b"Secret plans" not in theirs


def test_an_administrator_sees_every_job(
    make_job: MakeJob, alice: User, client_root: Client
) -> None:
    job = make_job(alice)
    page = client_root.get(f"/jobs/{job.pk}/").content.decode()
    assert "alice" in page


def test_a_job_that_is_being_deleted_is_gone(
    make_job: MakeJob, alice: User, client_alice: Client, client_root: Client
) -> None:
    """The owner asks for every other address, an administrator for the others."""
    job = make_job(alice, Job.State.DELETING)
    for number, (method, path) in enumerate(job_addresses(job)):
        client = client_root if number % 2 else client_alice
        assert send(client, method, path).status_code == 404, path
    for client in (client_alice, client_root):
        assert client.get(f"/jobs/{job.pk}/").status_code == 404
    for person in User.objects.all():
        for found in (Job.objects.visible_to(person), Job.objects.in_trash(person)):
            assert not found.exists()


def test_without_signing_in_there_is_nothing(make_job: MakeJob, alice: User) -> None:
    job = in_trouble(make_job(alice, Job.State.SUBMITTING))
    before = everything()
    addresses = [
        *job_addresses(job),
        *(("GET", reverse(name)) for name in PAGES),
        *(("POST", reverse(name)) for name in POSTS),
        *(("POST", reverse(name, args=[1])) for name in TEMPLATE_POSTS),
        ("GET", "/samples/reviews.csv"),
        ("GET", "/help/using/files/"),
        *(("POST", reverse(name, args=[alice.pk])) for name in PERSON_POSTS),
        ("GET", reverse("person", args=[alice.pk])),
        ("GET", "/no/such/page/"),
    ]
    for method, path in addresses:
        answer = send(Client(), method, path)
        assert answer.status_code == 302, path
        assert answer.headers["Location"].startswith("/login/"), path
        # A poll must not put a sign-in form into a page.
        assert send(Client(), method, path, headers=HX).status_code == 403, path
    assert everything() == before


def test_a_strangers_upload_is_refused_unread(alice: User, settings: Settings) -> None:
    answer = Client().post("/jobs/new/", {"file": SimpleUploadedFile("a.csv", b"x" * 100_000)})
    assert answer.status_code == 413
    assert list(settings.FILE_UPLOAD_TEMP_DIR.iterdir()) == []


# --- Acting on purpose ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "state", [Job.State.DRAFT, Job.State.SUBMITTING, Job.State.WORKING, Job.State.FINISHED]
)
def test_looking_changes_nothing(
    make_job: MakeJob, alice: User, client_alice: Client, state: str
) -> None:
    """A part of a page is asked for by GET or by HEAD, in the next state by the other."""
    job = make_job(alice, state)
    if state == Job.State.DRAFT:
        with_price(job)
    else:
        in_trouble(job).batches.get(number=3).delete()  # nobody here would close its file
    before = everything()
    # Those that take no GET do so in no state: see below.
    shown = [name for name, methods in JOB_PAGES.items() if methods != ["POST"]]
    for number, name in enumerate(shown, STATES.index(state)):
        path = reverse(name, args=[job.pk, *ARGUMENTS.get(name, [])])
        ask = client_alice.head if number % 2 else client_alice.get
        for answer in (client_alice.get(path), ask(path, headers=HX)):
            assert answer.status_code in (200, 204, 302, 404, 405)
            if answer.streaming:
                b"".join(answer)  # a download keeps its place until its end
    for name in PAGES if state in (Job.State.DRAFT, Job.State.SUBMITTING) else ():
        client_alice.get(reverse(name))
    assert everything() == before


def test_pages_that_only_show_take_no_post(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    job = make_job(alice)
    for name, methods in JOB_PAGES.items():
        path = reverse(name, args=[job.pk, *ARGUMENTS.get(name, [])])
        if not methods:
            assert client_alice.post(path).status_code == 405, name
        if methods == ["POST"]:
            assert client_alice.get(path).status_code == 405, name
    assert client_alice.post("/").status_code == 405


def test_every_change_needs_its_token(make_job: MakeJob, alice: User, root: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(root)
    job = in_trouble(make_job(alice, Job.State.SUBMITTING))
    before = everything()
    addresses = [path for method, path in job_addresses(job) if method == "POST"]
    addresses += [reverse(name) for name in (*POSTS, "login", "setup")]
    addresses += [reverse(name, args=[1]) for name in TEMPLATE_POSTS]
    addresses += [reverse(name, args=[alice.pk]) for name in PERSON_POSTS]
    addresses += [reverse("account_mail"), reverse("usersessions_list")]
    for path in addresses:
        answer = client.post(path, {"name": "x"})
        assert answer.status_code == 403, path
        assert "Please try again" in answer.content.decode()
    assert everything() == before
    assert client.get("/").status_code == 200  # still signed in


def test_htmx_brings_the_token_in_a_header(alice: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    page = client.get("/jobs/new/").content.decode()
    found = re.search(r"hx-headers='{\"x-csrftoken\": \"(\w+)\"}'", page)
    assert found

    file = SimpleUploadedFile("a.csv", b"a\n1\n")
    headers = {**HX, "x-csrftoken": found[1]}
    answer = client.post("/jobs/new/", {"file": file}, headers=headers)

    assert answer.status_code == 200 and Job.objects.count() == 1


# --- When something goes wrong --------------------------------------------------------------------


def test_a_page_that_is_none_says_so_in_our_layout(client_alice: Client) -> None:
    answer = client_alice.get("/no/such/page/")
    page = answer.content.decode()
    assert answer.status_code == 404 and "Page not found" in page and "batchsite" in page
    inspect(page)


def test_a_fault_of_ours_is_told_without_details(
    client_alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jobs.web.views import job_list

    def fail(*_: object) -> None:
        raise RuntimeError("the secret of the house")

    monkeypatch.setattr(job_list, "_found", fail)
    client_alice.raise_request_exception = False
    answer = client_alice.get("/")
    page = answer.content.decode()
    assert answer.status_code == 500 and "Something went wrong" in page
    assert "secret of the house" not in page
    assert answer.headers["Content-Security-Policy"] == POLICY
    inspect(page)


def test_the_pages_for_faults_need_no_database(rf: RequestFactory) -> None:
    """Without the `db` fixture, any query would fail."""
    request = rf.get("/")
    assert "Something went wrong" in errors.server_error(request).content.decode()
    assert "Please try again" in errors.csrf_failure(request).content.decode()
    assert "You don’t have access" in errors.forbidden(request, PermissionError()).content.decode()
    assert "Page not found" in errors.not_found(request, Http404()).content.decode()
    assert (
        "couldn’t read that request" in errors.bad_request(request, ValueError()).content.decode()
    )


def test_a_request_for_another_host_is_refused(client_alice: Client) -> None:
    answer = client_alice.get("/", headers={"host": "evil.example"})
    assert answer.status_code == 400


# --- Times ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "zone", ["", "Mars/Olympus", "../../etc/passwd", "\0", "America", "a" * 500]
)
def test_a_strange_time_zone_is_no_trouble(
    make_job: MakeJob, alice: User, client_alice: Client, zone: str
) -> None:
    make_job(alice)
    client_alice.cookies["time_zone"] = zone
    assert client_alice.get("/").status_code == 200


def test_times_are_the_persons_own(make_job: MakeJob, alice: User, client_alice: Client) -> None:
    noon = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    make_job(alice, created_at=noon)
    client_alice.cookies["time_zone"] = "Asia/Kathmandu"
    assert "1 Mar 2026, 17:45" in client_alice.get("/").content.decode()


def test_the_first_page_after_signing_in_knows_the_time_zone(
    make_job: MakeJob, alice: User
) -> None:
    """Also where the browser keeps no cookie of a script."""
    make_job(alice, created_at=datetime(2026, 3, 1, 12, 0, tzinfo=UTC))
    client = Client()
    entered = {"username": "alice", "password": PASSWORD, "time_zone": "Asia/Kathmandu"}

    page = client.post("/login/", entered, follow=True).content.decode()

    assert "1 Mar 2026, 17:45" in page
    client.cookies["time_zone"] = "Asia/Tokyo"  # they have traveled since
    assert "1 Mar 2026, 21:00" in client.get("/").content.decode()


def test_the_first_account_brings_its_time_zone(db: None) -> None:
    client = Client()
    entered = {"username": "ada", "password1": PASSWORD, "password2": PASSWORD}

    client.post(set_up_path(), {**entered, "time_zone": "Asia/Kathmandu"})

    assert client.session["time_zone"] == "Asia/Kathmandu"
