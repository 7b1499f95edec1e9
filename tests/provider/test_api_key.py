"""The API key that an administrator enters: tested, encrypted, never shown again, used at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from pytest_django import Settings

from jobs.actions import api_keys, teams
from jobs.models import AuditEntry, Team, api_key, fingerprint_of, key_fingerprint
from jobs.provider import client, errors

from ..environment import ROOT
from ..running import SECONDS
from ..test_settings import load

GOOD, OTHER = "sk-ant-the-right-one-of-this-workspace", "sk-ant-some-other-key-that-is-not-it"
PAGE = "/spending/key/"


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One that accepts GOOD only."""
    folder = tmp_path_factory.mktemp("provider")
    (folder / "key").write_text(GOOD)
    command = [sys.executable, "-m", "jobs.simulator", "--port", "0", "--data", str(folder)]
    process = subprocess.Popen(
        [*command, "--token-file", str(folder / "key")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    yield process.stdout.readline().split()[-1]
    process.terminate()
    process.communicate(timeout=SECONDS)


@pytest.fixture(autouse=True)
def real_mode(settings: Settings, provider: str) -> None:
    settings.PRACTICE, settings.ANTHROPIC_API_KEY = False, ""
    settings.ANTHROPIC_BASE_URL = settings.NEW_KEY_URL = provider
    settings.PROVIDER_IS_LOCAL = settings.NEW_KEY_IS_LOCAL = True


def test_a_key_is_tested_stored_encrypted_and_never_shown_again(
    client_root: Client, root: User, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG"):
        saved = client_root.post(PAGE, {"api_key": GOOD})
        page = client_root.get(PAGE).content.decode()

    assert saved.headers["Location"] == PAGE
    assert "ends in <strong>t-it" not in page and f"<strong>{GOOD[-4:]}</strong>" in page
    file = Path(settings.DATA_DIR, "api-key")
    assert file.stat().st_mode & 0o777 == 0o600
    entry = AuditEntry.objects.get(event="api_key_changed")
    assert entry.who == root.pk and entry.detail.after["fingerprint"] == key_fingerprint()
    places = (page, caplog.text, file.read_text(), str(AuditEntry.objects.values()))
    assert not [place for place in places if GOOD in place or GOOD[4:20] in place]
    assert api_key.current() == GOOD


def test_a_key_that_is_refused_is_not_stored(client_root: Client) -> None:
    client_root.post(PAGE, {"api_key": GOOD})
    for wrong, words in ((OTHER, "does not accept this key"), ("two words", "one long word")):
        answer = client_root.post(PAGE, {"api_key": wrong})
        assert answer.status_code == 422 and words in answer.content.decode()
        assert wrong not in answer.content.decode()
    assert api_key.current() == GOOD
    assert AuditEntry.objects.filter(event="api_key_changed").count() == 1


def test_a_key_is_not_sent_unencrypted_or_to_nobody(
    root: User, settings: Settings, provider: str
) -> None:
    settings.NEW_KEY_URL = "http://127.0.0.1:9"
    with pytest.raises(api_keys.KeyRefused, match="cannot be reached"):
        api_keys.change(root, GOOD)
    settings.NEW_KEY_URL, settings.NEW_KEY_IS_LOCAL = provider, False
    with pytest.raises(api_keys.KeyRefused, match="https://"):
        api_keys.change(root, GOOD)
    assert not api_key.is_stored()


def test_another_key_is_used_without_a_restart(settings: Settings) -> None:
    api_key.store(OTHER)
    first = key_fingerprint()
    with pytest.raises(errors.Refused):
        client.list_models()

    api_key.store(GOOD)

    assert client.list_models()
    assert key_fingerprint() != first


def test_a_step_is_taken_with_one_key() -> None:
    """What is noted of a submission is the key that it is sent with."""
    api_key.store(GOOD)
    with api_key.held():
        noted = key_fingerprint()
        api_key.store(OTHER)
        assert client.list_models() and key_fingerprint() == noted
    assert key_fingerprint() != noted


def test_the_environment_wins(client_root: Client, settings: Settings) -> None:
    api_key.store(OTHER)
    settings.ANTHROPIC_API_KEY = GOOD

    page = client_root.post(PAGE, {"api_key": OTHER}).content.decode()

    assert "from its environment" in page and 'name="api_key"' not in page
    assert GOOD not in page and api_key.current() == GOOD


def test_a_key_of_another_secret_key_sends_nothing(
    client_root: Client, root: User, settings: Settings
) -> None:
    api_key.store(GOOD)
    settings.SECRET_KEY = "another one that is long enough for anybody"
    client_root.force_login(root)

    with pytest.raises(errors.Refused, match="Enter it again"):
        client.list_models()
    assert "cannot be read" in client_root.get(PAGE).content.decode()


def test_practice_mode_ends_with_a_restart_only(client_root: Client, settings: Settings) -> None:
    settings.PRACTICE = True

    client_root.post(PAGE, {"api_key": GOOD})

    assert api_key.current() == "" and key_fingerprint() == ""
    assert "Restart the site to leave practice mode" in client_root.get(PAGE).content.decode()
    folder = Path(settings.DATA_DIR)
    assert load(folder)["PRACTICE"] is False
    assert load(folder, BATCHSITE_MODE="practice")["PRACTICE"] is True, "a part that starts again"
    assert load(folder)["ANTHROPIC_BASE_URL"] == "https://api.anthropic.com"


@pytest.fixture
def ads(alice: User) -> Team:
    return Team.objects.create(name="Ads")


def test_a_key_of_a_team_is_tested_stored_encrypted_and_never_shown_again(
    client_root: Client,
    root: User,
    settings: Settings,
    ads: Team,
    caplog: pytest.LogCaptureFixture,
) -> None:
    page = f"/teams/{ads.pk}/key/"
    with caplog.at_level("DEBUG"):
        for wrong in (OTHER, "two words"):
            assert client_root.post(page, {"api_key": wrong}).status_code == 422
            assert api_key.stored_for(ads.pk) == ""
        assert client_root.post(page, {"api_key": GOOD}).status_code == 302
        shown = [client_root.get(one).content.decode() for one in (page, f"/teams/{ads.pk}/")]
    assert f"<strong>{GOOD[-4:]}</strong>" in shown[0] and "a key of its own" in shown[1]
    (file,) = Path(settings.DATA_DIR, "api-keys").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600 and file.parent.stat().st_mode & 0o777 == 0o700
    entry = AuditEntry.objects.get(event="api_key_changed")
    assert (entry.who, entry.target) == (root.pk, f"team {ads.pk}")
    assert entry.detail.after["fingerprint"] == fingerprint_of(GOOD)
    places = (*shown, caplog.text, file.read_text(), str(AuditEntry.objects.values()))
    assert not [place for place in places if GOOD in place or GOOD[4:20] in place]
    with api_key.held(ads.pk):
        assert api_key.current() == GOOD and key_fingerprint() == fingerprint_of(GOOD)
    assert api_key.current() == "", "that of the site is another"

    assert client_root.post(page, {"remove": "yes"}).status_code == 302

    assert api_key.stored_for(ads.pk) == "" and not file.exists()
    removed = AuditEntry.objects.get(event="api_key_removed")
    assert removed.detail.before["fingerprint"] == fingerprint_of(GOOD)


def test_a_new_key_of_a_team_takes_the_place_of_the_old_one(
    root: User, settings: Settings, ads: Team
) -> None:
    for _ in range(2):
        api_keys.change_of_team(ads, root, GOOD)
    assert len(list(Path(settings.DATA_DIR, "api-keys").iterdir())) == 1
    teams.delete_team(ads, root)
    assert not list(Path(settings.DATA_DIR, "api-keys").iterdir())


def test_a_team_does_not_get_the_key_of_another(
    root: User, settings: Settings, ads: Team, client_root: Client
) -> None:
    """Whatever an old database or a file that was moved says."""
    api_keys.change_of_team(ads, root, GOOD)
    ads.refresh_from_db()
    other = Team.objects.create(name="Sales", key_file=ads.key_file)
    assert api_key.stored_for(ads.pk) == GOOD and api_key.stored_for(other.pk) == ""
    with api_key.held(other.pk), pytest.raises(errors.Refused, match="of this team"):
        client.list_models()
    assert "cannot be read" in client_root.get(f"/teams/{other.pk}/key/").content.decode()


def test_only_administrators_give_keys_to_teams(client_alice: Client, ads: Team) -> None:
    page = f"/teams/{ads.pk}/key/"
    assert client_alice.get(page).status_code == 404
    assert client_alice.post(page, {"api_key": GOOD}).status_code == 404
    assert api_key.stored_for(ads.pk) == ""


def test_members_do_not_know_of_the_page(client_alice: Client) -> None:
    assert client_alice.get(PAGE).status_code == 404
    assert client_alice.post(PAGE, {"api_key": GOOD}).status_code == 404
    assert not api_key.is_stored()


@pytest.mark.django_db(transaction=True)
def test_the_test_of_a_key_holds_no_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    root = User.objects.create_superuser("root")
    seen: list[bool] = []
    monkeypatch.setattr(client, "check_key", lambda key: seen.append(connection.in_atomic_block))
    api_keys.change(root, GOOD)
    assert seen == [False]


def test_secrets_come_from_files(tmp_path: Path) -> None:
    key, secret = tmp_path / "key", tmp_path / "secret"
    key.write_text(f"{GOOD}\n")
    secret.write_text(f"{'0123456789' * 4}\n")

    read = load(
        tmp_path, ANTHROPIC_API_KEY_FILE=str(key), SECRET_KEY="", SECRET_KEY_FILE=str(secret)
    )

    assert not read["PRACTICE"] and read["SECRET_KEY"] == "0123456789" * 4


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"ANTHROPIC_API_KEY": "a", "ANTHROPIC_API_KEY_FILE": "/dev/null"}, "set one of them"),
        ({"ANTHROPIC_API_KEY_FILE": "/dev/null"}, "that file is empty"),
        ({"ANTHROPIC_API_KEY_FILE": "/no/such/file"}, "No such file"),
        ({"SECRET_KEY_FILE": "/dev/null"}, "Both SECRET_KEY and SECRET_KEY_FILE"),
        ({"SECRET_KEY": "only 31 characters, which is few"[:31]}, "SECRET_KEY can be guessed"),
        ({"SECRET_KEY": "django-insecure-0123456789"}, "SECRET_KEY can be guessed"),
        ({"SECRET_KEY": "change-me-please-0123456789-0123456789"}, "SECRET_KEY can be guessed"),
        ({"SECRET_KEY": "ab" * 40}, "SECRET_KEY can be guessed"),
    ],
)
def test_a_secret_that_makes_no_sense_stops_the_start(
    values: dict[str, str], words: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=words):
        load(tmp_path, **values)
