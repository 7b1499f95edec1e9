"""`python -m jobs.ingest`: read one file in a process of its own."""

import sys

import msgspec

from .protocol import ReaderInput
from .reader_process import run

_decoder = msgspec.json.Decoder(ReaderInput)
run(_decoder.decode(sys.stdin.buffer.read()), sys.stdout.buffer)
