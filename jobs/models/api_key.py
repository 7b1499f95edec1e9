"""The API key in use: that of the environment, else the one that an administrator entered.

That one is in a file of its own in DATA_DIR, which web and worker read again when it changes. It is
encrypted with a key made of SECRET_KEY, and in no backup.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings

from .encryption import cipher

# The key of the step that this thread takes.
_held: ContextVar[str | None] = ContextVar("held", default=None)


def current() -> str:
    """The key to use; "" in practice mode, and when the stored one cannot be read."""
    held = _held.get()
    return _look_up() if held is None else held


@contextmanager
def held() -> Iterator[None]:
    """All that this thread does in the block is done with one key, also when another is stored
    meanwhile: what is noted of a submission has to be true of it."""
    token = _held.set(_look_up())
    try:
        yield
    finally:
        _held.reset(token)


def _look_up() -> str:
    if settings.PRACTICE:
        return ""
    return settings.ANTHROPIC_API_KEY or stored()


def stored() -> str:
    """What was entered last; "" when nothing was, or SECRET_KEY has changed since."""
    try:
        return _fernet().decrypt(_path().read_bytes()).decode()
    except (FileNotFoundError, InvalidToken):
        return ""


def is_stored() -> bool:
    return _path().exists()


def store(key: str) -> None:
    """Raises OSError."""
    path = _path()
    draft = path.with_name(f".api-key-{secrets.token_hex(4)}")
    try:
        draft.touch(mode=0o600)
        with draft.open("wb") as file:
            file.write(_fernet().encrypt(key.encode()))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def last_characters(key: str) -> str:
    """What is shown of a key: enough to tell it from another."""
    return key[-4:] if len(key) >= 20 else ""


def _path() -> Path:
    return Path(settings.DATA_DIR, "api-key")


def _fernet() -> Fernet:
    return cipher("batchsite: stored API key")
