"""What the settings of a recipe mean for the job: empty cells, models, thinking, kept instructions,
and what the tried rows teach."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from jobs.actions import drafts, submissions
from jobs.drafts import estimates
from jobs.drafts.advice import Advice, advice_for
from jobs.models import Job, Outcome, Trial, recipe_of, trial_key
from jobs.rules import pricing
from jobs.rules.answer_formats import COLUMNS, LABELS, AnswerColumn, AnswerKind
from jobs.rules.price_estimates import Estimate
from jobs.rules.recipes import Recipe, compile_template, expected_output, static_text
from jobs.worker import advance, housekeeping

from ..conftest import Simulator, change_job
from ..pages import squeezed

MakeJob = Callable[..., Job]
Drive = Callable[..., Job]
HX = {"HX-Request": "true"}
LONG = "Answer kindly, and mind the rules of our house. " * 200


def priced(job: Job) -> Estimate:
    """The estimate of the draft as it is now."""
    job.refresh_from_db()
    estimates.estimate_job(job)
    job.refresh_from_db()
    estimate = estimates.current(job)
    assert estimate is not None
    return estimate


def save(client: Client, job: Job, **values: object) -> str:
    form = {
        "prompt": job.recipe.prompt,
        "system": job.recipe.system,
        "model": job.recipe.model,
        **values,
    }
    answer = client.post(reverse("recipe", args=[job.pk]), form, headers=HX)
    job.refresh_from_db()
    return squeezed(answer.content)


def advice(job: Job) -> dict[str, Advice]:
    return {one.code: one for one in advice_for(job, priced(job))}


def shown(client: Client, job: Job, query: str = "") -> str:
    """The page of a job, as text."""
    page = client.get(reverse("job", args=[job.pk]) + query).content.decode()
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page)))


# --- Every cell once ------------------------------------------------------------------------------

# Names as in a heading: no braces, no line breaks, nothing around them.
names = st.text(
    st.characters(exclude_characters="{}\n\\", exclude_categories=["C", "Z"]), min_size=1
)
texts = st.text(st.characters(exclude_characters="{}\\"))


@pytest.mark.no_database
@given(st.data())
def test_each_placeholder_is_filled_once_and_with_nothing_but_its_cell(data: st.DataObject) -> None:
    columns = data.draw(st.lists(names, min_size=1, max_size=4, unique=True))
    # Cells may look like anything, placeholders and escapes among them.
    tricky = st.sampled_from([f"{{{{{columns[0]}}}}}", "\\{{", "{{", "}}", "%s", "{0}", "$x"])
    cell = st.lists(st.one_of(st.text(), tricky), max_size=3).map("".join)
    cells = [data.draw(cell) for _ in columns]
    parts = data.draw(st.lists(st.one_of(texts, st.integers(0, len(columns) - 1)), max_size=8))
    written = "".join(p if isinstance(p, str) else f"{{{{{columns[p]}}}}}" for p in parts)
    wanted = "".join(p if isinstance(p, str) else cells[p] for p in parts)
    assert compile_template(written, columns)(cells) == wanted
    assert static_text(written) == "".join(p for p in parts if isinstance(p, str))


# --- Empty cells ----------------------------------------------------------------------------------

GAPS = [("Ada", "fine"), ("Ben", ""), ("", " \t"), ("", "fine"), ("Eve", "good")]


@pytest.fixture
def gaps(alice: User, make_job: MakeJob) -> Job:
    return make_job(alice, Job.State.DRAFT, rows=GAPS, prompt="{{name}}{{text}}")


def test_empty_cells_are_counted_before_anything_is_paid(
    gaps: Job, client_alice: Client, simulator: Simulator
) -> None:
    estimate = priced(gaps)
    survey = estimate.basis.survey
    assert (survey.empty, survey.blank, survey.emptiest) == (3, 1, 3)
    assert estimate.rows == 4, "the prompt of row 3 would be empty"
    page = shown(client_alice, gaps)
    assert "2 rows have an empty cell and are sent as they are." in page
    assert "1 row with an empty prompt is always skipped." in page
    assert "2 rows with an empty cell will be sent anyway." in page
    assert "Price of 4 rows" in page


def test_rows_with_an_empty_cell_can_be_left_out(
    gaps: Job, client_alice: Client, simulator: Simulator, drive: Drive
) -> None:
    before = priced(gaps)
    save(client_alice, gaps, skip_empty="on")
    assert gaps.plan_sha256 == "", "what was shown before cannot be confirmed any more"
    estimate = priced(gaps)
    assert estimate.rows == 2
    assert estimate.most < before.most
    confirmation = client_alice.get(reverse("confirm", args=[gaps.pk])).content.decode()
    assert "Practice with 2 rows" in confirmation
    assert "3 of 5 skipped because of an empty cell" in " ".join(confirmation.split())
    assert submissions.confirm(gaps, gaps.plan_sha256, gaps.owner)
    job = drive(gaps)
    assert simulator.truth()["accepted_rows"] == 2
    assert [row.outcome for row in job.rows.in_order()] == [
        Outcome.GOOD,
        *[Outcome.LEFT_OUT] * 3,
        Outcome.GOOD,
    ]
    assert "The cell “text” is empty" in job.rows.get(number=2).problem
    assert job.cost <= estimate.most


def test_a_job_of_which_nothing_is_left_cannot_be_confirmed(
    alice: User, make_job: MakeJob, simulator: Simulator
) -> None:
    job = make_job(alice, Job.State.DRAFT, rows=[("Ada", ""), ("Ben", "")], prompt="{{text}}")
    estimate = priced(job)
    assert "All rows are skipped" in estimate.trouble
    assert estimate.rows == 0 and job.plan_sha256 == ""


def test_the_preview_says_that_a_row_is_not_sent(gaps: Job, client_alice: Client) -> None:
    assert "This row is skipped, because its cell “name” is empty." in save(
        client_alice, gaps, show="3"
    )
    assert "This row is skipped" not in save(client_alice, gaps, show="2")
    page = save(client_alice, gaps, show="2", skip_empty="on")
    assert "This row is skipped, because its cell “text” is empty." in page
    assert "This row is skipped" not in save(client_alice, gaps, show="2", prompt="{{nam}}")


def test_what_is_odd_is_said_before_the_last_button_too(
    gaps: Job, client_alice: Client, simulator: Simulator
) -> None:
    priced(gaps)
    confirm = reverse("confirm", args=[gaps.pk])
    page = client_alice.get(confirm).content.decode()
    assert "2 rows with an empty cell will be sent anyway." in page

    taken = {"code": "skip_empty", "next": "confirm"}
    answer = client_alice.post(reverse("take_advice", args=[gaps.pk]), taken)

    assert answer.headers["Location"] == confirm, "the last look shows the new price"
    gaps.refresh_from_db()
    assert gaps.recipe.skip_empty


def test_each_model_has_its_price_for_this_very_job(
    alice: User, make_job: MakeJob, client_alice: Client, simulator: Simulator
) -> None:
    rows = [(f"n{number}", "word " * 50) for number in range(100)]
    job = make_job(alice, Job.State.DRAFT, rows=rows, prompt="About {{text}}")
    estimate, recipe = priced(job), recipe_of(job)
    found = {
        model.id: estimates.price_recipes(job, estimate, [replace(recipe, model=model.id)])[0]
        for model in pricing.choosable_models()
    }
    own = found[job.recipe.model]
    assert own is not None
    assert (own.low, own.high, own.most) == (estimate.low, estimate.high, estimate.most)
    other = replace_model(job, "claude-opus-4-6")
    real = priced(other)
    guessed = found["claude-opus-4-6"]
    assert guessed is not None
    assert float(guessed.high) == pytest.approx(float(real.high), rel=0.1), "fewer tokens, dearer"
    page = client_alice.get(reverse("job", args=[job.pk])).content.decode()
    assert re.search(r'id="price-of-claude-opus-5-5">\s*(about )?(less than )?\$', page)


def replace_model(job: Job, model: str) -> Job:
    change_job(job, model=model, plan_sha256="")
    return job


def test_a_row_that_the_model_cannot_read_is_named(
    alice: User, make_job: MakeJob, client_alice: Client, simulator: Simulator
) -> None:
    rows = [("short", "a"), ("long", "word " * 180_000)]
    job = make_job(alice, Job.State.DRAFT, rows=rows, prompt="{{text}}", model="claude-sonnet-4-5")
    priced(job)
    assert "Row 2 is longer than Claude Sonnet 4.5 can read" in shown(client_alice, job)


# --- Longest answer -------------------------------------------------------------------------------


@pytest.mark.no_database
def test_the_longest_answer_suits_what_is_asked_for() -> None:
    model = "claude-haiku-5-5"
    one = AnswerKind(COLUMNS, columns=(AnswerColumn("a"),))
    three = AnswerKind(COLUMNS, columns=tuple(map(AnswerColumn, "abc")))
    labels = AnswerKind(LABELS, labels=("a", "b"))
    without = [Recipe("", "", model, 0, kind, "none").longest for kind in (labels, one, three)]
    assert without == sorted(without) and without[0] < without[2]
    efforts = [Recipe("", "", model, 0, labels, effort) for effort in ("none", "low", "", "max")]
    assert [one.longest for one in efforts] == sorted({one.longest for one in efforts})
    assert Recipe("", "", model, 77, labels).longest == 77, "what a person says holds"
    for recipe in efforts:
        low, high = expected_output(recipe)
        assert 0 < low <= high <= recipe.longest


def test_how_much_it_thinks_is_chosen_among_what_the_model_has(
    alice: User, make_job: MakeJob, client_alice: Client
) -> None:
    job = make_job(alice, Job.State.DRAFT)
    answer = client_alice.get(reverse("job", args=[job.pk])).content.decode()
    assert efforts_in(answer) == ["", "none", "low", "medium", "high", "max"]
    assert "Automatic" in answer
    page = save(client_alice, job, model="claude-opus-5-5")
    assert efforts_in(page) == ["", "low", "medium", "high", "max"], "it always thinks"
    page = save(client_alice, job, prompt="Other {{name}}")
    assert "id_effort" not in page, "nobody’s open list is taken away while they choose"
    page = save(client_alice, job, model="claude-haiku-4-5", effort="high")
    assert efforts_in(page) == ["", "high"] and "High (not with this model)" in page
    assert "is not available for this model" in page


def efforts_in(page: str) -> list[str]:
    found = re.search(r'<select[^>]* id="id_effort".*?</select>', page, re.DOTALL)
    assert found
    return re.findall(r'value="(\w*)"', found[0])


# --- What tried rows teach ------------------------------------------------------------------------


def tried(job: Job, tokens: list[int], first: int = 1) -> None:
    """Rows of a draft, from number `first` on, that were tried with its recipe, with answers of so
    many tokens."""
    job.refresh_from_db()
    begin = job.trials.count()
    Trial.objects.bulk_create(
        Trial(
            job=job,
            round=begin + 1,
            number=number,
            cells=[],
            params="{}",
            model=job.recipe.model,
            practice=True,
            state=Trial.State.ANSWERED,
            outcome=Outcome.GOOD,
            output_tokens=count,
            recipe_key=trial_key(job, recipe_of(job)),
        )
        for number, count in enumerate(tokens, start=first)
    )


def test_three_tried_rows_teach_the_estimate(
    alice: User, make_job: MakeJob, client_alice: Client, simulator: Simulator
) -> None:
    rows = [(f"n{number}", "text") for number in range(500)]
    job = make_job(alice, Job.State.DRAFT, rows=rows)
    guess = priced(job)
    tried(job, [100, 104])
    assert priced(job) == guess, "two rows say too little"
    tried(job, [97], first=2)
    assert priced(job) == guess, "a row that was tried twice is one row"
    tried(job, [96], first=3)
    learned = priced(job)
    assert learned.tested == 3
    assert learned.key != guess.key, "the plan that was shown before cannot be confirmed"
    # Three answers that are alike may be so by chance: texts usually lie further apart.
    assert 50 * 500 <= learned.output_low < 95 * 500 < 105 * 500 < learned.output_high <= 200 * 500
    assert learned.high - learned.low < guess.high - guess.low
    assert learned.most == guess.most, "an answer may still be as long as is allowed"
    assert "learned this from the 3 rows that you tested" in shown(client_alice, job)


def test_earlier_jobs_with_the_same_prompt_teach_the_estimate(
    alice: User, make_job: MakeJob, client_alice: Client, drive: Drive, simulator: Simulator
) -> None:
    rows = [(f"n{number}", "text") for number in range(40)]
    first = make_job(alice, Job.State.DRAFT, rows=rows)
    guess = priced(first)
    assert submissions.confirm(first, first.plan_sha256, alice)
    first = drive(first)
    again = make_job(alice, Job.State.DRAFT, rows=[*rows, ("x", "new")], previous=first)
    estimate = priced(again)
    assert (estimate.tested, estimate.earlier) == (0, 40)
    mean = first.tally.output_tokens / 40
    assert estimate.output_low < 41 * mean < estimate.output_high
    assert estimate.high - estimate.low < guess.high - guess.low
    assert "learned this from 40 rows of earlier jobs" in shown(client_alice, again)
    change_job(again, prompt="Another {{name}}.", plan_sha256="")
    assert priced(again).earlier == 0
    Job.objects.filter(pk=first.pk).update(practice=False)
    third = make_job(alice, Job.State.DRAFT, rows=rows, previous=first)
    assert priced(third).earlier == 0, "answers of practice, or real ones, are others"


def test_what_was_tried_with_another_recipe_teaches_nothing(
    alice: User, make_job: MakeJob, simulator: Simulator
) -> None:
    job = make_job(alice, Job.State.DRAFT)
    tried(job, [100, 101, 102])
    assert priced(job).tested == 3
    change_job(job, prompt="Something else about {{name}}.", plan_sha256="")
    assert priced(job).tested == 0


def test_a_change_that_leaves_the_texts_alone_is_not_counted_again(
    alice: User, make_job: MakeJob, simulator: Simulator
) -> None:
    job = make_job(alice, Job.State.DRAFT)
    first = priced(job)
    simulator.faults(count_tokens=[{"kind": "status", "status": 500, "times": 50}])
    tried(job, [100, 101, 102])
    assert priced(job).counted == first.counted > 0
    change_job(job, max_tokens=50, plan_sha256="")
    again = priced(job)
    assert again.counted == first.counted and again.most < first.most
    change_job(job, prompt="Another {{name}}.", plan_sha256="")
    assert priced(job).counted == 0, "this could not be counted"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"prompt": "{{t}} {{t}} {{t}} of"}, {"prompt": "Of {{t}}"}),
        ({"prompt": "{{id}}", "system": "Of {{t}}"}, {"prompt": "{{id}} {{t}}"}),
        ({"prompt": "{{id}} or {{t}}"}, {"prompt": "{{t}} or {{id}}"}),
    ],
    ids=["used less often", "moved", "in another order"],
)
def test_what_was_found_in_the_rows_is_of_the_prompt_as_it_is(
    alice: User,
    make_job: MakeJob,
    simulator: Simulator,
    before: dict[str, str],
    after: dict[str, str],
) -> None:
    rows = [("", "word " * 50 + str(n % 5)) for n in range(50)] + [("a", "y")]
    values = {"columns": ("id", "t"), "rows": rows, "skip_duplicates": True}
    job = make_job(alice, Job.State.DRAFT, **values, **before)
    priced(job)
    change_job(job, **after, plan_sha256="")
    changed = priced(job)
    fresh = priced(make_job(alice, Job.State.DRAFT, **values, **{**before, **after}))
    assert (changed.rows, changed.most) == (fresh.rows, fresh.most)


def test_at_most_holds_when_nothing_could_be_counted(
    alice: User, make_job: MakeJob, simulator: Simulator
) -> None:
    simulator.faults(count_tokens=[{"kind": "status", "status": 500, "times": 500}])
    rows = [(f"n{number}", "text") for number in range(40)]
    values = {"system": LONG, "cached": True, "effort": "none", "max_tokens": 1}
    job = make_job(alice, Job.State.DRAFT, rows=rows, **values)
    estimate = priced(job)
    assert not estimate.counted
    instructions = 40 * round(len(LONG) / 2.5)
    written = pricing.cost_of_tokens(job.recipe.model, 0, 40, written=instructions)
    assert estimate.most > written, "no row may find what is kept"
    rows = [("a", "word " * 60_000), ("b", "x")]
    long = priced(make_job(alice, Job.State.DRAFT, rows=rows, prompt="{{text}}", max_tokens=1))
    above = pricing.cost_of_tokens(job.recipe.model, 110_000, 2, 110_000)
    assert long.most > above, "a long prompt has a price of its own"


def test_what_could_not_be_counted_is_counted_later(
    alice: User, make_job: MakeJob, simulator: Simulator
) -> None:
    job = make_job(alice, Job.State.DRAFT, next_action_at=timezone.now())
    simulator.faults(count_tokens=[{"kind": "status", "status": 500, "times": 500}])
    advance.advance(job.pk)
    job.refresh_from_db()
    estimate = estimates.current(job)
    assert estimate is not None and not estimate.counted and job.plan_sha256
    assert job.next_action_at is not None and job.next_action_at > timezone.now()
    simulator.reset()
    Job.objects.filter(pk=job.pk).update(next_action_at=timezone.now())
    advance.advance(job.pk)
    job.refresh_from_db()
    estimate = estimates.current(job)
    assert estimate is not None and estimate.counted and job.next_action_at is None


def test_what_practice_made_up_teaches_nothing_real(
    alice: User, make_job: MakeJob, simulator: Simulator, settings: Settings
) -> None:
    rows = [(f"n{number}", "text") for number in range(500)]
    job = make_job(alice, Job.State.DRAFT, rows=rows)
    tried(job, [30, 31, 35])
    assert "shorter" in advice(job)
    settings.PRACTICE, settings.ANTHROPIC_API_KEY = False, "sk-ant-test"
    assert priced(job).tested == 0
    assert "shorter" not in advice(job)
    assert not drafts.use_as_example(job, job.trials.all()[0], job.owner)


def test_a_draft_that_cannot_be_sent_is_priced_anew_all_the_same(
    alice: User,
    make_job: MakeJob,
    simulator: Simulator,
    settings: Settings,
    client_alice: Client,
) -> None:
    job = make_job(alice, Job.State.DRAFT, rows=[("a", ""), ("b", "")], prompt="{{text}}")
    assert priced(job).trouble
    settings.PRACTICE, settings.ANTHROPIC_API_KEY = False, "sk-ant-test"
    housekeeping.price_stale_drafts()
    advance.advance(job.pk)
    page = client_alice.get(reverse("price", args=[job.pk]), headers=HX).content.decode()
    assert "All rows are skipped" in page and "Working out" not in page


def test_a_list_of_drafts_takes_few_queries(
    alice: User, make_job: MakeJob, client_alice: Client, django_assert_max_num_queries: Any
) -> None:
    first = make_job(alice)
    for _ in range(20):
        job = make_job(alice, Job.State.DRAFT, previous=first)
        Job.objects.filter(pk=job.pk).update(estimate=first.estimate, plan_sha256="x")
    client_alice.get(reverse("jobs"))  # the first page of a session stores it
    with django_assert_max_num_queries(14):
        client_alice.get(reverse("jobs"))


def test_estimates_of_an_older_version_can_be_read(
    alice: User, make_job: MakeJob, client_alice: Client
) -> None:
    job = make_job(alice, Job.State.WORKING)
    old = {
        **dict.fromkeys(("low", "high", "most", "normal_low", "normal_high"), "1.25"),
        **dict.fromkeys(("input_tokens", "output_low", "output_high", "output_most"), 7),
        "key": "k",
        "rows": 2,
        "counted": 2,
        "trouble": "",
    }
    Job.objects.filter(pk=job.pk).update(estimate=old)
    job.refresh_from_db()
    estimate = estimates.current(job)
    assert estimate is not None and estimate.most == Decimal("1.25")
    assert client_alice.get(reverse("job", args=[job.pk])).status_code == 200
