"""The clock of this machine."""

import time

MICROSECONDS = 1_000_000


def real_now() -> int:
    """Microseconds since the epoch."""
    return time.time_ns() // 1000
