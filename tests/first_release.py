"""What is stored in the site that release 0.1.0 left (tests/data/old_sites), and how its people and
the worker continue. Runs in a process that works on that site, with this version's code."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db.models import TextField
from django.db.models.functions import Cast
from django.test import Client

from batchsite import __version__
from jobs.actions import approvals, retries, submissions, unknown_batches
from jobs.drafts import estimates
from jobs.models import (
    COUNT_ANEW,
    Attempt,
    AuditEntry,
    CorrectedUpload,
    Export,
    ExternalBatchList,
    Installation,
    Job,
    LastBackup,
    LateBatch,
    Notification,
    PastSpending,
    PriceOverride,
    RowChange,
    SpendingCaps,
    Template,
    Trial,
    locks,
    role_of,
    versions,
)
from jobs.retries import rounds, selection
from jobs.rules.retry_choices import RetryChoice
from jobs.spending import receipts
from jobs.worker import housekeeping, restores, sweep, tally

from .running import SECONDS

LINK = re.compile(r'(?:href|hx-get)="(/[^"#?]*)')
NUMBER = re.compile(r"\d+")
OF_THE_SITE = ("/", "/spending/", "/templates/", "/people/", "/system/")


def come_up_to_date(folder: Path) -> None:
    """Upgrade, with a backup below `folder`. Before that, no page opens."""
    assert versions.look()
    assert browser().get("/").status_code == 503
    call_command("backup", str(folder.with_name("by hand")), stdout=io.StringIO())
    restores.HEARTBEAT_SECONDS = 0  # no worker is elsewhere
    said = io.StringIO()
    call_command("upgrade", str(folder), "--json", stdout=said)
    told = json.loads(said.getvalue())
    assert (told["before"], told["after"]) == ("", __version__)
    assert told["migrations"] > 30
    assert [Path(told["backup"])] == [one.parent for one in folder.glob("*/manifest.json")]
    assert LastBackup.get().folder == told["backup"]
    assert Installation.get().version == __version__
    assert not versions.look() and not locks.upgrade_mark().exists()
    again = io.StringIO()
    call_command("upgrade", str(folder), stdout=again)
    assert "up to date" in again.getvalue()
    assert len(list(folder.iterdir())) == 1


def browser() -> Client:
    settings.ALLOWED_HOSTS = ["testserver"]
    settings.STORAGES["staticfiles"] = {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
    }
    return Client()


def facts() -> dict[str, Any]:
    """What each job comes to, as the release wrote it into facts.json."""
    # As the sweep does. What an older version has added up comes out the same.
    for job in Job.objects.filter(tally_version=COUNT_ANEW):
        assert tally.count_up(job)
    # As it is stored, not as it is read.
    tallies = dict(Job.objects.values_list("pk", Cast("tally", TextField())))
    return {
        "jobs": {job.name: facts_of(job, json.loads(tallies[job.pk])) for job in Job.objects.all()},
        "past": sum(one.spent_pico for one in PastSpending.objects.all()),
        "attempts": [
            [one.job.name, one.number, one.outcome, one.cost_pico] for one in Attempt.objects.all()
        ],
        "trials": [
            [one.job.name, one.state, one.outcome, one.cost_pico]
            for one in Trial.objects.order_by("pk")
        ],
        "late": [[one.batch.job.name, one.cost_pico] for one in LateBatch.objects.all()],
    }


def facts_of(job: Job, tally_of_it: dict[str, Any]) -> dict[str, Any]:
    columns = ("number", "outcome", "cause", "answer", "cost_pico", "attempts", "line", "source")
    batches = job.batches.values_list("number", "state", "size", "cost_pico", "provider_id")
    return {
        "pk": job.pk,
        "owner": job.owner.username,
        "state": job.state,
        "held": job.held,
        "tally": tally_of_it,
        "spent_pico": job.spent_pico,
        "reserved_pico": job.reserved_pico,
        "charged": str(receipts.receipt_of(job).charged),
        "rows": [list(row) for row in job.rows.in_order().values_list(*columns)],
        "log": [one.text for one in job.events.all()],
        "batches": [list(batch) for batch in batches],
    }


def check_stored() -> None:
    """What else the release has stored means the same to this version."""
    caps = SpendingCaps.get()
    most = caps.most_a_job, caps.most_a_person, caps.most_a_month, caps.approval_above
    assert list(map(str, most)) == ["50.00", "200.50", "1000.00", "20.00"], most
    assert Installation.get().set_up_at
    assert len(ExternalBatchList.get().entries) == 1
    assert [one.model for one in PriceOverride.objects.all()] == ["claude-haiku-9"]
    rating, private = Template.objects.order_by("pk")
    assert [one.name for one in rating.recipe.answer.columns] == ["tone", "stars"]
    assert (rating.shared, private.shared, rating.versions.count()) == (True, False, 1)
    roles = [str(role_of(one)) for one in User.objects.order_by("username")]
    assert roles == ["member", "member", "member", "administrator", "administrator"], roles
    assert AuditEntry.objects.get().event == "site_upgraded"
    assert not Notification.objects.exists(), "nothing of before is news"

    job = {one.name: one for one in Job.objects.all()}
    finished = job["finished"]
    marks = [one.good for one in finished.sample.order_by("position")]
    assert marks == [False, True, None], marks
    assert "calmer" in finished.edits.get().source
    assert finished.rounds.get().what == "Answer cut off: answers of up to 900 tokens."
    assert finished.recipe.skip_duplicates and job["more"].recipe.only_new
    assert [one.used for one in job["corrected"].corrections] == [True]
    asked = {one.name for one in Job.objects.awaiting_approval()}
    assert asked == {"ask", "requests"}, asked
    assert job["requests"].approval_again == RetryChoice(selection.FOR_NOW)
    assert job["approved"].asks_for_approval and job["approved"].approval_by is not None


def visit(session: str) -> None:
    """Look at every page of every job. `session` is one of alice's, of before."""
    client = browser()
    client.cookies[settings.SESSION_COOKIE_NAME] = session
    assert client.get("/").status_code == 302, "people sign in anew: an older version let them in"
    client.force_login(User.objects.get(username="root"))
    jobs = Job.objects.exclude(state=Job.State.DELETING)
    states = {str(job.pk): f"{job.kind} {job.state} {job.held}" for job in jobs}
    to_see, seen = {*OF_THE_SITE, *(f"/jobs/{pk}/" for pk in states)}, set[str]()
    alike = set[str]()  # of a kind of page, and of jobs in one state, one is seen
    while to_see - seen:
        path = min(to_see - seen)
        seen.add(path)
        _, _, pk, *rest = path.split("/") if path.startswith("/jobs/") else ("", "", "", path)
        kind = f"{states.get(pk, pk)} {NUMBER.sub('', '/'.join(rest))}"
        if kind in alike and rest != [""]:
            continue
        alike.add(kind)
        page = client.get(path)
        assert page.status_code in (200, 302), (path, page.status_code)
        content = page.getvalue().decode(
            errors="replace"
        )  # of a download, too: one has two at once
        if "html" in page.headers.get("Content-Type", ""):
            found = LINK.findall(content)
            to_see |= {one for one in found if one.startswith("/jobs/")}
    compare_files()


def compare_files() -> None:
    """The finished file of each job has one line for every line that came, in order."""
    client = browser()
    client.force_login(User.objects.get(username="root"))
    for job in Job.objects.filter(state=Job.State.FINISHED):
        done = client.get(f"/jobs/{job.pk}/download/csv/?plain=1").getvalue().decode()
        came = Path(settings.DATA_DIR, "uploads", job.upload_file).read_text()
        if job.kind == Job.Kind.TABLE:
            names = first_cells(came)
        else:
            names = ["custom_id", *(json.loads(line)["custom_id"] for line in came.splitlines())]
        assert first_cells(done) == names, job


def first_cells(text: str) -> list[str]:
    return [line[0] for line in csv.reader(io.StringIO(text))]


def go_on() -> None:
    """The worker does its work, and people do what waited for them."""
    job = {one.name: one for one in Job.objects.all()}
    # A new version may work out other prices.
    housekeeping.price_stale_drafts()
    work_until("finished", "running", "sending")
    work_until("draft", "reading")
    work(lambda: not Job.objects.filter(name="doomed") and not RowChange.objects.exists())
    work(lambda: not Export.objects.exists() and CorrectedUpload.objects.get().found is not None)
    corrected = CorrectedUpload.objects.get().found
    assert corrected and (corrected.changed, corrected.wrong) == (1, 0), corrected
    work(lambda: estimates.current(Job.objects.get(name="draft")) is not None)
    draft = Job.objects.get(name="draft")
    assert submissions.confirm(draft, draft.plan_sha256, draft.owner)
    assert submissions.resume_job(job["blocked"], job["blocked"].owner)
    assert unknown_batches.send_again(job["asked"].batches.get(), job["asked"].owner)
    approve_anew(job["requests"], User.objects.get(username="root"))
    retry("requests", selection.FOR_NOW)
    retry("finished", selection.FOR_NOW)
    work_until("finished", "draft", "blocked", "asked", "requests", "finished")
    retry("finished", selection.EDITED)
    work_until("finished", "finished")


def approve_anew(job: Job, approver: User) -> None:
    """What was asked for was the plan of the other version, which nobody can approve any more."""
    assert not approvals.approve(job, job.approval_plan, approver)
    choice = RetryChoice(selection.FOR_NOW)
    plan = rounds.make_plan(job, choice)
    assert approvals.request_approval(job, plan.key, job.owner, choice)
    assert approvals.approve(job, plan.key, approver)


def retry(name: str, which: str) -> None:
    job, choice = Job.objects.get(name=name), RetryChoice(which)
    plan = rounds.find_plan(job, choice)
    assert plan, name
    assert retries.confirm_retry(job, choice, plan.key, job.owner), name


def work_until(state: str, *names: str) -> None:
    jobs = Job.objects.filter(name__in=names, state=state)
    work(lambda: jobs.count() == len(names))


def work(is_done: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not is_done():
        assert time.monotonic() < end, list(Job.objects.values_list("name", "state", "held"))
        sweep.sweep()
        time.sleep(0.02)
