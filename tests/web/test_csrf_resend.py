"""A form whose token is too old: what a person typed is not lost. What may be a stranger's form is
never offered again, nor are passwords and files."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client

from jobs.models import Job, Template
from jobs.web.views import errors

from .test_untrusted_text import NASTY, MakeJob, inspect

SAME = {"Sec-Fetch-Site": "same-origin"}
TYPED = "Is this review positive,\n  negative or mixed?"


@pytest.fixture
def browser(alice: User) -> Client:
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    return client


def refused(client: Client, path: str, values: dict[str, Any], **headers: str) -> HttpResponse:
    answer: HttpResponse = client.post(path, values, headers=headers)  # type: ignore[assignment]  # of a test
    assert answer.status_code == 403
    return answer


def test_what_was_typed_can_be_sent_again(browser: Client, make_job: MakeJob, alice: User) -> None:
    job = make_job(alice, Job.State.DRAFT)
    values = {"prompt": TYPED, "model": "claude-haiku-5-5", "answer_kind": "text"}
    page = refused(browser, f"/jobs/{job.pk}/recipe/", values, **SAME).content.decode()
    assert f">\n{TYPED}</textarea>" in page and 'value="claude-haiku-5-5"' in page
    assert f'action="/jobs/{job.pk}/recipe/"' in page and "Nothing was saved" in page
    inspect(page)

    token = page.split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
    browser.post(f"/jobs/{job.pk}/recipe/", {**values, "csrfmiddlewaretoken": token}, headers=SAME)

    job.refresh_from_db()
    assert job.recipe.prompt.replace("\r\n", "\n") == TYPED


@pytest.mark.parametrize(
    ("headers", "values"),
    [
        ({}, {"prompt": TYPED}),  # an old browser, or a stranger
        ({"Sec-Fetch-Site": "cross-site"}, {"prompt": TYPED}),
        ({"Sec-Fetch-Site": "same-site"}, {"prompt": TYPED}),
        ({"Origin": "https://evil.example"}, {"prompt": TYPED}),
        (SAME, {"do": "delete", "plan_sha256": "a" * 64}),  # nothing was typed
        (SAME, {"prompt": TYPED, "new_password": "correct horse battery"}),
        (SAME, {"prompt": TYPED, "file": SimpleUploadedFile("a.csv", b"secret cells")}),
        (SAME, {"prompt": TYPED + "x" * errors.MOST_TYPED}),
        (SAME, {"prompt": TYPED, **{f"f{n}": "x" for n in range(errors.MOST_FIELDS)}}),
    ],
)
def test_nothing_else_is_offered(
    browser: Client, headers: dict[str, str], values: dict[str, Any]
) -> None:
    page = refused(browser, "/jobs/1/recipe/", values, **headers).content.decode()
    assert "Please try again" in page
    for told in ("positive", "correct horse", "secret cells", "aaaa", "<textarea"):
        assert told not in page


def test_what_was_typed_does_not_run(browser: Client) -> None:
    values = {NASTY: NASTY, "short": "<b>"}
    page = refused(browser, "/jobs/1/recipe/?next=//evil.example", values, **SAME)
    inspect(page.content.decode())
    elsewhere = browser.post("//evil.example/jobs/", {"prompt": TYPED}, headers=SAME)
    assert TYPED[:20] not in elsewhere.content.decode(), "there is no such page"


def test_the_token_that_was_sent_is_not_shown(browser: Client) -> None:
    values = {"csrfmiddlewaretoken": "z" * 64, "prompt": TYPED}
    page = refused(browser, "/jobs/1/recipe/", values, **SAME).content.decode()
    assert "zzzz" not in page
    assert not Template.objects.exists()
