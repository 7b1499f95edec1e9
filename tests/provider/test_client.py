"""What is no answer of the API's is never taken for one: not for an empty list, not for a yes."""

from __future__ import annotations

import http.server
import json
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from jobs.models import Batch, Job, clock
from jobs.provider import client, sdk
from jobs.provider.errors import NotFound, ProviderError, Refused, Unclear, Unreachable

from ..batches.test_submission import ROWS, assert_sent_once, quick
from ..conftest import Simulator
from ..driven_jobs import Drive, confirmed
from ..notifications.receivers import make_certificate

__all__ = ["quick"]  # that no answer is waited for any longer than there

no_database = pytest.mark.no_database

BATCH = {
    "id": "msgbatch_1",
    "type": "message_batch",
    "processing_status": "in_progress",
    "request_counts": {"processing": 2, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0},
    "created_at": "2026-11-23T10:00:00.123456Z",
    "expires_at": "2026-11-24T10:00:00.123456Z",
    "ended_at": None,
    "cancel_initiated_at": None,
    "archived_at": None,
    "results_url": None,
}
PARAMS = {
    "model": "claude-haiku-5-5",
    "max_tokens": 9,
    "messages": [{"role": "user", "content": "Hi"}],
}
ODD = ["empty_object", "null", "html"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    simulator = Simulator(tmp_path_factory.mktemp("provider"), seconds=0, failures="none")
    yield simulator
    simulator.stop()


@pytest.fixture
def api(shared: Simulator, settings: Any) -> Iterator[Simulator]:
    """The provider, with nothing left over of the last test's faults."""
    settings.ANTHROPIC_BASE_URL = shared.url
    yield shared
    shared.reset()


@pytest.fixture
def make_batch(tmp_path: Path) -> Callable[[], str]:
    """`make_batch()` sends a batch of one request and returns its id."""
    body = tmp_path / "body.json"
    body.write_text(json.dumps({"requests": [{"custom_id": "a", "params": PARAMS}]}))
    return lambda: client.create_batch(body, 1, 10).id


class Answers:
    """What the provider answers, whatever it is asked: each of `bodies` once, the last for ever."""

    def __init__(self) -> None:
        self.status, self.bodies, self.headers = 200, [b""], {"content-type": "application/json"}
        self.asked: list[str] = []

    def give(self, *bodies: object, status: int = 200, **headers: str) -> None:
        self.status = status
        self.bodies = [
            body if isinstance(body, bytes) else json.dumps(body).encode() for body in bodies
        ]
        self.headers = {"content-type": "application/json", **headers}
        self.asked = []


@pytest.fixture
def answers(settings: Any) -> Iterator[Answers]:
    """A provider that answers what a test tells it to."""
    answers = Answers()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            body = answers.bodies.pop(0) if len(answers.bodies) > 1 else answers.bodies[0]
            answers.asked.append(self.path)
            self.send_response_only(answers.status)
            for name, value in answers.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_DELETE = do_GET

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        settings.ANTHROPIC_BASE_URL = f"http://127.0.0.1:{server.server_port}"
        yield answers
        server.shutdown()


def listed() -> list[str]:
    return [info.id for info in client.list_batches()]


# --- Faults of the pretend provider ---------------------------------------------------------------


@no_database
@pytest.mark.parametrize("kind", [*ODD, "null_data", "no_cursor", "cut"])
def test_a_list_that_is_none_is_unclear_and_never_empty(
    api: Simulator, make_batch: Callable[[], str], kind: str
) -> None:
    ours = make_batch()
    api.faults(list=[{"kind": kind}])
    with pytest.raises(Unclear):
        listed()
    assert listed()[0] == ours


@no_database
@pytest.mark.parametrize("kind", [*ODD, "null_data", "no_cursor", "drop"])
def test_a_list_that_breaks_off_after_some_pages_is_unclear(
    api: Simulator, make_batch: Callable[[], str], kind: str
) -> None:
    for _ in range(3):
        make_batch()
    api.faults(page_limit=1, list=[{"kind": kind, "after": 2}])
    with pytest.raises(Unclear):
        listed()


@no_database
def test_a_list_of_many_pages_is_complete(api: Simulator, make_batch: Callable[[], str]) -> None:
    made = [make_batch() for _ in range(5)]
    whole = listed()
    assert whole[:5] == made[::-1]
    for size in (1, 2, 3):
        api.faults(page_limit=size)
        assert listed() == whole
        assert [info.id for info in client.list_batches(page=size)] == whole


@no_database
@pytest.mark.parametrize("kind", [*ODD, "cut"])
def test_a_batch_that_is_none_is_unclear(
    api: Simulator, make_batch: Callable[[], str], kind: str
) -> None:
    ours = make_batch()
    api.faults(retrieve=[{"kind": kind}])
    with pytest.raises(Unclear):
        client.retrieve_batch(ours)
    found = client.retrieve_batch(ours)
    assert (found.id, found.status, found.total) == (ours, "ended", 1)
    assert found.ended_at is not None
    assert found.counts["succeeded"] == 1


@no_database
@pytest.mark.parametrize("kind", ODD)
def test_a_count_that_is_none_is_unclear(api: Simulator, kind: str) -> None:
    api.faults(count_tokens=[{"kind": kind, "after": 1}])
    with pytest.raises(Unclear):
        client.count_tokens([PARAMS, PARAMS])
    counted, refused = client.count_tokens([PARAMS, {**PARAMS, "messages": []}])
    assert counted
    assert refused is None


@no_database
def test_canceling_and_deleting_are_done_when_the_provider_says_so(
    api: Simulator, make_batch: Callable[[], str]
) -> None:
    api.faults(stuck=True, cancel=[{"kind": "empty_object"}])
    ours = make_batch()
    with pytest.raises(Unclear):
        client.cancel_batch(ours)
    client.cancel_batch(ours)
    assert client.retrieve_batch(ours).status == "canceling"
    api.faults(stuck=False, delete=[{"kind": "empty_object"}])
    assert client.retrieve_batch(ours).status == "ended"
    with pytest.raises(Unclear):
        client.delete_batch(ours)
    with pytest.raises(NotFound):
        client.delete_batch(ours)


def test_a_look_at_a_list_that_is_none_is_no_look(
    alice: User, simulator: Simulator, drive: Drive, settings: Any
) -> None:
    """The answer to the POST is lost, and then the list says nothing, again and again."""
    settings.RECONCILE_GRACE_SECONDS = 0
    simulator.faults(create=[{"kind": "drop_after_accept"}])
    job = confirmed(alice, ROWS)
    drive(job, until=lambda job: job.batches.filter(state=Batch.State.UNKNOWN).exists())
    simulator.faults(list=[{"kind": "empty_object", "times": 5}])

    def impatient(job: Job) -> bool:
        Batch.objects.filter(state=Batch.State.UNKNOWN).update(next_action_at=timezone.now())
        Job.objects.update(next_action_at=timezone.now())
        return job.state == Job.State.FINISHED

    job = drive(job, until=impatient)
    assert simulator.truth()["posts"] == 1
    assert job.batches.get().recovered
    assert_sent_once(simulator, job)


# --- Any answer -----------------------------------------------------------------------------------


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in BATCH.items() if key != name}


def counting(**counts: object) -> dict[str, Any]:
    return {**BATCH, "request_counts": {**BATCH["request_counts"], **counts}}  # type: ignore[dict-item]  # a value of another kind


NO_BATCH: dict[str, object] = {
    "no body": b"",
    "half a body": json.dumps(BATCH).encode()[:90],
    "two bodies": json.dumps(BATCH).encode() * 2,
    "no text": b'{"id":"\xff\xfe"}',
    "a page": b"<html><body>Sign in to this network</body></html>",
    "null": None,
    "a list": [],
    "a text": "maintenance",
    "an object": {"status": "maintenance"},
    "an error": {"type": "error", "error": {"type": "api_error", "message": "Sorry"}},
    "no id": without("id"),
    "an empty id": {**BATCH, "id": ""},
    "an id that is none": {**BATCH, "id": "../models?x=\0"},
    "an id that is too long": {**BATCH, "id": "m" * 101},
    "an id that is a number": {**BATCH, "id": 7},
    "no status": without("processing_status"),
    "a status that is null": {**BATCH, "processing_status": None},
    "no counts": without("request_counts"),
    "empty counts": {**BATCH, "request_counts": {}},
    "a count that is a text": counting(processing="2"),
    "a count that is a yes": counting(processing=True),
    "a count below nothing": counting(errored=-1),
    "a count of who knows what": counting(total=2),
    "no beginning": without("created_at"),
    "a beginning without a zone": {**BATCH, "created_at": "2026-11-23T10:00:00"},
    "a beginning that is a number": {**BATCH, "created_at": 1795428000},
    "no end to wait for": {**BATCH, "expires_at": None},
    "an end that is no time": {**BATCH, "ended_at": "soon"},
    "an end of its results that is no time": {**BATCH, "archived_at": False},
}
NO_PAGE: dict[str, object] = {
    **NO_BATCH,
    "a batch": BATCH,
    "no data": {"has_more": False, "first_id": None, "last_id": None},
    "data that is null": {"data": None, "has_more": False},
    "data that is an object": {"data": {}, "has_more": False},
    "data of nothing": {"data": [None], "has_more": False},
    "one that is no batch": {"data": [BATCH, without("created_at")], "has_more": False},
    "nothing on whether there is more": {"data": [BATCH], "last_id": "msgbatch_1"},
    "null on whether there is more": {"data": [], "has_more": None},
    "more, but not where": {"data": [], "has_more": True, "last_id": None},
    "more, but nowhere": {"data": [BATCH], "has_more": True, "last_id": ""},
    "more, after what is no id": {"data": [BATCH], "has_more": True, "last_id": 1},
    "more, without end": {"data": [BATCH], "has_more": True, "last_id": "msgbatch_1"},
}


@no_database
@pytest.mark.parametrize("body", NO_BATCH.values(), ids=NO_BATCH)
def test_an_answer_that_is_no_batch_is_unclear(
    answers: Answers, make_batch: Callable[[], str], body: object
) -> None:
    answers.give(body)
    for ask in (
        make_batch,
        lambda: client.retrieve_batch("msgbatch_1"),
        lambda: client.cancel_batch("msgbatch_1"),
    ):
        with pytest.raises(Unclear):
            ask()


@no_database
@pytest.mark.parametrize("body", NO_PAGE.values(), ids=NO_PAGE)
def test_an_answer_that_is_no_list_is_unclear(answers: Answers, body: object) -> None:
    answers.give(body)
    with pytest.raises(Unclear):
        listed()
    # Nor is it the end of a list that began well.
    answers.give({"data": [BATCH], "has_more": True, "last_id": "msgbatch_0"}, body)
    with pytest.raises(Unclear):
        listed()


@no_database
def test_a_list_that_leads_back_to_where_it_was_is_unclear(answers: Answers) -> None:
    pages = [{"data": [], "has_more": True, "last_id": name} for name in "aba"]
    answers.give(*pages)
    with pytest.raises(Unclear):
        listed()
    asked = [httpx2.URL(path).params.get("after_id") for path in answers.asked]
    assert asked == [None, "a", "b"]


@no_database
def test_what_is_new_in_an_answer_is_of_no_matter(answers: Answers) -> None:
    new = {**counting(paused=0), "processing_status": "paused", "owner": {"name": "Ada"}}
    del new["ended_at"], new["archived_at"], new["results_url"]
    page = {"data": [new], "has_more": False, "total": 7}
    answers.give(page)
    (found,) = client.list_batches()
    answers.give(new)
    assert client.retrieve_batch("msgbatch_1") == found
    assert (found.id, found.status, found.total) == ("msgbatch_1", "paused", 2)
    assert found.created_at == datetime(2026, 11, 23, 10, 0, 0, 123456, tzinfo=UTC)
    assert (found.ended_at, found.archived_at) == (None, None)


@no_database
def test_a_yes_that_is_not_quite_a_yes_is_unclear(
    answers: Answers, make_batch: Callable[[], str]
) -> None:
    """202 or 204 say that something was taken, and a redirect leads elsewhere."""
    one = counting(processing=1)
    for status in (201, 202, 204, 301, 307, 308):
        body = b"" if status == 204 else one
        for ask in (make_batch, listed, lambda: client.retrieve_batch("msgbatch_1")):
            answers.give(body, status=status, location="/v1/messages/batches")
            with pytest.raises(Unclear):
                ask()
            assert len(answers.asked) == 1
    answers.give(one)
    assert make_batch() == "msgbatch_1"


@no_database
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        None,
        [],
        {"error": None},
        {"error": "no"},
        {"error": {"type": {"a": 1}, "message": ["no"], "details": 3}},
        {"error": {"type": "x", "message": None, "details": {"error_code": {"a": 1}}}},
    ],
    ids=str,
)
def test_an_error_in_no_known_form_is_an_error_all_the_same(
    answers: Answers, body: object, make_batch: Callable[[], str]
) -> None:
    for status, kind in ((400, Refused), (404, NotFound), (429, Refused), (500, Unclear)):
        answers.give(body, status=status, **{"retry-after": "soon"})
        for ask in (make_batch, listed, lambda: client.cancel_batch("msgbatch_1")):
            with pytest.raises(ProviderError) as caught:
                ask()
            assert type(caught.value) is kind
            if isinstance(caught.value, Refused):
                assert isinstance(caught.value.message, str)
                assert isinstance(caught.value.kind, str)


@no_database
@pytest.mark.parametrize(
    ("said", "date", "seconds"),
    [
        ("Mon, 23 Nov 2026 10:01:30 GMT", "Mon, 23 Nov 2026 10:00:00 GMT", 90),
        ("Mon, 23 Nov 2026 09:00:00 GMT", "Mon, 23 Nov 2026 10:00:00 GMT", 0),
        ("Mon, 23 Nov 2026 10:01:30 GMT", "soon", None),
        ("Mon, 23 Nov 2026 10:01:30", "Mon, 23 Nov 2026 10:00:00 GMT", None),
        ("2.5", "soon", 2.5),
        ("-1", "Mon, 23 Nov 2026 10:00:00 GMT", None),
        ("inf", "Mon, 23 Nov 2026 10:00:00 GMT", None),
        ("nan", "Mon, 23 Nov 2026 10:00:00 GMT", None),
    ],
)
def test_a_provider_may_say_when_to_ask_again_as_a_date(
    answers: Answers, said: str, date: str, seconds: float | None
) -> None:
    """The date is by the provider's clock, and so is that of the answer; ours does not matter."""
    answers.give({}, status=429, **{"retry-after": said, "date": date})
    with pytest.raises(Refused) as caught:
        listed()
    assert caught.value.retry_after == seconds


@no_database
@pytest.mark.parametrize(
    "date", ["", "soon", "Mon, 23 Nov 2026 10:00:00", "Mon, 01 Jan 99999999999 00:00:00 GMT"]
)
def test_a_date_that_is_none_is_not_the_time(
    answers: Answers, monkeypatch: pytest.MonkeyPatch, date: str
) -> None:
    monkeypatch.setattr(clock, "_provider_date", None)
    page = {"data": [], "has_more": False}
    answers.give(page, date="Mon, 23 Nov 2026 10:00:00 GMT")
    assert listed() == []
    answers.give(page, date=date)
    assert listed() == []
    now = clock.provider_now()
    assert now is not None
    assert now - datetime(2026, 11, 23, 10, tzinfo=UTC) < timedelta(hours=1)


# --- Encrypted connections ------------------------------------------------------------------------


def without_certificates(side: int) -> ssl.SSLContext:
    """Encryption between two who do not ask each other who they are."""
    context = ssl.SSLContext(side)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("aNULL:@SECLEVEL=0")
    return context


@no_database
@pytest.mark.parametrize("by_proxy", [False, True])
def test_a_call_that_takes_too_long_is_ended_and_nothing_goes_out_readable(
    make_batch: Callable[[], str],
    tmp_path: Path,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    by_proxy: bool,
) -> None:
    """However steadily a letter of the answer comes every now and then."""
    raw = bytearray()
    ended = False
    shut = socket.socket.shutdown

    def writing_meanwhile(self: socket.socket, how: int) -> None:
        """The other thread writes in the very moment in which the connection is shut."""
        self.send(b"readable")
        shut(self, how)

    def serve() -> None:
        nonlocal ended
        connection, _ = listener.accept()
        connection.settimeout(10)
        if by_proxy:
            assert connection.recv(4096).startswith(b"CONNECT ")
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        with without_certificates(ssl.PROTOCOL_TLS_SERVER).wrap_socket(
            connection, server_side=True
        ) as encrypted:
            assert encrypted.recv(4096).startswith(b"POST /v1/messages/batches ")
            monkeypatch.setattr(socket.socket, "shutdown", writing_meanwhile)
            for letter in b"HTTP/1.1 200 OK\r\nx-slow: " + b"." * 40:
                if select.select([encrypted], [], [], 0.1)[0]:
                    some = socket.socket.recv(encrypted, 4096)  # as it comes, still encrypted
                    raw.extend(some)
                    if not some:
                        ended = True
                        break
                else:
                    encrypted.send(bytes([letter]))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"127.0.0.1:{listener.getsockname()[1]}"
        settings.PROVIDER_IS_LOCAL = False
        settings.ANTHROPIC_BASE_URL = "https://provider.invalid" if by_proxy else f"https://{url}"
        if by_proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"http://{url}")
        certificates = without_certificates(ssl.PROTOCOL_TLS_CLIENT)
        monkeypatch.setattr(sdk, "_certificates", lambda _check: certificates)
        server = threading.Thread(target=serve)
        server.start()
        body = tmp_path / "body.json"
        with pytest.raises(Unclear):
            client.create_batch(body, 1, 1.0)
        server.join()

    assert ended, "the call went on as long as something came"
    assert raw
    assert b"readable" not in raw


@no_database
def test_it_is_said_when_the_certificate_is_to_blame(tmp_path: Path, settings: Any) -> None:
    """As with a company's proxy that looks into TLS, before SSL_CERT_FILE names its certificate."""

    def serve() -> None:
        connection, _ = listener.accept()
        with pytest.raises(ssl.SSLError):
            context.wrap_socket(connection, server_side=True)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(make_certificate(tmp_path / "certificate.pem"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings.PROVIDER_IS_LOCAL = False
        settings.ANTHROPIC_BASE_URL = f"https://127.0.0.1:{listener.getsockname()[1]}"
        server = threading.Thread(target=serve)
        server.start()
        with pytest.raises(Unreachable, match=r"certificate is not trusted \(self-signed"):
            listed()
        server.join()
