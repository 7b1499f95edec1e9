"""What is wrong with a ready-made request, with the fix that a person can choose.

Anthropic checks requests only while it works on the batch, so we check them before you pay.
The rules come from the Message Batches guide, API version 2026-10-21, and each model's page. A
problem means that Anthropic is certain to refuse the request, or that its cost has no upper limit.
What we do not know about a model passes.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any

from ..rules.model_capabilities import MODEL_RULES, QUIET_EFFORTS, ModelRules
from ..rules.pricing import ModelFacts, all_models, find_model
from .request_blocks import block_problems
from .request_settings import answer_schema, foreign_format, setting_problems
from .request_shapes import (
    SHAPES,
    Json,
    Problem,
    is_blocks,
    is_output_config,
    is_thinking,
    is_tool_choice,
    is_tools,
)
from .request_tool_checks import choice_problems, is_foreign, own_tool_problems
from .request_tools import CLIENT_TOOLS, MOST_USES, WEB_TOOLS, has_max_uses, tool_kind
from .shapes import Limits

MOST_MESSAGES = 100_000
LEAST_BUDGET = 1_024  # tokens of thinking
SHOWN = 80  # characters of a name that is repeated in a finding
# What is read from these by tools whose use cannot be limited.
_OPEN_BLOCKS = ("container_upload", "mcp_tool_use", "mcp_tool_result")
# Versions 1 to 3.7: all retired, and not in the table of prices.
_LONG_GONE = re.compile(r"claude-(instant|v?[123])\b")

REQUIRED = ("model", "max_tokens", "messages")
_SAMPLING = ("temperature", "top_p", "top_k")
_PARAMS = {
    *REQUIRED,
    "cache_control",
    "container",
    "diagnostics",
    "inference_geo",
    "metadata",
    "output_config",
    "service_tier",
    "stop_sequences",
    "system",
    "thinking",
    "tool_choice",
    "tools",
    "user_profile_id",
}
# What has a kind of finding of its own.
_REFUSED = {
    "stream": "Batches do not support streaming.",
    "speed": "Batches do not support fast mode.",
    "fallbacks": "Batches do not support fallback models.",
    **{name: f"Claude no longer supports “{name}”." for name in _SAMPLING},
}
_BETA = {
    "billing_policy",
    "compaction",
    "context_management",
    "fallback_credit_token",
    "mcp_servers",
    "thread",
}


def find_problems(request: Json, limits: Limits) -> Iterator[Problem]:
    for name in request:
        if name not in ("custom_id", "params"):
            text = f"“{name[:SHOWN]}” is beside “custom_id” and “params”."
            yield Problem("req_beside", text, _removal("beside", name))
    params = request.get("params")
    if isinstance(params, dict):
        yield from _params_problems(params, limits)
    else:
        yield Problem("req_params", "“params” is missing or not an object.")


def _removal(what: str, name: str) -> str:
    """What has a name as long as a text is not offered to be removed from all of them."""
    return f"{what}:{name}" if name and len(name) <= SHOWN else ""


def _params_problems(params: Json, limits: Limits) -> Iterator[Problem]:
    """What the provider would refuse."""
    place, _format = foreign_format(params)
    for name, value in params.items():
        if name in _REFUSED:
            # `false` is the default, and harmless.
            if name not in ("stream", "speed") or not (value is None or value is False):
                yield Problem(f"req_{name}", _REFUSED[name], f"remove:{name}")
        elif name not in _PARAMS and name != (place or None):
            what = "is a beta parameter, which this site does not support" if name in _BETA else ""
            text = f"“{name[:SHOWN]}” {what or 'is not a known parameter'}."
            yield Problem("req_unknown", text, _removal("remove", name))
    model_id = params.get("model")
    known = rules = None
    if not isinstance(model_id, str) or not model_id or len(model_id) > limits.name:
        yield Problem("req_model", "“model” is missing in “params” or invalid.")
    else:
        known = find_model(model_id)
        yield from _model_problems(model_id, known)
        rules = MODEL_RULES.get(known.id) if known else None
    yield from _length_problems(params, known)
    yield from _message_problems(params, rules)
    for name, is_right in SHAPES.items():
        if name in params and not is_right(params[name]) and name != place:
            text = f"“{name}” has an invalid value."
            yield Problem("req_setting", text)
    if place:
        text = f"“{place}” has a JSON schema in another form than “output_config.format”."
        yield Problem("req_format", text, "format:move")
    if params.get("container") is not None:
        text = "A “container” is read without a limit, so its maximum cost is unknown."
        yield Problem("req_container", text, "remove:container")
    if is_tools(params.get("tools")):
        yield from _tool_problems(params["tools"])
        yield from own_tool_problems(params["tools"])
    if params.get("tools") is None or is_tools(params["tools"]):
        yield from choice_problems(params)
    if isinstance(params.get("messages"), list):
        yield from setting_problems(params)
    if rules and known:
        yield from _rule_problems(params, rules, known.name)


def _model_problems(model_id: str, known: ModelFacts | None) -> Iterator[Problem]:
    if known and known.status == "active":
        return
    better = _successor(model_id, known)
    fix = f"model:{model_id}={better}" if better else ""
    use = f" Its successor is “{better}”." if better else ""
    if not known and not _LONG_GONE.match(model_id):
        meant = f" Did you mean “{better}”?" if better else ""
        text = f"The model “{model_id[:SHOWN]}” is unknown, so it has no price.{meant}"
        yield Problem("req_unknown_model", text, fix)
    elif not known or known.status == "retired":
        yield Problem("req_retired", f"The model “{model_id}” is retired.{use}", fix)
    else:
        when = f" on {known.retires:%d %B %Y}".replace(" 0", " ") if known.retires else " soon"
        text = f"The model “{model_id}” will be retired{when}.{use}"
        yield Problem("req_deprecated", text, fix)


def _successor(model_id: str, known: ModelFacts | None) -> str:
    """The newest model of the same family; of a name that is not known, the one that is meant."""
    newest: dict[str, str] = {}
    for model in all_models():
        if model.status == "active":
            newest.setdefault(model.family, model.id)
    if known:
        return newest.get(known.family, "")
    if _LONG_GONE.match(model_id):
        return next((newest[name] for name in newest if name in model_id), newest["sonnet"])
    names = {name: model for model in all_models() for name in (model.id, *model.aliases)}
    # As other services write it: "anthropic/claude-haiku-4-5", "claude-haiku-4-5@20251001".
    inside = [name for name in names if re.search(rf"{name}(?![-.]?\d)", model_id)]
    close = [max(inside, key=len)] if inside else difflib.get_close_matches(model_id, names, 1, 0.8)
    if not close:
        return ""
    meant = names[close[0]]
    return meant.id if meant.status == "active" else newest.get(meant.family, "")


def _length_problems(params: Json, known: ModelFacts | None) -> Iterator[Problem]:
    longest = params.get("max_tokens")
    if type(longest) is not int or longest < 1:
        text = "“max_tokens” is missing in “params” or not a positive whole number."
        yield Problem("req_max_tokens", text)
    elif known and known.status != "retired" and longest > known.max_output:
        text = f"“max_tokens” is {longest:,}; {known.name} writes at most {known.max_output:,}."
        yield Problem("req_longest", text, "max_tokens:longest")
    elif not known and longest > _longest_of_all():
        text = f"“max_tokens” is {longest:,}; no model writes more than {_longest_of_all():,}."
        yield Problem("req_longest", text)


def _longest_of_all() -> int:
    return max(model.max_output for model in all_models())


def _message_problems(params: Json, rules: ModelRules | None) -> Iterator[Problem]:
    messages = params.get("messages")
    if not isinstance(messages, list) or not messages or len(messages) > MOST_MESSAGES:
        yield Problem(
            "req_messages",
            f"“messages” is missing in “params”, empty, or not a list of up to {MOST_MESSAGES:,}.",
        )
        return
    for number, message in enumerate(messages, start=1):
        if problem := _form_problem(message):
            yield Problem("req_messages", f"Message {number:,}: {problem}")
            return
    roles = [message["role"] for message in messages]
    if odd := next((role for role in roles if role not in ("user", "assistant", "system")), ""):
        text = f"There is no role “{odd[:SHOWN]}”; only “user” and “assistant”."
        yield Problem("req_role", text)
    elif roles[0] == "system":
        text = "The first message has the role “system”. Its text belongs in “system”."
        yield Problem("req_first_system", text, _if_movable(params))
    elif roles[0] != "user":
        yield Problem("req_first", "The first message must have the role “user”.")
    elif "system" in roles and rules and not rules.later_system:
        yield Problem("req_role", "The model does not support messages with the role “system”.")
    for number, message in enumerate(messages, start=1):
        begun = number == len(messages) and message["role"] == "assistant"
        if found := _content_problem(message["role"], message["content"]):
            kind, text = found
            yield Problem(kind, f"Message {number:,}: {text}")
            return
        if begun and rules:
            yield from _prefill_problems(params, message["content"], rules)
    yield from block_problems(messages)


def _prefill_problems(
    params: Json, content: str | list[Json], rules: ModelRules
) -> Iterator[Problem]:
    """About the last message, which begins the answer."""
    if not rules.prefill:
        text = "The last message prefills the answer, which the model does not support."
        yield Problem("req_prefill", text, "remove:prefill")
    elif answer_schema(params) is not None:
        text = "The last message prefills the answer, which does not go with a JSON schema."
        yield Problem("req_prefill", text, "remove:prefill")
    elif isinstance(content, str) and content != content.rstrip():
        text = "The last message, which begins the answer, ends with a blank."
        yield Problem("req_prefill_end", text, "prefill:strip")


def _form_problem(message: Any) -> str:
    """Why this is no message; "" when it is one."""
    if not isinstance(message, dict):
        return "it is not an object with “role” and “content”."
    if not isinstance(message.get("role"), str):
        return "its “role” is missing or not text."
    content = message.get("content")
    if not isinstance(content, str) and not is_blocks(content):
        return "its “content” is neither text nor a list of blocks with a “type”."
    extra = next((name for name in message if name not in ("role", "content")), "")
    if extra and message["role"] != "system":
        return f"it has “{extra[:SHOWN]}” beside “role” and “content”."
    return ""


def _content_problem(role: str, content: str | list[Json]) -> tuple[str, str] | None:
    if isinstance(content, str):
        return None if content.strip() else ("req_text", "its text is empty.")
    if not content:
        return "req_text", "it is empty."
    for block in content:
        kind = block["type"]
        if kind == "text":
            text = block.get("text")
            if not isinstance(text, str) or not text.strip():
                return "req_text", "one of its text blocks is empty."
            if role == "user" and block.get("citations"):
                return "req_content", "a user’s text block has “citations”."
        elif kind == "document" and role == "assistant":
            return "req_content", "an assistant message cannot contain a document."
        elif kind == "search_result" and _has_citations(block.get("content")):
            return "req_content", "a search result’s text block has “citations”."
        elif kind in _OPEN_BLOCKS:
            return "req_open_block", f"“{kind}” has no limit, so its maximum cost is unknown."
    return None


def _has_citations(content: Any) -> bool:
    return isinstance(content, list) and any(
        isinstance(block, dict) and block.get("type") == "text" and block.get("citations")
        for block in content
    )


def _tool_problems(tools: list[Json]) -> Iterator[Problem]:
    """Tools whose results have no size limit, so their maximum cost is unknown."""
    for tool in tools:
        kind = tool_kind(tool)
        name = f"The tool “{kind[:SHOWN]}”"
        if is_foreign(tool):
            continue
        if not kind.startswith((*WEB_TOOLS, *CLIENT_TOOLS)):
            text = f"{name} can be used any number of times, so its maximum cost is unknown."
            yield Problem("req_open_tool", text)
        elif kind.startswith(WEB_TOOLS) and not has_max_uses(tool):
            text = f"{name} needs “max_uses”, a whole number from 1 to {MOST_USES:,}."
            yield Problem("req_max_uses", text, "max_uses:few")


def _rule_problems(params: Json, rules: ModelRules, name: str) -> Iterator[Problem]:
    """What this model does not take. Settings of another form than theirs were named before."""
    config = params.get("output_config")
    effort = config.get("effort") if config and is_output_config(config) else None
    if effort and effort not in rules.efforts:
        fix = "effort:high" if "high" in rules.efforts else "effort:remove"
        yield Problem("req_effort", f"{name} does not support the effort “{effort}”.", fix)
    thinking = params.get("thinking")
    if thinking and is_thinking(thinking):
        yield from _thinking_problems(thinking, params, rules, name, effort)
    choice = params.get("tool_choice")
    forced = choice and is_tool_choice(choice) and choice["type"] in ("any", "tool")
    if forced and not rules.forced_tool:
        text = f"{name} does not support forced tool use (“tool_choice”)."
        yield Problem("req_tool_choice", text, "tool_choice:auto")
    if forced and isinstance(thinking, dict) and thinking.get("type") == "enabled":
        text = "“thinking” of the type “enabled” does not go with forced tool use (“tool_choice”)."
        yield Problem("req_thinking", text, "remove:thinking")
    if params.get("inference_geo") and not rules.region:
        text = f"{name} does not support “inference_geo”."
        yield Problem("req_region", text, "remove:inference_geo")


def _thinking_problems(
    thinking: Json, params: Json, rules: ModelRules, name: str, effort: str | None
) -> Iterator[Problem]:
    kind = thinking["type"]
    budget = thinking.get("budget_tokens")
    if kind not in rules.thinking:
        text = f"{name} does not support “thinking” of the type “{kind}”."
        yield Problem("req_thinking", text, _thinking_fix(kind, rules))
    elif kind == "enabled":
        longest = params.get("max_tokens")
        if type(budget) is not int or budget < LEAST_BUDGET:
            text = f"“budget_tokens” is missing or not a whole number of at least {LEAST_BUDGET:,}."
            yield Problem("req_budget", text)
        elif type(longest) is int and budget >= longest:
            text = f"“budget_tokens” ({budget:,}) must be less than “max_tokens” ({longest:,})."
            yield Problem("req_budget", text)
    elif budget is not None:
        text = f"“budget_tokens” is not allowed with “thinking” of the type “{kind}”."
        yield Problem("req_budget", text, "thinking:no_budget")
    elif (
        kind in ("disabled", "between_tools")
        and not rules.quiet_at_any_effort
        and effort
        and effort not in QUIET_EFFORTS
    ):
        text = f"{name} cannot turn off thinking at the effort “{effort}”."
        yield Problem("req_thinking", text, "effort:high")


def _thinking_fix(kind: str, rules: ModelRules) -> str:
    """What comes closest, for a type that the model does not take."""
    if kind == "enabled":
        return "thinking:adaptive"
    if kind == "disabled" and "between_tools" in rules.thinking:
        return "thinking:between_tools"
    return "remove:thinking"


def _if_movable(params: Json) -> str:
    """There can be one “system” only, and a message must be left."""
    is_alone = all(message["role"] == "system" for message in params["messages"])
    return "" if "system" in params or is_alone else "system:move"
