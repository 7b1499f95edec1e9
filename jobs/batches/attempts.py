"""What the rows of a job came to in earlier rounds: kept as attempts before they are sent again."""

from __future__ import annotations

from django.db import connection
from django.db.models import F

from ..models import Attempt, Job, Round, RowQuerySet, results
from ..models.statements import column_list

# What a row holds before it has a result.
NO_RESULT = {"batch": None, "problem": "", **results.NO_RESULT}
# What an attempt keeps of its row.
_KEPT = column_list(Attempt, ["number", "batch_id", "problem", *results.NO_RESULT])


def is_preparing(job: Job) -> bool:
    """Whether the worker is still taking the rows of a round."""
    return job.rounds.exclude(step=Round.Step.READY).exists()


def keep_attempts(rows: RowQuerySet) -> None:
    """Keep what those of `rows` came to that were sent, before they are sent again."""
    sent = rows.exclude(batch=None)
    chosen, values = sent.values("pk").query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO jobs_attempt (job_id, attempt, source, {_KEPT})"  # noqa: S608 - names of columns, and SQL of Django
            f" SELECT job_id, attempts + 1, '', {_KEPT} FROM jobs_row WHERE id IN ({chosen})",
            values,
        )
    sent.update(attempts=F("attempts") + 1)
