"""All migrations up to 0067 in one step, for a new database. A database that already has some of
them applies the others one by one."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import migrations, models
from django.db.models import F, Q
from django.utils import timezone

PERSON = settings.AUTH_USER_MODEL
# Each has one row.
ONE_ROW_MODELS = (
    "Installation",
    "Heartbeat",
    "Sending",
    "SpendingCaps",
    "ModelCatalog",
    "ExternalBatchList",
    "JournalState",
    "AuditHead",
    "AuditCheck",
    "Retention",
    "LastBackup",
    "CopyState",
)


def finish(apps: Any, editor: Any) -> None:
    """Django would make foreign keys and indexes after this transaction, and then note that the
    migration is applied. In between, a kill would leave tables that no start can make again."""
    for statement in editor.deferred_sql:
        editor.execute(statement, params=None)
    editor.deferred_sql.clear()
    for name in ONE_ROW_MODELS:
        apps.get_model("jobs", name).objects.create(pk=1)


class CreateModels(migrations.SeparateDatabaseAndState):
    """Create all tables, in any order. Each CreateModel rebuilds the classes of all related models,
    which takes most of the time of a migration. Here they are built once."""

    def __init__(self, tables: list[migrations.CreateModel]) -> None:
        super().__init__(state_operations=tables)

    def state_forwards(self, app_label: str, state: Any) -> None:
        state.__dict__.pop("apps", None)  # the classes, which are built when they are asked for
        super().state_forwards(app_label, state)

    def database_forwards(self, *arguments: Any) -> None:
        for operation in self.state_operations:
            operation.database_forwards(*arguments)

    def database_backwards(self, *arguments: Any) -> None:
        for operation in self.state_operations:
            operation.database_backwards(*arguments)


def _table(name: str, options: dict[str, Any] | None = None, /, **fields: Any) -> Any:
    pk: Any = models.BigAutoField(
        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
    )
    return migrations.CreateModel(name, [("id", pk), *fields.items()], options)


def _text(most: int = 0) -> Any:
    return models.CharField(default="", max_length=most) if most else models.TextField(default="")


def _choice(most: int, choices: dict[str, str], **options: Any) -> Any:
    return models.CharField(max_length=most, choices=choices, **options)


def _count() -> Any:
    return models.IntegerField(default=0)


def _flag() -> Any:
    return models.BooleanField(default=False)


def _json(empty: type) -> Any:
    return models.JSONField(default=empty)


def _time() -> Any:
    return models.DateTimeField(null=True)


def _now() -> Any:
    return models.DateTimeField(default=timezone.now)


def _part(model: str, related_name: str | None, **options: Any) -> Any:
    """It goes with what it is part of."""
    return models.ForeignKey(model, models.CASCADE, related_name=related_name, **options)


def _only(model: str, related_name: str | None) -> Any:
    return models.OneToOneField(model, models.CASCADE, related_name=related_name)


def _link(model: str, related_name: str = "+") -> Any:
    return models.ForeignKey(model, models.SET_NULL, null=True, related_name=related_name)


def _once(name: str, *fields: str, condition: Q | None = None) -> models.UniqueConstraint:
    return models.UniqueConstraint(name=name, fields=fields, condition=condition)


def _index(name: str, *fields: str, condition: Q | None = None) -> models.Index:
    return models.Index(name=name, fields=fields, condition=condition)


def _result() -> dict[str, Any]:
    """What is stored of an answer."""
    return {
        "outcome": _choice(
            8,
            {
                "waiting": "Waiting",
                "good": "Good",
                "look": "Check this",
                "errored": "Failed",
                "expired": "Not reached in 24 hours",
                "canceled": "Stopped by you",
                "left_out": "Skipped",
            },
            default="waiting",
        ),
        "cause": _text(60),
        "answer": _text(),
        "message": _text(),
        "request_id": _text(100),
        "answered_by": _text(100),
        "stop_reason": _text(60),
        "input_tokens": _count(),
        "cache_write_tokens": _count(),
        "cache_read_tokens": _count(),
        "output_tokens": _count(),
        "thinking_tokens": _count(),
        "cost_pico": models.BigIntegerField(default=0),
    }


TABLES = [
    _table(
        "Alarm",
        {
            "ordering": ["-opened_at", "-pk"],
            "constraints": [
                _once("alarm_is_open_once", "kind", "subject", condition=Q(solved_at=None))
            ],
        },
        kind=models.CharField(max_length=30),
        subject=_text(200),
        text=models.TextField(),
        opened_at=_now(),
        solved_at=_time(),
    ),
    _table(
        "AskedRecipe",
        {"constraints": [_once("asked_recipe_once_a_round", "job", "round")]},
        job=_part("jobs.job", "asked_recipes"),
        round=models.IntegerField(),
        key=models.CharField(max_length=16, db_index=True),
    ),
    _table(
        "Attempt",
        {
            "ordering": ["number", "attempt"],
            "constraints": [_once("attempt_once_a_row", "job", "number", "attempt")],
        },
        **_result(),
        job=_part("jobs.job", "+", db_index=False),
        number=models.IntegerField(),
        attempt=models.IntegerField(),
        source=_text(),
        batch=_link("jobs.batch"),
        problem=models.TextField(),
    ),
    _table(
        "AuditCheck",
        number=models.BigIntegerField(default=0),
        entry_hash=_text(64),
        due_at=_now(),
        checked_at=_time(),
        checked=models.BigIntegerField(default=0),
        fault=_text(200),
    ),
    _table(
        "AuditEntry",
        {"ordering": ["number"]},
        number=models.BigIntegerField(unique=True),
        at=models.DateTimeField(),
        event=models.CharField(max_length=40, db_index=True),
        who=models.BigIntegerField(null=True, db_index=True),
        origin=models.CharField(max_length=45),
        job=models.BigIntegerField(null=True, db_index=True),
        target=models.CharField(max_length=200),
        detail=_json(dict),
        before_hash=models.CharField(max_length=64),
        entry_hash=models.CharField(max_length=64),
    ),
    _table(
        "AuditHead",
        number=models.BigIntegerField(default=0),
        entry_hash=_text(64),
    ),
    _table(
        "Batch",
        {
            "ordering": ["job", "number"],
            "indexes": [_index("batch_due", "state", "next_action_at")],
            "constraints": [
                _once("batch_once_a_job", "job", "number"),
                _once(
                    "unsettled_sizes_differ",
                    "size",
                    "practice",
                    "workspace",
                    condition=Q(state__in=["submitting", "unknown"]),
                ),
                models.CheckConstraint(
                    name="sent_batch_has_its_id",
                    condition=~Q(state__in=["in_progress", "ended", "collected"])
                    | Q(provider_id__isnull=False),
                ),
                models.CheckConstraint(
                    name="external_batch_is_never_sent",
                    condition=~Q(
                        is_external=True,
                        state__in=["planning", "planned", "submitting", "unknown", "blocked"],
                    ),
                ),
            ],
        },
        job=_part("jobs.job", "batches"),
        number=models.IntegerField(),
        round=models.IntegerField(default=1),
        size=models.IntegerField(),
        nonce=models.CharField(max_length=12, unique=True),
        state=_choice(
            12,
            {
                "restoring": "Being restored",
                "planning": "Being prepared",
                "planned": "Ready to send",
                "submitting": "Sending",
                "unknown": "Checking whether it arrived",
                "blocked": "Refused",
                "in_progress": "Being processed",
                "ended": "Fetching the answers",
                "collected": "Done",
                "canceled": "Stopped before it was sent",
                "lost": "Lost at the provider",
            },
            default="planned",
        ),
        body_sha256=models.CharField(max_length=64),
        body_bytes=models.BigIntegerField(),
        practice=_flag(),
        is_external=_flag(),
        attempts=_count(),
        intent_at=_time(),
        deadline_at=_time(),
        baseline_ids=models.JSONField(null=True),
        baseline_at=_time(),
        empty_looks=_count(),
        key=models.CharField(max_length=16, default="", db_default=""),
        workspace=models.CharField(max_length=100, default="", db_default=""),
        absence=models.JSONField(null=True),
        next_action_at=_time(),
        refusal=_text(),
        recovered=_flag(),
        asked_at=_time(),
        suggested_id=_text(100),
        late_until=_time(),
        given_up=models.IntegerField(default=0, db_default=0),
        most_pico=models.BigIntegerField(default=0, db_default=0),
        provider_id=models.CharField(max_length=100, unique=True, null=True),
        created_at=_time(),
        expires_at=_time(),
        ended_at=_time(),
        cancel_sent_at=_time(),
        counts=_json(dict),
        results_sha256=_text(64),
        results_bytes=models.BigIntegerField(default=0),
        results_checked_at=_time(),
        damaged_at=_time(),
        damage=_text(),
        removed_at=_time(),
        deleted_at=_time(),
        deletion_id=_text(100),
        deletion_failures=models.IntegerField(default=0, db_default=0),
        delete_after=_time(),
        missing_since=_time(),
        collect_failures=_count(),
        doubt=_text(40),
        doubts=_count(),
        given_up_at=_time(),
        arrived=_count(),
        warnings_given=models.SmallIntegerField(default=0),
        collected_at=_time(),
        cost_pico=models.BigIntegerField(default=0),
    ),
    _table(
        "CopyState",
        find_at=_now(),
        next_at=_now(),
        failures=_count(),
        failing_since=_time(),
        trouble=_text(),
    ),
    _table(
        "CorrectedUpload",
        job=_only("jobs.job", "+"),
        name=models.CharField(max_length=255),
        file=models.CharField(max_length=64),
        sha256=_text(64),
        found=models.JSONField(null=True),
    ),
    _table(
        "Delivery",
        {
            "indexes": [_index("delivery_open", "due_at", condition=Q(done_at=None))],
            "constraints": [
                _once(
                    "delivered_once_to_a_destination",
                    "notification",
                    "destination",
                    condition=Q(destination__isnull=False),
                ),
                _once(
                    "mailed_once_to_a_person",
                    "notification",
                    condition=Q(destination=None, notification__isnull=False),
                ),
            ],
        },
        notification=_part("jobs.notification", "deliveries", null=True),
        destination=_part("jobs.destination", "deliveries", null=True),
        channel=_choice(7, {"mail": "Mail", "webhook": "Webhook", "apprise": "Chat"}),
        sealed=_text(),
        state=_choice(
            7,
            {
                "waiting": "Waiting",
                "sending": "Sending",
                "sent": "Sent",
                "unclear": "May have been sent",
                "failed": "Not sent",
                "dropped": "No longer needed",
            },
            default="waiting",
        ),
        made_at=models.DateTimeField(),
        due_at=models.DateTimeField(),
        attempts=_count(),
        claimed_at=_time(),
        claimed_by=_text(120),
        done_at=_time(),
        trouble=_text(300),
    ),
    _table(
        "Destination",
        {"ordering": ["pk"]},
        person=_part(PERSON, "destinations"),
        channel=_choice(7, {"mail": "Mail", "webhook": "Webhook", "apprise": "Chat"}),
        label=models.CharField(max_length=200),
        sealed=models.TextField(),
        wanted=_json(dict),
        made_at=_now(),
    ),
    _table(
        "Difference",
        {"constraints": [_once("difference_once_a_row", "job", "number")]},
        job=_part("jobs.job", "+", db_index=False),
        number=models.IntegerField(),
    ),
    _table(
        "DisownedBatch",
        {
            "ordering": ["pk"],
            "constraints": [_once("disowned_once_a_batch", "batch", "provider_id")],
        },
        batch=_part("jobs.batch", "disowned"),
        provider_id=models.CharField(max_length=100),
        looks=_count(),
        next_look_at=models.DateTimeField(),
    ),
    _table(
        "Edit",
        {"ordering": ["number"], "constraints": [_once("edit_once_a_row", "job", "number")]},
        job=_part("jobs.job", "edits", db_index=False),
        number=models.IntegerField(),
        source=models.TextField(),
    ),
    _table(
        "Export",
        {"ordering": ["pk"], "constraints": [_once("export_once_a_job", "job", "kind", "only")]},
        job=_part("jobs.job", "exports"),
        kind=models.CharField(max_length=8),
        only=models.CharField(max_length=12, default="all"),
        written=models.PositiveIntegerField(default=0),
        trouble=_text(),
    ),
    _table(
        "ExternalBatchList",
        entries=_json(list),
        listed_at=_time(),
        key=_text(16),
        asked_at=_time(),
        trouble=_text(),
    ),
    _table(
        "FileProblem",
        {"ordering": ["pk"]},
        job=_part("jobs.job", "problems"),
        kind=_text(20),
        count=models.IntegerField(default=1),
        lines=_json(list),
        texts=_json(list),
        leaves_out=_flag(),
        fix=_text(200),
        options=_json(list),
    ),
    _table(
        "Follower",
        {"constraints": [_once("follows_a_job_once", "job", "person")]},
        job=_part("jobs.job", "followers"),
        person=_part(PERSON, "+"),
    ),
    _table(
        "GoldStandard",
        job=_only("jobs.job", "gold"),
        choice=_json(dict),
        version=models.IntegerField(default=1),
        compared=models.JSONField(null=True),
        compared_rows=models.IntegerField(default=-1),
        compared_choice=_count(),
        compared_at=_time(),
    ),
    _table(
        "Heartbeat",
        tick_at=_time(),
        next_poll_at=_now(),
        provider_trouble=_text(),
        provider_away_since=_time(),
        provider_errors=models.BigIntegerField(default=0, db_default=0),
        site_trouble=_text(),
    ),
    _table(
        "Installation",
        set_up_at=_time(),
        set_up_token=_text(64),
        version=models.CharField(max_length=20, default="", db_default=""),
    ),
    _table(
        "Invitation",
        token_hash=models.CharField(max_length=64, unique=True),
        role=_choice(
            13,
            {
                "member": "Member",
                "approver": "Approver",
                "administrator": "Administrator",
                "auditor": "Auditor",
            },
            default="member",
        ),
        mail=models.EmailField(max_length=254, default=""),
        made_by=_link(PERSON),
        made_at=_now(),
        expires_at=models.DateTimeField(),
        used_at=_time(),
        withdrawn_at=_time(),
        teams=models.ManyToManyField("jobs.team", related_name="+"),
    ),
    _table(
        "Job",
        {
            "indexes": [
                _index("job_due", "next_action_at"),
                _index("job_newest", "owner", "-created_at"),
                _index("job_newest_of_all", "-created_at", "-id"),
                _index("job_leased", "lease_until", condition=Q(lease_until__isnull=False)),
                _index("job_stale", "state", condition=Q(rows_version__gt=F("tally_version"))),
            ],
            "constraints": [
                models.CheckConstraint(
                    name="external_job_is_no_draft", condition=~Q(is_external=True, state="draft")
                ),
                models.CheckConstraint(
                    name="job_at_work_is_not_in_trash",
                    condition=~Q(
                        state__in=["submitting", "working", "canceling"], trashed_at__isnull=False
                    ),
                ),
                _once("one_reading_a_person", "owner", condition=Q(is_being_read=True)),
            ],
        },
        row_choice=models.JSONField(default=dict, db_default={}),
        owner=models.ForeignKey(PERSON, models.PROTECT),
        team=_link("jobs.team", "jobs"),
        team_access=_choice(4, {"read": "Read", "work": "Work on"}, default="read"),
        key_team=models.IntegerField(null=True),
        name=models.CharField(max_length=200),
        state=_choice(
            12,
            {
                "reading": "Reading the file",
                "unreadable": "Could not be read",
                "draft": "Draft",
                "submitting": "Sending",
                "working": "Working",
                "canceling": "Stopping",
                "finished": "Finished",
                "deleting": "Deleting",
            },
            default="reading",
        ),
        held=models.TextField(default="", help_text="Why a person is needed, in their words."),
        created_at=_now(),
        confirmed_at=_time(),
        practice=_flag(),
        finished_at=_time(),
        archived_at=_time(),
        trashed_at=_time(),
        rows_changed=_count(),
        edits_version=_count(),
        edits_measured=_json(dict),
        rows_version=models.IntegerField(default=0, db_default=0),
        tally_version=models.IntegerField(default=0, db_default=0),
        is_external=_flag(),
        ids_are=_text(220),
        ids_may_be=_json(list),
        retention_days=models.IntegerField(null=True),
        retention_changed_at=_time(),
        deletes_batches=models.BooleanField(null=True),
        contents_deleted_at=_time(),
        contents_are_gone=models.BooleanField(default=False, db_default=False),
        upload_name=models.CharField(max_length=255),
        upload_file=models.CharField(max_length=64),
        upload_bytes=models.BigIntegerField(),
        upload_sha256=_text(64),
        read_bytes=models.BigIntegerField(default=0),
        stored_bytes=models.BigIntegerField(default=0, db_default=0),
        is_being_read=models.BooleanField(default=False, db_default=False),
        read_at=_time(),
        kind=_choice(10, {"table": "Table", "requests": "Ready-made requests"}, default="table"),
        columns=_json(list),
        row_count=_count(),
        skipped_count=_count(),
        choices=_json(dict),
        corrections=_json(list),
        readings=_count(),
        reading=_json(dict),
        recipe=_json(dict),
        private_columns=_json(list),
        answer_columns=_json(list),
        deduplicated=_flag(),
        template=_link("jobs.template"),
        previous=_link("jobs.job"),
        estimate=models.JSONField(null=True),
        plan_sha256=_text(64),
        spent_pico=models.BigIntegerField(default=0),
        reserved_pico=models.BigIntegerField(default=0),
        approval_plan=_text(64),
        approval_again=models.JSONField(null=True),
        approval_asked_at=_time(),
        approval_asked_by=_link(PERSON),
        approval_by=_link(PERSON),
        approved_by=_link(PERSON),
        changed_by=_link(PERSON),
        tally=_json(dict),
        answers=models.JSONField(null=True),
        drawn_from=_count(),
        drawn_early=_flag(),
        next_action_at=models.DateTimeField(null=True, default=timezone.now),
        lease_until=_time(),
        lease_owner=_text(120),
        failures_in_a_row=_count(),
    ),
    _table(
        "JobEvent",
        {"ordering": ["pk"]},
        job=_part("jobs.job", "events"),
        at=_now(),
        text=models.TextField(),
        who=_link(PERSON, None),
    ),
    _table(
        "JobSource",
        job=_only("jobs.job", "origin"),
        source=_link("jobs.job", "next_steps"),
        wanted=_json(dict),
        sha256=_text(64),
        seen_changed=_count(),
        seen_finished_at=_time(),
        differs_since=_time(),
        differing_rows=_count(),
    ),
    _table(
        "JournalState",
        checked=models.BigIntegerField(default=0),
        ahead=_count(),
        asked_at=_time(),
        report=_text(),
    ),
    _table(
        "LastBackup",
        made_at=_time(),
        folder=_text(),
        troubles=_count(),
    ),
    _table(
        "LateBatch",
        {"ordering": ["pk"]},
        batch=_part("jobs.batch", "late_ones"),
        provider_id=models.CharField(max_length=100, unique=True),
        size=models.IntegerField(),
        created_at=models.DateTimeField(),
        found_at=models.DateTimeField(),
        cancel_sent_at=_time(),
        ended_at=_time(),
        finished=_count(),
        cost_pico=models.BigIntegerField(default=0),
    ),
    _table(
        "Membership",
        {"constraints": [_once("once_in_a_team", "team", "person")]},
        team=_part("jobs.team", "memberships"),
        person=_part(PERSON, "memberships"),
    ),
    _table(
        "ModelCatalog",
        entries=_json(list),
        listed_at=_time(),
        key=_text(16),
        due_at=_now(),
    ),
    _table(
        "Notification",
        {
            "ordering": ["-pk"],
            "indexes": [
                _index("notification_unread", "person", condition=Q(read_at=None)),
                _index("notification_newest", "person", "-id"),
            ],
            "constraints": [_once("told_once_by_key", "person", "key")],
        },
        uid=models.UUIDField(unique=True, default=uuid.uuid4),
        person=_part(PERSON, "notifications"),
        event=models.CharField(max_length=20),
        job=_part("jobs.job", "+", null=True),
        facts=_json(dict),
        key=models.CharField(max_length=120, null=True),
        made_at=models.DateTimeField(db_index=True),
        read_at=_time(),
    ),
    _table(
        "NotificationChoices",
        person=_only(PERSON, "+"),
        choices=_json(dict),
    ),
    _table(
        "PastSpending",
        owner=models.ForeignKey(PERSON, models.PROTECT),
        team=_link("jobs.team"),
        at=models.DateTimeField(),
        practice=models.BooleanField(),
        template=_text(100),
        models_used=_json(dict),
        spent_pico=models.BigIntegerField(),
        open_pico=models.BigIntegerField(default=0, db_default=0),
        open_until=_time(),
    ),
    _table(
        "Pilot",
        job=_only("jobs.job", "pilot"),
        step=_choice(
            8,
            {
                "drawing": "Choosing the rows",
                "sending": "At work",
                "waiting": "Waiting for a decision",
                "released": "The other rows are sent",
                "ended": "The other rows were not sent",
            },
            default="drawing",
        ),
        rows=models.IntegerField(),
        by=_text(),
        least_good=_count(),
        numbers=_json(list),
        result=models.JSONField(null=True),
        decided_at=_time(),
        decided_by=_link(PERSON),
        asks_again=_flag(),
    ),
    _table(
        "PriceOverride",
        {"ordering": ["model", "since", "pk"]},
        model=models.CharField(max_length=100),
        since=models.DateField(),
        input=models.DecimalField(max_digits=12, decimal_places=6),
        output=models.DecimalField(max_digits=12, decimal_places=6),
        cache_write_5m=models.DecimalField(max_digits=12, decimal_places=6),
        cache_write_1h=models.DecimalField(max_digits=12, decimal_places=6),
        cache_read=models.DecimalField(max_digits=12, decimal_places=6),
        entered_at=_now(),
        entered_by=_link(PERSON),
        withdrawn_at=_time(),
    ),
    _table(
        "Profile",
        person=_only(PERSON, "profile"),
        role=_choice(
            13,
            {
                "member": "Member",
                "approver": "Approver",
                "administrator": "Administrator",
                "auditor": "Auditor",
            },
            default="member",
        ),
        erased_at=_time(),
    ),
    _table(
        "Retention",
        days=models.IntegerField(null=True),
        changed_at=_time(),
        deletes_batches=_flag(),
    ),
    _table(
        "RightAnswer",
        {
            "ordering": ["position"],
            "constraints": [
                _once("right_answer_once_a_place", "job", "position"),
                _once("right_answer_once_a_row", "job", "number"),
            ],
        },
        job=_part("jobs.job", "right_answers"),
        position=models.IntegerField(),
        number=models.IntegerField(),
        values=_json(dict),
        written_at=_time(),
        written_by=_link(PERSON),
    ),
    _table(
        "RoleQuota",
        role=models.CharField(max_length=20, unique=True),
        most_bytes=models.BigIntegerField(null=True),
        most_rows=models.IntegerField(null=True),
    ),
    _table(
        "Round",
        {"ordering": ["number"], "constraints": [_once("round_once_a_job", "job", "number")]},
        job=_part("jobs.job", "rounds"),
        number=models.IntegerField(),
        recipe=_json(dict),
        what=models.CharField(max_length=200),
        rows=models.IntegerField(),
        bytes=models.BigIntegerField(),
        estimate=models.JSONField(),
        asked_by=_link(PERSON),
        asked_at=models.DateTimeField(),
        approved_by=_link(PERSON),
        spent_pico=models.BigIntegerField(default=0, db_default=0),
        step=_choice(
            8,
            {
                "taking": "Taking rows",
                "parting": "Rows are no longer copies of one that was changed",
                "ready": "Ready to send",
            },
            default="ready",
        ),
        which=_text(60),
        earlier=_json(list),
        asks_otherwise=_flag(),
        done_to=_count(),
        taken=_count(),
        contents=_json(dict),
    ),
    _table(
        "Row",
        {
            "indexes": [
                _index("row_outcome", "job", "outcome", "cause", "number"),
                _index("row_cost", "job", "outcome", "cause", "cost_pico", "number"),
                _index("row_output", "job", "outcome", "cause", "output_tokens", "number"),
                _index(
                    "row_copies", "job", "same_as", "number", condition=Q(same_as__isnull=False)
                ),
                _index("row_request", "request_key", condition=Q(request_key__isnull=False)),
            ],
            "constraints": [_once("row_once_a_job", "job", "number")],
        },
        **_result(),
        job=_part("jobs.job", "rows", db_index=False),
        number=models.IntegerField(),
        line=models.IntegerField(),
        source=models.TextField(),
        size=models.IntegerField(),
        problem=_text(),
        batch=_link("jobs.batch", "rows"),
        attempts=_count(),
        round=models.IntegerField(default=1, db_default=1),
        same_as=models.IntegerField(null=True),
        earlier=models.IntegerField(null=True),
        earlier_job=models.BigIntegerField(null=True),
        request_key=models.BinaryField(max_length=16, null=True),
    ),
    _table(
        "RowChange",
        job=_only("jobs.job", "row_change"),
        kind=_choice(
            10,
            {
                "leave_out": "Leaving rows out",
                "edit": "Changing rows",
                "forget": "Taking changes back",
                "correct": "Taking corrected rows",
                "mark": "Marking copies of an answer",
            },
        ),
        cause=_text(60),
        how=_json(dict),
        rows=models.IntegerField(),
        done_to=_count(),
        done=_count(),
        asked_by=_link(PERSON),
    ),
    _table(
        "SampledAnswer",
        {
            "ordering": ["position"],
            "constraints": [
                _once("sampled_answer_once_a_place", "job", "position"),
                _once("sampled_answer_once_a_row", "job", "number"),
            ],
        },
        job=_part("jobs.job", "sample"),
        position=models.IntegerField(),
        number=models.IntegerField(),
        good=models.BooleanField(null=True),
        answer_key=_text(64),
        note=_text(),
        marked_at=_time(),
        marked_by=_link(PERSON),
    ),
    _table(
        "SearchIndex",
        job=_only("jobs.job", "search_index"),
        used_at=models.DateTimeField(),
        version=models.IntegerField(default=-1),
        seen_version=models.IntegerField(default=-1),
        due_at=models.DateTimeField(),
    ),
    _table(
        "SearchPart",
        {
            "ordering": ["first"],
            "constraints": [
                _once("search_part_once", "job", "first"),
                models.CheckConstraint(name="search_part_order", condition=Q(last__gte=F("first"))),
            ],
        },
        job=_part("jobs.job", "+", db_index=False),
        first=models.IntegerField(),
        last=models.IntegerField(),
        version=models.IntegerField(),
        digest=models.BinaryField(max_length=16),
        file=models.CharField(max_length=100),
    ),
    _table(
        "Sending",
        send_after=_now(),
        pause=_text(),
        pause_key=_text(16),
        pauses_in_a_row=_count(),
        crowded_at=_time(),
    ),
    _table(
        "SpendingCaps",
        most_a_job=models.DecimalField(null=True, max_digits=12, decimal_places=2),
        most_a_person=models.DecimalField(null=True, max_digits=12, decimal_places=2),
        most_a_month=models.DecimalField(null=True, max_digits=12, decimal_places=2),
        approval_above=models.DecimalField(null=True, max_digits=12, decimal_places=2),
        stopped_at=_time(),
    ),
    _table(
        "StoredCopy",
        {
            "ordering": ["pk"],
            "indexes": [_index("copy_due", "state", "due_at"), _index("copy_of_batch", "batch_pk")],
            "constraints": [_once("object_once", "place", "endpoint", "key")],
        },
        place=models.CharField(max_length=300),
        endpoint=_text(300),
        key=models.CharField(max_length=300),
        kind=_choice(
            10,
            {"results": "Results", "export": "Export", "backup": "Backup", "manifest": "Manifest"},
        ),
        path=models.TextField(),
        size=models.BigIntegerField(),
        sha256=models.CharField(max_length=64),
        batch_pk=models.BigIntegerField(null=True),
        backup=_text(30),
        state=_choice(
            10,
            {"waiting": "Waiting", "copied": "Copied", "deleting": "Deleting"},
            default="waiting",
        ),
        since=_now(),
        due_at=_now(),
        attempts=_count(),
        trouble=_text(),
        copied_at=_time(),
        etag=_text(200),
        claimed_by=_text(220),
        claimed_until=_time(),
    ),
    _table(
        "SubmissionEvent",
        at=_now(),
        job=_link("jobs.job", None),
        nonce=models.CharField(max_length=12),
        kind=models.CharField(max_length=20),
        provider_id=models.CharField(max_length=100, db_index=True, default=""),
        detail=_json(dict),
    ),
    _table(
        "Team",
        {"ordering": ["name"]},
        name=models.CharField(max_length=100, unique=True),
        most_a_month=models.DecimalField(null=True, max_digits=12, decimal_places=2),
        key_file=models.CharField(max_length=16, default="", db_default=""),
        people=models.ManyToManyField(PERSON, related_name="teams", through="jobs.Membership"),
    ),
    _table(
        "TeamSending",
        send_after=_now(),
        pause=_text(),
        pause_key=_text(16),
        pauses_in_a_row=_count(),
        crowded_at=_time(),
        team=_only("jobs.team", "sending"),
        trouble=_text(),
    ),
    _table(
        "Template",
        {"constraints": [_once("template_once_an_owner", "owner", "name")]},
        owner=models.ForeignKey(PERSON, models.PROTECT),
        name=models.CharField(max_length=100),
        shared=_flag(),
        team=_link("jobs.team"),
        team_access=_choice(4, {"read": "Read", "work": "Work on"}, default="read"),
        recipe=models.JSONField(),
        gold=_json(dict),
        changed_at=_now(),
    ),
    _table(
        "TemplateVersion",
        {
            "ordering": ["-number"],
            "constraints": [_once("version_once_a_template", "template", "number")],
        },
        template=_part("jobs.template", "versions"),
        number=models.IntegerField(),
        recipe=models.JSONField(),
        saved_at=_now(),
        saved_by=_link(PERSON),
        restored=_count(),
    ),
    _table(
        "Tour",
        user=_only(PERSON, None),
        step=models.PositiveSmallIntegerField(default=1),
    ),
    _table(
        "Trial",
        {
            "ordering": ["-round", "number"],
            "constraints": [_once("trial_once_a_round", "job", "round", "number")],
        },
        **_result(),
        job=_part("jobs.job", "trials"),
        round=models.IntegerField(),
        compared_from=models.IntegerField(default=0, db_default=0),
        purpose=_choice(
            6,
            {
                "row": "Test of a row",
                "prompt": "Request for a better prompt",
                "match": "Comparison of models and prompts",
            },
            default="row",
        ),
        number=models.IntegerField(),
        cells=models.JSONField(),
        params=models.TextField(),
        recipe=_json(dict),
        recipe_key=_text(16),
        model=models.CharField(max_length=100),
        practice=models.BooleanField(),
        answer_kind=_json(dict),
        asked_at=_now(),
        state=_choice(
            8,
            {
                "waiting": "Waiting",
                "sending": "Being answered",
                "answered": "Answered",
                "failed": "Not answered",
                "unknown": "Answer lost",
            },
            default="waiting",
        ),
        most_pico=models.BigIntegerField(default=0),
        marked_down=_flag(),
    ),
    _table(
        "WorkerProcess",
        {"ordering": ["pk"]},
        name=models.CharField(max_length=200, unique=True),
        machine=models.CharField(max_length=100),
        version=models.CharField(max_length=20),
        started_at=_now(),
        seen_at=_now(),
        died_at=_time(),
    ),
]


class Migration(migrations.Migration):
    initial = True
    replaces = [
        ("jobs", "0001_initial"),
        ("jobs", "0002_installation"),
        ("jobs", "0003_proven"),
        ("jobs", "0004_files"),
        ("jobs", "0005_corrections"),
        ("jobs", "0006_answer_kind"),
        ("jobs", "0007_tries"),
        ("jobs", "0008_recipe"),
        ("jobs", "0009_templates"),
        ("jobs", "0010_only_new"),
        ("jobs", "0011_limits"),
        ("jobs", "0012_own_prices"),
        ("jobs", "0013_what_tries_may_cost"),
        ("jobs", "0014_rounds"),
        ("jobs", "0015_exports"),
        ("jobs", "0016_review"),
        ("jobs", "0017_tables"),
        ("jobs", "0018_adopt"),
        ("jobs", "0019_resend"),
        ("jobs", "0020_rows_changed"),
        ("jobs", "0021_row_round"),
        ("jobs", "0022_rows_version"),
        ("jobs", "0023_storage"),
        ("jobs", "0024_checked_files"),
        ("jobs", "0025_answer_columns"),
        ("jobs", "0026_ledger"),
        ("jobs", "0027_disowned_batches"),
        ("jobs", "0028_absence"),
        ("jobs", "0029_many_rows"),
        ("jobs", "0030_planning"),
        ("jobs", "0031_marking"),
        ("jobs", "0032_results"),
        ("jobs", "0033_names"),
        ("jobs", "0034_skipped_count"),
        ("jobs", "0035_one_row_models"),
        ("jobs", "0036_deduplicated"),
        ("jobs", "0037_restoring_state"),
        ("jobs", "0038_job_recipe"),
        ("jobs", "0039_job_recipe_values"),
        ("jobs", "0040_job_recipe_only"),
        ("jobs", "0041_problem_count"),
        ("jobs", "0042_problem_options"),
        ("jobs", "0043_trial_purpose"),
        ("jobs", "0044_tour"),
        ("jobs", "0045_outcome_labels"),
        ("jobs", "0046_trash"),
        ("jobs", "0047_audit_log"),
        ("jobs", "0048_open_pages"),
        ("jobs", "0049_audit_check"),
        ("jobs", "0050_private_columns"),
        ("jobs", "0051_retention"),
        ("jobs", "0052_quotas"),
        ("jobs", "0053_people"),
        ("jobs", "0054_outbox"),
        ("jobs", "0055_site_health"),
        ("jobs", "0056_announced_retention"),
        ("jobs", "0057_copies"),
        ("jobs", "0058_team_keys"),
        ("jobs", "0059_right_answers"),
        ("jobs", "0060_row_choices"),
        ("jobs", "0061_pilots"),
        ("jobs", "0062_row_requests"),
        ("jobs", "0063_chains"),
        ("jobs", "0064_recent_jobs"),
        ("jobs", "0065_search_index"),
        ("jobs", "0066_count_anew"),
        ("jobs", "0067_words_and_progress"),
    ]
    # After the libraries that refer to people, too: each step of theirs builds the classes of all
    # tables that do, and ours take most of that time.
    dependencies = [
        migrations.swappable_dependency(PERSON),
        ("mfa", "0003_authenticator_type_uniq"),
        ("socialaccount", "0006_alter_socialaccount_extra_data"),
        ("usersessions", "0001_initial"),
    ]
    operations = [CreateModels(TABLES), migrations.RunPython(finish, migrations.RunPython.noop)]
