"""Every kind of bad prompt that we know of, through the page and from the shell: nothing in it is
evaluated, and what cannot be sent is said in the same words.

The cases are named as in the catalogue: P1 to P12.
"""

from __future__ import annotations

import html
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from jobs.drafts import estimates
from jobs.models import Job, recipe_of
from jobs.rules.recipes import compile_recipe

from ..conftest import Simulator, change_job
from ..pages import squeezed, unmarked

pytestmark = pytest.mark.no_database  # what is said is the same on each of them

MakeJob = Callable[..., Job]
COLUMNS = ("name", "email", "Review text")
ROWS = [("Ada", "{{email}} {{name}}", "fine"), ("Ben", "", "")]
HX = {"HX-Request": "true"}


@dataclass(frozen=True)
class Case:
    """A prompt and what becomes of it. `words`: what the page says; `first`: the prompt of the
    first row, when it can be sent; `more`: other fields of the form, `options`: of the command."""

    name: str
    prompt: str
    words: Sequence[str] = ()
    first: str | None = None
    more: dict[str, str] = field(default_factory=dict)
    options: Sequence[str] = ()
    on_the_page_only: bool = False


def sent(name: str, prompt: str, first: str, *words: str, **values: Any) -> Case:
    return Case(name, prompt, words, first, **values)


def refused(name: str, prompt: str, *words: str, **values: Any) -> Case:
    return Case(name, prompt, words, **values)


def limited(name: str, most: str, *words: str, model: str = "claude-haiku-5-5") -> Case:
    return refused(
        name,
        "{{name}}",
        *words,
        more={"max_tokens": most, "model": model},
        options=["--max-tokens", most, "--model", model],
    )


CASES = [
    refused("P1 misspelt", "Of {{nmae}}", "no column “nmae”. Did you mean {{name}}?"),
    refused("P1 unknown", "Of {{zzz}}", "Your file has no column “zzz”."),
    refused("P2 not closed", "Of\n {{name", "The {{ at line 2, character 2 is not closed"),
    refused("P2 not opened", "Of name}}", "The }} at line 1, character 8 has no {{ before it"),
    refused("P2 three", "Of {{{name}}}", "There are three braces at line 1, character 4"),
    refused(
        "P2 in the instructions",
        "{{name}}",
        "Background: The {{ at line 1, character 4",
        more={"system": "Be {{x"},
        options=["--system", "Be {{x"],
    ),
    sent("P3 literal braces", r"\{{name}} is {{name}}", "{{name}} is Ada"),
    sent("P4 a cell like a placeholder", "{{email}}", "{{email}} {{name}}"),
    refused("P5 attribute", "{{name.__class__}}", "Your file has no column “name.__class__”."),
    refused("P5 sum", "{{ 1+1 }} {{name}}", "Your file has no column “1+1”."),
    sent("P5 others", "{% if x %} ${name} %s {0} {{name}}", "{% if x %} ${name} %s {0} Ada"),
    refused("P6 other case", "{{Name}}", "Did you mean {{name}}?"),
    refused("P6 underscore", "{{review_text}}", "Did you mean {{Review text}}?"),
    sent("P6 blanks", "{{ name }}", "Ada"),
    sent("P7 no column", "Say hello.", "Say hello.", "Every row gets the same prompt"),
    sent("P8 empty after filling", "{{email}}", "{{email}} {{name}}", "1 row with an empty prompt"),
    refused(
        "P9 a prompt of more than a megabyte",
        "x" * 1_000_001,
        "at most 1000000 characters",
        on_the_page_only=True,
    ),
    limited("P11 no tokens", "0", "must be at least 1 token"),
    limited("P11 less than none", "-1", "must be at least 1 token"),
    limited("P11 a billion", "1000000000", "Claude Haiku 5.5 writes at most 128,000 tokens"),
    limited("P11 an unknown model", "9", "gpt-4", model="gpt-4"),
    limited("P11 a retired model", "9", "claude-opus-4-1", model="claude-opus-4-1"),
]


@pytest.fixture
def draft(alice: User, make_job: MakeJob) -> Job:
    return make_job(alice, Job.State.DRAFT, columns=COLUMNS, rows=ROWS, prompt="")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_on_the_page(case: Case, draft: Job, client_alice: Client, simulator: Simulator) -> None:
    form = {"prompt": case.prompt, "system": "", "model": "claude-haiku-5-5", **case.more}
    answer = client_alice.post(reverse("recipe", args=[draft.pk]), form, headers=HX)
    assert answer.status_code == 200
    draft.refresh_from_db()
    estimates.estimate_job(draft)
    draft.refresh_from_db()
    page = squeezed(answer.content)
    price = client_alice.get(reverse("price", args=[draft.pk]), headers=HX).content.decode()
    # At its field, a problem need not say which it is about.
    for words in case.words:
        assert words.removeprefix("Background: ") in page + html.unescape(price)
    if case.first is None:
        refuses = "disabled" in page[page.index('id="go-on"') :].partition(">")[0]
        assert refuses, "it cannot be sent"
        return
    assert draft.plan_sha256, "it can be sent"
    params = compile_recipe(recipe_of(draft), draft.columns)(ROWS[0])
    assert params["messages"][0]["content"] == case.first
    assert case.first in unmarked(page), "the preview shows it"


@pytest.mark.parametrize(
    "case", [case for case in CASES if not case.on_the_page_only], ids=lambda case: case.name
)
def test_from_the_shell(
    case: Case,
    root: User,
    worker: None,
    tmp_path: Path,
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(",".join(cells) for cells in [COLUMNS, *ROWS]) + "\n")
    out, err = io.StringIO(), io.StringIO()
    command = ["job", "submit", str(path), "--prompt", case.prompt, *case.options, "--yes"]
    try:
        call_command(*command, stdout=out, stderr=err)
    except SystemExit as end:
        assert (end.code, case.first) == (2, None)
        assert all(words in err.getvalue() for words in case.words)
        assert not Job.objects.exclude(state=Job.State.DELETING), "no draft is left behind"
    else:
        assert case.first is not None
        assert Job.objects.get().state == Job.State.SUBMITTING


def test_p8_nothing_written(
    draft: Job, client_alice: Client, root: User, worker: None, tmp_path: Path
) -> None:
    form = {"prompt": " \n ", "system": "", "model": "claude-haiku-5-5"}
    answer = client_alice.post(reverse("recipe", args=[draft.pk]), form, headers=HX)
    assert "Finish the prompt first." in answer.content.decode()
    path, err = tmp_path / "rows.csv", io.StringIO()
    path.write_text("a\n1\n")
    with pytest.raises(SystemExit):
        call_command("job", "submit", str(path), "--prompt", " ", "--yes", stderr=err)
    assert "Write what Claude should do with each row." in err.getvalue()


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ("{", "not a JSON list of columns"),
        ("[1]", "not a JSON list of columns"),
        ('[{"nme": "x"}]', "not a JSON list of columns"),
        ('[{"name": "x", "kind": "date"}]', "unknown type"),
        ('[{"name": "x", "kind": "choice"}]', "enter at least two"),
        ('[{"name": "x"}, {"name": "X"}]', "called “X”"),
        (json.dumps([{"name": f"c{n}"} for n in range(51)]), "The limit is 50 columns"),
    ],
    ids=["cut", "no object", "odd key", "odd kind", "no choices", "twice", "too many"],
)
def test_p10_columns_that_are_no_columns(
    root: User, tmp_path: Path, columns: str, words: str
) -> None:
    table, path = tmp_path / "a.csv", tmp_path / "columns.json"
    table.write_text("a\n1\n")
    path.write_text(columns)
    err = io.StringIO()
    command = ["job", "submit", str(table), "--prompt", "{{a}}", "--columns", str(path), "--yes"]
    with pytest.raises(SystemExit) as end:
        call_command(*command, stderr=err)
    assert end.value.code == 2
    assert words in err.getvalue()
    assert not Job.objects.exists()


@pytest.mark.parametrize("text", ["{{" * 200_000, "{{a}}" * 80_000, "}}" * 100_000])
def test_p12_hundreds_of_thousands_of_braces_are_answered_at_once(
    draft: Job, client_alice: Client, text: str
) -> None:
    """In linear time: with squares of this, the suite would not end."""
    change_job(draft, prompt=text)
    assert client_alice.get(reverse("job", args=[draft.pk])).status_code == 200
