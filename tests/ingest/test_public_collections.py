"""Public collections of odd CSV and JSON are read right; see data/README.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.ingest.file_formats import open_upload
from jobs.ingest.shapes import Choices, Limits, Unreadable

pytestmark = pytest.mark.no_database

DATA = Path(__file__).parent.parent / "data"
TABLES = sorted((DATA / "csv_spectrum").glob("*.csv"))
TEXTS = json.loads((DATA / "json_parsing.json").read_text())
# What JSON allows and nobody means; a database takes no NUL either.
REFUSED_BY_CHOICE = {
    "y_object_duplicated_key.json",
    "y_object_duplicated_key_and_value.json",
    "y_object_escaped_null_in_key.json",
    "y_string_null_escape.json",
}


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_a_table_is_read_as_the_collection_says(path: Path) -> None:
    reader = open_upload(str(path), Choices(), Limits())
    rows = [json.loads(line.source) for line in reader]
    said = json.loads(path.with_suffix(".json").read_text())
    if path.stem == "location_coordinates":
        # An object that is in no list, with another telephone number than in the table.
        assert said["Contact Phone Number"] == "1234567890"
        said = [{**said, "Contact Phone Number": "2095257564"}]
    assert rows == [list(row.values()) for row in said]


def row_of(path: Path, value: str) -> Any:
    """What is read of a list with one object, in which `a` is `value`. Raises Unreadable."""
    path.write_bytes(f'[{{"a": {value}\n}}]'.encode("utf-8", "surrogatepass"))
    (line,) = open_upload(str(path), Choices(), Limits())
    (cell,) = json.loads(line.source)
    return cell


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text["name"])
def test_json_is_read_and_what_is_not_json_is_refused(text: dict[str, str], tmp_path: Path) -> None:
    name, value = text["name"], text["input"]
    if name.startswith("n") or name in REFUSED_BY_CHOICE:
        with pytest.raises(Unreadable) as raised:
            row_of(tmp_path / "file", value)
        assert raised.value.findings[0].line
        return
    try:
        cell = row_of(tmp_path / "file", value)
    except Unreadable as error:
        assert name.startswith("i") and error.findings[0].text
        return
    meant = json.loads(value)
    if isinstance(meant, str):
        assert cell == meant
    else:
        assert json.loads(cell or "null") == meant
