"""The models, what each accepts, and how the Models API describes them."""

from typing import Literal

from msgspec import Struct

from .wire import ApiError

ThinkingType = Literal["enabled", "adaptive", "disabled", "between_tools"]

ALL_EFFORTS = ("low", "medium", "high", "xhigh", "max")
# With thinking off some models take these levels of effort and no higher.
EFFORTS_WITHOUT_THINKING = ("low", "medium", "high")


class Rules(Struct, frozen=True):
    """What a family of models accepts in a request."""

    thinking: tuple[ThinkingType, ...]
    thinks_by_default: bool = True
    # False: with thinking switched off, an effort above "high" is refused.
    any_effort_without_thinking: bool = True
    efforts: tuple[str, ...] = ALL_EFFORTS
    default_effort: str = "high"
    forced_tool_choice: bool = True
    prefill: bool = False
    # The tokenizer of 4.7 and later cuts the same text into about 30 % more tokens.
    bytes_per_token: float = 2.55
    # Whether the words of the thinking are left out unless they are asked for.
    hides_thinking: bool = True
    inference_geo: bool = True


ALWAYS_THINKS = Rules(("adaptive",), forced_tool_choice=False)
ALWAYS_THINKS_FIRST = Rules(("adaptive",))
OPUS_5_5 = Rules(("adaptive",), default_effort="medium", forced_tool_choice=False)
OPUS_5 = Rules(("adaptive", "disabled"), any_effort_without_thinking=False)
SONNET_5_5 = Rules(
    ("adaptive", "between_tools"), any_effort_without_thinking=False, forced_tool_choice=False
)
SONNET_5 = Rules(("adaptive", "disabled"))
HAIKU_5_5 = Rules(
    ("adaptive", "disabled"), any_effort_without_thinking=False, default_effort="medium"
)
OPUS_4_7 = Rules(("adaptive", "disabled"), thinks_by_default=False)
FOUR_SIX = Rules(
    ("adaptive", "disabled", "enabled"),
    thinks_by_default=False,
    efforts=("low", "medium", "high", "max"),
    bytes_per_token=3.4,
    hides_thinking=False,
)
OPUS_4_5 = Rules(
    ("disabled", "enabled"),
    thinks_by_default=False,
    efforts=("low", "medium", "high"),
    prefill=True,
    bytes_per_token=3.4,
    hides_thinking=False,
    inference_geo=False,
)
FOUR_FIVE = Rules(
    ("disabled", "enabled"),
    thinks_by_default=False,
    efforts=(),
    prefill=True,
    bytes_per_token=3.4,
    hides_thinking=False,
    inference_geo=False,
)


class Model(Struct, frozen=True):
    """One model."""

    id: str
    name: str
    line: str
    released: str
    rules: Rules
    lifecycle: Literal["active", "deprecated", "retired"] = "active"
    alias: str = ""
    context: int = 1_000_000
    longest_output: int = 128_000
    # In batches, with the beta for long outputs; 0 = the beta does not cover this model.
    longest_batch_output: int = 0
    # Shorter prompts are not cached. Published up to 4.6; taken as 1,024 for the newer ones.
    cache_minimum: int = 1024
    deprecated: str | None = None
    retires: str | None = None


# Newest first, as the Models API lists them.
MODELS = (
    Model("claude-fable-5-2", "Claude Fable 5.2", "fable", "2026-11-09", ALWAYS_THINKS),
    Model("claude-mythos-5-2", "Claude Mythos 5.2", "mythos", "2026-11-09", ALWAYS_THINKS),
    Model("claude-haiku-5-5", "Claude Haiku 5.5", "haiku", "2026-10-07", HAIKU_5_5,
          longest_batch_output=300_000),
    Model("claude-sonnet-5-5", "Claude Sonnet 5.5", "sonnet", "2026-09-28", SONNET_5_5,
          longest_batch_output=300_000),
    Model("claude-opus-5-5", "Claude Opus 5.5", "opus", "2026-09-22", OPUS_5_5,
          longest_batch_output=300_000),
    Model("claude-fable-5-1", "Claude Fable 5.1", "fable", "2026-09-01", ALWAYS_THINKS),
    Model("claude-mythos-5-1", "Claude Mythos 5.1", "mythos", "2026-09-01", ALWAYS_THINKS),
    Model("claude-opus-5", "Claude Opus 5", "opus", "2026-07-24", OPUS_5,
          longest_batch_output=300_000),
    Model("claude-sonnet-5", "Claude Sonnet 5", "sonnet", "2026-06-30", SONNET_5,
          longest_batch_output=300_000),
    Model("claude-fable-5", "Claude Fable 5", "fable", "2026-06-09", ALWAYS_THINKS_FIRST),
    Model("claude-mythos-5", "Claude Mythos 5", "mythos", "2026-06-09", ALWAYS_THINKS_FIRST),
    Model("claude-opus-4-8", "Claude Opus 4.8", "opus", "2026-05-28", OPUS_4_7,
          longest_batch_output=300_000),
    Model("claude-opus-4-7", "Claude Opus 4.7", "opus", "2026-04-16", OPUS_4_7,
          longest_batch_output=300_000),
    Model("claude-mythos-preview", "Claude Mythos Preview", "mythos", "2026-04-07",
          ALWAYS_THINKS_FIRST, "deprecated", retires="2026-06-30"),
    Model("claude-sonnet-4-6", "Claude Sonnet 4.6", "sonnet", "2026-02-17", FOUR_SIX,
          longest_batch_output=300_000, cache_minimum=2048),
    Model("claude-opus-4-6", "Claude Opus 4.6", "opus", "2026-02-05", FOUR_SIX,
          longest_batch_output=300_000, cache_minimum=4096),
    Model("claude-opus-4-5-20251101", "Claude Opus 4.5", "opus", "2025-11-24", OPUS_4_5,
          "deprecated", "claude-opus-4-5", context=200_000, longest_output=64_000,
          cache_minimum=4096, retires="2027-01-22"),
    Model("claude-haiku-4-5-20251001", "Claude Haiku 4.5", "haiku", "2025-10-15", FOUR_FIVE,
          alias="claude-haiku-4-5", context=200_000, longest_output=64_000, cache_minimum=4096),
    Model("claude-sonnet-4-5-20250929", "Claude Sonnet 4.5", "sonnet", "2025-09-29", FOUR_FIVE,
          "deprecated", "claude-sonnet-4-5", context=200_000, longest_output=64_000,
          deprecated="2026-09-30", retires="2026-11-30"),
    Model("claude-opus-4-1-20250805", "Claude Opus 4.1", "opus", "2025-08-05", FOUR_FIVE,
          "retired", "claude-opus-4-1", context=200_000, longest_output=32_000,
          retires="2026-08-05"),
    Model("claude-opus-4-20250514", "Claude Opus 4", "opus", "2025-05-14", FOUR_FIVE,
          "retired", "claude-opus-4-0", context=200_000, longest_output=32_000,
          retires="2026-06-15"),
    Model("claude-sonnet-4-20250514", "Claude Sonnet 4", "sonnet", "2025-05-14", FOUR_FIVE,
          "retired", "claude-sonnet-4-0", context=200_000, longest_output=64_000,
          retires="2026-06-15"),
    Model("claude-3-5-haiku-20241022", "Claude Haiku 3.5", "haiku", "2024-10-22", FOUR_FIVE,
          "retired", "claude-3-5-haiku-latest", context=200_000, longest_output=8_000,
          retires="2026-02-19"),
)  # fmt: skip

_BY_NAME = {name: model for model in MODELS for name in (model.id, model.alias) if name}


def find_model(name: str) -> Model:
    """The model with this id or alias, retired ones too."""
    try:
        return _BY_NAME[name]
    except KeyError:
        raise ApiError(404, f"model: {name}") from None


def usable_model(name: str) -> Model:
    """The model a request names, if it can still answer."""
    model = find_model(name)
    if model.lifecycle == "retired":
        raise ApiError(404, f"model: {name}")
    return model


def describe(model: Model) -> dict[str, object]:
    """The model as the Models API shows it."""
    rules = model.rules
    return {
        "type": "model",
        "id": model.id,
        "display_name": model.name,
        "created_at": _midnight(model.released),
        "lifecycle": model.lifecycle,
        "deprecated_at": _midnight(model.deprecated),
        "retires_at": _midnight(model.retires),
        "line": model.line,
        "max_input_tokens": model.context,
        "max_tokens": model.longest_output,
        "capabilities": {
            "batch": _supported(True),
            "citations": _supported(True),
            "code_execution": _supported(True),
            "context_management": {
                **_supported(True),
                "clear_thinking_20251015": _supported(True),
                "clear_tool_uses_20250919": _supported(True),
                "compact_20260112": _supported(model.context > 200_000),
            },
            "effort": {
                **_supported(bool(rules.efforts)),
                **{level: _supported(level in rules.efforts) for level in ALL_EFFORTS},
            },
            "image_input": _supported(True),
            "pdf_input": _supported(True),
            "server_tools": {
                **_supported(True),
                "code_execution": _supported(True),
                "web_search": _supported(True),
            },
            "structured_outputs": _supported(True),
            "thinking": {
                **_supported(True),
                "types": {
                    kind: _supported(kind in rules.thinking)
                    for kind in ("adaptive", "between_tools", "disabled", "enabled")
                },
            },
        },
    }


def _supported(yes: bool) -> dict[str, bool]:
    return {"supported": yes}


def _midnight(day: str | None) -> str | None:
    return f"{day}T00:00:00Z" if day else None
