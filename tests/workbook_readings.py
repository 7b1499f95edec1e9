"""How the workbooks of two public collections are read, stored in data/workbooks.json.

`python -m tests.workbook_readings` writes them anew. Look at each difference before you commit it:
is the new reading closer to what the spreadsheet program shows?
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from jobs.ingest.file_formats import open_upload
from jobs.ingest.shapes import Choices, Limits, Unreadable

DATA = Path(__file__).parent / "data"
COLLECTIONS = ("calamine.zip", "readxl.zip")
READINGS = DATA / "workbooks.json"
ROWS = 12  # that are stored of each
SUFFIXES = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")


def names() -> Iterator[tuple[str, str]]:
    """Collection and name of each workbook."""
    for collection in COLLECTIONS:
        with ZipFile(DATA / collection) as archive:
            for name in archive.namelist():
                if name.lower().endswith(SUFFIXES):
                    yield collection, name


def reading_of(collection: str, name: str, folder: Path) -> dict[str, Any]:
    """The reading of one: sheet, columns, number of rows and the first of them, and the kinds of
    what was remarked; or the kind of finding for which it was refused."""
    path = folder / Path(name).name
    with ZipFile(DATA / collection) as archive:
        path.write_bytes(archive.read(name))
    try:
        reader = open_upload(str(path), Choices(), Limits())
        rows = [(line.line, json.loads(line.source), bool(line.problem)) for line in reader]
    except Unreadable as error:
        return {"refused": error.findings[0].kind}
    return {
        "sheet": reader.understood.sheet,
        "columns": reader.columns,
        "count": len(rows),
        "skipped": sum(problem for _line, _cells, problem in rows),
        "rows": [[line, *cells] for line, cells, _problem in rows[:ROWS]],
        "remarks": sorted({remark.kind for remark in reader.remarks}),
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        readings = {
            f"{collection}/{name}": reading_of(collection, name, Path(folder))
            for collection, name in names()
        }
    lines = (
        f" {json.dumps(name)}: {json.dumps(reading, ensure_ascii=False)}"
        for name, reading in readings.items()
    )
    READINGS.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
