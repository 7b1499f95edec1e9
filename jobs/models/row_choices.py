"""Which rows of a job its owner wants to send."""

from __future__ import annotations

from typing import Any

from django.db import models

from ..rules.judging import NOT_SELECTED
from ..rules.row_choices import RowChoice
from ..rules.structs import reader_of
from ..rules.tallies import Tally
from .fields import StructField
from .outcomes import Outcome


class ChoosesRows(models.Model):
    """A job that may send only some of its rows."""

    # Of a table only. The others are not asked and come back unchanged.
    row_choice = StructField[RowChoice](reader_of(RowChoice), default=RowChoice, db_default={})

    tally: Any  # the Tally of Job

    class Meta:
        abstract = True

    @property
    def unselected_count(self) -> int:
        """Rows that are not sent because they were not selected, from the tally."""
        tally: Tally = self.tally
        return tally.rows_with(Outcome.LEFT_OUT, NOT_SELECTED)
