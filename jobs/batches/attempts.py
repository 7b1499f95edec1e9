"""What the rows of a job came to in earlier rounds: kept as attempts before they are sent again."""

from __future__ import annotations

from django.db import connection
from django.db.models import F, Value

from ..models import Attempt, Job, Round, RowQuerySet, results
from ..models.statements import column_list

# What a row holds before it has a result.
NO_RESULT = {"batch": None, "problem": "", **results.NO_RESULT}
# What an attempt keeps of its row.
_KEPT = ["number", "batch_id", "problem", *results.NO_RESULT]
_COLUMNS = column_list(Attempt, _KEPT)


def is_preparing(job: Job) -> bool:
    """Whether the worker is still taking the rows of a round."""
    return job.rounds.exclude(step=Round.Step.READY).exists()


def keep_attempts(rows: RowQuerySet) -> None:
    """Keep what those of `rows` came to that were sent, before they are sent again."""
    sent = rows.exclude(batch=None)
    # Without a join of the rows with themselves, which a database that has not counted them yet may
    # plan badly.
    chosen = sent.annotate(next_attempt=F("attempts") + 1, no_source=Value("")).order_by()
    kept = chosen.values_list("job_id", "next_attempt", "no_source", *_KEPT)
    select, values = kept.query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO jobs_attempt (job_id, attempt, source, {_COLUMNS}) {select}",
            values,
        )
    sent.update(attempts=F("attempts") + 1)
