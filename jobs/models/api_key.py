"""API keys: that of the site, from the environment or entered by an administrator, and those that
administrators gave to teams.

What was entered is in files of their own in DATA_DIR, which web and worker read when they need a
key. They are encrypted with keys made of SECRET_KEY, and in no backup.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings

from .encryption import cipher
from .people import Team


@dataclass
class _InUse:
    """The key of the step that this thread takes."""

    team: int | None  # whose it is; None: the site's
    text: str
    workspace: str = ""  # at the provider, as its replies say; "": none has said it yet


_held: ContextVar[_InUse | None] = ContextVar("held", default=None)


def current() -> str:
    """The key to use; "" in practice mode, and when it is missing or cannot be read."""
    held = _held.get()
    return _look_up(None) if held is None else held.text


def team_in_use() -> int | None:
    """The number of the team whose key is used; None: the site's key."""
    held = _held.get()
    return held.team if held else None


def key_of(team: int | None) -> str:
    """The key of a team, or of the site. Within `held` it is the held one, if that is theirs."""
    held = _held.get()
    return held.text if held and held.team == team else _look_up(team)


@contextmanager
def held(team: int | None = None) -> Iterator[None]:
    """All that this thread does in the block is done with one key, that of `team` or of the site,
    also when another is stored meanwhile: what is noted of a submission has to be true of it."""
    token = _held.set(_InUse(team, _look_up(team)))
    try:
        yield
    finally:
        _held.reset(token)


def note_workspace(workspace: str) -> None:
    """The provider said in which workspace the key in use works."""
    if held := _held.get():
        held.workspace = workspace[:100]


def workspace_in_use() -> str:
    """What `note_workspace` was told in this block; "" if that was nothing."""
    held = _held.get()
    return held.workspace if held else ""


def _look_up(team: int | None) -> str:
    if settings.PRACTICE:
        return ""
    if team is None:
        return settings.ANTHROPIC_API_KEY or stored()
    return stored_for(team)


# --- That of the site -----------------------------------------------------------------------------


def stored() -> str:
    """What was entered last; "" when nothing was, or SECRET_KEY has changed since."""
    return _read(_path(), _fernet())


def is_stored() -> bool:
    return _path().exists()


def store(key: str) -> None:
    """Raises OSError."""
    _write(_path(), _fernet().encrypt(key.encode()))


# --- Those of teams -------------------------------------------------------------------------------


def stored_for(team: int) -> str:
    """The key that a team was given; "" if it has none, or SECRET_KEY has changed since."""
    names = Team.objects.filter(pk=team).exclude(key_file="").values_list("key_file", flat=True)
    name = names.first()
    return _read(_folder() / name, _fernet_of(team)) if name else ""


def store_for(team: int, key: str) -> str:
    """Write the key of a team to a new file, and return its name, for Team.key_file. A name that
    is never used again: with an old database, a team does not get another one's key. Raises
    OSError."""
    name = secrets.token_hex(8)
    _folder().mkdir(mode=0o700, exist_ok=True)
    _write(_folder() / name, _fernet_of(team).encrypt(key.encode()))
    return name


def forget(key_file: str) -> None:
    """Remove the file of a team's key."""
    if key_file:
        (_folder() / key_file).unlink(missing_ok=True)


def last_characters(key: str) -> str:
    """What is shown of a key: enough to tell it from another."""
    return key[-4:] if len(key) >= 20 else ""


# --- Files ----------------------------------------------------------------------------------------


def _read(path: Path, fernet: Fernet) -> str:
    try:
        return fernet.decrypt(path.read_bytes()).decode()
    except (FileNotFoundError, InvalidToken):
        return ""


def _write(path: Path, content: bytes) -> None:
    draft = path.with_name(f".api-key-{secrets.token_hex(4)}")
    try:
        draft.touch(mode=0o600)
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _path() -> Path:
    return Path(settings.DATA_DIR, "api-key")


def _folder() -> Path:
    return Path(settings.DATA_DIR, "api-keys")


def _fernet() -> Fernet:
    return cipher("batchsite: stored API key")


def _fernet_of(team: int) -> Fernet:
    return cipher(f"batchsite: stored API key of team {team}")
