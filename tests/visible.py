"""What a reader sees of a page: its sentences, and how many words and controls there are."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

from .pages import BLOCKS

VOID = "area base br col embed hr img input link meta source track use wbr"
UNSEEN = {"script", "style", "template", "title", "textarea", "option", "svg"}
# These begin a text of their own: a sentence does not run from one into the next.
BREAKS = {*BLOCKS.split(), "p", "pre", "div", "label", "article", "blockquote", "fieldset"}
CONTROLS = {"a", "button", "input", "select", "textarea", "summary"}
# Text of the person, of Claude or of the provider does not count.
THEIRS = {"pre", "blockquote"}
SENTENCE_END = re.compile(r"(?<=[.!?…])[”’\")]*\s+")
LONGEST_SENTENCE = 25  # words
# At most: "just now" may have become "a minute ago" on a slow machine.
WORDS_OF_TIME = 2
WORD = re.compile(r"\w")


@dataclass
class _Open:
    tag: str
    hidden: bool
    theirs: bool
    in_main: bool
    closed_details: bool = False
    is_time: bool = False


@dataclass
class Visible:
    """Of `<main>`, except for `title`, `description` and `landmarks`."""

    title: str = ""
    description: str = ""
    main_headings: int = 0  # how many h1 there are
    landmarks: list[str] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    text: str = ""
    words: int = 0
    controls: int = 0


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found = Visible()
        self.stack: list[_Open] = []
        self.piece: list[str] = []
        self.texts: list[str] = []

    @property
    def top(self) -> _Open:
        return self.stack[-1] if self.stack else _Open("", False, False, False)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in BREAKS:
            self.finish_piece()
        if tag == "meta" and values.get("name") == "description":
            self.found.description = values.get("content") or ""
        self.found.main_headings += tag == "h1"
        if tag in ("main", "header", "nav", "footer", "aside"):
            self.found.landmarks.append(tag)
        above = self.top
        css = (values.get("class") or "").split()
        hidden = (
            above.hidden
            or tag in UNSEEN
            or "hidden" in values
            or "popover" in values
            or bool({"visually-hidden", "d-none"} & set(css))
            or (above.closed_details and tag != "summary")
        )
        is_control = tag in CONTROLS and values.get("type") != "hidden"
        seen = not hidden or (tag == "textarea" and not above.hidden)
        self.found.controls += is_control and seen and above.in_main
        if tag in VOID.split():
            return
        theirs = above.theirs or tag in THEIRS or values.get("dir") == "auto"
        closed = tag == "details" and "open" not in values
        in_main = above.in_main or tag == "main"
        is_time = above.is_time or tag == "time"
        self.stack.append(_Open(tag, hidden, theirs, in_main, closed, is_time))

    def handle_endtag(self, tag: str) -> None:
        if tag in BREAKS:
            self.finish_piece()
        while self.stack and any(one.tag == tag for one in self.stack):
            if self.stack.pop().tag == tag:
                break

    def handle_data(self, data: str) -> None:
        if self.top.tag == "title" and not any(one.tag == "svg" for one in self.stack):
            self.found.title += data
        if self.top.hidden or not self.top.in_main:
            return
        if self.top.theirs:
            return
        self.piece.append(data)
        words = words_of(data)
        self.found.words += min(words, WORDS_OF_TIME) if self.top.is_time else words

    def finish_piece(self) -> None:
        text = " ".join("".join(self.piece).split())
        if text:
            self.texts.append(text)
        self.piece = []


def read_page(page: str) -> Visible:
    reader = _Reader()
    reader.feed(page)
    reader.finish_piece()
    found = reader.found
    found.text = "\n".join(reader.texts)
    found.sentences = [one for text in reader.texts for one in SENTENCE_END.split(text) if one]
    return found


def words_of(sentence: str) -> int:
    return sum(bool(WORD.search(word)) for word in sentence.split())
