"""A number keeps its digits and what its format says of it."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.ingest.workbook_cells import number_text
from jobs.ingest.workbook_formats import differs, number_format

pytestmark = pytest.mark.no_database


@pytest.mark.parametrize(
    ("code", "value", "text", "shown"),
    [
        ("0%", 0.08, "8%", "8%"),
        ("0%", 0.075, "7.5%", "8%"),
        ("0.00%", 0.1 + 0.2, "30.00%", "30.00%"),
        ("0%", -0.05, "-5%", "-5%"),
        ("0%;[Red]0%", -0.05, "-5%", "5%"),
        ("0.0 %", 1.5, "150.0 %", "150.0 %"),
        ("00000", 2494, "02494", "02494"),
        ("00000", -7, "-00007", "-00007"),
        ("00000", 1234567, "1234567", "1234567"),
        ("00 00 00 00 00", 612345678, "06 12 34 56 78", "06 12 34 56 78"),
        ("0000 0000 0000 0000", 4111111111111111, "4111 1111 1111 1111", "4111 1111 1111 1111"),
        ('"INV-"00000', 42, "INV-00042", "INV-00042"),
        ("\\#0", 4, "#4", "#4"),
        ('0 "kg"', 5.25, "5.25 kg", "5 kg"),
        ('#,##0 "kg"', 12345, "12,345 kg", "12,345 kg"),
        ('General" pcs"', 3, "3 pcs", "3 pcs"),
        ('0"°C"', -3, "-3°C", "-3°C"),
        ('"Yes";;"No"', 1, "Yes", "Yes"),
        ('"Yes";;"No"', 0, "No", "No"),
        ('"Yes";;"No"', -1, "", ""),
        ('[=1]"male";[=2]"female";"other"', 2, "female", "female"),
        ('[=1]"male";[=2]"female";"other"', 3, "other", "other"),
        ('[<50]"low";[>=90]"high";"middle"', 70, "middle", "middle"),
        ("[<=9999999]###-####;(###) ###-####", 5551234, "555-1234", "555-1234"),
        # Stored: what is shown says less, or the same
        ('"$"#,##0.00', 1234.5, "1234.5", "$1,234.50"),
        ("[$€-2] #,##0.00", 9.99, "9.99", "€ 9.99"),
        ('0.00" EUR"', 3, "3", "3.00 EUR"),
        ("#,##0;(#,##0)", -5, "-5", "(5)"),
        ("0;0", -5, "-5", "5"),
        ('0,"K"', 12_000, "12000", "12K"),
        ('0.0,,"M"', 5_600_000, "5600000", "5.6M"),
        ("# ##0", 12_345, "12345", "12 345"),
        ("# ?/?", 1.25, "1.25", "1 1/4"),
        ("0.00E+00", 12345, "12345", "1.23E+04"),
        ("0.00", 2.71828, "2.71828", "2.72"),
        ("0.00", 2.5, "2.5", "2.50"),
        ("[Red]0;[Blue]-0", 5, "5", "5"),
        ("0;-0;;@", 0, "0", ""),
        (";;;", 5, "5", ""),
        ("#,##0", 1e20, "100000000000000000000", "100,000,000,000,000,000,000"),
        ('_(* #,##0.00_);_(* (#,##0.00);_(* "-"??_);_(@_)', -1234.5, "-1234.5", "(1,234.50)"),
    ],
)
def test_a_number_keeps_its_digits_and_what_its_format_says(
    code: str, value: float, text: str, shown: str
) -> None:
    reading = number_format(code).of_number(value)
    assert (reading.read, reading.shown.strip()) == (text, shown)
    assert number_format(code).read_number(value, number_text(value)) == text


PARTS = re.compile("General")
PIECES = st.sampled_from(
    [*'0#?.,%/;@_*$-+() "\\ymdhsE', "E+0", "[Red]", "[h]", "[<5]", "[$€-2]", '"kg"', "General", "0"]
)


@given(
    st.lists(PIECES, max_size=12).map("".join),
    st.one_of(st.floats(allow_nan=False), st.integers(-(10**6), 10**6).map(float)),
)
@settings(deadline=None, database=None, max_examples=1_500)
def test_no_format_breaks_and_no_number_loses_digits(code: str, value: float) -> None:
    format = number_format(code)
    if format.is_date:
        return
    reading = format.of_number(value)
    assert format.read_number(value, number_text(value)) == reading.read
    stored = number_text(value)
    texts = {"\\", '"', "%", "General", "E", "*", "_"} & {*code, *PARTS.findall(code)}
    if reading.read != stored and not texts and not format.says_words:
        digits = "".join(one for one in reading.read if one.isdigit()).strip("0")
        meant = "".join(one for one in stored.partition("E")[0] if one.isdigit()).strip("0")
        assert meant in digits


QUICK = ["0%", "0.0%", "00000", '"INV-"00000', '0.00" kg"', '#,##0 "pcs"', '"A"0.0;"B"-0.0', "0.00"]


@pytest.mark.parametrize("code", [*QUICK, "#,##0.0%", '0" kg";-0" kg";"none"', "#,##0.00", "0"])
def test_the_quick_way_reads_what_the_other_way_reads(code: str) -> None:
    chance = random.Random(7)
    format = number_format(code)
    for _time in range(500):
        value = chance.choice(
            [
                chance.random(),
                chance.randint(0, 300) / 100,
                chance.randint(-5_000, 5_000_000),
                chance.random() * -2_000,
                chance.random() * 1e-5,
                0,
            ]
        )
        reading, stored = format.of_number(value), number_text(value)
        assert format.read_number(value, stored) == reading.read
        if format.shows_as_stored(value):
            assert reading.read == stored and not differs(reading.shown, stored)
    assert format.shows_as_stored(2) == (code in ("0.00", "#,##0.00", "0"))
