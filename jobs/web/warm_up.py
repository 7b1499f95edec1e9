"""Load views, templates and prices before a web process answers. Otherwise its first visitors would
wait half a second for them."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.template.loader import get_template
from django.urls import get_resolver

from ..rules import pricing


def load() -> None:
    _ = get_resolver().url_patterns  # imports all views
    pricing.priced_models()
    folder: Path = settings.BASE_DIR / "templates"
    for path in sorted(folder.rglob("*.html")):
        get_template(str(path.relative_to(folder)))
