"""Cells, answers, names and messages are only text in our pages: nothing of them runs."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from jobs.drafts import templates
from jobs.models import (
    Batch,
    FileProblem,
    Heartbeat,
    Job,
    JobEvent,
    JournalState,
    LateBatch,
    Outcome,
    Sending,
    Template,
    key_fingerprint,
)
from jobs.rules.recipes import Recipe

from ..conftest import PASSWORD
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
    kinds = set()
    for job in nasty_jobs:
        base = f"/jobs/{job.pk}/"
        pages += [base, f"{base}?row=2", f"{base}confirm/", f"{base}stop/", f"{base}delete/"]
        if (kind := (job.kind, job.state in Job.SENT)) in kinds:
            continue  # these are the same in each state
        kinds.add(kind)
        pages += [f"{base}save-as-template/", f"{base}columns/", f"/jobs/new/?like={job.pk}"]
        pages += [f"{base}rows/", f"{base}rows/1/", f"{base}rows/2/", f"{base}rows/3/"]
        pages += [f"{base}rows/?outcome=attention&cause={NASTY}&q={NASTY}"]
    assert len(kinds) == 3
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
