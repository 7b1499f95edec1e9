"""The list of jobs, a new job, its name, its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries, Settings

from jobs.models import Job, Outcome, files
from jobs.web.examples import EXAMPLES

MakeJob = Callable[..., Job]
HX = {"HX-Request": "true"}


def text(client: Client, path: str, **options: Any) -> str:
    answer = client.get(path, **options)
    assert answer.status_code == 200
    return answer.content.decode()


# --- The list -------------------------------------------------------------------------------------


def test_the_first_visit_says_what_this_is(client_alice: Client) -> None:
    page = text(client_alice, "/")
    assert "Ask Claude about every row" in page
    assert 'id="upload"' in page and "Excel, CSV or JSON" in page
    assert all(reverse("example", args=[name]) in page for name in EXAMPLES)


def test_everyone_sees_their_own_jobs_and_administrators_all(
    make_job: MakeJob, alice: User, bob: User, client_alice: Client, client_root: Client
) -> None:
    make_job(alice, name="mine")
    make_job(bob, name="theirs")

    page = text(client_alice, "/")
    assert "mine" in page and "theirs" not in page
    page = text(client_root, "/")
    assert "mine" in page and "theirs" in page and ">bob<" in page


def test_the_newest_job_is_first(make_job: MakeJob, alice: User, client_alice: Client) -> None:
    make_job(alice, name="older one")
    make_job(alice, name="newer one")
    page = text(client_alice, "/")
    assert page.index("newer one") < page.index("older one")


def test_jobs_are_found_by_name(make_job: MakeJob, alice: User, client_alice: Client) -> None:
    make_job(alice, name="Spring reviews")
    make_job(alice, name="Invoices")
    page = text(client_alice, "/?q=REVIEWS")
    assert "Spring reviews" in page and "Invoices" not in page


def test_a_search_for_nonsense_is_no_fault(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    make_job(alice)
    for query in ("a\0b", "%", "_" * 5000, "\\", "'; drop table"):
        page = client_alice.get("/", {"q": query, "state": query, "page": query})
        assert page.status_code == 200


def test_nothing_found_is_not_the_same_as_no_jobs(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    make_job(alice, name="Spring reviews")
    page = text(client_alice, "/?q=zzz")
    assert "No job matches" in page and "Show all jobs" in page


@pytest.fixture
def one_of_each(make_job: MakeJob, alice: User) -> None:
    make_job(alice, Job.State.DRAFT, name="is a draft")
    make_job(alice, Job.State.WORKING, name="is working")
    make_job(alice, Job.State.SUBMITTING, name="is held", held="Top up the credit.")
    make_job(alice, name="is good")
    make_job(alice, name="is bad", outcomes=[Outcome.GOOD, Outcome.ERRORED])
    make_job(alice, name="is stopped", outcomes=[Outcome.GOOD, Outcome.CANCELED])


@pytest.mark.parametrize(
    ("state", "names"),
    [
        ("draft", {"is a draft"}),
        ("working", {"is working", "is held"}),
        ("finished", {"is good", "is bad", "is stopped"}),
        ("attention", {"is bad", "is held"}),
        ("nonsense", {"is a draft", "is working", "is held", "is good", "is bad", "is stopped"}),
    ],
)
def test_jobs_are_filtered_by_state(
    one_of_each: None, client_alice: Client, state: str, names: set[str]
) -> None:
    page = client_alice.get("/", {"state": state}).context["page"]
    assert {job.name for job in page} == names


def test_a_job_with_rows_to_look_after_is_never_green(
    one_of_each: None, client_alice: Client
) -> None:
    page = text(client_alice, "/?q=is bad")
    assert "Finished – 1 problem" in page
    assert "tag-yellow" in page and "tag-green" not in page
    assert "tag-green" in text(client_alice, "/?q=is good")
    assert "tag-green" not in text(client_alice, "/?q=is stopped")
    assert "Action needed" in text(client_alice, "/?q=is held")


def test_the_list_is_paged(make_job: MakeJob, alice: User, client_alice: Client) -> None:
    copy = make_job(alice, name="job-00", rows=[("a", "b")])
    for number in range(1, 27):
        copy.pk, copy.name, copy.upload_file = None, f"job-{number:02}", f"upload-{number}"
        copy.save(force_insert=True)
    assert "job-01" not in text(client_alice, "/")
    assert "Page 1 of 2" in text(client_alice, "/")
    assert "job-01" in text(client_alice, "/?page=2&q=job")
    assert "job-01" in text(client_alice, "/?page=99")
    assert "Page 1 of 2" in text(client_alice, "/?page=x")


def test_the_list_takes_the_same_few_queries_for_one_job_and_for_many(
    make_job: MakeJob,
    alice: User,
    bob: User,
    client_root: Client,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    make_job(alice)
    client_root.get("/")  # the first page of a session is noted
    # Session, user, prices, count, jobs with owners, those that wait for approval; the filters'
    # counts, the trash and the owners; of the site its journal, its worker's heartbeat and its
    # limits, and keys of teams that are paused; whether the person has jobs of their own, and who
    # has none, how far they are in the tour.
    with django_assert_num_queries(16):
        client_root.get("/")
    for owner in (alice, bob) * 5:
        make_job(owner, Job.State.WORKING)
    with django_assert_num_queries(16):
        client_root.get("/")


def test_the_list_watches_only_while_something_moves(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    job = make_job(alice, Job.State.WORKING)
    page = client_alice.get("/?q=rev")
    part = page.context["part"]
    assert "hx-get" in page.content.decode() and part.watch_url.startswith("/?q=rev&v=")

    assert client_alice.get(part.watch_url, headers=HX).status_code == 204
    Job.objects.filter(pk=job.pk).update(state=Job.State.FINISHED)
    answer = client_alice.get(part.watch_url, headers=HX)

    assert answer.status_code == 200
    assert "<html" not in answer.content.decode() and "hx-get" not in answer.content.decode()


def test_a_sum_says_whether_it_was_charged(
    make_job: MakeJob, alice: User, client_alice: Client, settings: Settings
) -> None:
    settings.PRACTICE = False
    row = {"outcome": Outcome.GOOD, "cost_pico": 700_000_000_000}
    job = make_job(alice, name="done", outcomes=[row, row])
    page = text(client_alice, "/")
    assert "$1.40" in page and "charged" in page and "Practice mode" not in page
    # What a job was stays with it, whatever the site is now.
    Job.objects.filter(pk=job.pk).update(practice=True)
    page = text(client_alice, "/")
    assert "in practice" in page and "charged" not in page


# --- A new job ------------------------------------------------------------------------------------


def upload(content: bytes = b"name,text\nAda,hello\n", name: str = "list.csv") -> dict[str, Any]:
    return {"file": SimpleUploadedFile(name, content)}


def test_an_upload_becomes_a_job(client_alice: Client, alice: User) -> None:
    answer = client_alice.post("/jobs/new/", upload())

    job = Job.objects.get()
    assert answer.headers["Location"] == f"/jobs/{job.pk}/"
    assert (job.owner, job.state, job.upload_name) == (alice, Job.State.READING, "list.csv")
    assert files.upload_path(job).read_bytes() == b"name,text\nAda,hello\n"


def test_an_upload_with_htmx_leads_to_the_job_too(client_alice: Client) -> None:
    answer = client_alice.post("/jobs/new/", upload(), headers=HX)
    assert answer.headers["HX-Redirect"] == f"/jobs/{Job.objects.get().pk}/"


@pytest.mark.parametrize(
    ("values", "words"), [({}, "Choose a file first"), (upload(b""), "This file is empty")]
)
@pytest.mark.parametrize("headers", [{}, HX])
def test_an_upload_that_is_none_says_so_in_place(
    client_alice: Client, values: dict[str, Any], words: str, headers: dict[str, str]
) -> None:
    answer = client_alice.post("/jobs/new/", values, headers=headers)

    assert answer.status_code == 422 and words in answer.content.decode()
    assert ("<html" in answer.content.decode()) is not bool(headers)
    assert not Job.objects.exists()


def test_an_upload_that_is_too_large_leaves_nothing(
    client_alice: Client, settings: Settings
) -> None:
    settings.MAX_UPLOAD_BYTES = 1_000_000

    answer = client_alice.post("/jobs/new/", upload(b"x" * 1_000_001))

    assert answer.status_code == 422
    assert "This file is larger than 1 MB" in answer.content.decode()
    assert "Choose a file first" not in answer.content.decode()
    assert not Job.objects.exists()
    assert list(settings.FILE_UPLOAD_TEMP_DIR.iterdir()) == []


def test_limits_and_formats_are_said_beforehand(client_alice: Client) -> None:
    page = text(client_alice, "/jobs/new/")
    assert "1 GB" in page and "1,000,000 rows" in page and "semicolons" in page and "JSONL" in page


@pytest.mark.parametrize(
    ("name", "beginning"),
    [("reviews.csv", b"review_id,product,stars,review"), ("requests.jsonl", b'{"custom_id":')],
)
def test_samples_can_be_downloaded_and_tried(
    client_alice: Client, name: str, beginning: bytes
) -> None:
    answer = client_alice.get(f"/samples/{name}")
    content = b"".join(answer.streaming_content)  # type: ignore[attr-defined]  # a stream has it
    assert content.startswith(beginning)
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}"'

    tried = client_alice.post("/jobs/new/sample/", {"name": name})

    job = Job.objects.get()
    assert tried.headers["Location"] == f"/jobs/{job.pk}/"
    assert files.upload_path(job).read_bytes() == content


def test_there_are_no_other_samples(client_alice: Client) -> None:
    assert client_alice.get("/samples/__init__.py").status_code == 404
    assert client_alice.post("/jobs/new/sample/", {"name": "../models.py"}).status_code == 404
    assert client_alice.get("/jobs/new/sample/").status_code == 405


# --- Its name, its end ----------------------------------------------------------------------------


def test_a_job_is_renamed(make_job: MakeJob, alice: User, client_alice: Client) -> None:
    job = make_job(alice)
    address = reverse("rename", args=[job.pk])
    assert client_alice.get(address).status_code == 405

    client_alice.post(address, {"name": "  Better  "})
    client_alice.post(address, {"name": " "})

    job.refresh_from_db()
    assert job.name == "Better"


def test_deleting_asks_first_and_happens_once(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    job = make_job(alice)
    address = reverse("delete", args=[job.pk])

    assert "This cannot be undone" in text(client_alice, address)
    assert Job.objects.get().state == Job.State.FINISHED
    assert client_alice.post(address, {"now": "yes"}).headers["Location"] == "/"

    assert Job.objects.get().state == Job.State.DELETING
    assert client_alice.post(address).status_code == 404
    assert client_alice.get(f"/jobs/{job.pk}/").status_code == 404


def test_a_job_at_work_is_not_deleted(make_job: MakeJob, alice: User, client_alice: Client) -> None:
    job = make_job(alice, Job.State.WORKING)
    address = reverse("delete", args=[job.pk])

    assert "Stop it first" in text(client_alice, address)
    client_alice.post(address)

    job.refresh_from_db()
    assert job.state == Job.State.WORKING
