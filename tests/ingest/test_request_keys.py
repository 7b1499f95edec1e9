"""An answer is reused only for the very same request, and only if it is as good at any time."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from jobs.ingest.request_keys import lasting_key
from jobs.rules.sent_keys import SentKeys

pytestmark = pytest.mark.no_database

USER = {"role": "user", "content": "Wie heißt “Ada” mit 1.0?"}
PARAMS = {"model": "claude-haiku-5-5", "max_tokens": 40, "messages": [USER]}
TEXT = json.dumps(PARAMS)
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aa"}}


def key_of(**changes: Any) -> bytes | None:
    return lasting_key(json.dumps({**PARAMS, **changes}).encode())


def asking(*blocks: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(blocks)}]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(PARAMS, indent=2),
        json.dumps(PARAMS, ensure_ascii=False, separators=(",", ":")),
        TEXT.replace("h", "\\u0068"),
    ],
    ids=["spaced", "not escaped", "escaped"],
)
def test_how_a_request_is_written_does_not_make_it_another(text: str) -> None:
    assert lasting_key(text.encode()) == lasting_key(TEXT.encode()) is not None


def test_whatever_may_matter_makes_it_another() -> None:
    tool = {"name": "note", "input_schema": {"type": "object", "properties": {"a": {}, "b": {}}}}
    swapped = {**tool, "input_schema": {"type": "object", "properties": {"b": {}, "a": {}}}}
    others = [
        key_of(),
        key_of(model="claude-haiku-4-5"),
        key_of(max_tokens=41),
        key_of(max_tokens=40.0),
        key_of(messages=[{**USER, "content": "Wie heißt “Ada”  mit 1.0?"}]),
        key_of(messages=[USER, USER]),
        key_of(system="Be brief."),
        key_of(stop_sequences=["x"]),
        key_of(metadata={"user_id": "a"}),
        key_of(inference_geo="us"),
        key_of(tools=[tool]),
        key_of(tools=[swapped]),
        key_of(messages=asking(PICTURE)),
    ]
    assert None not in others and len(set(others)) == len(others)


@pytest.mark.parametrize(
    "changes",
    [
        {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 1}]},
        {"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]},
        {"messages": asking({"type": "image", "source": {"type": "url", "url": "https://a.b/c"}})},
        {"messages": asking({"type": "document", "source": {"type": "file", "file_id": "f"}})},
        {
            "messages": asking(
                {
                    "type": "tool_result",
                    "tool_use_id": "t",
                    "content": [{"type": "image", "source": {"type": "url", "url": "x"}}],
                }
            )
        },
        {"container": "c"},
        {"user_profile_id": "p"},
        {"mcp_servers": [{"url": "x"}]},
        {"whatever_is_new": 1},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_depends_on_the_moment_is_always_sent(changes: dict[str, Any]) -> None:
    assert key_of(**changes) is None


@pytest.mark.parametrize(
    "text", ['{"model": "a", "model": "b"}', '{"messages": [', "[]", '{"model": "\\ud800"}']
)
def test_what_is_not_one_request_is_nobodys(text: str) -> None:
    assert lasting_key(text.encode()) is None


def test_a_request_on_several_lines_is_known_by_all_of_it() -> None:
    """A body as it is planned: the requests of a JSON list keep their line breaks."""
    spread = json.dumps({**PARAMS, "stop_sequences": ["},", "]}"]}, indent=1)
    linked = json.dumps({**PARAMS, "container": "c"})
    requests = [
        f'{{"custom_id":"n-{number}","params":{params}}}'
        for number, params in enumerate([spread, TEXT, linked, spread], start=1)
    ]
    body = ('{"requests":[\n' + ",\n".join(requests) + "\n]}").encode()
    digest = hashlib.sha256(body).hexdigest()
    keys = SentKeys(body.splitlines(keepends=True), "n", digest, lasting_key)
    assert keys.get(1) == keys.get(4) == lasting_key(spread.encode())
    assert keys.get(2) == lasting_key(TEXT.encode())
    assert keys.get(3) is None is keys.get(5)
