"""A site on which nothing happens costs nothing, and wakes up at once."""

from __future__ import annotations

import os
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from jobs.management.commands import serve
from jobs.models import Batch, Heartbeat, Job, Team, TeamSending, clock
from jobs.worker import presence, sweep, tasks
from jobs.worker.consumer import Clock
from jobs.worker.queue import SqliteQueue
from jobs.worker.supervision import SIGN, Part, Signs

from ..conftest import store_job
from ..database_work import counted
from ..running import wait_for

MOST_STATEMENTS = 16  # of a sweep that finds nothing


def test_a_sweep_that_finds_nothing_asks_little_and_writes_nothing(alice: User) -> None:
    for _ in range(3):
        store_job(alice, Job.State.FINISHED)
    store_job(alice, Job.State.DRAFT)
    Job.objects.update(next_action_at=None)
    Heartbeat.objects.update(tick_at=timezone.now(), next_poll_at=timezone.now() - timedelta(1))

    with counted() as work:
        sweep.sweep()

    assert not work.has_written, work.statements
    # PostgreSQL is asked for its time beside.
    asked = [one for one in work.statements if "clock_timestamp" not in one]
    assert len(asked) <= MOST_STATEMENTS, "\n".join(asked)
    assert not sweep.is_due(), "the next one is some seconds away"


def test_a_job_that_is_due_soon_is_not_left_to_the_next_idle_sweep(alice: User) -> None:
    job = store_job(alice, Job.State.DRAFT)
    Heartbeat.objects.update(tick_at=timezone.now(), next_poll_at=timezone.now())
    Job.objects.filter(pk=job.pk).update(next_action_at=clock.now() + timedelta(seconds=2))
    assert sweep._seconds_until_due(clock.now()) <= 2
    Job.objects.filter(pk=job.pk).update(next_action_at=clock.now() + timedelta(hours=2))
    assert sweep._seconds_until_due(clock.now()) == sweep.IDLE.total_seconds()


def test_a_worker_stays_alive_to_readyz_between_two_stored_signs(db: None) -> None:
    Heartbeat.objects.update(tick_at=timezone.now() - sweep.BEAT)
    sweep.sweep()
    assert timezone.now() - (Heartbeat.get().tick_at or timezone.now()) < sweep.BEAT
    longest = sweep.BEAT + sweep.IDLE + timedelta(seconds=sweep.TROUBLE_SECONDS)
    assert longest < timedelta(seconds=60), "of the 90 that readyz gives it"


def test_without_a_batch_at_the_provider_it_is_not_looked_at(alice: User) -> None:
    looks: list[str] = []
    Heartbeat.objects.update(next_poll_at=timezone.now() - timedelta(minutes=1))
    sweep.sweep(look=looks.append)
    assert looks == []
    job = store_job(alice, Job.State.WORKING, practice=True)
    Batch.objects.create(
        job=job,
        number=1,
        nonce="n",
        size=1,
        practice=True,
        body_bytes=1,
        provider_id="b",
        state=Batch.State.IN_PROGRESS,
    )
    sweep.sweep(look=looks.append)
    assert looks == ["watching"]


def test_the_trouble_of_a_team_is_looked_at_until_it_is_over(alice: User) -> None:
    team = Team.objects.create(name="Ads")
    TeamSending.objects.create(team=team, trouble="Anthropic rejected its API key.")
    Heartbeat.objects.update(next_poll_at=timezone.now() - timedelta(minutes=1))
    sweep.sweep(look=sweep.take_look)
    assert TeamSending.objects.get().trouble == "", "nobody uses the key any more"


# --- The queue ------------------------------------------------------------------------------------


@pytest.fixture
def queues(tmp_path: Path) -> Any:
    """That of a worker and that of a web process."""
    name = str(tmp_path / "queue.sqlite3")
    worker, web = SqliteQueue("site", filename=name), SqliteQueue("site", filename=name)
    worker.begin_work(threads=2)
    yield worker, web
    for one in (worker, web):
        one.close()


def test_what_a_click_puts_into_the_queue_is_taken_at_once(queues: Any) -> None:
    worker, web = queues
    worker.take_in()
    taken: list[bytes] = []
    thread = threading.Thread(target=lambda: taken.append(worker.dequeue()))
    thread.start()

    web.enqueue(b"a click")
    worker.wait_for_news(600)  # it returns because the bell rings
    worker.take_in()

    thread.join()
    assert taken == [b"a click"]
    assert web.queue_size() == 0


def test_without_a_named_pipe_the_file_says_that_it_has_changed(
    queues: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, web = queues
    monkeypatch.setattr(worker, "_bell", None)
    monkeypatch.setattr("jobs.worker.queue.LOOK_SECONDS", 0)
    worker.take_in()
    web._bell_path.unlink()
    web.enqueue(b"a click")
    worker.wait_for_news(600)
    worker.take_in()
    assert worker.dequeue() == b"a click"


def test_what_a_worker_gives_its_own_threads_is_never_written(queues: Any) -> None:
    worker, web = queues
    worker.enqueue(b"later")
    worker.enqueue(b"first", 100)
    assert web.queue_size() == 0
    assert [worker.dequeue(), worker.dequeue()] == [b"first", b"later"]


def test_threads_that_wait_are_woken_when_the_worker_ends(queues: Any) -> None:
    worker, _web = queues
    worker.wake_all()
    assert [worker.dequeue(), worker.dequeue()] == [None, None]


# --- The clock ------------------------------------------------------------------------------------


class Marks:
    """A queue without news, in a site whose database says `mark`."""

    mark_now = 1

    def wait_for_news(self, seconds: float) -> None:
        pass

    def take_in(self) -> None:
        pass

    def mark(self) -> int:
        return self.mark_now


def test_a_sweep_is_asked_for_when_the_database_was_written_to_or_a_time_has_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ticks: list[int] = []
    is_due = False

    def tick() -> None:
        ticks.append(1)
        tasks.ticks_under_way.clear()

    monkeypatch.setattr(tasks, "tick", tick)
    monkeypatch.setattr(sweep, "is_due", lambda: is_due)
    monkeypatch.setattr("jobs.worker.consumer.TICK_SECONDS", 0)
    storage = Marks()
    beat = Clock(SimpleNamespace(storage=storage), threading.Event(), 1, periodic=False)

    def ticked() -> int:
        before = len(ticks)
        beat.loop()
        return len(ticks) - before

    assert ticked() == 1, "at the start"
    assert ticked() == 0
    storage.mark_now = 2
    assert ticked() == 1
    is_due = True
    assert ticked() == 1
    tasks.ticks_under_way.append(time.monotonic())  # one that has not ended
    assert ticked() == 0
    tasks.ticks_under_way[:] = [float("-inf")]  # nobody knows what became of it
    assert ticked() == 1


# --- Signs of life --------------------------------------------------------------------------------


def test_a_worker_gives_its_sign_through_a_pipe(tmp_path: Path) -> None:
    script = f"import os; os.write(int(os.environ['{SIGN}']), b'..')"
    part = Part("worker", [sys.executable, "-c", script], tmp_path, Signs())
    assert part.signs is not None
    part.start()
    wait_for(part.has_ended, "its end")
    assert part.signs.count() == 2
    part.start()  # another one, with a pipe of its own
    wait_for(part.has_ended, "its end")
    assert part.signs.count() == 4


def test_a_tick_gives_the_sign_even_if_the_database_cannot_be_used(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What hangs gives none; what fails is no reason to kill the worker."""
    read, write = os.pipe()
    monkeypatch.setattr(presence, "_sign", write)
    monkeypatch.setattr(sweep, "sweep", lambda **_given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        tasks.tick.call_local()
    assert os.read(read, 10) == b"."
    os.close(read)
    os.close(write)


def test_the_database_is_asked_only_when_the_worker_has_been_quiet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(serve, "read_heartbeat", lambda: asked.append(1))
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    signs = SimpleNamespace(count=lambda: 7)
    look = serve.LookAtWorker(signs)  # type: ignore[arg-type]
    assert look() == 7
    now += serve.LookAtWorker.QUIET_SECONDS
    assert look() == 7 and not asked
    now += 1
    assert look() == 7 and asked
