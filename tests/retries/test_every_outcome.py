"""One job with everything that a row can come to: each reason is a group with its words, its charge
and what can be done about it; all of that is done; and after each round the file is whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from jobs.actions import drafts, reviews, submissions
from jobs.batches import collection
from jobs.models import Job, Outcome
from jobs.results import review_sample
from jobs.retries import edits, problem_groups, rounds, selection
from jobs.retries.selection import EDITED, FOR_NOW
from jobs.rules import result_proof
from jobs.rules.answer_formats import AnswerKind
from jobs.rules.judging import (
    ADMINISTRATOR,
    AGAIN,
    ASK,
    EDIT,
    LEAVE_OUT,
    LONGER,
    MARKED_DOWN,
    NOBODY,
    SHORTEN,
    TIME,
    YOU,
    describe_cause,
)
from jobs.rules.recipes import Recipe
from jobs.web.templatetags.show import job_state

from ..conftest import Simulator, drive_job
from ..driven_jobs import Drive, priced, upload
from ..pages import squeezed
from .test_rounds_property import Books, check

RECIPE = Recipe(
    "How does {{name}} feel? {{text}}",
    "",
    "claude-haiku-4-5",
    answer=AnswerKind("labels", ("glad", "sad")),
)
LOOK, ERRORED = Outcome.LOOK, Outcome.ERRORED
CHANGED, BY_TIME = (ASK, EDIT, LEAVE_OUT), (AGAIN, LEAVE_OUT)


@dataclass(frozen=True)
class Group:
    """What is said of the rows that failed for one reason."""

    outcome: Outcome
    who: str
    remedies: Sequence[str]
    charged: bool | None = False  # None: some of them are
    rows: int = 1


IS_GOOD = (Outcome.GOOD, "")

GROUPS = {
    "cut_off": Group(LOOK, YOU, (LONGER, ASK, LEAVE_OUT), True),
    "empty": Group(LOOK, YOU, (LONGER, ASK, LEAVE_OUT), True),
    "refused": Group(LOOK, YOU, CHANGED, None),
    "not_in_form": Group(LOOK, YOU, CHANGED, True),
    "unfinished": Group(LOOK, YOU, CHANGED, True, rows=2),
    "too_long": Group(LOOK, YOU, (SHORTEN, EDIT, LEAVE_OUT), True),
    "unexpected": Group(LOOK, NOBODY, (AGAIN, EDIT, LEAVE_OUT), True),
    MARKED_DOWN: Group(LOOK, YOU, CHANGED, True),
    "invalid_request_error": Group(ERRORED, YOU, CHANGED),
    "not_found_error": Group(ERRORED, YOU, CHANGED),
    "request_too_large": Group(ERRORED, YOU, (SHORTEN, EDIT, LEAVE_OUT)),
    "authentication_error": Group(ERRORED, ADMINISTRATOR, BY_TIME),
    "billing_error": Group(ERRORED, ADMINISTRATOR, BY_TIME),
    "permission_error": Group(ERRORED, ADMINISTRATOR, BY_TIME),
    "rate_limit_error": Group(ERRORED, TIME, BY_TIME),
    "timeout_error": Group(ERRORED, TIME, BY_TIME),
    "api_error": Group(ERRORED, TIME, BY_TIME),
    "overloaded_error": Group(ERRORED, TIME, BY_TIME),
    "conflict_error": Group(ERRORED, NOBODY, (AGAIN, EDIT, LEAVE_OUT)),  # not known here
    "expired": Group(Outcome.EXPIRED, TIME, BY_TIME),
}
# What makes the simulator answer a row so, where it is not the name of the cause.
MARKS = {
    "cut_off": ["cut"],
    "refused": ["refusal"],
    "not_in_form": ["form"],
    "unfinished": ["tool", "pause"],
    "too_long": ["context"],
    "unexpected": ["other"],
    MARKED_DOWN: [""],
}
WHO = {
    YOU: "You can fix this",
    ADMINISTRATOR: "Can be fixed by an administrator",
    NOBODY: "The cause is not on this site",
    TIME: "Usually works on retry",
}


@dataclass
class Desk:
    """A person at the pages of a job, and what they know of it."""

    client: Client
    job: Job
    simulator: Simulator
    books: Books
    number_of: dict[str, int] = field(default_factory=dict)

    def page(self, name: str, /, *args: Any) -> str:
        answer = self.client.get(reverse(name, args=[self.job.pk, *args]))
        assert answer.status_code == 200
        return squeezed(answer.content)

    def post(self, name: str, /, *args: Any, **given: Any) -> Any:
        return self.client.post(reverse(name, args=[self.job.pk, *args]), given)

    def send(self, which: str, rows: int, **different: Any) -> None:
        """Look at the price of sending rows again, and send them."""
        address = reverse("retry", args=[self.job.pk])
        planned = self.client.get(address, {"which": which, **different}).context["planned"]
        self.confirm(planned, rows, **different)

    def ask(self, which: str, rows: int) -> None:
        """Ask rows otherwise: without the column that has the marker."""
        asked = {"prompt": "How does {{name}} feel?", "model": RECIPE.model}
        planned = self.post("change_prompt", which, **asked).context["planned"]
        self.confirm(planned, rows, asks="prompt", prompt=asked["prompt"])

    def confirm(self, planned: rounds.RetryPlan, rows: int, **different: Any) -> None:
        which = planned.choice.which
        numbers = list(selection.retry_rows(self.job, which).values_list("number", flat=True))
        assert planned.rows == len(numbers) == rows
        self.post("retry", which=which, key=planned.key, **different)
        self.books.may_be_sent.update(numbers)

    def finish(self) -> None:
        """Wait until all is over, and check everything."""
        self.job = drive_job(self.job)
        self.books.wanted.update((row.number, row.content) for row in self.job.rows.in_order())
        check(self.job, self.books, self.simulator)

    def outcome(self, cause: str) -> tuple[str, str]:
        row = self.job.rows.get(number=self.number_of[cause])
        return row.outcome, row.cause


@pytest.fixture
def desk(alice: User, client_alice: Client, simulator: Simulator, drive: Drive) -> Desk:
    """The job has finished; one good answer was marked down."""
    rows, number_of = [["good", "text"]], {}
    for cause in GROUPS:
        number_of[cause] = len(rows) + 1
        rows += [[cause, f"text [simulate:{mark}]"] for mark in MARKS.get(cause, [cause])]
    number_of["left_out"] = len(rows) + 1
    rows.append(["left_out", "text", "one cell too many"])
    job = drive(upload(alice, rows), until=lambda job: job.state == Job.State.DRAFT)
    assert drafts.save_recipe(job, RECIPE, job.owner)
    job = drive(job, until=priced)
    assert submissions.confirm(job, job.plan_sha256, alice)
    wanted = dict(enumerate(rows, start=1))
    desk = Desk(client_alice, job, simulator, Books(wanted, Counter(range(1, len(rows))), {}))
    desk.number_of = number_of
    desk.finish()
    number = number_of[MARKED_DOWN]
    reviews.draw_sample(desk.job, 10, alice)
    key = review_sample.answer_key(desk.job.rows.get(number=number))
    assert reviews.mark_answer(desk.job, number, key, False, "She is sad.", alice)
    del desk.books.good[number]
    desk.finish()
    return desk


def test_every_problem_can_be_fixed_and_the_file_is_whole_after_each_retry(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_groups(desk)
    change_prompts(desk)
    correct_rows(desk)
    retry_too_early(desk)
    lose_and_stop_a_row(desk, monkeypatch)
    retry_what_works_now(desk)
    ignore_the_last(desk)


def check_groups(desk: Desk) -> None:
    """Every reason is a group with its words, its charge and its remedies."""
    found = {group.name: group for group in problem_groups.find_groups(desk.job)}
    assert found.keys() == GROUPS.keys()
    for name, wanted in GROUPS.items():
        group = found[name]
        assert (group.outcome, group.rows, group.own) == (wanted.outcome, wanted.rows, wanted.rows)
        assert [remedy.code for remedy in group.remedies] == list(wanted.remedies)
        for remedy in group.remedies:
            assert (remedy.plan is not None) == (remedy.code in (AGAIN, LONGER)), "its price"
        if wanted.charged is not None:
            assert (group.charged > 0) == wanted.charged
        assert group.first and group.last

    page = desk.page("problems")
    sections = {part.split('"')[0]: part for part in page.split('id="group-')[1:]}
    for name, wanted in GROUPS.items():
        section, known = sections[name], describe_cause(name)
        assert known.title in section and known.advice in section
        assert WHO[wanted.who] in section
        assert (known.charged in section) == (not found[name].charged)
        assert ("charged (practice)" in section) == (found[name].charged > 0)
        if wanted.outcome == ERRORED:
            assert f"The text asks the simulator for this: {name}" in section
            assert "for example" in section and "req_" in section
    assert "She is sad." in sections[MARKED_DOWN]
    assert "(conflict_error)" in sections["conflict_error"], "what is not known is shown as it is"
    assert "send 1 row that we skipped" in page

    headline, colour = job_state(desk.job)
    assert "21 problems" in headline and colour != "green"
    assert desk.job.good_count == 1 and desk.job.unsent_count == 1


def change_prompts(desk: Desk) -> None:
    """Ask some rows something else."""
    for cause in ("refused", "not_in_form", "unfinished", "not_found_error", MARKED_DOWN):
        desk.ask(cause, GROUPS[cause].rows)
        desk.finish()
        assert desk.outcome(cause) == IS_GOOD


def correct_rows(desk: Desk) -> None:
    """Shorten what is too long, with the marker at its end; edit what was not accepted and what
    was skipped."""
    for cause in ("too_long", "request_too_large"):
        shortened = {"code": SHORTEN, "name": "text", "number": len("text")}
        desk.post("change_rows", cause, **shortened)
    assert "2 rows changed" in desk.page("edits")
    desk.send(EDITED, 2)
    desk.finish()
    assert desk.outcome("too_long") == desk.outcome("request_too_large") == IS_GOOD

    for cause in ("invalid_request_error", "left_out"):
        desk.post("edit_row", desk.number_of[cause], cell=[cause, "better"])
    desk.send(EDITED, 2)
    desk.finish()
    assert desk.outcome("invalid_request_error") == desk.outcome("left_out") == IS_GOOD


def retry_too_early(desk: Desk) -> None:
    """The row fails again, and has one more attempt."""
    desk.send("billing_error", 1)
    desk.finish()
    assert desk.outcome("billing_error") == (ERRORED, "billing_error")


def lose_and_stop_a_row(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Get a result of an unknown type, then stop the retry."""
    looks = [{"kind": "unknown_type", "times": result_proof.TRIES}]  # one alone is not believed
    desk.simulator.faults(results=looks)
    monkeypatch.setattr(collection, "LONGEST_PAUSE", timedelta(seconds=0.1))
    desk.send("conflict_error", 1)
    desk.finish()
    assert desk.outcome("conflict_error") == (LOOK, "unknown_result")
    desk.simulator.faults(stuck=True)
    desk.send("unknown_result", 1)
    desk.job = drive_job(desk.job, until=lambda job: job.state == Job.State.WORKING)
    assert submissions.stop_job(desk.job, desk.job.owner)
    stopped = desk.job.batches.exclude(cancel_sent_at=None)
    desk.job = drive_job(desk.job, until=lambda _job: stopped.exists())
    desk.simulator.reset()
    desk.finish()
    assert desk.outcome("conflict_error") == (Outcome.CANCELED, "canceled")


def retry_what_works_now(desk: Desk) -> None:
    """Retry what passes with time all at once, then what an administrator has fixed."""
    desk.simulator.faults(ignore_markers=True)
    desk.send(FOR_NOW, 5)
    desk.finish()
    for cause in ("canceled", "billing_error", "authentication_error", "unexpected"):
        desk.send(cause, 1)
        desk.finish()
    for cause in ("cut_off", "empty"):
        desk.send(cause, 1, max_tokens=2 * RECIPE.longest)
        desk.finish()
        assert desk.outcome(cause) == IS_GOOD


def ignore_the_last(desk: Desk) -> None:
    assert [group.name for group in problem_groups.find_groups(desk.job)] == ["permission_error"]
    desk.post("ignore_rows", "permission_error", rows=1)
    desk.finish()
    assert job_state(desk.job) == ("Finished", "green")
    assert desk.job.good_count == desk.job.row_count - 1
    assert "Nothing needs your attention" in desk.page("problems")
    assert not edits.changed_rows(desk.job, 1)
    billing = desk.job.rows.get(number=desk.number_of["billing_error"])
    assert billing.attempts == 2, "before the one that was answered"
    assert "Attempt 2" in desk.page("row", billing.number)
