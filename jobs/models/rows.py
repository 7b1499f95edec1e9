"""Rows, their earlier attempts, and changes that people make to them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Self

import msgspec
from django.conf import settings
from django.db import connection, models
from django.db.models import Q

from ..rules.judging import MARKED_DOWN, is_usable
from ..rules.structs import reader_of
from .fields import StructField
from .jobs import Job
from .outcomes import NOT_GOOD, Outcome
from .pilots import Pilot
from .results import RowResult


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

    def unsent(self, job: Job) -> Self:
        """Rows of a confirmed job that are in no batch yet."""
        return self.filter(job=job, outcome=Outcome.WAITING, batch=None, same_as=None)

    def to_be_sent(self, job: Job) -> Self:
        """Those of `unsent` that may be sent now: while a pilot is open, its rows only."""
        pilot = Pilot.objects.open().filter(job=job).first()
        unsent = self.unsent(job)
        return unsent if pilot is None else unsent.filter(number__in=pilot.numbers)

    def failed(self) -> Self:
        """Rows that were to be sent and have no good answer, for whatever reason, and are not the
        same as another one."""
        return self.filter(outcome__in=NOT_GOOD, same_as=None, earlier=None)

    def with_usable_answer(self) -> Self:
        """As is_usable()."""
        return self.filter(Q(outcome=Outcome.GOOD) | Q(outcome=Outcome.LOOK, cause=MARKED_DOWN))


def forms_of(text: str) -> list[tuple[str, str]]:
    """What a search for `text` compares with, capitals aside: each as it is, and as it is in JSON.
    There a quote or a line break is written with a backslash."""
    forms = {text}
    if connection.vendor == "sqlite" and not text.isascii():
        # It knows the capitals of plain letters only.
        others = text, text.lower(), text.upper(), text.title()
        forms = {re.sub("[A-Z]", lambda match: match[0].lower(), form) for form in others}
    return [(form, json.dumps(form, ensure_ascii=False)[1:-1]) for form in forms]


def containing(text: str, *, answers_are_json: bool) -> Q:
    """Rows with `text` in a cell, the answer or what was said about them, in capitals or not. The
    search index finds what has one of forms_of in SEARCHED, so that has to be all."""
    found = Q()
    for form, in_json in forms_of(text):
        found |= (
            Q(source__icontains=in_json)
            | Q(answer__icontains=in_json if answers_are_json else form)
            | Q(message__icontains=form)
            | Q(problem__icontains=form)
        )
    return found


# Of a row, all that `containing` looks into.
SEARCHED = ("source", "answer", "message", "problem")


class Row(RowResult):
    """One line of the upload and what became of it."""

    job = models.ForeignKey("Job", on_delete=models.CASCADE, related_name="rows", db_index=False)
    number = models.IntegerField()  # 1 .. row_count, the order of the upload
    line = models.IntegerField()  # where it begins in the file, as a spreadsheet numbers it
    # JSON text, not a JSON column: a ready-made request is sent as it is, key order and all.
    # A table's row is a list of its cells; a ready-made request is the uploaded object.
    source = models.TextField()
    size = models.IntegerField()  # bytes of the cells (table) or of `params` (requests), in UTF-8
    # Why it is left out, and on a second line how to fix it.
    problem = models.TextField(default="")

    batch = models.ForeignKey("Batch", on_delete=models.SET_NULL, null=True, related_name="rows")
    attempts = models.IntegerField(default=0)  # earlier ones, see Attempt
    # In which it was last to be sent, also if it was not, and what it was asked then: see Round.
    round = models.IntegerField(default=1, db_default=1)
    # The number of an earlier row with the same request: that one is sent, for both.
    same_as = models.IntegerField(null=True)
    # The number of the row of an earlier job with the same request, whose answer this one has, and
    # that job: None for `job.previous`, as of older versions. No key: that job may be deleted.
    earlier = models.IntegerField(null=True)
    earlier_job = models.BigIntegerField(null=True)
    # request_key() of what was sent, stored with its answer, or of what `earlier` was sent. None
    # without an answer, where the body was gone before the answer came, for rows of older versions
    # and imported batches. Of a ready-made request its lasting_key().
    request_key = models.BinaryField(max_length=16, null=True)

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
            # The rows of any job with the same request.
            models.Index(
                fields=["request_key"],
                name="row_request",
                condition=Q(request_key__isnull=False),
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
        return is_usable(self.outcome, self.cause)


class Attempt(RowResult):
    """What a row came to before it was sent again. As in Row, but for `source`: what the row held
    then, when that was changed since; else empty."""

    job = models.ForeignKey("Job", on_delete=models.CASCADE, related_name="+", db_index=False)
    number = models.IntegerField()  # of the row
    attempt = models.IntegerField()  # 1, 2, ...
    source = models.TextField(default="")
    batch = models.ForeignKey("Batch", on_delete=models.SET_NULL, null=True, related_name="+")
    problem = models.TextField()

    class Meta:
        ordering = ["number", "attempt"]
        constraints = [
            models.UniqueConstraint(fields=["job", "number", "attempt"], name="attempt_once_a_row")
        ]

    def __str__(self) -> str:
        return f"attempt {self.attempt} of row {self.number} of job {self.job_id}"


class Edit(models.Model):
    """A row of a finished job that a person has changed, until it is sent again."""

    job = models.ForeignKey("Job", on_delete=models.CASCADE, related_name="edits", db_index=False)
    number = models.IntegerField()  # of the row
    source = models.TextField()  # as Row.source, of what it is to be

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["job", "number"], name="edit_once_a_row")]

    def __str__(self) -> str:
        return f"edit of row {self.number} of job {self.job_id}"


class ChangeDetail(msgspec.Struct, frozen=True, omit_defaults=True):
    """What else there is to know of a RowChange."""

    number: int = 0  # MARK: the row whose answer was marked; EDIT: as edits.change_rows takes it
    code: str = ""  # EDIT: as edits.change_rows takes them
    name: str = ""
    good: bool | None = None  # MARK: what a person says of the answer; None: nothing any more
    note: str = ""


class RowChange(models.Model):
    """What a person wants done to many rows of a job. The worker does it slice by slice,
    and until that is done nothing else may change rows of the job."""

    class Kind(models.TextChoices):
        LEAVE_OUT = "leave_out", "Leaving rows out"
        EDIT = "edit", "Changing rows"
        FORGET = "forget", "Taking changes back"
        CORRECT = "correct", "Taking corrected rows"
        MARK = "mark", "Marking copies of an answer"

    job = models.OneToOneField("Job", on_delete=models.CASCADE, related_name="row_change")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    cause = models.CharField(max_length=60, default="")  # of the rows
    how = StructField[ChangeDetail](reader_of(ChangeDetail), default=ChangeDetail)
    rows = models.IntegerField()  # as many as there were
    done_to = models.IntegerField(default=0)  # the last row number looked at
    done = models.IntegerField(default=0)  # rows, so far
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )

    def __str__(self) -> str:
        return f"{self.kind} in job {self.job_id}"
