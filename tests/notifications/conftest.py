"""A site that sends for real, to receivers on this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from .receivers import HookReceiver, MailServer, hook_receiver, mail_server


@pytest.fixture
def hooks() -> Iterator[HookReceiver]:
    with hook_receiver() as receiver:
        yield receiver


@pytest.fixture
def mails(settings: Settings, alice: User) -> Iterator[MailServer]:
    """Alice has a mail address, and the site a mail server."""
    User.objects.filter(pk=alice.pk).update(email="alice@example.org")
    alice.email = "alice@example.org"
    with mail_server() as server:
        settings.HAS_MAIL, settings.DEFAULT_FROM_EMAIL = True, "Batchsite <site@example.org>"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
        settings.EMAIL_HOST_USER = settings.EMAIL_HOST_PASSWORD = ""
        settings.EMAIL_USE_SSL = settings.EMAIL_USE_TLS = False
        yield server


@pytest.fixture(autouse=True)
def real_site(settings: Settings) -> None:
    """No practice mode, and receivers on this machine are allowed."""
    settings.PRACTICE = False
    settings.NOTIFY_PRIVATE_HOSTS = ["127.0.0.0/8"]
    settings.SITE_URL = "https://batch.example.com"
