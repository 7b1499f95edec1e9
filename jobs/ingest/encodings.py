"""In which encoding a text file is: found out, proven for the whole file, and asked when the text
is too little to be sure."""

from __future__ import annotations

import codecs
from itertools import zip_longest

from .descriptions import name_of
from .encoding_guesses import Guess, guess_encodings
from .shapes import Finding, Option, unreadable
from .upload_file import UploadFile
from .utf_16 import utf_16_order, utf_32_order

BLOCK = 1 << 20
SAMPLE = 1 << 18  # bytes of lines with something beyond ASCII
LINE = 1 << 16  # bytes of such a line
SURE = 9.0  # by how much the best guess is likelier than the next; a natural logarithm
READINGS = 3  # offered side by side
LINES_SHOWN = 3
AROUND = 30, 90  # characters shown before and after the first one that differs
# So many good characters for each bad one prove an encoding. Of 7,700 texts of five lines in
# others, none has more good than bad ones as UTF-8.
GOOD_TO_BAD = 2
# What stands for bytes that are not valid, while a file is read: no text has it.
BAD = "\udcff"
MARK_BAD = "batchsite.mark_bad"  # the name of the error handler
ESCAPES = (b"\x1b$B", b"\x1b$@", b"\x1b(J")  # of ISO-2022-JP
BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
BOMS_OF_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def _mark_bad(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return BAD, error.end


codecs.register_error(MARK_BAD, _mark_bad)


def find_encoding(
    file: UploadFile, chosen: str, remarks: list[Finding], *, bad_lines: bool = False
) -> str:
    """The encoding of a text file, as a name of Python's. `chosen`: what a person says it is.
    `bad_lines`: a few lines may have bytes that are not valid; decode with MARK_BAD. Raises
    Unreadable."""
    if chosen == "utf-16" and not file.head.startswith(BOMS_OF_UTF_16):
        chosen = utf_16_order(file.head) or "utf-16-le"  # as Windows has it
    if encoding := chosen or _by_pattern(file.head):
        bad = first_bad_line(file, encoding)
        if bad and not (bad_lines and is_likely(file, encoding)):
            words = f"This line has a character that is not valid {name_of(encoding)}."
            raise unreadable("encoding", words, bad)
        return encoding
    bad = first_bad_line(file, "utf-8")
    if not bad:
        return "utf-8"
    words = "This line has a character that is not valid UTF-8."
    if is_proven(file, "utf-8"):
        if bad_lines:
            return "utf-8"
        raise unreadable("encoding", words, bad)
    lines = _odd_lines(file)
    guesses = _possible(file, guess_encodings(b"\n".join(lines)), bad_lines=bad_lines)
    if bad_lines and is_likely(file, "utf-8"):
        guesses = [Guess("utf-8", 0), *guesses[: READINGS - 1]]
    if not guesses:
        raise unreadable("encoding", words, bad)
    encoding = guesses[0].encoding
    if len(guesses) > 1:
        text = f"We are not sure which letters this file has. We read it as {name_of(encoding)}."
        remarks.append(Finding("guessed", text, bad, options=_readings(guesses, lines)))
    return encoding


def _by_pattern(head: bytes) -> str:
    for bom, encoding in BOMS:
        if head.startswith(bom):
            return encoding
    if encoding := utf_32_order(head) or utf_16_order(head):
        return encoding
    return "iso2022_jp" if head.isascii() and any(map(head.__contains__, ESCAPES)) else ""


def first_bad_line(file: UploadFile, encoding: str) -> int | None:
    """The first line with what cannot be decoded; None when all of it can be."""
    if encoding not in file.bad_lines:
        file.bad_lines[encoding] = _first_bad_line(file, encoding)
    return file.bad_lines[encoding]


def _first_bad_line(file: UploadFile, encoding: str) -> int | None:
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


def is_proven(file: UploadFile, encoding: str) -> bool:
    """Whether so much of the file is valid that the rest must be bad lines: bytes beyond ASCII that
    make characters of UTF-8 do so by no accident."""
    good, bad = _good_and_bad(file, encoding)
    return good >= GOOD_TO_BAD * bad


def is_likely(file: UploadFile, encoding: str) -> bool:
    """Whether as much beyond ASCII is valid as is not: enough when a person says so."""
    good, bad = _good_and_bad(file, encoding)
    return good >= bad


def _good_and_bad(file: UploadFile, encoding: str) -> tuple[int, int]:
    """How many characters beyond ASCII there are, and how many bytes that make none."""
    if encoding.startswith(("utf-16", "utf-32")):
        return 0, 1  # any two bytes make a letter
    decoder = codecs.getincrementaldecoder(encoding)(MARK_BAD)
    good = bad = 0
    with file.open() as stream:
        while block := stream.read(BLOCK):
            text = decoder.decode(block)
            marked = text.count(BAD)
            bad += marked
            good += len(text) - len(text.encode("ascii", "ignore")) - marked
    return good, bad


def _odd_lines(file: UploadFile) -> list[bytes]:
    """Lines with something beyond ASCII."""
    found, size = [], 0
    with file.open() as stream:
        while size < SAMPLE and (raw := stream.readline(LINE)):
            if raw.isascii():
                continue
            for line in raw.splitlines():
                if not line.isascii():
                    found.append(line)
                    size += len(line)
    return found


def _possible(file: UploadFile, guesses: list[Guess], *, bad_lines: bool) -> list[Guess]:
    """The likeliest encoding in which the file can be read, and those that are not much less
    likely."""
    found: list[Guess] = []
    for guess in guesses:
        if found and guess.behind - found[0].behind >= SURE:
            break
        bad = first_bad_line(file, guess.encoding)
        if not bad or (bad_lines and is_proven(file, guess.encoding)):
            found.append(guess)
            if len(found) == READINGS:
                break
    return found


def _readings(guesses: list[Guess], lines: list[bytes]) -> tuple[Option, ...]:
    """The same lines, as each of the encodings reads them."""
    encodings = [guess.encoding for guess in guesses]
    shown: list[list[str]] = []
    for line in dict.fromkeys(lines):
        reading = [line.decode(encoding, errors="replace") for encoding in encodings]
        if len({*reading}) > 1:
            shown.append(_around_difference(reading))
        if len(shown) == LINES_SHOWN:
            break
    return tuple(
        Option(name_of(encoding), {"encoding": encoding}, [line[at] for line in shown])
        for at, encoding in enumerate(encodings)
    )


def _around_difference(reading: list[str]) -> list[str]:
    """A line in several encodings, cut to where they differ."""
    columns = zip_longest(*reading)
    at = next(index for index, chars in enumerate(columns) if len({*chars}) > 1)
    begin = max(0, at - AROUND[0])
    return ["…" * bool(begin) + line[begin : at + AROUND[1]] for line in reading]
