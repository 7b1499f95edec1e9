"""A prompt is filled in one pass, and nothing in it or in a cell is evaluated."""

from __future__ import annotations

import pytest

from jobs.rules.answer_formats import COLUMNS as COLUMN_KIND
from jobs.rules.answer_formats import AnswerColumn, AnswerKind
from jobs.rules.recipes import (
    Recipe,
    columns_used,
    compile_recipe,
    compile_template,
    recipe_problems,
    recipe_remarks,
    static_text,
    template_problems,
)

pytestmark = pytest.mark.no_database

COLUMNS = ["name", "Review text", "é"]


def fill(template: str, cells: list[str]) -> str:
    return compile_template(template, COLUMNS)(cells)


def test_placeholders_are_filled_by_column_name() -> None:
    filled = fill("{{name}}: {{ Review text }} {{é}}{{name}}", ["Ann", "Good", "ü"])
    assert filled == "Ann: Good üAnn"


def test_a_cell_that_looks_like_a_placeholder_stays_as_it_is() -> None:
    assert fill("{{name}} {{é}}", ["{{é}}", "", "secret"]) == "{{é}} secret"


@pytest.mark.parametrize(
    "text",
    ["{{name.__class__}}", "{{ 1+1 }}", "{% if x %}", "${name}", "%s", "{0}", '{"a": {"b": 1}}'],
)
def test_nothing_is_evaluated(text: str) -> None:
    assert fill(text, ["Ann", "", ""]) == text


def test_literal_braces_can_be_written() -> None:
    assert fill(r"\{{name}} is {{name}}", ["Ann", "", ""]) == "{{name}} is Ann"
    assert not template_problems(r"\{{nobody}}", COLUMNS)


def test_a_misspelt_column_is_named_with_its_nearest_match() -> None:
    assert template_problems("{{nmae}}", COLUMNS) == [
        "Your file has no column “nmae”. Did you mean {{name}}?"
    ]
    assert template_problems("{{Name}}", COLUMNS)[0].endswith("Did you mean {{name}}?")
    assert template_problems("{{zzz}}", COLUMNS) == ["Your file has no column “zzz”."]


def test_an_unclosed_placeholder_is_named_with_its_place() -> None:
    (problem,) = template_problems("First\n  {{name", COLUMNS)
    assert "line 2, character 3" in problem


def test_one_that_is_not_opened_is_named_with_its_place() -> None:
    (problem,) = template_problems("First\nfor name}} and so on", COLUMNS)
    assert "}} at line 2, character 9 has no {{" in problem


def test_three_braces_are_named_with_their_place() -> None:
    (problem,) = template_problems("Say {{{name}}}", COLUMNS)
    assert "line 1, character 5" in problem


@pytest.mark.parametrize(
    "text",
    [
        'Answer as {"a": {"b": "{{name}}"}}',
        'Answer as {"a": {"b": name}}',
        '{"a": {"b": 1}}',
        '{"a":{{name}}}',
        r"\{{{{name}}",
        r"\{{name}} is {{name}}",
        r"Write \{{name}} and {\{{name}}}",
        "so }} or so",
        "surname}}",
    ],
)
def test_json_and_single_braces_in_a_prompt_are_no_problem(text: str) -> None:
    assert template_problems(text, COLUMNS) == []


def test_a_column_in_single_braces_is_questioned() -> None:
    template = 'Sum up {Review text} of {{name}} as {"name": {"a": 1}} in {{{{x}}}} {none}'
    [remark] = recipe_remarks(Recipe(template, "", "m", 1), COLUMNS)
    assert remark.startswith("{Review text} is sent as plain text. To insert the cell, write {{Rev")


def test_a_column_of_the_answer_that_the_file_has_is_named() -> None:
    kind = AnswerKind(COLUMN_KIND, columns=(AnswerColumn("name"), AnswerColumn("mood")))
    [remark] = recipe_remarks(Recipe("{{name}}", "", "m", 1, kind), COLUMNS)
    assert "already has a column “name”, so the answer’s is called “name_2”" in remark


def test_many_unknown_columns_are_counted() -> None:
    problems = template_problems("".join(f"{{{{x{n}}}}}" for n in range(9)), COLUMNS)
    assert len(problems) == 6 and problems[-1] == "Your file also lacks 4 other columns."


def test_braces_of_the_prompt_and_of_the_instructions_do_not_meet() -> None:
    recipe = Recipe("Say {{name}} {", "{x}}", "m", 1)
    assert columns_used(recipe.template) == ["name"]


def test_a_prompt_without_a_column_is_questioned() -> None:
    assert "the same prompt" in recipe_remarks(Recipe("Say hello", "", "m", 1), COLUMNS)[0]
    assert not recipe_remarks(Recipe("Say {{name}}", "", "m", 1), COLUMNS)
    assert not recipe_remarks(Recipe("Say hello", "You are {{name}}", "m", 1), COLUMNS)
    assert not recipe_remarks(Recipe(" ", "", "m", 1), COLUMNS)


@pytest.mark.parametrize("text", ["{{" * 200_000, "}}" * 200_000, "{{{" * 100_000, "{{a" * 200_000])
def test_many_braces_end(text: str) -> None:
    """In linear time: with squares of this, the suite would not."""
    assert len(template_problems(text, COLUMNS)) < 20
    fill(text, ["", "", ""])


def test_an_empty_prompt_cannot_be_sent() -> None:
    assert recipe_problems(Recipe(" \n", "", "m", 10), COLUMNS)
    assert not recipe_problems(Recipe("Say {{name}}", "", "m", 10), COLUMNS)
    assert recipe_problems(Recipe("Say {{name}}", "{{x", "m", 10), COLUMNS)


def test_params_hold_what_the_recipe_says_and_nothing_else() -> None:
    recipe = Recipe("Say {{name}}", " ", "claude-haiku-5-5", 50)
    assert compile_recipe(recipe, COLUMNS)(["Ann", "", ""]) == {
        "model": "claude-haiku-5-5",
        "max_tokens": 50,
        "messages": [{"role": "user", "content": "Say Ann"}],
    }
    with_system = Recipe("Hi", "You are {{name}}", "m", 1)
    assert compile_recipe(with_system, COLUMNS)(["Ann", "", ""])["system"] == "You are Ann"


def test_static_text_and_columns_used_add_up_to_the_filled_length() -> None:
    template = r"A {{name}} B \{{ {{é}} {{name}}"
    filled = fill(template, ["12345", "", "x"])
    cells = {"name": 5, "é": 1}
    assert len(static_text(template)) + sum(cells[n] for n in columns_used(template)) == len(filled)


def test_a_million_braces_take_no_time_to_speak_of() -> None:
    fill("{{" * 1_000_000, ["", "", ""])
    columns_used("{{a" * 300_000)
