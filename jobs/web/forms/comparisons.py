"""Comparing models and prompts on the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms

from ...results.versions import LEAST_ROWS, MOST_ROWS, MOST_VERSIONS
from .recipes import model_choices
from .styled import StyledForm

TOO_MANY = f"At most {MOST_VERSIONS} versions can be compared at once. Choose fewer."


class ComparisonForm(StyledForm):
    """Which rows, and how they are asked: each chosen model with each chosen prompt."""

    rows = forms.IntegerField(
        label="How many rows", min_value=LEAST_ROWS, max_value=MOST_ROWS, initial=50
    )
    which = forms.ChoiceField(label="Which rows")
    model = forms.MultipleChoiceField(label="Models", choices=model_choices)
    prompt = forms.TypedMultipleChoiceField(label="Prompts", coerce=int)

    def __init__(
        self, *args: Any, prompts: Sequence[tuple[int, str]], has_gold: bool, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        gold = {"gold": "Rows with a right answer"} if has_gold else {}
        which, prompt = self.fields["which"], self.fields["prompt"]
        which.choices = [*gold.items(), ("first", "First rows")]  # type: ignore[attr-defined]  # a ChoiceField
        prompt.choices = list(prompts)  # type: ignore[attr-defined]  # as above

    def clean(self) -> dict[str, Any]:
        given = super().clean() or self.cleaned_data
        versions = len(given.get("model", ())) * len(given.get("prompt", ()))
        if versions == 1:
            raise forms.ValidationError("Choose a second model or prompt to compare with.")
        if versions > MOST_VERSIONS:
            raise forms.ValidationError(TOO_MANY)
        return given
