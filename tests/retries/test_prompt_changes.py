"""The prompt for some rows is written as that of a draft: seen filled in, and tested on a few of
them beside the old answers, before all of them are sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from jobs.models import Job, Outcome, SpendingCaps, Trial, recipe_of
from jobs.retries import edits
from jobs.retries.selection import EDITED

from ..conftest import REFUSED, Simulator, sent
from ..driven_jobs import Drive
from ..pages import squeezed

MakeJob = Callable[..., Job]
HX = {"HX-Request": "true"}
PROMPT = "Greet {{name}}, kindly"


@pytest.fixture
def refused(make_job: MakeJob, alice: User, drive: Drive, simulator: Simulator) -> Job:
    """A good row and five that were refused, because of what is in their text."""
    rows = [("n1", "good"), *((f"n{number}", f"text {REFUSED}") for number in range(2, 7))]
    return sent(make_job, alice, drive, rows, max_tokens=500)


def address_of(job: Job, which: str = "refused") -> str:
    return reverse("change_prompt", args=[job.pk, which])


def ask(client: Client, job: Job, which: str = "refused", **values: Any) -> Any:
    given = {"prompt": PROMPT, "system": "", "model": job.recipe.model, "max_tokens": "500"}
    headers = values.pop("headers", None)
    return client.post(address_of(job, which), {**given, **values}, headers=headers)


def page(client: Client, job: Job, which: str = "refused") -> str:
    return squeezed(client.get(address_of(job, which)).content)


def is_tested(job: Job) -> bool:
    return not job.trials.pending().exists()


def test_the_editor_has_the_columns_and_the_first_row_filled_in(
    refused: Job, client_alice: Client
) -> None:
    shown = page(client_alice, refused)
    assert 'data-insert="{{name}}"' in shown and 'data-colors-of="id_prompt"' in shown
    assert f'<mark class="inserted" title="text">text {REFUSED}</mark>' in shown
    assert "Row 2" in shown, "the first of these rows, not of the file"


def test_a_preview_shows_what_is_typed_and_sends_nothing(
    refused: Job, client_alice: Client, simulator: Simulator
) -> None:
    before = simulator.accepted()
    part = squeezed(ask(client_alice, refused, do="preview", headers=HX).content)
    assert '<mark class="inserted" title="name">n2</mark>' in part and "<html" not in part
    answer = ask(client_alice, refused, do="preview", prompt="Greet {{nmae}}", headers=HX)
    part = squeezed(answer.content)
    assert answer.status_code == 200 and "no column “nmae”" in part
    assert 'data-replace="nmae" data-with="name"' in part
    whole = squeezed(ask(client_alice, refused, do="preview").content)
    assert "<html" in whole and PROMPT in whole, "without script it is the whole page"
    assert simulator.accepted() == before and not refused.trials.exists()


def test_three_of_the_rows_are_tested_beside_their_old_answers(
    refused: Job, client_alice: Client, drive: Drive, simulator: Simulator
) -> None:
    before = (recipe_of(refused), simulator.accepted())
    answer = ask(client_alice, refused, do="test", system="Be kind.")
    assert answer.url == f"{reverse('change_prompt', args=[refused.pk, 'refused'])}#tests"
    assert "Testing …" in page(client_alice, refused)
    assert "still running" in ask(client_alice, refused, do="test").content.decode()
    job = drive(refused, until=is_tested)
    assert list(job.trials.order_by("number").values_list("number", "state")) == [
        (number, Trial.State.ANSWERED) for number in (2, 3, 4)
    ]
    [tested] = {(one.recipe.prompt, one.recipe.system) for one in job.trials.all() if one.recipe}
    assert tested == (PROMPT, "Be kind.")
    shown = page(client_alice, job)
    assert "Answers before and after" in shown and shown.count("Declined by Claude</span>") == 3
    assert f"{PROMPT}</textarea>" in shown, "what was tested stays in the editor"
    assert "Be kind." in shown and 'value="500"' in shown
    # Only the tests were sent: the job is as it was.
    assert before == (recipe_of(job), simulator.accepted())
    assert job.rows.filter(outcome=Outcome.GOOD).count() == 1 and job.last_round == 1
    planned = ask(client_alice, job, system="Be kind.").context["planned"]
    assert (planned.rows, planned.recipe.system) == (5, "Be kind.")


def test_a_test_that_may_cost_too_much_is_refused_and_the_text_stays(
    refused: Job, client_alice: Client
) -> None:
    SpendingCaps.objects.update(most_a_job=refused.cost)
    answer = ask(client_alice, refused, do="test")
    assert answer.status_code == 422 and PROMPT in answer.content.decode()
    assert "limit" in answer.content.decode() and not refused.trials.exists()


def test_no_test_starts_at_a_price_that_its_button_did_not_show(
    refused: Job, client_alice: Client, settings: Settings
) -> None:
    settings.PRACTICE = False
    Job.objects.update(practice=False)
    before = client_alice.get(address_of(refused))
    assert "· at most $0.01</span>" in squeezed(before.content)
    cheap, dear = str(before.context["test_most"]), {"model": "claude-opus-4-6"}
    dear["max_tokens"] = "64000"
    part = ask(client_alice, refused, do="preview", headers=HX, **dear)
    assert "· at most $5.29</span>" in squeezed(part.content), "the button follows the form"
    # Without script, or before the new price is there.
    for seen in ({"seen": cheap}, {"seen": "NaN"}, {"seen": "much"}, {}):
        answer = ask(client_alice, refused, do="test", **dear, **seen)
        assert answer.status_code == 422 and not refused.trials.exists()
        words = "Nothing was sent. This test now costs at most $5.29. Test again to send it."
        assert words in squeezed(answer.content)
    price = str(part.context["test_most"])
    assert f'name="seen" value="{price}"' in squeezed(answer.content)
    assert ask(client_alice, refused, do="test", seen=price, **dear).status_code == 302
    assert refused.trials.count() == 3


def test_a_prompt_that_cannot_be_sent_is_not_tested(refused: Job, client_alice: Client) -> None:
    for wrong in ({"prompt": "Say {{nothing}}"}, {"prompt": ""}, {"model": "claude-unheard-of"}):
        answer = ask(client_alice, refused, do="test", **wrong)
        assert answer.status_code == 422 and not refused.trials.exists()


def test_a_test_of_the_draft_or_of_other_rows_is_not_taken_for_one_of_these(
    refused: Job, client_alice: Client, drive: Drive
) -> None:
    ask(client_alice, refused, do="test")
    job = drive(refused, until=is_tested)
    Trial.objects.filter(job=job).update(asked_at=job.created_at)
    assert "Answers before and after" not in page(client_alice, job)
    Trial.objects.filter(job=job).update(asked_at=job.finished_at)
    assert "Answers before and after" in page(client_alice, job)
    assert edits.edit_row(job.rows.get(number=3), ["n3", "kinder"])
    assert "Answers before and after" not in page(client_alice, job), "one of them is another group"


def test_edited_rows_are_shown_and_tested_as_they_were_edited(
    refused: Job, client_alice: Client, drive: Drive
) -> None:
    assert edits.edit_row(refused.rows.get(number=5), ["Zoe", "kinder"])
    part = squeezed(ask(client_alice, refused, EDITED, do="preview", headers=HX).content)
    assert ">Zoe</mark>" in part
    ask(client_alice, refused, EDITED, do="test")
    job = drive(refused, until=is_tested)
    assert [(one.number, one.cells) for one in job.trials.all()] == [(5, [("name", "Zoe")])]


def test_rows_with_too_few_cells_are_neither_shown_nor_tested(
    refused: Job, client_alice: Client
) -> None:
    for row in refused.rows.filter(outcome=Outcome.LOOK):
        row.source = '["alone"]'
        row.save(update_fields=["source"])
    shown = page(client_alice, refused)
    assert "too few or too many cells" in shown and "Test 0" not in shown
    assert ask(client_alice, refused, do="test").status_code == 422


def test_it_costs_few_queries_whatever_the_group(
    refused: Job, client_alice: Client, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(22):
        page(client_alice, refused)
