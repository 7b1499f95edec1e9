"""The tour of a newcomer: three steps that come by themselves, and go for good."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from jobs.models import Job, Tour

MakeJob = Callable[..., Job]


def step_on(path: str, client: Client) -> int:
    page = client.get(path).content.decode()
    return next((step for step in (1, 2, 3) if f"Step {step} of 3" in page), 0)


def test_the_tour_leads_a_newcomer_from_the_list_to_the_draft(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    assert step_on("/", client_alice) == 1
    assert step_on("/jobs/new/", client_alice) == 1
    assert step_on("/templates/", client_alice) == 0
    sample = 'formaction="/jobs/new/sample/" name="example" value="reviews"'
    assert sample in client_alice.get("/").content.decode()
    draft = make_job(alice, Job.State.DRAFT)
    path = f"/jobs/{draft.pk}/"
    assert step_on("/", client_alice) == 0
    assert step_on(path, client_alice) == 2

    answer = client_alice.post("/tour/", {"step": "3", "job": str(draft.pk)})

    assert answer.headers["Location"] == path
    assert step_on(path, client_alice) == 3
    client_alice.post("/tour/", {"step": "4", "job": str(draft.pk)})
    assert step_on(path, client_alice) == 0


def test_a_tour_that_was_skipped_does_not_come_back(
    make_job: MakeJob, alice: User, client_alice: Client, client_bob: Client
) -> None:
    client_alice.post("/tour/", {"step": "4"})

    assert step_on("/", client_alice) == 0
    assert step_on("/", client_bob) == 1
    draft = make_job(alice, Job.State.DRAFT)
    assert step_on(f"/jobs/{draft.pk}/", client_alice) == 0
    # A click in a tab that was open before changes nothing.
    client_alice.post("/tour/", {"step": "3", "job": str(draft.pk)})
    assert Tour.objects.get().step == Tour.OVER


def test_people_who_know_the_site_and_those_who_only_look_see_no_tour(
    make_job: MakeJob, alice: User, client_alice: Client, client_root: Client
) -> None:
    draft = make_job(alice, Job.State.DRAFT)
    assert step_on(f"/jobs/{draft.pk}/", client_root) == 0  # an administrator, on another's draft
    make_job(alice)
    assert step_on("/", client_alice) == 0
    assert step_on(f"/jobs/{draft.pk}/", client_alice) == 0


@pytest.mark.parametrize("step", ["", "0", "1", "5", "99999999999999999999", "two"])
def test_there_are_no_other_steps(step: str, client_alice: Client) -> None:
    assert client_alice.post("/tour/", {"step": step}).status_code == 404
    assert not Tour.objects.exists()


def test_the_tour_leads_to_no_job_of_others(
    make_job: MakeJob, alice: User, client_bob: Client
) -> None:
    job = make_job(alice)

    assert client_bob.post("/tour/", {"step": "3", "job": str(job.pk)}).status_code == 404
