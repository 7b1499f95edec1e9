"""Pages travel compressed; what must not be compressed is not."""

from __future__ import annotations

import gzip
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from jobs.models import Job
from jobs.web.compression import PageCompression

MakeJob = Callable[..., Job]
GZIP = {"Accept-Encoding": "gzip, deflate, br"}


def test_a_page_is_compressed_for_who_takes_it(client_alice: Client) -> None:
    plain = client_alice.get("/")
    packed = client_alice.get("/", headers=GZIP)

    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in packed.headers["Vary"]
    assert len(packed.content) < len(plain.content) / 2
    assert b"<h1" in gzip.decompress(packed.content)


def test_a_part_of_a_page_is_compressed_too(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    make_job(alice)
    headers = {**GZIP, "HX-Request": "true"}

    assert client_alice.get("/", headers=headers).headers["Content-Encoding"] == "gzip"


@pytest.mark.parametrize(
    "path", ["/jobs/{}/download/csv/", "/jobs/{}/download/jsonl/", "/samples/reviews.csv"]
)
def test_what_is_downloaded_is_sent_as_it_is(
    path: str, make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    answer = client_alice.get(path.format(make_job(alice).pk), headers=GZIP)

    assert answer.status_code == 200
    assert b"".join(answer)
    assert "Content-Encoding" not in answer.headers


def test_short_answers_and_other_kinds_are_sent_as_they_are(client_alice: Client) -> None:
    for path in ("/robots.txt", "/favicon.ico", "/setup/"):
        assert "Content-Encoding" not in client_alice.get(path, headers=GZIP).headers


def test_the_length_of_a_page_tells_little_of_what_is_on_it(client_alice: Client) -> None:
    """The token is masked anew and random bytes are added, so the same page has many lengths."""
    assert PageCompression.max_random_bytes >= 100
    lengths = {len(client_alice.get("/", headers=GZIP).content) for _ in range(12)}
    assert len(lengths) > 3


def test_robots_and_the_picture_of_the_site_need_no_account(alice: User) -> None:
    robots = Client().get("/robots.txt")
    assert robots.content.startswith(b"User-agent: *\n")
    assert robots.headers["Content-Type"].startswith("text/plain")
    picture = Client().get("/favicon.ico")
    assert picture.headers["Location"].endswith(".svg")
    for answer in (robots, picture):
        assert "max-age=86400" in answer.headers["Cache-Control"]
