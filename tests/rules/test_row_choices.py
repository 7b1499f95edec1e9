"""Filters and samples: which rows of a table are sent."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.rules import pilots
from jobs.rules.row_choices import (
    CONTAINS,
    EMPTY,
    IS,
    IS_NOT,
    MOST_VALUES,
    NOT_EMPTY,
    Condition,
    Lots,
    NotUnderstood,
    RowChoice,
    RowFilter,
    TooManyValues,
    choice_in_words,
    choice_problems,
    draw_numbers,
    read_condition,
    shares_of,
)

COLUMNS = ["status", "summary", "a=b", "x ~ y", "hot!"]


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("status=open", Condition("status", IS, "open")),
        (" status = open late ", Condition("status", IS, "open late")),
        ("status!=open", Condition("status", IS_NOT, "open")),
        ("status~pen", Condition("status", CONTAINS, "pen")),
        ("summary=", Condition("summary", EMPTY)),
        ("summary!=", Condition("summary", NOT_EMPTY)),
        ("status=a=b", Condition("status", IS, "a=b")),
        ("a=b=c", Condition("a=b", IS, "c")),
        ("hot!=yes", Condition("hot!", IS, "yes")),
        ("x ~ y~z", Condition("x ~ y", CONTAINS, "z")),
    ],
)
def test_conditions_are_read_as_people_write_them(text: str, condition: Condition) -> None:
    assert read_condition(text, COLUMNS) == condition


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("state=open", "no column “state”"),
        ("open", "Write COLUMN=VALUE"),
        ("", "Write COLUMN=VALUE"),
        ("status~", "does not say what"),
        ("=open", "no column “”"),
    ],
)
def test_what_is_no_condition_is_refused_in_words(text: str, says: str) -> None:
    with pytest.raises(NotUnderstood, match=says):
        read_condition(text, COLUMNS)


@pytest.mark.parametrize("text", ["a=b=c", "a!=x"])
def test_a_condition_that_can_be_about_two_columns_is_refused(text: str) -> None:
    with pytest.raises(NotUnderstood, match="can be about the column “a” or “a"):
        read_condition(text, ["a", "a=b", "a!"])


@pytest.mark.parametrize(
    ("operator", "value", "cells"),
    [
        (IS, "Open", ["open", " OPEN "]),
        (IS_NOT, "open", ["", "reopened", "closed"]),
        (CONTAINS, "OPEN", ["open", " OPEN ", "reopened"]),
        (EMPTY, "", [""]),
        (NOT_EMPTY, "", ["open", " OPEN ", "reopened", "closed"]),
    ],
)
def test_a_filter_lets_through_what_it_says(operator: str, value: str, cells: list[str]) -> None:
    wanted = RowFilter(RowChoice((Condition("status", operator, value),)), ["id", "status"])
    all_cells = ["open", " OPEN ", "", "reopened", "closed"]
    assert [cell for cell in all_cells if wanted.fits(["1", cell])] == cells


def test_all_conditions_must_hold() -> None:
    choice = RowChoice((Condition("a", IS, "x"), Condition("b", EMPTY)))
    wanted = RowFilter(choice, ["a", "b"])
    assert [wanted.fits(cells) for cells in (["x", ""], ["x", "1"], ["y", ""])] == [1, 0, 0]


def test_a_column_that_is_gone_is_named() -> None:
    choice = RowChoice((Condition("state", IS, "open"),), sample=5, by="shop")
    first, second = choice_problems(choice, ["status", "name"])
    assert "no column “state”" in first and "status, name" in first
    assert "no column “shop”" in second
    assert not choice_problems(choice, ["state", "shop"])
    # Without a sample, nothing has a share in it.
    assert not choice_problems(RowChoice(by="shop"), ["status"])


def test_a_choice_is_said_in_words() -> None:
    choice = RowChoice((Condition("status", IS, "open"), Condition("summary", EMPTY)), 500, "shop")
    assert choice_in_words(choice) == (
        "Only rows where status is “open” and summary is empty. "
        "A random sample of 500 rows of them, with a share of each “shop”."
    )


SIZES = st.dictionaries(st.text(max_size=3), st.integers(1, 300), min_size=1, max_size=12)


@given(SIZES, st.integers(0, 2_000))
def test_shares_add_up_and_are_in_proportion(sizes: dict[str, int], count: int) -> None:
    shares = shares_of(sizes, count)
    total = sum(sizes.values())
    assert sum(shares.values()) == min(count, total)
    assert all(0 <= shares[value] <= size for value, size in sizes.items())
    if count >= len(sizes):
        assert all(shares.values())
    if count <= total and all(size * count >= total for size in sizes.values()):
        # Nobody had to be given a first row: each is within one row of its exact share.
        assert all(abs(shares[v] - count * size / total) < 1 for v, size in sizes.items())


@given(st.lists(st.sampled_from("abc"), max_size=200), st.integers(1, 250), st.integers(0, 99))
def test_a_sample_has_as_many_rows_as_asked_for(values: list[str], count: int, seed: int) -> None:
    rows = list(enumerate(values, 1))
    drawn = draw_numbers(rows, count, seed)
    assert drawn == sorted(set(drawn))
    assert len(drawn) == min(count, len(rows))
    sizes = Counter(values)
    found = Counter(values[number - 1] for number in drawn)
    assert {v: found[v] for v in sizes} == shares_of(sizes, count)
    # The same again, in whatever order the rows are read.
    assert sorted(draw_numbers(rows[::-1], count, seed)) == drawn


def test_another_seed_draws_other_rows_and_every_row_has_its_chance() -> None:
    rows = [(number, "") for number in range(1, 101)]
    drawn = [draw_numbers(rows, 10, seed) for seed in range(200)]
    assert drawn[0] != drawn[1]
    times = Counter(number for one in drawn for number in one)
    assert len(times) == 100 and min(times.values()) >= 5 and max(times.values()) <= 45


def test_a_column_with_too_many_values_has_no_shares() -> None:
    lots = Lots(0)
    for number in range(1, MOST_VALUES + 1):
        lots.add(number, str(number))
    with pytest.raises(TooManyValues):
        lots.add(MOST_VALUES + 1, "one more")


@pytest.mark.parametrize(
    ("rows", "offered"), [(1, 1), (2, 1), (8, 7), (43, 10), (400, 40), (9_000, 100)]
)
def test_a_pilot_is_offered_with_fewer_rows_than_the_job_has(rows: int, offered: int) -> None:
    assert pilots.usual_rows(rows) == offered
