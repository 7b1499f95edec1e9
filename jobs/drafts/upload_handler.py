"""Receive uploads: straight to the disk that stores them, within size limits, quota and free
space."""

from __future__ import annotations

import hashlib
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import StopUpload, TemporaryFileUploadHandler

from ..models import storage
from ..rules.wording import size

LOOK_EVERY = 8_000_000  # bytes between checks of free disk space
LARGEST_FORM = 1_000_000  # bytes of an upload's other fields and boundaries


class LimitedUploadHandler(TemporaryFileUploadHandler):
    """Writes an upload to FILE_UPLOAD_TEMP_DIR whatever its size. It stops at MAX_UPLOAD_BYTES, at
    the quota of the person, and where the disk has no more room.

    An upload that is stopped leaves no file, and `why_refused` says why. The rest of it is read and
    thrown away, so that the browser gets an answer to show. The file has its hash as `sha256`.
    """

    taken = 0

    def __init__(self, request: Any = None) -> None:
        super().__init__(request)
        self._digest = hashlib.sha256()
        self._announced = 0
        self._look_at = LOOK_EVERY

    def handle_raw_input(
        self, input_data: Any, META: Any, content_length: int, *args: Any, **kwargs: Any
    ) -> None:
        self._announced = content_length

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        request: Any = self.request  # Django always gives a handler its request
        if not request.user.is_authenticated:
            raise StopUpload(connection_reset=False)  # no public page takes files
        if self._announced > settings.MAX_UPLOAD_BYTES + LARGEST_FORM:
            self._refuse(_too_large())
        try:
            storage.require_room(request.user, self._announced)
        except storage.NoRoom as why:
            self._refuse(str(why))
        try:
            super().new_file(*args, **kwargs)
        except OSError as error:
            self._refuse_if_not_stored(error)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes | None:
        self.taken += len(raw_data)
        if self.taken > settings.MAX_UPLOAD_BYTES:
            self._refuse(_too_large())
        if self.taken > self._look_at:
            self._look_at += LOOK_EVERY
            if storage.is_low():
                self._refuse(storage.DISK_FULL)
        self._digest.update(raw_data)
        try:
            return super().receive_data_chunk(raw_data, start)
        except OSError as error:
            self._refuse_if_not_stored(error)
        return None

    def file_complete(self, file_size: int) -> UploadedFile[Any] | None:
        try:
            uploaded = super().file_complete(file_size)
        except OSError as error:
            self._refuse_if_not_stored(error)
            return None
        if uploaded is not None:
            uploaded.sha256 = self._digest.hexdigest()  # type: ignore[attr-defined]  # for the view
        return uploaded

    def _refuse_if_not_stored(self, error: OSError) -> None:
        if not (why := storage.why_not_stored(error)):
            raise error
        self._refuse(why)

    def _refuse(self, why: str) -> None:
        self.request.upload_refused = why  # type: ignore[union-attr]  # as in new_file
        raise StopUpload(connection_reset=False)


def _too_large() -> str:
    return (
        f"This file is larger than {size(settings.MAX_UPLOAD_BYTES)}, the limit of this site. "
        "Split it into several files and create a job for each."
    )


def why_refused(request: Any) -> str:
    """Why the upload of a request was refused, as a sentence; "" if it was not."""
    return str(getattr(request, "upload_refused", ""))
