"""Errors are reported to a Sentry server without anything of people's: shown with the real package
and a server that keeps all that arrives."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from . import commands
from .environment import clean_environment

pytestmark = pytest.mark.no_database

SECRETS = (
    "Elm Street",
    "sk-ant-secret",
    "SessionCookie",
    "Say hello to",
    "hidden local",
    "?q=find",
)
# A page and a step of the worker fail, with secrets in all the places where there can be some.
FAIL = """
import logging, sys
import django
django.setup()
import sentry_sdk
from django.http import HttpResponse
from django.test import Client
from django.urls import path
from jobs.batches.isolation import isolated
from jobs.rules import log_context
from jobs.web import urls

def view(request):
    local = "hidden local"
    prompt = "Say hello to {{name}}"
    try:
        int("12 Elm Street")
    except ValueError as error:
        raise KeyError("12 Elm Street") from error

from django.conf import settings
settings.ROOT_URLCONF = __name__
urlpatterns = [path("12/", view)]
settings.MIDDLEWARE = ["jobs.web.middleware.request_id"]
client = Client(raise_request_exception=False)
client.cookies["batchsite_session"] = "SessionCookie"
headers = {"X-Request-ID": "request-0123", "Authorization": "Bearer sk-ant-secret"}
assert client.post("/12/?q=find", {"cell": "12 Elm Street"}, headers=headers).status_code == 500
with log_context.about(job=7, batch=2), isolated("12 Elm Street"):
    key = "sk-ant-secret"
    raise RuntimeError("the disk is gone")
logging.getLogger("somebody.else").error("They said: 12 Elm Street")
sentry_sdk.flush()
"""


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[bytes]]]:
    """A DSN, and the bodies that arrive there."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            zipped = self.headers.get("Content-Encoding") == "gzip"
            bodies.append(gzip.decompress(body) if zipped else body)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://public@127.0.0.1:{server.server_port}/1", bodies
    server.shutdown()
    thread.join()
    server.server_close()


def run(data: Path, code: str, **values: str) -> commands.Ended:
    environment = clean_environment(data, **values)
    return commands.run(commands.run_bare_script, code, environment=environment)


def test_reports_say_what_failed_and_nothing_of_people(
    receiver: tuple[str, list[bytes]], tmp_path: Path
) -> None:
    dsn, bodies = receiver
    done = run(tmp_path, FAIL, SENTRY_DSN=dsn, ALLOWED_HOSTS="testserver")
    assert done.status == 0, done.errors

    everything = b"\n".join(bodies).decode()
    assert not [secret for secret in SECRETS if secret in everything]
    events = [
        json.loads(line)
        for body in bodies
        for line in body.decode().splitlines()
        if line.startswith("{") and "logentry" in line
    ]
    page, step, other = events
    assert page["tags"] == {"request": "request-0123"}
    assert [one["type"] for one in page["exception"]["values"]] == ["ValueError", "KeyError"]
    frames = page["exception"]["values"][1]["stacktrace"]["frames"]
    assert frames[-1]["function"] == "view"
    assert all(set(one) == {"filename", "function", "lineno", "in_app"} for one in frames)
    assert page["logentry"]["message"] == "%s: %s", "without the address"
    assert step["tags"] == {"job": "7", "batch": "2"}
    assert step["exception"]["values"][0]["value"] == "the disk is gone"
    assert other["logentry"]["message"] == "somebody.else"


def test_without_the_package_the_site_starts_and_says_so(tmp_path: Path) -> None:
    code = "import sys; sys.modules['sentry_sdk'] = None\nimport django; django.setup()"
    done = run(tmp_path, code, SENTRY_DSN="http://public@127.0.0.1:9/1")
    assert done.status == 0
    assert "the package sentry-sdk is not installed" in done.errors
    assert run(tmp_path, code).errors == "", "nobody asked for it"


def test_a_dsn_that_is_none_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, "import django; django.setup()", SENTRY_DSN="sentry")
    assert "SENTRY_DSN is not the DSN of a Sentry server." in done.errors.splitlines()[-1]
