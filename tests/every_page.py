"""Every page of the site in its main states, as the browser of a person gets it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import Http404, HttpResponse
from django.template.loader import render_to_string
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone

from jobs.actions import invitations, reviews, submissions, teams
from jobs.batches import external
from jobs.drafts import estimates, templates
from jobs.models import (
    PILOT_IS_IN,
    Batch,
    Delivery,
    GoldStandard,
    Heartbeat,
    Job,
    JournalState,
    Outcome,
    Pilot,
    Role,
    SpendingCaps,
    Team,
    outbox,
)
from jobs.models.outbox import Facts
from jobs.notifications import destinations
from jobs.results import review_sample
from jobs.rules import result_proof
from jobs.rules.accuracy import Accuracy, ColumnAccuracy
from jobs.rules.pilots import PilotResult
from jobs.rules.recipes import Recipe
from jobs.rules.right_answers import GoldChoice
from jobs.web.examples import EXAMPLES
from jobs.web.views import errors
from jobs.worker import sweep

from .conftest import PASSWORD, Simulator, change_job, drive_job, set_up_path, signed_in, store_job
from .web.test_views_job_page import add_batch

Page = tuple[str, bytes]  # what it is, and its HTML
LONG_NAME = "customer_reviews_of_all_kettles_and_toasters_sold_in_northern_europe_2026_final_v2.csv"
PROMPT = "Is this review positive, negative or mixed? {{review}}"
ENDS = ["", "[simulate:cut]", "[simulate:refusal]", "[simulate:errored]", "", "", "", ""]
REVIEWS = [
    (str(number), f"Boils fast, but the lid came with a dent. {end}")
    for number, end in enumerate(ENDS * 2, 1)
]
MESSY = b"name,text\nAda,good\nBen\nCy,too,many\nDee,\xff\xfe\nEve,fine\n"


class Cast:
    """People with their browsers. Eve has just come."""

    def __init__(self) -> None:
        self.root = User.objects.create_superuser("root", password=PASSWORD)
        self.alice = User.objects.create_user("alice", password=PASSWORD)
        self.eve = User.objects.create_user("eve", password=PASSWORD)
        self.as_root, self.as_alice, self.as_eve = map(signed_in, (self.root, self.alice, self.eve))


def every_page(simulator: Simulator) -> Iterator[Page]:
    """Needs an empty database. A page that cannot be had is an AssertionError."""
    yield "setup", get(Client(), set_up_path())
    yield "setup, without the link", get(Client(), "/setup/", 403)
    cast = Cast()
    Heartbeat.objects.update(tick_at=timezone.now())
    yield from pages_of_newcomers(cast)
    yield from pages_of_files(cast)
    yield from pages_of_drafts(cast)
    yield from pages_of_running_jobs(cast)
    yield from pages_of_a_finished_job(cast)
    yield from pages_of_imports(cast, simulator)
    yield from pages_of_the_site(cast)
    yield from pages_of_the_help(cast)
    yield from pages_of_errors(cast)
    yield from pages_of_a_next_step(cast)


def get(client: Client, path: str, status: int = 200) -> bytes:
    answer = client.get(path)
    assert answer.status_code == status, f"{path}: {answer.status_code} {answer.headers}"
    return answer.content


def post(client: Client, path: str, status: int, **values: object) -> bytes:
    answer = client.post(path, values)
    assert answer.status_code == status, f"{path}: {answer.status_code}"
    return answer.content


def upload(client: Client, name: str, content: bytes) -> Job:
    post(client, "/jobs/new/", 302, file=SimpleUploadedFile(name, content))
    return drive_job(
        Job.objects.latest("pk"),
        until=lambda job: job.state in (Job.State.DRAFT, Job.State.UNREADABLE),
    )


def page_of(job: Job) -> str:
    return f"/jobs/{job.pk}/"


def csv_of(rows: list[tuple[str, str]]) -> bytes:
    return "".join(f'{key},"{text}"\n' for key, text in [("id", "review"), *rows]).encode()


# --- The pages ------------------------------------------------------------------------------------


def pages_of_newcomers(cast: Cast) -> Iterator[Page]:
    yield "login", get(Client(), "/login/")
    wrong = {"username": "alice", "password": "wrong"}
    yield "login, wrong password", Client().post("/login/", wrong).content
    stranger = Client(REMOTE_ADDR="192.0.2.1")
    *_, locked = (stranger.post("/login/", wrong).content for _ in range(10))
    yield "login, locked", locked
    yield "home, empty", get(cast.as_eve, "/")
    for name in EXAMPLES:
        yield f"example, {name}", get(cast.as_eve, f"/examples/{name}/")
    yield "new job", get(cast.as_root, "/jobs/new/")
    yield "new job, paste", get(cast.as_eve, "/jobs/new/?paste")
    yield "new job, refused", post(cast.as_eve, "/jobs/new/", 422)


def pages_of_files(cast: Cast) -> Iterator[Page]:
    reading = store_job(cast.alice, Job.State.READING)
    yield "reading", get(cast.as_alice, page_of(reading))
    broken = upload(cast.as_alice, "broken.jsonl", b'{"name": "Ada"}\nnever\n')
    yield "unreadable", get(cast.as_alice, page_of(broken))
    messy = upload(cast.as_alice, LONG_NAME, MESSY)
    yield "draft, with findings", get(cast.as_alice, page_of(messy))


def pages_of_drafts(cast: Cast) -> Iterator[Page]:
    draft = upload(cast.as_eve, LONG_NAME, csv_of(REVIEWS))
    yield "draft, first job", get(cast.as_eve, page_of(draft))
    post(cast.as_eve, "/tour/", 302, step="4")
    yield "draft, empty", get(cast.as_eve, page_of(draft))
    requests = [
        {
            "custom_id": f"mine-{number}",
            "params": {
                "model": "claude-haiku-5-5",
                "max_tokens": 40,
                "messages": [{"role": "user", "content": "Hello"}],
            },
        }
        for number in range(2)
    ]
    ready = upload(cast.as_eve, "r.jsonl", "\n".join(map(json.dumps, requests)).encode())
    yield "draft, ready-made requests", get(cast.as_eve, page_of(ready))
    change_job(draft, prompt=PROMPT)
    for text in (PROMPT, f"{PROMPT} One word."):
        change_job(draft, prompt=text)
        post(cast.as_eve, reverse("start_trials", args=[draft.pk]), 302, count="3", which="first")
        drive_job(draft, until=lambda job: not job.trials.pending().exists())
    draft.refresh_from_db()
    estimates.estimate_job(draft)
    yield "draft, full", get(cast.as_eve, page_of(draft))
    yield "tests", get(cast.as_eve, reverse("trials", args=[draft.pk]))
    draft.trials.filter(number=1).update(marked_down=True)
    yield "improve the prompt", get(cast.as_eve, reverse("improve", args=[draft.pk]))
    yield "compare", get(cast.as_eve, reverse("compare", args=[draft.pk]))
    versions = reverse("compare_versions", args=[draft.pk])
    yield "versions, none", get(cast.as_eve, versions)
    asked = "?rows=20&which=first&model=claude-haiku-5-5&model=claude-sonnet-5-5&prompt=1"
    yield "versions, priced", get(cast.as_eve, f"{versions}{asked}")
    yield "right answers, draft", get(cast.as_eve, reverse("accuracy", args=[draft.pk]))
    confirm = f"{page_of(draft)}confirm/"
    yield "confirm", get(cast.as_eve, confirm)
    wrong = {"first": "yes", "pilot_rows": "0", "pilot_rule": "on", "pilot_share": "120"}
    yield "confirm, pilot refused", post(cast.as_eve, confirm, 422, **wrong)
    yield "save as template", get(cast.as_eve, f"{page_of(draft)}save-as-template/")
    change_job(draft, prompt="Sum up {{Review text}}")
    yield "choose rows", get(cast.as_eve, f"{page_of(draft)}choose-rows/")
    yield "match columns", get(cast.as_eve, f"{page_of(draft)}columns/")


def pages_of_running_jobs(cast: Cast) -> Iterator[Page]:
    now, rows = timezone.now(), REVIEWS[:6]
    preparing = store_job(cast.alice, Job.State.SUBMITTING, rows=rows, practice=True)
    yield "job, preparing", get(cast.as_alice, page_of(preparing))
    working = store_job(cast.alice, Job.State.WORKING, rows=rows, practice=True)
    add_batch(working, 1, 3, Batch.State.COLLECTED, created_at=now)
    add_batch(working, 2, 3, Batch.State.IN_PROGRESS, created_at=now)
    yield "job, working", get(cast.as_alice, page_of(working))
    yield "stop", get(cast.as_alice, f"{page_of(working)}stop/")
    held = store_job(cast.alice, Job.State.SUBMITTING, rows=rows, practice=True)
    doubt = add_batch(held, 1, 3, Batch.State.UNKNOWN, asked_at=now, attempts=1, intent_at=now)
    Job.objects.filter(pk=held.pk).update(held=doubt.why_asked)
    add_batch(held, 2, 3, Batch.State.BLOCKED, refusal="Your credit balance is too low.")
    yield "job, action needed", get(cast.as_alice, page_of(held))
    yield "send again", get(cast.as_alice, f"{page_of(held)}batches/1/send-again/")
    yield "this is it", get(cast.as_alice, f"{page_of(held)}batches/1/this-is-it/")
    short = store_job(
        cast.alice, Job.State.WORKING, rows=rows, practice=True, held="Answers are missing."
    )
    tries = result_proof.TRIES
    add_batch(short, 1, 6, Batch.State.ENDED, collect_failures=tries, arrived=3, ended_at=now)
    yield "finish without", get(cast.as_alice, f"{page_of(short)}finish-without/")
    yield from pages_of_a_pilot(cast)
    stopping = store_job(cast.alice, Job.State.CANCELING, rows=rows, practice=True)
    yield "job, stopping", get(cast.as_alice, page_of(stopping))


def pages_of_a_pilot(cast: Cast) -> Iterator[Page]:
    cost = Decimal("0.07")
    result = PilotResult(4, 3, cost, 12, Decimal("0.18"), Decimal("0.25"))
    outcomes = [*[Outcome.GOOD] * 3, Outcome.ERRORED, *[Outcome.WAITING] * 12]
    job = store_job(
        cast.eve,
        Job.State.WORKING,
        rows=REVIEWS,
        outcomes=outcomes,
        practice=True,
        held=PILOT_IS_IN,
    )
    Pilot.objects.create(
        job=job, step=Pilot.Step.WAITING, rows=4, numbers=[1, 2, 3, 4], result=result
    )
    yield "job, pilot is in", get(cast.as_eve, page_of(job))
    right = ColumnAccuracy("", "name", "text", compared=3, correct=2)
    GoldStandard.objects.create(
        job=job,
        choice=GoldChoice((("", "name"),)),
        compared=Accuracy((right,), rows=3, different=1),
        compared_rows=job.rows_version,
        compared_choice=1,
    )
    yield "job, pilot with right answers", get(cast.as_eve, page_of(job))
    yield "right answers of a pilot", get(cast.as_eve, f"{page_of(job)}accuracy/")
    yield "end the pilot", get(cast.as_eve, f"{page_of(job)}pilot/change-prompt/")
    job.delete()


def pages_of_a_finished_job(cast: Cast) -> Iterator[Page]:
    job = upload(cast.as_alice, LONG_NAME, csv_of(REVIEWS))
    change_job(job, prompt=PROMPT, max_tokens=500)
    job.refresh_from_db()
    estimates.estimate_job(job)
    job.refresh_from_db()
    assert submissions.confirm(job, job.plan_sha256, cast.alice)
    job = drive_job(job)
    base = page_of(job)
    yield "job, finished", get(cast.as_alice, base)
    for tab in ("problems", "cost", "details"):
        yield f"job, {tab}", get(cast.as_alice, f"{base}?tab={tab}")
    yield "receipt", get(cast.as_alice, f"{base}receipt/")
    yield "rows", get(cast.as_alice, f"{base}rows/")
    yield "rows, none found", get(cast.as_alice, f"{base}rows/?q=quokka")
    yield "row", get(cast.as_alice, f"{base}rows/1/")
    yield "row, failed", get(cast.as_alice, f"{base}rows/4/")
    yield "edit row", get(cast.as_alice, f"{base}rows/3/edit/")
    yield "problems", get(cast.as_alice, f"{base}problems/")
    yield "change the prompt", get(cast.as_alice, f"{base}problems/refused/change-prompt/")
    yield "ignore rows", get(cast.as_alice, f"{base}problems/refused/ignore/")
    yield "edit rows", get(cast.as_alice, f"{base}problems/edits/?cause=refused")
    yield "retry", get(cast.as_alice, f"{base}problems/retry/?which=cut_off")
    asked = {"prompt": "Is this good? {{reviw}}", "model": "claude-haiku-5-5", "do": "test"}
    refused = post(cast.as_alice, f"{base}problems/refused/change-prompt/", 422, **asked)
    yield "change the prompt, refused", refused
    post(cast.as_alice, f"{base}rows/3/edit/", 302, cell=["3", "Boils fast."])
    yield "edited rows", get(cast.as_alice, f"{base}problems/edits/")
    yield "retry, edited rows", get(cast.as_alice, f"{base}problems/retry/?which=edited")
    yield "review, start", get(cast.as_alice, f"{base}review/")
    reviews.draw_sample(job, 10, cast.alice)
    yield "review, one", get(cast.as_alice, f"{base}review/")
    yield "review, list", get(cast.as_alice, f"{base}review/?list")
    for read in review_sample.load_sample(job):
        if read.row:
            fine, key = read.reading.position % 4 != 1, review_sample.answer_key(read.row)
            assert reviews.mark_answer(job, read.row.number, key, fine, "Too short.", cast.alice)
    yield "review, result", get(cast.as_alice, f"{base}review/")
    yield "all answers", get(cast.as_alice, f"{base}review/counts/")
    yield "delete", get(cast.as_alice, f"{base}delete/")
    yield from pages_of_right_answers(cast)
    good = store_job(cast.alice, rows=REVIEWS)
    yield "job, all good", get(cast.as_alice, page_of(good))
    yield "problems, none", get(cast.as_alice, f"{page_of(good)}problems/")
    yield "run again", get(cast.as_alice, f"/jobs/new/?like={job.pk}")


def pages_of_right_answers(cast: Cast) -> Iterator[Page]:
    moods = {"kind": "labels", "labels": ["good", "bad", "mixed"]}
    said = [["good", "bad", "mixed"][number % 3] for number in range(12)]
    rows = [[said[number - number % 2], f"Review {number}"] for number in range(12)]
    outcomes = [{"outcome": "good", "answer": label} for label in said]
    job = store_job(
        cast.alice, rows=rows, outcomes=outcomes, answer=moods, columns=("mood", "review")
    )
    base = f"{page_of(job)}accuracy/"
    yield "right answers, none", get(cast.as_alice, base)
    post(cast.as_alice, base, 302, gold="1")
    yield "right answers, waiting", get(cast.as_alice, base)
    drive_job(job, until=lambda job: job.gold.compared is not None)
    yield "right answers", get(cast.as_alice, base)
    yield "rows that differ", get(cast.as_alice, f"{base}differences/")
    yield "problems, different", get(cast.as_alice, f"{page_of(job)}problems/")
    yield "right answers by hand, start", get(cast.as_alice, f"{base}write/")
    post(cast.as_alice, f"{base}write/", 302, size="10")
    yield "right answers by hand", get(cast.as_alice, f"{base}write/")
    number = job.right_answers.earliest("position").number
    post(cast.as_alice, f"{base}write/", 302, number=number, right="good")
    yield "right answers by hand, both", get(cast.as_alice, f"{base}write/?saved={number}")
    job.delete()


def pages_of_a_next_step(cast: Cast) -> Iterator[Page]:
    outcomes = [{"outcome": "good", "answer": f"Answer {number}"} for number in range(11)]
    columns = ("answer", "review")  # the first is called like ours
    source = store_job(
        cast.alice, rows=REVIEWS[:12], outcomes=[*outcomes, "errored"], columns=columns
    )
    address = f"{page_of(source)}next/"
    yield "next step", get(cast.as_alice, address)
    yield "next step, some rows", get(cast.as_alice, f"{address}?outcome=attention")
    yield "next step, refused", post(cast.as_alice, address, 422, which="none", name="x" * 500)
    post(cast.as_alice, address, 302, which="good", name="Second step")
    job = drive_job(Job.objects.latest("pk"), until=lambda job: job.state == Job.State.DRAFT)
    yield "draft from another job", get(cast.as_alice, page_of(job))
    yield "job with a next step", get(cast.as_alice, page_of(source))
    job.delete()
    source.delete()


def pages_of_imports(cast: Cast, simulator: Simulator) -> Iterator[Page]:
    yield "import", get(cast.as_root, "/jobs/import/")
    external.ask()
    sweep.sweep()
    yield "import, listed", get(cast.as_root, "/jobs/import/")
    given = {"provider_id": "no id!"}
    yield "import, refused", cast.as_root.post("/jobs/import/", given).content


def pages_of_the_site(cast: Cast) -> Iterator[Page]:
    yield "home, full", get(cast.as_root, "/")
    yield "home, none found", get(cast.as_alice, "/?q=quokka")
    yield from pages_of_the_trash(cast)
    yield "templates, none", get(cast.as_root, "/templates/")
    templates.save_template(cast.alice, "Sentiment of reviews", Recipe(PROMPT), shared=True)
    yield "templates", get(cast.as_alice, "/templates/")
    template = cast.alice.template_set.get()
    other = Recipe(f"{PROMPT} Be strict.")
    templates.save_template(cast.alice, "Sentiment of reviews", other, shared=True)
    yield "template versions", get(cast.as_alice, f"/templates/{template.pk}/history/")
    yield "delete template", get(cast.as_alice, f"/templates/{template.pk}/delete/")
    yield "new job from a template", get(cast.as_alice, f"/jobs/new/?template={template.pk}")
    yield from pages_of_people(cast)
    yield "password", get(cast.as_alice, "/password/")
    yield from pages_of_notifications(cast)
    yield "spending", get(cast.as_root, "/spending/")
    values = {"most_a_job": 5, "most_a_person": 20, "most_a_month": 50, "approval_above": 3}
    SpendingCaps.objects.update(**values)
    yield "spending, own", get(cast.as_alice, "/spending/")
    yield "spending limits", get(cast.as_root, "/spending/limits/")
    refused = post(cast.as_root, "/spending/limits/", 422, most_a_job="-1")
    yield "spending limits, refused", refused
    SpendingCaps.objects.update(stopped_at=timezone.now() - timedelta(hours=1))
    yield "spending, stopped", get(cast.as_root, "/spending/")
    yield "spending limits, stopped", get(cast.as_root, "/spending/limits/")
    SpendingCaps.objects.update(stopped_at=None)
    yield "API key", get(cast.as_root, "/spending/key/")
    yield "API key, refused", post(cast.as_root, "/spending/key/", 422, api_key="sk")
    yield "retention", get(cast.as_root, "/retention/")
    yield "audit log", get(cast.as_root, "/audit/?days=1")
    yield "system", get(cast.as_root, "/system/")
    yield "prices", get(cast.as_root, "/spending/prices/")
    yield "prices, refused", post(cast.as_root, "/spending/prices/", 422, model_id="?")
    JournalState.objects.update(ahead=3, report="Batch 3 is visible at Anthropic again.")
    yield "restored", get(cast.as_root, "/restored/")
    JournalState.objects.update(ahead=0, report="")


def pages_of_people(cast: Cast) -> Iterator[Page]:
    teams.save_team(None, "Research", Decimal(20), [cast.alice, cast.eve], cast.root)
    token = invitations.invite(Role.MEMBER, [], "new@example.com", cast.root)
    yield "people", get(cast.as_root, "/people/")
    yield "people, refused", post(cast.as_root, "/people/", 200, role="king")
    yield "invitation, link", post(cast.as_root, "/people/", 200, role="member")
    yield "invitation", get(Client(), f"/invitation/{token}/")
    yield "invitation over", get(Client(), "/invitation/none/", 410)
    yield "person", get(cast.as_root, f"/people/{cast.eve.pk}/")
    yield "teams", get(cast.as_root, "/teams/")
    yield "team", get(cast.as_root, f"/teams/{Team.objects.get().pk}/")
    yield "team, key", get(cast.as_root, f"/teams/{Team.objects.get().pk}/key/")
    key = f"/teams/{Team.objects.get().pk}/key/"
    yield "team, key refused", post(cast.as_root, key, 422, api_key="sk")
    job = store_job(cast.alice, Job.State.DRAFT, name="Shared", team=Team.objects.get())
    yield "share a job", get(cast.as_alice, f"{page_of(job)}share/")
    yield "draft, to read", get(cast.as_eve, page_of(job))
    yield "forgotten password", get(Client(), "/account/password/forgotten/")
    yield "account", get(cast.as_eve, "/account/")
    yield "sessions", get(cast.as_eve, "/account/sessions/")
    yield "two-factor", get(cast.as_eve, "/account/two-factor/")
    yield "confirm with the password", get(cast.as_eve, "/account/confirm/")
    post(cast.as_eve, "/account/confirm/", 302, password=PASSWORD, next="/account/mail/")
    yield "mail address", get(cast.as_eve, "/account/mail/")
    yield "add an app", get(cast.as_eve, "/account/two-factor/app/")
    yield "add a passkey", get(cast.as_eve, "/account/passkeys/add/")


def pages_of_notifications(cast: Cast) -> Iterator[Page]:
    yield "notifications, none", get(cast.as_eve, "/notifications/")
    job = store_job(cast.alice, name=LONG_NAME)
    destinations.add(cast.alice, "apprise", f"ntfys://{LONG_NAME[:40]}.example.com/topic")
    outbox.tell_about_job("job_problems", job, Facts(rows=14, problems=2, cost="0.07"))
    outbox.tell("cap_80", [cast.alice], facts=Facts(cost="8", limit="10", whose="person"))
    Delivery.objects.update(state="failed", trouble="The receiver answered with status 500.")
    yield "notifications", get(cast.as_alice, "/notifications/")
    yield "notification settings", get(cast.as_root, "/account/notifications/")
    yield "notification settings, places", get(cast.as_alice, "/account/notifications/")
    yield "notification add", get(cast.as_alice, "/account/notifications/add/")
    values = {"channel": "webhook", "address": "http://127.0.0.1/", "events": "cap_80"}
    refused = cast.as_alice.post("/account/notifications/add/", values)
    yield "notification add, refused", refused.content
    values["address"] = "https://example.com/"
    added = cast.as_alice.post("/account/notifications/add/", values)
    yield "notification secret", added.content


def pages_of_the_trash(cast: Cast) -> Iterator[Page]:
    yield "trash, empty", get(cast.as_eve, "/trash/")
    for number in range(3):
        job = store_job(cast.alice, name=f"Reviews of week {number}")
        post(cast.as_alice, f"{page_of(job)}delete/", 302)
    yield "home, after a deletion", get(cast.as_alice, "/")
    post(cast.as_alice, f"{page_of(job)}delete/", 302, now="yes")
    yield "trash", get(cast.as_alice, "/trash/")
    in_trash = Job.objects.in_trash(cast.alice).first()
    assert in_trash
    yield "delete for good", get(cast.as_alice, f"{page_of(in_trash)}delete/")


def pages_of_the_help(cast: Cast) -> Iterator[Page]:
    yield "help", get(cast.as_root, "/help/")
    yield "help, search", get(cast.as_root, "/help/?q=limit")
    yield "help, nothing found", get(cast.as_root, "/help/?q=quokka")
    yield "help, files", get(cast.as_root, "/help/using/files/")
    yield "help, command line", get(cast.as_root, "/help/using/command-line/")
    yield "help, sign-in", get(Client(), "/help/sign-in/")


def pages_of_errors(cast: Cast) -> Iterator[Page]:
    yield "404", get(cast.as_alice, "/no/such/page/", 404)
    request = RequestFactory().get("/")
    request.user = cast.alice
    typed = RequestFactory().post(
        "/jobs/1/recipe/", {"prompt": PROMPT}, headers={"Sec-Fetch-Site": "same-origin"}
    )
    typed.user = cast.alice
    shown: dict[str, HttpResponse] = {
        "400": errors.bad_request(request, ValueError()),
        "403": errors.forbidden(request, PermissionError()),
        "404, without a session": errors.not_found(RequestFactory().get("/"), Http404()),
        "CSRF": errors.csrf_failure(request),
        "CSRF, typed": errors.csrf_failure(typed),
        "500": errors.server_error(request),
    }
    for name, answer in shown.items():
        yield name, answer.content
    for name in ("busy", "crowded", "disk", "full", "too_large", "too_slow", "uploads", "version"):
        yield name, render_to_string(f"errors/{name}.html").encode()
