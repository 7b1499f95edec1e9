"""A new web process loads what pages need before anybody asks for one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.template import engines
from django.template.loaders import filesystem
from django.test import Client

from jobs.models import Job
from jobs.web import warm_up

from ..environment import ROOT, clean_environment
from ..running import with_database

# Neither a connection to a database nor a thread may go on in processes that are forked.
LEFT_OPEN = """
import os, threading
import batchsite.wsgi
from django.db import connection
files = (os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")[:-1])
print(threading.active_count(), connection.connection, [one for one in files if "sqlite3" in one])
"""
# A thread that answers keeps its connection for the next answer, with little memory.
AFTER_AN_ANSWER = """
from batchsite.wsgi import application
from django.db import connection
from django.test import RequestFactory
environ = RequestFactory(SERVER_NAME="127.0.0.1").get("/readyz").environ
answer = application(environ, lambda *_: None)
answer.close()
kept = connection.connection
print(answer.status_code, kept.execute("PRAGMA cache_size").fetchone())
"""


def test_after_the_start_no_page_reads_a_template(
    alice: User,
    client_alice: Client,
    make_job: Callable[..., Job],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for loader in engines["django"].engine.template_loaders:  # type: ignore[attr-defined]  # Django's
        loader.reset()  # what other tests have read
    warm_up.load()

    def read(_loader: filesystem.Loader, origin: object) -> str:
        pytest.fail(f"{origin} was read when it was asked for.")

    monkeypatch.setattr(filesystem.Loader, "get_contents", read)
    draft = make_job(alice, rows=[("a", "b")])
    finished = make_job(alice, state=Job.State.FINISHED, rows=[("a", "b")])
    for address in ("/", f"/jobs/{draft.pk}/", f"/jobs/{finished.pk}/", "/spending/"):
        assert client_alice.get(address, follow=True).status_code == 200


@pytest.mark.no_database
def test_the_process_that_others_are_forked_from_has_nothing_open(tmp_path: Path) -> None:
    assert run(LEFT_OPEN, tmp_path) == "1 None []\n"


@pytest.mark.no_database
def test_a_connection_is_kept_for_the_next_answer(tmp_path: Path) -> None:
    assert run(AFTER_AN_ANSWER, tmp_path) == "503 (-2000,)\n"


def run(program: str, folder: Path) -> str:
    """What it writes, on a site of its own."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=clean_environment(with_database(folder / "data"), DATABASE_URL=""),
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stderr
    return done.stdout
