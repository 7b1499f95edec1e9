"""Pages as a reader gets them: how the templates break their lines makes no difference."""

from __future__ import annotations

import html
import re

# Space beside these is not seen, nor is space just inside of a button.
BLOCKS = (
    "article aside body br button dd details div dl dt fieldset footer form h1 h2 h3 head header "
    "html legend li link main meta nav ol option p script section select summary table tbody td "
    "th thead title tr ul"
)
SPACE_AT_BLOCK = re.compile(rf"\s*(</?(?:{BLOCKS.replace(' ', '|')})\b[^>]*>)\s*")
# In these all space is seen.
VERBATIM = re.compile(r"(<(pre|textarea)\b.*?</\2>)", re.DOTALL)


def squeezed(page: bytes | str) -> str:
    """The HTML of a page without the space that nobody sees, entities resolved."""
    text = page.decode() if isinstance(page, bytes) else page
    parts = VERBATIM.split(text)  # between, verbatim, name of its tag, between, ...
    parts[::3] = map(_squeeze, parts[::3])
    parts[2::3] = [""] * len(parts[2::3])
    return html.unescape("".join(parts))


def _squeeze(text: str) -> str:
    return SPACE_AT_BLOCK.sub(r"\1", re.sub(r"\s+", " ", text).replace(" >", ">"))


def unmarked(page: str) -> str:
    """The page without the marks around what was inserted from a row."""
    return re.sub(r"</?mark[^>]*>", "", page)
