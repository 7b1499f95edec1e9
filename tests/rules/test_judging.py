"""Every kind of result has one outcome, and a result that succeeded is not yet a good one."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from django.urls import reverse

from jobs.rules.judging import (
    CAUSES,
    OTHER_ERROR,
    Judgment,
    describe_cause,
    judge_result,
)
from jobs.rules.result_lines import read_line

pytestmark = pytest.mark.no_database


def judged(result: dict[str, Any]) -> Judgment:
    return judge_result(
        read_line(json.dumps({"custom_id": "a-1", "result": result}).encode()).result
    )


def succeeded(
    text: str | None = "Positive", stop_reason: str = "end_turn", **message: Any
) -> dict[str, Any]:
    content = [{"type": "thinking", "thinking": "", "signature": "x"}]
    if text is not None:
        content.append({"type": "text", "text": text})
    usage = {"input_tokens": 10, "output_tokens": 3}
    body = {"model": "m", "content": content, "stop_reason": stop_reason, "usage": usage}
    return {"type": "succeeded", "message": {**body, **message}}


def test_an_answer_is_found_behind_a_block_of_thinking() -> None:
    result = judged(succeeded())
    assert (result.outcome, result.cause, result.answer) == ("good", "", "Positive")
    assert result.usage is not None
    assert result.usage.output_tokens == 3


@pytest.mark.parametrize(
    ("stop_reason", "cause"),
    [
        ("max_tokens", "cut_off"),
        ("refusal", "refused"),
        ("tool_use", "unfinished"),
        ("pause_turn", "unfinished"),
        ("model_context_window_exceeded", "too_long"),
        ("something_new", "unexpected"),
    ],
)
def test_a_succeeded_result_that_did_not_end_well_needs_a_look(
    stop_reason: str, cause: str
) -> None:
    result = judged(succeeded(stop_reason=stop_reason))
    assert (result.outcome, result.cause) == ("look", cause)
    assert cause in CAUSES


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("new_error", "new_error"),
        ("a\nb", "a\ufffdb"),
        ("..", "..\ufffd"),
        ("a/../b", "a/..\ufffd/b"),
        ("x" * 99, "x" * 60),
        ("", "api_error"),
    ],
)
def test_the_type_of_an_error_can_stand_in_an_address(kind: str, cause: str) -> None:
    error = {"type": "error", "error": {"type": kind, "message": "No."}}
    found = judged({"type": "errored", "error": error}).cause
    assert found == cause
    assert reverse("change_prompt", args=[1, found]).count("/") == 6 + found.count("/")


def test_text_before_a_refusal_is_not_an_answer() -> None:
    details = {"category": "cyber", "explanation": "No."}
    result = judged(succeeded("Sure, here", stop_reason="refusal", stop_details=details))
    assert (result.answer, result.message, result.refusal_category) == ("", "No.", "cyber")


@pytest.mark.parametrize("text", [None, "", " \n\t"])
def test_an_empty_answer_needs_a_look(text: str | None) -> None:
    assert judged(succeeded(text)).cause == "empty"


def test_the_error_is_read_from_inside_the_error_response() -> None:
    error = {"type": "overloaded_error", "message": "Overloaded"}
    result = judged(
        {"type": "errored", "error": {"type": "error", "error": error, "request_id": "req_1"}}
    )
    assert (result.outcome, result.cause, result.message, result.request_id) == (
        "errored",
        "overloaded_error",
        "Overloaded",
        "req_1",
    )


@pytest.mark.parametrize("kind", ["expired", "canceled"])
def test_expired_and_canceled_are_outcomes_of_their_own(kind: str) -> None:
    assert judged({"type": kind}).outcome == kind


@pytest.mark.parametrize(
    "result",
    [
        {"type": "postponed"},
        {"type": "succeeded", "message": {"content": "not a list"}},
        {"type": "succeeded"},
    ],
)
def test_a_result_of_unknown_shape_is_kept_for_a_person(result: dict[str, Any]) -> None:
    assert (judged(result).outcome, judged(result).cause) == ("look", "unknown_result")


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'{"custom_id":"a"}', b'{"result":{}}'])
def test_a_line_that_is_no_result_is_refused(line: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        read_line(line)


def test_a_cause_that_is_not_known_has_words_too() -> None:
    assert describe_cause("brand_new_error") is OTHER_ERROR
    assert all(cause.title and cause.advice for cause in CAUSES.values())
