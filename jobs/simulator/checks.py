"""What the API refuses: rules for the parameters of a message and for the body of a batch."""

import mmap
import re
from pathlib import Path

from msgspec import UNSET

from . import schemas
from .models import EFFORTS_WITHOUT_THINKING, Model, usable_model
from .prompts import Prompt, is_fetched, read_prompt
from .wire import Item, Params, Turn, decode_envelope, invalid

LARGEST_BATCH = 100_000
_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_OPENING_BRACE = ord("{")
# Tools that run at the provider, which does not count tokens with them.
_SERVER_TOOLS = ("code_execution_", "tool_search_tool_", "web_fetch_", "web_search_")


def read_batch(body: Path) -> list[Item]:
    """The requests of a batch body. The file is mapped, not loaded: the parameters are views."""
    with body.open("rb") as file:
        try:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:  # an empty file cannot be mapped
            raise invalid("The request body is empty") from None
    return decode_envelope(memoryview(mapped))


def check_batch(items: list[Item]) -> None:
    """The rules that are checked while the client waits; the parameters come much later."""
    if not items:
        raise invalid("requests: List should have at least 1 item after validation, not 0")
    if len(items) > LARGEST_BATCH:
        raise invalid(
            f"requests: List should have at most {LARGEST_BATCH} items after validation, "
            f"not {len(items)}"
        )
    seen: set[str] = set()
    for number, item in enumerate(items):
        if not _CUSTOM_ID.fullmatch(item.custom_id):
            raise invalid(
                f"requests.{number}.custom_id: String should match pattern "
                "'^[a-zA-Z0-9_-]{1,64}$'"
            )
        if memoryview(item.params)[0] != _OPENING_BRACE:
            raise invalid(f"requests.{number}.params: Input should be a valid dictionary")
        if item.custom_id in seen:
            raise invalid(f"requests.{number}.custom_id: Duplicate custom_id '{item.custom_id}'")
        seen.add(item.custom_id)


def check_count(params: Params) -> Prompt:
    """The rules for counting tokens: those for a message, without `max_tokens`."""
    if params.max_tokens is not UNSET:
        raise invalid("max_tokens: Extra inputs are not permitted")
    if any(str(tool.get("type")).startswith(_SERVER_TOOLS) for tool in params.tools):
        raise invalid("tools: server tools are not supported here")
    blocks = (block for turn in params.messages for block in turn.content)
    if any(not isinstance(one, str) and one.source and is_fetched(one.source) for one in blocks):
        raise invalid("messages: sources of the types url and file are not supported here")
    return _check(params, usable_model(params.model))


def check_message(
    params: Params, *, in_batch: bool, long_output: bool = False
) -> tuple[Model, Prompt]:
    """The rules for a message, in a batch or alone; `long_output`: with the beta for that."""
    if params.stream:
        raise invalid("stream: streaming is not supported here")
    if in_batch and params.speed is not None:
        raise invalid("speed: not supported in a batch")
    if in_batch and params.fallbacks is not UNSET:
        raise invalid("fallbacks: not supported in a batch")
    model = usable_model(params.model)
    if params.max_tokens is UNSET:
        raise invalid("max_tokens: Field required")
    longest = (
        model.longest_batch_output if long_output and in_batch else 0
    ) or model.longest_output
    if params.max_tokens > longest:
        raise invalid(
            f"max_tokens: {params.max_tokens} > {longest}, which is the maximum allowed number of "
            f"output tokens for {model.id}"
        )
    prompt = _check(params, model)
    thinking = params.thinking
    if thinking is not None and (thinking.budget_tokens or 0) >= params.max_tokens:
        raise invalid("`max_tokens` must be greater than `thinking.budget_tokens`")
    return model, prompt


def _check(params: Params, model: Model) -> Prompt:
    for name, value in (
        ("temperature", params.temperature),
        ("top_p", params.top_p),
        ("top_k", params.top_k),
    ):
        if value is not UNSET:
            raise invalid(f"{name}: not supported; remove it from the request")
    _check_turns(params.messages, model)
    _check_thinking(params, model)
    _check_rest(params, model)
    prompt = read_prompt(params, model)
    if prompt.tokens > model.context:
        raise invalid(f"prompt is too long: {prompt.tokens} tokens > {model.context} maximum")
    return prompt


def _check_turns(turns: list[Turn], model: Model) -> None:
    if not turns:
        raise invalid("messages: at least one message is required")
    if turns[0].role != "user":
        raise invalid('messages: first message must use the "user" role')
    for number, turn in enumerate(turns):
        if isinstance(turn.content, str):
            if not turn.content or turn.content.isspace():
                raise invalid(f"messages.{number}: text content must contain non-whitespace text")
            continue
        if not turn.content:
            raise invalid(f"messages.{number}.content: at least one content block is required")
        for position, block in enumerate(turn.content):
            if block.type == "text" and not (block.text and not block.text.isspace()):
                raise invalid(
                    f"messages.{number}.content.{position}: text content blocks must contain "
                    "non-whitespace text"
                )
    if turns[-1].role == "assistant" and not model.rules.prefill:
        raise invalid(
            "This model does not support assistant message prefill. "
            "The conversation must end with a user message."
        )


def _check_thinking(params: Params, model: Model) -> None:
    rules = model.rules
    effort = params.output_config.effort if params.output_config else None
    if effort is not None and effort not in rules.efforts:
        raise invalid(f"output_config.effort: '{effort}' is not supported by {model.id}")
    thinking = params.thinking
    if thinking is None:
        return
    if thinking.type not in rules.thinking:
        raise invalid(f"thinking.type: '{thinking.type}' is not supported by {model.id}")
    if thinking.type == "enabled":
        if thinking.budget_tokens is None:
            raise invalid("thinking.enabled.budget_tokens: Field required")
        if thinking.budget_tokens < 1024:
            raise invalid(
                "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"
            )
    elif thinking.budget_tokens is not None:
        raise invalid(f"thinking.{thinking.type}.budget_tokens: Extra inputs are not permitted")
    switched_off = thinking.type in ("disabled", "between_tools")
    if switched_off and not rules.any_effort_without_thinking:
        level = effort or rules.default_effort
        if level not in EFFORTS_WITHOUT_THINKING:
            raise invalid(f"thinking.type: '{thinking.type}' is not supported at effort '{level}'")


def _check_rest(params: Params, model: Model) -> None:
    rules = model.rules
    forced = params.tool_choice is not None and params.tool_choice.type in ("any", "tool")
    if forced and not rules.forced_tool_choice:
        raise invalid(f"tool_choice: a forced tool is not supported by {model.id}")
    if forced and params.thinking is not None and params.thinking.type == "enabled":
        raise invalid("Thinking may not be enabled when tool_choice forces tool use.")
    if params.inference_geo is not None and not rules.inference_geo:
        raise invalid(f"inference_geo: not supported by {model.id}")
    config = params.output_config
    if config is not None and config.format is not None:
        schemas.read_schema(bytes(config.format.schema))
