"""Providers for the tests of the simulator, and the real client that asks them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from anthropic.types.messages import MessageBatch

from ..conftest import Simulator
from .asking import SECONDS, client_of, params, wait_for_end


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """A provider whose batches end at once, and whose rows fail only when they are told to."""
    simulator = Simulator(tmp_path_factory.mktemp("provider"), seconds=0, failures="none")
    yield simulator
    simulator.stop()


@pytest.fixture(scope="module")
def slow_provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """A provider whose batches take long enough to be seen at work."""
    simulator = Simulator(tmp_path_factory.mktemp("slow"), seconds=SECONDS, failures="none")
    yield simulator
    simulator.stop()


@pytest.fixture(autouse=True)
def no_faults_left(provider: Simulator) -> Iterator[None]:
    yield
    provider.reset()


@pytest.fixture(scope="module")
def api(provider: Simulator) -> Iterator[anthropic.Anthropic]:
    with client_of(provider.url) as client:
        yield client


@pytest.fixture(scope="module")
def slow_api(slow_provider: Simulator) -> Iterator[anthropic.Anthropic]:
    with client_of(slow_provider.url) as client:
        yield client


@pytest.fixture(scope="module")
def ended(api: anthropic.Anthropic) -> MessageBatch:
    """A batch of ten rows whose results are there."""
    requests = [{"custom_id": f"nonce-{number}", "params": params()} for number in range(10)]
    created: Any = requests
    return wait_for_end(api, api.messages.batches.create(requests=created))
