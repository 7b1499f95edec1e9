"""The prompt and its settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django import forms
from django.http import QueryDict

from ...drafts import model_catalog
from ...rules.answer_formats import (
    COLUMN_KINDS,
    COLUMNS,
    LABELS,
    MOST_COLUMNS,
    MOST_DESCRIPTION,
    MOST_LABELS,
    MOST_NAME,
    TEXT,
    AnswerColumn,
    AnswerKind,
)
from ...rules.model_capabilities import EFFORTS
from ...rules.recipes import PLAIN_FIELDS, Recipe
from .styled import StyledForm, shorten


def model_choices() -> list[tuple[str, str]]:
    """The models that can be chosen."""
    return [(offer.id, offer.name) for offer in model_catalog.list_models() if offer.has_price]


ANSWER_KINDS = {
    TEXT: "Text",
    LABELS: "Label",
    COLUMNS: "Columns",
}


class RecipeForm(StyledForm):
    """What is asked about each row. Whether a prompt can be sent is recipes.recipe_problems'
    business: an unfinished one is saved all the same.

    The columns of an answer come as lists: `column_name`, `column_kind`, `column_choices` (one a
    line), `column_description` and `column_required` ("yes" or "no").
    """

    prompt = forms.CharField(
        label="Prompt",
        required=False,
        strip=False,
        max_length=1_000_000,
        widget=forms.Textarea(attrs={"rows": 9, "spellcheck": "true"}),
    )
    system = forms.CharField(
        label="Background",
        required=False,
        strip=False,
        max_length=1_000_000,
        help_text="Role, tone or rules for all rows. Claude reads them before the prompt. They are "
        "the system prompt.",
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "true"}),
    )
    model = forms.ChoiceField(
        label="Model",
        choices=model_choices,
        error_messages={"required": "Choose a model."},
    )
    effort = forms.ChoiceField(
        label="Thinking",
        required=False,
        choices=EFFORTS,
        help_text="Thinking helps with hard questions. It is charged like an answer and counts "
        "toward the maximum length.",
    )
    cached = forms.BooleanField(
        label="Use prompt caching for the background",
        required=False,
    )
    skip_duplicates = forms.BooleanField(label="Skip duplicates", required=False)
    only_new = forms.BooleanField(label="Reuse answers from earlier jobs", required=False)
    skip_empty = forms.BooleanField(
        label="Skip rows with an empty cell",
        required=False,
    )
    answer_kind = forms.ChoiceField(
        label="Answer",
        required=False,
        choices=ANSWER_KINDS,
        widget=forms.RadioSelect,
    )
    labels = forms.CharField(
        label="Labels",
        required=False,
        max_length=100_000,
        widget=forms.Textarea(
            attrs={"rows": 4, "spellcheck": "true", "placeholder": "One per line"}
        ),
    )
    max_tokens = forms.IntegerField(
        label="Maximum answer length, in tokens",
        required=False,
        min_value=1,
        widget=forms.NumberInput(attrs={"placeholder": "Automatic"}),
        help_text="1,000 tokens are about 550 words. Longer answers are cut off. You pay only for "
        "what Claude writes.",
        error_messages={
            "min_value": "The maximum answer length must be at least 1 token.",
            "invalid": "The maximum answer length must be a whole number of tokens.",
        },
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        offer = model_catalog.find_model(cleaned.get("model", ""))
        if offer and (cleaned.get("max_tokens") or 0) > offer.longest:
            self.add_error(
                "max_tokens",
                f"{offer.name} writes at most {offer.longest:,} tokens in one answer.",
            )
        return cleaned

    def recipe(self, saved: Recipe | None = None) -> Recipe:
        """The recipe of a form that was checked. What is not valid is as it was `saved`; model and
        length go together. Line ends as in a text file: a browser sends CRLF."""
        given = dict(self.cleaned_data)
        answer = saved.answer if saved and not {"answer_kind", "labels"} <= given.keys() else None
        if saved:
            if not {"model", "max_tokens"} <= given.keys():
                given.update(model=saved.model, max_tokens=saved.max_tokens)
            given = {**vars(saved), **given}
        if answer is None:
            answer = AnswerKind(
                kind=given["answer_kind"] or TEXT,
                labels=tuple(_labels(given["labels"])),
                columns=tuple(self._columns()),
            )
        given["max_tokens"] = given["max_tokens"] or 0
        for text in ("prompt", "system"):
            given[text] = given[text].replace("\r\n", "\n")
        values = {name: given[name] for name in PLAIN_FIELDS}
        return Recipe(**values, answer=answer)

    def _columns(self) -> Iterator[AnswerColumn]:
        """The columns of the answer as they were typed in, without those that are empty."""
        if not isinstance(self.data, QueryDict):
            return
        names = ("name", "kind", "choices", "description", "required")
        lists = [self.data.getlist(f"column_{name}")[: 2 * MOST_COLUMNS] for name in names]
        for name, kind, choices, description, required in zip(*lists, strict=False):
            if name := shorten(name, MOST_NAME):
                is_choice = kind == "choice"
                yield AnswerColumn(
                    name=name,
                    kind=kind if kind in COLUMN_KINDS else "text",
                    choices=tuple(_labels(choices)) if is_choice else (),
                    description=shorten(description, MOST_DESCRIPTION),
                    required=required != "no",
                )


def _labels(text: str) -> list[str]:
    """One a line; a few more than are possible, so that it can be said how many there are."""
    lines = (shorten(line, MOST_NAME) for line in text.splitlines()[: 10 * MOST_LABELS])
    return [line for line in lines if line]
