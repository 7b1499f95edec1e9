"""The rows of a job by model, with the bytes and tokens that their price depends on."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import ceil

from django.conf import settings
from django.db.models import Q

from ..ingest.input_sizes import AROUND, AROUND_FORM
from ..models import Job, Length, recipe_of, trial_key
from ..rules import pricing, recipes
from ..rules.answer_formats import output_format
from ..rules.model_capabilities import model_rules
from ..rules.price_estimates import Basis, Survey
from ..rules.recipes import Recipe, normalize_recipe
from ..rules.row_contents import LONG, recipe_key
from . import answer_lengths
from .token_counts import LEAST_TOKEN_BYTES

# Guess: how much of its max_tokens the answer of a ready-made request uses, from .. to.
USUAL_OUTPUT = (0.05, 0.75)
# Tokens that a cell can add to the text around it where it is inserted.
AROUND_CELL = 2
MOST_EARLIER = 5  # jobs to learn from


def find_same_jobs(job: Job) -> list[Job]:
    """Finished jobs with the same prompt: the previous job, and the newest of the same template."""
    like = Q(pk=job.previous_id) | Q(template=job.template_id, template__isnull=False)
    if not (job.previous_id or job.template_id):
        return []
    question = normalize_recipe(recipe_of(job))
    finished = Job.objects.filter(like, state=Job.State.FINISHED, practice=settings.PRACTICE)
    newest = finished.exclude(pk=job.pk).order_by("-pk")[:MOST_EARLIER]
    return [
        one for one in newest if one.tally.answered and normalize_recipe(recipe_of(one)) == question
    ]


@dataclass(frozen=True)
class Share:
    """The rows of a job that go to one model."""

    model: str
    rows: int
    bytes: int  # of all rows: filled prompts, or the JSON of ready-made requests
    output_low: int  # tokens of all answers: the usual range
    output_high: int
    longest: int  # tokens of all answers if each is as long as allowed
    tested: int = 0  # rows that the length of answers was learned from
    earlier: int = 0
    cached: int = 0  # tokens of each row that are sent with prompt caching
    is_cached: bool = False  # enough tokens for the model to cache, as far as is known
    scale: float = 1  # tokens of this model per token of the counted model
    may_cache_all: bool = False  # any of the input may be cached
    in_the_us: bool = False  # some ask for processing in the US, which costs more
    searches: int = 0  # web searches allowed, over all rows
    turns: int = 0  # turns in which the model may read tool results, over all rows
    long: int = 0  # rows long enough to cost more per token, ..
    long_bytes: int = 0
    long_longest: int = 0  # .. as `bytes` and `longest`
    longest_most: int = 0  # of ready-made requests: the largest max_tokens
    # Upper bounds in tokens, without tool results: of all inputs, of the longest input, and of the
    # `long` rows.
    most: int = 0
    most_row: int = 0
    long_most: int = 0
    surplus: int = 0  # tokens that a ready-made request may have beyond its bytes
    linked: int = 0  # rows with files that the provider fetches


def build_shares(job: Job, basis: Basis) -> list[Share]:
    if job.kind == Job.Kind.TABLE:
        return [build_table_share(job, recipe_of(job), basis, job.trials.lengths())]
    return build_request_shares(sent_requests(job, basis.survey))


def sent_requests(job: Job, survey: Survey) -> dict[str, dict[str, int]]:
    """What is in the ready-made requests that are sent, as FileFacts.models."""
    return survey.sent if job.recipe.only_new and survey.reused else job.reading.models


def lacks_bounds(models: dict[str, dict[str, int]]) -> bool:
    """Whether a version that did not look into attached files read these requests."""
    return any("most" not in facts for facts in models.values())


def build_request_shares(models: dict[str, dict[str, int]]) -> list[Share]:
    return [
        Share(
            model,
            facts["rows"],
            facts["bytes"],
            round(facts["max_tokens_sum"] * USUAL_OUTPUT[0]),
            round(facts["max_tokens_sum"] * USUAL_OUTPUT[1]),
            facts["max_tokens_sum"],
            may_cache_all=bool(facts["cached"]),
            in_the_us=bool(facts["in_the_us"]),
            searches=facts.get("searches", 0),  # missing if an older version read the file
            turns=facts.get("turns", 0),
            long=facts.get("long", facts["rows"]),
            long_bytes=facts.get("long_bytes", facts["bytes"]),
            longest_most=facts["max_tokens_most"],
            long_longest=facts.get("long_max_tokens_sum", facts["max_tokens_sum"]),
            # Without bounds, each may fill the context window.
            most=facts.get("most", facts["rows"] * _context_window(model)),
            most_row=facts.get("most_row", _context_window(model)),
            long_most=facts.get("long_most", facts["rows"] * _context_window(model)),
            surplus=facts.get("surplus", _context_window(model)),
            linked=facts.get("linked", 0),
        )
        for model, facts in models.items()
    ]


def _context_window(model: str) -> int:
    """In tokens; 0 without a price, which blocks the job anyway."""
    with suppress(pricing.UnknownPrice):
        return pricing.priced_model(model).context
    return 0


def count_sent(job: Job, recipe: Recipe, survey: Survey) -> int:
    """How many rows will be sent with `recipe`."""
    repeated = (survey.alike if recipe.skip_duplicates else 0) + count_reused(job, recipe, survey)
    return job.sendable_count - survey.unselected - survey.left_out - repeated


def count_reused(job: Job, recipe: Recipe, survey: Survey) -> int:
    """How many rows are not sent with `recipe` because an earlier job has answered them."""
    return _reused(job, recipe, survey)[0]


def _reused(job: Job, recipe: Recipe, survey: Survey) -> tuple[int, int]:
    """Rows that earlier jobs have answered, and their bytes."""
    own = recipe_of(job)
    if not recipe.only_new or normalize_recipe(recipe) != normalize_recipe(own):
        return 0, 0
    if recipe_key(recipe) != recipe_key(own):  # only the previous job is asked then
        return survey.known, survey.known_bytes
    return survey.answered, survey.known_bytes + survey.reused_bytes


def build_table_share(
    job: Job, recipe: Recipe, basis: Basis, tested: dict[str, list[Length]]
) -> Share:
    """All rows of a table, if sent with `recipe`. `tested`: TrialQuerySet.lengths."""
    survey = basis.survey
    rows = max(count_sent(job, recipe, survey), 0)
    form = recipes.form_bytes({"format": output_format(recipe.answer)})
    fixed = (len(recipes.static_text(recipe.template).encode()) + form) * rows
    by_column = dict(zip(job.columns, job.reading.column_bytes, strict=True))
    filled = sum(by_column[name] for name in recipes.columns_used(recipe.template))
    filled -= survey.unselected_bytes
    filled -= survey.left_out_bytes + (survey.alike_bytes if recipe.skip_duplicates else 0)
    filled -= _reused(job, recipe, survey)[1]
    seen = tested.get(trial_key(job, recipe), [])
    learned = answer_lengths.learn_lengths(seen, rows, recipe, basis.earlier)
    earlier = [] if learned or recipe.model != job.recipe.model else find_same_jobs(job)
    low, high = learned or _average_output(earlier, recipe) or recipes.expected_output(recipe)
    around = ceiling_around_cells(job, recipe, basis)
    # The text around the cells alone may make a row long.
    can_be_long = around + LONG > pricing.LONG_FROM
    long = rows if can_be_long else min(survey.long, rows)
    cells = filled if can_be_long else min(survey.long_bytes, filled)
    return Share(
        recipe.model,
        rows,
        fixed + filled,
        round(low * rows),
        round(high * rows),
        recipe.longest * rows,
        tested=len(seen) if learned else 0,
        earlier=sum(one.tally.answered for one in earlier),
        cached=(cached := count_cached(recipe, basis)),
        is_cached=basis.counts.shared > 0 and cached >= model_rules(recipe.model).cache_from,
        scale=model_rules(job.recipe.model).token_bytes / model_rules(recipe.model).token_bytes,
        long=long,
        long_bytes=cells + fixed // max(rows, 1) * long,
        long_longest=recipe.longest * long,
        most=around * rows + filled,
        most_row=_context_window(recipe.model) if survey.long else around + LONG,
        long_most=around * long + cells,
    )


def ceiling_around_cells(job: Job, recipe: Recipe, basis: Basis) -> int:
    """Upper bound for the tokens of a row of a table, without its cells: the shortest row that was
    counted, or the bytes of the text."""
    form = output_format(recipe.answer)
    cells = AROUND_CELL * len(recipes.columns_used(recipe.template))
    own = recipe_of(job)
    if (recipe.prompt, recipe.system, form) == (own.prompt, own.system, output_format(own.answer)):
        scale = max(model_rules(own.model).token_bytes / model_rules(recipe.model).token_bytes, 1)
        if counted := basis.counts.least:
            return ceil(counted * scale) + cells
    text = len(recipes.static_text(recipe.template).encode()) + recipes.form_bytes({"format": form})
    return text // LEAST_TOKEN_BYTES + (AROUND_FORM if form else AROUND) + cells


def count_cached(recipe: Recipe, basis: Basis) -> int:
    """Tokens of the background to be cached: counted, or an upper bound by its bytes. 0: none."""
    if not (recipe.cached and recipes.has_shared_system(recipe)):
        return 0
    return basis.counts.shared or len(recipe.system.encode()) // LEAST_TOKEN_BYTES


def _average_output(jobs: Sequence[Job], recipe: Recipe) -> tuple[float, float] | None:
    """Average tokens of an answer in these jobs, from .. to, and 20% more and less."""
    means = [one.tally.output_tokens / one.tally.answered for one in jobs]
    return (min(means) * 0.8, min(max(means) * 1.2, recipe.longest)) if means else None
