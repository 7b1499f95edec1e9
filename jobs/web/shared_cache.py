"""The cache in which django-allauth counts wrong codes and remembers used ones. All web processes
of a site share it: what one of them has seen counts for the others, and after a restart."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.filebased import FileBasedCache


class SharedCache(FileBasedCache):
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
