"""`manage.py job submit --where --sample`: only some rows of a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.contrib.auth.models import User

from jobs.cli.exit_codes import WRONG_USE
from jobs.models import Job
from jobs.rules.row_choices import IS_NOT, Condition, RowChoice

from .test_job_command import refusal, run, visible

pytestmark = pytest.mark.no_database


@pytest.fixture
def shops(tmp_path: Path) -> Path:
    path = tmp_path / "shops.csv"
    lines = [f"{n},{'Oslo' if n % 4 else 'Rome'},text {n}" for n in range(1, 41)]
    path.write_text("\n".join(["id,shop,text", *lines]))
    return path


def test_submit_sends_the_rows_that_are_chosen(root: User, worker: None, shops: Path) -> None:
    some = ["--where", "id!=7", "--sample", "8", "--sample-by", "shop", "--seed", "5"]
    _out, err = run("submit", shops, "--prompt", "{{text}}", *some, "--yes")
    job = Job.objects.get()
    assert job.row_choice == RowChoice((Condition("id", IS_NOT, "7"),), 8, "shop", 5)
    assert job.state == Job.State.SUBMITTING
    assert job.estimate is not None and job.estimate.rows == 8
    assert "Only rows where id is not “7”. A random sample of 8 rows of them" in err
    out, _err = run("status", job.pk)
    assert "Only rows where id is not “7”." in out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--where", "city=Oslo"], "no column “city”"),
        (["--where", "Oslo"], "Write COLUMN=VALUE"),
        (["--sample", "3", "--sample-by", "city"], "no column “city”"),
        (["--sample-by", "shop"], "need --sample"),
    ],
)
def test_what_does_not_fit_the_file_leaves_no_draft(
    root: User, worker: None, shops: Path, options: list[str], says: str
) -> None:
    status, words = refusal("submit", shops, "--prompt", "{{text}}", *options, "--yes")
    assert says in words and status == WRONG_USE
    assert not visible()


def test_requests_are_sent_whole(root: User, worker: None, requests: Path) -> None:
    _status, words = refusal("submit", requests, "--sample", "1", "--yes")
    assert "sent whole" in words
