"""Report errors to a Sentry server, if SENTRY_DSN is set. Each report is built here from fields
that hold no cell, prompt, key or cookie. Nothing else that the package collects is sent. The
package is optional."""

from __future__ import annotations

import logging
import traceback
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from jobs.rules import log_context
from jobs.rules.plain_text import chain_of, one_line, text_of

from . import __version__

logger = logging.getLogger(__name__)

# Fields that the package fills in and its server needs. None holds data of the site.
KEPT = ("event_id", "timestamp", "level", "platform", "release", "environment", "sdk")
# Loggers whose messages are fixed text before values are put in.
FIXED = ("jobs", "batchsite", "huey", "django.request")
MOST_FRAMES = 60


def start(dsn: str) -> None:
    """Raises ImproperlyConfigured."""
    if not dsn:
        return
    try:
        import sentry_sdk
        from sentry_sdk.integrations.logging import LoggingIntegration
        from sentry_sdk.utils import BadDsn
    except ImportError:
        logger.warning(
            "SENTRY_DSN is set, but the package sentry-sdk is not installed: errors are only "
            "logged. Run: .venv/bin/python -m pip install sentry-sdk"
        )
        return
    try:
        sentry_sdk.init(
            dsn=dsn,
            release=f"batchsite@{__version__}",
            default_integrations=False,
            integrations=[
                LoggingIntegration(level=None, event_level=logging.ERROR, sentry_logs_level=None)
            ],
            before_send=scrub,  # type: ignore[arg-type]  # events are plain dictionaries
            include_local_variables=False,
            include_source_context=False,
            send_default_pii=False,
            max_request_body_size="never",
            max_breadcrumbs=0,
            auto_session_tracking=False,
            send_client_reports=False,
        )
    except BadDsn:
        raise ImproperlyConfigured("SENTRY_DSN is not the DSN of a Sentry server.") from None


def scrub(event: dict[str, Any], hint: dict[str, Any]) -> dict[str, Any]:
    """Build a new event that takes only the fields in KEPT from `event`."""
    kept = {name: event[name] for name in KEPT if name in event}
    record = hint.get("log_record")
    if record is not None:
        kept["logger"] = record.name
        is_fixed = any(record.name == one or record.name.startswith(f"{one}.") for one in FIXED)
        kept["logentry"] = {"message": one_line(str(record.msg)) if is_fixed else record.name}
    kept["tags"] = {name: str(value) for name, value in log_context.current().items()}
    _kind, error, _trace = hint.get("exc_info") or (None, None, None)
    if error is not None:
        kept["exception"] = {"values": [_exception(one) for one in chain_of(error)]}
    return kept


def _exception(error: BaseException) -> dict[str, Any]:
    found = traceback.StackSummary.extract(
        traceback.walk_tb(error.__traceback__), lookup_lines=False, capture_locals=False
    )
    frames = [
        {
            "filename": one.filename,
            "function": one.name,
            "lineno": one.lineno,
            "in_app": "site-packages" not in one.filename,
        }
        for one in found[-MOST_FRAMES:]
    ]
    return {
        "type": type(error).__name__,
        "module": type(error).__module__,
        "value": one_line(text_of(error)),
        "stacktrace": {"frames": frames},
    }
