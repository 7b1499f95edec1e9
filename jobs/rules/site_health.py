"""What is wrong with a site, judged from facts about it. The System page, the alarms and nothing
else go by what stands here. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from .wording import size

SIGN_OF_LIFE = timedelta(seconds=90)  # a worker without one for so long is not working
SILENT = timedelta(minutes=5)  # one of several workers
RESTARTED = timedelta(hours=1)  # how long that is worth a look
SLOW_QUEUE = timedelta(minutes=10)
AWAY = timedelta(minutes=5)
WAITING = timedelta(days=1)  # results that are ready and not here

BROKEN, ATTENTION = "broken", "attention"


@dataclass(frozen=True)
class WorkerFacts:
    machine: str
    name: str
    version: str
    started_at: datetime
    seen_at: datetime
    died_at: datetime | None = None


@dataclass(frozen=True)
class SiteFacts:
    """A site at one moment. Times are aware, sizes are bytes."""

    now: datetime
    version: str  # of the process that asks
    practice: bool = True
    tick_at: datetime | None = None  # the last sign of life of any worker
    workers: tuple[WorkerFacts, ...] = ()
    due_jobs: int = 0
    oldest_due: datetime | None = None
    held_jobs: tuple[int, ...] = ()
    paused: str = ""
    stopped_at: datetime | None = None
    provider_trouble: str = ""
    provider_away_since: datetime | None = None
    site_trouble: str = ""
    free: int = 0
    total: int = 0
    reserve: int = 0
    journal_ahead: int = 0
    waiting_results: int = 0  # batches that have ended and are not here
    waiting_since: datetime | None = None
    waiting_until: datetime | None = None  # when the provider deletes the first
    backup_at: datetime | None = None
    backup_folder: str = ""
    backup_troubles: int = 0
    backup_hours: float = 0  # how old the newest may be; 0: that is not watched
    audit_fault: str = ""
    audit_checked_at: datetime | None = None
    audit_entries: int = 0
    has_mail: bool = False


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be."""

    kind: str
    part: str  # the line of the System page that it belongs to
    level: str  # BROKEN or ATTENTION
    text: str
    remedy: str
    subject: str = ""  # which job or worker
    detail: str = ""  # the provider's words
    is_alarm: bool = False  # administrators are told


# What is said when an alarm is over.
OVER = {
    "worker_silent": "A worker is running again.",
    "worker_restarted": "The restarted worker has been running for an hour.",
    "worker_hung": "A worker that did not respond is back, or was removed.",
    "job_held": "No more action is needed in job {subject}.",
    "key_paused": "Sending has resumed.",
    "results_waiting": "No results have been waiting for over a day.",
    "disk_low": "The disk has room again.",
    "journal_ahead": "The database and the journal agree again.",
    "backup_old": "There is a new backup.",
    "audit_broken": "The audit log is complete again.",
}


def over_in_words(kind: str, subject: str) -> str:
    return OVER.get(kind, "It is solved.").format(subject=subject)


def judge(facts: SiteFacts) -> list[Finding]:
    """All that is wrong, by the parts of a site."""
    return [
        *_of_workers(facts),
        *_of_jobs(facts),
        *_of_provider(facts),
        *_of_files(facts),
        *_of_records(facts),
    ]


def worker_is_alive(facts: SiteFacts) -> bool:
    return facts.tick_at is not None and facts.now - facts.tick_at < SIGN_OF_LIFE


def _of_workers(facts: SiteFacts) -> Iterator[Finding]:
    if not worker_is_alive(facts):
        yield Finding(
            "worker_silent",
            "worker",
            BROKEN,
            "No worker is responding. Nothing is sent or downloaded.",
            "Start the site again. The log says why the worker ended.",
            is_alarm=True,
        )
    for worker in facts.workers:
        if worker.died_at is not None:
            if facts.now - worker.died_at < RESTARTED:
                yield Finding(
                    "worker_restarted",
                    "worker",
                    ATTENTION,
                    f"A worker on {worker.machine} ended unexpectedly. Its work was taken over.",
                    "Look for the reason in the log.",
                    worker.name,
                    is_alarm=True,
                )
        elif facts.now - worker.seen_at > SILENT:
            yield Finding(
                "worker_hung",
                "worker",
                ATTENTION,
                f"A worker on {worker.machine} is not responding.",
                "Start it again. If you removed it, ignore this: it disappears in a day.",
                worker.name,
                is_alarm=True,
            )
        elif worker.version != facts.version:
            yield Finding(
                "worker_version",
                "worker",
                BROKEN,
                f"A worker on {worker.machine} runs version {worker.version}, and the web server "
                f"{facts.version}.",
                "Start all parts of the site with one version.",
                worker.name,
            )


def _of_jobs(facts: SiteFacts) -> Iterator[Finding]:
    waits = facts.now - facts.oldest_due if facts.oldest_due else timedelta()
    if waits > SLOW_QUEUE:
        yield Finding(
            "queue_slow",
            "queue",
            ATTENTION,
            f"A job has waited for the worker for {int(waits.total_seconds() // 60):,} minutes.",
            "If this goes on, look into the worker’s log.",
        )
    for job in facts.held_jobs:
        yield Finding(
            "job_held",
            "jobs",
            ATTENTION,
            f"Action is needed in job {job}.",
            "Its page says what to decide.",
            str(job),
            is_alarm=True,
        )


def _of_provider(facts: SiteFacts) -> Iterator[Finding]:
    if facts.stopped_at:
        yield Finding(
            "spending_stopped",
            "provider",
            ATTENTION,
            "An administrator has stopped all spending.",
            "Allow it again under Spending, Limits.",
        )
    if facts.paused:
        yield Finding(
            "key_paused",
            "provider",
            BROKEN,
            "Sending is paused, because Anthropic refused the API key or the account.",
            "Fix it in Anthropic’s Console, or enter a new key under Spending, API key.",
            detail=facts.paused,
            is_alarm=True,
        )
    elif facts.provider_away_since and facts.now - facts.provider_away_since > AWAY:
        yield Finding(
            "provider_away",
            "provider",
            ATTENTION,
            "Anthropic could not be reached lately.",
            "Check this machine’s connection, and Anthropic’s status page.",
            detail=facts.provider_trouble,
        )
    if facts.waiting_since and facts.now - facts.waiting_since > WAITING:
        until = f"{facts.waiting_until:%-d %B %Y}" if facts.waiting_until else "soon"
        yield Finding(
            "results_waiting",
            "results",
            BROKEN,
            f"Results have been ready for over a day and are not here. Anthropic deletes the first "
            f"on {until}.",
            "Check the connection, the key and the disk.",
            is_alarm=True,
        )


def _of_files(facts: SiteFacts) -> Iterator[Finding]:
    if facts.free < facts.reserve:
        yield Finding(
            "disk_low",
            "disk",
            BROKEN,
            f"Less than {size(facts.reserve)} is free, so new files are refused.",
            "Delete jobs and empty the trash, or add space.",
            is_alarm=True,
        )
    if facts.site_trouble:
        yield Finding(
            "site_trouble",
            "disk",
            BROKEN,
            facts.site_trouble,
            "Check the disk, its permissions and the database. The log has the details.",
        )
    if facts.journal_ahead and not facts.practice:
        yield Finding(
            "journal_ahead",
            "journal",
            BROKEN,
            "The database is older than the journal, so nothing is sent.",
            "Press Find them at Anthropic, or run “manage.py job reconcile”.",
            is_alarm=True,
        )


def _of_records(facts: SiteFacts) -> Iterator[Finding]:
    wanted = timedelta(hours=facts.backup_hours)
    if wanted and (facts.backup_at is None or facts.now - facts.backup_at > wanted):
        text = "There is no backup yet."
        if facts.backup_at:
            text = f"The newest backup is older than {facts.backup_hours:g} hours."
        yield Finding(
            "backup_old",
            "backups",
            BROKEN,
            text,
            "Run “manage.py backup DIR”, and check what runs it every night.",
            is_alarm=True,
        )
    elif facts.backup_at is None:
        yield Finding(
            "backup_none",
            "backups",
            ATTENTION,
            "There is no backup yet.",
            "Run “manage.py backup DIR” every night.",
        )
    elif facts.backup_troubles:
        yield Finding(
            "backup_troubles",
            "backups",
            ATTENTION,
            "Files were missing or damaged on the site when the newest backup was made.",
            "Run “manage.py job verify”.",
        )
    if facts.audit_fault:
        yield Finding(
            "audit_broken",
            "audit",
            BROKEN,
            f"The audit log was changed outside of batchsite. {facts.audit_fault}",
            "Find out who can write to the database. A backup has the log as it was.",
            is_alarm=True,
        )
    if not facts.has_mail:
        yield Finding(
            "mail_none",
            "mail",
            ATTENTION,
            "Mail is not set up. People get links to copy instead.",
            "Set EMAIL_URL and EMAIL_FROM.",
        )
