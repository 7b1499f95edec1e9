"""The lines of a results file, as they are read. Pure."""

from __future__ import annotations

import msgspec

from .judging import Result
from .odd_json import plain_json


class ResultLine(msgspec.Struct, gc=False):
    custom_id: str
    result: Result


class Envelope(msgspec.Struct):
    """What every line must have, for results of an unknown shape."""

    class Kind(msgspec.Struct):
        type: str

    custom_id: str
    result: Kind


class OnlyId(msgspec.Struct):
    custom_id: str


_decoder = msgspec.json.Decoder(ResultLine)
_id_decoder = msgspec.json.Decoder(OnlyId)
_envelope_decoder = msgspec.json.Decoder(Envelope)


def read_line(line: bytes) -> ResultLine:
    """One line of a results file. A result of unknown shape becomes one of type "unknown_shape".

    Raises msgspec.DecodeError when the line is not JSON or lacks custom_id or result.type.
    """
    try:
        return _decode(line)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        if text := plain_json(line):
            return _decode(text)
        raise


def _decode(line: bytes) -> ResultLine:
    try:
        return _decoder.decode(line)
    except msgspec.ValidationError:
        envelope = _envelope_decoder.decode(line)
        return ResultLine(envelope.custom_id, Result(type="unknown_shape"))


def read_custom_id(line: bytes) -> str:
    """That of one line, whatever its result is. Raises msgspec.DecodeError."""
    try:
        return _id_decoder.decode(line).custom_id
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        if text := plain_json(line):
            return _id_decoder.decode(text).custom_id
        raise
