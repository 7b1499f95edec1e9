"""Parts of texts never leave out a text that holds a piece."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.rules import trigrams

letters = st.one_of(st.sampled_from('ab AB  ßſıİÉéΣσς\n"\\中😀'), st.characters(codec="utf-8"))
texts = st.text(letters, max_size=20)


def held(parts: list[str], pieces: list[str]) -> list[int]:
    part = trigrams.Part()
    for text in parts:
        part.add(text)
    keys = [trigrams.keys_of(trigrams.fold(piece)) for piece in pieces]
    bits = trigrams.may_hold(memoryview(part.pack()), len(parts), keys)
    digits = trigrams.digits_of(bits, len(parts))
    assert len(digits) == len(parts)
    return [at for at, digit in enumerate(digits) if digit == ord("1")]


@given(texts, texts)
def test_what_is_in_a_text_is_in_it_folded(before: str, after: str) -> None:
    assert trigrams.fold(before + after) == trigrams.fold(before) + trigrams.fold(after)


@given(st.lists(texts, min_size=1, max_size=9), st.lists(texts, min_size=1, max_size=2))
def test_no_text_that_holds_a_piece_is_left_out(parts: list[str], pieces: list[str]) -> None:
    folded = [trigrams.fold(piece) for piece in pieces]
    there = {
        at for at, text in enumerate(parts) if any(one in trigrams.fold(text) for one in folded)
    }
    assert there <= set(held(parts, pieces))


@given(st.lists(texts, min_size=1, max_size=4), st.data())
def test_every_piece_of_a_text_is_found(parts: list[str], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(parts) - 1))
    begin, length = data.draw(st.integers(0, 9)), data.draw(st.integers(0, 9))
    piece = parts[at][begin : begin + length].swapcase()
    if trigrams.fold(piece) in trigrams.fold(parts[at]):
        assert at in held(parts, [piece])


@pytest.mark.parametrize("count", [1, 29, 30, 31, 99, 100, 101, 5_000])
def test_rare_and_frequent_pieces_are_found(count: int) -> None:
    parts = [f"text {number} {'often' if number % 2 else 'rare'}" for number in range(count)]
    parts[-1] += " last"
    assert held(parts, ["OFTEN"]) == list(range(1, count, 2))
    assert held(parts, ["last"]) == [count - 1]
    assert held(parts, ["last", "rare"]) == sorted({*range(0, count, 2), count - 1})
    assert held(parts, ["nowhere"]) == []
    assert f"{count - 1}" in parts[held(parts, [f"text {count - 1} "])[0]]


@pytest.mark.parametrize("packed", [b"", b"12345678", b"GRT", b"\x01GRT" + b"\xff" * 4, b"x" * 99])
def test_what_is_no_part_is_not_read(packed: bytes) -> None:
    with pytest.raises(trigrams.Unreadable):
        trigrams.may_hold(memoryview(packed), 9, [{1}])


def test_a_part_that_was_cut_off_is_not_read() -> None:
    part = trigrams.Part()
    for number in range(200):
        part.add(f"text {number} {'often' if number % 2 else 'rare'}")
    packed = part.pack()
    keys = trigrams.keys_of("OFTEN")
    for length in range(0, len(packed), 37):
        try:
            bits = trigrams.may_hold(memoryview(packed[:length]), 200, [keys])
        except trigrams.Unreadable:
            continue
        assert bits == trigrams.may_hold(memoryview(packed), 200, [keys])
