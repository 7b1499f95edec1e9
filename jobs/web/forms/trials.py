"""Testing rows of a draft."""

from __future__ import annotations

import re
from itertools import islice

from django import forms

from ...drafts.trials import MOST_ROWS, choose_rows
from ...models import Job, Outcome, Row
from .recipes import model_choices
from .styled import StyledForm


class TrialForm(StyledForm):
    """Which rows to test."""

    count = forms.IntegerField(
        label="How many", min_value=1, max_value=MOST_ROWS, initial=3, required=False
    )
    which = forms.ChoiceField(
        label="Which rows",
        choices={"first": "First rows", "random": "Random rows"},
        required=False,
    )
    numbers = forms.CharField(label="Or these row numbers", required=False, max_length=500)

    also = forms.ChoiceField(
        label="Compare with another model",
        choices=lambda: [("", "No other model"), *model_choices()],
        required=False,
    )

    def clean_numbers(self) -> list[int]:
        """ "3, 17; 20-24" """
        numbers: list[int] = []
        for part in re.split(r"[,;\s]+", re.sub(r"\s*[-–]\s*", "-", self.cleaned_data["numbers"])):
            if part and not re.fullmatch(r"[0-9]{1,9}(-[0-9]{1,9})?", part):
                raise forms.ValidationError(
                    "Write the numbers of the rows with commas between: 3, 17, 20-24."
                )
            first, _, last = part.partition("-")
            # One more than is possible, so that this can be said.
            numbers += islice(range(int(first or 0), int(last or first or 0) + 1), MOST_ROWS + 1)
        numbers = list(dict.fromkeys(number for number in numbers if number))
        if len(numbers) > MOST_ROWS:
            raise forms.ValidationError(f"At most {MOST_ROWS} rows can be tested at once.")
        return numbers

    def not_there(self, job: Job) -> list[int]:
        """The numbers that were written and that no row has."""
        return [number for number in self.cleaned_data["numbers"] if number > job.row_count]

    def rows(self, job: Job) -> list[Row]:
        """The rows that were chosen, as far as they can be sent."""
        if numbers := self.cleaned_data["numbers"]:
            return list(job.rows.filter(outcome=Outcome.WAITING, number__in=numbers).in_order())
        at_random = self.cleaned_data["which"] == "random"
        return choose_rows(job, self.cleaned_data["count"] or 3, at_random=at_random)
