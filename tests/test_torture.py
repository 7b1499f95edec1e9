"""A little of `make torture`: what is promised holds under a seed, and a product that breaks it is
found out.

On SQLite: a seed and two mutants, one that pays twice and one that loses results; between them they
break six invariants. `make mutants` runs every mutant, and each scenario without its mutant. On
PostgreSQL: a seed with two workers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from .environment import ROOT
from .mutants import SCENARIOS
from .torture.plans import POINTS, drawn
from .torture.reports import Report, words_of
from .torture.runs import Result

Reports = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def torture(tmp_path_factory: pytest.TempPathFactory) -> Reports:
    """`torture("--runs", "1", ...)` runs it, and gives its report and its exit status."""

    def run(*arguments: str) -> dict[str, Any]:
        path = tmp_path_factory.mktemp("torture") / "report.json"
        done = subprocess.run(
            [sys.executable, "-m", "tests.torture", *arguments, "--report", str(path)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            timeout=1800,
            check=False,
        )
        assert path.exists(), done.stdout
        report: dict[str, Any] = json.loads(path.read_text())
        return {**report, "status": done.returncode, "said": done.stdout}

    return run


def assert_good(result: dict[str, Any]) -> None:
    """Nothing was wrong, and something was tried."""
    assert not result["wrong"]
    counts = result["counts"]
    assert counts["rows accepted twice"] == counts["rows paid twice"] == 0
    assert counts["jobs final"] == counts["jobs"] > 0
    assert counts["result files"] > 0
    assert sum(result["kills"].values()) > 0
    assert sum(result["faults"].values()) > 0


if os.environ["DATABASE_URL"]:

    def test_two_workers_keep_the_promises_under_faults_and_kills(torture: Reports) -> None:
        report = torture("--runs", "1", "--seed", "4", "--database", "postgresql")
        assert (report["status"], report["runs"]) == (0, 1), report["said"]
        assert_good(report["results"][0])

else:
    PAYS_TWICE, LOSES_RESULTS = "sdk_retries", "lines_not_counted"
    # A table and requests, batches that are found and others that never arrived, a killed web
    # server, and three points at which the worker dies.
    SEED = 1905

    @pytest.fixture(scope="module")
    def report(torture: Reports) -> dict[str, Any]:
        """Of a seed and two mutants."""
        names = (f"mutant-{PAYS_TWICE}", f"mutant-{LOSES_RESULTS}")
        return torture("--mutants", *names, "--runs", "1", "--seed", str(SEED), "--parallel", "3")

    @pytest.fixture(scope="module")
    def results(report: dict[str, Any]) -> dict[str, Any]:
        return {result["name"]: result for result in report["results"]}

    @pytest.mark.parametrize("name", [PAYS_TWICE, LOSES_RESULTS])
    def test_a_mutant_breaks_the_promises(results: dict[str, Any], name: str) -> None:
        broken = {invariant.split()[0] for invariant in results[f"mutant-{name}"]["wrong"]}
        assert broken == set(SCENARIOS[name].shows), results[f"mutant-{name}"]["wrong"]

    def test_the_promises_hold_under_faults_and_kills(
        report: dict[str, Any], results: dict[str, Any]
    ) -> None:
        assert (report["status"], report["runs"]) == (0, 3), report["said"]
        assert_good(results[f"seed-{SEED}"])

    def test_every_seed_is_another_plan_and_always_the_same() -> None:
        assert drawn(7, postgres=False) == drawn(7, postgres=False) != drawn(8, postgres=False)
        points = {drawn(seed, postgres=False).workers[0][0].point for seed in range(len(POINTS))}
        assert points == set(POINTS)

    def test_a_run_that_failed_says_what_is_wrong_and_how_to_repeat_it() -> None:
        result = Result("seed-7", "make torture RUNS=1 SEED=7", folder="folder-of-seed-7")
        result.complain("I1 accepted once", "Paid more than once: rows j1r0001.")
        words = words_of(result)
        for expected in ("j1r0001", "make torture RUNS=1 SEED=7", result.folder):
            assert expected in words
        assert words in str(Report(1, [result]))
