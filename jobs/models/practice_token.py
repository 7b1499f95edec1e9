"""The simulator's key. `serve` makes it at each start, so that no other user of the machine can
read or change what somebody practices with."""

from __future__ import annotations

import secrets
from pathlib import Path


def make(data_dir: Path) -> Path:
    """The file with a new token."""
    path = _path(data_dir)
    draft = path.with_suffix(".part")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(f"practice-{secrets.token_urlsafe(24)}")
    draft.replace(path)
    return path


def read(data_dir: Path) -> str:
    """The token; a word of no meaning where `serve` made none, for a simulator without one."""
    try:
        return _path(data_dir).read_text() or "practice"
    except FileNotFoundError:
        return "practice"


def _path(data_dir: Path) -> Path:
    return data_dir / "practice-token"
