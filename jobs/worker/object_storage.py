"""The only module that talks to S3-compatible object storage.

`python -m jobs.worker.object_storage` follows orders in a process of its own, which copying.py
kills when one takes too long. So no other process of the site has boto3 in its memory. It knows
neither Django nor the database, and says what went wrong in words of ours.
"""

from __future__ import annotations

import base64
import ctypes
import hashlib
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec

PART = 8 << 20  # one with as many bytes, or fewer, is sent whole
MOST_PARTS = 10_000
# Of one call: a part has to be sent within the first, and the next bytes received in the second.
SEND_SECONDS, READ_SECONDS = 60, 60
BLOCK = 1 << 20

COPY, DELETE = "copy", "delete"
DONE, FILE, OBJECT, STORAGE = "done", "file", "object", "storage"  # where the trouble is

UNREACHABLE = "The storage could not be reached."
NO_CREDENTIALS = "There are no credentials for the storage. Set AWS_ACCESS_KEY_ID and "
NO_CREDENTIALS += "AWS_SECRET_ACCESS_KEY."
REFUSED = "The storage refuses the credentials, or does not allow this with them."
NO_BUCKET = "The storage has no bucket of this name."
BAD_CERTIFICATE = "The certificate of the storage is not trusted on this machine."
MISSING = "The file is missing on this machine, or cannot be read."
CHANGED = "The file on this machine is not the one that was stored."
WRONG_COPY = "What the storage has is not what was sent."
STAYS = "The storage still has it, or an older version of it."


class Place(msgspec.Struct, frozen=True):
    url: str  # s3://bucket/prefix
    endpoint: str = ""  # "": AWS


class Order(msgspec.Struct):
    """`etag`: what the storage called the object when it was proven to have these bytes."""

    act: str  # COPY or DELETE
    place: Place
    key: str
    path: str
    size: int
    sha256: str
    etag: str = ""


_ORDERS = msgspec.json.Decoder(Order)


class Report(msgspec.Struct):
    kind: str  # DONE, FILE, OBJECT or STORAGE
    why: str = ""
    etag: str = ""


class Failed(Exception):
    """The storage, the object or the file is in trouble; the message is ours."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(why)
        self.kind = kind


class Listed(NamedTuple):
    key: str
    size: int
    at: datetime


class Storage:
    """One place in the storage. Every method raises Failed. Keys are those below the prefix."""

    def __init__(self, place: Place) -> None:
        self.bucket, _, prefix = place.url.removeprefix("s3://").partition("/")
        self.prefix = f"{prefix}/" if prefix else ""
        self._client = _connect(place.endpoint)

    def call(self, method: str, **values: Any) -> dict[str, Any]:
        """One call, which is not repeated."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer: dict[str, Any] = getattr(self._client, method)(Bucket=self.bucket, **values)
        except (BotoCoreError, ClientError) as error:
            raise _in_words(error) from None
        return answer

    def _full(self, key: str) -> str:
        return f"{self.prefix}{key}"

    # --- Copying ---

    def copy(self, key: str, path: Path, size: int, sha256: str, etag: str = "") -> str:
        """Have the object be the file with this size and hash, and prove it by another call. One
        that is there already is not sent again. Returns its ETag."""
        if proven := self.has(key, size, sha256, etag):
            return proven
        try:
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_size != size:
                    raise Failed(FILE, CHANGED)
                send = self._send if size <= PART else self._send_parts
                send(self._full(key), file, size, sha256)
        except OSError:
            raise Failed(FILE, MISSING) from None
        if proven := self.has(key, size, sha256):
            return proven
        raise Failed(OBJECT, WRONG_COPY)

    def has(self, key: str, size: int, sha256: str, etag: str = "") -> str:
        """The ETag of the object if it has this size and hash, else "". If the storage has no
        SHA-256 that fits, the object is read, unless it still is the one called `etag`."""
        head = self._head(key)
        if head is None or head["ContentLength"] != size:
            return ""
        if head.get("Metadata", {}).get("sha256") != sha256:
            return ""
        found, checksum = str(head["ETag"]), head.get("ChecksumSHA256", "")
        if etag and found == etag:
            return found
        if "-" in checksum or checksum == _in_base64(sha256):  # each part was checked on arrival
            return found
        digest = hashlib.sha256()
        for block in self.blocks(key):
            digest.update(block)
        return found if digest.hexdigest() == sha256 else ""

    def _head(self, key: str) -> dict[str, Any] | None:
        try:
            return self.call("head_object", Key=self._full(key), ChecksumMode="ENABLED")
        except _Absent:
            return None

    def _send(self, key: str, file: IO[bytes], _size: int, sha256: str) -> None:
        content = file.read()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise Failed(FILE, CHANGED)
        self.call(
            "put_object",
            Key=key,
            Body=content,
            ChecksumAlgorithm="SHA256",
            ChecksumSHA256=_in_base64(sha256),
            Metadata={"sha256": sha256},
        )

    def _send_parts(self, key: str, file: IO[bytes], size: int, sha256: str) -> None:
        """Nothing appears under the key unless all parts have arrived and are the file."""
        self._abort_all(key)
        begun = self.call(
            "create_multipart_upload",
            Key=key,
            ChecksumAlgorithm="SHA256",
            Metadata={"sha256": sha256},
        )
        upload = {"Key": key, "UploadId": begun["UploadId"]}
        try:
            parts: list[dict[str, Any]] = []
            digest = hashlib.sha256()
            part_size = max(PART, -(-size // MOST_PARTS))
            while part := file.read(part_size):
                digest.update(part)
                checksum = _in_base64(hashlib.sha256(part).hexdigest())
                number = len(parts) + 1
                sent = self.call(
                    "upload_part", **upload, PartNumber=number, Body=part, ChecksumSHA256=checksum
                )
                parts.append(
                    {"ETag": sent["ETag"], "PartNumber": number, "ChecksumSHA256": checksum}
                )
            if digest.hexdigest() != sha256:
                raise Failed(FILE, CHANGED)
            self.call("complete_multipart_upload", **upload, MultipartUpload={"Parts": parts})
        except Exception:
            with suppress(Failed):  # the next one looks for what is left over
                self.call("abort_multipart_upload", **upload)
            raise

    def _abort_all(self, key: str) -> None:
        """Remove the parts of uploads that broke off."""
        found = self.call("list_multipart_uploads", Prefix=key).get("Uploads", [])
        for one in found:
            if one["Key"] == key:
                self.call("abort_multipart_upload", Key=key, UploadId=one["UploadId"])

    # --- Deleting ---

    def delete(self, key: str, size: int) -> None:
        """Delete the object with all its versions, and look again."""
        full = self._full(key)
        if size > PART:
            self._abort_all(full)
        answer = self.call("delete_object", Key=full)
        if answer.get("DeleteMarker") or answer.get("VersionId"):
            for version in self._versions(full):
                self.call("delete_object", Key=full, VersionId=version)
            if list(self._versions(full)):
                raise Failed(OBJECT, STAYS)
        if self._head(key) is not None:
            raise Failed(OBJECT, STAYS)

    def _versions(self, key: str) -> list[str]:
        found = self.call("list_object_versions", Prefix=key)
        both = [*found.get("Versions", []), *found.get("DeleteMarkers", [])]
        return [one["VersionId"] for one in both if one["Key"] == key]

    # --- Reading ---

    def keys(self, under: str = "") -> Iterator[Listed]:
        more: dict[str, str] = {}
        while True:
            found = self.call("list_objects_v2", Prefix=self._full(under), **more)
            for one in found.get("Contents", []):
                key = one["Key"].removeprefix(self.prefix)
                yield Listed(key, one["Size"], one["LastModified"])
            if not found.get("IsTruncated"):
                return
            more = {"ContinuationToken": found["NextContinuationToken"]}

    def sha256_of(self, key: str) -> str:
        """As it was when the object was sent."""
        head = self._head(key)
        if head is None:
            raise Failed(OBJECT, f"The storage has no {key}.")
        return str(head.get("Metadata", {}).get("sha256", ""))

    def blocks(self, key: str) -> Iterator[bytes]:
        from botocore.exceptions import BotoCoreError

        try:
            with self.call("get_object", Key=self._full(key))["Body"] as body:
                while block := body.read(BLOCK):
                    yield block
        except _Absent:
            raise Failed(OBJECT, f"The storage has no {key}.") from None
        except (BotoCoreError, OSError) as error:
            raise _in_words(error) from None

    def fetch(self, key: str, target: Path, sha256: str) -> int:
        """Write the object to a new file with this hash; its size."""
        digest, size = hashlib.sha256(), 0
        try:
            with target.open("xb") as file:
                for block in self.blocks(key):
                    digest.update(block)
                    file.write(block)
                    size += len(block)
                if digest.hexdigest() != sha256:
                    raise Failed(OBJECT, f"{key} in the storage is damaged: its hash is wrong.")
                file.flush()
                os.fsync(file.fileno())
        except Failed:
            target.unlink(missing_ok=True)
            raise
        return size


class _Absent(Failed):
    """404: the object is not there, or the bucket is not."""


def _connect(endpoint: str) -> Any:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    for name, value in list(os.environ.items()):
        if name.startswith("AWS_") and not value:
            del os.environ[name]  # compose.yml passes on what is not set, and boto3 would take it
    config = Config(
        connect_timeout=SEND_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"total_max_attempts": 1},  # copying.py has pauses of its own
        # Storage other than AWS does not know checksums that nobody asks for.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path" if endpoint else "auto"},
    )
    try:
        return boto3.client("s3", endpoint_url=endpoint or None, config=config)
    except BotoCoreError as error:
        raise _in_words(error) from None


def _in_base64(sha256: str) -> str:
    return base64.b64encode(bytes.fromhex(sha256)).decode()


_FORBIDDEN = {
    "AccessDenied",
    "403",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "AuthFailure",
}


def _in_words(error: Exception) -> Failed:
    """Nothing of what the storage or the library says gets out but its code."""
    from botocore import exceptions as known

    if isinstance(error, known.ClientError):
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in ("404", "NoSuchKey"):
            return _Absent(STORAGE, NO_BUCKET)  # whoever knows better catches it
        if code == "NoSuchBucket":
            return Failed(STORAGE, NO_BUCKET)
        if code in _FORBIDDEN:
            return Failed(STORAGE, REFUSED)
        if code in ("BadDigest", "XAmzContentChecksumMismatch", "InvalidPart"):
            return Failed(OBJECT, WRONG_COPY)
        shown = code if re.fullmatch(r"\w{1,60}", code) else "an error"
        return Failed(STORAGE, f"The storage answers {shown}.")
    if isinstance(error, known.NoCredentialsError | known.PartialCredentialsError):
        return Failed(STORAGE, NO_CREDENTIALS)
    if isinstance(error, known.SSLError):
        return Failed(STORAGE, BAD_CERTIFICATE)
    if isinstance(error, known.HTTPClientError | known.ConnectionError | OSError):
        return Failed(STORAGE, UNREACHABLE)
    return Failed(STORAGE, f"The storage cannot be used ({type(error).__name__}).")


# --- The process ----------------------------------------------------------------------------------


def follow(order: Order, storages: dict[Place, Storage]) -> Report:
    try:
        if order.place not in storages:
            storages[order.place] = Storage(order.place)
        storage = storages[order.place]
        if order.act == DELETE:
            storage.delete(order.key, order.size)
            return Report(DONE)
        path = Path(order.path)
        etag = storage.copy(order.key, path, order.size, order.sha256, order.etag)
    except Failed as failed:
        return Report(failed.kind, str(failed))
    return Report(DONE, etag=etag)


def _end_with_parent() -> None:
    """A worker that is killed must not leave a process behind that still writes."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def main(orders: IO[bytes], answers: IO[bytes]) -> None:
    """One order a line, and one report a line."""
    storages = dict[Place, Storage]()
    for line in orders:
        report = follow(_ORDERS.decode(line), storages)
        answers.write(msgspec.json.encode(report) + b"\n")
        answers.flush()


if __name__ == "__main__":
    _end_with_parent()
    main(sys.stdin.buffer, sys.stdout.buffer)
