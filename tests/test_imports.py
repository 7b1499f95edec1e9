"""Imports run one way, so that a part can be read and changed without the parts above it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from .environment import ROOT

pytestmark = pytest.mark.no_database

PURE = (
    "jobs.judging",
    "jobs.recipes",
    "jobs.pricing",
    "jobs.published_prices",
    "jobs.ingest",
    "jobs.cells",
    "jobs.answer_kinds",
    "jobs.tool_answers",
    "jobs.matching",
    "jobs.model_rules",
    "jobs.plain_text",
    "jobs.row_contents",
    "jobs.structs",
)
# Each may import those after it, and none before it.
LAYERS = (
    ("jobs.urls",),
    ("jobs.views", "jobs.shell"),
    ("jobs.forms", "jobs.failures"),
    ("jobs.actions",),
    ("jobs.tasks",),
    ("jobs.lifecycle", "jobs.backup_restores"),
    ("jobs.row_changes",),
    ("jobs.adopting", "jobs.late", "jobs.restoring", "jobs.watching", "jobs.building"),
    ("jobs.preparation",),
    ("jobs.tally",),
    ("jobs.exports", "jobs.excel", "jobs.strays"),
    ("jobs.collection",),
    ("jobs.receipts", "jobs.spending", "jobs.approvals", "jobs.reviewing", "jobs.summing"),
    ("jobs.limits",),
    ("jobs.ledger",),
    ("jobs.resending",),
    ("jobs.editing",),
    ("jobs.rounds",),
    ("jobs.submission", "jobs.estimates", "jobs.reading", "jobs.trying", "jobs.reusing"),
    ("jobs.stored_results", "jobs.answer_columns"),
    ("jobs.ownership",),
    (
        "jobs.absence",
        "jobs.batching",
        "jobs.checking",
        "jobs.counting",
        "jobs.foreign",
        "jobs.holding",
        "jobs.learning",
    ),
    ("jobs.attempts", "jobs.ceilings"),
    ("jobs.surveying", "jobs.offers", "jobs.own_prices", "jobs.browsing", "jobs.result_files"),
    ("jobs.backups", "jobs.slices"),
    (
        "jobs.leases",
        "jobs.checksums",
        "jobs.journal",
        "jobs.provider",
        "jobs.slots",
        "jobs.storage",
        "jobs.turns",
    ),
    ("jobs.files",),
    ("jobs.connections", "jobs.dumps", "jobs.locks", "jobs.supervision"),
    ("jobs.models",),
    ("jobs.clock",),
    PURE,
)


def sources() -> dict[str, Path]:
    """Modules of the site by name; a package by the name of its folder."""
    found = {}
    for folder in ("jobs", "batchsite"):
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


def imports(module: str, path: Path) -> Iterator[str]:
    """What a module imports, wherever in it; imports for types only do not count."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in without_type_checking(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base]).rstrip(".")
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def without_type_checking(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        yield child
        yield from without_type_checking(child)


def is_within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def importers_of(*packages: str) -> set[str]:
    return {
        module
        for module, path in sources().items()
        if any(is_within(name, packages) for name in imports(module, path))
    }


def test_pure_modules_know_neither_django_nor_the_database() -> None:
    impure = {
        (module, name)
        for module, path in sources().items()
        if is_within(module, PURE)
        for name in imports(module, path)
        if is_within(name, ("django", "batchsite", "jobs"))
        if name != "jobs" and not is_within(name, PURE)
    }

    assert not impure


def test_only_one_module_talks_to_the_provider() -> None:
    assert importers_of("anthropic") == {"jobs.provider"}
    assert importers_of("httpx2") == {"jobs.provider", "jobs.connections"}
    assert importers_of("jobs.connections") == {"jobs.provider"}


def test_only_one_module_knows_the_package_of_prices() -> None:
    assert importers_of("genai_prices") == {"jobs.published_prices"}
    assert importers_of("jobs.published_prices") == {"jobs.pricing"}


def test_nothing_but_the_addresses_imports_views() -> None:
    users = {m for m in importers_of("jobs.views") if not is_within(m, ("jobs.views",))}

    assert users == {"jobs.urls"}


def test_only_what_people_do_puts_tasks_into_the_queue() -> None:
    assert importers_of("jobs.tasks") == {"jobs.actions"}


def test_the_simulator_shares_no_code_with_the_site() -> None:
    """It stands for another company's server: a mistake that both made no test could see."""
    simulator = ("jobs.simulator",)
    users = {module for module in importers_of(*simulator) if not is_within(module, simulator)}
    borrowed = {
        (module, name)
        for module, path in sources().items()
        if is_within(module, simulator)
        for name in imports(module, path)
        if is_within(name, ("jobs", "batchsite", "django"))
        if name != "jobs" and not is_within(name, simulator)
    }

    assert not users
    assert not borrowed


@pytest.mark.parametrize("height", range(1, len(LAYERS)))
def test_imports_run_downwards(height: int) -> None:
    above = tuple(name for layer in LAYERS[:height] for name in layer)
    upwards = {
        (module, name)
        for module, path in sources().items()
        if is_within(module, LAYERS[height])
        for name in imports(module, path)
        if is_within(name, above)
    }

    assert not upwards
