"""Check the quality of a random sample of answers."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F

from ..models import Job, SampledAnswer, clock, job_log
from ..results import builder, review_sample
from ..retries import edits
from ..rules.judging import MARKED_DOWN
from ..worker import row_changes
from .nudges import nudge_worker
from .retries import are_rows_changing

# --- A sample of the answers ---------------------------------------------------------------------


def draw_sample(job: Job, size: int, user: User) -> int:
    """Draw random answers until the sample has `size`; earlier ones stay. Returns how many were
    added."""
    # What grows with the rows is done before the job is locked.
    chosen = review_sample.draw_sample(job, size + job.sample.count())
    good = review_sample.count_drawable(job)
    with transaction.atomic():
        Job.objects.select_for_update().get(pk=job.pk)  # a second draw waits here
        there = list(job.sample.values_list("number", flat=True))
        still = review_sample.drawable_among(job, chosen)
        others = [number for number in chosen if number in still.difference(there)]
        drawn = others[: max(size - len(there), 0)]
        if not drawn:
            return 0
        SampledAnswer.objects.bulk_create(
            SampledAnswer(job=job, position=position, number=number)
            for position, number in enumerate(drawn, start=len(there) + 1)
        )
        marked = job.rows.filter(number__in=there, cause=MARKED_DOWN).count()
        Job.objects.filter(pk=job.pk).update(
            drawn_from=good + marked,
            drawn_early=job.drawn_early or job.state != Job.State.FINISHED,
        )
        one, many = "Drew 1 answer at random.", f"Drew {len(drawn):,} answers at random."
        job_log.write(job.pk, one if len(drawn) == 1 else many, user)
    return len(drawn)


def mark_answer(job: Job, number: int, key: str, good: bool | None, note: str, user: User) -> bool:
    """Mark an answer of the sample as good or not, or undo that (None). `key` is the
    review_sample.answer_key of the answer that was shown. False if the row is not in the sample,
    has another answer by now, or rows of the job are being changed.

    A row whose answer is not good needs review, and so do rows with a copy of it. The worker marks
    the copies if there are many.
    """
    copies = row_changes.count_copies(job, number)
    with transaction.atomic():
        locked = Job.objects.select_for_update().get(pk=job.pk)
        if are_rows_changing(job):
            return False
        read = next(iter(review_sample.load_sample(job, number)), None)
        if read is None or read.row is None or review_sample.answer_key(read.row) != key:
            return False
        row_changes.mark_answer(read.row, copies, good, note, user)
        job.sample.filter(pk=read.reading.pk).update(
            good=good, answer_key=key, note=note, marked_at=clock.now(), marked_by=user
        )
        Job.objects.filter(pk=job.pk).update(rows_changed=F("rows_changed") + 1)
        # Answers marked as not good are not reused.
        job.runs_again().price_anew(clock.now())
        if job.edits.filter(number=number).exists():
            edits.note_edits(job)  # whether its edit can be sent may have changed
        if locked.state == Job.State.FINISHED:
            builder.request_exports_after_review(locked)
        if copies > row_changes.AT_ONCE:
            nudge_worker(job)
    return True
