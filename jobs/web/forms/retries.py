"""Retrying rows of a finished job, and changing them first."""

from __future__ import annotations

from django import forms

from ...rules.recipes import Recipe
from ...rules.retry_choices import RetryChoice
from .recipes import model_choices
from .styled import StyledForm


class AskForm(StyledForm):
    """What rows that are sent again are asked, when that is to be different."""

    prompt = forms.CharField(
        label="Prompt",
        strip=False,
        max_length=1_000_000,
        widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "true"}),
        error_messages={"required": "Write what is to be asked."},
    )
    system = forms.CharField(
        label="Instructions for every row",
        required=False,
        strip=False,
        max_length=1_000_000,
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "true"}),
    )
    model = forms.ChoiceField(label="Model", choices=model_choices)
    max_tokens = forms.IntegerField(
        label="Longest answer, in tokens",
        required=False,
        min_value=1,
        max_value=1_000_000,
        widget=forms.NumberInput(attrs={"placeholder": "What suits"}),
    )

    def again(self, which: str, before: Recipe) -> RetryChoice:
        """What is different from `before`."""
        given = self.cleaned_data
        longest = given["max_tokens"] or 0
        # A browser sends every line break as two characters.
        prompt, system = (given[name].replace("\r\n", "\n") for name in ("prompt", "system"))
        return RetryChoice(
            which,
            max_tokens=longest if longest != before.max_tokens else None,
            model=given["model"] if given["model"] != before.model else "",
            prompt=prompt if prompt != before.prompt.replace("\r\n", "\n") else None,
            system=system if system != before.system.replace("\r\n", "\n") else None,
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
        texts = {name: given[name].replace("\r\n", "\n") for name in given["asks"]}
        return RetryChoice(given["which"], given["max_tokens"], given["model"], **texts)


class ChangeForm(forms.Form):
    """How all rows of a group are changed, see editing.change_all."""

    code = forms.CharField(max_length=20)
    name = forms.CharField(required=False, max_length=1_000, strip=False)
    number = forms.IntegerField(required=False, min_value=1, max_value=10_000_000)

    def clean_number(self) -> int:
        return self.cleaned_data["number"] or 0
