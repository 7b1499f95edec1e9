"""Answers beside the right ones: equal to scikit-learn's numbers, normalised as is said, and as
sure as the published tables say."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.rules.accuracy import (
    Accuracy,
    ColumnAccuracy,
    ColumnCounter,
    Contestant,
    chance_of_difference,
    choose_cheapest,
    wilson_interval,
    without_cells,
)
from jobs.rules.answer_formats import AnswerColumn, AnswerKind
from jobs.rules.right_answers import (
    GoldChoice,
    fitting_choice,
    is_right,
    normalize,
    read_number,
)

pytestmark = pytest.mark.no_database

MOODS = AnswerColumn("", "choice", ("positive", "negative", "mixed"))
CHOICE = GoldChoice((("", "gold"),))


def counted(
    column: AnswerColumn, pairs: list[tuple[str, object]], choice: GoldChoice = CHOICE
) -> ColumnAccuracy:
    counter = ColumnCounter(column, "gold", choice)
    for gold, said in pairs:
        counter.add(gold, said)  # type: ignore[arg-type]  # of the kind of the column
    return counter.result()


# --- As scikit-learn says -------------------------------------------------------------------------

labels = st.sampled_from(["positive", "negative", "mixed", "unknown to us", "ÄRGER"])
pairs = st.lists(st.tuples(labels, st.sampled_from(MOODS.choices)), min_size=1, max_size=60)


@settings(max_examples=40)
@given(pairs)
def test_labels_are_counted_as_scikit_learn_does(found: list[tuple[str, str]]) -> None:
    # Only here: every process imports this file, and this takes two seconds.
    from sklearn import metrics

    right, said = zip(*found, strict=True)
    result = counted(MOODS, list(found))
    order = [one.label for one in result.labels]

    assert result.accuracy == pytest.approx(metrics.accuracy_score(right, said))
    expected = metrics.confusion_matrix(right, said, labels=order).tolist()
    assert [list(line) for line in result.confusion] == expected
    precision, recall, _f, rows = metrics.precision_recall_fscore_support(
        right, said, labels=order, zero_division=0
    )
    assert [one.precision or 0 for one in result.labels] == pytest.approx(list(precision))
    assert [one.recall or 0 for one in result.labels] == pytest.approx(list(recall))
    assert [one.rows for one in result.labels] == list(rows)
    if result.kappa is None:
        assert len({*right, *said}) == 1
    else:
        assert result.kappa == pytest.approx(metrics.cohen_kappa_score(right, said))


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(-(10**6), 10**6), st.floats(-1e6, 1e6)), min_size=1))
def test_numbers_are_as_far_off_as_scikit_learn_says(found: list[tuple[int, float]]) -> None:
    from sklearn import metrics

    right, said = zip(*found, strict=True)
    choice = GoldChoice((("", "gold"),), tolerance="10")
    result = counted(AnswerColumn("", "number"), [(str(a), b) for a, b in found], choice)

    expected = metrics.mean_absolute_error(right, said)
    assert float(result.mean_error) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    near = sum(abs(Decimal(str(b)) - a) <= 10 for a, b in found)
    assert (result.compared, result.correct) == (len(found), near)


def test_text_that_recurs_is_counted_as_labels() -> None:
    from sklearn import metrics

    dice = random.Random(1)
    words = ["Refund", "Delivery", "Other"]
    found = [(dice.choice(words), dice.choice([*words, "No idea"])) for _ in range(200)]
    right, said = zip(*found, strict=True)
    result = counted(AnswerColumn(""), [(a, f" {b.upper()} ") for a, b in found])

    assert result.accuracy == pytest.approx(metrics.accuracy_score(right, said))
    assert result.kappa == pytest.approx(metrics.cohen_kappa_score(right, said))
    assert result.exact == 0  # none is equal to the letter
    assert result.labels[-1].label == "(anything else)"
    assert result.labels[-1].answered == said.count("No idea")


def test_text_of_its_own_in_each_row_has_no_labels() -> None:
    result = counted(AnswerColumn(""), [(f"Text {n}", f"text  {n}") for n in range(1_000)])
    assert (result.compared, result.correct, result.exact) == (1_000, 1_000, 0)
    assert result.labels == () and result.confusion == () and result.kappa is None


# --- What is compared -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "gold", "said", "right"),
    [
        (MOODS, " Positive\u00a0", "positive", True),
        (MOODS, "", "positive", None),
        (MOODS, "  \n", "positive", None),
        (MOODS, "mixed", "positive", False),
        (AnswerColumn("", "yes_no"), "TRUE", True, True),
        (AnswerColumn("", "yes_no"), "no", True, False),
        (AnswerColumn("", "yes_no"), "0", False, True),
        (AnswerColumn("", "number"), "3.0", 3, True),
        (AnswerColumn("", "number"), "3,5", 3.5, True),
        (AnswerColumn("", "number"), "1,234", 1234, None),  # or 1.234: not clear
        (AnswerColumn("", "number"), "1,234,567.5", 1234567.5, True),
        (AnswerColumn("", "number"), "many", 3, None),
        (AnswerColumn("", "number"), "3", None, False),
        (AnswerColumn("", "number"), "1", True, False),  # yes is no number
        (AnswerColumn("", "list"), "b; A", ["a", "B"], True),
        (AnswerColumn("", "list"), "a, b", ["a"], False),
        (AnswerColumn(""), "Straße", "STRASSE", True),
        (AnswerColumn(""), "résumé", "resume", False),
        (AnswerColumn(""), "=1+1", "=1+1", True),
    ],
)
def test_what_counts_as_right(
    column: AnswerColumn, gold: str, said: object, right: bool | None
) -> None:
    assert is_right(column, gold, said, CHOICE) is right  # type: ignore[arg-type]  # as above


def test_accents_and_a_tolerance_are_a_choice() -> None:
    lenient = GoldChoice((("", "gold"),), ignores_accents=True, tolerance="0.5")
    assert is_right(AnswerColumn(""), "Résumé", "resume", lenient)
    assert is_right(AnswerColumn("", "number"), "3", 3.5, lenient)
    assert not is_right(AnswerColumn("", "number"), "3", 3.6, lenient)


@given(st.text(), st.booleans())
def test_normalising_twice_changes_nothing_more(text: str, ignores_accents: bool) -> None:
    once = normalize(text, ignores_accents=ignores_accents)
    assert normalize(once, ignores_accents=ignores_accents) == once
    assert once == once.strip() and "  " not in once


@given(st.text(), st.sampled_from([" ", "\t", "\n", "\u00a0", "\u200b"]))
def test_blanks_and_capitals_do_not_matter(text: str, blank: str) -> None:
    assert normalize(f"{blank}{text}{blank}") == normalize(text)
    assert normalize(text.upper()) == normalize(text.upper().lower().upper())


@given(st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-999, max_value=999))
def test_a_number_is_read_as_it_is_written(number: Decimal) -> None:
    assert read_number(f" {number} ") == number
    assert read_number(f"{number}".replace("-", "\u2212")) == number


@given(st.text(max_size=60))
def test_any_cell_is_a_number_or_none(text: str) -> None:
    found = read_number(text)
    assert found is None or found.is_finite()


def test_a_choice_fits_another_file() -> None:
    kind = AnswerKind("columns", columns=(AnswerColumn("mood"), AnswerColumn("price", "number")))
    choice = GoldChoice((("mood", "Right mood"), ("price", "gone"), ("other", "a")))
    fits = fitting_choice(choice, kind, ["a", "right_mood"])
    assert fits.columns == (("mood", "right_mood"),)
    # Of two that may be meant, none is guessed.
    assert not fitting_choice(choice, kind, ["right_mood", "RIGHT MOOD"]).columns


# --- How sure it is -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("good", "read", "least", "most"),
    [
        # scipy.stats.binomtest(k, n).proportion_ci(method="wilson_interval") and published tables.
        (38, 40, 0.8350, 0.9862),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_wilsons(good: int, read: int, least: float, most: float) -> None:
    assert wilson_interval(good, read) == pytest.approx((least, most), abs=6e-5)


@given(st.integers(1, 10_000), st.data())
def test_the_interval_holds_the_share(read: int, data: st.DataObject) -> None:
    good = data.draw(st.integers(0, read))
    least, most = wilson_interval(good, read)
    assert 0 <= least <= good / read <= most <= 1
    low, high = wilson_interval(read - good, read)
    assert (1 - high, 1 - low) == pytest.approx((least, most))


@pytest.mark.parametrize(
    ("first", "second", "chance"),
    # scipy.stats.binomtest(min, first + second).pvalue
    [(0, 0, 1.0), (1, 0, 1.0), (5, 0, 0.0625), (6, 0, 0.03125), (12, 3, 0.03515625), (9, 9, 1.0)],
)
def test_a_difference_is_tested_exactly(first: int, second: int, chance: float) -> None:
    assert chance_of_difference(first, second) == pytest.approx(chance)
    assert chance_of_difference(second, first) == pytest.approx(chance)


def test_the_cheapest_that_is_as_good_is_found() -> None:
    best = Contestant(frozenset(range(90)), Decimal(10))
    near = Contestant(frozenset(range(3, 90)), Decimal(3))  # 3 rows fewer: chance
    bad = Contestant(frozenset(range(60)), Decimal(1))
    assert choose_cheapest([best, near, bad]) == (0, 1, {0, 1})
    assert choose_cheapest([bad, best]) == (1, 1, {1})
    assert choose_cheapest([]) is None


def test_without_cells_only_numbers_stay() -> None:
    found = counted(MOODS, [("secret", "mixed"), ("mixed", "mixed")])
    shown = without_cells(Accuracy((found,), 2, 0, 1))
    assert "secret" not in repr(shown)
    assert shown.columns[0].accuracy == 0.5 and shown.columns[0].unknown == 1
