"""What has to be true after every run. Each function returns what is wrong, in words; nothing when
all is well. They use none of the product's own judgement: costs, outcomes and files are worked out
here once more.

I1 accepted_once       I2 one_outcome       I3 results_exact      I4 owned_and_paid
I5 nothing_waits       I6 nothing_leaks     I7 downloads_whole       I8 within_the_cap
I9 pilot_and_rest, in pilots.py
"""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

from ..environment import ROOT
from .facts import (
    CONTENT_FAULTS,
    FORM_FAULTS,
    Facts,
    SentBatch,
    StoredBatch,
    lines_of,
    results_of,
    tally_of,
)
from .pilots import pilot_and_rest
from .site import CAP, Site
from .told import told_once

SHOWN = 5  # of many alike
FINAL_JOBS = {"finished", "unreadable"}
FINAL_BATCHES = {"collected", "canceled"}
KINDS = ("succeeded", "errored", "canceled", "expired")
# What an outcome of a row is to the provider.
KIND_OF_OUTCOME = {
    "good": "succeeded",
    "look": "succeeded",
    "errored": "errored",
    "canceled": "canceled",
    "expired": "expired",
}
STATUS_IN_WORDS = {
    "good": "Good",
    "look": "Check this",
    "errored": "Failed",
    "expired": "Not reached in 24 hours",
    "canceled": "Stopped by you",
    "left_out": "Skipped",
}
# Refusals before any output that are not charged.
FREE_REFUSALS = {"cyber", "general_harms", None}


def some(things: Sequence[object]) -> str:
    """The first of them, and how many there are."""
    shown = ", ".join(map(str, things[:SHOWN]))
    return shown if len(things) <= SHOWN else f"{shown} and {len(things) - SHOWN} more"


# --- I1 -------------------------------------------------------------------------------------------


def accepted_once(facts: Facts) -> list[str]:
    """Every row was accepted by the provider at most once, and exactly once unless its job was
    stopped or it was left out. No row was answered, and so paid, twice. A double click confirmed
    once."""
    wrong = []
    accepted = accepted_rows(facts)
    if twice := accepted_too_often(facts):
        wrong.append(f"Accepted more often than asked for (job, row): {some(twice)}.")
    for job in facts.jobs:
        for row in facts.rows_of(job["id"]):
            times = accepted[(job["id"], row["number"])]
            if row["outcome"] == "left_out":
                if times:
                    wrong.append(f"Row {row['number']} of job {job['id']} was left out, and sent.")
            elif not times and job["id"] not in facts.stopped:
                wrong.append(f"Row {row['number']} of job {job['id']} was never accepted.")
    if paid := paid_too_often(facts):
        wrong.append(f"Paid more often than asked for: rows {some(paid)}.")
    confirmed = Counter(
        event["job_id"] for event in facts.log if event["text"].startswith("Submitted")
    )
    if twice := [job for job, times in confirmed.items() if times > 1]:
        wrong.append(f"Confirmed more than once: jobs {some(twice)}.")
    return wrong


def accepted_rows(facts: Facts) -> Counter[tuple[int | None, int]]:
    """How often each row was accepted, by its job and number. The job of a batch that the site does
    not know is None."""
    accepted: Counter[tuple[int | None, int]] = Counter()
    for batch in facts.ours:
        for custom_id in batch.custom_ids:
            nonce, _, number = custom_id.rpartition("-")
            accepted[(facts.job_of_nonce.get(nonce), int(number))] += 1
    return accepted


def accepted_too_often(facts: Facts) -> list[tuple[int | None, int]]:
    """Rows that were accepted more often than once and once for each time that the person had them
    sent again."""
    wanted: Counter[tuple[int | None, int]] = Counter()
    for one in facts.attempts:
        wanted[(one["job_id"], one["number"])] += 1
    return [row for row, times in accepted_rows(facts).items() if times > 1 + wanted[row]]


def paid_too_often(facts: Facts) -> list[str]:
    """The tags of rows that were answered more often than once and once for each answered attempt
    that the person had sent again."""
    wanted = Counter(
        facts.plans[one["job_id"]].rows[one["number"] - 1].tag
        for one in facts.attempts
        if one["output_tokens"]
    )
    return [tag for tag, times in paid_tags(facts).items() if times > 1 + wanted[tag]]


def paid_tags(facts: Facts) -> Counter[str]:
    """How often each row was answered, by its own text as the answer quotes it."""
    paid: Counter[str] = Counter()
    for batch in facts.ours:
        for result in results_of(batch.results).values():
            if result["type"] == "succeeded" and (text := text_of(result)):
                paid[quoted_tag(text)] += 1
    return paid


def quoted_tag(answer: str) -> str:
    """The tag that begins the prompt, from an answer that quotes it."""
    return answer.partition('"')[2].partition(" ")[0]


# --- I2 -------------------------------------------------------------------------------------------


def one_outcome(facts: Facts) -> list[str]:
    """Every row has one final outcome, and the job's tally, the rows and the provider's counts say
    the same."""
    wrong = []
    for job in facts.jobs:
        rows = facts.rows_of(job["id"])
        if job["state"] not in FINAL_JOBS:
            wrong.append(f"Job {job['id']} is {job['state']} (held: {job['held']!r}).")
        if waiting := [row["number"] for row in rows if row["outcome"] not in STATUS_IN_WORDS]:
            wrong.append(f"Rows of job {job['id']} without an outcome: {some(waiting)}.")
        outcomes = dict(Counter(row["outcome"] for row in rows))
        if job["state"] == "finished" and outcomes != tally_of(job).get("outcomes"):
            tally = tally_of(job).get("outcomes")
            wrong.append(f"Job {job['id']} is tallied {tally}, its rows are {outcomes}.")
        if [row["number"] for row in rows] != list(range(1, job["row_count"] + 1)):
            wrong.append(f"Job {job['id']} has not the rows 1 to {job['row_count']}.")
    for batch, sent in batches_with_results(facts):
        wrong += counts_differ(facts, batch, sent)
    return wrong


def counts_differ(facts: Facts, batch: StoredBatch, sent: SentBatch) -> Iterator[str]:
    rows = facts.results_of(batch)
    unknown = sum(row["cause"] == "unknown_result" for row in rows)
    kinds = Counter(
        KIND_OF_OUTCOME.get(row["outcome"], row["outcome"])
        for row in rows
        if row["cause"] != "unknown_result"
    )
    for kind in KINDS:
        if not 0 <= sent.counts[kind] - kinds[kind] <= unknown:
            yield f"{batch}: {kinds[kind]} rows {kind}, the provider counts {sent.counts[kind]}."
    if len(rows) != batch.size or batch.size != sent.size:
        yield f"{batch}: {len(rows)} rows, planned {batch.size}, at the provider {sent.size}."


def batches_with_results(facts: Facts) -> Iterator[tuple[StoredBatch, SentBatch]]:
    """Collected batches, each with the provider's that it names."""
    sent = {batch.id: batch for batch in facts.ours}
    for batch in facts.batches:
        if batch.state == "collected" and batch.provider_id in sent:
            yield batch, sent[batch.provider_id]


# --- I3 -------------------------------------------------------------------------------------------


def results_exact(facts: Facts) -> list[str]:
    """The file of every collected batch is the provider's, and the rows hold what is in it."""
    wrong = []
    # The provider itself sent so many lines other than they are in its own file.
    spoiled = sum(facts.fell[name] for name in CONTENT_FAULTS)
    for batch, sent in batches_with_results(facts):
        if batch.file is None:
            wrong.append(f"{batch} is collected, and its file is not there.")
            continue
        if hashlib.sha256(batch.file).hexdigest() != batch.sha256:
            wrong.append(f"{batch}: the stored hash is not that of its file.")
        if len(batch.file) != batch.size_of_file:
            wrong.append(
                f"{batch}: {len(batch.file)} bytes in its file, {batch.size_of_file} stored."
            )
        try:
            ours = results_of(batch.file)
        except (ValueError, KeyError):
            wrong.append(f"{batch}: its file has a line that is no result.")
            continue
        if set(ours) != set(sent.custom_ids):
            missing = sorted(set(sent.custom_ids) - set(ours))
            wrong.append(f"{batch}: the file lacks {some(missing)}, or has ids that were not sent.")
        changed = changed_lines(facts, batch, sent)
        spoiled -= len(changed)
        if spoiled < 0:
            wrong.append(f"{batch}: {len(changed)} lines of its file are not the provider's.")
        wrong += rows_differ(facts, batch, ours)
    return wrong


def changed_lines(facts: Facts, batch: StoredBatch, sent: SentBatch) -> list[bytes]:
    """The lines of a file of results that the provider's file has not at the same place. Byte by
    byte; where a fault changed how lines end, or repeated one, without their ends and repetitions.
    """
    ours, theirs = batch.file or b"", sent.results
    if ours == theirs:
        return []
    if any(facts.fell[name] for name in FORM_FAULTS):
        return different(list(dict.fromkeys(lines_of(ours))), lines_of(theirs))
    return different(ours.splitlines(keepends=True), theirs.splitlines(keepends=True))


def different(ours: list[bytes], theirs: list[bytes]) -> list[bytes]:
    pairs = itertools.zip_longest(ours, theirs, fillvalue=b"")
    return [line for line, other in pairs if line != other]


def rows_differ(
    facts: Facts, batch: StoredBatch, results: dict[str, dict[str, Any]]
) -> Iterator[str]:
    for row in facts.results_of(batch):
        result = results.get(f"{batch.nonce}-{row['number']:07d}")
        what = f"Row {row['number']} of job {batch.job}"
        if result is None:
            yield f"{what} has no result in the file of its batch."
            continue
        expected = expected_row(result)
        found = {name: row[name] for name in expected}
        if found != expected:
            yield f"{what} holds {found}, its result says {expected}."


def expected_row(result: dict[str, Any]) -> dict[str, Any]:
    """What the row of a result has to hold."""
    kind = result["type"]
    if kind == "errored":
        return {"outcome": "errored", "answer": "", "cause": result["error"]["error"]["type"]}
    if kind in ("canceled", "expired"):
        return {"outcome": kind, "answer": "", "output_tokens": 0}
    if kind != "succeeded":
        return {"outcome": "look", "answer": "", "cause": "unknown_result"}
    message, usage = result["message"], result["message"]["usage"]
    answer = "" if message["stop_reason"] == "refusal" else text_of(result)
    whole = message["stop_reason"] in ("end_turn", "stop_sequence") and answer.strip()
    return {
        "outcome": "good" if whole else "look",
        "answer": answer,
        "stop_reason": message["stop_reason"],
        "input_tokens": usage["input_tokens"],
        "cache_write_tokens": usage["cache_creation_input_tokens"],
        "cache_read_tokens": usage["cache_read_input_tokens"],
        "output_tokens": usage["output_tokens"],
    }


def text_of(result: dict[str, Any]) -> str:
    blocks = result["message"]["content"]
    return "".join(block["text"] for block in blocks if block["type"] == "text")


# --- I4 -------------------------------------------------------------------------------------------


def owned_and_paid(facts: Facts) -> list[str]:
    """Every batch that the provider accepted from us belongs to exactly one of ours, and what is
    recorded as its cost is what it costs."""
    wrong = []
    owners = Counter(batch.provider_id for batch in facts.batches if batch.provider_id)
    for sent in facts.sent:
        if not sent.foreign and owners[sent.id] != 1:
            wrong.append(f"{sent.id} ({sent.size} rows) belongs to {owners[sent.id]} batches.")
        if sent.foreign and owners[sent.id]:
            wrong.append(f"{sent.id} is somebody else's, and taken for ours.")
        if sent.foreign and sent.cancel_requested:
            wrong.append(f"{sent.id} is somebody else's, and was canceled.")
    known = {sent.id for sent in facts.sent}
    for batch in facts.batches:
        if batch.provider_id and batch.provider_id not in known:
            wrong.append(f"{batch} names {batch.provider_id}, which the provider never had.")
        if batch.state not in FINAL_BATCHES:
            wrong.append(f"{batch} is {batch.state}.")
    for batch, _sent in batches_with_results(facts):
        cost = sum(map(cost_in_pico, results_of(batch.file or b"").values()))
        if cost != batch.cost_pico:
            wrong.append(f"{batch}: {batch.cost_pico} recorded, it costs {cost}.")
    for job in facts.jobs:
        stored = [*facts.rows, *facts.attempts]
        of_rows = sum(one["cost_pico"] for one in stored if one["job_id"] == job["id"])
        of_batches = sum(batch.cost_pico for batch in facts.batches if batch.job == job["id"])
        tallied = tally_of(job).get("cost_pico", 0)
        if not of_rows == of_batches == tallied:
            wrong.append(
                f"Job {job['id']} costs {of_rows} by its rows, {of_batches} by its batches, "
                f"{tallied} by its tally."
            )
    return wrong


def cost_in_pico(result: dict[str, Any]) -> int:
    """What one result costs in a batch, in millionths of a millionth of a dollar."""
    if result["type"] != "succeeded":
        return 0
    message, usage = result["message"], result["message"]["usage"]
    if message["stop_reason"] == "refusal" and not usage["output_tokens"]:
        category = (message["stop_details"] or {}).get("category")
        if category in FREE_REFUSALS:
            return 0
    creation = usage["cache_creation"]
    tokens = {
        "input": usage["input_tokens"],
        "cache_write_5m": creation["ephemeral_5m_input_tokens"],
        "cache_write_1h": creation["ephemeral_1h_input_tokens"],
        "cache_read": usage["cache_read_input_tokens"],
        "output": usage["output_tokens"],
    }
    price = prices()[message["model"]]
    # A price is dollars for a million tokens, and a batch costs half.
    cost = sum((Fraction(price[kind]) * count for kind, count in tokens.items()), Fraction())
    return round(cost * 10**6 / 2)


@cache
def prices() -> dict[str, dict[str, str]]:
    """Not those that the site reckons with, but those that were copied from the pricing page."""
    text = (ROOT / "tests" / "data" / "prices.json").read_text()
    table = json.loads(text, parse_float=str)
    return {name: entry["standard"] for entry in table["models"] for name in entry["ids"]}


# --- I5 -------------------------------------------------------------------------------------------


def nothing_waits(facts: Facts) -> list[str]:
    """No job waits silently: one that is not final is due some time, or says why a person is
    needed. Looked at during the run as well, see `waits_silently`."""
    return [f"Job {job['id']} is {job['state']}, never due." for job in waits_silently(facts.jobs)]


def waits_silently(jobs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    moving = ("reading", "submitting", "working", "canceling", "deleting")
    return [
        job
        for job in jobs
        if job["state"] in moving and job["next_action_at"] is None and not job["held"]
    ]


# --- I8 -------------------------------------------------------------------------------------------


def within_the_cap(facts: Facts) -> list[str]:
    """What was charged is below the cap, and nothing is reserved any more. That both together never
    go over it is looked at during the run, see `above_the_cap`."""
    wrong = [
        f"Job {job['id']} is {job['state']} and still has {job['reserved_pico']} reserved."
        for job in facts.jobs
        if job["state"] in FINAL_JOBS and job["reserved_pico"]
    ]
    return [*wrong, *above_the_cap(facts.jobs)]


def above_the_cap(jobs: Sequence[dict[str, Any]]) -> list[str]:
    taken_up = sum(job["spent_pico"] + job["reserved_pico"] for job in jobs)
    above = taken_up > CAP * 10**12
    return [f"{taken_up} of {CAP * 10**12} were taken up."] if above else []


# --- I6 -------------------------------------------------------------------------------------------


def nothing_leaks(facts: Facts) -> list[str]:
    """Key, prompt and cells are in no log, queue or journal, and the key is in no file at all. What
    the person saw (addresses, error pages) is looked at in the browser."""
    plan = facts.plan
    texts = {"prompt": plan.prompt_canary.encode(), "cells": plan.cell_canary.encode()}
    key = plan.key.encode()
    wrong = []
    for path in sorted([*facts.data.rglob("*"), *facts.logs.rglob("*")]):
        if not path.is_file() or path.is_relative_to(facts.data / "static"):
            continue
        content = path.read_bytes()
        if key in content:
            wrong.append(f"The key is in {path.name}.")
        if is_of_the_person(facts, path):
            continue
        found = [name for name, text in texts.items() if text in content]
        wrong += [f"Text of the {name} is in {path.name}." for name in found]
    for name, text in {"key": key, **texts}.items():
        if text.decode() in facts.queue:
            wrong.append(f"The {name} is in the queue.")
    return wrong


def is_of_the_person(facts: Facts, path: Path) -> bool:
    """Whether the file is there to hold what the person wrote."""
    folders = ("uploads", "bodies", "results", "exports")
    parts = path.relative_to(facts.data).parts if path.is_relative_to(facts.data) else ()
    if parts and parts[0].startswith("before-restore-"):
        parts = parts[1:]
    return path.name.startswith("batchsite.sqlite3") or (len(parts) > 1 and parts[0] in folders)


# --- I7 -------------------------------------------------------------------------------------------


def downloads_whole(facts: Facts) -> list[str]:
    """In the files that the person gets, every row of the upload is there once, in its order, with
    its cells, a status, and an answer that is its own."""
    wrong = []
    for (job, kind), content in facts.downloads.items():
        plan = facts.plans[job]
        if kind == "csv":
            found = lines_of_csv(content)[1:]
            rows = [csv_row(line, len(plan.columns) or 1) for line in found]
        else:
            rows = [json_row(json.loads(line)) for line in lines_of(content)]
        if len(rows) != len(plan.rows):
            wrong.append(f"Job {job}: {len(rows)} rows in the {kind}, {len(plan.rows)} uploaded.")
            continue
        for given, (original, status, answer) in zip(plan.rows, rows, strict=True):
            what = f"Job {job}, {kind}, row {given.tag}"
            if not is_same(given.content, original):
                wrong.append(f"{what}: {original!r} instead of {given.content!r}.")
            if status not in (STATUS_IN_WORDS if kind == "jsonl" else STATUS_IN_WORDS.values()):
                wrong.append(f"{what}: its status is {status!r}.")
            if given.left_out != (status in ("left_out", STATUS_IN_WORDS["left_out"])):
                wrong.append(f"{what}: its status is {status!r}.")
            if status in ("good", STATUS_IN_WORDS["good"]) and not fits(answer, given.tag):
                wrong.append(f"{what}: the answer of another row, {answer!r}.")
    return wrong


def fits(answer: str, tag: str) -> bool:
    # A long line is made up of one letter; nothing tells whose it is but its id.
    return quoted_tag(answer) == tag or len(answer) > 100_000


def lines_of_csv(content: bytes) -> list[list[str]]:
    before = csv.field_size_limit(1 << 30)  # it is the whole process's
    try:
        return list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    finally:
        csv.field_size_limit(before)


def csv_row(line: list[str], width: int) -> tuple[list[str], str, str]:
    """Cells, status, answer."""
    return line[:width], line[width + 1], line[width]


def json_row(line: dict[str, Any]) -> tuple[Any, str, str]:
    original = line.get("request")
    if original is None:
        original = line.get("cells_as_read") or list(line["cells"].values())
    return original, line["status"], line["answer"] or ""


def is_same(given: Any, found: Any) -> bool:
    if isinstance(given, dict):
        # Of a ready-made request the CSV has its custom_id.
        return bool(found == given or found == [given["custom_id"]])
    cells = [*given, *[""] * (len(found) - len(given))]
    return len(cells) == len(found) and all(map(is_same_cell, cells, found))


def is_same_cell(given: str, found: str) -> bool:
    """As it was; what a spreadsheet would run has an apostrophe before it in CSV, also where the
    cell could be cut."""
    inner = _CUT.sub(r"\1'", given)
    formula = given.lstrip()[:1] in ("=", "+", "-", "@") or given[:1] in ("\t", "\r")
    return found in (given, inner) or (formula and found in (f"'{given}", f"'{inner}"))


_CUT = re.compile(r"([;\t\r\n])(?=[\s\"]*[=+\-@])")


# --- After deletion -------------------------------------------------------------------------------


def nothing_is_left(site: Site, facts: Facts, deleted: Sequence[int]) -> list[str]:
    """Of deleted jobs nothing is left here or at the provider, but what they have cost."""
    wrong = []
    for table in ("jobs_row", "jobs_attempt", "jobs_batch", "jobs_edit", "jobs_fileproblem"):
        numbers = ", ".join(map(str, deleted))
        left = site.database.read(f"SELECT id FROM {table} WHERE job_id IN ({numbers})")  # noqa: S608 - names of ours
        wrong += [f"{len(left)} rows are left in {table}."] if left else []
    for job in (job for job in facts.jobs if job["id"] in deleted):
        files = [*(site.data / "uploads").glob(f"{job['upload_file']}*")]
        for folder in ("bodies", "results", "exports", "search"):
            files += (site.data / folder).glob(f"{job['id']}-*")
        wrong += [f"{path.name} of job {job['id']} is left." for path in files]
    owners = {batch.provider_id: batch.job for batch in facts.batches if batch.provider_id}
    for batch in site.provider.truth()["batches"]:
        if owners.get(batch["id"]) in deleted and not batch["deleted"]:
            wrong.append(f"{batch['id']} is left at the provider.")
    spent = sum(job["spent_pico"] for job in facts.jobs)
    now = sum(job["spent_pico"] for job in site.database.table("jobs_job"))
    past = sum(one["spent_pico"] for one in site.database.table("jobs_pastspending"))
    if now + past != spent:
        wrong.append(f"{spent} were spent, and {now} and {past} are known of it.")
    return wrong


ALL: dict[str, Callable[[Facts], list[str]]] = {
    "I1 accepted once": accepted_once,
    "I2 one outcome": one_outcome,
    "I3 results exact": results_exact,
    "I4 owned and paid": owned_and_paid,
    "I5 nothing waits silently": nothing_waits,
    "I6 nothing leaks": nothing_leaks,
    "I7 downloads whole": downloads_whole,
    "I8 within the cap": within_the_cap,
    "I9 pilot and rest": pilot_and_rest,
    "I10 told once": told_once,
}
