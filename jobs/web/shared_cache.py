"""The cache in which django-allauth counts wrong codes and remembers used ones. All web processes
of a site share it: what one of them has seen counts for the others, and after a restart."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.filebased import FileBasedCache

CULLED_EVERY = 10.0  # seconds, in each process


class SharedCache(FileBasedCache):
    _culled_at = -CULLED_EVERY  # of all threads

    def _cull(self) -> None:
        """Remove what is over, and nothing else. Django removes entries at random when there are
        many, so whoever fills the cache would make it forget wrong codes. What counts here ends
        after minutes, and how fast entries can be added is limited for each address."""
        if time.monotonic() - SharedCache._culled_at < CULLED_EVERY:
            return
        names = self._list_cache_files()  # type: ignore[attr-defined]  # Django's own
        if len(names) < self._max_entries:
            return
        SharedCache._culled_at = time.monotonic()
        for name in names:
            with suppress(FileNotFoundError), Path(name).open("rb") as file:
                self._is_expired(file)  # type: ignore[attr-defined]  # which removes it then

    def add(
        self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> bool:
        """Of all who add the same key at once, one does."""
        if self.has_key(key, version):  # which removes one whose time is over
            return False
        self._createdir()  # type: ignore[attr-defined]  # Django's own, as those below
        number, path = tempfile.mkstemp(dir=self._dir)  # type: ignore[attr-defined]
        try:
            with os.fdopen(number, "wb") as file:
                self._write_content(file, timeout, value)  # type: ignore[attr-defined]
            os.link(path, self._key_to_file(key, version))  # type: ignore[attr-defined]
        except FileExistsError:
            return False
        finally:
            Path(path).unlink()
        return True
