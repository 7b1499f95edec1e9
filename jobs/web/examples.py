"""Finished examples that a newcomer can open and try: rows, a prompt, and answers. They are files
beside this module; nothing of them is in the database."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import msgspec

from ..rules import pricing
from ..rules.answer_formats import AnswerKind
from ..rules.recipes import Recipe

SAMPLES = Path(__file__).resolve().parent / "samples"


class _Written(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An example as samples/examples.json has it."""

    title: str
    about: str  # one sentence
    file: str  # its rows, in the folder `samples`
    shown: tuple[str, ...]  # the columns that its page shows
    prompt: str
    answer: AnswerKind
    headings: tuple[str, ...]  # of the columns with answers
    answers: tuple[tuple[str, ...], ...]  # of the first rows


@dataclass(frozen=True)
class Example:
    """`rows`: the first ones of the file, each with its cells and answers by the names of their
    columns."""

    name: str
    title: str
    about: str
    file: str
    recipe: Recipe
    columns: list[str]
    headings: list[str]
    rows: list[tuple[list[tuple[str, str]], list[tuple[str, str]]]]
    row_count: int  # of the file


def _read(name: str, written: _Written) -> Example:
    with (SAMPLES / written.file).open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        first = list(islice(reader, len(written.answers)))
        count = len(first) + sum(1 for _row in reader)
    return Example(
        name=name,
        title=written.title,
        about=written.about,
        file=written.file,
        recipe=Recipe(written.prompt, model=pricing.DEFAULT_MODEL, answer=written.answer),
        columns=list(written.shown),
        headings=list(written.headings),
        rows=[
            (
                [(column, row[column]) for column in written.shown],
                list(zip(written.headings, answers, strict=True)),
            )
            for row, answers in zip(first, written.answers, strict=True)
        ],
        row_count=count,
    )


_decoder = msgspec.json.Decoder(dict[str, _Written])
EXAMPLES = {
    name: _read(name, written)
    for name, written in _decoder.decode((SAMPLES / "examples.json").read_bytes()).items()
}
SAMPLE_NAMES = {"requests.jsonl", *(one.file for one in EXAMPLES.values())}
