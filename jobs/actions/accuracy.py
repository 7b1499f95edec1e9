"""Choose what answers are compared with, and write right answers here."""

from __future__ import annotations

from collections.abc import Mapping

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F

from ..models import GoldStandard, Job, Pilot, RightAnswer, clock
from ..results import builder, review_sample
from ..rules.right_answers import GoldChoice
from .nudges import nudge_worker

STATES = (Job.State.DRAFT, *Job.SENT)


def choose_gold(job: Job, choice: GoldChoice) -> bool:
    """Compare the answers of `job` as `choice` says, from now on. Nothing is sent and nothing
    costs. True if something changed."""
    with transaction.atomic():
        locked = Job.objects.select_for_update().get(pk=job.pk)
        if not can_compare(locked):
            return False
        gold, _is_new = GoldStandard.objects.get_or_create(job=job)
        if gold.choice == choice:
            return False
        GoldStandard.objects.filter(pk=gold.pk).update(choice=choice, version=F("version") + 1)
        _renew(locked)
    return True


def can_compare(job: Job) -> bool:
    """Whether right answers can be chosen for a job."""
    is_table = job.kind == Job.Kind.TABLE and job.state in STATES
    return is_table and not job.contents_deleted_at and not job.trashed_at


def draw_rows(job: Job, size: int) -> int:
    """Draw random rows with a good answer, for which a person writes the right answer before they
    see that of Claude, until there are `size`. From then on answers are compared with these.
    Returns how many were added."""
    chosen = review_sample.draw_sample(job, size + job.right_answers.count())
    with transaction.atomic():
        locked = Job.objects.select_for_update().get(pk=job.pk)
        if not can_compare(locked) or not locked.was_sent:
            return 0
        there = set(job.right_answers.values_list("number", flat=True))
        numbers = [number for number in chosen if number not in there]
        drawn = numbers[: max(size - len(there), 0)]
        RightAnswer.objects.bulk_create(
            RightAnswer(job=job, position=position, number=number)
            for position, number in enumerate(drawn, start=len(there) + 1)
        )
        gold, _is_new = GoldStandard.objects.get_or_create(job=job)
        if drawn and not gold.choice.by_hand:
            by_hand = GoldChoice(
                gold.choice.columns, True, gold.choice.ignores_accents, gold.choice.tolerance
            )
            changed = GoldStandard.objects.filter(pk=gold.pk)
            changed.update(choice=by_hand, version=F("version") + 1)
            _renew(locked)
    return len(drawn)


def save_right_answer(job: Job, number: int, values: Mapping[str, str], user: User) -> bool:
    """Save what the answer to a drawn row should be, by column of the answer; {} for a row that has
    no right answer. False if it was saved before: who has seen Claude's answer is no judge."""
    with transaction.atomic():
        locked = Job.objects.select_for_update().get(pk=job.pk)
        if not can_compare(locked):
            return False
        waiting = RightAnswer.objects.filter(job=job, number=number, written_at=None)
        filled = {name: text.replace("\0", "\ufffd") for name, text in values.items()}
        if not waiting.update(values=filled, written_at=clock.now(), written_by=user):
            return False
        GoldStandard.objects.filter(job=job).update(version=F("version") + 1)
        _renew(locked)
    return True


def _renew(locked: Job) -> None:
    """Have the worker compare the answers, and build the files anew that say which match."""
    if not locked.was_sent:
        return
    Job.objects.filter(pk=locked.pk).update(rows_changed=F("rows_changed") + 1)
    locked.runs_again().price_anew(clock.now())  # their plans name the version of its rows
    is_finished = locked.state == Job.State.FINISHED
    if is_finished:
        builder.request_exports_after_review(locked)
    if is_finished or Pilot.objects.filter(job=locked, step=Pilot.Step.WAITING).exists():
        Job.objects.filter(pk=locked.pk).update(next_action_at=clock.now())
        nudge_worker(locked)
