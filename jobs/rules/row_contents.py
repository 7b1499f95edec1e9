"""What a recipe uses of the cells of one row. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

import msgspec

from . import pricing
from .recipes import (
    Recipe,
    columns_used,
    compile_recipe,
    has_shared_system,
    normalize_recipe,
    static_text,
)

LONG = pricing.LONG_FROM // 2  # bytes: a token has at least one
RequestKey = bytes
encode_request = msgspec.json.Encoder().encode
# Of a row of a table, as it is stored. Raises msgspec.DecodeError for anything else.
read_cells = msgspec.json.Decoder(list[str]).decode


def request_key(params: bytes) -> RequestKey:
    """The same for equal requests, and for no others. `params`: the whole of one, as it is sent."""
    return hashlib.blake2b(params, digest_size=16).digest()


def compile_request_key(recipe: Recipe, columns: Sequence[str]) -> Callable[[Sequence[str]], bytes]:
    """A function from the cells of a row to the request_key of what is sent for it."""
    params_of = compile_recipe(recipe, columns)
    return lambda cells: request_key(encode_request(params_of(cells)))


def recipe_key(recipe: Recipe) -> str:
    """The same for recipes that differ in nothing but the names of columns and the choice of rows:
    equal cells make equal requests. Says nothing of what is in it."""
    cached = recipe.cached and has_shared_system(recipe)
    asked = replace(normalize_recipe(recipe), max_tokens=recipe.longest, cached=cached)
    return hashlib.blake2b(msgspec.json.encode(asked), digest_size=8).hexdigest()


class RowContents:
    """What a recipe uses of the cells of a row."""

    def __init__(self, recipe: Recipe, columns: Sequence[str]) -> None:
        places = {name: index for index, name in enumerate(columns)}
        names = columns_used(recipe.template)
        self._used = [(name, places[name]) for name in dict.fromkeys(names)]
        self._times = [places[name] for name in names]
        self._skip_empty = recipe.skip_empty
        # Without words of its own, a prompt is empty when all of its cells are.
        self._wordless = not static_text(recipe.prompt).strip()
        self._in_prompt = set(columns_used(recipe.prompt))

    def empty(self, cells: Sequence[str]) -> list[str]:
        """The columns that hold nothing but blanks."""
        return [name for name, place in self._used if not cells[place].strip()]

    def is_blank(self, empty: list[str]) -> bool:
        """Whether the prompt of a row with these columns `empty` is empty when filled in."""
        return self._wordless and self._in_prompt.issubset(empty)

    def is_skipped(self, empty: list[str]) -> bool:
        return bool(empty) if self._skip_empty else self.is_blank(empty)

    def key(self, cells: Sequence[str]) -> bytes:
        """The same for rows whose requests are the same, and for no others."""
        used = msgspec.json.encode([cells[place] for _name, place in self._used])
        return hashlib.blake2b(used, digest_size=16).digest()

    def may_be_long(self, cells: Sequence[str]) -> bool:
        """Without counting the bytes of each: a character has at most four."""
        return sum(map(len, cells)) * 4 * len(self._times) > LONG

    def bytes(self, cells: Sequence[str]) -> int:
        return sum(len(cells[place].encode(errors="replace")) for place in self._times)
