"""What is logged, and how it is written."""

from __future__ import annotations

import os
from typing import Any

# The provider's client logs prompts at DEBUG, so it stays at WARNING. It would set its level from
# this variable when it is imported, which is after the configuration here.
os.environ.pop("ANTHROPIC_LOG", None)


def logging_settings(log_format: str) -> dict[str, Any]:
    """The setting LOGGING; `log_format` is "text" or "json"."""
    formatters: dict[str, dict[str, str]] = {
        "text": {
            "class": "jobs.rules.plain_text.LineFormatter",
            "format": "%(asctime)s %(levelname)s %(name)s: %(message)s",
        },
        "json": {"class": "jobs.rules.json_log.JsonFormatter"},
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": formatters[log_format]},
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["console"], "level": "WARNING"},
        "loggers": {
            "jobs": {"level": "INFO"},
            "huey": {"handlers": ["console"], "level": "WARNING", "propagate": False},
            "anthropic": {"level": "WARNING"},
            "httpx2": {"level": "WARNING"},
            "httpcore2": {"level": "WARNING"},
        },
    }
