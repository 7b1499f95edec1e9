"""Where things are: each package has its place, imports run one way, and nothing grows too long."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from . import commands
from .environment import ROOT
from .on_postgres import FOLDERS
from .run import QUICK

pytestmark = pytest.mark.no_database

# Each package may import those below it. Those of one line do not know each other.
FLOORS = (
    ("cli",),
    ("web",),
    ("actions",),
    ("worker",),
    ("retries", "spending"),
    ("drafts", "results", "notifications"),
    ("batches",),
    ("provider",),
    ("models",),
    ("ingest",),
    ("rules",),
)
PACKAGES = tuple(package for floor in FLOORS for package in floor)
PURE = ("jobs.rules", "jobs.ingest")
# Django finds these by their names; `management` is the command line.
OF_DJANGO = {"__init__.py", "apps.py", "management", "migrations"}


def sources() -> dict[str, Path]:
    """Modules of the site by name; a package by the name of its folder."""
    found = {}
    for folder in ("jobs", "batchsite"):
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


MODULES = set(sources())


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """All of them, wherever they are: most of a tree is expressions, which have none."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.expr):
            yield child
            yield from statements(child)


@cache
def imports(module: str, path: Path) -> frozenset[str]:
    """What a module imports, wherever in it, also what it imports for types only."""
    return frozenset(_imports(module, path))


def _imports(module: str, path: Path) -> Iterator[str]:
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in statements(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base]).rstrip(".")
            modules = {f"{base}.{alias.name}" for alias in node.names} & MODULES
            yield from modules or {base}


def is_within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def importers_of(*packages: str) -> set[str]:
    return {
        module
        for module, path in sources().items()
        if any(is_within(name, packages) for name in imports(module, path))
    }


def package_of(module: str) -> str:
    """`jobs.web.urls` is in `web`, and so are the commands in `cli`; "" if it is in none."""
    name = module.split(".")[1] if module.startswith("jobs.") else ""
    return "cli" if name == "management" else name if name in PACKAGES else ""


def graph() -> dict[str, set[str]]:
    """The modules of the site, each with those that it imports."""
    known = sources()
    return {
        module: {name for name in imports(module, path) if name in known and name != module}
        for module, path in known.items()
    }


def test_each_entry_of_the_app_is_a_package_that_has_a_place() -> None:
    entries = {path.name for path in (ROOT / "jobs").iterdir() if path.name != "__pycache__"}

    assert entries - OF_DJANGO == {*PACKAGES, "simulator"}


def test_imports_run_downwards() -> None:
    floor = {package: n for n, packages in enumerate(FLOORS) for package in packages}
    upwards = {
        (module, name)
        for module, names in graph().items()
        for name in names
        if (here := package_of(module)) and (there := package_of(name)) and here != there
        if floor[there] <= floor[here]
    }

    assert not upwards


def test_no_modules_import_each_other_in_a_circle() -> None:
    left = graph()
    while ends := {module for module, names in left.items() if not names & left.keys()}:
        left = {module: names for module, names in left.items() if module not in ends}

    assert not left, "these are in a circle, or import one that is"


def test_pure_packages_know_neither_django_nor_the_database() -> None:
    impure = {
        (module, name)
        for module, path in sources().items()
        if is_within(module, PURE)
        for name in imports(module, path)
        if is_within(name, ("django", "batchsite", "jobs"))
        if name != "jobs" and not is_within(name, PURE)
    }

    assert not impure


def test_what_the_runs_of_the_suite_name_is_there() -> None:
    assert not [path for path in (*FOLDERS, *QUICK) if not (ROOT / path).exists()]


def test_only_one_module_talks_to_the_provider() -> None:
    assert importers_of("anthropic") == {"jobs.provider.sdk"}
    assert importers_of("httpx2") == {
        "jobs.provider.client",
        "jobs.provider.connections",
        "jobs.provider.sdk",
    }
    assert importers_of("jobs.provider.connections") == {
        "jobs.provider.client",
        "jobs.provider.sdk",
    }


def test_only_one_module_talks_to_object_storage_in_a_process_of_its_own() -> None:
    assert importers_of("boto3", "botocore") == {"jobs.worker.object_storage"}
    code = "import sys, jobs.worker.tasks, jobs.web.urls; print('boto3' in sys.modules)"
    environment = {**os.environ, "COPY_TO": "s3://bucket"}
    done = commands.run(commands.run_script, code, environment=environment)
    assert done.out.strip() == "False", done.errors


def test_only_one_module_knows_the_package_of_prices() -> None:
    assert importers_of("genai_prices") == {"jobs.rules.published_prices"}
    assert importers_of("jobs.rules.published_prices") == {"jobs.rules.pricing"}


def test_only_what_people_do_puts_tasks_into_the_queue() -> None:
    users = importers_of("jobs.worker.tasks") - {"jobs.worker.consumer"}

    assert users
    assert all(is_within(module, ("jobs.actions",)) for module in users)


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


# A function, or what cannot be in one that begins further right.
BEGINS = re.compile(r"( *)(async def |def |class |@)")


def python_files(*folders: str) -> Iterator[Path]:
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            if "migrations" not in path.parts:
                yield path


def too_long(folder: str, most: int) -> dict[str, int]:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for path in python_files(folder)
    }
    return {name: length for name, length in lengths.items() if length > most}


def test_no_file_is_too_long_to_read() -> None:
    assert not too_long("jobs", 450) | too_long("batchsite", 450) | too_long("tests", 700)


def test_no_function_is_too_long_to_read() -> None:
    lengths = {
        f"{path.relative_to(ROOT)}::{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in python_files("jobs", "batchsite", "tests")
        if may_have_long_functions(path.read_text())
        for node in statements(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert not {name: length for name, length in lengths.items() if length > 60}


def may_have_long_functions(text: str) -> bool:
    """Whether more than 60 lines lie between a function and the next that is not within it. To
    parse all files would take seconds."""
    open_: list[tuple[int, int]] = []  # where functions begin: indentation, line
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if found := BEGINS.match(line):
            indentation = len(found[1])
            while open_ and open_[-1][0] >= indentation:
                if number - open_.pop()[1] > 60:
                    return True
            if found[2] != "@":
                open_.append((indentation, number))
    return any(len(lines) - begun > 60 for _indentation, begun in open_)


def template_lines() -> Iterator[tuple[str, str]]:
    """Each line of a page's template, with where it is."""
    for path in sorted((ROOT / "templates").rglob("*.html")):
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            yield f"{path.relative_to(ROOT)}:{number}", line


def test_no_line_of_a_template_is_too_long_to_read() -> None:
    assert not [place for place, line in template_lines() if len(line) > 160]


def test_sentences_in_templates_are_whole() -> None:
    """Other languages have other plurals: `blocktranslate count` has each sentence whole."""
    assert not [place for place, line in template_lines() if "pluralize" in line]


# --- Tests ----------------------------------------------------------------------------------------

WAITS = {"Barrier", "HTTPConnection", "communicate", "run", "wait", "wait_for"}


def test_no_test_depends_on_how_fast_the_machine_is() -> None:
    """Whoever waits for something has minutes: only what never comes may take as long."""
    short = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in python_files("tests")
        if re.search(r"timeout=[\d.]", path.read_text())  # to parse all files would take seconds
        for call in ast.walk(tree(path))
        if isinstance(call, ast.Call) and name_of(call.func) in WAITS
        for given in call.keywords
        if given.arg == "timeout" and isinstance(given.value, ast.Constant)
        if isinstance(given.value.value, int | float) and given.value.value < 120
        if path.name != "prepare.py"
    ]
    assert not short, "use running.SECONDS"


def name_of(function: ast.expr) -> str:
    return getattr(function, "attr", getattr(function, "id", ""))
