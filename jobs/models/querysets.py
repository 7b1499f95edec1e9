"""Conditional changes of state."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeVar

from django.db import models


class NotMoved(Exception):
    """Something was in another state than the caller had seen."""


_Model = TypeVar("_Model", bound=models.Model)


class StateQuerySet(models.QuerySet[_Model]):
    """Rows with a `state` that changes by one conditional UPDATE."""

    def try_move(self, pk: int, old: str | Collection[str], new: str, **values: Any) -> bool:
        """Change the state of `pk` from `old` to `new`, together with `values`. False if it was in
        another state by then. For callers that look at the answer; the others use `move`."""
        states = [old] if isinstance(old, str) else list(old)
        return self.filter(pk=pk, state__in=states).update(state=new, **values) == 1

    def move(self, pk: int, old: str | Collection[str], new: str, **values: Any) -> None:
        """As `try_move`. Raises NotMoved when it changed nothing."""
        if not self.try_move(pk, old, new, **values):
            raise NotMoved(f"{self.model.__name__} {pk} is not {old}, so it did not become {new}.")
