"""What the tests of the simulator send, and how they read what comes back."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx2
from anthropic.types import Message, TextBlock
from anthropic.types.messages import MessageBatch, MessageBatchIndividualResponse

from ..conftest import Simulator

HAIKU = "claude-haiku-5-5"
SECONDS = 1
DEADLINE = 300.0
DAY = 24 * 3600.0

Results = dict[str, MessageBatchIndividualResponse]


def client_of(url: str, **options: Any) -> anthropic.Anthropic:
    """The real client, which here looks closely at every answer and tries nothing twice."""
    return anthropic.Anthropic(
        api_key="practice",
        base_url=url,
        max_retries=0,
        _strict_response_validation=True,
        **options,
    )


def params(text: str = "Say hello.", **values: Any) -> Any:
    return {
        "model": HAIKU,
        "max_tokens": 300,
        "messages": [{"role": "user", "content": text}],
        **values,
    }


def requests_of(*rows: Any) -> Any:
    return [{"custom_id": f"row-{number}", "params": row} for number, row in enumerate(rows)]


def wait_for_end(api: anthropic.Anthropic, batch: MessageBatch) -> MessageBatch:
    deadline = time.monotonic() + DEADLINE
    while batch.processing_status != "ended":
        assert time.monotonic() < deadline, f"{batch.id} does not end"
        time.sleep(0.02)  # between two looks
        batch = api.messages.batches.retrieve(batch.id)
    return batch


def run(api: anthropic.Anthropic, *rows: Any) -> Results:
    """Send the rows as one batch and wait for its results, by custom_id."""
    batch = wait_for_end(api, api.messages.batches.create(requests=requests_of(*rows)))
    return {line.custom_id: line for line in api.messages.batches.results(batch.id)}


def message_of(line: MessageBatchIndividualResponse) -> Message:
    assert line.result.type == "succeeded", line
    return line.result.message


def error_of(line: MessageBatchIndividualResponse) -> tuple[str, str]:
    assert line.result.type == "errored", line
    return line.result.error.error.type, line.result.error.error.message


def text_of(message: Message) -> str:
    return "".join(block.text for block in message.content if isinstance(block, TextBlock))


def results_of(
    api: anthropic.Anthropic, batch: MessageBatch
) -> Iterator[MessageBatchIndividualResponse]:
    wait_for_end(api, batch)
    yield from api.messages.batches.results(batch.id)


def counts(**values: int) -> dict[str, int]:
    names = ("processing", "succeeded", "errored", "canceled", "expired")
    return {name: values.get(name, 0) for name in names}


def download(provider: Simulator, batch: MessageBatch) -> list[bytes]:
    """The lines of the results, with their ends."""
    with httpx2.Client(headers={"x-api-key": "any"}) as client:
        answer = client.get(results_url(provider, batch))
        answer.raise_for_status()
        return answer.content.splitlines(keepends=True)


def results_url(provider: Simulator, batch: MessageBatch) -> str:
    return f"{provider.url}/v1/messages/batches/{batch.id}/results"


def ids(lines: list[bytes]) -> set[str]:
    return {json.loads(line)["custom_id"] for line in lines}


def state(provider: Simulator) -> dict[str, Any]:
    """The faults to come, where the knobs stand, and what fell so far."""
    known: dict[str, Any] = httpx2.get(f"{provider.url}/_faults").json()
    return known
