"""Calls to the provider, through the package anthropic (sdk.py).

Results are fetched from the API's own address, never from one named in a reply, because the
request carries the key. Replies are decoded by replies.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import httpx2
import msgspec

from ..models import api_key, clock
from ..rules.judging import Message
from ..rules.provider_lists import ModelInfo
from .connections import Deadline
from .errors import ProviderError, Refused, Unclear
from .replies import (
    AnyPage,
    BatchInfo,
    BatchPage,
    BatchReply,
    DeletedReply,
    ModelPage,
    Reply,
    TokenCount,
    decode_reply,
)

if TYPE_CHECKING:
    from . import sdk

READ_SECONDS = 40.0  # in total, for a call or a page of a list; shorter than a lease
CHECK_SECONDS = 10.0  # for testing a key, while a person waits
LIST_SECONDS = 300.0  # in total, for all pages of a list
ANSWER_BYTES = 8_000_000  # of a reply; a page with 1,000 batches has about 600,000
RESULT_BYTES = 40_000_000  # of one result (a line of the results), with a margin
# Bytes that a download must bring every READ_SECONDS.
PACE = 1_000_000
# Bytes of a token in an answer as JSON, at most on average; bytes of everything else.
TOKEN_BYTES, AROUND_BYTES = 100, 100_000
COUNTED_AT_ONCE = 5  # requests whose tokens are counted in parallel
BLOCK = 1 << 20


class _Limit(msgspec.Struct):
    """What is needed of the `params` of a request."""

    max_tokens: Annotated[int, msgspec.Meta(ge=0)]


_limit_decoder = msgspec.json.Decoder(_Limit)
_COUNTED = ("model", "messages", "system", "tools", "tool_choice", "thinking", "output_config")


def _read(response: httpx2.Response, kind: type[Reply]) -> Reply:
    """The reply as a `kind`. Raises Unclear when it is anything else."""
    if response.status_code != 200:
        raise Unclear(f"Anthropic replied with status {response.status_code}.")
    return decode_reply(response.content, kind)


class _Body:
    """A body file that ends after `seconds`, including time in which the machine was suspended.
    Deadline's timer stands still during a suspension, and another worker may have sent the batch
    meanwhile. The provider does not accept a body that is cut short."""

    def __init__(self, file: IO[bytes], seconds: float) -> None:
        self._file = file
        self._time = clock.Countdown(seconds)

    def fileno(self) -> int:
        return self._file.fileno()

    def read(self, size: int = -1) -> bytes:
        if self._time.is_over:
            raise Unclear("Sending was interrupted for too long.")
        return self._file.read(size)

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.read(BLOCK), b"")


def load() -> Any:
    """The module sdk, imported with the first call. A worker calls this when it starts, because
    its threads should not wait for each other then."""
    from . import sdk

    return sdk


@contextmanager
def _call(
    seconds: float, most: int = ANSWER_BYTES, new_key: str = ""
) -> Iterator[tuple[sdk.Anthropic, Deadline]]:
    """A client for one call of at most `seconds`, whose replies have at most `most` bytes. Raises
    ProviderError."""
    sdk = load()
    with (
        Deadline(seconds) as deadline,
        sdk.open_client(deadline, most, READ_SECONDS, new_key) as client,
        sdk.our_exceptions(),
    ):
        yield client, deadline


def sync_clock() -> None:
    """Make clock.provider_now return a time. Raises ProviderError."""
    if clock.provider_now() is None:
        next(list_batches(), None)


def workspace_in_use() -> str:
    """The workspace at the provider of the key in use, within `api_key.held`; "" if the provider
    does not say. Raises ProviderError."""
    if not api_key.workspace_in_use():
        next(list_batches(page=1), None)
    return api_key.workspace_in_use()


def create_batch(body: Path, size: int, seconds: float) -> BatchInfo:
    """Send the batch in the file `body`, with `size` requests, in one POST of at most `seconds`.

    Raises Unreachable (not sent), Refused (a definite no) or Unclear (it may have been accepted).
    """
    with (
        body.open("rb") as file,
        _call(seconds) as (client, _deadline),
    ):
        # The body is streamed: the client's own `create` would hold it several times in memory.
        response = client.post(
            "/v1/messages/batches",
            cast_to=httpx2.Response,
            content=_Body(file, seconds),
            options={"max_retries": 0, "timeout": httpx2.Timeout(seconds, connect=10.0)},
        )
        created = BatchInfo.of(_read(response, BatchReply))
    if created.total != size:
        raise Unclear("Anthropic's reply does not match what was sent.")
    return created


def create_message(params: bytes, seconds: float) -> Message:
    """The answer to one request (the JSON of its `params`) right away, within `seconds`.

    Raises Unreachable (not sent), Refused (a definite no) or Unclear (it may have been charged).
    """
    most = max_answer_bytes(_max_tokens(params))
    with _call(seconds, most) as (client, _deadline):
        response = client.post(
            "/v1/messages",
            cast_to=httpx2.Response,
            content=params,
            options={"max_retries": 0, "timeout": httpx2.Timeout(seconds, connect=10.0)},
        )
        message = _read(response, Message)
    if not message.model:
        raise Unclear("Anthropic's reply could not be read.")
    return message


def max_answer_bytes(max_tokens: int) -> int:
    """The most bytes that an answer of up to `max_tokens` tokens has as JSON."""
    return min(AROUND_BYTES + TOKEN_BYTES * max_tokens, RESULT_BYTES)


def _max_tokens(params: bytes) -> int:
    return _limit_decoder.decode(params).max_tokens


def list_batches(page: int = 1000) -> Iterator[BatchInfo]:
    """All batches of the workspace, newest first, fetched `page` at a time. The caller may stop
    early. Raises ProviderError; only a list that ends without it is complete.
    """
    with _call(READ_SECONDS) as (client, deadline):
        batches = client.messages.batches.with_raw_response
        for part in _pages(batches.list, BatchPage, page, deadline):
            yield from map(BatchInfo.of, part.data)


def check_key(key: str) -> None:
    """Ask for one model with `key`, free of charge. Raises ProviderError."""
    with _call(CHECK_SECONDS, new_key=key) as (client, _deadline):
        _read(client.models.with_raw_response.list(limit=1).http_response, ModelPage)


def list_models() -> list[ModelInfo]:
    """The models that this key may use, newest first. Raises ProviderError."""
    with _call(READ_SECONDS) as (client, deadline):
        pages = _pages(client.models.with_raw_response.list, ModelPage, 1000, deadline)
        return [model for part in pages for model in part.data]


def _pages(
    ask: Callable[..., sdk.APIResponse[Any]],
    kind: type[AnyPage],
    limit: int,
    deadline: Deadline,
) -> Iterator[AnyPage]:
    """The pages of a list in order. Raises ProviderError."""
    after: dict[str, str] = {}
    seen: set[str] = set()
    until = time.monotonic() + LIST_SECONDS
    while time.monotonic() < until:
        deadline.restart()
        part = _read(ask(limit=limit, **after).http_response, kind)
        yield part
        if not part.has_more:
            return
        if not part.last_id or part.last_id in seen:
            break
        after = {"after_id": part.last_id}
        seen.add(part.last_id)
    raise Unclear("Anthropic's list of batches or models never ends.")


def retrieve_batch(provider_id: str) -> BatchInfo:
    """One batch. Raises NotFound or another ProviderError."""
    with _call(READ_SECONDS) as (client, _deadline):
        answer = client.messages.batches.with_raw_response.retrieve(provider_id)
        return BatchInfo.of(_read(answer.http_response, BatchReply))


def cancel_batch(provider_id: str) -> None:
    """Ask the provider to stop a batch. Raises ProviderError."""
    with _call(READ_SECONDS) as (client, _deadline):
        answer = client.messages.batches.with_raw_response.cancel(provider_id)
        _read(answer.http_response, BatchReply)


def delete_batch(provider_id: str) -> str:
    """Delete an ended batch and its results at the provider. Returns the ID of its answer. Raises
    ProviderError."""
    with _call(READ_SECONDS) as (client, _deadline):
        answer = client.messages.batches.with_raw_response.delete(provider_id)
        deleted = _read(answer.http_response, DeletedReply)
        return answer.http_response.headers.get("request-id", "")[:100] or deleted.id


def result_blocks(
    provider_id: str, most: int | None = None, pace: int | None = None
) -> Iterator[bytes]:
    """The results of an ended batch as they arrive, at most `most` bytes (default: one result).

    All must arrive within READ_SECONDS; with a `pace`, at least that many bytes every READ_SECONDS.
    Raises ProviderError, including TooLong. A stream that ends early may raise nothing, so the
    caller must prove that it is complete."""
    with _call(READ_SECONDS, most or RESULT_BYTES) as (client, deadline):
        response = client.get(
            f"/v1/messages/batches/{provider_id}/results",
            cast_to=httpx2.Response,
            stream=True,
            stream_cls=load().Stream[object],
            options={"headers": {"Accept": "application/x-jsonl"}},
        )
        assert isinstance(response, httpx2.Response)  # noqa: S101 - the client's types say Stream
        try:
            # As they arrive: a broken connection would lose the last block of a fixed size.
            arrived = 0
            for block in response.iter_bytes():
                yield block
                arrived += len(block)
                if pace and arrived >= pace:
                    arrived = 0
                    deadline.restart()
        finally:
            response.close()


def count_tokens(requests: Sequence[dict[str, Any]]) -> list[int | None]:
    """Input tokens of each of `requests` (their `params`), counted by the provider free of charge;
    None for one that it refuses to count. Several are counted in parallel because a person waits.
    All of it takes at most READ_SECONDS. Raises ProviderError."""
    with (
        _call(READ_SECONDS) as (client, _deadline),
        ThreadPoolExecutor(COUNTED_AT_ONCE) as threads,
    ):
        try:
            return list(threads.map(partial(_count_tokens, client), requests))
        except ProviderError:
            threads.shutdown(wait=False, cancel_futures=True)
            raise


def _count_tokens(client: sdk.Anthropic, params: dict[str, Any]) -> int | None:
    counted = {name: params[name] for name in _COUNTED if name in params}
    try:
        with load().our_exceptions():
            answer = client.messages.with_raw_response.count_tokens(**counted)
            return _read(answer.http_response, TokenCount).input_tokens
    except Refused as error:
        if error.status not in (400, 413, 422):
            raise
        return None
