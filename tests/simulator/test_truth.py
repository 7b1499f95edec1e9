"""What really arrived, and what is charged."""

from __future__ import annotations

import json

import anthropic
import httpx2
import pytest
from anthropic.types.messages import MessageBatch

from ..conftest import Simulator
from .asking import counts, message_of, params, requests_of, results_of, results_url, run

pytestmark = pytest.mark.no_database


def test_the_truth_says_what_became_of_a_batch_and_what_is_charged(
    api: anthropic.Anthropic, provider: Simulator
) -> None:
    names = ("good", "cut", "errored", "expired", "empty")
    provider.faults(stuck=True)
    batch = api.messages.batches.create(
        requests=requests_of(*[params(f"Say hello. [simulate:{name}]") for name in names])
    )
    at_work = provider.truth(ids=True)["batches"][-1]
    provider.reset()
    usages = [
        line.result.message.usage
        for line in results_of(api, batch)
        if line.result.type == "succeeded"
    ]
    ended = provider.truth()["batches"][-1]

    assert at_work == {
        "id": batch.id,
        "created_at": at_work["created_at"],
        "size": 5,
        "workspace": "wrkspc_01practice",
        "custom_ids": [f"row-{number}" for number in range(5)],
        "foreign": False,
        "cancel_requested": False,
        "ended": False,
        "deleted": False,
        "counts": counts(processing=5),
        "input_tokens": 0,
        "output_tokens": 0,
    }
    assert ended == {
        **at_work,
        "custom_ids": None,
        "ended": True,
        "counts": counts(succeeded=3, errored=1, expired=1),
        "input_tokens": sum(usage.input_tokens for usage in usages),
        "output_tokens": sum(usage.output_tokens for usage in usages),
    }


def test_some_refusals_are_charged(api: anthropic.Anthropic, provider: Simulator) -> None:
    rows = [params(f"Say hello to guest {number}. [simulate:refusal]") for number in range(40)]
    messages = [message_of(line) for line in run(api, *rows).values()]

    charged = [
        message.usage.input_tokens
        for message in messages
        if message.stop_details
        and message.stop_details.category in ("bio", "frontier_llm", "reasoning_extraction")
    ]
    assert 0 < len(charged) < 40
    assert provider.truth()["batches"][-1]["input_tokens"] == sum(charged)


def test_every_answer_has_a_date(provider: Simulator, ended: MessageBatch) -> None:
    creates = ("accept_307", "accept_502", "reject_413", "reject_529")
    downloads = ("clean_early_end", "cut_gzip", "crlf", "redirect")
    provider.faults(
        create=[{"kind": kind} for kind in creates],
        results=[{"kind": kind} for kind in downloads],
        list=[{"kind": "status"}],
    )
    batches = f"{provider.url}/v1/messages/batches"
    body = json.dumps({"requests": requests_of(params())})
    with httpx2.Client(headers={"x-api-key": "any"}) as client:
        answers = [client.post(batches, content=body) for _ in range(5)]
        answers += [client.get(results_url(provider, ended)) for _ in range(5)]
        answers += [client.get(batches) for _ in range(2)]
        answers += [client.get(f"{batches}/nobody"), client.get(f"{provider.url}/_truth")]
        answers += [client.put(batches), client.get(batches, headers={"x-api-key": "bad"})]

    seen = [answer.status_code for answer in answers]
    assert seen[:5] == [307, 502, 413, 529, 200]
    assert seen[5:10] == [200, 200, 200, 307, 200]
    assert seen[10:] == [500, 200, 404, 200, 501, 401]
    assert all("date" in answer.headers for answer in answers), answers
