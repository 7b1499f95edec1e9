"""How often a password may be guessed. django-axes calls this before any password is hashed, and
after each sign-in, whatever view it came from.

Failures are counted in the table of django-axes, which all processes share, by three keys: the
account and the address together, the account from anywhere, and the address for any account. The
limit for the account from anywhere leaves alone the addresses from which its person has signed in:
attackers from many addresses cannot shut them out. Django-axes' own handler has one limit and one
pause for all keys, and stores what was typed; here a name that is no account is stored as a hash.
"""

from __future__ import annotations

import hmac
import ipaddress
import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from axes.handlers.database import AxesDatabaseHandler
from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from ..models import AuditEntry, audit, clock
from .middleware import client_address

logger = logging.getLogger(__name__)

ANYWHERE, ANYONE, UNKNOWN_ADDRESS = "::", "", "0.0.0.0"  # noqa: S104 - nothing is bound
FORGOTTEN_AFTER = timedelta(days=1)
KNOWN_ADDRESS_FOR = timedelta(days=180)


@dataclass(frozen=True)
class Limit:
    """From `slow_at` failures on, each further attempt has to wait. One failure is forgotten every
    `forget` seconds. An attempt that comes too early counts as a failure until the lock."""

    slow_at: int
    slow: float  # seconds
    lock_at: int
    lock: float
    forget: float

    def pause(self, failures: int) -> float:
        if failures >= self.lock_at:
            return self.lock
        return self.slow if failures >= self.slow_at else 0.0


OF_PAIR = Limit(slow_at=6, slow=30, lock_at=10, lock=900, forget=900)
OF_ACCOUNT = Limit(slow_at=50, slow=900, lock_at=50, lock=900, forget=300)
OF_ADDRESS = Limit(slow_at=40, slow=900, lock_at=40, lock=900, forget=60)


@dataclass(frozen=True)
class Attempt:
    """Whose password is tried, and from where."""

    person: User | None
    name: str  # of the account, or the hash of what was typed
    address: str

    @classmethod
    def of(cls, request: HttpRequest, credentials: Mapping[str, Any] | None) -> Attempt:
        given = credentials or {}
        typed = next((str(given[key]) for key in ("username", "email") if given.get(key)), "")
        same = Q(username__iexact=typed) | Q(email__iexact=typed)
        person = User.objects.filter(same).order_by("pk").first() if typed else None
        address = client_address(request)
        return cls(person, audit.person(person) if person else _hashed(typed), address)

    def counters(self) -> Iterator[tuple[Limit, dict[str, str]]]:
        network = _network(self.address)
        for limit, name, address in (
            (OF_PAIR, self.name, network),
            (OF_ACCOUNT, self.name, ANYWHERE),
            (OF_ADDRESS, ANYONE, network),
        ):
            yield limit, {"username": name, "ip_address": address, "user_agent": ""}

    @property
    def is_from_known_address(self) -> bool:
        if self.person is None:
            return False
        since = clock.now() - KNOWN_ADDRESS_FOR
        return AuditEntry.objects.filter(
            event="signed_in", who=self.person.pk, origin=self.address, at__gte=since
        ).exists()

    def __str__(self) -> str:
        return f"{self.name if self.person else 'no such account'}, from {self.address}"


def _hashed(typed: str) -> str:
    digest = hmac.digest(settings.SECRET_KEY.encode(), typed.casefold().encode(), "sha256")
    return f"name {digest.hex()[:32]}"


def _network(address: str) -> str:
    """The address; of IPv6 the network, because one client has a whole network of them."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return UNKNOWN_ADDRESS
    if ip.version == 4:
        return str(ip)
    return str(ip.ipv4_mapped or ipaddress.ip_network((int(ip) >> 64 << 64, 64)).network_address)


def seconds_to_wait(attempt: Attempt) -> float:
    """How long until the next attempt is looked at; 0 when it may be made now."""
    now, longest = clock.now(), 0.0
    for limit, key in attempt.counters():
        row = AccessAttempt.objects.filter(**key).first()
        left = _left(limit, row, now) if row else 0.0
        if left and limit is OF_ACCOUNT and attempt.is_from_known_address:
            left = 0.0
        longest = max(longest, left)
    return longest


def _left(limit: Limit, row: AccessAttempt, now: datetime) -> float:
    pause = limit.pause(row.failures_since_start)
    left: float = pause - (now - row.attempt_time).total_seconds()
    return min(max(left, 0.0), pause)  # a clock that was ahead locks nobody out


@transaction.atomic
def count_failure(attempt: Attempt, by: User | None = None) -> bool:
    """Whether this failure begins a lock. `by`: who is signed in and had to give the password once
    more."""
    now, begins = clock.now(), False
    for limit, key in attempt.counters():
        row, _ = AccessAttempt.objects.select_for_update().get_or_create(
            **key, defaults={"failures_since_start": 0}
        )
        forgotten = int(max((now - row.attempt_time).total_seconds(), 0) // limit.forget)
        failures = max(row.failures_since_start - forgotten, 0) + 1
        begins |= failures >= limit.lock_at
        AccessAttempt.objects.filter(pk=row.pk).update(
            failures_since_start=failures, attempt_time=now
        )
    target = audit.person(attempt.person) if attempt.person else "no such account"
    failed = "password_not_confirmed" if by else "sign_in_failed"
    audit.record("sign_in_locked" if begins else failed, who=by, target=target)
    return begins


def _is_locked(attempt: Attempt) -> bool:
    now = clock.now()
    rows = (
        (limit, AccessAttempt.objects.filter(**key).first()) for limit, key in attempt.counters()
    )
    return any(
        row.failures_since_start >= limit.lock_at and _left(limit, row, now)
        for limit, row in rows
        if row
    )


class SignInHandler(AxesDatabaseHandler):  # type: ignore[misc]  # django-axes has no types
    """What django-axes calls. Its commands, such as axes_reset, work."""

    def is_allowed(self, request: Any, credentials: Mapping[str, Any] | None = None) -> bool:
        """Before the password is hashed."""
        attempt = Attempt.of(request, credentials)
        request.seconds_to_wait = seconds_to_wait(attempt)
        return not request.seconds_to_wait

    def user_login_failed(
        self, sender: Any, credentials: Mapping[str, Any], request: Any = None, **kwargs: Any
    ) -> None:
        if request is None:
            return
        attempt = Attempt.of(request, credentials)
        if request.axes_locked_out and _is_locked(attempt):
            logger.warning("Sign-in refused, too many failures: %s", attempt)
            return
        user = getattr(request, "user", None)
        begins = count_failure(attempt, user if user and user.is_authenticated else None)
        logger.warning("Sign-in %s: %s", "failed, now locked" if begins else "failed", attempt)
        request.seconds_to_wait = seconds_to_wait(attempt)
        request.axes_locked_out = bool(request.seconds_to_wait)

    def user_logged_in(self, sender: Any, request: Any, user: User, **kwargs: Any) -> None:
        attempt = Attempt(user, audit.person(user), client_address(request))
        (_, pair), *_ = attempt.counters()
        with transaction.atomic():
            AccessAttempt.objects.filter(**pair).delete()
            audit.record("signed_in", who=user, target=audit.person(user))
        logger.info("Signed in: %s", attempt)
        AccessAttempt.objects.filter(attempt_time__lt=clock.now() - FORGOTTEN_AFTER).delete()

    def user_logged_out(self, sender: Any, request: Any, user: Any, **kwargs: Any) -> None:
        """Nothing to count."""


def show_lock(request: Any, response: HttpResponse, credentials: object) -> HttpResponse:
    """The page in place of the sign-in form."""
    seconds = max(math.ceil(request.seconds_to_wait), 2)
    minutes = 0 if seconds <= 90 else math.ceil(seconds / 60)
    context = {"seconds": seconds, "minutes": minutes}
    page = render(request, "accounts/locked.html", context, status=429)
    page.headers["Retry-After"] = str(seconds)
    return page
