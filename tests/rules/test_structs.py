"""Typed JSON is read by what was made at import: msgspec learns a type at its first use, and a
process whose threads do that at the same time dies."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.rules.recipes import Recipe, read_recipe

from ..environment import ROOT, clean_environment
from ..running import SECONDS
from ..test_layout import sources

pytestmark = pytest.mark.no_database

MAKERS = ("msgspec.json.Decoder", "msgspec.msgpack.Decoder", "reader_of")
TYPED_CALLS = ("msgspec.convert", "msgspec.json.decode", "msgspec.msgpack.decode")
# By these names alone, the calls above could not be told from others.
HIDDEN_NAMES = {"convert", "decode", "json", "msgpack", "Decoder"}
READING = ("msgspec", "reader_of")  # one of these is in each file that reads a type


def calls(node: ast.AST, *, in_function: bool = False) -> Iterator[tuple[ast.Call, bool]]:
    """Every call, and whether it is made by a function rather than at import."""
    for child in ast.iter_child_nodes(node):
        inside = in_function or isinstance(
            node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
        )
        if isinstance(child, ast.Call):
            yield child, inside
        yield from calls(child, in_function=inside)


def lazily_typed(path: Path) -> Iterator[int]:
    """Lines at which a type may be read for the first time while the site runs."""
    text = path.read_text()
    if not any(word in text for word in READING):
        return
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("msgspec"):
            yield from (node.lineno for name in node.names if name.name in HIDDEN_NAMES)
    for call, in_function in calls(tree):
        if not isinstance(call.func, ast.Name | ast.Attribute | ast.Subscript):
            continue
        name = ast.unparse(call.func).split("[")[0]
        typed = len(call.args) > 1 or any(word.arg in (None, "type") for word in call.keywords)
        if (name in TYPED_CALLS and typed) or (name in MAKERS and in_function):
            yield call.lineno


def test_no_function_reads_a_type_that_was_not_made_ready_at_import() -> None:
    lines = {
        f"{module}:{line}"
        for module, path in sources().items()
        if module != "jobs.rules.structs"
        for line in lazily_typed(path)
    }

    assert not lines


def test_threads_may_be_the_first_to_use_any_reader(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.reading_threads", "25"],
        cwd=ROOT,
        env=clean_environment(tmp_path, DJANGO_SETTINGS_MODULE="batchsite.settings"),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )

    readers, died = map(int, run.stdout.split())
    assert readers >= 25
    assert died == 0


def test_a_field_is_read_under_its_older_name() -> None:
    assert read_recipe({"prompt": "x", "same_once": True}).skip_duplicates
    assert read_recipe({"skip_duplicates": True}) == Recipe(skip_duplicates=True)
