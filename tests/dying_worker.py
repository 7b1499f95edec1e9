"""A real worker process that kills itself with SIGKILL at a named point.

It sweeps until a point is reached for the so-many-th time; without a point it is a worker like any
other.
The points are functions of the product that are wrapped here, so that the product needs no switch
for its own death.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from typing import Any

import django

PAUSE_OF_A_BATCH = timedelta(seconds=0.5)  # after a look that came to nothing
# Each point, and at which pass of it a test lets the worker die there.
POINTS = {
    "reading: some rows stored": 2,
    "planning: body half written": 60,
    "planning: body written, batch not": 1,
    "planning: some rows given": 3,
    "planning: rows given, not planned": 1,
    "preparing: some rows taken": 3,
    "sending: before the intent": 2,
    "sending: intent committed, not journalled": 1,
    "sending: journalled, nothing sent": 2,
    "sending: body half sent": 1,
    "sending: answered, nothing committed": 2,
    "sending: committed, not journalled": 1,
    "looking: found, not adopted": 1,
    "looking: given up, not planned again": 1,
    "watching: listed, nothing noted": 1,
    "collecting: half downloaded": 1,
    "collecting: downloaded, not proven": 1,
    "collecting: proven, not named": 2,
    "collecting: named, nothing stored": 1,
    "collecting: some rows stored": 5,
    "collecting: rows stored, batch not": 2,
    "collecting: collected, not counted": 1,
    "finishing: counted, not finished": 1,
    "building: half written": 5,
    "building: written, not named": 2,
    "building: named, still to be built": 1,
    "stopping: noted, cancel not sent": 1,
    "stopping: cancel sent": 1,
    "leaving out: some rows left out": 3,
    "deleting: the provider's copy is gone": 1,
    "deleting: some rows deleted": 3,
}

# Those of a job that sends some rows first; the rest of its way has those above.
PILOT_POINTS = {
    "pilot: rows chosen, not stored": 1,
    "pilot: rows stored, none planned": 1,
    "pilot: in, result not stored": 1,
    "pilot: in, nobody told": 1,
    "pilot: the rest may go, not committed": 1,
    "pilot: the rest may go, nothing planned": 1,
}


def before(owner: Any, name: str, reached: Callable[[], None]) -> None:
    original = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        reached()
        return original(*args, **kwargs)

    setattr(owner, name, wrapped)


def after(owner: Any, name: str, reached: Callable[[], None]) -> None:
    original = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        reached()
        return result

    setattr(owner, name, wrapped)


def arrange(point: str, reached: Callable[[], None]) -> None:
    """Call `reached` whenever the product comes to `point`."""
    stages = (
        arrange_planning,
        arrange_sending,
        arrange_pilot,
        arrange_collecting,
        arrange_ending,
    )
    if not any(stage(point, reached) for stage in stages):
        raise SystemExit(f"There is no point {point!r}")


def arrange_planning(point: str, reached: Callable[[], None]) -> bool:
    """The points of reading, planning and preparing. False when `point` is none of them."""
    from jobs import models
    from jobs.batches import leases, slices
    from jobs.drafts import reading
    from jobs.models import files
    from jobs.retries import preparation
    from jobs.worker import row_changes

    match point:
        case "reading: some rows stored":
            reading.SLICE = 50
            after(reading, "_store", reached)
        case "planning: body half written":
            after(
                models.Batch,
                "custom_id_of",
                lambda: reached() if called_by("_write_body") else None,
            )
        case "planning: body written, batch not":
            after(files, "keep", lambda: reached() if called_by("plan_next_batch") else None)
        case "planning: some rows given":
            slices.SLICE = 5
            after(leases.Lease, "renew", lambda: reached() if called_by("_fill") else None)
        case "planning: rows given, not planned":
            before(models.BatchQuerySet, "move", lambda: reached() if called_by("_fill") else None)
        case "preparing: some rows taken":
            preparation.SLICE = 50
            after(preparation, "prepare_next", reached)
        case "leaving out: some rows left out":
            row_changes.SLICE = 50
            after(row_changes, "change_next_slice", reached)
        case _:
            return False
    return True


def arrange_sending(point: str, reached: Callable[[], None]) -> bool:
    """The points of sending a batch and looking for it. False when `point` is none of them."""
    from jobs.batches import journal, reconciliation, submission
    from jobs.provider import client

    match point:
        case "sending: before the intent":
            before(submission, "_commit_intent", reached)
        case "sending: intent committed, not journalled":
            before(journal, "write", lambda: reached() if called_by("submit") else None)
        case "sending: journalled, nothing sent":
            before(client, "create_batch", reached)
        case "sending: body half sent":
            send_half(reached)
        case "sending: answered, nothing committed":
            after(client, "create_batch", reached)
        case "sending: committed, not journalled":
            after(submission, "_accepted", reached)
        case "looking: found, not adopted":
            before(reconciliation, "_adopt", reached)
        case "looking: given up, not planned again":
            before(reconciliation, "plan_again", reached)
        case "watching: listed, nothing noted":
            from jobs.batches import polling

            before(polling, "_note_end", reached)
        case _:
            return False
    return True


def arrange_pilot(point: str, reached: Callable[[], None]) -> bool:
    """The points of a pilot. False when `point` is none of them."""
    from jobs.drafts import pilots as drafted
    from jobs.models import job_log
    from jobs.worker import pilots, sent_jobs

    match point:
        case "pilot: rows chosen, not stored":
            after(drafted, "draw_numbers", reached)
        case "pilot: rows stored, none planned":
            before(job_log, "write", lambda: reached() if called_by("draw_next") else None)
        case "pilot: in, result not stored":
            after(pilots, "_result_of", reached)
        case "pilot: in, nobody told":
            before(pilots, "_hold", reached)
        case "pilot: the rest may go, not committed":
            before(job_log, "write", lambda: reached() if called_by("release_rest") else None)
        case "pilot: the rest may go, nothing planned":
            # Whoever let them go: the rule in the worker, or a person elsewhere.
            before(sent_jobs, "_step_of_sending", lambda: reached() if rest_may_go() else None)
        case _:
            return False
    return True


def rest_may_go() -> bool:
    from jobs.models import Pilot

    return bool(Pilot.objects.filter(step=Pilot.Step.RELEASED).exists())


def arrange_collecting(point: str, reached: Callable[[], None]) -> bool:
    """The points of collecting results. False when `point` is none of them."""
    from jobs.batches import collection, leases, result_rows
    from jobs.models import files
    from jobs.rules import result_proof

    match point:
        case "collecting: half downloaded":
            download_half(reached)
        case "collecting: downloaded, not proven":
            before(result_proof, "prove_complete", reached)
        case "collecting: proven, not named":
            before(files, "keep", lambda: reached() if called_by("collect") else None)
        case "collecting: named, nothing stored":
            before(result_rows, "store", reached)
        case "collecting: some rows stored":
            result_rows.STORED_AT_ONCE = 20
            after(leases.Lease, "renew", lambda: reached() if called_by("store") else None)
        case "collecting: rows stored, batch not":
            after(result_rows, "store", reached)
        case "collecting: collected, not counted":
            after(collection, "collect", reached)
        case _:
            return False
    return True


def arrange_ending(point: str, reached: Callable[[], None]) -> bool:
    """The points after the last batch. False when `point` is none of them."""
    from jobs.batches import leases, slices
    from jobs.models import files
    from jobs.provider import client
    from jobs.results import builder, saved_rows
    from jobs.worker import finishing

    builder.AT_ONCE = 0  # so that files are built of a few rows, too
    match point:
        case "finishing: counted, not finished":
            before(finishing, "finish_job", reached)
        case "building: half written":
            saved_rows.SLICE = 50
            before(files, "require_room", lambda: reached() if called_by("_build") else None)
        case "building: written, not named":
            before(files, "keep", lambda: reached() if called_by("_build") else None)
        case "building: named, still to be built":
            after(files, "keep", lambda: reached() if called_by("_build") else None)
        case "stopping: noted, cancel not sent":
            before(client, "cancel_batch", reached)
        case "stopping: cancel sent":
            after(client, "cancel_batch", reached)
        case "deleting: the provider's copy is gone":
            after(client, "delete_batch", reached)
        case "deleting: some rows deleted":
            slices.SLICE = 50
            after(leases.Lease, "renew", lambda: reached() if called_by("delete_rows") else None)
        case _:
            return False
    return True


def called_by(function: str) -> bool:
    """Whether a function of this name is among the callers."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == function:
            return True
        frame = frame.f_back
    return False


def send_half(reached: Callable[[], None]) -> None:
    """The body's file gives half of what is in it, and then the process dies."""
    from jobs.provider import client

    original = client.create_batch

    def create_batch(body: Any, size: int, seconds: float) -> Any:
        class Half:
            def __init__(self, path: Any) -> None:
                self.path = path

            @contextmanager
            def open(self, _mode: str) -> Iterator[Any]:
                with self.path.open("rb") as file:
                    yield HalfFile(file, self.path.stat().st_size, reached)

        return original(Half(body), size, seconds)  # type: ignore[arg-type]  # values by name

    client.create_batch = create_batch


class HalfFile:
    """A file that, once half of it has been read, calls `reached`."""

    def __init__(self, file: Any, size: int, reached: Callable[[], None]) -> None:
        self.file, self.size, self.reached, self.given = file, size, reached, 0

    def fileno(self) -> int:
        return int(self.file.fileno())

    def seek(self, *args: int) -> int:
        return int(self.file.seek(*args))

    def tell(self) -> int:
        return int(self.file.tell())

    def read(self, length: int = -1) -> bytes:
        if self.given >= self.size / 2:
            time.sleep(0.1)  # what was given goes out
            self.reached()
        limit = max(self.size // 4, 1)
        block: bytes = self.file.read(limit if length < 0 else min(length, limit))
        self.given += len(block)
        return block

    def __iter__(self) -> Iterator[bytes]:
        while block := self.read():
            yield block


def download_half(reached: Callable[[], None]) -> None:
    from jobs.provider import client

    original = client.result_blocks

    def result_blocks(provider_id: str, *bounds: Any) -> Iterator[bytes]:
        for block in original(provider_id, *bounds):
            yield block[: len(block) // 2]
            reached()
            yield block[len(block) // 2 :]

    client.result_blocks = result_blocks  # type: ignore[assignment]  # its names of arguments


def die_at_pass(wanted: int) -> Callable[[], None]:
    """A function that ends this process with SIGKILL when it is called for the `wanted`-th time."""
    passes = itertools.count(1)  # several threads may come to the point at once

    def reached() -> None:
        if next(passes) == wanted:
            os.kill(os.getpid(), signal.SIGKILL)

    return reached


def consume() -> None:
    """A worker with all its threads, as a site has it."""
    django.setup()
    from django.core.management import call_command

    call_command("run_huey", max_delay=0.2)


def main(point: str = "", wanted: int = 0) -> None:
    django.setup()
    from jobs.worker import sent_jobs, sweep

    sent_jobs.PAUSE_OF_A_BATCH = PAUSE_OF_A_BATCH
    if point:
        arrange(point, die_at_pass(wanted))
    while True:
        sweep.sweep()
        time.sleep(0.02)
