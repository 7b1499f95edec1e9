"""Faults of creating, looking, canceling and deleting, as tests order them."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import anthropic
import httpx2
import pytest
from anthropic.types.messages import MessageBatch

from ..conftest import Simulator
from .asking import DEADLINE, HAIKU, client_of, counts, params, requests_of, state, wait_for_end

pytestmark = pytest.mark.no_database


ACCEPTED: list[tuple[str, type[Exception]]] = [
    ("drop_after_accept", anthropic.APIConnectionError),
    ("reset_after_accept", anthropic.APIConnectionError),
    ("accept_408", anthropic.APIStatusError),
    ("accept_500", anthropic.InternalServerError),
    ("accept_502", anthropic.InternalServerError),
    ("accept_504", anthropic.GatewayTimeoutError),
    ("accept_529", anthropic.OverloadedError),
    ("accept_cut", anthropic.APIConnectionError),
    ("accept_bad_json", json.JSONDecodeError),
    ("accept_empty", json.JSONDecodeError),
    ("accept_no_id", anthropic.APIResponseValidationError),
    ("accept_307", anthropic.APIStatusError),
    ("accept_stall", anthropic.APITimeoutError),
]
NOT_ACCEPTED: list[tuple[str, type[Exception]]] = [
    ("drop_before", anthropic.APIConnectionError),
    ("drop_mid_body", anthropic.APIConnectionError),
    ("stall", anthropic.APITimeoutError),
    ("reject_400", anthropic.BadRequestError),
    ("reject_400_spend", anthropic.BadRequestError),
    ("reject_401", anthropic.AuthenticationError),
    ("reject_402", anthropic.APIStatusError),
    ("reject_403", anthropic.PermissionDeniedError),
    ("reject_404", anthropic.NotFoundError),
    ("reject_408", anthropic.APIStatusError),
    ("reject_409", anthropic.ConflictError),
    ("reject_413", anthropic.APIStatusError),
    ("reject_422", anthropic.UnprocessableEntityError),
    ("reject_429", anthropic.RateLimitError),
    ("reject_500", anthropic.InternalServerError),
    ("reject_503", anthropic.InternalServerError),
    ("reject_529", anthropic.OverloadedError),
]


@pytest.fixture(scope="module")
def plain_api(provider: Simulator) -> Iterator[anthropic.Anthropic]:
    """A client that waits for no one and follows no redirect."""
    with client_of(
        provider.url,
        timeout=0.4,
        http_client=anthropic.DefaultHttpxClient(follow_redirects=False, timeout=0.4),
    ) as client:
        yield client


@pytest.mark.parametrize(
    ("kind", "error", "accepted"),
    [(*fault, True) for fault in ACCEPTED] + [(*fault, False) for fault in NOT_ACCEPTED],
)
def test_a_fault_of_create_accepts_what_its_name_says(
    plain_api: anthropic.Anthropic,
    provider: Simulator,
    kind: str,
    error: type[Exception],
    accepted: bool,
) -> None:
    before = provider.truth()
    provider.faults(create=[{"kind": kind}])

    with pytest.raises(error) as caught:
        plain_api.messages.batches.create(requests=requests_of(params(), params()))

    if isinstance(caught.value, anthropic.APIStatusError):
        assert str(caught.value.status_code) in {"307", *kind.split("_")}
    after = provider.truth(ids=True)
    assert after["posts"] == before["posts"] + 1
    assert after["accepted_rows"] - before["accepted_rows"] == (2 if accepted else 0)
    if accepted:
        assert after["batches"][-1]["custom_ids"] == ["row-0", "row-1"]
    assert plain_api.messages.batches.create(requests=requests_of(params())).id


def test_the_counts_of_an_accepted_batch_may_be_wrong(
    api: anthropic.Anthropic, provider: Simulator
) -> None:
    provider.faults(create=[{"kind": "accept_wrong_total"}])

    batch = api.messages.batches.create(requests=requests_of(params(), params()))

    assert batch.request_counts.model_dump() == counts(processing=1)
    assert provider.truth()["batches"][-1]["size"] == 2


def test_a_slow_answer_comes_byte_by_byte(api: anthropic.Anthropic, provider: Simulator) -> None:
    provider.faults(create=[{"kind": "accept_slow", "seconds": 0.8}])

    began = time.monotonic()
    batch = api.messages.batches.create(requests=requests_of(params()))

    assert 0.7 < time.monotonic() - began < 3
    assert api.messages.batches.retrieve(batch.id).id == batch.id


def test_a_redirect_that_is_followed_accepts_twice(
    api: anthropic.Anthropic, provider: Simulator
) -> None:
    before = provider.truth()
    provider.faults(create=[{"kind": "accept_307"}])

    api.messages.batches.create(requests=requests_of(params()))

    assert provider.truth()["posts"] == before["posts"] + 2
    assert provider.truth()["accepted_rows"] == before["accepted_rows"] + 2


def test_a_rate_limit_may_say_how_long_to_wait(
    api: anthropic.Anthropic, provider: Simulator
) -> None:
    provider.faults(create=[{"kind": "reject_429", "retry_after": 7, "times": 2}])
    waits = []
    for _ in range(2):
        with pytest.raises(anthropic.RateLimitError) as caught:
            api.messages.batches.create(requests=requests_of(params()))
        waits.append(caught.value.response.headers["retry-after"])

    assert waits == ["7", "7"]
    assert api.messages.batches.create(requests=requests_of(params())).id


def test_looking_may_fail(
    api: anthropic.Anthropic, provider: Simulator, ended: MessageBatch
) -> None:
    messages = params()["messages"]
    looks: dict[str, Callable[[anthropic.Anthropic], object]] = {
        "list": lambda api: api.messages.batches.list(),
        "retrieve": lambda api: api.messages.batches.retrieve(ended.id),
        "count_tokens": lambda api: api.messages.count_tokens(model=HAIKU, messages=messages),
    }
    for place, look in looks.items():
        provider.faults(
            **{
                place: [
                    {"kind": "status", "status": 503},
                    {"kind": "drop"},
                    {"kind": "cut"},
                    {"kind": "stall"},
                ]
            }
        )
        with pytest.raises(anthropic.APIStatusError) as caught:
            look(api)
        assert caught.value.status_code == 503
        for _ in ("drop", "cut"):
            with pytest.raises(anthropic.APIConnectionError, match="Connection error"):
                look(api)
        with pytest.raises(anthropic.APITimeoutError):
            look(impatient(api))
        assert look(api)


def test_a_look_may_be_answered_with_something_else(
    api: anthropic.Anthropic, provider: Simulator, ended: MessageBatch
) -> None:
    """With 200, and what the client's own reading of it may take for an empty list."""
    batches = f"{provider.url}/v1/messages/batches"
    page = "<html><body><h1>Back soon</h1></body></html>\n"
    odd = {"empty_object": ("json", "{}"), "null": ("json", "null"), "html": ("html", page)}
    order = [{"kind": kind} for kind in odd]
    counted = {name: params()[name] for name in ("model", "messages")}
    provider.faults(list=order, retrieve=order, count_tokens=order)

    with httpx2.Client(headers={"x-api-key": "any"}) as client:
        looks: list[Callable[[], httpx2.Response]] = [
            lambda: client.get(batches),
            lambda: client.get(f"{batches}/{ended.id}"),
            lambda: client.post(f"{provider.url}/v1/messages/count_tokens", json=counted),
        ]
        for look in looks:
            answers = [look() for _ in odd]
            assert [answer.status_code for answer in answers] == [200, 200, 200]
            kinds = [answer.headers["content-type"].rpartition("/")[2] for answer in answers]
            said = [answer.text for answer in answers]
            assert list(zip(kinds, said, strict=True)) == list(odd.values())
            assert look().json() not in ({}, None)


def test_a_page_of_the_list_may_be_broken(
    api: anthropic.Anthropic, provider: Simulator, ended: MessageBatch
) -> None:
    provider.faults(list=[{"kind": "null_data"}, {"kind": "no_cursor"}])

    with httpx2.Client(headers={"x-api-key": "any"}) as client:
        null_data, no_cursor, good = [
            client.get(f"{provider.url}/v1/messages/batches", params={"limit": 1000}).json()
            for _ in range(3)
        ]

    assert ended.id in [batch["id"] for batch in good["data"]]
    assert not good["has_more"]
    assert null_data == {**good, "data": None}
    assert no_cursor == {**good, "has_more": True, "last_id": None}


def impatient(api: anthropic.Anthropic) -> anthropic.Anthropic:
    """A client for calls that are never answered."""
    return api.with_options(timeout=0.2)


def test_a_fault_may_come_after_some_requests_that_go_well(
    api: anthropic.Anthropic, provider: Simulator, ended: MessageBatch
) -> None:
    provider.faults(
        retrieve=[{"kind": "status", "after": 2}, {"kind": "status", "after": 1, "times": 2}]
    )
    went_well = []
    for _ in range(7):
        try:
            went_well.append(api.messages.batches.retrieve(ended.id).id == ended.id)
        except anthropic.InternalServerError:
            went_well.append(False)

    assert went_well == [True, True, False, True, False, False, True]


@pytest.mark.parametrize(
    ("kind", "error", "done"),
    [
        ("status", anthropic.InternalServerError, False),
        ("drop", anthropic.APIConnectionError, False),
        ("stall", anthropic.APITimeoutError, False),
        ("drop_after", anthropic.APIConnectionError, True),
    ],
)
def test_canceling_may_fail(
    api: anthropic.Anthropic, provider: Simulator, kind: str, error: type[Exception], done: bool
) -> None:
    provider.faults(stuck=True, cancel=[{"kind": kind}])
    batch = api.messages.batches.create(requests=requests_of(params()))

    with pytest.raises(error):
        (impatient(api) if kind == "stall" else api).messages.batches.cancel(batch.id)

    assert provider.truth()["batches"][-1]["cancel_requested"] == done
    assert api.messages.batches.cancel(batch.id).processing_status == "canceling"


@pytest.mark.parametrize(
    ("kind", "error", "done"),
    [
        ("status", anthropic.InternalServerError, False),
        ("drop", anthropic.APIConnectionError, False),
        ("drop_after", anthropic.APIConnectionError, True),
    ],
)
def test_deleting_may_fail(
    api: anthropic.Anthropic, provider: Simulator, kind: str, error: type[Exception], done: bool
) -> None:
    batch = wait_for_end(api, api.messages.batches.create(requests=requests_of(params())))
    provider.faults(delete=[{"kind": kind}])

    with pytest.raises(error):
        api.messages.batches.delete(batch.id)

    assert provider.truth()["batches"][-1]["deleted"] == done
    with pytest.raises(anthropic.NotFoundError) if done else contextlib.nullcontext():
        api.messages.batches.delete(batch.id)


def test_what_was_done_may_be_answered_with_something_else(
    api: anthropic.Anthropic, provider: Simulator
) -> None:
    odd = [{"kind": "empty_object"}]
    provider.faults(stuck=True, cancel=odd)
    batch = api.messages.batches.create(requests=requests_of(params()))
    address = f"{provider.url}/v1/messages/batches/{batch.id}"

    with httpx2.Client(headers={"x-api-key": "any"}) as client:
        canceled = client.post(f"{address}/cancel")
        known = provider.truth()["batches"][-1]
        provider.faults(stuck=False, delete=odd)
        wait_for_end(api, batch)
        deleted = client.delete(address)

    assert known["cancel_requested"]
    assert provider.truth()["batches"][-1]["deleted"]
    for answer in (canceled, deleted):
        assert (answer.status_code, answer.json()) == (200, {})


def test_a_new_batch_may_be_listed_late(api: anthropic.Anthropic, provider: Simulator) -> None:
    provider.faults(list_hide_seconds=0.5)

    batch = api.messages.batches.create(requests=requests_of(params()))
    at_once = [listed.id for listed in api.messages.batches.list()]
    deadline = time.monotonic() + DEADLINE
    while batch.id not in [listed.id for listed in api.messages.batches.list()]:
        assert time.monotonic() < deadline
        time.sleep(0.02)  # between two looks

    assert batch.id not in at_once
    assert api.messages.batches.retrieve(batch.id).id == batch.id


@pytest.mark.parametrize(
    "order",
    [
        {"create": [{"kind": "explode"}]},
        {"create": [{"kind": "drop_after"}]},
        {"create": [{"kind": "stall", "mood": "bad"}]},
        {"create": [{"kind": "stall", "after": -1}]},
        {"create": [{"kind": "stall"}], "list": [{"kind": "explode"}]},
        {"create": {"kind": "stall"}},
        {"mood": []},
        {"page_limit": -1},
        {"page_limit": "few"},
        {"expire_share": 1.1},
        {"stuck": True, "mood": True},
    ],
)
def test_faults_and_knobs_that_do_not_exist_are_refused(
    provider: Simulator, order: dict[str, object]
) -> None:
    before = state(provider)

    with pytest.raises(urllib.error.HTTPError) as caught:
        provider.faults(**order)
    caught.value.close()

    assert caught.value.code == 400
    assert state(provider) == before


def test_what_fell_is_counted(api: anthropic.Anthropic, provider: Simulator) -> None:
    before = state(provider)["fell"].get("list: status", 0)
    provider.faults(list=[{"kind": "status", "times": 3, "after": 1}])
    api.messages.batches.list()
    for _ in range(2):
        with pytest.raises(anthropic.InternalServerError):
            api.messages.batches.list()
    provider.reset()

    assert api.messages.batches.list()
    assert state(provider)["fell"]["list: status"] == before + 2
