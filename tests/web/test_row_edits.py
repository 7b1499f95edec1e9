"""A row is edited with what matters first: the cells that the prompt uses, as Claude will read
them, and on to the next row with the same problem."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from jobs.models import Job, Outcome
from jobs.retries import edits

from ..pages import squeezed

MakeJob = Callable[..., Job]
HX = {"HX-Request": "true"}
REFUSED = {"outcome": Outcome.LOOK, "cause": "refused"}
CUT = {"outcome": Outcome.LOOK, "cause": "cut_off"}


@pytest.fixture
def job(make_job: MakeJob, alice: User) -> Job:
    rows = [(f"n{number}", f"text {number}", f"note {number}") for number in range(1, 6)]
    return make_job(
        alice,
        columns=["name", "text", "note"],
        rows=rows,
        outcomes=[REFUSED, CUT, REFUSED, REFUSED, "good"],
        prompt="Say: {{text}}",
    )


def address(job: Job, number: int) -> str:
    return reverse("edit_row", args=[job.pk, number])


def post(client: Client, job: Job, number: int, **values: Any) -> Any:
    headers = values.pop("headers", None)
    given = {"place": ["1", "0", "2"], "cell": [f"kinder {number}", f"n{number}", f"note {number}"]}
    return client.post(address(job, number), {**given, **values}, headers=headers)


def test_what_the_prompt_uses_comes_first_and_the_rest_is_folded(
    job: Job, client_alice: Client
) -> None:
    page = squeezed(client_alice.get(address(job, 1)).content)
    cells = re.findall(r">\s*([^<>]*)</textarea>", page)
    assert cells == ["text 1", "n1", "note 1"]
    assert "2 columns that the prompt does not use" in page
    assert '<mark class="inserted" title="text">text 1</mark>' in page


def test_each_cell_goes_to_its_own_column(job: Job, client_alice: Client) -> None:
    post(client_alice, job, 1)
    assert edits.changed_rows(job, 5)[0].changes == [edits.Change("text", "text 1", "kinder 1")]
    # In the order of the file, as scripts and pages from before an update send them.
    client_alice.post(address(job, 3), {"cell": ["n3", "kindest", "note 3"]})
    [_, other] = edits.changed_rows(job, 5)
    assert [(one.name, one.after) for one in other.changes] == [("text", "kindest")]


@pytest.mark.parametrize(
    "wrong",
    [
        {"cell": ["a", "b"]},
        {"place": ["0", "1"]},
        {"place": ["0", "0", "1"]},
        {"place": ["0", "1", "3"]},
        {"place": ["x", "1", "2"]},
        {"place": ["-1", "1", "2"]},
    ],
)
def test_cells_that_fit_no_column_change_nothing(
    job: Job, client_alice: Client, wrong: dict[str, Any]
) -> None:
    assert post(client_alice, job, 1, **wrong).status_code == 404
    assert not job.edits.exists()


def test_save_and_next_goes_through_the_rows_with_the_same_problem(
    job: Job, client_alice: Client
) -> None:
    assert "Save and next" in client_alice.get(address(job, 1)).content.decode()
    assert post(client_alice, job, 1, next="yes").url == address(job, 3)
    assert post(client_alice, job, 3, next="yes").url == address(job, 4)
    assert "Save and next" not in client_alice.get(address(job, 4)).content.decode()
    assert post(client_alice, job, 4, next="yes").url == reverse("edits", args=[job.pk])
    assert "Save and next" not in client_alice.get(address(job, 1)).content.decode(), "all are done"
    assert post(client_alice, job, 2).url == reverse("edits", args=[job.pk])
    assert list(job.edits.order_by("number").values_list("number", flat=True)) == [1, 2, 3, 4]


def test_a_preview_shows_what_is_typed_and_saves_nothing(job: Job, client_alice: Client) -> None:
    part = post(client_alice, job, 1, preview="yes", headers=HX).content.decode()
    assert ">kinder 1</mark>" in part and "<html" not in part
    page = post(client_alice, job, 1, preview="yes").content.decode()
    assert ">kinder 1</mark>" in page and "kinder 1</textarea>" in page
    assert not job.edits.exists() and Job.objects.get(pk=job.pk).changed_by is None


def test_a_row_of_many_columns_shows_those_that_the_prompt_uses(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    columns = [f"c{number}" for number in range(150)]
    job = make_job(
        alice, columns=columns, rows=[tuple(columns)], outcomes=[REFUSED], prompt="{{c149}} {{c3}}"
    )
    page = squeezed(client_alice.get(address(job, 1)).content)
    assert page.count("<textarea") == 2 and "The other 148 columns stay as they are." in page
    client_alice.post(address(job, 1), {"place": ["3", "149"], "cell": ["new", "c149"]})
    assert edits.changed_rows(job, 5)[0].changes == [edits.Change("c3", "c3", "new")]
