"""The head of a sent job's page: its state, how far it is, how long it still takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse
from django.utils import timezone

from ...models import NOT_GOOD, Batch, Job, Outcome, Round, SiteState
from ...rules.judging import NOT_SELECTED
from ..templatetags.show import duration, job_state, rows
from .batch_trouble import is_overdue

ANSWERS, PROBLEMS, COST, DETAILS = TABS = ("answers", "problems", "cost", "details")
NARROWEST = 0.6  # percent of the bar: a few rows among a million are still seen
# How the bar and its legend call the outcomes, in this order, and their colours.
OUTCOMES: dict[Outcome, tuple[str, str]] = {
    Outcome.GOOD: ("good", "green"),
    Outcome.LOOK: ("to check", "yellow"),
    Outcome.ERRORED: ("failed", "red"),
    Outcome.EXPIRED: ("not reached", "orange"),
    Outcome.CANCELED: ("stopped", "stopped"),
    Outcome.WAITING: ("waiting", "waiting"),
    Outcome.LEFT_OUT: ("skipped", "skipped"),
}
STATE_ICONS = {"green": "circle-check", "yellow": "alert-triangle", "red": "alert-circle"}


@dataclass(frozen=True)
class Count:
    """Rows of one outcome, with the table of them and their part of the bar in percent."""

    words: str
    rows: int
    colour: str
    url: str
    start: str
    width: str  # "" for rows that are not in the bar


@dataclass(frozen=True)
class Tab:
    key: str
    words: str
    url: str
    count: int | None = None


def header_context(
    job: Job, site: SiteState, batches: Sequence[Batch], again: Round | None
) -> dict[str, Any]:
    """What the head shows. `batches`: all of the job; `again`: its last retry."""
    now = [batch for batch in batches if batch.round == (again.number if again else 1)]
    paused = bool(site.why_not_sending)
    words, colour = job_state(job, paused)
    # Rows of what is being sent now: done, and in all.
    done, total = _progress(now, again) if again else (job.done_count, job.sendable_count)
    overdue = [batch for batch in batches if is_overdue(batch)]
    left = _until_limit(batches)
    headline, detail = _headline(job, now, again, (done, total))
    stands_still = job.held or (paused and job.sends) or not site.heartbeat.worker_is_alive
    return {
        "state_words": words.partition(" – ")[0],
        "state_icon": icon_of(job, colour),
        "colour": colour,
        "headline": headline,
        "detail": detail,
        "counts": counts_of(job),
        "problem_count": problem_count(job),
        "bar_words": _bar_words(job),
        "rows_in_words": _rows_in_words(job),
        "again": again,
        "preparing": again if again and again.step != Round.Step.READY else None,
        "elapsed": elapsed(job, again),
        "eta": "" if stands_still or overdue else _eta(job, again, done, total, left),
        "time_left": left,
        "overdue": overdue,
        "no_room_until": site.sending.send_after if _has_no_room(job, site) else None,
    }


def tabs_of(job: Job) -> list[Tab]:
    """The four tabs, each with its address."""
    page = reverse("job", args=[job.pk])
    return [
        Tab(ANSWERS, "Answers", f"{page}?tab={ANSWERS}"),
        Tab(PROBLEMS, "Problems", reverse("problems", args=[job.pk]), problem_count(job)),
        Tab(COST, "Cost", f"{page}?tab={COST}"),
        Tab(DETAILS, "Details", f"{page}?tab={DETAILS}"),
    ]


def problem_count(job: Job) -> int:
    """Rows without a good answer that were to get one."""
    return job.outcome_count(*NOT_GOOD)


def rows_url(job: Job, **query: str) -> str:
    address = reverse("rows", args=[job.pk])
    return f"{address}?{urlencode(query)}" if query else address


def icon_of(job: Job, colour: str) -> str:
    """The icon of a state with this color."""
    if job.state == Job.State.CANCELING or job.outcome_count(Outcome.CANCELED):
        return "player-stop"
    return STATE_ICONS.get(colour, "clock")


# --- The bar --------------------------------------------------------------------------------------


def counts_of(job: Job) -> list[Count]:
    """Rows by outcome, those without any left out. Skipped rows are not part of the bar."""
    total = max(job.sendable_count, 1)
    found, start = [], 0.0
    for outcome, (words, colour) in OUTCOMES.items():
        number = job.outcome_count(outcome)
        if outcome == Outcome.LEFT_OUT:
            number -= job.unselected_count
        if not number:
            continue
        width = 0.0 if outcome == Outcome.LEFT_OUT else max(100 * number / total, NARROWEST)
        found.append(
            Count(
                words,
                number,
                colour,
                rows_url(job, outcome=outcome.value),
                f"{start:.2f}",
                f"{width:.2f}" if width else "",
            )
        )
        start += width
    if job.unselected_count:
        url = rows_url(job, outcome=Outcome.LEFT_OUT.value, cause=NOT_SELECTED)
        found.append(Count("not selected", job.unselected_count, "skipped", url, "0", ""))
    return found


def _rows_in_words(job: Job) -> str:
    """ "61 rows", "43 of 61 rows selected" """
    # The price knows how many are not selected before the worker has marked them.
    survey = job.estimate.basis.survey if job.estimate else None
    unselected = job.unselected_count or (survey.unselected if survey else 0)
    if not unselected:
        return rows(job.row_count)
    return f"{job.row_count - unselected:,} of {rows(job.row_count)} selected"


def _bar_words(job: Job) -> str:
    """ "61 rows: 45 good, 16 to check" """
    parts = [f"{count.rows:,} {count.words}" for count in counts_of(job)]
    return f"{rows(job.row_count)}: {', '.join(parts) or 'not counted yet'}"


def _progress(now: Sequence[Batch], again: Round) -> tuple[int, int]:
    """Rows that are done, of those of a round; while it is prepared: that it has."""
    done = sum(one.size for one in now if one.is_final)
    return (done if again.step == Round.Step.READY else again.taken), again.rows


# --- Times ----------------------------------------------------------------------------------------


def elapsed(job: Job, again: Round | None) -> timedelta | None:
    """How long what was sent last has taken."""
    begin = again.asked_at if again else job.confirmed_at
    if begin is None:
        return None
    end: datetime = job.finished_at or timezone.now()
    return end - begin


def _eta(job: Job, again: Round | None, done: int, total: int, limit: timedelta | None) -> str:
    """ "About 12 minutes left"; "" when nothing is known. How fast this job was so far counts for
    more the further it is; before that, how long jobs like it took."""
    so_far = elapsed(job, again)
    if job.state not in (Job.State.SUBMITTING, Job.State.WORKING) or so_far is None:
        return ""
    if again and again.step != Round.Step.READY:
        return ""
    usual = None if again else Job.objects.usual_duration(job)
    left = estimate_left(done, total, so_far, usual)
    if left is None:
        return ""
    return approximately(min(left, limit) if limit else left)


def estimate_left(
    done: int, total: int, so_far: timedelta, usual: timedelta | None
) -> timedelta | None:
    """How long `total` rows will still take, `done` of them being done after `so_far`; `usual`: how
    long earlier jobs took in all. None when nothing tells."""
    if not total or done >= total:
        return None
    by_rate = so_far * ((total - done) / done) if done else None
    by_others = usual - so_far if usual and usual > so_far else None
    if by_rate is None or by_others is None:
        return by_rate or by_others
    share = done / total
    return by_rate * share + by_others * (1 - share)


def approximately(span: timedelta) -> str:
    """ "Less than a minute left", "About 12 minutes left", "About 1 hour 30 minutes left" """
    minutes = -int(-span.total_seconds() // 60)  # rounded up
    if minutes <= 1:
        return "Less than a minute left"
    step = 1 if minutes <= 15 else 5 if minutes <= 60 else 15
    return f"About {duration(timedelta(minutes=-(-minutes // step) * step))} left"


def _until_limit(batches: Sequence[Batch]) -> timedelta | None:
    """Until the last of the batches that run must have ended; None when that is over or none
    runs."""
    running = [batch for batch in batches if batch.state == Batch.State.IN_PROGRESS]
    left = max((b.expires_at - timezone.now() for b in running if b.expires_at), default=None)
    return left if left and left > timedelta() else None


def _has_no_room(job: Job, site: SiteState) -> bool:
    """The provider said "not now", and the job waits to send on."""
    return (
        job.sends
        and not job.held
        and not site.sending.pause
        and site.sending.send_after > timezone.now()
    )


# --- What it is doing -----------------------------------------------------------------------------


def _headline(
    job: Job, now: Sequence[Batch], again: Round | None, progress: tuple[int, int]
) -> tuple[str, str]:
    """What the job is doing, in one sentence, and a second one that says more. `now`: the batches
    of the round `again`, or of the first one; `progress`: rows done, and in all."""
    if job.state == Job.State.FINISHED:
        return _finished_headline(job, again)
    if job.state == Job.State.CANCELING:
        return (
            "Stopping",
            "Rows that were not sent stay here. We keep every answer that is ready by then.",
        )
    if job.state == Job.State.SUBMITTING and again and again.step != Round.Step.READY:
        return (
            f"Preparing the retry: {again.taken:,} of {rows(again.rows)}",
            "Nothing has been sent yet. Sending starts once all rows are ready.",
        )
    if job.state == Job.State.SUBMITTING:
        sent = sum(batch.size for batch in now if batch.provider_id)
        what, wanted = (
            ("Sending the retry", again.rows) if again else ("Sending", job.to_send_count)
        )
        return f"{what}: {sent:,} of {rows(max(wanted, sent))}", ""
    done, total = progress
    words = f"{done:,} of {rows(total)} done"
    return f"Retry: {words}" if again else words, ""


def _finished_headline(job: Job, again: Round | None) -> tuple[str, str]:
    good, total, details = job.good_count, job.sendable_count, []
    if job.is_external and not total:
        headline = "No result of the batch belongs to a row of the file."
    elif good == total:
        headline = "Its answer is good." if good == 1 else f"All {good:,} answers are good."
    else:
        headline = f"{good:,} of {total:,} answers are good."
    if stopped := job.outcome_count(Outcome.CANCELED):
        details.append(f"{rows(stopped)} stopped by you.")
    if without := job.skipped_count:
        why = "without a result in the batch" if job.is_external else "skipped from the start"
        details.append(f"{rows(without)} {why}.")
    if job.ignored_count:
        details.append(f"{rows(job.ignored_count)} ignored by you.")
    if job.unselected_count:
        details.append(f"{rows(job.unselected_count)} not selected.")
    if again and (now_good := _good_in_round(job, again.number)) is not None:
        details.append(f"The last retry: {now_good:,} of {rows(again.rows)} good now.")
    return headline, " ".join(details)


def _good_in_round(job: Job, number: int) -> int | None:
    """Rows that are good and were last sent in this round; None if the tally does not say."""
    good = [group for group in job.tally.groups if group.outcome == Outcome.GOOD]
    if not job.tally.groups or any(group.rounds is None for group in good):
        return None
    return sum((group.rounds or {}).get(number, (0,))[0] for group in good)
