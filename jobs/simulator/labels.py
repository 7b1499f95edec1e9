"""Finds the labels a prompt asks to choose from, and chooses one that is not absurd.

"Answer with one of: positive, negative, neutral" should be answered with one of these words even in
practice, or nothing after it - judging, counting, the final spreadsheet - can be tried.
"""

import re
import string
from functools import lru_cache

from .dice import Dice

# Where a list of labels may begin. Plain words, to keep the slower patterns from most prompts.
_HINTS = (
    "one of",
    "choose",
    "choice",
    "pick",
    "select",
    "categor",
    "label",
    "class",
    "option",
    "sentiment",
    "is this",
    "answer",
    "respond",
    "reply",
)
_WINDOW = 600
_LONGEST_SEARCH = 4000
_PLACES_PER_HINT = 4

_WORD = r"[\"'`*]*[^\W\d_][\w+&-]*[\"'`*]*"
_ASKS = (
    r"one of|choose|pick|select|labels|categories|classes|options|choices"
    r"|(?:answer|respond|reply) \w*\s?with"
)
_SORTS = r"(?:classify|categori[sz]e|label)\b[^:\n.]{0,80}\b(?:as|into)"
_INTRODUCED = rf"(?:{_ASKS}|{_SORTS})[^:\n.]{{0,60}}:[ \t]*"

_BULLETS = re.compile(
    _INTRODUCED + r"((?:\n+[ \t]*(?:[-*•]|\d{1,2}[.)])[ \t]+[^\n]+){2,})", re.IGNORECASE
)
_AFTER_COLON = re.compile(_INTRODUCED + r"([^\n.:?!]+)", re.IGNORECASE)
_IN_BRACKETS = re.compile(
    r"[^\n.:()]{0,80}\((?!e\.g)([^()\n]+(?:[/|]|\bor\b|,[^()\n]+,)[^()\n]+)\)", re.IGNORECASE
)
_WITH_SLASHES = re.compile(rf"[^\n.]{{0,80}}?(?<!\w)({_WORD}(?: ?[/|] ?{_WORD})+)")
_WITH_OR = re.compile(
    rf"[^\n.]{{0,80}}?(?<!\w)({_WORD}(?:, ?{_WORD})+,? or {_WORD})", re.IGNORECASE
)
_ONE_OR_OTHER = re.compile(
    rf"(?:answer|respond|reply)\b[^\n.:]{{0,40}}?(?<!\w)({_WORD} or {_WORD})",
    re.IGNORECASE,
)
_FORMS = (_BULLETS, _AFTER_COLON, _IN_BRACKETS, _WITH_SLASHES, _WITH_OR, _ONE_OR_OTHER)

_BULLET = re.compile(r"\n+[ \t]*(?:[-*•]|\d{1,2}[.)])[ \t]+")
_AFTER_NAME = re.compile(r"\s*(?:[:(=]| [-\u2013] )")
_SEPARATOR = re.compile(r"\s*(?:,\s*(?:or|and)\s+|[,;/|]|\s+or\s+)\s*", re.IGNORECASE)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_GOOD = _words(
    """
    amazing awesome beautiful best better brilliant charming comfortable delicious delight
    delighted delightful easy enjoy enjoyed excellent fantastic fast favorite favourite friendly
    fun good great happy helpful impressed incredible like liked love loved lovely masterpiece
    nice outstanding perfect perfectly pleasant pleased quick recommend recommended reliable
    satisfied smooth solid stunning super superb sturdy thanks wonderful works
    """
)
_BAD = _words(
    """
    annoying awful bad boring broke broken cheap complaint confusing cracked damaged dead
    defective dirty disappointed disappointing dreadful dull error expensive fail failed fails
    fault faulty garbage hate hated horrible junk late leak leaks mess missing never noisy
    nothing pathetic poor poorly problem refund return returned rude slow stopped stupid
    terrible ugly unhappy uncomfortable unusable useless waste weak worse worst wrong
    """
)
_PRAISE_LABELS = _words("positive pos good favorable favourable happy satisfied praise")
_BLAME_LABELS = _words("negative neg bad unfavorable unfavourable unhappy dissatisfied complaint")
_BETWEEN_LABELS = _words("neutral mixed")
# Words that stand beside "or" and a slash in plain sentences: "weather or not", "and/or".
_NEVER_LABELS = _words("and or not so more less else even it that this with he she his her")
_WITHOUT_PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation, " "))


def wanted_labels(system: str, question: str) -> list[str]:
    """The labels the prompt asks to choose from; empty if it asks for something else."""
    return _find_once(system) or find_labels(question)


def plausible_label(labels: list[str], text: str, dice: Dice) -> str:
    """One of the labels: by the mood of the text if they are about moods, else by the dice."""
    kinds = {label.lower().strip(string.punctuation): label for label in labels}
    praise = _first(kinds, _PRAISE_LABELS)
    blame = _first(kinds, _BLAME_LABELS)
    if praise is None or blame is None:
        return dice.pick(labels)
    words = set(text.lower().translate(_WITHOUT_PUNCTUATION).split()) - kinds.keys()
    mood = len(words & _GOOD) - len(words & _BAD)
    if mood > 0:
        return praise
    if mood < 0:
        return blame
    return _first(kinds, _BETWEEN_LABELS) or dice.pick(labels)


def find_labels(text: str) -> list[str]:
    """The first list of labels in a text that is introduced as one."""
    if len(text) > 2 * _LONGEST_SEARCH:
        text = text[:_LONGEST_SEARCH] + text[-_LONGEST_SEARCH:]
    for place in _places(text.lower()):
        window = text[place : place + _WINDOW]
        for form in _FORMS:
            if (found := form.match(window)) and (labels := _labels_in(found[1])):
                return labels
    return []


@lru_cache(maxsize=64)  # the rows of a batch share one system prompt
def _find_once(text: str) -> list[str]:
    return find_labels(text)


def _places(lowered: str) -> list[int]:
    """Where a list may begin, from the top; of a hint that comes often, only the first places."""
    places = []
    for hint in _HINTS:
        place = lowered.find(hint)
        for _ in range(_PLACES_PER_HINT):
            if place < 0:
                break
            places.append(place)
            place = lowered.find(hint, place + 1)
    return sorted(places)


def _labels_in(listed: str) -> list[str]:
    if listed.startswith("\n"):
        items = [_AFTER_NAME.split(item, maxsplit=1)[0] for item in _BULLET.split(listed)[1:]]
    else:
        items = _SEPARATOR.split(listed)
    labels = [item.strip(" \t\r\n\"'`*()[]{}.") for item in items]
    fitting = all(0 < len(label) <= 40 and label.count(" ") < 4 for label in labels)
    plain_words = _NEVER_LABELS.intersection(label.lower() for label in labels)
    if plain_words or not fitting or len(set(labels)) < len(labels) or not 2 <= len(labels) <= 40:
        return []
    return labels


def _first(kinds: dict[str, str], names: frozenset[str]) -> str | None:
    return next((label for kind, label in kinds.items() if kind in names), None)
