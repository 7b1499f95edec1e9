"""A few rows of a draft are answered at once: each is sent at most once, and its price is said."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models import F
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from jobs.actions import drafts, submissions, uploads
from jobs.batches import leases
from jobs.drafts import estimates, trials
from jobs.models import Job, Outcome, Row, Trial, recipe_of
from jobs.provider import client as provider
from jobs.provider import errors
from jobs.rules import pricing
from jobs.rules.answer_formats import output_format
from jobs.rules.recipes import EXAMPLES, Recipe, compile_recipe, literal
from jobs.worker import advance

from ..conftest import Simulator, change_job
from ..pages import squeezed

MakeJob = Callable[..., Job]
Drive = Callable[..., Job]
HX = {"HX-Request": "true"}


@pytest.fixture
def draft(alice: User, make_job: MakeJob) -> Job:
    rows = [(f"name {number}", f"[simulate:good] text {number}") for number in range(1, 31)]
    return make_job(alice, Job.State.DRAFT, rows=rows, prompt="Greet {{name}}. {{text}}")


def ask(client: Client, job: Job, **values: object) -> str:
    answer = client.post(reverse("start_trials", args=[job.pk]), values, headers=HX)
    return squeezed(answer.content)


def no_more(job: Job) -> bool:
    return not job.trials.pending().exists()


def part(client: Client, job: Job) -> str:
    answer = client.get(reverse("trials", args=[job.pk]), headers=HX)
    return squeezed(answer.content)


# --- What is asked --------------------------------------------------------------------------------


def test_rows_are_answered_at_once_beside_their_cells(
    draft: Job, client_alice: Client, drive: Drive, simulator: Simulator
) -> None:
    page = ask(client_alice, draft, count=3, which="first")
    assert "Being answered" in page and "hx-get" in page
    assert 'id="step-test" class="is-done" hx-swap-oob="true"' in page
    job = drive(draft, until=no_more)
    trials = list(job.trials.all())
    assert [one.number for one in trials] == [1, 2, 3]
    assert {one.state for one in trials} == {Trial.State.ANSWERED}
    assert {one.outcome for one in trials} == {Outcome.GOOD}
    page = part(client_alice, job)
    assert "name 2" in page and trials[1].answer in page
    assert "hx-trigger" not in page, "there is nothing more to wait for"
    assert job.state == Job.State.DRAFT
    assert not job.rows.exclude(outcome=Outcome.WAITING).exists(), "the rows themselves wait"
    assert simulator.truth()["posts"] == 0, "no batch was sent"


def test_a_try_costs_the_normal_price(
    draft: Job, client_alice: Client, drive: Drive, simulator: Simulator
) -> None:
    ask(client_alice, draft, count=1)
    one = drive(draft, until=no_more).trials.get()
    tokens = one.input_tokens, one.output_tokens
    assert one.cost == pricing.cost_of_tokens("claude-haiku-5-5", *tokens, batch=False)
    assert one.cost > 0
    batch = pricing.cost_of_tokens("claude-haiku-5-5", *tokens)
    assert one.cost == 2 * batch
    job = drive(draft, until=lambda job: estimates.current(job) is not None)
    estimate = estimates.current(job)
    assert estimate is not None
    most = estimate.most / pricing.BATCH / estimate.rows
    assert most >= one.cost * Decimal("0.9")


def test_rows_can_be_chosen(
    draft: Job, client_alice: Client, drive: Drive, simulator: Simulator
) -> None:
    Row.objects.filter(job=draft, number=17).update(outcome=Outcome.LEFT_OUT, problem="Bad.")
    ask(client_alice, draft, numbers="17, 3 ;29 - 30")
    job = drive(draft, until=no_more)
    assert [one.number for one in job.trials.all()] == [3, 29, 30]
    ask(client_alice, draft, count=5, which="random")
    job = drive(draft, until=no_more)
    newest = job.trials.filter(round=2)
    assert len(newest) == 5
    assert 17 not in {one.number for one in newest}
    page = part(client_alice, job)
    assert page.index("<span>Test 2</span>") < page.index("<span>Test 1</span>"), "newest first"
    history = squeezed(client_alice.get(reverse("trials", args=[job.pk])).content)
    newest_first = history.index("Test 2: 5 rows by Claude Haiku 5.5"), history.index("Test 1: 3")
    assert newest_first[0] < newest_first[1]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"count": "21"}, "less than or equal to 20"),
        ({"count": "0"}, "greater than or equal to 1"),
        ({"numbers": "one"}, "commas between"),
        ({"numbers": ",".join(map(str, range(1, 25)))}, "At most 20 rows"),
        ({"numbers": "1-9999999"}, "At most 20 rows"),
        ({"numbers": "1-2-3"}, "commas between"),
        ({"numbers": "3, 4711"}, "There is no row 4,711: your file has 30."),
        ({"count": "3", "which": "odd"}, "valid choice"),
    ],
)
def test_what_cannot_be_tried_is_said(
    draft: Job, client_alice: Client, values: dict[str, str], words: str
) -> None:
    assert words in ask(client_alice, draft, **values)
    assert not Trial.objects.exists()


def test_an_unfinished_prompt_is_not_tried(draft: Job, client_alice: Client) -> None:
    change_job(draft, prompt="Greet {{nmae}}.")
    assert "Finish the prompt first" in ask(client_alice, draft, count=1)
    change_job(draft, prompt="{{name}}")
    Row.objects.filter(job=draft, number=1).update(source='["", ""]')
    assert "empty for these rows" in ask(client_alice, draft, numbers="1")
    assert not Trial.objects.exists()


def test_two_clicks_are_one_try(draft: Job, client_alice: Client, alice: User) -> None:
    rows = list(draft.rows.in_order()[:3])
    assert drafts.start_trials(draft, rows, alice)
    assert "the last test is still running" in ask(client_alice, draft, count=3)
    assert draft.trials.count() == 3


def test_tries_are_kept_side_by_side_with_what_was_asked_then(
    draft: Job, client_alice: Client, drive: Drive, simulator: Simulator
) -> None:
    ask(client_alice, draft, count=2)
    job = drive(draft, until=no_more)
    form = {
        "prompt": "Insult {{name}}.",
        "system": "",
        "model": job.recipe.model,
        "max_tokens": "99",
    }
    client_alice.post(reverse("recipe", args=[job.pk]), form)
    ask(client_alice, job, numbers="1, 2")
    job = drive(job, until=no_more)
    prompts = [json.loads(one.params)["messages"][0]["content"] for one in job.trials.all()]
    assert [text.split()[0] for text in prompts] == ["Insult", "Insult", "Greet", "Greet"]


def test_an_answer_in_columns_is_shown_in_columns(
    draft: Job, client_alice: Client, drive: Drive, simulator: Simulator
) -> None:
    columns = [{"name": "Mood <b>", "kind": "choice", "choices": ["good", "bad"]}]
    kind = {"kind": "columns", "columns": columns}
    change_job(draft, answer=kind)
    ask(client_alice, draft, count=1)
    job = drive(draft, until=no_more)
    assert json.loads(job.trials.get().params)["output_config"]["format"]["type"] == "json_schema"
    answer = client_alice.get(reverse("trials", args=[job.pk]), headers=HX).content.decode()
    assert "Mood &lt;b&gt;" in answer and "<b>" not in answer


# --- What goes wrong ------------------------------------------------------------------------------


def test_what_was_being_sent_when_the_worker_died_is_not_sent_again(
    draft: Job, client_alice: Client, drive: Drive, alice: User, simulator: Simulator
) -> None:
    assert drafts.start_trials(draft, list(draft.rows.in_order()[:2]), alice)
    first = draft.trials.get(number=1)
    assert Trial.objects.try_move(first.pk, Trial.State.WAITING, Trial.State.SENDING)
    sent: list[bytes] = []
    send = provider.create_message
    with pytest.MonkeyPatch.context() as patch:

        def note(params: bytes, seconds: float) -> Any:
            sent.append(params)
            return send(params, seconds)

        patch.setattr(provider, "create_message", note)
        job = drive(draft, until=no_more)
    assert len(sent) == 1
    first.refresh_from_db()
    assert first.state == Trial.State.UNKNOWN
    assert "may have been charged" in part(client_alice, job)


@pytest.mark.parametrize(
    "change", [{"asked_at": timezone.now() - timedelta(minutes=11)}, {"practice": False}]
)
def test_what_waited_too_long_or_was_asked_for_in_practice_costs_no_money_later(
    draft: Job, alice: User, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    """The worker stood still, an old backup was restored, or the site has a key by now."""
    monkeypatch.setattr(provider, "create_message", lambda *_args: pytest.fail("it was sent"))
    assert drafts.start_trials(draft, list(draft.rows.in_order()[:2]), alice)
    draft.trials.update(**change)
    advance.advance(draft.pk)
    assert {one.state for one in draft.trials.all()} == {Trial.State.FAILED}


def test_the_page_of_a_job_that_was_sent_is_loaded_anew(draft: Job, client_alice: Client) -> None:
    Job.objects.filter(pk=draft.pk).update(state=Job.State.WORKING)
    answer = client_alice.get(reverse("trials", args=[draft.pk]), headers=HX)
    assert answer.headers["HX-Refresh"] == "true"


@pytest.mark.parametrize(
    ("error", "state", "words"),
    [
        (
            errors.Refused(400, "invalid_request_error", "Too <b>long</b>", None),
            "failed",
            "Anthropic refused this: Too <b>long</b>",
        ),
        (
            errors.Refused(429, "rate_limit_error", "Slow down", None),
            "failed",
            "Anthropic has no capacity right now. Try again in a minute. (Slow down)",
        ),
        (
            errors.Refused(401, "authentication_error", "invalid x-api-key", None),
            "failed",
            "rejected this site’s API key. An administrator can fix it. (invalid x-api-key)",
        ),
        (
            errors.NotFound(404, "not_found_error", "model: x", None),
            "failed",
            "does not know this model, or this site’s key may not use it. (model: x)",
        ),
        (errors.Unreachable("Anthropic cannot be reached."), "failed", "cannot be reached"),
        (errors.Unclear("The connection broke off."), "unknown", "may have been charged"),
    ],
)
def test_what_was_not_answered_is_said_and_costs_nothing_that_we_know_of(
    draft: Job,
    client_alice: Client,
    alice: User,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    state: str,
    words: str,
) -> None:
    def refuse(params: bytes, seconds: float) -> Any:
        raise error

    monkeypatch.setattr(provider, "create_message", refuse)
    assert drafts.start_trials(draft, list(draft.rows.in_order()[:1]), alice)
    advance.advance(draft.pk)
    one = draft.trials.get()
    assert (one.state, one.cost_pico) == (state, 0)
    assert words in part(client_alice, draft)


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (errors.Refused(400, "invalid_request_error", "Too long", None), 3),
        (errors.Refused(429, "rate_limit_error", "Slow down", None), 1),
        (errors.Refused(402, "billing_error", "No credit", None), 1),
        (errors.Unreachable("Anthropic cannot be reached."), 1),
    ],
)
def test_a_round_ends_when_none_of_its_rows_can_be_answered(
    draft: Job, alice: User, monkeypatch: pytest.MonkeyPatch, error: Exception, asked: int
) -> None:
    sent: list[bytes] = []

    def refuse(params: bytes, seconds: float) -> Any:
        sent.append(params)
        raise error

    monkeypatch.setattr(provider, "create_message", refuse)
    assert drafts.start_trials(draft, list(draft.rows.in_order()[:3]), alice)
    advance.advance(draft.pk)
    assert len(sent) == asked
    assert {one.state for one in draft.trials.all()} == {Trial.State.FAILED}


def test_what_was_to_be_tried_is_not_sent_once_the_job_is(
    draft: Job, alice: User, simulator: Simulator
) -> None:
    estimates.estimate_job(draft)
    draft.refresh_from_db()
    assert drafts.start_trials(draft, list(draft.rows.in_order()[:3]), alice)
    assert submissions.confirm(draft, draft.plan_sha256, alice)
    assert not draft.trials.exists()


def test_a_file_that_is_read_anew_takes_back_what_was_not_asked_yet(
    draft: Job, alice: User
) -> None:
    assert drafts.start_trials(draft, list(draft.rows.in_order()[:2]), alice)
    assert uploads._read_anew(draft)
    assert not draft.trials.exists()
    assert not drafts.start_trials(draft, list(draft.rows.in_order()[:2]), alice)


def test_without_htmx_the_page_itself_answers(draft: Job, client_alice: Client) -> None:
    address = reverse("start_trials", args=[draft.pk])
    answer = client_alice.post(address, {"count": "1"}, follow=True)
    assert "Being answered" in answer.content.decode()
    answer = client_alice.post(address, {"count": "1"}, follow=True)
    assert "the last test is still running" in answer.content.decode()


# --- Kept side by side ----------------------------------------------------------------------------


def answered(client: Client, job: Job, drive: Drive, **values: object) -> Job:
    ask(client, job, **values)
    return drive(job, until=no_more)


def test_two_models_are_compared_on_the_same_rows(
    draft: Job, client_alice: Client, drive: Drive, simulator: Simulator
) -> None:
    labels = {"kind": "labels", "labels": ["good", "bad"]}
    change_job(draft, answer=labels)
    draft.refresh_from_db()
    answered(client_alice, draft, drive, numbers="2, 3, 5")
    change_job(draft, model="claude-opus-5-5", plan_sha256="")
    draft.refresh_from_db()
    job = answered(client_alice, draft, drive, numbers="3, 5, 7")
    job = drive(job, until=lambda job: estimates.current(job) is not None)
    assert reverse("compare", args=[job.pk]) in part(client_alice, job)
    page = squeezed(client_alice.get(reverse("compare", args=[job.pk])).content)
    assert "Test 1: Claude Haiku 5.5" in page and "Test 2: Claude Opus 5.5" in page
    assert page.count("The whole job would cost") == 2
    assert "text 3" in page and "text 5" in page, "in both"
    assert "text 2" not in page and "text 7" not in page
    same = sum(
        one.answer == job.trials.get(round=2, number=one.number).answer
        for one in job.trials.filter(round=1, number__in=[3, 5])
    )
    assert f"{same} of 2 rows" in page
    assert page.count("The same<") == same


def test_an_answer_that_changed_is_marked_and_can_be_marked_down(
    draft: Job, client_alice: Client, client_bob: Client, drive: Drive, simulator: Simulator
) -> None:
    answered(client_alice, draft, drive, numbers="2, 3")
    job = answered(client_alice, draft, drive, numbers="2, 3, 4")
    for number, answer in ((2, "the same"), (3, "another")):
        job.trials.filter(round=1, number=number).update(answer="the same")
        job.trials.filter(round=2, number=number).update(answer=answer)
    assert part(client_alice, job).count("is-different") == 1
    one = job.trials.get(round=2, number=3)
    address = reverse("mark_trial", args=[job.pk, one.pk])
    assert client_bob.post(address, {"down": "yes"}).status_code == 404
    for down in ("yes", "yes", "no"):
        page = squeezed(client_alice.post(address, {"down": down}, headers=HX).content)
        one.refresh_from_db()
        assert one.marked_down == (down == "yes")
        assert ('aria-pressed="true"' in page) == one.marked_down


def test_a_second_model_answers_the_same_rows_at_once(
    draft: Job, client_alice: Client, drive: Drive, simulator: Simulator
) -> None:
    job = answered(client_alice, draft, drive, numbers="2, 3", also="claude-opus-5-5")
    asked = {(one.round, one.number): json.loads(one.params) for one in job.trials.all()}
    assert sorted(asked) == [(1, 2), (1, 3), (2, 2), (2, 3)]
    assert [asked[number, 2]["model"] for number in (1, 2)] == [
        "claude-haiku-5-5",
        "claude-opus-5-5",
    ]
    assert asked[1, 3]["messages"] == asked[2, 3]["messages"]
    assert job.recipe.model == "claude-haiku-5-5", "the draft stays as it is"
    assert reverse("compare", args=[job.pk]) in part(client_alice, job)
    job = answered(client_alice, job, drive, numbers="2", also=job.recipe.model)
    assert job.trials.filter(round__gt=2).count() == 1, "its own model is no second one"
    assert "valid choice" in ask(client_alice, job, numbers="2", also="gpt-4")


def test_answers_in_columns_are_compared_column_by_column(
    draft: Job, client_alice: Client, drive: Drive, simulator: Simulator
) -> None:
    kind = {"kind": "columns", "columns": [{"name": "mood"}, {"name": "stars", "kind": "number"}]}
    change_job(draft, answer=kind)
    job = answered(client_alice, draft, drive, numbers="2, 3", also="claude-opus-5-5")
    assert part(client_alice, job).count('scope="col" class="grid-test"') == 2, "side by side"
    for one in job.trials.all():
        stars = one.number + (one.round == 2 and one.number == 3)
        Trial.objects.filter(pk=one.pk).update(
            outcome=Outcome.GOOD, answer=json.dumps({"mood": "x", "stars": stars})
        )
    page = client_alice.get(reverse("compare", args=[job.pk])).content.decode()
    assert "1 of 2 rows</strong> got the same answer" in page
    assert "mood: the same in 2<" in page and "stars: the same in 1<" in page


@pytest.mark.parametrize("at_random", [False, True])
def test_the_rows_that_are_tried_are_rows_that_are_sent(
    alice: User, make_job: MakeJob, at_random: bool
) -> None:
    rows = [("", "x")] * 300 + [("a", "y")] * 3
    values = {"prompt": "{{name}}: {{text}}", "skip_empty": True}
    job = make_job(alice, Job.State.DRAFT, rows=rows, **values)
    found = trials.choose_rows(job, 3, at_random=at_random)
    assert [row.number for row in found] == [301, 302, 303]


def test_any_rows_are_from_everywhere(alice: User, make_job: MakeJob) -> None:
    job = make_job(alice, Job.State.DRAFT, rows=[("a", str(n)) for n in range(1000)])
    found = [row.number for _ in range(20) for row in trials.choose_rows(job, 5, at_random=True)]
    assert 250 < sum(found) / len(found) < 750


def test_the_second_model_is_waited_for_as_well(
    draft: Job, alice: User, simulator: Simulator
) -> None:
    """Each answer may take minutes; what waits for it was asked for at the same time."""
    assert drafts.start_trials(draft, list(draft.rows.in_order()[:2]), alice, "claude-opus-5-5")
    for _ in range(4):
        lease = leases.claim(draft.pk)
        assert lease is not None and trials.answer_next(draft, lease)
        lease.release(timezone.now())
        draft.trials.update(asked_at=F("asked_at") - timedelta(minutes=6))
    assert {one.state for one in draft.trials.all()} == {Trial.State.ANSWERED}


def test_rows_that_are_not_sent_are_not_tried(
    draft: Job, client_alice: Client, drive: Drive, simulator: Simulator
) -> None:
    change_job(draft, skip_empty=True)
    Row.objects.filter(job=draft, number=1).update(source='["", "x"]')
    job = answered(client_alice, draft, drive, numbers="1, 2")
    assert [one.number for one in job.trials.all()] == [2]


def test_a_try_of_another_file_can_still_be_compared(
    draft: Job, client_alice: Client, drive: Drive, simulator: Simulator
) -> None:
    for _ in range(2):
        answered(client_alice, draft, drive, numbers="2")
    columns = {"columns": ["Name", "text"], "prompt": "Greet {{Name}}. {{text}}"}
    change_job(
        draft, **columns, plan_sha256="", upload_sha256="other", next_action_at=timezone.now()
    )
    job = drive(draft, until=lambda job: estimates.current(job) is not None)
    assert client_alice.get(reverse("compare", args=[job.pk])).status_code == 200
    estimate = estimates.current(job)
    assert estimate is not None and estimate.tested == 0


@pytest.mark.parametrize("query", ["first=1&second=9", "first=x&second=%00", "first=99999999999"])
def test_a_comparison_of_what_is_not_there_is_of_what_is(
    draft: Job, client_alice: Client, drive: Drive, simulator: Simulator, query: str
) -> None:
    job = answered(client_alice, draft, drive, numbers="2")
    address = f"{reverse('compare', args=[job.pk])}?{query}"
    assert client_alice.get(address).headers["Location"] == f"/jobs/{job.pk}/", "nothing to compare"
    answered(client_alice, job, drive, numbers="2")
    page = client_alice.get(address).content.decode()
    assert "Test 1: Claude" in page and "Test 2: Claude" in page


def test_an_earlier_prompt_can_be_used_again(
    draft: Job, client_alice: Client, client_bob: Client, drive: Drive, simulator: Simulator
) -> None:
    before = recipe_of(draft)
    job = answered(client_alice, draft, drive, numbers="2")
    drafts.save_recipe(job, Recipe("Something {{text}}", "Rules", "claude-opus-5-5", 50), job.owner)
    address = reverse("use_trial", args=[job.pk, 1])
    assert client_bob.post(address).status_code == 404
    client_alice.post(address)
    job.refresh_from_db()
    assert recipe_of(job) == before
    change_job(job, prompt="Other", skip_empty=True, skip_duplicates=True)
    client_alice.post(address)
    job.refresh_from_db()
    chosen = replace(before, skip_empty=True, skip_duplicates=True)
    assert recipe_of(job) == chosen, "which rows are sent is no part of it"
    client_alice.post(reverse("use_trial", args=[job.pk, 7]))
    change_job(job, state=Job.State.WORKING, prompt="as sent")
    client_alice.post(address)
    job.refresh_from_db()
    assert job.recipe.prompt == "as sent", "a job that was sent keeps its recipe"


def test_a_good_answer_becomes_an_example_in_the_instructions(
    alice: User,
    make_job: MakeJob,
    client_alice: Client,
    client_bob: Client,
    drive: Drive,
    simulator: Simulator,
) -> None:
    cell = "I {{name}} and \\{{this}} }}"
    job = make_job(alice, Job.State.DRAFT, rows=[("Ann", cell), ("Ben", "b")], prompt="Of {{text}}")
    job = answered(client_alice, job, drive, numbers="1, 2")
    one = job.trials.get(number=1)
    address = reverse("use_example", args=[job.pk, one.pk])
    assert client_bob.post(address).status_code == 404
    page = client_alice.post(address, follow=True).content.decode()
    assert "Row 1 and its answer are now an example" in page
    job.refresh_from_db()
    params = compile_recipe(recipe_of(job), job.columns)(["x", "y"])
    assert params["system"].count(f"<row>\n{cell}\n</row>") == 1, "as it was, not filled"
    assert f"<answer>\n{one.answer}\n</answer>" in params["system"]
    once = job.recipe.system
    client_alice.post(address)
    job.refresh_from_db()
    assert job.recipe.system == once, "not twice"
    Trial.objects.filter(pk=one.pk).update(answer="better")
    client_alice.post(address)
    job.refresh_from_db()
    assert job.recipe.system == once.replace(literal(one.answer), "better"), (
        "in place of the one before"
    )
    client_alice.post(reverse("use_example", args=[job.pk, job.trials.get(number=2).pk]))
    job.refresh_from_db()
    assert job.recipe.system.count("<example>") == 2 and job.recipe.system.startswith(EXAMPLES)
    assert job.recipe.system.count(EXAMPLES) == 1


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        ({"kind": "labels", "labels": ["good", "bad"]}, {"label"}),
        ({"kind": "columns", "columns": [{"name": "Größe"}, {"name": "b"}]}, {"Gr_e", "b"}),
    ],
    ids=["labels", "columns"],
)
def test_an_example_is_written_as_the_answer_has_to_be(
    draft: Job,
    client_alice: Client,
    drive: Drive,
    simulator: Simulator,
    kind: dict[str, Any],
    written: set[str],
) -> None:
    change_job(draft, answer=kind)
    job = answered(client_alice, draft, drive, numbers="2")
    client_alice.post(reverse("use_example", args=[job.pk, job.trials.get().pk]))
    job.refresh_from_db()
    [answer] = re.findall(r"<answer>\n(.*?)\n</answer>", job.recipe.system, re.DOTALL)
    assert json.loads(answer).keys() == written
    wanted = (output_format(recipe_of(job).answer) or {})["schema"]["properties"]
    assert wanted.keys() == written


def test_only_a_good_answer_becomes_an_example(
    draft: Job, client_alice: Client, drive: Drive, simulator: Simulator
) -> None:
    Row.objects.filter(job=draft, number=1).update(source='["a", "[simulate:refusal]"]')
    job = answered(client_alice, draft, drive, numbers="1")
    assert "use as an example" not in part(client_alice, job)
    client_alice.post(reverse("use_example", args=[job.pk, job.trials.get().pk]))
    job.refresh_from_db()
    assert job.recipe.system == ""


def test_what_waited_when_the_database_was_backed_up_is_not_sent_when_it_comes_back(
    draft: Job, client_alice: Client, drive: Drive, simulator: Simulator
) -> None:
    """It was probably sent since, and counts as charged."""
    ask(client_alice, draft, count=3, which="first")
    trials.settle_restored()
    job = drive(draft, until=lambda job: estimates.current(job) is not None)
    assert {one.state for one in job.trials.all()} == {Trial.State.UNKNOWN}
    assert "may have been charged" in part(client_alice, job)
