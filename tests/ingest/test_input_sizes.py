"""The most that a ready-made request costs is a most: whatever stands in it, or is only linked."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.test import Client
from django.urls import reverse

from jobs.actions import submissions, uploads
from jobs.drafts import estimates
from jobs.ingest import images
from jobs.ingest.request_reader import measure_input
from jobs.models import Job, Outcome, Row, SpendingCaps
from jobs.retries import rounds
from jobs.rules import pricing
from jobs.rules.retry_choices import RetryChoice
from jobs.worker import tally

from ..conftest import Simulator

Drive = Callable[..., Job]
OPUS, HAIKU, OLD = "claude-opus-5-5", "claude-haiku-5-5", "claude-haiku-4-5"
MILLION = 1_000_000


def base64_of(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def png(width: int, height: int) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + head + b"\0" * 4


def jpeg(width: int, height: int) -> bytes:
    exif = b"\xff\xe1" + struct.pack(">H", 2 + 40) + b"\xff\xc0\0\x11\x08\0\x01\0\x01" + b"\0" * 31
    return b"\xff\xd8" + exif + b"\xff\xc2\0\x11\x08" + struct.pack(">HH", height, width) + b"\x03"


def gif(width: int, height: int, frames: int = 1) -> bytes:
    sizes = struct.pack("<HH", width, height)
    frame = b"\x2c\0\0\0\0" + sizes + b"\0\x02\x01\0\0"
    return b"GIF89a" + sizes + b"\0\0\0" + b"\x21\xf9\x04\0\0\0\0\0" + frame * frames + b";"


def webp_of(*chunks: tuple[bytes, bytes]) -> bytes:
    packed = [kind + struct.pack("<I", len(body)) + body for kind, body in chunks]
    return b"RIFF\0\0\0\0WEBP" + b"".join(packed)


def canvas(width: int, height: int) -> tuple[bytes, bytes]:
    sizes = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"VP8X", b"\0\0\0\0" + sizes


def lossless(width: int, height: int) -> tuple[bytes, bytes]:
    return b"VP8L", b"\x2f" + struct.pack("<I", width - 1 | (height - 1) << 14) + b"\0" * 9


def lossy(width: int, height: int) -> tuple[bytes, bytes]:
    return b"VP8 ", b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", width, height) + b"\0" * 10


def webp(width: int, height: int) -> bytes:
    return webp_of(canvas(width, height), lossy(width, height))


def lossless_webp(width: int, height: int) -> bytes:
    return webp_of(lossless(width, height))


def lossy_webp(width: int, height: int) -> bytes:
    return webp_of(lossy(width, height))


def pdf(pages: int, text: bytes = b"", *, packed: bool = False, extra: bytes = b"") -> bytes:
    """As small writers make it; `packed`: the pages are in a compressed stream."""
    kids = b" ".join(b"%d 0 R" % (10 + page) for page in range(pages))
    tree = b"<< /Type /Pages /Kids [ " + kids + b" ] /Count %d >>\n" % pages
    leaves = b"<< /Type /Page /Parent 2 0 R /Contents 4 0 R >>\n"
    leaves += b"<< /Type /Page /Parent 2 0 R >>\n" * (pages - 1)
    shown = zlib.compress(b"BT (" + text + b") Tj ET")
    objects = tree + leaves
    if packed:
        stream = zlib.compress(objects)
        objects = b"3 0 obj << /Type /ObjStm /Filter /FlateDecode >> stream\n"
        objects += stream + b"\nendstream endobj\n"
    content = b"4 0 obj << /Filter /FlateDecode >>\nstream\n" + shown + b"\nendstream endobj\n"
    return b"%PDF-1.7\n" + objects + content + extra + b"%%EOF"


def image(raw: bytes) -> dict[str, Any]:
    beginnings = {b"\xff\xd8": "image/jpeg", b"GIF8": "image/gif", b"RIFF": "image/webp"}
    kind = next((name for begin, name in beginnings.items() if raw.startswith(begin)), "image/png")
    source = {"type": "base64", "media_type": kind, "data": base64_of(raw)}
    return {"type": "image", "source": source}


def document(raw: bytes) -> dict[str, Any]:
    source = {"type": "base64", "media_type": "application/pdf", "data": base64_of(raw)}
    return {"type": "document", "source": source}


def linked(kind: str, **source: str) -> dict[str, Any]:
    return {"type": kind, "source": source}


def request(*blocks: dict[str, Any], model: str = OPUS, **params: Any) -> dict[str, Any]:
    content = [*blocks, {"type": "text", "text": "[simulate:good] What is it?"}]
    calls = [
        {"type": "tool_use", "id": block["tool_use_id"], "name": "look", "input": {}}
        for block in blocks
        if block["type"] == "tool_result"
    ]
    messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
    if calls:
        asked = {"role": "user", "content": "Look."}
        messages = [asked, {"role": "assistant", "content": calls}, *messages]
    return {"model": model, "max_tokens": 100, "messages": messages, **params}


def most_of(params: dict[str, Any]) -> int:
    """Tokens."""
    return measure_input(params, len(json.dumps(params, ensure_ascii=False).encode()))[1]


def file_of(*all_params: dict[str, Any]) -> ContentFile[bytes]:
    lines = [{"custom_id": f"n{at}", "params": params} for at, params in enumerate(all_params)]
    return ContentFile("\n".join(map(json.dumps, lines)).encode(), "requests.jsonl")


def draft_of(alice: User, drive: Drive, *all_params: dict[str, Any]) -> Job:
    job = uploads.create_job(alice, file_of(*all_params))
    return drive(job, until=lambda job: bool(job.plan_sha256))


# --- Pictures ----------------------------------------------------------------------------


@pytest.mark.no_database
@pytest.mark.parametrize("make", [png, jpeg, gif, webp, lossless_webp, lossy_webp])
def test_a_picture_says_its_size(make: Callable[[int, int], bytes]) -> None:
    assert images.image_size(make(1_920, 1_080)) == (1_920, 1_080)
    # By the squares of 28 pixels, as the guide counts them (69 * 39), or by the older formula.
    assert images.image_tokens(make(1_920, 1_080), 4_784) == max(69 * 39, 2_765)
    assert images.image_tokens(make(1_920, 1_080), 1_640) == 1_640
    for cut in range(30):
        assert images.image_tokens(make(28, 28)[:cut], 4_784) in (2, 4_784)


@pytest.mark.no_database
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"no picture",
        png(0, 5),
        b"\xff\xd8\xff\xe1\0\0",
        gif(9, 0),
        gif(9, 9, frames=2),
        gif(9, 9, frames=0),
        png(9, 9) + b"\0\0\0\x08acTL" + b"\0" * 12,
        webp_of(canvas(9, 9)),
        webp_of(canvas(9, 9), (b"ANIM", b"\0" * 10), (b"ANMF", b"\0" * 40)),
        webp_of(canvas(9, 9), lossy(9, 9), lossy(2_000, 2_000)),
    ],
    ids=range(11),
)
def test_a_picture_that_cannot_be_read_is_as_large_as_can_be(raw: bytes) -> None:
    assert images.image_tokens(raw, 4_784) == 4_784


@pytest.mark.no_database
@pytest.mark.parametrize(
    "raw",
    [
        gif(2_000, 1_000).replace(struct.pack("<HH", 2_000, 1_000), struct.pack("<HH", 1, 1), 1),
        webp_of(canvas(1, 1), lossy(2_000, 1_000)),
        webp_of(canvas(1, 1), lossless(2_000, 1_000)),
    ],
    ids=["gif", "lossy webp", "lossless webp"],
)
def test_a_picture_that_calls_itself_small_is_measured_by_what_is_in_it(raw: bytes) -> None:
    assert images.image_size(raw) == (2_000, 1_000)


@pytest.mark.no_database
def test_base64_that_can_be_read_in_two_ways_is_not_read() -> None:
    """Whoever reads on behind the end, or takes other letters, sees another picture."""
    small = base64_of(png(28, 28))
    assert images.decode(small) == png(28, 28)
    assert images.decode("\n".join([small[:20], small[20:]])) == png(28, 28)
    for odd in (
        small + "====" + small,
        "data:image/png;base64," + small,
        small + "-_",
        small + "A",
    ):
        assert images.decode(odd) == b""
        block = image(b"")
        block["source"]["data"] = odd
        assert most_of(request(block)) >= 4_784


# --- A catalogue of blocks ------------------------------------------------------------------------

URL = "https://example.com/a.pdf"
# What stands in a request, and the tokens that it may really have: at most it has no fewer.
BLOCKS: dict[str, tuple[list[dict[str, Any]], int]] = {
    "a picture": ([image(png(2_576, 1_449))], 92 * 52),
    "many small pictures that pack well": ([image(png(1_000, 1_000))] * 20, 20 * 36 * 36),
    "a picture that cannot be read": ([image(b"?")], 4_784),
    "a picture by url": ([linked("image", type="url", url="https://example.com/a.png")], 4_784),
    "a picture by file_id": ([linked("image", type="file", file_id="file_1")], 4_784),
    "a short PDF": ([document(pdf(3))], 3 * (3_000 + 4_784)),
    "a long PDF that packs well": ([document(pdf(80, packed=True))], 80 * (3_000 + 4_784)),
    "a PDF by url": ([linked("document", type="url", url=URL)], MILLION),
    "a PDF by file_id": ([linked("document", type="file", file_id="file_1")], MILLION),
    "a text": ([linked("document", type="text", media_type="text/plain", data="字" * 900)], 2_700),
    "blocks as a document": (
        [{"type": "document", "source": {"type": "content", "content": [image(png(999, 999))]}}],
        36 * 36,
    ),
    "a search result": (
        [
            {
                "type": "search_result",
                "source": "https://example.com",
                "title": "Found",
                "content": [{"type": "text", "text": "ሰላም 𒀀" * 300}],
            }
        ],
        300 * 14,
    ),
    "a picture as the result of a tool": (
        [{"type": "tool_result", "tool_use_id": "toolu_1", "content": [image(png(2_576, 1_449))]}],
        92 * 52,
    ),
    "earlier thinking": ([{"type": "redacted_thinking", "data": "abc"}], MILLION),
    "what a search found": (
        [{"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}],
        MILLION,
    ),
    "what nobody knows yet": ([{"type": "hologram"}], MILLION),
}


@pytest.mark.no_database
@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("model", [OPUS, OLD])
def test_the_most_is_not_less_than_what_is_read(name: str, model: str) -> None:
    blocks, tokens = BLOCKS[name]
    params = request(*blocks, model=model)
    context = pricing.priced_model(model).context
    if model == OPUS:
        assert most_of(params) >= min(tokens, context)
    assert most_of(params) <= context, "nothing longer is taken"
    params["tools"] = [{"type": "bash_20250124", "name": "bash"}]
    assert most_of(params) >= min(most_of(request(*blocks, model=model)) + 500, context)


@pytest.mark.no_database
@pytest.mark.parametrize(
    "text", ["word " * 99, "字" * 99, "ሰላም" * 99, "😀" * 99, "𒀀" * 99, "\n" * 99]
)
def test_a_token_has_at_least_a_byte_in_any_language(text: str) -> None:
    for ascii_only in (True, False):
        params = request({"type": "text", "text": text})
        size = len(json.dumps(params, ensure_ascii=ascii_only).encode())
        assert measure_input(params, size)[1] >= len(text.encode())


@pytest.mark.no_database
def test_a_document_that_can_be_cited_is_longer() -> None:
    block = linked("document", type="text", data="One. Two. " * 500)
    assert most_of(request({**block, "citations": {"enabled": True}})) > 2 * 5_000
    block = document(pdf(1, b"One. Two. " * 5_000))
    assert most_of(request({**block, "citations": {"enabled": True}})) > 2 * 50_000


# --- The whole job --------------------------------------------------------------------------------


def test_no_job_is_charged_more_than_its_most(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    """Thirty plain requests hide one of each kind from the sample that is counted."""
    some = [request(*blocks) for name, (blocks, _) in BLOCKS.items() if "nobody" not in name]
    plain = [request() for _ in range(30)]
    for at, params in enumerate(some):
        plain.insert(at * 2 + 1, params)
    job = draft_of(alice, drive, *plain)
    estimate = estimates.current(job)
    assert estimate is not None
    assert submissions.confirm(job, job.plan_sha256, alice)
    job = drive(job)
    assert job.good_count >= len(plain) - 2
    assert estimate.low <= job.cost <= estimate.most


@pytest.mark.parametrize(
    ("block", "at_least"),
    [
        (linked("document", type="url", url=URL), "2.00"),  # a million tokens at $2
        (linked("document", type="file", file_id="file_1"), "2.00"),
        (linked("image", type="url", url="https://example.com/a.png"), "0.0095"),
        (document(pdf(300)), "2.00"),
        (document(pdf(80)), "1.20"),
    ],
)
def test_one_such_request_is_priced_and_stopped_by_a_cap(
    alice: User,
    simulator: Simulator,
    drive: Drive,
    client_alice: Client,
    block: dict[str, Any],
    at_least: str,
) -> None:
    job = draft_of(alice, drive, request(block))
    estimate = estimates.current(job)
    assert estimate is not None
    assert Decimal(at_least) <= estimate.most <= Decimal("2.01") * pricing.US_ONLY
    SpendingCaps.objects.update(most_a_job="0.009")
    page = client_alice.get(reverse("job", args=[job.pk])).content.decode()
    assert "the limit per job is" in page
    if block["source"]["type"] in ("url", "file"):
        assert "The price of linked files is unknown until they are read." in page
    with pytest.raises(Exception, match="the limit per job is"):
        submissions.confirm(job, job.plan_sha256, alice)


def test_long_prompts_have_their_price_however_few_bytes_they_are(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    """Above 100,000 tokens a request of Haiku 5.5 costs five times as much."""
    job = draft_of(alice, drive, request(linked("document", type="url", url=URL), model=HAIKU))
    estimate = estimates.current(job)
    assert estimate and estimate.most >= Decimal("0.25")


@pytest.mark.parametrize(
    ("params", "words"),
    [
        (request({"type": "container_upload", "file_id": "file_1"}), "container_upload"),
        (request({"type": "mcp_tool_result", "content": []}), "mcp_tool_result"),
        (request(container={"skills": []}), "“container”"),
        (request(mcp_servers=[{"type": "url", "url": URL, "name": "x"}]), "“mcp_servers”"),
        (request(tools=[{"type": "mcp_toolset", "mcp_server_name": "x"}]), "“mcp_toolset”"),
        (request(tools=[{"type": "code_execution_20250825", "name": "x"}]), "code_execution"),
    ],
)
def test_what_has_no_limit_is_left_out_in_words(
    alice: User,
    simulator: Simulator,
    drive: Drive,
    client_alice: Client,
    params: dict[str, Any],
    words: str,
) -> None:
    job = draft_of(alice, drive, request(), params)
    assert (job.row_count, job.unsent_count) == (2, 1)
    page = client_alice.get(reverse("job", args=[job.pk])).content.decode()
    assert words in page and "Remove" in page


def test_rows_that_are_sent_again_have_a_most_as_well(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    """The bytes of a row say nothing of the picture in it."""
    again = request(image(png(2_576, 1_449)))
    job = draft_of(alice, drive, request(), again, again)
    assert submissions.confirm(job, job.plan_sha256, alice)
    job = drive(job)
    job.rows.filter(number__gt=1).update(outcome=Outcome.ERRORED, cause="overloaded")
    tally.count_up(job)
    job.refresh_from_db()
    plan = rounds.find_plan(job, RetryChoice("overloaded"))
    assert plan and plan.rows == 2
    tokens = 2 * 92 * 52
    assert plan.price.most >= pricing.cost_of_tokens(OPUS, tokens, 200)
    assert plan.price.most <= pricing.cost_of_tokens(OPUS, 2 * tokens, 400)


# --- Jobs that were read by an older version ------------------------------------------------------


def forget_bounds(job: Job) -> None:
    new = ("most", "most_row", "surplus", "linked", "long_most")
    models = {
        model: {name: value for name, value in facts.items() if name not in new}
        for model, facts in job.reading.models.items()
    }
    reading = msgspec.structs.replace(job.reading, models=models)
    Job.objects.filter(pk=job.pk).update(reading=reading)


def test_a_draft_of_an_older_version_is_read_once_more(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    job = draft_of(alice, drive, request(linked("document", type="url", url=URL)))
    before = job.readings
    forget_bounds(job)
    Job.objects.filter(pk=job.pk).price_anew(job.created_at)
    job = drive(job, until=lambda job: bool(job.plan_sha256))
    assert job.readings == before + 1 and "most" in job.reading.models[OPUS]
    estimate = estimates.current(job)
    assert estimate and estimate.most >= 2


def test_rows_of_a_job_of_an_older_version_are_sent_again_for_what_they_hold(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    block = linked("document", type="url", url=URL)
    job = draft_of(alice, drive, request(block))
    assert submissions.confirm(job, job.plan_sha256, alice)
    job = drive(job)
    Row.objects.filter(job=job).update(outcome=Outcome.ERRORED, cause="overloaded")
    forget_bounds(job)
    tally.count_up(job)
    plan = rounds.find_plan(Job.objects.get(pk=job.pk), RetryChoice("overloaded"))
    assert plan and 2 <= plan.price.most < Decimal("2.01") * pricing.US_ONLY
