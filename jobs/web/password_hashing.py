"""Passwords are hashed by few threads at once. It takes a processor a third of a second each time,
and anybody may ask for it: without a bound, sign-ins would take the threads that pages need."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.contrib.auth.hashers import PBKDF2PasswordHasher

AT_ONCE, WAITING = 1, 2  # in each process
_places = threading.BoundedSemaphore(AT_ONCE + WAITING)
_turns = threading.BoundedSemaphore(AT_ONCE)


class TooManySignIns(Exception):
    """More passwords are being checked than this process takes at once."""


@contextmanager
def _turn() -> Iterator[None]:
    if not _places.acquire(blocking=False):
        raise TooManySignIns("Too many passwords are being checked.")
    try:
        with _turns:
            yield
    finally:
        _places.release()


class BoundedHasher(PBKDF2PasswordHasher):
    """Django's usual one. Raises TooManySignIns instead of letting many wait."""

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        with _turn():
            return super().encode(password, salt, iterations)
