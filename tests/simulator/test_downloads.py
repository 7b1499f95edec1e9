"""Faults of a download, as tests order them."""

from __future__ import annotations

import json
from collections.abc import Callable

import anthropic
import httpx2
import pytest
from anthropic.types.messages import MessageBatch, MessageBatchIndividualResponse

from ..conftest import Simulator
from .asking import counts, download, ids, message_of, results_url, text_of

pytestmark = pytest.mark.no_database


def test_the_counts_of_an_ended_batch_may_be_wrong_for_a_while(
    api: anthropic.Anthropic, provider: Simulator, ended: MessageBatch
) -> None:
    provider.faults(wrong_counts_seconds=1e6)
    wrong = api.messages.batches.retrieve(ended.id).request_counts
    provider.faults(wrong_counts_seconds=0)

    assert wrong.model_dump() == counts(errored=10)
    assert api.messages.batches.retrieve(ended.id).request_counts.model_dump() == counts(
        succeeded=10
    )


@pytest.mark.parametrize("kind", ["cut_at_line", "cut_mid_line"])
def test_a_download_may_be_cut(provider: Simulator, ended: MessageBatch, kind: str) -> None:
    provider.faults(results=[{"kind": kind}])

    with pytest.raises(httpx2.RemoteProtocolError):
        download(provider, ended)

    assert len(download(provider, ended)) == 10


@pytest.mark.parametrize(
    ("kind", "looks_wrong"),
    [
        ("clean_early_end", lambda lines, good: lines == good[:5]),
        ("missing_line", lambda lines, good: lines == good[:5] + good[6:]),
        ("duplicate_line", lambda lines, good: lines == good[:6] + good[5:]),
        ("crlf", lambda lines, good: lines == [line[:-1] + b"\r\n" for line in good]),
        ("blank_tail", lambda lines, good: lines == [*good, b"\n", b"\n"]),
        ("byte_order_mark", lambda lines, good: lines[0] == b"\xef\xbb\xbf" + good[0]),
        ("half_character", lambda lines, good: b"\\ud83d " in b"".join(lines)),
        ("open_end", lambda lines, good: b"".join(lines) + b"\n" == b"".join(good)),
        ("contradicting_line", lambda lines, good: contradicts(lines, good)),
        ("unknown_id", lambda lines, good: ids(lines) - ids(good) == {"nobody-sent-this"}),
        ("foreign_nonce", lambda lines, _: all(name.startswith("ffff") for name in ids(lines))),
        ("unknown_type", lambda lines, _: json.loads(lines[5])["result"] == {"type": "postponed"}),
        ("no_message", lambda lines, _: json.loads(lines[5])["result"] == {"type": "succeeded"}),
    ],
)
def test_a_download_may_be_whole_and_wrong(
    provider: Simulator,
    ended: MessageBatch,
    kind: str,
    looks_wrong: Callable[[list[bytes], list[bytes]], bool],
) -> None:
    good = download(provider, ended)
    provider.faults(results=[{"kind": kind}])

    lines = download(provider, ended)

    assert looks_wrong(lines, good), lines
    assert download(provider, ended) == good


def contradicts(lines: list[bytes], good: list[bytes]) -> bool:
    """Whether all lines are there, and after the sixth one that says otherwise."""
    first, second = (json.loads(line) for line in lines[5:7])
    return (
        [*lines[:6], *lines[7:]] == good
        and first["custom_id"] == second["custom_id"]
        and first["result"]["type"] != second["result"]["type"]
    )


@pytest.mark.parametrize("status", [404, 429, 500])
def test_a_download_may_be_refused(provider: Simulator, ended: MessageBatch, status: int) -> None:
    provider.faults(results=[{"kind": f"status_{status}"}])

    with pytest.raises(httpx2.HTTPStatusError) as caught:
        download(provider, ended)

    assert caught.value.response.status_code == status


def test_a_compressed_download_may_lack_its_end(provider: Simulator, ended: MessageBatch) -> None:
    good = b"".join(download(provider, ended))
    provider.faults(results=[{"kind": "cut_gzip"}])

    short = b"".join(download(provider, ended))

    assert good.startswith(short)
    assert 0 < len(short) < len(good)


def test_a_download_may_stop_for_ever(provider: Simulator, ended: MessageBatch) -> None:
    good = download(provider, ended)
    provider.faults(results=[{"kind": "stall"}])
    came = b""

    with (
        httpx2.Client(headers={"x-api-key": "any"}, timeout=0.4) as client,
        client.stream("GET", results_url(provider, ended)) as answer,
        pytest.raises(httpx2.ReadTimeout),
    ):
        for piece in answer.iter_bytes():
            came += piece

    assert came == b"".join(good[:5])


def test_an_answer_may_be_very_long(
    api: anthropic.Anthropic, provider: Simulator, ended: MessageBatch
) -> None:
    good = download(provider, ended)
    provider.faults(results=[{"kind": "long_line"}, {"kind": "long_line", "bytes": 5000}])

    longest, long = download(provider, ended), download(provider, ended)

    for lines, size in ((longest, 20_000_000), (long, 5000)):
        assert lines[1:] == good[1:]
        line = MessageBatchIndividualResponse.model_validate_json(lines[0])
        text = text_of(message_of(line))
        assert len(text) == size
        assert text.startswith("[Practice answer]")


def test_a_download_may_be_sent_elsewhere(provider: Simulator, ended: MessageBatch) -> None:
    elsewhere = {"kind": "redirect", "other_host": "http://127.0.0.9:9"}
    provider.faults(results=[{"kind": "redirect"}, elsewhere, {"kind": "redirect"}])
    path = f"/v1/messages/batches/{ended.id}/results"

    with httpx2.Client(headers={"x-api-key": "any"}) as client:
        answers = [client.get(results_url(provider, ended)) for _ in range(2)]
        followed = client.get(results_url(provider, ended), follow_redirects=True)

    other_name = provider.url.replace("127.0.0.1", "localhost")
    assert [answer.status_code for answer in answers] == [307, 307]
    assert [answer.headers["location"] for answer in answers] == [
        f"{other_name}{path}",
        f"http://127.0.0.9:9{path}",
    ]
    assert followed.content.splitlines(keepends=True) == download(provider, ended)
