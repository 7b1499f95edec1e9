"""Every call to the provider ends, and what comes back fits into memory and onto the disk."""

from __future__ import annotations

import gzip
import json
import shutil
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from jobs.batches import collection, leases, ownership, result_files
from jobs.models import Batch, Job, Row, clock, files, recipe_of_round
from jobs.provider import client, connections
from jobs.provider.errors import NotFound, ProviderError, Refused, TooLong, Unclear
from jobs.rules import result_proof

from ..provider.test_client import PARAMS
from ..slow_provider import HEAD, SlowProvider

no_database = pytest.mark.no_database

MIB = 1 << 20
BOMB_MIB = 150


def create(tmp_path: Path) -> object:
    body = tmp_path / "body.json"
    body.write_text(json.dumps({"requests": [{"custom_id": "a", "params": PARAMS}]}))
    return client.create_batch(body, 1, client.READ_SECONDS)


def counted() -> None:
    if None in client.count_tokens([PARAMS, PARAMS]):
        raise Refused(400, "", "This one cannot be counted.", None)


CALLS: dict[str, Callable[[Path], object]] = {
    "list": lambda _: list(client.list_batches()),
    "models": lambda _: client.list_models(),
    "retrieve": lambda _: client.retrieve_batch("msgbatch_1"),
    "cancel": lambda _: client.cancel_batch("msgbatch_1"),
    "delete": lambda _: client.delete_batch("msgbatch_1"),
    "count": lambda _: counted(),
    "message": lambda _: client.create_message(json.dumps(PARAMS).encode(), client.READ_SECONDS),
    "create": create,
    "first result": lambda _: ownership.first_custom_id("msgbatch_1"),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@pytest.fixture
def start_provider(settings: Any) -> Iterator[Callable[..., SlowProvider]]:
    """`start_provider(answer)` makes one that answers so the provider of this test."""
    started: list[SlowProvider] = []

    def start(answer: Callable[[SlowProvider], Iterator[bytes]]) -> SlowProvider:
        one = SlowProvider(lambda _line: answer(one))
        started.append(one.__enter__())
        settings.ANTHROPIC_BASE_URL = one.url
        return one

    yield start
    for one in started:
        one.__exit__(None, None, None)


# --- Size -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """150 MiB of blanks in 150 kB."""
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(b" " * MIB) for _ in range(BOMB_MIB)) + packer.flush()


def answer_with(body: bytes, encoding: str, status: int = 200) -> bytes:
    head = HEAD.replace(b"200 OK", b"%d Whatever" % status)
    encoded = b"content-encoding: %b\r\n" % encoding.encode()
    return head + encoded + b"content-length: %d\r\n\r\n" % len(body) + body


@no_database
@every_call
@pytest.mark.parametrize("status", [200, 400, 404, 500])
def test_a_small_answer_that_unpacks_to_a_huge_one_is_not_unpacked(
    start_provider: Callable[..., SlowProvider],
    bomb: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: Callable[[Path], object],
    status: int,
) -> None:
    monkeypatch.setattr(client, "RESULT_BYTES", 8 * MIB)
    start_provider(lambda _one: iter([answer_with(bomb, "gzip", status)]))
    tracemalloc.start()
    try:
        with pytest.raises(ProviderError) as caught:
            call(tmp_path)
        _now, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # What is kept of it is joined, so it is there twice for a moment.
    assert most < 40 * MIB
    expected = {200: TooLong, 400: Refused, 404: NotFound, 500: Unclear}
    assert type(caught.value) is expected[status]


@no_database
@every_call
@pytest.mark.parametrize("encoding", ["gzip, gzip", "deflate", "br", "x"])
def test_an_encoding_that_was_not_asked_for_is_not_undone(
    start_provider: Callable[..., SlowProvider],
    bomb: bytes,
    tmp_path: Path,
    call: Callable[[Path], object],
    encoding: str,
) -> None:
    start_provider(lambda _one: iter([answer_with(gzip.compress(bomb), encoding)]))
    with pytest.raises(Unclear):
        call(tmp_path)


@no_database
@every_call
@pytest.mark.parametrize("status", [200, 400])
def test_an_answer_without_end_is_read_up_to_its_bound(
    start_provider: Callable[..., SlowProvider],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: Callable[[Path], object],
    status: int,
) -> None:
    monkeypatch.setattr(client, "ANSWER_BYTES", MIB)
    monkeypatch.setattr(client, "RESULT_BYTES", MIB)
    head = HEAD.replace(b"200 OK", b"%d Whatever" % status)

    def endless(one: SlowProvider) -> Iterator[bytes]:
        yield head + b"\r\n"
        while not one.stopped.is_set() and one.sent < 200 * MIB:
            yield b" " * 65_536

    one = start_provider(endless)
    with pytest.raises(ProviderError):
        call(tmp_path)
    # What was sent, and not read, lies in the buffers of the connection.
    assert one.sent < 100 * MIB


@no_database
def test_a_long_refusal_keeps_its_words(
    start_provider: Callable[..., SlowProvider], tmp_path: Path
) -> None:
    """The API's own errors are short; the bound is far above them."""
    said = "x" * (connections.ERROR_BYTES // 2)
    error = {"type": "error", "error": {"type": "invalid_request_error", "message": said}}
    body = gzip.compress(json.dumps(error).encode())
    start_provider(lambda _one: iter([answer_with(body, "gzip", 400)]))
    with pytest.raises(Refused) as caught:
        create(tmp_path)
    assert caught.value.kind == "invalid_request_error"
    assert caught.value.message == said[:2000]


# --- Time -----------------------------------------------------------------------------------------


@no_database
@every_call
@pytest.mark.parametrize(
    "begin", [HEAD + b"x-slow: ", HEAD + b"\r\n", HEAD.replace(b"200", b"500") + b"\r\n"]
)
def test_a_call_that_is_answered_drop_by_drop_comes_to_its_end(
    start_provider: Callable[..., SlowProvider],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: Callable[[Path], object],
    begin: bytes,
) -> None:
    monkeypatch.setattr(client, "READ_SECONDS", 0.3)
    one = start_provider(lambda one: one.drip(begin))
    with pytest.raises(Unclear):
        call(tmp_path)
    assert one.asked.total()


@no_database
def test_a_list_that_has_ever_more_parts_comes_to_its_end(
    start_provider: Callable[..., SlowProvider], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "LIST_SECONDS", 0.5)

    def pages(one: SlowProvider) -> Iterator[bytes]:
        page = {"data": [], "has_more": True, "last_id": f"msgbatch_{one.asked.total()}"}
        yield HEAD + b"\r\n" + json.dumps(page).encode()

    start_provider(pages)
    with pytest.raises(Unclear):
        list(client.list_batches())


@no_database
def test_a_download_goes_on_as_long_as_it_keeps_its_pace(
    start_provider: Callable[..., SlowProvider], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes longer in all than a call that is only read; one that drips is given up."""
    monkeypatch.setattr(client, "READ_SECONDS", 1.5)

    def steady(one: SlowProvider) -> Iterator[bytes]:
        yield HEAD + b"\r\n"
        for _ in range(10):
            one.stopped.wait(0.2)
            yield b"x" * 1000

    one = start_provider(steady)
    assert len(b"".join(client.result_blocks("msgbatch_1", MIB, 1000))) == 10_000
    for pace in (None, 100_000):
        with pytest.raises(Unclear):
            list(client.result_blocks("msgbatch_1", MIB, pace))
    assert one.asked.total() == 3


# --- Results --------------------------------------------------------------------------------------


@pytest.fixture
def ended(alice: User, make_job: Callable[..., Job]) -> Batch:
    """A batch of three rows that has ended."""
    job = make_job(alice, state=Job.State.WORKING, rows=[("a", "b")] * 3, practice=True)
    batch = Batch.objects.create(
        job=job,
        number=1,
        size=3,
        nonce="abc123",
        state=Batch.State.ENDED,
        practice=True,
        provider_id="msgbatch_1",
        counts={"succeeded": 3, "errored": 0, "canceled": 0, "expired": 0},
        body_sha256="",
        body_bytes=0,
        created_at=clock.now(),
        ended_at=clock.now(),
        expires_at=clock.now(),
        deadline_at=clock.now(),
    )
    Row.objects.filter(job=job).update(batch=batch)
    return batch


def claim(batch: Batch) -> leases.Lease:
    Job.objects.filter(pk=batch.job_id).update(next_action_at=clock.now())
    lease = leases.claim(batch.job_id)
    assert lease is not None
    return lease


def most_bytes(batch: Batch) -> int:
    return result_files.max_answer_bytes(batch, recipe_of_round(batch.job, batch.round))


def endless_results(one: SlowProvider) -> Iterator[bytes]:
    line = b'{"custom_id":"abc123-0000001","result":{"type":"canceled"}}\n'
    yield HEAD + b"\r\n"
    while not one.stopped.is_set() and one.sent < 300 * MIB:
        yield line * 1000


def test_results_without_end_are_bounded_by_what_was_asked_for(
    ended: Batch, start_provider: Callable[..., SlowProvider], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "RESULT_BYTES", 4 * MIB)
    start_provider(endless_results)
    assert collection.collect(ended, claim(ended))
    ended.refresh_from_db()
    assert ended.collect_failures == 1
    (part,) = files.results_path(ended).parent.glob("*.part")
    assert part.stat().st_size == most_bytes(ended)
    # One result of any length, and three that are as long as was asked for.
    longest = 300
    assert most_bytes(ended) <= 4 * MIB + 3 * (100_000 + 100 * max(longest, 4096))


def test_a_disk_that_fills_up_while_results_arrive_ends_the_download(
    ended: Batch, start_provider: Callable[..., SlowProvider], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_files, "ROOM_CHECKED_EVERY", MIB)
    one = start_provider(endless_results)
    free = [files.ROOM_LEFT + 10 * MIB, files.ROOM_LEFT - 1]
    usage = shutil.disk_usage(files.scratch())
    monkeypatch.setattr(
        "jobs.models.files.shutil.disk_usage",
        lambda _folder: usage._replace(free=free.pop(0) if len(free) > 1 else free[0]),
    )
    with pytest.raises(OSError, match="No space left"):
        collection.collect(ended, claim(ended))
    assert not [*files.results_path(ended).parent.glob("*.part")], "the room is needed"
    assert one.sent < 100 * MIB


def test_a_line_without_end_is_not_read_into_memory(
    ended: Batch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(client, "RESULT_BYTES", MIB)
    path = tmp_path / "results.jsonl"
    path.write_bytes(b" " * 20 * MIB + b"\n")
    with path.open("rb") as file:
        assert max(map(len, result_files.lines(file))) == MIB
    path.write_bytes(b'{"custom_id":"abc123-0000001","result":"' + b"x" * 20 * MIB + b'"}\n')
    tracemalloc.start()
    try:
        expected = collection.expect_results(ended)
        with path.open("rb") as file, pytest.raises(result_proof.Incomplete):
            result_proof.prove_complete(result_files.lines(file), expected)
        _now, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 6 * MIB


@pytest.mark.parametrize(("failures", "pace"), [(0, 1_000_000), (3, 125_000), (50, 31_250)])
def test_a_slow_line_gets_more_time_after_each_failure(
    ended: Batch, monkeypatch: pytest.MonkeyPatch, failures: int, pace: int
) -> None:
    asked = []

    def no_results(_id: str, most: int, pace: int) -> Iterator[bytes]:
        asked.append(pace)
        yield b"x"
        raise Unclear("It broke off.")

    monkeypatch.setattr(client, "result_blocks", no_results)
    ended.collect_failures = failures
    collection.collect(ended, claim(ended))
    assert asked == [pace]


def test_what_tools_found_may_be_longer_than_what_was_asked_for(
    alice: User, make_job: Callable[..., Job], ended: Batch
) -> None:
    plain = {"custom_id": "a", "params": {**PARAMS, "max_tokens": 1000}}
    tools = {"custom_id": "b", "params": {**PARAMS, "tools": [{"type": "web_fetch"}]}}
    job = make_job(alice, state=Job.State.WORKING, rows=[plain, tools], practice=True)
    Row.objects.filter(job=job).update(batch=ended)
    Batch.objects.filter(pk=ended.pk).update(job=job, size=2)
    batch = Batch.objects.get(pk=ended.pk)
    assert most_bytes(batch) == 2 * client.RESULT_BYTES + 200_000
