"""`manage.py job submit`: from a file to a submitted job."""

from __future__ import annotations

import io
import json
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from pytest_django import Settings

from jobs.cli import price_words, worker_waits
from jobs.models import Job, answer_kind_of
from jobs.rules.answer_formats import AnswerColumn
from jobs.rules.price_estimates import Estimate

from ..conftest import Simulator, store_job
from .conftest import CSV
from .test_job_command import Terminal, refusal, run, visible

# What the command says and ends with is the same on each database.
pytestmark = pytest.mark.no_database

# --- submit ---------------------------------------------------------------------------------------


def test_submit_reads_the_file_as_it_is_told(root: User, worker: None, tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes("Ann|grün\nBen|rot\n".encode("cp850"))
    options = ["--encoding", "cp850", "--delimiter", "|", "--header-row", "-1"]
    run("submit", path, *options, "--prompt", "{{column_2}}?", "--yes")
    job = Job.objects.get()
    assert [row.content for row in job.rows.in_order()] == [["Ann", "grün"], ["Ben", "rot"]]


def test_submit_prints_the_id_alone_on_stdout(root: User, worker: None, table: Path) -> None:
    out, err = run("submit", table, "--prompt", "Sentiment of {{text}}?", "--yes")

    job = Job.objects.get()
    assert out == f"{job.pk}\n"
    assert job.state == Job.State.SUBMITTING
    assert (job.owner, job.name, job.row_count) == (root, "reviews", 2)
    assert (job.recipe.prompt, job.recipe.max_tokens) == ("Sentiment of {{text}}?", 0)
    assert "2 rows" in err
    assert (
        "Cost in US dollars: usually less than $0.01, at most $0.01 (half the normal price)." in err
    )
    assert "Practice mode" in err


def test_the_price_is_a_range_and_a_ceiling() -> None:
    low, high, most = Decimal("1.4"), Decimal("1.9"), Decimal("3.1")
    estimate = Estimate("", low, high, most, 2 * low, 2 * high, 1, 1, 1, 1, rows=2, counted=2)

    words = price_words.price_in_words(estimate)

    assert words == "usually $1.40 to $1.90, at most $3.10"


def test_submit_copies_the_file_and_leaves_it(root: User, worker: None, table: Path) -> None:
    run("submit", table, "--prompt", "{{text}}", "--yes")

    assert table.read_text() == CSV


def test_submit_takes_all_of_the_recipe(
    root: User, alice: User, worker: None, table: Path, tmp_path: Path
) -> None:
    prompt = tmp_path / "prompt.txt"
    prompt.write_text("\ufeffTranslate:\n{{text}}\n", encoding="utf-8")
    more = ["--model", "claude-sonnet-5-5", "--max-tokens", "300", "--system", "Be brief."]

    run(
        "submit",
        table,
        "--prompt-file",
        prompt,
        "--owner",
        "alice",
        "--name",
        "March",
        "--yes",
        *more,
    )

    job = Job.objects.get()
    assert job.recipe.prompt == "Translate:\n{{text}}\n"
    assert (job.recipe.model, job.recipe.max_tokens, job.recipe.system) == (
        "claude-sonnet-5-5",
        300,
        "Be brief.",
    )
    assert (job.owner, job.name) == (alice, "March")


def test_submit_sends_ready_made_requests_as_they_are(
    root: User, worker: None, requests: Path
) -> None:
    run("submit", requests, "--yes")

    assert Job.objects.get().state == Job.State.SUBMITTING


@pytest.mark.parametrize(("answer", "submitted"), [("y\n", True), ("yes\n", True), ("\n", False)])
def test_submit_asks_about_the_price(
    answer: str,
    submitted: bool,
    root: User,
    worker: None,
    table: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    command = ("submit", table, "--prompt", "{{text}}")

    if submitted:
        _, err = run(*command)
        assert "Submit 2 rows for at most $0.01?" in err
    else:
        status, said = refusal(*command)
        assert status == 1
        assert said.endswith(f"Not submitted. The draft is saved as job {Job.objects.get().pk}.")

    assert (Job.objects.get().state == Job.State.SUBMITTING) == submitted


def test_submit_never_spends_money_unasked(
    root: User, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))

    status, words = refusal("submit", table, "--prompt", "{{text}}")

    assert status == 2
    assert "--yes" in words
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("content", "words"), [(None, "No such file"), ("", "is empty"), ("x" * 100, "is larger than")]
)
def test_submit_refuses_a_file_that_cannot_be_taken(
    content: str | None, words: str, root: User, tmp_path: Path, settings: Settings
) -> None:
    settings.MAX_UPLOAD_BYTES = 99
    path = tmp_path / "file.csv"
    if content is not None:
        path.write_text(content)

    status, said = refusal("submit", path, "--prompt", "x", "--yes")

    assert (status, words in said, str(path) in said) == (2, True, True)
    assert not Job.objects.exists()


def test_submit_takes_one_prompt(table: Path) -> None:
    with pytest.raises(CommandError, match="not allowed with argument"):
        run("submit", table, "--prompt", "x", "--prompt-file", "y")


def test_submit_refuses_a_folder(root: User, tmp_path: Path) -> None:
    assert refusal("submit", tmp_path, "--prompt", "x", "--yes") == (
        2,
        f"{tmp_path} is not a file.",
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "gpt"], "Models: claude-haiku-5-5"),
        (["--max-tokens", "0"], "--max-tokens: "),
        (["--max-tokens", "9000000"], "--max-tokens: Claude Haiku 5.5 writes at most"),
        (["--owner", "nobody"], "There is no user “nobody”."),
        (["--prompt-file", "/nowhere"], "/nowhere: No such file"),
    ],
)
def test_submit_refuses_wrong_options_before_it_makes_a_job(
    arguments: list[str], words: str, root: User, table: Path
) -> None:
    status, said = refusal("submit", table, "--yes", *arguments)

    assert (status, words in said) == (2, True), said
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--prompt", "{{txt}}"], "Your file has no column “txt”. Did you mean {{text}}?"),
        ([], "Write what Claude should do with each row."),
    ],
)
def test_submit_leaves_no_draft_behind_when_the_prompt_does_not_fit(
    arguments: list[str], words: str, root: User, worker: None, table: Path
) -> None:
    status, said = refusal("submit", table, "--yes", *arguments)

    assert (status, said) == (2, words)
    assert not visible()


def test_submit_refuses_a_recipe_for_ready_made_requests(
    root: User, worker: None, requests: Path
) -> None:
    status, said = refusal("submit", requests, "--max-tokens", "5", "--yes")

    assert status == 2
    assert "leave out --prompt" in said
    assert not visible()


def test_submit_asks_for_labels_or_columns(
    root: User, worker: None, table: Path, tmp_path: Path
) -> None:
    columns = tmp_path / "columns.json"
    columns.write_text(
        '[{"name": "mood", "kind": "choice", "choices": ["good", "bad"]},'
        ' {"name": "stars", "kind": "number", "required": false}]'
    )
    for arguments in (["--labels", "good, bad"], ["--columns", str(columns)]):
        call_command("job", "submit", str(table), "--prompt", "{{text}}", *arguments, "--yes")
    labels, filled = Job.objects.order_by("pk")
    assert answer_kind_of(labels).labels == ("good", "bad")
    assert answer_kind_of(filled).column_names == ["mood", "stars"]
    assert answer_kind_of(filled).columns[1] == AnswerColumn("stars", "number", required=False)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{}", "is not a JSON list of columns"),
        ('[{"nmae": "x"}]', "is not a JSON list of columns"),
        ('[{"name": "x", "kind": "choice"}]', "enter at least two"),
    ],
)
def test_submit_says_what_is_wrong_with_columns(
    content: str, words: str, root: User, table: Path, tmp_path: Path
) -> None:
    (tmp_path / "columns.json").write_text(content)
    columns = str(tmp_path / "columns.json")
    status, said = refusal("submit", table, "--prompt", "{{text}}", "--columns", columns, "--yes")
    assert (status, words in said) == (2, True), said


def test_submit_says_what_is_wrong_with_a_file(root: User, worker: None, tmp_path: Path) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_text('{"name": "Ada"}\nnever\n')
    err = io.StringIO()

    with pytest.raises(SystemExit) as caught:
        call_command("job", "submit", str(path), "--prompt", "x", "--yes", stderr=err)

    assert caught.value.code == 1
    assert "This is not JSON" in err.getvalue()
    assert "must be one complete object" in err.getvalue(), "in the words of the page"
    assert "The file could not be read." in err.getvalue()
    assert not visible()


def test_submit_says_which_rows_are_left_out(root: User, worker: None, tmp_path: Path) -> None:
    path = tmp_path / "short.csv"
    path.write_text("name,text\nAda,likes it\nBen\n")

    _, err = run("submit", path, "--prompt", "{{text}}", "--yes")

    assert "Line 3: " in err
    assert "2 rows, 1 skipped" in err


def test_submit_needs_an_account(db: None, table: Path) -> None:
    status, said = refusal("submit", table, "--prompt", "x", "--yes")

    assert status == 2
    assert "no account yet" in said


def test_submit_says_that_no_worker_runs(
    root: User, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_waits, "WORKER_SECONDS", -1)

    status, said = refusal("submit", table, "--prompt", "x", "--yes")

    assert status == 1
    assert "The worker is not running" in said
    assert "run_huey" in said


# --- run again ------------------------------------------------------------------------------------


def test_a_job_is_run_again_with_what_is_new(
    root: User, worker: None, simulator: Simulator, tmp_path: Path
) -> None:
    may, june = tmp_path / "may.csv", tmp_path / "june.csv"
    may.write_text("Name,text\nA,[simulate:good] one\nB,[simulate:good] two\n")
    june.write_text("name,Text\nA,[simulate:good] two\nC,[simulate:good] three\n")
    out, _ = run("submit", may, "--prompt", "{{text}}", "--effort", "low", "--cache", "--yes")
    run("wait", out.strip())
    again = ["submit", june, "--like", out.strip(), "--only-new", "--yes"]
    job = Job.objects.get(pk=run(*again)[0].strip())
    run("wait", job.pk)
    assert (job.previous_id, job.recipe.effort, job.recipe.cached) == (int(out), "low", True)
    assert (job.recipe.prompt, job.recipe.only_new) == ("{{Text}}", True)
    assert [row.earlier for row in job.rows.in_order()] == [2, None]
    assert simulator.truth()["accepted_rows"] == 3


def test_ready_made_requests_reuse_answers(
    root: User, worker: None, simulator: Simulator, requests: Path
) -> None:
    out, _ = run("submit", requests, "--yes")
    run("wait", out.strip())
    found = json.loads(run("estimate", requests, "--reuse", "--json")[0])
    assert (found["rows"], found["reused_rows"]) == (0, 1)
    again, said = run("submit", requests, "--reuse", "--yes")
    assert "1 of 1 row are answered from earlier jobs, at no cost. That saves about" in said
    run("wait", again.strip())
    row = Job.objects.get(pk=again.strip()).rows.get()
    assert (row.earlier_job, row.outcome) == (int(out), "good")
    assert simulator.truth()["accepted_rows"] == 1


def test_the_answers_of_a_job_are_asked_about_in_another(
    root: User, worker: None, simulator: Simulator
) -> None:
    source = store_job(root, practice=True, outcomes=["good", "errored"])
    asked = ["--prompt", "Why? {{answer}} [simulate:good]", "--yes"]
    out, _ = run("submit", "--from", source.pk, "--rows", "good", "--name", "why", *asked)
    job = Job.objects.get(pk=out.strip())
    assert (job.name, job.row_count, job.origin.source) == ("why", 1, source)
    assert job.columns == [*source.columns, "answer", "status"]
    assert refusal("submit", "--from", "4711", *asked)[1].endswith(
        "no finished job 4711 with answers."
    )
    assert "Name a FILE" in refusal("submit", *asked)[1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--like", "4711"], "no longer exists"),
        (["--like", "x"], "no longer exists"),
    ],
)
def test_there_must_be_something_to_run_again(
    root: User, table: Path, options: list[str], words: str
) -> None:
    status, said = refusal("submit", table, "--prompt", "{{text}}", "--yes", *options)
    assert (status, words in said) == (2, True)
    assert not visible()
