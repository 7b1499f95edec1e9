"""The request of one row, to be read by a person."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ...models import Job, Outcome, Row
from ...retries import rounds
from ...rules import recipes
from ...rules.recipes import Recipe

LONGEST_SHOWN = 20_000  # characters of one text; what is sent is never cut


@dataclass(frozen=True)
class ReadableRequest:
    """What is sent for one row. Texts are cut at LONGEST_SHOWN, and then `is_cut`."""

    model: str
    max_tokens: Any
    system: str
    prompt: str
    earlier_turns: int  # messages before the last one
    as_json: str
    is_cut: bool
    is_unknown: bool = False  # it was sent by somebody else, and the file does not have it


def readable_request(job: Job, row: Row, recipe: Recipe) -> ReadableRequest | None:
    """The request of `row`; None for a row that has none, because it is left out."""
    if row.outcome == Outcome.LEFT_OUT:
        return None
    content = row.content
    is_table = job.kind == Job.Kind.TABLE
    if rounds.lacks_prompt(job, recipe) or not (is_table or _has_params(content)):
        return ReadableRequest("", None, "", "", 0, "", is_cut=False, is_unknown=True)
    if is_table:
        # One with too few cells is left out when its turn comes; see planning.py.
        cells = [*content, *[""] * (len(job.columns) - len(content))]
        params = recipes.compile_recipe(recipe, job.columns)(cells)
    else:
        params = content["params"]
    texts = [
        recipes.content_text(params.get("system")),
        recipes.prompt_text(params),
        json.dumps(params, ensure_ascii=False, indent=2),
    ]
    system, prompt, as_json = (text[:LONGEST_SHOWN] for text in texts)
    return ReadableRequest(
        model=str(params.get("model", "")),
        max_tokens=params.get("max_tokens"),
        system=system,
        prompt=prompt,
        earlier_turns=len(params.get("messages") or [1]) - 1,
        as_json=as_json,
        is_cut=any(len(text) > LONGEST_SHOWN for text in texts),
    )


@dataclass(frozen=True)
class FilledText:
    """One text of a request in pieces: each with the column that it was inserted from, or ""."""

    title: str
    pieces: list[tuple[str, str]]


def filled_texts(job: Job, row: Row, recipe: Recipe) -> list[FilledText]:
    """The texts of the request of a table's row, with what is inserted marked. None for a row that
    is left out or has other columns."""
    if row.outcome == Outcome.LEFT_OUT or job.kind != Job.Kind.TABLE:
        return []
    if len(row.content) != len(job.columns):
        return []
    texts = [("Background", recipe.system), ("Prompt", recipe.prompt)]
    columns = recipes.columns_to_send(recipe, job.columns)
    return [
        FilledText(title, list(_pieces(template, columns, row.content)))
        for title, template in texts
        if template.strip()
    ]


def _pieces(
    template: str, columns: Sequence[str], cells: Sequence[str]
) -> Iterator[tuple[str, str]]:
    left = LONGEST_SHOWN
    for part in recipes.template_parts(template, columns):
        name, text = ("", part) if isinstance(part, str) else (columns[part], str(cells[part]))
        if (text or name) and left > 0:
            yield text[:left], name
        left -= len(text)


def _has_params(content: Any) -> bool:
    return isinstance(content, dict) and isinstance(content.get("params"), dict)
