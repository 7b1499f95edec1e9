"""One upload with one recipe, and the queries for such jobs."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from statistics import median
from typing import Any, Self

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from ..ingest.protocol import FileFacts
from ..ingest.shapes import Choices, CorrectionFile
from ..rules.answer_formats import AnswerColumn
from ..rules.answer_statistics import AnswerStatistics
from ..rules.judging import IGNORED
from ..rules.price_estimates import Estimate
from ..rules.recipes import Recipe, read_recipe
from ..rules.retry_choices import MeasuredEdits, RetryChoice
from ..rules.structs import reader_of
from ..rules.tallies import Tally
from . import clock
from .fields import StructField
from .money import dollars
from .outcomes import ATTENTION, DONE, Outcome
from .people import (
    Access,
    Role,
    is_administrator,
    only_reads,
    role_of,
    sees_everything,
    teams_of,
)
from .querysets import StateQuerySet
from .row_choices import ChoosesRows

# Of a job: no step waits for longer, and no lease is for longer, but that of one that sends.
LONGEST_WAIT, LONGEST_LEASE = timedelta(minutes=5), timedelta(minutes=16)
# Earlier jobs whose times tell how long another takes: how many, and of how many of the newest.
TIMED, TIMED_AMONG = 20, 500
LEASED = Q(lease_until__isnull=False)


class JobQuerySet(StateQuerySet["Job"]):
    def visible_to(self, user: User | AbstractBaseUser | AnonymousUser) -> Self:
        """The jobs that `user` may see: all for administrators and auditors; else their own, those
        that are shared with a team of theirs, and what an approver was asked to approve. Not those
        in the trash."""
        there = self.exclude(state=Job.State.DELETING).filter(trashed_at=None)
        if sees_everything(user):
            return there
        seen = Q(owner_id=user.pk) | Q(team_id__in=teams_of(user))
        if role_of(user) == Role.APPROVER:
            seen |= AWAITS_APPROVAL | Q(approval_by_id=user.pk) | Q(approved_by_id=user.pk)
        return there.filter(seen)

    def workable_by(self, user: User | AbstractBaseUser | AnonymousUser) -> Self:
        """The jobs that `user` may change: all for administrators, none for auditors; else their
        own, and those that a team of theirs may work on. Not those in the trash."""
        there = self.exclude(state=Job.State.DELETING).filter(trashed_at=None)
        if only_reads(user):
            return there.none()
        if is_administrator(user):
            return there
        shared = Q(team_id__in=teams_of(user), team_access=Access.WORK)
        return there.filter(Q(owner_id=user.pk) | shared)

    def owned_by(self, user: User | AbstractBaseUser | AnonymousUser) -> Self:
        """The jobs that `user` may share and delete: as `of`, without those in the trash."""
        return self.of(user).filter(trashed_at=None)

    def in_trash(self, user: User | AbstractBaseUser | AnonymousUser) -> Self:
        """The jobs in the trash that `user` may restore or delete."""
        return self.of(user).exclude(trashed_at=None)

    def of(self, user: User | AbstractBaseUser | AnonymousUser) -> Self:
        """`owned_by` and `in_trash` together: all for administrators, none for auditors, else
        their own."""
        there = self.exclude(state=Job.State.DELETING)
        if is_administrator(user):
            return there
        if only_reads(user):
            return there.none()
        return there.filter(owner_id=user.pk)

    def due(self, now: datetime) -> Self:
        """Jobs with a step to take now, that nobody is working on."""
        lease = LONGEST_LEASE + timedelta(seconds=settings.SUBMIT_DEADLINE_SECONDS)
        return self.filter(
            clock.over("next_action_at", LONGEST_WAIT, now),
            Q(lease_until=None) | clock.over("lease_until", lease, now),
        )

    def awaiting_approval(self, person: User | None = None) -> Self:
        """Jobs that a second person was asked to approve and nobody has approved: drafts as they
        are now, and rows to be sent again. `person`: only those that this administrator may."""
        asked = self.filter(AWAITS_APPROVAL, trashed_at=None)
        if person is None:
            return asked
        asked = asked.exclude(owner=person).exclude(changed_by=person)
        return asked.exclude(approval_asked_by=person)

    def stale(self) -> Self:
        """Sent jobs whose rows have changed since they were counted."""
        return self.filter(state__in=Job.SENT, rows_version__gt=F("tally_version"))

    def priced_drafts(self) -> Self:
        """Drafts whose price was worked out, or that have none for a reason that was found out."""
        settled = Q(plan_sha256__gt="") | Q(estimate__trouble__gt="")
        return self.filter(settled, state=Job.State.DRAFT, trashed_at=None)

    def price_anew(self, now: datetime) -> None:
        """Have the worker price those of them that are drafts: what they cost has changed."""
        drafts = self.filter(state=Job.State.DRAFT)
        drafts.update(plan_sha256="", next_action_at=now)

    def read_anew(self, now: datetime, **values: Any) -> int:
        """Have the worker read the files of these drafts once more; how many there are."""
        return self.filter(confirmed_at=None, state__in=Job.OPEN).update(
            state=Job.State.READING,
            readings=F("readings") + 1,
            read_bytes=0,
            row_count=0,
            skipped_count=0,
            plan_sha256="",
            next_action_at=now,
            **values,
        )

    def usual_duration(self, job: Job) -> timedelta | None:
        """The median time that earlier jobs like `job` took: finished in the same mode without a
        retry, with a tenth to ten times its rows. None if there are none."""
        alike = self.filter(
            pk__gte=job.pk - TIMED_AMONG,
            pk__lt=job.pk,
            state=Job.State.FINISHED,
            practice=job.practice,
            is_external=False,
            row_count__gte=job.row_count // 10,
            row_count__lte=job.row_count * 10,
            confirmed_at__isnull=False,
            finished_at__gt=F("confirmed_at"),
            rounds=None,
            pilot=None,  # which waited for a person
        )
        times = alike.order_by("-pk").values_list("confirmed_at", "finished_at")[:TIMED]
        took = [(end - begin).total_seconds() for begin, end in times if begin and end]
        return timedelta(seconds=median(took)) if took else None

    def sending(self) -> Self:
        """Jobs with something left to send, in the mode that this site is in."""
        return self.filter(state=Job.State.SUBMITTING, practice=settings.PRACTICE)


class Job(ChoosesRows):
    class State(models.TextChoices):
        READING = "reading", "Reading the file"
        UNREADABLE = "unreadable", "Could not be read"
        DRAFT = "draft", "Draft"
        SUBMITTING = "submitting", "Sending"
        WORKING = "working", "Working"
        CANCELING = "canceling", "Stopping"
        FINISHED = "finished", "Finished"
        DELETING = "deleting", "Deleting"

    class Kind(models.TextChoices):
        TABLE = "table", "Table"
        REQUESTS = "requests", "Ready-made requests"

    # States in which the worker does something, so that a page about the job changes by itself.
    MOVING = (State.READING, State.SUBMITTING, State.WORKING, State.CANCELING)
    # States of a job that was confirmed: from here on there are results to show.
    SENT = (State.SUBMITTING, State.WORKING, State.CANCELING, State.FINISHED)
    # States before it is confirmed, in which its file may be read anew.
    OPEN = (State.READING, State.UNREADABLE, State.DRAFT)
    # States in which nothing of the job is with the provider, so that it can be deleted.
    DELETABLE = (State.READING, State.UNREADABLE, State.DRAFT, State.FINISHED)

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT)
    # The team that it is shared with, and what its people may do. Its cost counts for the team.
    team = models.ForeignKey("Team", on_delete=models.SET_NULL, null=True, related_name="jobs")
    team_access = models.CharField(max_length=4, choices=Access.choices, default=Access.READ)
    # Whose API key it was confirmed with; None: the site's. See job_keys.py.
    key_team = models.IntegerField(null=True)
    name = models.CharField(max_length=200)
    state = models.CharField(max_length=12, choices=State.choices, default=State.READING)
    held = models.TextField(default="", help_text="Why a person is needed, in their words.")
    created_at = models.DateTimeField(default=timezone.now)
    confirmed_at = models.DateTimeField(null=True)
    # Confirmed in practice mode: it must never reach a provider that takes money.
    practice = models.BooleanField(default=False)
    finished_at = models.DateTimeField(null=True)
    # Out of the default list. Hidden everywhere: 30 days later it is deleted, see housekeeping.py.
    archived_at = models.DateTimeField(null=True)
    trashed_at = models.DateTimeField(null=True)
    rows_changed = models.IntegerField(default=0)  # counts the times that people changed rows
    edits_version = models.IntegerField(default=0)  # counts changes of its edits
    edits_measured = StructField[MeasuredEdits](
        reader_of(MeasuredEdits), derived=True, default=MeasuredEdits
    )
    # Counts the transactions that changed what the tally, `spent_pico` and `reserved_pico` are
    # worked out from, and what it was when they were: see tally.py.
    rows_version = models.IntegerField(default=0, db_default=0)
    tally_version = models.IntegerField(default=0, db_default=0)
    # Its batch was made elsewhere: it is never confirmed, and what it cost was charged there. Where
    # the file has the custom_ids (external_ids.py): "column:NAME", "number:0" or "number:1", ""
    # while that is open; and the ways there are, each with how many results it fits, best first.
    is_external = models.BooleanField(default=False)
    ids_are = models.CharField(max_length=220, default="")
    ids_may_be = StructField[list[tuple[str, int]]](reader_of(list[tuple[str, int]]), default=list)
    # See retention.py: what its owner chose, None for what the site says, and when; since when its
    # cells and answers are deleted; and whether the worker has done that.
    retention_days = models.IntegerField(null=True)
    retention_changed_at = models.DateTimeField(null=True)
    deletes_batches = models.BooleanField(null=True)
    contents_deleted_at = models.DateTimeField(null=True)
    contents_are_gone = models.BooleanField(default=False, db_default=False)
    # The upload, as it arrived, and what was found in it.
    upload_name = models.CharField(max_length=255)
    upload_file = models.CharField(max_length=64)
    upload_bytes = models.BigIntegerField()
    upload_sha256 = models.CharField(max_length=64, default="")
    read_bytes = models.BigIntegerField(default=0)
    # What its rows take up in the database; whether a worker reads the file now, and when one did.
    stored_bytes = models.BigIntegerField(default=0, db_default=0)
    is_being_read = models.BooleanField(default=False, db_default=False)
    read_at = models.DateTimeField(null=True)
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.TABLE)
    # Names, in the order of the file.
    columns = StructField[list[str]](reader_of(list[str]), default=list)
    row_count = models.IntegerField(default=0)
    skipped_count = models.IntegerField(default=0)  # rows that cannot be sent
    # How the owner wants it to be read.
    choices = StructField[Choices](reader_of(Choices), default=Choices)
    # Files with corrected rows, the latest last.
    corrections = StructField[list[CorrectionFile]](reader_of(list[CorrectionFile]), default=list)
    readings = models.IntegerField(default=0)  # counts the times it was to be read anew
    # How it was read, sizes, models.
    reading = StructField[FileFacts](reader_of(FileFacts), default=FileFacts)

    # Of a table; ready-made requests bring their own. See recipe_of.
    recipe = StructField[Recipe](read_recipe, default=Recipe)
    # Columns whose cells never leave this site, by name; of a table only.
    private_columns = StructField[list[str]](reader_of(list[str]), default=list)
    # Columns that answers fill which came as the input of a tool: see tool_answers.py.
    answer_columns = StructField[tuple[AnswerColumn, ...]](
        reader_of(tuple[AnswerColumn, ...]), default=tuple
    )
    # Rows that need not be sent were looked for, after it was confirmed.
    deduplicated = models.BooleanField(default=False)
    # What it began with: a template, or the job that it runs again on another file.
    template = models.ForeignKey("Template", on_delete=models.SET_NULL, null=True, related_name="+")
    previous = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, related_name="+")
    # The price of the recipe with the hash `estimate.key`, and the hash of all that a person
    # confirms: file, recipe and price. Empty while there is no price for the recipe.
    estimate = StructField[Estimate | None](
        reader_of(Estimate, tried="tested"), derived=True, null=True
    )
    plan_sha256 = models.CharField(max_length=64, default="")
    # What of the caps this job takes up, in millionths of a millionth of a dollar: what was charged
    # so far, and the most that is still to come. tally.count_up keeps both true to the rows.
    spent_pico = models.BigIntegerField(default=0)
    reserved_pico = models.BigIntegerField(default=0)
    # The plan that a second person was asked to approve: of a draft its `plan_sha256`, of rows to
    # be sent again RetryPlan.key, and then which rows and how. Who asked, and who
    # has approved that very plan. What was sent remembers its approver in `approved_by`.
    approval_plan = models.CharField(max_length=64, default="")
    approval_again = StructField[RetryChoice | None](reader_of(RetryChoice), null=True)
    approval_asked_at = models.DateTimeField(null=True)
    approval_asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    approval_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    # Who last changed the file, the prompt, the settings or rows: never the approver.
    changed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )

    # Rows by outcome and cause, tokens and cost: tally.count_up keeps it true to the rows.
    tally = StructField[Tally](reader_of(Tally), default=Tally)
    # What the answers say, once the job has finished; None: to be counted.
    answers = StructField[AnswerStatistics | None](
        reader_of(AnswerStatistics), derived=True, null=True
    )
    # How many answers its sample was drawn from, and whether that was before the job had finished.
    drawn_from = models.IntegerField(default=0)
    drawn_early = models.BooleanField(default=False)

    next_action_at = models.DateTimeField(null=True, default=timezone.now)
    lease_until = models.DateTimeField(null=True)
    lease_owner = models.CharField(max_length=120, default="")
    failures_in_a_row = models.IntegerField(default=0)

    # Not stored: the private columns that are masked to the person whom this is shown to.
    masked: frozenset[str] = frozenset()

    objects = JobQuerySet.as_manager()
    may_work = True  # whether the person may change it who looks at it: see access.find_job

    class Meta:
        indexes = [
            models.Index(fields=["next_action_at"], name="job_due"),
            models.Index(fields=["owner", "-created_at"], name="job_newest"),
            models.Index(fields=["-created_at", "-id"], name="job_newest_of_all"),
            models.Index(fields=["lease_until"], condition=LEASED, name="job_leased"),
            models.Index(
                fields=["state"],
                condition=Q(rows_version__gt=F("tally_version")),
                name="job_stale",
            ),
        ]
        constraints = [
            # A draft can be confirmed, and then its rows would be sent.
            models.CheckConstraint(
                condition=~Q(is_external=True, state="draft"), name="external_job_is_no_draft"
            ),
            # Nobody would see what it costs.
            models.CheckConstraint(
                condition=~Q(
                    trashed_at__isnull=False, state__in=["submitting", "working", "canceling"]
                ),
                name="job_at_work_is_not_in_trash",
            ),
            models.UniqueConstraint(
                fields=["owner"], condition=Q(is_being_read=True), name="one_reading_a_person"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.pk} {self.name}"

    @property
    def is_stale(self) -> bool:
        """Whether its rows have changed since they were counted, as in JobQuerySet.stale: the
        worker counts them soon."""
        return self.state in self.SENT and self.rows_version > self.tally_version

    @property
    def is_moving(self) -> bool:
        return self.state in self.MOVING

    def runs_again(self) -> JobQuerySet:
        """The jobs whose price may change with its answers: those that run it again, those of the
        same template, and drafts that reuse answers of any job."""
        same = Q(template=self.template_id) if self.template_id else Q(previous=self)
        return Job.objects.filter(Q(previous=self) | same | Q(state="draft", recipe__only_new=True))

    @property
    def last_round(self) -> int:
        """The round whose rows are being sent, or were sent last."""
        newest = self.rounds.order_by("-number").values_list("number", flat=True).first()
        return newest or 1

    @property
    def was_sent(self) -> bool:
        return self.state in self.SENT

    @property
    def sends(self) -> bool:
        """It has something left to send."""
        return self.state == self.State.SUBMITTING and self.practice == settings.PRACTICE

    @property
    def can_be_deleted(self) -> bool:
        return self.state in self.DELETABLE

    @property
    def is_archived(self) -> bool:
        """A job at work is in the list whether it was archived or not."""
        return self.archived_at is not None and self.can_be_deleted

    @property
    def can_be_stopped(self) -> bool:
        return self.state in (self.State.SUBMITTING, self.State.WORKING)

    @property
    def awaits_approval(self) -> bool:
        """A second person was asked to approve it as it is now, and nobody has."""
        return self.asks_for_approval and self.approval_by_id is None

    @property
    def asks_for_approval(self) -> bool:
        """A second person was asked to approve it as it is now; one may have done so."""
        if self.state == self.State.DRAFT:
            return bool(self.approval_plan) and self.approval_plan == self.plan_sha256
        again = self.approval_again is not None
        return again and bool(self.approval_plan) and self.state == self.State.FINISHED

    @property
    def sendable_count(self) -> int:
        return self.row_count - self.unsent_count - self.unselected_count

    @property
    def to_send_count(self) -> int:
        """Rows that are sent, as was confirmed: no duplicates, and none that was answered."""
        return (self.estimate.rows if self.estimate else 0) or self.sendable_count

    @property
    def unsent_count(self) -> int:
        """Rows that are not sent: they cannot be, or a person wants them ignored."""
        return self.skipped_count + self.ignored_count

    @property
    def ignored_count(self) -> int:
        """Rows that were left out on purpose, from the tally."""
        return self.tally.rows_with(Outcome.LEFT_OUT, IGNORED)

    def outcome_count(self, *outcomes: str) -> int:
        """Rows with one of `outcomes`, from the tally."""
        return sum(self.tally.outcomes.get(outcome, 0) for outcome in outcomes)

    @property
    def done_count(self) -> int:
        """Rows that were sent or stopped and have an outcome."""
        return self.outcome_count(*DONE)

    @property
    def good_count(self) -> int:
        return self.outcome_count(Outcome.GOOD)

    @property
    def attention_count(self) -> int:
        return self.outcome_count(*ATTENTION)

    @property
    def stray_count(self) -> int:
        """Results of an imported batch that belong to no row."""
        return self.tally.strays

    @property
    def cost(self) -> Decimal:
        """US dollars charged so far, by the results that are in."""
        return dollars(self.tally.cost_pico)


# As Job.awaits_approval.
AWAITS_APPROVAL = Q(approval_plan__gt="", approval_by=None) & (
    Q(state=Job.State.DRAFT, approval_plan=F("plan_sha256"))
    | Q(state=Job.State.FINISHED, approval_again__isnull=False)
)
