"""Retrying rows of a finished job, and changing them first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from django import forms

from ...rules.recipes import Recipe
from ...rules.retry_choices import RetryChoice
from .recipes import model_choices
from .styled import StyledForm


class AskForm(StyledForm):
    """The changed prompt and settings of some rows."""

    prompt = forms.CharField(
        label="Prompt",
        strip=False,
        max_length=1_000_000,
        widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "true"}),
        error_messages={"required": "Write what Claude should do with each row."},
    )
    system = forms.CharField(
        label="Background",
        required=False,
        strip=False,
        max_length=1_000_000,
        help_text="Role, tone or rules for all rows. Claude reads them before the prompt.",
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "true"}),
    )
    model = forms.ChoiceField(label="Model", choices=model_choices)
    max_tokens = forms.IntegerField(
        label="Maximum answer length, in tokens",
        required=False,
        min_value=1,
        max_value=1_000_000,
        help_text="1,000 tokens are about 550 words. Longer answers are cut off.",
        widget=forms.NumberInput(attrs={"placeholder": "Automatic"}),
    )

    def add_problems(self, problems: Mapping[str, list[str]]) -> None:
        """Add why the recipe cannot be sent, each at its field."""
        for name, sentences in problems.items():
            for sentence in sentences:
                self.add_error(name if name in self.fields else None, sentence)

    def as_typed(self, before: Recipe) -> Recipe:
        """`before` with what stands in the form, valid or not."""
        longest = str(self["max_tokens"].value() or "")
        is_number = longest.isascii() and longest.isdigit() and len(longest) <= 7
        return replace(
            before,
            prompt=_plain(self["prompt"].value() or ""),
            system=_plain(self["system"].value() or ""),
            model=str(self["model"].value() or before.model),
            max_tokens=int(longest) if is_number else 0,
        )

    def again(self, which: str, before: Recipe) -> RetryChoice:
        """What is different from `before`."""
        given = self.cleaned_data
        longest = given["max_tokens"] or 0
        prompt, system = (_plain(given[name]) for name in ("prompt", "system"))
        return RetryChoice(
            which,
            max_tokens=longest if longest != before.max_tokens else None,
            model=given["model"] if given["model"] != before.model else "",
            prompt=prompt if prompt != _plain(before.prompt) else None,
            system=system if system != _plain(before.system) else None,
        )


class AgainForm(forms.Form):
    """Which rows are sent again, and how; `asks` says which of prompt and system are different."""

    which = forms.CharField(max_length=60)
    # 0: what suits
    max_tokens = forms.IntegerField(required=False, min_value=0, max_value=1_000_000)
    model = forms.CharField(required=False, max_length=100)
    prompt = forms.CharField(required=False, strip=False, max_length=1_000_000)
    system = forms.CharField(required=False, strip=False, max_length=1_000_000)
    asks = forms.MultipleChoiceField(
        required=False, choices=[("prompt", "prompt"), ("system", "system")]
    )
    key = forms.CharField(required=False, max_length=64)

    @property
    def again(self) -> RetryChoice:
        given = self.cleaned_data
        texts = {name: _plain(given[name]) for name in given["asks"]}
        return RetryChoice(given["which"], given["max_tokens"], given["model"], **texts)


class ChangeForm(forms.Form):
    """How all rows of a group are changed, see editing.change_all."""

    code = forms.CharField(max_length=20)
    name = forms.CharField(required=False, max_length=1_000, strip=False)
    number = forms.IntegerField(required=False, min_value=1, max_value=10_000_000)

    def clean_number(self) -> int:
        return self.cleaned_data["number"] or 0


def _plain(text: str) -> str:
    # A browser sends every line break as two characters.
    return text.replace("\r\n", "\n")
