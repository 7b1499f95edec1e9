"""What a page says once, in a cookie that only this host can set."""

from __future__ import annotations

from django.conf import settings
from django.contrib.messages.storage.cookie import CookieStorage
from django.contrib.messages.storage.fallback import FallbackStorage
from django.contrib.messages.storage.session import SessionStorage


class MessageCookie(CookieStorage):
    cookie_name = "__Host-messages" if settings.HTTPS else "batchsite_messages"


class MessageStorage(FallbackStorage):
    """Few words in the cookie; more in the session."""

    storage_classes = (MessageCookie, SessionStorage)
