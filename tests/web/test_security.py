"""What nobody may do: see another's job, act without meaning to, run something in our pages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import Http404
from django.test import Client, RequestFactory
from django.urls import URLPattern, get_resolver, reverse
from django.utils import timezone
from pytest_django import Settings

from jobs.drafts import templates
from jobs.models import (
    Batch,
    ExternalBatchList,
    FileProblem,
    Heartbeat,
    Job,
    JobEvent,
    JournalState,
    LateBatch,
    Outcome,
    Row,
    Sending,
    Template,
    files,
    key_fingerprint,
)
from jobs.rules.recipes import Recipe
from jobs.web.views import errors

from ..conftest import PASSWORD, set_up_path
from ..environment import ROOT
from .test_views_draft import RECIPE, with_price
from .test_views_job_page import add_batch

MakeJob = Callable[..., Job]
HX = {"HX-Request": "true"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; font-src 'self'; manifest-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
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


@pytest.mark.parametrize("state", [state for state in Job.State if state != Job.State.DELETING])
@pytest.mark.parametrize("headers", [{}, HX])
def test_another_persons_job_does_not_exist(
    make_job: MakeJob, alice: User, client_bob: Client, state: str, headers: dict[str, str]
) -> None:
    job = in_trouble(make_job(alice, state))
    if state == Job.State.DRAFT:
        with_price(job)
    before = everything()
    for method, path in job_addresses(job):
        options = {"data": {"name": "x", "plan_sha256": job.plan_sha256, **RECIPE}}
        answer = send(client_bob, method, path, headers=headers, **options)
        assert answer.status_code == 404, (method, path)
    assert everything() == before


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
    job = make_job(alice, Job.State.DELETING)
    for client in (client_alice, client_root):
        for method, path in job_addresses(job):
            assert send(client, method, path).status_code == 404, path


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
    job = make_job(alice, state)
    if state == Job.State.DRAFT:
        with_price(job)
    else:
        in_trouble(job).batches.get(number=3).delete()  # nobody here would close its file
    before = everything()
    for name in JOB_PAGES:
        path = reverse(name, args=[job.pk, *ARGUMENTS.get(name, [])])
        assert client_alice.get(path).status_code in (200, 302, 404, 405)
        assert client_alice.get(path, headers=HX).status_code in (200, 204, 302, 404, 405)
        assert client_alice.head(path).status_code in (200, 302, 404, 405)
    for name in PAGES:
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


# --- Nothing runs in our pages --------------------------------------------------------------------

# Whatever a person, a file, the model or the provider can put into a page.
NASTY = (
    "<script>alert(1)</script><img src=x onerror=alert(1)>\"'><svg onload=alert(1)>"
    '</textarea></pre></title><div hx-get="/x" hx-trigger="load" style="color:red">'
    '<a href="javascript:alert(1)">{{ 7*7 }}{% debug %}${7*7}</a>&lt;b&gt;'
)


class Inspector(HTMLParser):
    """Collects what a page must not have, and the text a reader sees."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.ids: list[str] = []
        self.labels: set[str] = set()
        self.controls: list[dict[str, str | None]] = []
        self.in_label = 0
        self.form_without_token = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "script" and not (values.get("src") or "").startswith("/static/"):
            self.faults.append(f"a script that is not a file of ours: {attrs}")
        if tag == "style" or "style" in values:
            self.faults.append(f"a style in the page: {tag} {attrs}")
        for name, value in values.items():
            if name.startswith("on") or name.startswith("hx-on") or name == "srcdoc":
                self.faults.append(f"something that runs: {tag} {name}={value}")
            leads_on = name in ("href", "src", "action", "hx-get", "hx-post", "formaction")
            is_drawn = tag == "img" and (value or "").startswith("data:image/svg+xml;base64,")
            if leads_on and not is_drawn and not re.match(r"/(?!/)|\?|#", value or ""):
                self.faults.append(f"an address elsewhere: {tag} {name}={value}")
        if tag in ("iframe", "object", "embed", "base") or values.get("src") == "x":
            self.faults.append(f"an element we do not use: {tag} {attrs}")
        if values.get("id"):
            self.ids.append(values["id"] or "")
        if tag == "label":
            self.in_label += 1
            self.labels.add(values.get("for") or "")
        if tag == "form" and values.get("method") == "post":
            self.form_without_token = str(attrs)
        if values.get("name") == "csrfmiddlewaretoken":
            self.form_without_token = ""
        is_control = tag in ("input", "select", "textarea") and values.get("type") != "hidden"
        if is_control and not self.in_label:
            self.controls.append(values)

    def handle_endtag(self, tag: str) -> None:
        if tag == "label":
            self.in_label -= 1
        if tag == "form" and self.form_without_token:
            self.faults.append(f"a form without its token: {self.form_without_token}")

    def verdict(self) -> list[str]:
        unlabelled = [c for c in self.controls if (c.get("id") or "") not in self.labels]
        twice = {name for name in self.ids if self.ids.count(name) > 1}
        return [
            *self.faults,
            *(f"a control without a label: {control}" for control in unlabelled),
            *(f"an id that is there twice: {name}" for name in twice),
        ]


def inspect(page: str) -> None:
    assert "{#" not in page, "a comment of a template"
    inspector = Inspector()
    inspector.feed(page)
    assert inspector.verdict() == []


@pytest.fixture
def nasty_jobs(make_job: MakeJob, alice: User) -> list[Job]:
    """A job in each state, with something nasty wherever there is room for it."""
    texts: dict[str, Any] = {
        "name": NASTY[:200],
        "upload_name": NASTY[:255],
        "held": NASTY,
        "columns": [NASTY, "text"],
        "rows": [(NASTY, NASTY)] * 3,
        "prompt": NASTY + "{{text}}",
        "system": NASTY,
    }
    bad: list[Any] = [
        {"outcome": Outcome.LOOK, "cause": "refused", "answer": NASTY, "message": NASTY},
        {
            "outcome": Outcome.ERRORED,
            "cause": NASTY[:60],
            "message": NASTY,
            "request_id": NASTY[:99],
        },
        {"outcome": Outcome.LEFT_OUT, "cause": "left_out", "problem": NASTY},
    ]
    jobs = []
    for state in Job.State:
        if state == Job.State.DELETING:
            continue
        outcomes = bad if state in Job.SENT else None
        jobs.append(make_job(alice, state, outcomes=outcomes, **texts))
    request = {
        "custom_id": NASTY,
        "params": {
            "model": NASTY,
            "max_tokens": 5,
            "messages": [{"role": "user", "content": NASTY}],
        },
    }
    jobs.append(make_job(alice, Job.State.DRAFT, rows=[request] * 3, name=NASTY[:200]))
    recipe = Recipe(NASTY + "{{" + "<b>" * 30 + "}}", NASTY, NASTY, 5)
    for shared in (True, False):
        templates.save_template(alice, f"{shared}{NASTY}"[:100], recipe, shared=shared)
    priced = make_job(alice, Job.State.DRAFT, **{**texts, "held": "", "prompt": "{{text}}"})
    jobs.append(with_price(priced))
    for job in jobs:
        FileProblem.objects.create(job=job, count=2, lines=[2, 3], texts=[NASTY, NASTY])
        JobEvent.objects.create(job=job, text=NASTY)
        batch = add_batch(job, 1, 2, Batch.State.BLOCKED, refusal=NASTY)
        assert batch.refusal == NASTY
    return jobs


def test_nothing_that_was_brought_in_runs(nasty_jobs: list[Job], client_root: Client) -> None:
    User.objects.create_user(NASTY[:150], password=PASSWORD)
    pages = ["/", "/?q=" + NASTY, "/?state=" + NASTY, "/people/", "/jobs/new/", "/password/"]
    shared = Template.objects.get(shared=True).pk
    pages += ["/templates/", f"/templates/{shared}/delete/", f"/jobs/new/?template={shared}"]
    for job in nasty_jobs:
        base = f"/jobs/{job.pk}/"
        pages += [base, f"{base}?row=2", f"{base}confirm/", f"{base}stop/", f"{base}delete/"]
        pages += [f"{base}save-as-template/", f"{base}columns/", f"/jobs/new/?like={job.pk}"]
        pages += [f"{base}rows/", f"{base}rows/1/", f"{base}rows/2/", f"{base}rows/3/"]
        pages += [f"{base}rows/?outcome=attention&cause={NASTY}&q={NASTY}"]
    for path in pages:
        answer = client_root.get(path)
        assert answer.status_code in (200, 302), path
        if answer.status_code == 302:
            continue
        page = answer.content.decode()
        inspect(page)
        assert "{{ 49 }}" not in page and "$49" not in page
        assert answer.headers["Content-Security-Policy"] == POLICY
        assert answer.headers["Cache-Control"].startswith(("no-store", "max-age=0"))


@pytest.fixture
def nasty_trouble(make_job: MakeJob, alice: User, settings: Settings) -> list[Job]:
    """Jobs in all kinds of trouble, with something nasty in every text about it."""
    settings.PRACTICE, settings.ANTHROPIC_API_KEY = False, "a key"
    Sending.objects.update(pause=NASTY, pause_key=key_fingerprint())
    Heartbeat.objects.update(site_trouble=NASTY, provider_trouble=NASTY)
    JournalState.objects.update(report=f"{NASTY}\n{NASTY}")
    lost = {"outcome": Outcome.ERRORED, "cause": "lost", "message": NASTY}
    jobs = [make_job(alice, state, outcomes=[lost, lost]) for state in Job.SENT]
    now = timezone.now()
    for number, job in enumerate(jobs, start=1):
        add_batch(job, 1, number, Batch.State.UNKNOWN, asked_at=now, suggested_id=NASTY[:100])
        batch = add_batch(job, 2, 2, Batch.State.LOST, late_until=now)
        job.rows.update(batch=batch)
        provider_id = f"{number}{NASTY}"[:100]
        LateBatch.objects.create(
            batch=batch, provider_id=provider_id, size=2, created_at=now, found_at=now
        )
    return jobs


def test_nothing_in_the_words_about_trouble_runs(
    nasty_trouble: list[Job], client_root: Client
) -> None:
    pages = ["/", reverse("restored"), "/?state=attention"]
    for job in nasty_trouble:
        pages += [reverse("job", args=[job.pk]), reverse("stop", args=[job.pk])]
        pages += [reverse(name, args=[job.pk, 1]) for name in ("send_again", "this_is_it")]
    shown = 0
    for path in pages:
        page = client_root.get(path, follow=True).content.decode()
        inspect(page)
        shown += page.count("&lt;script&gt;alert(1)")
    assert shown > 20, "they are on the pages, as text"
    address = reverse("this_is_it", args=[nasty_trouble[0].pk, 1])
    inspect(client_root.post(address, {"provider_id": NASTY}).content.decode())


def test_nothing_that_was_brought_in_runs_in_parts_of_pages(
    nasty_jobs: list[Job], client_alice: Client
) -> None:
    for job in nasty_jobs:
        for path in (f"/jobs/{job.pk}/status/", f"/jobs/{job.pk}/price/", "/?q=x"):
            inspect(client_alice.get(path, headers=HX).content.decode())
        values = {**RECIPE, "prompt": NASTY, "system": NASTY, "model": NASTY}
        for model in (NASTY, RECIPE["model"]):
            answer = client_alice.post(
                f"/jobs/{job.pk}/recipe/", {**values, "model": model}, headers=HX
            )
            inspect(answer.content.decode())
    answer = client_alice.post("/jobs/new/sample/", {"name": NASTY})
    assert answer.status_code == 404


def test_a_nasty_file_name_is_only_a_name(client_alice: Client) -> None:
    name = '<img src=x onerror="alert(1)">.csv'
    client_alice.post("/jobs/new/", {"file": SimpleUploadedFile(name, b"a\n1\n")})
    job = Job.objects.get()
    page = client_alice.get(f"/jobs/{job.pk}/").content.decode()
    inspect(page)
    assert "&lt;img src=x" in page


def test_an_upload_is_never_a_path(client_alice: Client, settings: Settings) -> None:
    for name in ("../../evil.csv", "..\\..\\evil.csv", "/etc/evil.csv"):
        client_alice.post("/jobs/new/", {"file": SimpleUploadedFile(name, b"a\n1\n")})
    data = Path(settings.DATA_DIR)
    assert {job.upload_name for job in Job.objects.all()} == {"evil.csv"}
    assert not list(data.parent.rglob("*evil*"))
    assert len([path for path in (data / "uploads").iterdir() if path.is_file()]) == 3


def test_open_pages_are_strict_too(db: None) -> None:
    for path in ("/setup/", "/login/", "/help/sign-in/"):
        answer = Client().get(path)
        inspect(answer.content.decode())
        assert answer.headers["Content-Security-Policy"] == POLICY
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "same-origin"


def test_templates_escape_everything() -> None:
    """No way around the escaping, in templates or in views."""
    for path in (ROOT / "templates").rglob("*.html"):
        source = path.read_text()
        assert not re.search(r"\|\s*safe|autoescape|<style|\sstyle=|\son[a-z]+=", source), path
    for path in (ROOT / "jobs").rglob("*.py"):
        assert "mark_safe" not in path.read_text(), path
    for name in ("site.js", "theme.js"):
        source = (ROOT / "static" / name).read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|eval\(|document\.write", source)


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
