"""How often the true cost of a job lay in the range that was said to be usual: 40 made jobs of
different shapes, priced, tried on three rows, priced again and sent, through the simulator. Part of
`make bench`; alone: `python -m tests.bench_estimates`."""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

# After conftest, which sets the environment up.
from .conftest import SCRATCH, USUAL_SAMPLE, Simulator, drive_job, store_job

# isort: split
# After conftest, which sets the environment up.
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command

from jobs.actions import drafts, submissions
from jobs.drafts import estimates, token_counts
from jobs.drafts.trials import choose_rows
from jobs.models import Job
from jobs.rules.price_estimates import Estimate

WORDS = {
    "english": [
        "the kettle",
        "broke",
        "after",
        "a week",
        "and",
        "nobody",
        "answered",
        "my",
        "letters",
    ],
    "german": ["der Wasserkocher", "ging", "nach einer Woche", "kaputt", "niemand", "schrieb"],
    "japanese": ["ケトルが", "一週間で", "壊れました", "返事が", "ありません"],
    "mixed": ["kettle", "Wasserkocher", "ケトル", "чайник", "🙂", "très", "bien", "好"],
}
LENGTHS = ("alike", "spread", "long tail")
ANSWERS: dict[str, dict[str, Any]] = {
    "text": {},
    "labels": {"kind": "labels", "labels": ["good", "bad", "mixed"]},
    "columns": {
        "kind": "columns",
        "columns": [{"name": "mood"}, {"name": "stars", "kind": "number"}],
    },
}
SIZES = (10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000)
MODELS = ("claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-4-6")
INSTRUCTIONS = "Answer kindly, and mind the rules of our house. " * 150
QUESTIONS = [
    f"What does this customer {verb}, {how}?"
    for verb in ("say", "want", "complain about", "praise")
    for how in ("in a few words", "all in all", "and why")
]
FIRST, JOBS = 40, 40


@dataclass(frozen=True)
class Shape:
    """What one job is like."""

    rows: int
    language: str
    lengths: str
    answer: str
    model: str
    cached: bool
    question: str


LARGE = Shape(100_000, "mixed", "long tail", "labels", MODELS[0], False, QUESTIONS[0])


@dataclass(frozen=True)
class Found:
    guess: Estimate  # before any row was tried
    learned: Estimate
    cost: Decimal


def shapes(chance: random.Random, count: int) -> Iterator[Shape]:
    for number in range(count):
        yield Shape(
            SIZES[number % len(SIZES)],
            chance.choice(list(WORDS)),
            LENGTHS[number % len(LENGTHS)],
            chance.choice(list(ANSWERS)),
            chance.choice(MODELS),
            number % 4 == 3,
            chance.choice(QUESTIONS),
        )


def rows_of(shape: Shape, chance: random.Random) -> list[tuple[str, str]]:
    words = WORDS[shape.language]
    return [
        (str(number), " ".join(chance.choices(words, k=_length(shape.lengths, chance))))
        for number in range(shape.rows)
    ]


def _length(lengths: str, chance: random.Random) -> int:
    """Words of one row."""
    if lengths == "alike":
        return 40
    if lengths == "spread":
        return chance.randint(3, 120)
    return min(int(chance.lognormvariate(3, 1.2)) + 1, 3000)


def priced(job: Job) -> Estimate:
    job.refresh_from_db()
    estimates.estimate_job(job)
    job.refresh_from_db()
    estimate = estimates.current(job)
    assert estimate is not None and not estimate.trouble, "no price"
    return estimate


def run_one(owner: User, shape: Shape, chance: random.Random) -> Found:
    job = store_job(
        owner,
        Job.State.DRAFT,
        columns=("id", "review"),
        rows=rows_of(shape, chance),
        prompt=f"{shape.question} {{{{review}}}}",
        system=INSTRUCTIONS if shape.cached else "",
        cached=shape.cached,
        model=shape.model,
        answer=ANSWERS[shape.answer],
    )
    guess = priced(job)
    assert drafts.start_trials(job, choose_rows(job, 3, at_random=True), owner)
    drive_job(job, until=lambda job: not job.trials.pending().exists())
    learned = priced(job)
    assert submissions.confirm(job, job.plan_sha256, owner)
    return Found(guess, learned, drive_job(job).cost)


def report(name: str, found: list[Found]) -> None:
    """Print how good the estimates of some jobs were."""
    print(f"\n{name}")
    for when, kind in (("after three rows were tried", "learned"), ("before, a guess", "guess")):
        pairs: list[tuple[Estimate, Decimal]] = [(getattr(one, kind), one.cost) for one in found]
        within = sum(said.low <= cost <= said.high for said, cost in pairs)
        width = statistics.median((said.high - said.low) / cost for said, cost in pairs)
        print(
            f"  {when:<28}{within:>4} of {len(pairs)} in the usual range, median width {width:.0%}"
        )
    over = sum(one.cost > one.guess.most or one.cost > one.learned.most for one in found)
    print(f"  {'above “at most”':<28}{over:>4}")
    print(f"  {'token counts a price':<28}{max(one.guess.counted for one in found) + 1:>4} at most")


def measure() -> None:
    """Price and send the jobs, and print how good the estimates were: on a site that has not run
    any job, and then, of other jobs, on the one that has run these."""
    settings.DATA_DIR = SCRATCH / "estimates"
    token_counts.SAMPLE = USUAL_SAMPLE
    call_command("migrate", verbosity=0)
    owner = User.objects.create_user("bench")
    chance = random.Random(7)
    simulator = Simulator(SCRATCH / "provider", seconds=0)
    settings.ANTHROPIC_BASE_URL = simulator.url
    try:
        first = [run_one(owner, shape, chance) for shape in shapes(chance, FIRST)]
        report(f"Estimates of the first {FIRST} jobs of a new site", first)
        found = [run_one(owner, shape, chance) for shape in shapes(chance, JOBS - 1)]
        found.append(run_one(owner, LARGE, chance))
        report(f"Estimates of {JOBS} jobs after these, of {SIZES[0]} to {LARGE.rows:,} rows", found)
    finally:
        simulator.stop()


if __name__ == "__main__":
    measure()
