"""Collecting a batch reads as a path, not as ping-pong between modules."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise
from types import CodeType, FrameType
from typing import Any

import pytest
from django.contrib.auth.models import User

from jobs.batches import collection
from jobs.batches.leases import Lease
from jobs.models import Batch

from ..conftest import Simulator
from ..driven_jobs import Drive, confirmed

OWN = "jobs.batches."


class Path:
    """The functions of jobs/ in the order in which a reader comes to them: as they are called for
    the first time, each with its place and how deep in calls of such functions it is.

    A place is a module of jobs/batches, or one of the packages below it as a whole. It ends at the
    provider: how a request gets there is the same for all. What is read like a part of its function
    (comprehensions and lambdas), or like a field (properties, __init__ of data classes), is not
    counted.
    """

    def __init__(self) -> None:
        self.visits: list[tuple[str, int, str]] = []
        self._stack: list[FrameType] = []
        self._seen: set[CodeType] = set()

    @property
    def passages(self) -> int:
        """How often the next function is in another place."""
        return sum(one[0] != next_[0] for one, next_ in pairwise(self.visits))

    @property
    def ways_back(self) -> int:
        """How many passages lead to a function that is called from further up."""
        pairs = pairwise(self.visits)
        return sum(one[0] != next_[0] and next_[1] < one[1] for one, next_ in pairs)

    def __str__(self) -> str:
        return "\n".join(f"{'  ' * depth}{place}: {name}" for place, depth, name in self.visits)

    @contextmanager
    def followed(self) -> Iterator[None]:
        before = sys.getprofile()
        sys.setprofile(self._note)
        try:
            yield
        finally:
            sys.setprofile(before)

    def _note(self, frame: FrameType, event: str, _argument: object) -> None:
        if event == "return" and self._stack and self._stack[-1] is frame:
            self._stack.pop()
        if event != "call" or not is_followed(frame):
            return
        if self._stack and place_of(self._stack[-1]) == "provider":
            return
        if frame.f_code not in self._seen:
            self._seen.add(frame.f_code)
            visit = place_of(frame), len(self._stack), frame.f_code.co_qualname
            self.visits.append(visit)
        self._stack.append(frame)


def place_of(frame: FrameType) -> str:
    module: str = frame.f_globals["__name__"]
    return module.removeprefix(OWN) if module.startswith(OWN) else module.split(".")[1]


def is_followed(frame: FrameType) -> bool:
    module, code = frame.f_globals.get("__name__", ""), frame.f_code
    is_made_up = code.co_name.startswith("<") or code.co_filename.startswith("<")
    if not module.startswith("jobs.") or is_made_up:
        return False
    found: Any = sys.modules[module]
    for name in code.co_qualname.split("."):
        found = inspect.getattr_static(found, name, None)
    return not isinstance(found, property)


def test_collecting_a_batch_reads_as_a_path(
    alice: User, simulator: Simulator, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, collect = Path(), collection.collect

    def follow(batch: Batch, lease: Lease) -> timedelta:
        with path.followed():
            return collect(batch, lease)

    monkeypatch.setattr(collection, "collect", follow)
    job = drive(confirmed(alice, [["Ann", "a"], ["Ben", "b"], ["Cem", "c"]]))
    assert job.good_count == 3
    assert path.visits[0] == ("collection", 0, "collect")
    assert len(path.visits) > 20, "it was followed"
    assert path.passages < 20 and path.ways_back < 6, f"{path}"
