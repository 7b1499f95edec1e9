"""What the rows of a job came to in earlier rounds: kept as attempts before they are sent again."""

from __future__ import annotations

from django.db import connection
from django.db.models import F

from ..models import Job, Outcome, Round, RowQuerySet

# What a row holds before it has a result.
NO_RESULT = {
    "batch": None,
    "outcome": Outcome.WAITING,
    "cause": "",
    "answer": "",
    "message": "",
    "problem": "",
    "request_id": "",
    "answered_by": "",
    "stop_reason": "",
    "input_tokens": 0,
    "cache_write_tokens": 0,
    "cache_read_tokens": 0,
    "output_tokens": 0,
    "thinking_tokens": 0,
    "cost_pico": 0,
}


def is_preparing(job: Job) -> bool:
    """Whether the worker is still taking the rows of a round."""
    return job.rounds.exclude(step=Round.Step.READY).exists()


_KEPT = (
    "number, batch_id, outcome, cause, answer, message, problem, request_id, answered_by,"
    " stop_reason, input_tokens, cache_write_tokens, cache_read_tokens, output_tokens,"
    " thinking_tokens, cost_pico"
)


def keep_attempts(rows: RowQuerySet) -> None:
    """Keep what those of `rows` came to that were sent, before they are sent again."""
    sent = rows.exclude(batch=None)
    chosen, values = sent.values("pk").query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(
            # What is put together here are names of columns, and SQL that Django wrote.
            f"INSERT INTO jobs_attempt (job_id, attempt, source, {_KEPT})"  # noqa: S608
            f" SELECT job_id, attempts + 1, '', {_KEPT} FROM jobs_row WHERE id IN ({chosen})",
            values,
        )
    sent.update(attempts=F("attempts") + 1)
