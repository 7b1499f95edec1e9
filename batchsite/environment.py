"""Read settings from environment variables. Each function raises ImproperlyConfigured with a
message for the operator."""

from __future__ import annotations

import os
import re
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured


def env_text(name: str, default: str = "") -> str:
    return os.environ.get(name, "").strip() or default


def env_bool(name: str) -> bool:
    value = env_text(name, "off").lower()
    if value in {"1", "on", "true", "yes"}:
        return True
    if value in {"0", "off", "false", "no"}:
        return False
    raise ImproperlyConfigured(f"{name} is {value!r}; it must be on or off.")


def env_number(name: str, default: float, least: float) -> float:
    text = env_text(name, str(default))
    try:
        value = float(text)
    except ValueError:
        raise ImproperlyConfigured(f"{name} is {text!r}; it must be a number.") from None
    if not least <= value < float("inf"):
        raise ImproperlyConfigured(f"{name} is {text}; it must be {least:g} or more.")
    return value


def env_list(name: str) -> list[str]:
    return [part.strip() for part in env_text(name).split(",") if part.strip()]


def env_choice(name: str, *choices: str) -> str:
    """The first of `choices` is the default."""
    value = env_text(name, choices[0]).lower()
    if value not in choices:
        raise ImproperlyConfigured(f"{name} is {value!r}; it must be one of: {', '.join(choices)}.")
    return value


def env_secret(name: str, path: str) -> str:
    """A secret from the environment, or from the file at `path`, which another variable names."""
    value = env_text(name)
    if not path:
        return value
    if value:
        raise ImproperlyConfigured(f"Both {name} and {name}_FILE are set; set one of them.")
    try:
        value = Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise ImproperlyConfigured(f"{name}_FILE is {path}; it cannot be read: {reason}.") from None
    if not value:
        raise ImproperlyConfigured(f"{name}_FILE is {path}; that file is empty.")
    return value


_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")
LONGEST_PREFIX = 200


def copy_target(text: str) -> str:
    """COPY_TO without a slash at its end; "" when it is not set."""
    if not text:
        return ""
    bucket, _, prefix = text.removeprefix("s3://").partition("/")
    prefix = prefix.rstrip("/")
    is_good = text.startswith("s3://") and _BUCKET.fullmatch(bucket) and ".." not in text
    if not is_good or len(prefix) > LONGEST_PREFIX or (prefix and not _PREFIX.fullmatch(prefix)):
        raise ImproperlyConfigured(
            "COPY_TO must be s3://bucket/prefix: the name of a bucket, and letters, digits, “-”, "
            f"“_” and “.” between slashes, at most {LONGEST_PREFIX} characters."
        )
    return f"s3://{bucket}/{prefix}".rstrip("/")
