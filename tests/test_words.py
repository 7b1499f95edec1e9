"""One word for one thing: phrases that the product has given up do not come back."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from .environment import ROOT

pytestmark = pytest.mark.no_database

# What is said instead of each. Only phrases that can mean nothing else.
GIVEN_UP = {
    r"ask otherwise": "change the prompt",
    r"bring in\b": "import",
    r"brought in\b": "imported",
    r"keep(ing)? the instructions": "prompt caching",
    r"let in again": "reactivate",
    r"look after them": "fix the problems",
    r"\bmend(s|ed|ing)?\b": "fix",
    r"needs somebody": "action needed",
    r"shut out": "deactivate",
    r"to-do list": "problems",
}


def texts() -> Iterator[tuple[str, str]]:
    """Code, pages and documentation, each with where it is. What old migrations say stays."""
    for folder, kind in (("jobs", "py"), ("templates", "html"), ("docs", "md"), ("static", "js")):
        for path in sorted((ROOT / folder).rglob(f"*.{kind}")):
            if "migrations" not in path.parts and "vendor" not in path.parts:
                yield str(path.relative_to(ROOT)), path.read_text()
    yield "README.md", (ROOT / "README.md").read_text()


@pytest.mark.parametrize("phrase", GIVEN_UP)
def test_a_phrase_that_was_given_up_does_not_come_back(phrase: str) -> None:
    found = [
        f"{name}: {match[0]}"
        for name, text in texts()
        for match in re.finditer(phrase, text, re.IGNORECASE)
    ]

    assert not found, f"say: {GIVEN_UP[phrase]}"
