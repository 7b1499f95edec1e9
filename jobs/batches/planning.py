"""Rows become batches within the provider's limits, and a batch becomes the file that is sent.

One batch is planned at a time: its body is written, hashed and flushed to disk. Then the Batch is
made and given its rows slice by slice, and only when it has all of them is it planned, so that it
can be sent. A crash before that leaves a file that nobody refers to, or a batch that is emptied and
planned anew.
"""

from __future__ import annotations

import hashlib
import math
import secrets
import string
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

import msgspec
from django.conf import settings
from django.db import transaction
from django.db.models import BigIntegerField, Count, F, Max, Sum
from django.db.models.functions import Cast

from ..models import (
    Batch,
    Job,
    Outcome,
    Row,
    RowQuerySet,
    files,
    note_asked,
    note_change,
    recipe_of_round,
)
from ..rules.answer_formats import FREE_TEXT
from ..rules.recipes import Recipe, compile_recipe
from ..rules.row_contents import RowContents, encode_request, read_cells
from . import slices
from .leases import Lease, LeaseLost
from .slices import slice_transaction, slices_of

# As many as there is progress to see in, unless the limits ask for more.
USUAL_BATCHES = 15
LEAST_ROWS = 100  # of a batch, before a job is cut into more of them
READ_AHEAD = 1_000
EMPTY_PROMPT = "The prompt is empty for this row. Fill the cells it uses."
EMPTY_CELL = "The cell “{name}” is empty, and you chose to skip rows with an empty cell."
FEW_CELLS = "The row has {cells} cells, and the file has {columns} columns. Fill in the others."
TOO_LARGE = "This row is larger than a whole batch may be. Shorten it."
_ALPHABET = string.ascii_lowercase + string.digits


class _ReadyMade(msgspec.Struct):
    params: msgspec.Raw


_ready_made = msgspec.json.Decoder(_ReadyMade)


def new_nonce() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(12))


def size_of_batch(total: int, number: int, limit: int) -> int:
    """How many of `total` rows the batch with this `number` (1, 2, ...) should take.

    The sizes of a job's batches differ, because the size is what tells batches apart in the
    provider's list: they go down by one from batch to batch and add up to `total` or a little more
    (less where `limit` cuts them; then there is one batch more).
    """
    wanted = min(max(total // LEAST_ROWS, 1), USUAL_BATCHES)
    count = max(wanted, math.ceil(total / limit))
    first = min(math.ceil(total / count) + count // 2, limit)
    return max(first - (number - 1) % max(first // 2, 1), 1)


class _LeftOut(Exception):
    """A row is not sent; the message says why."""


def request_writer(job: Job, recipe: Recipe) -> Callable[[str], bytes]:
    """A function from a row's `source` to the JSON of its `params`. It raises _LeftOut for a prompt
    that is empty when filled in, which the provider would refuse, and for a row with an empty cell
    when such rows are to be left out."""
    if job.kind == Job.Kind.REQUESTS:
        return lambda source: bytes(_ready_made.decode(source).params)
    params_of = compile_recipe(recipe, job.columns)
    contents = RowContents(recipe, job.columns)

    def write(source: str) -> bytes:
        cells = read_cells(source)
        if len(cells) < len(job.columns):  # of a batch made elsewhere, that had its file so
            raise _LeftOut(FEW_CELLS.format(cells=len(cells), columns=len(job.columns)))
        if recipe.skip_empty and (empty := contents.empty(cells)):
            raise _LeftOut(EMPTY_CELL.format(name=empty[0]))
        params = params_of(cells)
        if not params["messages"][0]["content"].strip():
            raise _LeftOut(EMPTY_PROMPT)
        return encode_request(params)

    return write


@dataclass
class _Body:
    """What went into a body file, and the rows that could not."""

    size: int = 0
    bytes: int = 0
    numbers: list[int] = field(default_factory=list)  # of the rows in it
    left_out: dict[str, list[int]] = field(default_factory=dict)  # why -> numbers
    sha256: str = ""


def recipe_hash(job: Job, number: int) -> str:
    """Tells the recipe of this round from another, and says nothing of what is in it."""
    asked = recipe_of_round(job, number)
    recipe: list[Any] = [asked.prompt, asked.system, asked.model, asked.max_tokens]
    if asked.answer != FREE_TEXT:
        recipe.append(msgspec.to_builtins(asked.answer))
    if asked.effort or asked.cached or asked.skip_empty or asked.skip_duplicates:
        recipe.append([asked.effort, asked.cached, asked.skip_empty, asked.skip_duplicates])
    if asked.only_new:
        recipe.append("only new")
    return hashlib.sha256(msgspec.json.encode(recipe)).hexdigest()[:16]


def plan_next_batch(job: Job, lease: Lease) -> bool:
    """Make the next batch of a confirmed job from rows that wait; False when none wait.

    Raises LeaseLost.
    """
    waiting = Row.objects.to_be_sent(job)
    first = waiting.order_by("number").values_list("number", flat=True).first()
    if first is None:
        return False
    files.remove_stray_bodies(job)
    number = (job.batches.aggregate(last=Max("number"))["last"] or 0) + 1
    batch = Batch(
        job=job, number=number, round=job.last_round, nonce=new_nonce(), practice=job.practice
    )
    files.require_room(files.body_path(batch).parent, job.upload_bytes // USUAL_BATCHES)
    wanted = size_of_batch(job.to_send_count, number, settings.BATCH_MAX_REQUESTS)
    # The size is what tells batches apart in the provider's list, also those of other jobs.
    others = set(Batch.objects.whose_fate_is_open().values_list("size", flat=True))
    while True:
        while wanted in others and wanted > 1:
            wanted -= 1
        with files.written_whole(files.body_path(batch)) as file:
            body = _write_body(batch, first, wanted, file, lease)
        if body.size not in others or body.size <= 1:
            break
        wanted = body.size - 1  # fewer rows than wanted went into it
    batch.size, batch.body_bytes, batch.body_sha256 = body.size, body.bytes, body.sha256
    for why, numbers in body.left_out.items():
        for some in slices_of(numbers):
            with slice_transaction(lease):
                note_change(job.pk)
                Row.objects.filter(job=job, number__in=some, outcome=Outcome.WAITING).update(
                    outcome=Outcome.LEFT_OUT, cause="left_out", problem=why
                )
            lease.renew()
    if not body.size:
        files.body_path(batch).unlink()
        return True
    batch.state = Batch.State.PLANNING
    with transaction.atomic():
        lease.require()
        batch.save(force_insert=True)
        note_asked(job, batch.round, recipe_of_round(job, batch.round))
    _fill(batch, body.numbers, lease)
    return True


def _fill(batch: Batch, numbers: Sequence[int], lease: Lease) -> None:
    """Give a batch the rows that are in its body. Raises LeaseLost, and NotMoved when another
    worker takes it back."""
    whole = Batch.objects.filter(body_sha256=batch.body_sha256)
    mine = whole.filter(pk=batch.pk, state=Batch.State.PLANNING)
    for some in slices_of(numbers):
        with slice_transaction(lease):
            note_change(batch.job_id)
            # Locked: whoever empties it comes before us or after us.
            if not mine.update(state=Batch.State.PLANNING):
                raise LeaseLost
            # All that wait between them are among them: the others were left out just now.
            waiting = Row.objects.to_be_sent(batch.job).filter(
                number__gte=some[0], number__lte=some[-1]
            )
            if waiting.update(batch=batch) != len(some):
                raise RuntimeError(f"The rows of {batch} changed while it was planned.")
        lease.renew()
    whole.move(batch.pk, Batch.State.PLANNING, Batch.State.PLANNED)


def empty(batch: Batch) -> None:
    """Take back a batch that is not planned, or not any more: its rows wait again. One that may
    still turn up at the provider is kept, without rows."""
    mine = Batch.objects.filter(pk=batch.pk, state=Batch.State.PLANNING)
    # A worker that lost its lease may still be giving it rows. Without a body it comes no further:
    # it would plan the batch without the rows that were taken out by then, and they would be sent
    # in another one as well.
    mine.update(body_sha256="")
    rows = Row.objects.filter(batch=batch).order_by("number").values_list("number", flat=True)
    while numbers := list(rows[: slices.SLICE]):
        with slice_transaction(None):
            note_change(batch.job_id)
            if not mine.update(state=Batch.State.PLANNING):
                return  # another worker did it
            Row.objects.filter(batch=batch, number__in=numbers).update(batch=None)
    if not mine.filter(late_until__isnull=False).update(state=Batch.State.CANCELED):
        mine.delete()
    files.body_path(batch).unlink(missing_ok=True)


def ranges_of(batch: Batch) -> list[list[int]]:
    """The numbers of a batch's rows as [first, last] of each run of them."""
    ranges: list[list[int]] = []
    for number in (
        Row.objects.filter(batch=batch).order_by("number").values_list("number", flat=True)
    ):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ranges


def places_hash(job: Job, parts: Iterable[RowQuerySet]) -> str:
    """Tells which lines of the file the rows of a batch are. `parts`: they, each once. The same
    file may be read with other settings, and then a number means another row."""
    # Added up by the database: a batch has up to 100,000 rows.
    place = Cast("line", BigIntegerField()) * F("number")
    sums: Counter[str] = Counter()
    for rows in parts:
        sums.update(
            rows.aggregate(
                rows=Count("pk"), lines=Sum("line", default=0), places=Sum(place, default=0)
            )
        )
    table = f"{job.reading.sheet}\n{job.choices.list_key}"  # of a file with several
    said = f"{table}\n{sums['rows']} {sums['lines']} {sums['places']}"
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def unplan(batch: Batch) -> None:
    """Take back a batch that was never accepted and whose body is gone or changed: its rows wait
    again and are planned anew. One that may still turn up at the provider is kept, without rows.
    Raises NotMoved when it is not planned any more.
    """
    # Whoever would send it now comes after us, and finds that there is nothing to send.
    Batch.objects.move(batch.pk, Batch.State.PLANNED, Batch.State.PLANNING)
    empty(batch)


def take_back_all() -> None:
    """Have the worker empty all batches that were never tried, after a restore without the journal:
    they may have been sent since. Then whoever finds one at the provider can import it, as nothing
    here has its name."""
    unsent = Batch.objects.filter(state=Batch.State.PLANNED, attempts=0)
    unsent.update(state=Batch.State.PLANNING)


def body_is_whole(batch: Batch) -> bool:
    """Whether the body file is the one that was planned."""
    try:
        with files.body_path(batch).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == batch.body_sha256
    except FileNotFoundError:
        return False


def _waiting_from(job: Job, first: int, lease: Lease) -> Iterator[tuple[int, str]]:
    """Number and source of the rows that wait, from `first` on."""
    waiting = Row.objects.to_be_sent(job)
    for rows in waiting.value_slices(READ_AHEAD, "source", after=first - 1):
        yield from rows
        lease.renew()


def _write_body(batch: Batch, first: int, wanted: int, file: IO[bytes], lease: Lease) -> _Body:
    job = batch.job
    body = _Body()
    digest = hashlib.sha256()
    write_params = request_writer(job, recipe_of_round(job, batch.round))
    closing = b"\n]}"
    most = settings.BATCH_MAX_BYTES - len(closing) - 1

    def write(data: bytes) -> None:
        file.write(data)
        digest.update(data)
        body.bytes += len(data)

    write(b'{"requests":[')
    for number, source in _waiting_from(job, first, lease):
        try:
            params = write_params(source)
        except _LeftOut as why:
            body.left_out.setdefault(str(why), []).append(number)
        else:
            request = b'\n{"custom_id":"%b","params":%b}' % (
                batch.custom_id_of(number).encode(),
                params,
            )
            if body.bytes + len(request) > most:
                if body.size:
                    break
                body.left_out.setdefault(TOO_LARGE, []).append(number)
            else:
                write(b"," + request if body.size else request)
                body.size += 1
                body.numbers.append(number)
        if body.size == wanted:
            break
    write(closing)
    body.sha256 = digest.hexdigest()
    return body
