"""What every page knows."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest

from ..models import Job, JournalState


def site(request: HttpRequest) -> dict[str, object]:
    """`restored()`: what an administrator has to know of a restored database, on every page. A
    function, so that only a page as a whole asks, and not each of its parts."""

    def restored() -> JournalState | None:
        user = getattr(request, "user", None)
        if settings.PRACTICE or not getattr(user, "is_superuser", False):
            return None
        return JournalState.objects.exclude(ahead=0, report="").first()

    def approvals() -> int:
        """How many jobs wait for the approval of this administrator."""
        user = getattr(request, "user", None)
        if user is None or not user.is_superuser:
            return 0
        return Job.objects.awaiting_approval(user).count()

    return {"practice": settings.PRACTICE, "restored": restored, "approvals": approvals}
