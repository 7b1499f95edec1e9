"""Files that the command is given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

CSV = "name,text\nAda,likes it\nBen,“does” not\n"
REQUEST = {
    "custom_id": "first",
    "params": {
        "model": "claude-haiku-5-5",
        "max_tokens": 50,
        "messages": [{"role": "user", "content": "Say hello."}],
    },
}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "reviews.csv"
    path.write_text(CSV)
    return path


@pytest.fixture
def requests(tmp_path: Path) -> Path:
    path = tmp_path / "requests.jsonl"
    path.write_text(json.dumps(REQUEST) + "\n")
    return path
