"""The settings: what an operator can set, what is refused, and what is safe when nothing is set."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import caches
from huey.contrib.djhuey import HUEY

from . import forking
from .conftest import SCRATCH
from .environment import ROOT, clean_environment, setting_names
from .running import SECONDS

pytestmark = pytest.mark.no_database

SHOWN = (
    "DEBUG",
    "PRACTICE",
    "ANTHROPIC_BASE_URL",
    "SECRET_KEY",
    "POLL_SECONDS",
    "ALLOWED_HOSTS",
    "SECURE_HSTS_PRELOAD",
)


def load(data_dir: Path, **values: str) -> dict[str, Any]:
    """The settings as a process with the environment `values` sees them. Raises ValueError with
    the last line of the error."""
    said = Path(tempfile.mkdtemp(dir=SCRATCH), "said")
    environment = clean_environment(data_dir, **values)
    process = forking.start(show, str(said), environment=environment, errors=said)
    process.join(SECONDS)
    if process.exitcode:
        raise ValueError(said.read_text().strip().splitlines()[-1])
    found: dict[str, Any] = json.loads(said.read_text())
    return found


def show(said: str) -> None:
    shown = {name: getattr(settings, name) for name in SHOWN}
    Path(said).write_text(json.dumps(shown))


def manage(data_dir: Path, *arguments: str, **values: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=clean_environment(data_dir, **values),
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_setting_is_documented() -> None:
    example = (ROOT / ".env.example").read_text()
    described = set(re.findall(r"^#?([A-Z][A-Z0-9_]+)=", example, re.MULTILINE))
    readme = (ROOT / "README.md").read_text()

    assert described == set(setting_names())
    assert not [name for name in setting_names() if f"`{name}`" not in readme]


def test_without_any_setting_it_is_practice_mode_on_this_machine(tmp_path: Path) -> None:
    settings = load(tmp_path)

    assert settings["PRACTICE"]
    assert settings["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:8790"
    assert not settings["DEBUG"]
    assert settings["ALLOWED_HOSTS"] == ["localhost", "127.0.0.1"]


def test_a_setting_that_is_empty_has_its_default(tmp_path: Path) -> None:
    """compose.yml gives each setting to the container, also those that nobody has set."""
    empty = dict.fromkeys({*setting_names()} - {"DATA_DIR"}, "")

    assert load(tmp_path, **empty) == load(tmp_path, SECRET_KEY="")


def test_practice_mode_never_leaves_this_machine(tmp_path: Path) -> None:
    settings = load(tmp_path, ANTHROPIC_BASE_URL="https://example.com")

    assert settings["PRACTICE"]
    assert settings["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:8790"


def test_practice_mode_takes_another_port_of_this_machine(tmp_path: Path) -> None:
    settings = load(tmp_path, ANTHROPIC_BASE_URL="http://127.0.0.1:9999/")

    assert settings["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:9999"


def test_with_a_key_it_is_the_real_thing(tmp_path: Path) -> None:
    settings = load(tmp_path, ANTHROPIC_API_KEY="key", ALLOWED_HOSTS="example.org, www.example.org")

    assert not settings["PRACTICE"]
    assert settings["ANTHROPIC_BASE_URL"] == "https://api.anthropic.com"
    assert settings["POLL_SECONDS"] == 30
    assert settings["ALLOWED_HOSTS"] == ["example.org", "www.example.org"]


def test_a_key_goes_to_any_server_of_ones_own(tmp_path: Path) -> None:
    url = "http://localhost:8080"

    assert load(tmp_path, ANTHROPIC_API_KEY="key", ANTHROPIC_BASE_URL=url) == {
        **load(tmp_path, ANTHROPIC_API_KEY="key"),
        "ANTHROPIC_BASE_URL": url,
    }


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("DEBUG", "maybe", "DEBUG is 'maybe'; it must be on or off."),
        ("HTTPS", "2", "HTTPS is '2'; it must be on or off."),
        ("POLL_SECONDS", "often", "POLL_SECONDS is 'often'; it must be a number."),
        ("POLL_SECONDS", "0", "POLL_SECONDS is 0; it must be 0.1 or more."),
        ("POLL_SECONDS", "nan", "POLL_SECONDS is nan; it must be 0.1 or more."),
        ("BATCH_MAX_REQUESTS", "-1", "BATCH_MAX_REQUESTS is -1; it must be 1 or more."),
        ("MAX_UPLOAD_BYTES", "inf", "MAX_UPLOAD_BYTES is inf; it must be 1 or more."),
        ("DATABASE_URL", "mysql://localhost/x", "DATABASE_URL must start with postgres://"),
        ("DATABASE_URL", "batchsite", "DATABASE_URL"),
        ("COPY_TO", "bucket/prefix", "COPY_TO must be s3://bucket/prefix"),
        ("COPY_TO", "s3://", "COPY_TO must be s3://bucket/prefix"),
        ("COPY_TO", "s3://bucket/../x", "COPY_TO must be s3://bucket/prefix"),
        ("S3_ENDPOINT_URL", "minio:9000", "S3_ENDPOINT_URL must be like https://s3.example.com"),
        ("S3_ENDPOINT_URL", "http://a:b@minio", "without a path or a password"),
    ],
)
def test_a_bad_value_is_named(name: str, value: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        load(tmp_path, **{name: value})


@pytest.mark.parametrize("url", ["http://example.com", "ftp://example.com", "example.com"])
def test_a_key_never_travels_unencrypted(url: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must start with https://"):
        load(tmp_path, ANTHROPIC_API_KEY="key", ANTHROPIC_BASE_URL=url)


def test_the_secret_key_is_made_once_and_for_us_alone(tmp_path: Path) -> None:
    first = load(tmp_path, SECRET_KEY="")["SECRET_KEY"]
    second = load(tmp_path, SECRET_KEY="")["SECRET_KEY"]

    path = tmp_path / "secret-key"
    assert first == second == path.read_text()
    assert len(first) >= 50
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_two_first_starts_at_once_agree_on_one_secret_key(tmp_path: Path) -> None:
    code = "import batchsite.settings as s; print(s.SECRET_KEY)"
    environment = clean_environment(tmp_path / "new", SECRET_KEY="")
    starts = [
        subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, env=environment, stdout=subprocess.PIPE
        )
        for _ in range(4)
    ]
    keys = {start.communicate()[0] for start in starts}

    assert len(keys) == 1
    assert keys != {b""}
    assert not list((tmp_path / "new").glob(".secret-key-*"))


def test_data_are_for_us_alone(tmp_path: Path) -> None:
    load(tmp_path / "new")

    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_production_settings_pass_the_deployment_checks(tmp_path: Path) -> None:
    done = manage(
        tmp_path,
        *("check", "--deploy", "--fail-level", "WARNING"),
        HTTPS="on",
        ALLOWED_HOSTS="example.org",
        ANTHROPIC_API_KEY="key",
    )

    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


def test_preload_lists_are_asked_for(tmp_path: Path) -> None:
    said = [
        load(tmp_path, **values)["SECURE_HSTS_PRELOAD"]
        for values in (
            {"HTTPS": "on"},
            {"HSTS_PRELOAD": "on"},
            {"HTTPS": "on", "HSTS_PRELOAD": "on"},
        )
    ]
    assert said == [False, False, True]


def test_prompts_never_reach_the_log(tmp_path: Path) -> None:
    """The provider's client logs whole requests when its logger is at DEBUG."""
    code = (
        "import logging; from jobs.provider import client; client.load(); "
        "print(logging.getLogger('anthropic').getEffectiveLevel())"
    )
    done = manage(tmp_path, "shell", "--no-imports", "-c", code, ANTHROPIC_LOG="debug", DEBUG="on")

    assert done.stdout.strip() == "30", done.stderr


def test_tests_see_none_of_the_machines_settings() -> None:
    assert "ANTHROPIC_API_KEY" not in os.environ
    assert "ANTHROPIC_BASE_URL" not in os.environ


def test_each_process_of_the_tests_has_folders_of_its_own() -> None:
    queue = Path(HUEY.storage.filename)
    assert queue.parent == Path(caches["default"]._dir).parent == SCRATCH  # type: ignore[attr-defined]
