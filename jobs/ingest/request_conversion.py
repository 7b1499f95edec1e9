"""Requests in the form of other services become requests for Claude."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from ..rules.model_capabilities import ALL_EFFORTS
from .request_blocks import FOREIGN_BLOCKS
from .request_forms import (
    BARE,
    BEDROCK,
    FORMS,
    GEMINI,
    GEMINI_TUNING,
    OPENAI,
    SHOWN,
    TUNING,
    USUAL_LENGTH,
    VERTEX,
    Converted,
    Json,
    NotConvertible,
    conversation_of,
    model_for,
    model_options,
)
from .request_gemini import of_gemini, of_gemini_tuning
from .request_tool_checks import is_foreign
from .shapes import Finding

_DATA_URL = re.compile(r"data:([^;,]+);base64,", re.IGNORECASE)
_TEXTS = ("text", "input_text", "output_text", "refusal")
_EFFORTS = {"minimal": "low", **{effort: effort for effort in ALL_EFFORTS}}
# Without a counterpart, and without a loss: they say how to deliver the answer.
_NO_LOSS = ("stream", "stream_options", "store", "metadata", "truncation", "include", "background")


class Converter:
    """Converts the requests of a file, and counts what was changed."""

    def __init__(self, form: str, model: str) -> None:
        self._form = form
        self._model = model
        self._count = self._without_length = 0
        self._models: Counter[tuple[str, str]] = Counter()
        self._left_out: Counter[str] = Counter()

    def convert(self, number: int, values: Json) -> Json:
        """`number`: of the request, for one without an ID. Raises NotConvertible."""
        found = _CONVERTERS[self._form](number, values, self._model)
        self._count += 1
        self._without_length += not found.has_own_length
        self._models[found.model, found.request["params"]["model"]] += 1
        self._left_out.update(found.left_out)
        return found.request

    def remarks(self) -> Iterator[Finding]:
        if not self._count:
            return
        said = FORMS[self._form].removeprefix("These are requests ").rstrip(".")
        text = f"{_requests(self._count)} {said} {_were(self._count)} converted."
        if self._form in (TUNING, GEMINI_TUNING):
            text = f"{_requests(self._count)} {_were(self._count)} made from the conversations, "
            text += "without the expected answer at the end."
        models = [(old, new) for old, new in self._models if old != new]
        for old, new in models:
            text += f" “{old[:SHOWN]}” became “{new}”." if old else f" The model is “{new}”."
        used = {new for _old, new in models}
        model = used.pop() if len(used) == 1 else ""
        options = model_options(self._form, model)
        yield Finding("converted", text, options=tuple(options if models else options[-1:]))
        for name, count in sorted(self._left_out.items()):
            words = (
                f"“{name[:SHOWN]}” was removed from {_requests(count)}: Claude has no such setting."
            )
            yield Finding("converted_without", words)
        if self._without_length:
            words = f"{_requests(self._without_length)} had no maximum answer length. "
            yield Finding("converted_length", f"{words}It was set to {USUAL_LENGTH:,} tokens.")


def _requests(count: int) -> str:
    return "1 request" if count == 1 else f"{count:,} requests"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


# --- The forms ------------------------------------------------------------------------------------


def _of_openai(number: int, values: Json, wanted: str) -> Converted:
    body = values.get("body")
    if not isinstance(body, dict):
        raise NotConvertible("“body” is missing or not an object.")
    url = str(values.get("url") or "")
    if "embeddings" in url or "moderations" in url or "images/" in url:
        raise NotConvertible(f"Claude has nothing like “{url[:SHOWN]}”.")
    return _of_body(values.get("custom_id", f"request-{number}"), body, wanted)


def _of_bare(number: int, values: Json, wanted: str) -> Converted:
    values = dict(values)
    custom_id = values.pop("custom_id", None) or values.pop("id", None) or f"request-{number}"
    model = values["model"] if isinstance(values.get("model"), str) else ""
    if "claude" in model:
        request = {"custom_id": str(custom_id), "params": values}
        return Converted(request, model, set(), True)
    return _of_body(str(custom_id), values, wanted)


def _of_bedrock(number: int, values: Json, wanted: str) -> Converted:
    body = values.get("modelInput")
    if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
        raise NotConvertible("“modelInput” has no “messages”: it is for another model.")
    return _of_claude(values.get("recordId", f"request-{number}"), body, wanted)


def _of_vertex(number: int, values: Json, wanted: str) -> Converted:
    body = values.get("request")
    if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
        raise NotConvertible("“request” has no “messages”: it is for another model.")
    return _of_claude(values.get("custom_id", f"request-{number}"), body, wanted)


def _of_tuning(number: int, values: Json, wanted: str) -> Converted:
    messages = list(conversation_of(values))
    while messages and messages[-1]["role"] == "assistant":
        messages.pop()
    if not any(message["role"] == "user" for message in messages):
        raise NotConvertible("The conversation has no message by the user.")
    if (system := values.get("system")) is not None:
        messages.insert(0, {"role": "system", "content": system})
    tools = values.get("tools")
    return _of_body(f"request-{number}", {"messages": messages, "tools": tools}, wanted)


def _of_claude(custom_id: Any, body: Json, wanted: str) -> Converted:
    """A body for Claude, as other providers take it."""
    params = {"model": model_for("", wanted), **body}
    left_out = {"anthropic_beta"} & params.keys()
    for name in ("anthropic_version", "anthropic_beta", "schemaVersion"):
        params.pop(name, None)
    if isinstance(inference := params.pop("inferenceConfig", None), dict):
        left_out |= inference.keys() - {"maxTokens", "max_new_tokens", "stopSequences"}
        if longest := inference.get("maxTokens") or inference.get("max_new_tokens"):
            params["max_tokens"] = longest
        if stops := inference.get("stopSequences"):
            params["stop_sequences"] = stops
    if "system" in params:
        params["system"] = _typed(params["system"])
    params["messages"] = [
        {**message, "content": _typed(message.get("content"))}
        if isinstance(message, dict)
        else message
        for message in params["messages"]
    ]
    left_out |= _drop_sampling(params)
    has_length = "max_tokens" in params
    params.setdefault("max_tokens", USUAL_LENGTH)
    return Converted({"custom_id": custom_id, "params": params}, "", left_out, has_length)


def _typed(content: Any) -> Any:
    """Blocks of the form of Converse, `{"text": "..."}`, as ours."""
    if not isinstance(content, list):
        return content
    return [
        {"type": "text", **block} if isinstance(block, dict) and block.keys() == {"text"} else block
        for block in content
    ]


def _drop_sampling(params: Json) -> set[str]:
    found = {"temperature", "top_p", "top_k"} & params.keys()
    for name in found:
        del params[name]
    return found


# --- The body of a request for OpenAI's models ----------------------------------------------------


def _of_body(custom_id: Any, body: Json, wanted: str) -> Converted:
    """A body for chat completions or for responses."""
    body = {name: value for name, value in body.items() if value is not None}
    if body.pop("n", 1) != 1:
        raise NotConvertible("“n” asks for several answers; Claude gives one for each request.")
    model = str(body.pop("model", ""))
    params: Json = {"model": model_for(model, wanted)}
    lengths = [
        body.pop(name, None)
        for name in ("max_completion_tokens", "max_output_tokens", "max_tokens")
    ]
    length = next((one for one in lengths if one is not None), None)
    params["max_tokens"] = USUAL_LENGTH if length is None else length
    instructions = body.pop("instructions", None)
    given = body.pop("messages", None) or body.pop("input", None) or body.pop("prompt", None)
    system, params["messages"] = _messages(given)
    if isinstance(instructions, str) and instructions.strip():
        system.insert(0, instructions)
    if system:
        params["system"] = "\n\n".join(system)
    if stop := body.pop("stop", None):
        params["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    if user := body.pop("safety_identifier", None) or body.pop("user", None):
        params["metadata"] = {"user_id": str(user)}
    _add_tools(params, body)
    left_out = _add_output(params, body)
    left_out |= {name for name in body if name not in _NO_LOSS}
    return Converted(
        {"custom_id": custom_id, "params": params}, model, left_out, length is not None
    )


def _messages(given: Any) -> tuple[list[str], list[Json]]:
    """The texts of the system prompt, and the messages."""
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    if not isinstance(given, list) or not given:
        raise NotConvertible("It has no “messages”.")
    system: list[str] = []
    messages: list[Json] = []
    for message in given:
        if not isinstance(message, dict):
            raise NotConvertible("A message is not an object.")
        role = message.get("role")
        if role in ("system", "developer"):
            text = "\n\n".join(block.get("text", "") for block in _blocks(message.get("content")))
            # Later ones stay where they are; not all models take them.
            if messages:
                messages.append({"role": "system", "content": text})
            elif text.strip():
                system.append(text)
            continue
        whose, content = _message(role, message)
        last = messages[-1] if messages else {}
        if last.get("role") == whose and _is_result(content) and _is_result(last["content"]):
            last["content"] += content  # results of several calls go back together
        else:
            messages.append({"role": whose, "content": content})
    return system, messages


def _message(role: Any, message: Json) -> tuple[str, Any]:
    """The role and content of a message that is not a system prompt."""
    kind = message.get("type", "message")
    if role == "tool" or kind == "function_call_output":
        call = message.get("tool_call_id") or message.get("call_id")
        content = message.get("content", message.get("output"))
        content = content if isinstance(content, str) else _blocks(content)
        return "user", [{"type": "tool_result", "tool_use_id": call, "content": content}]
    if kind == "function_call":
        return "assistant", [_call(message.get("call_id"), message)]
    if role not in ("user", "assistant"):
        raise NotConvertible(f"A message has the role “{str(role)[:SHOWN]}”.")
    calls = message.get("tool_calls")
    content = message.get("content")
    if not calls:
        return role, content if isinstance(content, str) else _blocks(content)
    blocks = [block for block in _blocks(content) if block.get("text") != ""]
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            raise NotConvertible("A tool call is no call of a function.")
        blocks.append(_call(call.get("id"), function))
    return role, blocks


def _is_result(content: Any) -> bool:
    return isinstance(content, list) and bool(content) and content[0]["type"] == "tool_result"


def _call(id: Any, function: Json) -> Json:
    try:
        given = json.loads(function.get("arguments") or "{}")
    except (TypeError, ValueError, RecursionError):
        raise NotConvertible("The arguments of a tool call are not JSON.") from None
    return {"type": "tool_use", "id": id, "name": function.get("name"), "input": given}


def _blocks(content: Any) -> list[Json]:
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list):
        raise NotConvertible("The content of a message is neither text nor a list.")
    return [_block(part) for part in content]


def _block(part: Any) -> Json:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    kind = part.get("type") if isinstance(part, dict) else None
    if isinstance(part, dict) and part.keys() == {"text"}:
        kind = "text"  # of Amazon Bedrock
    if kind in _TEXTS:
        text = part.get("text", part.get("refusal", ""))
        return {"type": "text", "text": text if isinstance(text, str) else ""}
    if kind in ("image_url", "input_image"):
        url = part.get("image_url")
        url = url.get("url") if isinstance(url, dict) else url
        if isinstance(url, str):
            return {"type": "image", "source": _source(url)}
    if kind in ("file", "input_file"):
        file = part.get("file", part)
        found = file.get("file_data") or file.get("file_url") if isinstance(file, dict) else None
        if isinstance(found, str):
            return {"type": "document", "source": _source(found)}
    if kind in ("file", "input_file", "image_url", "input_image"):
        raise NotConvertible("A file is stored at another service. Put it into the request.")
    raise NotConvertible(f"Claude does not read “{str(kind)[:SHOWN]}”.")


def _source(url: str) -> Json:
    if found := _DATA_URL.match(url):
        media_type = found[1].lower().replace("image/jpg", "image/jpeg")
        return {"type": "base64", "media_type": media_type, "data": url[found.end() :]}
    return {"type": "url", "url": url}


def _add_tools(params: Json, body: Json) -> None:
    tools = body.pop("tools", None)
    if isinstance(tools, list) and tools:
        params["tools"] = [_tool(tool) for tool in tools]
    choice = body.pop("tool_choice", None)
    parallel = body.pop("parallel_tool_calls", True)
    if "tools" not in params:
        return
    if isinstance(choice, dict):
        function = choice.get("function", choice)
        name = function.get("name") if isinstance(function, dict) else None
        params["tool_choice"] = {"type": "tool", "name": name}
    elif choice in ("auto", "none", "required"):
        params["tool_choice"] = {"type": "any" if choice == "required" else choice}
    if parallel is False and choice != "none":
        params.setdefault("tool_choice", {"type": "auto"})["disable_parallel_tool_use"] = True


def _tool(tool: Any) -> Json:
    kind = tool.get("type") if isinstance(tool, dict) else None
    if kind != "function":
        raise NotConvertible(f"Claude has no tool like “{str(kind)[:SHOWN]}”.")
    function = tool.get("function", tool)
    if not isinstance(function, dict):
        raise NotConvertible("The “function” of a tool is not an object.")
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    made: Json = {"name": function.get("name"), "input_schema": schema}
    if function.get("description"):
        made["description"] = function["description"]
    if function.get("strict"):
        made["strict"] = True
    return made


def _add_output(params: Json, body: Json) -> set[str]:
    """The format of the answer and the effort; the names of what has no counterpart."""
    left_out = set()
    config: Json = {}
    given = body.pop("response_format", None)
    if given is None and isinstance(text := body.pop("text", None), dict):
        given = text.get("format")
    if isinstance(given, dict):
        schema = given.get("json_schema", given)
        schema = schema.get("schema") if isinstance(schema, dict) else None
        if given.get("type") == "json_schema" and isinstance(schema, dict):
            config["format"] = {"type": "json_schema", "schema": schema}
        elif given.get("type") != "text":
            left_out.add("response_format")
    reasoning = body.pop("reasoning", None)
    effort = body.pop("reasoning_effort", None)
    if isinstance(reasoning, dict):
        effort = effort or reasoning.get("effort")
    if isinstance(effort, str) and effort in _EFFORTS:
        config["effort"] = _EFFORTS[effort]
    elif effort:
        left_out.add("reasoning_effort")
    if config:
        params["output_config"] = config
    return left_out


# --- Parts of that form in requests for Claude ----------------------------------------------------


def convert_blocks(params: Json) -> None:
    """Convert the blocks of messages that have OpenAI's form, as far as they have a counterpart."""
    for message in params["messages"]:
        content = message["content"]
        if isinstance(content, list):
            message["content"] = [_known_block(block) for block in content]


def _known_block(block: Json) -> Json:
    if block.get("type") in FOREIGN_BLOCKS:
        with suppress(NotConvertible):
            return _block(block)
    return block


def convert_tools(params: Json) -> None:
    with suppress(NotConvertible):
        params["tools"] = [_tool(tool) if is_foreign(tool) else tool for tool in params["tools"]]


_CONVERTERS = {
    OPENAI: _of_openai,
    BARE: _of_bare,
    BEDROCK: _of_bedrock,
    VERTEX: _of_vertex,
    GEMINI: of_gemini,
    GEMINI_TUNING: of_gemini_tuning,
    TUNING: _of_tuning,
}
