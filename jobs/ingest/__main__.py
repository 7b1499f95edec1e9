"""`python -m jobs.ingest`: reads one file, with little to lose."""

import sys

import msgspec

from .answers import Order
from .child import work

work(msgspec.json.decode(sys.stdin.buffer.read(), type=Order), sys.stdout.buffer)
