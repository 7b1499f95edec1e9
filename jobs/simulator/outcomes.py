"""What becomes of a request: by its own parameters, by a marker in its text, or by luck."""

from typing import Literal, get_args

from msgspec import Raw, Struct

from .answers import CacheUse, Fate, answer
from .checks import check_message
from .dice import Dice
from .models import Model
from .prompts import Prompt
from .wire import (
    KIND_OF_STATUS,
    ApiError,
    Ended,
    Errored,
    Item,
    Reply,
    ResultLine,
    Succeeded,
    decode_params,
    invalid,
)

_FATES = get_args(Fate)
MARKER = "[simulate:"
# A marker can be the type of an error.
_STATUSES = {kind: status for status, kind in KIND_OF_STATUS.items()}
# How often a request fails as it does in life, as limits on one throw of the dice between 0 and 1.
_OVERLOADED = 0.004
_BROKEN = 0.006
_REFUSED = 0.010
_CUT = 0.013
_CACHE_HITS = 0.8


class Run(Struct):
    """One batch being worked on."""

    batch_id: str
    failures: bool
    long_output: bool
    # The share of the requests that were finished when the batch was canceled; 1 if it never was.
    finished: float
    # The beginnings of prompts in the cache: one request writes each, most of the others read it.
    cached: set[tuple[str, str, int]]
    # Where models run for requests that do not say it: the setting of the workspace.
    geo: Literal["global", "us"] = "global"


def result_line(item: Item, run: Run) -> ResultLine:
    """What becomes of one request.

    The luck is the batch's as much as the request's: most of what failed succeeds when sent again.
    """
    luck = Dice(run.batch_id, item.custom_id)
    if luck.share() >= run.finished:
        return ResultLine(item.custom_id, Ended("canceled"))
    try:
        return ResultLine(item.custom_id, _process(item.params, luck, run))
    except ApiError as error:
        return ResultLine(item.custom_id, Errored(error.response(f"req_01{luck.seed.hex()[:22]}")))


def single_reply(body: bytes) -> Reply:
    """The answer to one message outside a batch. It fails only where a marker asks for it."""
    params = decode_params(body)
    model, prompt = check_message(params, in_batch=False)
    marker = _marker(prompt)
    _raise_marked(marker)
    # A few rows that are tried go out together, before one has filled the cache: each writes.
    cache: CacheUse = "write" if prompt.cacheable else "none"
    return answer(params, model, prompt, fate=_fate(marker), tier="standard", cache=cache)


def _process(body: Raw, luck: Dice, run: Run) -> Succeeded | Ended:
    params = decode_params(body)
    model, prompt = check_message(params, in_batch=True, long_output=run.long_output)
    if model.rules.inference_geo:
        params.inference_geo = params.inference_geo or run.geo
    marker = _marker(prompt)
    if marker == "expired":
        return Ended("expired")
    _raise_marked(marker)
    fate = _fate(marker)
    if run.failures and not marker:
        fate = _fate_by_luck(luck.share())
    cache = _cache_use(model, prompt, luck, run)
    return Succeeded(answer(params, model, prompt, fate=fate, tier="batch", cache=cache))


def _marker(prompt: Prompt) -> str:
    """The word of a marker such as `[simulate:refusal]` in the prompt; empty without one."""
    for text in prompt.texts:
        if MARKER in text:
            return text.split(MARKER, maxsplit=1)[1].split("]", maxsplit=1)[0]
    return ""


def _raise_marked(marker: str) -> None:
    if marker == "errored":
        raise ApiError(529, "Overloaded")
    if marker == "invalid":
        raise invalid("messages: the text asks the simulator to find it invalid")
    if marker in _STATUSES:
        raise ApiError(_STATUSES[marker], f"The text asks the simulator for this: {marker}")


def _fate(marker: str) -> Fate:
    return next((fate for fate in _FATES if fate == marker), "good")


def _fate_by_luck(throw: float) -> Fate:
    if throw < _OVERLOADED:
        raise ApiError(529, "Overloaded")
    if throw < _BROKEN:
        raise ApiError(500, "Internal server error")
    if throw < _REFUSED:
        return "refusal"
    return "cut" if throw < _CUT else "good"


def _cache_use(model: Model, prompt: Prompt, luck: Dice, run: Run) -> CacheUse:
    if not prompt.cacheable:
        return "none"
    beginning = (model.id, prompt.system, prompt.cacheable)
    if beginning in run.cached and luck.share() < _CACHE_HITS:
        return "read"
    run.cached.add(beginning)
    return "write"
