"""Ready-made requests that any earlier job has answered are not sent, and never cost more than was
confirmed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from jobs.actions import drafts, submissions, uploads
from jobs.drafts import deduplication
from jobs.models import Job, Outcome
from jobs.results import table
from jobs.retries import rounds
from jobs.rules.answer_formats import AnswerColumn
from jobs.rules.retry_choices import RetryChoice
from jobs.spending.receipts import receipt_of
from jobs.worker import advance

from ..conftest import Simulator, send_again, store_job
from .test_draft_settings import priced
from .test_memory import _in_practice, answered, marked, marks

__all__ = ["_in_practice"]
MakeJob = Callable[..., Job]
Drive = Callable[..., Job]
HX = {"HX-Request": "true"}
HAIKU, OPUS = "claude-haiku-5-5", "claude-opus-5-5"


def request(name: str, text: str, model: str = HAIKU, tokens: int = 60, **more: Any) -> Any:
    asked = [{"role": "user", "content": text}]
    params = {"model": model, "max_tokens": tokens, "messages": asked, **more}
    return {"custom_id": name, "params": params}


def uploaded(owner: User, drive: Drive, text: str, name: str = "r.jsonl") -> Job:
    job = uploads.create_job(owner, ContentFile(text.encode(), name))
    return drive(job, until=lambda job: bool(job.plan_sha256))


def lines_of(*requests: Any, **style: Any) -> str:
    return "".join(json.dumps(one, **style) + "\n" for one in requests)


def draft(owner: User, *requests: Any, **values: Any) -> Job:
    """A draft that reuses answers."""
    usual = {"state": Job.State.DRAFT, "rows": requests, "only_new": True}
    return store_job(owner, **{**usual, **values})


def test_requests_that_any_earlier_job_answered_are_not_sent(
    alice: User, drive: Drive, simulator: Simulator, client_alice: Client
) -> None:
    """The first file is a list in JSON, the second has them in another order, with other names,
    and written in another way."""
    good = [f"[simulate:good] “é” {word}" for word in "abc"]
    refused, new = "[simulate:refusal] d", "[simulate:good] e"
    texts = [*good, refused]
    first = [request(f"may-{n}", one) for n, one in enumerate(texts)]
    may = uploaded(alice, drive, json.dumps(first, indent=2))
    assert submissions.confirm(may, may.plan_sha256, alice)
    may = drive(may)
    june = [request(f"june-{n}", one) for n, one in enumerate([new, *reversed(texts), good[0]])]
    job = uploaded(alice, drive, lines_of(*june, ensure_ascii=False))

    page = client_alice.get(reverse("job", args=[job.pk])).content.decode()
    assert "Earlier jobs have a good answer for 4 of 6 rows." in page
    assert "Requests with web tools or linked files are always sent." in page
    before = priced(job)
    answer = client_alice.post(
        reverse("reuse_answers", args=[job.pk]), {"only_new": "on"}, headers=HX
    )
    assert 'id="price"' in answer.content.decode()
    estimate = priced(job)
    assert (estimate.rows, estimate.basis.survey.reused) == (2, 4)
    assert estimate.most < before.most and estimate.expected < before.expected
    page = client_alice.get(reverse("price", args=[job.pk]), headers=HX).content.decode()
    assert "4 of 6 rows are answered from earlier jobs, at no cost." in page
    page = client_alice.get(reverse("confirm", args=[job.pk])).content.decode()
    assert "(4 of 6 rows are answered from earlier jobs)" in page and "Saves about" in page
    assert "(2 rows, answers up to 60 tokens)" in page

    accepted = simulator.truth()["accepted_rows"]
    assert submissions.confirm(job, job.plan_sha256, alice)
    job = drive(job)
    assert simulator.truth()["accepted_rows"] == accepted + 2
    lines = [json.loads(line) for line in b"".join(table.jsonl_chunks(job)).splitlines()]
    assert [one["request"] for one in lines] == june, "rows in are rows out, in order"
    sources = [(one["earlier_job"], one["earlier_row"]) for one in lines]
    none = (None, None)
    assert marks(job) == ["", "", "yes", "yes", "yes", "yes"]
    assert sources == [none, none, *((may.pk, row) for row in (3, 2, 1)), (may.pk, 1)]
    answers = dict(may.rows.values_list("number", "answer"))
    assert [one["answer"] for one in lines[2:]] == [answers[row] for row in (3, 2, 1, 1)]
    assert job.cost == sum(row.cost for row in job.rows.filter(earlier=None)) <= estimate.most
    assert receipt_of(job).not_charged["Answered by an earlier job"] == 4
    page = client_alice.get(reverse("row", args=[job.pk, 3])).content.decode()
    assert f"row 3 of job {may.pk}" in page

    # A third job has them of either, also of the one that did not send them.
    third = uploaded(alice, drive, lines_of(request("x", new), request("y", good[1])))
    assert drafts.reuse_answers(third, alice, wanted=True)
    assert priced(third).rows == 0
    page = client_alice.get(reverse("confirm", args=[third.pk])).content.decode()
    assert "Use the answers of earlier jobs" in page
    assert submissions.confirm(third, third.plan_sha256, alice)
    third = drive(third)
    assert simulator.truth()["accepted_rows"] == accepted + 2
    assert third.good_count == 2 and not third.cost


def test_without_reuse_every_request_is_sent(
    alice: User, drive: Drive, simulator: Simulator
) -> None:
    """Also those that are the same, as a person may want several answers; whatever a template
    said of the rows of a table."""
    same = [request(name, "[simulate:good] a") for name in "xyz"]
    answered(alice, rows=same)
    job = draft(alice, *same, only_new=False, skip_duplicates=True, skip_empty=True)
    assert priced(job).rows == 3
    accepted = simulator.truth()["accepted_rows"]
    assert submissions.confirm(job, job.plan_sha256, alice)
    job = drive(job)
    assert simulator.truth()["accepted_rows"] == accepted + 3
    assert not job.rows.exclude(earlier=None, same_as=None).exists()


def test_a_table_and_requests_have_no_answers_for_each_other(alice: User) -> None:
    answered(alice, rows=[("1", "a")], prompt="{{text}}")
    job = draft(alice, request("x", "a"), state=Job.State.SUBMITTING)
    assert marked(job) == [None]


def test_other_answers_do_not_make_up_for_those_that_were_dearer(
    alice: User, simulator: Simulator
) -> None:
    """As many rows are answered as was said, but a dear one is to be sent now."""
    dear, cheap = request("x", "a", OPUS, 9_000), request("y", "b" * 900)
    source = answered(alice, rows=[dear])
    job = draft(alice, dear, cheap)
    assert priced(job).rows == 1
    assert submissions.confirm(job, job.plan_sha256, alice)
    Job.objects.filter(pk=source.pk).update(trashed_at=timezone.now())
    answered(alice, rows=[cheap])
    posts = simulator.truth()["posts"]
    advance.advance(job.pk)
    job.refresh_from_db()
    assert job.held == deduplication.GONE and not job.deduplicated
    assert simulator.truth()["posts"] == posts
    # More than was said does no harm.
    Job.objects.filter(pk=source.pk).update(trashed_at=None)
    assert submissions.resume_job(job, alice)
    advance.advance(job.pk)
    job.refresh_from_db()
    assert job.deduplicated and not job.rows.filter(outcome=Outcome.WAITING).exists()


def test_a_retry_of_what_was_stopped_before_it_was_reused_has_a_price_for_all_of_it(
    alice: User, drive: Drive, simulator: Simulator
) -> None:
    """Also when the answer is gone by then."""
    dear, cheap = request("x", "[simulate:good] a", OPUS, 9_000), request("y", "[simulate:good] b")
    source = answered(alice, rows=[dear])
    job = draft(alice, dear, cheap, only_new=False)
    whole = priced(job).most
    assert drafts.reuse_answers(job, alice, wanted=True)
    assert priced(job).most < whole
    assert submissions.confirm(job, job.plan_sha256, alice)
    assert submissions.stop_job(job, alice)
    job = drive(job)
    assert rounds.make_plan(job, RetryChoice("canceled")).price.most >= whole
    accepted = simulator.truth()["accepted_rows"]
    Job.objects.filter(pk=source.pk).update(trashed_at=timezone.now())
    assert send_again(job, alice, "canceled") == 2
    job = drive(job)
    assert job.good_count == 2 and simulator.truth()["accepted_rows"] == accepted + 2


def test_reused_inputs_of_a_tool_fill_their_columns(alice: User) -> None:
    schema = {"type": "object", "properties": {"mood": {"type": "string"}}}
    tools = [{"name": "note", "input_schema": schema}]
    asked = request("x", "a", tools=tools, tool_choice={"type": "tool", "name": "note"})
    called = {"outcome": "good", "answer": '{"mood": "fine"}', "stop_reason": "tool_use"}
    answered(alice, rows=[asked], outcomes=[called])
    job = draft(alice, asked, state=Job.State.SUBMITTING)
    assert marked(job) != [None]
    job.refresh_from_db()
    assert job.answer_columns == (AnswerColumn("mood"),)
    [_heading, line] = b"".join(table.csv_chunks(job)).decode().splitlines()
    assert line.startswith("x,fine,")


@pytest.mark.parametrize("change", [{"state": Job.State.WORKING}, {"kind": Job.Kind.TABLE}])
def test_only_drafts_of_ready_made_requests_are_asked(alice: User, change: dict[str, str]) -> None:
    job = draft(alice, request("x", "a"), only_new=False)
    Job.objects.filter(pk=job.pk).update(**change)
    assert not drafts.reuse_answers(job, alice, wanted=True)
