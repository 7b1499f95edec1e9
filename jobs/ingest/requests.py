"""Ready-made requests, `{"custom_id": ..., "params": {...}}`: checked before anything is paid
against what a batch takes, because the provider checks them only while it works on the batch.

What can be mended in all of them at once has a fix, a short code such as "remove:temperature". One
that is among the `remedies` a person chose is carried out wherever that finding is found.

The rules are those of the Message Batches guide, of API version 2026-10-21 and of each model's
page. They are about what is certain to be refused: what is not known of a model is let through.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec

from ..rules.model_capabilities import ALL_EFFORTS, QUIET_EFFORTS, RULES, Rules, rules_of
from ..rules.pricing import Facts, all_facts, facts_of
from .input_sizes import InputSize, input_size
from .shapes import Finding, Limits, Line

Json = dict[str, Any]

MOST_MESSAGES = 100_000
LEAST_BUDGET = 1_024  # tokens of thinking
SHOWN = 80  # characters of a name that is repeated in a finding
ROUNDS = 20  # of mending one request; every fix mends something, so this is not reached

_encoder = msgspec.json.Encoder()


_ALL_THINKING = ("adaptive", "enabled", "disabled", "between_tools")
# Tools that the provider runs: the model reads what they find, and goes on. Of these, “max_uses”
# says how often.
_FINDING = ("web_search_", "web_fetch_")
_SEARCHING = "web_search_"
# Tools that are only asked for, which ends the answer.
_ASKED_FOR = ("custom", "bash_", "browser_", "computer_", "memory_", "text_editor_")
MOST_USES, FEW_USES = 1_000, 5
# What is read from these by tools whose use cannot be limited.
_OPEN_BLOCKS = ("container_upload", "mcp_tool_use", "mcp_tool_result")
# Versions 1 to 3.7: all retired, and not in the table of prices.
_LONG_GONE = re.compile(r"claude-(instant|v?[123])\b")

_REQUIRED = ("model", "max_tokens", "messages")
_SAMPLING = ("temperature", "top_p", "top_k")
_PARAMS = {
    *_REQUIRED,
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
    "stream": "A batch cannot stream.",
    "speed": "There is no fast mode in a batch.",
    "fallbacks": "A batch has no fallback models.",
    **{name: f"“{name}” is not taken any more, whatever its value." for name in _SAMPLING},
}
_BETA = {
    "billing_policy",
    "compaction",
    "context_management",
    "fallback_credit_token",
    "mcp_servers",
    "thread",
}
# Findings that leave no row out.
_REMARKS = {"req_deprecated"}


class Requests:
    """The ready-made requests of one file, one by one: each becomes a Line."""

    def __init__(self, remedies: tuple[str, ...], limits: Limits) -> None:
        self._remedies = {code for code in remedies if fix_in_words(code)}
        self._limits = limits
        self._seen: dict[str, int] = {}
        self._mended: Counter[str] = Counter()
        self._deprecated: dict[str, tuple[Finding, int]] = {}  # with how many of them there are
        self._with_tools = self._with_links = self._unmeasured = 0

    def line(self, number: int, source: str, request: Json) -> Line:
        """`source` is the text of `request`, on line `number` of the file. `request` is changed
        when a remedy applies to it."""
        findings = _findings(number, request, self._limits)
        mended = set()
        for _round in range(ROUNDS):
            codes = {finding.fix for finding in findings} & self._remedies
            if not codes:
                break
            for code in codes:
                _mend(code, request)
            mended |= codes
            findings = _findings(number, request, self._limits)
        if mended:
            self._mended.update(mended)
            source = _encoder.encode(request).decode()
        problems = [finding for finding in findings if finding.kind not in _REMARKS]
        if problem := self._id_problem(number, request.get("custom_id")):
            problems.insert(0, problem)
        if problems:
            return Line(number, source, 0, _as_one(problems))
        for finding in findings:
            first, count = self._deprecated.get(finding.fix, (finding, 0))
            self._deprecated[finding.fix] = first, count + 1
        params = request["params"]
        searches, turns = _uses(params.get("tools", []))
        self._with_tools += turns > 0
        size = len(bytes(_params_decoder.decode(source).params))
        found, most = measure(params, size)
        self._with_links += found.is_linked
        self._unmeasured += found.most is None and not found.is_linked
        return Line(
            number,
            source,
            size,
            model=params["model"],
            max_tokens=params["max_tokens"],
            cached=_is_any_kept(source, request),
            in_the_us=params.get("inference_geo") == "us",
            searches=searches,
            turns=turns,
            most=most,
            usual=found.usual,
            is_linked=found.is_linked,
        )

    def is_wrong(self, number: int, request: Json) -> bool:
        """Whether the next request cannot be sent as it is, without any remedy."""
        findings = _findings(number, request, self._limits)
        if any(finding.kind not in _REMARKS for finding in findings):
            return True
        custom_id = request.get("custom_id")
        return not isinstance(custom_id, str) or not custom_id.strip() or custom_id in self._seen

    def remarks(self) -> Iterator[Finding]:
        """What is to be said of the file when all lines were read."""
        for code, count in sorted(self._mended.items()):
            yield Finding("changed", f"{_done_in_words(code)} in {_requests(count)}.")
        for finding, count in self._deprecated.values():
            text = f"{finding.text} {_requests(count)} {'asks' if count == 1 else 'ask'} for it."
            yield Finding(finding.kind, text, finding.line, finding.fix)
        if self._with_tools:
            text = f"{_requests(self._with_tools)} may search the web or fetch pages."
            yield Finding("req_finding", text)
        if self._with_links:
            link = "links" if self._with_links == 1 else "link"
            text = f"{_requests(self._with_links)} {link} files that are not in your upload."
            yield Finding("req_linked", text)
        if self._unmeasured:
            text = f"We cannot tell how long {_requests(self._unmeasured)} can be."
            yield Finding("req_unmeasured", text)

    def _id_problem(self, number: int, custom_id: Any) -> Finding | None:
        """Any text will do, because what is sent has an id of ours."""
        if not isinstance(custom_id, str) or not custom_id.strip():
            return Finding("req_id", "“custom_id” is missing, empty or not a text.", number)
        if custom_id in self._seen:
            before = self._seen[custom_id]
            text = f"The custom_id “{custom_id[:SHOWN]}” is also on line {before:,}."
            return Finding("req_same_id", text, number)
        self._seen[custom_id] = number
        return None


def measure(params: Json, size: int) -> tuple[InputSize, int]:
    """How long the input of a request is that can be sent, and its tokens at most: nothing longer
    than what its model can read at once is taken, nor charged."""
    known = facts_of(params["model"])
    found = input_size(params, size, rules_of(known.id if known else ""))
    context = known.context if known else max(one.context for one in all_facts())
    return found, context if found.most is None else min(found.most, context)


def _is_any_kept(source: str, request: Json) -> bool:
    """Whether it asks to have anything kept at the provider, also in letters that are numbers."""
    text = _encoder.encode(request).decode() if "\\u" in source else source
    return '"cache_control"' in text


class _Params(msgspec.Struct):
    params: msgspec.Raw


_params_decoder = msgspec.json.Decoder(_Params)


class _Problem(NamedTuple):
    kind: str
    text: str
    fix: str = ""


def _as_one(problems: list[Finding]) -> Finding:
    """A row has one problem: the first, which says what else is wrong."""
    first, *others = problems
    if not others:
        return first
    text = " ".join([first.text, "Also:", *(other.text for other in others)])
    return Finding(first.kind, text, first.line, first.fix)


def _requests(count: int) -> str:
    return "1 request" if count == 1 else f"{count:,} requests"


# --- What is wrong --------------------------------------------------------------------------------


def _findings(number: int, request: Json, limits: Limits) -> list[Finding]:
    return [Finding(kind, text, number, fix) for kind, text, fix in _problems(request, limits)]


def _problems(request: Json, limits: Limits) -> Iterator[_Problem]:
    for name in request:
        if name not in ("custom_id", "params"):
            text = f"“{name[:SHOWN]}” is beside “custom_id” and “params”."
            yield _Problem("req_beside", text, _removal("beside", name))
    params = request.get("params")
    if isinstance(params, dict):
        yield from _params_problems(params, limits)
    else:
        yield _Problem("req_params", "“params” is missing or not an object.")


def _removal(what: str, name: str) -> str:
    """What has a name as long as a text is not offered to be removed from all of them."""
    return f"{what}:{name}" if name and len(name) <= SHOWN else ""


def _params_problems(params: Json, limits: Limits) -> Iterator[_Problem]:
    """What the provider would refuse."""
    for name, value in params.items():
        if name in _REFUSED:
            # `false` says in so many words what is so anyway.
            if name not in ("stream", "speed") or not (value is None or value is False):
                yield _Problem(f"req_{name}", _REFUSED[name], f"remove:{name}")
        elif name not in _PARAMS:
            what = "is for beta versions, which this site does not use" if name in _BETA else ""
            text = f"“{name[:SHOWN]}” {what or 'is not a setting that a request can have'}."
            yield _Problem("req_unknown", text, _removal("remove", name))
    model_id = params.get("model")
    known = rules = None
    if not isinstance(model_id, str) or not model_id or len(model_id) > limits.name:
        yield _Problem("req_model", "“model” is missing in “params”, or not the name of a model.")
    else:
        known = facts_of(model_id)
        yield from _model_problems(model_id, known)
        rules = RULES.get(known.id) if known else None
    yield from _length_problems(params, known)
    yield from _message_problems(params, rules)
    for name, is_right in _FORMS.items():
        if name in params and not is_right(params[name]):
            text = f"What is in “{name}” does not have the form that it must have."
            yield _Problem("req_setting", text)
    if params.get("container") is not None:
        text = "A “container” is read without limit, so the most it costs cannot be said."
        yield _Problem("req_container", text, "remove:container")
    if _is_tools(params.get("tools")):
        yield from _tool_problems(params["tools"])
    if rules and known:
        yield from _rule_problems(params, rules, known.name)


def _model_problems(model_id: str, known: Facts | None) -> Iterator[_Problem]:
    if known and known.status == "active":
        return
    better = _successor(model_id, known)
    fix = f"model:{model_id}={better}" if better else ""
    use = f" Its successor is “{better}”." if better else ""
    if not known and not _LONG_GONE.match(model_id):
        meant = f" Is “{better}” meant?" if better else ""
        text = f"The model “{model_id[:SHOWN]}” is not known, so it has no price.{meant}"
        yield _Problem("req_unknown_model", text, fix)
    elif not known or known.status == "retired":
        yield _Problem(
            "req_retired", f"The model “{model_id}” is not in service any more.{use}", fix
        )
    else:
        when = f" on {known.retires:%d %B %Y}".replace(" 0", " ") if known.retires else " soon"
        text = f"The model “{model_id}” is taken out of service{when}.{use}"
        yield _Problem("req_deprecated", text, fix)


def _successor(model_id: str, known: Facts | None) -> str:
    """The newest model of the same family; of a name that is not known, the one that is meant."""
    newest: dict[str, str] = {}
    for model in all_facts():
        if model.status == "active":
            newest.setdefault(model.family, model.id)
    if known:
        return newest.get(known.family, "")
    if _LONG_GONE.match(model_id):
        return next((newest[name] for name in newest if name in model_id), newest["sonnet"])
    names = {name: model for model in all_facts() for name in (model.id, *model.aliases)}
    # As other services write it: "anthropic/claude-haiku-4-5", "claude-haiku-4-5@20251001".
    inside = [name for name in names if re.search(rf"{name}(?![-.]?\d)", model_id)]
    close = [max(inside, key=len)] if inside else difflib.get_close_matches(model_id, names, 1, 0.8)
    if not close:
        return ""
    meant = names[close[0]]
    return meant.id if meant.status == "active" else newest.get(meant.family, "")


def _length_problems(params: Json, known: Facts | None) -> Iterator[_Problem]:
    longest = params.get("max_tokens")
    if type(longest) is not int or longest < 1:
        text = "“max_tokens” is missing in “params”, or not a whole number from 1."
        yield _Problem("req_max_tokens", text)
    elif known and known.status != "retired" and longest > known.max_output:
        text = f"“max_tokens” is {longest:,}; {known.name} writes at most {known.max_output:,}."
        yield _Problem("req_longest", text, "max_tokens:longest")
    elif not known and longest > _longest_of_all():
        text = f"“max_tokens” is {longest:,}; no model writes more than {_longest_of_all():,}."
        yield _Problem("req_longest", text)


def _longest_of_all() -> int:
    return max(model.max_output for model in all_facts())


def _message_problems(params: Json, rules: Rules | None) -> Iterator[_Problem]:
    messages = params.get("messages")
    if not isinstance(messages, list) or not messages or len(messages) > MOST_MESSAGES:
        yield _Problem(
            "req_messages",
            f"“messages” is missing in “params”, empty, or not a list of up to {MOST_MESSAGES:,}.",
        )
        return
    for number, message in enumerate(messages, start=1):
        if problem := _form_problem(message):
            yield _Problem("req_messages", f"Message {number:,}: {problem}")
            return
    roles = [message["role"] for message in messages]
    if odd := next((role for role in roles if role not in ("user", "assistant", "system")), ""):
        text = f"There is no role “{odd[:SHOWN]}”; only “user” and “assistant”."
        yield _Problem("req_role", text)
    elif roles[0] == "system":
        text = "The first message has the role “system”. What it says belongs into “system”."
        yield _Problem("req_first_system", text, _if_movable(params))
    elif roles[0] != "user":
        yield _Problem("req_first", "The first message must have the role “user”.")
    elif "system" in roles and rules and not rules.later_system:
        yield _Problem("req_role", "The model does not take messages with the role “system”.")
    for number, message in enumerate(messages, start=1):
        begun = number == len(messages) and message["role"] == "assistant"
        if found := _content_problem(message["role"], message["content"]):
            kind, text = found
            yield _Problem(kind, f"Message {number:,}: {text}")
            return
        if begun and rules and not rules.prefill:
            text = "The last message begins the answer, which the model does not take."
            yield _Problem("req_prefill", text, "remove:prefill")


def _form_problem(message: Any) -> str:
    """Why this is no message; "" when it is one."""
    if not isinstance(message, dict):
        return "it is not an object with “role” and “content”."
    if not isinstance(message.get("role"), str):
        return "its “role” is missing or not a text."
    content = message.get("content")
    if not isinstance(content, str) and not _is_blocks(content):
        return "its “content” is neither a text nor a list of blocks, each with a “type”."
    extra = next((name for name in message if name not in ("role", "content")), "")
    if extra and message["role"] != "system":
        return f"it has “{extra[:SHOWN]}” beside “role” and “content”."
    return ""


def _is_blocks(content: Any) -> bool:
    return isinstance(content, list) and all(
        isinstance(block, dict) and isinstance(block.get("type"), str) for block in content
    )


def _content_problem(role: str, content: str | list[Json]) -> tuple[str, str] | None:
    if isinstance(content, str):
        return None if content.strip() else ("req_text", "its text is empty.")
    if not content:
        return "req_text", "there is nothing in it."
    for block in content:
        kind = block["type"]
        if kind == "text":
            text = block.get("text")
            if not isinstance(text, str) or not text.strip():
                return "req_text", "one of its texts is empty."
            if role == "user" and block.get("citations"):
                return "req_content", "a text of the user has “citations”."
        elif kind == "document" and role == "assistant":
            return "req_content", "a document cannot be in an answer of the assistant."
        elif kind == "search_result" and _has_citations(block.get("content")):
            return "req_content", "a text of a search result has “citations”."
        elif kind in _OPEN_BLOCKS:
            return "req_open_block", f"“{kind}” has no limit, so the most it costs cannot be said."
    return None


def _has_citations(content: Any) -> bool:
    return isinstance(content, list) and any(
        isinstance(block, dict) and block.get("type") == "text" and block.get("citations")
        for block in content
    )


def _is_system(value: Any) -> bool:
    if isinstance(value, str):
        return True
    return _is_blocks(value) and all(
        block["type"] == "text" and isinstance(block.get("text"), str) for block in value
    )


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _is_tools(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(tool, dict) for tool in value)


def _kind_of(tool: Json) -> str:
    return str(tool.get("type") or "custom")


def _is_limited(tool: Json) -> bool:
    uses = tool.get("max_uses")
    return type(uses) is int and 1 <= uses <= MOST_USES


def _tool_problems(tools: list[Json]) -> Iterator[_Problem]:
    """Tools whose results are read without limit, so that nobody knows what this costs at most."""
    for tool in tools:
        kind = _kind_of(tool)
        name = f"The tool “{kind[:SHOWN]}”"
        if not kind.startswith((*_FINDING, *_ASKED_FOR)):
            text = f"{name} can be used any number of times, so the most it costs cannot be said."
            yield _Problem("req_open_tool", text)
        elif kind.startswith(_FINDING) and not _is_limited(tool):
            text = f"{name} needs “max_uses”, a whole number from 1 to {MOST_USES:,}."
            yield _Problem("req_max_uses", text, "max_uses:few")


def _uses(tools: list[Json]) -> tuple[int, int]:
    """How many web searches are allowed, and how many turns the model takes with what is found:
    one for each use, and one to answer. 0 without such a tool."""
    finding = [tool for tool in tools if _kind_of(tool).startswith(_FINDING)]
    if not finding:
        return 0, 0
    searching = [tool for tool in finding if _kind_of(tool).startswith(_SEARCHING)]
    searches, uses = (sum(tool["max_uses"] for tool in some) for some in (searching, finding))
    return searches, uses + 1


def _is_thinking(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict)
        and value.get("type") in _ALL_THINKING
        and value.keys() <= {"type", "budget_tokens", "display"}
        and value.get("display") in (None, "summarized", "omitted")
    )


def _is_output_config(value: Any) -> bool:
    if value is None:
        return True
    return (
        isinstance(value, dict)
        and value.keys() <= {"effort", "format"}
        and value.get("effort") in (None, *ALL_EFFORTS)
        and _is_format(value.get("format"))
    )


def _is_format(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict)
        and value.get("type") == "json_schema"
        and isinstance(value.get("schema"), dict)
        and value.keys() <= {"type", "schema"}
    )


def _is_cache_control(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict)
        and value.get("type") == "ephemeral"
        and value.get("ttl", "5m") in ("5m", "1h")
    )


def _is_tool_choice(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict)
        and value.get("type") in ("auto", "any", "tool", "none")
        and (value["type"] != "tool" or isinstance(value.get("name"), str))
    )


_FORMS: dict[str, Callable[[Any], bool]] = {
    "cache_control": _is_cache_control,
    "container": lambda value: value is None or isinstance(value, str | dict),
    "inference_geo": lambda value: value in (None, "us", "global"),
    "metadata": lambda value: value is None or isinstance(value, dict),
    "output_config": _is_output_config,
    "service_tier": lambda value: value in (None, "auto", "standard_only"),
    "stop_sequences": _is_texts,
    "system": _is_system,
    "thinking": _is_thinking,
    "tool_choice": _is_tool_choice,
    "tools": _is_tools,
    "user_profile_id": lambda value: value is None or isinstance(value, str),
}


def _rule_problems(params: Json, rules: Rules, name: str) -> Iterator[_Problem]:
    """What this model does not take. Settings of another form than theirs were named before."""
    config = params.get("output_config")
    effort = config.get("effort") if config and _is_output_config(config) else None
    if effort and effort not in rules.efforts:
        fix = "effort:high" if "high" in rules.efforts else "effort:remove"
        yield _Problem("req_effort", f"{name} has no effort “{effort}”.", fix)
    thinking = params.get("thinking")
    if thinking and _is_thinking(thinking):
        yield from _thinking_problems(thinking, params, rules, name, effort)
    choice = params.get("tool_choice")
    forced = choice and _is_tool_choice(choice) and choice["type"] in ("any", "tool")
    if forced and not rules.forced_tool:
        text = f"{name} cannot be made to use a tool (“tool_choice”)."
        yield _Problem("req_tool_choice", text, "tool_choice:auto")
    if params.get("inference_geo") and not rules.region:
        text = f"{name} does not take “inference_geo”."
        yield _Problem("req_region", text, "remove:inference_geo")


def _thinking_problems(
    thinking: Json, params: Json, rules: Rules, name: str, effort: str | None
) -> Iterator[_Problem]:
    kind = thinking["type"]
    budget = thinking.get("budget_tokens")
    if kind not in rules.thinking:
        text = f"{name} does not take “thinking” of the type “{kind}”."
        yield _Problem("req_thinking", text, _thinking_fix(kind, rules))
    elif kind == "enabled":
        longest = params.get("max_tokens")
        if type(budget) is not int or budget < LEAST_BUDGET:
            text = f"“budget_tokens” is missing, or not a whole number from {LEAST_BUDGET:,}."
            yield _Problem("req_budget", text)
        elif type(longest) is int and budget >= longest:
            text = f"“budget_tokens” is {budget:,}, and “max_tokens” only {longest:,}."
            yield _Problem("req_budget", text)
    elif budget is not None:
        text = f"“budget_tokens” does not belong to “thinking” of the type “{kind}”."
        yield _Problem("req_budget", text, "thinking:no_budget")
    elif (
        kind in ("disabled", "between_tools")
        and not rules.quiet_at_any_effort
        and effort
        and effort not in QUIET_EFFORTS
    ):
        text = f"{name} cannot go without thinking at the effort “{effort}”."
        yield _Problem("req_thinking", text, "effort:high")


def _thinking_fix(kind: str, rules: Rules) -> str:
    """What comes closest, for a type that the model does not take."""
    if kind == "enabled":
        return "thinking:adaptive"
    if kind == "disabled" and "between_tools" in rules.thinking:
        return "thinking:between_tools"
    return "remove:thinking"


# --- How it is mended -----------------------------------------------------------------------------


class _Fix(NamedTuple):
    words: str  # of the button; "them" are the requests
    done: str
    mend: Callable[[Json], object]


def _remove_effort(params: Json) -> None:
    config = params.get("output_config", {})
    config.pop("effort", None)
    if not config:
        params.pop("output_config", None)


def _remove_prefill(params: Json) -> None:
    while params["messages"] and params["messages"][-1]["role"] == "assistant":
        params["messages"].pop()


def _move_system(params: Json) -> None:
    contents = []
    while params["messages"] and params["messages"][0]["role"] == "system":
        contents.append(params["messages"].pop(0)["content"])
    if all(isinstance(content, str) for content in contents):
        params["system"] = "\n\n".join(contents)
        return
    blocks: list[Json] = []
    for content in contents:
        blocks += [{"type": "text", "text": content}] if isinstance(content, str) else content
    params["system"] = blocks


def _if_movable(params: Json) -> str:
    """There can be one “system” only, and a message must be left."""
    is_alone = all(message["role"] == "system" for message in params["messages"])
    return "" if "system" in params or is_alone else "system:move"


def _shorten(params: Json) -> None:
    if known := facts_of(params["model"]):
        params["max_tokens"] = known.max_output


def _limit_uses(params: Json) -> None:
    for tool in params["tools"]:
        if _kind_of(tool).startswith(_FINDING) and not _is_limited(tool):
            tool["max_uses"] = FEW_USES


_FIXES = {
    "max_tokens:longest": _Fix(
        "Set “max_tokens” to the longest answer of the model",
        "“max_tokens” was set to the longest answer of the model",
        _shorten,
    ),
    "max_uses:few": _Fix(
        f"Allow {FEW_USES} uses of each tool that searches or fetches",
        f"{FEW_USES} uses of each tool that searches or fetches were allowed",
        _limit_uses,
    ),
    "remove:prefill": _Fix(
        "Remove the beginning of the answer",
        "The beginning of the answer was removed",
        _remove_prefill,
    ),
    "system:move": _Fix(
        "Move the first message into “system”",
        "The first message was moved into “system”",
        _move_system,
    ),
    "thinking:adaptive": _Fix(
        "Let the model decide how much to think",
        "The model decides how much to think (“thinking” is “adaptive”)",
        lambda params: params.update(thinking={"type": "adaptive"}),
    ),
    "thinking:between_tools": _Fix(
        "Let the model think only between tools",
        "The model thinks only between tools (“thinking” is “between_tools”)",
        lambda params: params.update(thinking={"type": "between_tools"}),
    ),
    "effort:high": _Fix(
        "Set “effort” to “high”",
        "“effort” was set to “high”",
        lambda params: params["output_config"].update(effort="high"),
    ),
    "effort:remove": _Fix("Remove effort", "“effort” was removed", _remove_effort),
    "thinking:no_budget": _Fix(
        "Remove budget_tokens",
        "“budget_tokens” was removed",
        lambda params: params.get("thinking", {}).pop("budget_tokens", None),
    ),
    "tool_choice:auto": _Fix(
        "Let the model decide whether to use a tool",
        "The model decides whether to use a tool (“tool_choice” is “auto”)",
        lambda params: params.update(tool_choice={"type": "auto"}),
    ),
}


def fix_in_words(code: str, count: int = 0) -> str:
    """The label of a button for a group of findings: "Remove temperature from all 4,000 requests".
    "" for a code that is not known, which nothing is done about."""
    what, separator, name = code.partition(":")
    old, _, new = name.rpartition("=")
    every = f"all {count:,} requests" if count > 1 else "the request" if count else "all of them"
    if fix := _FIXES.get(code):
        return f"{fix.words}, in {every}"
    if what == "model" and old and (known := facts_of(new)) and known.status != "retired":
        return f"Use {new} instead of {old[:SHOWN]}, in {every}"
    removable = {"remove": (*_REQUIRED, ""), "beside": ("custom_id", "params", "")}
    if separator and name not in removable.get(what, (name,)):
        return f"Remove {name[:SHOWN]} from {every}"
    return ""


def _done_in_words(code: str) -> str:
    if fix := _FIXES.get(code):
        return fix.done
    what, _, name = code.partition(":")
    old, _, new = name.rpartition("=")
    if what == "model":
        return f"“{old[:SHOWN]}” was replaced by “{new}”"
    return f"“{name[:SHOWN]}” was removed"


def _mend(code: str, request: Json) -> None:
    """Carry out the fix of a finding about this very request."""
    what, _, name = code.partition(":")
    if fix := _FIXES.get(code):
        fix.mend(request["params"])
    elif what == "model":
        request["params"]["model"] = name.rpartition("=")[2]
    elif what == "beside":
        request.pop(name, None)
    else:
        request["params"].pop(name, None)
