"""What the person does, over HTTP as a browser does, and never giving up: whatever breaks off while
the web server is away is looked at and, if it did not happen, done again.

Each job has a script, a generator that yields whenever it has to wait.
"""

from __future__ import annotations

import http.client
import re
import time
import urllib.parse
import uuid
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from . import aftermath, pilots
from .pilots import PILOT_IS_IN
from .plans import JobPlan
from .processes import Process
from .site import PASSWORD, USER, CannotBeRead, Database, as_json

FINAL = ("finished", "unreadable")
LOOK_SECONDS = 1.0  # between two looks at the page of a job
TRY_AGAIN_SECONDS = 0.7  # between seeing that a job needs somebody and the press of the button

# Where a browser finds the token of a form.
_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="(\w+)"')


class Away(Exception):
    """The web server did not answer, or not to the end: it is being killed or started."""


@dataclass
class Answer:
    status: int
    location: str
    body: bytes


@dataclass
class Browser:
    """Cookies, forms with their token, and a note of all that was ever seen."""

    port: int
    secrets: dict[str, bytes]  # name -> what no error page, and of a key no page, may show
    cookies: dict[str, str] = field(default_factory=dict)
    token: str = ""
    is_signed_in: bool = False
    errors: set[str] = field(default_factory=set)
    leaks: set[str] = field(default_factory=set)
    requests: int = 0
    # Of the web servers that can be reached now, if there may be several: it asks them in turn.
    addresses: Callable[[], list[tuple[str, int]]] | None = None

    def get(self, path: str) -> Answer:
        self._be_signed_in(path)
        return self._receive(path, self._send("GET", path))

    def post(self, path: str, **fields: str) -> Answer:
        self._be_signed_in(path)
        return self._receive(path, self._send_form(path, fields))

    def post_twice(self, path: str, **fields: str) -> list[Answer]:
        """A double click: the second request is on its way before the first is answered."""
        self._be_signed_in(path)
        sent = [self._send_form(path, fields) for _ in range(2)]
        answers, away = [], None
        for connection in sent:
            try:
                answers.append(self._receive(path, connection))
            except Away as error:
                away = error
        if away:
            raise away
        return answers

    def upload(self, path: str, name: str, content: bytes) -> Answer:
        self._be_signed_in(path)
        boundary = uuid.uuid4().hex
        part = f'--{boundary}\r\nContent-Disposition: form-data; name="%s"'
        body = (
            f"{part % 'csrfmiddlewaretoken'}\r\n\r\n{self.token}\r\n"
            f'{part % "file"}; filename="{name}"\r\nContent-Type: text/csv\r\n\r\n'
        ).encode()
        body += content + f"\r\n--{boundary}--\r\n".encode()
        kind = f"multipart/form-data; boundary={boundary}"
        return self._receive(path, self._send("POST", path, body, kind))

    def sign_in(self) -> None:
        """Raises Away; then it has to be done again."""
        self.cookies.clear()  # who is signed in gets no form here
        self._take_token(self.get("/login/"))
        self.post("/login/", username=USER, password=PASSWORD)
        self.is_signed_in = True
        self._take_token(self.get("/jobs/new/"))

    def _be_signed_in(self, path: str) -> None:
        """A session ends when the site is restored from a backup."""
        if path != "/login/" and not self.is_signed_in:
            self.sign_in()

    def _take_token(self, page: Answer) -> None:
        found = _TOKEN.search(page.body.decode())
        if not found:
            raise Away("a page without a form")
        self.token = found[1]

    def _send_form(self, path: str, fields: dict[str, str]) -> http.client.HTTPConnection:
        body = urllib.parse.urlencode({**fields, "csrfmiddlewaretoken": self.token}).encode()
        return self._send("POST", path, body, "application/x-www-form-urlencoded")

    def _send(
        self, method: str, path: str, body: bytes | None = None, kind: str = ""
    ) -> http.client.HTTPConnection:
        addresses = self.addresses() if self.addresses else [("127.0.0.1", self.port)]
        host, port = addresses[self.requests % len(addresses)]
        # Nobody behind a cable that is out can be waited for as long; a download waits for 20 s.
        seconds = 120 if len(addresses) == 1 else 30
        connection = http.client.HTTPConnection(host, port, timeout=seconds)
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        headers = {"Cookie": cookies, "Host": f"127.0.0.1:{port}"}
        if kind:
            headers["Content-Type"] = kind
        self.requests += 1
        try:
            connection.request(method, path, body, headers)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Away(str(error)) from error
        return connection

    def _receive(self, path: str, connection: http.client.HTTPConnection) -> Answer:
        try:
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise Away(str(error)) from error
        finally:
            connection.close()
        for header in response.headers.get_all("Set-Cookie", []):
            name, _, value = header.partition(";")[0].partition("=")
            self.cookies[name] = value
        answer = Answer(response.status, response.headers.get("Location", ""), body)
        self._examine(path, answer)
        if answer.location.startswith("/login/"):
            self.is_signed_in = False
            raise Away("signed out")
        return answer

    def _examine(self, path: str, answer: Answer) -> None:
        if answer.status >= 500:
            self.errors.add(f"{path} was answered with {answer.status}.")
        for name, secret in self.secrets.items():
            places = {
                "the address": (path + answer.location).encode(),
                "an error page": answer.body if answer.status >= 400 else b"",
                "a page": answer.body if name == "key" else b"",
            }
            for place, text in places.items():
                if secret in text:
                    self.leaks.add(f"The {name} is in {place} of {path}.")


@dataclass
class View:
    """The jobs as the site has stored them, looked up again in every round."""

    rows: list[dict[str, Any]] = field(default_factory=list)

    def by_upload(self, name: str) -> dict[str, Any] | None:
        return next((row for row in self.rows if row["upload_name"] == name), None)

    def job(self, pk: int) -> dict[str, Any]:
        return next(row for row in self.rows if row["id"] == pk)


@dataclass
class Person:
    browser: Browser
    view: View
    held: Counter[str] = field(default_factory=Counter)  # why jobs were held, how often
    jobs: dict[str, int] = field(default_factory=dict)  # name of the upload -> id of the job
    stopped: set[int] = field(default_factory=set)
    database: Database | None = None
    manage: Callable[..., Process] | None = None  # a command of manage.py, which runs by itself
    confirmed_twice: int = 0
    continued: Counter[str] = field(default_factory=Counter)  # jobs after their pilot, by whom
    tries: int = 0
    rounds_twice: int = 0  # rows that were sent again, by two clicks at once
    corrections: int = 0
    decisions: int = 0  # what only a person could say of a batch

    def script(self, plan: JobPlan) -> Iterator[None]:
        """One job, from the upload to its end."""
        yield from wait_for(plan.start)
        pk = yield from self._upload(plan)
        yield from self._until(pk, lambda job: job["state"] != "reading")
        if self.view.job(pk)["state"] == "unreadable":
            return
        yield from self._confirm(plan, pk)
        yield from self._see_through(plan, pk)
        if plan.sends_again:
            yield from aftermath.send_again(self, pk, aftermath.PASSING_CAUSES)
            yield from self._see_through(plan, pk)
        if plan.corrects and pk not in self.stopped:
            yield from aftermath.correct_rows(self, plan, pk)
            yield from aftermath.send_again(self, pk, aftermath.EDITED)
            yield from self._see_through(plan, pk)

    def _upload(self, plan: JobPlan) -> Generator[None, None, int]:
        while True:
            # Perhaps it arrived and only the answer did not.
            if found := self.view.by_upload(plan.file_name):
                self.jobs[plan.name] = int(found["id"])
                return int(found["id"])
            try:
                self.browser.upload("/jobs/new/", plan.file_name, plan.content())
            except Away:
                yield from wait_for(0.3)
            yield from wait_for(0.2)

    def _confirm(self, plan: JobPlan, pk: int) -> Iterator[None]:
        saved = not plan.recipe
        while (job := self.view.job(pk))["state"] == "draft":
            if plan.recipe and not as_json(job["recipe"])["prompt"]:
                saved = False  # the site was restored from a time before that
            try:
                if not saved:
                    self.browser.post(f"/jobs/{pk}/recipe/", **plan.recipe)
                    saved = True
                elif job["plan_sha256"]:
                    self.browser.get(f"/jobs/{pk}/confirm/")
                    path = f"/jobs/{pk}/confirm/"
                    first = plan.pilot.fields if plan.pilot else {}
                    self.browser.post_twice(path, plan_sha256=job["plan_sha256"], **first)
                    self.confirmed_twice += 1
            except Away:
                yield from wait_for(0.3)
            yield from wait_for(0.1)

    def _see_through(self, plan: JobPlan, pk: int) -> Iterator[None]:
        confirmed = time.monotonic()
        looked, held, held_at = 0.0, "", 0.0
        while (job := self.view.job(pk))["state"] not in FINAL:
            now = time.monotonic()
            if job["state"] == "draft":  # the site was restored from a time before that
                yield from self._confirm(plan, pk)
                continue
            if plan.pilot and job["held"].startswith(PILOT_IS_IN) and plan.stop_after is None:
                yield from pilots.let_others_go(self, plan.pilot, pk)
                continue
            try:
                if now - looked > LOOK_SECONDS:
                    looked = now
                    self.browser.get(f"/jobs/{pk}/")
                if plan.stop_after is not None and now - confirmed > plan.stop_after:
                    if pk not in self.stopped:
                        self.stopped.add(pk)
                        self.browser.get(f"/jobs/{pk}/stop/")
                    if job["state"] in ("submitting", "working"):
                        self.browser.post(f"/jobs/{pk}/stop/")
                if job["held"] != held:
                    held, held_at = job["held"], now
                    if held and not held.startswith(PILOT_IS_IN):
                        self.held[held] += 1
                elif held and now - held_at > TRY_AGAIN_SECONDS:
                    held_at = now
                    self.tries += 1
                    self.browser.post(f"/jobs/{pk}/try-again/")
            except Away:
                yield from wait_for(0.3)
            yield

    def _until(self, pk: int, come_so_far: Callable[[dict[str, Any]], bool]) -> Iterator[None]:
        looked = 0.0
        while not come_so_far(self.view.job(pk)):
            if time.monotonic() - looked > LOOK_SECONDS:
                looked = time.monotonic()
                with suppress(Away):
                    self.browser.get(f"/jobs/{pk}/")
            yield

    # ------------------------------------------------------------------------ what they see of it

    def rounds(self, pk: int) -> int:
        return sum(one["job_id"] == pk for one in self._read("SELECT job_id FROM jobs_round"))

    def asked(self) -> list[dict[str, Any]]:
        """Batches of which a person is to say whether they are sent again."""
        return self._read(
            "SELECT job_id, number, nonce FROM jobs_batch"
            " WHERE asked_at IS NOT NULL AND state = 'unknown' AND suggested_id = ''"
        )

    def is_behind_journal(self) -> bool:
        return bool(
            self._read("SELECT id FROM jobs_journalstate WHERE ahead > 0 AND asked_at IS NULL")
        )

    def _read(self, query: str) -> list[dict[str, Any]]:
        assert self.database is not None
        try:
            return self.database.read(query)
        except CannotBeRead as error:
            raise Away(str(error)) from error

    # ----------------------------------------------------------------------------------- in the end

    def look_around(self) -> None:
        """Pages of a finished job, and pages that are errors. Raises Away."""
        for pk in self.jobs.values():
            for path in ("", "rows/", "rows/?outcome=attention", "rows/1/"):
                self.browser.get(f"/jobs/{pk}/{path}")
        self.browser.get("/")
        self.browser.get("/jobs/999999/")
        self.browser.get("/nothing-here/")
        token, self.browser.token = self.browser.token, "wrong"
        self.browser.post("/jobs/new/")
        self.browser.token = token

    def download(self, pk: int, kind: str) -> bytes:
        """Raises Away."""
        return self.browser.get(f"/jobs/{pk}/download/{kind}/").body


def wait_for(seconds: float) -> Iterator[None]:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        yield
