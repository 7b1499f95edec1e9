"""What is stored: one upload with one recipe is a Job, its lines are Rows, and what was sent to the
provider are Batches. The database is the truth; the queue only says when to look at it.

A job::

    reading -> draft -> submitting -> working -> finished -> (deleting)
       |                    \\             \\
       v                     +-> canceling -+-> finished
    unreadable

A batch::

    planning -> planned -> submitting -> in_progress -> ended -> collected
                              |    \\
                              |     +-> unknown -> in_progress (adopted) | planned (never arrived)
                              +-> planned (clearly refused for now) | blocked (clearly refused)
    stopped: planned, blocked -> canceled; what the provider no longer has -> lost

Every change of state is one conditional UPDATE (`move`): whoever changes no row came second. That
a person is needed is no state of its own; `Job.held` says why.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from typing import Any, NamedTuple, Self, TypeVar

import msgspec
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.db import connection, models
from django.db.models import F, Q
from django.db.models.functions import Lower
from django.utils import timezone

from ..ingest.requests import fix_in_words
from ..ingest.shapes import Choices
from ..ingest.words import remedy_of, title_of
from ..rules import wording
from ..rules.answer_formats import COLUMNS, FREE_TEXT, AnswerKind, read_answer_kind
from ..rules.judging import MARKED_DOWN, SET_ASIDE
from ..rules.recipes import PLAIN_FIELDS, Recipe, read_recipe
from ..rules.structs import reader_of
from ..rules.tool_answers import stored_columns
from . import clock

# One US dollar in the unit of the columns named `*_pico`: the smallest price, $0.005 for a million
# tokens, is 5,000 of them a token, so every cost is a whole number and adds up exactly in SQL.
PICO = 1_000_000_000_000
# What a job can cost at most, in US dollars: the columns hold 9.2 million.
MOST = Decimal(9_000_000)


# Of a job: no step waits for longer, and no lease is for longer, but that of one that sends.
LONGEST_WAIT, LONGEST_LEASE = timedelta(minutes=5), timedelta(minutes=16)


def dollars(pico: int) -> Decimal:
    """US dollars of a stored amount, exact."""
    return Decimal(pico).scaleb(-12)


def pico(amount: Decimal) -> int:
    """An amount as it is stored, rounded up: for sums that must not be exceeded."""
    return int((amount * PICO).to_integral_value(ROUND_CEILING))


def key_fingerprint() -> str:
    """Tells one provider key from another and cannot be turned back into it; "" without a key."""
    if settings.PRACTICE:
        return ""
    secret = settings.SECRET_KEY.encode()
    return hmac.digest(secret, settings.ANTHROPIC_API_KEY.encode(), "sha256").hex()[:16]


class Outcome(models.TextChoices):
    """What became of a row; every row has exactly one."""

    WAITING = "waiting", "Waiting"
    GOOD = "good", "Good"
    LOOK = "look", "Needs a look"
    ERRORED = "errored", "Could not be processed"
    EXPIRED = "expired", "Not reached in 24 hours"
    CANCELED = "canceled", "Stopped by you"
    LEFT_OUT = "left_out", "Left out"


FAILED = (Outcome.ERRORED, Outcome.EXPIRED)
# What a person should look after when the job has finished.
ATTENTION = (Outcome.LOOK, Outcome.ERRORED, Outcome.EXPIRED)
# Rows that were to be sent and have no good answer.
NOT_GOOD = (*ATTENTION, Outcome.CANCELED)


_read_choices = reader_of(Choices)


def choices_of(job: Job) -> Choices:
    """How its owner wants the file of a job to be read."""
    return _read_choices(job.choices)


def answer_kind_of(job: Job) -> AnswerKind:
    """What kind of answer is wanted for each row; ready-made requests say that themselves."""
    if job.kind == Job.Kind.REQUESTS:
        return FREE_TEXT
    return read_answer_kind(job.answer_kind)


def answer_shape_of(job: Job) -> AnswerKind:
    """How the answers of a job are shown: as they were asked for, and with the columns that the
    inputs of forced tools fill."""
    asked = answer_kind_of(job)
    if not job.answer_columns:
        return asked
    columns = asked.columns if asked.kind == COLUMNS else ()
    names = {column.name for column in columns}
    others = (one for one in stored_columns(job.answer_columns) if one.name not in names)
    return AnswerKind(COLUMNS, asked.labels, (*columns, *others))


def recipe_of(job: Job) -> Recipe:
    values = {name: getattr(job, name) for name in PLAIN_FIELDS}
    return Recipe(**values, answer=answer_kind_of(job))


def recipe_of_round(job: Job, number: int) -> Recipe:
    """What the rows of a round were, or are to be, asked."""
    one = job.rounds.filter(number=number).first() if number > 1 else None
    return read_recipe(one.recipe) if one and one.recipe else recipe_of(job)


def stored_recipe(recipe: Recipe) -> dict[str, Any]:
    """The columns of a Job that hold `recipe`; the other way round of `recipe_of`."""
    values = {name: getattr(recipe, name) for name in PLAIN_FIELDS}
    return {**values, "answer_kind": msgspec.to_builtins(recipe.answer)}


def try_key(job: Job, recipe: Recipe) -> str:
    """Tells apart what was asked of which file, when the answers may differ, and says nothing of
    what is in it. How long an answer may be does not matter to one that is shorter."""
    texts = [job.upload_sha256, recipe.prompt, recipe.system, recipe.model, recipe.effort]
    text = json.dumps([*texts, msgspec.to_builtins(recipe.answer)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class NotMoved(Exception):
    """Something was in another state than the caller had seen."""


_Model = TypeVar("_Model", bound=models.Model)


class StateQuerySet(models.QuerySet[_Model]):
    """Rows with a `state` that changes by one conditional UPDATE."""

    def try_move(self, pk: int, old: str | Collection[str], new: str, **values: Any) -> bool:
        """Change the state of `pk` from `old` to `new`, together with `values`. False if it was in
        another state by then. For callers that look at the answer; the others use `move`."""
        states = [old] if isinstance(old, str) else list(old)
        return self.filter(pk=pk, state__in=states).update(state=new, **values) == 1

    def move(self, pk: int, old: str | Collection[str], new: str, **values: Any) -> None:
        """As `try_move`. Raises NotMoved when it changed nothing."""
        if not self.try_move(pk, old, new, **values):
            raise NotMoved(f"{self.model.__name__} {pk} is not {old}, so it did not become {new}.")


class JobQuerySet(StateQuerySet["Job"]):
    def visible_to(self, user: User | AbstractBaseUser | AnonymousUser) -> Self:
        """The jobs that `user` may see: all for an administrator, else their own."""
        shown = self.exclude(state=Job.State.DELETING)
        if getattr(user, "is_superuser", False):
            return shown
        return shown.filter(owner_id=user.pk)

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
        asked = self.filter(AWAITS_APPROVAL)
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
        return self.filter(settled, state=Job.State.DRAFT)

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
            left_out_count=0,
            problem_count=0,
            plan_sha256="",
            next_action_at=now,
            **values,
        )

    def sending(self) -> Self:
        """Jobs with something left to send, in the mode that this site is in."""
        return self.filter(state=Job.State.SUBMITTING, practice=settings.PRACTICE)


class Job(models.Model):
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
    name = models.CharField(max_length=200)
    state = models.CharField(max_length=12, choices=State.choices, default=State.READING)
    held = models.TextField(default="", help_text="Why a person is needed, in their words.")
    created_at = models.DateTimeField(default=timezone.now)
    confirmed_at = models.DateTimeField(null=True)
    # Confirmed in practice mode: it must never reach a provider that takes money.
    practice = models.BooleanField(default=False)
    finished_at = models.DateTimeField(null=True)
    rows_changed = models.IntegerField(default=0)  # counts the times that people changed rows
    edits_version = models.IntegerField(default=0)  # counts changes of its edits
    # editing.Measured of all edits, and of which versions of edits and rows that is.
    edits_measured = models.JSONField(default=dict)
    # Counts the transactions that changed what the tally, `spent_pico` and `reserved_pico` are
    # worked out from, and what it was when they were: see tally.py.
    rows_version = models.IntegerField(default=0, db_default=0)
    tally_version = models.IntegerField(default=0, db_default=0)
    # Its batch was made elsewhere: it is never confirmed, and what it cost was charged there. Where
    # the file has the custom_ids (external_ids.py): "column:NAME", "number:0" or "number:1", ""
    # while that is open; and the ways there are, each with how many results it fits, best first.
    brought_in = models.BooleanField(default=False)
    ids_are = models.CharField(max_length=220, default="")
    ids_may_be = models.JSONField(default=list)

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
    columns = models.JSONField(default=list)  # names, in the order of the file
    row_count = models.IntegerField(default=0)
    left_out_count = models.IntegerField(default=0)
    problem_count = models.IntegerField(default=0)
    choices = models.JSONField(default=dict)  # ingest.Choices: how the owner wants it to be read
    # Files with corrected rows, the latest last: {"file": name, "sha256": its hash,
    # "used": it could be used once}.
    corrections = models.JSONField(default=list)
    readings = models.IntegerField(default=0)  # counts the times it was to be read anew
    reading = models.JSONField(default=dict)  # ingest.Summary: how it was read, sizes, models

    # The recipe of a table; ready-made requests bring their own.
    prompt = models.TextField(default="")
    system = models.TextField(default="")
    model = models.CharField(max_length=100, default="")
    max_tokens = models.IntegerField(default=0)  # 0: what suits the kind of answer
    answer_kind = models.JSONField(default=dict)  # answer_kinds.AnswerKind
    # AnswerColumns that answers fill which came as the input of a tool: see tool_answers.py.
    answer_columns = models.JSONField(default=list)
    effort = models.CharField(max_length=10, default="")  # of model_rules.EFFORTS
    cached = models.BooleanField(default=False)  # the instructions are kept from row to row
    skip_empty = models.BooleanField(default=False)  # rows with an empty cell are left out
    same_once = models.BooleanField(default=False)  # of rows that are the same one is sent
    only_new = models.BooleanField(default=False)  # rows that `previous` answered are not sent
    spared = models.BooleanField(default=False)  # these were found, after it was confirmed

    # What it began with: a template, or the job that it runs again on another file.
    template = models.ForeignKey("Template", on_delete=models.SET_NULL, null=True, related_name="+")
    previous = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, related_name="+")

    # estimates.Estimate for the recipe with the hash `estimate["key"]`, and the hash of all that a
    # person confirms: file, recipe and price. Empty while there is no price for the recipe.
    estimate = models.JSONField(null=True)
    plan_sha256 = models.CharField(max_length=64, default="")

    # What of the caps this job takes up, in millionths of a millionth of a dollar: what was charged
    # so far, and the most that is still to come. tally.count_up keeps both true to the rows.
    spent_pico = models.BigIntegerField(default=0)
    reserved_pico = models.BigIntegerField(default=0)
    # The plan that a second person was asked to approve: of a draft its `plan_sha256`, of rows to
    # be sent again the rounds.Plan.key, and then which rows and how (rounds.Again). Who asked, and
    # who has approved that very plan. What was sent remembers its approver in `approved_by`.
    approval_plan = models.CharField(max_length=64, default="")
    approval_again = models.JSONField(null=True)
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
    tally = models.JSONField(default=dict)
    # summing.Summary of what the answers say, once the job has finished; None: to be counted.
    answers = models.JSONField(null=True)
    # How many answers its sample was drawn from, and whether that was before the job had finished.
    drawn_from = models.IntegerField(default=0)
    drawn_early = models.BooleanField(default=False)

    next_action_at = models.DateTimeField(null=True, default=timezone.now)
    lease_until = models.DateTimeField(null=True)
    lease_owner = models.CharField(max_length=120, default="")
    failures_in_a_row = models.IntegerField(default=0)

    objects = JobQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["next_action_at"], name="job_due"),
            models.Index(fields=["owner", "-created_at"], name="job_newest"),
            models.Index(
                fields=["state"],
                condition=Q(rows_version__gt=F("tally_version")),
                name="job_stale",
            ),
        ]
        constraints = [
            # A draft can be confirmed, and then its rows would be sent.
            models.CheckConstraint(
                condition=~Q(brought_in=True, state="draft"), name="brought_in_is_no_draft"
            ),
            models.UniqueConstraint(
                fields=["owner"], condition=Q(is_being_read=True), name="one_reading_a_person"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.pk} {self.name}"

    @property
    def is_moving(self) -> bool:
        return self.state in self.MOVING

    def runs_again(self) -> JobQuerySet:
        """The jobs that run this one again and can use its answers, and those of the same template,
        whose price may learn from it."""
        same = Q(template=self.template_id) if self.template_id else Q()
        return Job.objects.filter(Q(previous=self) | same)

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
        return self.row_count - self.left_out_count

    @property
    def to_send_count(self) -> int:
        """Rows that are sent by themselves, as was confirmed: not those that are the same as
        another one, or that an earlier job has answered."""
        return int((self.estimate or {}).get("rows") or self.sendable_count)

    @property
    def set_aside_count(self) -> int:
        """Rows that were left out on purpose, from the tally."""
        on_purpose = Outcome.LEFT_OUT, SET_ASIDE
        causes = self.tally.get("causes", [])
        return sum(rows for outcome, cause, rows in causes if (outcome, cause) == on_purpose)

    def outcome_count(self, *outcomes: str) -> int:
        """Rows with one of `outcomes`, from the tally."""
        counts: dict[str, int] = self.tally.get("outcomes", {})
        return sum(counts.get(outcome, 0) for outcome in outcomes)

    @property
    def done_count(self) -> int:
        """Rows that were sent or stopped and have an outcome."""
        return self.outcome_count(
            Outcome.GOOD, Outcome.LOOK, Outcome.ERRORED, Outcome.EXPIRED, Outcome.CANCELED
        )

    @property
    def good_count(self) -> int:
        return self.outcome_count(Outcome.GOOD)

    @property
    def attention_count(self) -> int:
        return self.outcome_count(*ATTENTION)

    @property
    def stray_count(self) -> int:
        """Results of a batch that was brought in which belong to no row."""
        return int(self.tally.get("strays", 0))

    @property
    def cost(self) -> Decimal:
        """US dollars charged so far, by the results that are in."""
        return dollars(self.tally.get("cost_pico", 0))


BY_NAME = (Lower("name"), "pk")  # the order of templates

# As Job.awaits_approval.
AWAITS_APPROVAL = Q(approval_plan__gt="", approval_by=None) & (
    Q(state=Job.State.DRAFT, approval_plan=F("plan_sha256"))
    | Q(state=Job.State.FINISHED, approval_again__isnull=False)
)


def note_change(job_pk: int) -> None:
    """Say, in the transaction that changes rows of a job, that its numbers have to be renewed. Call
    it before the rows are changed: then whoever changes them at once waits here, and cannot lock
    the same rows in another order."""
    Job.objects.filter(pk=job_pk).update(rows_version=F("rows_version") + 1)


class TemplateQuerySet(models.QuerySet["Template"]):
    def visible_to(self, user: User | AbstractBaseUser | AnonymousUser) -> Self:
        """The templates that `user` may start with: their own, and those that are shared."""
        return self.filter(Q(owner_id=user.pk) | Q(shared=True))

    def changeable_by(self, user: User | AbstractBaseUser | AnonymousUser) -> Self:
        """The templates that `user` may rename, share and delete: their own; administrators also
        those that are shared."""
        if getattr(user, "is_superuser", False):
            return self.visible_to(user)
        return self.filter(owner_id=user.pk)

    def by_name(self) -> Self:
        return self.order_by(*BY_NAME)


class Template(models.Model):
    """A recipe that is kept under a name, to begin other jobs with."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT)
    name = models.CharField(max_length=100)
    shared = models.BooleanField(default=False)  # everyone on this site may start with it
    recipe = models.JSONField()  # recipes.Recipe; what it lacks is as a new Recipe has it
    changed_at = models.DateTimeField(default=timezone.now)

    objects = TemplateQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["owner", "name"], name="template_once_an_owner"),
        ]

    def __str__(self) -> str:
        return self.name


class BatchQuerySet(StateQuerySet["Batch"]):
    def with_provider(self) -> Self:
        """Batches whose end has to be watched for, at the provider that this site uses now."""
        return self.filter(state=Batch.State.IN_PROGRESS, job__practice=settings.PRACTICE)

    def to_fetch(self) -> Self:
        """Batches whose results have to be fetched, or that are asked for once more before they
        are given up."""
        return self.filter(
            Q(state=Batch.State.ENDED) | Q(state=Batch.State.IN_PROGRESS, given_up_at__isnull=False)
        )

    def to_fetch_again(self) -> Self:
        """Batches whose results on our disk are damaged, and may still be at the provider."""
        damaged = self.filter(state=Batch.State.COLLECTED, damage="", practice=settings.PRACTICE)
        return damaged.exclude(damaged_at=None)

    def not_fetched(self, now: datetime) -> Self:
        """Batches whose answers must be ready at the provider, and are not on our disk."""
        return self.filter(
            Q(state=Batch.State.ENDED) | Q(state=Batch.State.IN_PROGRESS, expires_at__lt=now)
        )

    def staying_away(self, tries: int) -> Self:
        """Batches whose answers a person may give up: fetched `tries` times and never whole, or
        not to be found at the provider."""
        return self.filter(
            Q(state=Batch.State.ENDED, collect_failures__gte=tries)
            | Q(state=Batch.State.IN_PROGRESS, missing_since__isnull=False),
            given_up_at=None,
        )

    def late_ones_possible(self, now: datetime) -> Self:
        """Batches that were sent again, or given up, lately: an earlier try may still turn up."""
        return self.filter(late_until__gt=now, practice=settings.PRACTICE).exclude(
            state__in=[Batch.State.PLANNED, Batch.State.SUBMITTING, Batch.State.UNKNOWN]
        )

    def whose_fate_is_open(self) -> Self:
        """Batches that were sent, of which one may yet be found at the provider."""
        return self.filter(
            Q(state__in=[Batch.State.SUBMITTING, Batch.State.UNKNOWN])
            | Q(state=Batch.State.PLANNED, attempts__gt=0),
            practice=settings.PRACTICE,
        )

    def unsettled(self) -> Self:
        """Batches of which we do not know yet whether the provider has them."""
        return self.filter(state__in=[Batch.State.SUBMITTING, Batch.State.UNKNOWN])


class Batch(models.Model):
    """One Message Batch: planned here, submitted once, watched, collected once."""

    class State(models.TextChoices):
        PLANNING = "planning", "Being prepared"
        PLANNED = "planned", "Ready to send"
        SUBMITTING = "submitting", "Sending"
        UNKNOWN = "unknown", "Checking whether it arrived"
        BLOCKED = "blocked", "Refused"
        IN_PROGRESS = "in_progress", "Being processed"
        ENDED = "ended", "Fetching the answers"
        COLLECTED = "collected", "Done"
        CANCELED = "canceled", "Stopped before it was sent"
        LOST = "lost", "Lost at the provider"

    FINAL = (State.COLLECTED, State.CANCELED, State.LOST)

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="batches")
    number = models.IntegerField()  # 1, 2, ... within the job
    round = models.IntegerField(default=1)  # of its rows, see Round
    size = models.IntegerField()  # requests in it: all that the provider shows of a batch at once
    nonce = models.CharField(max_length=12, unique=True)  # begins every custom_id of the batch
    state = models.CharField(max_length=12, choices=State.choices, default=State.PLANNED)
    body_sha256 = models.CharField(max_length=64)
    body_bytes = models.BigIntegerField()

    practice = models.BooleanField(default=False)  # as its job
    brought_in = models.BooleanField(default=False)  # made elsewhere: it is never sent or deleted

    # The submission. The intent is committed before the POST; the baseline is what the provider
    # listed before the first attempt - batches of this size, and the time of the newest of all by
    # the provider's own clock - and is never renewed, so that a batch of the first attempt that
    # turns up late is still seen as new.
    attempts = models.IntegerField(default=0)
    intent_at = models.DateTimeField(null=True)
    deadline_at = models.DateTimeField(null=True)
    baseline_ids = models.JSONField(null=True)
    baseline_at = models.DateTimeField(null=True)
    empty_looks = models.IntegerField(default=0)  # complete listings without a trace of it
    absence = models.JSONField(null=True)  # how long that has been so for sure: absence.Absence
    next_action_at = models.DateTimeField(null=True)
    refusal = models.TextField(default="")  # the provider's words, when it refused
    adopted = models.BooleanField(default=False)  # found by listing; the results prove it
    # A person is to say whether it is sent again (RECONCILE_RESUBMIT=ask), since when; and which of
    # the provider's batches a person says it is, to be checked.
    asked_at = models.DateTimeField(null=True)
    suggested_id = models.CharField(max_length=100, default="")
    # It counted as never arrived once: until then the list is searched for one that shows up late.
    late_until = models.DateTimeField(null=True)
    # How many of its tries counted as never arrived and may be charged all the same, until then;
    # and the most that one costs, in the unit of `cost_pico`.
    given_up = models.IntegerField(default=0, db_default=0)
    most_pico = models.BigIntegerField(default=0, db_default=0)

    # What the provider says of it.
    provider_id = models.CharField(max_length=100, null=True, unique=True)  # noqa: DJ001 - many have none
    created_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    cancel_sent_at = models.DateTimeField(null=True)
    counts = models.JSONField(default=dict)  # request_counts once it has ended

    # The results on our disk, exactly as received; of results that stay incomplete, what arrived.
    results_sha256 = models.CharField(max_length=64, default="")
    results_bytes = models.BigIntegerField(default=0)
    # When the file was last compared with its hash; since when it is missing or damaged; and why it
    # cannot be fetched again, in words ("": the worker is trying). See stored_results.py.
    results_checked_at = models.DateTimeField(null=True)
    damaged_at = models.DateTimeField(null=True)
    damage = models.TextField(default="")
    missing_since = models.DateTimeField(null=True)  # the provider does not have it (404)
    collect_failures = models.IntegerField(default=0)
    # What the last looks at it would mean if they were true, and how many in a row said the same:
    # nothing that cannot be undone is done after one look. See collection.Incomplete.
    doubt = models.CharField(max_length=40, default="")
    doubts = models.IntegerField(default=0)
    # A person goes on without its answers: it is looked at once more, and then it is lost.
    given_up_at = models.DateTimeField(null=True)
    arrived = models.IntegerField(default=0)  # rows taken from results that stayed incomplete
    warnings_given = models.SmallIntegerField(default=0)  # watching.WARNINGS: answers still there
    collected_at = models.DateTimeField(null=True)
    cost_pico = models.BigIntegerField(default=0)

    objects = BatchQuerySet.as_manager()

    class Meta:
        ordering = ["job", "number"]
        constraints = [
            models.UniqueConstraint(fields=["job", "number"], name="batch_once_a_job"),
            # Two batches of one size cannot both be "sent, answer unknown": the size is what tells
            # them apart in the provider's list.
            models.UniqueConstraint(
                fields=["size", "practice"],
                condition=Q(state__in=["submitting", "unknown"]),
                name="unsettled_sizes_differ",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["in_progress", "ended", "collected"])
                | Q(provider_id__isnull=False),
                name="sent_batch_has_its_id",
            ),
            models.CheckConstraint(
                condition=~Q(
                    brought_in=True,
                    state__in=["planning", "planned", "submitting", "unknown", "blocked"],
                ),
                name="brought_in_is_never_sent",
            ),
        ]
        indexes = [models.Index(fields=["state", "next_action_at"], name="batch_due")]

    def __str__(self) -> str:
        return f"batch {self.number} of job {self.job_id}"

    @property
    def is_final(self) -> bool:
        return self.state in self.FINAL

    @property
    def why_asked(self) -> str:
        """What is said to the person who has to decide whether it is sent again."""
        return (
            f"We could not confirm that batch {self.number} ({wording.rows(self.size)}) arrived at "
            "the provider, and it is not in the provider’s list. Somebody has to say whether it is "
            "sent again."
        )


class DisownedBatch(models.Model):
    """A batch at the provider that could be one of ours by its size and time, but its results begin
    with another custom_id. One answer may be wrong, so it is looked at several times before it is
    excluded, and now and then for two days after that. See ownership.py."""

    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, related_name="disowned")
    provider_id = models.CharField(max_length=100)
    looks = models.IntegerField(default=0)  # that said so
    next_look_at = models.DateTimeField()

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["batch", "provider_id"], name="disowned_once_a_batch")
        ]

    def __str__(self) -> str:
        return f"{self.provider_id} is not {self.batch}"


class Round(models.Model):
    """Rows of a finished job that were sent again together. The first time they were sent is round
    1, and has none of these."""

    class Step(models.TextChoices):
        TAKING = "taking", "Taking rows"
        PARTING = "parting", "Rows are no longer copies of one that was changed"
        READY = "ready", "Ready to send"

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="rounds")
    number = models.IntegerField()  # 2, 3, ... within the job
    recipe = models.JSONField(default=dict)  # recipes.Recipe; of ready-made requests nothing
    what = models.CharField(max_length=200)  # which rows, and what is different, for people
    rows = models.IntegerField()
    bytes = models.BigIntegerField()  # of these rows, as Row.size
    estimate = models.JSONField()  # US dollars as decimal text: low, high, most
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    asked_at = models.DateTimeField()
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    # Of `Job.spent_pico`, what this round was charged; tally.count_up keeps both.
    spent_pico = models.BigIntegerField(default=0, db_default=0)
    # The worker takes its rows slice by slice before any of them is sent, see preparation.py.
    # `which` rows, of those that were last in one of the `earlier` rounds (of any: empty).
    step = models.CharField(max_length=8, choices=Step.choices, default=Step.READY)
    which = models.CharField(max_length=60, default="")
    earlier = models.JSONField(default=list)
    asks_otherwise = models.BooleanField(default=False)
    done_to = models.IntegerField(default=0)  # the last row number looked at
    taken = models.IntegerField(default=0)  # rows, so far
    # Of ready-made requests that were changed: what is in them, as in Job.reading["models"].
    contents = models.JSONField(default=dict)

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["job", "number"], name="round_once_a_job")]

    def __str__(self) -> str:
        return f"round {self.number} of job {self.job_id}"


class LateBatch(models.Model):
    """A batch of ours that the provider listed only after its rows had been sent again, or had been
    given up. It is canceled at once; what it finished before that was paid twice."""

    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, related_name="late_ones")
    provider_id = models.CharField(max_length=100, unique=True)
    size = models.IntegerField()
    created_at = models.DateTimeField()
    found_at = models.DateTimeField()
    cancel_sent_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    finished = models.IntegerField(default=0)  # rows that it had answered, once it has ended
    cost_pico = models.BigIntegerField(default=0)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"late {self.provider_id} of {self.batch}"

    @property
    def cost(self) -> Decimal:
        """US dollars charged for it; 0 until it has ended."""
        return dollars(self.cost_pico)


class RowQuerySet(models.QuerySet["Row"]):
    def in_order(self) -> Self:
        return self.order_by("number")

    def slices(self, size: int) -> Iterator[list[Row]]:
        """These rows in order, up to `size` at a time. Each slice is a query of its own: one that
        stays open keeps SQLite from writing, and PostgreSQL from clearing up."""
        after = 0
        while rows := list(self.filter(number__gt=after).in_order()[:size]):
            yield rows
            after = rows[-1].number

    def value_slices(
        self, size: int, *columns: str, after: int = 0
    ) -> Iterator[list[tuple[Any, ...]]]:
        """As `slices`, of each row its number and these columns, of those that come `after`."""
        while rows := list(
            self.filter(number__gt=after).in_order().values_list("number", *columns)[:size]
        ):
            yield rows
            after = rows[-1][0]

    def to_be_sent(self, job: Job) -> Self:
        """Rows of a confirmed job that are in no batch yet."""
        return self.filter(job=job, outcome=Outcome.WAITING, batch=None, same_as=None)

    def failed(self) -> Self:
        """Rows that were to be sent and have no good answer, for whatever reason, and are not the
        same as another one."""
        return self.filter(outcome__in=NOT_GOOD, same_as=None, earlier=None)

    def with_usable_answer(self) -> Self:
        """Rows whose answer is as it was asked for, whatever a person thinks of it."""
        return self.filter(Q(outcome=Outcome.GOOD) | Q(outcome=Outcome.LOOK, cause=MARKED_DOWN))


def containing(text: str, *, answers_are_json: bool) -> Q:
    """Rows with `text` in a cell, the answer or what was said about them, in capitals or not."""
    found = Q()
    forms = {text}
    if connection.vendor == "sqlite" and not text.isascii():
        # It knows the capitals of plain letters only.
        others = text, text.lower(), text.upper(), text.title()
        forms = {re.sub("[A-Z]", lambda match: match[0].lower(), form) for form in others}
    for form in forms:
        # Cells are stored as JSON, in which a quote or a line break is written with a backslash.
        in_json = json.dumps(form, ensure_ascii=False)[1:-1]
        found |= (
            Q(source__icontains=in_json)
            | Q(answer__icontains=in_json if answers_are_json else form)
            | Q(message__icontains=form)
            | Q(problem__icontains=form)
        )
    return found


class Row(models.Model):
    """One line of the upload and what became of it."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="rows", db_index=False)
    number = models.IntegerField()  # 1 .. row_count, the order of the upload
    line = models.IntegerField()  # where it begins in the file, as a spreadsheet numbers it
    # JSON text, not a JSON column: a ready-made request is sent as it is, key order and all.
    # A table's row is a list of its cells; a ready-made request is the uploaded object.
    source = models.TextField()
    size = models.IntegerField()  # bytes of the cells (table) or of `params` (requests), in UTF-8
    # Why it is left out, and on a second line how to mend it.
    problem = models.TextField(default="")

    batch = models.ForeignKey(Batch, on_delete=models.SET_NULL, null=True, related_name="rows")
    attempts = models.IntegerField(default=0)  # earlier ones, see Attempt
    # In which it was last to be sent, also if it was not, and what it was asked then: see Round.
    round = models.IntegerField(default=1, db_default=1)
    # The number of an earlier row with the same request: that one is sent, for both.
    same_as = models.IntegerField(null=True)
    # The number of the row of `job.previous` with the same request, whose answer this one has.
    earlier = models.IntegerField(null=True)
    outcome = models.CharField(max_length=8, choices=Outcome.choices, default=Outcome.WAITING)
    cause = models.CharField(max_length=60, default="")  # judging.CAUSES, or the provider's type
    answer = models.TextField(default="")
    message = models.TextField(default="")  # the provider's words, when it could not be processed
    request_id = models.CharField(max_length=100, default="")
    answered_by = models.CharField(max_length=100, default="")  # the model, as the provider says
    stop_reason = models.CharField(max_length=60, default="")
    input_tokens = models.IntegerField(default=0)  # without those of the cache
    cache_write_tokens = models.IntegerField(default=0)
    cache_read_tokens = models.IntegerField(default=0)
    output_tokens = models.IntegerField(default=0)  # thinking included
    thinking_tokens = models.IntegerField(default=0)
    cost_pico = models.BigIntegerField(default=0)

    objects = RowQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "number"], name="row_once_a_job")]
        # What `browsing` walks along: each outcome and cause by number, by cost and by length.
        indexes = [
            models.Index(fields=["job", "outcome", "cause", "number"], name="row_outcome"),
            models.Index(
                fields=["job", "outcome", "cause", "cost_pico", "number"], name="row_cost"
            ),
            models.Index(
                fields=["job", "outcome", "cause", "output_tokens", "number"], name="row_output"
            ),
            # The copies of a row, the first one first.
            models.Index(
                fields=["job", "same_as", "number"],
                name="row_copies",
                condition=Q(same_as__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"row {self.number} of job {self.job_id}"

    @property
    def content(self) -> Any:
        """The cells (list of str) of a table's row, or the uploaded request (dict)."""
        return json.loads(self.source)

    @property
    def has_usable_answer(self) -> bool:
        """As RowQuerySet.with_usable_answer: an answer in columns is stored as its values."""
        is_down = self.outcome == Outcome.LOOK and self.cause == MARKED_DOWN
        return self.outcome == Outcome.GOOD or is_down

    @property
    def all_input_tokens(self) -> int:
        return self.input_tokens + self.cache_write_tokens + self.cache_read_tokens

    @property
    def cost(self) -> Decimal:
        """US dollars charged for it."""
        return dollars(self.cost_pico)


class Attempt(models.Model):
    """What a row came to before it was sent again. As in Row, but for `source`: what the row held
    then, when that was changed since; else empty."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="+", db_index=False)
    number = models.IntegerField()  # of the row
    attempt = models.IntegerField()  # 1, 2, ...
    source = models.TextField(default="")
    batch = models.ForeignKey(Batch, on_delete=models.SET_NULL, null=True, related_name="+")
    outcome = models.CharField(max_length=8, choices=Outcome.choices)
    cause = models.CharField(max_length=60)
    answer = models.TextField()
    message = models.TextField()
    problem = models.TextField()
    request_id = models.CharField(max_length=100)
    answered_by = models.CharField(max_length=100)
    stop_reason = models.CharField(max_length=60)
    input_tokens = models.IntegerField()
    cache_write_tokens = models.IntegerField()
    cache_read_tokens = models.IntegerField()
    output_tokens = models.IntegerField()
    thinking_tokens = models.IntegerField()
    cost_pico = models.BigIntegerField()

    class Meta:
        ordering = ["number", "attempt"]
        constraints = [
            models.UniqueConstraint(fields=["job", "number", "attempt"], name="attempt_once_a_row")
        ]

    def __str__(self) -> str:
        return f"attempt {self.attempt} of row {self.number} of job {self.job_id}"

    @property
    def cost(self) -> Decimal:
        """US dollars charged for it."""
        return dollars(self.cost_pico)


class Edit(models.Model):
    """A row of a finished job that a person has changed, until it is sent again."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="edits", db_index=False)
    number = models.IntegerField()  # of the row
    source = models.TextField()  # as Row.source, of what it is to be

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["job", "number"], name="edit_once_a_row")]

    def __str__(self) -> str:
        return f"edit of row {self.number} of job {self.job_id}"


class RowChange(models.Model):
    """What a person wants done to many rows of a job. The worker does it slice by slice,
    and until that is done nothing else may change rows of the job."""

    class Kind(models.TextChoices):
        LEAVE_OUT = "leave_out", "Leaving rows out"
        EDIT = "edit", "Changing rows"
        FORGET = "forget", "Taking changes back"
        CORRECT = "correct", "Taking corrected rows"
        MARK = "mark", "Marking copies of an answer"

    job = models.OneToOneField(Job, on_delete=models.CASCADE, related_name="row_change")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    cause = models.CharField(max_length=60, default="")  # of the rows
    # Of EDIT: what editing.change_all is told; of MARK: {"number", "good", "note"}.
    how = models.JSONField(default=dict)
    rows = models.IntegerField()  # as many as there were
    done_to = models.IntegerField(default=0)  # the last row number looked at
    done = models.IntegerField(default=0)  # rows, so far
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )

    def __str__(self) -> str:
        return f"{self.kind} in job {self.job_id}"


class CorrectedUpload(models.Model):
    """The problem file of a finished job that was corrected and uploaded back, the latest one."""

    job = models.OneToOneField(Job, on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=255)  # as its owner calls it
    file = models.CharField(max_length=64)  # as it lies among the uploads
    sha256 = models.CharField(max_length=64, default="")  # "": from a version that did not note it
    found = models.JSONField(null=True)  # resending.Found; None: it is to be read

    def __str__(self) -> str:
        return f"{self.name} for job {self.job_id}"


class Reading(models.Model):
    """A row of the sample of a job's answers that a person reads, and what they think of it."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="sample")
    position = models.IntegerField()  # 1, 2, ... in the order in which they were drawn
    number = models.IntegerField()  # of the row
    good = models.BooleanField(null=True)  # None: not read yet
    # Of the answer that was read (reviewing.answer_key): a later one is another answer.
    answer_key = models.CharField(max_length=64, default="")
    note = models.TextField(default="")
    marked_at = models.DateTimeField(null=True)
    marked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["job", "position"], name="reading_once_a_place"),
            models.UniqueConstraint(fields=["job", "number"], name="reading_once_a_row"),
        ]

    def __str__(self) -> str:
        return f"reading {self.position} of job {self.job_id}"


class Length(NamedTuple):
    """Tokens of one answer."""

    text: int
    thinking: int


class TryQuerySet(StateQuerySet["Try"]):
    def pending(self) -> Self:
        """Those whose answer is to come."""
        return self.filter(state__in=[Try.State.WAITING, Try.State.SENDING])

    def to_learn_from(self) -> Self:
        """Those that were answered by the provider that this site asks now, in their order: what
        the simulator made up says nothing of real answers."""
        answered = self.filter(state=Try.State.ANSWERED, practice=settings.PRACTICE)
        return answered.order_by("pk")

    def lengths(self) -> dict[str, list[Length]]:
        """How long the answer to each row was, by the try_key of what was asked. Of a row that was
        tried several times the last one counts."""
        found: dict[str, dict[int, Length]] = {}
        tokens = ("output_tokens", "thinking_tokens")
        for key, number, output, thinking in self.to_learn_from().values_list(
            "recipe_key", "number", *tokens
        ):
            found.setdefault(key, {})[number] = Length(max(output - thinking, 0), thinking)
        return {key: list(lengths.values()) for key, lengths in found.items()}


class Try(models.Model):
    """A row of a draft that is answered at once, to be looked at. Charged at the normal rate."""

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        SENDING = "sending", "Being answered"
        ANSWERED = "answered", "Answered"
        FAILED = "failed", "Not answered"  # a clear no
        UNKNOWN = "unknown", "Answer lost"  # it was sent, and may have been charged

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="tries")
    round = models.IntegerField()  # 1, 2, ... within the job: those that were asked for together
    number = models.IntegerField()  # of the row, as the file was read then
    cells = models.JSONField()  # [column, cell] of what the prompt used
    params = models.TextField()  # JSON text: the request, as it is sent
    recipe = models.JSONField(default=dict)  # recipes.Recipe, as it was then
    recipe_key = models.CharField(max_length=16, default="")  # try_key
    model = models.CharField(max_length=100)  # as in `params`
    practice = models.BooleanField()  # asked for in practice mode: it must never cost money
    answer_kind = models.JSONField(default=dict)  # answer_kinds.AnswerKind
    asked_at = models.DateTimeField(default=timezone.now)
    state = models.CharField(max_length=8, choices=State.choices, default=State.WAITING)

    # As in Row.
    outcome = models.CharField(max_length=8, choices=Outcome.choices, default=Outcome.WAITING)
    cause = models.CharField(max_length=60, default="")
    answer = models.TextField(default="")
    message = models.TextField(default="")
    stop_reason = models.CharField(max_length=60, default="")
    answered_by = models.CharField(max_length=100, default="")
    input_tokens = models.IntegerField(default=0)  # of the cache, too
    output_tokens = models.IntegerField(default=0)  # thinking included
    thinking_tokens = models.IntegerField(default=0)
    most_pico = models.BigIntegerField(default=0)  # what it may cost, for as long as it is open
    cost_pico = models.BigIntegerField(default=0)

    objects = TryQuerySet.as_manager()

    class Meta:
        ordering = ["-round", "number"]
        constraints = [
            models.UniqueConstraint(fields=["job", "round", "number"], name="try_once_a_round")
        ]

    def __str__(self) -> str:
        return f"try {self.round} of row {self.number} of job {self.job_id}"

    @property
    def cost(self) -> Decimal:
        """US dollars charged for it, at the normal rate."""
        return dollars(self.cost_pico)


class Problem(models.Model):
    """What a person should know about the upload: all of one kind, as in ingest.words.FINDINGS."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="problems")
    kind = models.CharField(max_length=20, default="")
    count = models.IntegerField(default=1)
    # The first ones: their lines (0: the file as a whole), and each in words.
    lines = models.JSONField(default=list)
    texts = models.JSONField(default=list)
    leaves_out = models.BooleanField(default=False)  # the rows, or the file, cannot be sent
    fix = models.CharField(max_length=200, default="")  # a code for Choices.remedies

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.count} {self.kind}"

    @property
    def title(self) -> str:
        """What is wrong, in a sentence for all of them."""
        return title_of(self.kind, self.count, self.texts)

    @property
    def remedy(self) -> str:
        return remedy_of(self.kind)

    @property
    def fix_in_words(self) -> str:
        return fix_in_words(self.fix, self.count) if self.fix else ""

    @property
    def places(self) -> list[tuple[int, str]]:
        """The first ones: line (0: the file as a whole) and what is wrong there."""
        return list(zip(self.lines, self.texts, strict=True))


class JobEvent(models.Model):
    """The log of a job, in words for the person who watches it."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField(default=timezone.now)
    text = models.TextField()
    who = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return self.text


class Export(models.Model):
    """A finished file that the worker is to build; gone as soon as that is done."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="exports")
    kind = models.CharField(max_length=8)  # "csv" or "xlsx"
    only = models.CharField(max_length=12, default="all")  # which rows: exports.ROWS
    trouble = models.TextField(default="")  # why it could not be built the last time

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["job", "kind", "only"], name="export_once_a_job"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of job {self.job_id}"


class SubmissionEvent(models.Model):
    """Append-only: every intent, every POST and what came of it. Outlives its job, because it says
    which of the provider's batches are ours."""

    at = models.DateTimeField(default=timezone.now)
    job = models.ForeignKey(Job, on_delete=models.SET_NULL, null=True)
    nonce = models.CharField(max_length=12)
    kind = models.CharField(max_length=20)  # intent, accepted, refused, not_sent, unknown, adopted
    provider_id = models.CharField(max_length=100, default="", db_index=True)
    detail = models.JSONField(default=dict)  # ids, counts and hashes; never text of the person

    def __str__(self) -> str:
        return f"{self.kind} {self.nonce}"


SPENDING_IS_STOPPED = "An administrator has stopped all spending: nothing new is sent."


class OwnPrice(models.Model):
    """The price of a model that an administrator has entered, in US dollars for a million tokens at
    the normal rate, from a day on. Rows are never changed: a new price is a new one."""

    model = models.CharField(max_length=100)
    since = models.DateField()
    input = models.DecimalField(max_digits=12, decimal_places=6)
    output = models.DecimalField(max_digits=12, decimal_places=6)
    cache_write_5m = models.DecimalField(max_digits=12, decimal_places=6)
    cache_write_1h = models.DecimalField(max_digits=12, decimal_places=6)
    cache_read = models.DecimalField(max_digits=12, decimal_places=6)
    entered_at = models.DateTimeField(default=timezone.now)
    entered_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    withdrawn_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["model", "since", "pk"]

    def __str__(self) -> str:
        return f"{self.model} from {self.since}"


class PastSpending(models.Model):
    """What a job had cost that was deleted: its rows are gone, the money is spent all the same."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT)
    at = models.DateTimeField()  # when it was confirmed, or tried
    practice = models.BooleanField()
    template = models.CharField(max_length=100, default="")
    models_used = models.JSONField(default=dict)  # US dollars, as text, by model
    spent_pico = models.BigIntegerField()
    # What may have been charged besides: for tries whose answer was lost, for good, and until
    # `open_until` for batches that may still turn up.
    open_pico = models.BigIntegerField(default=0, db_default=0)
    open_until = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.spent_pico} at {self.at}"


class Installation(models.Model):
    """The one row (pk=1, made by a migration) of what there is once: the first account, the
    worker's sign of life, and when the provider may be asked again."""

    set_up_at = models.DateTimeField(null=True)
    tick_at = models.DateTimeField(null=True)  # the worker's last sign of life
    next_tick_at = models.DateTimeField(default=timezone.now)
    next_poll_at = models.DateTimeField(default=timezone.now)
    send_after = models.DateTimeField(default=timezone.now)  # later: the provider asked us to wait
    provider_trouble = models.TextField(default="")  # why the last look at the provider failed
    site_trouble = models.TextField(default="")  # why a step failed here: disk, database
    # Sending is paused for the key with this fingerprint, and why; `send_after` is the next try.
    pause = models.TextField(default="")
    pause_key = models.CharField(max_length=16, default="")
    pauses_in_a_row = models.IntegerField(default=0)
    # The provider had no room at this time, so that jobs take turns.
    crowded_at = models.DateTimeField(null=True)
    # How many bytes of the journal were compared with the database, how many submissions in it the
    # database does not know, and whether somebody asked to look for them at the provider.
    journal_checked = models.BigIntegerField(default=0)
    journal_ahead = models.IntegerField(default=0)
    restore_asked_at = models.DateTimeField(null=True)
    restore_report = models.TextField(default="")
    # What administrators allow, in US dollars; None: as much as one likes. `stopped_at`: nothing at
    # all is sent since then.
    most_a_job = models.DecimalField(max_digits=12, decimal_places=2, null=True)
    most_a_person = models.DecimalField(max_digits=12, decimal_places=2, null=True)
    most_a_month = models.DecimalField(max_digits=12, decimal_places=2, null=True)
    approval_above = models.DecimalField(max_digits=12, decimal_places=2, null=True)
    stopped_at = models.DateTimeField(null=True)
    # provider.ModelInfo of what it offers, since when, to which key, and when to ask again.
    model_list = models.JSONField(default=list)
    model_list_at = models.DateTimeField(null=True)
    model_list_key = models.CharField(max_length=16, default="")
    model_list_due_at = models.DateTimeField(default=timezone.now)
    # adopting.Listed of the batches that it lists and this site does not know, since when, to which
    # key; whether somebody asked for them, and why they could not be had.
    batch_list = models.JSONField(default=list)
    batch_list_at = models.DateTimeField(null=True)
    batch_list_key = models.CharField(max_length=16, default="")
    batch_list_asked_at = models.DateTimeField(null=True)
    batch_list_trouble = models.TextField(default="")

    def __str__(self) -> str:
        return "installation"

    @classmethod
    def get(cls) -> Installation:
        return cls.objects.get(pk=1)

    @property
    def paused_because(self) -> str:
        """Why nothing is sent with the key that this site uses now; "" when it is."""
        return self.pause if self.pause_key == key_fingerprint() else ""

    @property
    def is_behind_journal(self) -> bool:
        """The journal knows of submissions that the database does not."""
        return bool(self.journal_ahead) and not settings.PRACTICE

    @property
    def why_not_sending(self) -> str:
        """Why no job can send anything until somebody has mended it; "" when they can."""
        if self.is_behind_journal:
            return (
                "Nothing is sent: the database of this site is older than its journal, so some "
                "rows may have been sent already. An administrator has to look for them at the "
                "provider first."
            )
        if self.stopped_at:
            return SPENDING_IS_STOPPED
        return f"Sending is paused: {self.paused_because}" if self.paused_because else ""

    @property
    def worker_is_alive(self) -> bool:
        return self.tick_at is not None and timezone.now() - self.tick_at < timedelta(seconds=90)
