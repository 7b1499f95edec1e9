"""Installing: the script that image and service use, the unit, and the files of the container."""

from __future__ import annotations

import inspect
import json
import re
import shutil
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from django.conf import settings
from django.urls import URLPattern

from jobs.management.commands.serve import GRACE_SECONDS
from jobs.web.urls import urlpatterns

from .environment import OF_BOTO3, ROOT, setting_names

DEPLOY = ROOT / "deploy"
INSTALL = (DEPLOY / "install.sh").read_text()
COMPOSE = (ROOT / "compose.yml").read_text()
COPIED = re.search(r"for part in (.+); do", INSTALL)[1].split()  # type: ignore[index]
# What a clone has and no site needs.
NOT_COPIED = {"CONTRIBUTING.md", "Dockerfile", "Makefile", "compose.yml", "deploy", "tests"}
NOT_COPIED |= {"pyproject.toml"}

pytestmark = pytest.mark.no_database


def install(
    *arguments: str, script: Path = DEPLOY / "install.sh", **values: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(script), *arguments],
        env={"PATH": "/usr/bin:/bin", **values},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", ["install.sh", "entrypoint.sh"])
def test_the_scripts_are_those_of_any_shell(name: str) -> None:
    subprocess.run(["sh", "-n", str(DEPLOY / name)], check=True)
    assert (DEPLOY / name).stat().st_mode & 0o111


def test_all_that_a_site_needs_is_copied() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    top = {name.partition("/")[0] for name in listed.stdout.splitlines()}
    if not top:
        pytest.skip("this is no clone")
    assert {name for name in top if name[0] != "."} - NOT_COPIED == {*COPIED}
    for name in COPIED:
        assert (ROOT / name).exists()
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {line[1:] for line in ignored if line.startswith("!")} == {*COPIED, "deploy"}


def test_it_refuses_what_would_lose_something(tmp_path: Path) -> None:
    (tmp_path / "site" / "data").mkdir(parents=True)
    refused = install(str(tmp_path / "site"))
    assert refused.returncode == 1 and "holds data" in refused.stderr
    refused = install(str(ROOT))
    assert refused.returncode == 1 and "another folder" in refused.stderr
    refused = install(str(tmp_path / "new"), PYTHON="no-such-python")
    assert refused.returncode == 1 and "Python 3.11 or later" in refused.stderr
    assert not (tmp_path / "new").exists()


def test_what_the_entrypoint_writes_is_for_its_own_user(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    shutil.copy(DEPLOY / "entrypoint.sh", site)
    (site / ".venv" / "bin").mkdir(parents=True)
    python = site / ".venv" / "bin" / "python"
    python.write_text('#!/bin/sh\nmkdir made\necho "$@" > made/said\n')
    python.chmod(0o755)
    subprocess.run([str(site / "entrypoint.sh"), "backup", "/two words"], cwd="/", check=True)
    assert (site / "made" / "said").read_text() == "manage.py backup /two words\n"
    assert (site / "made").stat().st_mode & 0o077 == 0
    assert (site / "made" / "said").stat().st_mode & 0o077 == 0


def test_the_unit_is_valid_and_hardened(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd is not installed")
    unit = tmp_path / "batchsite.service"
    text = (DEPLOY / "batchsite.service").read_text()
    unit.write_text(re.sub(r"(?m)^ExecStart=.*$", "ExecStart=/bin/true", text))
    verified = subprocess.run([program, "verify", str(unit)], capture_output=True, text=True)
    assert not [line for line in verified.stderr.splitlines() if "batchsite" in line]
    security = [program, "security", "--offline=true", "--threshold=20", str(unit)]
    checked = subprocess.run(security, capture_output=True, text=True)
    if "Unknown" in checked.stderr or "unrecognized" in checked.stderr:
        pytest.skip("this systemd cannot check a file")
    assert checked.returncode == 0, checked.stdout
    page = (ROOT / "docs" / "running" / "install.md").read_text()
    told = re.search(r"rates the unit ([\d.]+) \(systemd (\d+)\)", page)
    version = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
    assert told is not None
    if version.startswith(f"systemd {told[2]} "):
        assert re.findall(r"exposure level .*: ([\d.]+)", checked.stdout) == [told[1]]


def test_a_part_that_dies_does_not_end_the_service() -> None:
    """systemd would stop the whole unit when memory runs out and one process is killed."""
    text = (DEPLOY / "batchsite.service").read_text()
    unit = dict(re.findall(r"(?m)^(\w+)=(.*)$", text))
    assert unit["OOMPolicy"] == "continue"
    # `serve` ends the parts by itself; only what is left over after that is killed.
    assert unit["KillMode"] == "mixed" and int(unit["TimeoutStopSec"]) > GRACE_SECONDS


def test_docs_know_how_many_threads_a_worker_has() -> None:
    consumer: Any = settings.HUEY["consumer"]
    pages = ("docs/running/install.md", "docs/running/postgresql.md", "docs/running/container.md")
    for name in (*pages, "compose.yml"):
        found = re.findall(r"(\d+) threads(?! each)", (ROOT / name).read_text())
        assert found == [str(consumer["workers"])], name


def test_the_container_drops_all_rights() -> None:
    assert "cap_drop: [ALL]" in COMPOSE and "read_only: true" in COMPOSE
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "deploy/install.sh /opt/batchsite" in dockerfile and "\nUSER 10001" in dockerfile


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_container_is_healthy_while_the_site_answers(status: int, code: int) -> None:
    """Also where the environment names a proxy, as Docker can do for every container."""

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_arguments: Any) -> None:
            pass

    found = re.search(r"(?m)^HEALTHCHECK .*\\\n +CMD (.+)$", (ROOT / "Dockerfile").read_text())
    assert found is not None
    _python, *arguments = json.loads(found[1])
    with HTTPServer(("127.0.0.1", 0), Site) as server:
        Thread(target=server.handle_request, daemon=True).start()
        port = str(server.server_port)
        checked = subprocess.run(
            [sys.executable, *(one.replace("8000", port) for one in arguments)],
            env={"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"},
            check=False,
        )
    assert checked.returncode == code


def test_the_proxy_in_the_docs_lets_uploads_through() -> None:
    page = (ROOT / "docs" / "running" / "install.md").read_text()
    found = re.search(r"location ~ (\S+) \{\n[^}]*proxy_request_buffering off;", page)
    assert found is not None
    for one in urlpatterns:
        assert isinstance(one, URLPattern)
        source = inspect.getsource(inspect.unwrap(one.callback))
        takes_file = "request.FILES" in source or "take_file(" in source
        address = "/" + re.sub("<int:[a-z]+>", "1", str(one.pattern))
        assert bool(re.match(found[1], address)) == takes_file, address


def test_every_setting_reaches_the_container_under_its_name() -> None:
    """But those that the image sets, and the one for development."""
    known = {*setting_names(), *OF_BOTO3}
    block = COMPOSE.partition("  environment:\n")[2].partition("  volumes:")[0]
    passed = re.findall(r"^    ([A-Z0-9_]+): \$\{([A-Z0-9_]+):-.*\}$", block, re.M)
    assert len(passed) == len(block.splitlines())
    assert all(name == given for name, given in passed)
    assert {name for name, _given in passed} == known - {"DATA_DIR", "BIND", "DEBUG"}
    assert "    SITE_URL: ${SITE_URL:-http://localhost:${PORT:-8000}}\n" in block, "not 0.0.0.0"
    own = "${POSTGRES_PASSWORD:+postgres://batchsite:${POSTGRES_PASSWORD:-}@postgres/batchsite}"
    assert f"    DATABASE_URL: ${{DATABASE_URL:-{own}}}\n" in block, "never SQLite by mistake"


def test_the_server_of_the_compose_file_has_room_for_the_workers_that_the_page_names() -> None:
    page = (ROOT / "docs" / "running" / "container.md").read_text()
    more = re.search(r"--scale worker=(\d+)", page)
    room = re.search(r"max_connections=(\d+)", COMPOSE)
    assert more is not None and room is not None
    consumer: Any = settings.HUEY["consumer"]
    a_worker = consumer["workers"] + 2  # the tick's scheduler, and who watches
    web = 2 * (8 + 2)
    # The site has a worker of its own. Backups and commands want some, too.
    assert web + (int(more[1]) + 1) * a_worker + 10 <= int(room[1])


def test_the_image_has_programs_for_the_postgresql_of_the_compose_file() -> None:
    """pg_dump refuses a server that is newer than itself."""
    packaged = {"bookworm": 15, "trixie": 17}  # postgresql-client of each Debian
    images = re.findall(
        r"(?m)^FROM docker.io/library/python:[\d.]+-slim-(\w+)", (ROOT / "Dockerfile").read_text()
    )
    server = re.search(r"image: docker.io/library/postgres:(\d+)", COMPOSE)
    assert len(images) == 2 and len(set(images)) == 1, "both stages have the same Python"
    assert server is not None and packaged[images[1]] >= int(server[1])


def test_the_image_reports_errors_with_the_package_that_is_tested() -> None:
    tested = re.search(r"(?m)^sentry-sdk==.+$", (ROOT / "tests" / "requirements.txt").read_text())
    assert tested is not None and tested[0] in (ROOT / "Dockerfile").read_text()
