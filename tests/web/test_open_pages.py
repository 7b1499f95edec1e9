"""What a stranger finds: the link to the first account, small forms, and pages that slow clients
and sign-ins cannot take from others."""

from __future__ import annotations

import socket
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from jobs.actions import first_account
from jobs.management.commands import serve
from jobs.models import Installation
from jobs.web import request_limits

from ..conftest import PASSWORD, set_up_path
from ..environment import ROOT
from ..running import SECONDS, Site, wait_for, with_database
from ..torture.person import Browser

NEW = {"username": "first", "password1": "a long enough one", "password2": "a long enough one"}
HERE = {"host": "localhost:8000"}

# --- The first account ----------------------------------------------------------------------------


def test_a_stranger_cannot_make_the_first_account(db: None) -> None:
    link = set_up_path()
    for path in ("/setup/", "/setup/?token=", "/setup/?token=guessed"):
        assert "has no account yet" in Client().get(path).content.decode()
        assert Client().post(path, NEW).status_code == 403
    assert not User.objects.exists()

    assert Client().post(link, NEW).headers["Location"] == "/"
    assert User.objects.get().is_superuser


def test_the_link_is_stored_as_a_hash_and_a_new_one_replaces_it(db: None) -> None:
    first, second = first_account.make_token(), first_account.make_token()

    assert first != second and len(first) >= 32
    assert not first_account.is_token(first)
    assert first_account.is_token(second)
    stored = str(Installation.objects.values().get())
    assert first not in stored and second not in stored
    assert not first_account.is_token("")


def test_there_is_no_link_once_there_is_an_account(alice: User) -> None:
    assert first_account.make_token() == ""
    assert serve.set_up_path() == ""


def local_site(settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]


def test_on_a_practice_site_of_one_machine_no_link_is_needed(db: None, settings: Settings) -> None:
    local_site(settings)

    assert serve.set_up_path() == ""
    assert Client(headers=HERE).post("/setup/", NEW).headers["Location"] == "/"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PRACTICE", False),
        ("HTTPS", True),
        ("BIND", "0.0.0.0:8000"),
        ("BIND", "[::]:8000"),
        ("BIND", "192.0.2.7:8000"),
        ("ALLOWED_HOSTS", ["localhost", "batch.example.org"]),
        ("ALLOWED_HOSTS", ["*"]),
    ],
)
def test_any_other_site_needs_the_link(
    db: None, settings: Settings, name: str, value: object
) -> None:
    local_site(settings)
    setattr(settings, name, value)

    assert Client(headers=HERE).post("/setup/", NEW).status_code == 403
    assert "/setup/?token=" in serve.set_up_path()


@pytest.mark.parametrize(
    "headers",
    [{"X-Forwarded-For": "192.0.2.7"}, {"Forwarded": "for=192.0.2.7"}, {"Via": "1.1 proxy"}],
)
def test_what_came_through_a_proxy_is_not_from_this_machine(
    db: None, settings: Settings, headers: dict[str, str]
) -> None:
    local_site(settings)
    page = Client(headers={**HERE, **headers}).get("/setup/")

    assert page.status_code == 403 and "No proxy may be in between" in page.content.decode()
    assert Client(headers=HERE, REMOTE_ADDR="192.0.2.7").get("/setup/").status_code == 403


def test_serve_shows_the_link_at_the_address_of_the_site(settings: Settings) -> None:
    settings.PRACTICE = False
    line = serve.ready_line("0.0.0.0", 80, "/setup/?token=x")  # noqa: S104 - what is read
    assert line.endswith("first account at http://127.0.0.1:80/setup/?token=x")

    settings.HTTPS, settings.ALLOWED_HOSTS = True, ["batch.example.org"]
    line = serve.ready_line("127.0.0.1", 80, "/setup/?token=x")
    assert line.endswith("first account at https://batch.example.org/setup/?token=x")

    # As compose.yml sets it, which knows the port outside of the container.
    settings.SITE_URL = "http://localhost:9000"
    line = serve.ready_line("0.0.0.0", 80, "/setup/?token=x")  # noqa: S104 - what is read
    assert line.endswith("https://batch.example.org/setup/?token=x"), "it answers with TLS only"
    settings.HTTPS = False
    line = serve.ready_line("0.0.0.0", 80, "/setup/?token=x")  # noqa: S104 - what is read
    assert line.endswith("http://localhost:9000/setup/?token=x")


# --- Bodies and slow clients ----------------------------------------------------------------------

# Short times, and a clock that leaps when a file is there, so that the tests need not wait for long
# ones.
QUICK = f"""
import sys
import time
from pathlib import Path
from types import SimpleNamespace
if "gunicorn" in sys.orig_argv:
    sys.path.insert(0, {str(ROOT)!r})
    from jobs.web import server
    server.WINDOW = 1.5
    server.PATIENT_SECONDS = 3.0
    leap = Path(__file__).with_name("leap")
    now = lambda: time.monotonic() + 2 * server.RECEIVE_SECONDS * leap.exists()
    server.time = SimpleNamespace(monotonic=now)
"""
MORE_THAN_THREADS = 24
HEAD = "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n{more}\r\n"
FORM, FILES = "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"
PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\nname\n'


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("quick")
    (folder / "sitecustomize.py").write_text(QUICK)
    site = Site(with_database(folder / "data"), DATABASE_URL="", PYTHONPATH=str(folder))
    try:
        site.wait_until_ready()
        yield site
    finally:
        site.close()
    errors = [line for line in site.complained if "Traceback" in line or "ERROR" in line]
    assert not errors, "".join(site.complained)
    assert all(line.rstrip("\n").isprintable() for line in site.complained)


@pytest.fixture(scope="module")
def person(site: Site) -> Browser:
    browser = Browser(site.port, {}, is_signed_in=True)
    browser._take_token(browser.get("/setup/"))
    browser.post("/setup/", username="root", password1=PASSWORD, password2=PASSWORD)
    browser._take_token(browser.get("/jobs/new/"))
    return browser


def begin(site: Site, data: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", site.port), timeout=120)
    connection.sendall(data)
    return connection


def request(path: str, kind: str, *headers: str) -> bytes:
    return HEAD.format(path=path, kind=kind, more="".join(f"{one}\r\n" for one in headers)).encode()


def answer_of(connection: socket.socket) -> HTTPResponse:
    answer = HTTPResponse(connection, method="POST")
    answer.begin()
    return answer


def pages(site: Site, count: int = 10) -> list[int]:
    """Somebody else looks at pages meanwhile."""
    statuses = []
    for _ in range(count):
        connection = HTTPConnection("127.0.0.1", site.port, timeout=120)
        connection.request("GET", "/help/sign-in/")
        statuses.append(connection.getresponse().status)
        connection.close()
    return statuses


def uploads(site: Site) -> list[Path]:
    return list((site.data_dir / "uploads" / "incoming").iterdir())


@pytest.mark.no_database
def test_requests_that_arrive_slowly_hold_no_threads(site: Site, person: Browser) -> None:
    kinds = (
        b"GET /login/ HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
        request("/login/", FORM, "Content-Length: 5000") + b"username=",
        request("/login/", FILES, "Content-Length: 60000") + PART,
    )
    slow = [begin(site, data) for data in kinds for _ in range(MORE_THAN_THREADS)]

    assert pages(site, 2) == [200] * 2
    for connection in slow:
        connection.setblocking(False)
        with pytest.raises(BlockingIOError):  # the page did not have to wait for it
            connection.recv(1, socket.MSG_PEEK)
        connection.settimeout(120)
    (site.data_dir.parent / "leap").touch()
    for connection in slow:
        answer = answer_of(connection)
        assert answer.status == 408 and answer.headers["Connection"] == "close"
        connection.close()


@pytest.mark.no_database
@pytest.mark.parametrize("path", ["/login/", "/setup/", "/help/sign-in/", "/", "/jobs/new/"])
@pytest.mark.parametrize("length", ["Content-Length: 300000000", "Transfer-Encoding: chunked"])
def test_a_strangers_large_body_is_refused_unread(
    site: Site, person: Browser, path: str, length: str
) -> None:
    connection = begin(site, request(path, FILES, length) + PART)
    answer = answer_of(connection)

    assert answer.status == 413 and answer.headers["Connection"] == "close"
    assert "Sign in first" in answer.read().decode()
    assert connection.recv(1) == b"", "it is closed"
    assert not uploads(site)
    connection.close()


@pytest.mark.no_database
def test_a_strangers_small_file_is_not_written_to_disk(site: Site, person: Browser) -> None:
    body = PART + b"x" * 60_000 + b"\r\n--b--\r\n"
    connection = begin(site, request("/login/", FILES, f"Content-Length: {len(body)}") + body)

    assert answer_of(connection).status == 403  # it has no token
    assert not uploads(site)
    connection.close()


@pytest.mark.no_database
def test_slow_uploads_leave_the_pages_to_others_and_end(site: Site, person: Browser) -> None:
    cookies = "; ".join(f"{name}={value}" for name, value in person.cookies.items())
    mine = (f"Cookie: {cookies}", f"X-CSRFToken: {person.token}", "Content-Length: 9000000")
    slow = [begin(site, request("/jobs/new/", FILES, *mine) + PART) for _ in range(16)]

    assert pages(site) == [200] * 10
    statuses = Counter(answer_of(connection).status for connection in slow)
    for connection in slow:
        connection.close()

    assert set(statuses) == {408, 503}
    assert statuses[408] <= 2 * request_limits.OF_ONE_PERSON
    wait_for(lambda: not uploads(site), "the end of what was begun")
    done = person.upload(
        "/jobs/new/", "reviews.csv", b"name,text\n" + (b"Ada,%s\n" % (b"x" * 9_000)) * 20
    )
    assert done.status in (204, 302), "who sends at once is let in"


def large_job(site: Site, person: Browser) -> str:
    """The address of a download of 20 MB."""
    lines = b"".join(b"%d,%s\n" % (number, b"x" * 200_000) for number in range(100))
    done = person.upload("/jobs/new/", "large.csv", b"id,text\n" + lines)
    path = done.location
    with closing(sqlite3.connect(site.data_dir / "batchsite.sqlite3", timeout=60)) as database:
        number = [path.strip("/").split("/")[1]]
        find = "SELECT 1 FROM jobs_job WHERE state = 'draft' AND id = ?"
        wait_for(lambda: bool(database.execute(find, number).fetchone()), "the end of the reading")
        finish = "UPDATE jobs_job SET state = 'finished', confirmed_at = read_at WHERE id = ?"
        database.execute(finish, number)
        database.commit()
    return f"{path}download/csv/?plain=1"


@pytest.mark.no_database
def test_slow_downloads_leave_the_pages_to_others_and_end(site: Site, person: Browser) -> None:
    path = large_job(site, person)
    cookies = "; ".join(f"{name}={value}" for name, value in person.cookies.items())
    head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookies}\r\n\r\n".encode()
    slow = []
    for _ in range(16):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(120)
        connection.connect(("127.0.0.1", site.port))
        connection.sendall(head)
        slow.append(connection)

    assert pages(site) == [200] * 10
    statuses = Counter(connection.recv(12)[9:] for connection in slow)
    assert set(statuses) == {b"200", b"503"}
    assert statuses[b"200"] <= 2 * request_limits.OF_ONE_PERSON
    # They are given up, which makes room for who takes the whole file.
    wait_for(lambda: len(person.get(path).body) > 20_000_000, "a place for another download")
    for connection in slow:
        connection.close()


@pytest.mark.no_database
def test_whole_requests_are_answered_however_they_come(site: Site, person: Browser) -> None:
    get = b"GET /robots.txt HTTP/1.1\r\nHost: localhost\r\n\r\n"
    together = begin(site, get)
    once = answer_of(together).read()
    together.sendall(get * 3)
    said = b""
    # The last one has come when its body has: it may take a packet of its own.
    while said.count(b"HTTP/1.1 200 OK") < 3 or said.count(once) < 3:
        received = together.recv(10_000)
        assert received
        said += received
    assert said.count(b"HTTP/1.1 200 OK") == 3
    together.close()

    in_pieces = begin(site, get[:20])
    for number in range(20, len(get)):
        in_pieces.sendall(get[number : number + 1])
    assert answer_of(in_pieces).status == 200
    in_pieces.close()

    waiting = begin(site, request("/login/", FORM, "Content-Length: 3", "Expect: 100-continue"))
    assert waiting.recv(100).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
    waiting.sendall(b"a=b")
    said = b""
    while b"403" not in said:
        received = waiting.recv(1000)
        assert received
        said += received
    waiting.close()

    malformed = begin(site, request("/login/", FORM, "Content-Length: 3", "Content-Length: 4"))
    assert answer_of(malformed).status == 400
    malformed.close()


@pytest.mark.no_database
def test_a_strangers_request_cannot_forge_the_log(site: Site, person: Browser) -> None:
    forged = b"\x1b[2J 2026-01-01 jobs: forged"
    for data in (
        b"GET /login/ HTTP/1.1\r\nHost: localhost\r\nX\x1b[31m: a\r\n\r\n",
        b"GET /login/\x9b" + forged + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /%0d%0a%1b[2Jforged HTTP/1.1\r\nHost: localhost" + forged + b"\r\n\r\n",
        b"BAD" + forged + b"\r\n\r\n",
    ):
        connection = begin(site, data)
        assert answer_of(connection).status in (302, 400, 404)
        connection.close()
    assert any("Invalid request from ip=127.0.0.1" in line for line in site.complained)


@pytest.mark.no_database
def test_static_files_are_for_this_site_only(site: Site) -> None:
    connection = HTTPConnection("127.0.0.1", site.port, timeout=120)
    connection.request("GET", "/static/favicon.svg")
    answer = connection.getresponse()
    assert answer.status == 200
    assert "Access-Control-Allow-Origin" not in answer.headers
    connection.close()


@pytest.mark.no_database
def test_24_clients_that_sign_in_leave_the_pages_to_others(site: Site, person: Browser) -> None:
    """Compared are counts: while they are at it, another one gets many pages for each of theirs.
    They go on until three were let try, or the other one has seen enough."""
    form = "application/x-www-form-urlencoded"
    token = "a" * 32
    headers = {"Cookie": f"batchsite_csrf={token}", "Content-Type": form, "X-CSRFToken": token}
    statuses: list[int] = []
    pages = 0
    deadline = time.monotonic() + SECONDS

    def ask(method: str, body: str = "") -> int:
        with closing(HTTPConnection("127.0.0.1", site.port, timeout=120)) as connection:
            connection.request(method, "/login/", body, headers)
            return connection.getresponse().status

    def attack(number: int) -> None:
        entered = urlencode({"username": f"person{number}", "password": "wrong"})
        while statuses.count(200) < 3 and pages <= 10 and time.monotonic() < deadline:
            statuses.append(ask("POST", entered))

    with ThreadPoolExecutor(24) as threads:
        attackers = [threads.submit(attack, number) for number in range(24)]
        while pages <= 10 and not all(attacker.done() for attacker in attackers):
            assert ask("GET") == 200
            pages += 1

    assert set(statuses) <= {200, 503} and statuses.count(200) >= 3
    assert pages > 10


def test_uploads_and_downloads_leave_threads_for_pages() -> None:
    command = serve.web_part().command
    threads = int(command[command.index("--threads") + 1])
    assert threads >= request_limits.UPLOADS + request_limits.DOWNLOADS + 2


def test_one_person_does_not_take_all_places_for_uploads() -> None:
    places = request_limits.Places(3)
    assert [places.take(person) for person in (1, 1, 1, 2, 3)] == [True, True, False, True, False]
    places.give_back(1)
    assert places.take(3) and not places.take(1)
    for person in (1, 2, 3):
        places.give_back(person)
    assert not places.taken
