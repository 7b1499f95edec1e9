"""The documentation as pages of the site: docs/using for everyone, docs/running for administrators.

What GitHub shows and what the site shows are the same files. Links between them lead to pages of
the site; links to other files of the repository become plain text.
"""

from __future__ import annotations

import posixpath
import re
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from django.conf import settings
from django.templatetags.static import static
from django.urls import reverse
from django.utils.safestring import SafeString
from markdown_it import MarkdownIt
from markdown_it.token import Token

DOCS = settings.BASE_DIR / "docs"
# In the order in which a newcomer needs them. The names are those of the files.
USING = (
    "using/jobs",
    "using/files",
    "using/prompts",
    "using/costs",
    "using/problems",
    "using/quality",
    "using/notifications",
    "using/sign-in",
    "using/command-line",
    "using/requests",
)
RUNNING = (
    "running/install",
    "running/container",
    "running/settings",
    "running/people",
    "running/mail",
    "running/security",
    "running/asvs",
    "running/audit",
    "running/privacy",
    "running/backup",
    "running/copies",
    "running/upgrade",
    "running/monitoring",
    "running/postgresql",
    "running/troubleshooting",
)
SIGN_IN = "using/sign-in"  # the one page that is open to people who cannot sign in

IMAGES = "../images/"
STATIC_IMAGES = "docs-images/"  # where settings.STATICFILES_DIRS puts docs/images
# Elsewhere text is read as it stands, so a file of ours cannot bring an element of its own.
MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")


@dataclass(frozen=True)
class Section:
    """A heading with what stands under it, up to the next heading."""

    level: int  # 1: the title of the page
    title: str
    anchor: str  # "" for the top of the page
    blocks: tuple[str, ...]  # paragraphs, list items, rows of tables and code as plain text


@dataclass(frozen=True)
class HelpPage:
    name: str  # "using/files"
    title: str
    html: SafeString  # without the title
    sections: tuple[Section, ...]

    @property
    def address(self) -> str:
        return address_of(self.name)

    @property
    def lead(self) -> str:
        """What the page is about: its first sentences."""
        return self.sections[0].blocks[0] if self.sections[0].blocks else ""

    @property
    def contents(self) -> list[Section]:
        return [section for section in self.sections if section.level in (2, 3)]


def names_for(administrator: bool) -> tuple[str, ...]:
    return USING + RUNNING if administrator else USING


def pages_for(administrator: bool) -> list[HelpPage]:
    return [find_page(name) for name in names_for(administrator)]


def address_of(place: str) -> str:
    """ "/help/using/costs/#limits" for "using/costs#limits" """
    name, hash_sign, anchor = place.partition("#")
    if name == SIGN_IN:
        return reverse("help_sign_in") + hash_sign + anchor
    return reverse("help_page", args=[name]) + hash_sign + anchor


@cache
def find_page(name: str) -> HelpPage:
    """The page of docs/<name>.md. Raises ValueError for a name that is none of ours."""
    if name not in USING + RUNNING:
        raise ValueError(name)
    tokens = MARKDOWN.parse((DOCS / f"{name}.md").read_text())
    _give_anchors(tokens)
    sections = tuple(_sections(tokens))
    for opening, inline, closing in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if opening.type == "th_open" and not inline.content:
            opening.tag = closing.tag = "td"  # an empty one is the head of nothing
    for token in tokens:
        token.attrs.pop("style", None)  # of aligned cells: the policy allows no inline style
        if token.children:
            token.children = list(_for_the_site(token.children, posixpath.dirname(name)))
    body = tokens[3:]  # the first three are the title, which the template writes
    html = MARKDOWN.renderer.render(body, MARKDOWN.options, {})
    return HelpPage(name, sections[0].title, SafeString(html), sections)


def _give_anchors(tokens: Sequence[Token]) -> None:
    """As GitHub makes them, so that a link works on both."""
    used: Counter[str] = Counter()
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            anchor = re.sub(r"[^\w -]", "", _text_of(inline).lower()).replace(" ", "-")
            used[anchor] += 1
            again = f"-{used[anchor] - 1}" if used[anchor] > 1 else ""
            opening.attrs["id"] = anchor + again


def _sections(tokens: Sequence[Token]) -> Iterator[Section]:
    """Begins with that of the title."""
    heading, title, blocks = tokens[0], _text_of(tokens[1]), list[str]()
    cells = list[str]()
    for before, token in pairwise(tokens[1:]):
        if before.type == "heading_open":
            yield _section(heading, title, blocks)
            heading, title, blocks = before, _text_of(token), []
        elif token.type == "inline" and before.type in ("td_open", "th_open"):
            cells.append(_text_of(token))
        elif token.type == "tr_close":
            blocks.append(" · ".join(filter(None, cells)))
            cells = []
        elif token.type == "inline":
            blocks.append(_text_of(token))
        elif token.type in ("fence", "code_block"):
            blocks.append(token.content.strip())
    yield _section(heading, title, blocks)


def _section(heading: Token, title: str, blocks: Iterable[str]) -> Section:
    level = int(heading.tag.removeprefix("h"))
    anchor = "" if level == 1 else str(heading.attrs["id"])
    return Section(level, title, anchor, tuple(filter(None, blocks)))


def _text_of(inline: Token) -> str:
    """Without the pictures: their words stand beside them, too."""
    return "".join(
        " " if token.type in ("softbreak", "hardbreak") else token.content
        for token in inline.children or ()
        if token.type != "image"
    ).strip()


def _for_the_site(tokens: Iterable[Token], folder: str) -> Iterator[Token]:
    """With links and pictures that work on the site."""
    dropped = False
    for token in tokens:
        if token.type == "link_open":
            address = _site_address(str(token.attrs["href"]), folder)
            dropped = not address
            token.attrs["href"] = address
        if token.type == "image":
            token.attrs.update(_image(str(token.attrs["src"])))
        if not (dropped and token.type in ("link_open", "link_close")):
            yield token


def _site_address(href: str, folder: str) -> str:
    """ "" for a file of the repository that is no page of the site."""
    if re.match(r"[a-z]+:|#", href):
        return href
    path, hash_sign, anchor = href.partition("#")
    name = posixpath.normpath(posixpath.join(folder, path)).removesuffix(".md")
    return address_of(name + hash_sign + anchor) if name in USING + RUNNING else ""


def _image(src: str) -> dict[str, str | int | float]:
    """Attributes for a picture of docs/images; with its size, so that nothing jumps."""
    name = src.removeprefix(IMAGES)
    with (DOCS / "images" / name).open("rb") as file:
        width, height = struct.unpack(">II", file.read(24)[16:])  # of a PNG
    return {
        "src": static(STATIC_IMAGES + name),
        "width": width,
        "height": height,
        "loading": "lazy",
    }
