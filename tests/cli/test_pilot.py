"""`manage.py job submit --pilot`, `wait` and `continue`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.contrib.auth.models import User

from jobs.cli.exit_codes import NOT_DONE, PILOT_IS_IN, WRONG_USE
from jobs.models import Job, Pilot

from .test_job_command import refusal, run

pytestmark = pytest.mark.no_database


def test_a_pilot_from_submit_to_continue(root: User, worker: None, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text\n" + "\n".join(f"one {n} [simulate:good]" for n in range(12)))
    options = ["--prompt", "Is it good? {{text}}", "--yes"]
    status, words = refusal("submit", path, *options, "--pilot", "12")
    assert status == WRONG_USE and "This job sends 12 rows" in words
    assert refusal("submit", path, *options, "--pilot-rule", "97")[0] == WRONG_USE
    out, err = run("submit", path, *options, "--pilot", "3")
    assert "3 rows are sent first" in err
    pk = int(out)
    status, words = refusal("wait", pk)
    assert status == PILOT_IS_IN
    assert f"The pilot of job {pk} is in: 3 of 3 rows are good" in words
    assert "The other 9 rows will cost about" in words and f"job continue {pk}" in words
    facts = json.loads(run("status", pk, "--json")[0])["pilot"]
    assert (facts["step"], facts["rows"], facts["good"], facts["rest_rows"]) == ("waiting", 3, 3, 9)
    assert f"The pilot of job {pk} is in" in run("status", pk)[0]
    run("continue", pk)
    assert refusal("continue", pk)[0] == NOT_DONE
    run("wait", pk)
    assert Job.objects.get(pk=pk).good_count == 12
    assert Pilot.objects.get(job=pk).step == Pilot.Step.RELEASED
