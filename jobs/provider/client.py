"""Calls to the provider. The only module that imports the package anthropic.

The package's retries are off: a call that changes something is sent once, and a call that only
reads is repeated by the next poll. Redirects are off, because a redirected POST would be sent
twice. Results are fetched from the API's own address, never from one named in a reply, because the
request carries the key. Replies are decoded by replies.py.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cache, partial
from pathlib import Path
from typing import IO, Annotated, Any

import anthropic
import httpx2
import msgspec
from django.conf import settings

from ..models import clock
from ..rules.judging import Message
from ..rules.provider_lists import ModelInfo
from .connections import Deadline, LimitedClient, TooLarge
from .errors import NotFound, ProviderError, Refused, TooLong, Unclear, Unreachable
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

READ_SECONDS = 40.0  # in total, for a call or a page of a list; shorter than a lease
LIST_SECONDS = 300.0  # in total, for all pages of a list
ANSWER_BYTES = 8_000_000  # of a reply; a page with 1,000 batches has about 600,000
RESULT_BYTES = 40_000_000  # of one result (a line of the results), with a margin
# Bytes that a download must bring every READ_SECONDS.
PACE = 1_000_000
# Bytes of a token in an answer as JSON, at most on average; bytes of everything else.
TOKEN_BYTES, AROUND_BYTES = 100, 100_000
COUNTED_AT_ONCE = 5  # requests whose tokens are counted in parallel
BLOCK = 1 << 20
TOO_MUCH = "Anthropic’s reply was too large."


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


@cache
def _certificates() -> ssl.SSLContext:
    """The trusted certificates, cached because reading them takes longer than a call."""
    return httpx2.create_ssl_context(trust_env=not settings.PROVIDER_IS_LOCAL)


def _read_clock(response: httpx2.Response) -> None:
    if date := _date(response.headers.get("date", "")):
        clock.note_provider_date(date)


class _Http(LimitedClient, anthropic.DefaultHttpxClient):
    """The HTTP client below the anthropic client."""


@contextmanager
def _client(deadline: Deadline, most: int = ANSWER_BYTES) -> Iterator[anthropic.Anthropic]:
    """A client with a connection of its own. A kept-alive connection may be closed by the other
    side while a body goes out, which looks like a lost reply. Replies end at the deadline and have
    at most `most` bytes."""
    http = _Http(
        deadline,
        most,
        follow_redirects=False,
        verify=_certificates(),
        trust_env=not settings.PROVIDER_IS_LOCAL,
        event_hooks={"response": [_read_clock]},
    )
    with http:
        yield anthropic.Anthropic(
            api_key=settings.ANTHROPIC_API_KEY or "practice",
            base_url=settings.ANTHROPIC_BASE_URL,
            max_retries=0,
            timeout=httpx2.Timeout(READ_SECONDS, connect=10.0),
            http_client=http,
            open_telemetry=False,
        )


def sync_clock() -> None:
    """Make clock.provider_now return a time. Raises ProviderError."""
    if clock.provider_now() is None:
        next(list_batches(), None)


@contextmanager
def _our_exceptions() -> Iterator[None]:
    """Turn what the client raises into this module's exceptions."""
    try:
        yield
    except anthropic.APIStatusError as error:
        raise _of_status(error) from error
    except anthropic.APIConnectionError as error:
        # Without a connection nothing was sent. The client keeps the reason as the cause.
        cause = error.__cause__
        if isinstance(cause, (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)):
            raise Unreachable("Anthropic cannot be reached.") from error
        if isinstance(cause, TooLarge):
            raise TooLong(TOO_MUCH) from error
        if isinstance(cause, httpx2.TimeoutException):
            raise Unclear("Anthropic took too long to reply.") from error
        raise Unclear("The connection to Anthropic was lost.") from error
    except TooLarge as error:
        raise TooLong(TOO_MUCH) from error
    except (anthropic.AnthropicError, httpx2.HTTPError, httpx2.StreamError) as error:
        raise Unclear("Anthropic's reply could not be read.") from error


def _of_status(error: anthropic.APIStatusError) -> ProviderError:
    status = error.status_code
    # Any type, whatever the client's types say: the body may not be one of the API's errors.
    kind, message = _text(error.type), _text(error.api_message)
    message = (message or ("" if status == 413 else error.message))[:2000]
    if status == 404:
        return NotFound(status, kind, message, None)
    if status in (400, 401, 402, 403, 413, 422, 429):
        retry_after = _retry_after(error.response)
        return Refused(status, kind, message, retry_after, _text(error.error_code))
    # 408, 409, 5xx and redirects: the call may have taken effect before the reply failed.
    return Unclear(f"Anthropic replied with status {status}.")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _retry_after(response: httpx2.Response) -> float | None:
    """Seconds, given as a number or as a date by the clock of the same reply."""
    said = response.headers.get("retry-after", "")
    try:
        seconds = float(said)
    except ValueError:
        then, there = _date(said), _date(response.headers.get("date", ""))
        if then is None or there is None:
            return None
        seconds = max((then - there).total_seconds(), 0.0)  # already past
    return seconds if 0 <= seconds < float("inf") else None


def _date(header: str) -> datetime | None:
    """An HTTP date; None when it is not one."""
    try:
        date = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo is not None else None


def create_batch(body: Path, size: int, seconds: float) -> BatchInfo:
    """Send the batch in the file `body`, with `size` requests, in one POST of at most `seconds`.

    Raises Unreachable (not sent), Refused (a definite no) or Unclear (it may have been accepted).
    """
    with (
        body.open("rb") as file,
        Deadline(seconds) as deadline,
        _client(deadline) as client,
        _our_exceptions(),
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
    with (
        Deadline(seconds) as deadline,
        _client(deadline, max_answer_bytes(_max_tokens(params))) as client,
        _our_exceptions(),
    ):
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
    with Deadline(READ_SECONDS) as deadline, _client(deadline) as client, _our_exceptions():
        batches = client.messages.batches.with_raw_response
        for part in _pages(batches.list, BatchPage, page, deadline):
            yield from map(BatchInfo.of, part.data)


def list_models() -> list[ModelInfo]:
    """The models that this key may use, newest first. Raises ProviderError."""
    with Deadline(READ_SECONDS) as deadline, _client(deadline) as client, _our_exceptions():
        pages = _pages(client.models.with_raw_response.list, ModelPage, 1000, deadline)
        return [model for part in pages for model in part.data]


def _pages(
    ask: Callable[..., anthropic.APIResponse[Any]],
    kind: type[AnyPage],
    limit: int,
    deadline: Deadline,
) -> Iterator[AnyPage]:
    """The pages of a list in order. Raises ProviderError."""
    cursor: str | anthropic.Omit = anthropic.omit
    seen: set[str] = set()
    until = time.monotonic() + LIST_SECONDS
    while time.monotonic() < until:
        deadline.restart()
        part = _read(ask(limit=limit, after_id=cursor).http_response, kind)
        yield part
        if not part.has_more:
            return
        if not part.last_id or part.last_id in seen:
            break
        cursor = part.last_id
        seen.add(cursor)
    raise Unclear("Anthropic's list of batches or models never ends.")


def retrieve_batch(provider_id: str) -> BatchInfo:
    """One batch. Raises NotFound or another ProviderError."""
    with Deadline(READ_SECONDS) as deadline, _client(deadline) as client, _our_exceptions():
        answer = client.messages.batches.with_raw_response.retrieve(provider_id)
        return BatchInfo.of(_read(answer.http_response, BatchReply))


def cancel_batch(provider_id: str) -> None:
    """Ask the provider to stop a batch. Raises ProviderError."""
    with Deadline(READ_SECONDS) as deadline, _client(deadline) as client, _our_exceptions():
        answer = client.messages.batches.with_raw_response.cancel(provider_id)
        _read(answer.http_response, BatchReply)


def delete_batch(provider_id: str) -> None:
    """Delete an ended batch and its results at the provider. Raises ProviderError."""
    with Deadline(READ_SECONDS) as deadline, _client(deadline) as client, _our_exceptions():
        answer = client.messages.batches.with_raw_response.delete(provider_id)
        _read(answer.http_response, DeletedReply)


def result_blocks(
    provider_id: str, most: int | None = None, pace: int | None = None
) -> Iterator[bytes]:
    """The results of an ended batch as they arrive, at most `most` bytes (default: one result).

    All must arrive within READ_SECONDS; with a `pace`, at least that many bytes every READ_SECONDS.
    Raises ProviderError, including TooLong. A stream that ends early may raise nothing, so the
    caller must prove that it is complete."""
    with (
        Deadline(READ_SECONDS) as deadline,
        _client(deadline, most or RESULT_BYTES) as client,
        _our_exceptions(),
    ):
        response = client.get(
            f"/v1/messages/batches/{provider_id}/results",
            cast_to=httpx2.Response,
            stream=True,
            stream_cls=anthropic.Stream[object],
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
        Deadline(READ_SECONDS) as deadline,
        _client(deadline) as client,
        ThreadPoolExecutor(COUNTED_AT_ONCE) as threads,
    ):
        try:
            return list(threads.map(partial(_count_tokens, client), requests))
        except ProviderError:
            threads.shutdown(wait=False, cancel_futures=True)
            raise


def _count_tokens(client: anthropic.Anthropic, params: dict[str, Any]) -> int | None:
    counted = {name: params[name] for name in _COUNTED if name in params}
    try:
        with _our_exceptions():
            answer = client.messages.with_raw_response.count_tokens(**counted)
            return _read(answer.http_response, TokenCount).input_tokens
    except Refused as error:
        if error.status not in (400, 413, 422):
            raise
        return None
