"""A draft in the browser: what was read, the recipe, the preview, the price, the confirmation."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from jobs.drafts import estimates
from jobs.models import FileProblem, Job, JobEvent, Outcome
from jobs.provider import client as provider
from jobs.provider import errors
from jobs.rules.price_estimates import Estimate
from jobs.web.templatetags.show import at_most
from jobs.worker import advance

from ..pages import squeezed, unmarked

MakeJob = Callable[..., Job]
HX = {"HX-Request": "true"}
RECIPE = {"prompt": "Greet {{name}}.", "system": "", "model": "claude-haiku-5-5", "max_tokens": 64}
READY_MADE = {
    "custom_id": "a-1",
    "params": {
        "model": "claude-sonnet-5-5",
        "max_tokens": 300,
        "system": "Be brief.",
        "messages": [{"role": "user", "content": "Say hello."}],
    },
}


def text(client: Client, path: str, **options: Any) -> str:
    """The page as it is read, without the marks of HTML for quotes."""
    answer = client.get(path, **options)
    assert answer.status_code == 200
    return squeezed(answer.content)


def with_price(job: Job, most: str = "3.10", counted: int = 2, trouble: str = "") -> Job:
    """Give a draft the price that the worker would have worked out."""
    estimate = Estimate(
        key=estimates.key_of(job),
        low=Decimal("1.40"),
        high=Decimal("1.90"),
        most=Decimal(most),
        normal_low=Decimal("2.80"),
        normal_high=Decimal("3.80"),
        input_tokens=240_000,
        output_low=3_000,
        output_high=9_000,
        output_most=12_000,
        rows=job.sendable_count,
        counted=counted,
        trouble=trouble,
    )
    job.estimate = estimate
    job.plan_sha256 = "" if estimate.trouble else estimates.plan_of(job, estimate)
    job.save(update_fields=["estimate", "plan_sha256"])
    return job


@pytest.fixture
def draft(make_job: MakeJob, alice: User) -> Job:
    return make_job(alice, Job.State.DRAFT)


# --- What was read --------------------------------------------------------------------------------


def test_the_draft_says_what_was_read(draft: Job, client_alice: Client) -> None:
    page = text(client_alice, f"/jobs/{draft.pk}/")
    assert "2 rows, 2 columns" in page
    assert "CSV, commas, UTF-8" in page
    assert "likes it" in page  # the first rows
    assert 'data-insert="{{name}}"' in page and 'data-insert="{{text}}"' in page


def test_problems_are_shown_with_their_lines(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    rows = [("a", "b")] * 30
    left_out = {"outcome": Outcome.LEFT_OUT, "cause": "left_out", "problem": "No cells."}
    job = make_job(
        alice,
        Job.State.DRAFT,
        rows=rows,
        outcomes=[left_out] * 25 + ["waiting"] * 5,
    )
    FileProblem.objects.create(
        job=job,
        kind="few_cells",
        count=25,
        lines=list(range(2, 22)),
        texts=[f"Wrong in way {number}." for number in range(20)],
        leaves_out=True,
    )

    page = text(client_alice, f"/jobs/{job.pk}/")

    assert "25 rows will be skipped" in page and ">5 rows<" in page
    assert "These rows have too few cells." in page
    assert "Line 2<" in page and "Wrong in way 19." in page
    assert "the first 20 of 25" in page
    assert "Fill them with empty cells" in page
    assert reverse("download", args=[job.pk, "problems"]) in page


# --- The recipe and its preview -------------------------------------------------------------------


def test_what_is_typed_is_saved_and_shown(draft: Job, client_alice: Client) -> None:
    answer = client_alice.post(
        reverse("recipe", args=[draft.pk]),
        {
            **RECIPE,
            "prompt": "Greet {{name}}.\r\nKindly.",
            "system": "You are {{text}}.",
            "row": "2",
        },
        headers=HX,
    )

    part = squeezed(answer.content)
    assert "<html" not in part
    assert "Greet Ben.\nKindly." in unmarked(part) and "You are does not." in unmarked(part)
    assert "Working out the price" in part and "data-poll" in part
    draft.refresh_from_db()
    assert (draft.recipe.prompt, draft.recipe.max_tokens) == ("Greet {{name}}.\nKindly.", 64)


def test_without_scripts_the_recipe_is_a_form(draft: Job, client_alice: Client) -> None:
    address = reverse("recipe", args=[draft.pk])

    answer = client_alice.post(address, {**RECIPE, "show": "2"})
    assert answer.headers["Location"] == f"/jobs/{draft.pk}/?row=2#preview"
    assert "Greet Ben." in unmarked(text(client_alice, f"/jobs/{draft.pk}/?row=2"))

    answer = client_alice.post(address, {**RECIPE, "go": "yes"})
    assert answer.headers["Location"] == reverse("confirm", args=[draft.pk])


@pytest.mark.parametrize("number", ["0", "-1", "99", "x", "", "9" * 30, "²"])
def test_a_row_that_is_none_shows_one_that_is(
    draft: Job, client_alice: Client, number: str
) -> None:
    assert client_alice.get(f"/jobs/{draft.pk}/", {"row": number}).status_code == 200


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("Say {{nmae}}", "Your file has no column “nmae”. Did you mean {{name}}?"),
        ("Say {{name", "is not closed"),
    ],
)
def test_a_prompt_that_cannot_be_sent_says_why(
    draft: Job, client_alice: Client, prompt: str, words: str
) -> None:
    answer = client_alice.post(
        reverse("recipe", args=[draft.pk]), {**RECIPE, "prompt": prompt}, headers=HX
    )

    part = squeezed(answer.content)
    assert words in part and "disabled" in part and "data-poll" not in part
    draft.refresh_from_db()
    assert draft.recipe.prompt == prompt  # half-written, and kept


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"max_tokens": "long"}, "must be a whole number of tokens"),
        ({"max_tokens": "0"}, "must be at least 1 token"),
        ({"max_tokens": "999999999"}, "Claude Haiku 5.5 writes at most 128,000 tokens"),
        ({"model": "gpt-4"}, "gpt-4 is not one of the available choices"),
        ({"prompt": "a\0b"}, "Null characters are not allowed"),
    ],
)
@pytest.mark.parametrize("headers", [{}, HX])
def test_what_is_impossible_is_not_saved_and_the_texts_beside_it_are(
    draft: Job,
    client_alice: Client,
    change: dict[str, str],
    words: str,
    headers: dict[str, str],
) -> None:
    answer = client_alice.post(
        reverse("recipe", args=[draft.pk]), {**RECIPE, **change}, headers=headers
    )

    assert answer.status_code == (200 if headers else 422)
    assert words in squeezed(answer.content)
    before, prompt = (draft.recipe.model, draft.recipe.max_tokens), draft.recipe.prompt
    draft.refresh_from_db()
    if "prompt" in change:
        assert draft.recipe.prompt == prompt
    else:
        assert draft.recipe.prompt == RECIPE["prompt"]
        assert (draft.recipe.model, draft.recipe.max_tokens) == before
    # No poll of the price, whose answer would take the note away and let the person go on.
    assert "/price/" not in answer.content.decode()


def test_models_that_cannot_be_used_are_not_offered(draft: Job, client_alice: Client) -> None:
    page = text(client_alice, f"/jobs/{draft.pk}/")
    assert "Claude Haiku 5.5" in page and "Fast and cheap" in page
    assert "Mythos" not in page and "Opus 4.1" not in page
    assert re.search(r'name="model" value="claude-haiku-5-5" checked>', page)


def test_the_step_of_the_prompt_follows_what_is_written(
    make_job: MakeJob, client_alice: Client, alice: User
) -> None:
    draft = make_job(alice, Job.State.DRAFT, rows=[("Ada",)], columns=["name"], prompt="")
    for prompt, mark in (("Greet {{name}}.", ' class="is-done"'), ("", "")):
        values = {**RECIPE, "prompt": prompt}
        answer = client_alice.post(f"/jobs/{draft.pk}/recipe/", values, headers=HX)
        assert f'id="step-prompt"{mark} hx-swap-oob="true"' in squeezed(answer.content)


def test_a_job_that_was_sent_keeps_its_recipe(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    job = make_job(alice, Job.State.WORKING, prompt="as it was")
    address = reverse("recipe", args=[job.pk])

    assert client_alice.post(address, RECIPE).headers["Location"] == f"/jobs/{job.pk}/"
    answer = client_alice.post(address, RECIPE, headers=HX)

    assert answer.headers["HX-Redirect"] == f"/jobs/{job.pk}/"
    job.refresh_from_db()
    assert job.recipe.prompt == "as it was"


def test_ready_made_requests_are_shown_as_they_are(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    job = make_job(alice, Job.State.DRAFT, rows=[READY_MADE, {**READY_MADE, "custom_id": "a-2"}])

    page = text(client_alice, f"/jobs/{job.pk}/?row=2")

    assert "Claude Sonnet 5.5" in page and "300 tokens" in page
    assert "Say hello." in page and "Be brief." in page
    assert 'id="id_prompt"' not in page
    before = job.recipe.prompt
    client_alice.post(reverse("recipe", args=[job.pk]), RECIPE)
    job.refresh_from_db()
    assert job.recipe.prompt == before


# --- The price ------------------------------------------------------------------------------------


def test_the_price_comes_by_itself(draft: Job, client_alice: Client) -> None:
    address = reverse("price", args=[draft.pk])
    waiting = text(client_alice, address, headers=HX)
    assert (
        "Working out the price" in waiting
        and "data-poll" in waiting
        and f'hx-get="{address}"' in waiting
    )
    assert "disabled" in waiting

    with_price(draft)
    priced = text(client_alice, address, headers=HX)

    assert "about $1.65" in priced and "at most $3.10" in priced and "about $3.30" in priced
    assert "Anthropic counted 2 rows." in priced
    assert "data-poll" not in priced and "disabled" not in priced


def test_the_test_button_says_what_a_test_costs(
    draft: Job, client_alice: Client, settings: Settings
) -> None:
    settings.PRACTICE = False
    with_price(draft)
    page = text(client_alice, f"/jobs/{draft.pk}/")
    button = page[page.index('id="test-button"') :].partition("</button>")[0]
    assert "Test 2 rows" in button and "about $3.30" in button, "twice the batch price"


def test_a_price_from_lengths_alone_says_so(draft: Job, client_alice: Client) -> None:
    with_price(draft, counted=0)
    assert "estimate this from the length of the text" in text(client_alice, f"/jobs/{draft.pk}/")


def test_without_a_price_there_is_no_way_on(draft: Job, client_alice: Client) -> None:
    with_price(draft, trouble="There is no price for the model “x”. Choose another model.")

    page = text(client_alice, f"/jobs/{draft.pk}/")

    assert "There is no price for the model “x”" in page
    assert re.search(r'name="go"[^>]* disabled', page)
    assert client_alice.get(reverse("confirm", args=[draft.pk])).status_code == 302


def test_ready_made_requests_without_a_price_say_which_and_lead_on(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    job = make_job(alice, Job.State.DRAFT, rows=[READY_MADE])
    numbers = {"rows": 1, "bytes": 9, "max_tokens_sum": 5, "max_tokens_most": 5}
    facts = {"gpt-4o": numbers, "claude-haiku-5-5": numbers}
    job.reading = msgspec.structs.replace(job.reading, models=facts)
    job.save(update_fields=["reading"])
    with_price(job, trouble="There is no price for the model “gpt-4o”.")

    page = text(client_alice, f"/jobs/{job.pk}/")

    assert re.search(r"gpt-4o <span[^>]*>No price known</span>", page)
    assert page.count("No price known") == 1
    assert "Upload a corrected file" in page


def test_going_back_to_an_earlier_recipe_brings_its_price_back(
    draft: Job, client_alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody_counts(_requests: object) -> list[int]:
        raise errors.ProviderError("not in this test")

    monkeypatch.setattr(provider, "count_tokens", nobody_counts)
    address = reverse("recipe", args=[draft.pk])
    for prompt in ("Greet {{name}}.", "Greet {{name}}!", "Greet {{name}}."):
        client_alice.post(address, {**RECIPE, "prompt": prompt}, headers=HX)
        if prompt.endswith("."):
            advance.advance(draft.pk)

    part = text(client_alice, reverse("price", args=[draft.pk]), headers=HX)

    assert "at most" in part and "disabled" not in part


def test_the_price_of_an_older_recipe_is_not_shown(draft: Job, client_alice: Client) -> None:
    with_price(draft)
    client_alice.post(reverse("recipe", args=[draft.pk]), RECIPE, headers=HX)
    page = text(client_alice, f"/jobs/{draft.pk}/")
    assert "$1.65" not in page and "Working out the price" in page


# --- The confirmation -----------------------------------------------------------------------------


def test_the_confirmation_shows_what_is_sent_and_the_sums(
    draft: Job, client_alice: Client, settings: Settings
) -> None:
    settings.PRACTICE = False
    with_price(draft)

    page = text(client_alice, reverse("confirm", args=[draft.pk]))

    assert "Submit 2 rows – at most $3.10" in page and "This costs money" in page
    assert "Claude Haiku 5.5" in page and ">3,072<" in page and draft.recipe.prompt in page
    assert draft.plan_sha256 in page


def test_practice_is_no_submission(draft: Job, client_alice: Client, settings: Settings) -> None:
    settings.PRACTICE = True
    page = text(client_alice, reverse("confirm", args=[with_price(draft).pk]))
    assert "Practice with 2 rows – no charge" in page and "Submit 2 rows" not in page


def test_a_confirmed_job_is_sent_once(draft: Job, client_alice: Client) -> None:
    address = reverse("confirm", args=[with_price(draft).pk])
    values = {"plan_sha256": draft.plan_sha256}

    first = client_alice.post(address, values)
    second = client_alice.post(address, values, follow=True)

    assert first.headers["Location"] == f"/jobs/{draft.pk}/"
    assert "It was not submitted again" in second.content.decode()
    draft.refresh_from_db()
    assert draft.state == Job.State.SUBMITTING
    assert JobEvent.objects.filter(job=draft, text__startswith="Submitted").count() == 1
    assert client_alice.get(address).headers["Location"] == f"/jobs/{draft.pk}/"


def test_only_the_plan_that_was_shown_is_confirmed(draft: Job, client_alice: Client) -> None:
    shown = with_price(draft).plan_sha256
    with_price(draft, most="99.00")

    answer = client_alice.post(
        reverse("confirm", args=[draft.pk]), {"plan_sha256": shown}, follow=True
    )

    assert "has changed since you looked" in answer.content.decode()
    assert "$99.00" in answer.content.decode()
    draft.refresh_from_db()
    assert draft.state == Job.State.DRAFT


@pytest.mark.parametrize("plan", ["", "x" * 64, "a\0b"])
def test_no_plan_is_no_confirmation(draft: Job, client_alice: Client, plan: str) -> None:
    client_alice.post(reverse("confirm", args=[draft.pk]), {"plan_sha256": plan})
    draft.refresh_from_db()
    assert draft.state == Job.State.DRAFT


def test_without_a_price_yet_the_confirmation_waits(draft: Job, client_alice: Client) -> None:
    page = text(client_alice, reverse("confirm", args=[draft.pk]))
    assert "working out the price" in page and 'http-equiv="refresh"' in page
    assert "plan_sha256" not in page


def test_an_unfinished_prompt_leads_back(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    job = make_job(alice, Job.State.DRAFT, prompt="")
    answer = client_alice.get(reverse("confirm", args=[job.pk]), follow=True)
    assert answer.redirect_chain[-1][0] == f"/jobs/{job.pk}/"
    assert "Finish the prompt first" in answer.content.decode()


def test_a_most_is_never_rounded_down() -> None:
    assert at_most(Decimal("3.102")) == "at most $3.11"
    assert at_most(Decimal("3.10")) == "at most $3.10"
    assert at_most(Decimal("0.004")) == "at most $0.01"


@pytest.mark.parametrize("prompt", ["Greet {{name}}.", ""])
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("kind", Job.Kind)
def test_what_a_price_changes_elsewhere_is_on_the_page(
    make_job: MakeJob, alice: User, client_alice: Client, kind: str, rows: int, prompt: str
) -> None:
    is_table = kind == Job.Kind.TABLE
    if is_table:
        job = make_job(alice, Job.State.DRAFT, ["name"], [["Ann"]] * rows, prompt=prompt)
    else:
        job = make_job(alice, Job.State.DRAFT, rows=[READY_MADE] * rows)
    with_price(job)
    page = client_alice.get(f"/jobs/{job.pk}/").content.decode()

    answer = client_alice.get(f"/jobs/{job.pk}/price/", headers=HX).content.decode()

    swapped = re.findall(r'id="([\w-]+)"(?=[^>]*hx-swap-oob)', answer)
    assert [one for one in swapped if f'id="{one}"' not in page] == []
    assert {"step-submit", "known-rows"} <= set(swapped) and ("step-test" in swapped) == is_table
