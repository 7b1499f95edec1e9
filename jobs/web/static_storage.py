"""The static files under names with their hash, as whitenoise serves them."""

from __future__ import annotations

import json

from whitenoise.storage import CompressedManifestStaticFilesStorage


class StaticStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]  # it has no types
    def read_manifest(self) -> str | None:
        """The list of those names. None for one that a full disk or a power cut has cut off: Django
        would refuse to load it, and so to make it anew, and the site could not start any more."""
        content: str | None = super().read_manifest()
        try:
            json.loads(content or "")
        except ValueError:
            return None
        return content
