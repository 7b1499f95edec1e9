"""Copies in object storage, against a real server: made once, proven, and deleted with the file."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.utils import timezone
from pytest_django import Settings

from jobs.batches import slots
from jobs.models import Alarm, Batch, CopyState, Heartbeat, Job, StoredCopy, files
from jobs.worker import alarms, backups, copies, copying, dumps, object_storage, sweep
from jobs.worker.object_storage import Storage
from jobs.worker.supervision import prepare_child

from .. import commands
from ..environment import clean_environment
from ..running import SECONDS, free_port, wait_for
from .test_crashes import environment_of_worker

pytestmark = pytest.mark.django_db(transaction=True)

RESULTS = b'{"custom_id":"x-1"}\n'
BUCKET = "copies"
State = StoredCopy.State
MakeJob = Callable[..., Job]
USUAL_HELPER = copying.Helper


class Server:
    """Moto's server: S3 over HTTP in a process of its own."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "--port", str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=prepare_child,
        )
        wait_for(self.answers, "the server")

    def answers(self) -> bool:
        try:
            self.post("reset")
        except OSError:
            return False
        return True

    def post(self, act: str, body: bytes = b"") -> None:
        url = f"{self.url}/moto-api/{act}"
        plain = {"Content-Type": "application/octet-stream"}
        request = urllib.request.Request(url, body, plain)
        with urllib.request.urlopen(request, timeout=SECONDS):
            pass

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(timeout=SECONDS)


@pytest.fixture(scope="module")
def process() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


class Bucket:
    def __init__(self, url: str) -> None:
        self.client = boto3.client("s3", endpoint_url=url, region_name="us-east-1")
        self.client.create_bucket(Bucket=BUCKET)

    def keys(self) -> set[str]:
        found = self.client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return {one["Key"].removeprefix("site/") for one in found}

    def content(self, key: str) -> bytes:
        body: bytes = self.client.get_object(Bucket=BUCKET, Key=f"site/{key}")["Body"].read()
        return body

    def puts(self, key: str) -> int:
        """How many versions there are, in a bucket that keeps them."""
        found = self.client.list_object_versions(Bucket=BUCKET, Prefix=f"site/{key}")
        return len(found.get("Versions", []))


class LastingHelper(copying.Helper):
    """One process for all looks: importing boto3 takes longer than they do."""

    def __exit__(self, *exception: object) -> None:
        pass


@pytest.fixture(scope="module")
def helper() -> Iterator[LastingHelper]:
    helper = LastingHelper()
    yield helper
    helper._end()


@pytest.fixture
def bucket(
    process: Server, helper: LastingHelper, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Bucket:
    process.post("reset")
    monkeypatch.setattr(copying, "Helper", lambda: helper)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    settings.PRACTICE = False
    settings.COPY_TO = f"s3://{BUCKET}/site"
    settings.S3_ENDPOINT_URL = process.url
    return Bucket(process.url)


@pytest.fixture
def batch(bucket: Bucket, make_job: MakeJob, alice: User) -> Batch:
    """A finished job with results on our disk."""
    return add_results(make_job(alice, practice=False))


def add_results(job: Job, content: bytes = RESULTS, number: int = 1) -> Batch:
    batch = Batch.objects.create(
        job=job, number=number, size=2, nonce=f"n{number}", state=Batch.State.COLLECTED,
        provider_id=f"msgbatch_{job.pk}_{number}", body_sha256="", body_bytes=1, practice=False,
        results_sha256=hashlib.sha256(content).hexdigest(), results_bytes=len(content),
    )  # fmt: skip
    path = files.results_path(batch)
    files.make_folder(path.parent)
    path.write_bytes(content)
    return batch


def look() -> None:
    """As after a minute, or as long as it takes until everything is due again."""
    CopyState.row().update(find_at=timezone.now(), next_at=timezone.now())
    StoredCopy.objects.update(due_at=timezone.now())
    copying.look()


def key_of(batch: Batch) -> str:
    return f"results/{files.results_path(batch).name}"


def version_it(bucket: Bucket) -> None:
    bucket.client.put_bucket_versioning(
        Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"}
    )


def test_results_are_copied_once_and_noted(
    batch: Batch, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "Helper", USUAL_HELPER)
    version_it(bucket)
    kinds: list[str] = []
    sweep.sweep(step=lambda _job_pk: None, look=kinds.append)
    assert slots.COPYING in kinds
    sweep.take_look(slots.COPYING)
    for _ in range(2):
        look()
    (one,) = StoredCopy.objects.all()
    assert bucket.keys() == {key_of(batch)} and bucket.content(key_of(batch)) == RESULTS
    assert (one.state, one.sha256, one.batch_pk) == (State.COPIED, batch.results_sha256, batch.pk)
    assert one.copied_at is not None and bucket.puts(key_of(batch)) == 1
    head = bucket.client.head_object(
        Bucket=BUCKET, Key=f"site/{key_of(batch)}", ChecksumMode="ENABLED"
    )
    assert head["ChecksumSHA256"] and head["Metadata"]["sha256"] == one.sha256


def test_nothing_is_copied_in_practice_mode_or_without_the_setting(
    batch: Batch, bucket: Bucket, settings: Settings
) -> None:
    for name, value in (("PRACTICE", True), ("COPY_TO", "")):
        before = getattr(settings, name)
        setattr(settings, name, value)
        assert not copying.has_due()
        look()
        setattr(settings, name, before)
    assert not StoredCopy.objects.exists() and not bucket.keys()


def test_a_large_file_goes_in_parts_that_are_proven(
    batch: Batch, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    content = os.urandom(object_storage.PART + 1000)
    large = add_results(batch.job, content, number=2)
    look()
    assert bucket.content(key_of(large)) == content
    assert not StoredCopy.objects.exclude(state=State.COPIED).exists()
    target = tmp_path / "fetched"
    storage = Storage(copies.place())
    assert storage.fetch(key_of(large), target, large.results_sha256) == len(content)
    # One that is not what its hash says never gets its name there.
    files.results_path(large).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(object_storage.Failed, match=re.escape(object_storage.CHANGED)):
        other = files.results_path(large)
        storage.copy("results/other", other, len(content), large.results_sha256)
    assert bucket.keys() == {key_of(batch), key_of(large)}
    assert not bucket.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads")


def test_a_worker_that_is_killed_after_the_upload_does_not_upload_again(
    batch: Batch, bucket: Bucket, settings: Settings
) -> None:
    version_it(bucket)
    code = (
        "import os, signal; from jobs.worker import copying; "
        "copying._note_done = lambda *_: os.kill(os.getpid(), signal.SIGKILL); copying.look()"
    )
    environment = {
        **environment_of_worker("http://127.0.0.1:9", Path(settings.DATA_DIR)),
        "COPY_TO": settings.COPY_TO,
        "S3_ENDPOINT_URL": settings.S3_ENDPOINT_URL,
        "ANTHROPIC_API_KEY": "key",
    }
    died = commands.run(commands.run_script, code, environment=environment)
    assert died.status == -signal.SIGKILL, died
    (one,) = StoredCopy.objects.all()
    assert one.state == State.WAITING and one.claimed_by and bucket.keys() == {key_of(batch)}
    look()
    one.refresh_from_db()
    assert (one.state, one.claimed_by) == (State.COPIED, "")
    assert bucket.puts(key_of(batch)) == 1


def test_a_damaged_file_is_not_copied_and_is_fetched_again(batch: Batch, bucket: Bucket) -> None:
    files.results_path(batch).write_bytes(RESULTS.replace(b"x", b"y"))
    look()
    one = StoredCopy.objects.get()
    assert (one.state, one.trouble) == (State.WAITING, object_storage.CHANGED)
    assert not bucket.keys()
    batch.refresh_from_db()
    assert batch.damaged_at is not None
    files.results_path(batch).write_bytes(RESULTS)
    look()
    assert bucket.content(key_of(batch)) == RESULTS


def test_an_object_that_was_changed_there_does_not_count_as_a_copy(
    batch: Batch, bucket: Bucket
) -> None:
    look()
    bucket.client.put_object(
        Bucket=BUCKET,
        Key=f"site/{key_of(batch)}",
        Body=RESULTS.upper(),
        Metadata={"sha256": batch.results_sha256},
    )
    StoredCopy.objects.update(state=State.WAITING)
    look()
    assert bucket.content(key_of(batch)) == RESULTS


@pytest.mark.parametrize("fault", ["bucket", "credentials", "server"])
def test_trouble_of_the_storage_is_an_alarm_and_passes(
    fault: str, batch: Batch, bucket: Bucket, process: Server, settings: Settings
) -> None:
    if fault == "bucket":
        settings.COPY_TO = "s3://nowhere/site"
        wanted = object_storage.NO_BUCKET
    elif fault == "credentials":
        process.post("reset-auth", b"0")
        wanted = object_storage.REFUSED
    else:
        settings.S3_ENDPOINT_URL = f"http://127.0.0.1:{free_port()}"  # nobody answers there
        wanted = object_storage.UNREACHABLE
    for _ in range(3):
        look()
    state = CopyState.get()
    assert (state.trouble, state.failures) == (wanted, 3)
    assert not copying.has_due(), "there is a pause"
    CopyState.row().update(failing_since=timezone.now() - timedelta(hours=1))
    Heartbeat.row().update(tick_at=timezone.now())
    alarms.check()
    assert Alarm.objects.open().filter(kind="copies_behind").exists()
    settings.COPY_TO = f"s3://{BUCKET}/site"
    settings.S3_ENDPOINT_URL = process.url
    if fault == "credentials":
        process.post("reset-auth", b"1000000")
    look()
    assert CopyState.get().failing_since is None
    assert bucket.keys() == {key_of(batch)}
    alarms.check()
    assert not Alarm.objects.open().filter(kind="copies_behind").exists()


def test_what_is_deleted_here_is_deleted_there_with_every_version(
    batch: Batch, bucket: Bucket, process: Server
) -> None:
    version_it(bucket)
    export = files.export_path(batch.job_id, "stamp", "all", "csv")
    files.make_folder(export.parent)
    export.write_bytes(b"a,b\n")
    files.facts_path(export).write_text(f"{hashlib.sha256(b'a,b').hexdigest()} 4\n")
    look()
    assert StoredCopy.objects.get(key=f"exports/{export.name}").trouble == object_storage.CHANGED
    files.facts_path(export).write_text(f"{hashlib.sha256(export.read_bytes()).hexdigest()} 4\n")
    look()
    assert bucket.keys() == {key_of(batch), f"exports/{export.name}"}
    files.remove_export(export)
    Batch.objects.update(removed_at=timezone.now())
    process.post("reset-auth", b"0")
    look()
    assert StoredCopy.objects.filter(state=State.DELETING).count() == 2, "recorded until it is done"
    process.post("reset-auth", b"1000000")
    look()
    assert not StoredCopy.objects.exists() and not bucket.keys()
    assert not bucket.puts("") and not bucket.client.list_object_versions(Bucket=BUCKET).get(
        "DeleteMarkers"
    )


def test_a_file_that_is_deleted_while_it_is_copied_is_deleted_there(
    batch: Batch, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = LastingHelper.ask

    def slow(self: copying.Helper, order: Any, seconds: float) -> Any:
        outcome = ask(self, order, seconds)
        if order.act == object_storage.COPY:
            assert bucket.keys() == {key_of(batch)}
            Job.objects.filter(pk=batch.job_id).delete()
            copies.find()
        return outcome

    monkeypatch.setattr(LastingHelper, "ask", slow)
    look()
    assert not bucket.keys() and not StoredCopy.objects.exists()


def test_a_missing_file_is_no_reason_to_delete_its_copy(batch: Batch, bucket: Bucket) -> None:
    look()
    files.results_path(batch).unlink()
    look()
    assert bucket.keys() == {key_of(batch)}


def test_an_order_that_takes_too_long_is_given_up(
    batch: Batch, bucket: Bucket, process: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "seconds_for", lambda _size: 1)
    process.process.send_signal(signal.SIGSTOP)
    try:
        look()
    finally:
        process.process.send_signal(signal.SIGCONT)
    one = StoredCopy.objects.get()
    assert (one.trouble, one.claimed_by) == (copying.TOO_LONG, "")


def test_backups_share_files_come_back_and_go_when_they_are_old(
    batch: Batch,
    bucket: Bucket,
    settings: Settings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for _ in range(4):
        call_command("backup", str(tmp_path / "b"), keep=2)
        look()
    names = [path.name for path in backups.find_all(tmp_path / "b")]
    keys = bucket.keys()
    assert {key.split("/")[1] for key in keys if key.startswith("backups/")} >= {*names, "files"}
    assert len([key for key in keys if key.endswith("manifest.json")]) == 3, "keep, and the newest"
    assert len([key for key in keys if "files" in key]) == 2, "an upload and results, each once"
    call_command("copies", "list")
    assert names[-1] in capsys.readouterr().out
    other = clean_environment(
        tmp_path / "other",
        COPY_TO=settings.COPY_TO,
        S3_ENDPOINT_URL=settings.S3_ENDPOINT_URL,
        DATABASE_URL="",
    )

    def on_another_machine(*arguments: str) -> None:
        ended = commands.run(commands.run_command, *arguments, environment=other)
        assert ended.status == 0, ended

    on_another_machine("copies", "fetch", names[-1], str(tmp_path / "fetched"))
    fetched = tmp_path / "fetched" / names[-1]
    assert backups.check(fetched) == backups.read_manifest(tmp_path / "b" / names[-1])
    if not dumps.is_postgresql():
        on_another_machine("restore", str(fetched))
        results = files.results_path(batch)
        assert (tmp_path / "other" / "results" / results.name).read_bytes() == RESULTS


def test_a_backup_that_is_gone_before_it_was_copied_is_forgotten(
    batch: Batch, bucket: Bucket, tmp_path: Path
) -> None:
    for _ in range(2):
        call_command("backup", str(tmp_path / "b"), keep=1)
    look()
    (name,) = [path.name for path in backups.find_all(tmp_path / "b")]
    assert {key.split("/")[1] for key in bucket.keys() if key.startswith("backups/")} == {  # noqa: SIM118
        name,
        "files",
    }
    assert not StoredCopy.objects.open().exists()


def test_after_a_change_of_place_the_old_one_is_cleaned_up(
    batch: Batch, bucket: Bucket, settings: Settings, tmp_path: Path
) -> None:
    call_command("backup", str(tmp_path / "b"), keep=1)
    look()
    before = bucket.keys()
    settings.COPY_TO = f"s3://{BUCKET}/site/new"
    look()
    assert bucket.keys() == before | {f"new/{key_of(batch)}"}, "nothing goes with its file here"
    Batch.objects.update(removed_at=timezone.now())
    call_command("backup", str(tmp_path / "b"), keep=1)
    look()
    assert bucket.keys() and all(key.startswith("new/backups/") for key in bucket.keys())  # noqa: SIM118


def test_after_a_restore_copies_are_proven_again(
    batch: Batch, bucket: Bucket, tmp_path: Path
) -> None:
    look()
    bucket.client.delete_object(Bucket=BUCKET, Key=f"site/{key_of(batch)}")
    StoredCopy.objects.filter(batch_pk=batch.pk).update(claimed_by="x|1|y")
    copies.settle_restored()
    look()
    assert bucket.keys() == {key_of(batch)}
