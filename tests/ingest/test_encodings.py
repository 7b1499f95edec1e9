"""An encoding is known for certain, or people are asked; hardly ever is one wrong and sure."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from jobs.ingest.descriptions import python_name
from jobs.ingest.encoding_guesses import GUESSED, guess_encodings
from jobs.ingest.encodings import SURE
from jobs.ingest.file_formats import open_upload
from jobs.ingest.shapes import Choices, Finding, Limits, ParsedRow, Reader

from .short_texts import SENTENCES, short_texts

pytestmark = pytest.mark.no_database


def read(path: Path, raw: bytes, **choices: Any) -> tuple[Reader, list[ParsedRow]]:
    file = path / "upload"
    file.write_bytes(raw)
    reader = open_upload(str(file), Choices(**choices), Limits())
    return reader, list(reader)


def cells(rows: list[ParsedRow]) -> list[list[str]]:
    return [json.loads(row.source) for row in rows]


def question(reader: Reader) -> Finding | None:
    return next((one for one in reader.remarks if one.kind == "guessed"), None)


def test_hardly_any_guess_is_wrong_and_sure() -> None:
    """Prints a table: how many of the texts in a language were right, unsure or wrong."""
    table: dict[str, Counter[str]] = {language: Counter() for language in SENTENCES}
    for language, _encoding, text, raw in short_texts():
        first, second = guess_encodings(raw)[:2]
        is_right = raw.decode(first.encoding, errors="replace") == text
        outcome = "unsure" if second.behind < SURE else "right" if is_right else "wrong"
        table[language][outcome] += 1
    total: Counter[str] = sum(table.values(), Counter())
    for language, counts in [*table.items(), ("all", total)]:
        row = [language, *(f"{counts[one]} {one}" for one in ("right", "unsure", "wrong"))]
        sys.stdout.write(" ".join(row) + "\n")
    assert total.total() >= 200 and len(table) >= 20
    assert total["wrong"] < total.total() * 0.02
    assert total["unsure"] < total.total() * 0.2


@pytest.mark.parametrize("encoding", GUESSED)
def test_every_guess_can_be_chosen(encoding: str) -> None:
    assert python_name(encoding) == encoding


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("IBM866", "cp866"),
        ("ISO-8859-15", "iso8859-15"),
        ("Big5", "big5hkscs"),
        ("EUC-KR", "cp949"),
        ("TIS-620", "cp874"),
        ("ISO-2022-JP", "iso2022_jp"),
    ],
)
def test_encodings_are_chosen_by_their_usual_names(name: str, encoding: str) -> None:
    assert python_name(name) == encoding


@pytest.mark.parametrize(
    ("raw", "right"),
    [
        (
            "id,product,comment\n0,SKU-0,ソフト\n1,SKU-1,良い\n2,SKU-2,能力\n".encode("cp932"),
            "良い",
        ),
        ("id;σχόλιο\n1;Πολύ καλό προϊόν\n2;Άσχημο\n".encode("cp1253"), "Άσχημο"),
        ("id;отзыв\n1;Отличный товар\n2;Плохо, не советую\n".encode("cp866"), "Плохо, не советую"),
        ("a,b\n1,café\n".encode("cp1252"), "café"),
        ("a,b\n1,naïve\n".encode("mac-roman"), "naïve"),
    ],
)
def test_little_text_is_right_or_asked_about(tmp_path: Path, raw: bytes, right: str) -> None:
    reader, rows = read(tmp_path, raw)
    asked = question(reader)
    if asked is None:
        assert any(right in row for row in cells(rows))
        return
    assert "not sure" in asked.text
    assert 2 <= len(asked.options) <= 3
    assert any(right in line for option in asked.options for line in option.sample)
    chosen = next(one for one in asked.options if any(right in line for line in one.sample))
    reader, rows = read(tmp_path, raw, **chosen.change)
    assert any(right in row for row in cells(rows))
    assert not question(reader), "who has chosen is not asked again"


def test_one_bad_byte_is_one_bad_row(tmp_path: Path) -> None:
    good = "".join(f"{n},naïve café – “ok”\n" for n in range(50))
    raw = b"id,text\n" + good.encode() + b"51,caf\xe9\n52,ok\n"
    reader, rows = read(tmp_path, raw)
    assert reader.understood.encoding == "utf-8"
    wrong = [row for row in rows if row.problem]
    assert [row.line for row in wrong] == [52]
    assert wrong[0].problem and "“caf�”" in wrong[0].problem.text
    reader, rows = read(tmp_path, raw, encoding="utf-8")
    assert sum(row.problem is not None for row in rows) == 1
    json_lines = "".join(f'{{"a": "é{n}"}}\n' for n in range(9)).encode() + b'{"a": "\xe9"}\n'
    reader, rows = read(tmp_path, json_lines)
    assert [row.line for row in rows if row.problem] == [10]


@pytest.mark.parametrize("order", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("language", SENTENCES)
def test_utf_16_without_a_mark_is_known_in_any_language(
    tmp_path: Path, order: str, language: str
) -> None:
    text = SENTENCES[language][1]
    rows = [["номер", "b"], *([str(n), part] for n, part in enumerate(text.split(". ")))]
    reader, found = read(tmp_path, "\n".join(map(";".join, rows)).encode(order))
    assert reader.understood.encoding == order
    assert cells(found) == rows[1:]


def test_japanese_of_seven_bits(tmp_path: Path) -> None:
    reader, rows = read(tmp_path, "a,b\n1,これは良い\n".encode("iso2022_jp"))
    assert cells(rows) == [["1", "これは良い"]]
    assert reader.understood.encoding == "iso2022_jp"


def test_romanian_of_its_own_encoding(tmp_path: Path) -> None:
    text = "id,text\n1,Mi-a spus „mulțumesc” și a plecat\n2,„Bună ziua”, prețul e bun\n"
    reader, rows = read(tmp_path, text.encode("iso8859-16"))
    assert reader.understood.encoding == "iso8859-16" and not question(reader)
    assert cells(rows)[0][1] == "Mi-a spus „mulțumesc” și a plecat"
    # Without such quotation marks it is not told apart, and the letters look alike.
    reader, _rows = read(tmp_path, "a,b\n1,știe că mulțumește foarte rapid\n".encode("iso8859-16"))
    assert reader.understood.encoding == "cp1250"
