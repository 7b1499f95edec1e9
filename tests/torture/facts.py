"""What is known after a run: what the site stored, what the provider did, what the person has."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..notifications.receiver_process import Arrival
from . import told
from .person import Person
from .plans import JobPlan, Plan
from .site import Site, as_json

# What a batch's results are at the provider, and at the site.
CONTENT_FAULTS = ("results: unknown_type", "results: long_line")
FORM_FAULTS = ("results: duplicate_line", "results: crlf", "results: blank_tail")


# A job was stopped, or restored from a time before it was confirmed: the rest is not sent.
STOPPED = ("Stop requested", "The database of this site was restored from a copy in which this job")


@dataclass
class SentBatch:
    """A batch as the provider knows it, foreign ones too."""

    id: str
    size: int
    custom_ids: list[str]
    foreign: bool
    counts: dict[str, int]  # by kind of result, once it has ended
    results: bytes  # the file of results; b"" while there is none
    cancel_requested: bool = False


@dataclass
class StoredBatch:
    """A batch as the site has stored it, with its file of results."""

    id: int
    job: int
    number: int
    size: int
    nonce: str
    state: str
    provider_id: str
    sha256: str
    size_of_file: int
    cost_pico: int
    file: bytes | None

    def __str__(self) -> str:
        return f"batch {self.number} of job {self.job}"


@dataclass
class Facts:
    plan: Plan
    data: Path
    logs: Path
    jobs: list[dict[str, Any]]
    rows: list[dict[str, Any]]
    attempts: list[dict[str, Any]]  # what rows came to before they were sent again
    batches: list[StoredBatch]
    job_of_nonce: dict[str, int]  # of every batch that was ever meant to be sent
    events: Counter[str]  # of submissions, by kind
    log: list[dict[str, Any]]  # what the pages of the jobs say
    queue: str  # what is in the queue, if that is in the database
    sent: list[SentBatch]
    posts: int
    fell: Counter[str]  # faults, by place and kind
    plans: dict[int, JobPlan]  # by the id of the job
    downloads: dict[tuple[int, str], bytes]
    stopped: set[int]
    pilots: list[dict[str, Any]]
    confirmations: list[dict[str, Any]]  # entries of the audit log
    told: list[dict[str, Any]]  # notifications, and what became of each
    arrivals: list[Arrival]  # what the webhook got

    @property
    def ours(self) -> list[SentBatch]:
        return [batch for batch in self.sent if not batch.foreign]

    def rows_of(self, job: int) -> list[dict[str, Any]]:
        return [row for row in self.rows if row["job_id"] == job]

    def results_of(self, batch: StoredBatch) -> list[dict[str, Any]]:
        """What is stored of the results of a batch: rows, and earlier attempts at them."""
        stored = [*self.rows, *self.attempts]
        return [one for one in stored if one["batch_id"] == batch.id]


def gather(site: Site, person: Person, plan: Plan) -> Facts:
    """Everything, once all is at rest. Faults must be over, or they would fall on this."""
    database, truth = site.database, site.provider.truth(ids=True)
    events, log = database.table("jobs_submissionevent"), database.table("jobs_jobevent")
    batches = [_stored(site, row) for row in database.table("jobs_batch")]
    jobs = database.table("jobs_job")
    job_of_nonce = {event["nonce"]: event["job_id"] for event in events}
    job_of_nonce |= {batch.nonce: batch.job for batch in batches}
    job_of_nonce |= _journalled(site.data / "journal.jsonl")
    downloads = {
        (job, kind): person.download(job, kind)
        for job in person.jobs.values()
        for kind in ("csv", "jsonl")
    }
    return Facts(
        plan=plan,
        data=site.data,
        logs=site.logs,
        jobs=jobs,
        rows=database.read("SELECT * FROM jobs_row ORDER BY job_id, number"),
        attempts=database.read("SELECT * FROM jobs_attempt ORDER BY job_id, number, attempt"),
        batches=batches,
        job_of_nonce=job_of_nonce,
        events=Counter(event["kind"] for event in events),
        log=log,
        queue=_queue(site),
        sent=[_sent(site, batch) for batch in truth["batches"]],
        posts=truth["posts"],
        fell=site.fell + Counter(site.provider.faults()["fell"]),
        plans={person.jobs[job.name]: job for job in plan.jobs if job.name in person.jobs},
        downloads=downloads,
        stopped={e["job_id"] for e in log if e["text"].startswith(STOPPED)},
        pilots=database.table("jobs_pilot"),
        confirmations=[
            one for one in database.table("jobs_auditentry") if one["event"] == "job_submitted"
        ],
        told=told.told_in(database),
        arrivals=site.arrivals(),
    )


def _journalled(path: Path) -> dict[str, int]:
    """The job of every batch that was to be sent, also of those that a restored database forgot."""
    if not path.exists():
        return {}
    entries = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
    return {one["nonce"]: one["job"] for one in entries if one["kind"] == "intent"}


def _stored(site: Site, row: dict[str, Any]) -> StoredBatch:
    file = site.data / "results" / f"{row['job_id']}-{row['nonce']}.jsonl"
    return StoredBatch(
        id=row["id"],
        job=row["job_id"],
        number=row["number"],
        size=row["size"],
        nonce=row["nonce"],
        state=row["state"],
        provider_id=row["provider_id"] or "",
        sha256=row["results_sha256"],
        size_of_file=row["results_bytes"],
        cost_pico=row["cost_pico"],
        file=file.read_bytes() if file.exists() else None,
    )


def _sent(site: Site, truth: dict[str, Any]) -> SentBatch:
    return SentBatch(
        id=truth["id"],
        size=truth["size"],
        custom_ids=truth["custom_ids"] or [],
        foreign=truth["foreign"],
        counts=truth["counts"],
        results=site.provider.results(truth["id"]) if truth["ended"] else b"",
        cancel_requested=truth["cancel_requested"],
    )


def _queue(site: Site) -> str:
    """The queue's tables, where they are in the same database."""
    if not isinstance(site.database.address, str):
        return ""
    names = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
    found = [row["table_name"] for row in site.database.read(names)]
    tables = [name for name in found if re.match(r"huey|kv|schedule|task", name)]
    return repr([site.database.read(f"SELECT * FROM {name}") for name in tables])  # noqa: S608 - names of ours


def lines_of(content: bytes) -> list[bytes]:
    """The lines of a file of results, without their ends and without blank ones."""
    return [line.strip() for line in content.split(b"\n") if line.strip()]


def results_of(content: bytes) -> dict[str, dict[str, Any]]:
    """The results in a file, by custom_id."""
    lines = [json.loads(line) for line in lines_of(content)]
    return {line["custom_id"]: line["result"] for line in lines}


def tally_of(job: dict[str, Any]) -> dict[str, Any]:
    tally: dict[str, Any] = as_json(job["tally"])
    return tally
