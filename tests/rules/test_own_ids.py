"""Only what this site wrote is an id of a batch of its own."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jobs.rules.own_ids import OwnIds, own_id

NUMBERS = [1, 7, 42, 9_999_999, 12_345_678]
IDS = OwnIds("abc", NUMBERS)


def test_each_row_has_its_id() -> None:
    assert dict(IDS) == {own_id("abc", number): number for number in NUMBERS}
    assert len(IDS) == len(NUMBERS)


@given(
    st.one_of(
        st.text(max_size=70),
        st.from_regex("abc-[0-9\u0667]{1,12}", fullmatch=True),
        st.sampled_from(["abc-7", "abc-00000007", "abc--000007", "ab-0000007", "abc-0000008"]),
    )
)
def test_nothing_else_is_one(custom_id: str) -> None:
    known = {own_id("abc", number): number for number in NUMBERS}
    assert IDS.get(custom_id) == known.get(custom_id)
    assert (custom_id in IDS) == (custom_id in known)
