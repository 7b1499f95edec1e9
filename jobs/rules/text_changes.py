"""What is different between two texts, word by word. Pure."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

LONGEST = 20_000  # characters: comparing longer texts takes too long
_WORDS = re.compile(r"\s+|[^\s]+")


@dataclass(frozen=True)
class Piece:
    """A part of the texts: in both, only in the first ("removed"), or only in the second
    ("added")."""

    text: str
    change: str = ""


def compare_texts(before: str, after: str) -> list[Piece]:
    """The pieces of both texts in their order. Very long texts are not compared: then all of
    `before` is removed and all of `after` added."""
    if len(before) + len(after) > LONGEST:
        whole = [Piece(before, "removed"), Piece(after, "added")]
        return [piece for piece in whole if piece.text]
    old, new = _WORDS.findall(before), _WORDS.findall(after)
    pieces: list[Piece] = []
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for kind, old_from, old_to, new_from, new_to in matcher.get_opcodes():
        if kind == "equal":
            pieces.append(Piece("".join(old[old_from:old_to])))
            continue
        for words, change in (
            (old[old_from:old_to], "removed"),
            (new[new_from:new_to], "added"),
        ):
            if words:
                pieces.append(Piece("".join(words), change))
    return pieces
