"""The tests can fail: thirty small faults in the code of the product, each with the tests that must
notice it. `make mutants` puts in one after the other and runs its tests, in a copy of the source.

Five of them are put into the processes of a running site instead: see mutants.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .environment import ROOT

SECONDS = 600  # for the tests of one mutant; tests that hang are not green either
PATIENCE = {"TEST_PATIENCE": "30"}  # seconds


@dataclass(frozen=True)
class CodeMutant:
    """`old`, which is somewhere in jobs/ exactly once, becomes `new`; then one of `tests` fails."""

    name: str
    old: str
    new: str
    tests: tuple[str, ...]


SUBMISSION = (
    "tests/batches/test_submission.py",
    "tests/batches/test_intents.py",
    "tests/models/test_moves.py",
)
COLLECTION = ("tests/batches/test_collection.py",)
PLANS = ("tests/actions/test_shown_plans.py",)
CAPS = ("tests/spending/test_caps.py", "tests/spending/test_ledger.py")

MUTANTS = (
    # --- Submission ---
    CodeMutant(
        "two batches of one size are sent at once",
        "    if _size_is_taken(batch):",
        "    if not batch.size and _size_is_taken(batch):",
        SUBMISSION,
    ),
    CodeMutant(
        "a worker sends a job that another has",
        "            if mine.update(failures_in_a_row=0) != 1:",
        "            if mine.update(failures_in_a_row=0) > 1:",
        (*SUBMISSION, "tests/actions/test_races.py"),
    ),
    CodeMutant(
        "a worker that stood still sends what is doubted meanwhile",
        "    if not ours.exists():",
        "    if ours is None:",
        SUBMISSION,
    ),
    CodeMutant(
        "the list before the first try is noted anew before the next",
        "    if batch.baseline_ids is None:\n        _take_baseline(batch)",
        "    _take_baseline(batch)",
        SUBMISSION,
    ),
    CodeMutant(
        "a clear no counts as a yes to sending again at once",
        '    if error.is_about_account:\n        _settle(batch, Batch.State.PLANNED, "refused")\n'
        "        return holds.pause(error)",
        '    if error.is_about_account:\n        _settle(batch, Batch.State.PLANNED, "refused")\n'
        "        return timedelta()",
        (*SUBMISSION, "tests/batches/test_holds.py"),
    ),
    # --- Reconciliation ---
    CodeMutant(
        "what was listed before the first try is taken for the batch",
        "        if info.total == batch.size and info.id not in batch.baseline_ids",
        "        if info.total == batch.size",
        SUBMISSION,
    ),
    CodeMutant(
        "one batch of the provider is taken twice",
        "    return [info for info in found if info.id not in taken]",
        "    return found",
        SUBMISSION,
    ),
    CodeMutant(
        "a batch is looked for while its POST may be under way",
        "    if absent.seconds < settings.SUBMIT_DEADLINE_SECONDS:",
        "    if absent.seconds < 0:",
        SUBMISSION,
    ),
    CodeMutant(
        "one look at foreign results disowns a batch",
        "        if total >= LOOKS:",
        "        if total >= 1:",
        ("tests/batches/test_ownership.py",),
    ),
    # --- Collection ---
    CodeMutant(
        "missing results count as complete",
        "    if len(seen) != size:",
        "    if len(seen) > size:",
        COLLECTION,
    ),
    CodeMutant(
        "of two different results for a row the first is taken",
        "            if before != hash(text):",
        "            if not before:",
        COLLECTION,
    ),
    CodeMutant(
        "counts of before condemn a download",
        "require_counts(proof, ask_anew(batch).counts)",
        "require_counts(proof, batch.counts)",
        COLLECTION,
    ),
    CodeMutant(
        "a file of results may be cut off in its last line",
        "    if not ends_whole:",
        "    if ends_whole is None:",
        COLLECTION,
    ),
    # --- Judging ---
    CodeMutant(
        "a refusal is an answer",
        '    if stop == "refusal":',
        '    if stop == "refused":',
        ("tests/rules/test_judging.py",),
    ),
    CodeMutant(
        "an answer that was cut off is good",
        '    elif stop == "max_tokens":',
        '    elif stop == "cut":',
        ("tests/rules/test_judging.py",),
    ),
    # --- Exports ---
    CodeMutant(
        "an answer can be a formula",
        "_FORMULA.match(text) and not _NUMBER.fullmatch(text):",
        "_FORMULA.match(text) and _NUMBER.fullmatch(text):",
        ("tests/results/test_table.py",),
    ),
    # --- Spending ---
    CodeMutant(
        "a monthly cap does not hold",
        "        if most > one.left:",
        "        if most > one.cap:",
        CAPS,
    ),
    CodeMutant(
        "a cap for a job forgets what it has cost",
        "allowed.most_a_job is not None and total > allowed.most_a_job:",
        "allowed.most_a_job is not None and most > allowed.most_a_job:",
        CAPS,
    ),
    CodeMutant(
        "small steps lead around the approval",
        "    return above is not None and ledger.unapproved_amount(job) + most > above",
        "    return above is not None and most > above",
        CAPS,
    ),
    CodeMutant(
        "whoever changed a job last may approve it",
        "    involved = [job.owner_id, job.approval_asked_by_id, job.changed_by_id]",
        "    involved = [job.owner_id, job.approval_asked_by_id]",
        CAPS,
    ),
    # --- Retries ---
    CodeMutant(
        "a retry is sent that nobody was shown",
        "    if planned is None or planned.key != key:",
        "    if planned is None:",
        ("tests/retries",),
    ),
    # --- People ---
    CodeMutant(
        "anybody sees any job",
        "    seen = Job.objects.visible_to(request.user)",
        "    seen = Job.objects.all()",
        ("tests/web/test_security.py",),
    ),
    CodeMutant(
        "anybody opens the pages of administrators",
        "        if not is_administrator(person(request)):",
        "        if person(request).is_anonymous:",
        ("tests/web/test_security.py",),
    ),
    CodeMutant(
        "approval is asked for what was not shown",
        "    if estimate is None or not plan or job.plan_sha256 != plan:\n        return None\n"
        "    return estimate if estimates.plan_of(job, estimate) == plan else None",
        "    return estimate",
        PLANS,
    ),
    CodeMutant(
        "an approval holds for another plan, too",
        "    if not plan or job.approval_plan != plan or job.approval_by_id is None:",
        "    if not plan or job.approval_by_id is None:",
        PLANS,
    ),
)


def places_of(mutant: CodeMutant, root: Path = ROOT) -> list[Path]:
    """The files of the product in which `old` is, each as often as it is there."""
    found = []
    for path in sorted((root / "jobs").rglob("*.py")):
        found += [path] * path.read_text().count(mutant.old)
    return found


def main(names: Sequence[str]) -> int:
    """Run the mutants with these words in their names, or all; how many survived."""
    chosen = [one for one in MUTANTS if not names or any(word in one.name for word in names)]
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        root = Path(folder, "source")
        _copy_source(root)
        survived = [one.name for one in chosen if not _is_noticed(one, root)]
    print(f"{len(chosen) - len(survived)} of {len(chosen)} mutants were noticed.")
    return len(survived)


def _copy_source(root: Path) -> None:
    for name in ("batchsite", "jobs", "templates", "static", "tests"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, root / name, ignore=ignored)
    for name in ("manage.py", "pyproject.toml"):
        shutil.copy(ROOT / name, root / name)


def _is_noticed(mutant: CodeMutant, root: Path) -> bool:
    [path] = places_of(mutant, root)
    whole = path.read_text()
    path.write_text(whole.replace(mutant.old, mutant.new))
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", "-qx", "-p", "no:cacheprovider", *mutant.tests],
            cwd=root,
            env=os.environ | PATIENCE,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        print(f"noticed   {mutant.name}: its tests hang", flush=True)
        return True
    finally:
        path.write_text(whole)
    noticed = ended.returncode == 1  # tests failed; not that there were none
    print(f"{'noticed ' if noticed else 'SURVIVED'}  {mutant.name}{_by(ended.stdout)}", flush=True)
    return noticed


def _by(said: str) -> str:
    failed: Iterator[str] = (
        line.split(" - ")[0].removeprefix("FAILED ")
        for line in said.splitlines()
        if line.startswith("FAILED ")
    )
    test = next(failed, "")
    return f": {test}" if test else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
