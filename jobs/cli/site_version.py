"""Commands work with a database of their own version only, as web server and worker do."""

from __future__ import annotations

from django.core.management.base import CommandError

from ..models import versions

NO_SITE = "There is no site here yet. Check DATA_DIR and DATABASE_URL, or start the site first."


def require_same_version() -> None:
    """Raises CommandError."""
    if not versions.newest_applied():
        raise CommandError(NO_SITE)
    if why := versions.why_not_together():
        raise CommandError(why)
