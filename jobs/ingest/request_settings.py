"""Settings of a request that have rules of their own, and the fixes for them: the format of the
answer, prompt caching, stop sequences and metadata."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .request_schemas import SchemaSurvey, simplify
from .request_shapes import Json, Problem, is_cache_control

MOST_MARKS = 4
SHOWN = 80
_FORMAT_KEYS = {"type", "schema", "json_schema", "name", "strict", "description"}


def setting_problems(params: Json) -> Iterator[Problem]:
    """What is wrong with settings whose shape is right."""
    yield from _stop_problems(params.get("stop_sequences"))
    metadata = params.get("metadata")
    if isinstance(metadata, dict):
        if extra := next((name for name in metadata if name != "user_id"), None):
            text = f"“metadata” has the key “{extra[:SHOWN]}”; only “user_id” is possible."
            yield Problem("req_metadata", text, "metadata:user_id")
        elif not isinstance(metadata.get("user_id"), str | None):
            yield Problem("req_metadata", "The “user_id” in “metadata” is not text.")
    system = params.get("system")
    blocks = system if isinstance(system, list) else []
    if any(isinstance(block, dict) and block.get("text") == "" for block in blocks):
        yield Problem("req_text", "A text block of “system” is empty.")
    yield from _cache_problems(params)
    yield from _schema_problems(params)
    yield from _format_problems(params)


def _stop_problems(stops: Any) -> Iterator[Problem]:
    texts = stops if isinstance(stops, list) else []
    if any(isinstance(text, str) and not text.strip() for text in texts):
        yield Problem("req_stop", "A stop sequence has only blanks or line breaks.", "stop:blank")


# --- Prompt caching -------------------------------------------------------------------------------


def _marked(params: Json) -> Iterator[Json]:
    """What has a cache mark of its own, in the order in which it is processed."""
    tools, system = params.get("tools"), params.get("system")
    for content in (tools, system, *_contents(params)):
        for block in content if isinstance(content, list) else ():
            if not isinstance(block, dict):
                continue
            inner = block.get("content") if block.get("type") == "tool_result" else None
            for one in (*(inner if isinstance(inner, list) else ()), block):
                if isinstance(one, dict) and one.get("cache_control") is not None:
                    yield one


def _contents(params: Json) -> list[Any]:
    """The contents of the messages, whatever they are."""
    return [one.get("content") for one in params["messages"] if isinstance(one, dict)]


def _cache_problems(params: Json) -> Iterator[Problem]:
    marks = [block["cache_control"] for block in _marked(params)]
    if odd := [mark for mark in marks if not is_cache_control(mark)]:
        text = "A “cache_control” is not {“type”: “ephemeral”}, with a “ttl” of “5m” or “1h”."
        fix = "cache:one_hour" if all(isinstance(mark, dict) for mark in odd) else ""
        yield Problem("req_cache", text, fix)
    elif len(marks) > MOST_MARKS:
        text = f"{len(marks):,} blocks have “cache_control”; at most {MOST_MARKS} are possible."
        yield Problem("req_cache", text, "cache:last")
    else:
        times = [mark.get("ttl") or "5m" for mark in marks]
        if "5m" in times and "1h" in times[times.index("5m") :]:
            text = (
                "A “cache_control” of one hour comes after one of five minutes. The order is: "
                "tools, system, messages."
            )
            yield Problem("req_cache", text, "cache:one_hour")


def keep_last_marks(params: Json) -> None:
    for block in list(_marked(params))[:-MOST_MARKS]:
        del block["cache_control"]


def cache_one_hour(params: Json) -> None:
    for block in _marked(params):
        block["cache_control"] = {"type": "ephemeral", "ttl": "1h"}


# --- The format of the answer ---------------------------------------------------------------------


def _schemas(params: Json) -> Iterator[Json]:
    """The schemas that an answer has to fit."""
    if found := answer_schema(params):
        yield found
    tools = params.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        if isinstance(tool, dict) and tool.get("strict") is True:
            schema = tool.get("input_schema")
            yield from [schema] if isinstance(schema, dict) else []


def answer_schema(params: Json) -> Json | None:
    config = params.get("output_config")
    format = config.get("format") if isinstance(config, dict) else None
    schema = format.get("schema") if isinstance(format, dict) else None
    return schema if isinstance(schema, dict) else None


def _schema_problems(params: Json) -> Iterator[Problem]:
    survey = SchemaSurvey()
    try:
        for schema in _schemas(params):
            survey.add(schema)
    except RecursionError:
        yield Problem("req_schema", "The JSON schema is nested too deeply.")
        return
    survey.close()
    if survey.faults:
        first, *others = survey.faults
        more = f" And {len(others):,} more." if others else ""
        fix = "schema:simplify" if survey.fixable else ""
        yield Problem("req_schema", f"The JSON schema cannot be used. {first}{more}", fix)


def _format_problems(params: Json) -> Iterator[Problem]:
    """What cannot be together with a schema for the answer."""
    if answer_schema(params) is None:
        return
    if any(_is_cited(block) for one in _contents(params) for block in _blocks_of(one)):
        text = "Citations are not possible together with a JSON schema for the answer."
        yield Problem("req_citations", text, "citations:remove")


def _blocks_of(content: Any) -> Iterator[Json]:
    for block in content if isinstance(content, list) else ():
        if isinstance(block, dict):
            yield block
            if block.get("type") == "tool_result":
                yield from _blocks_of(block.get("content"))


def _is_cited(block: Json) -> bool:
    citations = block.get("citations")
    return (
        block.get("type") in ("document", "search_result")
        and isinstance(citations, dict)
        and citations.get("enabled") is True
    )


def is_foreign_format(value: Any) -> bool:
    """A format for the answer as OpenAI's API has it, which says the same in other words."""
    if not isinstance(value, dict) or value.get("type") != "json_schema":
        return False
    inner = value.get("json_schema", value)
    return (
        value.keys() <= _FORMAT_KEYS
        and value.keys() != {"type", "schema"}
        and isinstance(inner, dict)
        and isinstance(inner.get("schema"), dict)
    )


def foreign_format(params: Json) -> tuple[str, Any]:
    """The parameter with such a format, and the format; "" if there is none."""
    for name in ("output_format", "response_format"):
        value = params.get(name)
        if not isinstance(value, dict):
            continue
        is_ours = value.keys() == {"type", "schema"} and isinstance(value["schema"], dict)
        if is_foreign_format(value) or is_ours:
            return name, value
    config = params.get("output_config")
    if isinstance(config, dict) and is_foreign_format(config.get("format")):
        return "output_config", config["format"]
    return "", None


def move_format(params: Json) -> None:
    name, value = foreign_format(params)
    if not name:
        return
    if name != "output_config":
        del params[name]
    config = params.get("output_config")
    config = config if isinstance(config, dict) else {}
    schema = value.get("json_schema", value)["schema"]
    params["output_config"] = {**config, "format": {"type": "json_schema", "schema": schema}}


def remove_citations(params: Json) -> None:
    for content in _contents(params):
        for block in _blocks_of(content):
            if _is_cited(block):
                del block["citations"]


def simplify_schemas(params: Json) -> None:
    for schema in _schemas(params):
        simplify(schema)


def remove_blank_stops(params: Json) -> None:
    kept = [text for text in params["stop_sequences"] if not isinstance(text, str) or text.strip()]
    if kept:
        params["stop_sequences"] = kept
    else:
        del params["stop_sequences"]


def keep_user_id(params: Json) -> None:
    metadata = params.get("metadata", {})
    if "user_id" in metadata:
        params["metadata"] = {"user_id": metadata["user_id"]}
    else:
        params.pop("metadata", None)
