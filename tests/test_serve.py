"""`manage.py serve`, as `make run` starts it: one address, one Ctrl-C, and nothing left behind."""

from __future__ import annotations

import io
import os
import signal
import socket
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.core.management.base import CommandError
from pytest_django import Settings

from jobs.management.commands import serve
from jobs.management.commands.serve import Part, host_and_port

from .running import SECONDS, Site, wait_for

pytestmark = pytest.mark.no_database


@pytest.fixture
def start_site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    sites: list[Site] = []

    def start(**values: str) -> Site:
        sites.append(Site(tmp_path / "site", **values))
        return sites[-1]

    yield start
    for site in sites:
        site.close()


def is_free(port: int) -> bool:
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) != 0


def is_running(pid: int) -> bool:
    try:
        # A zombie has ended: in a container nobody may be there to take note of it.
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def test_one_command_starts_all_and_one_ctrl_c_ends_it(start_site: Callable[..., Site]) -> None:
    site = start_site()
    site.wait_until_ready()
    children = site.children()

    with urllib.request.urlopen(f"http://127.0.0.1:{site.port}/") as page:
        assert page.status == 200
    assert set(children) == {"gunicorn", "run_huey", "jobs.simulator"}
    assert site.end(signal.SIGINT) == 0
    site.close()
    assert len(site.said) == 1
    assert f"http://127.0.0.1:{site.port} (practice mode" in site.said[0]
    assert not any("Traceback" in line for line in site.complained)
    assert not any(is_running(pid) for pid in children.values())
    assert is_free(site.port)
    assert is_free(site.provider_port)


def test_with_a_key_there_is_no_simulator(start_site: Callable[..., Site]) -> None:
    site = start_site(ANTHROPIC_API_KEY="a key that nobody gets to see")
    site.wait_until_ready()

    assert set(site.children()) == {"gunicorn", "run_huey"}
    assert site.end(signal.SIGTERM) == 0
    site.close()
    assert "practice" not in site.said[0]
    assert "nobody gets to see" not in "".join(site.said + site.complained)


def test_a_part_that_dies_is_started_again(start_site: Callable[..., Site]) -> None:
    site = start_site()
    site.wait_until_ready()
    first = site.children()["run_huey"]

    os.kill(first, signal.SIGKILL)

    wait_for(lambda: site.children().get("run_huey", first) != first, "a new worker")
    assert any("The worker ended (status -9)" in line for line in site.complained)


def test_nothing_outlives_a_parent_that_is_killed(start_site: Callable[..., Site]) -> None:
    site = start_site()
    site.wait_until_ready()
    children = site.children()

    site.end(signal.SIGKILL)

    wait_for(lambda: not any(map(is_running, children.values())), "the end of the children")
    wait_for(lambda: is_free(site.port), "a free port")


def test_a_taken_port_is_named(start_site: Callable[..., Site]) -> None:
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


def test_a_part_that_dies_again_and_again_ends_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "RESTART_SECONDS", 0.0)
    part = Part("worker", [sys.executable, "-c", "raise SystemExit(3)"])
    command = serve.Command(stderr=io.StringIO())
    part.start()

    def goes_on() -> bool:
        command.look_after(part)
        return False

    with pytest.raises(CommandError, match="The worker ended 5 times within a minute"):
        wait_for(goes_on, "giving up")


@pytest.mark.parametrize("text", ["8000", "localhost", ":8000", "localhost:http", "a:1/b", "a:0"])
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match=r"BIND is .*127\.0\.0\.1:8001"):
        host_and_port(text, "BIND", "127.0.0.1:8001")


def test_addresses_of_both_kinds_are_read() -> None:
    assert host_and_port("0.0.0.0:80", "BIND", "") == ("0.0.0.0", 80)  # noqa: S104
    assert host_and_port("[::1]:8000", "BIND", "") == ("::1", 8000)


def test_the_ready_line_can_be_opened_in_a_browser(settings: Settings) -> None:
    settings.PRACTICE = False

    assert serve.ready_line("0.0.0.0", 80).endswith("http://127.0.0.1:80")  # noqa: S104
    assert serve.ready_line("::", 80).endswith("http://[::1]:80")
