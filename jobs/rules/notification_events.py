"""What people are told about: each event with its words and its defaults. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import msgspec

from . import pricing, wording

# A mail about the end of a job is sent by default only when the job took longer.
MAILED_AFTER_SECONDS = 120


class Facts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a notification says beside the name of its job: counts, sums and names of people and
    teams. Never a cell, a prompt, an answer, a key, or a text of the provider."""

    rows: int = 0  # good ones when a job has ended, else those that it is about
    problems: int = 0  # rows that need attention
    cost: str = ""  # US dollars, as str(Decimal): charged, used of a limit, or the most it may cost
    limit: str = ""  # US dollars, as str(Decimal)
    # The limit: "person", "team" or "everyone". Of results that expire: "site" when we delete them.
    whose: str = ""
    team: str = ""  # its name
    seconds: int = 0  # what a job or retry took
    days: int = 0  # that are left
    ended: str = ""  # "stopped" or "finished": the job does not continue
    who: str = ""  # the user name of the person who did it
    text: str = ""  # of an alarm, why spending was stopped, or what to do: whole sentences of ours


@dataclass(frozen=True)
class Event:
    label: str  # what a person chooses
    mail: bool = True  # whether it is mailed unless the person chose otherwise
    is_end: bool = False  # of a job or retry: mailed by default only if it took a while
    for_administrators: bool = False  # nobody else gets it
    is_about_work: bool = True  # False: about the site; then it is mailed in practice mode, too
    is_chosen: bool = True  # False: nobody chooses it
    group: str = "Jobs"  # under which heading a person finds it


EVENTS: dict[str, Event] = {
    "job_finished": Event("Job finished", is_end=True),
    "job_problems": Event("Job finished with problems", is_end=True),
    "retry_done": Event("Retry finished", is_end=True),
    "action_needed": Event("Action needed"),
    "action_solved": Event("Action no longer needed"),
    "results_expiring": Event("Results are about to expire"),
    "approval_wanted": Event("Someone asks you for approval", group="Approval"),
    "approval_given": Event("Your job was approved", group="Approval"),
    "approval_declined": Event("Your job was declined", group="Approval"),
    "cap_80": Event("A spending limit is 80% used", group="Spending"),
    "cap_100": Event("A spending limit is used up", group="Spending"),
    "spending_stopped": Event("Spending was switched off", group="Spending"),
    "spending_resumed": Event("Spending was switched on again", mail=False, group="Spending"),
    "sending_paused": Event("Sending is paused", group="This site"),
    "sending_resumed": Event("Sending has resumed", mail=False, group="This site"),
    "alarm": Event(
        "Something is wrong on this site",
        for_administrators=True,
        is_about_work=False,
        group="This site",
    ),
    "alarm_over": Event(
        "Something on this site is fixed",
        for_administrators=True,
        is_about_work=False,
        group="This site",
    ),
    "test": Event("Test", is_about_work=False, is_chosen=False),
}


def title_of(event: str, name: str, facts: Facts) -> str:
    """One line that says what happened. `name`: of the job; "" for none, or when the person may no
    longer see it."""
    job = f"“{name}”" if name else "a job that you can no longer see"
    begin = _begin(job)
    who = facts.who or "Someone"
    for_team = f" for {facts.team}" if facts.team else ""
    sentences = {
        "job_finished": f"{begin} is finished",
        "job_problems": f"{begin} is finished with problems",
        "retry_done": f"The retry of {job} is finished",
        "action_needed": f"Action needed: {job}",
        "action_solved": f"Action no longer needed: {job}",
        "approval_wanted": f"{who} asks you to approve {job}",
        "approval_given": f"{who} approved {job}",
        "approval_declined": f"{who} declined {job}",
        "results_expiring": f"Results of {job} are about to expire",
        "cap_80": _limit(facts).format(used="80%"),
        "cap_100": _limit(facts).format(used="100%"),
        "spending_stopped": "Spending was switched off",
        "spending_resumed": "Spending was switched on again",
        "sending_paused": f"Sending is paused{for_team}",
        "sending_resumed": f"Sending has resumed{for_team}",
        "test": "This is a test",
        "alarm": facts.text or "Something is wrong on this site",
        "alarm_over": facts.text or "Something on this site is fixed",
    }
    return sentences[event]


def detail_of(event: str, facts: Facts) -> str:
    """What there is to say beside the title, in one or two sentences; "" for nothing."""
    if EVENTS[event].is_end:
        charged = f" {_begin(_sum(facts.cost))} charged." if facts.cost else ""
        return f"{wording.outcome(facts.rows, facts.problems)}.{charged}"
    if event in ("approval_wanted", "approval_given"):
        most = pricing.format_dollars(pricing.round_up(Decimal(facts.cost or 0)))
        to_do = {
            "approval_wanted": "Open the job to approve or decline it.",
            "approval_given": "Its owner can submit it now.",
        }
        return f"{wording.rows(facts.rows)}, at most {most}. {to_do[event]}"
    if event in ("cap_80", "cap_100"):
        used = f"{_begin(_sum(facts.cost))} of {_sum(facts.limit)} is used this month."
        return f"{used} Jobs that may exceed it can’t be submitted."
    if event == "results_expiring":
        when = {0: "within a day", 1: "in 1 day"}.get(facts.days, f"in {facts.days} days")
        if facts.whose == "site":
            return f"This site deletes its cells and answers {when}. Download the results now."
        return f"We could not download them yet. Anthropic deletes them {when}."
    return {
        "test": "Notifications of batchsite arrive here.",
        "action_needed": facts.text
        or "It can’t continue on its own. Open the job to see what to do.",
        "action_solved": {
            "stopped": "The job was stopped.",
            "finished": "The job is finished.",
        }.get(facts.ended, "The job continues."),
        "approval_declined": "Nothing was sent. You can change the job and ask again.",
        "spending_stopped": (
            f"{facts.text} Nothing new is sent until an administrator switches it on again."
        ).strip(),
        "spending_resumed": "Jobs that were waiting continue.",
        "sending_paused": f"Anthropic refused {'its' if facts.team else 'this site’s'} API key or "
        "account. We keep trying automatically. If it stays paused, an administrator must fix it.",
        "sending_resumed": "Jobs that were waiting continue.",
    }.get(event, "")


def _limit(facts: Facts) -> str:
    """A sentence about {used} of it."""
    team = facts.team.replace("{", "{{").replace("}", "}}")
    return {
        "person": "You have used {used} of your monthly limit",
        "team": f"{team} has used {{used}} of its monthly limit",
    }.get(facts.whose, "{used} of the monthly limit for all jobs is used")


def _sum(amount: str) -> str:
    return pricing.format_dollars(Decimal(amount or 0))


def _begin(text: str) -> str:
    """At the begin of a sentence: "Less than $0.01"."""
    return f"{text[:1].upper()}{text[1:]}"
