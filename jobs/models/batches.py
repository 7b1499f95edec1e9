"""Message batches, and those at the provider that could be, or were, ours."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Self

import msgspec
from django.conf import settings
from django.db import models
from django.db.models import Q

from ..rules import wording
from ..rules.own_ids import own_id
from ..rules.structs import reader_of
from .clock import Moment
from .fields import StructField
from .money import dollars
from .querysets import StateQuerySet

KEPT_THERE = timedelta(days=31)  # the provider deletes batches after 29 days


class Absence(msgspec.Struct, frozen=True):
    """How long a batch that may have been sent has surely not been in the provider's list."""

    # Just before the intent was committed. None: an older version sent it without saying when, and
    # `seconds` count from the first look.
    begun: Moment | None
    until: Moment  # up to when `seconds` are counted
    seconds: float = 0.0  # since `begun`
    looked: float = 0.0  # `seconds` at the last look that counts


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
        damaged = damaged.filter(removed_at=None)
        return damaged.exclude(damaged_at=None)

    def to_delete_at_provider(self, now: datetime, *, by_default: bool) -> Self:
        """Batches that we sent whose results are collected and not known to be damaged, and whose
        job has them deleted at the provider; `by_default`: what the site says."""
        wanted = Q(job__deletes_batches=True)
        if by_default:
            wanted |= Q(job__deletes_batches=None)
        proven = self.filter(
            wanted,
            state=Batch.State.COLLECTED,
            practice=settings.PRACTICE,
            is_external=False,
            deleted_at=None,
            damaged_at=None,
            removed_at=None,
        )
        proven = proven.filter(created_at__gt=now - KEPT_THERE)  # later they are gone by themselves
        return proven.filter(Q(delete_after=None) | Q(delete_after__lte=now))

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
            state__in=[
                Batch.State.RESTORING,
                Batch.State.PLANNED,
                Batch.State.SUBMITTING,
                Batch.State.UNKNOWN,
            ]
        )

    def whose_fate_is_open(self) -> Self:
        """Batches that were sent, of which one may yet be found at the provider."""
        open_ = [Batch.State.RESTORING, Batch.State.SUBMITTING, Batch.State.UNKNOWN]
        return self.filter(
            Q(state__in=open_) | Q(state=Batch.State.PLANNED, attempts__gt=0),
            practice=settings.PRACTICE,
        )

    def listed_beside(self, workspace: str) -> Self:
        """Batches that may be in the list of this workspace of the provider's; "" is not known."""
        return self.filter(workspace__in=["", workspace]) if workspace else self

    def unsettled(self) -> Self:
        """Batches of which we do not know yet whether the provider has them."""
        return self.filter(state__in=[Batch.State.SUBMITTING, Batch.State.UNKNOWN])


class Batch(models.Model):
    """One Message Batch: planned here, submitted once, watched, collected once."""

    class State(models.TextChoices):
        # It was sent, and only the journal knew. It gets its rows back, see restored_rows.py.
        RESTORING = "restoring", "Being restored"
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

    job = models.ForeignKey("Job", on_delete=models.CASCADE, related_name="batches")
    number = models.IntegerField()  # 1, 2, ... within the job
    round = models.IntegerField(default=1)  # of its rows, see Round
    size = models.IntegerField()  # requests in it: all that the provider shows of a batch at once
    nonce = models.CharField(max_length=12, unique=True)  # begins every custom_id of the batch
    state = models.CharField(max_length=12, choices=State.choices, default=State.PLANNED)
    body_sha256 = models.CharField(max_length=64)
    body_bytes = models.BigIntegerField()

    practice = models.BooleanField(default=False)  # as its job
    is_external = models.BooleanField(default=False)  # made elsewhere: it is never sent or deleted

    # The submission. The intent is committed before the POST; the baseline is what the provider
    # listed before the first attempt - batches of this size, and the time of the newest of all by
    # the provider's own clock - and is never renewed, so that a batch of the first attempt that
    # turns up late is still seen as new.
    attempts = models.IntegerField(default=0)
    intent_at = models.DateTimeField(null=True)
    deadline_at = models.DateTimeField(null=True)
    baseline_ids = StructField[list[str] | None](reader_of(list[str]), null=True)
    baseline_at = models.DateTimeField(null=True)
    empty_looks = models.IntegerField(default=0)  # complete listings without a trace of it
    # key_fingerprint of the key that it was sent with last, and its workspace at the provider, as
    # the provider said; "": an older version sent it, or the provider did not say.
    key = models.CharField(max_length=16, default="", db_default="")
    workspace = models.CharField(max_length=100, default="", db_default="")
    # How long that has been so for sure.
    absence = StructField[Absence | None](reader_of(Absence), null=True)
    next_action_at = models.DateTimeField(null=True)
    refusal = models.TextField(default="")  # the provider's words, when it refused
    recovered = models.BooleanField(default=False)  # found by listing; the results prove it
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
    # request_counts once it has ended.
    counts = StructField[dict[str, int]](reader_of(dict[str, int]), default=dict)

    # The results on our disk, exactly as received; of results that stay incomplete, what arrived.
    results_sha256 = models.CharField(max_length=64, default="")
    results_bytes = models.BigIntegerField(default=0)
    # When the file was last compared with its hash; since when it is missing or damaged; and why it
    # cannot be fetched again, in words ("": the worker is trying). See stored_results.py.
    results_checked_at = models.DateTimeField(null=True)
    damaged_at = models.DateTimeField(null=True)
    damage = models.TextField(default="")
    removed_at = models.DateTimeField(null=True)  # deleted here, as its retention says
    # The provider has deleted it because we asked, its certificate, and when to ask again.
    deleted_at = models.DateTimeField(null=True)
    deletion_id = models.CharField(max_length=100, default="")
    deletion_failures = models.IntegerField(default=0, db_default=0)
    delete_after = models.DateTimeField(null=True)
    missing_since = models.DateTimeField(null=True)  # the provider does not have it (404)
    collect_failures = models.IntegerField(default=0)
    # What the last looks at it would mean if they were true, and how many in a row said the same:
    # nothing that cannot be undone is done after one look. See collection.Incomplete.
    doubt = models.CharField(max_length=40, default="")
    doubts = models.IntegerField(default=0)
    # A person goes on without its answers: it is looked at once more, and then it is lost.
    given_up_at = models.DateTimeField(null=True)
    arrived = models.IntegerField(default=0)  # rows taken from results that stayed incomplete
    warnings_given = models.SmallIntegerField(default=0)  # polling.WARNINGS: answers still there
    collected_at = models.DateTimeField(null=True)
    cost_pico = models.BigIntegerField(default=0)

    objects = BatchQuerySet.as_manager()

    class Meta:
        ordering = ["job", "number"]
        constraints = [
            models.UniqueConstraint(fields=["job", "number"], name="batch_once_a_job"),
            # Two batches of one size cannot both be "sent, answer unknown": the size is what tells
            # them apart in the provider's list, of which each workspace has its own.
            models.UniqueConstraint(
                fields=["size", "practice", "workspace"],
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
                    is_external=True,
                    state__in=["planning", "planned", "submitting", "unknown", "blocked"],
                ),
                name="external_batch_is_never_sent",
            ),
        ]
        indexes = [models.Index(fields=["state", "next_action_at"], name="batch_due")]

    def __str__(self) -> str:
        return f"batch {self.number} of job {self.job_id}"

    def custom_id_of(self, number: int) -> str:
        """The id of a row on the wire. It proves which batch a result line belongs to."""
        return own_id(self.nonce, number)

    @property
    def is_final(self) -> bool:
        return self.state in self.FINAL

    @property
    def why_asked(self) -> str:
        """What is said to the person who has to decide whether it is sent again. `Job.held` begins
        with these words, also as older versions stored them, so they stay."""
        return (
            f"We could not confirm that batch {self.number} ({wording.rows(self.size)}) arrived at "
            "the provider, and it is not in the provider’s list. Somebody has to say whether it is "
            "sent again."
        )


class DisownedBatch(models.Model):
    """A batch at the provider that could be one of ours by its size and time, but its results begin
    with another custom_id. One answer may be wrong, so it is looked at several times before it is
    excluded, and now and then for two days after that. See ownership.py."""

    batch = models.ForeignKey("Batch", on_delete=models.CASCADE, related_name="disowned")
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


class LateBatch(models.Model):
    """A batch of ours that the provider listed only after its rows had been sent again, or had been
    given up. It is canceled at once; what it finished before that was paid twice."""

    batch = models.ForeignKey("Batch", on_delete=models.CASCADE, related_name="late_ones")
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
