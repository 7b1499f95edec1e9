"""Labels and columns are asked for within what the API takes, and an answer that does not fit is
not good."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from jobs.actions import submissions
from jobs.drafts import estimates
from jobs.ingest.request_reader import RequestReader
from jobs.ingest.shapes import Limits
from jobs.models import Job, Outcome, recipe_of
from jobs.results import table
from jobs.rules import pricing
from jobs.rules.answer_formats import (
    COLUMNS,
    FREE_TEXT,
    LABELS,
    AnswerColumn,
    AnswerKind,
    DoesNotFit,
    as_answer,
    as_cell,
    kind_problems,
    output_format,
    read_answer,
    stored_values,
)
from jobs.rules.judging import judge_result
from jobs.rules.model_capabilities import EFFORTS, efforts_of
from jobs.rules.recipes import Recipe, compile_recipe
from jobs.rules.result_lines import read_line
from jobs.simulator.checks import check_message
from jobs.simulator.schemas import read_schema
from jobs.simulator.wire import decode_params

from ..conftest import Simulator
from ..environment import ROOT

MakeJob = Callable[..., Job]
MOODS = AnswerKind(LABELS, labels=("positive", "negative", "mixed"))
FIELDS = AnswerKind(
    COLUMNS,
    columns=(
        AnswerColumn("Product"),
        AnswerColumn("Price in €", "number", required=False),
        AnswerColumn("Complaint?", "yes_no"),
        AnswerColumn("Mood", "choice", ("good", "bad"), "how the writer feels"),
        AnswerColumn("Größe", "list"),
    ),
)
GOOD = {
    "Product": "Kettle",
    "Price_in": 12.5,
    "Complaint": True,
    "Mood": "good",
    "Gr_e": ["S", "M"],
}


# --- What is asked for ----------------------------------------------------------------------------


@pytest.mark.no_database
@pytest.mark.parametrize("kind", [MOODS, FIELDS])
def test_the_schema_is_within_what_the_api_takes(kind: AnswerKind) -> None:
    found = output_format(kind)
    assert found and found["type"] == "json_schema"
    schema = found["schema"]
    read_schema(json.dumps(schema).encode())  # raises for what the API would refuse
    assert schema["additionalProperties"] is False
    assert set(schema["required"]) <= set(schema["properties"])


@pytest.mark.no_database
def test_columns_are_told_by_name_and_description() -> None:
    schema = (output_format(FIELDS) or {})["schema"]
    assert list(schema["properties"]) == list(GOOD)
    assert schema["properties"]["Mood"] == {
        "type": "string",
        "enum": ["good", "bad"],
        "description": "Mood: how the writer feels",
    }
    assert schema["required"] == ["Product", "Complaint", "Mood", "Gr_e"]


@pytest.mark.no_database
def test_half_a_letter_in_an_answer_can_be_stored() -> None:
    values = read_answer(FIELDS, json.dumps({**GOOD, "Product": "a\ud800", "Gr_e": ["\udfff"]}))
    assert (values["Product"], values["Größe"]) == ("a?", ["?"])


@pytest.mark.no_database
def test_names_that_are_alike_in_plain_letters_get_keys_of_their_own() -> None:
    kind = AnswerKind(
        COLUMNS,
        columns=tuple(map(AnswerColumn, ("ä", "ö", "a b", "a-b", "a_b_4", "a.b_4"))),
    )
    schema = (output_format(kind) or {})["schema"]
    assert len(schema["properties"]) == 6


@pytest.mark.no_database
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (AnswerKind(LABELS, labels=("one",)), "at least two"),
        (AnswerKind(LABELS, labels=("a", "b", "a")), "“a” appears twice"),
        (AnswerKind(LABELS, labels=tuple(map(str, range(201)))), "the limit is 200"),
        (AnswerKind(LABELS, labels=("a", "b\x00")), "contains an invisible character"),
        (AnswerKind(LABELS, labels=("a", "\ud800")), "invisible character"),
        (AnswerKind(COLUMNS, columns=(AnswerColumn("a", description="x\x07"),)), "invisible"),
        (AnswerKind(COLUMNS), "at least one column"),
        (AnswerKind(COLUMNS, columns=(AnswerColumn(" "),)), "column 1 needs a name"),
        (AnswerKind(COLUMNS, columns=(AnswerColumn("a"), AnswerColumn("A"))), "called “A”"),
        (AnswerKind(COLUMNS, columns=(AnswerColumn("a", "choice"),)), "at least two"),
        (AnswerKind(COLUMNS, columns=(AnswerColumn("a", "odd"),)), "unknown type"),
        (
            AnswerKind(
                COLUMNS, columns=tuple(AnswerColumn(str(n), required=False) for n in range(25))
            ),
            "At most 24 columns can be optional",
        ),
    ],
)
def test_what_cannot_be_asked_for_is_said(kind: AnswerKind, words: str) -> None:
    assert any(words in problem for problem in kind_problems(kind))
    assert not kind_problems(MOODS) + kind_problems(FIELDS) + kind_problems(AnswerKind())


@pytest.mark.no_database
@pytest.mark.parametrize("kind", [FREE_TEXT, MOODS, FIELDS], ids=lambda kind: kind.kind)
@pytest.mark.parametrize("model", pricing.priced_models(), ids=lambda model: model.id)
def test_a_request_has_nothing_that_its_model_refuses(
    model: pricing.PricedModel, kind: AnswerKind
) -> None:
    retired = model.status == "retired"
    assert (model in pricing.choosable_models()) == (not retired and not model.limited)
    for effort in EFFORTS:
        recipe = Recipe("Say {{a}}", "Be brief.", model.id, 0, kind, effort, cached=True)
        params = compile_recipe(recipe, ["a"])(["x"])
        request = {"custom_id": "1", "params": params}
        line = RequestReader((), Limits()).line(1, json.dumps(request), request)
        assert (line.problem.kind if line.problem else "") == ("req_retired" if retired else "")
        if not retired:  # the simulator has a table of its own
            check_message(decode_params(Raw(json.dumps(params).encode())), in_batch=True)


@pytest.mark.no_database
def test_every_published_model_is_among_these() -> None:
    published = json.loads((ROOT / "tests" / "data" / "prices.json").read_text())["models"]
    known = {name for model in pricing.priced_models() for name in (model.id, *model.aliases)}
    ids = {name for entry in published for name in entry["ids"]}
    assert ids - known == {"claude-mythos-preview"}, "it has no price in a batch"
    params = compile_recipe(
        Recipe("{{a}}", "", "claude-mythos-preview", 9, FREE_TEXT, "high"), ["a"]
    )
    assert set(params(["x"])) == {"model", "max_tokens", "messages"}, "what every model takes"


@pytest.mark.no_database
@pytest.mark.parametrize(
    ("model", "effort", "thinking", "level"),
    [
        ("claude-haiku-5-5", "", None, None),
        ("claude-haiku-5-5", "none", "disabled", None),
        ("claude-haiku-5-5", "max", None, "max"),
        ("claude-sonnet-5-5", "none", "between_tools", None),
        ("claude-opus-5-5", "none", None, None),  # it always thinks
        ("claude-opus-4-8", "none", None, None),  # it does not by itself
        ("claude-opus-4-8", "low", "adaptive", "low"),
        ("claude-opus-4-5", "high", None, None),  # it has no choice of how much
        ("claude-opus-4-5", "max", None, None),
        ("claude-haiku-4-5", "low", None, None),
        ("claude-unheard-of", "low", None, None),
    ],
)
def test_how_much_it_thinks_is_said_in_the_words_of_each_model(
    model: str, effort: str, thinking: str | None, level: str | None
) -> None:
    params = compile_recipe(Recipe("{{a}}", "", model, effort=effort), ["a"])(["x"])
    assert params.get("thinking") == (thinking and {"type": thinking})
    assert params.get("output_config") == (level and {"effort": level})
    assert (effort in efforts_of(model)) == bool(thinking or level or not effort)


# --- What comes back ------------------------------------------------------------------------------


@pytest.mark.no_database
def test_an_answer_that_fits_is_taken_apart() -> None:
    values = read_answer(FIELDS, json.dumps(GOOD))
    assert values == {
        "Product": "Kettle",
        "Price in €": 12.5,
        "Complaint?": True,
        "Mood": "good",
        "Größe": ["S", "M"],
    }
    assert [as_cell(value) for value in values.values()] == [
        "Kettle",
        "12.5",
        "yes",
        "good",
        "S; M",
    ]
    assert stored_values(as_answer(FIELDS, values)) == values
    assert as_answer(MOODS, read_answer(MOODS, '{"label": "mixed"}')) == "mixed"
    assert read_answer(FIELDS, json.dumps({**GOOD, "Price_in": None}))["Price in €"] is None


@pytest.mark.no_database
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Sure! {}", "not JSON"),
        ('{"Product": "Ket', "not JSON"),
        ("[1]", "not an object"),
        ("{}", "no value for “Product”"),
        (json.dumps({**GOOD, "Price_in": "12"}), '“Price in €” is "12"'),
        (json.dumps({**GOOD, "Price_in": True}), "should be: number"),
        (json.dumps({**GOOD, "Complaint": "yes"}), "“Complaint?”"),
        (json.dumps({**GOOD, "Mood": "fine"}), '“Mood” is "fine"'),
        (json.dumps({**GOOD, "Gr_e": [1]}), "“Größe”"),
        (json.dumps({**GOOD, "more": 1}), "“more”, which is not part of the format"),
        (json.dumps(GOOD).replace("12.5", "NaN"), "not JSON"),
        (json.dumps(GOOD).replace("12.5", "1e999"), "should be: number"),
        ("[" * 100_000, "not JSON"),
        ('{"Product": "a", "Product": "b"}', "not JSON"),
        (json.dumps({**GOOD, "Product": {"a": []}}), "“Product” is a list or more"),
        (json.dumps({**GOOD, "\ud800": 1}), "“?”, which is not part of the format"),
    ],
)
def test_an_answer_that_does_not_fit_is_said_to(text: str, words: str) -> None:
    with pytest.raises(DoesNotFit) as raised:
        read_answer(FIELDS, text)
    assert words in str(raised.value)


@pytest.mark.no_database
@given(
    st.text()
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(list(GOOD)), inner),
    ).map(json.dumps)
)
def test_any_answer_is_judged(text: str) -> None:
    for kind in (MOODS, FIELDS):
        try:
            values = read_answer(kind, text)
        except DoesNotFit as error:
            assert str(error)
        else:
            assert as_answer(kind, values)


@pytest.mark.no_database
@pytest.mark.parametrize(
    ("content", "stop_reason", "outcome", "cause"),
    [
        ([{"type": "text", "text": '{"label": "mixed"}'}], "end_turn", Outcome.GOOD, ""),
        (
            [
                {"type": "thinking", "thinking": "", "signature": "x"},
                {"type": "text", "text": '{"label": "mixed"}'},
            ],
            "end_turn",
            Outcome.GOOD,
            "",
        ),
        ([{"type": "text", "text": '{"label": "odd"}'}], "end_turn", Outcome.LOOK, "not_in_form"),
        ([{"type": "text", "text": "mixed"}], "end_turn", Outcome.LOOK, "not_in_form"),
        ([{"type": "text", "text": '{"label": "mi'}], "max_tokens", Outcome.LOOK, "cut_off"),
        ([], "refusal", Outcome.LOOK, "refused"),
        ([{"type": "thinking", "thinking": ""}], "end_turn", Outcome.LOOK, "empty"),
    ],
)
def test_an_answer_is_good_when_it_fits(
    content: list[Any], stop_reason: str, outcome: str, cause: str
) -> None:
    message = {"model": "claude-haiku-5-5", "content": content, "stop_reason": stop_reason}
    line = {"custom_id": "x-1", "result": {"type": "succeeded", "message": message}}
    judged = judge_result(read_line(json.dumps(line).encode()).result, MOODS)
    assert (judged.outcome, judged.cause) == (outcome, cause)
    assert judged.answer == "mixed" or outcome != Outcome.GOOD


# --- From the page to the file --------------------------------------------------------------------

FORM = {
    "prompt": "What does {{text}} say?",
    "system": "",
    "model": "claude-haiku-5-5",
    "max_tokens": "2000",
}


def rows_of(chunks: Any) -> list[dict[str, str]]:
    text = b"".join(chunks).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def finished(job: Job, drive: Callable[..., Job]) -> Job:
    job = drive(job, until=lambda job: estimates.current(job) is not None)
    assert submissions.confirm(job, job.plan_sha256, job.owner)
    return drive(job)


def test_columns_of_a_thousand_rows_come_back_typed(
    alice: User, client_alice: Client, make_job: MakeJob, drive: Any, start_simulator: Any
) -> None:
    start_simulator(seconds=0, failures="life")
    rows = [(f"name {number}", f"text {number}") for number in range(1_000)]
    job = make_job(alice, Job.State.DRAFT, rows=rows)
    columns = {
        "column_name": ["Mood", "stars", "urgent", "name", ""],
        "column_kind": ["choice", "number", "yes_no", "list", "text"],
        "column_choices": ["good\r\nbad", "", "", "", ""],
        "column_description": ["", "1 to 5", "", "", ""],
        "column_required": ["yes", "yes", "yes", "no", "yes"],
    }
    answer = client_alice.post(
        reverse("recipe", args=[job.pk]), {**FORM, "answer_kind": "columns", **columns}
    )
    assert answer.status_code == 302
    job = finished(Job.objects.get(pk=job.pk), drive)
    good = {row.number for row in job.rows.filter(outcome=Outcome.GOOD)}
    assert 700 < len(good) < 1_000, "some fail, and no good one is out of form"
    found = rows_of(table.csv_chunks(job))
    assert len(found) == 1_000
    assert list(found[0])[:7] == ["name", "text", "Mood", "stars", "urgent", "name_2", "answer"]
    for number, row in enumerate(found, start=1):
        assert row["name"] == f"name {number - 1}"
        if number in good:
            assert row["Mood"] in ("good", "bad") and row["urgent"] in ("yes", "no")
            assert float(row["stars"]) is not None
            assert row["answer"] == ""
        else:
            assert (row["Mood"], row["stars"], row["name_2"]) == ("", "", "")
    lines = [json.loads(line) for line in b"".join(table.jsonl_chunks(job)).splitlines()]
    typed = lines[min(good) - 1]["answer"]
    assert isinstance(typed["stars"], int | float) and isinstance(typed["urgent"], bool)
    page = client_alice.get(reverse("rows", args=[job.pk]) + "?outcome=good").content.decode()
    assert '<th scope="col" dir="auto">stars</th>' in page
    page = client_alice.get(reverse("row", args=[job.pk, min(good)])).content.decode()
    assert "urgent" in page and '<pre class="text-block answer"' not in page


def test_labels_are_the_answers(
    alice: User, client_alice: Client, make_job: MakeJob, drive: Any, simulator: Simulator
) -> None:
    job = make_job(alice, Job.State.DRAFT)
    form = {**FORM, "answer_kind": "labels", "labels": "positive\r\nnegative\n\n mixed "}
    client_alice.post(reverse("recipe", args=[job.pk]), form)
    job.refresh_from_db()
    assert recipe_of(job).answer == MOODS
    page = client_alice.get(reverse("job", args=[job.pk])).content.decode()
    assert "positive\nnegative\nmixed</textarea>" in page
    job = drive(job, until=lambda job: estimates.current(job) is not None)
    page = client_alice.get(reverse("confirm", args=[job.pk])).content.decode()
    assert "One of: positive, negative, mixed" in page
    job = finished(job, drive)
    assert {row["answer"] for row in rows_of(table.csv_chunks(job))} <= set(MOODS.labels)
    assert job.good_count == job.row_count


def test_a_kind_that_is_not_complete_cannot_be_confirmed(
    alice: User, client_alice: Client, make_job: MakeJob
) -> None:
    job = make_job(alice, Job.State.DRAFT)
    form = {**FORM, "answer_kind": "labels", "labels": "one"}
    page = client_alice.post(
        reverse("recipe", args=[job.pk]), form, headers={"HX-Request": "true"}
    ).content.decode()
    assert "enter at least two" in page
    for wrong in ({"answer_kind": "odd"}, {"answer_kind": "text", "labels": "x" * 100_001}):
        answer = client_alice.post(reverse("recipe", args=[job.pk]), {**FORM, **wrong})
        assert answer.status_code == 422
        job.refresh_from_db()
        assert recipe_of(job).answer.labels == ("one",), "what was saved before stays"


def test_free_text_is_asked_for_as_ever(alice: User, make_job: MakeJob) -> None:
    job = make_job(alice, Job.State.DRAFT)
    assert recipe_of(job) == Recipe(
        job.recipe.prompt, job.recipe.system, job.recipe.model, job.recipe.max_tokens
    )
    assert output_format(recipe_of(job).answer) is None
