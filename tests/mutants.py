"""The torture can fail: five mutants of the product, each with a scenario that makes it show.

A mutant is put into the worker's process by wrapping, as tests/dying_worker.py does; the product
has no switch for it. Its scenario is a small job with a fixed fault; the same scenario without the
mutant has to be clean. `python -m tests.torture --mutants` runs all of them.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .torture.plans import MODELS, JobPlan, Life, Plan, PlannedRow, prompt_canary, tag
from .torture.site import Provider

FOR_EVER = 1e9
ROWS = 12


# --- The mutants ----------------------------------------------------------------------------------


def sdk_retries() -> None:
    """The provider's client sends again by itself what was not answered well. The body is given to
    it as bytes: a file has been read to its end by then, so that only nothing could be repeated."""
    import anthropic

    class Retrying(anthropic.Anthropic):
        def __init__(self, **options: Any) -> None:
            super().__init__(**{**options, "max_retries": 2})

        def post(self, path: str, **arguments: Any) -> Any:
            if "content" in arguments:
                arguments["content"] = arguments["content"].read()
            arguments.get("options", {}).pop("max_retries", None)
            return super().post(path, **arguments)

    anthropic.Anthropic = Retrying  # type: ignore[misc]  # it replaces a class


def baseline_refreshed() -> None:
    """What the provider lists is noted anew before each attempt, also that of an earlier one."""
    from jobs.batches import submission

    original = submission.submit

    def submit(batch: Any, lease: Any, meanwhile: Any = None) -> Any:
        batch.baseline_ids = batch.baseline_at = None
        return original(batch, lease, meanwhile)

    submission.submit = submit


def no_grace() -> None:
    """One look at the list is enough for a batch to count as never arrived."""
    from django.conf import settings

    from jobs.batches import absence

    settings.RECONCILE_GRACE_SECONDS = 0.0
    absence.LOOKS_BEFORE_RESEND = 1


def resend_on_404() -> None:
    """A batch that the provider does not know by its id is sent again."""
    from jobs.batches import polling
    from jobs.models import Batch, Job, clock
    from jobs.provider import client, errors

    original = polling._look_up

    def look_up(batch: Any) -> None:
        try:
            client.retrieve_batch(str(batch.provider_id))
        except errors.NotFound:
            moved = Batch.objects.try_move(
                batch.pk, Batch.State.IN_PROGRESS, Batch.State.PLANNED, provider_id=None
            )
            if moved:
                states = Job.State.WORKING, Job.State.SUBMITTING
                jobs = Job.objects.filter(pk=batch.job_id, state__in=states)
                jobs.update(state=states[1], next_action_at=clock.now())
        else:
            original(batch)

    polling._look_up = look_up


def lines_not_counted() -> None:
    """Whatever arrives as results is taken for all of them."""
    from jobs.rules import result_proof

    def prove(lines: Any, *_: Any) -> result_proof.Proof:
        sha256 = hashlib.sha256(b"".join(lines)).hexdigest()
        return result_proof.Proof(sha256, Counter(), "", array("q"))

    result_proof.prove_complete = prove  # type: ignore[assignment]  # takes any arguments
    result_proof.contradiction = lambda *_: ""


# --- Their scenarios ------------------------------------------------------------------------------


@dataclass
class Scenario:
    """`shows`: the invariants that the mutant breaks, by the beginnings of their names."""

    mutant: Callable[[], None]
    shows: tuple[str, ...]
    order: dict[str, Any]  # the faults
    settings: dict[str, str] = field(default_factory=dict)
    director: Callable[[Provider], Iterator[None]] | None = None


def until_listed_in_vain(provider: Provider) -> Iterator[None]:
    """The list shows new batches when it has been asked for twice since the first was accepted, or
    when a second was sent."""
    while not provider.truth()["posts"]:
        yield
    looks = provider.answered("GET /v1/messages/batches ")
    while (
        provider.truth()["posts"] < 2 and provider.answered("GET /v1/messages/batches ") < looks + 2
    ):
        yield
    provider.order(list_hide_seconds=0)


def until_sent_again(provider: Provider) -> Iterator[None]:
    """The list shows new batches when the second attempt has been refused."""
    while provider.truth()["posts"] < 2:
        yield
    provider.order(list_hide_seconds=0)


def until_not_found(provider: Provider) -> Iterator[None]:
    """Batches are found when one has been asked for three times, or when a second was sent."""
    while (
        provider.truth()["posts"] < 2 and provider.answered("GET /v1/messages/batches/msgbatch") < 3
    ):
        yield
    provider.order(list_hide_seconds=0, retrieve_404_seconds=0)


SCENARIOS = {
    "sdk_retries": Scenario(
        sdk_retries,
        ("I1", "I4"),
        {"create": [{"kind": "accept_500"}]},
        {"SUBMIT_DEADLINE_SECONDS": "3"},
    ),
    # Sent and listed too late to be waited for, then refused for now: at the third attempt the
    # first is in the list.
    "baseline_refreshed": Scenario(
        baseline_refreshed,
        ("I1", "I4"),
        {
            "create": [{"kind": "drop_after_accept"}, {"kind": "reject_429", "retry_after": 1}],
            "list_hide_seconds": FOR_EVER,
        },
        {"RECONCILE_GRACE_SECONDS": "0"},
        until_sent_again,
    ),
    "no_grace": Scenario(
        no_grace,
        ("I1", "I4"),
        {"create": [{"kind": "drop_after_accept"}], "list_hide_seconds": FOR_EVER},
        {"RECONCILE_GRACE_SECONDS": "3"},
        until_listed_in_vain,
    ),
    "resend_on_404": Scenario(
        resend_on_404,
        ("I1", "I4"),
        {"list_hide_seconds": FOR_EVER, "retrieve_404_seconds": FOR_EVER},
        director=until_not_found,
    ),
    "lines_not_counted": Scenario(
        lines_not_counted, ("I2", "I3", "I7", "I8"), {"results": [{"kind": "clean_early_end"}]}
    ),
}


def apply(name: str) -> None:
    """Make this process, a worker that has set Django up, the mutant `name`."""
    SCENARIOS[name].mutant()


def plans() -> list[Plan]:
    """Each scenario with its mutant and without."""
    return [
        _plan(name, scenario, mutant)
        for name, scenario in SCENARIOS.items()
        for mutant in (name, "")
    ]


def _plan(name: str, scenario: Scenario, mutant: str) -> Plan:
    return Plan(
        name=f"mutant-{name}" if mutant else f"without-{name}",
        repeat="python -m tests.torture --mutants",
        seed=0,
        jobs=[JobPlan("requests", "jsonl", [_request(number) for number in range(1, ROWS + 1)])],
        orders=[(0.0, scenario.order)],
        workers=[[Life("rest")]],
        chaos_seconds=60.0,
        simulator={"seconds": "0.2", "failures": "none"},
        environment={
            "SUBMIT_DEADLINE_SECONDS": "1",
            "RECONCILE_GRACE_SECONDS": "1",
            "POLL_SECONDS": "0.1",
            **scenario.settings,
        },
        mutant=mutant,
        expected=scenario.shows if mutant else (),
        director=scenario.director,
    )


def _request(number: int) -> PlannedRow:
    text = f"{tag(1, number)} {prompt_canary(0)} What is to be said of this?"
    params = {
        "model": MODELS[0],
        "max_tokens": 200,
        "messages": [{"role": "user", "content": text}],
    }
    return PlannedRow(tag(1, number), {"custom_id": f"my-own-id-{number}", "params": params})
