"""The step of `make test` that looks for vulnerable libraries."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from . import vulnerabilities
from .environment import ROOT
from .run import Run, libraries

pytestmark = pytest.mark.no_database

GOOD = {"name": "django", "version": "5.2.19", "vulns": []}
BAD = {
    "name": "idna",
    "version": "1.0",
    "vulns": [{"id": "PYSEC-2024-60", "fix_versions": ["3.7"], "aliases": []}],
}
SKIPPED = {"name": "ours", "skip_reason": "not on PyPI"}


def report(*libraries: object) -> bytes:
    return json.dumps({"dependencies": libraries, "fixes": []}).encode()


def test_a_vulnerable_library_is_named_with_the_version_that_fixes_it() -> None:
    answer = vulnerabilities.read(report(GOOD, BAD, SKIPPED))
    assert answer and (answer.known, answer.unknown) == (2, 1)
    assert answer.found == ["idna 1.0: PYSEC-2024-60, fixed in 3.7"]


@pytest.mark.parametrize("printed", [b"", b"[]", b"no network", report(), report(SKIPPED)])
def test_no_answer_is_no_good_news(printed: bytes) -> None:
    assert vulnerabilities.read(printed) is None


def test_without_a_network_the_step_is_not_run_and_not_red(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # where nobody listens
    run = Run(tmp_path)
    libraries(run)
    assert not run.failed and not run.lines
    assert "not run" in run.not_run[0]


def test_a_process_that_hangs_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vulnerabilities, "SECONDS", 0.2)
    hanging = [sys.executable, "-c", "import time; time.sleep(60)"]
    assert vulnerabilities.ask(hanging, os.environ, ROOT) is None
