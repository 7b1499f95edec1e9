"""The length of a ready-made request's input: at most, and about. Pure.

A token has at least one byte, so a text has at most as many tokens as its JSON has bytes. Images
and PDFs that are in the request are measured by pixels and pages (images.py, pdf.py). Whatever else
the model reads is unknown here and counts as the model's full context.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ..rules.model_capabilities import ModelRules
from . import images, pdf

Json = dict[str, Any]

# Tokens that the provider adds to any request; to one with tools, with a server-defined tool, and
# with an answer format.
AROUND, AROUND_TOOLS, OWN_TOOL, AROUND_FORM = 100, 1_000, 4_000, 1_000
# Usual tokens of an image and of a PDF page whose bytes do not show them.
USUAL_IMAGE, USUAL_PAGE, PAGE_BYTES = 1_500, 2_400, 100_000

# Blocks whose tokens are those of their text. Others may have any length: their content is
# elsewhere or encrypted.
_TEXTS = ("text", "search_result", "tool_use", "tool_result", "document", "image", "tool_reference")
_ELSEWHERE = ("url", "file")


class InputSize(NamedTuple):
    """Of one request. `most`: tokens; None: the model's full context."""

    usual: int  # bytes of text with about as many tokens
    most: int | None
    is_linked: bool  # it has files that the provider fetches


class _Files:
    """Files in the content of a request."""

    def __init__(self, rules: ModelRules) -> None:
        self.rules = rules
        self.bytes = 0  # of base64
        self.usual = self.most = 0  # tokens
        self.text = 0  # tokens at most, of the texts of PDFs
        self.is_open = self.is_linked = self.is_cited = False

    def add(self, content: object) -> None:
        for block in _blocks(content):
            kind = block.get("type")
            if kind not in _TEXTS:
                self.is_open = True
            citations = block.get("citations")
            self.is_cited |= isinstance(citations, dict) and citations.get("enabled") is not False
            if kind == "image":
                self._add_image(block.get("source"))
            elif kind == "document":
                self._add_document(block.get("source"))
            if kind != "document":
                self.add(block.get("content"))

    def _add_image(self, source: object) -> None:
        most = self.rules.image_tokens
        if not isinstance(source, dict):
            self.is_open = True
        elif source.get("type") in _ELSEWHERE:
            # Any image is scaled down to the largest that the model reads.
            self.is_linked = True
            self.most += most
            self.usual += min(USUAL_IMAGE, most)
        else:
            tokens = images.image_tokens(self._decoded(source), most)
            self.most += tokens
            self.usual += tokens

    def _add_document(self, source: object) -> None:
        if not isinstance(source, dict):
            self.is_open = True
        elif source.get("type") == "content":
            self.add(source.get("content"))
        elif source.get("type") in _ELSEWHERE:
            self.is_open = self.is_linked = True
        elif source.get("type") == "base64":
            self._add_pdf(self._decoded(source))
        elif source.get("type") != "text":
            self.is_open = True

    def _add_pdf(self, raw: bytes) -> None:
        found = pdf.read_pdf(raw)
        if found is None:
            self.is_open = True
            self.usual += (1 + len(raw) // PAGE_BYTES) * USUAL_PAGE
            return
        self.text += max(found.text, found.pages * pdf.PAGE_TEXT)
        self.most += found.pages * self.rules.image_tokens
        self.usual += found.pages * USUAL_PAGE

    def _decoded(self, source: Json) -> bytes:
        data = source.get("data")
        self.bytes += len(data) if isinstance(data, str) else 0
        return images.decode(data)


def _blocks(content: object) -> Iterator[Json]:
    if isinstance(content, dict):
        content = [content]
    if isinstance(content, list):
        yield from (block for block in content if isinstance(block, dict))


def input_size(params: Json, size: int, rules: ModelRules) -> InputSize:
    """`size`: bytes of the JSON of valid `params`; `rules`: those of its model."""
    files = _Files(rules)
    for message in params["messages"]:
        files.add(message["content"])
    text = size - files.bytes
    usual = text + round(files.usual * rules.token_bytes)
    if files.is_open:
        return InputSize(usual, None, files.is_linked)
    # Each sentence of a document with citations gets a number.
    texts = (text + files.text) * (2 if files.is_cited else 1)
    most = texts + files.most + AROUND
    if tools := params.get("tools"):
        most += AROUND_TOOLS
        kinds = [str(tool.get("type") or "custom") for tool in tools]
        # Web tools are counted by their turns, each up to the full context.
        most += OWN_TOOL * sum(not kind.startswith(("custom", "web_")) for kind in kinds)
    if (params.get("output_config") or {}).get("format"):
        most += AROUND_FORM
    return InputSize(usual, most, files.is_linked)
