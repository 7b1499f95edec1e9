"""Reads a prompt: its texts, its size in tokens, and how much of it may be cached."""

import base64
import math
import struct
import zlib
from typing import NamedTuple

from msgspec.json import encode

from .models import Model
from .wire import Block, Params, Source

# What the API puts around a prompt and around every turn of it.
_FRAME_TOKENS = 8
_TURN_TOKENS = 4
# A picture costs a token a square of this many pixels, up to what newer models and older ones take.
_PATCH = 28
_LARGEST_IMAGE, _LARGEST_OLD_IMAGE = 4784, 1600
# A document that is fetched: this many pages at most.
_FETCHED_PAGES = 60
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
    source = block.source
    if block.type == "image":
        largest = _LARGEST_OLD_IMAGE if bytes_per_token > 3 else _LARGEST_IMAGE
        return min(_image_tokens(source), largest) if source else largest
    if source is None:
        return 0
    if source.type == "text":
        return count_text(source.data, bytes_per_token)
    if is_fetched(source):
        pages = 1 + zlib.crc32(f"{source.url}{source.file_id}".encode()) % _FETCHED_PAGES
        return pages * _PAGE_TOKENS
    return math.ceil(len(source.data) / _PAGE_BYTES) * _PAGE_TOKENS


def is_fetched(source: Source) -> bool:
    return source.type in ("url", "file")


def _image_tokens(source: Source) -> int:
    """By the size that a PNG says it has; any other picture is as large as can be."""
    try:
        head = base64.b64decode(source.data[:32])
    except ValueError:
        head = b""
    if head[:4] != b"\x89PNG" or len(head) < 24:
        return _LARGEST_IMAGE
    sides: tuple[int, int] = struct.unpack(">II", head[16:24])
    return math.ceil(sides[0] / _PATCH) * math.ceil(sides[1] / _PATCH)


def _last_question(params: Params) -> str:
    for turn in reversed(params.messages):
        if turn.role == "user":
            return _text_of(turn.content)
    return ""


def _text_of(content: str | list[Block]) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(block.text for block in content if block.text)
