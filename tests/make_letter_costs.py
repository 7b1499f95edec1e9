"""Make jobs/ingest/letter_costs.json: how usual letters are after one another in each language, as
Django's translations write it. Run it as `python -m tests.make_letter_costs` after a change here.

A cost is -10 ln P, rounded. Per language: `alone` of a letter, `other` of what follows a letter and
was never seen after it, `pairs` of two letters; each as cost -> the letters, in a row. Only pairs
with a letter beyond ASCII count: the others are the same in every encoding.
"""

from __future__ import annotations

import gettext
import json
import math
import re
import unicodedata
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import django

from jobs.ingest.encoding_guesses import COSTS, LANGUAGES, WRITTEN_IN_SIGNS

# Written otherwise in the encodings of a byte a letter.
OLD_LETTERS = {"ro": str.maketrans("șțȘȚ", "şţŞŢ"), "fa": str.maketrans("ی", "ي")}
# Languages of which Django has no translation of its own name.
DJANGO = {"zh": "zh_Hans", "zh-tw": "zh_Hant", "hr": "hr", "no": "nb"}
MARKS = re.compile(r"%\([^)]*\)[sdr]|%[sd]|<[^>]*>|&\w+;|\{[^}]*\}")


def main() -> None:
    languages = {language: _costs(language, text_of(language)) for language in LANGUAGES}
    lines = (
        f'"{one}": {json.dumps(costs, ensure_ascii=False)}' for one, costs in languages.items()
    )
    COSTS.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def text_of(language: str) -> str:
    """All that Django's translations say in a language."""
    folder = DJANGO.get(language, language)
    catalogs = sorted(Path(django.__file__).parent.glob(f"**/locale/{folder}/LC_MESSAGES/*.mo"))
    assert catalogs, f"Django has no translations into {language}"
    texts: list[str] = []
    for catalog in catalogs:
        with catalog.open("rb") as file:
            found = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]  # all of it
        texts += (text for key, text in found.items() if key)
    text = MARKS.sub(" ", "\n".join(texts)).translate(OLD_LETTERS.get(language, {}))
    return _as_in_windows(text) if language == "vi" else unicodedata.normalize("NFC", text)


def _as_in_windows(text: str) -> str:
    """Vietnamese as Windows-1258 writes it: the mark of the tone is a character of its own."""
    found = []
    for char in unicodedata.normalize("NFC", text):
        try:
            char.encode("cp1258")
        except UnicodeEncodeError:
            whole = unicodedata.normalize("NFD", char)
            tone = next((mark for mark in whole if mark in "\u0300\u0301\u0303\u0309\u0323"), "")
            char = unicodedata.normalize("NFC", whole.replace(tone, "")) + tone
        found.append(char)
    return "".join(found)


def _costs(language: str, text: str) -> dict[str, dict[str, str]]:
    if language in WRITTEN_IN_SIGNS:
        signs = Counter(char for char in text if char > "\x7f")
        return {"alone": _by_cost({sign: n / signs.total() for sign, n in signs.items() if n > 1})}
    text = re.sub(r"\s+", " ", "".join(_letter(char) for char in text))
    alone, pairs = Counter(text), Counter(pairwise(text))
    followers: dict[str, Counter[str]] = defaultdict(Counter)
    for (first, second), count in pairs.items():
        followers[first][second] = count
    share = {letter: count / len(text) for letter, count in alone.items()}
    other, seen = {}, {}
    for first, after in followers.items():
        kinds, total = len(after), after.total()
        other[first] = kinds / (total + kinds)
        for second, count in after.items():
            if first > "\x7f" or second > "\x7f":
                seen[first + second] = (count + kinds * share[second]) / (total + kinds)
    return {"alone": _by_cost(share), "other": _by_cost(other), "pairs": _by_cost(seen)}


def _letter(char: str) -> str:
    """Letters and the marks on them; everything else is between words."""
    is_letter = char.isalpha() or unicodedata.combining(char) or unicodedata.category(char) == "Mn"
    return char.lower()[0] if is_letter else " "


def _by_cost(shares: dict[str, float]) -> dict[str, str]:
    found: dict[int, list[str]] = defaultdict(list)
    for letters, share in sorted(shares.items()):
        found[round(-10 * math.log(share))].append(letters)
    return {str(cost): "".join(letters) for cost, letters in sorted(found.items())}


if __name__ == "__main__":
    main()
