"""Requests in the form of another service or program: whose they are, and what is offered."""

from __future__ import annotations

from collections.abc import Set
from typing import Any, NamedTuple

from ..rules.pricing import ModelFacts, all_models, find_model
from .shapes import KEEP, Finding, Option

Json = dict[str, Any]

OPENAI, BEDROCK, VERTEX, GEMINI = "openai", "bedrock", "vertex", "gemini"
TUNING, GEMINI_TUNING, BARE = "fine-tuning", "gemini-tuning", "bare"
_CONVERSATION = {"messages", "system", "tools", "parallel_tool_calls", "functions"}
_GEMINI = {"contents", "systemInstruction", "system_instruction", "tools"}
_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_SHARE_GPT = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "model": "assistant"}
_OFFERED = ("haiku", "sonnet", "opus")  # families of models
_SMALL = ("mini", "nano", "small", "lite", "flash", "haiku", "3.5", "micro")


USUAL_LENGTH = 4_096  # of an answer, where a request has none
SHOWN = 80  # characters

# What is said of a file with such requests.
FORMS = {
    OPENAI: "These are requests for OpenAI’s Batch API.",
    BEDROCK: "These are requests for Amazon Bedrock’s batch inference.",
    VERTEX: "These are requests for Claude on Google’s Vertex AI.",
    GEMINI: "These are requests for Google’s Gemini batch API.",
    TUNING: (
        "These are conversations for fine-tuning a model. The last answer of each is the expected "
        "one, and is not sent."
    ),
    GEMINI_TUNING: (
        "These are conversations for fine-tuning Google’s Gemini. The last answer of each is the "
        "expected one, and is not sent."
    ),
    BARE: "These are requests without a “custom_id”.",
}


class NotConvertible(Exception):
    """Why a request has no counterpart."""


class Converted(NamedTuple):
    request: Json
    model: str  # as it was; "" if it had none
    left_out: set[str]  # parameters without a counterpart
    has_own_length: bool


def is_request(keys: Set[str]) -> bool:
    """Whether an object with these keys is one request, in whatever form."""
    return (
        keys >= {"custom_id", "params"}
        or keys >= {"custom_id", "body"}
        or keys >= {"method", "url", "body"}
        or "modelInput" in keys
        or keys >= {"request", "key"}
        or keys >= {"request", "custom_id"}
        or keys == {"request", "metadata"}
        or ("messages" in keys and keys <= _CONVERSATION)
        or ("conversations" in keys and keys <= {"conversations", "id", "system", "tools"})
        or ("contents" in keys and keys <= _GEMINI)
        or (keys >= {"model", "messages"})
    )


def form_of(values: Json) -> str:
    """The foreign form of a request; "" if it is none, or our own."""
    keys = values.keys()
    if keys >= {"custom_id", "params"}:
        return ""
    if isinstance(values.get("modelInput"), dict):
        return BEDROCK
    body, request = values.get("body"), values.get("request")
    if isinstance(body, dict) and keys & {"custom_id", "method", "url"}:
        return OPENAI if body.keys() & {"messages", "input", "prompt", "model"} else ""
    if isinstance(request, dict) and isinstance(request.get("messages"), list):
        return VERTEX
    if isinstance(request, dict) and "contents" in request:
        return GEMINI
    contents = values.get("contents")
    if isinstance(contents, list) and contents and all(map(_is_message, contents)):
        return GEMINI_TUNING
    messages = conversation_of(values)
    if not messages:
        return ""
    if isinstance(values.get("model"), str):
        return BARE
    is_known = all(message["role"] in _ROLES for message in messages)
    has_answer = "preferred_output" in values or messages[-1]["role"] == "assistant"
    return TUNING if is_known and has_answer else ""


def conversation_of(values: Json) -> list[Json]:
    """The messages of a conversation; in an example of two answers they are in its input."""
    given = values.get("input", values)
    messages = given.get("messages") if isinstance(given, dict) else None
    if messages is None and isinstance(values.get("conversations"), list):
        messages = [_of_share_gpt(one) for one in values["conversations"]]
    if not isinstance(messages, list) or not all(map(_is_message, messages)):
        return []
    return messages


def _of_share_gpt(value: Any) -> Any:
    """{"from": "human", "value": "Hi"} as a message."""
    if not isinstance(value, dict) or not isinstance(value.get("from"), str):
        return value
    return {"role": _SHARE_GPT.get(value["from"], value["from"]), "content": value.get("value")}


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and "role" in value


def offer(form: str, *, is_chosen: bool) -> Finding:
    """What is said of a file of such requests that is read as a table; `is_chosen`: as a person
    wants it."""
    convert = Option("Convert them to requests for Claude", {"convert": form})
    if is_chosen:
        text = f"{FORMS[form]} They are read as a table."
        return Finding("foreign_table", text, options=(convert,))
    keep = Option("Read them as a table", {"convert": KEEP})
    return Finding("foreign_requests", FORMS[form], options=(convert, keep))


def model_options(form: str, model: str) -> list[Option]:
    """The models that converted requests can have besides `model`, and the way back."""
    found = [newest(family) for family in _OFFERED]
    options = [
        Option(f"Use {one.name}", {"convert": f"{form}:{one.id}"})
        for one in found
        if one.id != model
    ]
    return [*options, Option("Read them as a table", {"convert": KEEP})]


def newest(family: str) -> ModelFacts:
    """The newest active model of a family."""
    return next(one for one in all_models() if one.family == family and one.status == "active")


def model_for(foreign: str, wanted: str) -> str:
    """The model for a request to `foreign`: itself if it is one of Claude's, else `wanted`, else
    the one of about its size."""
    if find_model(foreign) or "claude" in foreign:
        return foreign
    if wanted and find_model(wanted):
        return wanted
    is_small = any(word in foreign.lower().replace("gemini", "") for word in _SMALL)
    return newest("haiku" if is_small else "sonnet").id


def read_choice(convert: str) -> tuple[str, str]:
    """The form and the model of Choices.convert, such as "openai:claude-haiku-5-5"; "" for what it
    does not say or nobody can convert."""
    form, _, model = convert.partition(":")
    return (form, model) if form in FORMS else ("", "")
