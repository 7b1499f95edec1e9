"""What `manage.py job` ends with; 0 is done."""

from __future__ import annotations

NOT_DONE = 1
WRONG_USE = 2
ROWS_LEFT_OUT = 3
UNREADABLE = 4
ATTENTION = 6
HELD = 7
TIMED_OUT = 8
PILOT_IS_IN = 9
