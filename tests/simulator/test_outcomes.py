"""What becomes of a row: its parameters, its answer, its tokens, its markers."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import anthropic
import pytest

from jobs.simulator.labels import find_labels
from jobs.simulator.wire import KIND_OF_STATUS

from ..conftest import Simulator
from .asking import (
    HAIKU,
    client_of,
    download,
    error_of,
    message_of,
    params,
    requests_of,
    run,
    text_of,
    wait_for_end,
)

pytestmark = pytest.mark.no_database


OPEN_OBJECT = {"type": "object", "properties": {"a": {"type": "string"}}}
TREE = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"child": {"$ref": "#"}},
}
# Thirty small steps, each of which refers to the next one twice.
DOUBLING: dict[str, Any] = {
    "$ref": "#/$defs/0",
    "$defs": {
        str(number): {"anyOf": [{"$ref": f"#/$defs/{number + 1}"}] * 2} for number in range(30)
    }
    | {"30": {"type": "string"}},
}


def nested(depth: int) -> dict[str, Any]:
    """Lists in lists."""
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


def format_of(schema: object) -> Any:
    return {"format": {"type": "json_schema", "schema": schema}}


INVALID: list[tuple[dict[str, Any], str]] = [
    ({"temperature": 1}, "temperature"),
    ({"top_p": 1}, "top_p"),
    ({"top_k": None}, "top_k"),
    ({"stream": True}, "stream"),
    ({"speed": "fast"}, "speed"),
    ({"fallbacks": []}, "fallbacks"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": 128_001}, "max_tokens: 128001 > 128000"),
    ({"max_tokens": "many"}, "max_tokens"),
    ({"messages": []}, "at least one message"),
    ({"messages": "Hello"}, "messages"),
    ({"messages": [{"role": "assistant", "content": "Hello"}]}, "first message"),
    ({"messages": [{"role": "robot", "content": "Hello"}]}, "messages.0.role"),
    ({"messages": [{"role": "user", "content": " \n"}]}, "non-whitespace"),
    ({"messages": [{"role": "user", "content": []}]}, "messages.0.content"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content.0"),
    (
        {"messages": [{"role": "user", "content": "A"}, {"role": "assistant", "content": "B"}]},
        "prefill",
    ),
    ({"surprise": 1}, "surprise: Extra inputs are not permitted"),
    ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "thinking.type"),
    ({"model": "claude-haiku-4-5", "output_config": {"effort": "low"}}, "effort"),
    ({"model": "claude-haiku-4-5", "messages": [{"role": "user", "content": "x " * 400_000}]},
     "prompt is too long"),
    ({"output_config": format_of(OPEN_OBJECT)}, "additionalProperties"),
    ({"output_config": format_of({"type": "integer", "minimum": 1})}, "minimum"),
    ({"output_config": format_of(TREE)}, "recursive"),
    ({"output_config": format_of(DOUBLING)}, "too complex"),
    ({"output_config": format_of(nested(300))}, "too complex"),
]  # fmt: skip


def test_parameters_are_looked_at_when_the_batch_ends(api: anthropic.Anthropic) -> None:
    rows = [params(**values) for values, _ in INVALID]
    missing = params()
    del missing["max_tokens"]

    results = run(api, *rows, missing, params(model="gpt"), params(model="claude-opus-4-1"))

    for number, (values, message) in enumerate(INVALID):
        kind, text = error_of(results[f"row-{number}"])
        assert kind == "invalid_request_error", values
        assert message in text, values
    last = len(INVALID)
    assert error_of(results[f"row-{last}"]) == (
        "invalid_request_error",
        "max_tokens: Field required",
    )
    assert error_of(results[f"row-{last + 1}"]) == ("not_found_error", "model: gpt")
    assert error_of(results[f"row-{last + 2}"]) == ("not_found_error", "model: claude-opus-4-1")


@pytest.mark.parametrize(
    ("model", "accepted", "thinks"),
    [
        ("claude-fable-5-2", {"adaptive"}, True),
        ("claude-opus-5-5", {"adaptive"}, True),
        ("claude-opus-5", {"adaptive", "disabled"}, True),
        ("claude-sonnet-5-5", {"adaptive", "between_tools"}, True),
        ("claude-sonnet-5", {"adaptive", "disabled"}, True),
        ("claude-haiku-5-5", {"adaptive", "disabled"}, True),
        ("claude-opus-4-8", {"adaptive", "disabled"}, False),
        ("claude-sonnet-4-6", {"adaptive", "disabled", "enabled"}, False),
        ("claude-opus-4-5", {"disabled", "enabled"}, False),
        ("claude-haiku-4-5", {"disabled", "enabled"}, False),
    ],
)
@pytest.mark.filterwarnings("ignore:The model .* is deprecated:DeprecationWarning")
def test_each_model_has_its_rules_for_thinking(
    api: anthropic.Anthropic, model: str, accepted: set[str], thinks: bool
) -> None:
    thinking = {kind: {"type": kind} for kind in ("adaptive", "disabled", "between_tools")}
    enabled = {"type": "enabled", "budget_tokens": 1024}
    got = set()
    for kind, value in {**thinking, "enabled": enabled}.items():
        with contextlib.suppress(anthropic.BadRequestError):
            message = api.messages.create(**params(model=model, thinking=value, max_tokens=2000))
            got.add(kind)
            assert (message.content[0].type == "thinking") == (kind in ("adaptive", "enabled"))
    unasked = api.messages.create(**params(model=model))
    info = api.models.retrieve(model).capabilities

    assert got == accepted
    assert (unasked.content[0].type == "thinking") == thinks
    assert info is not None
    described = {
        kind for kind, leaf in info.thinking.types.model_dump().items() if leaf["supported"]
    }
    assert described == accepted


def test_the_same_request_gets_the_same_answer(api: anthropic.Anthropic) -> None:
    row = params("Describe a red shoe with laces.")

    once, again = run(api, row, row).values()
    third = message_of(run(api, row)["row-0"])
    alone = api.messages.create(**row)

    assert message_of(once) == message_of(again) == third
    assert (alone.id, alone.content) == (third.id, third.content)
    assert alone.usage.output_tokens == third.usage.output_tokens
    assert alone.usage.service_tier == "standard"
    assert text_of(third).startswith('[Practice answer] "Describe a red shoe')


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("Answer with one of: positive, negative, neutral.\n\nOk.", "positive negative neutral"),
        ("Classify it as positive, negative or neutral: Fine!", "positive negative neutral"),
        ("What is the sentiment (positive/negative/neutral)? Fine!", "positive negative neutral"),
        ('Label this "spam", "ham", or "unsure".', "spam ham unsure"),
        ("Choose from these options:\n- red: warm\n- blue: cold\n\nThe sea", "red blue"),
        ("Reply with yes or no. Is it late?", "yes no"),
        ("Sort into categories: A | B | C", "A B C"),
        ("Is this positive, negative or mixed? One word.\n\nFine!", "positive negative mixed"),
        ("Classify the sentiment of this: good food, cheap and tasty", ""),
        ("Classify this review (from a shop, 2023).", ""),
        ("Write about one of our shoes, weather or not.", ""),
    ],
)  # fmt: skip
def test_labels_are_found_in_a_prompt(text: str, labels: str) -> None:
    assert find_labels(text) == labels.split()


def test_an_answer_is_one_of_the_labels(api: anthropic.Anthropic) -> None:
    system = "Classify the sentiment. Answer with one of: positive, negative, neutral."
    texts = ["I love it, great shoe!", "Terrible, it broke.", "It is a shoe."]
    colors = [f"Pick a label: red, green or blue. Thing {number}" for number in range(30)]

    reviews = run(api, *[params(text, system=system) for text in texts])
    things = run(api, *[params(text) for text in colors])

    answers = [text_of(message_of(reviews[f"row-{number}"])) for number in range(3)]
    assert answers == ["positive", "negative", "neutral"]
    assert {text_of(message_of(line)) for line in things.values()} == {"red", "green", "blue"}


def test_an_answer_fits_its_schema(api: anthropic.Anthropic) -> None:
    schema: dict[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "$defs": {"mood": {"type": "string", "enum": ["positive", "negative"]}},
        "required": ["mood", "summary", "score", "share", "ok", "tags", "maker", "note", "day"],
        "properties": {
            "mood": {"$ref": "#/$defs/mood"},
            "summary": {"type": "string"},
            "score": {"type": "integer"},
            "share": {"type": "number"},
            "ok": {"type": "boolean"},
            "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1},
            "maker": {
                "type": "object",
                "additionalProperties": False,
                "properties": {"name": {"const": "ACME"}},
            },
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "day": {"type": "string", "format": "date"},
        },
    }
    rows = [
        params(f"Shoe {number} is great.", output_config=format_of(schema)) for number in range(30)
    ]

    answers = [json.loads(text_of(message_of(line))) for line in run(api, *rows).values()]

    for answer in answers:
        assert list(answer) == list(schema["properties"])
        assert answer["mood"] == "positive"
        assert answer["summary"].startswith("(practice)")
        assert isinstance(answer["score"], int)
        assert 0 <= answer["share"] <= 1
        assert all(isinstance(tag, str) for tag in answer["tags"])
        assert answer["tags"]
        assert answer["maker"] == {"name": "ACME"}
        assert answer["note"] is None or isinstance(answer["note"], str)
        assert answer["day"].count("-") == 2
    assert {answer["ok"] for answer in answers} == {True, False}
    assert {type(answer["note"]) for answer in answers} == {str, type(None)}


def test_small_limits_are_kept_and_seldom_cut(api: anthropic.Anthropic) -> None:
    rows = [params(f"Describe shoe number {number}.", max_tokens=20) for number in range(50)]
    words = "Answer with one of: positive, negative, neutral. Shoe"

    texts = [message_of(line) for line in run(api, *rows).values()]
    cut = api.messages.create(**params("Describe a shoe.", max_tokens=4))
    label = api.messages.create(**params(words, max_tokens=20))
    stopped = api.messages.create(**params("Say hello.", stop_sequences=["answer"]))

    assert all(message.usage.output_tokens <= 20 for message in texts)
    assert sum(message.stop_reason == "max_tokens" for message in texts) < 5
    assert len({text_of(message) for message in texts}) == 50
    assert (cut.stop_reason, cut.usage.output_tokens) == ("max_tokens", 4)
    assert "[Practice answer]".startswith(text_of(cut))
    assert label.stop_reason == "end_turn"
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "answer")
    assert text_of(stopped) == "[Practice "


@pytest.mark.parametrize("model", [HAIKU, "claude-sonnet-4-6"])
@pytest.mark.parametrize("text", ["Short.", "Größe 42, bitte! 👟 " * 50, "word " * 5000])
def test_counted_tokens_are_those_of_the_answer(
    api: anthropic.Anthropic, model: str, text: str
) -> None:
    row = params(text, model=model, system="Be kind.", output_config=format_of({"type": "string"}))
    without_limit = {name: value for name, value in row.items() if name != "max_tokens"}

    counted = api.messages.count_tokens(**without_limit).input_tokens
    used = message_of(run(api, row)["row-0"]).usage.input_tokens

    assert counted == used
    size = len(text.encode())
    assert size / 4 < counted < size / 2 + 40


def test_the_new_tokenizer_counts_about_a_third_more(api: anthropic.Anthropic) -> None:
    messages = params("A sentence of some words. " * 100)["messages"]

    new = api.messages.count_tokens(model=HAIKU, messages=messages).input_tokens
    old = api.messages.count_tokens(model="claude-haiku-4-5", messages=messages).input_tokens

    assert 1.25 < new / old < 1.4


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"max_tokens": 10}, anthropic.BadRequestError),
        ({"temperature": 1}, anthropic.BadRequestError),
        ({"model": "gpt"}, anthropic.NotFoundError),
    ],
)
def test_counting_refuses_what_a_message_would(
    api: anthropic.Anthropic, values: dict[str, Any], error: type[Exception]
) -> None:
    row = {"model": HAIKU, "messages": params()["messages"], **values}

    with pytest.raises(error):
        api.post("/v1/messages/count_tokens", cast_to=object, body=row)


def test_a_long_beginning_is_cached(api: anthropic.Anthropic) -> None:
    mark = {"type": "ephemeral", "ttl": "1h"}
    system = [{"type": "text", "text": "Be kind. " * 1000, "cache_control": mark}]
    short = [{"type": "text", "text": "Be kind.", "cache_control": mark}]
    rows = [params(f"Row {number}", system=system) for number in range(50)]

    usages = [message_of(line).usage for line in run(api, *rows).values()]
    uncached = message_of(run(api, params(system=short))["row-0"]).usage

    written = sum(bool(usage.cache_creation_input_tokens) for usage in usages)
    read = sum(bool(usage.cache_read_input_tokens) for usage in usages)
    assert written + read == 50
    assert 24 <= read < 50
    for usage in usages:
        assert usage.cache_creation is not None
        longer = usage.cache_creation.ephemeral_1h_input_tokens
        assert longer == usage.cache_creation_input_tokens
        assert usage.input_tokens < 100
    assert (uncached.cache_creation_input_tokens, uncached.cache_read_input_tokens) == (0, 0)


def test_the_beta_for_long_answers_raises_the_limit(api: anthropic.Anthropic) -> None:
    rows = requests_of(
        params(max_tokens=300_000), params(max_tokens=300_000, model="claude-fable-5")
    )

    batch = api.beta.messages.batches.create(requests=rows, betas=["output-300k-2026-03-24"])
    wait_for_end(api, api.messages.batches.retrieve(batch.id))
    kinds = {line.custom_id: line.result.type for line in api.messages.batches.results(batch.id)}

    assert kinds == {"row-0": "succeeded", "row-1": "errored"}


def test_a_marker_decides_what_becomes_of_a_row(api: anthropic.Anthropic) -> None:
    names = ("good", "errored", "invalid", "expired", "refusal", "empty", "cut")
    rows = [params(f"Say hello. [simulate:{name}]") for name in names]

    good, errored, bad, expired, refusal, empty, cut = (
        line for _, line in sorted(run(api, *rows).items())
    )

    assert message_of(good).stop_reason == "end_turn"
    assert error_of(errored)[0] == "overloaded_error"
    assert error_of(bad)[0] == "invalid_request_error"
    assert expired.result.type == "expired"
    refused = message_of(refusal)
    assert (refused.stop_reason, refused.content) == ("refusal", [])
    assert refused.stop_details is not None
    assert refused.usage.input_tokens > 0
    assert message_of(empty).stop_reason == "end_turn"
    assert text_of(message_of(empty)) == ""
    assert message_of(cut).stop_reason == "max_tokens"
    assert message_of(cut).usage.output_tokens == 300


@pytest.mark.parametrize("kind", sorted(set(KIND_OF_STATUS.values())))
def test_a_marker_can_name_an_error(api: anthropic.Anthropic, kind: str) -> None:
    (line,) = run(api, params(f"Say hello. [simulate:{kind}]")).values()
    assert error_of(line)[0] == kind


def test_a_marker_can_name_an_end_and_a_knob_ignores_them_all(
    api: anthropic.Anthropic, provider: Simulator
) -> None:
    names = ("tool", "pause", "context", "other", "form")
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    form = {"format": {"type": "json_schema", "schema": {**schema, "additionalProperties": False}}}
    rows = [params(f"Say hello. [simulate:{name}]", output_config=form) for name in names]

    marked = [message_of(line) for _, line in sorted(run(api, *rows).items())]

    ends = ["tool_use", "pause_turn", "model_context_window_exceeded", "compaction", "end_turn"]
    assert [one.stop_reason for one in marked] == ends
    assert json.loads(text_of(marked[0])) and text_of(marked[4])[0] != "{"
    provider.faults(ignore_markers=True)
    plain = [message_of(line) for line in run(api, *rows).values()]
    assert {one.stop_reason for one in plain} == {"end_turn"}
    assert all(json.loads(text_of(one)) for one in plain)


def test_a_few_rows_fail_as_in_life_and_others_the_next_time(tmp_path: Path) -> None:
    simulator = Simulator(tmp_path / "provider", seconds=0)
    rows = [params(f"Describe shoe number {number}.") for number in range(6000)]
    with contextlib.closing(client_of(simulator.url)) as api:
        batches = [api.messages.batches.create(requests=requests_of(*rows)) for _ in range(2)]
        first, second = (failed(download(simulator, wait_for_end(api, one))) for one in batches)
    simulator.stop()

    for share in (len(first) / 6000, len(second) / 6000):
        assert 0.006 < share < 0.022
    assert set(first.values()) | set(second.values()) == {
        "overloaded_error",
        "api_error",
        "refusal",
        "max_tokens",
    }
    assert len(first.keys() & second.keys()) < len(first) / 4


def failed(lines: list[bytes]) -> dict[str, str]:
    """What went wrong, by custom_id."""
    wrong = {}
    for line in map(json.loads, lines):
        result = line["result"]
        if result["type"] == "errored":
            wrong[line["custom_id"]] = result["error"]["error"]["type"]
        elif (reason := result["message"]["stop_reason"]) != "end_turn":
            wrong[line["custom_id"]] = reason
    return wrong
