"""Numbers for Prometheus, in its text format, all from the database: each web process says the
same. Counts come from jobs, batches and their sums, never from rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median, quantiles

from django.conf import settings
from django.db.models import Count, Min, Q

from batchsite import __version__

from ..models import Alarm, Batch, Heartbeat, Job, SpendingCaps, clock
from ..rules import site_health
from ..rules.site_health import SiteFacts
from ..spending import ledger
from ..worker import site_facts

LAST = 200  # batches and jobs whose phases are measured
Label = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Metric:
    name: str
    help: str
    values: Iterable[tuple[Label, float]]
    kind: str = "gauge"

    def lines(self) -> Iterator[str]:
        name = f"batchsite_{self.name}"
        yield f"# HELP {name} {self.help}"
        yield f"# TYPE {name} {self.kind}"
        for labels, value in self.values:
            inner = ",".join(f'{key}="{_escape(text)}"' for key, text in labels)
            yield f"{name}{{{inner}}} {value:.17g}" if inner else f"{name} {value:.17g}"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def exposition() -> str:
    """Raises DatabaseError, OSError."""
    facts = site_facts.gather()
    metrics = [*_of_work(facts), *_of_times(facts), *_of_money(facts), *_of_site(facts)]
    return "".join(f"{line}\n" for metric in metrics for line in metric.lines())


def _one(value: float | None) -> list[tuple[Label, float]]:
    """A value without labels; nothing where there is none."""
    return [] if value is None else [((), value)]


def _by_state(
    model: type[Job] | type[Batch], names: Iterable[str]
) -> Iterator[tuple[Label, float]]:
    """Also those states in which there is none, so that a graph shows 0."""
    here = Q(practice=settings.PRACTICE)
    if model is Job:  # a draft gets its mode when it is submitted
        here |= Q(state__in=Job.OPEN)
    mine = model._default_manager.filter(here)
    counts = dict(mine.order_by().values_list("state").annotate(count=Count("pk")))
    for name in names:
        yield (("state", name),), counts.get(name, 0)


def _of_work(facts: SiteFacts) -> Iterator[Metric]:
    yield Metric("jobs", "Jobs by state.", _by_state(Job, Job.State.values))
    yield Metric("batches", "Batches by state.", _by_state(Batch, Batch.State.values))
    yield Metric("jobs_held", "Jobs in which action is needed.", _one(facts.held_count))
    yield Metric("jobs_due", "Jobs with a step that is due.", _one(facts.due_jobs))
    yield Metric(
        "queue_age_seconds",
        "How long the oldest due step has waited.",
        _one(_age(facts, facts.oldest_due) or 0),
    )
    unknown = Batch.objects.filter(state=Batch.State.UNKNOWN, practice=settings.PRACTICE)
    yield Metric(
        "oldest_unknown_batch_seconds",
        "How long ago the oldest batch was sent of which it is unknown whether it arrived.",
        _one(_age(facts, unknown.aggregate(at=Min("intent_at"))["at"])),
    )
    yield Metric("results_waiting", "Ended batches not downloaded.", _one(facts.waiting_results))
    left = facts.waiting_until - facts.now if facts.waiting_until else None
    yield Metric(
        "results_expire_hours",
        "Hours until the provider deletes the first results that are not downloaded.",
        _one(left / timedelta(hours=1) if left is not None else None),
    )


def _age(facts: SiteFacts, moment: datetime | None) -> float | None:
    return None if moment is None else max((facts.now - moment).total_seconds(), 0.0)


def _of_times(facts: SiteFacts) -> Iterator[Metric]:
    yield Metric(
        "phase_seconds",
        f"How long each phase took: median and 90th percentile of the last {LAST}.",
        _phases(),
    )


def _phases() -> Iterator[tuple[Label, float]]:
    batches = Batch.objects.filter(collected_at__isnull=False, practice=settings.PRACTICE)
    batches = batches.filter(is_external=False).order_by("-pk")
    times = list(batches.values_list("intent_at", "created_at", "ended_at", "collected_at")[:LAST])
    jobs = Job.objects.filter(finished_at__isnull=False, practice=settings.PRACTICE)
    jobs = jobs.filter(is_external=False).order_by("-pk")
    whole = list(jobs.values_list("created_at", "read_at", "confirmed_at", "finished_at")[:LAST])
    for phase, pairs in (
        ("reading", [(one[0], one[1]) for one in whole]),
        ("sending", [(one[0], one[1]) for one in times]),
        ("processing", [(one[1], one[2]) for one in times]),
        ("collecting", [(one[2], one[3]) for one in times]),
        ("job", [(one[2], one[3]) for one in whole]),
    ):
        # Clocks of two machines may differ by a little.
        took = [max((end - begin).total_seconds(), 0.0) for begin, end in pairs if begin and end]
        if took:
            high = quantiles(took, n=10, method="inclusive")[-1] if len(took) > 1 else took[0]
            yield (("phase", phase), ("quantile", "0.5")), median(took)
            yield (("phase", phase), ("quantile", "0.9")), high


def _of_money(facts: SiteFacts) -> Iterator[Metric]:
    month = ledger.month_of(clock.now())
    spent, caps = ledger.spent_since(month), SpendingCaps.get()
    committed = spent + sum(one.amount for one in ledger.open_charges(month))
    yield Metric("spent_dollars", "Charged this month, in US dollars.", _one(float(spent)))
    yield Metric(
        "committed_dollars",
        "Charged or reserved this month, in US dollars: what counts toward the limit.",
        _one(float(committed)),
    )
    limits = {
        "job": caps.most_a_job,
        "person": caps.most_a_person,
        "total": caps.most_a_month,
    }
    yield Metric(
        "limit_dollars",
        "Limits in US dollars: per job, per person per month, total per month.",
        [((("limit", name),), float(cap)) for name, cap in limits.items() if cap is not None],
    )
    yield Metric("spending_stopped", "1: all spending is stopped.", _one(bool(facts.stopped_at)))


def _of_site(facts: SiteFacts) -> Iterator[Metric]:
    beat = Heartbeat.get()
    yield Metric(
        "provider_errors_total",
        "Calls to the provider that failed.",
        _one(beat.provider_errors),
        "counter",
    )
    yield Metric(
        "provider_away_seconds",
        "For how long the provider has answered nothing.",
        _one(_age(facts, facts.provider_away_since) or 0),
    )
    paused = bool(facts.paused or facts.paused_teams)
    yield Metric("sending_paused", "1: a key or account is refused.", _one(paused))
    yield Metric(
        "worker_seen_seconds",
        "How long ago a worker gave a sign of life.",
        _one(_age(facts, facts.tick_at)),
    )
    alive = len(site_health.alive_workers(facts))
    yield Metric("workers", "Workers that are alive.", _one(alive))
    yield Metric("journal_ahead_batches", "Sent, and not known here.", _one(facts.journal_ahead))
    yield Metric("disk_free_bytes", "Free space for DATA_DIR.", _one(facts.free))
    yield Metric("disk_size_bytes", "Size of the disk of DATA_DIR.", _one(facts.total))
    yield Metric("disk_reserve_bytes", "DISK_RESERVE_BYTES.", _one(facts.reserve))
    yield Metric(
        "backup_age_seconds", "Age of the newest backup.", _one(_age(facts, facts.backup_at))
    )
    yield Metric(
        "copies_waiting",
        "Files to copy to object storage, or to delete there.",
        _one(facts.copies_open),
    )
    yield Metric(
        "copies_behind_seconds",
        "How long the oldest of them has waited.",
        _one(_age(facts, facts.copies_since) or 0),
    )
    opened = dict(Alarm.objects.open().order_by().values_list("kind").annotate(count=Count("pk")))
    yield Metric(
        "alarms", "Open alarms.", [((("kind", kind),), opened[kind]) for kind in sorted(opened)]
    )
    yield Metric("info", "The version of the web server.", [((("version", __version__),), 1)])
