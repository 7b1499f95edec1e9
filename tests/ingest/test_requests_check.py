"""Ready-made requests are checked before they are paid, against what a batch takes; what can be
mended in all of them is mended when a person says so, and only then."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
import pytest

from jobs.ingest.file_formats import open_upload
from jobs.ingest.finding_kinds import FINDINGS
from jobs.ingest.protocol import FindingGroup
from jobs.ingest.request_checks import _REFUSED
from jobs.ingest.request_fixes import fix_label
from jobs.ingest.shapes import Choices, Finding, Limits, ParsedRow, Reader
from jobs.rules import pricing
from jobs.rules.model_capabilities import MODEL_RULES
from jobs.simulator.checks import check_message
from jobs.simulator.wire import ApiError, decode_params

pytestmark = pytest.mark.no_database

USER = {"role": "user", "content": "Hi"}
ANSWER = {"role": "assistant", "content": "It is"}
SYSTEM = {"role": "system", "content": "Be brief."}
SEARCH = {"type": "web_search_20250305", "name": "web_search"}
SCHEMA = {"type": "json_schema", "schema": {"type": "object"}}
GONE = ...  # a key that is taken out


def short(value: object) -> str:
    """Names a case of a table."""
    return str(value)[:60]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "upload"


def request(custom_id: object = "a", **params: object) -> dict[str, Any]:
    body = {"model": "claude-haiku-5-5", "max_tokens": 100, "messages": [USER], **params}
    return {"custom_id": custom_id, "params": {k: v for k, v in body.items() if v is not GONE}}


def read(
    path: Path, requests: Sequence[dict[str, Any]], *remedies: str
) -> tuple[Reader, list[ParsedRow]]:
    # The first line decides what kind of file it is, whatever comes then.
    lines = [request("the first"), *requests]
    path.write_text("\n".join(map(json.dumps, lines)))
    reader = open_upload(str(path), Choices(remedies=remedies), Limits())
    assert reader.kind == "requests"
    first, *others = reader
    assert first.problem is None
    return reader, others


def problem(path: Path, found: dict[str, Any], *remedies: str) -> Finding | None:
    _reader, (line,) = read(path, [found], *remedies)
    return line.problem


def is_taken(params: dict[str, Any]) -> bool:
    """By the provider, as far as the simulator knows it."""
    try:
        check_message(decode_params(msgspec.json.encode(params)), in_batch=True)
    except ApiError:
        return False
    return True


# --- What is taken, and what is not ---------------------------------------------------------------

TAKEN: list[dict[str, Any]] = [
    {},
    {"stream": False},
    {"stream": None},
    {"speed": None},
    {"max_tokens": 1},
    {"max_tokens": 128_000},
    {"model": "claude-opus-4-5-20251101", "max_tokens": 64_000},
    {"system": "Be brief."},
    {"system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]},
    {"messages": [USER, USER]},
    {"messages": [USER, ANSWER, USER]},
    {"messages": [USER, ANSWER], "model": "claude-haiku-4-5"},
    {"messages": [USER, SYSTEM], "model": "claude-opus-5-5"},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]},
    {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "base64"}}]}]},
    {"stop_sequences": ["\n"]},
    {"metadata": {"user_id": "x"}},
    {"service_tier": "auto"},
    {"inference_geo": "us"},
    {"inference_geo": None},
    {"thinking": None},
    {"thinking": {"type": "adaptive", "display": "summarized"}},
    {
        "thinking": {"type": "enabled", "budget_tokens": 1_024},
        "max_tokens": 1_025,
        "model": "claude-sonnet-4-6",
    },
    {"output_config": {"effort": "xhigh"}},
    {"output_config": {"format": {**SCHEMA, "schema": {"type": "object", "properties": {},
                                                       "additionalProperties": False}}}},
    {"tools": [{"name": "x", "input_schema": {"type": "object"}}], "tool_choice": {"type": "auto"}},
    {"tools": [{"type": "bash_20250124", "name": "bash"}, {"type": None, "name": "x"}]},
    {"tools": [{"type": "web_search_20260318", "name": "web_search", "max_uses": 3}]},
    {"cache_control": {"type": "ephemeral", "ttl": "1h"}},
]  # fmt: skip


@pytest.mark.parametrize("params", TAKEN, ids=short)
def test_what_a_batch_takes_is_sent_to_the_letter(path: Path, params: dict[str, Any]) -> None:
    found = request(**params)
    _reader, (line,) = read(path, [found])
    assert line.problem is None
    assert line.source == json.dumps(found)
    assert is_taken(found["params"])


# The request, the kind of the finding, words of it, and the fix that is offered. A star: the
# simulator does not know of this rule.
REFUSED: list[tuple[dict[str, Any], str, str, str]] = [
    ({"stream": True}, "req_stream", "stream", "remove:stream"),
    ({"stream": 0}, "req_stream", "stream", "remove:stream"),
    ({"speed": "fast"}, "req_speed", "fast", "remove:speed"),
    ({"speed": "standard"}, "req_speed", "fast", "remove:speed"),
    ({"fallbacks": ["claude-opus-5"]}, "req_fallbacks", "fallback", "remove:fallbacks"),
    ({"temperature": 0}, "req_temperature", "“temperature”", "remove:temperature"),
    ({"temperature": 1.0}, "req_temperature", "“temperature”", "remove:temperature"),
    ({"temperature": None}, "req_temperature", "“temperature”", "remove:temperature"),
    ({"top_p": 0.9}, "req_top_p", "“top_p”", "remove:top_p"),
    ({"top_k": 5}, "req_top_k", "“top_k”", "remove:top_k"),
    ({"frequency_penalty": 1}, "req_unknown", "penalty", "remove:frequency_penalty"),
    ({"context_management": {}}, "*req_unknown", "beta", "remove:context_management"),
    ({"": 1}, "req_unknown", "“”", ""),
    ({"x" * 500: 1}, "req_unknown", "“xxx", ""),
    ({"max_tokens": GONE}, "req_max_tokens", "missing", ""),
    ({"max_tokens": None}, "req_max_tokens", "whole number", ""),
    ({"max_tokens": True}, "req_max_tokens", "whole number", ""),
    ({"max_tokens": "10"}, "req_max_tokens", "whole number", ""),
    ({"max_tokens": 10.5}, "req_max_tokens", "whole number", ""),
    ({"max_tokens": 0}, "req_max_tokens", "whole number", ""),
    ({"max_tokens": -1}, "req_max_tokens", "whole number", ""),
    ({"max_tokens": 10**9}, "req_longest", "1,000,000,000", "max_tokens:longest"),
    ({"max_tokens": 2**70}, "req_longest", "128,000", "max_tokens:longest"),
    ({"max_tokens": 128_001}, "req_longest", "128,000", "max_tokens:longest"),
    (
        {"max_tokens": 64_001, "model": "claude-haiku-4-5"},
        "req_longest",
        "Claude Haiku 4.5 writes at most 64,000",
        "max_tokens:longest",
    ),
    ({"messages": GONE}, "req_messages", "missing", ""),
    ({"messages": []}, "req_messages", "empty", ""),
    ({"messages": "Hi"}, "req_messages", "not a list", ""),
    ({"messages": [USER, "Hi"]}, "req_messages", "Message 2: it is not an object", ""),
    ({"messages": [{"content": "Hi"}]}, "req_messages", "“role” is missing", ""),
    ({"messages": [{"role": "user"}]}, "req_messages", "“content” is neither", ""),
    ({"messages": [{"role": "user", "content": 5}]}, "req_messages", "“content” is neither", ""),
    ({"messages": [{"role": "user", "content": ["x"]}]}, "req_messages", "neither text", ""),
    ({"messages": [{"role": "user", "content": [{"text": ""}]}]}, "req_messages", "“type”", ""),
    ({"messages": [{**USER, "name": "Ann"}]}, "req_messages", "“name” beside", ""),
    ({"messages": [USER, {**USER, "role": "tool"}]}, "req_role", "role “tool”", ""),
    (
        {"messages": [USER, SYSTEM], "model": "claude-opus-4-7"},
        "*req_role",
        "does not support messages with the role “system”",
        "",
    ),
    ({"messages": [SYSTEM, USER]}, "req_first_system", "belongs in “system”", "system:move"),
    ({"messages": [SYSTEM, USER], "system": "x"}, "req_first_system", "belongs", ""),
    ({"messages": [SYSTEM]}, "req_first_system", "belongs", ""),
    ({"messages": [ANSWER, USER]}, "req_first", "must have the role “user”", ""),
    ({"messages": [{**USER, "content": ""}]}, "req_text", "Message 1: its text is empty", ""),
    ({"messages": [{**USER, "content": " \n"}]}, "req_text", "empty", ""),
    ({"messages": [USER, {**USER, "content": []}]}, "req_text", "Message 2", ""),
    (
        {"messages": [{**USER, "content": [{"type": "text", "text": " "}]}]},
        "req_text",
        "one of its text blocks",
        "",
    ),
    (
        {"messages": [{**USER, "content": [{"type": "text", "text": "x", "citations": [{}]}]}]},
        "*req_content",
        "citations",
        "",
    ),
    (
        {"messages": [USER, {**ANSWER, "content": [{"type": "document"}]}, USER]},
        "*req_content",
        "document",
        "",
    ),
    ({"messages": [USER, ANSWER]}, "req_prefill", "prefills the answer", "remove:prefill"),
    ({"model": GONE}, "req_model", "“model” is missing", ""),
    ({"model": ""}, "req_model", "“model”", ""),
    ({"model": 5}, "req_model", "“model”", ""),
    ({"model": "x" * 201}, "req_model", "“model”", ""),
    ({"model": "gpt-4o"}, "req_unknown_model", "“gpt-4o” is unknown", ""),
    (
        {"model": "claude-haiku-55"},
        "req_unknown_model",
        "Did you mean “claude-haiku-5-5”?",
        "model:claude-haiku-55=claude-haiku-5-5",
    ),
    (
        {"model": "anthropic/claude-opus-5-5"},
        "req_unknown_model",
        "mean “claude-opus-5-5”?",
        "model:anthropic/claude-opus-5-5=claude-opus-5-5",
    ),
    (
        {"model": "anthropic.claude-sonnet-4-5-20250929-v1:0"},
        "req_unknown_model",
        "mean “claude-sonnet-5-5”?",
        "model:anthropic.claude-sonnet-4-5-20250929-v1:0=claude-sonnet-5-5",
    ),
    (
        {"model": "claude-opus-4-1"},
        "req_retired",
        "Its successor is “claude-opus-5-5”",
        "model:claude-opus-4-1=claude-opus-5-5",
    ),
    (
        {"model": "claude-3-5-haiku-latest"},
        "req_retired",
        "is retired",
        "model:claude-3-5-haiku-latest=claude-haiku-5-5",
    ),
    (
        {"model": "claude-3-opus-20240229"},
        "req_retired",
        "is retired",
        "model:claude-3-opus-20240229=claude-opus-5-5",
    ),
    (
        {"model": "claude-2.1"},
        "req_retired",
        "“claude-sonnet-5-5”",
        "model:claude-2.1=claude-sonnet-5-5",
    ),
    ({"system": None}, "req_setting", "“system”", ""),
    ({"system": [{"type": "image"}]}, "*req_setting", "“system”", ""),
    ({"stop_sequences": "x"}, "req_setting", "“stop_sequences”", ""),
    ({"tools": {}}, "req_setting", "“tools”", ""),
    (
        {"tools": [SEARCH, {**SEARCH, "type": "web_fetch_20250910"}]},
        "*req_max_uses",
        "“web_search_20250305” needs “max_uses”",
        "max_uses:few",
    ),
    ({"tools": [{**SEARCH, "max_uses": None}]}, "*req_max_uses", "max_uses", "max_uses:few"),
    ({"tools": [{**SEARCH, "max_uses": 0}]}, "*req_max_uses", "max_uses", "max_uses:few"),
    ({"tools": [{**SEARCH, "max_uses": True}]}, "*req_max_uses", "max_uses", "max_uses:few"),
    ({"tools": [{**SEARCH, "max_uses": 1_001}]}, "*req_max_uses", "to 1,000", "max_uses:few"),
    (
        {"tools": [{"type": "code_execution_20260521", "name": "code_execution"}]},
        "*req_open_tool",
        "“code_execution_20260521” can be used any number of times",
        "",
    ),
    ({"tools": [{"type": "unheard_of", "max_uses": 1}]}, "*req_open_tool", "“unheard_of”", ""),
    ({"tool_choice": "auto"}, "req_setting", "“tool_choice”", ""),
    ({"inference_geo": "eu"}, "req_setting", "“inference_geo”", ""),
    ({"service_tier": "batch"}, "req_setting", "“service_tier”", ""),
    ({"cache_control": {"type": "forever"}}, "req_setting", "“cache_control”", ""),
    ({"metadata": "x"}, "*req_setting", "“metadata”", ""),
    ({"thinking": True}, "req_setting", "“thinking”", ""),
    ({"thinking": {"type": "deep"}}, "req_setting", "“thinking”", ""),
    ({"output_config": {"effort": "huge"}}, "req_setting", "“output_config”", ""),
    ({"output_config": {"format": {"type": "json"}}}, "req_setting", "“output_config”", ""),
    (
        {"thinking": {"type": "enabled"}, "model": "claude-haiku-4-5"},
        "req_budget",
        "“budget_tokens” is missing",
        "",
    ),
    (
        {"thinking": {"type": "enabled", "budget_tokens": 1_023}, "model": "claude-haiku-4-5"},
        "req_budget",
        "at least 1,024",
        "",
    ),
    (
        {
            "thinking": {"type": "enabled", "budget_tokens": 2_000},
            "max_tokens": 2_000,
            "model": "claude-haiku-4-5",
        },
        "req_budget",
        "less than “max_tokens” (2,000)",
        "",
    ),
    (
        {"thinking": {"type": "adaptive", "budget_tokens": 2_000}},
        "req_budget",
        "is not allowed",
        "thinking:no_budget",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("params", "kind", "words", "fix"), REFUSED, ids=short)
def test_what_a_batch_would_not_take_is_found_before_it_is_paid(
    path: Path, params: dict[str, Any], kind: str, words: str, fix: str
) -> None:
    found = request(**params)
    _reader, (line,) = read(path, [found])
    assert line.problem
    assert (line.problem.kind, line.problem.fix, line.problem.line) == (kind.lstrip("*"), fix, 2)
    assert words in line.problem.text
    assert line.source == json.dumps(found)
    assert FINDINGS[line.problem.kind].title
    assert FINDINGS[line.problem.kind].remedy
    assert is_taken(found["params"]) == kind.startswith("*")
    # What is offered does help.
    if fix:
        assert fix_label(fix)
        mended = problem(path, found, fix)
        assert mended is None or mended.kind != line.problem.kind


@pytest.mark.parametrize("name", ["budget_tokens", "effort", "thinking_budget"])
def test_a_setting_in_the_wrong_place_is_removed_from_there(path: Path, name: str) -> None:
    found = request(**{name: 5})
    _reader, (line,) = read(path, [found])
    assert line.problem
    assert line.problem.fix == f"remove:{name}"
    _reader, (line,) = read(path, [found], line.problem.fix)
    assert line.problem is None
    assert name not in line.source


SWITCHES: list[list[dict[str, Any]]] = [
    [
        {},
        {"thinking": {"type": "adaptive"}},
        {"thinking": {"type": "disabled"}},
        {"thinking": {"type": "between_tools"}},
        {"thinking": {"type": "enabled", "budget_tokens": 1_500}},
    ],
    [{}, *({"output_config": {"effort": e}} for e in ("low", "medium", "high", "xhigh", "max"))],
    [
        {},
        {"tool_choice": {"type": "auto"}},
        {"tool_choice": {"type": "any"}},
        {"inference_geo": "us"},
        {"messages": [USER, ANSWER]},
    ],
]


@pytest.mark.parametrize("model", MODEL_RULES)
def test_every_model_has_its_own_rules(path: Path, model: str) -> None:
    """Compared with the provider's side, which has a table of its own."""
    combinations = [
        {"model": model, "max_tokens": 2_000, **thinking, **effort, **other}
        for thinking, effort, other in product(*SWITCHES)
    ]
    requests = [request(number, **params) for number, params in enumerate(combinations)]
    for number, found in enumerate(requests):
        found["custom_id"] = f"id {number}"
    _reader, lines = read(path, requests)
    for found, line in zip(requests, lines, strict=True):
        assert (line.problem is None) == is_taken(found["params"]), (found, line.problem)
    assert any(line.problem is None for line in lines)
    # Each can be mended by what is offered, one after the other.
    remedies: set[str] = set()
    while offered := {line.problem.fix for line in lines if line.problem} - remedies:
        remedies |= offered
        _reader, lines = read(path, requests, *remedies)
    for line in lines:
        assert line.problem is None
        assert is_taken(json.loads(line.source)["params"])


def test_every_model_that_can_be_priced_has_rules() -> None:
    assert {
        known.id for known in pricing.priced_models() if known.status != "retired"
    } == MODEL_RULES.keys()


def test_every_kind_that_is_refused_has_its_words() -> None:
    assert {f"req_{name}" for name in _REFUSED} < FINDINGS.keys()


# --- Ids ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("custom_id", ["x", "a b.c:ü 😀", "<b>", "9" * 5_000, "../..", "{{x}}"])
def test_an_id_may_be_any_text(path: Path, custom_id: str) -> None:
    assert problem(path, request(custom_id)) is None


@pytest.mark.parametrize("custom_id", ["", " ", None, 5, ["x"]])
def test_an_id_must_be_a_text(path: Path, custom_id: object) -> None:
    found = problem(path, request(custom_id))
    assert found
    assert found.kind == "req_id"


@pytest.mark.parametrize("form", ["lines", "a list in one line"])
def test_an_id_that_is_there_twice_is_found(path: Path, form: str) -> None:
    requests = [request("same"), request("other"), request("same"), request("same")]
    separator = "\n" if form == "lines" else ", "
    content = separator.join(map(json.dumps, requests))
    path.write_text(content if form == "lines" else f"[{content}]")
    lines = list(open_upload(str(path), Choices(), Limits()))
    found = [line.problem.kind if line.problem else "" for line in lines]
    assert found == ["", "", "req_same_id", "req_same_id"]
    assert lines[2].problem
    assert "“same” is already used on line 1." in lines[2].problem.text


def test_what_is_beside_the_params_is_found(path: Path) -> None:
    requests = [{**request("a"), "note": 1}, {**request("b"), "max_tokens": 5}]
    _reader, lines = read(path, requests)
    found = [(line.problem.kind, line.problem.fix) for line in lines if line.problem]
    assert found == [("req_beside", "beside:note"), ("req_beside", "beside:max_tokens")]
    _reader, lines = read(path, requests, "beside:note")
    assert lines[0].source == json.dumps(request("a"), separators=(",", ":"))
    assert lines[1].problem


# --- What is known of a request -------------------------------------------------------------------


def test_a_line_knows_what_its_price_depends_on(path: Path) -> None:
    block = {"type": "text", "text": "ü", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    found = request("a", system=[block], inference_geo="us", max_tokens=77)
    _reader, (plain, dear) = read(path, [request("b"), found])
    assert (plain.cached, plain.in_the_us) == (False, False)
    assert (dear.cached, dear.in_the_us, dear.max_tokens) == (True, True, 77)
    assert dear.size == len(json.dumps(found["params"]))


def test_a_line_knows_what_its_tools_may_do(path: Path) -> None:
    fetch = {"type": "web_fetch_20250910", "name": "web_fetch", "max_uses": 4}
    own = {"name": "x", "input_schema": {"type": "object"}}
    found = [
        request("a", tools=[own]),
        request("b", tools=[fetch]),
        request("c", tools=[own, fetch, {**SEARCH, "max_uses": 3}]),
        request("d", tools=[SEARCH]),
    ]
    reader, lines = read(path, found)
    assert [(line.searches, line.turns) for line in lines] == [(0, 0), (0, 5), (3, 8), (0, 0)]
    assert lines[3].problem
    (remark,) = reader.remarks
    assert remark.text == "2 requests may search the web or fetch pages."
    assert "At most" in remark.remedy
    _reader, lines = read(path, found, "max_uses:few")
    assert (lines[3].searches, lines[3].turns) == (5, 6)
    tools = [json.loads(line.source)["params"]["tools"] for line in lines]
    assert tools[3] == [{**SEARCH, "max_uses": 5}]
    assert tools[2] == found[2]["params"]["tools"], "what has a limit keeps it"


def test_all_that_is_wrong_with_a_request_is_said_at_once(path: Path) -> None:
    found = problem(path, request(temperature=0, top_p=1, max_tokens=0))
    assert found
    assert found.kind == "req_temperature"
    assert "Also: Claude no longer supports “top_p”" in found.text
    assert "“max_tokens” is missing" in found.text


def test_findings_of_a_kind_are_one_group_with_its_fix(path: Path) -> None:
    _reader, lines = read(path, [request(str(number), temperature=1) for number in range(3)])
    group = FindingGroup("req_temperature")
    for line in lines:
        assert line.problem
        group.add(line.problem)
    assert (group.count, group.lines, group.fix) == (3, [2, 3, 4], "remove:temperature")
    assert fix_label(group.fix, group.count) == "Remove temperature from all 3 requests"


# --- Remedies -------------------------------------------------------------------------------------


def params_of(line: ParsedRow) -> dict[str, Any]:
    params: dict[str, Any] = json.loads(line.source)["params"]
    return params


def test_a_remedy_mends_all_requests_that_need_it_and_says_so(path: Path) -> None:
    requests = [request("a", temperature=0.10, system="ü"), request("b"), request("c", top_p=1)]
    reader, lines = read(path, requests, "remove:temperature")
    assert lines[0].source == (
        '{"custom_id":"a","params":{"model":"claude-haiku-5-5","max_tokens":100,'
        '"messages":[{"role":"user","content":"Hi"}],"system":"ü"}}'
    )
    # What needs no mending is not touched.
    assert [line.source for line in lines[1:]] == [json.dumps(each) for each in requests[1:]]
    assert [line.problem.kind if line.problem else "" for line in lines] == ["", "", "req_top_p"]
    said = [(remark.kind, remark.text) for remark in reader.remarks]
    assert said == [("changed", "“temperature” was removed in 1 request.")]
    assert reader.understood.remedies == ("remove:temperature",)


def test_several_remedies_work_together(path: Path) -> None:
    """A new model brings new rules, and what they ask for is mended as well."""
    found = request(
        "a",
        model="claude-opus-4-1",
        temperature=1,
        thinking={"type": "enabled", "budget_tokens": 2_000},
        messages=[SYSTEM, USER, ANSWER],
    )
    remedies = (
        "model:claude-opus-4-1=claude-opus-5-5",
        "thinking:adaptive",
        "remove:temperature",
        "remove:prefill",
        "system:move",
    )
    reader, (line,) = read(path, [found], *remedies)
    assert line.problem is None
    assert params_of(line) == {
        "model": "claude-opus-5-5",
        "max_tokens": 100,
        "messages": [USER],
        "thinking": {"type": "adaptive"},
        "system": "Be brief.",
    }
    assert (line.model, line.size) == (
        "claude-opus-5-5",
        len(line.source) - len('{"custom_id":"a","params":}'),
    )
    assert len(reader.remarks) == len(remedies)
    assert all(remark.kind == "changed" for remark in reader.remarks)


@pytest.mark.parametrize(
    "code",
    [
        "",
        "remove",
        "remove:",
        "remove:model",
        "remove:max_tokens",
        "remove:messages",
        "beside:params",
        "beside:custom_id",
        "model:claude-haiku-5-5=gpt-4o",
        "model:claude-haiku-5-5=claude-opus-4-1",
        "model:=claude-opus-5",
        "model:claude-haiku-5-5",
        "thinking:deep",
        "exec:rm",
    ],
)
def test_codes_that_nobody_offers_do_nothing(path: Path, code: str) -> None:
    assert fix_label(code) == ""
    found = request("a", stream=True)
    reader, (line,) = read(path, [found], code)
    assert line.source == json.dumps(found)
    assert not reader.remarks


@pytest.mark.parametrize(
    ("code", "count", "words"),
    [
        ("remove:temperature", 0, "Remove temperature from all of them"),
        ("remove:temperature", 4_000, "Remove temperature from all 4,000 requests"),
        ("remove:temperature", 1, "Remove temperature from the request"),
        ("beside:note", 0, "Remove note from all of them"),
        (
            "model:claude-opus-4-1=claude-opus-5-5",
            2,
            "Use claude-opus-5-5 instead of claude-opus-4-1, in all 2 requests",
        ),
        ("remove:prefill", 0, "Remove the prefilled answer, in all of them"),
        ("system:move", 0, "Move the first message to “system”, in all of them"),
    ],
)
def test_a_fix_has_words_for_its_button(code: str, count: int, words: str) -> None:
    assert fix_label(code, count) == words


def test_the_first_messages_become_the_system_prompt(path: Path) -> None:
    texts = request("a", messages=[SYSTEM, SYSTEM, USER])
    block = {"type": "text", "text": "Be kind."}
    blocks = request("b", messages=[SYSTEM, {**SYSTEM, "content": [block]}, USER, USER])
    _reader, lines = read(path, [texts, blocks], "system:move")
    assert params_of(lines[0])["system"] == "Be brief.\n\nBe brief."
    assert params_of(lines[1])["system"] == [{"type": "text", "text": "Be brief."}, block]
    assert [params_of(line)["messages"] for line in lines] == [[USER], [USER, USER]]


def test_a_change_keeps_every_number_as_it_was(path: Path) -> None:
    odd = {"a": 2**70, "b": 0.1, "c": 1e300, "d": -0.0, "e": "\u2028😀"}
    found = request("a", temperature=1, metadata=odd)
    _reader, (line,) = read(path, [found], "remove:temperature")
    assert repr(params_of(line)["metadata"]) == repr(odd)


# --- Models that will go --------------------------------------------------------------------------


def test_a_deprecated_model_is_a_remark_with_its_successor(path: Path) -> None:
    requests = [request(str(number), model="claude-sonnet-4-5") for number in range(3)]
    reader, lines = read(path, requests)
    assert all(line.problem is None for line in lines)
    (remark,) = reader.remarks
    assert (remark.kind, remark.line) == ("req_deprecated", 2)
    assert remark.text == (
        "The model “claude-sonnet-4-5” will be retired on 30 November 2026. Its successor "
        "is “claude-sonnet-5-5”. 3 requests ask for it."
    )
    assert remark.fix == "model:claude-sonnet-4-5=claude-sonnet-5-5"
    reader, lines = read(path, requests, remark.fix)
    assert [line.model for line in lines] == ["claude-sonnet-5-5"] * 3
    assert [remark.kind for remark in reader.remarks] == ["changed"]
