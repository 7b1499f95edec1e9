"""What a job will cost, before it is sent: usually from .. to .., at most ..

The input is known well: a spread of rows is counted by the provider (token_counts.py). The output
is what the tried rows took, if there are at least three, and else a stated guess; "at most" takes
every row at its longest answer.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from decimal import Decimal
from math import ceil
from typing import Any, Self

import msgspec
from django.conf import settings
from django.db.models import Count, Q, Sum
from django.db.models.functions import Coalesce

from ..batches.ceilings import sent_bytes
from ..batches.leases import Lease
from ..ingest.input_sizes import AROUND, AROUND_FORM
from ..models import MOST, Job, Length, RowQuerySet, recipe_of, stored_recipe, trial_key
from ..rules import column_matching, pricing, recipes
from ..rules.answer_formats import output_format
from ..rules.model_capabilities import model_rules
from ..rules.recipes import Recipe, normalize_recipe
from ..rules.row_contents import LONG
from ..rules.structs import reader_of
from . import answer_lengths, checks, row_survey, token_counts
from .answer_lengths import LEAST_TRIED, Earlier
from .row_survey import Survey
from .token_counts import LEAST_TOKEN_BYTES, Counts

# The guess of what an answer of a ready-made request takes of the longest that it allows.
USUAL_OUTPUT = (0.05, 0.75)
# The guess of what a model reads in each turn of what a tool of the provider found: tokens.
USUAL_FIND = 20_000
# The same for the files of one request that the provider fetches.
USUAL_LINKED = 20_000
# Tokens by which a cell can make what stands beside it longer, where it is put in.
AROUND_CELL = 2
# How many of the rows find the instructions kept: best effort, these are the rates that are usual
# in batches (batch processing guide).
FEW_HITS, MANY_HITS = Decimal("0.30"), Decimal("0.98")
VERSION = 3  # of how the numbers are worked out
MOST_EARLIER = 5  # jobs to learn from
TOO_MUCH = "No job can cost more than $9,000,000. Split the file."


@dataclass(frozen=True)
class Basis:
    """What an estimate was worked out from. Each is used again as long as its key stays, whatever
    else is changed."""

    counts_key: str = ""
    counts: Counts = field(default_factory=Counts)
    survey_key: str = ""
    survey: Survey = field(default_factory=Survey)
    # What other jobs tell, as it was then: one that finishes later changes no price that is shown.
    earlier: tuple[Earlier, ...] = ()


_read_basis = reader_of(Basis)


@dataclass(frozen=True)
class Estimate:
    """The price of a job before it is sent, in US dollars at the batch rate."""

    key: str  # hash of the recipe and the file that it is for
    low: Decimal  # usually from ..
    high: Decimal  # .. to
    most: Decimal  # every row at its longest answer
    normal_low: Decimal  # the same at the normal rate, without batching
    normal_high: Decimal
    input_tokens: int  # expected, all rows
    output_low: int
    output_high: int
    output_most: int
    rows: int  # rows that will be sent
    counted: int  # rows whose tokens were counted by the provider; 0: worked out from their length
    trouble: str = ""  # why there is no price; the numbers are then 0
    tried: int = 0  # tried rows that the output was learned from
    earlier: int = 0  # rows of earlier jobs that it was learned from; both 0: it is a guess
    input_low: int = 0
    input_high: int = 0
    basis: Basis = field(default_factory=Basis)
    prices: str = ""  # price_list() as it was then

    @property
    def is_half(self) -> bool:
        """Of the normal price; the fee of a search is no less in a batch."""
        return self.high == self.normal_high * pricing.BATCH

    def as_json(self) -> dict[str, Any]:
        numbers = {
            name: str(value) if isinstance(value, Decimal) else value
            for name, value in asdict(self).items()
        }
        return {**numbers, "basis": msgspec.to_builtins(self.basis)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        money = ("low", "high", "most", "normal_low", "normal_high")
        basis = _read_basis(data.get("basis", {}))
        return cls(**{**data, "basis": basis, **{name: Decimal(data[name]) for name in money}})


@dataclass(frozen=True)
class PartEstimate:
    """The price of some rows of a job, in US dollars at the batch rate."""

    rows: int
    low: Decimal
    high: Decimal
    most: Decimal


def estimate_part(job: Job, rows: RowQuerySet) -> PartEstimate | None:
    """What sending `rows` of a confirmed job costs, by the job's own estimate; None without one.

    A row costs so much by itself and so much for its bytes, so the price of a part lies between
    its share of the rows and its share of the bytes.
    """
    whole = current(job)
    if whole is None or not whole.rows:
        return None
    # A row that is the same as another one is not sent itself.
    part = rows.filter(same_as=None).aggregate(rows=Count("pk"), bytes=Coalesce(Sum("size"), 0))
    shares = Decimal(part["rows"]) / whole.rows, Decimal(part["bytes"]) / sent_bytes(job)
    return PartEstimate(
        rows=part["rows"],
        low=whole.low * min(shares),
        high=whole.high * max(shares),
        most=whole.most * max(shares),
    )


@dataclass(frozen=True)
class Measured:
    """What rows that are to be sent again have in them."""

    rows: int
    bytes: int  # of all of them, as Row.size
    largest: int  # bytes of the largest
    # Of ready-made requests that are not as the file was read: what is in them by model, as in
    # Job.reading["models"].
    models: dict[str, dict[str, int]] = field(default_factory=dict)


def estimate_again(job: Job, found: Measured, recipe: Recipe, at_least: int) -> PartEstimate | None:
    """What sending rows of a finished job again costs; None when there is nothing to send or no
    price. `recipe` is that of a table. `at_least`: tokens that the answers needed more than.
    """
    whole = current(job)
    if not found.rows or (whole is None and not job.is_external):
        return None
    basis = whole.basis if whole else Basis()
    if job.kind == Job.Kind.TABLE:
        shares = [_share_again(job, found, recipe, at_least, basis)]
    elif found.models:
        shares = _request_shares(found.models)
    else:
        changed = [one.contents for one in job.rounds.all() if one.contents]
        shares = _shares(job, basis)
        shares += [one for models in changed for one in _request_shares(models)]
        uses = {name: sum(getattr(one, name) for one in shares) for name in ("searches", "turns")}
        if changed:
            shares = [replace(one, **uses) for one in shares]
        shares = [_requests_again(one, found) for one in shares]
    try:
        prices = [_price(one, basis) for one in shares]
    except pricing.UnknownPrice:
        return None
    if found.models:
        whole_price = _sum(prices)
        return PartEstimate(found.rows, *(whole_price[name] for name in ("low", "high", "most")))
    # Of requests as they were read it is not known how many of these go to which model.
    return PartEstimate(
        found.rows,
        min(one.low for one in prices),
        max(one.high for one in prices),
        max(one.most for one in prices),
    )


def _share_again(job: Job, found: Measured, recipe: Recipe, at_least: int, basis: Basis) -> _Share:
    form = recipes.form_bytes({"format": output_format(recipe.answer)})
    fixed = len(recipes.static_text(recipe.template).encode()) + form
    # A cell stands in the prompt as often as its column is named.
    times = max(Counter(recipes.columns_used(recipe.template)).values(), default=0)
    low, high = _length_before(job, recipe)
    if at_least:
        low, high = at_least, recipe.longest
    around = _most_around(job, recipe, basis)
    kept = _kept(recipe, basis)
    if kept and recipe.system != job.system:  # others were counted
        kept = len(recipe.system.encode()) // LEAST_TOKEN_BYTES
    return _Share(
        recipe.model,
        found.rows,
        fixed * found.rows + found.bytes * times,
        round(low * found.rows),
        round(high * found.rows),
        recipe.longest * found.rows,
        kept=kept,
        is_kept=basis.counts.shared > 0 and kept >= model_rules(recipe.model).cache_from,
        scale=model_rules(job.model).token_bytes / model_rules(recipe.model).token_bytes,
        most=around * found.rows + found.bytes * times,
        most_row=around + found.largest * times,
    )


def _length_before(job: Job, recipe: Recipe) -> tuple[float, float]:
    """Tokens of an answer, from .. to, by the good ones that the job has; a guess without any."""
    lengths = job.tally.get("lengths") or {"answers": 0}
    if not lengths["answers"]:
        return recipes.expected_output(recipe)
    mean = (lengths["text"][0] + lengths["thinking"][0]) / lengths["answers"]
    return min(mean * 0.5, recipe.longest), min(mean * 2, recipe.longest)


def _requests_again(share: _Share, found: Measured) -> _Share:
    """These rows, all to the model of `share`."""
    few = found.rows / share.rows
    return replace(
        share,
        rows=found.rows,
        bytes=found.bytes,
        output_low=round(share.output_low * few),
        output_high=round(share.output_high * few),
        longest=share.longest_most * found.rows,
        long=0,
        most=min(found.bytes + share.surplus * found.rows, share.most_row * found.rows),
        most_row=min(found.largest + share.surplus, share.most_row),
        linked=min(share.linked, found.rows),
    )


def key_of(job: Job) -> str:
    """A hash of the file and how it is read, the recipe, what was tried and answered before, the
    prices and whether it is practice: what an estimate is for."""
    recipe = recipe_of(job)
    seen = job.trials.lengths().get(trial_key(job, recipe), [])
    tried = seen if len(seen) >= LEAST_TRIED else [one.pk for one in _same_before(job)]
    return _hash([_file_of(job), recipe, tried, _before(job), price_list()])


def price_list() -> str:
    """The same for all drafts: a hash of all prices, of whether it is practice, and of how numbers
    are worked out. One of an older version, which may have less in it, is worked out anew."""
    version = [*(field.name for field in fields(Estimate)), VERSION]
    return _hash([pricing.version(), settings.PRACTICE, version])


def _same_before(job: Job) -> list[Job]:
    """Earlier jobs that asked the same and have finished: the one that this one runs again, and the
    newest of the same template."""
    like = Q(pk=job.previous_id) | Q(template=job.template_id, template__isnull=False)
    if not (job.previous_id or job.template_id):
        return []
    question = normalize_recipe(recipe_of(job))
    finished = Job.objects.filter(like, state=Job.State.FINISHED, practice=settings.PRACTICE)
    newest = finished.exclude(pk=job.pk).order_by("-pk")[:MOST_EARLIER]
    return [
        one
        for one in newest
        if one.tally.get("answered") and normalize_recipe(recipe_of(one)) == question
    ]


def _file_of(job: Job) -> list[Any]:
    return [job.upload_sha256, job.choices, job.corrections]


def _before(job: Job) -> list[int] | None:
    """Which answers of an earlier job can be used again."""
    before = row_survey.job_before(job)
    return [before.pk, before.good_count] if before else None


def current(job: Job) -> Estimate | None:
    """The estimate of the job as it is now, or None while it is being worked out. A job that was
    confirmed keeps the one that it was confirmed with."""
    if not job.estimate or (not job.was_sent and job.estimate["key"] != key_of(job)):
        return None
    return Estimate.from_json(job.estimate)


def said(job: Job) -> PartEstimate | None:
    """What was said before that a job costs: when it was confirmed, and each time that rows were
    sent again."""
    first, again = current(job), [one.estimate for one in job.rounds.all()]
    if first is None and not again:
        return None

    def with_rounds(name: str) -> Decimal:
        amounts = [Decimal(one[name]) for one in again]
        return sum(amounts, getattr(first, name) if first else Decimal(0))

    rows = first.rows if first else job.sendable_count
    return PartEstimate(rows, *map(with_rounds, ("low", "high", "most")))


def as_listed(job: Job) -> Estimate | None:
    """The estimate of a job as it was worked out last, without a look at the rest of the database:
    for lists of jobs."""
    stored = job.estimate and (job.plan_sha256 or job.was_sent)
    return Estimate.from_json(job.estimate) if stored and job.estimate else None


def estimate_job(job: Job, lease: Lease | None = None) -> Estimate | None:
    """Work out the price of a draft and store it with the hash of the plan to be confirmed; None
    when it cannot be sent yet. Nothing is stored when the draft was changed meanwhile.

    Raises LeaseLost.
    """
    if not job.sendable_count or checks.problems(job):
        return None
    # A change that was taken back needs no new counting.
    estimate = current(job)
    if estimate and estimate.counted and (job.plan_sha256 or estimate.trouble):
        return estimate
    if estimate is None or not estimate.counted:
        estimate = _estimate(job, lease)
    # As it was when the price was worked out: a change since then makes this no row.
    as_it_was = {**stored_recipe(recipe_of(job)), "answer_kind": job.answer_kind}
    Job.objects.filter(pk=job.pk, state=Job.State.DRAFT, readings=job.readings, **as_it_was).update(
        estimate=estimate.as_json(),
        plan_sha256="" if estimate.trouble else plan_of(job, estimate),
    )
    return estimate


def plan_of(job: Job, estimate: Estimate) -> str:
    """The hash of all that a person confirms: file, rows, recipe and price."""
    return _hash([key_of(job), job.row_count, job.skipped_count, estimate.as_json()])


def _hash(values: list[Any]) -> str:
    text = json.dumps(msgspec.to_builtins(values), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _basis(job: Job, lease: Lease | None) -> Basis:
    """What is known of the rows for the recipe, found out only when its text has changed."""
    recipe = recipe_of(job)
    # Each as often as it is used, where and in which order: all of it tells in what is found.
    columns = [recipes.columns_used(text) for text in (recipe.prompt, recipe.system)]
    wordless = not recipes.static_text(recipe.prompt).strip()
    sent = [recipe.skip_empty, recipe.same_once, recipe.only_new]
    rows = [_file_of(job), columns, wordless, sent, _before(job)]
    texts = [recipe.prompt, recipe.system, recipe.model, output_format(recipe.answer)]
    counts_key = _hash([_file_of(job), texts, recipe.effort, settings.PRACTICE])
    survey_key = _hash(rows)
    basis = Estimate.from_json(job.estimate).basis if job.estimate else Basis()
    if basis.counts_key != counts_key or not basis.counts.tokens:
        basis = replace(basis, counts_key=counts_key, counts=token_counts.count(job, lease))
    if basis.survey_key != survey_key and job.kind == Job.Kind.TABLE:
        found = row_survey.survey(job, recipe, lease)
        basis = replace(basis, survey_key=survey_key, survey=found)
    return replace(basis, earlier=answer_lengths.earlier_jobs(job))


def _estimate(job: Job, lease: Lease | None) -> Estimate:
    basis = _basis(job, lease)
    shares = _shares(job, basis)
    inputs = [_input(share, basis.counts) for share in shares]
    priced = []
    unpriced = []
    for share in shares:
        try:
            priced.append(_price(share, basis))
        except pricing.UnknownPrice:
            unpriced.append(share.model)
    return Estimate(
        key=key_of(job),
        **_sum(() if unpriced else priced),
        input_tokens=sum(round(expected) for expected, _margin in inputs),
        input_low=sum(round(max(expected - margin, 0)) for expected, margin in inputs),
        input_high=sum(round(expected + margin) for expected, margin in inputs),
        output_low=sum(share.output_low for share in shares),
        output_high=sum(share.output_high for share in shares),
        output_most=sum(share.longest for share in shares),
        rows=sum(share.rows for share in shares),
        counted=len(basis.counts.tokens),
        trouble=_trouble(job, basis, unpriced) or _too_much(priced),
        tried=sum(share.tried for share in shares),
        earlier=sum(share.earlier for share in shares),
        basis=basis,
        prices=price_list(),
    )


def _trouble(job: Job, basis: Basis, unpriced: Sequence[str]) -> str:
    """Why the job cannot be confirmed, although its recipe can be sent."""
    if unpriced:
        names = ", ".join(f"“{name[:80]}”" for name in unpriced[:5])
        mend = (
            "Choose another model."
            if job.kind == Job.Kind.TABLE
            else "Change the model in your file and upload it again."
        )
        return f"There is no price for {names}, so what this job costs cannot be said. {mend}"
    survey = basis.survey
    if _left(job, recipe_of(job), survey) <= 0 and not _known(job, recipe_of(job), survey):
        return "No row is left to send, because of the empty cells that the prompt uses."
    return ""


def _too_much(priced: Sequence[Prices]) -> str:
    most = sum((one.most for one in priced), Decimal(0))
    if most <= MOST:
        return ""
    return f"This job may cost up to {pricing.format_dollars(pricing.round_up(most))}. {TOO_MUCH}"


@dataclass(frozen=True)
class Prices:
    """Of one share, in US dollars at the batch rate."""

    rows: int
    low: Decimal
    high: Decimal
    most: Decimal
    fees: Decimal = Decimal(0)  # what of `high` and `most` is no dearer without a batch


def _sum(prices: Iterable[Prices]) -> dict[str, Decimal]:
    found = list(prices)
    low = sum((one.low for one in found), Decimal(0))
    high = sum((one.high for one in found), Decimal(0))
    fees = sum((one.fees for one in found), Decimal(0))
    return {
        "low": low,
        "high": high,
        "most": sum((one.most for one in found), Decimal(0)),
        "normal_low": low / pricing.BATCH,
        "normal_high": (high - fees) / pricing.BATCH + fees,
    }


@dataclass(frozen=True)
class _Share:
    """The rows of a job that go to one model."""

    model: str
    rows: int
    bytes: int  # of all rows: of the filled text; of ready-made requests, of their JSON
    output_low: int  # tokens of all answers, usually from ..
    output_high: int  # .. to
    longest: int  # tokens of all answers, each at its longest
    tried: int = 0
    earlier: int = 0
    kept: int = 0  # tokens of each row that are to be kept at the provider
    is_kept: bool = False  # they are long enough for that, as far as is known
    scale: float = 1  # tokens of this model for one of that which was counted
    is_any_kept: bool = False  # all that they read may be kept at the provider
    in_the_us: bool = False  # some ask to be kept in the US, which costs more
    searches: int = 0  # web searches that are allowed, in all rows
    turns: int = 0  # how often the model may read what tools of the provider found, in all rows
    long: int = 0  # rows that may cost more because of their length, ..
    long_bytes: int = 0
    long_longest: int = 0  # .. as `bytes` and `longest`
    longest_most: int = 0  # tokens of the longest answer of all, of ready-made requests
    # Tokens of all inputs at most, without what tools of the provider find; those of the longest
    # input, and of the `long` ones. These are bounds, whatever was counted.
    most: int = 0
    most_row: int = 0
    long_most: int = 0
    surplus: int = 0  # tokens that a ready-made request has at most above its bytes
    linked: int = 0  # rows with files that the provider fetches


def _shares(job: Job, basis: Basis) -> list[_Share]:
    if job.kind == Job.Kind.TABLE:
        return [_share(job, recipe_of(job), basis, job.trials.lengths())]
    return _request_shares(job.reading["models"])


def lacks_bounds(models: dict[str, dict[str, int]]) -> bool:
    """Whether the requests were read by a version that did not look into their files."""
    return any("most" not in facts for facts in models.values())


def _request_shares(models: dict[str, dict[str, int]]) -> list[_Share]:
    return [
        _Share(
            model,
            facts["rows"],
            facts["bytes"],
            round(facts["max_tokens_sum"] * USUAL_OUTPUT[0]),
            round(facts["max_tokens_sum"] * USUAL_OUTPUT[1]),
            facts["max_tokens_sum"],
            is_any_kept=bool(facts["cached"]),
            in_the_us=bool(facts["in_the_us"]),
            searches=facts.get("searches", 0),  # not there: read by an older version
            turns=facts.get("turns", 0),
            long=facts.get("long", facts["rows"]),
            long_bytes=facts.get("long_bytes", facts["bytes"]),
            longest_most=facts["max_tokens_most"],
            long_longest=facts.get("long_max_tokens_sum", facts["max_tokens_sum"]),
            # Without bounds, each is as long as any that its model reads.
            most=facts.get("most", facts["rows"] * _context(model)),
            most_row=facts.get("most_row", _context(model)),
            long_most=facts.get("long_most", facts["rows"] * _context(model)),
            surplus=facts.get("surplus", _context(model)),
            linked=facts.get("linked", 0),
        )
        for model, facts in models.items()
    ]


def _context(model: str) -> int:
    """Tokens that a model reads at once; 0 without a price, which stops the job."""
    with suppress(pricing.UnknownPrice):
        return pricing.priced_model(model).context
    return 0


def _left(job: Job, recipe: Recipe, survey: Survey) -> int:
    """Rows that will be sent."""
    spared = (survey.alike if recipe.same_once else 0) + _known(job, recipe, survey)
    return job.sendable_count - survey.left_out - spared


def _known(job: Job, recipe: Recipe, survey: Survey) -> int:
    """Rows that are not sent with `recipe`, because the job before has answered them."""
    asks_the_same = normalize_recipe(recipe) == normalize_recipe(recipe_of(job))
    return survey.known if recipe.only_new and asks_the_same else 0


def _share(job: Job, recipe: Recipe, basis: Basis, tried: dict[str, list[Length]]) -> _Share:
    """All rows of a table, as they would be sent with `recipe`; `tried`: TrialQuerySet.lengths."""
    survey = basis.survey
    rows = max(_left(job, recipe, survey), 0)
    form = recipes.form_bytes({"format": output_format(recipe.answer)})
    fixed = (len(recipes.static_text(recipe.template).encode()) + form) * rows
    by_column = dict(zip(job.columns, job.reading["column_bytes"], strict=True))
    filled = sum(by_column[name] for name in recipes.columns_used(recipe.template))
    filled -= survey.left_out_bytes + (survey.alike_bytes if recipe.same_once else 0)
    filled -= survey.known_bytes if _known(job, recipe, survey) else 0
    seen = tried.get(trial_key(job, recipe), [])
    learned = answer_lengths.learned(seen, rows, recipe, basis.earlier)
    earlier = [] if learned or recipe.model != job.model else _same_before(job)
    low, high = learned or _learned_before(earlier, recipe) or recipes.expected_output(recipe)
    around = _most_around(job, recipe, basis)
    # What of a row is not from its cells may be enough for the price of long ones.
    can_be_long = around + LONG > pricing.LONG_FROM
    long = rows if can_be_long else min(survey.long, rows)
    cells = filled if can_be_long else min(survey.long_bytes, filled)
    return _Share(
        recipe.model,
        rows,
        fixed + filled,
        round(low * rows),
        round(high * rows),
        recipe.longest * rows,
        tried=len(seen) if learned else 0,
        earlier=sum(one.tally["answered"] for one in earlier),
        kept=(kept := _kept(recipe, basis)),
        is_kept=basis.counts.shared > 0 and kept >= model_rules(recipe.model).cache_from,
        scale=model_rules(job.model).token_bytes / model_rules(recipe.model).token_bytes,
        long=long,
        long_bytes=cells + fixed // max(rows, 1) * long,
        long_longest=recipe.longest * long,
        most=around * rows + filled,
        most_row=_context(recipe.model) if survey.long else around + LONG,
        long_most=around * long + cells,
    )


def _most_around(job: Job, recipe: Recipe, basis: Basis) -> int:
    """Tokens of a row of a table at most, besides its cells. The shortest one that was counted has
    all of that."""
    form = output_format(recipe.answer)
    cells = AROUND_CELL * len(recipes.columns_used(recipe.template))
    own = recipe_of(job)
    if (recipe.prompt, recipe.system, form) == (own.prompt, own.system, output_format(own.answer)):
        scale = max(model_rules(own.model).token_bytes / model_rules(recipe.model).token_bytes, 1)
        if counted := basis.counts.least:
            return ceil(counted * scale) + cells
    text = len(recipes.static_text(recipe.template).encode()) + recipes.form_bytes({"format": form})
    return text // LEAST_TOKEN_BYTES + (AROUND_FORM if form else AROUND) + cells


def _kept(recipe: Recipe, basis: Basis) -> int:
    """Tokens of the instructions that are to be kept; by their bytes, at the most, when they were
    not counted."""
    if not (recipe.cached and recipes.has_shared_system(recipe)):
        return 0
    return basis.counts.shared or len(recipe.system.encode()) // LEAST_TOKEN_BYTES


def _learned_before(jobs: Sequence[Job], recipe: Recipe) -> tuple[float, float] | None:
    """Tokens of an answer on average, from .. to, by what earlier jobs took: their averages, and a
    fifth more and less, for other rows."""
    means = [one.tally["output_tokens"] / one.tally["answered"] for one in jobs]
    return (min(means) * 0.8, min(max(means) * 1.2, recipe.longest)) if means else None


def _input(share: _Share, counts: Counts) -> tuple[float, float]:
    """Tokens of a share's input, expected and plus or minus."""
    token_bytes = model_rules(share.model).token_bytes
    expected, margin = counts.tokens_of(share.rows, share.bytes, token_bytes)
    scale = share.scale if counts.tokens else 1  # else they are of this model already
    return expected * scale, margin * scale


def _price(share: _Share, basis: Basis) -> Prices:
    """Raises UnknownPrice."""
    longest = round(basis.counts.longest * share.scale)
    if not 0 < share.long < share.rows or share.turns:
        return _price_alike(share, basis, longest)
    # Only rows that are long cost more for it.
    few = share.long / share.rows
    long = replace(
        share,
        rows=share.long,
        bytes=share.long_bytes,
        output_low=round(share.output_low * few),
        output_high=round(share.output_high * few),
        longest=share.long_longest,
        most=share.long_most,
        linked=min(share.linked, share.long),
    )
    others = replace(
        share,
        rows=share.rows - long.rows,
        bytes=share.bytes - long.bytes,
        output_low=share.output_low - long.output_low,
        output_high=share.output_high - long.output_high,
        longest=share.longest - long.longest,
        most=share.most - long.most,
        most_row=0,
        linked=share.linked - long.linked,
    )
    one, other = _price_alike(long, basis, longest), _price_alike(others, basis, 0)
    return Prices(share.rows, one.low + other.low, one.high + other.high, one.most + other.most)


def _price_alike(share: _Share, basis: Basis, longest: int) -> Prices:
    """Of rows with the same price for a token, of which the longest has `longest`. Raises
    UnknownPrice."""
    counts = basis.counts
    known = answer_lengths.found_kept(basis.earlier)
    hits = tuple(map(Decimal, known)) if known else (FEW_HITS, MANY_HITS)
    expected, margin = _input(share, counts)
    to_keep = Decimal(share.kept * share.rows)

    def cost(tokens: float, output: int, hits: Decimal, prompt: int, kept: Decimal) -> Decimal:
        plain = max(Decimal(round(tokens)) - kept, Decimal(0))
        read = kept * hits
        return pricing.cost_of_tokens(
            share.model, plain, output, prompt, written=kept - read, read=read
        )

    usual = to_keep if share.is_kept else Decimal(0)
    few, many = hits
    found = share.turns * USUAL_FIND + share.linked * USUAL_LINKED
    high = cost(expected + margin + found, share.output_high, few, longest, usual)
    # Nothing longer than what the model reads at once is taken. What tools find is not limited, but
    # by that.
    context = pricing.priced_model(share.model).context
    tokens = min(share.most, share.rows * context) + share.turns * context
    longest = context if share.turns else min(share.most_row, context)
    # At most, each row writes what is to be kept, be it as short as it is.
    written = tokens if share.is_any_kept else share.kept * share.rows
    most = pricing.ceiling_of_tokens(
        share.model, max(tokens - written, 0), share.longest, longest, written=written
    )
    if share.in_the_us:
        high *= pricing.US_ONLY
    fees = pricing.SEARCH * share.searches
    return Prices(
        share.rows,
        cost(max(expected - margin, 0), share.output_low, many, 0, usual),
        high + fees,
        max(high, most) + fees,
        fees,
    )


# --- What else it could cost ----------------------------------------------------------------------


def prices_with(job: Job, estimate: Estimate, others: Iterable[Recipe]) -> list[Prices | None]:
    """About what a draft would cost with each of these recipes, by the tokens that were counted for
    its own; None where there is no price, or its file lacks a column."""
    tried = job.trials.lengths()
    return [_price_with(job, one, estimate, tried) for one in others]


def _price_with(
    job: Job, recipe: Recipe, estimate: Estimate, tried: dict[str, list[Length]]
) -> Prices | None:
    if column_matching.missing_columns(recipe, job.columns):
        return None
    with suppress(pricing.UnknownPrice):
        return _price(_share(job, recipe, estimate.basis, tried), estimate.basis)
    return None


@dataclass(frozen=True)
class Keeping:
    """What keeping the instructions at the provider (prompt caching) would come to."""

    tokens: int  # of the instructions
    least: int  # tokens from which on this model keeps them
    saves: Decimal  # US dollars, when most rows find them
    costs: Decimal  # US dollars more, when no row does

    @property
    def is_possible(self) -> bool:
        return self.tokens >= self.least


def keeping(job: Job, estimate: Estimate) -> Keeping | None:
    """What keeping the instructions of a draft would save, or cost; None when there are none that
    all rows share, or too little is known."""
    recipe = recipe_of(job)
    if not recipes.has_shared_system(recipe) or not estimate.counted:
        return None
    return keeping_of(recipe.model, estimate.basis.counts.shared, estimate.rows)


def keeping_of(model: str, tokens: int, rows: int) -> Keeping:
    """What keeping instructions of so many tokens would save, or cost, over all rows."""
    all_tokens = Decimal(tokens * rows)

    def cost(hits: Decimal) -> Decimal:
        read = all_tokens * hits
        return pricing.cost_of_tokens(model, 0, 0, written=all_tokens - read, read=read)

    plain = pricing.cost_of_tokens(model, all_tokens, 0)
    least = model_rules(model).cache_from
    return Keeping(tokens, least, plain - cost(MANY_HITS), cost(Decimal(0)) - plain)
