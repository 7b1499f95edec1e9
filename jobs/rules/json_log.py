"""The log as JSON: one object a line, with what it is about as fields. Pure."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

from . import log_context
from .plain_text import LineFormatter, lines, one_line, traceback_text


class JsonFormatter(LineFormatter):
    """One record, one line. Texts are as LineFormatter writes them, so that what reads the JSON may
    show them anywhere."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, int | str] = {**log_context.current(), **_of_record(record)}
        if record.exc_info and record.exc_info[1] is not None:
            entry["error"] = lines(traceback_text(record.exc_info[1]))
        return json.dumps(entry)


def _of_record(record: logging.LogRecord) -> dict[str, int | str]:
    return _entry(record.created, record.levelname, record.name, record.getMessage())


def _entry(at: float, level: str, logger: str, message: str) -> dict[str, int | str]:
    time = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    return {"time": time, "level": level, "logger": logger, "message": one_line(message)}


def line(level: str, logger: str, message: str) -> str:
    """A line of a program that has no logger."""
    return json.dumps(_entry(datetime.now(UTC).timestamp(), level, logger, message))
