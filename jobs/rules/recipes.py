"""A prompt with `{{column}}` placeholders and the cells of a row become the `params` of a request.
Pure. Cells are inserted in one pass and never evaluated: a cell that contains `{{x}}` stays as is.
`\\{{` writes two literal braces.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import islice
from typing import Any

from .answer_formats import (
    COLUMNS,
    FREE_TEXT,
    LABELS,
    AnswerColumn,
    AnswerKind,
    kind_problems,
    output_format,
)
from .model_capabilities import AUTOMATIC, EFFORTS, effort_of, efforts_of, thinking_params
from .structs import reader_of

# Two alternatives that cannot overlap, and no nested repetition: linear on any input.
_PLACEHOLDER = re.compile(r"\\\{\{|\{\{([^{}\n]*)\}\}")
_OPENING = re.compile(r"\{\{")
_THREE = re.compile(r"\{\0")
_CLOSING = re.compile(r"\}\}")
_SINGLE = re.compile(r"(?<!\{)\{([^{}\n]+)\}(?!\})")
NAMED = 5  # problems of one kind that are listed
LONGEST_NAME = 300  # characters before a brace that are searched for a column name

# Tokens of an answer: of free text, and of each column by its kind.
_TEXT_TOKENS = 1_024
_COLUMN_TOKENS = {"text": 256, "list": 256}
_SHORT_TOKENS = 64  # of a label, a number, yes or no
# Tokens of thinking by effort; they count toward max_tokens.
_THINKING_TOKENS = {"low": 1_024, "medium": 2_048, "high": 4_096, "xhigh": 8_192, "max": 16_384}


# A cached block of text. Five minutes are too short for a batch, whose rows are processed whenever
# there is capacity (batch processing guide).
CACHED_BLOCK = {"type": "text", "cache_control": {"type": "ephemeral", "ttl": "1h"}}


EXAMPLES = "Here are examples of good answers:"


@dataclass(frozen=True)
class Recipe:
    """A prompt with its settings, for each row of a table."""

    prompt: str = ""
    system: str = ""
    model: str = ""
    max_tokens: int = 0  # including thinking; 0: automatic
    answer: AnswerKind = FREE_TEXT
    effort: str = AUTOMATIC  # of model_capabilities.EFFORTS
    cached: bool = False  # prompt caching for the background
    skip_empty: bool = False  # skip rows with an empty cell that the prompt uses
    skip_duplicates: bool = False  # send one of equal requests
    only_new: bool = False  # do not send rows that the previous job answered
    private: tuple[str, ...] = ()  # columns that never leave this site

    @property
    def longest(self) -> int:
        """The maximum answer length in tokens, including thinking."""
        return self.max_tokens or default_max_tokens(self.answer, self.model, self.effort)

    @property
    def template(self) -> str:
        """Prompt and background: everything with placeholders."""
        # On separate lines, so that braces of both never form a placeholder.
        return f"{self.prompt}\n{self.system}" if self.system.strip() else self.prompt


read_recipe = reader_of(Recipe, same_once="skip_duplicates")  # of a JSON column

# The fields of the form, under the same names.
PLAIN_FIELDS = tuple(
    field.name for field in fields(Recipe) if field.name not in ("answer", "private")
)


def default_max_tokens(answer: AnswerKind, model: str, effort: str) -> int:
    """The automatic maximum answer length in tokens: room for the kind of answer and for
    thinking."""
    if answer.kind == COLUMNS:
        written = _SHORT_TOKENS + sum(map(_tokens_of, answer.columns))
    else:
        written = 2 * _SHORT_TOKENS if answer.kind == LABELS else _TEXT_TOKENS
    return written + _THINKING_TOKENS.get(effort_of(model, effort), 0)


def expected_output(recipe: Recipe) -> tuple[int, int]:
    """A guess of an answer's tokens (low, high), including thinking, until there are tested rows
    to learn from."""
    if recipe.answer.kind == LABELS:
        low, high = 5, 40
    elif recipe.answer.kind == COLUMNS:
        low = 8 * len(recipe.answer.columns)
        high = sum(map(_tokens_of, recipe.answer.columns)) // 2 + low
    else:
        low, high = _TEXT_TOKENS // 20, _TEXT_TOKENS * 3 // 4
    # A model that can think does not always do so.
    high += _THINKING_TOKENS.get(effort_of(recipe.model, recipe.effort), 0) // 2
    return min(low, recipe.longest), min(high, recipe.longest)


def _tokens_of(column: AnswerColumn) -> int:
    return _COLUMN_TOKENS.get(column.kind, _SHORT_TOKENS)


def has_shared_system(recipe: Recipe) -> bool:
    """Whether all rows have the same background, so that it can be cached."""
    return bool(recipe.system.strip()) and not columns_used(recipe.system)


def shared_beginning(template: str) -> str:
    """The text before the first placeholder, which all rows share, up to the end of a line."""
    first = next((m for m in _PLACEHOLDER.finditer(template) if m[1] is not None), None)
    head = template[: first.start()] if first else ""
    return head[: head.rfind("\n") + 1].strip()


def move_to_system(recipe: Recipe, head: str) -> Recipe:
    """`recipe` with `head`, the beginning of its prompt, moved to the background."""
    system = f"{recipe.system.rstrip()}\n\n{head}" if recipe.system.strip() else head
    prompt = recipe.prompt.lstrip().removeprefix(head).lstrip()
    return replace(recipe, prompt=prompt, system=system)


def columns_used(template: str) -> list[str]:
    """The column names in the placeholders of `template`, in order, with repetitions."""
    return [match[1].strip() for match in _PLACEHOLDER.finditer(template) if match[1] is not None]


def rename_columns(template: str, names: Mapping[str, str]) -> str:
    """`template` with its columns renamed by `names` (old to new). All other text stays exactly as
    it is."""

    def renamed(match: re.Match[str]) -> str:
        name = None if match[1] is None else names.get(match[1].strip())
        return match[0] if name is None else f"{{{{{name}}}}}"

    return _PLACEHOLDER.sub(renamed, template)


def with_rows_of(recipe: Recipe, other: Recipe) -> Recipe:
    """`other` with the choice of rows of `recipe`, and with its private columns."""
    return replace(
        other,
        skip_empty=recipe.skip_empty,
        skip_duplicates=recipe.skip_duplicates,
        only_new=recipe.only_new,
        private=recipe.private,
    )


def normalize_recipe(recipe: Recipe) -> Recipe:
    """Equal for recipes whose answers are comparable: without column names, the maximum answer
    length and the choice of rows."""
    names = dict.fromkeys(columns_used(recipe.template))
    places = {name: str(place) for place, name in enumerate(names)}
    return Recipe(
        rename_columns(recipe.prompt, places),
        rename_columns(recipe.system, places),
        recipe.model,
        answer=recipe.answer,
        effort=recipe.effort,
    )


def static_text(template: str) -> str:
    """`template` without its placeholders: the text that every row repeats."""
    return _PLACEHOLDER.sub(lambda match: "{{" if match[1] is None else "", template)


def template_problems(template: str, columns: Sequence[str]) -> list[str]:
    """What is wrong with a template, as sentences; empty when it is valid."""
    problems = []
    known = set(columns)
    unknown = [name for name in dict.fromkeys(columns_used(template)) if name not in known]
    for name in unknown[:NAMED]:
        close = difflib.get_close_matches(name.casefold(), [c.casefold() for c in columns], n=1)
        meant = [c for c in columns if close and c.casefold() == close[0]]
        hint = f" Did you mean {{{{{meant[0]}}}}}?" if meant else ""
        problems.append(f"Your file has no column “{name[:LONGEST_NAME]}”.{hint}")
    if len(unknown) > NAMED:
        problems.append(f"Your file also lacks {len(unknown) - NAMED:,} other columns.")
    # The template with placeholders as "\0" and escaped braces as "\1".
    rest = _PLACEHOLDER.sub(
        lambda match: "\2\1\1" if match[1] is None else "\0" * len(match[0]), template
    )
    for match in islice(_OPENING.finditer(rest), NAMED):
        problems.append(
            f"The {{{{ at {_place(template, match.start())} is not closed. Write {{{{column}}}}, "
            "or \\{{ for two literal braces."
        )
    for match in islice(_THREE.finditer(rest), NAMED):
        problems.append(
            f"There are three braces at {_place(template, match.start())}. Write {{{{column}}}}, "
            "with a space before it if you need a literal brace."
        )
    for at in islice(_closings(rest, columns), NAMED):
        problems.append(
            f"The }}}} at {_place(template, at)} has no {{{{ before it. Write {{{{column}}}}."
        )
    return problems


def _closings(rest: str, columns: Sequence[str]) -> Iterator[int]:
    """Where "}}" follows a column name without an opening "{{"."""
    depth = end = 0
    names, lengths = set(columns), {len(column) for column in columns}
    for match in _CLOSING.finditer(rest):
        # In JSON, "}}" may close earlier braces, including escaped ones.
        depth += rest.count("{", end, match.start()) + rest.count("\1", end, match.start())
        depth -= rest.count("}", end, match.start())
        last = rest[max(end, match.start() - LONGEST_NAME) : match.start()].rstrip()
        # Compare by length and not name by name: a file may have hundreds of columns.
        named = (length for length in lengths if last[-length:] in names)
        if depth <= 0 and any(not last[:-length][-1:].isalnum() for length in named):
            yield match.start()
        depth -= 2
        end = match.end()


def _place(template: str, at: int) -> str:
    line = template.count("\n", 0, at) + 1
    return f"line {line}, character {at - template.rfind(chr(10), 0, at)}"


def _private_problems(template: str, recipe: Recipe) -> list[str]:
    used = [name for name in dict.fromkeys(columns_used(template)) if name in recipe.private]
    return [
        f"The column “{name[:LONGEST_NAME]}” is private, so it can’t be used here. Remove it, or "
        "no longer mark it as private."
        for name in used[:NAMED]
    ]


def columns_to_send(recipe: Recipe, columns: Sequence[str]) -> list[str]:
    """`columns` in their places, with a name that no placeholder can have for each private one: so
    its cells can never be filled in."""
    return ["\n" if name in recipe.private else name for name in columns]


def columns_that_leave(recipe: Recipe, columns: Sequence[str]) -> list[str]:
    """The columns of a file whose cells are sent."""
    used = set(columns_used(recipe.template)).difference(recipe.private)
    return [name for name in columns if name in used]


def field_problems(recipe: Recipe, columns: Sequence[str]) -> dict[str, list[str]]:
    """Why `recipe` cannot be sent yet, as sentences by field: "prompt", "system", "effort" and
    "answer". Fields without a problem have an empty list."""
    prompt = template_problems(recipe.prompt, columns) + _private_problems(recipe.prompt, recipe)
    system = template_problems(recipe.system, columns) + _private_problems(recipe.system, recipe)
    if not recipe.prompt.strip():
        prompt.insert(0, "Write what Claude should do with each row.")
    effort = []
    if recipe.effort not in EFFORTS:
        effort.append(f"Thinking must be one of {', '.join(filter(None, EFFORTS))}.")
    return {
        "prompt": prompt,
        "system": system,
        "effort": effort,
        "answer": kind_problems(recipe.answer),
    }


def recipe_problems(recipe: Recipe, columns: Sequence[str]) -> list[str]:
    """Why `recipe` cannot be sent yet, as sentences."""
    found = field_problems(recipe, columns)
    found["system"] = [f"Background: {text}" for text in found["system"]]
    return [problem for problems in found.values() for problem in problems]


def recipe_remarks(recipe: Recipe, columns: Sequence[str]) -> list[str]:
    """Warnings about a valid recipe for a file with `columns`, as sentences."""
    remarks = [
        f"{{{name}}} is sent as plain text. To insert the cell, write {{{{{name}}}}}."
        for name in _in_single_braces(recipe.template, columns)
    ]
    remarks += [
        f"Your file already has a column “{name}”, so the answer’s is called “{name}_2” in the "
        "finished file."
        for name in recipe.answer.column_names
        if name in columns
    ]
    if recipe.prompt.strip() and not columns_used(recipe.template):
        remarks.append(
            "Every row gets the same prompt, because it uses no column. Click a column to "
            "insert it."
        )
    if recipe.private and example_count(recipe):
        remarks.append(
            "The background has examples with rows of your file. Check that they hold nothing from "
            "a private column."
        )
    if recipe.effort in EFFORTS and recipe.effort not in efforts_of(recipe.model):
        remarks.append(
            f"“{EFFORTS[recipe.effort]}” is not available for this model, so thinking is automatic."
        )
    return remarks


def _in_single_braces(template: str, columns: Sequence[str]) -> list[str]:
    """Columns in single braces, where double braces are needed."""
    known = set(columns)
    found = (match[1].strip() for match in _SINGLE.finditer(template))
    return [name for name in dict.fromkeys(found) if name in known][:NAMED]


def template_parts(template: str, columns: Sequence[str]) -> list[str | int]:
    """The pieces of a template in their order: text, or the index of the column to insert.
    Placeholders without a column stay text, so that an unfinished prompt can be previewed."""
    places = {name: index for index, name in enumerate(columns)}
    parts: list[str | int] = []
    end = 0
    for match in _PLACEHOLDER.finditer(template):
        parts.append(template[end : match.start()])
        name = None if match[1] is None else match[1].strip()
        if name is None:
            parts.append("{{")
        else:
            parts.append(places.get(name, match[0]))
        end = match.end()
    parts.append(template[end:])
    return parts


def compile_template(template: str, columns: Sequence[str]) -> Callable[[Sequence[str]], str]:
    """A function from the cells of a row to the filled template."""
    parts = template_parts(template, columns)

    def fill(cells: Sequence[str]) -> str:
        return "".join(part if isinstance(part, str) else cells[part] for part in parts)

    return fill


def compile_recipe(
    recipe: Recipe, columns: Sequence[str]
) -> Callable[[Sequence[str]], dict[str, Any]]:
    """A function from the cells of a row to the `params` of its request. Compiled once per job."""
    columns = columns_to_send(recipe, columns)
    fill_prompt = compile_template(recipe.prompt, columns)
    fill_system = compile_template(recipe.system, columns)
    thinking, effort = thinking_params(recipe.model, recipe.effort)
    config = {"format": output_format(recipe.answer), "effort": effort}
    output_config = {name: value for name, value in config.items() if value}
    keep = has_shared_system(recipe) and recipe.cached

    def params(cells: Sequence[str]) -> dict[str, Any]:
        request: dict[str, Any] = {"model": recipe.model, "max_tokens": recipe.longest}
        if recipe.system.strip():
            system = fill_system(cells)
            request["system"] = [{**CACHED_BLOCK, "text": system}] if keep else system
        request["messages"] = [{"role": "user", "content": fill_prompt(cells)}]
        if thinking:
            request["thinking"] = thinking
        if output_config:
            request["output_config"] = output_config
        return request

    return params


def literal(text: str) -> str:
    """`text` as a template without placeholders: braces are escaped."""
    return text.replace("{{", "\\{{")


def with_example(system: str, cells: Sequence[tuple[str, str]], answer: str) -> str:
    """The background with an example of a good answer to `cells` (name, cell). Replaces an earlier
    example for the same cells."""
    given = cells[0][1] if len(cells) == 1 else "\n".join(f"{n}: {cell}" for n, cell in cells)
    begin = literal(f"<example>\n<row>\n{given}\n</row>\n<answer>\n")
    end = "\n</answer>\n</example>"
    example = f"{begin}{literal(answer)}{end}"
    at = system.find(begin)
    if at >= 0 and (until := system.find(end, at)) >= 0:
        return f"{system[:at]}{example}{system[until + len(end) :]}"
    before = system.rstrip()
    if "<example>" not in before:
        before = f"{before}\n\n{EXAMPLES}".lstrip()
    return f"{before}\n\n{example}\n"


def without_example(system: str, cells: Sequence[tuple[str, str]], answer: str) -> str:
    """The background without this example; the same text when it does not have it."""
    example = with_example("", cells, answer).partition("\n\n")[2].strip()
    if example not in system:
        return system
    rest = system.replace(f"{example}\n\n", "").replace(example, "").rstrip()
    return rest.removesuffix(EXAMPLES).rstrip()


def without_examples(recipe: Recipe) -> Recipe:
    """`recipe` without the rows and answers in its background."""
    begin, end = recipe.system.find("<example>\n<row>"), recipe.system.rfind("</example>")
    if begin < 0 or end < begin:
        return recipe
    rest = recipe.system[:begin] + recipe.system[end + len("</example>") :]
    return replace(recipe, system=rest.replace(EXAMPLES, "").strip())


def example_count(recipe: Recipe) -> int:
    """How many examples (rows with answers) the background has."""
    return recipe.system.count("<example>\n<row>")


def text_bytes(params: Mapping[str, Any]) -> int:
    """Bytes of text that the model reads in our requests: prompt, background and answer format."""
    texts = [prompt_text(params), content_text(params.get("system"))]
    return sum(len(text.encode()) for text in texts) + form_bytes(params.get("output_config"))


def form_bytes(output_config: Mapping[str, Any] | None) -> int:
    """Bytes of the answer format, which the model reads with each row."""
    form = (output_config or {}).get("format")
    return len(json.dumps(form).encode()) if form else 0


def prompt_text(params: Mapping[str, Any]) -> str:
    """The text of the last message of `params`, for a preview; blocks that are not text are named
    in square brackets."""
    messages = params.get("messages")
    if not isinstance(messages, list) or not messages or not isinstance(messages[-1], dict):
        return ""
    return content_text(messages[-1].get("content"))


def content_text(content: Any) -> str:
    """Text of a message's or the system prompt's content, which is a string or a list of blocks."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    blocks = [block for block in content if isinstance(block, dict)]
    return "\n".join(str(block.get("text") or f"[{block.get('type')}]") for block in blocks)
