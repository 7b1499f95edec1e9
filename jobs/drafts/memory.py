"""Answers of any earlier job to the very same requests, found by the hash of each request."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from django.db.models import BigIntegerField, ExpressionWrapper, F, Max

from ..models import Job, Outcome, Row, RowQuerySet, reusable_jobs

ASKED_AT_ONCE = 500  # keys of one query
KNOWN_AT_ONCE = 200_000  # keys held in memory
_ROWS_OF_A_JOB = 1 << 32  # more than any job has


class EarlierRow(NamedTuple):
    """A row of an earlier job that has a good answer."""

    job: int
    number: int


class Memory:
    """Finds the answers of `sources`, which are jobs."""

    def __init__(self, sources: Iterable[int]) -> None:
        self.sources = list(sources)
        # What was found is asked for once: a request may be in many rows, here and there.
        self._known: dict[bytes, EarlierRow | None] = {}

    def find(self, keys: Sequence[bytes]) -> dict[bytes, EarlierRow]:
        """Of those keys that have a good answer: the newest job with one, and its last such row."""
        if not self.sources:
            return {}
        if len(self._known) > KNOWN_AT_ONCE:
            self._known.clear()
        unknown = [key for key in dict.fromkeys(keys) if key not in self._known]
        for begin in range(0, len(unknown), ASKED_AT_ONCE):
            some = unknown[begin : begin + ASKED_AT_ONCE]
            self._known.update(dict.fromkeys(some))
            self._known.update(self._look_up(some))
        return {key: found for key in keys if (found := self._known[key])}

    def _look_up(self, keys: Sequence[bytes]) -> dict[bytes, EarlierRow]:
        place = ExpressionWrapper(
            F("job_id") * _ROWS_OF_A_JOB + F("number"), output_field=BigIntegerField()
        )
        # "+ 0": SQLite would else look through all good rows of these jobs, not for the keys.
        rows = Row.objects.annotate(source_job=F("job_id") + 0).filter(
            request_key__in=keys, outcome=Outcome.GOOD, source_job__in=self.sources
        )
        found = rows.order_by().values("request_key").annotate(last=Max(place))
        return {
            bytes(key): EarlierRow(*divmod(last, _ROWS_OF_A_JOB))  # PostgreSQL: a memoryview
            for key, last in found.values_list("request_key", "last")
            if key is not None
        }


def good_rows(job: Job, sources: Collection[int]) -> RowQuerySet:
    """The rows of `sources` whose answer may be copied to `job` now: since they were found, a job
    may have been put into the trash or out of sight, or a row be sent again."""
    may = reusable_jobs(job).filter(pk__in=sources)
    return Row.objects.filter(outcome=Outcome.GOOD, job__in=may)
