"""Importing this sets Django up, and imports what takes long of all that the site consists of.
Whoever is forked afterwards calls `begin_anew`, a fraction of the work of a new interpreter."""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module
from typing import Any

import django
from asgiref.local import Local
from django.apps import apps
from django.conf import settings
from django.core.cache import caches
from django.db import connections

# None of these keeps what it found in the settings, as the queue does.
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
    "jobs.actions.submissions",
    "jobs.ingest.reader_process",
    "jobs.provider.sdk",
    "jobs.results.workbook",
    "jobs.worker.sweep",
    "msgspec",
    "pydantic",
    "tests.commands",
    "tests.dying_worker",
    "tests.simulator.server",
    "whitenoise.middleware",
)

OF_SETTINGS = ("batchsite.settings", "batchsite.sign_in", "batchsite.logs")

# The client of the provider would set its log level from it.
os.environ.pop("ANTHROPIC_LOG", None)
os.environ["DJANGO_SETTINGS_MODULE"] = "batchsite.settings"
django.setup()
for _name in NAMES:
    import_module(_name)
import_module("jobs.provider.sdk")._certificates(trust_env=True)
# Nobody has to look through all this for garbage, or to copy it for that.
gc.collect()
gc.freeze()


def begin_anew() -> None:
    """Read the settings of this process from its environment, forget what was made of those of the
    process that it was forked from, and let Django be set up once more."""
    for name in OF_SETTINGS:
        sys.modules.pop(name, None)
    module = import_module("batchsite.settings")
    for name in filter(str.isupper, dir(module)):
        setattr(settings, name, getattr(module, name))
    handlers: tuple[Any, ...] = connections, caches
    for handler in handlers:
        handler._settings = None
        vars(handler).pop("settings", None)
        handler._connections = Local(handler.thread_critical)
    apps.app_configs = {}
    apps.apps_ready = apps.models_ready = apps.loading = apps.ready = False
