"""Search in the help: over headings and paragraphs, without an index."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from .help_pages import HelpPage, Section

MOST_WORDS = 8
MOST_HITS = 30
EXCERPT = 260  # characters
Piece = tuple[str, bool]  # text, and whether it is a hit


@dataclass(frozen=True)
class Hit:
    address: str
    page: str
    title: list[Piece]
    excerpt: list[Piece]


def search(query: str, pages: Iterable[HelpPage]) -> list[Hit]:
    """Sections in which every word of `query` begins a word, the best first: those with words in
    their heading, then those with most of the words in one paragraph."""
    words = query.split()[:MOST_WORDS]
    if not words:
        return []
    patterns = [re.compile(rf"(?<!\w){re.escape(word)}", re.IGNORECASE) for word in words]
    found: list[tuple[int, Hit]] = []
    for page in pages:
        for section in page.sections:
            where = [page.title, section.title, *section.blocks]
            if all(any(pattern.search(text) for text in where) for pattern in patterns):
                found.append(_hit(page, section, patterns))
    found.sort(key=lambda scored: -scored[0])
    return [hit for _score, hit in found[:MOST_HITS]]


def _hit(page: HelpPage, section: Section, patterns: list[re.Pattern[str]]) -> tuple[int, Hit]:
    def score(text: str) -> int:
        return sum(bool(pattern.search(text)) for pattern in patterns)

    paragraph = max(section.blocks, key=score, default="")
    anywhere = re.compile("|".join(pattern.pattern for pattern in patterns), re.IGNORECASE)
    address = f"{page.address}#{section.anchor}" if section.anchor else page.address
    hit = Hit(
        address,
        page.title if section.level > 1 else "",
        _pieces(section.title, anywhere),
        _pieces(_shortened(paragraph, anywhere), anywhere),
    )
    return 3 * score(section.title) + score(paragraph), hit


def _shortened(text: str, anywhere: re.Pattern[str]) -> str:
    """The part of a long text that has the first hit, cut between words."""
    if len(text) <= EXCERPT:
        return text
    match = anywhere.search(text)
    start = max(match.start() - EXCERPT // 3, 0) if match else 0
    if start:
        start = text.find(" ", start) + 1
    end = len(text) if start + EXCERPT >= len(text) else text.rfind(" ", start, start + EXCERPT)
    if end <= start:  # one word longer than the excerpt
        end = start + EXCERPT
    return ("… " if start else "") + text[start:end] + (" …" if end < len(text) else "")


def _pieces(text: str, anywhere: re.Pattern[str]) -> list[Piece]:
    """The text in parts, with what was looked for apart."""
    pieces, at = list[Piece](), 0
    for match in anywhere.finditer(text):
        pieces += [(text[at : match.start()], False), (match[0], True)]
        at = match.end()
    return [piece for piece in [*pieces, (text[at:], False)] if piece[0]]
