"""Addresses that had another name once still lead to their page."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

from jobs.models import Job

from ..conftest import store_job


@pytest.fixture
def job(alice: User) -> Job:
    return store_job(alice, rows=[("1", "fine")])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("keep/", "save-as-template/"),
        ("attention/", "problems/"),
        (
            "attention/again/?which=cut_off&max_tokens=5",
            "problems/retry/?which=cut_off&max_tokens=5",
        ),
        ("attention/edits/?cause=refused", "problems/edits/?cause=refused"),
        ("attention/refused/ask/", "problems/refused/change-prompt/"),
        ("attention/a/b/leave-out/", "problems/a/b/ignore/"),
    ],
)
def test_an_old_address_leads_to_the_new_one(
    old: str, new: str, job: Job, client_alice: Client
) -> None:
    answer = client_alice.get(f"/jobs/{job.pk}/{old}")

    assert answer.status_code == 301
    assert answer.headers["Location"] == f"/jobs/{job.pk}/{new}"
    # What changes something has to come from a page, and pages have the new address.
    assert client_alice.post(f"/jobs/{job.pk}/{old}").status_code == 405


def test_the_old_address_of_imports_leads_there(client_root: Client) -> None:
    answer = client_root.get("/jobs/bring-in/?id=msgbatch_1")

    assert answer.headers["Location"] == "/jobs/import/?id=msgbatch_1"
    assert client_root.get(answer.headers["Location"]).status_code == 200
