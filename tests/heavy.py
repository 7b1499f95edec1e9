"""Importing this imports everything that takes long to import and does not look at the settings."""

from __future__ import annotations

import os
from importlib import import_module

NAMES = (
    "anthropic.types.messages",
    "django.contrib.messages",
    "django.core.handlers.wsgi",
    "django.core.management",
    "django.db.models",
    "django.forms",
    "django.template.defaulttags",
    "django.views",
    "gunicorn.app.wsgiapp",
    "gunicorn.workers.gthread",
    "httpx2",
    "huey.consumer",
    "jobs.ingest.reader_process",
    "msgspec",
    "pydantic",
    "tests.simulator.server",
    "whitenoise.middleware",
)

# The client of the provider would set its log level from it.
os.environ.pop("ANTHROPIC_LOG", None)
for _name in NAMES:
    import_module(_name)
