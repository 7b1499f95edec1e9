"""The only module that imports the package anthropic, which takes a second and a half.

So client.py imports it with the first call: neither the web part nor a command that only reads the
database makes one. The worker imports it when it starts.

The package's retries are off: a call that changes something is sent once, and a call that only
reads is repeated by the next poll. Redirects are off, because a redirected POST would be sent
twice.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cache

import anthropic
import httpx2
from anthropic import Anthropic as Anthropic
from anthropic import APIResponse as APIResponse
from anthropic import Omit as Omit
from anthropic import Stream as Stream
from anthropic import omit as omit
from django.conf import settings

from ..models import api_key, clock, practice_token
from .connections import Deadline, LimitedClient, TooLarge
from .errors import NotFound, ProviderError, Refused, TooLong, Unclear, Unreachable

CONNECT_SECONDS = 10.0
KEY_UNREADABLE = "The stored API key cannot be read. Enter it again under Spending, API key."
KEY_OF_TEAM_IS_MISSING = "The API key of this team was removed or cannot be read. Enter it again."
TOO_MUCH = "Anthropic’s reply was too large."


@cache
def _certificates(trust_env: bool) -> ssl.SSLContext:
    """The trusted certificates, cached because reading them takes longer than a call."""
    return httpx2.create_ssl_context(trust_env=trust_env)


def _read_clock(response: httpx2.Response) -> None:
    if date := _date(response.headers.get("date", "")):
        clock.note_provider_date(date)


def _read_workspace(response: httpx2.Response) -> None:
    workspace = response.headers.get("anthropic-workspace-id", "")
    if workspace and response.status_code == 200:
        api_key.note_workspace(workspace)


class _Http(LimitedClient, anthropic.DefaultHttpxClient):
    """The HTTP client below the anthropic client."""


def _key() -> str:
    """Raises Refused: nothing is sent without a key."""
    if settings.PRACTICE:
        return practice_token.read(settings.DATA_DIR)
    if key := api_key.current():
        return key
    of_team = api_key.team_in_use() is not None
    why = KEY_OF_TEAM_IS_MISSING if of_team else KEY_UNREADABLE
    raise Refused(401, "authentication_error", why, None)


@contextmanager
def open_client(
    deadline: Deadline, most: int, seconds: float, new_key: str = ""
) -> Iterator[Anthropic]:
    """A client with a connection of its own, for the key in use or one that is to be tested. A
    kept-alive connection may be closed by the other side while a body goes out, which looks like a
    lost reply. Replies end at the deadline and have at most `most` bytes."""
    key, url = new_key or _key(), settings.NEW_KEY_URL if new_key else settings.ANTHROPIC_BASE_URL
    is_local = settings.NEW_KEY_IS_LOCAL if new_key else settings.PROVIDER_IS_LOCAL
    if new_key and not is_local and not url.startswith("https://"):
        raise Unreachable("ANTHROPIC_BASE_URL has to start with https://.")
    http = _Http(
        deadline,
        most,
        follow_redirects=False,
        verify=_certificates(not is_local),
        trust_env=not is_local,
        event_hooks={"response": [_read_clock] if new_key else [_read_clock, _read_workspace]},
    )
    with http:
        yield anthropic.Anthropic(
            api_key=key,
            base_url=url,
            max_retries=0,
            timeout=httpx2.Timeout(seconds, connect=CONNECT_SECONDS),
            http_client=http,
            open_telemetry=False,
        )


@contextmanager
def our_exceptions() -> Iterator[None]:
    """Turn what the client raises into the exceptions of errors.py."""
    try:
        yield
    except anthropic.APIStatusError as error:
        raise _of_status(error) from error
    except anthropic.APIConnectionError as error:
        # Without a connection nothing was sent. The client keeps the reason as the cause.
        cause = error.__cause__
        if isinstance(cause, (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)):
            raise Unreachable(_why_unreachable(cause)) from error
        if isinstance(cause, TooLarge):
            raise TooLong(TOO_MUCH) from error
        if isinstance(cause, httpx2.TimeoutException):
            raise Unclear("Anthropic took too long to reply.") from error
        raise Unclear("The connection to Anthropic was lost.") from error
    except TooLarge as error:
        raise TooLong(TOO_MUCH) from error
    except (anthropic.AnthropicError, httpx2.HTTPError, httpx2.StreamError) as error:
        raise Unclear("Anthropic's reply could not be read.") from error


def _why_unreachable(error: BaseException | None) -> str:
    """With the reason that only the person who runs the site can remove: a proxy that speaks TLS
    in Anthropic's name."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    if error is None:
        return "Anthropic cannot be reached."
    return f"Anthropic cannot be reached: its certificate is not trusted ({error.verify_message})."


def _of_status(error: anthropic.APIStatusError) -> ProviderError:
    status = error.status_code
    # Any type, whatever the client's types say: the body may not be one of the API's errors.
    kind, message = _text(error.type), _text(error.api_message)
    message = (message or ("" if status == 413 else error.message))[:2000]
    if status == 404:
        return NotFound(status, kind, message, None)
    if status in (400, 401, 402, 403, 413, 422, 429):
        retry_after = _retry_after(error.response)
        return Refused(status, kind, message, retry_after, _text(error.error_code))
    # 408, 409, 5xx and redirects: the call may have taken effect before the reply failed.
    return Unclear(f"Anthropic replied with status {status}.")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _retry_after(response: httpx2.Response) -> float | None:
    """Seconds, given as a number or as a date by the clock of the same reply."""
    said = response.headers.get("retry-after", "")
    try:
        seconds = float(said)
    except ValueError:
        then, there = _date(said), _date(response.headers.get("date", ""))
        if then is None or there is None:
            return None
        seconds = max((then - there).total_seconds(), 0.0)  # already past
    return seconds if 0 <= seconds < float("inf") else None


def _date(header: str) -> datetime | None:
    """An HTTP date; None when it is not one."""
    try:
        date = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo is not None else None
