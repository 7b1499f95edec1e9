"""`python -m jobs.notifications`: send one message in a process of its own."""

import sys

import msgspec

from .protocol import Order
from .sender_process import run

_decoder = msgspec.json.Decoder(Order)
run(_decoder.decode(sys.stdin.buffer.read()), sys.stdout.buffer)
