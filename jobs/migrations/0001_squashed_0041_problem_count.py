"""All migrations so far in one step, for a new database. One of before goes through them."""

from __future__ import annotations

from typing import Any

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

ONE_ROW_MODELS = (
    "Installation",
    "Heartbeat",
    "Sending",
    "SpendingCaps",
    "ModelCatalog",
    "ExternalBatchList",
    "JournalState",
)


def make_rows(apps: Any, _editor: Any) -> None:
    for name in ONE_ROW_MODELS:
        apps.get_model("jobs", name).objects.create(pk=1)


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
    ]

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ExternalBatchList",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("entries", models.JSONField(default=list)),
                ("listed_at", models.DateTimeField(null=True)),
                ("key", models.CharField(default="", max_length=16)),
                ("asked_at", models.DateTimeField(null=True)),
                ("trouble", models.TextField(default="")),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="Heartbeat",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("tick_at", models.DateTimeField(null=True)),
                ("next_tick_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("next_poll_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("provider_trouble", models.TextField(default="")),
                ("site_trouble", models.TextField(default="")),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="Installation",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("set_up_at", models.DateTimeField(null=True)),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="JournalState",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("checked", models.BigIntegerField(default=0)),
                ("ahead", models.IntegerField(default=0)),
                ("asked_at", models.DateTimeField(null=True)),
                ("report", models.TextField(default="")),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="ModelCatalog",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("entries", models.JSONField(default=list)),
                ("listed_at", models.DateTimeField(null=True)),
                ("key", models.CharField(default="", max_length=16)),
                ("due_at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="Sending",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("send_after", models.DateTimeField(default=django.utils.timezone.now)),
                ("pause", models.TextField(default="")),
                ("pause_key", models.CharField(default="", max_length=16)),
                ("pauses_in_a_row", models.IntegerField(default=0)),
                ("crowded_at", models.DateTimeField(null=True)),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="SpendingCaps",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("most_a_job", models.DecimalField(decimal_places=2, max_digits=12, null=True)),
                ("most_a_person", models.DecimalField(decimal_places=2, max_digits=12, null=True)),
                ("most_a_month", models.DecimalField(decimal_places=2, max_digits=12, null=True)),
                ("approval_above", models.DecimalField(decimal_places=2, max_digits=12, null=True)),
                ("stopped_at", models.DateTimeField(null=True)),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="Job",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=200)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("reading", "Reading the file"),
                            ("unreadable", "Could not be read"),
                            ("draft", "Draft"),
                            ("submitting", "Sending"),
                            ("working", "Working"),
                            ("canceling", "Stopping"),
                            ("finished", "Finished"),
                            ("deleting", "Deleting"),
                        ],
                        default="reading",
                        max_length=12,
                    ),
                ),
                (
                    "held",
                    models.TextField(
                        default="", help_text="Why a person is needed, in their words."
                    ),
                ),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("confirmed_at", models.DateTimeField(null=True)),
                ("practice", models.BooleanField(default=False)),
                ("finished_at", models.DateTimeField(null=True)),
                ("rows_changed", models.IntegerField(default=0)),
                ("edits_version", models.IntegerField(default=0)),
                ("edits_measured", models.JSONField(default=dict)),
                ("rows_version", models.IntegerField(db_default=0, default=0)),
                ("tally_version", models.IntegerField(db_default=0, default=0)),
                ("is_external", models.BooleanField(default=False)),
                ("ids_are", models.CharField(default="", max_length=220)),
                ("ids_may_be", models.JSONField(default=list)),
                ("upload_name", models.CharField(max_length=255)),
                ("upload_file", models.CharField(max_length=64)),
                ("upload_bytes", models.BigIntegerField()),
                ("upload_sha256", models.CharField(default="", max_length=64)),
                ("read_bytes", models.BigIntegerField(default=0)),
                ("stored_bytes", models.BigIntegerField(db_default=0, default=0)),
                ("is_being_read", models.BooleanField(db_default=False, default=False)),
                ("read_at", models.DateTimeField(null=True)),
                (
                    "kind",
                    models.CharField(
                        choices=[("table", "Table"), ("requests", "Ready-made requests")],
                        default="table",
                        max_length=10,
                    ),
                ),
                ("columns", models.JSONField(default=list)),
                ("row_count", models.IntegerField(default=0)),
                ("skipped_count", models.IntegerField(default=0)),
                ("choices", models.JSONField(default=dict)),
                ("corrections", models.JSONField(default=list)),
                ("readings", models.IntegerField(default=0)),
                ("reading", models.JSONField(default=dict)),
                ("answer_columns", models.JSONField(default=list)),
                ("recipe", models.JSONField(default=dict)),
                ("deduplicated", models.BooleanField(default=False)),
                ("estimate", models.JSONField(null=True)),
                ("plan_sha256", models.CharField(default="", max_length=64)),
                ("spent_pico", models.BigIntegerField(default=0)),
                ("reserved_pico", models.BigIntegerField(default=0)),
                ("approval_plan", models.CharField(default="", max_length=64)),
                ("approval_again", models.JSONField(null=True)),
                ("approval_asked_at", models.DateTimeField(null=True)),
                ("tally", models.JSONField(default=dict)),
                ("answers", models.JSONField(null=True)),
                ("drawn_from", models.IntegerField(default=0)),
                ("drawn_early", models.BooleanField(default=False)),
                (
                    "next_action_at",
                    models.DateTimeField(default=django.utils.timezone.now, null=True),
                ),
                ("lease_until", models.DateTimeField(null=True)),
                ("lease_owner", models.CharField(default="", max_length=120)),
                ("failures_in_a_row", models.IntegerField(default=0)),
                (
                    "approval_asked_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "approval_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "approved_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "changed_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "previous",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="jobs.job",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="FileProblem",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("kind", models.CharField(default="", max_length=20)),
                ("count", models.IntegerField(default=1)),
                ("lines", models.JSONField(default=list)),
                ("texts", models.JSONField(default=list)),
                ("leaves_out", models.BooleanField(default=False)),
                ("fix", models.CharField(default="", max_length=200)),
                (
                    "job",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="problems",
                        to="jobs.job",
                    ),
                ),
            ],
            options={
                "ordering": ["pk"],
            },
        ),
        migrations.CreateModel(
            name="CorrectedUpload",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=255)),
                ("file", models.CharField(max_length=64)),
                ("sha256", models.CharField(default="", max_length=64)),
                ("found", models.JSONField(null=True)),
                (
                    "job",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="jobs.job"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Batch",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.IntegerField()),
                ("round", models.IntegerField(default=1)),
                ("size", models.IntegerField()),
                ("nonce", models.CharField(max_length=12, unique=True)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("restoring", "Being restored"),
                            ("planning", "Being prepared"),
                            ("planned", "Ready to send"),
                            ("submitting", "Sending"),
                            ("unknown", "Checking whether it arrived"),
                            ("blocked", "Refused"),
                            ("in_progress", "Being processed"),
                            ("ended", "Fetching the answers"),
                            ("collected", "Done"),
                            ("canceled", "Stopped before it was sent"),
                            ("lost", "Lost at the provider"),
                        ],
                        default="planned",
                        max_length=12,
                    ),
                ),
                ("body_sha256", models.CharField(max_length=64)),
                ("body_bytes", models.BigIntegerField()),
                ("practice", models.BooleanField(default=False)),
                ("is_external", models.BooleanField(default=False)),
                ("attempts", models.IntegerField(default=0)),
                ("intent_at", models.DateTimeField(null=True)),
                ("deadline_at", models.DateTimeField(null=True)),
                ("baseline_ids", models.JSONField(null=True)),
                ("baseline_at", models.DateTimeField(null=True)),
                ("empty_looks", models.IntegerField(default=0)),
                ("absence", models.JSONField(null=True)),
                ("next_action_at", models.DateTimeField(null=True)),
                ("refusal", models.TextField(default="")),
                ("recovered", models.BooleanField(default=False)),
                ("asked_at", models.DateTimeField(null=True)),
                ("suggested_id", models.CharField(default="", max_length=100)),
                ("late_until", models.DateTimeField(null=True)),
                ("given_up", models.IntegerField(db_default=0, default=0)),
                ("most_pico", models.BigIntegerField(db_default=0, default=0)),
                ("provider_id", models.CharField(max_length=100, null=True, unique=True)),
                ("created_at", models.DateTimeField(null=True)),
                ("expires_at", models.DateTimeField(null=True)),
                ("ended_at", models.DateTimeField(null=True)),
                ("cancel_sent_at", models.DateTimeField(null=True)),
                ("counts", models.JSONField(default=dict)),
                ("results_sha256", models.CharField(default="", max_length=64)),
                ("results_bytes", models.BigIntegerField(default=0)),
                ("results_checked_at", models.DateTimeField(null=True)),
                ("damaged_at", models.DateTimeField(null=True)),
                ("damage", models.TextField(default="")),
                ("missing_since", models.DateTimeField(null=True)),
                ("collect_failures", models.IntegerField(default=0)),
                ("doubt", models.CharField(default="", max_length=40)),
                ("doubts", models.IntegerField(default=0)),
                ("given_up_at", models.DateTimeField(null=True)),
                ("arrived", models.IntegerField(default=0)),
                ("warnings_given", models.SmallIntegerField(default=0)),
                ("collected_at", models.DateTimeField(null=True)),
                ("cost_pico", models.BigIntegerField(default=0)),
                (
                    "job",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="batches",
                        to="jobs.job",
                    ),
                ),
            ],
            options={
                "ordering": ["job", "number"],
            },
        ),
        migrations.CreateModel(
            name="Attempt",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting"),
                            ("good", "Good"),
                            ("look", "Needs a look"),
                            ("errored", "Could not be processed"),
                            ("expired", "Not reached in 24 hours"),
                            ("canceled", "Stopped by you"),
                            ("left_out", "Left out"),
                        ],
                        default="waiting",
                        max_length=8,
                    ),
                ),
                ("cause", models.CharField(default="", max_length=60)),
                ("answer", models.TextField(default="")),
                ("message", models.TextField(default="")),
                ("request_id", models.CharField(default="", max_length=100)),
                ("answered_by", models.CharField(default="", max_length=100)),
                ("stop_reason", models.CharField(default="", max_length=60)),
                ("input_tokens", models.IntegerField(default=0)),
                ("cache_write_tokens", models.IntegerField(default=0)),
                ("cache_read_tokens", models.IntegerField(default=0)),
                ("output_tokens", models.IntegerField(default=0)),
                ("thinking_tokens", models.IntegerField(default=0)),
                ("cost_pico", models.BigIntegerField(default=0)),
                ("number", models.IntegerField()),
                ("attempt", models.IntegerField()),
                ("source", models.TextField(default="")),
                ("problem", models.TextField()),
                (
                    "batch",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="jobs.batch",
                    ),
                ),
                (
                    "job",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="jobs.job",
                    ),
                ),
            ],
            options={
                "ordering": ["number", "attempt"],
            },
        ),
        migrations.CreateModel(
            name="JobEvent",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
                ("text", models.TextField()),
                (
                    "job",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="events",
                        to="jobs.job",
                    ),
                ),
                (
                    "who",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["pk"],
            },
        ),
        migrations.CreateModel(
            name="LateBatch",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("provider_id", models.CharField(max_length=100, unique=True)),
                ("size", models.IntegerField()),
                ("created_at", models.DateTimeField()),
                ("found_at", models.DateTimeField()),
                ("cancel_sent_at", models.DateTimeField(null=True)),
                ("ended_at", models.DateTimeField(null=True)),
                ("finished", models.IntegerField(default=0)),
                ("cost_pico", models.BigIntegerField(default=0)),
                (
                    "batch",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="late_ones",
                        to="jobs.batch",
                    ),
                ),
            ],
            options={
                "ordering": ["pk"],
            },
        ),
        migrations.CreateModel(
            name="PastSpending",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("at", models.DateTimeField()),
                ("practice", models.BooleanField()),
                ("template", models.CharField(default="", max_length=100)),
                ("models_used", models.JSONField(default=dict)),
                ("spent_pico", models.BigIntegerField()),
                ("open_pico", models.BigIntegerField(db_default=0, default=0)),
                ("open_until", models.DateTimeField(null=True)),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="PriceOverride",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("model", models.CharField(max_length=100)),
                ("since", models.DateField()),
                ("input", models.DecimalField(decimal_places=6, max_digits=12)),
                ("output", models.DecimalField(decimal_places=6, max_digits=12)),
                ("cache_write_5m", models.DecimalField(decimal_places=6, max_digits=12)),
                ("cache_write_1h", models.DecimalField(decimal_places=6, max_digits=12)),
                ("cache_read", models.DecimalField(decimal_places=6, max_digits=12)),
                ("entered_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("withdrawn_at", models.DateTimeField(null=True)),
                (
                    "entered_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["model", "since", "pk"],
            },
        ),
        migrations.CreateModel(
            name="Round",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.IntegerField()),
                ("recipe", models.JSONField(default=dict)),
                ("what", models.CharField(max_length=200)),
                ("rows", models.IntegerField()),
                ("bytes", models.BigIntegerField()),
                ("estimate", models.JSONField()),
                ("asked_at", models.DateTimeField()),
                ("spent_pico", models.BigIntegerField(db_default=0, default=0)),
                (
                    "step",
                    models.CharField(
                        choices=[
                            ("taking", "Taking rows"),
                            ("parting", "Rows are no longer copies of one that was changed"),
                            ("ready", "Ready to send"),
                        ],
                        default="ready",
                        max_length=8,
                    ),
                ),
                ("which", models.CharField(default="", max_length=60)),
                ("earlier", models.JSONField(default=list)),
                ("asks_otherwise", models.BooleanField(default=False)),
                ("done_to", models.IntegerField(default=0)),
                ("taken", models.IntegerField(default=0)),
                ("contents", models.JSONField(default=dict)),
                (
                    "approved_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "asked_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "job",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="rounds",
                        to="jobs.job",
                    ),
                ),
            ],
            options={
                "ordering": ["number"],
            },
        ),
        migrations.CreateModel(
            name="Row",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting"),
                            ("good", "Good"),
                            ("look", "Needs a look"),
                            ("errored", "Could not be processed"),
                            ("expired", "Not reached in 24 hours"),
                            ("canceled", "Stopped by you"),
                            ("left_out", "Left out"),
                        ],
                        default="waiting",
                        max_length=8,
                    ),
                ),
                ("cause", models.CharField(default="", max_length=60)),
                ("answer", models.TextField(default="")),
                ("message", models.TextField(default="")),
                ("request_id", models.CharField(default="", max_length=100)),
                ("answered_by", models.CharField(default="", max_length=100)),
                ("stop_reason", models.CharField(default="", max_length=60)),
                ("input_tokens", models.IntegerField(default=0)),
                ("cache_write_tokens", models.IntegerField(default=0)),
                ("cache_read_tokens", models.IntegerField(default=0)),
                ("output_tokens", models.IntegerField(default=0)),
                ("thinking_tokens", models.IntegerField(default=0)),
                ("cost_pico", models.BigIntegerField(default=0)),
                ("number", models.IntegerField()),
                ("line", models.IntegerField()),
                ("source", models.TextField()),
                ("size", models.IntegerField()),
                ("problem", models.TextField(default="")),
                ("attempts", models.IntegerField(default=0)),
                ("round", models.IntegerField(db_default=1, default=1)),
                ("same_as", models.IntegerField(null=True)),
                ("earlier", models.IntegerField(null=True)),
                (
                    "batch",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="rows",
                        to="jobs.batch",
                    ),
                ),
                (
                    "job",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="rows",
                        to="jobs.job",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="RowChange",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("leave_out", "Leaving rows out"),
                            ("edit", "Changing rows"),
                            ("forget", "Taking changes back"),
                            ("correct", "Taking corrected rows"),
                            ("mark", "Marking copies of an answer"),
                        ],
                        max_length=10,
                    ),
                ),
                ("cause", models.CharField(default="", max_length=60)),
                ("how", models.JSONField(default=dict)),
                ("rows", models.IntegerField()),
                ("done_to", models.IntegerField(default=0)),
                ("done", models.IntegerField(default=0)),
                (
                    "asked_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "job",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="row_change",
                        to="jobs.job",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="SampledAnswer",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("position", models.IntegerField()),
                ("number", models.IntegerField()),
                ("good", models.BooleanField(null=True)),
                ("answer_key", models.CharField(default="", max_length=64)),
                ("note", models.TextField(default="")),
                ("marked_at", models.DateTimeField(null=True)),
                (
                    "job",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="sample",
                        to="jobs.job",
                    ),
                ),
                (
                    "marked_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["position"],
            },
        ),
        migrations.CreateModel(
            name="SubmissionEvent",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
                ("nonce", models.CharField(max_length=12)),
                ("kind", models.CharField(max_length=20)),
                ("provider_id", models.CharField(db_index=True, default="", max_length=100)),
                ("detail", models.JSONField(default=dict)),
                (
                    "job",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.SET_NULL, to="jobs.job"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Template",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=100)),
                ("shared", models.BooleanField(default=False)),
                ("recipe", models.JSONField()),
                ("changed_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
        ),
        migrations.AddField(
            model_name="job",
            name="template",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="jobs.template",
            ),
        ),
        migrations.CreateModel(
            name="Trial",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting"),
                            ("good", "Good"),
                            ("look", "Needs a look"),
                            ("errored", "Could not be processed"),
                            ("expired", "Not reached in 24 hours"),
                            ("canceled", "Stopped by you"),
                            ("left_out", "Left out"),
                        ],
                        default="waiting",
                        max_length=8,
                    ),
                ),
                ("cause", models.CharField(default="", max_length=60)),
                ("answer", models.TextField(default="")),
                ("message", models.TextField(default="")),
                ("request_id", models.CharField(default="", max_length=100)),
                ("answered_by", models.CharField(default="", max_length=100)),
                ("stop_reason", models.CharField(default="", max_length=60)),
                ("input_tokens", models.IntegerField(default=0)),
                ("cache_write_tokens", models.IntegerField(default=0)),
                ("cache_read_tokens", models.IntegerField(default=0)),
                ("output_tokens", models.IntegerField(default=0)),
                ("thinking_tokens", models.IntegerField(default=0)),
                ("cost_pico", models.BigIntegerField(default=0)),
                ("round", models.IntegerField()),
                ("number", models.IntegerField()),
                ("cells", models.JSONField()),
                ("params", models.TextField()),
                ("recipe", models.JSONField(default=dict)),
                ("recipe_key", models.CharField(default="", max_length=16)),
                ("model", models.CharField(max_length=100)),
                ("practice", models.BooleanField()),
                ("answer_kind", models.JSONField(default=dict)),
                ("asked_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting"),
                            ("sending", "Being answered"),
                            ("answered", "Answered"),
                            ("failed", "Not answered"),
                            ("unknown", "Answer lost"),
                        ],
                        default="waiting",
                        max_length=8,
                    ),
                ),
                ("most_pico", models.BigIntegerField(default=0)),
                (
                    "job",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="trials",
                        to="jobs.job",
                    ),
                ),
            ],
            options={
                "ordering": ["-round", "number"],
            },
        ),
        migrations.CreateModel(
            name="DisownedBatch",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("provider_id", models.CharField(max_length=100)),
                ("looks", models.IntegerField(default=0)),
                ("next_look_at", models.DateTimeField()),
                (
                    "batch",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="disowned",
                        to="jobs.batch",
                    ),
                ),
            ],
            options={
                "ordering": ["pk"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("batch", "provider_id"), name="disowned_once_a_batch"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Export",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("kind", models.CharField(max_length=8)),
                ("only", models.CharField(default="all", max_length=12)),
                ("trouble", models.TextField(default="")),
                (
                    "job",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="exports",
                        to="jobs.job",
                    ),
                ),
            ],
            options={
                "ordering": ["pk"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("job", "kind", "only"), name="export_once_a_job"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Edit",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.IntegerField()),
                ("source", models.TextField()),
                (
                    "job",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="edits",
                        to="jobs.job",
                    ),
                ),
            ],
            options={
                "ordering": ["number"],
                "constraints": [
                    models.UniqueConstraint(fields=("job", "number"), name="edit_once_a_row")
                ],
            },
        ),
        migrations.AddIndex(
            model_name="batch",
            index=models.Index(fields=["state", "next_action_at"], name="batch_due"),
        ),
        migrations.AddConstraint(
            model_name="batch",
            constraint=models.UniqueConstraint(fields=("job", "number"), name="batch_once_a_job"),
        ),
        migrations.AddConstraint(
            model_name="batch",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state__in", ["submitting", "unknown"])),
                fields=("size", "practice"),
                name="unsettled_sizes_differ",
            ),
        ),
        migrations.AddConstraint(
            model_name="batch",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state__in", ["in_progress", "ended", "collected"]), _negated=True),
                    ("provider_id__isnull", False),
                    _connector="OR",
                ),
                name="sent_batch_has_its_id",
            ),
        ),
        migrations.AddConstraint(
            model_name="batch",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("is_external", True),
                    ("state__in", ["planning", "planned", "submitting", "unknown", "blocked"]),
                    _negated=True,
                ),
                name="external_batch_is_never_sent",
            ),
        ),
        migrations.AddConstraint(
            model_name="attempt",
            constraint=models.UniqueConstraint(
                fields=("job", "number", "attempt"), name="attempt_once_a_row"
            ),
        ),
        migrations.AddConstraint(
            model_name="round",
            constraint=models.UniqueConstraint(fields=("job", "number"), name="round_once_a_job"),
        ),
        migrations.AddIndex(
            model_name="row",
            index=models.Index(fields=["job", "outcome", "cause", "number"], name="row_outcome"),
        ),
        migrations.AddIndex(
            model_name="row",
            index=models.Index(
                fields=["job", "outcome", "cause", "cost_pico", "number"], name="row_cost"
            ),
        ),
        migrations.AddIndex(
            model_name="row",
            index=models.Index(
                fields=["job", "outcome", "cause", "output_tokens", "number"], name="row_output"
            ),
        ),
        migrations.AddIndex(
            model_name="row",
            index=models.Index(
                condition=models.Q(("same_as__isnull", False)),
                fields=["job", "same_as", "number"],
                name="row_copies",
            ),
        ),
        migrations.AddConstraint(
            model_name="row",
            constraint=models.UniqueConstraint(fields=("job", "number"), name="row_once_a_job"),
        ),
        migrations.AddConstraint(
            model_name="sampledanswer",
            constraint=models.UniqueConstraint(
                fields=("job", "position"), name="sampled_answer_once_a_place"
            ),
        ),
        migrations.AddConstraint(
            model_name="sampledanswer",
            constraint=models.UniqueConstraint(
                fields=("job", "number"), name="sampled_answer_once_a_row"
            ),
        ),
        migrations.AddConstraint(
            model_name="template",
            constraint=models.UniqueConstraint(
                fields=("owner", "name"), name="template_once_an_owner"
            ),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(fields=["next_action_at"], name="job_due"),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(fields=["owner", "-created_at"], name="job_newest"),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                condition=models.Q(("rows_version__gt", models.F("tally_version"))),
                fields=["state"],
                name="job_stale",
            ),
        ),
        migrations.AddConstraint(
            model_name="job",
            constraint=models.CheckConstraint(
                condition=models.Q(("is_external", True), ("state", "draft"), _negated=True),
                name="external_job_is_no_draft",
            ),
        ),
        migrations.AddConstraint(
            model_name="job",
            constraint=models.UniqueConstraint(
                condition=models.Q(("is_being_read", True)),
                fields=("owner",),
                name="one_reading_a_person",
            ),
        ),
        migrations.AddConstraint(
            model_name="trial",
            constraint=models.UniqueConstraint(
                fields=("job", "round", "number"), name="trial_once_a_round"
            ),
        ),
        migrations.RunPython(make_rows, migrations.RunPython.noop),
    ]
