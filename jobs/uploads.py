"""Taking in a file from the browser: straight to the disk that keeps it, and no further than the
limit."""

from __future__ import annotations

import hashlib
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import StopUpload, TemporaryFileUploadHandler


class LimitedUploadHandler(TemporaryFileUploadHandler):
    """Writes an upload to FILE_UPLOAD_TEMP_DIR whatever its size, and stops at MAX_UPLOAD_BYTES.

    An upload that is too large leaves no file, and `request.upload_too_large` is True. The file
    has its hash as `sha256`.
    """

    taken = 0

    def __init__(self, request: Any = None) -> None:
        super().__init__(request)
        self._digest = hashlib.sha256()

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes | None:
        self.taken += len(raw_data)
        if self.taken > settings.MAX_UPLOAD_BYTES:
            # Django always gives a handler its request.
            self.request.upload_too_large = True  # type: ignore[union-attr]
            # The rest is read and thrown away, so that the browser gets an answer to show.
            raise StopUpload(connection_reset=False)
        self._digest.update(raw_data)
        return super().receive_data_chunk(raw_data, start)

    def file_complete(self, file_size: int) -> UploadedFile[Any] | None:
        if self.taken > settings.MAX_UPLOAD_BYTES:
            return None
        uploaded = super().file_complete(file_size)
        if uploaded is not None:
            uploaded.sha256 = self._digest.hexdigest()  # type: ignore[attr-defined]
        return uploaded


def was_too_large(request: Any) -> bool:
    return bool(getattr(request, "upload_too_large", False))
