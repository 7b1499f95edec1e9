"""How long the answers of a job will be, from a few that were seen and from earlier jobs."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from math import exp, lgamma, log, sqrt
from statistics import fmean, median

import pytest

from jobs.drafts import answer_lengths
from jobs.models import Length
from jobs.rules.answer_formats import AnswerKind
from jobs.rules.price_estimates import EarlierJob, LengthStats
from jobs.rules.recipes import Recipe

pytestmark = pytest.mark.no_database

RECIPE = Recipe("Say: {{text}}", "", "claude-haiku-4-5", 1_000)
ROWS = 1_000


def earlier(mean: float = 100, deviation: float = 30, cut_off: int = 0) -> EarlierJob:
    text = LengthStats(1_000, mean, deviation)
    return EarlierJob(
        RECIPE.model, "", "text", (), text, LengthStats(1_000, 0, 0), 1_000, cut_off, None
    )


def seen(*tokens: int) -> list[Length]:
    return [Length(one, 0) for one in tokens]


def learn(
    tokens: Sequence[int], known: Sequence[EarlierJob] = (), recipe: Recipe = RECIPE
) -> tuple[float, float]:
    found = answer_lengths.learn_lengths(seen(*tokens), ROWS, recipe, known)
    assert found is not None
    return found


def width(found: tuple[float, float]) -> float:
    return found[1] - found[0]


def test_two_rows_teach_nothing() -> None:
    assert answer_lengths.learn_lengths(seen(100, 100), ROWS, RECIPE, [earlier()] * 9) is None


@pytest.mark.parametrize(("tried", "known"), [(3, 6), (10, 0)])
def test_the_range_holds_the_average_as_often_as_it_says(tried: int, known: int) -> None:
    held, widths = 0, []
    for case in range(300):
        chance = random.Random(case)
        # Jobs of one form whose averages differ, and whose answers do.
        means = [chance.gauss(100, 20) for _ in range(known + 1)]
        answers = [max(round(chance.gauss(means[0], 0.3 * means[0])), 1) for _ in range(ROWS)]
        least, most = learn(answers[:tried], [earlier(mean, 0.3 * mean) for mean in means[1:]])
        held += least <= fmean(answers) <= most
        widths.append((most - least) / 100)
    assert held >= 277, "95 in 100, but for what chance takes of 300"
    assert median(widths) < 6 * 0.3 / sqrt(tried) + 0.2, "and not because it is as wide as it likes"


def test_what_is_known_makes_the_range_narrower() -> None:
    few, more = learn([80, 100, 120]), learn([80, 90, 100, 100, 110, 120, 95, 105])
    assert width(more) < width(few)
    assert width(learn([80, 100, 120], [earlier()] * 6)) < width(few)


def test_one_that_is_unlike_all_others_is_not_held_against_them() -> None:
    alike = [earlier(100 + change, 15) for change in (-4, -2, 0, 2, 4)]
    asked = replace(RECIPE, max_tokens=5_000)
    assert fmean(learn([98, 103, 108, 113, 118], alike, asked)) < 107
    assert fmean(learn([900, 910, 905, 895, 890], alike, asked)) >= 900


def test_jobs_of_another_form_do_not_say_how_long_answers_are() -> None:
    labels = [replace(earlier(20, 1), form="labels", model="claude-opus-4-6")] * 9
    assert learn([80, 100, 120], labels) == learn([80, 100, 120])
    asked = replace(RECIPE, answer=AnswerKind("labels", ("yes", "no")))
    other = [replace(one, asked=("up", "down")) for one in labels]
    same = [replace(one, asked=("yes", "no")) for one in labels]
    assert width(learn([10, 20, 30], same, asked)) < width(learn([10, 20, 30], other, asked))


def test_answers_that_are_cut_off_now_and_then_make_the_upper_end_higher() -> None:
    calm = [earlier() for _ in range(4)]
    cut = [earlier(cut_off=20) for _ in range(4)]
    asked = replace(RECIPE, max_tokens=10_000)
    plain, longer = learn([90, 100, 110], calm, asked), learn([90, 100, 110], cut, asked)
    # About two in a hundred are 10,000 tokens long.
    assert longer[1] - plain[1] > 0.01 * 10_000
    assert longer[0] > plain[0]


def test_no_range_goes_beyond_the_longest_answer_or_below_a_token() -> None:
    least, most = learn([1, 1, 1])
    assert 1 <= least <= most
    least, most = learn([1_000, 1_000, 1_000])
    assert most == 1_000


def at_most(number: int, mean: float) -> float:
    """The share of what is Poisson distributed around `mean` that is no larger than `number`."""
    return sum(exp(k * log(mean) - mean - lgamma(k + 1)) for k in range(number + 1))


@pytest.mark.parametrize("share", [0.1, 0.9])
@pytest.mark.parametrize("mean", [0.05, 0.3, 4, 60, 99.9])
def test_what_a_share_of_rare_events_does_not_exceed(mean: float, share: float) -> None:
    number = answer_lengths._poisson(mean, share)
    assert at_most(number, mean) >= share > at_most(number - 1, mean)


@pytest.mark.parametrize("share", [0.1, 0.9])
@pytest.mark.parametrize("mean", [101, 5_000])
def test_many_rare_events_are_as_if_normal(mean: float, share: float) -> None:
    assert abs(at_most(answer_lengths._poisson(mean, share), mean) - share) < 0.03
