"""No name makes a file unreadable: what cannot be used is changed, and all is said at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.ingest.column_names import ColumnNames, clean_name, join_names
from jobs.ingest.file_formats import open_upload
from jobs.ingest.shapes import Choices, Limits

from ..workbooks import fill, workbook

pytestmark = pytest.mark.no_database

LONG = "Thinking about the last twelve months, and leaving aside what you have told us before, "
LONG_TOO = LONG * 2 + "how would you describe, in your own words, the service?"


@pytest.mark.parametrize(
    ("cells", "names", "kinds"),
    [
        (["a", "b"], ["a", "b"], []),
        (["Customer", "Customer"], ["Customer", "Customer (2)"], ["same_name"]),
        (["a", "a", "a"], ["a", "a (2)", "a (3)"], ["same_name", "same_name"]),
        (["a", "a", "a (2)"], ["a", "a (3)", "a (2)"], ["same_name"]),
        (["a", "A"], ["a", "A"], []),
        (["", "b"], ["column_1", "b"], ["unnamed"]),
        (["column_2", ""], ["column_2", "column_2 (2)"], ["unnamed"]),
        (["{{text}}", "b"], ["text", "b"], ["name"]),
        (["{text}", "text"], ["text", "text (2)"], ["name", "same_name"]),
        (["a {b} c"], ["a (b) c"], ["name"]),
        (["{}", "b"], ["column_1", "b"], ["unnamed"]),
        (["\u200btext"], ["text"], ["cleaned_name"]),
        (["\ufefftext", "a\u00a0b"], ["text", "a b"], ["cleaned_name"]),
        (["\u200b", "b"], ["column_1", "b"], ["unnamed"]),
        (["a\u202fb\u200e"], ["a b"], ["cleaned_name"]),
        (["na\u0308me"], ["n\u00e4me"], ["cleaned_name"]),
        ([" a \r\n b "], ["a b"], []),
        (["x" * 200], ["x" * 200], []),
        (["x" * 201], ["x" * 50 + " … " + "x" * 30], ["long_name"]),
        (["x" * 200, "x" * 200], ["x" * 200, "x" * 50 + " … " + "x" * 30 + " (2)"], ["same_name"]),
    ],
)
def test_every_name_can_be_used(cells: list[str], names: list[str], kinds: list[str]) -> None:
    found = ColumnNames(cells, 200, 1)
    assert found.names == names
    assert [finding.kind for finding in found.findings] == kinds
    assert len(set(names)) == len(names) and all(len(name) <= 200 for name in names)
    assert ColumnNames(found.names, 200, 1).names == names, "the same when it is read back"


def test_what_joins_letters_of_other_scripts_stays() -> None:
    persian = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
    for name in (persian, "👨\u200d👩\u200d👧", "क्\u200dष"):
        assert clean_name(name) == name
    assert clean_name("te\u200dxt\u200c") == "text"


def test_all_that_is_odd_with_names_is_said_at_once(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    row = ["id", "id", "{{x}}", "", LONG_TOO]
    with workbook(path) as book:
        fill(book.add_worksheet(), [row, ["1", "2", "3", "4", "5"]])
    reader = open_upload(str(path), Choices(), Limits())
    (only,) = reader
    assert not only.problem
    assert reader.columns[:4] == ["id", "id (2)", "x", "column_4"]
    assert reader.columns[4].startswith("Thinking about the last twelve months")
    assert reader.columns[4].endswith("the service?") and len(reader.columns[4]) < 90
    found = {remark.kind: remark.text for remark in reader.remarks}
    assert set(found) == {"same_name", "name", "unnamed", "long_name"}
    assert LONG_TOO in found["long_name"], "the whole name is there"
    assert "Column 2 is called “id (2)”" in found["same_name"]


def test_parts_of_names_are_joined_to_the_right_of_a_merged_cell_only() -> None:
    lines = [["id", "Before", "", "after"], ["", "x", "y", ""]]
    assert join_names(lines) == ["id", "Before - x", "Before - y", "after"]
    assert join_names([["a"], ["a"]]) == ["a"]
