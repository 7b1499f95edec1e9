"""What people do to a job: create, change, confirm, stop, try again, decide, delete. Pages and
commands call these; what follows from them is the worker's, in advance.py.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import PurePath
from typing import Any

import msgspec
from django.conf import settings
from django.contrib.auth.models import User
from django.core.files.base import File
from django.db import IntegrityError, transaction
from django.db.models import F, Max

from ..batches import (
    attempts,
    ceilings,
    external,
    external_ids,
    planning,
    reconciliation,
    result_proof,
)
from ..drafts import trials
from ..drafts.templates import Start
from ..ingest.shapes import Choices
from ..models import (
    Batch,
    CorrectedUpload,
    Job,
    JobEvent,
    JobQuerySet,
    Outcome,
    Row,
    SampledAnswer,
    Sending,
    Trial,
    choices_of,
    clock,
    dollars,
    files,
    note_change,
    pico,
    recipe_of,
    storage,
    stored_recipe,
)
from ..results import builder, review_sample
from ..retries import edits, rounds
from ..rules import pricing, wording
from ..rules.answer_formats import as_written
from ..rules.judging import MARKED_DOWN
from ..rules.pricing import UnknownPrice
from ..rules.recipes import Recipe, with_example, with_rows_of
from ..spending import caps
from ..worker import row_changes, tasks
from . import approvals

logger = logging.getLogger(__name__)


def create_job(
    owner: User,
    upload: File[bytes],
    name: str = "",
    choices: Choices | None = None,
    start: Start | None = None,
) -> Job:
    """Take in an uploaded file and make a job of it, to be read by the worker, as in `choices`;
    with the recipe of `start`."""
    with _taken_in(owner, upload) as taken, transaction.atomic():
        upload_name = taken["upload_name"]
        job = Job.objects.create(
            owner=owner,
            name=name.strip()[:200] or _usual_name(upload_name),
            choices=msgspec.to_builtins(choices) if choices else {},
            **(start.values if start else {"model": pricing.DEFAULT_MODEL}),
            **taken,
        )
        _log(job, f"Uploaded {upload_name}.", owner)
        if start:
            _log(job, start.in_words, owner)
        _nudge(job)
    return job


@contextmanager
def _taken_in(owner: User, upload: File[bytes]) -> Iterator[dict[str, Any]]:
    """Store an upload, and give what a job says of it. It is removed again when the block fails, so
    that what a full disk or a busy database refused takes up no room. Raises storage.NoRoom."""
    stored = uuid.uuid4().hex
    with _stored(owner, upload, stored) as sha256:
        yield {
            "upload_name": _name_of(upload),
            "upload_file": stored,
            "upload_sha256": sha256,
            "upload_bytes": files.stored_path(stored).stat().st_size,
        }


@contextmanager
def _stored(owner: User, upload: File[bytes], name: str) -> Iterator[str]:
    """Store a file under `name`, unless the block fails; its SHA-256. Raises storage.NoRoom."""
    storage.require_room(owner, upload.size)
    try:
        yield files.take_in(upload, name)
    except BaseException as error:
        # When a connection is lost, nobody knows whether the job was stored: tidy_up finds out.
        if storage.is_certainly_undone(error):
            files.remove_stored(name)
        if isinstance(error, OSError) and storage.is_disk_full(error):
            raise storage.NoRoom(storage.DISK_FULL) from error
        raise


def _usual_name(upload_name: str) -> str:
    return PurePath(upload_name).stem[:200] or "Job"


def _name_of(upload: File[bytes]) -> str:
    return PurePath((upload.name or "upload").replace("\\", "/")).name[:255]


def read_differently(job: Job, choices: Choices, user: User) -> bool:
    """Read the file anew, as a person wants it to be read; True when it is. A draft that is read in
    this way already and a job that was confirmed stay as they are."""
    if choices == choices_of(job) and job.state != Job.State.UNREADABLE:
        return False
    values: dict[str, Any] = {"choices": msgspec.to_builtins(choices)}
    chosen_before = choices_of(job).sheet
    if choices.sheet != chosen_before and choices.sheet != job.reading.get("sheet"):
        values["corrections"] = []  # they are of the rows of another sheet
    return _read_anew(job, changed_by=user, **values)


def replace_upload(job: Job, upload: File[bytes], user: User) -> bool:
    """Read another file in place of the one that was uploaded; name and prompt stay. False when the
    job was confirmed meanwhile."""
    with _taken_in(job.owner, upload) as taken, transaction.atomic():
        same = Job.objects.filter(upload_file=job.upload_file)
        if job.name == _usual_name(job.upload_name):
            taken["name"] = _usual_name(taken["upload_name"])
        replaced = _read_anew(job, same, choices={}, corrections=[], changed_by=user, **taken)
        if replaced:
            _log(job, f"Uploaded {taken['upload_name']} in place of {job.upload_name}.", user)
    # Should the worker be reading it, it finds that it is not wanted any more.
    files.remove_upload(job.upload_file if replaced else taken["upload_file"])
    return replaced


def correct_rows(job: Job, upload: File[bytes], user: User) -> bool:
    """Take in a problem file that was corrected: its rows take the place of those they name. False
    when the job was confirmed, or its file is being read, meanwhile."""
    name = f"{job.upload_file}.{uuid.uuid4().hex[:8]}"
    with _stored(job.owner, upload, name) as sha256, transaction.atomic():
        same = Job.objects.filter(upload_file=job.upload_file, readings=job.readings)
        corrections = [*job.corrections, {"file": name, "sha256": sha256, "used": False}]
        corrected = _read_anew(job, same, corrections=corrections, changed_by=user)
        if corrected:
            _log(job, f"Uploaded corrected rows: {_name_of(upload)}.", user)
    if not corrected:
        files.stored_path(name).unlink(missing_ok=True)
    return corrected


def take_back_corrections(job: Job, user: User) -> bool:
    """Read the file as it was uploaded. False when no row was corrected."""
    with transaction.atomic():
        taken_back = bool(job.corrections) and _read_anew(job, corrections=[], changed_by=user)
        if taken_back:
            _log(job, "Undid the corrected rows.", user)
    for correction in job.corrections if taken_back else []:
        files.stored_path(correction["file"]).unlink(missing_ok=True)
    return taken_back


def _read_anew(job: Job, jobs: JobQuerySet | None = None, **values: Any) -> bool:
    """Have the worker read the file once more. False when the job was confirmed meanwhile, or is
    not among `jobs`."""
    same = (Job.objects.all() if jobs is None else jobs).filter(pk=job.pk)
    with transaction.atomic():
        begun = same.read_anew(clock.now(), **values)
        if begun:
            job.trials.filter(state=Trial.State.WAITING).delete()
    return bool(begun)


def start_trials(job: Job, rows: list[Row], user: User, also: str = "") -> bool:
    """Have some rows of a draft answered at once, by the recipe as it is now; and by the model
    `also`, to compare. False when there is nothing to ask, answers of an earlier try are still to
    come, or it is no draft any more.

    The most that it can cost is reserved, and counts for the job. Raises limits.NotAllowed when
    that is more than may be spent, or it cannot be said.
    """
    asked = [recipe_of(job)]
    if also and also != job.model:
        asked.append(replace(asked[0], model=also))
    with transaction.atomic():
        allowed, now = caps.lock_caps(), clock.now()
        draft = Job.objects.filter(pk=job.pk, state=Job.State.DRAFT, readings=job.readings)
        if not draft.update(next_action_at=clock.now()) or job.trials.pending().exists():
            return False
        last = job.trials.aggregate(last=Max("round"))["last"] or 0
        rounds = enumerate(asked, start=last + 1)
        try:
            planned = [
                one
                for number, recipe in rounds
                for one in trials.plan_trials(job, rows, recipe, number)
            ]
        except UnknownPrice as error:
            raise caps.NotAllowed(
                f"There is no price for “{error}”, so what trying costs cannot be said. "
                "Choose another model, or ask an administrator to enter its price."
            ) from None
        most = dollars(sum(one.most_pico for one in planned))
        if why := caps.why_trial_over_cap(job, most, allowed, now):
            raise caps.NotAllowed(why)
        Trial.objects.bulk_create(planned)
        if planned:
            twice = " with two models" if len(asked) > 1 else ""
            _log(job, f"Trying {wording.rows(len(planned) // len(asked))}{twice}.", user)
            _nudge(job)
    return bool(planned)


def save_recipe(job: Job, recipe: Recipe, user: User) -> bool:
    """Keep the recipe of a draft; its price is worked out anew. True when something changed."""
    if recipe_of(job) == recipe:
        return False
    drafts = Job.objects.filter(pk=job.pk, state=Job.State.DRAFT, kind=Job.Kind.TABLE)
    # At once: the page has waited for the end of typing.
    saved = drafts.update(
        **stored_recipe(recipe), plan_sha256="", changed_by=user, next_action_at=clock.now()
    )
    if saved:
        _nudge(job)
    return bool(saved)


def use_tested_recipe(job: Job, round_number: int, user: User) -> bool:
    """Take the recipe of an earlier try for a draft again. False when there is none, or it is no
    draft any more."""
    found = (one.recipe for one in job.trials.filter(round=round_number))
    recipe = next(filter(None, found), None)
    if recipe is None or job.state != Job.State.DRAFT:
        return False
    save_recipe(job, with_rows_of(recipe_of(job), recipe), user)
    return True


def use_as_example(job: Job, one: Trial, user: User) -> bool:
    """Put a tried row and its answer into the instructions, as an example of a good answer. False
    when there is no good answer, or it is no draft any more."""
    if one.outcome != Outcome.GOOD or job.state != Job.State.DRAFT:
        return False
    if one.practice != settings.PRACTICE:
        return False  # made up, and now it would be paid for
    recipe = recipe_of(job)
    cells = [(name, cell) for name, cell in one.cells]
    answer = as_written(one.answer_kind, one.answer)
    system = with_example(recipe.system, cells, answer)
    save_recipe(job, replace(recipe, system=system), user)
    return True


def rename(job: Job, name: str) -> None:
    Job.objects.filter(pk=job.pk).update(name=name.strip()[:200] or job.name)


def confirm(job: Job, plan_sha256: str, user: User) -> bool:
    """Send the job, exactly as it was shown: `plan_sha256` is the hash of that plan. False when
    the draft or its price has changed since, or somebody confirmed it before.

    The most that it can cost is reserved. Raises limits.NotAllowed when that is more than may be
    spent, or a second person has to approve it first, and then `user` is not the owner.
    """
    with transaction.atomic():
        allowed, now = caps.lock_caps(), clock.now()
        # Locked: whoever changes the draft comes after us, or is seen.
        job = Job.objects.select_for_update().get(pk=job.pk)
        estimate = approvals.planned(job, plan_sha256)
        if estimate is None:
            return False
        if why := caps.why_over_cap(job, estimate.most, allowed, now):
            raise caps.NotAllowed(why)
        approved = {}
        if caps.needs_approval(job, estimate.most, allowed):
            if why := caps.why_approval_is_missing(job, plan_sha256, user):
                raise caps.NotAllowed(why)
            approved = {"approved_by": job.approval_by}
        note_change(job.pk)
        confirmed = Job.objects.filter(plan_sha256=plan_sha256).try_move(
            job.pk,
            Job.State.DRAFT,
            Job.State.SUBMITTING,
            confirmed_at=now,
            practice=settings.PRACTICE,
            next_action_at=now,
            reserved_pico=pico(estimate.most),
            **approved,
            **approvals.NOTHING_ASKED,
        )
        if confirmed:
            # What was to be tried is not of use any more.
            job.trials.filter(state=Trial.State.WAITING).delete()
            _log(job, f"Confirmed: {wording.rows(estimate.rows)}.", user)
            _nudge(job)
    return confirmed


def stop(job: Job, user: User) -> bool:
    """Stop a job: what is not sent stays unsent, what is sent ends as soon as the provider can."""
    with transaction.atomic():
        stopped = Job.objects.try_move(
            job.pk,
            [Job.State.SUBMITTING, Job.State.WORKING],
            Job.State.CANCELING,
            held="",
            next_action_at=clock.now(),
        )
        if stopped:
            _log(job, "Stop requested.", user)
            _nudge(job)
    return stopped


def try_again(job: Job, user: User) -> bool:
    """A person says that what held the job is mended: what was refused may be sent again."""
    with transaction.atomic():
        freed = (
            Job.objects.filter(pk=job.pk)
            .exclude(held="")
            .update(held="", next_action_at=clock.now())
        )
        if freed:
            # A refusal was a clear no, so the same batch can be sent without paying twice.
            job.batches.filter(state=Batch.State.BLOCKED).update(
                state=Batch.State.PLANNED, next_action_at=None
            )
            job.batches.filter(state=Batch.State.ENDED).update(
                collect_failures=0, next_action_at=clock.now()
            )
            Job.objects.filter(pk=job.pk).update(failures_in_a_row=0)
            _log(job, "Trying again.", user)
            _nudge(job)
    return bool(freed)


def send_now(job: Job, user: User) -> bool:
    """A person says that what paused sending for all jobs is mended: try at once. False when
    sending is not paused."""
    now = clock.now()
    paused = Sending.row().exclude(pause="")
    if not paused.update(send_after=now):
        return False
    with transaction.atomic():
        for waiting in Job.objects.sending():
            Job.objects.filter(pk=waiting.pk).update(next_action_at=now)
            _nudge(waiting)
        _log(job, "Trying to send again.", user)
    return True


def send_round(job: Job, again: rounds.RetryChoice, key: str, user: User) -> bool:
    """Send rows of a finished job again, as a person was shown; `key` is RetryPlan.key.
    False when the rows or their price have changed since, or they are being sent.

    The worker takes the rows, and they go out in new batches by the same path as the first time.
    The most that it can cost is reserved. Raises limits.NotAllowed when that is more than may be
    spent, or a second person has to send them.
    """
    shown = Job.objects.get(pk=job.pk)
    # Outside of the transaction: this takes the longer, the more rows there are.
    planned = rounds.find_plan(shown, again)
    if planned is None or planned.key != key:
        return False
    with transaction.atomic():
        allowed, now = caps.lock_caps(), clock.now()
        # Locked: whoever edits or marks its rows comes after us.
        job = Job.objects.select_for_update().get(pk=job.pk)
        if rounds.versions(job) != rounds.versions(shown):
            return False
        if row_changes.find(job):
            return False
        most = planned.price.most
        if why := caps.why_over_cap(job, most, allowed, now):
            raise caps.NotAllowed(why)
        approver = None
        if caps.needs_approval(job, most, allowed):
            if why := caps.why_approval_is_missing(job, key, user):
                raise caps.NotAllowed(why)
            approver = job.approval_by
        started = job.practice == settings.PRACTICE and Job.objects.try_move(
            job.pk,
            Job.State.FINISHED,
            Job.State.SUBMITTING,
            finished_at=None,
            next_action_at=now,
            reserved_pico=pico(most),
            # What was brought in counts as spending of this site from now on.
            confirmed_at=job.confirmed_at or now,
            **approvals.NOTHING_ASKED,
        )
        if not started:
            return False
        what = rounds.describe_retry(job, planned)
        rounds.create_round(job, planned, what, user)
        note_change(job.pk)
        job.rounds.filter(number=job.last_round).update(approved_by=approver)
        job.runs_again().price_anew(now)
        _log(job, f"Retry requested: {wording.rows(planned.rows)}. {what}".strip(), user)
        _nudge(job)
    return True


def note_changer(job: Job, user: User) -> None:
    """Say who changes rows of a finished job: not the one who approves that they are sent."""
    Job.objects.filter(pk=job.pk).update(changed_by=user)


def take_corrected(job: Job, upload: File[bytes], user: User) -> bool:
    """Take in the problem file of a finished job that was corrected, in place of an earlier one:
    what is different in it waits to be sent once the worker has read it. False when the job is not
    finished any more, or rows of it are being changed."""
    name = f"{job.upload_file}.{uuid.uuid4().hex[:8]}"
    with _stored(job.owner, upload, name) as sha256, transaction.atomic():
        taken = edits.is_open(job)
        if taken:
            Job.objects.filter(pk=job.pk).update(next_action_at=clock.now(), changed_by=user)
        mine = CorrectedUpload.objects.filter(job=job)
        not_needed = list(mine.values_list("file", flat=True)) if taken else [name]
        if taken:
            mine.delete()
            CorrectedUpload.objects.create(job=job, name=_name_of(upload), file=name, sha256=sha256)
            _log(job, f"Uploaded corrected rows: {_name_of(upload)}.", user)
            _nudge(job)
    for file in not_needed:
        files.stored_path(file).unlink(missing_ok=True)
    return taken


def leave_out(job: Job, cause: str, count: int, user: User) -> bool:
    """Count rows of a finished job as left out on purpose: `count` with this cause, as was shown.
    What they came to, and cost, is kept. The worker does it when they are many. False when they are
    not as many any more, or rows of the job are being changed."""
    shown = Job.objects.get(pk=job.pk)
    if not count or row_changes.count_to_leave_out(shown, cause) != count:
        return False
    begun = row_changes.leave_out(shown, cause, count, user)
    if begun:
        _nudge(job)
    return begun


def are_rows_changing(job: Job) -> bool:
    """Whether the worker is changing rows of a job, or taking them for a round."""
    return row_changes.find(job) is not None or attempts.is_preparing(job)


def change_rows(job: Job, cause: str, user: User, *, code: str, name: str, number: int) -> int:
    """Change all rows with one cause as editing.change_all; how many. The worker does it when they
    are many."""
    count = row_changes.change_all(job, cause, user, code=code, name=name, number=number)
    if count:
        _nudge(job)
    return count


def forget_edits(job: Job, user: User, number: int | None = None) -> None:
    """Take back what was changed, in one row or in all."""
    if number is not None:
        edits.discard_edits(job, number)
    else:
        row_changes.forget_all(job, user)
        _nudge(job)


# --- A batch of which we do not know whether it arrived ------------------------------------------


def look_again(batch: Batch, user: User) -> bool:
    """Look for an unknown batch in the provider's list at once. False when it is settled."""
    return _about_unknown(batch, user, f"Batch {batch.number}: looking again.")


def send_again(batch: Batch, user: User) -> bool:
    """A person decides that a batch which is not to be found is sent again, which may be paid
    twice. False when it was settled meanwhile, or nobody was asked.

    What it may cost a second time counts for the caps, and for approval. Raises limits.NotAllowed.
    """
    asked = Batch.objects.filter(pk=batch.pk).exclude(asked_at=None)
    most = ceilings.ceiling_of_batch(batch)
    with transaction.atomic():
        allowed, job = caps.lock_caps(), batch.job
        if not asked.exists():
            return False
        if why := caps.why_over_cap(job, most, allowed, clock.now()):
            raise caps.NotAllowed(why)
        if caps.needs_approval(job, most, allowed) and not caps.can_approve(job, user):
            raise caps.NotAllowed(
                f"It may cost {pricing.format_dollars(pricing.round_up(most))} a second time. "
                "An administrator who does not own this job has to send it again."
            )
        if not reconciliation.plan_again(batch, decided_by=user.pk):
            return False
        Job.objects.filter(pk=batch.job_id, held=batch.why_asked).update(held="")
        Job.objects.filter(pk=batch.job_id).update(next_action_at=clock.now())
        _log(batch.job, f"Batch {batch.number}: send again, as decided here.", user)
        _nudge(batch.job)
    return True


def this_is_it(batch: Batch, provider_id: str, user: User) -> bool:
    """A person says which of the provider's batches an unknown batch is; the worker checks it.
    False when it was settled meanwhile."""
    return _about_unknown(
        batch,
        user,
        f"Batch {batch.number}: checking whether it is {provider_id}.",
        suggested_id=provider_id,
    )


def _about_unknown(batch: Batch, user: User, what: str, **values: str) -> bool:
    now = clock.now()
    with transaction.atomic():
        unknown = Batch.objects.filter(pk=batch.pk, state=Batch.State.UNKNOWN)
        if not unknown.update(next_action_at=now, **values):
            return False
        Job.objects.filter(pk=batch.job_id).update(next_action_at=now)
        _log(batch.job, what, user)
        _nudge(batch.job)
    return True


def finish_without(job: Job, user: User) -> bool:
    """A person gives up on answers that stay away: batches whose results stay incomplete, or that
    the provider does not have. The worker looks at each once more; then it is lost but for what
    did arrive, and the job goes on. False when there are none."""
    now = clock.now()
    with transaction.atomic():
        held = Job.objects.filter(pk=job.pk).exclude(held="")
        if not held.update(held="", next_action_at=now):
            return False
        away = job.batches.staying_away(result_proof.TRIES)
        if not away.update(given_up_at=now, next_action_at=now):
            transaction.set_rollback(True)
            return False
        _log(job, "Continuing without the missing answers.", user)
        _nudge(job)
    return True


def delete(job: Job, user: User) -> bool:
    """Delete a job and everything of it: rows, files, and the copies at the provider. The worker
    does it; the job is gone from every page at once."""
    with transaction.atomic():
        deleting = Job.objects.try_move(
            job.pk, Job.DELETABLE, Job.State.DELETING, held="", next_action_at=clock.now()
        )
        if deleting:
            # What was not asked yet never will be. What the job has cost, and a test that is being
            # answered may still cost, counts on: it is written down when its rows are gone.
            job.trials.filter(state=Trial.State.WAITING).delete()
            job.runs_again().price_anew(clock.now())
            _nudge(job)
    if deleting:
        logger.info("job %s: deleted by user %s", job.pk, user.pk)
    return deleting


def _log(job: Job, text: str, user: User) -> None:
    JobEvent.objects.create(job=job, text=text, who=user)


def _nudge(job: Job) -> None:
    transaction.on_commit(lambda: tasks.nudge(job.pk))


# --- A sample of the answers ---------------------------------------------------------------------


def draw_sample(job: Job, size: int, user: User) -> int:
    """Draw answers to be read, at random, until there are `size`: those that were drawn before
    stay. How many were added."""
    # What grows with the rows is done before anybody has to wait.
    chosen = review_sample.draw_sample(job, size + job.sample.count())
    good = review_sample.count_drawable(job)
    with transaction.atomic():
        Job.objects.select_for_update().get(pk=job.pk)  # whoever comes second waits
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
        answers = "answer" if len(drawn) == 1 else "answers"
        _log(job, f"Drew {len(drawn):,} {answers} at random, to be read.", user)
    return len(drawn)


def mark_answer(job: Job, number: int, key: str, good: bool | None, note: str, user: User) -> bool:
    """Say of an answer of the sample that it is good or not, or take that back (None). `key` is the
    reviewing.answer_key of the answer that was read. False when the row is not in the sample, has
    another answer by now, or rows of the job are just being changed.

    A row whose answer is not good needs a look, and so do those that have a copy of it. The worker
    marks these when they are many.
    """
    copies = row_changes.count_copies(job, number)
    with transaction.atomic():
        locked = Job.objects.select_for_update().get(pk=job.pk)
        if are_rows_changing(job):
            return False
        read = next(iter(review_sample.load_sample(job, number)), None)
        if read is None or read.row is None or review_sample.answer_key(read.row) != key:
            return False
        row_changes.mark(read.row, copies, good, note, user)
        job.sample.filter(pk=read.reading.pk).update(
            good=good, answer_key=key, note=note, marked_at=clock.now(), marked_by=user
        )
        Job.objects.filter(pk=job.pk).update(rows_changed=F("rows_changed") + 1)
        if job.edits.filter(number=number).exists():
            edits.note_edits(job)  # it can be sent as it was changed now, or cannot any more
        if locked.state == Job.State.FINISHED:
            builder.request_exports_after_review(locked)
        if copies > row_changes.AT_ONCE:
            _nudge(job)
    return True


# --- A batch that was made elsewhere -------------------------------------------------------------


def bring_in(
    owner: User,
    provider_id: str,
    upload: File[bytes] | None = None,
    name: str = "",
    choices: Choices | None = None,
    id_column: str = "",
) -> Job:
    """Make a job of a batch that the provider has and this site did not send, with the file that it
    was made from, if there is one; `id_column`: the column of that file with the custom_ids.

    Asks the provider, so it has no place in a transaction. Raises adopting.NotPossible.
    """
    info = external.find(provider_id)
    taking: AbstractContextManager[dict[str, Any]]
    if upload:
        taking = _taken_in(owner, upload)
    else:
        # Its rows come with the results.
        nothing = {"upload_name": "", "upload_file": uuid.uuid4().hex, "upload_bytes": 0}
        taking = nullcontext(nothing)
    ended = info.status == "ended"
    now = clock.now()
    try:
        with taking as taken, transaction.atomic():
            usual = _usual_name(taken["upload_name"]) if upload else info.id
            job = Job.objects.create(
                owner=owner,
                name=name.strip()[:200] or usual,
                kind=Job.Kind.TABLE if upload else Job.Kind.REQUESTS,
                choices=msgspec.to_builtins(choices) if choices else {},
                practice=settings.PRACTICE,
                is_external=True,
                ids_are=f"{external_ids.COLUMN}{id_column[:200]}" if id_column else "",
                **taken,
            )
            Batch.objects.create(
                job=job,
                number=1,
                size=info.total,
                nonce=planning.new_nonce(),
                practice=job.practice,
                is_external=True,
                state=Batch.State.ENDED if ended else Batch.State.IN_PROGRESS,
                body_bytes=0,
                provider_id=info.id,
                created_at=info.created_at,
                expires_at=info.expires_at,
                ended_at=info.ended_at or now if ended else None,
                counts=info.counts if ended else {},
            )
            file = f"with {taken['upload_name']}" if upload else "without a file"
            _log(job, f"Brought in {info.id} ({wording.rows(info.total)}) {file}.", owner)
            _nudge(job)
    except IntegrityError:
        external.refuse_known(info.id)  # somebody else was quicker
        raise
    return job


def choose_ids(job: Job, way: str, user: User) -> bool:
    """A person says which row of the file each result belongs to, as foreign.in_words has it. False
    when that is known by now, or cannot be."""
    if not external_ids.is_open(job) or not external_ids.is_known(job, way):
        return False
    now = clock.now()
    with transaction.atomic():
        open_ = Job.objects.filter(pk=job.pk, ids_are=job.ids_are, state__in=Job.MOVING)
        chosen = open_.update(ids_are=way, held="", next_action_at=now)
        if chosen:
            job.batches.filter(state=Batch.State.ENDED).update(next_action_at=now)
            _log(job, f"Where the ids of the batch are: {external_ids.in_words(way)}.", user)
            _nudge(job)
    return bool(chosen)


def read_again_for_ids(job: Job, choices: Choices, user: User) -> bool:
    """Read the file of a batch that was brought in anew, as a person wants it, because its ids were
    not found in what was read. False when they are known by now."""
    now = clock.now()
    with transaction.atomic():
        same = Job.objects.filter(ids_are=job.ids_are, readings=job.readings)
        begun = external_ids.is_open(job) and same.try_move(
            job.pk,
            Job.State.WORKING,
            Job.State.READING,
            readings=F("readings") + 1,
            read_bytes=0,
            row_count=0,
            problem_count=0,
            choices=msgspec.to_builtins(choices),
            ids_may_be=[],
            held="",
            next_action_at=now,
        )
        if begun:
            job.batches.filter(state=Batch.State.ENDED).update(next_action_at=now)
            _log(job, "The file is read in another way.", user)
            _nudge(job)
    return begun
