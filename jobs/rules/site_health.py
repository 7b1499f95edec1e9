"""Decide what is wrong with a site, from facts about it. For the System page and alarms. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from .wording import size

SIGN_OF_LIFE = timedelta(seconds=90)  # a worker without one for so long is not working
SILENT = timedelta(minutes=5)  # one of several workers
RESTARTED = timedelta(hours=1)  # how long that is worth a look
SLOW_QUEUE = timedelta(minutes=10)
AWAY = timedelta(minutes=5)  # the provider, before it is said
ROOM_AGAIN = 1.2  # times the reserve: with as much room, the disk is low no longer
WAITING = timedelta(days=1)  # results that are ready and not here
COPIED_WITHIN = timedelta(days=1)
COPY_FAILING = timedelta(minutes=15)

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
    held_jobs: tuple[int, ...] = ()  # the newest
    held_count: int = 0  # of all
    paused: str = ""
    paused_teams: tuple[tuple[str, str], ...] = ()  # with keys of their own: name, and why
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
    copy_to: str = ""  # "": nothing is copied
    copies_open: int = 0  # files to copy to the storage, and to delete there
    copies_since: datetime | None = None  # the oldest of them
    copies_failing_since: datetime | None = None
    copies_stuck: int = 0  # files that failed again and again
    copies_trouble: str = ""
    has_old_copies: bool = False  # nothing is copied now, but something was
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
    "worker_restarted": "No worker has stopped unexpectedly for an hour.",
    "worker_hung": "The worker that did not respond is running again, or was removed.",
    "job_held": "No more action is needed in job {subject}.",
    "key_paused": "Sending has resumed.",
    "results_waiting": "No results have been waiting for over a day.",
    "disk_low": "The disk has enough free space again.",
    "site_trouble": "The disk and the database can be used again.",
    "journal_ahead": "The database and the journal agree again.",
    "backup_old": "There is a new backup.",
    "copies_behind": "Copies to the storage are up to date again, or are no longer made.",
    "audit_broken": "The audit log is complete again.",
}


def over_in_words(kind: str, subject: str) -> str:
    if kind == "key_paused" and subject:
        return f"Sending has resumed for team “{subject}”."
    return OVER.get(kind, "The problem is solved.").format(subject=subject)


def judge(facts: SiteFacts) -> list[Finding]:
    """All that is wrong, by the parts of a site."""
    return [
        *_of_workers(facts),
        *_of_jobs(facts),
        *_of_provider(facts),
        *_of_files(facts),
        *_of_copies(facts),
        *_of_records(facts),
    ]


def stays_open(kind: str, subject: str, facts: SiteFacts) -> bool:
    """Whether an open alarm for which there is no finding is not over yet."""
    if kind == "disk_low":  # else it would open and close again with every file
        return facts.free < facts.reserve * ROOM_AGAIN
    if kind == "job_held":  # it may be one of those that are not named
        is_older = not facts.held_jobs or int(subject) < min(facts.held_jobs)
        return is_older and facts.held_count > len(facts.held_jobs)
    return False


def is_alive(seen_at: datetime | None, now: datetime) -> bool:
    """Whether a worker, or any of them, gave a sign of life lately."""
    return seen_at is not None and now - seen_at < SIGN_OF_LIFE


def is_away(since: datetime, now: datetime) -> bool:
    """Whether the provider, which has answered nothing since then, counts as away."""
    return now - since >= AWAY


def alive_workers(facts: SiteFacts) -> list[WorkerFacts]:
    return [one for one in facts.workers if not one.died_at and is_alive(one.seen_at, facts.now)]


def _minutes(time: timedelta) -> int:
    return time // timedelta(minutes=1)


def _of_workers(facts: SiteFacts) -> Iterator[Finding]:
    if not is_alive(facts.tick_at, facts.now):
        # No alarm: they come from a worker. Monitoring asks /readyz.
        yield Finding(
            "worker_silent",
            "worker",
            BROKEN,
            "No worker is responding. Nothing is sent or downloaded.",
            "Restart the site. The worker’s log says why it stopped.",
        )
    for worker in facts.workers:
        if worker.died_at is not None:
            if facts.now - worker.died_at < RESTARTED:
                yield Finding(
                    "worker_restarted",
                    "worker",
                    ATTENTION,
                    f"A worker on {worker.machine} stopped unexpectedly and was replaced.",
                    "Check the log for the reason.",
                    worker.name,
                    is_alarm=True,
                )
        elif facts.now - worker.seen_at > SILENT:
            yield Finding(
                "worker_hung",
                "worker",
                ATTENTION,
                f"A worker on {worker.machine} has not responded for over {_minutes(SILENT)} "
                "minutes.",
                "Restart it. If you removed it, ignore this: it leaves this page after a day.",
                worker.name,
                is_alarm=True,
            )
        elif worker.version != facts.version:
            yield Finding(
                "worker_version",
                "worker",
                BROKEN,
                f"A worker on {worker.machine} runs version {worker.version}, but the web server "
                f"runs {facts.version}.",
                "Run all parts of the site on the same version.",
                worker.name,
            )


def _of_jobs(facts: SiteFacts) -> Iterator[Finding]:
    waits = facts.now - facts.oldest_due if facts.oldest_due else timedelta()
    if waits > SLOW_QUEUE:
        yield Finding(
            "queue_slow",
            "queue",
            ATTENTION,
            f"A job has been waiting for {_minutes(waits):,} minutes.",
            "If this continues, check the worker’s log.",
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
    if more := facts.held_count - len(facts.held_jobs):
        yield Finding(
            "more_held",
            "jobs",
            ATTENTION,
            f"Older jobs that need action: {more:,}.",
            "Filter the list of jobs by Needs attention.",
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
    for team, why in facts.paused_teams:
        yield Finding(
            "key_paused",
            "provider",
            BROKEN,
            f"Sending is paused for team “{team}”: Anthropic refused its API key or account.",
            "Fix it in Anthropic’s Console, or enter a new key on the team’s page.",
            subject=team,
            detail=why,
            is_alarm=True,
        )
    if (
        not facts.paused
        and facts.provider_away_since
        and is_away(facts.provider_away_since, facts.now)
    ):
        yield Finding(
            "provider_away",
            "provider",
            ATTENTION,
            f"Anthropic has not answered for over {_minutes(AWAY)} minutes.",
            "Check this machine’s connection, and Anthropic’s status page.",
            detail=facts.provider_trouble,
        )
    if facts.waiting_since and facts.now - facts.waiting_since > WAITING:
        until = f"on {facts.waiting_until:%-d %B %Y}" if facts.waiting_until else "soon"
        yield Finding(
            "results_waiting",
            "results",
            BROKEN,
            f"Results have been ready for over a day but are not downloaded. Anthropic deletes the "
            f"first ones {until}.",
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
            is_alarm=True,
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


def _of_copies(facts: SiteFacts) -> Iterator[Finding]:
    late = facts.copies_since and facts.now - facts.copies_since > COPIED_WITHIN
    failing = facts.copies_failing_since and facts.now - facts.copies_failing_since > COPY_FAILING
    if not facts.copy_to:
        if facts.has_old_copies:
            yield Finding(
                "copies_off",
                "copies",
                ATTENTION,
                "Copies are off, but the storage still has some. They stay there when their files "
                "are deleted here.",
                "Set COPY_TO as it was, or delete them in the storage yourself.",
            )
    elif late or failing or facts.copies_stuck:
        text = "Copying to the storage fails."
        if late and not (failing or facts.copies_stuck):
            text = "Copies to the storage are over a day behind."
        yield Finding(
            "copies_behind",
            "copies",
            BROKEN,
            text,
            "The page System says why. Results and backups on this machine are not affected.",
            detail=facts.copies_trouble,
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
            "Run “manage.py backup DIR” now, and check that it runs every night.",
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
            "Some files were missing or damaged when the newest backup was made.",
            "Run “manage.py job verify”.",
        )
    if facts.audit_fault:
        yield Finding(
            "audit_broken",
            "audit",
            BROKEN,
            f"The audit log was changed outside of batchsite. {facts.audit_fault}",
            "Find out who can change the database. Your backups have the original log.",
            is_alarm=True,
        )
    if not facts.has_mail:
        yield Finding(
            "mail_none",
            "mail",
            ATTENTION,
            "Email is not set up. People get links to copy instead.",
            "Set EMAIL_URL and EMAIL_FROM.",
        )
