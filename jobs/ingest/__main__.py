"""`python -m jobs.ingest`: reads one file, with little to lose."""

import sys

import msgspec

from .protocol import ReaderInput
from .reader_process import run

_decoder = msgspec.json.Decoder(ReaderInput)
run(_decoder.decode(sys.stdin.buffer.read()), sys.stdout.buffer)
