"""What people type in, checked and turned into the types the rest of the code works with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from django import forms
from django.contrib.auth import forms as auth_forms
from django.contrib.auth.models import User
from django.core.files.uploadedfile import UploadedFile
from django.http import QueryDict

from ...drafts import model_catalog
from ...drafts.trials import MOST_ROWS, choose_rows
from ...ingest.shapes import NO_HEADER, Choices
from ...ingest.words import DELIMITERS, ENCODINGS
from ...models import Job, Outcome, Row, Template, choices_of
from ...retries.rounds import Again
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

# How the names of files end that can be read; what a file is, is told from what is in it.
FILE_NAMES = (
    *(".csv", ".tsv", ".tab", ".txt", ".jsonl", ".ndjson", ".json", ".gz"),
    *(".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"),
)
_CONTROLS = {
    forms.RadioSelect: "form-check-input",
    forms.Select: "form-select",
    forms.CheckboxInput: "form-check-input",
}


class StyledField(forms.BoundField):
    """A field with the stylesheet's classes on its control."""

    def build_widget_attrs(
        self, attrs: dict[str, Any], widget: forms.Widget | None = None
    ) -> dict[str, Any]:
        attrs = super().build_widget_attrs(attrs, widget)
        widget = widget or self.field.widget
        css = next((css for kind, css in _CONTROLS.items() if isinstance(widget, kind)), "")
        css = css or "form-control"
        return {**attrs, "class": f"{css} is-invalid" if self.errors else css}


class StyledForm(forms.Form):
    bound_field_class = StyledField


# --- Accounts -------------------------------------------------------------------------------------


class SignInForm(auth_forms.AuthenticationForm):
    bound_field_class = StyledField
    error_messages = {
        "invalid_login": "The user name and the password do not go together. Check both; capital "
        "and small letters count.",
    }


# The forms below are generic in the stubs only: at run time they take no type in brackets.
class AccountForm(auth_forms.UserCreationForm):  # type: ignore[type-arg]
    """User name and password of a new account."""

    bound_field_class = StyledField

    class Meta:
        model = User
        fields = ("username",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].help_text = "Letters, digits and . + - _ @"
        self.fields["username"].widget.attrs.pop("autofocus", None)
        _say_rules(self.fields["password1"], self.fields["password2"])

    def make(self, *, administrator: bool) -> User:
        """The account, stored."""
        user: User = self.save(commit=False)
        user.is_superuser = user.is_staff = administrator
        user.save()
        return user


class NewPersonForm(AccountForm):
    administrator = forms.BooleanField(
        required=False,
        help_text="Sees everybody's jobs and can add people.",
    )


class ChangePasswordForm(auth_forms.PasswordChangeForm):
    bound_field_class = StyledField

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _say_rules(self.fields["new_password1"], self.fields["new_password2"])


class SetPasswordForm(auth_forms.SetPasswordForm):  # type: ignore[type-arg]
    bound_field_class = StyledField

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _say_rules(self.fields["new_password1"], self.fields["new_password2"])


def _say_rules(first: forms.Field, again: forms.Field) -> None:
    """AUTH_PASSWORD_VALIDATORS in one sentence instead of a list."""
    first.help_text = "At least 8 characters; not only digits, and not one that many people use."
    again.help_text = ""


class LimitsForm(StyledForm):
    """How much may be spent, in US dollars; what is empty sets no limit."""

    most_a_job = forms.DecimalField(
        label="Most a job", required=False, min_value=0, max_digits=12, decimal_places=2
    )
    most_a_person = forms.DecimalField(
        label="Most a person and month",
        required=False,
        min_value=0,
        max_digits=12,
        decimal_places=2,
    )
    most_a_month = forms.DecimalField(
        label="Most a month, all together",
        required=False,
        min_value=0,
        max_digits=12,
        decimal_places=2,
    )
    approval_above = forms.DecimalField(
        label="A second person approves above",
        required=False,
        min_value=0,
        max_digits=12,
        decimal_places=2,
        help_text="A job that may cost more waits until an administrator has approved it who does "
        "not own it, did not ask, and did not make the last change. Then its owner submits it.",
    )


class PriceForm(StyledForm):
    """What a model costs from a day on, in US dollars for a million tokens at the normal rate."""

    model_id = forms.RegexField(
        r"^[a-zA-Z0-9._:-]{1,100}\Z",
        label="Model",
        help_text="Its id, such as claude-haiku-5-5.",
        error_messages={"invalid": "An id has only letters, digits, and . _ : - in it."},
    )
    since = forms.DateField(
        label="From this day on", widget=forms.DateInput(attrs={"type": "date"})
    )
    read = forms.DecimalField(
        label="A million tokens read",
        min_value=0,
        max_digits=10,
        decimal_places=4,
        help_text="US dollars at the normal price; a batch costs half of it.",
    )
    written = forms.DecimalField(
        label="A million tokens written", min_value=0, max_digits=10, decimal_places=4
    )


# --- Jobs -----------------------------------------------------------------------------------------


class UploadForm(StyledForm):
    file = forms.FileField(
        label="Your file",
        allow_empty_file=True,
        widget=forms.FileInput(attrs={"accept": ",".join(FILE_NAMES)}),
        error_messages={"required": "Choose a file first."},
    )

    def clean_file(self) -> UploadedFile[bytes]:
        file: UploadedFile[bytes] = self.cleaned_data["file"]
        if not file.size:
            raise forms.ValidationError(
                "This file is empty. Check that you chose the right one and that it was saved."
            )
        return file

    def add_refusal(self, why: str) -> None:
        """Say why the upload was stopped; it left no file."""
        self.errors.pop("file", None)
        self.add_error("file", why)


class ReadingForm(StyledForm):
    """How a file is to be read: what is left at "found out" is found out."""

    encoding = forms.ChoiceField(
        label="Letters",
        required=False,
        help_text="Choose another one when letters such as é or ü are wrong.",
    )
    delimiter = forms.ChoiceField(label="Cells are separated by", required=False)
    sheet = forms.ChoiceField(label="Sheet", required=False)
    header = forms.IntegerField(
        label="Line with the column names",
        required=False,
        min_value=1,
        help_text="As your spreadsheet numbers it. Lines above it are left out.",
    )
    no_header = forms.BooleanField(
        label="There are no column names", required=False, help_text="Then all lines are rows."
    )
    fill = forms.BooleanField(
        label="Fill short rows with empty cells",
        required=False,
        help_text="Otherwise rows with too few cells are left out.",
    )

    def __init__(self, job: Job, data: QueryDict | None = None) -> None:
        """For the file of `job`; fields that mean nothing for it are not there."""
        chosen = choices_of(job)
        super().__init__(
            data,
            initial={
                "encoding": chosen.encoding,
                "delimiter": chosen.delimiter,
                "sheet": chosen.sheet,
                "header": chosen.header if chosen.header > 0 else None,
                "no_header": chosen.header == NO_HEADER,
                "fill": chosen.fill,
            },
            prefix="reading",
        )
        self._remedies = chosen.remedies
        understood = job.reading
        for name, words in (("encoding", ENCODINGS), ("delimiter", DELIMITERS)):
            found = words.get(understood.get(name, ""), "")
            empty = f"Detected: {found}" if found and not getattr(chosen, name) else "Detect it"
            self._offer(name, [("", empty), *words.items()])
        sheets = understood.get("sheets") or []
        first = ("", "The first one with something in it")
        self._offer("sheet", [first, *((name, name) for name in sheets)])
        if (found := understood.get("header", 0)) > 0:
            self.fields["header"].widget.attrs["placeholder"] = f"Detected: {found}"
        for name in self.fields.keys() - fields_for(job):
            del self.fields[name]

    def _offer(self, name: str, choices: list[tuple[str, str]]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101 - as declared above
        field.choices = choices

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("no_header") and cleaned.get("header"):
            self.add_error(
                "header", "Either there are column names in a line, or there are none: clear one."
            )
        return cleaned

    def choices(self) -> Choices:
        """What was chosen, once it is valid."""
        data = self.cleaned_data
        header = NO_HEADER if data.get("no_header") else data.get("header") or 0
        return Choices(
            encoding=data.get("encoding", ""),
            delimiter=data.get("delimiter", ""),
            sheet=data.get("sheet", ""),
            header=header,
            fill=data.get("fill", False),
            remedies=self._remedies,
        )


def fields_for(job: Job) -> set[str]:
    """What can be chosen for the file of a job; all of it when nothing is known of it."""
    read = job.reading.get("format", "")
    if read == "CSV" or not read:
        return {"encoding", "delimiter", "header", "no_header", "fill"}
    if job.kind == Job.Kind.TABLE and read not in ("JSONL", "JSON"):
        return {"sheet", "header", "no_header", "fill"}
    return set()


class TrialForm(StyledForm):
    """Which rows are to be tried."""

    count = forms.IntegerField(
        label="How many", min_value=1, max_value=MOST_ROWS, initial=3, required=False
    )
    which = forms.ChoiceField(
        label="Which rows",
        choices={"first": "the first rows", "random": "any rows"},
        required=False,
    )
    numbers = forms.CharField(label="Or these rows", required=False, max_length=500)

    also = forms.ChoiceField(
        label="And with another model",
        choices=lambda: [("", "no other"), *model_choices()],
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
            raise forms.ValidationError(f"At most {MOST_ROWS} rows can be tried at once.")
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


class NameForm(StyledForm):
    name = forms.CharField(
        label="Name of the job",
        max_length=Job._meta.get_field("name").max_length,
        error_messages={"required": "A job needs a name."},
    )


class TemplateForm(StyledForm):
    """How a recipe is kept for later."""

    name = forms.CharField(
        label="Name of the template",
        max_length=Template._meta.get_field("name").max_length,
        error_messages={"required": "A template needs a name."},
    )
    shared = forms.BooleanField(
        label="Share with everyone on this site",
        required=False,
        help_text="They can start jobs with it, and read what you wrote, with the examples in it. "
        "Your file and the answers stay yours.",
    )


class TemplateNameForm(StyledForm):
    name = TemplateForm.base_fields["name"]


class ProviderIdForm(StyledForm):
    provider_id = forms.RegexField(
        r"^[A-Za-z0-9_-]{1,100}\Z",
        strip=True,
        label="Id of the batch",
        help_text="It begins with msgbatch_.",
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "off", "spellcheck": "false"}
        ),
        error_messages={
            "required": "Paste the id of the batch here.",
            "invalid": "This is no id of a batch. It begins with msgbatch_, and there are only "
            "letters, digits, - and _ in it. Copy it once more.",
        },
    )


class BringInForm(ProviderIdForm):
    """A batch that was made elsewhere, and the file that it was made from."""

    file = forms.FileField(
        label="The file that it was made from",
        required=False,
        help_text="If you have it: the requests that were submitted (JSONL), or the table (CSV, "
        "Excel) from whose rows they were made. Then each answer comes back beside its row. "
        "Without it the finished file has the answers with their ids.",
        widget=forms.FileInput(attrs={"accept": ",".join(FILE_NAMES)}),
        error_messages={"empty": "This file is empty. Choose another one, or none."},
    )

    def add_refusal(self, why: str) -> None:
        """Say why the upload was stopped; it left no file."""
        self.errors.pop("provider_id", None)  # the form came without its fields
        self.add_error("file", why)


class IdsForm(StyledForm):
    """Which row of the file each result of a batch belongs to. `ways`: the choices, each with its
    words, the best first."""

    def __init__(self, ways: list[tuple[str, str]], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["way"] = forms.ChoiceField(
            label="Where the ids are",
            choices=ways,
            error_messages={
                "required": "Choose where the ids are.",
                "invalid_choice": "This is not in your file. Choose where the ids are.",
            },
        )


def model_choices() -> list[tuple[str, str]]:
    """The models that can be chosen."""
    return [(offer.id, offer.name) for offer in model_catalog.offered() if offer.has_price]


ANSWER_KINDS = {
    TEXT: "Free text",
    LABELS: "One of these labels",
    COLUMNS: "Several columns",
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
        label="Instructions for every row",
        required=False,
        strip=False,
        max_length=1_000_000,
        help_text="Role, tone or rules that are the same for all rows; sent before the prompt "
        "(the “system prompt”).",
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "true"}),
    )
    model = forms.ChoiceField(
        label="Model",
        choices=model_choices,
        error_messages={"required": "Choose a model."},
    )
    effort = forms.ChoiceField(
        label="How much should it think first?",
        required=False,
        choices=EFFORTS,
        help_text="Thinking helps with hard questions and is paid for like an answer. It takes its "
        "share of the longest answer, too.",
    )
    cached = forms.BooleanField(
        label="Keep the instructions at Anthropic while the job runs",
        required=False,
    )
    same_once = forms.BooleanField(label="Send rows that are the same only once", required=False)
    only_new = forms.BooleanField(
        label="Send only rows that are new or changed since the job before", required=False
    )
    skip_empty = forms.BooleanField(
        label="Leave out rows in which a cell that is used is empty",
        required=False,
    )
    answer_kind = forms.ChoiceField(
        label="What kind of answer?",
        required=False,
        choices=ANSWER_KINDS,
        widget=forms.RadioSelect,
    )
    labels = forms.CharField(
        label="The labels, one a line",
        required=False,
        max_length=100_000,
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "true"}),
    )
    max_tokens = forms.IntegerField(
        label="Longest answer, in tokens",
        required=False,
        min_value=1,
        widget=forms.NumberInput(attrs={"placeholder": "What suits"}),
        help_text="1,000 tokens are about 550 words. Only what is really written is paid for; "
        "longer answers are cut off here.",
        error_messages={
            "min_value": "The longest answer must be at least 1 token.",
            "invalid": "The longest answer is a whole number of tokens.",
        },
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        offer = model_catalog.find(cleaned.get("model", ""))
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
            if name := _short(name, MOST_NAME):
                is_choice = kind == "choice"
                yield AnswerColumn(
                    name=name,
                    kind=kind if kind in COLUMN_KINDS else "text",
                    choices=tuple(_labels(choices)) if is_choice else (),
                    description=_short(description, MOST_DESCRIPTION),
                    required=required != "no",
                )


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

    def again(self, which: str, before: Recipe) -> Again:
        """What is different from `before`."""
        given = self.cleaned_data
        longest = given["max_tokens"] or 0
        # A browser sends every line break as two characters.
        prompt, system = (given[name].replace("\r\n", "\n") for name in ("prompt", "system"))
        return Again(
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
    def again(self) -> Again:
        given = self.cleaned_data
        texts = {name: given[name].replace("\r\n", "\n") for name in given["asks"]}
        return Again(given["which"], given["max_tokens"], given["model"], **texts)


class ChangeForm(forms.Form):
    """How all rows of a group are changed, see editing.change_all."""

    code = forms.CharField(max_length=20)
    name = forms.CharField(required=False, max_length=1_000, strip=False)
    number = forms.IntegerField(required=False, min_value=1, max_value=10_000_000)

    def clean_number(self) -> int:
        return self.cleaned_data["number"] or 0


def _labels(text: str) -> list[str]:
    """One a line; a few more than are possible, so that it can be said how many there are."""
    lines = (_short(line, MOST_NAME) for line in text.splitlines()[: 10 * MOST_LABELS])
    return [line for line in lines if line]


def _short(text: str, most: int) -> str:
    """What can be stored of a text that was typed in, with one character more than is possible, so
    that this can be said."""
    return text.replace("\0", "").strip()[: most + 1]
