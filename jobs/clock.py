"""The one clock by which the workers agree who may do what: leases, deadlines, pauses.

With PostgreSQL the workers may be on several machines whose clocks differ, so the database's clock
counts. With SQLite there is one machine.
"""

from __future__ import annotations

from datetime import datetime

from django.db import connection
from django.utils import timezone


def now() -> datetime:
    if connection.vendor != "postgresql":
        return timezone.now()
    with connection.cursor() as cursor:
        # Not the time at which the transaction began.
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
    return moment
