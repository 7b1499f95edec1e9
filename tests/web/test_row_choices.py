"""The page on which a person chooses which rows are sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from jobs.actions import submissions
from jobs.drafts import estimates
from jobs.drafts.selected_rows import WHY
from jobs.models import AuditEntry, Job, Pilot
from jobs.rules.judging import NOT_SELECTED
from jobs.rules.row_choices import CONTAINS, EMPTY, IS, NOT_EMPTY, Condition, RowChoice
from jobs.web.forms.pilots import PilotForm

from ..conftest import Simulator, drive_job

MakeJob = Callable[..., Job]


@pytest.fixture
def draft(alice: User, make_job: MakeJob) -> Job:
    rows = [("Ada", "likes it"), ("<b>Ben", "does not"), ("Cy", "")]
    return make_job(alice, Job.State.DRAFT, rows=rows)


def test_a_choice_is_saved_shown_and_taken_back(
    draft: Job, client_alice: Client, simulator: Simulator
) -> None:
    page = reverse("choose_rows", args=[draft.pk])
    given = {
        "column": ["name", "text", ""],
        "operator": ["contains", "is_not", "is"],
        "value": ["<b>", "", "lost"],
        "sample": "1",
    }
    assert client_alice.post(page, given).status_code == 302
    draft.refresh_from_db()
    where = (Condition("name", CONTAINS, "<b>"), Condition("text", NOT_EMPTY))
    assert draft.row_choice == RowChoice(where, sample=1)
    shown = client_alice.get(page).content.decode()
    assert 'value="&lt;b&gt;"' in shown and "Send all rows" in shown
    estimates.estimate_job(draft)
    job = client_alice.get(reverse("job", args=[draft.pk])).content.decode()
    assert f'<a class="num" href="{page}">1 row of 3</a>' in job, "the way back to the choice"
    confirm = client_alice.get(reverse("confirm", args=[draft.pk])).content.decode()
    assert "2 of 3 not selected. Only rows where name contains “&lt;b&gt;” and text is" in confirm
    assert "Row 2, as Claude reads it" in confirm
    client_alice.post(page, {"all": "yes"})
    draft.refresh_from_db()
    assert draft.row_choice.is_all


def test_the_head_of_a_job_says_how_many_rows_are_selected(
    draft: Job, client_alice: Client, simulator: Simulator
) -> None:
    page = reverse("job", args=[draft.pk])

    def head() -> str:
        return client_alice.get(page).content.decode().partition('id="headline"')[0]

    given = {"column": ["text"], "operator": ["not_empty"], "value": [""]}
    client_alice.post(reverse("choose_rows", args=[draft.pk]), given)
    draft.refresh_from_db()
    estimates.estimate_job(draft)
    draft.refresh_from_db()
    assert submissions.confirm(draft, draft.plan_sha256, draft.owner)
    assert "2 of 3 rows selected" in head(), "before the worker has marked the third"
    drive_job(draft)
    assert "2 of 3 rows selected" in head()


def test_empty_values_mean_empty_cells(draft: Job, client_alice: Client) -> None:
    given = {"column": ["text"], "operator": ["is"], "value": [" "]}
    client_alice.post(reverse("choose_rows", args=[draft.pk]), given)
    draft.refresh_from_db()
    assert draft.row_choice.where == (Condition("text", EMPTY),)


def test_rows_that_were_not_selected_say_so(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    unselected = {"outcome": "left_out", "cause": NOT_SELECTED, "problem": WHY}
    job = make_job(alice, outcomes=["good", unselected])
    shown = client_alice.get(reverse("rows", args=[job.pk])).content.decode()
    assert '<span class="badge tag-secondary">Not selected</span>' in shown


def at(client: Client, address: str) -> str:
    return client.get(address).content.decode()


def test_without_the_rule_its_share_does_not_matter(
    draft: Job, client_alice: Client, simulator: Simulator
) -> None:
    estimates.estimate_job(draft)
    draft.refresh_from_db()
    given = {"plan_sha256": draft.plan_sha256, "first": "yes", "pilot_rows": "2"}
    client_alice.post(reverse("confirm", args=[draft.pk]), {**given, "pilot_share": "many"})
    assert Pilot.objects.get(job=draft).least_good == 0
    told = at(client_alice, reverse("job", args=[draft.pk]))
    assert "The other rows wait until you have seen the answers." in told


def test_a_few_rows_are_sent_first_from_the_page(
    draft: Job, client_alice: Client, simulator: Simulator
) -> None:
    estimates.estimate_job(draft)
    draft.refresh_from_db()
    page = reverse("confirm", args=[draft.pk])
    given = {"plan_sha256": draft.plan_sha256, "first": "yes"}
    shown = PilotForm(draft, rows=3)
    assert shown["pilot_share"].value() == 97
    assert str(shown["pilot_share"]) in at(client_alice, page)
    rule = {"pilot_rows": "2", "pilot_rule": "on"}
    for wrong, field, says in (
        ({"pilot_rows": "0"}, "pilot_rows", "Send from 1 to 5,000 rows first."),
        ({"pilot_rows": "3"}, "pilot_rows", "This job sends 3 rows. Send fewer than that first."),
        ({"pilot_rows": "1", "pilot_by": "x"}, "pilot_by", "not in your file any more"),
        *(
            ({**rule, "pilot_share": share}, "pilot_share", "a whole number from 50 to 100")
            for share in ("", "49", "101", "9e1", "-60", "٩٧", "97.5")
        ),
    ):
        answer = client_alice.post(page, {**given, **wrong})
        assert answer.status_code == 422
        text = answer.content.decode()
        assert "Nothing was sent. Correct what is marked below." in text
        # The sentence stands at its field, which names it, in a part of the page that is open.
        at_field = text.partition(f'id="id_{field}_error"')[2].partition("</div>")[0]
        assert says in at_field
        assert f'aria-describedby="id_{field}_error"' in text
        assert 'id="pilot-first" open' in text
    draft.refresh_from_db()
    assert draft.state == Job.State.DRAFT and not Pilot.objects.exists()
    client_alice.post(page, {**given, **rule, "pilot_by": "name", "pilot_share": "85"})
    draft.refresh_from_db()
    pilot = Pilot.objects.get(job=draft)
    assert draft.state == Job.State.SUBMITTING
    assert (pilot.rows, pilot.by, pilot.least_good) == (2, "name", 85)
    entry = AuditEntry.objects.get(event="job_submitted", job=draft.pk)
    assert entry.detail.after["pilot_rule_percent"] == 85
    told = at(client_alice, reverse("job", args=[draft.pk]))
    assert "Pilot: 0 of 2 rows done" in told
    assert "The other rows follow if 85% of these are good and the price holds." in told
    # Not in yet: nothing is decided.
    for name in ("continue_job", "end_pilot"):
        answer = client_alice.post(reverse(name, args=[draft.pk]), follow=True)
        assert "Nothing was changed" in answer.content.decode()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"column": ["gone"], "operator": [IS], "value": ["1"]}, "not in your file any more"),
        ({"column": ["text"], "operator": [CONTAINS], "value": [""]}, "Say what “text” contains."),
        ({"column": ["text"], "operator": [IS], "value": ["x" * 2_000]}, "at most 1,000"),
        ({"column": ["text"] * 21, "operator": [IS] * 21, "value": ["x"] * 21}, "at most 20"),
        ({"sample": "0"}, "Write how many rows"),
        ({"sample": "many"}, "Write how many rows"),
        ({"sample": "1", "seed": "-1"}, "The seed is a whole number"),
        ({"by": "name"}, "Say how many rows"),
        ({"sample": "1", "by": "gone"}, "not in your file any more"),
    ],
)
def test_what_is_wrong_is_said(
    draft: Job, client_alice: Client, given: dict[str, Any], says: str
) -> None:
    answer = client_alice.post(reverse("choose_rows", args=[draft.pk]), given)
    assert answer.status_code == 422
    assert says in answer.content.decode()
    draft.refresh_from_db()
    assert draft.row_choice.is_all
