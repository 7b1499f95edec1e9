"""In which encoding a text file is: found out, said, and proven for the whole file."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from itertools import islice
from typing import IO

from charset_normalizer import from_bytes

from .descriptions import ENCODINGS, name_of, python_name
from .shapes import Finding, unreadable
from .upload_file import UploadFile

BLOCK = 1 << 20
SAMPLE = 1 << 18
AROUND = 1 << 12  # bytes looked at around what is not UTF-8

# Latin letters beyond ASCII: which of them are usual in the languages that use an encoding. The
# library tells scripts apart, but takes French for Czech.
_FRENCH_AND_OTHERS = "äöüßéèêëàâçîïôûùœñóíáúãõåæøÄÖÜÉÈÊÀÂÇÎÔÑÓÍÁÚÃÕÅÆØ¿¡"
USUAL = {
    "cp1252": _FRENCH_AND_OTHERS,
    "mac-roman": _FRENCH_AND_OTHERS,
    "cp850": _FRENCH_AND_OTHERS,
    "cp1250": "ąćęłńóśźżčďěňřšťůýžáéíúőűäöüôľĺŕăâîşţĄĆĘŁŃÓŚŹŻČĎĚŇŘŠŤŮÝŽÁÉÍÚŐŰÄÖÜÔĽĂÂÎŞŢ",
    "cp1254": "çğıöşüâîÇĞİÖŞÜ",
    "cp1257": "āčēģīķļņōŗšūžąęėįųõäöüĀČĒĢĪĶĻŅŠŪŽĄĘĖĮŲÕÄÖÜ",
}
IN_WORDS = "’\xa0"
MARKS = "–—‘‚“”„…€£«»°®©™·§"  # noqa: RUF001 - these very ones
_NOT_ASCII = re.compile(rb"[\x80-\xff]+")
BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
BOMS_OF_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def find_encoding(file: UploadFile, chosen: str, remarks: list[Finding]) -> str:
    """The encoding of a text file, as a name of Python's. `chosen`: what a person says it is; it
    counts if the whole file can be read so. Raises Unreadable."""
    if chosen == "utf-16" and not file.head.startswith(BOMS_OF_UTF_16):
        chosen = "utf-16-le"  # as Windows has it
    if chosen:
        if bad := first_bad_line(file, chosen):
            raise unreadable(
                "encoding", f"This line has a character that is not valid {name_of(chosen)}.", bad
            )
        return chosen
    head = file.head
    for bom, encoding in BOMS:
        if head.startswith(bom):
            return find_encoding(file, encoding, remarks)
    encoding = _utf_16_without_a_mark(head)
    if encoding and not first_bad_line(file, encoding):
        return encoding
    if not (bad := first_bad_line(file, "utf-8")):
        return "utf-8"
    for encoding in _guesses(_sample(file)):
        if not first_bad_line(file, encoding):
            text = f"This is not UTF-8. It was read as {name_of(encoding)}."
            remarks.append(Finding("guessed", text, bad))
            return encoding
    raise unreadable("encoding", "This line has a character that is not valid UTF-8.", bad)


def first_bad_line(file: UploadFile, encoding: str) -> int | None:
    """The first line with what cannot be decoded; None when all of it can be."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    # UnicodeError and not UnicodeDecodeError: UTF-16 without a mark is one, too.
    with file.open() as stream:
        while block := stream.read(BLOCK):
            try:
                text = decoder.decode(block)
            except UnicodeError as error:
                return line + _line_breaks(block[: getattr(error, "start", 0)])
            line += text.count("\n")
        try:
            decoder.decode(b"", final=True)
        except UnicodeError:
            return line
    return None


def _line_breaks(raw: bytes) -> int:
    return raw.count(b"\n")


def _utf_16_without_a_mark(head: bytes) -> str:
    """UTF-16 of mostly Latin text has a NUL in every other byte."""
    even, odd = head[0::2], head[1::2]
    least = len(head) * 0.3
    if odd.count(0) > least and even.count(0) == 0:
        return "utf-16-le"
    if even.count(0) > least and odd.count(0) == 0:
        return "utf-16-be"
    return ""


def _sample(file: UploadFile) -> bytes:
    """What is not ASCII, with what is around it."""
    with file.open() as stream:
        return b"\n".join(islice(_odd_places(stream), SAMPLE // AROUND))


def _odd_places(stream: IO[bytes]) -> Iterator[bytes]:
    while block := stream.read(BLOCK):
        begin = 0
        while begin < len(block):
            part = block[begin : begin + AROUND]
            if not part.isascii():
                yield part
            begin += AROUND


def _guesses(sample: bytes) -> Iterator[str]:
    """Encodings that the sample may be in, the likeliest first."""
    runs = [len(run) for run in _NOT_ASCII.findall(sample)]
    latin = sorted(USUAL, key=lambda encoding: -_usual_letters(sample, encoding))
    # Between ASCII letters, letters such as é stand alone; those of other scripts do not.
    if sum(runs) < 2 * len(runs):
        yield from latin
    wanted = [encoding.replace("-", "_") for encoding in ENCODINGS if "utf" not in encoding]
    for match in from_bytes(sample, cp_isolation=wanted):
        encoding = python_name(match.encoding)
        if encoding and encoding not in USUAL:
            yield encoding
    yield from latin


def _usual_letters(sample: bytes, encoding: str) -> int:
    """How usual the letters are that the sample has in this encoding; others count against it, and
    so do marks in the middle of a word."""
    text = f" {sample.decode(encoding, errors='replace')} "
    score = 0
    for index, char in enumerate(text):
        if char <= "\x7f":
            continue
        before, after = text[index - 1], text[index + 1]
        if char in USUAL[encoding]:
            score += 2
        elif char in IN_WORDS or (char in MARKS and not (before.isalpha() and after.isalpha())):
            score += 3
        else:
            score -= 3
    return score
