"""The pretend provider, asked by the real client: what it takes, what it makes of it, and how it
fails when a test wants it to."""

from __future__ import annotations

import contextlib
import email.utils
import json
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic.types import Message, TextBlock
from anthropic.types.messages import MessageBatch, MessageBatchIndividualResponse

from jobs.simulator.labels import find_labels
from jobs.simulator.wire import KIND_OF_STATUS

from .conftest import Simulator
from .environment import ROOT

pytestmark = pytest.mark.no_database

HAIKU = "claude-haiku-5-5"
SECONDS = 1
DEADLINE = 15.0

Results = dict[str, MessageBatchIndividualResponse]


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """A provider whose batches end at once, and whose rows fail only when they are told to."""
    simulator = Simulator(tmp_path_factory.mktemp("provider"), seconds=0, failures="none")
    yield simulator
    simulator.stop()


@pytest.fixture(scope="module")
def slow_provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """A provider whose batches take long enough to be seen at work."""
    simulator = Simulator(tmp_path_factory.mktemp("slow"), seconds=SECONDS, failures="none")
    yield simulator
    simulator.stop()


@pytest.fixture(autouse=True)
def no_faults_left(provider: Simulator) -> Iterator[None]:
    yield
    provider.reset()


@pytest.fixture(scope="module")
def api(provider: Simulator) -> Iterator[anthropic.Anthropic]:
    with client_of(provider.url) as client:
        yield client


@pytest.fixture(scope="module")
def slow_api(slow_provider: Simulator) -> Iterator[anthropic.Anthropic]:
    with client_of(slow_provider.url) as client:
        yield client


def client_of(url: str, **options: Any) -> anthropic.Anthropic:
    """The real client, which here looks closely at every answer and tries nothing twice."""
    return anthropic.Anthropic(
        api_key="practice",
        base_url=url,
        max_retries=0,
        _strict_response_validation=True,
        **options,
    )


def params(text: str = "Say hello.", **values: Any) -> Any:
    return {
        "model": HAIKU,
        "max_tokens": 300,
        "messages": [{"role": "user", "content": text}],
        **values,
    }


def requests_of(*rows: Any) -> Any:
    return [{"custom_id": f"row-{number}", "params": row} for number, row in enumerate(rows)]


def wait_for_end(api: anthropic.Anthropic, batch: MessageBatch) -> MessageBatch:
    deadline = time.monotonic() + DEADLINE
    while batch.processing_status != "ended":
        assert time.monotonic() < deadline, f"{batch.id} does not end"
        time.sleep(0.02)  # between two looks
        batch = api.messages.batches.retrieve(batch.id)
    return batch


def run(api: anthropic.Anthropic, *rows: Any) -> Results:
    """Send the rows as one batch and wait for its results, by custom_id."""
    batch = wait_for_end(api, api.messages.batches.create(requests=requests_of(*rows)))
    return {line.custom_id: line for line in api.messages.batches.results(batch.id)}


def message_of(line: MessageBatchIndividualResponse) -> Message:
    assert line.result.type == "succeeded", line
    return line.result.message


def error_of(line: MessageBatchIndividualResponse) -> tuple[str, str]:
    assert line.result.type == "errored", line
    return line.result.error.error.type, line.result.error.error.message


def text_of(message: Message) -> str:
    return "".join(block.text for block in message.content if isinstance(block, TextBlock))


# --- Batches --------------------------------------------------------------------------------------


def test_a_batch_from_creation_to_results(
    slow_api: anthropic.Anthropic, slow_provider: Simulator
) -> None:
    rows = [params(f"Say hello to guest {number}.") for number in range(40)]

    batch = slow_api.messages.batches.create(requests=requests_of(*rows))
    with pytest.raises(anthropic.NotFoundError):
        slow_api.get(f"/v1/messages/batches/{batch.id}/results", cast_to=object)
    ended = wait_for_end(slow_api, batch)
    lines = list(slow_api.messages.batches.results(batch.id))

    assert batch.processing_status == "in_progress"
    assert batch.request_counts.model_dump() == counts(processing=40)
    assert (batch.results_url, batch.ended_at) == (None, None)
    assert (batch.expires_at - batch.created_at).total_seconds() == 24 * 3600
    assert ended.request_counts.model_dump() == counts(succeeded=40)
    assert ended.results_url == f"{slow_provider.url}/v1/messages/batches/{batch.id}/results"
    assert ended.ended_at is not None
    assert (ended.ended_at - ended.created_at).total_seconds() >= SECONDS
    order = [line.custom_id for line in lines]
    assert set(order) == {f"row-{number}" for number in range(40)}
    assert order != sorted(order, key=lambda custom_id: int(custom_id.partition("-")[2]))
    assert order == [line.custom_id for line in slow_api.messages.batches.results(batch.id)]
    assert {message_of(line).usage.service_tier for line in lines} == {"batch"}
    assert len({text_of(message_of(line)) for line in lines}) > 30


def counts(**values: int) -> dict[str, int]:
    names = ("processing", "succeeded", "errored", "canceled", "expired")
    return {name: values.get(name, 0) for name in names}


def test_batches_do_not_all_end_at_once(tmp_path: Path) -> None:
    simulator = Simulator(tmp_path / "provider", seconds=0.5)
    with contextlib.closing(client_of(simulator.url)) as api:
        batches = [api.messages.batches.create(requests=requests_of(params())) for _ in range(3)]
        ended = [wait_for_end(api, batch) for batch in batches]
    simulator.stop()

    took = [
        (batch.ended_at - batch.created_at).total_seconds() for batch in ended if batch.ended_at
    ]
    assert took[0] >= 0.5
    assert took[1] >= 0.6
    assert took[2] >= 0.7


def test_without_seconds_a_batch_has_ended_at_the_first_look(tmp_path: Path) -> None:
    simulator = Simulator(tmp_path / "provider", seconds=0)
    with contextlib.closing(client_of(simulator.url)) as api:
        batch = api.messages.batches.create(requests=requests_of(params()))
        looked_at = api.messages.batches.retrieve(batch.id)
    simulator.stop()

    assert batch.processing_status == "in_progress"
    assert looked_at.processing_status == "ended"


def test_the_list_is_paged_both_ways(api: anthropic.Anthropic) -> None:
    made = [api.messages.batches.create(requests=requests_of(params())).id for _ in range(5)]
    newest_first = made[::-1]

    first = api.messages.batches.list(limit=2)
    second = api.messages.batches.list(limit=2, after_id=newest_first[1])
    before = api.messages.batches.list(limit=2, before_id=newest_first[3])
    newest = api.messages.batches.list(limit=2, before_id=newest_first[1])
    walked = [batch.id for batch, _ in zip(first, range(5), strict=False)]

    assert [batch.id for batch in first.data] == newest_first[:2]
    assert (first.has_more, first.first_id, first.last_id) == (True, *newest_first[:2])
    assert [batch.id for batch in second.data] == newest_first[2:4]
    assert [batch.id for batch in before.data] == newest_first[1:3]
    assert before.has_more
    assert [batch.id for batch in newest.data] == newest_first[:1]
    assert not newest.has_more
    assert walked == newest_first
    for wrong in ({"limit": 0}, {"limit": 1001}, {"after_id": "msgbatch_nobody"}):
        with pytest.raises(anthropic.BadRequestError):
            api.get("/v1/messages/batches", cast_to=object, options={"params": wrong})


def test_a_canceled_batch_keeps_what_was_finished(slow_api: anthropic.Anthropic) -> None:
    batch = slow_api.messages.batches.create(requests=requests_of(*[params()] * 300))

    canceled = slow_api.messages.batches.cancel(batch.id)
    again = slow_api.messages.batches.cancel(batch.id)
    ended = wait_for_end(slow_api, canceled)
    kinds = [line.result.type for line in slow_api.messages.batches.results(batch.id)]

    assert (canceled.processing_status, again.processing_status) == ("canceling", "canceling")
    assert canceled.cancel_initiated_at == again.cancel_initiated_at is not None
    assert canceled.request_counts.model_dump() == counts(processing=300)
    assert ended.request_counts.canceled == kinds.count("canceled") > 0
    assert (
        ended.request_counts.succeeded == kinds.count("succeeded") == 300 - kinds.count("canceled")
    )
    with pytest.raises(anthropic.BadRequestError):
        slow_api.messages.batches.cancel(batch.id)


def test_only_a_batch_that_ended_can_be_deleted(slow_api: anthropic.Anthropic) -> None:
    batch = slow_api.messages.batches.create(requests=requests_of(params()))

    with pytest.raises(anthropic.BadRequestError):
        slow_api.messages.batches.delete(batch.id)
    wait_for_end(slow_api, batch)
    deleted = slow_api.messages.batches.delete(batch.id)

    assert (deleted.id, deleted.type) == (batch.id, "message_batch_deleted")
    assert batch.id not in [listed.id for listed in slow_api.messages.batches.list(limit=1000)]
    for gone in (slow_api.messages.batches.retrieve, slow_api.messages.batches.delete):
        with pytest.raises(anthropic.NotFoundError):
            gone(batch.id)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "empty"),
        (b"{", "not valid JSON"),
        (b"[]", "Expected `object`"),
        (b"{}", "requests: Field required"),
        (b'{"requests":[]}', "at least 1"),
        (b'{"requests":[],"mode":1}', "mode: Extra inputs are not permitted"),
        (b'{"requests":[{"params":{}}]}', "requests.0.custom_id: Field required"),
        (b'{"requests":[{"custom_id":"a"}]}', "requests.0.params: Field required"),
        (b'{"requests":[{"custom_id":"a","params":[]}]}', "requests.0.params"),
        (b'{"requests":[{"custom_id":"a b","params":{}}]}', "requests.0.custom_id"),
        (b'{"requests":[{"custom_id":"%b","params":{}}]}' % (b"a" * 65), "requests.0.custom_id"),
        (b'{"requests":[{"custom_id":"a","params":{},"x":1}]}', "requests.0.x: Extra inputs"),
        (
            b'{"requests":[{"custom_id":"a","params":{}},{"custom_id":"a","params":{}}]}',
            "requests.1.custom_id: Duplicate",
        ),
        (
            b'{"requests":[%b]}' % b",".join([b'{"custom_id":"a","params":{}}'] * 100_001),
            "at most 100000",
        ),
    ],
)
def test_a_wrong_body_is_refused_as_a_whole(
    api: anthropic.Anthropic, provider: Simulator, body: bytes, message: str
) -> None:
    before = provider.truth()

    with pytest.raises(anthropic.BadRequestError) as caught:
        api.post("/v1/messages/batches", cast_to=object, content=body)

    assert caught.value.type == "invalid_request_error"
    assert message in str(caught.value.api_message)
    assert str(caught.value.request_id).startswith("req_")
    after = provider.truth()
    assert after["posts"] == before["posts"] + 1
    assert after["accepted_rows"] == before["accepted_rows"]


def test_a_body_that_is_too_large_is_refused_by_no_api(api: anthropic.Anthropic) -> None:
    piece = b" " * 1_000_000

    with pytest.raises(anthropic.APIStatusError) as caught:
        api.post("/v1/messages/batches", cast_to=object, content=(piece for _ in range(257)))

    assert caught.value.status_code == 413
    assert "<html>" in str(caught.value.body)


def test_a_body_may_come_in_chunks(api: anthropic.Anthropic) -> None:
    body = json.dumps({"requests": requests_of(*[params()] * 500)}).encode()
    pieces = (body[start : start + 999] for start in range(0, len(body), 999))

    batch = api.post("/v1/messages/batches", cast_to=MessageBatch, content=pieces)

    assert batch.request_counts.processing == 500


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"x-api-key": "bad-key"}, 401),
        ({"authorization": "Bearer bad"}, 401),
        ({"authorization": "Basic abc"}, 401),
        ({"x-api-key": "any"}, 200),
        ({"authorization": "Bearer any"}, 200),
    ],
)
def test_a_key_is_needed(provider: Simulator, headers: dict[str, str], status: int) -> None:
    request = urllib.request.Request(f"{provider.url}/v1/messages/batches", headers=headers)
    try:
        with urllib.request.urlopen(request) as answer:
            got, names = answer.status, answer.headers
    except urllib.error.HTTPError as error:
        with error:
            got, names = error.code, error.headers
            assert json.load(error)["error"]["type"] == "authentication_error"

    assert got == status
    assert names["request-id"].startswith("req_")
    assert names["anthropic-workspace-id"]
    assert names["date"]


# --- What becomes of a row ------------------------------------------------------------------------

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


# --- Models ---------------------------------------------------------------------------------------


def test_models_are_listed_with_what_they_can_do(api: anthropic.Anthropic) -> None:
    usual = list(api.models.list(limit=1000))
    paged = list(api.models.list(limit=5))
    retired = list(api.models.list(lifecycle=["retired"]))
    before = api.models.list(limit=2, before_id=usual[4].id)
    haiku = api.models.retrieve(HAIKU)
    alias = api.models.retrieve("claude-haiku-4-5")

    assert {model.lifecycle for model in usual} == {"active", "deprecated"}
    assert {model.lifecycle for model in retired} == {"retired"}
    assert [model.id for model in paged] == [model.id for model in usual]
    assert [model.created_at for model in usual] == sorted(
        (model.created_at for model in usual), reverse=True
    )
    assert [model.id for model in before.data] == [usual[2].id, usual[3].id]
    assert (haiku.line, haiku.max_input_tokens, haiku.max_tokens) == ("haiku", 1_000_000, 128_000)
    assert alias.id == "claude-haiku-4-5-20251001"
    assert haiku.capabilities is not None
    assert haiku.capabilities.structured_outputs.supported
    with pytest.raises(anthropic.NotFoundError):
        api.models.retrieve("gpt")


# --- Faults ---------------------------------------------------------------------------------------

ACCEPTED: list[tuple[str, type[Exception]]] = [
    ("drop_after_accept", anthropic.APIConnectionError),
    ("reset_after_accept", anthropic.APIConnectionError),
    ("accept_408", anthropic.APIStatusError),
    ("accept_500", anthropic.InternalServerError),
    ("accept_502", anthropic.InternalServerError),
    ("accept_504", anthropic.GatewayTimeoutError),
    ("accept_529", anthropic.OverloadedError),
    ("accept_cut", anthropic.APIConnectionError),
    ("accept_bad_json", json.JSONDecodeError),
    ("accept_empty", json.JSONDecodeError),
    ("accept_no_id", anthropic.APIResponseValidationError),
    ("accept_307", anthropic.APIStatusError),
    ("accept_stall", anthropic.APITimeoutError),
]
NOT_ACCEPTED: list[tuple[str, type[Exception]]] = [
    ("drop_before", anthropic.APIConnectionError),
    ("drop_mid_body", anthropic.APIConnectionError),
    ("stall", anthropic.APITimeoutError),
    ("reject_400", anthropic.BadRequestError),
    ("reject_400_spend", anthropic.BadRequestError),
    ("reject_401", anthropic.AuthenticationError),
    ("reject_402", anthropic.APIStatusError),
    ("reject_403", anthropic.PermissionDeniedError),
    ("reject_404", anthropic.NotFoundError),
    ("reject_408", anthropic.APIStatusError),
    ("reject_409", anthropic.ConflictError),
    ("reject_413", anthropic.APIStatusError),
    ("reject_422", anthropic.UnprocessableEntityError),
    ("reject_429", anthropic.RateLimitError),
    ("reject_500", anthropic.InternalServerError),
    ("reject_503", anthropic.InternalServerError),
    ("reject_529", anthropic.OverloadedError),
]


@pytest.fixture(scope="module")
def plain_api(provider: Simulator) -> Iterator[anthropic.Anthropic]:
    """A client that waits for no one and follows no redirect."""
    with client_of(
        provider.url,
        timeout=0.4,
        http_client=anthropic.DefaultHttpxClient(follow_redirects=False, timeout=0.4),
    ) as client:
        yield client


@pytest.mark.parametrize(
    ("kind", "error", "accepted"),
    [(*fault, True) for fault in ACCEPTED] + [(*fault, False) for fault in NOT_ACCEPTED],
)
def test_a_fault_of_create_accepts_what_its_name_says(
    plain_api: anthropic.Anthropic,
    provider: Simulator,
    kind: str,
    error: type[Exception],
    accepted: bool,
) -> None:
    before = provider.truth()
    provider.faults(create=[{"kind": kind}])

    with pytest.raises(error) as caught:
        plain_api.messages.batches.create(requests=requests_of(params(), params()))

    if isinstance(caught.value, anthropic.APIStatusError):
        assert str(caught.value.status_code) in {"307", *kind.split("_")}
    after = provider.truth(ids=True)
    assert after["posts"] == before["posts"] + 1
    assert after["accepted_rows"] - before["accepted_rows"] == (2 if accepted else 0)
    if accepted:
        assert after["batches"][-1]["custom_ids"] == ["row-0", "row-1"]
    assert plain_api.messages.batches.create(requests=requests_of(params())).id


def test_the_counts_of_an_accepted_batch_may_be_wrong(
    api: anthropic.Anthropic, provider: Simulator
) -> None:
    provider.faults(create=[{"kind": "accept_wrong_total"}])

    batch = api.messages.batches.create(requests=requests_of(params(), params()))

    assert batch.request_counts.model_dump() == counts(processing=1)
    assert provider.truth()["batches"][-1]["size"] == 2


def test_a_slow_answer_comes_byte_by_byte(api: anthropic.Anthropic, provider: Simulator) -> None:
    provider.faults(create=[{"kind": "accept_slow", "seconds": 0.8}])

    began = time.monotonic()
    batch = api.messages.batches.create(requests=requests_of(params()))

    assert 0.7 < time.monotonic() - began < 3
    assert api.messages.batches.retrieve(batch.id).id == batch.id


def test_a_redirect_that_is_followed_accepts_twice(
    api: anthropic.Anthropic, provider: Simulator
) -> None:
    before = provider.truth()
    provider.faults(create=[{"kind": "accept_307"}])

    api.messages.batches.create(requests=requests_of(params()))

    assert provider.truth()["posts"] == before["posts"] + 2
    assert provider.truth()["accepted_rows"] == before["accepted_rows"] + 2


def test_a_rate_limit_may_say_how_long_to_wait(
    api: anthropic.Anthropic, provider: Simulator
) -> None:
    provider.faults(create=[{"kind": "reject_429", "retry_after": 7, "times": 2}])
    waits = []
    for _ in range(2):
        with pytest.raises(anthropic.RateLimitError) as caught:
            api.messages.batches.create(requests=requests_of(params()))
        waits.append(caught.value.response.headers["retry-after"])

    assert waits == ["7", "7"]
    assert api.messages.batches.create(requests=requests_of(params())).id


@pytest.fixture(scope="module")
def ended(api: anthropic.Anthropic) -> MessageBatch:
    """A batch of ten rows whose results are there."""
    requests = [{"custom_id": f"nonce-{number}", "params": params()} for number in range(10)]
    created: Any = requests
    return wait_for_end(api, api.messages.batches.create(requests=created))


def download(provider: Simulator, batch: MessageBatch) -> list[bytes]:
    """The lines of the results, with their ends."""
    with httpx2.Client(headers={"x-api-key": "any"}) as client:
        answer = client.get(results_url(provider, batch))
        answer.raise_for_status()
        return answer.content.splitlines(keepends=True)


def results_url(provider: Simulator, batch: MessageBatch) -> str:
    return f"{provider.url}/v1/messages/batches/{batch.id}/results"


def test_the_counts_of_an_ended_batch_may_be_wrong_for_a_while(
    api: anthropic.Anthropic, provider: Simulator, ended: MessageBatch
) -> None:
    provider.faults(wrong_counts_seconds=1e6)
    wrong = api.messages.batches.retrieve(ended.id).request_counts
    provider.faults(wrong_counts_seconds=0)

    assert wrong.model_dump() == counts(errored=10)
    assert api.messages.batches.retrieve(ended.id).request_counts.model_dump() == counts(
        succeeded=10
    )


@pytest.mark.parametrize("kind", ["cut_at_line", "cut_mid_line"])
def test_a_download_may_be_cut(provider: Simulator, ended: MessageBatch, kind: str) -> None:
    provider.faults(results=[{"kind": kind}])

    with pytest.raises(httpx2.RemoteProtocolError):
        download(provider, ended)

    assert len(download(provider, ended)) == 10


@pytest.mark.parametrize(
    ("kind", "looks_wrong"),
    [
        ("clean_early_end", lambda lines, good: lines == good[:5]),
        ("missing_line", lambda lines, good: lines == good[:5] + good[6:]),
        ("duplicate_line", lambda lines, good: lines == good[:6] + good[5:]),
        ("crlf", lambda lines, good: lines == [line[:-1] + b"\r\n" for line in good]),
        ("blank_tail", lambda lines, good: lines == [*good, b"\n", b"\n"]),
        ("contradicting_line", lambda lines, good: contradicts(lines, good)),
        ("unknown_id", lambda lines, good: ids(lines) - ids(good) == {"nobody-sent-this"}),
        ("foreign_nonce", lambda lines, _: all(name.startswith("ffff") for name in ids(lines))),
        ("unknown_type", lambda lines, _: json.loads(lines[5])["result"] == {"type": "postponed"}),
        ("no_message", lambda lines, _: json.loads(lines[5])["result"] == {"type": "succeeded"}),
    ],
)
def test_a_download_may_be_whole_and_wrong(
    provider: Simulator,
    ended: MessageBatch,
    kind: str,
    looks_wrong: Callable[[list[bytes], list[bytes]], bool],
) -> None:
    good = download(provider, ended)
    provider.faults(results=[{"kind": kind}])

    lines = download(provider, ended)

    assert looks_wrong(lines, good), lines
    assert download(provider, ended) == good


def contradicts(lines: list[bytes], good: list[bytes]) -> bool:
    """Whether all lines are there, and after the sixth one that says otherwise."""
    first, second = (json.loads(line) for line in lines[5:7])
    return (
        [*lines[:6], *lines[7:]] == good
        and first["custom_id"] == second["custom_id"]
        and first["result"]["type"] != second["result"]["type"]
    )


def ids(lines: list[bytes]) -> set[str]:
    return {json.loads(line)["custom_id"] for line in lines}


@pytest.mark.parametrize("status", [404, 429, 500])
def test_a_download_may_be_refused(provider: Simulator, ended: MessageBatch, status: int) -> None:
    provider.faults(results=[{"kind": f"status_{status}"}])

    with pytest.raises(httpx2.HTTPStatusError) as caught:
        download(provider, ended)

    assert caught.value.response.status_code == status


def test_a_compressed_download_may_lack_its_end(provider: Simulator, ended: MessageBatch) -> None:
    good = b"".join(download(provider, ended))
    provider.faults(results=[{"kind": "cut_gzip"}])

    short = b"".join(download(provider, ended))

    assert good.startswith(short)
    assert 0 < len(short) < len(good)


def test_a_download_may_stop_for_ever(provider: Simulator, ended: MessageBatch) -> None:
    good = download(provider, ended)
    provider.faults(results=[{"kind": "stall"}])
    came = b""

    with (
        httpx2.Client(headers={"x-api-key": "any"}, timeout=0.4) as client,
        client.stream("GET", results_url(provider, ended)) as answer,
        pytest.raises(httpx2.ReadTimeout),
    ):
        for piece in answer.iter_bytes():
            came += piece

    assert came == b"".join(good[:5])


def test_an_answer_may_be_very_long(
    api: anthropic.Anthropic, provider: Simulator, ended: MessageBatch
) -> None:
    good = download(provider, ended)
    provider.faults(results=[{"kind": "long_line"}, {"kind": "long_line", "bytes": 5000}])

    longest, long = download(provider, ended), download(provider, ended)

    for lines, size in ((longest, 20_000_000), (long, 5000)):
        assert lines[1:] == good[1:]
        line = MessageBatchIndividualResponse.model_validate_json(lines[0])
        text = text_of(message_of(line))
        assert len(text) == size
        assert text.startswith("[Practice answer]")


def test_a_download_may_be_sent_elsewhere(provider: Simulator, ended: MessageBatch) -> None:
    elsewhere = {"kind": "redirect", "other_host": "http://127.0.0.9:9"}
    provider.faults(results=[{"kind": "redirect"}, elsewhere, {"kind": "redirect"}])
    path = f"/v1/messages/batches/{ended.id}/results"

    with httpx2.Client(headers={"x-api-key": "any"}) as client:
        answers = [client.get(results_url(provider, ended)) for _ in range(2)]
        followed = client.get(results_url(provider, ended), follow_redirects=True)

    other_name = provider.url.replace("127.0.0.1", "localhost")
    assert [answer.status_code for answer in answers] == [307, 307]
    assert [answer.headers["location"] for answer in answers] == [
        f"{other_name}{path}",
        f"http://127.0.0.9:9{path}",
    ]
    assert followed.content.splitlines(keepends=True) == download(provider, ended)


def test_looking_may_fail(
    api: anthropic.Anthropic, provider: Simulator, ended: MessageBatch
) -> None:
    messages = params()["messages"]
    looks: dict[str, Callable[[anthropic.Anthropic], object]] = {
        "list": lambda api: api.messages.batches.list(),
        "retrieve": lambda api: api.messages.batches.retrieve(ended.id),
        "count_tokens": lambda api: api.messages.count_tokens(model=HAIKU, messages=messages),
    }
    for place, look in looks.items():
        provider.faults(
            **{
                place: [
                    {"kind": "status", "status": 503},
                    {"kind": "drop"},
                    {"kind": "cut"},
                    {"kind": "stall"},
                ]
            }
        )
        with pytest.raises(anthropic.APIStatusError) as caught:
            look(api)
        assert caught.value.status_code == 503
        for _ in ("drop", "cut"):
            with pytest.raises(anthropic.APIConnectionError, match="Connection error"):
                look(api)
        with pytest.raises(anthropic.APITimeoutError):
            look(impatient(api))
        assert look(api)


def test_a_look_may_be_answered_with_something_else(
    api: anthropic.Anthropic, provider: Simulator, ended: MessageBatch
) -> None:
    """With 200, and what the client's own reading of it may take for an empty list."""
    batches = f"{provider.url}/v1/messages/batches"
    page = "<html><body><h1>Back soon</h1></body></html>\n"
    odd = {"empty_object": ("json", "{}"), "null": ("json", "null"), "html": ("html", page)}
    order = [{"kind": kind} for kind in odd]
    counted = {name: params()[name] for name in ("model", "messages")}
    provider.faults(list=order, retrieve=order, count_tokens=order)

    with httpx2.Client(headers={"x-api-key": "any"}) as client:
        looks: list[Callable[[], httpx2.Response]] = [
            lambda: client.get(batches),
            lambda: client.get(f"{batches}/{ended.id}"),
            lambda: client.post(f"{provider.url}/v1/messages/count_tokens", json=counted),
        ]
        for look in looks:
            answers = [look() for _ in odd]
            assert [answer.status_code for answer in answers] == [200, 200, 200]
            kinds = [answer.headers["content-type"].rpartition("/")[2] for answer in answers]
            said = [answer.text for answer in answers]
            assert list(zip(kinds, said, strict=True)) == list(odd.values())
            assert look().json() not in ({}, None)


def test_a_page_of_the_list_may_be_broken(
    api: anthropic.Anthropic, provider: Simulator, ended: MessageBatch
) -> None:
    provider.faults(list=[{"kind": "null_data"}, {"kind": "no_cursor"}])

    with httpx2.Client(headers={"x-api-key": "any"}) as client:
        null_data, no_cursor, good = [
            client.get(f"{provider.url}/v1/messages/batches", params={"limit": 1000}).json()
            for _ in range(3)
        ]

    assert ended.id in [batch["id"] for batch in good["data"]]
    assert not good["has_more"]
    assert null_data == {**good, "data": None}
    assert no_cursor == {**good, "has_more": True, "last_id": None}


def impatient(api: anthropic.Anthropic) -> anthropic.Anthropic:
    """A client for calls that are never answered."""
    return api.with_options(timeout=0.2)


def test_a_fault_may_come_after_some_requests_that_go_well(
    api: anthropic.Anthropic, provider: Simulator, ended: MessageBatch
) -> None:
    provider.faults(
        retrieve=[{"kind": "status", "after": 2}, {"kind": "status", "after": 1, "times": 2}]
    )
    went_well = []
    for _ in range(7):
        try:
            went_well.append(api.messages.batches.retrieve(ended.id).id == ended.id)
        except anthropic.InternalServerError:
            went_well.append(False)

    assert went_well == [True, True, False, True, False, False, True]


@pytest.mark.parametrize(
    ("kind", "error", "done"),
    [
        ("status", anthropic.InternalServerError, False),
        ("drop", anthropic.APIConnectionError, False),
        ("stall", anthropic.APITimeoutError, False),
        ("drop_after", anthropic.APIConnectionError, True),
    ],
)
def test_canceling_may_fail(
    api: anthropic.Anthropic, provider: Simulator, kind: str, error: type[Exception], done: bool
) -> None:
    provider.faults(stuck=True, cancel=[{"kind": kind}])
    batch = api.messages.batches.create(requests=requests_of(params()))

    with pytest.raises(error):
        (impatient(api) if kind == "stall" else api).messages.batches.cancel(batch.id)

    assert provider.truth()["batches"][-1]["cancel_requested"] == done
    assert api.messages.batches.cancel(batch.id).processing_status == "canceling"


@pytest.mark.parametrize(
    ("kind", "error", "done"),
    [
        ("status", anthropic.InternalServerError, False),
        ("drop", anthropic.APIConnectionError, False),
        ("drop_after", anthropic.APIConnectionError, True),
    ],
)
def test_deleting_may_fail(
    api: anthropic.Anthropic, provider: Simulator, kind: str, error: type[Exception], done: bool
) -> None:
    batch = wait_for_end(api, api.messages.batches.create(requests=requests_of(params())))
    provider.faults(delete=[{"kind": kind}])

    with pytest.raises(error):
        api.messages.batches.delete(batch.id)

    assert provider.truth()["batches"][-1]["deleted"] == done
    with pytest.raises(anthropic.NotFoundError) if done else contextlib.nullcontext():
        api.messages.batches.delete(batch.id)


def test_what_was_done_may_be_answered_with_something_else(
    api: anthropic.Anthropic, provider: Simulator
) -> None:
    odd = [{"kind": "empty_object"}]
    provider.faults(stuck=True, cancel=odd)
    batch = api.messages.batches.create(requests=requests_of(params()))
    address = f"{provider.url}/v1/messages/batches/{batch.id}"

    with httpx2.Client(headers={"x-api-key": "any"}) as client:
        canceled = client.post(f"{address}/cancel")
        known = provider.truth()["batches"][-1]
        provider.faults(stuck=False, delete=odd)
        wait_for_end(api, batch)
        deleted = client.delete(address)

    assert known["cancel_requested"]
    assert provider.truth()["batches"][-1]["deleted"]
    for answer in (canceled, deleted):
        assert (answer.status_code, answer.json()) == (200, {})


def test_a_new_batch_may_be_listed_late(api: anthropic.Anthropic, provider: Simulator) -> None:
    provider.faults(list_hide_seconds=0.5)

    batch = api.messages.batches.create(requests=requests_of(params()))
    at_once = [listed.id for listed in api.messages.batches.list()]
    deadline = time.monotonic() + DEADLINE
    while batch.id not in [listed.id for listed in api.messages.batches.list()]:
        assert time.monotonic() < deadline
        time.sleep(0.02)  # between two looks

    assert batch.id not in at_once
    assert api.messages.batches.retrieve(batch.id).id == batch.id


@pytest.mark.parametrize(
    "order",
    [
        {"create": [{"kind": "explode"}]},
        {"create": [{"kind": "drop_after"}]},
        {"create": [{"kind": "stall", "mood": "bad"}]},
        {"create": [{"kind": "stall", "after": -1}]},
        {"create": [{"kind": "stall"}], "list": [{"kind": "explode"}]},
        {"create": {"kind": "stall"}},
        {"mood": []},
        {"page_limit": -1},
        {"page_limit": "few"},
        {"expire_share": 1.1},
        {"stuck": True, "mood": True},
    ],
)
def test_faults_and_knobs_that_do_not_exist_are_refused(
    provider: Simulator, order: dict[str, object]
) -> None:
    before = state(provider)

    with pytest.raises(urllib.error.HTTPError) as caught:
        provider.faults(**order)
    caught.value.close()

    assert caught.value.code == 400
    assert state(provider) == before


def state(provider: Simulator) -> dict[str, Any]:
    """The faults to come, where the knobs stand, and what fell so far."""
    known: dict[str, Any] = httpx2.get(f"{provider.url}/_faults").json()
    return known


def test_what_fell_is_counted(api: anthropic.Anthropic, provider: Simulator) -> None:
    before = state(provider)["fell"].get("list: status", 0)
    provider.faults(list=[{"kind": "status", "times": 3, "after": 1}])
    api.messages.batches.list()
    for _ in range(2):
        with pytest.raises(anthropic.InternalServerError):
            api.messages.batches.list()
    provider.reset()

    assert api.messages.batches.list()
    assert state(provider)["fell"]["list: status"] == before + 2


# --- Knobs ----------------------------------------------------------------------------------------


def test_a_knob_stays_as_it_is_until_it_is_turned(provider: Simulator) -> None:
    provider.faults(page_limit=3, stuck=True, results_host="http://127.0.0.9:9", expire_share=0.5)
    provider.faults(page_limit=None, stuck=0, results_host="")
    turned = state(provider)
    provider.reset()
    reset = state(provider)

    names = ("page_limit", "stuck", "results_host", "expire_share")
    assert [turned[name] for name in names] == [3, False, "", 0.5]
    assert [reset[name] for name in names] == [0, False, "", 0]


def test_a_new_batch_may_be_found_late(api: anthropic.Anthropic, provider: Simulator) -> None:
    provider.faults(retrieve_404_seconds=1e9)
    batch = api.messages.batches.create(requests=requests_of(params()))

    listed = api.messages.batches.list(limit=1).data
    with pytest.raises(anthropic.NotFoundError):
        api.messages.batches.retrieve(batch.id)
    with pytest.raises(httpx2.HTTPStatusError, match="404"):
        download(provider, batch)
    provider.faults(retrieve_404_seconds=0.2)
    deadline = time.monotonic() + DEADLINE
    while True:
        with contextlib.suppress(anthropic.NotFoundError):
            found = api.messages.batches.retrieve(batch.id)
            break
        assert time.monotonic() < deadline
        time.sleep(0.02)  # between two looks

    assert [one.id for one in listed] == [found.id] == [batch.id]
    assert len(download(provider, batch)) == 1


def test_pages_may_be_shorter_than_asked_for(api: anthropic.Anthropic, provider: Simulator) -> None:
    made = [api.messages.batches.create(requests=requests_of(params())).id for _ in range(5)]
    provider.faults(page_limit=2)

    page = api.messages.batches.list(limit=1000)
    walked = [batch.id for batch, _ in zip(page, range(5), strict=False)]
    last = api.messages.batches.list(limit=1000, before_id=made[3])
    provider.reset()
    everything = api.messages.batches.list(limit=1000)

    assert [batch.id for batch in page.data] == made[:2:-1]
    assert page.has_more
    assert walked == made[::-1]
    assert [batch.id for batch in last.data] == made[4:]
    assert not last.has_more
    assert len(everything.data) > 4
    assert not everything.has_more


def test_somebody_else_may_send_batches_of_the_same_size(
    api: anthropic.Anthropic, provider: Simulator
) -> None:
    before = provider.truth()
    provider.faults(foreign_batches=2, create=[{"kind": "reject_500"}])

    with pytest.raises(anthropic.InternalServerError):
        api.messages.batches.create(requests=requests_of(params()))
    refused = provider.truth()
    ours = api.messages.batches.create(requests=requests_of(params("A."), params("B.")))
    *theirs, listed = api.messages.batches.list(limit=3).data
    after = provider.truth(ids=True)
    results = {
        batch.id: {line.custom_id: text_of(message_of(line)) for line in results_of(api, batch)}
        for batch in (ours, *theirs)
    }

    assert len(refused["batches"]) == len(before["batches"])
    assert listed.id == ours.id
    assert all(batch.created_at >= ours.created_at for batch in theirs)
    assert [batch.request_counts.succeeded for batch in theirs] == [2, 2]
    assert (after["posts"] - before["posts"], after["accepted_rows"] - before["accepted_rows"]) == (
        2,
        2,
    )
    assert [(batch["id"], batch["foreign"]) for batch in after["batches"][-3:]] == [
        (ours.id, False),
        (theirs[1].id, True),
        (theirs[0].id, True),
    ]
    assert {batch["id"]: set(batch["custom_ids"]) for batch in after["batches"][-3:]} == {
        batch_id: set(answers) for batch_id, answers in results.items()
    }
    beginnings = {tuple(sorted({name[:12] for name in answers})) for answers in results.values()}
    assert len(beginnings) == 3
    assert {tuple(sorted(answers.values())) for answers in results.values()} == {
        tuple(sorted(results[ours.id].values()))
    }


def test_the_queue_may_be_full(api: anthropic.Anthropic, provider: Simulator) -> None:
    provider.faults(stuck=True, queue_limit=3, queue_retry_after=9)
    rows = requests_of(params(), params())
    first = api.messages.batches.create(requests=rows)

    with pytest.raises(anthropic.RateLimitError) as caught:
        api.messages.batches.create(requests=rows)
    fits = api.messages.batches.create(requests=rows[:1])
    provider.faults(queue_retry_after=0)
    with pytest.raises(anthropic.RateLimitError) as again:
        api.messages.batches.create(requests=rows[:1])
    provider.faults(stuck=False)
    after = api.messages.batches.create(requests=rows)

    assert caught.value.type == "rate_limit_error"
    assert caught.value.response.headers["retry-after"] == "9"
    assert "retry-after" not in again.value.response.headers
    assert [batch["id"] for batch in provider.truth()["batches"][-3:]] == [
        first.id,
        fits.id,
        after.id,
    ]


def test_a_batch_may_be_stuck(api: anthropic.Anthropic, provider: Simulator) -> None:
    provider.faults(stuck=True)
    going_on = api.messages.batches.create(requests=requests_of(params(), params()))
    canceled = api.messages.batches.create(requests=requests_of(params(), params()))
    api.messages.batches.cancel(canceled.id)

    seen = [api.messages.batches.retrieve(batch.id) for batch in (going_on, canceled)]
    ended = [batch["ended"] for batch in provider.truth()["batches"][-2:]]
    provider.faults(stuck=False)
    later = [wait_for_end(api, batch) for batch in seen]

    assert [batch.processing_status for batch in seen] == ["in_progress", "canceling"]
    assert ended == [False, False]
    assert [batch.request_counts.model_dump() for batch in later] == [
        counts(succeeded=2),
        counts(canceled=2),
    ]


def test_canceling_may_take_long(api: anthropic.Anthropic, provider: Simulator) -> None:
    provider.faults(stuck=True, canceling_seconds=0.5)
    batch = api.messages.batches.create(requests=requests_of(params()))
    canceled = api.messages.batches.cancel(batch.id)
    provider.faults(stuck=False)

    ended = wait_for_end(api, canceled)

    assert canceled.processing_status == "canceling"
    assert ended.ended_at is not None
    assert canceled.cancel_initiated_at is not None
    assert (ended.ended_at - canceled.cancel_initiated_at).total_seconds() >= 0.5


DAY = 24 * 3600.0


def test_the_clock_may_be_ahead(api: anthropic.Anthropic, provider: Simulator) -> None:
    before = wait_for_end(api, api.messages.batches.create(requests=requests_of(params())))
    provider.faults(clock_ahead_seconds=DAY)

    batch = wait_for_end(api, api.messages.batches.create(requests=requests_of(params())))
    (listed,) = api.messages.batches.list(limit=1).data
    answer = api.messages.batches.with_raw_response.retrieve(batch.id)
    provider.reset()
    afterwards = api.messages.batches.retrieve(batch.id)

    assert DAY <= (batch.created_at - before.created_at).total_seconds() < DAY + 3600
    assert (batch.expires_at - batch.created_at).total_seconds() == DAY
    assert batch.ended_at is not None
    assert batch.ended_at >= batch.created_at
    stated = email.utils.parsedate_to_datetime(answer.headers["date"])
    assert abs((stated - batch.created_at).total_seconds()) < 3600
    assert listed.created_at == afterwards.created_at == batch.created_at


def test_results_are_archived_when_the_clock_is_ahead(
    api: anthropic.Anthropic, provider: Simulator
) -> None:
    batch = wait_for_end(api, api.messages.batches.create(requests=requests_of(params())))
    good = download(provider, batch)

    provider.faults(clock_ahead_seconds=28.9 * DAY)
    kept = download(provider, batch)
    provider.faults(clock_ahead_seconds=29 * DAY)
    archived = api.messages.batches.retrieve(batch.id)
    with pytest.raises(httpx2.HTTPStatusError, match="404"):
        download(provider, batch)
    provider.reset()

    assert kept == good
    assert (archived.processing_status, archived.results_url) == ("ended", None)
    assert archived.archived_at is not None
    assert (archived.archived_at - archived.created_at).total_seconds() == 29 * DAY
    assert archived.created_at == batch.created_at
    assert download(provider, batch) == good


def test_a_share_of_the_rows_may_expire(api: anthropic.Anthropic, provider: Simulator) -> None:
    provider.faults(expire_share=0.3)

    results = run(api, *[params()] * 10)
    kinds = [line.result.type for line in results.values()]
    provider.faults(expire_share=1)
    all_of_them = run(api, params())

    assert (kinds.count("expired"), kinds.count("succeeded")) == (3, 7)
    assert [line.result.type for line in all_of_them.values()] == ["expired"]


def test_results_may_be_said_to_be_elsewhere(
    api: anthropic.Anthropic, provider: Simulator, ended: MessageBatch
) -> None:
    provider.faults(results_host="http://127.0.0.9:9")

    looked_at = api.messages.batches.retrieve(ended.id)
    (listed,) = [one for one in api.messages.batches.list(limit=1000) if one.id == ended.id]

    path = f"/v1/messages/batches/{ended.id}/results"
    assert looked_at.results_url == listed.results_url == f"http://127.0.0.9:9{path}"


# --- The truth ------------------------------------------------------------------------------------


def test_the_truth_says_what_became_of_a_batch_and_what_is_charged(
    api: anthropic.Anthropic, provider: Simulator
) -> None:
    names = ("good", "cut", "errored", "expired", "empty")
    provider.faults(stuck=True)
    batch = api.messages.batches.create(
        requests=requests_of(*[params(f"Say hello. [simulate:{name}]") for name in names])
    )
    at_work = provider.truth(ids=True)["batches"][-1]
    provider.reset()
    usages = [
        line.result.message.usage
        for line in results_of(api, batch)
        if line.result.type == "succeeded"
    ]
    ended = provider.truth()["batches"][-1]

    assert at_work == {
        "id": batch.id,
        "created_at": at_work["created_at"],
        "size": 5,
        "custom_ids": [f"row-{number}" for number in range(5)],
        "foreign": False,
        "cancel_requested": False,
        "ended": False,
        "deleted": False,
        "counts": counts(processing=5),
        "input_tokens": 0,
        "output_tokens": 0,
    }
    assert ended == {
        **at_work,
        "custom_ids": None,
        "ended": True,
        "counts": counts(succeeded=3, errored=1, expired=1),
        "input_tokens": sum(usage.input_tokens for usage in usages),
        "output_tokens": sum(usage.output_tokens for usage in usages),
    }


def test_some_refusals_are_charged(api: anthropic.Anthropic, provider: Simulator) -> None:
    rows = [params(f"Say hello to guest {number}. [simulate:refusal]") for number in range(40)]
    messages = [message_of(line) for line in run(api, *rows).values()]

    charged = [
        message.usage.input_tokens
        for message in messages
        if message.stop_details
        and message.stop_details.category in ("bio", "frontier_llm", "reasoning_extraction")
    ]
    assert 0 < len(charged) < 40
    assert provider.truth()["batches"][-1]["input_tokens"] == sum(charged)


def test_every_answer_has_a_date(provider: Simulator, ended: MessageBatch) -> None:
    creates = ("accept_307", "accept_502", "reject_413", "reject_529")
    downloads = ("clean_early_end", "cut_gzip", "crlf", "redirect")
    provider.faults(
        create=[{"kind": kind} for kind in creates],
        results=[{"kind": kind} for kind in downloads],
        list=[{"kind": "status"}],
    )
    batches = f"{provider.url}/v1/messages/batches"
    body = json.dumps({"requests": requests_of(params())})
    with httpx2.Client(headers={"x-api-key": "any"}) as client:
        answers = [client.post(batches, content=body) for _ in range(5)]
        answers += [client.get(results_url(provider, ended)) for _ in range(5)]
        answers += [client.get(batches) for _ in range(2)]
        answers += [client.get(f"{batches}/nobody"), client.get(f"{provider.url}/_truth")]
        answers += [client.put(batches), client.get(batches, headers={"x-api-key": "bad"})]

    seen = [answer.status_code for answer in answers]
    assert seen[:5] == [307, 502, 413, 529, 200]
    assert seen[5:10] == [200, 200, 200, 307, 200]
    assert seen[10:] == [500, 200, 404, 200, 501, 401]
    assert all("date" in answer.headers for answer in answers), answers


# --- The process ----------------------------------------------------------------------------------


def test_what_was_accepted_outlives_a_kill(tmp_path: Path) -> None:
    folder = tmp_path / "provider"
    before = Simulator(folder, seconds=1, failures="none")
    with contextlib.closing(client_of(before.url)) as api:
        done = api.messages.batches.create(requests=requests_of(params("One.")))
        answers = {line.custom_id: line for line in results_of(api, done)}
        at_work = api.messages.batches.create(requests=requests_of(params("Two."), params("3.")))
    before.process.kill()
    before.process.communicate(timeout=DEADLINE)
    left_behind = folder / "incoming" / "half.part"
    left_behind.write_text("{")

    after = Simulator(folder, seconds=1, failures="none")
    with contextlib.closing(client_of(after.url)) as api:
        listed = [batch.id for batch in api.messages.batches.list()]
        same = {line.custom_id: line for line in results_of(api, done)}
        finished = wait_for_end(api, at_work)
    truth = after.truth(ids=True)
    after.stop()

    assert listed == [at_work.id, done.id]
    assert same == answers
    assert finished.created_at == at_work.created_at
    assert finished.request_counts.succeeded == 2
    assert (truth["posts"], truth["accepted_rows"]) == (2, 3)
    assert [batch["custom_ids"] for batch in truth["batches"]] == [["row-0"], ["row-0", "row-1"]]
    assert not left_behind.exists()


def test_the_truth_outlives_a_kill(tmp_path: Path) -> None:
    before = Simulator(tmp_path / "provider", seconds=3600, failures="none")
    with contextlib.closing(client_of(before.url)) as api:
        batches = [
            api.messages.batches.create(requests=requests_of(params(), params())) for _ in range(3)
        ]
        before.faults(canceling_seconds=0.01)
        wait_for_end(api, api.messages.batches.cancel(batches[0].id))
        api.messages.batches.delete(batches[0].id)
        before.faults(canceling_seconds=3600, foreign_batches=1)
        api.messages.batches.cancel(batches[1].id)
        api.messages.batches.create(requests=requests_of(params()))
    known = before.truth(ids=True)
    before.process.kill()
    before.process.communicate(timeout=DEADLINE)

    after = Simulator(tmp_path / "provider", seconds=3600)
    still_known = after.truth(ids=True)
    after.stop()

    assert still_known == known
    words = ("ended", "deleted", "cancel_requested", "foreign")
    assert [[word for word in words if batch[word]] for batch in known["batches"]] == [
        ["ended", "deleted", "cancel_requested"],
        ["cancel_requested"],
        [],
        [],
        ["foreign"],
    ]


def results_of(
    api: anthropic.Anthropic, batch: MessageBatch
) -> Iterator[MessageBatchIndividualResponse]:
    wait_for_end(api, batch)
    yield from api.messages.batches.results(batch.id)


def test_a_folder_of_an_older_version_can_still_be_opened(tmp_path: Path) -> None:
    folder = tmp_path / "provider"
    before = Simulator(folder, seconds=0)
    with contextlib.closing(client_of(before.url)) as api:
        batch = wait_for_end(api, api.messages.batches.create(requests=requests_of(params())))
    before.stop()
    added = ("ahead", "finished_share", "is_foreign", "input_tokens", "output_tokens")
    with contextlib.closing(sqlite3.connect(folder / "simulator.sqlite3")) as database, database:
        for name in added:
            database.execute(f"ALTER TABLE batch DROP COLUMN {name}")

    after = Simulator(folder, seconds=0)
    with contextlib.closing(client_of(after.url)) as api:
        again = api.messages.batches.retrieve(batch.id)
        new = wait_for_end(api, api.messages.batches.create(requests=requests_of(params())))
    known = after.truth()["batches"]
    after.stop()

    assert again == batch.model_copy(update={"results_url": again.results_url})
    assert [one["id"] for one in known] == [batch.id, new.id]
    assert [bool(one["output_tokens"]) for one in known] == [False, True]


def test_results_are_gone_after_29_days(tmp_path: Path) -> None:
    folder = tmp_path / "provider"
    before = Simulator(folder, seconds=0)
    with contextlib.closing(client_of(before.url)) as api:
        batch = api.messages.batches.create(requests=requests_of(params()))
        wait_for_end(api, batch)
    before.stop()
    with contextlib.closing(sqlite3.connect(folder / "simulator.sqlite3")) as database, database:
        database.execute("UPDATE batch SET created_at = created_at - ?", (29 * 86_400 * 10**6,))

    after = Simulator(folder, seconds=0)
    with contextlib.closing(client_of(after.url)) as api:
        old = api.messages.batches.retrieve(batch.id)
        with pytest.raises(anthropic.NotFoundError):
            api.get(f"/v1/messages/batches/{batch.id}/results", cast_to=object)
    after.stop()

    assert old.processing_status == "ended"
    assert old.archived_at is not None
    assert old.results_url is None
    assert not list((folder / "results").iterdir())


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_starts_quickly_stops_at_once_and_offers_faults_to_tests_only(
    tmp_path: Path, how: signal.Signals
) -> None:
    command = [sys.executable, "-m", "jobs.simulator", "--port", "0", "--data", str(tmp_path)]
    began = time.monotonic()
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        started = time.monotonic()
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{url}/_truth")
        caught.value.close()
        process.send_signal(how)
        _, said = process.communicate(timeout=DEADLINE)
        stopped = time.monotonic()

    assert caught.value.code == 401
    assert (process.returncode, said) == (0, "")
    assert started - began < 1.5
    assert stopped - started < 1.0
