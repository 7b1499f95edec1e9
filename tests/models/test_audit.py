"""The audit log can be added to, and shows whether anything in it was changed."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction

from jobs.models import AuditEntry, AuditHead, audit

pytestmark = pytest.mark.django_db


def write(count: int) -> None:
    for number in range(count):
        audit.record("signed_in", target=f"person {number}", after={"rows": number})


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def test_an_entry_says_who_did_what_from_where(alice: User) -> None:
    with audit.acting_from("192.0.2.7"):
        audit.record_change(
            "limits_changed",
            {"a_job": "5", "a_month": None},
            {"a_job": "7", "a_month": None},
            who=alice,
        )
        audit.record_change("limits_changed", {"a_job": "7"}, {"a_job": "7"}, who=alice)
    entry = AuditEntry.objects.get()
    assert (entry.number, entry.event, entry.who) == (1, "limits_changed", alice.pk)
    assert (entry.origin, entry.job, entry.target) == ("192.0.2.7", None, "")
    assert (entry.detail.before, entry.detail.after) == ({"a_job": "5"}, {"a_job": "7"})
    assert audit.verify() == ""


def test_an_entry_happens_with_its_change_or_not_at_all() -> None:
    write(1)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        audit.record("signed_in")
        _ = 1 / 0
    write(1)
    assert list(AuditEntry.objects.values_list("number", flat=True)) == [1, 2]
    assert audit.verify() == ""


def test_entries_are_only_added() -> None:
    write(1)
    entry = AuditEntry.objects.get()
    entry.event = "other"
    for change in (
        entry.save,
        entry.delete,
        AuditEntry.objects.all().delete,
        lambda: AuditEntry.objects.update(event="other"),
        lambda: AuditEntry.objects.bulk_update([entry], ["event"]),
    ):
        with pytest.raises(TypeError, match="append-only"):
            change()


@pytest.mark.parametrize(
    ("sql", "fault"),
    [
        ("UPDATE jobs_auditentry SET who = 9 WHERE number = 2", "Entry 2, of "),
        ("UPDATE jobs_auditentry SET origin = 'x' WHERE number = 3", "Entry 3, of "),
        ("UPDATE jobs_auditentry SET at = '2020-01-01 00:00:00' WHERE number = 1", "Entry 1, of "),
        ("UPDATE jobs_auditentry SET detail = '{}' WHERE number = 2", "Entry 2, of "),
        ("UPDATE jobs_auditentry SET entry_hash = before_hash WHERE number = 3", "Entry 3, of "),
        ("DELETE FROM jobs_auditentry WHERE number = 1", "Entry 1 is missing."),
        ("DELETE FROM jobs_auditentry WHERE number = 2", "Entry 2 is missing."),
        ("DELETE FROM jobs_auditentry WHERE number = 3", "Entry 3 is missing."),
        ("DELETE FROM jobs_auditentry", "Entry 1 is missing."),
        ("UPDATE jobs_audithead SET number = 2", "Entry 2, of "),
    ],
)
def test_a_change_is_found(sql: str, fault: str) -> None:
    write(3)
    assert audit.verify() == ""
    execute(sql)
    assert audit.verify().startswith(fault)


def test_what_was_added_by_hand_is_found() -> None:
    write(2)
    head = AuditHead.get()
    write(1)
    AuditHead.row().update(number=head.number, entry_hash=head.entry_hash)
    assert audit.verify() == "Entry 3 was not written by this site."


def test_what_was_renumbered_is_found() -> None:
    write(3)
    execute("DELETE FROM jobs_auditentry WHERE number = 2")
    execute("UPDATE jobs_auditentry SET number = 2 WHERE number = 3")
    AuditHead.row().update(number=2)
    assert audit.verify().startswith("Entry 2, of ")
