"""Text that was saved in a wrong encoding is repaired if a person says so, and never silently."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from jobs.ingest.file_formats import open_upload
from jobs.ingest.finding_kinds import asks
from jobs.ingest.garbled_text import repair
from jobs.ingest.shapes import FIX, KEEP, Choices, Finding, Limits, Reader

from ..workbooks import fill, workbook
from .short_texts import SENTENCES

pytestmark = pytest.mark.no_database

REVIEWS = ["Café à la crème", "It’s “fine” – 5 €", "Größe paßt", "плохо", "良い商品", "plain", "👍"]


def garble(text: str) -> str:
    raw = text.encode()
    return "".join(
        bytes([one]).decode("cp1252") if one not in b"\x81\x8d\x8f\x90\x9d" else chr(one)
        for one in raw
    )


def read(path: Path, content: str | bytes = b"", **choices: Any) -> tuple[Reader, list[list[str]]]:
    if content:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    reader = open_upload(str(path), Choices(**choices), Limits())
    return reader, [json.loads(row.source) for row in reader]


def finding(reader: Reader, kind: str) -> Finding:
    (found,) = [remark for remark in reader.remarks if remark.kind == kind]
    return found


def kinds(reader: Reader) -> set[str]:
    return {remark.kind for remark in reader.remarks}


def csv_of(*texts: str) -> str:
    return "id,text\n" + "".join(f"{n},{text}\n" for n, text in enumerate(texts, start=1))


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("form", ["csv", "json", "xlsx"])
def test_garbled_text_is_asked_about_and_repaired(tmp_path: Path, times: int, form: str) -> None:
    path = tmp_path / "upload"
    texts = REVIEWS
    for _time in range(times):
        texts = [*map(garble, texts)]
    if form == "csv":
        path.write_text(csv_of(*texts), newline="")
    elif form == "json":
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    else:
        with workbook(path) as book:
            fill(book.add_worksheet(), [["id", "text"], *([n, t] for n, t in enumerate(texts))])
    reader, rows = read(path)
    assert [row[-1] for row in rows] == texts, "as it is until a person decides"
    asked = finding(reader, "garbled")
    assert asks("garbled") and "Café" in asked.text and "6 cells" in asked.text
    fixed, kept = asked.options
    assert fixed.change == {"garbled": FIX} and kept.change == {"garbled": KEEP}
    reader, rows = read(path, garbled=FIX)
    assert [row[-1] for row in rows] == REVIEWS
    assert finding(reader, "garbled_repaired").options[0].change == {"garbled": KEEP}
    assert reader.understood.garbled == FIX
    reader, rows = read(path, garbled=KEEP)
    assert [row[-1] for row in rows] == texts and not kinds(reader) & {"garbled", "garbled_kept"}


def test_names_of_columns_are_repaired(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    content = f"id,{garble('größe')}\n1,a\n2,b\n"
    reader, _rows = read(path, content)
    assert "größe" in finding(reader, "garbled").text
    reader, _rows = read(path, garbled=FIX)
    assert reader.columns == ["id", "größe"]


def test_what_is_not_certain_is_not_offered(tmp_path: Path) -> None:
    mixed = f"{garble('Café')} – é"
    reader, rows = read(tmp_path / "upload", csv_of(garble("Größe"), mixed))
    assert "garbled" not in kinds(reader)
    assert not finding(reader, "garbled_kept").options
    reader, rows = read(tmp_path / "upload", garbled=FIX)
    assert [row[1] for row in rows] == ["Größe", mixed], "repaired where it is certain"


@pytest.mark.parametrize(
    "text",
    [
        "Il a été…»",
        "Voilà\xa0»",
        "« Où ? À… »",
        "Ça va",
        "ÀÉÎÕÜ",
        "São João",
        "Ålborg „Ö“ ÄÖÜ",
        "10 °C ± 2 µm",
        "¿Qué? ¡Sí!",
        "naïve – “quoted” ’",
    ],
)
def test_ordinary_text_is_left_alone(tmp_path: Path, text: str) -> None:
    reader, _rows = read(tmp_path / "upload", csv_of(text, text, "x"))
    assert not kinds(reader) & {"garbled", "garbled_kept"}
    assert repair(text) == text


def test_no_ordinary_text_is_taken_for_garbled_and_all_garbled_is_repaired() -> None:
    for _encodings, text in SENTENCES.values():
        for line in text.split(". "):
            assert repair(line) == line
        assert repair(garble(text)) == text


def test_any_text_survives_being_garbled() -> None:
    chance = random.Random(3)
    for _time in range(300):
        text = "".join(chance.choices("abc éüß’“–€ñÉÀł★✓→™", k=30))
        assert repair(garble(text)) == text


def test_texts_within_requests_are_repaired(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    params = {
        "model": "claude-haiku-5-5",
        "max_tokens": 9,
        "system": [{"type": "text", "text": garble("Größe")}],
        "messages": [{"role": "user", "content": f"Hi {garble('Café')}"}],
    }
    request = json.dumps({"custom_id": garble("é"), "params": params})
    path.write_text(request)
    reader = open_upload(str(path), Choices(), Limits())
    assert [row.source for row in reader] == [request], "as it is until a person decides"
    asked = finding(reader, "garbled")
    assert "2 texts" in asked.text and "Größe" in asked.text
    reader = open_upload(str(path), Choices(garbled=FIX), Limits())
    (repaired,) = (json.loads(row.source) for row in reader)
    assert repaired["params"]["system"][0]["text"] == "Größe"
    assert repaired["params"]["messages"][0]["content"] == "Hi Café"
    assert repaired["custom_id"] == garble("é"), "it identifies the answer in their program"
    assert "2 texts were repaired" in finding(reader, "garbled_repaired").text
    reader = open_upload(str(path), Choices(garbled=KEEP), Limits())
    assert [row.source for row in reader] == [request] and "garbled" not in kinds(reader)
