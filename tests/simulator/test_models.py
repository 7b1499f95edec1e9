"""The models that the simulator knows."""

from __future__ import annotations

import anthropic
import pytest

from .asking import HAIKU

pytestmark = pytest.mark.no_database


def test_models_are_listed_with_what_they_can_do(api: anthropic.Anthropic) -> None:
    usual = list(api.models.list(limit=1000))
    paged = list(api.models.list(limit=5))
    retired = list(api.models.list(lifecycle=["retired"]))
    before = api.models.list(limit=2, before_id=usual[4].id)
    haiku = api.models.retrieve(HAIKU)
    alias = api.models.retrieve("claude-haiku-4-5")

    assert {model.lifecycle for model in usual} == {"active", "deprecated"}
    assert {model.lifecycle for model in retired} == {"retired"}
    assert [model.id for model in paged] == [model.id for model in usual]
    assert [model.created_at for model in usual] == sorted(
        (model.created_at for model in usual), reverse=True
    )
    assert [model.id for model in before.data] == [usual[2].id, usual[3].id]
    assert (haiku.line, haiku.max_input_tokens, haiku.max_tokens) == ("haiku", 1_000_000, 128_000)
    assert alias.id == "claude-haiku-4-5-20251001"
    assert haiku.capabilities is not None
    assert haiku.capabilities.structured_outputs.supported
    with pytest.raises(anthropic.NotFoundError):
        api.models.retrieve("gpt")
