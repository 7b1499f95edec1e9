"""Reads a prompt: its texts, its size in tokens, and how much of it may be cached."""

import math
import zlib
from typing import NamedTuple

from msgspec.json import encode

from jobs.simulator.models import Model
from jobs.simulator.wire import Block, Params

# What the API puts around a prompt and around every turn of it.
_FRAME_TOKENS = 8
_TURN_TOKENS = 4
_IMAGE_TOKENS = 1500
# A page of a PDF: about this many bytes of base64, about that many tokens.
_PAGE_BYTES = 70_000
_PAGE_TOKENS = 2000


class Prompt(NamedTuple):
    """A prompt, read once and used for checks, counts and answers."""

    system: str
    question: str
    """The text of the last turn of the user."""
    texts: list[str]
    """Every text of the prompt, in the order the model reads it."""
    tokens: int
    cacheable: int
    """The tokens up to the last cache mark; 0 without one, or if it is too short for the model."""
    cached_for_an_hour: bool


def count_text(text: str, bytes_per_token: float) -> int:
    """About how many tokens a text is: by its bytes, give or take 4 %, which depend on the text."""
    data = text.encode("utf-8", "surrogatepass")
    if not data:
        return 0
    wobble = 0.96 + zlib.crc32(data) % 81 / 1000
    return max(1, math.ceil(len(data) / bytes_per_token * wobble))


def read_prompt(params: Params, model: Model) -> Prompt:
    """The prompt as this model sees it: tools, then the system prompt, then the turns."""
    bytes_per_token = model.rules.bytes_per_token
    texts: list[str] = []
    tokens = _FRAME_TOKENS
    marked = 0
    for_an_hour = False

    def read(content: str | list[Block]) -> None:
        nonlocal tokens, marked, for_an_hour
        if isinstance(content, str):
            texts.append(content)
            tokens += count_text(content, bytes_per_token)
            return
        for block in content:
            if block.text is not None:
                texts.append(block.text)
                tokens += count_text(block.text, bytes_per_token)
            else:
                tokens += _count_other(block, bytes_per_token)
            if block.cache_control is not None:
                marked = tokens
                for_an_hour = block.cache_control.ttl == "1h"

    for tool in params.tools:
        tokens += count_text(encode(tool).decode(), bytes_per_token)
        if "cache_control" in tool:
            marked = tokens
    config = params.output_config
    if config is not None and config.format is not None:
        # The schema is shown to the model as part of the system prompt.
        schema = bytes(config.format.schema).decode("utf-8", "replace")
        tokens += count_text(schema, bytes_per_token)
    read(params.system)
    for turn in params.messages:
        tokens += _TURN_TOKENS
        read(turn.content)
    if params.cache_control is not None:
        marked = tokens
        for_an_hour = params.cache_control.ttl == "1h"
    return Prompt(
        system=_text_of(params.system),
        question=_last_question(params),
        texts=texts,
        tokens=tokens,
        cacheable=marked if marked >= model.cache_minimum else 0,
        cached_for_an_hour=for_an_hour,
    )


def _count_other(block: Block, bytes_per_token: float) -> int:
    if block.type == "image":
        return _IMAGE_TOKENS
    if block.source is None:
        return 0
    if block.source.type == "text":
        return count_text(block.source.data, bytes_per_token)
    return math.ceil(len(block.source.data) / _PAGE_BYTES) * _PAGE_TOKENS


def _last_question(params: Params) -> str:
    for turn in reversed(params.messages):
        if turn.role == "user":
            return _text_of(turn.content)
    return ""


def _text_of(content: str | list[Block]) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(block.text for block in content if block.text)
