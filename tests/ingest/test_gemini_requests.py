"""Requests for Google's Gemini become requests for Claude, or the reason why not is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.ingest.file_formats import open_upload
from jobs.ingest.shapes import Choices, Finding, Limits, ParsedRow

pytestmark = pytest.mark.no_database

HI = {"role": "user", "parts": [{"text": "Hi"}]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "upload"


def read(
    path: Path, *objects: object, convert: str = "gemini"
) -> tuple[list[Finding], list[ParsedRow]]:
    path.write_text("\n".join(map(json.dumps, objects)))
    reader = open_upload(str(path), Choices(convert=convert), Limits())
    rows = list(reader)
    return reader.remarks, rows


def params_of(path: Path, **request: Any) -> dict[str, Any]:
    _remarks, (row,) = read(path, {"key": "a", "request": {"contents": [HI], **request}})
    assert not row.problem
    params: dict[str, Any] = json.loads(row.source)["params"]
    return params


@pytest.mark.parametrize("snake", [False, True])
def test_a_request_keeps_all_that_has_a_counterpart(path: Path, snake: bool) -> None:
    one = {
        "key": "review 7",
        "request": {
            "contents": [HI],
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "generationConfig": {
                "maxOutputTokens": 50,
                "temperature": 0.5,
                "topP": None,
                "stopSequences": ["END"],
                "responseMimeType": "application/json",
                "responseSchema": {
                    "type": "OBJECT",
                    "properties": {
                        "type": {"type": "STRING", "format": "enum", "enum": ["a", "b"]},
                        "count": {"type": "INTEGER", "nullable": True},
                    },
                    "required": ["type", "count"],
                    "propertyOrdering": ["type", "count"],
                },
            },
            "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT"}],
        },
    }
    if snake:
        text = json.dumps(one).replace("generationConfig", "generation_config")
        text = text.replace("maxOutputTokens", "max_output_tokens")
        text = text.replace("systemInstruction", "system_instruction")
        one = json.loads(text.replace("responseSchema", "response_schema"))
    remarks, (row,) = read(path, one)
    assert not row.problem
    request = json.loads(row.source)
    assert request["custom_id"] == "review 7"
    params = request["params"]
    assert "claude" in params.pop("model")
    assert params == {
        "max_tokens": 50,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
        "system": "Be brief.",
        "stop_sequences": ["END"],
        "output_config": {
            "format": {
                "type": "json_schema",
                "schema": {
                    "type": "object",
                    "properties": {
                        "type": {"type": "string", "enum": ["a", "b"]},
                        "count": {"type": ["integer", "null"]},
                    },
                    "required": ["type", "count"],
                    "additionalProperties": False,
                },
            }
        },
    }
    left = [found.text for found in remarks if found.kind == "converted_without"]
    assert ["safetySettings" in left[0], "temperature" in left[1]] == [True, True]
    assert len(left) == 2


def test_pictures_and_calls_of_tools_go_along(path: Path) -> None:
    contents = [
        {
            "parts": [
                {"text": "Look"},
                {"inlineData": {"mimeType": "image/png", "data": "iVBORw0K"}},
            ]
        },
        {"role": "model", "parts": [{"thought": True, "text": "Hm"}, *map(call, ("f", "g"))]},
        {"role": "user", "parts": [result("g"), result("f")]},
    ]
    tools = [
        {
            "functionDeclarations": [
                {"name": name, "description": "d", "parameters": {"type": "OBJECT"}}
                for name in ("f", "g")
            ]
        }
    ]
    params = params_of(path, contents=contents, tools=tools)
    look, calls, results = (message["content"] for message in params["messages"])
    assert look[1]["source"] == {"type": "base64", "media_type": "image/png", "data": "iVBORw0K"}
    assert [block["type"] for block in calls] == ["tool_use", "tool_use"]
    by_name = {block["name"]: block["id"] for block in calls}
    assert [block["tool_use_id"] for block in results] == [by_name["g"], by_name["f"]]
    assert [tool["input_schema"] for tool in params["tools"]] == [{"type": "object"}] * 2


def call(name: str) -> dict[str, Any]:
    return {"functionCall": {"name": name, "args": {"a": 1}}}


def result(name: str) -> dict[str, Any]:
    return {"functionResponse": {"name": name, "response": {"of": name}}}


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        ({"contents": [{"parts": [{"fileData": {"fileUri": "gs://a/b"}}]}]}, "at another service"),
        ({"tools": [{"googleSearch": {}}]}, "no tool like “googleSearch”"),
        ({"contents": [{"parts": [{"executableCode": {}, "x": 1}]}]}, "“executableCode”"),
        ({"contents": [{"parts": [{"inlineData": {"mimeType": "audio/mp3"}}]}]}, "“audio/mp3”"),
        ({"generationConfig": {"candidateCount": 2}}, "several answers"),
        ({"contents": []}, "no “contents”"),
    ],
)
def test_what_has_no_counterpart_is_skipped_with_the_reason(
    path: Path, request_: dict[str, Any], why: str
) -> None:
    good = {"key": "a", "request": {"contents": [HI]}}
    bad = {"key": "b", "request": {"contents": [HI], **request_}}
    _remarks, (first, second) = read(path, good, bad)
    assert not first.problem
    assert second.problem and why in second.problem.text


def test_models_keep_their_size(path: Path) -> None:
    for model, family in (("models/gemini-2.5-pro", "sonnet"), ("gemini-2.5-flash", "haiku")):
        assert family in params_of(path, model=model)["model"]


def test_ids_stand_in_several_places(path: Path) -> None:
    request = {"request": {"contents": [HI]}}
    objects = [{**request, "metadata": {"key": "m"}}, {**request, "id": 5}, request]
    _remarks, rows = read(path, *objects)
    ids = [json.loads(row.source)["custom_id"] for row in rows]
    assert ids == ["m", "5", "request-3"]


def test_the_expected_answer_of_an_example_is_not_sent(path: Path) -> None:
    example = {"contents": [HI, {"role": "model", "parts": [{"text": "Hello"}]}]}
    remarks, (row,) = read(path, example, convert="gemini-tuning")
    assert not row.problem
    assert len(json.loads(row.source)["params"]["messages"]) == 1
    assert any("without the expected answer" in found.text for found in remarks)


ODD: list[Any] = [None, 0, "", "x", [], {}, [None], [{}], {"type": "x"}, [{"parts": 5}], [[1]]]


@pytest.mark.parametrize(
    "place",
    ["contents", "systemInstruction", "generationConfig", "tools", "toolConfig", "request"],
)
def test_nothing_in_a_request_makes_the_conversion_fail(path: Path, place: str) -> None:
    objects: list[Any] = [{"key": "first", "request": {"contents": [HI]}}]
    for number, odd in enumerate(ODD):
        request = odd if place == "request" else {"contents": [HI], place: odd}
        objects.append({"key": str(number), "request": request})
    _remarks, rows = read(path, *objects)
    assert len(rows) == len(objects)
