"""Batches: creating, listing, canceling and deleting them, as the real client does."""

from __future__ import annotations

import contextlib
import json
import urllib.error
import urllib.request
from pathlib import Path

import anthropic
import pytest
from anthropic.types.messages import MessageBatch

from ..conftest import Simulator
from .asking import (
    SECONDS,
    client_of,
    counts,
    message_of,
    params,
    requests_of,
    text_of,
    wait_for_end,
)

pytestmark = pytest.mark.no_database


def test_a_batch_from_creation_to_results(
    slow_api: anthropic.Anthropic, slow_provider: Simulator
) -> None:
    rows = [params(f"Say hello to guest {number}.") for number in range(40)]

    batch = slow_api.messages.batches.create(requests=requests_of(*rows))
    with pytest.raises(anthropic.NotFoundError):
        slow_api.get(f"/v1/messages/batches/{batch.id}/results", cast_to=object)
    ended = wait_for_end(slow_api, batch)
    lines = list(slow_api.messages.batches.results(batch.id))

    assert batch.processing_status == "in_progress"
    assert batch.request_counts.model_dump() == counts(processing=40)
    assert (batch.results_url, batch.ended_at) == (None, None)
    assert (batch.expires_at - batch.created_at).total_seconds() == 24 * 3600
    assert ended.request_counts.model_dump() == counts(succeeded=40)
    assert ended.results_url == f"{slow_provider.url}/v1/messages/batches/{batch.id}/results"
    assert ended.ended_at is not None
    assert (ended.ended_at - ended.created_at).total_seconds() >= SECONDS
    order = [line.custom_id for line in lines]
    assert set(order) == {f"row-{number}" for number in range(40)}
    assert order != sorted(order, key=lambda custom_id: int(custom_id.partition("-")[2]))
    assert order == [line.custom_id for line in slow_api.messages.batches.results(batch.id)]
    assert {message_of(line).usage.service_tier for line in lines} == {"batch"}
    assert len({text_of(message_of(line)) for line in lines}) > 30


def test_batches_do_not_all_end_at_once(tmp_path: Path) -> None:
    simulator = Simulator(tmp_path / "provider", seconds=0.5)
    with contextlib.closing(client_of(simulator.url)) as api:
        batches = [api.messages.batches.create(requests=requests_of(params())) for _ in range(3)]
        ended = [wait_for_end(api, batch) for batch in batches]
    simulator.stop()

    took = [
        (batch.ended_at - batch.created_at).total_seconds() for batch in ended if batch.ended_at
    ]
    assert took[0] >= 0.5
    assert took[1] >= 0.6
    assert took[2] >= 0.7


def test_without_seconds_a_batch_has_ended_at_the_first_look(tmp_path: Path) -> None:
    simulator = Simulator(tmp_path / "provider", seconds=0)
    with contextlib.closing(client_of(simulator.url)) as api:
        batch = api.messages.batches.create(requests=requests_of(params()))
        looked_at = api.messages.batches.retrieve(batch.id)
    simulator.stop()

    assert batch.processing_status == "in_progress"
    assert looked_at.processing_status == "ended"


def test_the_list_is_paged_both_ways(api: anthropic.Anthropic) -> None:
    made = [api.messages.batches.create(requests=requests_of(params())).id for _ in range(5)]
    newest_first = made[::-1]

    first = api.messages.batches.list(limit=2)
    second = api.messages.batches.list(limit=2, after_id=newest_first[1])
    before = api.messages.batches.list(limit=2, before_id=newest_first[3])
    newest = api.messages.batches.list(limit=2, before_id=newest_first[1])
    walked = [batch.id for batch, _ in zip(first, range(5), strict=False)]

    assert [batch.id for batch in first.data] == newest_first[:2]
    assert (first.has_more, first.first_id, first.last_id) == (True, *newest_first[:2])
    assert [batch.id for batch in second.data] == newest_first[2:4]
    assert [batch.id for batch in before.data] == newest_first[1:3]
    assert before.has_more
    assert [batch.id for batch in newest.data] == newest_first[:1]
    assert not newest.has_more
    assert walked == newest_first
    for wrong in ({"limit": 0}, {"limit": 1001}, {"after_id": "msgbatch_nobody"}):
        with pytest.raises(anthropic.BadRequestError):
            api.get("/v1/messages/batches", cast_to=object, options={"params": wrong})


def test_a_canceled_batch_keeps_what_was_finished(slow_api: anthropic.Anthropic) -> None:
    batch = slow_api.messages.batches.create(requests=requests_of(*[params()] * 300))

    canceled = slow_api.messages.batches.cancel(batch.id)
    again = slow_api.messages.batches.cancel(batch.id)
    ended = wait_for_end(slow_api, canceled)
    kinds = [line.result.type for line in slow_api.messages.batches.results(batch.id)]

    assert (canceled.processing_status, again.processing_status) == ("canceling", "canceling")
    assert canceled.cancel_initiated_at == again.cancel_initiated_at is not None
    assert canceled.request_counts.model_dump() == counts(processing=300)
    assert ended.request_counts.canceled == kinds.count("canceled") > 0
    assert (
        ended.request_counts.succeeded == kinds.count("succeeded") == 300 - kinds.count("canceled")
    )
    with pytest.raises(anthropic.BadRequestError):
        slow_api.messages.batches.cancel(batch.id)


def test_only_a_batch_that_ended_can_be_deleted(slow_api: anthropic.Anthropic) -> None:
    batch = slow_api.messages.batches.create(requests=requests_of(params()))

    with pytest.raises(anthropic.BadRequestError):
        slow_api.messages.batches.delete(batch.id)
    wait_for_end(slow_api, batch)
    deleted = slow_api.messages.batches.delete(batch.id)

    assert (deleted.id, deleted.type) == (batch.id, "message_batch_deleted")
    assert batch.id not in [listed.id for listed in slow_api.messages.batches.list(limit=1000)]
    for gone in (slow_api.messages.batches.retrieve, slow_api.messages.batches.delete):
        with pytest.raises(anthropic.NotFoundError):
            gone(batch.id)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "empty"),
        (b"{", "not valid JSON"),
        (b"[]", "Expected `object`"),
        (b"{}", "requests: Field required"),
        (b'{"requests":[]}', "at least 1"),
        (b'{"requests":[],"mode":1}', "mode: Extra inputs are not permitted"),
        (b'{"requests":[{"params":{}}]}', "requests.0.custom_id: Field required"),
        (b'{"requests":[{"custom_id":"a"}]}', "requests.0.params: Field required"),
        (b'{"requests":[{"custom_id":"a","params":[]}]}', "requests.0.params"),
        (b'{"requests":[{"custom_id":"a b","params":{}}]}', "requests.0.custom_id"),
        (b'{"requests":[{"custom_id":"%b","params":{}}]}' % (b"a" * 65), "requests.0.custom_id"),
        (b'{"requests":[{"custom_id":"a","params":{},"x":1}]}', "requests.0.x: Extra inputs"),
        (
            b'{"requests":[{"custom_id":"a","params":{}},{"custom_id":"a","params":{}}]}',
            "requests.1.custom_id: Duplicate",
        ),
        (
            b'{"requests":[%b]}' % b",".join([b'{"custom_id":"a","params":{}}'] * 100_001),
            "at most 100000",
        ),
    ],
)
def test_a_wrong_body_is_refused_as_a_whole(
    api: anthropic.Anthropic, provider: Simulator, body: bytes, message: str
) -> None:
    before = provider.truth()

    with pytest.raises(anthropic.BadRequestError) as caught:
        api.post("/v1/messages/batches", cast_to=object, content=body)

    assert caught.value.type == "invalid_request_error"
    assert message in str(caught.value.api_message)
    assert str(caught.value.request_id).startswith("req_")
    after = provider.truth()
    assert after["posts"] == before["posts"] + 1
    assert after["accepted_rows"] == before["accepted_rows"]


def test_a_body_that_is_too_large_is_refused_by_no_api(api: anthropic.Anthropic) -> None:
    piece = b" " * 1_000_000

    with pytest.raises(anthropic.APIStatusError) as caught:
        api.post("/v1/messages/batches", cast_to=object, content=(piece for _ in range(257)))

    assert caught.value.status_code == 413
    assert "<html>" in str(caught.value.body)


def test_a_body_may_come_in_chunks(api: anthropic.Anthropic) -> None:
    body = json.dumps({"requests": requests_of(*[params()] * 500)}).encode()
    pieces = (body[start : start + 999] for start in range(0, len(body), 999))

    batch = api.post("/v1/messages/batches", cast_to=MessageBatch, content=pieces)

    assert batch.request_counts.processing == 500


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"x-api-key": "bad-key"}, 401),
        ({"authorization": "Bearer bad"}, 401),
        ({"authorization": "Basic abc"}, 401),
        ({"x-api-key": "any"}, 200),
        ({"authorization": "Bearer any"}, 200),
    ],
)
def test_a_key_is_needed(provider: Simulator, headers: dict[str, str], status: int) -> None:
    request = urllib.request.Request(f"{provider.url}/v1/messages/batches", headers=headers)
    try:
        with urllib.request.urlopen(request) as answer:
            got, names = answer.status, answer.headers
    except urllib.error.HTTPError as error:
        with error:
            got, names = error.code, error.headers
            assert json.load(error)["error"]["type"] == "authentication_error"

    assert got == status
    assert names["request-id"].startswith("req_")
    assert names["anthropic-workspace-id"]
    assert names["date"]
