"""What people do is in the audit log, and who may read it there."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.management import CommandError, call_command
from django.db import connection
from django.http import HttpResponseNotAllowed
from django.test import Client, RequestFactory
from django.urls import URLPattern, get_resolver

from jobs.actions import approvals, drafts, submissions
from jobs.batches import leases
from jobs.drafts import estimates, improvements, templates
from jobs.models import (
    AuditCheck,
    AuditEntry,
    Job,
    PriceOverride,
    SpendingCaps,
    Template,
    audit,
)
from jobs.rules import audit_events
from jobs.rules.recipes import Recipe
from jobs.worker import audit_checks, deletion

from ..conftest import Simulator, store_job

MakeJob = Callable[..., Job]
# Each address that changes something: the events that it records, or why it records none.
DRAFTING = "It only changes a draft; what was submitted is recorded by its hash."
READING = "It only says how rows of a finished job are seen or edited; a retry is recorded."
ACCOUNTS = "It is recorded with the accounts."
POSTS: dict[str, tuple[str, ...] | str] = {
    "confirm": (
        "job_submitted",
        "approval_requested",
        "approval_given",
        "approval_withdrawn",
        "approval_declined",
    ),
    "retry": (
        "retry_submitted",
        "approval_requested",
        "approval_given",
        "approval_withdrawn",
        "approval_declined",
    ),
    "change_prompt": ("retry_submitted", "approval_requested", "approval_given", "rows_tested"),
    "stop": ("job_stopped",),
    "try_again": ("job_resumed",),
    "send_now": ("sending_resumed",),
    "finish_without": ("missing_answers_given_up",),
    "look_again": ("batch_looked_for",),
    "send_again": ("batch_sent_again",),
    "this_is_it": ("batch_identified",),
    "import_batch": ("batch_imported",),
    "delete": ("job_trashed", "job_deletion_requested"),
    "restore": ("job_restored",),
    "change_jobs": ("job_trashed", "job_restored", "job_deletion_requested"),
    "template_share": ("template_sharing_changed",),
    "template_delete": ("template_deleted",),
    "template_history": ("template_restored",),
    "next_step": ("rows_used",),
    "update_rows": ("rows_used",),
    "save_as_template": ("template_sharing_changed",),
    "spending_limits": ("limits_changed",),
    "spending_prices": ("price_entered", "price_withdrawn"),
    "spending_quotas": ("quotas_changed",),
    "spending_switch": ("spending_stopped", "spending_allowed"),
    "restored_look": ("recovery_requested",),
    "retention": ("retention_changed",),
    "job_retention": ("job_retention_changed",),
    "audit_check": "The check changes nothing.",
    "restored_seen": "It only hides a report.",
    "import_batch_look": "It only lists batches.",
    "tour": "It only hides a hint.",
    "archive": "It only changes what the list shows.",
    "rename": "Names are no part of the log.",
    "template_rename": "Names are no part of the log.",
    "new_job": DRAFTING,
    "new_sample_job": DRAFTING,
    "new_pasted_job": DRAFTING,
    "recipe": DRAFTING,
    "columns": DRAFTING,
    "reading": DRAFTING,
    "correct": DRAFTING,
    "replace": DRAFTING,
    "start_trials": ("rows_tested",),
    "use_trial": DRAFTING,
    "use_example": DRAFTING,
    "mark_trial": DRAFTING,
    "improve": ("better_prompt_requested", "rows_tested"),
    "take_advice": DRAFTING,
    "mark_private": DRAFTING,
    "reuse_answers": DRAFTING,
    "edits": READING,
    "upload_edits": READING,
    "change_rows": READING,
    "ignore_rows": READING,
    "edit_row": READING,
    "review": READING,
    "mark_answer": READING,
    "accuracy": "It only changes what answers are compared with.",
    "right_answers": "It only changes what answers are compared with.",
    "compare_versions": ("rows_tested",),
    "choose_rows": DRAFTING,
    "continue_job": ("rest_sent",),
    "end_pilot": ("pilot_ended",),
    "ids": READING,
    "setup": ACCOUNTS,
    "login": ACCOUNTS,
    "logout": ACCOUNTS,
    "password": ACCOUNTS,
    "people": ("person_invited",),
    "person_active": ("person_deactivated", "person_reactivated"),
    "erase_person": ("person_data_erased", "person_name_erased"),
    "person_password": ("reset_link_made",),
    "person_role": ("role_changed",),
    "person_two_factor": ("two_factor_reset",),
    "hand_over": ("jobs_handed_over",),
    "invitation": ("person_added",),
    "invitation_withdraw": ("invitation_withdrawn",),
    "new_team": ("team_created",),
    "team": ("team_changed", "team_deleted"),
    "share_job": ("job_shared",),
    "template_team": ("template_shared",),
    "api_key": ("api_key_changed",),
    "team_key": ("api_key_changed", "api_key_removed"),
    "notification_add": ("destination_added",),
    "notification_remove": ("destination_removed",),
    "notification_settings": "It only changes what a person is told.",
    "notification_test": "It only sends a test message.",
    "notifications_read": "It only marks what was read.",
    "follow": "It only changes what a person is told.",
}


def test_every_address_that_changes_something_says_what_it_records() -> None:
    """A new one has to be put into the list above."""
    patterns = get_resolver().url_patterns[0].url_patterns  # type: ignore[union-attr]  # it is there
    changing = set()
    for pattern in patterns:
        if not isinstance(pattern, URLPattern):
            continue
        if POSTS.get(pattern.name or "") == ACCOUNTS:
            changing.add(pattern.name)  # views of Django, which look at the person first
            continue
        request = RequestFactory().patch("/x/")
        request.user = AnonymousUser()
        request._dont_enforce_csrf_checks = True  # type: ignore[attr-defined]  # as Client does
        values = dict.fromkeys(pattern.pattern.converters, 1)
        answer = pattern.callback(request, **values)
        assert isinstance(answer, HttpResponseNotAllowed), pattern.name
        if "POST" in answer.headers["Allow"]:
            changing.add(pattern.name)
    assert changing == set(POSTS)
    recorded = {event for events in POSTS.values() if isinstance(events, tuple) for event in events}
    assert recorded <= set(audit_events.EVENTS), "the page has words for each"


# --- What is recorded -----------------------------------------------------------------------------


def recorded() -> list[str]:
    return list(AuditEntry.objects.order_by("number").values_list("event", flat=True))


def test_changes_of_the_site_are_recorded(client_root: Client, root: User) -> None:
    def post(path: str, **values: Any) -> None:
        assert client_root.post(path, values).status_code == 302, path

    post("/spending/limits/", most_a_job="5", most_a_month="50")
    post("/spending/limits/", most_a_job="5", most_a_month="50")  # nothing changed
    post("/spending/switch/", stop="yes")
    post("/spending/switch/", stop="no")
    post("/spending/switch/", stop="no")
    price = {"model_id": "claude-haiku-5-5", "since": "2026-01-01", "read": "1", "written": "2"}
    post("/spending/prices/", **price)
    post("/spending/prices/", withdraw=PriceOverride.objects.get().pk)
    templates.save_template(root, "Mine", Recipe("Say {{x}}"), shared=False)
    templates.save_template(root, "Mine", Recipe("Tell {{x}}"), shared=False)
    pk = Template.objects.get().pk
    post(f"/templates/{pk}/share/", shared="yes")
    post(f"/templates/{pk}/history/", version="1")
    post(f"/templates/{pk}/history/", version="1")  # nothing changed
    post(f"/templates/{pk}/delete/")
    assert b"".join(client_root.get("/spending/spending.csv"))
    assert recorded() == [
        "limits_changed",
        "spending_stopped",
        "spending_allowed",
        "price_entered",
        "price_withdrawn",
        "template_sharing_changed",
        "template_restored",
        "template_deleted",
        "spending_downloaded",
    ]
    first = AuditEntry.objects.get(number=1)
    assert (first.who, first.origin) == (root.pk, "127.0.0.1")
    assert first.detail.before == {"most_a_job": None, "most_a_month": None}
    assert first.detail.after == {"most_a_job": "5.00", "most_a_month": "50.00"}
    assert audit.verify() == ""


def test_a_job_is_recorded_from_the_approval_to_its_end(
    alice: User, root: User, client_alice: Client, client_root: Client, simulator: Simulator
) -> None:
    job = store_job(
        alice, Job.State.DRAFT, rows=[["Ada", "secret cell"]], prompt="Private words: {{text}}"
    )
    estimates.estimate_job(job)
    job.refresh_from_db()
    SpendingCaps.row().update(approval_above=0)
    page, plan = f"/jobs/{job.pk}/confirm/", job.plan_sha256
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jobs.spending.caps.needs_approval", lambda *_: True)
        for client, approval in (
            (client_alice, "ask"),
            (client_alice, "withdraw"),
            (client_alice, "ask"),
            (client_root, "withdraw"),
            (client_alice, "ask"),
            (client_root, "give"),
        ):
            client.post(page, {"plan_sha256": plan, "approval": approval})
        client_alice.post(page, {"plan_sha256": plan})
    submitted = AuditEntry.objects.get(event="job_submitted")
    assert submitted.detail.after["plan"] == plan and submitted.detail.after["rows"] == 1
    assert submitted.detail.after["approved_by"] == root.pk
    assert (submitted.job, submitted.who) == (job.pk, alice.pk)
    assert float(str(submitted.detail.after["most_usd"])) > 0
    client_alice.post(f"/jobs/{job.pk}/stop/")
    Job.objects.update(state=Job.State.FINISHED)
    client_alice.post(f"/jobs/{job.pk}/delete/")
    client_alice.post(f"/jobs/{job.pk}/restore/")
    client_root.post(f"/jobs/{job.pk}/delete/", {"now": "yes"})
    lease = leases.claim(job.pk)
    assert lease
    with audit.acting_from("worker"):
        deletion.delete_job(Job.objects.get(), lease)
    assert recorded() == [
        "approval_requested",
        "approval_withdrawn",
        "approval_requested",
        "approval_declined",
        "approval_requested",
        "approval_given",
        "job_submitted",
        "job_stopped",
        "job_trashed",
        "job_restored",
        "job_deletion_requested",
        "job_deleted",
    ]
    assert AuditEntry.objects.latest("number").origin == "worker"
    everything = str(list(AuditEntry.objects.values()))
    assert "secret" not in everything and "Private" not in everything, "no cell, no prompt"
    assert audit.verify() == ""


def test_who_took_which_file_is_recorded(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    job = make_job(alice, rows=[["Ada", "x"]])
    address = f"/jobs/{job.pk}/download/csv/"
    client_alice.head(address)
    client_alice.get(f"/jobs/{job.pk}/download/nonsense/")
    client_alice.get(address, {"only": "good"})
    entry = AuditEntry.objects.get()
    assert (entry.event, entry.who, entry.job) == ("file_downloaded", alice.pk, job.pk)
    assert entry.detail.after == {"file": "csv", "rows": "good"}


def test_a_test_of_rows_which_costs_money_is_recorded(
    alice: User, client_alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [["Ada", "secret cell"], ["Ben", "x"]]
    job = store_job(alice, Job.State.DRAFT, rows=rows, prompt="Private words: {{text}}")
    address = f"/jobs/{job.pk}/test/"
    with monkeypatch.context() as patch:

        def fail(*_args: object, **_values: object) -> None:
            raise RuntimeError

        patch.setattr(audit, "record", fail)
        with pytest.raises(RuntimeError):
            client_alice.post(address, {"count": "2", "which": "first"})
    assert not job.trials.exists(), "without a record nothing is sent"
    for _ in range(2):  # the second one is refused: the first is still running
        client_alice.post(address, {"count": "2", "which": "first"})
    (entry,) = AuditEntry.objects.all()
    assert (entry.event, entry.who, entry.job) == ("rows_tested", alice.pk, job.pk)
    most = sum(job.trials.values_list("most_pico", flat=True))
    assert entry.detail.after["tests"] == 2
    assert float(str(entry.detail.after["most_usd"])) == pytest.approx(most / 10**12)
    assert "secret" not in str(entry.detail) and "Private" not in str(entry.detail)
    trial = job.trials.first()
    assert trial
    monkeypatch.setattr(improvements, "plan_improvement", lambda *_: trial)
    job.trials.all().delete()
    trial.pk = None
    assert drafts.ask_for_better_prompt(job, [None], "", alice)  # type: ignore[list-item]  # unread
    assert recorded() == ["rows_tested", "better_prompt_requested"]


def test_an_action_from_the_command_line_says_so(
    make_job: MakeJob, alice: User, tmp_path: Any
) -> None:
    job = make_job(alice, Job.State.SUBMITTING, rows=[["Ada", "x"]])
    call_command("job", "export", str(job.pk), "--output", str(tmp_path / "x.csv"))
    call_command("job", "cancel", str(job.pk))
    found = AuditEntry.objects.order_by("number").values_list("event", "origin", "who")
    assert list(found) == [
        ("file_downloaded", "shell", alice.pk),
        ("job_stopped", "shell", alice.pk),
    ]


def test_a_change_that_fails_is_not_recorded(make_job: MakeJob, alice: User) -> None:
    job = make_job(alice, Job.State.FINISHED)
    assert not submissions.stop_job(job, alice)
    assert not approvals.withdraw_request(job, alice)
    assert not recorded()


# --- Reading it -----------------------------------------------------------------------------------


def rows_of(page: bytes) -> list[str]:
    return [part for part in page.decode().split("#")[1:] if part[:1].isdigit()]


def test_the_page_filters_and_turns_without_counting(client_root: Client, alice: User) -> None:
    for number in range(120):
        audit.record("limits_changed" if number % 2 else "job_stopped", who=alice, job=number)
    audit.record("signed_out_everywhere", target="person 7")
    page = client_root.get("/audit/")
    shown = [one.entry.number for one in page.context["entries"]]
    assert shown == list(range(121, 71, -1))
    assert "Signed out everywhere" in page.content.decode(), "also one that nobody has words for"
    older = client_root.get(f"/audit/{page.context['older']}")
    assert [one.entry.number for one in older.context["entries"]] == list(range(71, 21, -1))
    newer = client_root.get(f"/audit/{older.context['newer']}")
    assert [one.entry.number for one in newer.context["entries"]] == shown
    for query, count in (
        ({"event": "job_stopped", "job": "4"}, 1),
        ({"person": "ALICE"}, 50),
        ({"person": str(alice.pk), "days": "1", "job": "7"}, 1),
        ({"person": "nobody"}, 0),
        ({"job": "x", "days": "x", "before": "-1", "after": "x"}, 1),
    ):
        answer = client_root.get("/audit/", query)
        assert len(answer.context["entries"]) == count, query


def test_others_cannot_read_it(client_alice: Client) -> None:
    for path in ("/audit/", "/audit/audit-log.csv"):
        assert client_alice.get(path).status_code == 404
    assert client_alice.post("/audit/check/").status_code == 404
    assert "/audit/" not in client_alice.get("/").content.decode()


def test_the_csv_has_what_was_filtered_and_no_formula(client_root: Client, root: User) -> None:
    audit.record("batch_imported", who=root, job=3, target="=cmd()", after={"rows": 2})
    audit.record("job_stopped", job=4)
    answer = client_root.get("/audit/audit-log.csv", {"event": "batch_imported"})
    text = b"".join(answer).decode("utf-8-sig")
    names, line = csv.reader(io.StringIO(text))
    found = dict(zip(names, line, strict=True))
    assert (found["number"], found["event"], found["person"]) == ("1", "batch_imported", "root")
    assert (found["target"], found["after"]) == ("'=cmd()", "rows: 2")
    assert recorded()[-1] == "audit_log_downloaded"


def test_the_command_prints_and_checks_it(alice: User, capsys: pytest.CaptureFixture[str]) -> None:
    audit.record("job_stopped", who=alice, job=3)
    audit.record_change("limits_changed", {"most_a_job": None}, {"most_a_job": "5.00"})
    call_command("audit", "--json", "--job", "3", "--person", "alice", "--since", "2020-01-01")
    entry = AuditEntry.objects.get(number=1)
    assert json.loads(capsys.readouterr().out) == {
        "number": 1,
        "at": entry.at.isoformat(timespec="microseconds"),
        "event": "job_stopped",
        "who": alice.pk,
        "origin": "",
        "job": 3,
        "target": "",
        "before": {},
        "after": {},
        "hash": entry.entry_hash,
    }
    call_command("audit", "--event", "limits_changed")
    assert "Changed the limits  was limit per job: none" in capsys.readouterr().out
    call_command("audit", "--verify")
    last = AuditEntry.objects.get(number=2).entry_hash
    assert capsys.readouterr().out == f"2 entries, chain complete, last hash {last}\n"
    tamper()
    with pytest.raises(CommandError, match=r"Entry 2, of .*, is not as it was written"):
        call_command("audit", "--verify")


def tamper() -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE jobs_auditentry SET job = 9 WHERE number = 2")


def test_the_worker_checks_it_in_slices(
    client_root: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_checks, "SLICES", 1)
    monkeypatch.setattr(audit.check_slice, "__defaults__", (2,))
    for _ in range(5):
        audit.record("job_stopped")
    for looked_at in (2, 4, 0, 0):
        audit_checks.check_if_due()
        assert AuditCheck.get().number == looked_at
    state = AuditCheck.get()
    assert (state.checked, state.fault) == (5, "") and state.checked_at
    assert "All 5 entries are there and unchanged." in client_root.get("/audit/").content.decode()
    tamper()
    client_root.post("/audit/check/")
    audit_checks.check_if_due()
    page = client_root.get("/audit/").content.decode()
    assert "The log was changed outside of batchsite." in page and "Entry 2, of" in page


def test_amounts_are_shown_without_the_zeros_of_the_database() -> None:
    for stored, shown in (
        ("0.004032710000", "0.00403271"),
        ("5.000000", "5"),
        ("0.10", "0.10"),
        ("1.2.300", "1.2.300"),
    ):
        assert audit_events.value_in_words(stored) == shown
