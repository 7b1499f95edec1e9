"""Made-up answers: always the same for the same request, and plainly marked as practice."""

import base64
from contextlib import suppress
from typing import Literal

import msgspec

from . import schemas
from .dice import Dice
from .labels import plausible_label, wanted_labels
from .models import Model
from .prompts import Prompt, count_text
from .wire import (
    CacheCreation,
    OutputDetails,
    Params,
    Reply,
    ServerToolUse,
    StopDetails,
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
    Usage,
)

# What becomes of a request. "form": the answer is not in the form that was asked for.
Fate = Literal["good", "cut", "empty", "refusal", "form", "tool", "pause", "context", "other"]
CacheUse = Literal["none", "write", "read"]

_MARK = "[Practice answer] "
_SENTENCES = (
    "No model has read this text.",
    "A real answer would stand here.",
    "It would follow the instructions you wrote.",
    "This one only shows where answers appear and how long they may get.",
    "Nothing was sent anywhere and nothing was charged.",
    "The words are made up, but always the same for the same row.",
    "Use it to try the steps before and after the answer.",
    "With a key in place, the same row gets a real answer.",
)
_LONGEST_GIST = 90
# A text that is cut off is made no longer than this; the rest of its tokens are only counted.
_LONGEST_CUT_TOKENS = 2000
_EFFORT = {"low": 0.4, "medium": 0.7, "high": 1.0, "xhigh": 2.0, "max": 3.0}
_CATEGORIES = ("cyber", "bio", "frontier_llm", "reasoning_extraction", "general_harms", None)
# Ends that leave an answer as if it were whole; the last one is of a beta.
_ENDS = {
    "tool": "tool_use",
    "pause": "pause_turn",
    "context": "model_context_window_exceeded",
    "other": "compaction",
}
# A model that has nothing to say still ends its turn.
_EMPTY_TOKENS = 3
# What a search or a page comes to, and how often one is wanted where there is no limit.
_FOUND_TOKENS = 9_000
_MANY_USES = 8


class _Draft(msgspec.Struct):
    """An answer in the making."""

    text: str | None
    text_tokens: int
    thinking_tokens: int
    stop_reason: str
    stop_sequence: str | None = None
    stop_details: StopDetails | None = None
    call: ToolUseBlock | None = None


def answer(
    params: Params, model: Model, prompt: Prompt, *, fate: Fate, tier: str, cache: CacheUse
) -> Reply:
    """The message the model would have sent. The parameters have been checked before."""
    config = params.output_config
    schema = (
        bytes(config.format.schema) if config is not None and config.format is not None else b""
    )
    dice = Dice(model.id, schema.decode("utf-8", "replace"), *prompt.texts)
    limit = params.max_tokens if isinstance(params.max_tokens, int) else model.longest_output
    thinking = _thinking_tokens(params, model, dice)
    tool = _called_tool(params, fate)
    if fate == "refusal":
        draft = _refused(dice)
    elif tool is not None and fate in ("good", "cut", "tool"):
        draft = _call(tool, prompt, model, dice, limit, is_cut=fate == "cut")
    elif fate == "empty":
        said = min(_EMPTY_TOKENS, limit)
        draft = _Draft(None, said, _affordable(thinking, limit - said), "end_turn")
    elif fate == "cut":
        draft = _cut(schema, prompt, model, dice, limit, thinks=thinking > 0)
    elif fate == "form":
        text = _free_text(prompt, dice, int(limit * model.rules.bytes_per_token * 0.95))
        draft = _Draft(text, count_text(text, model.rules.bytes_per_token), 0, "end_turn")
    else:
        draft = _good(params, schema, prompt, model, dice, limit, thinking)
        draft.stop_reason = _ENDS.get(fate, draft.stop_reason)
    content: list[ThinkingBlock | TextBlock | ToolUseBlock] = []
    if draft.thinking_tokens:
        content.append(_thinking_block(params, model, dice))
    if draft.text is not None:
        content.append(TextBlock(draft.text))
    if draft.call is not None:
        content.append(draft.call)
    return Reply(
        id=f"msg_01{dice.seed.hex()[:22]}",
        model=model.id,
        content=content,
        stop_reason=draft.stop_reason,
        stop_sequence=draft.stop_sequence,
        stop_details=draft.stop_details,
        usage=_usage(params, prompt, draft, tier, cache, dice),
    )


def _good(
    params: Params,
    schema: bytes,
    prompt: Prompt,
    model: Model,
    dice: Dice,
    limit: int,
    thinking: int,
) -> _Draft:
    text = _write(schema, prompt, dice, int(limit * model.rules.bytes_per_token * 0.95))
    stop_reason, stopped_at = "end_turn", None
    for sequence in params.stop_sequences:
        if sequence and sequence in text:
            text = text[: text.index(sequence)]
            stop_reason, stopped_at = "stop_sequence", sequence
    tokens = count_text(text, model.rules.bytes_per_token)
    if tokens > limit:
        text = _first_bytes(text, int(limit * model.rules.bytes_per_token))
        return _Draft(text, limit, 0, "max_tokens")
    return _Draft(text, tokens, _affordable(thinking, limit - tokens), stop_reason, stopped_at)


def _called_tool(params: Params, fate: Fate) -> dict[str, object] | None:
    """The tool of the client's that is called: the one that is forced, or the first one that an
    answer may end with."""
    tools = [tool for tool in params.tools if tool.get("type") in (None, "custom")]
    choice = params.tool_choice
    if choice is not None and choice.type == "tool":
        tools = [tool for tool in tools if tool.get("name") == choice.name]
    is_forced = choice is not None and choice.type in ("any", "tool")
    return tools[0] if tools and (is_forced or fate == "tool") else None


def _call(
    tool: dict[str, object], prompt: Prompt, model: Model, dice: Dice, limit: int, *, is_cut: bool
) -> _Draft:
    """The call of a tool. One that is cut off has only the first half of its input."""
    schema = tool.get("input_schema")
    made: object = {}
    if isinstance(schema, dict):
        with suppress(RecursionError, KeyError):
            gist = _gist(prompt.question, 60)
            made = schemas.make_answer(schemas.Schema(schema), dice, gist, prompt.question)
    tokens = count_text(msgspec.json.encode(made).decode(), model.rules.bytes_per_token)
    is_cut = is_cut or tokens > limit
    if is_cut and isinstance(made, dict):
        made = dict(list(made.items())[: len(made) // 2])
    called = ToolUseBlock(f"toolu_01{dice.seed.hex()[:22]}", str(tool.get("name")), made)
    stop_reason = "max_tokens" if is_cut else "tool_use"
    return _Draft(None, limit if is_cut else tokens, 0, stop_reason, call=called)


def _cut(
    schema: bytes, prompt: Prompt, model: Model, dice: Dice, limit: int, *, thinks: bool
) -> _Draft:
    bytes_per_token = model.rules.bytes_per_token
    room = int(min(limit // 2 if thinks else limit, _LONGEST_CUT_TOKENS) * bytes_per_token)
    if schema:
        whole = _write(schema, prompt, dice, room)
        text = _first_bytes(whole, min(room, len(whole.encode()) // 2))
    else:
        text = _free_text(prompt, dice, room)
        while len(text) < room:
            text += " " + dice.pick(_SENTENCES)
        text = _first_bytes(text, room)
    tokens = min(limit, count_text(text, bytes_per_token)) if thinks else limit
    return _Draft(text, tokens, limit - tokens, "max_tokens")


def _refused(dice: Dice) -> _Draft:
    details = StopDetails(dice.pick(_CATEGORIES), "(practice) This refusal was made up.")
    return _Draft(None, 0, 0, "refusal", stop_details=details)


def _write(schema: bytes, prompt: Prompt, dice: Dice, room: int) -> str:
    if schema:
        gist = _gist(prompt.question, 60)
        made = schemas.make_answer(schemas.read_schema(schema), dice, gist, prompt.question)
        return msgspec.json.encode(made).decode()
    if labels := wanted_labels(prompt.system, prompt.question):
        return plausible_label(labels, prompt.question, dice)
    return _free_text(prompt, dice, room)


def _free_text(prompt: Prompt, dice: Dice, room: int) -> str:
    """A few sentences in so many bytes, if they fit; a quotation tells the rows apart."""
    text = f'{_MARK}"{_gist(prompt.question, min(room - len(_MARK) - 2, _LONGEST_GIST))}"'
    left = room - len(text.encode())
    start = dice.number(len(_SENTENCES))
    for step in range(dice.number(4)):
        sentence = _SENTENCES[(start + step) % len(_SENTENCES)]
        left -= len(sentence) + 1
        if left < 0:
            break
        text += " " + sentence
    return text


def _gist(text: str, room: int) -> str:
    """The beginning and the end of a text in about so many bytes.

    One of them is likely to be the row's own, wherever the template puts it.
    """
    flat = " ".join((text if len(text) <= 600 else f"{text[:300]} {text[-300:]}").split())
    if not flat:
        return ""
    letters = room * len(flat) // len(flat.encode("utf-8", "surrogatepass"))
    if len(flat) <= letters:
        return flat
    if letters < 20:
        return flat[: max(letters, 0)]
    half = (letters - 5) // 2
    head, tail = flat[:half], flat[-half:]
    if " " in head:
        head = head[: head.rindex(" ")]
    if " " in tail:
        tail = tail[tail.index(" ") + 1 :]
    return f"{head} ... {tail}"


def _thinking_tokens(params: Params, model: Model, dice: Dice) -> int:
    """How much the model would like to think about this; 0 if thinking is off."""
    thinking = params.thinking
    on = (
        model.rules.thinks_by_default
        if thinking is None
        else thinking.type in ("adaptive", "enabled")
    )
    if not on:
        return 0
    effort = params.output_config.effort if params.output_config else None
    wanted = int((20 + dice.number(120)) * _EFFORT[effort or model.rules.default_effort])
    return min(wanted, thinking.budget_tokens) if thinking and thinking.budget_tokens else wanted


def _affordable(thinking: int, left: int) -> int:
    """Thinking gets a part of what the text leaves, or small limits would cut every answer."""
    return min(thinking, left * 3 // 4)


def _thinking_block(params: Params, model: Model, dice: Dice) -> ThinkingBlock:
    display = params.thinking.display if params.thinking else None
    shown = display == "summarized" if display else not model.rules.hides_thinking
    words = "(practice) Reading the request and working out what to answer." if shown else ""
    return ThinkingBlock(words, base64.b64encode(dice.seed * 4).decode())


def _usage(
    params: Params, prompt: Prompt, draft: _Draft, tier: str, cache: CacheUse, dice: Dice
) -> Usage:
    written = prompt.cacheable if cache == "write" else 0
    read = prompt.cacheable if cache == "read" else 0
    creation = CacheCreation()
    if prompt.cached_for_an_hour:
        creation.ephemeral_1h_input_tokens = written
    else:
        creation.ephemeral_5m_input_tokens = written
    tools, found = _tool_use(params, dice)
    return Usage(
        input_tokens=prompt.tokens - written - read + found,
        output_tokens=draft.text_tokens + draft.thinking_tokens,
        output_tokens_details=OutputDetails(draft.thinking_tokens),
        service_tier=tier,
        inference_geo=params.inference_geo or "global",
        cache_creation=creation,
        cache_creation_input_tokens=written,
        cache_read_input_tokens=read,
        server_tool_use=tools,
    )


def _tool_use(params: Params, dice: Dice) -> tuple[ServerToolUse | None, int]:
    """How often tools of the provider are used, and the tokens of what they find."""
    uses = dict.fromkeys(("web_search_", "web_fetch_"), 0)
    for tool in params.tools:
        for prefix in uses:
            if str(tool.get("type")).startswith(prefix):
                most = tool.get("max_uses")
                uses[prefix] += dice.number((most if isinstance(most, int) else _MANY_USES) + 1)
    searches, fetches = uses.values()
    tokens = (searches + fetches) * _FOUND_TOKENS
    return (ServerToolUse(searches, fetches), tokens) if tokens else (None, 0)


def _first_bytes(text: str, size: int) -> str:
    return text.encode("utf-8", "surrogatepass")[:size].decode("utf-8", "ignore")
