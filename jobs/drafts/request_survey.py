"""Ready-made requests that an earlier job has answered. The worker reads all of them, in slices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ..batches.leases import Lease
from ..batches.planning import request_writer
from ..ingest.protocol import UploadSummary
from ..ingest.request_keys import lasting_key
from ..ingest.request_reader import measured_row
from ..models import Job, Outcome, Row, find_sources
from ..rules.price_estimates import Survey
from ..rules.recipes import Recipe
from .memory import Memory
from .row_survey import ROWS_COMPARED, RepeatedRow

SLICE = 200  # requests read at a time: one may have megabytes
_decoder = msgspec.json.Decoder(dict[str, Any])


def new_summary() -> UploadSummary:
    """For what is in requests, as FileFacts.models."""
    return UploadSummary("JSONL", Job.Kind.REQUESTS)


def survey_requests(job: Job, recipe: Recipe, lease: Lease | None = None) -> Survey:
    """Count the requests of a draft that earlier jobs have answered: all of them if they are to be
    reused, and what is in the others; otherwise only among the first ROWS_COMPARED. Raises
    LeaseLost."""
    others = new_summary() if recipe.only_new else None
    reused, jobs = 0, set()
    for one in find_answered_requests(job, recipe, others, lease):
        reused += 1
        jobs.add(one.earlier_job)
    sent = others.models if others and reused else {}
    return Survey(reused=reused, reused_jobs=len(jobs), sent=sent)


def find_answered_requests(
    job: Job, recipe: Recipe, others: UploadSummary | None, lease: Lease | None = None
) -> Iterator[RepeatedRow]:
    """Yield the requests that have a good answer in an earlier job. `others` is told what is in
    those that have none; without it, looks at the first ROWS_COMPARED only. Raises LeaseLost."""
    sources = [one.job for one in find_sources(job, recipe)]
    if not sources:
        return
    memory, params_of = Memory(sources), request_writer(job, recipe)
    wanted = Row.objects.filter(job=job).exclude(outcome=Outcome.LEFT_OUT)
    if others is None:
        wanted = wanted.filter(number__lte=ROWS_COMPARED)
    for rows in wanted.value_slices(SLICE, "source"):
        if lease:
            lease.renew()
        keys = [lasting_key(params_of(source)) for _number, source in rows]
        found = memory.find([key for key in keys if key])
        for (number, source), key in zip(rows, keys, strict=True):
            if key and (earlier := found.get(key)):
                yield RepeatedRow(number, 0, earlier.number, earlier.job, key)
            elif others is not None:
                others.add(measured_row(number, source, _decoder.decode(source)))


def exceeds(now: dict[str, dict[str, int]], agreed: dict[str, dict[str, int]]) -> bool:
    """Whether there is more of anything in some requests than in others, both as FileFacts.models:
    only then they may cost more."""
    return any(
        value > agreed.get(model, {}).get(name, 0)
        for model, facts in now.items()
        for name, value in facts.items()
    )
