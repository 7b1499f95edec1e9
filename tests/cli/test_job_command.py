"""`manage.py job`: a whole job from the shell, with exit statuses that scripts can rely on."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from jobs.actions import job_basics, submissions
from jobs.drafts import estimates
from jobs.models import Job, Outcome
from jobs.results.table import csv_chunks, jsonl_chunks
from jobs.retries import preparation
from jobs.rules.judging import IGNORED
from jobs.rules.price_estimates import Estimate
from jobs.web.templatetags.show import days_ago
from jobs.worker import tally

from .. import commands
from ..conftest import Simulator
from ..environment import ROOT, clean_environment

# What the command says and ends with is the same on each database.
pytestmark = pytest.mark.no_database

MakeJob = Callable[..., Job]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(*arguments: object) -> tuple[str, str]:
    """What a command said on stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    call_command("job", *map(str, arguments), stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def refusal(*arguments: object) -> tuple[int, str]:
    """The exit status and the last line of a command that does not do what it was told."""
    err = io.StringIO()
    with pytest.raises(SystemExit) as caught:
        call_command("job", *map(str, arguments), stderr=err)
    assert isinstance(caught.value.code, int)
    return caught.value.code, err.getvalue().splitlines()[-1]


def visible() -> list[Job]:
    return list(Job.objects.exclude(state=Job.State.DELETING))


# --- check ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "options", "status", "rows", "kinds"),
    [
        (b"a,b\n1,2\n", [], 0, 1, []),
        (b"a;b\n1;2\n1;2\n1;2\n3\n", [], 3, 4, ["few_cells"]),
        (b"a;b\n1;2\n3\n", ["--fill"], 0, 2, []),
        (b"a,b\n1,\xe9\n", [], 0, 1, ["guessed"]),
        (b"a,b\n1,\xe9\n", ["--encoding", "latin1", "--header-row", "-1"], 0, 2, []),
        (b"a\tb\n1\t2\n", ["--delimiter", "tab"], 0, 1, []),
        (b'a,b\n1,"x\n', [], 0, 1, ["stray_quotes"]),
    ],
)
def test_check_says_how_a_file_is_read(
    tmp_path: Path, content: bytes, options: list[str], status: int, rows: int, kinds: list[str]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    out, found = io.StringIO(), 0
    try:
        call_command("job", "check", str(path), "--json", *options, stdout=out)
    except SystemExit as end:
        found = int(str(end.code))
    facts = json.loads(out.getvalue())
    assert (found, facts["rows"]) == (status, rows)
    assert [problem["kind"] for problem in facts["problems"]] == kinds
    for problem in facts["problems"]:
        assert problem["blocking"] == (status != 0)
        assert problem["message"] and problem["remedy"] and problem["count"] == 1


@pytest.mark.parametrize(
    ("content", "kind", "rows", "flags"),
    [
        ("a,b,c\n1,x,2\n3,y,4\n\nTotal,,6\n", "unlike", 3, {"--skip-unlike": 2}),
        ("a,b\nkg,cm\n1,2\n3,4\n", "unlike_below", 3, {"--first-row 3": 2}),
        ("A,,B,\nx,y,x,y\n1,2,3,4\n", "header_lines", 1, {"--header-row 2 --header-lines 1": 1}),
        ("34,Rome\n35,Ulm\n", "odd_names", 1, {"--header-row -1": 2}),
        ("id,text\n1,a\n\ufeffid,text\n2,b\n", "repeated_names", 2, {"--header-row -1": 4}),
        (
            "a,n\nx,1\ny,2\nz,3\nu,4\nv,5\n\nname,city,n\nAnn,Ulm,1\nBen,Rom,2\nCid,Ulm,3\nDi,Bari,4\n",
            "tables",
            4,
            {
                "--header-row 1 --last-row 6": 5,
                "--header-row 8": 4,
                "--header-row 1 --last-row -1": 10,
            },
        ),
        ("T\n\nid,text,n\n1,a,2\n", "above_header", 1, {"--header-row 1": 2}),
    ],
)
def test_check_offers_other_ways_to_find_the_table(
    tmp_path: Path, content: str, kind: str, rows: int, flags: dict[str, int]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content.encode())

    def check(*options: str) -> dict[str, Any]:
        out = io.StringIO()
        with suppress(SystemExit):  # rows with too few cells
            call_command("job", "check", str(path), "--json", *options, stdout=out)
        facts: dict[str, Any] = json.loads(out.getvalue())
        return facts

    facts = check()
    (problem,) = [one for one in facts["problems"] if one["kind"] == kind]
    assert facts["rows"] == rows
    offered = {option["flags"] for option in problem["options"]}
    for words, then in flags.items():
        assert words in offered
        facts = check(*words.split())
        assert facts["rows"] == then
        assert kind not in [one["kind"] for one in facts["problems"]]


def test_check_in_words(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes("Report;;\n\nname;text;n\nAnn;grün;1\nBen;x\nCid\n".encode("cp1252"))
    out, err = io.StringIO(), io.StringIO()
    with pytest.raises(SystemExit):
        call_command("job", "check", str(path), stdout=out, stderr=err)
    assert "3 rows, 2 skipped" in out.getvalue()
    assert "Columns: name, text, n" in out.getvalue()
    assert "semicolons, Western European (Windows-1252), names in line 3" in out.getvalue()
    assert "2: These rows have too few cells" in err.getvalue()
    assert "Line 6: This row has 1 cell" in err.getvalue()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--encoding", "klingon"], "Unknown encoding"),
        (["--delimiter", "ab"], "one character"),
        (["--header-row", "-2"], "from 1 on"),
    ],
)
def test_check_refuses_what_it_does_not_understand(
    table: Path, options: list[str], words: str
) -> None:
    status, said = refusal("check", table, *options)
    assert (status, words in said) == (2, True)


# --- try, models ----------------------------------------------------------------------------------


def test_try_answers_a_few_rows_and_submits_nothing(
    root: User, worker: None, simulator: Simulator, tmp_path: Path
) -> None:
    path = tmp_path / "reviews.csv"
    path.write_text("name,text\n" + "".join(f"n{n},[simulate:good] {n}\n" for n in range(9)))
    prompt = ["--prompt", "{{text}} of {{name}}", "--labels", "yes, no"]
    out, err = run("try", path, *prompt, "--rows", 4, "--json")
    found = json.loads(out)
    [job] = visible()
    assert (found["job"], found["practice"]) == (job.pk, True)
    assert [row["row"] for row in found["rows"]] == [1, 2, 3, 4]
    for row in found["rows"]:
        assert row["cells"] == {
            "text": f"[simulate:good] {row['row'] - 1}",
            "name": f"n{row['row'] - 1}",
        }
        assert (row["state"], row["status"], row["problem"]) == ("answered", "good", None)
        assert row["answer"] in ("yes", "no") and row["input_tokens"] and row["output_tokens"]
    costs = [Decimal(row["cost_usd"]) for row in found["rows"]]
    assert all(costs) and Decimal(found["cost_usd"]) == sum(costs)
    assert Decimal(found["estimate"]["low"]) <= Decimal(found["estimate"]["most"])
    estimate = estimates.current(job)
    assert estimate is not None and estimate.tested == 4, "the try teaches the estimate"
    assert job.state == Job.State.DRAFT and simulator.truth()["posts"] == 0
    assert f"The draft is saved as job {job.pk}; nothing else was sent." in err


def test_try_in_words(root: User, worker: None, tmp_path: Path) -> None:
    path = tmp_path / "reviews.csv"
    path.write_text('name,text\nAda,"[simulate:good] long\nlines"\nBen,[simulate:refusal]\n')
    out = io.StringIO()
    with pytest.raises(SystemExit) as caught:
        call_command("job", "try", str(path), "--prompt", "{{text}}", "--random", stdout=out)
    assert caught.value.code == 6
    said = out.getvalue()
    assert "Row 1\n  text: [simulate:good] long lines\n  -> " in said
    assert "Row 2\n  text: [simulate:refusal]\n  Declined by Claude" in said
    assert "(US dollars, normal price) would have been charged: practice mode" in said


def test_try_gives_columns_with_their_types(root: User, worker: None, tmp_path: Path) -> None:
    path, columns = tmp_path / "a.csv", tmp_path / "columns.json"
    path.write_text("text\n[simulate:good]\n")
    columns.write_text('[{"name": "stars", "kind": "number"}]')
    found = json.loads(run("try", path, "--prompt", "{{text}}", "--columns", columns, "--json")[0])
    assert isinstance(found["rows"][0]["answer"]["stars"], int | float)


@pytest.mark.parametrize("rows", ["0", "21", "x", "-1", "²"])
def test_try_takes_one_to_twenty_rows(table: Path, db: None, rows: str) -> None:
    with pytest.raises(CommandError, match="not a number from 1 to 20"):
        run("try", table, "--prompt", "{{text}}", "--rows", rows)


def test_what_cannot_be_tried_leaves_no_draft_behind(
    root: User, worker: None, requests: Path, tmp_path: Path
) -> None:
    assert refusal("try", requests) == (1, "Ready-made requests cannot be tested.")
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,\n2,\n")
    assert "None of these rows can be sent" in refusal("try", path, "--prompt", "{{b}}")[1]
    assert not visible()


def test_models_are_listed_with_what_they_take(db: None) -> None:
    found = {model["id"]: model for model in json.loads(run("models", "--json")[0])}
    haiku, old = found["claude-haiku-5-5"], found["claude-sonnet-4-5"]
    assert haiku["default"] and not old["default"]
    assert haiku["efforts"] == ["none", "low", "medium", "high", "max"]
    assert haiku["batch_usd_per_million_tokens"] == {
        "input": "0.05",
        "output": "0.25",
        "cache_write_1h": "0.10",
        "cache_read": "0.005",
    }
    assert (old["deprecated"], old["retires"], old["efforts"]) == (True, "2026-11-30", [])
    said = run("models")[0]
    assert "claude-haiku-5-5     $0.050 in, $0.250 out a million" in said
    assert "reads 200,000, writes 64,000 tokens, switched off on 2026-11-30" in said
    assert "claude-opus-4-1" not in said, "it is retired"


# --- money ----------------------------------------------------------------------------------------


def test_an_estimate_leaves_nothing_behind(root: User, worker: None, tmp_path: Path) -> None:
    path = tmp_path / "reviews.csv"
    path.write_text("text\n" + "".join(f"word {'word ' * n}\n" for n in range(50)))
    found = json.loads(run("estimate", path, "--prompt", "Sort {{text}}", "--json")[0])
    assert list(found)[:9] == [
        *("rows", "model", "input_tokens", "output_tokens", "usual", "most", "normal_price"),
        *("currency", "basis"),
    ]
    assert (found["rows"], found["model"], found["currency"]) == (50, "claude-haiku-5-5", "USD")
    assert 0 < found["input_tokens"]["low"] < found["input_tokens"]["high"]
    output = found["output_tokens"]
    assert 0 < output["low"] < output["high"] < output["most"]
    low, high = Decimal(found["usual"]["low"]), Decimal(found["usual"]["high"])
    assert 0 < low < high < Decimal(found["most"])
    assert Decimal(found["normal_price"]) == 2 * high
    assert found["basis"]["output"] == "a guess" and "counted on" in found["basis"]["input"]
    assert not visible()
    said = run("estimate", path, "--prompt", "Sort {{text}}")[0]
    assert "50 rows, claude-haiku-5-5" in said and "The length of the answers is from: a gu" in said


def test_the_receipt_is_the_sum_of_all_that_was_charged(
    root: User, worker: None, tmp_path: Path, make_job: MakeJob
) -> None:
    path = tmp_path / "reviews.csv"
    fates = ["good", "good", "errored", "refusal", "cut"]
    path.write_text("text\n" + "".join(f"[simulate:{fate}]\n" for fate in fates))
    draft = json.loads(draft_with_trials(path))["job"]
    job = Job.objects.get(pk=draft)
    assert submissions.confirm(job, job.plan_sha256, root)
    with pytest.raises(SystemExit):
        run("wait", job.pk)
    job.refresh_from_db()
    found = json.loads(run("receipt", job.pk, "--json")[0])
    lines = {line["what"]: line for line in found["by_model"]}
    assert Decimal(lines["Rows"]["cost"]) == job.cost
    trials = sum((one.cost for one in job.trials.all()), Decimal(0))
    assert Decimal(lines["Tests"]["cost"]) == trials > 0
    assert Decimal(found["charged"]) == job.cost + trials
    assert sum((row.cost for row in job.rows.all()), Decimal(0)) == job.cost
    assert found["not_charged"]["Anthropic overloaded"] == 1
    assert found["currency"] == "USD" and found["estimated"]["most"]
    assert lines["Rows"]["rows"] + sum(found["not_charged"].values()) == len(fates)
    said = run("receipt", job.pk)[0]
    assert "would have been charged: practice mode" in said
    assert "Not charged: 1 row: Anthropic overloaded" in said
    assert refusal("receipt", make_job(root, Job.State.DRAFT).pk)[0] == 1


def draft_with_trials(path: Path) -> str:
    """What `job try` says of a file, two of whose rows are good."""
    out = io.StringIO()
    call_command(
        "job", "try", str(path), "--prompt", "{{text}}", "--rows", "2", "--json", stdout=out
    )
    return out.getvalue()


def test_all_prices_are_listed_with_their_source(db: None) -> None:
    found = {model["model"]: model for model in json.loads(run("prices", "--json")[0])}
    haiku = found["claude-haiku-5-5"]
    assert haiku["normal"]["input"] == "0.1" and haiku["batch"]["input"] == "0.05"
    assert haiku["above_prompt_tokens"] == 100_000 and haiku["batch_above"]["output"] == "1.25"
    assert "2026-11-23" in haiku["source"]
    assert haiku["source"].startswith("genai-prices 0.2.3, compared with")
    assert "own table" in found["claude-opus-4-1"]["source"]
    assert {(model["as_of"], model["age"]) for model in found.values()} == {
        ("2026-11-23", days_ago(date(2026, 11, 23)))
    }
    assert "claude-opus-4-1" in found, "old jobs have their price, too"
    listed = run("prices")[0]
    assert "in     0.05  out     0.25" in listed
    assert f"From {haiku['source']} ({haiku['age']})" in listed


# --- status, list ---------------------------------------------------------------------------------


def test_status_for_programs_has_stable_keys(root: User, make_job: MakeJob) -> None:
    job = make_job(
        root, outcomes=[{"outcome": Outcome.GOOD, "cost_pico": 1_500_000}, Outcome.ERRORED]
    )

    facts = json.loads(run("status", job.pk, "--json")[0])

    assert facts.pop("created_at") == job.created_at.isoformat()
    assert facts.pop("confirmed_at") is not None
    assert facts.pop("finished_at") is not None
    assert facts == {
        "id": job.pk,
        "name": "reviews",
        "owner": "root",
        "state": "finished",
        "held": "",
        "rows": 2,
        "done": 2,
        "good": 1,
        "attention": 1,
        "left_out": 0,
        "not_selected": 0,
        "brought_in": False,
        "cost_usd": "0.000001500000",
        "estimate": None,
        "pilot": None,
    }


def test_status_gives_the_estimate_in_dollars(root: User, worker: None, table: Path) -> None:
    pk = run("submit", table, "--prompt", "{{text}}", "--yes")[0].strip()

    estimate = json.loads(run("status", pk, "--json")[0])["estimate"]

    low, high, most = (Decimal(estimate[name]) for name in ("low", "high", "most"))
    assert 0 < low <= high <= most < 1


def test_status_for_people(root: User, make_job: MakeJob) -> None:
    job = make_job(root, state=Job.State.WORKING, held="The key was refused.")

    out, _ = run("status", job.pk)

    assert out.splitlines()[:2] == [
        f"Job {job.pk} “reviews”: Working",
        "Held: The key was refused.",
    ]
    assert "2 rows: 0 done" in out


def test_list_shows_all_jobs_newest_first(alice: User, bob: User, make_job: MakeJob) -> None:
    first = make_job(alice, name="first")
    second = make_job(bob, name="second", state=Job.State.DRAFT)
    make_job(bob, state=Job.State.DELETING)
    trashed = make_job(bob, name="third")
    assert job_basics.trash_job(trashed, bob)

    lines = run("list")[0].splitlines()
    facts = json.loads(run("list", "--json")[0])

    assert [line.split()[0] for line in lines] == [str(second.pk), str(first.pk)]
    assert "bob  second" in lines[0]
    assert [job["id"] for job in facts] == [second.pk, first.pk]
    (in_trash,) = json.loads(run("list", "--trash", "--json")[0])
    assert in_trash["id"] == trashed.pk and in_trash.keys() == facts[0].keys()
    assert refusal("status", trashed.pk)[0] == 2, "as if it were not there"


# --- wait -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ({}, 0),
        ({"outcomes": [Outcome.GOOD, Outcome.LOOK]}, 6),
        ({"outcomes": [Outcome.GOOD, Outcome.LEFT_OUT]}, 6),
        ({"outcomes": [Outcome.GOOD, Outcome.CANCELED]}, 6),
        ({"outcomes": [Outcome.GOOD, {"outcome": "left_out", "cause": IGNORED}]}, 0),
        ({"state": Job.State.SUBMITTING, "held": "Credit is used up."}, 7),
        ({"state": Job.State.WORKING}, 8),
        ({"state": Job.State.DRAFT}, 1),
        ({"state": Job.State.UNREADABLE, "rows": []}, 1),
        ({"state": Job.State.DELETING}, 2),
    ],
)
def test_wait_tells_by_its_exit_status_how_it_ended(
    values: dict[str, Any], status: int, root: User, make_job: MakeJob
) -> None:
    job = make_job(root, **values)

    if status:
        assert refusal("wait", job.pk, "--timeout", "0")[0] == status
    else:
        run("wait", job.pk, "--timeout", "0")


def test_wait_waits(root: User, worker: None, table: Path) -> None:
    pk = run("submit", table, "--prompt", "{{text}}", "--yes")[0].strip()

    _, err = run("wait", pk, "--timeout", "60")

    assert "all 2 rows have a good answer" in err
    assert Job.objects.get().state == Job.State.FINISHED


@pytest.mark.parametrize("timeout", ["-1", "soon", "nan", "inf"])
def test_wait_refuses_a_timeout_that_is_none(timeout: str, db: None) -> None:
    with pytest.raises(CommandError, match="is not a number of seconds"):
        run("wait", "1", f"--timeout={timeout}")


@pytest.mark.parametrize("action", ["status", "wait", "cancel", "export"])
def test_an_id_that_is_none_is_wrong_use(action: str, db: None) -> None:
    more = ["--output", "-"] if action == "export" else []

    assert refusal(action, "77", *more) == (2, "There is no job 77; `job list` shows all.")


# --- export, cancel -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_export_writes_what_the_page_downloads(
    kind: str, root: User, make_job: MakeJob, tmp_path: Path
) -> None:
    job = make_job(root)
    output = tmp_path / f"out.{kind}"
    output.write_text("an older one")

    run("export", job.pk, "--format", kind, "--output", output)

    chunks = csv_chunks(job) if kind == "csv" else jsonl_chunks(job)
    assert output.read_bytes() == b"".join(chunks)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", output.name]


@pytest.mark.parametrize(
    ("kind", "words"),
    [("csv", "The column “reused_2” marks"), ("xlsx", "“reused_2”"), ("jsonl", '"reused": true')],
)
def test_export_says_what_marks_reused_answers(
    kind: str, words: str, root: User, make_job: MakeJob, tmp_path: Path
) -> None:
    job = make_job(root, columns=("name", "reused"), only_new=True)
    output = tmp_path / f"out.{kind}"
    assert words in run("export", job.pk, "--format", kind, "--output", output)[1]
    said = run("export", job.pk, "--problem-file", "--output", output)[1]
    assert "earlier jobs" not in said


def test_export_writes_to_stdout(
    root: User, make_job: MakeJob, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    job = make_job(root)

    call_command("job", "export", str(job.pk), "--output", "-")

    assert capfdbinary.readouterr().out == b"".join(csv_chunks(job))


def test_export_that_fails_leaves_the_old_file(
    root: User, make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object, **__: object) -> Iterator[bytes]:
        yield b"half"
        raise OSError(28, "No space left on device")

    job = make_job(root)
    output = tmp_path / "out.csv"
    output.write_text("an older one")
    monkeypatch.setattr("jobs.results.table.csv_chunks", full_disk)

    status, said = refusal("export", job.pk, "--output", output)

    assert (status, said) == (1, f"{output} cannot be written: No space left on device.")
    assert output.read_text() == "an older one"
    assert not list(tmp_path.glob("*.part"))


def test_export_says_where_it_cannot_write(root: User, make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job(root)

    status, said = refusal("export", job.pk, "--output", tmp_path / "nowhere" / "out.csv")

    assert status == 1
    assert "cannot be written: No such file or directory." in said


def test_export_needs_a_job_that_was_sent(root: User, make_job: MakeJob) -> None:
    job = make_job(root, state=Job.State.DRAFT)

    assert refusal("export", job.pk, "--output", "-") == (1, f"Job {job.pk} has no results: Draft.")


def test_cancel_stops_a_job(root: User, make_job: MakeJob) -> None:
    job = make_job(root, state=Job.State.WORKING)

    run("cancel", job.pk)

    job.refresh_from_db()
    assert job.state == Job.State.CANCELING


def test_cancel_says_that_there_is_nothing_to_stop(root: User, make_job: MakeJob) -> None:
    job = make_job(root)

    assert refusal("cancel", job.pk) == (1, f"Job {job.pk} cannot be stopped: Finished.")


# --- as a process ---------------------------------------------------------------------------------


def manage(data_dir: Path, *arguments: str) -> commands.Ended:
    environment = clean_environment(data_dir)
    return commands.run(commands.run_command, *arguments, environment=environment)


@pytest.mark.no_database  # on a folder of its own
def test_wrong_use_ends_with_words_and_no_traceback(empty_database: Path, tmp_path: Path) -> None:
    shutil.copy(empty_database, tmp_path / "batchsite.sqlite3")

    unknown = manage(tmp_path, "job", "status", "77")
    misspelt = manage(tmp_path, "job", "statsu", "77")

    assert (unknown.status, unknown.out) == (2, "")
    assert unknown.errors == "There is no job 77; `job list` shows all.\n"
    assert (misspelt.status, misspelt.out) == (2, "")
    assert "invalid choice: 'statsu'" in misspelt.errors
    assert "Traceback" not in misspelt.errors


@pytest.mark.no_database  # as above
def test_a_reader_that_has_enough_is_no_error(empty_database: Path, tmp_path: Path) -> None:
    shutil.copy(empty_database, tmp_path / "batchsite.sqlite3")
    reading, writing = os.pipe()
    os.close(reading)  # as `| head` does once it has enough
    cut_off = subprocess.run(
        [sys.executable, "manage.py", "job", "models"],
        cwd=ROOT,
        env=clean_environment(tmp_path),
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writing)
    assert cut_off.returncode == 141 and not cut_off.stderr


# --- retry ----------------------------------------------------------------------------------------


def failed(root: User, make_job: MakeJob) -> Job:
    """A finished job of two rows, one of which was not reached."""
    job = make_job(root, rows=[("a", "b"), ("c", "d")], practice=True)
    job.rows.filter(number=2).update(outcome=Outcome.EXPIRED, cause="expired", answer="")
    two = Decimal(2)
    estimate = Estimate("key", two, two, two, two, two, 20, 2, 4, 8, rows=2, counted=2)
    Job.objects.filter(pk=job.pk).update(estimate=estimate)
    tally.count_up(job)
    return job


def test_retry_sends_what_got_no_answer_and_names_the_price(root: User, make_job: MakeJob) -> None:
    job = failed(root, make_job)

    _, err = run("retry", job.pk, "--yes")

    assert "at most $0.01" in err
    assert "Retrying 1 row" in err
    job.refresh_from_db()
    assert job.state == Job.State.SUBMITTING and preparation.prepare_next(job)
    assert [row.outcome for row in job.rows.order_by("number")] == [Outcome.GOOD, Outcome.WAITING]


@pytest.mark.parametrize(
    ("options", "status", "why"),
    [
        (["--max-tokens", "-5"], 2, "--max-tokens: Ensure this value is greater than or equal"),
        (["--prompt", "a\0b"], 2, "--prompt: Null characters are not allowed"),
        (["--model", "claude-unheard-of"], 1, "no longer offered"),
        (["--prompt", "{{nobody}}"], 1, "no column “nobody”"),
    ],
)
def test_retry_refuses_what_the_page_refuses(
    root: User, make_job: MakeJob, options: list[str], status: int, why: str
) -> None:
    job = failed(root, make_job)
    found, said = refusal("retry", job.pk, *options, "--yes")
    assert found == status and why in said
    assert not job.rounds.exists()


def test_retry_needs_a_yes_and_something_to_send(root: User, make_job: MakeJob) -> None:
    job = failed(root, make_job)
    assert refusal("retry", job.pk)[0] == 2
    job.rows.update(outcome=Outcome.GOOD, cause="")
    tally.count_up(job)
    assert refusal("retry", job.pk, "--yes") == (
        1,
        "No rows to retry.",
    )
