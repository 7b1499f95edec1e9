"""Requests in the form of other services: whose they are is said, and one click converts them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.ingest.corrections import read_corrections
from jobs.ingest.file_formats import open_upload
from jobs.ingest.finding_kinds import asks
from jobs.ingest.shapes import Choices, Limits, ParsedRow, Reader

pytestmark = pytest.mark.no_database

CASES = Path(__file__).parent.parent / "data" / "json_cases"
HI = {"role": "user", "content": "Hi"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "upload"


def read(path: Path, *objects: object, convert: str = "") -> tuple[Reader, list[ParsedRow]]:
    path.write_text("\n".join(map(json.dumps, objects)))
    reader = open_upload(str(path), Choices(convert=convert), Limits())
    return reader, list(reader)


def chat(custom_id: object = "a", url: str = "/v1/chat/completions", **body: Any) -> dict[str, Any]:
    usual = {"model": "gpt-4o", "messages": [HI], "max_tokens": 9, **body}
    body = {name: value for name, value in usual.items() if value is not ...}
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": body}


def converted(path: Path, *objects: object, convert: str = "openai") -> list[dict[str, Any]]:
    reader, lines = read(path, *objects, convert=convert)
    assert reader.kind == "requests"
    assert [line.problem for line in lines] == [None] * len(lines)
    return [json.loads(line.source)["params"] for line in lines]


def params_of(path: Path, convert: str = "openai", **body: Any) -> dict[str, Any]:
    (params,) = converted(path, chat(**body), convert=convert)
    return params


# --- Other providers, and examples for fine-tuning ------------------------------------------------

HELLO = {"role": "assistant", "content": "Hello"}
TUNING = {"messages": [{"role": "system", "content": "Be kind."}, HI, HELLO]}
TWO_ANSWERS = {
    "input": {"messages": [HI]},
    "preferred_output": [HELLO],
    "non_preferred_output": [{"role": "assistant", "content": "No"}],
}
VERTEX = {
    "custom_id": "v 1",
    "request": {"messages": [HI], "anthropic_version": "vertex-2023-10-16", "max_tokens": 9},
}
SHARE_GPT = {
    "conversations": [
        {"from": "system", "value": "Be kind."},
        {"from": "human", "value": "Hi"},
        {"from": "gpt", "value": "Hello"},
    ]
}
BEDROCK_TUNING = {
    "schemaVersion": "bedrock-conversation-2024",
    "system": [{"text": "Be kind."}],
    "messages": [
        {"role": "user", "content": [{"text": "Hi"}]},
        {"role": "assistant", "content": [{"text": "Hello"}]},
    ],
}
GEMINI_TUNING = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}


@pytest.mark.parametrize(
    ("one", "convert", "said"),
    [
        (TUNING, "fine-tuning", "fine-tuning a model. The last answer of each is the expected"),
        (TWO_ANSWERS, "fine-tuning", "fine-tuning a model"),
        (SHARE_GPT, "fine-tuning", "fine-tuning a model"),
        (BEDROCK_TUNING, "fine-tuning", "fine-tuning a model"),
        (VERTEX, "vertex", "Google’s Vertex AI"),
        (GEMINI_TUNING, "gemini-tuning", "fine-tuning Google’s Gemini"),
        ({"request": GEMINI_TUNING}, "gemini", "Google’s Gemini batch API"),
    ],
)
@pytest.mark.parametrize("count", [1, 3])
def test_files_of_other_services_are_no_tables_without_a_word(
    path: Path, one: dict[str, Any], convert: str, said: str, count: int
) -> None:
    if count == 1 and one in (TWO_ANSWERS, BEDROCK_TUNING, {"request": GEMINI_TUNING}):
        return  # one object with a list in it
    reader, _lines = read(path, *[one] * count)
    (asked,) = [found for found in reader.remarks if found.kind == "foreign_requests"]
    assert said in asked.text and asks("foreign_requests")
    changes = [option.change["convert"] for option in asked.options]
    assert changes == [convert, "keep"]


def test_the_expected_answer_of_an_example_is_not_sent(path: Path) -> None:
    longer = {"messages": [HI, HELLO, {"role": "user", "content": "Bye"}, HELLO]}
    first, second, third = converted(path, TUNING, longer, TWO_ANSWERS, convert="fine-tuning")
    assert (first["system"], first["messages"]) == ("Be kind.", [HI])
    assert second["messages"] == longer["messages"][:3]
    assert third["messages"] == [HI] and "claude" in third["model"]
    reader, _lines = read(path, TUNING, convert="fine-tuning")
    (said,) = [found for found in reader.remarks if found.kind == "converted"]
    assert "without the expected answer" in said.text
    _reader, (bad,) = read(path, {"messages": [HELLO]}, convert="fine-tuning")
    assert bad.problem and "no message by the user" in bad.problem.text


def test_conversations_in_other_forms_keep_their_system_prompt(path: Path) -> None:
    of_anthropic = {"system": [{"type": "text", "text": "Be kind."}], "messages": [HI, HELLO]}
    own_system = {"system": "Be kind.", **SHARE_GPT, "id": "7"}
    own_system["conversations"] = SHARE_GPT["conversations"][1:]
    all_forms = [SHARE_GPT, own_system, BEDROCK_TUNING, of_anthropic]
    for params in converted(path, *all_forms, convert="fine-tuning"):
        assert params["system"] == "Be kind."
        (message,) = params["messages"]
        assert message["role"] == "user"
        assert message["content"] in ("Hi", [{"type": "text", "text": "Hi"}])


def test_requests_of_vertex_lose_their_version_and_get_a_model(path: Path) -> None:
    (params,) = converted(path, VERTEX, convert="vertex")
    assert "anthropic_version" not in params and "claude" in params["model"]
    assert (params["messages"], params["max_tokens"]) == ([HI], 9)


def test_messages_of_another_kind_stay_a_table(path: Path) -> None:
    of_guest = [{"role": "guest", "text": "Hi"}], [{"from": "guest", "value": "Hi"}]
    for messages in (*of_guest, [{"text": "Hi"}], ["Hi"], "Hi", []):
        for key in ("messages", "conversations"):
            reader, _lines = read(path, {"id": 1, key: messages}, {"id": 2, key: "x"})
            assert "foreign_requests" not in [found.kind for found in reader.remarks]


# --- Whose form it is -----------------------------------------------------------------------------

BEDROCK = {
    "recordId": "r 1",
    "modelInput": {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 9,
        "temperature": 0.5,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
    },
}
CONVERSE = {
    "recordId": "r 1",
    "modelInput": {
        "system": [{"text": "Be brief."}],
        "messages": [{"role": "user", "content": [{"text": "Hi"}]}],
        "inferenceConfig": {"maxTokens": 9, "temperature": 0.5, "stopSequences": ["END"]},
    },
}
BARE = {"model": "claude-haiku-5-5", "max_tokens": 9, "messages": [HI]}


@pytest.mark.parametrize(
    ("one", "form", "words"),
    [
        (chat(), "openai", "OpenAI’s Batch API"),
        (chat(url="/v1/responses", messages=..., input="Hi"), "openai", "OpenAI’s Batch API"),
        ({"custom_id": "0", "body": {"messages": [HI]}}, "openai", "OpenAI’s Batch API"),
        (BEDROCK, "bedrock", "Amazon Bedrock’s batch inference"),
        (CONVERSE, "bedrock", "Amazon Bedrock’s batch inference"),
        (BARE, "bare", "without a “custom_id”"),
        ({"key": "a", "request": {"contents": []}}, "gemini", "Google’s Gemini batch API"),
        ({"request": {"contents": []}}, "gemini", "Google’s Gemini batch API"),
    ],
)
@pytest.mark.parametrize("count", [1, 2])
def test_whose_form_it_is_is_said_and_asked(
    path: Path, one: dict[str, Any], form: str, words: str, count: int
) -> None:
    reader, lines = read(path, *[one] * count)
    (question,) = reader.remarks
    assert (reader.kind, len(lines)) == ("table", count)
    assert words in question.text
    assert asks(question.kind)
    offered = [option.change["convert"] for option in question.options]
    assert offered == [form, "keep"]
    # A table, if that is what a person wants.
    reader, _lines = read(path, *[one] * count, convert="keep")
    assert reader.kind == "table"
    assert not any(asks(remark.kind) for remark in reader.remarks)


@pytest.mark.parametrize(
    "one",
    [
        {"messages": [HI]},
        {"custom_id": "a", "body": "A text"},
        {"custom_id": "a", "body": {"text": "x"}},
        {"model": "T", "messages": ["x"]},
        {"request": "Please call back"},
        {"url": "/x", "method": "GET", "n": 1},
    ],
    ids=str,
)
def test_data_that_only_looks_like_it_is_data(path: Path, one: dict[str, Any]) -> None:
    reader, _lines = read(path, one, one)
    assert (reader.kind, reader.remarks) == ("table", [])


# --- Converted ------------------------------------------------------------------------------------


def test_the_requests_of_a_file_become_requests_for_claude() -> None:
    choices = Choices(convert="openai")
    reader = open_upload(str(CASES / "openai.jsonl"), choices, Limits())
    lines = list(reader)
    assert [json.loads(line.source) for line in lines] == [
        {
            "custom_id": f"r{number}",
            "params": {
                "model": "claude-sonnet-5-5",
                "max_tokens": 4_096,
                "messages": [{"role": "user", "content": "hi"}],
            },
        }
        for number in range(3)
    ]
    texts = [remark.text for remark in reader.remarks]
    assert texts == [
        "3 requests for OpenAI’s Batch API were converted. “gpt-4o” became “claude-sonnet-5-5”.",
        "3 requests had no maximum answer length. It was set to 4,096 tokens.",
    ]
    changes = [option.change["convert"] for option in reader.remarks[0].options]
    assert changes == ["openai:claude-haiku-5-5", "openai:claude-opus-5-5", "keep"]


def test_the_model_can_be_chosen(path: Path) -> None:
    requests = [chat("a"), chat("b", model="claude-opus-5-5"), chat("c", model="gpt-4o-mini")]
    models = [one["model"] for one in converted(path, *requests)]
    assert models == ["claude-sonnet-5-5", "claude-opus-5-5", "claude-haiku-5-5"]
    models = [one["model"] for one in converted(path, *requests, convert="openai:claude-haiku-5-5")]
    assert models == ["claude-haiku-5-5", "claude-opus-5-5", "claude-haiku-5-5"]


SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "string"}},
    "required": ["a"],
    "additionalProperties": False,
}
FUNCTION = {"name": "f", "description": "Does it", "parameters": SCHEMA}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"max_tokens": ..., "max_completion_tokens": 7}, {"max_tokens": 7}),
        (
            {"messages": [{"role": "system", "content": "S"}, {"role": "developer",
             "content": [{"type": "text", "text": "D"}]}, HI]},
            {"system": "S\n\nD", "messages": [HI]},
        ),
        ({"stop": "END"}, {"stop_sequences": ["END"]}),
        ({"stop": ["A", "B"]}, {"stop_sequences": ["A", "B"]}),
        ({"user": "u1"}, {"metadata": {"user_id": "u1"}}),
        ({"reasoning_effort": "minimal"}, {"output_config": {"effort": "low"}}),
        (
            {"response_format": {"type": "json_schema", "json_schema": {
                "name": "x", "strict": True, "schema": SCHEMA}}},
            {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
        ),
        ({"response_format": {"type": "text"}, "stream": False, "n": 1, "stop": None}, {}),
        (
            {"tools": [{"type": "function", "function": FUNCTION}], "tool_choice": "auto"},
            {"tools": [{"name": "f", "description": "Does it", "input_schema": SCHEMA}],
             "tool_choice": {"type": "auto"}},
        ),
        (
            {"model": "gpt-4o-mini", "tools": [{"type": "function", "function": FUNCTION}],
             "tool_choice": {"type": "function", "function": {"name": "f"}}},
            {"model": "claude-haiku-5-5",
             "tools": [{"name": "f", "description": "Does it", "input_schema": SCHEMA}],
             "tool_choice": {"type": "tool", "name": "f"}},
        ),
        (
            {"messages": [{"role": "user", "content": [
                {"type": "text", "text": "What?"},
                {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]}]},
            {"messages": [{"role": "user", "content": [
                {"type": "text", "text": "What?"},
                {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}]}]},
        ),
        (
            {"messages": [{"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": "data:image/jpg;base64,/9j/4AAQ"}}]}]},
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {
                "type": "base64", "media_type": "image/jpeg", "data": "/9j/4AAQ"}}]}]},
        ),
        (
            {"messages": [HI, {"role": "assistant", "content": None, "tool_calls": [
                {"id": "c1", "type": "function",
                 "function": {"name": "f", "arguments": '{"a": 1}'}},
                {"id": "c2", "type": "function", "function": {"name": "f", "arguments": ""}}]},
                {"role": "tool", "tool_call_id": "c1", "content": "5"},
                {"role": "tool", "tool_call_id": "c2", "content": "6"}]},
            {"messages": [HI, {"role": "assistant", "content": [
                {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}},
                {"type": "tool_use", "id": "c2", "name": "f", "input": {}}]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "c1", "content": "5"},
                    {"type": "tool_result", "tool_use_id": "c2", "content": "6"}]}]},
        ),
        (
            {"messages": ..., "max_tokens": ..., "input": "Hi", "instructions": "Be brief.",
             "max_output_tokens": 7, "reasoning": {"effort": "low"},
             "text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}}},
            {"system": "Be brief.", "max_tokens": 7,
             "output_config": {"effort": "low",
                               "format": {"type": "json_schema", "schema": SCHEMA}}},
        ),
        (
            {"messages": ..., "input": [{"role": "user", "content": [
                {"type": "input_text", "text": "Hi"}]}]},
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]},
        ),
    ],
    ids=range(15),
)  # fmt: skip
def test_what_openai_takes_has_its_counterpart(
    path: Path, given: dict[str, Any], expected: dict[str, Any]
) -> None:
    usual = {"model": "claude-sonnet-5-5", "max_tokens": 9, "messages": [HI]}
    assert params_of(path, **given) == {**usual, **expected}


@pytest.mark.parametrize("one", [BEDROCK, CONVERSE])
def test_requests_of_bedrock_get_a_model_and_lose_their_version(
    path: Path, one: dict[str, Any]
) -> None:
    reader, (line,) = read(path, one, convert="bedrock")
    assert line.problem is None
    request = json.loads(line.source)
    assert (request["custom_id"], request["params"]["model"]) == ("r 1", "claude-sonnet-5-5")
    assert request["params"]["max_tokens"] == 9
    assert request["params"]["messages"] == BEDROCK["modelInput"]["messages"]  # type: ignore[index]
    assert not request["params"].keys() & {"anthropic_version", "inferenceConfig", "temperature"}
    assert "“temperature” was removed from 1 request: Claude has no such setting." in [
        remark.text for remark in reader.remarks
    ]


def test_bare_requests_get_an_id_and_stay_what_they_are(path: Path) -> None:
    reader, lines = read(path, BARE, {**BARE, "id": "mine"}, convert="bare")
    requests = [json.loads(line.source) for line in lines]
    assert [one["custom_id"] for one in requests] == ["request-1", "mine"]
    assert [one["params"] for one in requests] == [BARE, BARE]
    assert len(reader.remarks) == 1


def test_what_has_no_counterpart_is_said(path: Path) -> None:
    requests = [chat("a", seed=1, temperature=0), chat("b", seed=2), chat("c")]
    reader, lines = read(path, *requests, convert="openai")
    assert not any(line.problem for line in lines)
    assert [remark.text for remark in reader.remarks][1:] == [
        "“seed” was removed from 2 requests: Claude has no such setting.",
        "“temperature” was removed from 1 request: Claude has no such setting.",
    ]


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (chat(n=3), "asks for several answers"),
        (chat(url="/v1/embeddings", messages=..., input="Hi"), "nothing like “/v1/embeddings”"),
        (chat(messages=[{"role": "user", "content": [{"type": "input_audio"}]}]), "does not read"),
        (chat(messages=[{"role": "user", "content": [
            {"type": "input_file", "file_id": "file-1"}]}]), "at another service"),
        (chat(messages=[{"role": "function", "content": "x"}]), "the role “function”"),
        (chat(messages=[]), "no “messages”"),
        (chat(messages=[5]), "not an object"),
        (chat(tools=[{"type": "web_search"}]), "no tool like “web_search”"),
        (chat(messages=[HI, {"role": "assistant", "tool_calls": [
            {"id": "c", "function": {"name": "f", "arguments": "{"}}]}]), "not JSON"),
        ({"custom_id": "b", "url": "/v1/responses", "body": 5}, "“body” is missing"),
    ],
    ids=range(10),
)  # fmt: skip
def test_a_request_that_cannot_be_converted_is_a_row_left_out(
    path: Path, one: dict[str, Any], words: str
) -> None:
    _reader, lines = read(path, chat("first"), one, convert="openai")
    problem = lines[1].problem
    assert lines[0].problem is None
    assert problem
    assert (problem.kind, problem.line) == ("req_convert", 2)
    assert words in problem.text
    assert lines[1].source == json.dumps(one)


def test_what_was_converted_is_checked_like_any_request(path: Path) -> None:
    _reader, lines = read(path, chat("a"), chat("a"), chat("b", max_tokens=-1), convert="openai")
    kinds = [line.problem and line.problem.kind for line in lines]
    assert kinds == [None, "req_same_id", "req_max_tokens"]


def test_a_key_that_is_there_twice_is_no_request(path: Path) -> None:
    good = json.dumps(chat("a"))
    path.write_text(f'{good}\n{good.replace("gpt-4o", "x", 1)[:-1]}, "url": "y"}}')
    reader = open_upload(str(path), Choices(convert="openai"), Limits())
    assert [line.problem and line.problem.kind for line in reader] == [None, "same_key"]


@pytest.mark.parametrize("ours", [False, True])
def test_a_corrected_request_may_have_either_form(path: Path, tmp_path: Path, ours: bool) -> None:
    wrong = chat("b", n=2)
    params = {"model": "claude-haiku-5-5", "max_tokens": 5, "messages": [HI]}
    right = {"custom_id": "b", "params": params} if ours else chat("b")
    corrected = tmp_path / "corrected"
    corrected.write_text(json.dumps({"row": 2, "problem": "x", "request": right}))
    path.write_text(f"{json.dumps(chat('a'))}\n{json.dumps(wrong)}\n")
    reader = open_upload(str(path), Choices(convert="openai"), Limits())
    reader.corrections = read_corrections([str(corrected)], Limits(), reader.understood)
    lines = list(reader)
    assert [line.problem for line in lines] == [None, None]
    assert lines[1].model == ("claude-haiku-5-5" if ours else "claude-sonnet-5-5")


@pytest.mark.parametrize("convert", ["", "bedrock", "gemini", "klingon", "openai:gpt-5"])
def test_a_choice_that_does_not_fit_harms_nothing(path: Path, convert: str) -> None:
    reader, lines = read(path, chat("a"), convert=convert)
    assert reader.kind == ("requests" if convert == "openai:gpt-5" else "table")
    assert not any(line.problem for line in lines)


ODD: list[Any] = [None, 0, "", "x", [], {}, [None], [{}], {"type": "x"}, [{"type": 5}]]


@pytest.mark.parametrize("place", ["messages", "content", "tools", "tool_choice", "text", "stop",
                                   "response_format", "reasoning", "max_tokens", "tool_calls",
                                   "input", "instructions", "url", "body", "n"])  # fmt: skip
def test_nothing_in_a_foreign_request_makes_the_conversion_fail(path: Path, place: str) -> None:
    requests = []
    for number, odd in enumerate(ODD):
        one = chat(str(number))
        if place in ("url", "body"):
            one[place] = odd
        elif place in ("content", "tool_calls"):
            one["body"]["messages"] = [HI, {**HI, "role": "assistant", place: odd}, HI]
        else:
            one["body"][place] = odd
        requests.append(one)
    _reader, lines = read(path, chat("first"), *requests, convert="openai")
    assert len(lines) == 1 + len(ODD)
