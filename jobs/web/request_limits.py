"""What a request may take of the site. A stranger's body is small, and refused unread otherwise.
Large bodies of signed-in people are read by a few threads at once, and a few send files: pages have
the others."""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from . import server
from .password_hashing import TooManySignIns
from .views import errors

GetResponse = Callable[[HttpRequest], HttpResponse]

# Large bodies that are read and files that are sent in each process, and of one person. Two of its
# threads are left for pages.
UPLOADS, DOWNLOADS, OF_ONE_PERSON = 4, 3, 2
FULL = "Too many downloads are under way."
_lock = threading.RLock()  # a response may be dropped while this thread has it


class TooManyDownloads(Exception):
    """As many files as this process sends at once, or sends to one person, are under way."""


class Places:
    """Limits how many threads of this process do one thing at a time."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken: Counter[int] = Counter()  # by person

    def take(self, person: int) -> bool:
        """Whether there was room for one more; then it has to be given back."""
        with _lock:
            is_free = self.taken[person] < OF_ONE_PERSON and self.taken.total() < self.most
            if is_free:
                self.taken[person] += 1
            return is_free

    def give_back(self, person: int) -> None:
        with _lock:
            self.taken[person] -= 1
            self.taken += Counter()  # without those who have none


uploads, downloads = Places(UPLOADS), Places(DOWNLOADS)


@contextmanager
def place_to_wait(person: int) -> Iterator[None]:
    """While a file that is to be sent is awaited. Raises TooManyDownloads."""
    if not downloads.take(person):
        raise TooManyDownloads(FULL)
    try:
        yield
    finally:
        downloads.give_back(person)


def hold_place_to_send(person: int, response: HttpResponseBase) -> None:
    """Until `response`, a file, is sent. Raises TooManyDownloads."""
    if not downloads.take(person):
        give_up(response)
        raise TooManyDownloads(FULL)
    # Django closes a response when it is sent, or its client has gone; one that is dropped before
    # that holds no place, either.
    give_back = weakref.finalize(response, downloads.give_back, person)
    response._resource_closers.append(give_back)  # type: ignore[attr-defined]  # no other way


def give_up(response: HttpResponseBase) -> None:
    """Close the files of a response that is not sent after all, and give back its place. Its own
    `close` would end the request, with the database connection that its error page needs."""
    for close in response._resource_closers:  # type: ignore[attr-defined]  # as above
        close()


def limit_requests(get_response: GetResponse) -> GetResponse:
    def middleware(request: HttpRequest) -> HttpResponse:
        if not request.user.is_authenticated:
            return errors.too_large(request) if has_large_body(request) else get_response(request)
        server.trust_client()
        if not has_large_body(request):
            return get_response(request)
        if not uploads.take(request.user.pk):
            return errors.too_many_uploads(request)
        try:
            response = get_response(request)
        finally:
            uploads.give_back(request.user.pk)
        return errors.too_slow(request) if server.was_too_slow() else response

    def process_exception(request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if isinstance(exception, TooManyDownloads):
            return errors.too_many_downloads(request)
        return errors.crowded(request) if isinstance(exception, TooManySignIns) else None

    middleware.process_exception = process_exception  # type: ignore[attr-defined]  # Django's way
    return middleware


def has_large_body(request: HttpRequest) -> bool:
    """Also when the request does not say how large it is."""
    if "Transfer-Encoding" in request.headers:
        return True
    length = request.headers.get("Content-Length", "")
    return bool(length) and not (length.isdecimal() and int(length) <= server.SMALL_BODY)
