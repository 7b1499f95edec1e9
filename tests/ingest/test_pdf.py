"""A PDF is never taken to be shorter than it is, however it is written."""

from __future__ import annotations

import zlib

import pytest

from jobs.ingest import pdf
from jobs.ingest.pdf import Pdf, read_pdf

from .test_input_sizes import MILLION, document, most_of, request
from .test_input_sizes import pdf as small_pdf

pytestmark = pytest.mark.no_database


def stream(data: bytes, words: bytes = b"", *, packed: bool = True) -> bytes:
    """The body of an object: a dictionary and what it is about."""
    if packed:
        data, words = zlib.compress(data), words + b" /Filter /FlateDecode"
    return b"<<%b /Length %d >>\nstream\n%b\nendstream" % (words, len(data), data)


def shown(text: bytes) -> bytes:
    return b"BT /F1 12 Tf (%b) Tj ET" % text


def file_of(objects: dict[int, bytes], end: bytes = b"") -> bytes:
    """As writers make it, but for the table of objects."""
    bodies = (b"%d 0 obj\n%b\nendobj\n" % item for item in objects.items())
    return b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + b"".join(bodies) + end + b"trailer << >>\n%%EOF\n"


def tree(*kids: int, count: int | None = None) -> bytes:
    numbers = b" ".join(b"%d 0 R" % kid for kid in kids)
    return b"<< /Type /Pages /Kids [%b] /Count %d >>" % (numbers, count or len(kids))


def page(contents: bytes = b"4 0 R", more: bytes = b"") -> bytes:
    return b"<< /Type /Page /Parent 2 0 R /Contents %b %b>>" % (contents, more)


ROOT = b"<< /Type /Catalog /Pages 2 0 R >>"
# One page that says "Hello".
PLAIN = {1: ROOT, 2: tree(3), 3: page(), 4: stream(shown(b"Hello"))}
HIDDEN = b"5 0 6 70 " + page() + page() + page()


def test_a_plain_one_is_measured() -> None:
    assert read_pdf(file_of(PLAIN)) == Pdf(1, 5)


def test_pages_in_compressed_objects_are_counted() -> None:
    hidden = {**PLAIN, 9: stream(HIDDEN, b"/Type /ObjStm /N 3 /First 10")}
    found = read_pdf(file_of(hidden))
    assert found and found.pages == 4
    for words in (
        b"/Type /ObjStm /N 3 /First 10 /Length1 5",
        b"/N 3 /First 10 /Subtype /Image",
        b"/N 3 /First 10 /Type /XRef",
    ):
        found = read_pdf(file_of({**PLAIN, 9: stream(HIDDEN, words)}))
        assert found and found.pages == 4, words


def test_a_short_file_may_have_many_pages() -> None:
    kids = range(10, 2_010)
    pages = b"".join(page(b"[]") for _ in kids)
    raw = file_of({1: ROOT, 2: tree(*kids), 3: stream(pages, b"/Type /ObjStm /N 9 /First 9")})
    assert len(raw) < 2 * MILLION // 100
    assert read_pdf(raw) == Pdf(2_000, 0)
    assert most_of(request(document(raw))) == MILLION


def test_a_number_of_pages_that_is_too_high_is_taken_for_one_that_is_true() -> None:
    assert read_pdf(file_of({**PLAIN, 2: tree(3, count=900)})) == Pdf(900, 5)
    assert read_pdf(file_of({**PLAIN, 2: tree(3, 5, 6, count=1)})) == Pdf(3, 5)


def test_what_was_added_later_counts() -> None:
    first = file_of(PLAIN)
    later = b"2 0 obj\n" + tree(5, 6) + b"\nendobj\n"
    later += b"5 0 obj\n" + page() + b"\nendobj\n6 0 obj\n" + page() + b"\nendobj\n"
    later += b"4 0 obj\n" + stream(shown(b"Hello, world")) + b"\nendobj\n"
    assert read_pdf(first + later + b"startxref 0\n%%EOF") == Pdf(3, 3 * 12)


def test_a_text_that_pages_share_is_in_each_of_them() -> None:
    pages = {number: page() for number in range(10, 30)}
    assert read_pdf(file_of({**PLAIN, 2: tree(*pages), 3: b"null", **pages})) == Pdf(20, 100)
    twice = {**PLAIN, 3: page(b"[4 0 R 4 0 R]")}
    assert read_pdf(file_of(twice)) == Pdf(1, 10)


def test_a_text_that_is_drawn_again_and_again_counts_each_time() -> None:
    drawn = stream(shown(b"Hello"), b"/Type /XObject /Subtype /Form")
    raw = file_of({**PLAIN, 4: stream(b"/Fm0 Do " * 40), 5: drawn})
    found = read_pdf(raw)
    assert found and found.text >= 40 * 5


def test_one_letter_may_stand_for_many() -> None:
    many = b"0041" * 100
    table = b"begincmap 1 begincodespacerange <00> <FF> endcodespacerange "
    table += b"1 beginbfchar <41> <%b> endbfchar endcmap" % many
    raw = file_of({**PLAIN, 4: stream(shown(b"A" * 50)), 5: stream(table)})
    assert read_pdf(raw) == Pdf(1, 50 * 100)
    # Two bytes a letter, as most writers have it.
    table = table.replace(b"<00> <FF>", b"<0000> <FFFF>").replace(many, b"2019")
    raw = file_of({**PLAIN, 4: stream(b"BT <00410041> Tj ET"), 5: stream(table)})
    assert read_pdf(raw) == Pdf(1, 6)


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (b"BT (a \\) b) Tj ET", 6),
        (b"BT (\xe4\xf6) Tj ET", 6),
        (b"BT <48656C6C6F> Tj ET", 5),
        (b"BT (it has (some) in it) Tj ET", 18),
        (b"BT (it has no end", 12),
        (b"BT <48 zz 65 6C6C6F> Tj ET", 5),
        (b"% (\n(Hello) Tj % )\n", 5),
    ],
)
def test_no_text_is_overlooked(said: bytes, text: int) -> None:
    found = read_pdf(file_of({**PLAIN, 4: stream(said)}))
    assert found and found.text >= text


PACKED = b" /Filter /FlateDecode"
UNCLEAR = {
    "no PDF at all": b"no PDF at all",
    "no page": b"%PDF-1.7 without a page",
    "encrypted": file_of(PLAIN, b"trailer << /Encrypt 9 0 R >>\n"),
    "another packing": small_pdf(
        2, extra=b"9 0 obj << /Filter /LZWDecode >> stream\nabc\nendstream"
    ),
    "two packings": file_of(
        {**PLAIN, 9: b"<< /Filter [/ASCII85Decode /FlateDecode] >> stream\nx\nendstream"}
    ),
    "a packing twice": file_of({**PLAIN, 9: stream(HIDDEN, b"/Filter /ASCIIHexDecode")}),
    "a packing elsewhere": file_of({**PLAIN, 9: b"<< /Filter 8 0 R >>\nstream\nabc\nendstream"}),
    "a predictor": file_of({**PLAIN, 9: stream(HIDDEN, b"/DecodeParms << /Predictor 12 >>")}),
    "not packed": file_of({**PLAIN, 9: b"<< /Filter /FlateDecode >> stream\nabc\nendstream"}),
    "no end": small_pdf(2, extra=b"9 0 obj << /Filter /FlateDecode >> stream\nno end"),
    "1,000 times its bytes": small_pdf(2, b" " * 30 * MILLION),
    "a disguised name": file_of({**PLAIN, 9: b"<< /Typ#65 /Page >>"}),
    "a disguised packing": file_of(
        {**PLAIN, 9: stream(HIDDEN, b"/First 9").replace(b"/Filter", b"/F#69lter")}
    ),
    "a kind elsewhere": file_of({**PLAIN, 9: stream(HIDDEN, b"/Subtype 8 0 R")}),
    "one page in many places": file_of({**PLAIN, 2: tree(*[3] * 10_000, count=1)}),
    "one part of the tree in many places": file_of(
        {**PLAIN, 2: tree(5, 6, count=1), 5: tree(7, 3), 6: tree(7), 7: tree(8)}
    ),
    "the tree elsewhere": file_of({**PLAIN, 2: b"<< /Type /Pages /Kids 9 0 R /Count 1 >>"}),
    "a comment in the tree": file_of(
        {**PLAIN, 2: b"<< /Type /Pages /Kids [%]\n" + b"3 0 R " * 99 + b"] /Count 1 >>"}
    ),
    "a text that calls itself a picture": file_of(
        {**PLAIN, 4: stream(shown(b"Hello"), b"/Subtype /Image")}
    ),
    "a text that calls itself a font": file_of(
        {**PLAIN, 4: stream(shown(b"Hello"), b"/Length1 9")}
    ),
    "a list of texts elsewhere": file_of({**PLAIN, 3: page(b"9 0 R"), 9: b"[4 0 R 4 0 R]"}),
    "a comment before a text": file_of({**PLAIN, 3: page(b"%\n4 0 R")}),
    "drawings that draw each other": file_of(
        {
            **PLAIN,
            5: stream(b"/Fm1 Do " * 99, b"/Subtype /Form"),
            6: stream(shown(b"Hello"), b"/Subtype /Form"),
        }
    ),
    "a picture that ends before it says": file_of(
        {
            **PLAIN,
            9: b"<< /Subtype /Image /Length 3 >>\nstream\nabc\nendobj\n"
            b"10 0 obj\n" + page() + b"\nendobj\nendstream",
        }
    ),
    "a text for a dictionary": file_of(
        {**PLAIN, 9: b"<<" + PACKED + b" /X (8 0 obj << ) >>\nstream\nabc\nendstream"}
    ),
    "a text with brackets for a dictionary": file_of(
        {**PLAIN, 9: b"<<" + PACKED + b" /X (8 0 obj << \\( ) >>\nstream\nabc\nendstream"}
    ),
    "a comment for a dictionary": file_of(
        {**PLAIN, 9: b"<<" + PACKED + b" %8 0 obj <<\n>>\nstream\nabc\nendstream"}
    ),
    "a comment with an end for a dictionary": file_of(
        {**PLAIN, 9: b"<<" + PACKED + b" %endobj 8 0 obj <<\n>>\nstream\nabc\nendstream"}
    ),
    "a comment that hides a key": file_of(
        {**PLAIN, 9: b"<< %/Subtype /Image\n>>\nstream\nabc\nendstream"}
    ),
    "a dictionary in a dictionary": file_of(
        {**PLAIN, 9: b"<<" + PACKED + b" 8 0 obj << >>\nstream\nabc\nendstream"}
    ),
    "a comment for a stream": file_of(
        {**PLAIN, 9: b"<< /Subtype /Image >> %stream\n" + page() + b"%endstream\n"}
    ),
    "a letter for many": file_of({**PLAIN, 9: b"[/uni00410042004300440045]"}),
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_what_is_unclear_is_as_long_as_can_be(name: str) -> None:
    assert read_pdf(UNCLEAR[name]) is None
    assert most_of(request(document(UNCLEAR[name]))) == MILLION


def test_a_page_may_hold_more_text_than_is_usual() -> None:
    raw = file_of({**PLAIN, 4: stream(shown(b"dense " * 50_000))})
    assert read_pdf(raw) == Pdf(1, 300_000)
    assert 300_000 <= most_of(request(document(raw))) < 310_000
    assert most_of(request(document(file_of(PLAIN)))) < 2 * (pdf.PAGE_TEXT + 4_784)
