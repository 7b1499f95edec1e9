"""The site runs on every Python from 3.11.0 on. Debian 12, for example, has 3.11.2."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from .environment import ROOT

pytestmark = pytest.mark.no_database

# "(…)*+" and "(?>…)": before 3.11.5, Python matches these wrongly
# (https://github.com/python/cpython/issues/106052). "[…]*+", of one character, is right.
ALL_OR_NOTHING = re.compile(r"(?<!\\)\)(?:[*+?]|\{[0-9,]+\})\+|\(\?>")


def patterns(path: Path) -> Iterator[str]:
    """Texts that may be parts of regular expressions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            yield node.value if isinstance(node.value, str) else node.value.decode("latin-1")


@pytest.mark.parametrize("pattern", ["(?:a|bc)*+", "(a)?+", "(a){2,3}+", "(?>a+)b"])
def test_such_groups_are_found(pattern: str) -> None:
    assert ALL_OR_NOTHING.search(pattern)


@pytest.mark.parametrize("pattern", ["[ab]*+", "(a)+", r"\)++", "(?:a)*b+"])
def test_others_are_not(pattern: str) -> None:
    assert not ALL_OR_NOTHING.search(pattern)


def test_no_pattern_needs_a_later_python() -> None:
    files = [path for name in ("batchsite", "jobs") for path in (ROOT / name).rglob("*.py")]
    found = [
        (path.name, text)
        for path in files
        for text in patterns(path)
        if ALL_OR_NOTHING.search(text)
    ]
    assert len(files) > 100 and not found
