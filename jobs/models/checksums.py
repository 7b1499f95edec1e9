"""Files whose size and SHA-256 were noted when they were written, checked before anybody relies on
them.

A file of one block is checked before the first byte is sent. A larger one is hashed while it is
sent, and its last block is held back until the hash is right: a damaged file never arrives whole
(the connection breaks off), and a large one is read once, not twice. One that is missing or has
another size is refused before the first byte.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from . import files

BLOCK = 1 << 20
OTHER_CONTENT = "does not hold what was written to it"


class Damaged(Exception):
    """A file on our disk is not the one that was written. Its text goes on after the file's name:
    "is missing"."""


@dataclass(frozen=True)
class CheckedFile:
    """An open file that has the size it should have; its content is checked by `blocks`."""

    file: IO[bytes]
    size: int
    sha256: str

    def blocks(self) -> Iterator[bytes]:
        """All of it, from the beginning, and then it is closed. Raises Damaged before the last
        block."""
        with self.file as file:
            digest = hashlib.sha256()
            last, size = b"", 0
            file.seek(0)
            while block := _read(file):
                digest.update(block)
                size += len(block)
                if last:
                    yield last
                last = block
            if size != self.size or digest.hexdigest() != self.sha256:
                raise Damaged(OTHER_CONTENT)
            if last:
                yield last

    def require_whole(self, between: Callable[[], object] = lambda: None) -> None:
        """Read all of it once, calling `between` from time to time, and close it. Raises
        Damaged."""
        for _block in self.blocks():
            between()


def open_checked(path: Path, size: int, sha256: str) -> CheckedFile:
    """Open a file of `size` bytes. Raises Damaged when it is missing, unreadable, of another size,
    or small and with other content."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise Damaged("is missing") from None
    except OSError as error:
        raise Damaged(f"cannot be read ({error.strerror})") from error
    found = os.fstat(file.fileno()).st_size
    if found != size:
        file.close()
        raise Damaged(f"has {found:,} bytes instead of {size:,}")
    if size <= BLOCK and hashlib.sha256(_read(file)).hexdigest() != sha256:
        file.close()
        raise Damaged(OTHER_CONTENT)
    return CheckedFile(file, size, sha256)


def _read(file: IO[bytes]) -> bytes:
    try:
        return file.read(BLOCK)
    except OSError as error:
        raise Damaged(f"cannot be read ({error.strerror})") from error


def facts_of(path: Path) -> tuple[int, str]:
    """Size and SHA-256 of a file. Raises OSError."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell(), sha256


# --- Finished files, whose facts lie beside them --------------------------------------------------


def keep_with_facts(written: Path, path: Path) -> None:
    """Give a finished file its name, with its size and hash in a file beside it. The facts come
    first: a crash in between leaves a file that does not fit them, which counts as none."""
    size, sha256 = facts_of(written)
    with files.written_whole(files.facts_path(path)) as file:
        file.write(f"{sha256} {size}\n".encode())
    files.keep(written, path)


def open_with_facts(path: Path) -> CheckedFile:
    """A file that `keep_with_facts` has written. Raises Damaged, also for one without facts."""
    sha256, size = "", -1
    with suppress(OSError, ValueError):
        sha256, _, number = files.facts_path(path).read_text().partition(" ")
        size = int(number)
    return open_checked(path, size, sha256)
