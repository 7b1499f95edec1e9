"""What each model takes in a request, where models differ. Pure.

From each model's page and the guides on thinking, effort and prompt caching, API version
2026-10-21. We do not use unknown capabilities of a model, but ready-made requests may.
"""

from __future__ import annotations

from typing import Any, NamedTuple

ALL_EFFORTS = ("low", "medium", "high", "xhigh", "max")
QUIET_EFFORTS = ("low", "medium", "high")

# How much a model thinks before it answers: one choice for people, however the API names it.
# "" leaves it to the model.
AUTOMATIC, NONE = "", "none"
EFFORTS = {
    AUTOMATIC: "Automatic",
    NONE: "None: answers right away",
    "low": "Low",
    "medium": "Medium",
    "high": "High",
    "max": "Maximum",
}


class ModelRules(NamedTuple):
    """What a model takes, where models differ."""

    thinking: tuple[str, ...]  # supported types
    thinks: bool = True  # by default
    efforts: tuple[str, ...] = ALL_EFFORTS
    usual_effort: str = "high"  # by default
    quiet_at_any_effort: bool = True  # False: without thinking only up to "high"
    forced_tool: bool = True
    prefill: bool = False  # the last message may begin the answer
    later_system: bool = True  # "system" messages after the first one
    region: bool = True
    # Bytes of text per token: 4.7 and later count about 30% more tokens (token counting page).
    token_bytes: float = 2.5
    # The fewest tokens that can be cached. Published up to 4.6; assumed to be 1,024 for newer ones.
    cache_from: int = 1_024
    # Tokens of the largest image (vision guide); larger ones are scaled down first.
    image_tokens: int = 4_784


_OLD_TOKENS = 3.4
_OLD_IMAGES = 1_640  # 1,568 are published, and up to 1,600 are counted
_ALWAYS = ModelRules(("adaptive",))
_OPUS_4_7 = ModelRules(("adaptive", "disabled"), thinks=False, later_system=False)
_FOUR_SIX = ModelRules(
    ("adaptive", "disabled", "enabled"),
    thinks=False,
    efforts=("low", "medium", "high", "max"),
    later_system=False,
    token_bytes=_OLD_TOKENS,
    cache_from=4_096,
    image_tokens=_OLD_IMAGES,
)
_OPUS_4_5 = ModelRules(
    ("disabled", "enabled"),
    thinks=False,
    efforts=QUIET_EFFORTS,
    prefill=True,
    later_system=False,
    region=False,
    token_bytes=_OLD_TOKENS,
    cache_from=4_096,
    image_tokens=_OLD_IMAGES,
)
_HAIKU_4_5 = _OPUS_4_5._replace(efforts=())
MODEL_RULES = {
    "claude-fable-5-2": _ALWAYS._replace(forced_tool=False),
    "claude-mythos-5-2": _ALWAYS._replace(forced_tool=False),
    "claude-fable-5-1": _ALWAYS._replace(forced_tool=False),
    "claude-mythos-5-1": _ALWAYS._replace(forced_tool=False),
    "claude-fable-5": _ALWAYS,
    "claude-mythos-5": _ALWAYS,
    "claude-opus-5-5": _ALWAYS._replace(forced_tool=False, usual_effort="medium"),
    "claude-opus-5": ModelRules(("adaptive", "disabled"), quiet_at_any_effort=False),
    "claude-sonnet-5-5": ModelRules(
        ("adaptive", "between_tools"), quiet_at_any_effort=False, forced_tool=False
    ),
    "claude-sonnet-5": ModelRules(("adaptive", "disabled")),
    "claude-haiku-5-5": ModelRules(
        ("adaptive", "disabled"), usual_effort="medium", quiet_at_any_effort=False
    ),
    "claude-opus-4-8": _OPUS_4_7._replace(later_system=True),
    "claude-opus-4-7": _OPUS_4_7,
    "claude-opus-4-6": _FOUR_SIX,
    "claude-sonnet-4-6": _FOUR_SIX._replace(cache_from=2_048),
    "claude-opus-4-5": _OPUS_4_5,
    "claude-sonnet-4-5": _HAIKU_4_5._replace(cache_from=1_024),
    "claude-haiku-4-5": _HAIKU_4_5,
}
# An unknown model: use only what every model supports.
_UNKNOWN = ModelRules((), efforts=())


def model_rules(model_id: str) -> ModelRules:
    """The rules of a model, by its id in models.json."""
    return MODEL_RULES.get(model_id, _UNKNOWN)


def efforts_of(model_id: str) -> list[str]:
    """Of EFFORTS, those that a person may choose for this model."""
    rules = model_rules(model_id)
    # Without adaptive thinking, effort is not about thinking.
    can_think = "adaptive" in rules.thinking
    offered = [effort for effort in EFFORTS if effort in rules.efforts and can_think]
    if rules.thinks and _type_without(rules):
        offered.insert(0, NONE)
    return [AUTOMATIC, *offered]


def effort_choices(model_id: str, chosen: str) -> list[tuple[str, str]]:
    """Choices and labels for this model, including the current choice even if this model does not
    offer it."""
    offered = efforts_of(model_id)
    own = EFFORTS[effort_of(model_id, AUTOMATIC)].partition(":")[0].lower()
    choices = [(effort, EFFORTS[effort]) for effort in offered if effort]
    if chosen not in offered and chosen in EFFORTS:
        choices.append((chosen, f"{EFFORTS[chosen]} (not with this model)"))
    return [(AUTOMATIC, f"{EFFORTS[AUTOMATIC]} ({own})"), *choices]


def effort_of(model_id: str, effort: str) -> str:
    """How much the model thinks for a person's choice: NONE or a level of effort."""
    rules = model_rules(model_id)
    if effort and effort in efforts_of(model_id):
        return effort
    return rules.usual_effort if rules.thinks else NONE


def thinking_params(model_id: str, effort: str) -> tuple[dict[str, Any] | None, str | None]:
    """`thinking` and `output_config.effort` of a request; None for what is not sent, such as what
    the model does not support."""
    rules = model_rules(model_id)
    if effort == NONE and rules.thinks and (without := _type_without(rules)):
        return {"type": without}, None
    if not effort or effort not in efforts_of(model_id):
        return None, None
    return (None if rules.thinks else {"type": "adaptive"}), effort


def _type_without(rules: ModelRules) -> str:
    """The type that turns thinking off in a request without tools; "" if there is none."""
    return next((name for name in ("disabled", "between_tools") if name in rules.thinking), "")
