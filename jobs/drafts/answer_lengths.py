"""How long answers usually are, learned from tested rows and from earlier jobs.

A few tested rows say little: by Student's t, three answers leave a range wider than twice their
average. Earlier jobs make it narrower: they show how much the answers of one job usually vary, and
the average length of answers in the same format.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import exp, hypot, sqrt
from statistics import NormalDist, fmean, variance

from django.conf import settings

from ..models import Job, Length, recipe_of
from ..rules.answer_formats import COLUMNS, LABELS, TEXT
from ..rules.model_capabilities import effort_of
from ..rules.price_estimates import EarlierJob, LengthStats
from ..rules.recipes import Recipe, normalize_recipe
from ..rules.tallies import AnswerLengths

LEAST_TESTED = 3  # rows to learn from
REMEMBERED = 60  # newest jobs to learn from
LEAST_JOBS = 3  # jobs needed to know how much jobs differ
LEAST_ANSWERS = 30  # answers needed for a meaningful average
# Standard deviation of answer lengths within a job, as a share of their average, until earlier
# jobs show it.
USUAL_SPREAD = {TEXT: 0.35, LABELS: 0.15, COLUMNS: 0.25}
USUAL_THINKING_SPREAD = 0.5
JOB_FREEDOM, MOST_FREEDOM = 3, 12  # degrees of freedom that one job, and all of them, count for
# A few rows do not show everything, however alike they are.
LEAST_MARGIN = 0.05
USUALLY_CUT_OFF = (0.5, 200)  # of so many answers, where no earlier job has shown more
RARE = 0.1  # once in ten times fewer are cut off than is said, and once in ten times more
# Student's t for 95 in 100, two-sided, by the degrees of freedom.
_STUDENT = (0, 12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14)


def earlier_jobs(job: Job) -> tuple[EarlierJob, ...]:
    """What the newest finished jobs in this mode tell about answer lengths: one job per prompt, its
    newest."""
    finished = Job.objects.filter(
        state=Job.State.FINISHED, kind=Job.Kind.TABLE, practice=settings.PRACTICE
    )
    # The prompt of an imported batch is unknown.
    newest = finished.exclude(pk=job.pk).exclude(is_external=True).order_by("-pk")[:REMEMBERED]
    learned_from = [
        one for one in newest if one.tally.lengths is not None and one.tally.lengths.answers
    ]
    # A prompt that ran often counts once.
    by_question = {normalize_recipe(recipe_of(one)): one for one in reversed(learned_from)}
    return tuple(map(_earlier, by_question.values()))


def _earlier(job: Job) -> EarlierJob:
    recipe, tally = recipe_of(job), job.tally
    lengths = tally.lengths or AnswerLengths()
    kept = tally.cache_read_tokens + tally.cache_write_tokens
    cut_off = sum(rows for _outcome, cause, rows in tally.causes if cause == "cut_off")
    return EarlierJob(
        recipe.model,
        effort_of(recipe.model, recipe.effort),
        recipe.answer.kind,
        _answer_names(recipe),
        LengthStats.of(lengths.answers, *lengths.text),
        LengthStats.of(lengths.answers, *lengths.thinking),
        tally.answered,
        cut_off,
        tally.cache_read_tokens / kept if kept else None,
    )


def _answer_names(recipe: Recipe) -> tuple[str, ...]:
    answer = recipe.answer
    return answer.labels if answer.kind == LABELS else tuple(answer.column_names)


def learn_lengths(
    seen: Sequence[Length], rows: int, recipe: Recipe, earlier: Iterable[EarlierJob]
) -> tuple[float, float] | None:
    """The 95% range of the average tokens of an answer over `rows` rows, from the tested ones in
    `seen`. None if there are too few."""
    if len(seen) < LEAST_TESTED:
        return None
    known, rows = list(earlier), max(rows, 1)
    kind, model = recipe.answer.kind, recipe.model
    same_form = [one for one in known if one.form == kind]
    same = [one.text for one in same_form if one.asked == _answer_names(recipe)]
    texts = _predicted(
        [one.text for one in seen],
        rows,
        USUAL_SPREAD[kind],
        [one.text for one in same_form],
        same,
    )
    effort = effort_of(model, recipe.effort)
    thought = [one.thinking for one in known if (one.model, one.effort) == (model, effort)]
    thinking = _predicted(
        [one.thinking for one in seen], rows, USUAL_THINKING_SPREAD, thought, thought
    )
    mean = texts[0] + thinking[0]
    few, many = (
        share * max(recipe.longest - mean, 0)
        for share in _cut_off([one for one in known if one.model == model], rows)
    )
    # The lengths of text and thinking hardly depend on each other.
    margin = hypot(texts[1], thinking[1])
    return max(mean + few - margin, 1), min(mean + many + margin, recipe.longest)


def _cut_off(earlier: Iterable[EarlierJob], rows: int) -> tuple[float, float]:
    """The share of answers that reach the limit, from .. to. They are much longer than the others
    and too rare to show up in a few tested rows."""
    counts = [USUALLY_CUT_OFF, *((one.cut_off, one.answers) for one in earlier)]
    cut_off, answers = map(sum, zip(*counts, strict=True))
    # Cut-off rows by the smallest and the largest share that fit what was seen.
    few, many = (max(cut_off + sign * sqrt(cut_off), 0) * rows / answers for sign in (-1, 1))
    return _poisson(few, RARE) / rows, min(_poisson(many, 1 - RARE) / rows, 1)


def _poisson(mean: float, share: float) -> int:
    """The quantile `share` of a Poisson distribution; above a mean of 100, of a normal one."""
    if mean > 100:
        return round(NormalDist(mean, sqrt(mean)).inv_cdf(share))
    number, chance = 0, exp(-mean)
    below = chance
    while below < share:
        number += 1
        chance *= mean / number
        below += chance
    return number


def cache_hit_rates(earlier: Iterable[EarlierJob]) -> tuple[float, float] | None:
    """The share of rows that hit the cache, from .. to; None if too few earlier jobs used it."""
    shares = [one.found for one in earlier if one.found is not None]
    if len(shares) < LEAST_JOBS:
        return None
    margin = _student(len(shares) - 1) * sqrt(variance(shares) * (1 + 1 / len(shares)))
    mean, margin = fmean(shares), max(margin, LEAST_MARGIN)
    return max(mean - margin, 0), min(mean + margin, 1)


def _predicted(
    seen: Sequence[int],
    rows: int,
    usual_spread: float,
    apart: Sequence[LengthStats],
    alike: Sequence[LengthStats],
) -> tuple[float, float]:
    """The average of `rows` further answers, and the margin.

    `apart`: jobs whose answers vary as much as these, relative to their average. `alike`: jobs with
    a similar average. Both are combined with what was seen as for normal distributions: variances
    are pooled by degrees of freedom, averages weighted by precision.
    """
    count, mean = len(seen), fmean(seen)
    shares = [(one.deviation / one.mean) ** 2 for one in apart if one.mean]
    if len(shares) < LEAST_JOBS:
        shares.append(usual_spread**2)
    freedom = min(JOB_FREEDOM * len(shares), MOST_FREEDOM)
    means = [one.mean for one in alike if one.answers >= LEAST_ANSWERS]
    usual = fmean(means) if len(means) >= LEAST_JOBS else 0
    # A small average by chance would make the range too narrow.
    squares = freedom * fmean(shares) * max(mean, usual) ** 2 + (count - 1) * variance(seen)
    degrees = freedom + count - 1
    # From here on: half-widths of ranges, squared.
    spread = squares / degrees * _student(degrees) ** 2
    off = spread / count
    if usual:
        between = variance(means) * (1 + 1 / len(means)) * _student(len(means) - 1) ** 2
        # Ignore the other jobs if this one is unlike all of them.
        if 0 < between + off >= (mean - usual) ** 2:
            mean = (mean * between + usual * off) / (between + off)
            off = between * off / (between + off)
    return mean, max(sqrt(off + spread / rows), LEAST_MARGIN * mean)


def _student(degrees: int) -> float:
    return _STUDENT[min(degrees, len(_STUDENT) - 1)]
