"""Requests in the form of Google's Gemini become requests for Claude. Names of fields come as
`maxOutputTokens` or as `max_output_tokens`."""

from __future__ import annotations

import re
from collections import defaultdict, deque
from typing import Any

import msgspec

from .request_forms import SHOWN, USUAL_LENGTH, Converted, Json, NotConvertible, model_for
from .request_schemas import TYPES

_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")
_DOCUMENTS = ("application/pdf", "text/plain")
_SAMPLING = ("temperature", "top_p", "top_k")
_MODES = {"auto": "auto", "any": "any", "none": "none", "validated": "auto"}
# Of a schema, beside what JSON Schema has.
_ONLY_GEMINI = ("nullable", "property_ordering", "propertyOrdering", "example")


def of_gemini(number: int, values: Json, wanted: str) -> Converted:
    request = values.get("request")
    if not isinstance(request, dict):
        raise NotConvertible("“request” is missing or not an object.")
    metadata = values.get("metadata")
    named = {**metadata, **values} if isinstance(metadata, dict) else values
    custom_id = next((named[key] for key in ("key", "custom_id", "id") if named.get(key)), None)
    return _of_body(str(custom_id or f"request-{number}"), request, wanted)


def of_gemini_tuning(number: int, values: Json, wanted: str) -> Converted:
    contents = list(values["contents"]) if isinstance(values.get("contents"), list) else []
    while contents and isinstance(contents[-1], dict) and contents[-1].get("role") == "model":
        contents.pop()
    if not contents:
        raise NotConvertible("The conversation has no message by the user.")
    return _of_body(f"request-{number}", {**values, "contents": contents}, wanted)


def _of_body(custom_id: str, given: Json, wanted: str) -> Converted:
    body = _snaked(given)
    model = str(body.pop("model", None) or "").removeprefix("models/")
    config = _snaked(body.pop("generation_config", None))
    if config.pop("candidate_count", 1) != 1:
        raise NotConvertible(
            "“candidateCount” asks for several answers; Claude gives one for each request."
        )
    length = config.pop("max_output_tokens", None)
    params: Json = {
        "model": model_for(model, wanted),
        "max_tokens": USUAL_LENGTH if length is None else length,
        "messages": _Calls().messages(body.pop("contents", None)),
    }
    system = _Calls().blocks(_snaked(body.pop("system_instruction", None)).get("parts") or [])
    if text := "\n\n".join(block.get("text", "") for block in system).strip():
        params["system"] = text
    if stops := config.pop("stop_sequences", None):
        params["stop_sequences"] = stops
    for name in _SAMPLING:
        if config.get(name) is None:
            config.pop(name, None)
    left_out = _add_format(params, config) | config.keys()
    _add_tools(params, body)
    left_out |= {name for name, value in body.items() if value and name != "labels"}
    names = {_camel(name) for name in left_out}
    return Converted({"custom_id": custom_id, "params": params}, model, names, length is not None)


def _snaked(value: Any) -> Json:
    """An object with all of its names in one form; an empty one for what is none."""
    if not isinstance(value, dict):
        return {}
    return {_CAPITAL.sub("_", str(name)).lower(): one for name, one in value.items()}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


class _Calls:
    """The messages of a request. Gemini pairs calls of tools and their results by name; Claude
    wants an ID."""

    def __init__(self) -> None:
        self._count = 0
        self._open: dict[str, deque[str]] = defaultdict(deque)

    def messages(self, contents: Any) -> list[Json]:
        if isinstance(contents, dict | str):
            contents = [contents]
        if not isinstance(contents, list) or not contents:
            raise NotConvertible("It has no “contents”.")
        return [self._message(one) for one in contents]

    def _message(self, content: Any) -> Json:
        if isinstance(content, str):
            return {"role": "user", "content": content}
        if not isinstance(content, dict):
            raise NotConvertible("A message is not an object.")
        role = content.get("role", "user")
        if role not in ("user", "model", "function"):
            raise NotConvertible(f"A message has the role “{str(role)[:SHOWN]}”.")
        blocks = self.blocks(content.get("parts"))
        return {"role": "assistant" if role == "model" else "user", "content": blocks}

    def blocks(self, parts: Any) -> list[Json]:
        parts = [parts] if isinstance(parts, dict | str) else parts
        if not isinstance(parts, list):
            raise NotConvertible("The “parts” of a message are not a list.")
        found = [self._block(part) for part in parts]
        return [block for block in found if block]

    def _block(self, part: Any) -> Json:
        if isinstance(part, str):
            return {"type": "text", "text": part}
        part = _snaked(part)
        if part.get("thought") is True:
            return {}
        if isinstance(text := part.get("text"), str):
            return {"type": "text", "text": text}
        if data := _snaked(part.get("inline_data")):
            return _file(str(data.get("mime_type")), {"data": data.get("data")})
        if data := _snaked(part.get("file_data")):
            uri = str(data.get("file_uri"))
            is_stored = "generativelanguage.googleapis.com" in uri
            if is_stored or not uri.startswith(("https://", "http://")):
                text = "A file is stored at another service. Put it into the request."
                raise NotConvertible(text)
            return _file(str(data.get("mime_type")), {"url": uri})
        if call := _snaked(part.get("function_call")):
            return self._call(call)
        if result := _snaked(part.get("function_response")):
            return self._result(result)
        kind = next((name for name in part if name != "thought_signature"), "")
        raise NotConvertible(f"Claude does not read “{_camel(kind)[:SHOWN]}”.")

    def _call(self, call: Json) -> Json:
        self._count += 1
        id, name = str(call.get("id") or f"call_{self._count}"), str(call.get("name"))
        self._open[name].append(id)
        return {"type": "tool_use", "id": id, "name": name, "input": call.get("args") or {}}

    def _result(self, result: Json) -> Json:
        waiting = self._open[str(result.get("name"))]
        id = waiting.popleft() if waiting else None
        text = _as_text(result.get("response"))
        return {"type": "tool_result", "tool_use_id": result.get("id") or id, "content": text}


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _file(media_type: str, source: Json) -> Json:
    kind = "image" if media_type.startswith("image/") else "document"
    if kind == "document" and media_type not in _DOCUMENTS:
        raise NotConvertible(f"Claude does not read “{media_type[:SHOWN]}”.")
    if "url" in source:
        return {"type": kind, "source": {"type": "url", **source}}
    media_type = media_type.replace("image/jpg", "image/jpeg")
    return {"type": kind, "source": {"type": "base64", "media_type": media_type, **source}}


def _add_format(params: Json, config: Json) -> set[str]:
    """The schema of the answer; the names of what has no counterpart."""
    media_type = config.pop("response_mime_type", None)
    schemas = [config.pop(name, None) for name in ("response_json_schema", "response_schema")]
    schema = next((one for one in schemas if isinstance(one, dict)), None)
    if schema is not None and media_type in (None, "application/json"):
        format = {"type": "json_schema", "schema": _schema(schema, closed=True)}
        params["output_config"] = {"format": format}
    elif media_type not in (None, "text/plain"):
        return {"response_mime_type"}
    return set()


def _schema(value: Any, *, closed: bool) -> Any:
    """JSON Schema of Gemini's own form: types in capitals, and `nullable`."""
    if isinstance(value, list):
        return [_schema(one, closed=closed) for one in value]
    if not isinstance(value, dict):
        return value
    made: Json = {}
    for name, one in value.items():
        if name in ("properties", "$defs", "definitions") and isinstance(one, dict):
            made[name] = {key: _schema(inner, closed=closed) for key, inner in one.items()}
        elif name in ("enum", "required", "const", "default"):
            made[name] = one
        elif name not in _ONLY_GEMINI:
            made["anyOf" if name == "any_of" else name] = _schema(one, closed=closed)
    kind = made.get("type")
    if isinstance(kind, str) and kind.lower() in TYPES:
        made["type"] = kind = kind.lower()
    if kind == "string" and made.get("format") == "enum":
        del made["format"]
    if kind == "object" and closed:
        made.setdefault("additionalProperties", False)
    if value.get("nullable") is True and isinstance(kind, str):
        if "enum" in made:
            return {"anyOf": [made, {"type": "null"}]}
        made["type"] = [kind, "null"]
    return made


def _add_tools(params: Json, body: Json) -> None:
    tools = body.pop("tools", None)
    made: list[Json] = []
    for tool in tools if isinstance(tools, list) else ():
        for kind, given in _snaked(tool).items():
            if kind != "function_declarations" or not isinstance(given, list):
                raise NotConvertible(f"Claude has no tool like “{_camel(kind)[:SHOWN]}”.")
            made += [_tool(one) for one in map(_snaked, given)]
    config = _snaked(_snaked(body.pop("tool_config", None)).get("function_calling_config"))
    if not made:
        return
    params["tools"] = made
    mode = _MODES.get(str(config.get("mode", "")).lower())
    names = config.get("allowed_function_names")
    if isinstance(names, list) and len(names) == 1 and mode == "any":
        params["tool_choice"] = {"type": "tool", "name": names[0]}
    elif mode:
        params["tool_choice"] = {"type": mode}


def _tool(function: Json) -> Json:
    schema = function.get("parameters_json_schema") or function.get("parameters")
    schema = _schema(schema or {"type": "object", "properties": {}}, closed=False)
    made: Json = {"name": function.get("name"), "input_schema": schema}
    if function.get("description"):
        made["description"] = function["description"]
    return made
