"""`python -m jobs.ingest`: reads one file, with little to lose."""

import sys

import msgspec

from .answers import Order
from .child import work

_decoder = msgspec.json.Decoder(Order)
work(_decoder.decode(sys.stdin.buffer.read()), sys.stdout.buffer)
