"""How the provider is as a whole, as tests turn its knobs."""

from __future__ import annotations

import contextlib
import email.utils
import time

import anthropic
import httpx2
import pytest
from anthropic.types.messages import MessageBatch

from ..conftest import Simulator
from .asking import (
    DAY,
    DEADLINE,
    counts,
    download,
    message_of,
    params,
    requests_of,
    results_of,
    run,
    state,
    text_of,
    wait_for_end,
)

pytestmark = pytest.mark.no_database


def test_a_knob_stays_as_it_is_until_it_is_turned(provider: Simulator) -> None:
    provider.faults(page_limit=3, stuck=True, results_host="http://127.0.0.9:9", expire_share=0.5)
    provider.faults(page_limit=None, stuck=0, results_host="")
    turned = state(provider)
    provider.reset()
    reset = state(provider)

    names = ("page_limit", "stuck", "results_host", "expire_share")
    assert [turned[name] for name in names] == [3, False, "", 0.5]
    assert [reset[name] for name in names] == [0, False, "", 0]


def test_a_new_batch_may_be_found_late(api: anthropic.Anthropic, provider: Simulator) -> None:
    provider.faults(retrieve_404_seconds=1e9)
    batch = api.messages.batches.create(requests=requests_of(params()))

    listed = api.messages.batches.list(limit=1).data
    with pytest.raises(anthropic.NotFoundError):
        api.messages.batches.retrieve(batch.id)
    with pytest.raises(httpx2.HTTPStatusError, match="404"):
        download(provider, batch)
    provider.faults(retrieve_404_seconds=0.2)
    deadline = time.monotonic() + DEADLINE
    while True:
        with contextlib.suppress(anthropic.NotFoundError):
            found = api.messages.batches.retrieve(batch.id)
            break
        assert time.monotonic() < deadline
        time.sleep(0.02)  # between two looks

    assert [one.id for one in listed] == [found.id] == [batch.id]
    assert len(download(provider, batch)) == 1


def test_pages_may_be_shorter_than_asked_for(api: anthropic.Anthropic, provider: Simulator) -> None:
    made = [api.messages.batches.create(requests=requests_of(params())).id for _ in range(5)]
    provider.faults(page_limit=2)

    page = api.messages.batches.list(limit=1000)
    walked = [batch.id for batch, _ in zip(page, range(5), strict=False)]
    last = api.messages.batches.list(limit=1000, before_id=made[3])
    provider.reset()
    everything = api.messages.batches.list(limit=1000)

    assert [batch.id for batch in page.data] == made[:2:-1]
    assert page.has_more
    assert walked == made[::-1]
    assert [batch.id for batch in last.data] == made[4:]
    assert not last.has_more
    assert len(everything.data) > 4
    assert not everything.has_more


def test_somebody_else_may_send_batches_of_the_same_size(
    api: anthropic.Anthropic, provider: Simulator
) -> None:
    before = provider.truth()
    provider.faults(foreign_batches=2, create=[{"kind": "reject_500"}])

    with pytest.raises(anthropic.InternalServerError):
        api.messages.batches.create(requests=requests_of(params()))
    refused = provider.truth()
    ours = api.messages.batches.create(requests=requests_of(params("A."), params("B.")))
    *theirs, listed = api.messages.batches.list(limit=3).data
    after = provider.truth(ids=True)
    results = {
        batch.id: {line.custom_id: text_of(message_of(line)) for line in results_of(api, batch)}
        for batch in (ours, *theirs)
    }

    assert len(refused["batches"]) == len(before["batches"])
    assert listed.id == ours.id
    assert all(batch.created_at >= ours.created_at for batch in theirs)
    assert [batch.request_counts.succeeded for batch in theirs] == [2, 2]
    assert (after["posts"] - before["posts"], after["accepted_rows"] - before["accepted_rows"]) == (
        2,
        2,
    )
    assert [(batch["id"], batch["foreign"]) for batch in after["batches"][-3:]] == [
        (ours.id, False),
        (theirs[1].id, True),
        (theirs[0].id, True),
    ]
    assert {batch["id"]: set(batch["custom_ids"]) for batch in after["batches"][-3:]} == {
        batch_id: set(answers) for batch_id, answers in results.items()
    }
    beginnings = {tuple(sorted({name[:12] for name in answers})) for answers in results.values()}
    assert len(beginnings) == 3
    assert {tuple(sorted(answers.values())) for answers in results.values()} == {
        tuple(sorted(results[ours.id].values()))
    }


def test_the_queue_may_be_full(api: anthropic.Anthropic, provider: Simulator) -> None:
    provider.faults(stuck=True, queue_limit=3, queue_retry_after=9)
    rows = requests_of(params(), params())
    first = api.messages.batches.create(requests=rows)

    with pytest.raises(anthropic.RateLimitError) as caught:
        api.messages.batches.create(requests=rows)
    fits = api.messages.batches.create(requests=rows[:1])
    provider.faults(queue_retry_after=0)
    with pytest.raises(anthropic.RateLimitError) as again:
        api.messages.batches.create(requests=rows[:1])
    provider.faults(stuck=False)
    after = api.messages.batches.create(requests=rows)

    assert caught.value.type == "rate_limit_error"
    assert caught.value.response.headers["retry-after"] == "9"
    assert "retry-after" not in again.value.response.headers
    assert [batch["id"] for batch in provider.truth()["batches"][-3:]] == [
        first.id,
        fits.id,
        after.id,
    ]


def test_a_batch_may_be_stuck(api: anthropic.Anthropic, provider: Simulator) -> None:
    provider.faults(stuck=True)
    going_on = api.messages.batches.create(requests=requests_of(params(), params()))
    canceled = api.messages.batches.create(requests=requests_of(params(), params()))
    api.messages.batches.cancel(canceled.id)

    seen = [api.messages.batches.retrieve(batch.id) for batch in (going_on, canceled)]
    ended = [batch["ended"] for batch in provider.truth()["batches"][-2:]]
    provider.faults(stuck=False)
    later = [wait_for_end(api, batch) for batch in seen]

    assert [batch.processing_status for batch in seen] == ["in_progress", "canceling"]
    assert ended == [False, False]
    assert [batch.request_counts.model_dump() for batch in later] == [
        counts(succeeded=2),
        counts(canceled=2),
    ]


def test_canceling_may_take_long(api: anthropic.Anthropic, provider: Simulator) -> None:
    provider.faults(stuck=True, canceling_seconds=0.5)
    batch = api.messages.batches.create(requests=requests_of(params()))
    canceled = api.messages.batches.cancel(batch.id)
    provider.faults(stuck=False)

    ended = wait_for_end(api, canceled)

    assert canceled.processing_status == "canceling"
    assert ended.ended_at is not None
    assert canceled.cancel_initiated_at is not None
    assert (ended.ended_at - canceled.cancel_initiated_at).total_seconds() >= 0.5


def test_the_clock_may_be_ahead(api: anthropic.Anthropic, provider: Simulator) -> None:
    before = wait_for_end(api, api.messages.batches.create(requests=requests_of(params())))
    provider.faults(clock_ahead_seconds=DAY)

    batch = wait_for_end(api, api.messages.batches.create(requests=requests_of(params())))
    (listed,) = api.messages.batches.list(limit=1).data
    answer = api.messages.batches.with_raw_response.retrieve(batch.id)
    provider.reset()
    afterwards = api.messages.batches.retrieve(batch.id)

    assert DAY <= (batch.created_at - before.created_at).total_seconds() < DAY + 3600
    assert (batch.expires_at - batch.created_at).total_seconds() == DAY
    assert batch.ended_at is not None
    assert batch.ended_at >= batch.created_at
    stated = email.utils.parsedate_to_datetime(answer.headers["date"])
    assert abs((stated - batch.created_at).total_seconds()) < 3600
    assert listed.created_at == afterwards.created_at == batch.created_at


def test_results_are_archived_when_the_clock_is_ahead(
    api: anthropic.Anthropic, provider: Simulator
) -> None:
    batch = wait_for_end(api, api.messages.batches.create(requests=requests_of(params())))
    good = download(provider, batch)

    provider.faults(clock_ahead_seconds=28.9 * DAY)
    kept = download(provider, batch)
    provider.faults(clock_ahead_seconds=29 * DAY)
    archived = api.messages.batches.retrieve(batch.id)
    with pytest.raises(httpx2.HTTPStatusError, match="404"):
        download(provider, batch)
    provider.reset()

    assert kept == good
    assert (archived.processing_status, archived.results_url) == ("ended", None)
    assert archived.archived_at is not None
    assert (archived.archived_at - archived.created_at).total_seconds() == 29 * DAY
    assert archived.created_at == batch.created_at
    assert download(provider, batch) == good


def test_a_share_of_the_rows_may_expire(api: anthropic.Anthropic, provider: Simulator) -> None:
    provider.faults(expire_share=0.3)

    results = run(api, *[params()] * 10)
    kinds = [line.result.type for line in results.values()]
    provider.faults(expire_share=1)
    all_of_them = run(api, params())

    assert (kinds.count("expired"), kinds.count("succeeded")) == (3, 7)
    assert [line.result.type for line in all_of_them.values()] == ["expired"]


def test_results_may_be_said_to_be_elsewhere(
    api: anthropic.Anthropic, provider: Simulator, ended: MessageBatch
) -> None:
    provider.faults(results_host="http://127.0.0.9:9")

    looked_at = api.messages.batches.retrieve(ended.id)
    (listed,) = [one for one in api.messages.batches.list(limit=1000) if one.id == ended.id]

    path = f"/v1/messages/batches/{ended.id}/results"
    assert looked_at.results_url == listed.results_url == f"http://127.0.0.9:9{path}"
