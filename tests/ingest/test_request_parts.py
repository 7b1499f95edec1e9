"""What is inside the parameters of a ready-made request is checked to the bottom before it is paid;
nothing that the API takes is refused."""

from __future__ import annotations

import base64
import copy
import json
import random
import typing
from pathlib import Path
from typing import Any

import pytest
import typing_extensions
from anthropic import types
from anthropic.types import beta

from jobs.ingest import request_blocks, request_sources, request_tool_checks
from jobs.ingest.file_formats import open_upload
from jobs.ingest.finding_kinds import FINDINGS
from jobs.ingest.request_checks import find_problems
from jobs.ingest.request_fixes import apply_fix, fix_label
from jobs.ingest.request_reader import ROUNDS, RequestReader
from jobs.ingest.shapes import Choices, Limits

pytestmark = pytest.mark.no_database

CASES = Path(__file__).parent.parent / "data" / "json_cases"
HI = {"role": "user", "content": "Hi"}
OPEN = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
CLOSED = {**OPEN, "additionalProperties": False}
TOOL = {"name": "look", "input_schema": OPEN}
MARK = {"type": "ephemeral"}
HOUR = {"type": "ephemeral", "ttl": "1h"}
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(9)).decode()
PDF = base64.b64encode(b"%PDF-1.7\n" + bytes(9)).decode()
SOME = "U3RhaW5sZXNzIHJvY2tz"  # no file that we know


def text(words: str = "x", **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def file(kind: str, **source: Any) -> dict[str, Any]:
    return {"type": kind, "source": source}


def image(media_type: str = "image/png", data: str = PNG) -> dict[str, Any]:
    return file("image", type="base64", media_type=media_type, data=data)


def call(id: str = "t1", **more: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": "look", "input": {}, **more}


def result(id: str = "t1", **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": id, "content": "5", **more}


def schema(found: dict[str, Any]) -> dict[str, Any]:
    return {"output_config": {"format": {"type": "json_schema", "schema": found}}}


def object_of(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def request(**params: Any) -> dict[str, Any]:
    usual = {"model": "claude-sonnet-4-6", "max_tokens": 2_000, "messages": [HI]}
    return {"custom_id": "a", "params": {**usual, **params}}


CITED = {**file("document", type="text", media_type="text/plain", data="x"),
         "citations": {"enabled": True}}  # fmt: skip
TREE = {"$defs": {"n": object_of(c={"$ref": "#/$defs/n"})}, "$ref": "#/$defs/n"}
FUNCTION = {"type": "function", "function": {"name": "look", "parameters": OPEN}}

# The parameters, the kind of the finding, words of it, and the fix that is offered.
FAULTY: list[tuple[dict[str, Any], str, str, str]] = [
    # Blocks
    ({"messages": [user({"type": "input_text", "text": "hi"})]}, "req_block", "“input_text” is not",
     "block:convert"),
    ({"messages": [user({"type": "image_url", "image_url": {"url": "https://x.example/a.png"}})]},
     "req_block", "“image_url”", "block:convert"),
    ({"messages": [user({"type": "hologram"})]}, "req_block", "“hologram”", ""),
    ({"messages": [user({"type": "image"})]}, "req_block", "“image” has no “source”", ""),
    ({"messages": [user(text(cache="x"))]}, "req_block", "an unknown key, “cache”", ""),
    ({"messages": [HI, assistant({"type": "thinking", "thinking": "x"}, text()), HI]},
     "req_block", "has no “signature”", ""),
    ({"messages": [HI, assistant(call(id="a b")), user(result("a b"))]}, "req_block", "the “id”",
     ""),
    ({"messages": [HI, assistant(call(input="{}")), user(result())]}, "req_block",
     "“input” of a “tool_use” is not an object", ""),
    ({"messages": [HI, assistant(call()), user(result(content=[{"type": "x"}]))]}, "req_block",
     "“x” is not", ""),
    # Calls and results
    ({"messages": [user(result())]}, "req_tool_result", "“t1” has no such “tool_use”", ""),
    ({"messages": [HI, assistant(call()), HI]}, "req_tool_result", "“t1” has no “tool_result”", ""),
    ({"messages": [HI, assistant(call()), user(result("t2"))]}, "req_tool_result", "“t1”", ""),
    ({"messages": [HI, assistant(call(), call()), user(result())]}, "req_tool_result", "two calls",
     ""),
    ({"messages": [user(call())]}, "req_tool_result", "in an “assistant” message", ""),
    ({"messages": [HI, assistant(result()), HI]}, "req_tool_result", "in a “user” message", ""),
    # Sources
    ({"messages": [user(image("image/jpg", SOME))]}, "req_media_type", "is “image/jpg”",
     "source:media_type"),
    ({"messages": [user(image("image/bmp", SOME))]}, "req_media_type", "“image/bmp”", ""),
    ({"messages": [user(image("image/jpeg"))]}, "req_media_type", "it is “image/png”",
     "source:media_type"),
    ({"messages": [user(image(data="data:image/png;base64," + PNG))]}, "req_data_url", "data URL",
     "source:data_url"),
    ({"messages": [user(file("image", type="url", url="data:image/png;base64," + PNG))]},
     "req_data_url", "data URL", "source:data_url"),
    ({"messages": [user(image(data="no base64!"))]}, "req_source", "is not base64", ""),
    ({"messages": [user(image(data=""))]}, "req_source", "has no “data”", ""),
    ({"messages": [user(file("image", type="s3", uri="x"))]}, "req_source", "is “s3”", ""),
    ({"messages": [user(file("image", type="url"))]}, "req_source", "has no “url”", ""),
    ({"messages": [user({"type": "image", "source": "a.png"})]}, "req_source", "not an object", ""),
    ({"messages": [user(file("document", type="base64", media_type="text/csv", data=SOME))]},
     "req_media_type", "Use “application/pdf”", ""),
    ({"messages": [user(file("document", type="base64", media_type="pdf", data=PDF))]},
     "req_media_type", "is “pdf”", "source:media_type"),
    ({"messages": [user(file("document", type="text", media_type="text/csv", data="a,b"))]},
     "req_media_type", "“text/plain”", "source:media_type"),
    ({"messages": [HI, assistant(call()), user(result(content=[image("image/gif")]))]},
     "req_media_type", "it is “image/png”", "source:media_type"),
    # Settings
    ({"stop_sequences": [" ", "\n", "END"]}, "req_stop", "only blanks", "stop:blank"),
    ({"stop_sequences": [""]}, "req_stop", "only blanks", "stop:blank"),
    ({"metadata": {"row": "7"}}, "req_metadata", "“row”", "metadata:user_id"),
    ({"metadata": {"user_id": "a", "x": 1}}, "req_metadata", "“x”", "metadata:user_id"),
    ({"metadata": {"user_id": 7}}, "req_metadata", "not text", ""),
    ({"system": [text("")]}, "req_text", "“system”", ""),
    ({"thinking": {"type": "enabled", "budget_tokens": 1_024}, "tools": [TOOL],
      "tool_choice": {"type": "any"}}, "req_thinking", "forced tool use", "remove:thinking"),
    ({"messages": [HI, {"role": "assistant", "content": "It is "}], "model": "claude-haiku-4-5"},
     "req_prefill_end", "ends with a blank", "prefill:strip"),
    ({"messages": [HI, {"role": "assistant", "content": "{"}], "model": "claude-haiku-4-5",
      **schema(CLOSED)}, "req_prefill", "JSON schema", "remove:prefill"),
    # Tools
    ({"tool_choice": {"type": "auto"}}, "req_no_tools", "no tools", "remove:tool_choice"),
    ({"tools": [], "tool_choice": {"type": "any"}}, "req_no_tools", "no tools",
     "remove:tool_choice"),
    ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "go"}}, "req_no_tools", "“go”", ""),
    ({"tools": [TOOL, TOOL]}, "req_tools", "Two tools have the name “look”", "tools:once"),
    ({"tools": [TOOL, {**TOOL, "description": "x"}]}, "req_tools", "Two tools", ""),
    ({"tools": [FUNCTION]}, "req_tools", "OpenAI’s format", "tools:convert"),
    ({"tools": [{"name": "x"}]}, "req_tools", "no “input_schema”", ""),
    ({"tools": [{"input_schema": OPEN}]}, "req_tools", "no “name”", ""),
    ({"tools": [{**TOOL, "name": "a b"}]}, "req_tools", "“a b”", ""),
    ({"tools": [{**TOOL, "parameters": {}}]}, "req_tools", "“parameters”", ""),
    ({"tools": [{**TOOL, "input_schema": {"type": "string"}}]}, "req_tools", "not “object”", ""),
    ({"tools": [{**TOOL, "input_schema": {"anyOf": [OPEN, OPEN]}}]}, "req_tools", "“anyOf”", ""),
    ({"tools": [{"name": f"t{n}", "input_schema": CLOSED, "strict": True} for n in range(21)]},
     "req_tools", "More than 20", ""),
    ({"tools": [{**TOOL, "strict": True}]}, "req_schema", "additionalProperties",
     "schema:simplify"),
    # Prompt caching
    ({"messages": [user(*[text(cache_control=MARK)] * 5)]}, "req_cache", "5 blocks", "cache:last"),
    ({"tools": [{**TOOL, "cache_control": MARK}], "system": [text(cache_control=MARK)],
      "messages": [user(*[text(cache_control=MARK)] * 3)]}, "req_cache", "5 blocks", "cache:last"),
    ({"system": [text(cache_control=MARK)], "messages": [user(text(cache_control=HOUR))]},
     "req_cache", "one hour comes after", "cache:one_hour"),
    ({"messages": [user(text(cache_control={"type": "ephemeral", "ttl": "2h"}))]}, "req_cache",
     "“ttl”", "cache:one_hour"),
    ({"messages": [user(text(cache_control=True))]}, "req_cache", "“ephemeral”", ""),
    ({"messages": [HI, assistant({"type": "redacted_thinking", "data": "x", "cache_control": MARK}),
                   HI]}, "req_block", "“cache_control”", ""),
    # Schemas
    (schema(OPEN), "req_schema", "additionalProperties", "schema:simplify"),
    (schema({**CLOSED, "additionalProperties": True}), "req_schema", "additionalProperties",
     "schema:simplify"),
    (schema(object_of(a=OPEN)), "req_schema", "additionalProperties", "schema:simplify"),
    (schema(object_of(n={"type": "integer", "minimum": 1, "maximum": 5})), "req_schema",
     "not supported", "schema:simplify"),
    (schema(object_of(s={"type": "string", "maxLength": 5})), "req_schema", "“maxLength”",
     "schema:simplify"),
    (schema(object_of(l={"type": "array", "items": {"type": "string"}, "minItems": 2})),
     "req_schema", "“minItems”", "schema:simplify"),
    (schema(object_of(o={"oneOf": [{"type": "string"}, {"type": "null"}]})), "req_schema",
     "“oneOf”", "schema:simplify"),
    (schema(TREE), "req_schema", "contains itself", ""),
    (schema(object_of(c={"$ref": "#"})), "req_schema", "contains itself", ""),
    (schema(object_of(c={"$ref": "https://x.example/s.json"})), "req_schema", "“$ref”", ""),
    (schema(object_of(c={"$ref": "#/$defs/gone"})), "req_schema", "missing", ""),
    (schema(object_of(c={"type": "text"})), "req_schema", "“text” is not a type", ""),
    (schema(object_of(c={"enum": []})), "req_schema", "“enum”", ""),
    (schema(object_of(c={"enum": [{"x": 1}]})), "req_schema", "“enum”", ""),
    (schema({**object_of(**{f"p{n}": {"type": "string"} for n in range(25)}), "required": []}),
     "req_schema", "25 properties that are not “required”", ""),
    (schema(object_of(**{f"p{n}": {"type": ["string", "null"]} for n in range(17)})),
     "req_schema", "17 properties of several types", ""),
    ({**schema(CLOSED), "messages": [user(CITED, text())]}, "req_citations", "Citations",
     "citations:remove"),
    ({"output_config": {"format": {"type": "json_schema", "json_schema": {
        "name": "x", "strict": True, "schema": CLOSED}}}}, "req_format", "another form",
     "format:move"),
    ({"output_format": {"type": "json_schema", "schema": CLOSED}}, "req_format", "“output_format”",
     "format:move"),
    ({"response_format": {"type": "json_schema", "json_schema": {"schema": CLOSED}}}, "req_format",
     "“response_format”", "format:move"),
]  # fmt: skip


@pytest.mark.parametrize(("params", "kind", "words", "fix"), FAULTY, ids=range(len(FAULTY)))
def test_a_fault_is_found_at_the_bottom(
    params: dict[str, Any], kind: str, words: str, fix: str
) -> None:
    found = json.loads(json.dumps(request(**params)))
    (problem,) = find_problems(found, Limits())
    assert (problem.kind, problem.fix) == (kind, fix)
    assert words in problem.text
    assert FINDINGS[kind].title
    assert FINDINGS[kind].remedy
    if fix:
        assert fix_label(fix, 2)
        apply_fix(fix, found)
        assert list(find_problems(found, Limits())) == []


def test_the_requests_of_the_reports_are_named() -> None:
    reader = open_upload(str(CASES / "requests_params.jsonl"), Choices(), Limits())
    kinds = [line.problem and line.problem.kind for line in reader]
    assert kinds == [
        "req_block",
        "req_tool_result",
        "req_metadata",
        "req_stop",
        "req_no_tools",
        "req_schema",
        "req_citations",
    ]


def test_fixes_keep_what_they_can(tmp_path: Path) -> None:
    limited = object_of(n={"type": "integer", "minimum": 1, "description": "Stars"})
    requests = [
        request(**schema(limited)),
        request(messages=[user(image(data="data:image/jpeg;base64," + PNG))]),
        request(messages=[user({"type": "input_text", "text": "hi"}, {"type": "input_audio"})]),
    ]
    path = tmp_path / "upload"
    path.write_text("\n".join(json.dumps({**one, "custom_id": str(n)}) for n, one in
                              enumerate(requests)))  # fmt: skip
    fixes = ("schema:simplify", "source:data_url", "block:convert")
    lines = list(open_upload(str(path), Choices(remedies=fixes), Limits()))
    params = [json.loads(line.source)["params"] for line in lines]
    fixed = params[0]["output_config"]["format"]["schema"]["properties"]["n"]
    assert fixed == {"type": "integer", "description": "Stars\n\n{minimum: 1}"}
    assert params[1]["messages"][0]["content"][0]["source"] == {
        "type": "base64", "media_type": "image/png", "data": PNG,
    }  # fmt: skip
    assert lines[2].problem
    assert "input_audio" in lines[2].problem.text


# --- What is taken --------------------------------------------------------------------------------

SHARED = object_of(a={"$ref": "#/$defs/x"}, b={"$ref": "#/$defs/x"})
TAKEN: list[dict[str, Any]] = [
    # From the documentation and the examples of the library
    {"system": [text("Be brief."), text("A book", cache_control=MARK)]},
    {"system": [text(cache_control=HOUR)], "messages": [user(text(cache_control=MARK))]},
    {"cache_control": MARK, "messages": [user(*[text(cache_control=MARK)] * 3)]},
    {"messages": [user(*[text(cache_control=MARK)] * 4)]},
    {"messages": [user(text(cache_control=None, citations=None))]},
    {"messages": [user(image(), image("image/jpeg", SOME), text())]},
    {"messages": [user(file("image", type="url", url="https://x.example/a.jpg"))]},
    {"messages": [user(file("image", type="file", file_id="file_1"))]},
    {"messages": [user(image(data=PNG[:8] + "\n" + PNG[8:]))]},
    {"messages": [user(file("document", type="base64", media_type="application/pdf", data=SOME))]},
    {"messages": [user({**CITED, "title": "A", "context": "B"}, text())]},
    {"messages": [user(file("document", type="content", content=[text(), image()]))]},
    {"messages": [user(file("document", type="content", content="x"))]},
    {"messages": [user({"type": "search_result", "source": "https://x.example", "title": "T",
                        "content": [text()], "citations": {"enabled": True}})]},
    {"messages": [HI, assistant(text(), call()), user(result(), text())], "tools": [TOOL]},
    {"messages": [HI, assistant(call("a"), call("b")), user(result("a")), user(result("b"))]},
    {"messages": [HI, assistant(call(caller={"type": "direct"})), user(result(is_error=True))]},
    {"messages": [HI, assistant(call()), user({"type": "tool_result", "tool_use_id": "t1"})]},
    {"messages": [HI, assistant(call()), user(result(content=[text(), image()]))]},
    {"messages": [HI, assistant({"type": "thinking", "thinking": "", "signature": "x"}, call()),
                  user(result())]},
    {"messages": [HI, assistant({"type": "redacted_thinking", "data": "x"}, text()), HI]},
    {"messages": [HI, assistant(
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}, text()),
        HI]},
    {"messages": [HI, assistant({"type": "compaction", "content": "x"}), HI]},
    {"tools": [TOOL, {**TOOL, "name": "other", "type": "custom", "description": "x",
                      "input_examples": [{"a": "b"}], "defer_loading": False,
                      "allowed_callers": ["direct"], "eager_input_streaming": True}]},
    {"tools": [{**TOOL, "input_schema": {"type": "object", "properties": {
        "unit": {"type": "string", "enum": ["c", "f"], "maxLength": 1}, "deep": {"oneOf": []}}}}]},
    {"tools": [{**TOOL, "input_schema": {}}, {**TOOL, "name": "n" * 128}]},
    {"tools": [{**TOOL, "input_schema": CLOSED, "strict": True}, {**TOOL, "name": "b",
                                                                 "strict": False}]},
    {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "look",
                                      "disable_parallel_tool_use": True}},
    {"tools": [TOOL], "tool_choice": {"type": "any"}, "thinking": {"type": "adaptive"}},
    {"tools": [{"type": "computer_toolset_20260801"}],
     "tool_choice": {"type": "tool", "name": "screenshot"}},
    {"tool_choice": {"type": "none"}},
    {"tools": [], "tool_choice": None},
    {"metadata": {}},
    {"metadata": {"user_id": None}},
    {"stop_sequences": []},
    {"stop_sequences": ["\n\nHuman:", " END"]},
    schema(CLOSED),
    schema(SHARED | {"$defs": {"x": CLOSED}}),
    schema(SHARED | {"$defs": {"x": CLOSED, "unused": {"type": "string", "minLength": 1}}}),
    schema({"type": "array", "items": CLOSED, "minItems": 1}),
    schema(object_of(minimum={"type": "integer"}, oneOf={"type": "string", "format": "date"})),
    schema(object_of(a={"type": ["string", "null"]}, b={"anyOf": [CLOSED, {"type": "null"}]})),
    schema(object_of(a={"allOf": [CLOSED]}, b={"const": 5}, c={"enum": [1, "x", None, True]})),
    schema(object_of(a={"type": "string", "pattern": "^x", "title": "A", "default": "x"})),
    schema({**object_of(**{f"p{n}": {"type": "string"} for n in range(24)}), "required": []}),
    {**schema(CLOSED), "messages": [user({**CITED, "citations": {"enabled": False}}, text())]},
    {"messages": [HI, {"role": "assistant", "content": "It is"}], "model": "claude-haiku-4-5"},
]  # fmt: skip


@pytest.mark.parametrize("params", TAKEN, ids=range(len(TAKEN)))
def test_what_the_api_takes_is_not_refused(params: dict[str, Any]) -> None:
    assert list(find_problems(request(**params), Limits())) == []


def _fields(kind: type) -> tuple[str, set[str], set[str]]:
    """The type of a block, the fields that it needs, and all of them."""
    hints = typing_extensions.get_type_hints(kind)
    (name, *_others) = typing.get_args(hints["type"])
    marked = typing_extensions.get_type_hints(kind, include_extras=True)
    required: object = typing_extensions.Required
    needed = {field for field, hint in marked.items() if typing.get_origin(hint) == required}
    return name, needed, set(hints)


BLOCKS = [
    kind
    for kind in (*typing.get_args(types.ContentBlockParam), types.ToolReferenceBlockParam)
    if typing_extensions.is_typeddict(kind)
]


@pytest.mark.parametrize("kind", BLOCKS, ids=lambda kind: kind.__name__)
def test_every_block_of_the_library_is_known_with_all_its_fields(kind: type) -> None:
    name, needed, fields = _fields(kind)
    known = request_blocks.BLOCKS[name]
    assert fields - {"type"} == {*known.required, *known.optional}
    assert set(known.required) <= needed


def test_what_comes_back_in_an_answer_can_be_sent_again() -> None:
    for kind in typing.get_args(typing.get_args(types.ContentBlock)[0]):
        (name,) = typing.get_args(kind.model_fields["type"].annotation)
        known = request_blocks.BLOCKS[name]
        assert set(kind.model_fields) <= {"type", *known.required, *known.optional}


def test_blocks_of_betas_are_left_alone() -> None:
    names = {
        _fields(kind)[0]
        for kind in typing.get_args(beta.BetaContentBlockParam)
        if typing_extensions.is_typeddict(kind)
    }
    assert names - request_blocks.BLOCKS.keys() <= request_blocks.BETA_BLOCKS


def test_every_field_of_a_tool_and_media_type_is_known() -> None:
    hints = typing_extensions.get_type_hints(types.ToolParam)
    assert set(hints) <= request_tool_checks._KEYS
    sources = typing_extensions.get_type_hints(types.Base64ImageSourceParam)
    assert set(typing.get_args(sources["media_type"])) == set(request_sources.IMAGE_TYPES)


# --- Whatever is in a request ---------------------------------------------------------------------

ODD: list[Any] = [None, True, 0, 1.5, "", "x", " ", [], {}, [[]], [{}], [None], {"type": 5},
                  {"type": "x"}, [text()], {"a": {"b": [1]}}]  # fmt: skip


def _places(value: Any, above: tuple[Any, ...] = ()) -> typing.Iterator[tuple[Any, ...]]:
    """The keys to everything within a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, one in inner:
        yield (*above, key)
        if isinstance(one, dict | list):
            yield from _places(one, (*above, key))


def _spoil(value: Any, dice: random.Random) -> None:
    """Put something odd into some places."""
    for _time in range(dice.randint(1, 3)):
        *above, key = dice.choice(list(_places(value)))
        inner = value
        for step in above:
            inner = inner[step]
        inner[key] = copy.deepcopy(dice.choice(ODD))


def test_nothing_in_a_request_makes_the_check_fail_and_every_fix_helps() -> None:
    dice = random.Random(1)
    requests = [request(**params) for params, *_rest in FAULTY] + [request(**one) for one in TAKEN]
    for _time in range(4_000):
        found = json.loads(json.dumps(dice.choice(requests)))
        _spoil(found, dice)
        before = json.dumps(found)
        for _round in range(ROUNDS):
            fixes = [problem.fix for problem in find_problems(found, Limits()) if problem.fix]
            if not fixes:
                break
            apply_fix(fixes[0], found)
        else:
            raise AssertionError(f"{fixes} do not help with {before}")
        RequestReader((), Limits()).line(1, json.dumps(found), found)
