"""Batches that a plain script made are imported: nothing is sent, nothing is lost, and each
answer comes beside the row that it belongs to."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import anthropic
import openpyxl
import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from jobs.actions import external_batches, job_basics, retries, submissions, uploads
from jobs.batches import (
    collection,
    external,
    external_ids,
    result_rows,
    unknown_submissions,
)
from jobs.drafts import reading
from jobs.models import (
    Batch,
    ExternalBatchList,
    Job,
    Outcome,
    Row,
    SubmissionEvent,
    clock,
    dollars,
    files,
)
from jobs.provider import replies
from jobs.results import unmatched, workbook
from jobs.retries import problem_groups, rounds
from jobs.retries.selection import EDITED
from jobs.rules import result_proof
from jobs.rules.judging import ASK, EDIT, LEAVE_OUT
from jobs.rules.retry_choices import RetryChoice
from jobs.spending import ledger
from jobs.web.templatetags.show import job_state
from jobs.worker import finishing, sent_jobs, sweep

from ..cli.test_job_command import run
from ..conftest import Simulator, send_again, why_not_again
from ..driven_jobs import Drive, confirmed, joined

ROWS = [[f"n{number}", "x"] for number in range(30)]
# Every character that an id may have, and one of the longest.
ODD = ["-", "_", "--a--", "0", "007", "A", "a", "-12", "x_1-Y", "z" * 64, "_" * 64]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses between two tries to collect are short."""
    original = collection._try_again

    def soon(batch: Batch, *args: Any, **kwargs: Any) -> timedelta:
        original(batch, *args, **kwargs)
        pause = timedelta(seconds=0.1)
        Batch.objects.filter(pk=batch.pk).update(next_action_at=clock.now() + pause)
        return pause

    monkeypatch.setattr(collection, "_try_again", soon)
    monkeypatch.setattr(sent_jobs, "PAUSE_OF_A_BATCH", timedelta(seconds=0.1))


def request_of(custom_id: str, text: str = "") -> dict[str, Any]:
    return {
        "custom_id": custom_id,
        "params": {
            "model": "claude-haiku-5-5",
            "max_tokens": 100,
            "messages": [{"role": "user", "content": f"What is {text or custom_id}?"}],
        },
    }


def made_elsewhere(simulator: Simulator, ids: Sequence[str]) -> str:
    """The id of a batch that somebody made with the plain client."""
    client = anthropic.Anthropic(api_key="another program", base_url=simulator.url)
    requests: Any = [request_of(one) for one in ids]
    return client.messages.batches.create(requests=requests).id


def in_lines(ids: Sequence[str]) -> ContentFile[bytes]:
    text = "".join(json.dumps(request_of(one)) + "\n" for one in ids)
    return ContentFile(text.encode(), "sent.jsonl")


def in_table(rows: Sequence[Sequence[str]]) -> ContentFile[bytes]:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return ContentFile(text.getvalue().encode(), "people.csv")


def answers(job: Job) -> list[tuple[str, str]]:
    """First cell and answer of each line of the finished file."""
    header, *lines = joined(job)
    place = header.index("answer")
    return [(line[0].removeprefix("'"), line[place]) for line in lines]


def is_its_own(custom_id: str, answer: str) -> bool:
    return f"What is {custom_id}?" in answer  # the simulator's answer repeats the prompt


def asks(job: Job) -> bool:
    return bool(job.held)


def stopped(job: Job, owner: User, simulator: Simulator, drive: Drive) -> Job:
    """A job with a batch that would run for ever is stopped, and has come to its end."""
    assert submissions.stop_job(job, owner)
    drive(job, until=lambda job: job.batches.exclude(cancel_sent_at=None).exists())
    simulator.reset()
    return drive(job)


# --- What comes back ------------------------------------------------------------------------------


def test_without_a_file_the_results_are_the_rows_in_their_order(
    root: User, simulator: Simulator, drive: Drive
) -> None:
    job = drive(external_batches.import_batch(root, made_elsewhere(simulator, ODD)))
    path = files.results_path(job.batches.get())
    received = [json.loads(line)["custom_id"] for line in path.read_bytes().splitlines()]
    assert sorted(received) == sorted(ODD)
    assert [name for name, _answer in answers(job)] == received
    assert all(is_its_own(*pair) for pair in answers(job))
    assert (job.state, job.good_count, job.row_count) == ("finished", len(ODD), len(ODD))
    assert not job.problems.exists()


def test_with_the_requests_that_were_submitted_each_line_gets_its_result(
    root: User, simulator: Simulator, drive: Drive
) -> None:
    batch_id = made_elsewhere(simulator, [*ODD, "stray-1", "stray-2"])
    job = drive(
        external_batches.import_batch(root, batch_id, in_lines(["never-sent", *reversed(ODD)]))
    )
    (first, nothing), *others = answers(job)
    assert (first, nothing) == ("never-sent", "")
    assert [name for name, _answer in others] == ODD[::-1]
    assert all(is_its_own(*pair) for pair in others)
    assert (job.good_count, job.unsent_count) == (len(ODD), 1)
    left_out = job.rows.get(number=1)
    assert (left_out.problem, left_out.batch) == (external_ids.NO_RESULT, None)
    (said,) = job.problems.all()
    assert job_state(job) == ("Finished – 2 results fit no row", "yellow")
    assert (said.count, sorted(said.texts)) == (2, ["stray-1", "stray-2"])
    lines = [json.loads(line) for line in b"".join(unmatched.unmatched_chunks(job)).splitlines()]
    assert sorted(line["result"]["custom_id"] for line in lines) == ["stray-1", "stray-2"]


def test_requests_that_this_site_would_not_send_have_their_answers_all_the_same(
    root: User, simulator: Simulator, drive: Drive
) -> None:
    batch_id = made_elsewhere(simulator, ["a", "b"])
    odd = {**request_of("a"), "note": "beside"}
    upload = ContentFile(
        f"{json.dumps(odd)}\n{json.dumps(request_of('b'))}\n".encode(), "sent.jsonl"
    )
    job = drive(external_batches.import_batch(root, batch_id, upload))
    assert (job.good_count, job.unsent_count) == (2, 0)
    assert not job.rows.exclude(problem="").exists()


def test_a_table_is_matched_by_the_one_column_that_has_all_ids(
    root: User, simulator: Simulator, drive: Drive
) -> None:
    batch_id = made_elsewhere(simulator, ["k3", "k1", "gone"])
    rows = [["name", "key"], ["Ann", "k1"], ["Ben", " gone "], ["Cid", ""], ["Dan", "k3"]]
    job = drive(external_batches.import_batch(root, batch_id, in_table(rows)))
    assert job.ids_are == "column:key"
    assert [name for name, _answer in answers(job)] == ["Ann", "Ben", "Cid", "Dan"]
    given = [answer for _name, answer in answers(job)]
    assert is_its_own("k1", given[0]) and is_its_own("gone", given[1]) and not given[2]
    assert is_its_own("k3", given[3])
    assert job.cost > 0


@pytest.mark.parametrize(
    ("ids", "numbers"),
    [
        (["row-1", "row-2", "row-3"], [1, 2, 3]),
        (["request-02", "request-00", "request-01"], [3, 1, 2]),
        (["2", "1"], [2, 1]),
    ],
)
def test_ids_that_number_the_rows_are_recognised(
    root: User, simulator: Simulator, drive: Drive, ids: list[str], numbers: list[int]
) -> None:
    rows = [["text"], *([one] for one in ("anna", "bert", "carl")[: len(ids)])]
    job = drive(external_batches.import_batch(root, made_elsewhere(simulator, ids), in_table(rows)))
    for custom_id, number in zip(ids, numbers, strict=True):
        assert is_its_own(custom_id, job.rows.get(number=number).answer)


def test_when_several_ways_fit_a_person_says_which(
    root: User, simulator: Simulator, drive: Drive
) -> None:
    batch_id = made_elsewhere(simulator, ["1", "2"])
    rows = [["rank", "text"], ["2", "anna"], ["1", "bert"], ["3", "carl"]]
    job = drive(external_batches.import_batch(root, batch_id, in_table(rows)), until=asks)
    assert job.held == external_ids.WHICH
    fits = dict(job.ids_may_be)
    assert fits == {"column:rank": 2, "number:1": 2, "number:0": 2, "column:text": 0}
    assert not external_batches.choose_ids(job, "column:none", root)
    assert external_batches.choose_ids(job, "column:rank", root)
    job = drive(job)
    assert is_its_own("2", job.rows.get(number=1).answer)
    assert is_its_own("1", job.rows.get(number=2).answer)
    assert not external_batches.choose_ids(job, "number:1", root), "it is settled"


def test_nothing_that_fits_is_said_and_every_answer_kept(
    root: User, simulator: Simulator, drive: Drive
) -> None:
    batch_id = made_elsewhere(simulator, ["b-x", "a-y"])
    job = drive(
        external_batches.import_batch(root, batch_id, in_table([["text"], ["anna"]])), until=asks
    )
    assert external_batches.choose_ids(job, "column:text", root)
    job = drive(job)
    assert (job.good_count, job.unsent_count, job.problems.get().count) == (0, 1, 2)
    lines = list(csv.reader(io.StringIO(b"".join(unmatched.unmatched_chunks(job)).decode())))
    assert sorted(line[1] for line in lines) == [
        unmatched.NO_ROW.format(one) for one in ("a-y", "b-x")
    ]
    assert all("Its answer: " in line[2] for line in lines)


def test_a_column_that_was_named_before_is_taken(
    root: User, simulator: Simulator, drive: Drive
) -> None:
    batch_id = made_elsewhere(simulator, ["1", "2"])
    rows = [["rank", "text"], ["2", "anna"], ["1", "bert"]]
    job = drive(external_batches.import_batch(root, batch_id, in_table(rows), id_column="rank"))
    assert is_its_own("2", job.rows.get(number=1).answer)


def test_a_file_that_cannot_be_read_can_be_replaced(
    root: User, simulator: Simulator, drive: Drive
) -> None:
    bad = ContentFile(b'{"custom_id": "a", "params": {}}\n{"half\n', "sent.jsonl")
    job = drive(external_batches.import_batch(root, made_elsewhere(simulator, ["a"]), bad))
    assert job.state == Job.State.UNREADABLE
    assert uploads.replace_upload(job, in_lines(["a"]), root)
    assert drive(job).good_count == 1


# --- Watched like every other ---------------------------------------------------------------------


def test_a_batch_in_progress_is_watched_to_its_end(
    root: User, simulator: Simulator, drive: Drive
) -> None:
    simulator.faults(stuck=True)
    job = external_batches.import_batch(
        root, made_elsewhere(simulator, ["a", "b"]), in_lines(["a", "b"])
    )
    assert job.batches.get().state == Batch.State.IN_PROGRESS
    drive(job, until=lambda job: job.state == Job.State.WORKING)
    simulator.faults(stuck=False)
    assert drive(job).good_count == 2


def test_one_in_progress_can_be_stopped_by_its_owner(
    root: User, simulator: Simulator, drive: Drive
) -> None:
    simulator.faults(stuck=True)
    job = external_batches.import_batch(root, made_elsewhere(simulator, ["a", "b"]))
    job = drive(job, until=lambda job: job.state == Job.State.WORKING)
    job = stopped(job, root, simulator, drive)
    assert job.outcome_count(Outcome.CANCELED) == 2
    assert simulator.truth()["batches"][0]["cancel_requested"]


@pytest.mark.parametrize("kind", ["missing_line", "cut_at_line", "clean_early_end"])
def test_results_that_are_not_whole_are_fetched_again(
    root: User, simulator: Simulator, drive: Drive, kind: str
) -> None:
    simulator.faults(results=[{"kind": "crlf"}, {"kind": kind}])  # the first is only looked at
    job = drive(
        external_batches.import_batch(root, made_elsewhere(simulator, ["a", "b", "c", "d"]))
    )
    assert job.good_count == 4


def test_what_did_arrive_of_incomplete_results_can_be_used(
    root: User, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_proof, "TRIES", 1)
    simulator.faults(results=[{"kind": "missing_line", "times": 1000}])
    job = external_batches.import_batch(
        root, made_elsewhere(simulator, ["a", "b", "c"]), in_lines(["a", "b", "c"])
    )
    job = drive(job, until=asks)
    assert (job.good_count, job.outcome_count(Outcome.WAITING)) == (2, 1)
    assert submissions.give_up_missing_answers(job, root)
    assert drive(job).tally.causes == [("errored", "lost", 1), ("good", "", 2)]


class Died(BaseException):
    """What nobody catches, as nobody catches SIGKILL."""


DEATHS: list[tuple[Any, str]] = [
    (reading, "attach_file"),
    (reading, "_settle"),
    (files, "keep"),
    (result_rows, "store"),
    (result_rows, "say_what_fits"),
    (finishing, "finish_job"),
]


@contextmanager
def death(owner: Any, name: str, when: str) -> Iterator[None]:
    """The worker dies `when` it has done this, or is about to."""
    original = getattr(owner, name)

    def dies(*args: Any, **kwargs: Any) -> Any:
        if when == "after":
            original(*args, **kwargs)
        raise Died

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Died):
        patch.setattr(owner, name, dies)
        yield
        pytest.fail(f"{name} was not called")


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_worker_that_dies_in_the_middle_goes_on_where_it_was(
    root: User, simulator: Simulator, drive: Drive, when: str
) -> None:
    batch_id = made_elsewhere(simulator, ["k1", "k2", "stray"])
    rows = [["key"], ["k2"], ["other"], ["k1"]]
    job = external_batches.import_batch(root, batch_id, in_table(rows), id_column="key")
    for owner, name in DEATHS:
        with death(owner, name, when):
            drive(job)
        again = {"lease_until": None, "lease_owner": "", "next_action_at": clock.now()}
        Job.objects.filter(pk=job.pk).update(**again)
        Batch.objects.update(next_action_at=None)
    job = drive(job)
    assert [row.outcome for row in job.rows.in_order()] == ["good", "left_out", "good"]
    assert is_its_own("k2", job.rows.get(number=1).answer)
    assert job.problems.get().texts == ["stray"]
    assert simulator.truth()["posts"] == 1


# --- Nothing is sent, paid or deleted -------------------------------------------------------------


def test_nothing_is_sent_and_it_counts_for_no_limit(
    root: User, simulator: Simulator, drive: Drive
) -> None:
    job = drive(
        external_batches.import_batch(
            root, made_elsewhere(simulator, ["a", "b"]), in_lines(["a", "b"])
        )
    )
    assert job.cost > 0
    since = ledger.month_of(clock.now())
    assert ledger.committed_since(since) == ledger.committed_since(since, root) == Decimal(0)
    assert not list(ledger.charges(since))
    assert (job.spent_pico, job.reserved_pico) == (0, 0)
    assert simulator.truth()["posts"] == 1, "only the one of the other program"
    assert not SubmissionEvent.objects.exists()
    assert not Row.objects.to_be_sent(job).exists()


@pytest.mark.parametrize("state", ["planned", "submitting", "unknown", "blocked"])
def test_the_database_forbids_that_it_could_be_sent(
    root: User, simulator: Simulator, state: str
) -> None:
    job = external_batches.import_batch(root, made_elsewhere(simulator, ["a"]))
    with pytest.raises(IntegrityError), transaction.atomic():
        job.batches.update(state=state)
    with pytest.raises(IntegrityError), transaction.atomic():
        Job.objects.filter(pk=job.pk).update(state=Job.State.DRAFT)


@pytest.mark.parametrize("with_file", [True, False])
def test_failed_rows_of_it_are_sent_again_where_their_requests_are_known(
    root: User, simulator: Simulator, drive: Drive, with_file: bool
) -> None:
    ids = [f"r{number}" for number in range(8)]
    simulator.faults(expire_share=0.5)
    upload = in_lines(ids) if with_file else None
    job = drive(external_batches.import_batch(root, made_elsewhere(simulator, ids), upload))
    simulator.reset()
    expired, accepted = job.outcome_count(Outcome.EXPIRED), simulator.truth()["accepted_rows"]
    assert expired and not job.spent_pico
    elsewhere = job.cost
    assert send_again(job, root) == (expired if with_file else 0)
    if not with_file:
        assert all(not group.remedies[:-1] for group in problem_groups.find_groups(job))
        return
    job = drive(job)
    assert job.good_count == len(ids)
    assert simulator.truth()["accepted_rows"] == accepted + expired
    assert job.cost > elsewhere > 0
    own = sum((row.cost for row in job.rows.filter(batch__is_external=False)), Decimal(0))
    assert dollars(job.spent_pico) == own == job.cost - elsewhere, "only what was sent from here"
    assert ledger.committed_since(ledger.month_of(timezone.now())) == own
    assert sum(one.amount for one in ledger.charges(ledger.month_of(timezone.now()))) == own
    assert [line[0] for line in answers(job)] == ids


def test_a_table_of_which_nobody_knows_the_prompt_is_asked_again_with_one(
    root: User, client_root: Client, simulator: Simulator, drive: Drive, tmp_path: Path
) -> None:
    ids = [f"r{number}" for number in range(8)]
    simulator.faults(expire_share=0.5)
    batch_id = made_elsewhere(simulator, ids)
    table = in_table([["id", "name"], *([one, f"name of {one}"] for one in ids)])
    job = drive(external_batches.import_batch(root, batch_id, table))
    simulator.reset()
    expired = job.outcome_count(Outcome.EXPIRED)
    assert 0 < expired < len(ids)

    (group,) = problem_groups.find_groups(job)
    assert [remedy.code for remedy in group.remedies] == [ASK, EDIT, LEAVE_OUT]
    assert send_again(job, root) == 0
    assert "Write a prompt for these rows" in why_not_again(job, RetryChoice("expired"))
    ask = reverse("change_prompt", args=[job.pk, "expired"])
    page = client_root.get(ask).content.decode()
    assert "the prompt that these rows had elsewhere" in page and "{{name}}" in page

    form = {"prompt": "Spell {{nobody}}.", "model": "claude-haiku-5-5"}
    assert "{{nobody}}" in client_root.post(ask, form).content.decode()
    shown = client_root.post(ask, {**form, "prompt": "Spell {{name}}."})
    planned = shown.context["planned"]
    again = planned.choice
    assert planned.rows == expired and ">Spell {{name}}.</pre>" in shown.content.decode()
    assert retries.confirm_retry(job, again, planned.key, root)
    job = drive(job)

    assert job.good_count == len(ids)
    found = dict(answers(job))
    sent_here = job.rows.filter(batch__is_external=False)
    assert sent_here.count() == expired
    for one in ids:
        here = sent_here.filter(source__contains=f'"{one}"').exists()
        assert (f"Spell name of {one}." if here else f"What is {one}?") in found[one]
    row = sent_here.in_order()[0]
    page = client_root.get(reverse("row", args=[job.pk, row.number])).content.decode()
    assert "Spell name of" in page and "The request of that attempt" not in page
    workbook.write_workbook(job, tmp_path / "answers.xlsx")
    summary = openpyxl.load_workbook(tmp_path / "answers.xlsx")["Summary"].values
    said = {what: (value, remark) for what, value, remark in summary}
    assert said["Would have been charged, in US dollars"][0] == pytest.approx(float(job.cost))
    assert "charged elsewhere. Of this, " in said["Would have been charged, in US dollars"][1]
    page = client_root.get(reverse("job", args=[job.pk]), {"tab": "cost"}).content.decode()
    assert "was charged for retries from here" in page and "Estimate of the retries" in page
    receipt = client_root.get(reverse("receipt", args=[job.pk])).content.decode()
    assert "The estimate was" not in receipt
    assert said["Sent (UTC)"][0] and said["Sent (UTC)"][1] == "Submitted elsewhere."


def test_changed_rows_of_such_a_table_are_asked_what_is_written(
    root: User, client_root: Client, simulator: Simulator, drive: Drive
) -> None:
    simulator.faults(expire_share=1)
    batch_id = made_elsewhere(simulator, ["a", "b"])
    table = in_table([["id", "name"], ["a", "Ada"], ["b", "Ben"]])
    job = drive(external_batches.import_batch(root, batch_id, table))
    simulator.reset()
    edited = {"cell": ["a", "Adele"]}
    client_root.post(reverse("edit_row", args=[job.pk, 1]), edited)
    page = client_root.get(reverse("edits", args=[job.pk])).content.decode()
    assert page.count("Write a prompt") == 2 and "Write a prompt for these rows" in page
    assert "Retry 1 row" not in page
    ask = reverse("change_prompt", args=[job.pk, EDITED])
    assert "as it was changed" in client_root.get(ask).content.decode()
    form = {"prompt": "Spell {{name}}.", "model": "claude-haiku-5-5"}
    planned = client_root.post(ask, form).context["planned"]
    assert retries.confirm_retry(job, planned.choice, planned.key, root)
    job = drive(job)
    (first, second) = answers(job)
    assert "Spell Adele." in first[1] and second[1] == ""

    # From the shell the other one.
    asked = ["--prompt", "Greet {{name}}.", "--model", "claude-haiku-5-5"]
    run("retry", job.pk, "--group", "expired", *asked, "--yes")
    job = drive(job)
    assert "Greet Ben." in dict(answers(job))["b"]
    assert job.good_count == 2


def test_deleting_it_leaves_the_batch_at_the_provider(
    root: User, simulator: Simulator, drive: Drive
) -> None:
    batch_id = made_elsewhere(simulator, ["a"])
    job = drive(external_batches.import_batch(root, batch_id))
    path = files.results_path(job.batches.get())
    assert job_basics.delete_job(job, root)
    sweep.sweep()
    assert not Job.objects.exists() and not path.exists()
    assert not simulator.truth()["batches"][0]["deleted"]
    assert drive(external_batches.import_batch(root, batch_id)).good_count == 1, (
        "so it can come back"
    )


# --- What is refused ------------------------------------------------------------------------------


def why_not(owner: User, batch_id: str) -> str:
    with pytest.raises(external.NotPossible) as caught:
        external_batches.import_batch(owner, batch_id)
    return str(caught.value)


def test_it_is_brought_in_once(
    root: User, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = made_elsewhere(simulator, ["a"])
    find = external.find

    def slowly(provider_id: str) -> replies.BatchInfo:
        info = find(provider_id)
        monkeypatch.setattr(external, "find", find)
        external_batches.import_batch(root, provider_id)  # somebody else, meanwhile
        return info

    monkeypatch.setattr(external, "find", slowly)
    with pytest.raises(external.NotPossible, match="was imported before: it is job"):
        external_batches.import_batch(root, batch_id, in_lines(["a"]))
    job = Job.objects.get()
    assert f"it is job {job.pk}" in why_not(root, batch_id)
    assert not list(files.stored_path("x").parent.glob("*[0-9a-f]")), "the second file is gone"


def test_an_id_that_is_not_there_or_too_old(root: User, simulator: Simulator) -> None:
    assert "no batch with this ID" in why_not(root, "msgbatch_none")
    batch_id = made_elsewhere(simulator, ["a"])
    anthropic.Anthropic(api_key="x", base_url=simulator.url).messages.batches.retrieve(batch_id)
    simulator.faults(clock_ahead_seconds=29.5 * 24 * 3600)
    assert "deleted the results" in why_not(root, batch_id)
    simulator.reset()


def test_the_provider_is_away(root: User, settings: Settings) -> None:
    settings.ANTHROPIC_BASE_URL = "http://127.0.0.1:9"
    assert "cannot be reached" in why_not(root, "msgbatch_1")


def test_a_batch_of_this_site_is_refused(
    root: User, alice: User, simulator: Simulator, drive: Drive
) -> None:
    job = drive(confirmed(alice, ROWS))
    batch = job.batches.get()
    own = f"this site’s own: batch 1 of job {job.pk}"
    assert own in why_not(root, str(batch.provider_id))
    # Its id is not known yet, but its results say whose it is.
    Batch.objects.filter(pk=batch.pk).update(state="unknown", provider_id=None)
    assert own in why_not(root, str(batch.provider_id))


def test_what_could_be_a_batch_of_this_site_is_not_hidden_from_it(
    root: User, alice: User, simulator: Simulator, drive: Drive, settings: Settings
) -> None:
    """It runs, so its size is all that is known, and the answer to our own submission was lost."""
    settings.SUBMIT_DEADLINE_SECONDS = 1
    simulator.faults(create=[{"kind": "drop_after_accept"}], stuck=True)
    job = confirmed(alice, ROWS)
    drive(job, until=lambda job: job.batches.filter(state="unknown").exists())
    accepted = simulator.truth()["batches"][0]
    assert "could be that one" in why_not(root, accepted["id"])
    assert external_batches.import_batch(root, made_elsewhere(simulator, ["a"])), "of another size"
    found = drive(job, until=lambda job: job.batches.filter(state="in_progress").exists())
    assert found.batches.get().provider_id == accepted["id"]
    assert simulator.truth()["posts"] == 2
    simulator.reset()


def test_nor_what_could_be_one_that_shows_up_late(
    root: User, alice: User, simulator: Simulator, drive: Drive
) -> None:
    job = drive(confirmed(alice, ROWS))
    Batch.objects.filter(job=job).update(size=2, late_until=clock.now() + timedelta(hours=1))
    simulator.faults(stuck=True)
    batch_id = made_elsewhere(simulator, ["a", "b"])
    assert "could be that one" in why_not(root, batch_id)
    simulator.reset()  # it ends, and its ids are not ours
    assert drive(external_batches.import_batch(root, batch_id)).good_count == 2


def test_nothing_is_brought_in_while_the_journal_knows_more(
    root: User, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unknown_submissions, "submissions_unknown", lambda: 1)
    assert "older than its journal" in why_not(root, made_elsewhere(simulator, ["a"]))


def test_practice_and_real_never_mix(
    root: User, simulator: Simulator, drive: Drive, settings: Settings
) -> None:
    batch_id = made_elsewhere(simulator, ["a"])
    external.ask()
    external.list_if_asked()
    assert [one.id for one in external.listed(ExternalBatchList.get()) or []] == [batch_id]
    job = external_batches.import_batch(root, batch_id)
    settings.PRACTICE, settings.ANTHROPIC_API_KEY = False, "a key"
    assert external.listed(ExternalBatchList.get()) is None
    assert "practice mode" in drive(job, until=asks).held


# --- Sent again, when its file is odd -------------------------------------------------------------


@pytest.mark.parametrize("odd", ["one", "all"])
def test_requests_that_this_site_would_not_send_are_not_sent_again(
    root: User, client_root: Client, simulator: Simulator, drive: Drive, odd: str
) -> None:
    requests = [request_of("a"), request_of("b")]
    for one in requests[: 1 if odd == "one" else 2]:
        one["params"]["temperature"] = 1
    upload = ContentFile("".join(json.dumps(one) + "\n" for one in requests).encode(), "s.jsonl")
    simulator.faults(expire_share=1)
    job = drive(external_batches.import_batch(root, made_elsewhere(simulator, ["a", "b"]), upload))
    simulator.reset()
    page = client_root.get(reverse("problems", args=[job.pk]))
    assert page.status_code == 200
    planned = rounds.find_plan(job, RetryChoice("expired"))
    if odd == "one":
        assert planned is not None and planned.rows == 1
        assert send_again(job, root, "expired") == 1
        assert drive(job).good_count == 1
    else:
        assert planned is None and "No rows to retry" in why_not_again(job, RetryChoice("expired"))
        assert "Retry " not in page.content.decode()


def test_a_row_with_too_few_cells_is_left_out_of_the_round_and_says_why(
    root: User, client_root: Client, simulator: Simulator, drive: Drive
) -> None:
    simulator.faults(expire_share=1)
    batch_id = made_elsewhere(simulator, ["a", "b"])
    table = in_table([["id", "name", "city"], ["a", "Ada", "Rome"], ["b", "Ben"]])
    job = drive(external_batches.import_batch(root, batch_id, table))
    simulator.reset()
    asked = {"prompt": "Where is {{city}}?", "model": "claude-haiku-5-5"}
    assert send_again(job, root, "expired", **asked) == 2
    job.refresh_from_db()
    assert client_root.get(reverse("row", args=[job.pk, 2])).status_code == 200
    job = drive(job)
    assert [row.outcome for row in job.rows.in_order()] == ["good", "left_out"]
    assert "2 cells, and the file has 3" in job.rows.get(number=2).problem
    page = client_root.get(reverse("edit_row", args=[job.pk, 2])).content.decode()
    assert page.count('name="cell"') == 3 and "2 cells, and the file has 3" in page
    edited = {"cell": ["b", "Ben", "Oslo"]}
    client_root.post(reverse("edit_row", args=[job.pk, 2]), edited)
    assert send_again(job, root, EDITED) == 1, "asked what the others were"
    assert "Where is Oslo?" in dict(answers(drive(job)))["b"]


def test_what_it_usually_costs_is_never_more_than_at_most(
    root: User, simulator: Simulator, drive: Drive
) -> None:
    ids = [f"r{number}" for number in range(8)]
    simulator.faults(expire_share=0.5)
    table = in_table([["id", "name"], *([one, "x"] for one in ids)])
    job = drive(external_batches.import_batch(root, made_elsewhere(simulator, ids), table))
    again = RetryChoice("expired", prompt="{{name}}", model="claude-haiku-5-5", max_tokens=1)
    planned = rounds.find_plan(job, again)
    assert planned is not None
    assert planned.price.low <= planned.price.high <= planned.price.most
