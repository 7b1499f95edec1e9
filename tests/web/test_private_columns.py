"""Private columns never leave this site, and are masked to those who only look."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from io import StringIO
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from jobs.actions import drafts
from jobs.batches import planning
from jobs.drafts import estimates, improvements, private_columns, templates, token_counts
from jobs.drafts.improvements import MarkedRow
from jobs.models import Job, Outcome, Round, Template, Trial, privacy, recipe_of, recipe_of_round
from jobs.rules import recipes
from jobs.rules.column_matching import named_alike
from jobs.rules.recipes import Recipe
from jobs.rules.retry_choices import RoundEstimate
from jobs.rules.row_choices import CONTAINS, IS, Condition, RowChoice

from ..conftest import Simulator, change_job, store_job

MakeJob = Callable[..., Job]
SECRET = "S3CRET"
COLUMNS = ["name", "text"]
names = st.text("abcd {}\\\n\u00e9", min_size=1, max_size=3)


@given(st.data())
def test_no_request_has_a_cell_of_a_private_column(data: st.DataObject) -> None:
    columns = data.draw(st.lists(names, min_size=1, max_size=5, unique=True))
    private = tuple(data.draw(st.sets(st.sampled_from(columns))))
    pieces = st.lists(
        st.one_of(st.sampled_from([f"{{{{{name}}}}}" for name in columns]), names, st.just("{{")),
        max_size=6,
    )
    prompt, system = ("".join(data.draw(pieces)) for _ in range(2))
    cells = [SECRET if name in private else "open" for name in columns]
    recipe = Recipe(prompt, system, "claude-haiku-5-5", cached=True, private=private)
    assert SECRET not in json.dumps(recipes.compile_recipe(recipe, columns)(cells))
    used = set(recipes.columns_used(prompt)) & set(private)
    found = recipes.field_problems(recipe, columns)["prompt"]
    assert bool(used) == any("is private" in text for text in found)
    assert not set(recipes.columns_that_leave(recipe, columns)) & set(private)


def a_draft(owner: User) -> Job:
    return store_job(
        owner,
        Job.State.DRAFT,
        rows=[[SECRET, "good"], [SECRET, "bad"]],
        prompt="Say {{text}} of {{name}}",
        private_columns=["name"],
    )


def test_nothing_that_is_sent_has_one_whatever_the_prompt_says(
    alice: User, simulator: Simulator
) -> None:
    """By each way out: batches, retries with another prompt, tests, improvements, counts."""
    job = a_draft(alice)
    recipe, row = recipe_of(job), job.rows.in_order()[0]
    sent = [planning.request_writer(job, recipe)(row.source).decode()]
    other = Recipe("Other: {{name}} {{text}}", "For {{name}}", recipe.model)
    price = RoundEstimate(Decimal(1), Decimal(1), Decimal(1))
    asked = {"rows": 2, "bytes": 9, "estimate": price, "asked_at": timezone.now()}
    Round.objects.create(job=job, number=2, recipe=other, **asked)
    sent.append(planning.request_writer(job, recipe_of_round(job, 2))(row.source).decode())
    assert drafts.start_trials(job, [row], alice, recipe=other)
    trial = Trial.objects.get()
    sent.append(trial.params)
    marked = MarkedRow(1, [("name", SECRET), ("text", "good")], "no")
    sent.append(improvements.plan_improvement(job, recipe, [marked], "", 2).params)
    sent += [json.dumps(params) for params, _size in token_counts._sample(job)]
    assert len(sent) == 6 and all("good" in body or "bad" in body for body in sent)
    assert SECRET not in "".join(sent)
    trial.state, trial.outcome = Trial.State.ANSWERED, Outcome.GOOD
    trial.cells = [("name", SECRET)]
    assert not drafts.use_as_example(job, trial, alice), "the background would have its cells"


def test_a_prompt_with_a_private_column_cannot_be_sent(
    alice: User, client_alice: Client, simulator: Simulator
) -> None:
    job = a_draft(alice)
    page = client_alice.get(f"/jobs/{job.pk}/").content.decode()
    assert "The column “name” is private, so it can’t be used here." in page
    assert "1 of 2 columns is sent" in page
    assert estimates.estimate_job(job) is None or not Job.objects.get().plan_sha256
    change_job(job, prompt="Say {{text}}")
    estimates.estimate_job(Job.objects.get())
    plan = Job.objects.get().plan_sha256
    assert plan
    client_alice.post(f"/jobs/{job.pk}/private/", {"private": ["2", "9", "x"]})
    job.refresh_from_db()
    assert job.private_columns == ["text"] and not job.plan_sha256, "it has to be priced anew"
    drafts.save_recipe(job, replace(recipe_of(job), prompt="Hello", private=()), alice)
    assert Job.objects.get().private_columns == ["text"], "no save of the prompt changes that"


def test_they_are_remembered(alice: User, bob: User) -> None:
    job = a_draft(alice)
    new, other = (store_job(one, Job.State.READING) for one in (alice, bob))
    new.columns = other.columns = []  # they were not read
    assert private_columns.private_columns_for(new, COLUMNS) == ["name"]
    assert private_columns.private_columns_for(new, ["name", "other"]) == []
    assert private_columns.private_columns_for(other, COLUMNS) == []
    templates.save_template(alice, "Mine", recipe_of(job), shared=True)
    assert Template.objects.get().recipe.private == ("name",)
    start = templates.find_start(bob, str(Template.objects.get().pk), "")
    assert start and start.values["private_columns"] == ["name"]
    assert named_alike(["name"], ["Name ", "text"]) == ["name", "Name "]
    again = store_job(alice, Job.State.READING, rows=[["a", "b"]])
    assert private_columns.private_columns_for(again, again.columns) == [], "read once more"


def test_those_who_only_look_see_a_mask(
    alice: User, client_alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = store_job(
        alice,
        rows=[[SECRET, "good"], [SECRET, "fine"]],
        prompt="Say {{text}}",
        private_columns=["name"],
    )
    pages = ["", "rows/?col=1&col=2", "rows/1/", "download/csv/", "download/jsonl/"]

    def read(path: str) -> str:
        answer = client_alice.get(f"/jobs/{job.pk}/{path}")
        assert answer.status_code == 200, path
        return b"".join(answer).decode()

    assert all(SECRET in read(path) for path in pages[1:])
    monkeypatch.setattr(privacy, "sees_private", lambda user, job: False)
    for path in pages:
        text = read(path)
        assert SECRET not in text, path
        assert "good" in text and (not path or privacy.MASK in text or "u2022" in text), path
    assert read(f"rows/?q={SECRET}").count("good") == read("rows/").count("good"), (
        "a search does not tell what is in a cell"
    )
    for path in ("download/xlsx/", "download/problems/", "rows/1/edit/"):
        assert client_alice.get(f"/jobs/{job.pk}/{path}").status_code in (302, 404), path


def test_what_rows_are_chosen_by_is_masked(
    alice: User, client_alice: Client, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the page that an approver reads, too."""
    where = (Condition("name", CONTAINS, SECRET), Condition("text", IS, "good"))
    job = a_draft(alice)
    change_job(job, prompt="Say {{text}}", row_choice=RowChoice(where))
    estimates.estimate_job(Job.objects.get())
    page = f"/jobs/{job.pk}/confirm/"
    assert f"name contains “{SECRET}”" in client_alice.get(page).content.decode()
    monkeypatch.setattr(privacy, "sees_private", lambda user, job: False)
    shown = client_alice.get(page).content.decode()
    assert SECRET not in shown
    assert f"Only rows where name is “{privacy.MASK}” and text is “good”." in shown


@pytest.mark.parametrize("asked", [[("name", SECRET), ("text", "good")], [("text", "good")]])
def test_tests_from_before_are_masked_to_those_who_only_look(
    alice: User,
    client_alice: Client,
    monkeypatch: pytest.MonkeyPatch,
    asked: list[tuple[str, str]],
) -> None:
    job = a_draft(alice)
    for round_ in (1, 2):
        job.trials.create(
            round=round_,
            number=1,
            cells=asked,
            params="{}",
            model="claude-haiku-5-5",
            practice=True,
            state=Trial.State.ANSWERED,
            outcome=Outcome.GOOD,
            answer=f"I know {SECRET}",
            message=f"{SECRET} again",
        )
    Job.objects.filter(pk=job.pk).update(private_columns=["name"])
    pages = ["", "tests/", "tests/compare/", "improve/"]

    def read() -> str:
        return "".join(
            client_alice.get(f"/jobs/{job.pk}/{path}").content.decode() for path in pages
        )

    assert SECRET in read()
    monkeypatch.setattr(privacy, "sees_private", lambda user, job: False)
    had_it = len(asked) == 2
    assert (SECRET not in read()) == had_it, "of a test without the column nothing is masked"


def test_the_command_line_marks_them(tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text("name,text\nAda,good\n")
    out = StringIO()
    call_command("job", "check", str(file), "--private", "name", stdout=out)
    assert "Private, never sent: name" in out.getvalue()
    said = StringIO()
    with pytest.raises(SystemExit) as wrong:
        call_command("job", "check", str(file), "--private", "Name", stderr=said)
    assert wrong.value.code == 2 and "has no column “Name”" in said.getvalue()
