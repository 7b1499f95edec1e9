"""What pages need, loaded before somebody asks for one: else the first visitors of a new process
wait half a second longer."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

from django.conf import settings
from django.template.loader import get_template
from django.urls import get_resolver

from ..rules import pricing


def begin() -> None:
    """Load it beside the start of the web server, which nobody has to wait for."""
    Thread(target=load, name="warm-up", daemon=True).start()


def load() -> None:
    _ = get_resolver().url_patterns  # imports all views
    pricing.priced_models()
    folder: Path = settings.BASE_DIR / "templates"
    for path in sorted(folder.rglob("*.html")):
        get_template(str(path.relative_to(folder)))
