"""In which encoding a text most likely is, and how much likelier than in another.

A text is read in every encoding that can be chosen, and what it says then is compared with the
languages that are written in it: how usual are these letters after one another? A cost is -ln P.
The language is that of the whole text; a word may be of another one, at a price.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from .descriptions import ENCODINGS

COSTS = Path(__file__).parent / "letter_costs.json"  # see tests/make_letter_costs.py
MOST_WORDS = 300
MOST_BYTES = 8_000

_WEST = ("fr", "de", "es", "pt", "it", "nl", "sv", "da", "nb", "fi", "is", "ca", "ga", "sq")
_CENTRAL = ("pl", "cs", "sk", "hu", "sl", "hr", "ro", "de", "sq")
_CYRILLIC = ("ru", "uk", "be", "bg", "sr", "mk")
_TURKISH = ("tr", "az", "de", "fr")
_BALTIC = ("lt", "lv", "et", "de")
_ARABIC = ("ar", "fa", "ur", "fr")


class _Encoding(NamedTuple):
    """`cost`: how rare files in it are."""

    languages: tuple[str, ...]
    cost: float


GUESSED = {
    "cp1252": _Encoding(_WEST, 0),
    "iso8859-15": _Encoding(_WEST, 4),
    "mac-roman": _Encoding(_WEST, 3),
    "cp850": _Encoding(_WEST, 3),
    "cp437": _Encoding(_WEST, 4),
    "cp1250": _Encoding(_CENTRAL, 1),
    "iso8859-2": _Encoding(_CENTRAL, 2.5),
    "cp852": _Encoding(_CENTRAL, 3.5),
    # Its letters of Romanian have the same bytes in both above; only other signs tell it apart.
    "iso8859-16": _Encoding(("ro",), 10.5),
    "mac-latin2": _Encoding(_CENTRAL, 5),
    "cp1251": _Encoding(_CYRILLIC, 1.5),
    "koi8-r": _Encoding(("ru", "bg"), 3.5),
    "koi8-u": _Encoding(("uk", "be"), 4),
    "cp866": _Encoding(("ru", "uk", "be", "bg"), 5),
    "iso8859-5": _Encoding(_CYRILLIC, 5),
    "mac-cyrillic": _Encoding(_CYRILLIC, 6.5),
    "cp855": _Encoding(_CYRILLIC, 6),
    "cp1253": _Encoding(("el",), 3),
    "iso8859-7": _Encoding(("el",), 4),
    "cp737": _Encoding(("el",), 5),
    "cp1254": _Encoding(_TURKISH, 1),
    "cp857": _Encoding(_TURKISH, 4),
    "cp1255": _Encoding(("he",), 2.5),
    "cp862": _Encoding(("he",), 6),
    "cp1256": _Encoding(_ARABIC, 2),
    "iso8859-6": _Encoding(("ar",), 4.5),
    "cp1257": _Encoding(_BALTIC, 1.5),
    "iso8859-13": _Encoding(_BALTIC, 3.5),
    "cp775": _Encoding(_BALTIC, 4.5),
    "cp1258": _Encoding(("vi",), 3),
    "cp874": _Encoding(("th",), 2),
    "gb18030": _Encoding(("zh",), 1.5),
    "big5hkscs": _Encoding(("zh-tw",), 2),
    "cp932": _Encoding(("ja",), 2),
    "euc-jp": _Encoding(("ja",), 3),
    "cp949": _Encoding(("ko",), 2),
}
LANGUAGES = tuple(dict.fromkeys(one for each in GUESSED.values() for one in each.languages))
WRITTEN_IN_SIGNS = ("zh", "zh-tw", "ja", "ko")  # thousands of them, of two bytes each

# What no language model knows, in costs.
_UNDECODABLE = 14.0
_CONTROL = 13.0
_DRAWING = 11.0  # lines and blocks of DOS, arrows, mathematics
_SYMBOL = 8.5
_MARK = 3.5  # quotation marks, dashes, the euro
_STRANGE_LETTER = 9.5
_IN_A_WORD = 4.0  # on top, for a mark between two letters
_BESIDE_DIGIT = 2.0  # on top, for a letter
_NOT_SEEN = 3.0  # on top, after a letter that is never the first of two
_OTHER_LANGUAGE = 3.0  # on top, for a word
_OTHER_ALPHABET = 4.0  # on top, for a letter beside one of another alphabet
_AFTER_ASCII = 3.0  # on top, for a sign beside a Latin letter
_HALF_WIDTH = 5.0  # katakana of one byte, beside another
_HALF_WIDTH_ALONE = 8.0
_SAME_READING = 5.0  # how much likelier a rarer encoding has to be
_OLD_LETTERS = {"ș": "ş", "ț": "ţ"}  # of Romanian; the costs know those of older encodings
_MARKS = "’‘“”„‚–—…«»‹›€£°©®™§·•¿¡№\xa0\xad、。，！？：；（）「」『』《》・ー～"  # noqa: RUF001 - these very ones
_WORDS = re.compile(rb"[\x30-\x39\x40-\xff]+")
_DIGITS = re.compile(rb"[0-9]+")
_ALPHABETS = ("LATIN", "CYRILLIC", "GREEK", "HEBREW", "ARABIC", "THAI")

# The commonest signs of Chinese, which translations of programs hardly use.
_COMMON = {
    "zh": "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之"
    "年过发后作里用道行所然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心"
    "她本前开但因只从想实日军者意无力它与长把机十民第公此已工使情明性知全三又关点正业外将两高间由"
    "问很最重并物手应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位"
    "次度门任常先海通教儿原东声提立及比员解水名真论处走义各入几口认条平系气题活尔更别打女变四神总"
    "何电数安少报才结反受目太量再感建务做接必场件计管期市直德资命山金指克许统区保至队形社便空决治"
    "展马科司五基眼书非则听白却界达光放强即像难且权思王象完设式色路记南品住告类求据程北边死张该交"
    "规万取拉格望觉术领共确传师观清今切院让识候带导争运买卖店质服快慢贵便宜货包装推荐喜欢满意差",
    "zh-tw": "的一是不了在人有我他這個們中來上大為和國地到以說時要就出會可也你對生能而子那得於著下"
    "自之年過發後作裡用道行所然家種事成方多經麼去法學如都同現當沒動面起看定天分還進好小部其些主樣理"
    "心她本前開但因只從想實日軍者意無力它與長把機十民第公此已工使情明性知全三又關點正業外將兩高間"
    "由問很最重並物手應戰向頭文體政美相見被利什二等產或新己制身果加西斯月話合回特代內信表化老給世"
    "位次度門任常先海通教兒原東聲提立及比員解水名真論處走義各入幾口認條平系氣題活爾更別打女變四神"
    "總何電數安少報才結反受目太量再感建務做接必場件計管期市直德資命山金指克許統區保至隊形社便空決"
    "治展馬科司五基眼書非則聽白卻界達光放強即像難且權思王象完設式色路記南品住告類求據程北邊死張該"
    "交規萬取拉格望覺術領共確傳師觀清今切院讓識候帶導爭運買賣店質服快慢貴便宜貨包裝推薦喜歡滿意差",
}


class Guess(NamedTuple):
    """`behind`: how much less likely than the first one, as a natural logarithm."""

    encoding: str
    behind: float


def guess_encodings(sample: bytes) -> list[Guess]:
    """The encodings that the sample may be in, the likeliest first; of those that read it alike,
    only the most usual one."""
    words = _words_of(sample)
    readings: dict[tuple[str, ...], list[tuple[float, str]]] = {}
    for encoding, (languages, cost) in GUESSED.items():
        reading = tuple(word.decode(encoding, errors="replace") for word in words)
        one = (cost + _cost(reading, languages), encoding)
        readings.setdefault(reading, []).append(one)
    found = sorted((min(alike)[0], _most_usual(alike)) for alike in readings.values())
    return [Guess(encoding, cost - found[0][0]) for cost, encoding in found]


def _most_usual(alike: list[tuple[float, str]]) -> str:
    """Of encodings with the same reading, the one with the most files, unless the language speaks
    for another."""
    least = min(alike)[0]
    likely = [encoding for cost, encoding in alike if cost < least + _SAME_READING]
    return min(likely, key=lambda encoding: GUESSED[encoding].cost)


def _words_of(sample: bytes) -> list[bytes]:
    """The different words with what is not ASCII; one that comes again proves nothing more."""
    # Of digits it counts only that they are there.
    some = (_DIGITS.sub(b"0", word) for word in _WORDS.findall(sample) if not word.isascii())
    words = dict.fromkeys(some)
    # First those that have a byte that no other has: by one byte two encodings may differ.
    seen: set[int] = set()
    first = []
    for word in words:
        if not seen.issuperset(word):
            first.append(word)
            seen.update(word)
    found: list[bytes] = []
    size = 0
    for word in dict.fromkeys([*first, *words]):
        size += len(word)
        if len(found) == MOST_WORDS or size > MOST_BYTES:
            break
        found.append(word)
    return found or [first[0][:MOST_BYTES]]


def _cost(reading: Iterable[str], languages: tuple[str, ...]) -> float:
    by_word = [[_word_cost(word, language) for language in languages] for word in reading]
    of_text = (
        sum(min(costs[at], min(costs) + _OTHER_LANGUAGE) for costs in by_word)
        for at in range(len(languages))
    )
    return min(of_text)


def _word_cost(word: str, language: str) -> float:
    model = _models()[language]
    return _signs_cost(word, model) if language in WRITTEN_IN_SIGNS else _letters_cost(word, model)


class _Model(NamedTuple):
    language: str
    alone: dict[str, float]
    other: dict[str, float]
    pairs: dict[str, float]


@cache
def _models() -> dict[str, _Model]:
    with COSTS.open(encoding="utf-8") as file:
        stored = json.load(file)
    return {
        language: _Model(
            language,
            _by_letters(costs["alone"], 1),
            _by_letters(costs.get("other", {}), 1),
            _by_letters(costs.get("pairs", {}), 2),
        )
        for language, costs in stored.items()
    }


def _by_letters(by_cost: dict[str, str], length: int) -> dict[str, float]:
    return {
        letters[at : at + length]: int(cost) / 10
        for cost, letters in by_cost.items()
        for at in range(0, len(letters), length)
    }


def _letters_cost(word: str, model: _Model) -> float:
    total = 0.0
    for before, char in pairwise(f" {word} "):
        if char <= "\x7f" and before <= "\x7f":
            continue
        first, second = _letter(before), _letter(char)
        if second == " " and char > "\x7f":
            total += _other_cost(char)
            if first != " ":
                total += 0 if char in _MARKS else _IN_A_WORD
            continue
        if first == second == " ":
            continue
        if char.isdigit() or before.isdigit():
            total += _BESIDE_DIGIT
        total += _pair_cost(first, second, model) + _case_cost(before, char)
        if " " not in (first, second) and _alphabet(first) != _alphabet(second):
            # A combining accent is of every alphabet.
            total += 0 if "COMBINING" in (_alphabet(first), _alphabet(second)) else _OTHER_ALPHABET
    return total


def _pair_cost(first: str, second: str, model: _Model) -> float:
    cost = model.pairs.get(first + second)
    if cost is not None:
        return cost
    alone = model.alone.get(second)
    if alone is None:
        alone = _STRANGE_LETTER if _alphabet(second) == "LATIN" else _DRAWING
    return alone + model.other.get(first, _NOT_SEEN)


def _case_cost(before: str, char: str) -> float:
    if not char.isupper():
        return 0.0
    if before.isupper():
        return 0.7
    return 4.0 if before.isalpha() else 1.5


@cache
def _letter(char: str) -> str:
    """As in make_letter_costs: a letter in lower case, or a blank for everything else."""
    if char.isalpha() or _is_mark(char):
        lower = char.lower()[0]
        return _OLD_LETTERS.get(lower, lower)
    return " "


@cache
def _alphabet(char: str) -> str:
    return unicodedata.name(char, "").partition(" ")[0]


@cache
def _is_mark(char: str) -> bool:
    """On the letter before it, such as the tones of Vietnamese."""
    return unicodedata.category(char) == "Mn"


@cache
def _other_cost(char: str) -> float:
    """Of what is no letter and not ASCII."""
    if char == "\ufffd":
        return _UNDECODABLE
    if char in _MARKS:
        return _MARK
    category = unicodedata.category(char)
    if category in ("Cc", "Co", "Cn", "Cs"):
        return _CONTROL
    return _DRAWING if "\u2190" <= char <= "\u25ff" or char < "\xa0" else _SYMBOL


def _signs_cost(word: str, model: _Model) -> float:
    total = 0.0
    for before, char in pairwise(f" {word} "):
        if _is_half_width(char):
            total += _HALF_WIDTH if _is_half_width(before) else _HALF_WIDTH_ALONE
        elif char > "\x7f":
            total += _sign_cost(char, model)
            total += _AFTER_ASCII if before.isascii() and before.isalpha() else 0
        elif before > "\x7f" and char.isalpha():
            total += _AFTER_ASCII
    return total


def _is_half_width(char: str) -> bool:
    return "\uff61" <= char <= "\uff9f"


def _sign_cost(char: str, model: _Model) -> float:
    """That of the translations, that of a common sign, or that of any sign of the first level."""
    return min(
        model.alone.get(char, _CONTROL) + 0.5,
        _common(model.language).get(char, _CONTROL),
        _level_cost(char, model.language),
    )


@cache
def _common(language: str) -> dict[str, float]:
    signs = _COMMON.get(language, "")
    return {sign: 5.0 + 2.5 * at / len(signs) for at, sign in enumerate(signs)}


@cache
def _level_cost(char: str, language: str) -> float:
    """Of a sign that is not known to be common, by where the old standards have it."""
    lead = _lead_byte(
        char, {"zh": "gb2312", "zh-tw": "big5", "ja": "shift_jis", "ko": "euc_kr"}[language]
    )
    if char in _MARKS:
        return _MARK + 1
    if language == "ja":
        if "\u3041" <= char <= "\u30fe":
            return 6.0
        return 9.5 if 0x88 <= lead <= 0x97 else 12.5 if lead else 14.5
    first, last = {"zh": (0xB0, 0xD7), "zh-tw": (0xA4, 0xC6), "ko": (0xB0, 0xC8)}[language]
    return 9.2 if first <= lead <= last else 12.5 if lead else 15.0


def _lead_byte(char: str, codec: str) -> int:
    try:
        return char.encode(codec)[0]
    except UnicodeEncodeError:
        return 0


assert GUESSED.keys() <= ENCODINGS.keys()  # noqa: S101 - what can be guessed can be chosen
