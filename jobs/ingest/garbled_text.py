"""UTF-8 that some program took for Windows-1252, and saved so: "CafÃ©" and "itâ€™s". They are
repaired if a person says so, and only where the text that was there before is certain."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from .shapes import FIX, KEEP, Finding, Option

SHOWN = 40  # characters of a cell
AROUND = 15  # of them before the first that is wrong
TIMES = 3  # so often a text may have been saved so

# The character of each byte in Windows-1252; bytes that have none there are control characters.
_CHARACTERS = [bytes([n]).decode("cp1252", errors="replace") for n in range(256)]
_CHARACTERS = [chr(n) if one == "\ufffd" else one for n, one in enumerate(_CHARACTERS)]
_BYTES = {ord(one): n for n, one in enumerate(_CHARACTERS)}
_INNER = f"[{re.escape(''.join(_CHARACTERS[0x80:0xC0]))}]"
# What stands for letters with accents, quotation marks, dashes, the euro and emojis; and at least
# two letters of another alphabet in a row.
_GARBLED = re.compile(
    f"[ÂÃÄÅ]{_INNER}|â[€‚„†ˆ˜œžšŒ]{_INNER}|ðŸ{_INNER}{_INNER}"  # noqa: RUF001 - these very ones
    f"|(?:[Æ-ß]{_INNER}){{2}}|(?:[à-ï]{_INNER}{_INNER}){{2}}"
)


def repair(text: str) -> str:
    """The text as it was before; itself if that is not certain."""
    for _time in range(TIMES):
        if not _GARBLED.search(text):
            break
        try:
            text = bytes(map(_BYTES.__getitem__, map(ord, text))).decode()
        except (KeyError, UnicodeDecodeError):
            break
    return text


class GarbledText:
    """Counts the cells of a file that are garbled, or repairs them if a person chose that."""

    def __init__(self, choice: str) -> None:
        self._choice = choice
        self._count = self._uncertain = 0
        self._first: tuple[int, str, str] | None = None  # the line, before and after
        self.is_repairing = choice == FIX
        self._is_looking = not choice

    def look_at(self, line: int, source: str, cells: Sequence[str]) -> None:
        """`source`: a text with all of the cells."""
        if not self._is_looking or not _GARBLED.search(source):
            return
        for cell in cells:
            if _GARBLED.search(cell):
                self._note(line, cell, repair(cell))

    def repaired(self, line: int, cells: list[str]) -> list[str]:
        """The cells, repaired."""
        for at, cell in enumerate(cells):
            if not cell.isascii() and (new := repair(cell)) != cell:
                self._note(line, cell, new)
                cells = [*cells[:at], new, *cells[at + 1 :]]
        return cells

    def repaired_within(self, line: int, params: Any) -> Any:
        """Parameters of a request with each of their texts repaired; None if none is, or if nobody
        has chosen that: then they are only looked at."""
        texts = [*_texts_within(params)] if self.is_repairing or self._is_looking else []
        if not self.is_repairing:
            self.look_at(line, "\n".join(texts), texts)
            return None
        new = self.repaired(line, texts)
        return None if new == texts else _mapped(params, dict(zip(texts, new, strict=True)))

    def _note(self, line: int, before: str, after: str) -> None:
        if before == after:
            self._uncertain += 1
            return
        self._count += 1
        if not self._first:
            self._first = line, before, after

    def findings(self, what: str = "cell") -> Iterator[Finding]:
        if not self._first:
            return
        line, before, after = self._first
        old, new = _shown(before), _shown(after, before)
        count = f"1 {what}" if self._count == 1 else f"{self._count:,} {what}s"
        them = "it" if self._count == 1 else "them"
        back = Option("Leave it" if self._count == 1 else "Leave them", {"garbled": KEEP})
        if self.is_repairing:
            was = "was" if self._count == 1 else "were"
            text = f"{count} {was} repaired, such as “{new}” instead of “{old}”."
            yield Finding("garbled_repaired", text, line, options=(back,))
        elif self._uncertain:
            text = f"Some {what}s seem to be garbled, such as “{old}”. Not all can be repaired."
            yield Finding("garbled_kept", text, line)
        else:
            verb = "seems" if self._count == 1 else "seem"
            text = f"{count} {verb} to be garbled, such as “{old}”, which may have been “{new}”."
            options = (Option(f"Repair {them}", {"garbled": FIX}), back)
            yield Finding("garbled", text, line, options=options)


def _texts_within(value: Any) -> Iterator[str]:
    """The texts of JSON and the names of its objects."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, one in value.items():
            yield name
            yield from _texts_within(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts_within(one)


def _mapped(value: Any, texts: dict[str, str]) -> Any:
    if isinstance(value, str):
        return texts[value]
    if isinstance(value, dict):
        return {texts[name]: _mapped(one, texts) for name, one in value.items()}
    if isinstance(value, list):
        return [_mapped(one, texts) for one in value]
    return value


def _shown(text: str, like: str = "") -> str:
    """Some of it around the first garbled letter (of `like`)."""
    found = _GARBLED.search(like or text)
    begin = max(0, found.start() - AROUND) if found else 0
    return " ".join(text[begin : begin + SHOWN].split())
