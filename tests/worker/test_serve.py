"""`manage.py serve`, as `make run` starts it: one address, one Ctrl-C, and nothing left behind."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.core.management.base import CommandError
from pytest_django import Settings

from jobs.management.commands import serve
from jobs.management.commands.serve import host_and_port
from jobs.worker import supervision
from jobs.worker.supervision import HeartbeatWatch, Part

from ..conftest import PASSWORD
from ..environment import ROOT
from ..running import SECONDS, Site, wait_for
from ..torture.person import Browser

pytestmark = pytest.mark.no_database


StartSite = Callable[..., Site]


@pytest.fixture(scope="module")
def start_site(
    empty_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StartSite]:
    """`start_site(folder)` starts one whose database is up to date: migrations take a second of
    processor time, and test_upgrades has those. Without a folder it gets one of its own."""
    sites: list[Site] = []

    def start(folder: Path | None = None, *options: str, **values: str) -> Site:
        if folder is None:
            folder = tmp_path_factory.mktemp("site")
            shutil.copy(empty_database, folder / "batchsite.sqlite3")
        sites.append(Site(folder, *options, **values))
        return sites[-1]

    yield start
    for site in sites:
        site.close()


@dataclass
class WithKey:
    """A site with a key whose workers hang soon and, while `broken` is there, do not start. In the
    end a test kills it."""

    site: Site
    broken: Path


# Its limit is half of the least that may be given, also for the first sign: a worker that has
# nothing to do gives one every ten seconds.
HANGS_SOON = """
import os, sys
if "run_huey" in sys.orig_argv and os.path.exists({broken!r}):
    os._exit(3)
if "serve" in sys.orig_argv:
    from jobs.worker import supervision
    real = supervision.HeartbeatWatch
    real.STARTS_IN = 1
    supervision.HeartbeatWatch = lambda read, limit: real(read, limit / 2)
"""


@pytest.fixture(scope="module")
def with_key(start_site: StartSite, tmp_path_factory: pytest.TempPathFactory) -> WithKey:
    folder = tmp_path_factory.mktemp("python")
    broken = folder / "broken"
    (folder / "sitecustomize.py").write_text(HANGS_SOON.format(broken=str(broken)))
    path = f"{folder}{os.pathsep}{ROOT}"
    key = "a key that nobody gets to see"
    site = start_site(None, "--hung-after", "30", ANTHROPIC_API_KEY=key, PYTHONPATH=path)
    site.wait_until_ready()
    return WithKey(site, broken)


def is_free(port: int) -> bool:
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) != 0


def is_running(pid: int) -> bool:
    try:
        # A zombie has ended: in a container nobody may be there to take note of it.
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def sign_in(site: Site) -> Browser:
    """The first account of a new site."""
    browser = Browser(site.port, {}, is_signed_in=True)  # the set-up comes before any sign-in
    browser._take_token(browser.get("/setup/"))
    passwords = {"password1": PASSWORD, "password2": PASSWORD}
    browser.post("/setup/", username="root", **passwords)
    browser._take_token(browser.get("/jobs/new/"))
    return browser


def begin_upload(site: Site, browser: Browser) -> socket.socket:
    """An upload that will never end."""
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    head = (
        f"POST /jobs/new/ HTTP/1.1\r\nHost: localhost\r\nCookie: {cookies}\r\n"
        f"X-CSRFToken: {browser.token}\r\nContent-Length: 1000000\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
    )
    connection = socket.create_connection(("127.0.0.1", site.port))
    connection.sendall(head.encode() + b"name\n" + b"Ada\n" * 50_000)
    folder = site.data_dir / "uploads" / "incoming"
    wait_for(lambda: any(folder.iterdir()), "the beginning of the upload")
    return connection


def answers(site: Site) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{site.port}/login/", timeout=5) as page:
            return bool(page.status == 200)
    except OSError:
        return False


def test_a_worker_that_cannot_start_leaves_the_web_server_alone(with_key: WithKey) -> None:
    """Once it can, one that died is started again."""
    site = with_key.site
    wait_for(lambda: ticks(site) is not None, "the worker's first sign of life")
    web = site.children()["gunicorn"]

    def ends(status: int) -> int:
        said = f"The worker ended (status {status})"
        return sum(said in line for line in site.complained)

    before = ends(-signal.SIGKILL)  # of one that took too long to begin
    with_key.broken.touch()
    os.kill(site.children()["run_huey"], signal.SIGKILL)
    wait_for(lambda: ends(3) >= 2, "two starts that failed")
    assert ends(-signal.SIGKILL) == before + 1
    assert site.children()["gunicorn"] == web
    assert answers(site)
    with_key.broken.unlink()
    wait_for(lambda: "run_huey" in site.children(), "a worker")


def test_a_worker_that_hangs_is_replaced(with_key: WithKey) -> None:
    site = with_key.site
    wait_for(lambda: ticks(site) is not None, "the worker's first sign of life")
    first = site.children()["run_huey"]

    os.kill(first, signal.SIGSTOP)

    wait_for(lambda: site.children().get("run_huey", first) != first, "a new worker")
    assert not is_running(first)
    assert any("no sign of life for 15 seconds" in line for line in site.complained)
    forget_ticks(site)
    wait_for(lambda: ticks(site) is not None, "a sign of life of the new one")


def test_with_a_key_there_is_no_simulator(with_key: WithKey) -> None:
    site = with_key.site
    wait_for(lambda: "run_huey" in site.children(), "a worker")

    assert set(site.children()) == {"gunicorn", "run_huey"}
    assert "practice" not in site.said[0]


def ticks(site: Site) -> object:
    """The worker's last sign of life, as it is stored."""
    with closing(sqlite3.connect(site.data_dir / "batchsite.sqlite3", timeout=20)) as file:
        return file.execute("SELECT tick_at FROM jobs_heartbeat").fetchone()[0]


def forget_ticks(site: Site) -> None:
    """So that the next one is stored at once."""
    with closing(sqlite3.connect(site.data_dir / "batchsite.sqlite3", timeout=20)) as file, file:
        file.execute("UPDATE jobs_heartbeat SET tick_at = NULL")


@dataclass
class StartedAgain:
    """A site in practice mode on the data of one that was killed. `left`: what was left of that
    one, by name."""

    site: Site
    left: dict[str, int]


@pytest.fixture(scope="module")
def started_again(with_key: WithKey, start_site: StartSite) -> StartedAgain:
    killed = with_key.site
    wait_for(lambda: len(killed.children()) == 2, "all its parts")
    left = killed.children()
    killed.end(signal.SIGKILL)
    site = start_site(killed.data_dir, BIND=f"127.0.0.1:{killed.port}")
    site.port = killed.port
    site.wait_until_ready()
    killed.close()
    assert "nobody gets to see" not in "".join(killed.said + killed.complained)
    return StartedAgain(site, left)


def test_nothing_outlives_a_site_that_was_killed_and_it_can_be_started_again_at_once(
    started_again: StartedAgain,
) -> None:
    assert answers(started_again.site)
    left = started_again.left.values()
    wait_for(lambda: not any(map(is_running, left)), "the end of the children")


def test_a_web_server_that_is_killed_twice_within_seconds_comes_back(
    started_again: StartedAgain,
) -> None:
    """Even while somebody uploads a large file: the old processes must not keep the port."""
    site = started_again.site
    wait_for(lambda: "run_huey" in site.children(), "the worker")
    worker = site.children()["run_huey"]
    browser = sign_in(site)
    killed: set[int] = set()

    def has_new_web_server() -> bool:
        return bool({site.children().get("gunicorn", 0)} - killed - {0})

    for _ in range(2):
        with begin_upload(site, browser):
            web = site.children()["gunicorn"]
            killed.add(web)
            os.kill(web, signal.SIGKILL)
            wait_for(has_new_web_server, "a new web server")
            wait_for(lambda: answers(site), "an answer")

    assert site.children()["run_huey"] == worker
    assert sum("Web server" in line or "web server" in line for line in site.complained) == 2


def test_a_second_site_on_the_same_data_is_refused(
    started_again: StartedAgain, start_site: StartSite
) -> None:
    running = started_again.site
    second = start_site(running.data_dir)

    assert second.process.wait(timeout=SECONDS) == 1
    second.close()
    assert len(second.complained) == 1
    assert "The site runs already" in second.complained[0]
    assert str(running.data_dir) in second.complained[0]
    assert answers(running)


def test_one_command_starts_all_and_one_ctrl_c_ends_it(started_again: StartedAgain) -> None:
    site = started_again.site
    wait_for(lambda: len(site.children()) == 3, "all its parts")
    children = site.children()

    with urllib.request.urlopen(f"http://127.0.0.1:{site.port}/") as page:
        assert page.status == 200
    assert set(children) == {"gunicorn", "run_huey", "jobs.simulator"}
    wait_for(lambda: niceness(children["run_huey"]) > niceness(children["gunicorn"]), "nice")
    assert site.end(signal.SIGINT) == 0
    site.close()
    assert len(site.said) == 1
    assert f"http://127.0.0.1:{site.port} (practice mode" in site.said[0]
    assert not any("Traceback" in line or "WARNING" in line for line in site.complained)
    assert not any(is_running(pid) for pid in children.values())
    assert is_free(site.port)
    assert is_free(site.provider_port)


def niceness(pid: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, pid)


def test_a_taken_port_is_named(start_site: StartSite) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        site = start_site(BIND=f"127.0.0.1:{port}")

        assert site.process.wait(timeout=SECONDS) == 1

    site.close()
    assert not site.said
    assert len(site.complained) == 1
    assert f"Port {port} of 127.0.0.1 is taken by another program" in site.complained[0]
    assert "BIND=" in site.complained[0]


def test_a_part_that_dies_again_and_again_is_started_ever_more_slowly(tmp_path: Path) -> None:
    part = Part("worker", [sys.executable, "-c", "raise SystemExit(3)"], tmp_path)
    said = []
    for _ in range(8):
        part.start()
        wait_for(part.has_ended, "the end of the part")
        said.append(part.look_after())
        assert part.look_after() == "", "its pause is not over"
    pauses = [line.split()[-2] for line in said]
    assert pauses == ["1", "2", "4", "8", "16", "32", "60", "60"]
    assert said[0] == "The worker ended (status 3). It starts again in 1 s."


def test_a_part_that_lived_for_a_while_is_started_again_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = Part("worker", [sys.executable, "-c", ""], tmp_path, deaths=9)
    monkeypatch.setattr(supervision, "STEADY_SECONDS", 0)
    part.start()
    wait_for(part.has_ended, "the end of the part")
    assert part.look_after().endswith("It starts again in 1 s.")


def test_a_part_that_the_system_cannot_start_now_is_tried_again(tmp_path: Path) -> None:
    part = Part("worker", [str(tmp_path / "nothing")], tmp_path, restart_at=0)
    assert "cannot be started" in part.look_after()
    assert part.restart_at
    assert part.has_ended()


def test_what_a_part_left_behind_is_ended_before_it_is_started_again(tmp_path: Path) -> None:
    script = (
        "import subprocess; child = subprocess.Popen(['sleep', '600'])\n"
        "print(child.pid, file=open('pid', 'w'))"
    )
    part = Part("web server", [sys.executable, "-c", script], tmp_path)
    part.start()
    wait_for(part.has_ended, "the end of the part")
    child = int((tmp_path / "pid").read_text())
    wait_for(lambda: not is_running(child), "the end of its child")


def heartbeat(limit: float = 120) -> HeartbeatWatch:
    return HeartbeatWatch(lambda: None, limit)


def test_a_sign_of_life_that_does_not_change_for_the_limit_has_stopped() -> None:
    beat = heartbeat()
    beat.note("12:00", 0)
    beat.note("12:01", 60)
    for now in range(90, 180, 30):
        beat.note("12:01", now)
    assert not beat.has_stopped()
    beat.note("12:01", 180)
    assert beat.has_stopped()


def test_a_clock_that_leaps_makes_no_worker_look_dead_or_alive() -> None:
    beat = heartbeat()
    for now, sign in enumerate(["12:00", "09:00", "15:00"]):
        beat.note(sign, now)
    assert not beat.has_stopped()
    for now in (50, 100, 150):
        beat.note("15:00", now)
    assert beat.has_stopped()


def test_a_time_in_which_nobody_could_look_does_not_count() -> None:
    beat = heartbeat()
    beat.note("12:00", 0)
    beat.note("12:00", 1_000)  # this process was stopped meanwhile
    assert not beat.has_stopped()
    for now in (1_050, 1_100):
        beat.note("12:00", now)
    beat.forget()  # the database was away
    beat.note("12:00", 1_150)
    assert not beat.has_stopped()


def test_a_new_worker_gets_four_times_the_limit_for_its_first_sign() -> None:
    beat = heartbeat()
    for now in range(0, 480, 40):
        beat.note("12:00", now)
        assert not beat.has_stopped()
    beat.note("12:00", 480)
    assert beat.has_stopped()
    beat.forget()
    beat.note("12:00", 500)
    assert not beat.has_stopped()
    beat.note("12:01", 540)  # it has begun
    for now in range(580, 660, 40):
        beat.note("12:01", now)
        assert not beat.has_stopped()
    beat.note("12:01", 660)
    assert beat.has_stopped()


@pytest.mark.parametrize("text", ["8000", "localhost", ":8000", "localhost:http", "a:1/b", "a:0"])
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match=r"BIND is .*127\.0\.0\.1:8001"):
        host_and_port(text, "BIND", "127.0.0.1:8001")


def test_addresses_of_both_kinds_are_read() -> None:
    assert host_and_port("0.0.0.0:80", "BIND", "") == ("0.0.0.0", 80)  # noqa: S104 - what is read
    assert host_and_port("[::1]:8000", "BIND", "") == ("::1", 8000)


def test_the_ready_line_can_be_opened_in_a_browser(settings: Settings) -> None:
    settings.PRACTICE = False

    assert serve.ready_line("0.0.0.0", 80).endswith("http://127.0.0.1:80")  # noqa: S104 - what is read
    assert serve.ready_line("::", 80).endswith("http://[::1]:80")


def test_the_data_are_closed_to_others_at_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o755)
    with monkeypatch.context() as no_owner:
        no_owner.setattr(Path, "chmod", not_permitted)
        assert f"chmod 700 {tmp_path}" in serve.tighten(tmp_path)

    assert serve.tighten(tmp_path) == ""
    assert tmp_path.stat().st_mode & 0o777 == 0o700


def not_permitted(path: Path, mode: int) -> None:
    raise PermissionError(1, "Operation not permitted")
