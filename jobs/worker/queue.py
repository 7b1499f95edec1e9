"""The queue: what web processes give the worker to do, and a worker its own threads.

Huey's own queue is asked by every thread of a worker many times a second, and what a worker gives
itself goes over the disk. Here the threads wait in memory. One of them, the clock of consumer.py,
waits for news: in SQLite's file (a named pipe tells of them at once), or by PostgreSQL's NOTIFY.

Tasks are forgotten with the process that has them. That is no loss: see tasks.py.
"""

from __future__ import annotations

import itertools
import os
import queue
import select
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.db import connection
from huey.api import Huey
from huey.consumer import Consumer
from huey.storage import PostgresStorage, SqliteStorage

# A thread that waits looks up so often, should nobody have told it to stop.
PATIENCE_SECONDS = 10.0
LOOK_SECONDS = 0.5  # between two looks at the file where there can be no named pipe


class _Waiting:
    """Tasks that wait in this process, and threads that wait for them."""

    is_worker = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._waiting: queue.PriorityQueue[tuple[float, int, bytes | None]] = queue.PriorityQueue()
        self._order = itertools.count()
        # Most commands never use it, so its tables are made by the first connection.
        super().__init__(*arguments, **{**options, "create_tables": False})
        self.blocking = True  # to Huey: `dequeue` waits by itself

    def begin_work(self, threads: int) -> None:
        """This process is a worker with so many threads."""
        self.is_worker, self._threads = True, threads

    def wake_all(self) -> None:
        """Have all threads look up from waiting."""
        for _thread in range(self._threads):
            self._keep(None, priority=float("inf"))

    def _keep(self, data: bytes | None, priority: float) -> None:
        self._waiting.put((-priority, next(self._order), data))

    def enqueue(self, data: bytes, priority: float | None = None) -> None:
        if self.is_worker:
            self._keep(data, priority or 0)
        else:
            super().enqueue(data, priority)  # type: ignore[misc]  # Huey has no types

    def dequeue(self) -> bytes | None:
        if not self.is_worker:
            return self._take()
        with suppress(queue.Empty):
            return self._waiting.get(timeout=PATIENCE_SECONDS)[2]
        return None

    def peek_many(self, keys: object) -> dict[str, bytes]:
        """Huey asks before each task whether it was revoked, which we never do."""
        return {}

    def _create_connection(self) -> Any:
        connection = super()._create_connection()  # type: ignore[misc]
        if not connection.execute(self.has_tables).fetchone()[0]:  # type: ignore[attr-defined]
            connection.execute(self.begin_sql)  # type: ignore[attr-defined]
            for sql in (*self.before_tables, *self.ddl):  # type: ignore[attr-defined]
                connection.execute(sql)
            connection.execute("commit")
        return connection

    def _take(self) -> bytes | None:
        """The next task that others have put into the queue."""
        raise NotImplementedError

    # --- For the clock of a worker ------------------------------------------------------------

    def wait_for_news(self, seconds: float) -> None:
        """Until there may be something new in the queue, or until `seconds` have passed."""
        raise NotImplementedError

    def take_in(self) -> None:
        """Give the threads what others have put into the queue."""
        while data := self._take():
            self._keep(data, priority=0)

    def mark(self) -> object:
        """As long as it is equal, nothing was written into the database of the site."""
        raise NotImplementedError


class SqliteQueue(_Waiting, SqliteStorage):  # type: ignore[misc]  # Huey has no types
    """A file. Who puts something into it writes a byte into a named pipe beside it, too."""

    has_tables = "SELECT count(*) FROM sqlite_master WHERE name = 'counter'"
    before_tables = ()
    _bell: int | None = None
    _version: int | None = None

    @property
    def _bell_path(self) -> Path:
        return Path(self.filename).with_suffix(".bell")

    def begin_work(self, threads: int) -> None:
        super().begin_work(threads)
        with suppress(OSError):  # a disk without named pipes: then the file is looked at
            with suppress(FileExistsError):
                os.mkfifo(self._bell_path, 0o600)
            self._bell = os.open(self._bell_path, os.O_RDWR | os.O_NONBLOCK)

    def enqueue(self, data: bytes, priority: float | None = None) -> None:
        super().enqueue(data, priority)
        if self.is_worker:
            return
        with suppress(OSError):  # no worker is there, or one that has not looked for long
            bell = os.open(self._bell_path, os.O_WRONLY | os.O_NONBLOCK)
            try:
                os.write(bell, b".")
            finally:
                os.close(bell)

    def _create_connection(self) -> Any:
        connection = super()._create_connection()
        # A power cut may take the last tasks with it. That is no loss: see tasks.py.
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection

    def _take(self) -> bytes | None:
        data: bytes | None = SqliteStorage.dequeue(self)
        return data

    def wait_for_news(self, seconds: float) -> None:
        if self._bell is None:
            time.sleep(min(seconds, LOOK_SECONDS))
            return
        poll = select.poll()
        poll.register(self._bell, select.POLLIN)
        if poll.poll(seconds * 1000):
            with suppress(BlockingIOError):  # another worker has read it
                os.read(self._bell, 4096)

    def take_in(self) -> None:
        with self.db() as cursor:
            version = cursor.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version:
            self._version = version
            super().take_in()

    def mark(self) -> object:
        with connection.cursor() as cursor:
            return cursor.execute("PRAGMA data_version").fetchone()


class PostgresQueue(_Waiting, PostgresStorage):  # type: ignore[misc]  # Huey has no types
    """A table, with NOTIFY. In a worker, its clock alone uses the connection."""

    has_tables = "SELECT count(to_regclass('huey_counter'))"
    # Of several processes that make them at once, all but one would fail.
    before_tables = ("SELECT pg_advisory_xact_lock(8790)",)

    def _create_connection(self) -> Any:
        connection = super()._create_connection()
        if self.is_worker:
            connection.execute(f'LISTEN "{self.channel}"')
        return connection

    def _take(self) -> bytes | None:
        data: bytes | None = self._dequeue()
        return data

    def wait_for_news(self, seconds: float) -> None:
        for _news in self.conn.notifies(timeout=seconds, stop_after=1):
            pass

    def mark(self) -> object:
        return self.conn.execute("SELECT pg_current_wal_insert_lsn()").fetchone()


class _SiteHuey(Huey):  # type: ignore[misc]  # Huey has no types
    consumer_class: type[Consumer] = Consumer

    def create_consumer(self, **options: Any) -> Consumer:
        return self.consumer_class(self, **options)


class SqliteHuey(_SiteHuey):
    storage_class = SqliteQueue


class PostgresHuey(_SiteHuey):
    storage_class = PostgresQueue
