"""Requests in the form of another service or program: whose they are, and what is offered."""

from __future__ import annotations

from collections.abc import Set
from typing import Any, NamedTuple

from ..rules.pricing import ModelFacts, all_models, find_model
from .shapes import KEEP, Finding, Option

Json = dict[str, Any]

OPENAI, BEDROCK, GEMINI, BARE = "openai", "bedrock", "gemini", "bare"
_OFFERED = ("haiku", "sonnet", "opus")  # families of models
_SMALL = ("mini", "nano", "small", "lite", "flash", "haiku", "3.5", "micro")


class Form(NamedTuple):
    said: str  # of a file with such requests
    is_convertible: bool = True


FORMS = {
    OPENAI: Form("These are requests for OpenAI’s Batch API."),
    BEDROCK: Form("These are requests for Amazon Bedrock’s batch inference."),
    GEMINI: Form(
        "These are requests for Google’s Gemini batch API, which cannot be converted here.",
        is_convertible=False,
    ),
    BARE: Form("These are requests without a “custom_id”."),
}


def is_request(keys: Set[str]) -> bool:
    """Whether an object with these keys is one request, in whatever form."""
    return (
        keys >= {"custom_id", "params"}
        or keys >= {"custom_id", "body"}
        or keys >= {"method", "url", "body"}
        or "modelInput" in keys
        or keys >= {"request", "key"}
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
    if isinstance(request, dict) and "contents" in request:
        return GEMINI
    messages = values.get("messages")
    if isinstance(values.get("model"), str) and isinstance(messages, list) and messages:
        return BARE if all(map(_is_message, messages)) else ""
    return ""


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and "role" in value


def offer(form: str, *, is_chosen: bool) -> Finding:
    """What is said of a file of such requests that is read as a table; `is_chosen`: as a person
    wants it."""
    words = FORMS[form]
    options = [] if is_chosen else [Option("Read them as a table", {"convert": KEEP})]
    if words.is_convertible:
        options.insert(0, Option("Convert them to requests for Claude", {"convert": form}))
    if is_chosen:
        return Finding(
            "foreign_table", f"{words.said} They are read as a table.", options=tuple(options)
        )
    return Finding("foreign_requests", words.said, options=tuple(options))


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
    is_small = any(word in foreign.lower() for word in _SMALL)
    return newest("haiku" if is_small else "sonnet").id


def read_choice(convert: str) -> tuple[str, str]:
    """The form and the model of Choices.convert, such as "openai:claude-haiku-5-5"; "" for what it
    does not say or nobody can convert."""
    form, _, model = convert.partition(":")
    return (form, model) if form in FORMS and FORMS[form].is_convertible else ("", "")
