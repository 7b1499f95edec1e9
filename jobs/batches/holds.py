"""What keeps jobs from going on, in words: for one job (`hold`), or for all that send (`pause`).

A pause is for all jobs that use one key, because its cause is: the key is not accepted, money is
used up, the provider has no room. Jobs with the key of another team, or of the site, go on. It ends
by itself: now and then one job tries, and a clear no costs nothing.
"""

from __future__ import annotations

import errno
import logging
from contextlib import suppress
from datetime import timedelta

from django.contrib.auth.models import User
from django.db import InterfaceError, OperationalError, transaction
from django.db.models import F, Q, Sum, Value
from django.db.models.functions import Coalesce

from ..models import (
    Batch,
    Heartbeat,
    Job,
    JobQuerySet,
    SendingState,
    TeamSending,
    administrators,
    api_key,
    clock,
    job_keys,
    job_log,
    key_fingerprint,
    outbox,
    sending_of,
    sending_row,
)
from ..models.outbox import Facts
from ..provider.errors import ProviderError, Refused

logger = logging.getLogger(__name__)

# What became of a job, in the words of Facts.
_ENDED: dict[str, str] = {Job.State.CANCELING: "stopped", Job.State.FINISHED: "finished"}
# Between two tries while the key is paused: doubled from the first to the longest.
FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(minutes=15)
SEE_THE_LOG = "Something is wrong on this site; an administrator finds it in the worker's log."
UNUSABLE = "This site’s folder for files cannot be used."
# Bounds of the wait that the provider may ask for, and what is waited when it names none.
LEAST_WAIT, MOST_WAIT, USUAL_WAIT = 1.0, 900.0, 60.0
# After the provider had no room: how long jobs take turns, and how long one with less of its rows
# at the provider may go first.
CROWDED, FIRST_GO = timedelta(minutes=15), timedelta(seconds=5)


def hold(job_pk: int, why: str, told: str = "") -> None:
    """Say that a person is needed, in `Job.held` and in the log, and tell people. A job that is
    held already stays held for the first reason; the next one is said when that is gone. `told`:
    what to do, for notifications; "": to open the job."""
    why = why.replace("\0", "\ufffd")  # which PostgreSQL does not take
    sent = Job.objects.filter(pk=job_pk, state__in=Job.SENT).exclude(state=Job.State.FINISHED)
    with transaction.atomic():
        if sent.filter(held="").update(held=why):
            job_log.write(job_pk, f"Action needed: {why}")
            outbox.tell_about_job("action_needed", _with_owner(job_pk), Facts(text=told))


def end_hold(job_pk: int, why: str = "", *, go_on: bool = False) -> bool:
    """The reason that begins with `why` holds a job no longer: people are told. False if nothing
    like that did. `go_on`: the job is due. One that is stopped or ends is in its new state when
    this is called, so that people are told what is true."""
    held = Job.objects.filter(pk=job_pk, held__startswith=why).exclude(held="")
    due = {"next_action_at": clock.now()} if go_on else {}
    with transaction.atomic():
        if not held.update(held="", **due):
            return False
        job = _with_owner(job_pk)
        outbox.tell_about_job("action_solved", job, Facts(ended=_ENDED.get(job.state, "")))
    return True


def _with_owner(job_pk: int) -> Job:
    return Job.objects.select_related("owner").get(pk=job_pk)


def in_words(error: Refused) -> str:
    """Why a job cannot go on after a clear no, for the person, with who can fix it."""
    said = error.message or f"status {error.status}"
    team = api_key.team_in_use()
    if error.status == 401:
        key = job_keys.in_words(team)
        return f"Anthropic rejected {key}. An administrator can fix it. ({said})"
    if error.is_about_billing:
        whose = "Your" if team is None else f"For {job_keys.team_in_words(team)}, the"
        return f"{whose} credit or spending limit at Anthropic is used up. ({said})"
    if error.status == 403:
        return f"{job_keys.at_start(team)} can’t do this. An administrator can fix it. ({said})"
    if error.is_rate_limit:
        return f"Anthropic has no capacity right now. Try again in a minute. ({said})"
    if error.status == 413:
        return "Anthropic says that this is too large."
    return f"Anthropic refused this: {said}"


def note_provider_error(error: ProviderError) -> None:
    """Say on pages that a look at the provider failed."""
    answered = isinstance(error, Refused)
    if isinstance(error, Refused) and error.is_about_account:
        note_trouble(in_words(error), answered=answered)
    else:
        note_trouble(str(error), answered=answered)


def note_trouble(text: str, *, answered: bool = False) -> None:
    """Why the last look at the provider failed; pages say so until one succeeds. `answered`: it
    was reached, and said no."""
    team = api_key.team_in_use()
    if answered and team is not None:  # the others may get a yes
        TeamSending.objects.filter(team=team).update(trouble=text[:500])
        Heartbeat.row().update(provider_errors=F("provider_errors") + 1)
        return
    since = None if answered else Coalesce("provider_away_since", Value(clock.now()))
    Heartbeat.row().update(
        provider_trouble=text[:500],
        provider_away_since=since,
        provider_errors=F("provider_errors") + 1,
    )


def end_trouble() -> None:
    troubled = Heartbeat.row().exclude(provider_trouble="")
    team = api_key.team_in_use()
    if team is not None:
        TeamSending.objects.filter(team=team).exclude(trouble="").update(trouble="")
        troubled = troubled.exclude(provider_away_since=None)  # the provider is there
    troubled.update(provider_trouble="", provider_away_since=None)


def note_site_trouble(error: Exception) -> bool:
    """Whether a step failed because of the disk or the database, which passes: pages say so until
    it is over, and the step is tried until then."""
    if isinstance(error, (OperationalError, InterfaceError)):
        why = "The database of this site could not be used."
    elif not isinstance(error, OSError) or isinstance(error, FileNotFoundError):
        return False
    else:
        why = disk_in_words(error)
    with suppress(OperationalError, InterfaceError):  # the database may be what is in trouble
        Heartbeat.row().update(site_trouble=why)
    return True


def disk_in_words(error: OSError) -> str:
    """What is the matter with the disk."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "The disk of this site is full."
    return UNUSABLE


def end_site_trouble() -> None:
    """Nothing fails any more."""
    troubled = Heartbeat.row().exclude(site_trouble="")
    if troubled.exists() and not Job.objects.filter(failures_in_a_row__gt=0).exists():
        troubled.update(site_trouble="")


def pause(error: Refused) -> timedelta:
    """Send nothing with this key for a while, because the provider refuses the key or the account
    rather than a batch. How long until the next try."""
    why = in_words(error)
    with transaction.atomic():
        row = sending_row(api_key.team_in_use())
        sending: SendingState = row.select_for_update().get()
        count = sending.pauses_in_a_row + 1 if sending.paused_because else 1
        wait = clock.growing_pause(FIRST_PAUSE, LONGEST_PAUSE, count - 1)
        row.update(
            pause=why,
            pause_key=key_fingerprint(),
            pauses_in_a_row=count,
            send_after=clock.now() + wait,
        )
        if not sending.paused_because:
            outbox.tell("sending_paused", people_who_send(), facts=_facts_of_key())
    if why != sending.paused_because:
        for pk in _sending_with_key().values_list("pk", flat=True):
            job_log.write(pk, f"Sending is paused: {why}")
    return wait


def people_who_send() -> list[User]:
    """Administrators, and the owners of jobs that have something left to send with this key."""
    owners = User.objects.filter(pk__in=_sending_with_key().values("owner"))
    return list(administrators().union(owners))


def _sending_with_key() -> JobQuerySet:
    return Job.objects.sending().filter(key_team=api_key.team_in_use())


def _facts_of_key() -> Facts:
    team = api_key.team_in_use()
    return Facts(team="" if team is None else job_keys.team_in_words(team))


def end_pause() -> None:
    """The provider took a batch: whatever was in the way is gone."""
    paused = sending_row(api_key.team_in_use()).exclude(pause="")
    now = clock.now()
    with transaction.atomic():
        ended = paused.update(pause="", pause_key="", pauses_in_a_row=0, send_after=now)
        if ended:
            outbox.tell("sending_resumed", people_who_send(), facts=_facts_of_key())
    if ended:
        for pk in _sending_with_key().values_list("pk", flat=True):
            job_log.write(pk, "Sending has resumed.")
        _sending_with_key().update(next_action_at=now)


def wait_for_room(error: Refused) -> timedelta:
    """The provider has no room (429): nobody sends with this key for as long as it asks, within our
    bounds."""
    named = USUAL_WAIT if error.retry_after is None else error.retry_after
    wait = timedelta(seconds=min(max(named, LEAST_WAIT), MOST_WAIT))
    now = clock.now()
    # What was paused for another key says nothing any more.
    row = sending_row(api_key.team_in_use())
    paused = row.exclude(pause="").exclude(pause_key=key_fingerprint())
    with transaction.atomic():
        row.update(send_after=now + wait, crowded_at=now)
        if paused.update(pause="", pause_key="", pauses_in_a_row=0):
            outbox.tell("sending_resumed", people_who_send(), facts=_facts_of_key())
    return wait


def wait_before_sending(job: Job) -> timedelta:
    """How long `job` has to wait before it may send its next batch; not positive: it may now."""
    sending, now = sending_of(job.key_team), clock.now()
    longest = max(LONGEST_PAUSE, timedelta(seconds=MOST_WAIT))
    if sending.send_after > now and not clock.is_waiting(sending.send_after, longest):
        return timedelta()
    if sending.send_after > now and (sending.paused_because or not sending.pause):
        return sending.send_after - now  # a pause of another key says nothing about this one
    if sending.paused_because:
        # One job tries for all. The time is moved on when that has failed or succeeded.
        free = sending_row(job.key_team).filter(send_after=sending.send_after)
        return timedelta() if free.update(send_after=now + FIRST_PAUSE) else timedelta(seconds=1)
    if sending.crowded_at and now < min(
        sending.crowded_at + CROWDED, sending.send_after + FIRST_GO
    ):
        return timedelta() if _has_least_at_provider(job) else timedelta(seconds=1)
    return timedelta()


def _has_least_at_provider(job: Job) -> bool:
    """Whether no other job that could send now has fewer rows at the provider."""
    at_provider = Q(batches__state__in=[Batch.State.IN_PROGRESS, Batch.State.UNKNOWN])
    sizes = dict(
        Job.objects.sending()
        .filter(Q(pk=job.pk) | Q(held="", failures_in_a_row=0), key_team=job.key_team)
        .annotate(rows_there=Coalesce(Sum("batches__size", filter=at_provider), 0))
        .values_list("pk", "rows_there")
    )
    return bool(sizes.get(job.pk, 0) <= min(sizes.values(), default=0))
