"""The columns that a recipe names and those that a file has: which are missing, and which may be
meant. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from .recipes import Recipe, columns_used, rename_columns

LONGEST_COMPARED = 100  # characters of a name
_SPACE = re.compile(r"[\s_]+")


def needed_columns(recipe: Recipe) -> list[str]:
    """The columns that `recipe` names, each once."""
    return list(dict.fromkeys([*columns_used(recipe.prompt), *columns_used(recipe.system)]))


def missing_columns(recipe: Recipe, columns: Sequence[str]) -> list[str]:
    """The columns that `recipe` names and a file with `columns` does not have."""
    there = set(columns)
    return [name for name in needed_columns(recipe) if name and name not in there]


def spare_columns(recipe: Recipe, columns: Sequence[str]) -> list[str]:
    """The columns of a file that `recipe` could name and does not."""
    used = {*needed_columns(recipe), *recipe.private}
    return [column for column in columns if column not in used and can_be_named(column)]


def named_alike(names: Iterable[str], columns: Sequence[str]) -> list[str]:
    """`names`, and the columns that differ from one only in capitals, blanks and underscores."""
    alike = {_likeness(name) for name in names}
    return list(dict.fromkeys([*names, *(one for one in columns if _likeness(one) in alike)]))


def can_be_named(column: str) -> bool:
    """Whether a placeholder can hold this name: there is no brace or line break in it."""
    return columns_used(f"{{{{{column}}}}}") == [column]


def same_columns(recipe: Recipe, columns: Sequence[str]) -> dict[str, str]:
    """For every missing column the one that differs from it only in capitals, blanks and
    underscores. {} unless there is exactly one for each: what is not sure is asked."""
    spare = _by_likeness(spare_columns(recipe, columns))
    found: dict[str, str] = {}
    for name in missing_columns(recipe, columns):
        alike = spare.pop(_likeness(name), [])
        if len(alike) != 1:
            return {}
        found[name] = alike[0]
    return found


def likely_columns(missing: Sequence[str], spare: Sequence[str]) -> dict[str, str]:
    """For each name in `missing` the one of `spare` that it most likely means, where there is one;
    no column twice. An equal name goes before one that is only close."""
    left = _by_likeness(spare)
    found: dict[str, str] = {}
    for name in missing:
        if alike := left.pop(_likeness(name), []):
            found[name] = alike[0]
    for name in missing:
        # Long names would take long: they are close when they begin so.
        begins = {likeness[:LONGEST_COMPARED]: likeness for likeness in left}
        close = difflib.get_close_matches(_likeness(name)[:LONGEST_COMPARED], begins, n=1)
        if name not in found and close:
            found[name] = left.pop(begins[close[0]])[0]
    return found


def _by_likeness(columns: Iterable[str]) -> dict[str, list[str]]:
    alike: dict[str, list[str]] = {}
    for column in columns:
        alike.setdefault(_likeness(column), []).append(column)
    alike.pop("", None)
    return alike


def _likeness(name: str) -> str:
    return _SPACE.sub("", name).casefold()


def with_columns(recipe: Recipe, names: Mapping[str, str]) -> Recipe:
    """`recipe` with its columns called as `names` says."""
    return replace(
        recipe,
        prompt=rename_columns(recipe.prompt, names),
        system=rename_columns(recipe.system, names),
    )
