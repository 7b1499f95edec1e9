"""What every page knows."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpRequest

from ..models import (
    Job,
    JournalState,
    Notification,
    Role,
    is_administrator,
    only_reads,
    role_of,
    sees_everything,
)
from ..models.notifications import MOST_COUNTED
from ..models.people import AnyUser


def _is(request: HttpRequest, what: Callable[[AnyUser], bool]) -> bool:
    """Whether that holds of the person. An error page may come before anybody is known."""
    user = getattr(request, "user", None)
    return user is not None and what(user)


def site(request: HttpRequest) -> dict[str, object]:
    """`restored()`: what an administrator has to know of a restored database, on every page. A
    function, so that only a page as a whole asks, and not each of its parts."""

    def restored() -> JournalState | None:
        if settings.PRACTICE or not _is(request, is_administrator):
            return None
        return JournalState.objects.exclude(ahead=0, report="").first()

    def approvals() -> int:
        """How many jobs wait for the approval of this approver or administrator."""
        user = getattr(request, "user", None)
        if user is None or role_of(user) not in (Role.ADMINISTRATOR, Role.APPROVER):
            return 0
        return Job.objects.awaiting_approval(user).count()

    def unread() -> int:
        """How many notifications the person has not read, up to MOST_COUNTED."""
        user = getattr(request, "user", None)
        return Notification.objects.count_unread(user) if isinstance(user, User) else 0

    def reads_only() -> bool:
        """Whether the page is shown without buttons: an auditor's, or of a job to read."""
        own = request.path.startswith(("/account/", "/password/", "/notifications/"))
        return (_is(request, only_reads) and not own) or getattr(request, "reads_only", False)

    return {
        "practice": settings.PRACTICE,
        "restored": restored,
        "approvals": approvals,
        "unread": unread,
        "most_unread": MOST_COUNTED - 1,
        "reads_only": reads_only,
        "administers": lambda: _is(request, is_administrator),
        "oversees": lambda: _is(request, sees_everything),
    }
