"""The lines of chats and logs are no table: their commas separate no cells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.ingest.file_formats import open_upload
from jobs.ingest.finding_kinds import asks
from jobs.ingest.shapes import NO_HEADER, Choices, Finding, Limits

pytestmark = pytest.mark.no_database

# As WhatsApp, chat programs and logs begin a line, by the language of the phone.
STAMPS = {
    "iphone": "[28.11.26, 10:15:01] ",
    "iphone with marks": "\u200e[28.11.26, 10:15:01] ",
    "american iphone": "[11/28/26, 10:15:01\u202fPM] ",
    "android": "28.11.26, 10:15 - ",
    "american android": "11/28/26, 10:15 PM - ",
    "spanish": "28/11/26, 10:15 p. m. - ",
    "dutch": "28-11-2026 10:15 - ",
    "swedish": "2026-11-28 10:15 - ",
    "hungarian": "2026. 11. 28. 10:15 - ",
    "korean": "[2026. 11. 28. 오후 10:15:01] ",
    "arabic": "28/11/2026، 10:15 م - ",
    "log": "[2026-11-28 10:15:01] ",
    "time": "[10:15] ",
}
MESSAGES = [
    "Ann: Hi, how are you?",
    'Ben: "Fine", thanks, and you? https://example.com',
    "Ann: first, second\nthird, fourth, fifth",
    "Ben: ok",
    "Ann: 1,5; 2,5",
]


def read(path: Path, **choices: Any) -> tuple[list[Finding], list[str]]:
    reader = open_upload(str(path), Choices(**choices), Limits())
    rows = [json.loads(row.source) for row in reader if not row.problem]
    return reader.remarks, [cell for row in rows for cell in row]


@pytest.mark.parametrize("stamp", STAMPS.values(), ids=STAMPS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_each_line_of_a_chat_is_a_cell(
    tmp_path: Path, stamp: str, encoding: str, end: str, count: int
) -> None:
    path = tmp_path / "upload"
    text = "".join(f"{stamp}{message}\n" for message in MESSAGES[:count])
    path.write_bytes(text.replace("\n", end).encode(encoding))
    remarks, cells = read(path)
    assert cells == text.splitlines()
    (asked,) = remarks
    assert asked.kind == "chat" and asks("chat") and "Ann: Hi, how" in asked.text
    assert ("continues" in asked.text) == (count == 5)
    lines, *tables = asked.options
    assert lines.change["header"] == NO_HEADER
    remarks, again = read(path, **lines.change)
    assert again == cells and not remarks
    for option in tables:
        remarks, _cells = read(path, **option.change)
        assert "chat" not in [found.kind for found in remarks]


def test_what_the_program_says_first_is_a_line_of_the_chat(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    text = "28.11.26, 10:15 - Messages are end-to-end encrypted.\n28.11.26, 10:15 - Ann: Hi, you\n"
    path.write_text(text + "28.11.26, 10:16 - Ben: Yes, me\n")
    (asked,), cells = read(path)
    assert asked.kind == "chat" and len(cells) == 3


@pytest.mark.parametrize(
    "text",
    [
        "when;who;what\n28.11.26, 10:15;Ann;Hi\n28.11.26, 10:16;Ben;Yo\n",
        "28.11.26 10:15;Ann;Hi\n28.11.26 10:16;Ben;Yo\n",
        "2026-11-28 10:15,Ann,5\n2026-11-28 10:16,Ben,6\n",
        "[2026-11-28 10:15];Ann;5\n[2026-11-28 10:16];Ben;6\n",
        "[2026-11-28 10:15] Ann;Ulm;5\n[2026-11-28 10:16] Ben;Rom;6\n",
        "28.11.26 10:15 - 28.11.26 11:15;Ann: in\n28.11.26 10:16 - 28.11.26 11:15;Ben: out\n",
        "time,text\n10:15,Ann: Hi\n10:16,Ben: Yo\n",
    ],
)
def test_a_table_with_times_is_no_chat(tmp_path: Path, text: str) -> None:
    path = tmp_path / "upload"
    path.write_text(text)
    assert "chat" not in [found.kind for found in read(path)[0]]
