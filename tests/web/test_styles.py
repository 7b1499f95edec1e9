"""Our style sheets have no rule for a class that nothing has any more."""

from __future__ import annotations

import re

from ..environment import ROOT

COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
DECLARATIONS = re.compile(r"\{[^{}]*\}")
CLASS = re.compile(r"\.(-?[A-Za-z][\w-]*)")
TAG = re.compile(r"\{%.*?%\}", re.DOTALL)
# The value of a class attribute, in which the tags of a template may have quotes of their own.
ATTRIBUTE = re.compile(r'\bclass="((?:\{%.*?%\}|\{\{.*?\}\}|[^"])*)"', re.DOTALL)
# Within such a value.
CONTAINER = re.compile(r"\{% block (?:container|wrapper) %\}(.*?)\{% endblock %\}")
QUOTED = re.compile(r"""(["'`])((?:(?!\1).)*)\1""")
WORD = re.compile(r"[A-Za-z][\w-]*")
BEGUN = re.compile(r"([A-Za-z][\w-]*-)(?:\{|\$\{)")  # "tag-{}": the rest is filled in
# Written by others: htmx while a request is under way, and Tabler's, of which ours is combined.
THEIRS = re.compile(r"htmx-|navbar|btn|card|form-|table|badge|alert|list-group|input-|text-")


def used_classes() -> tuple[set[str], tuple[str, ...]]:
    """Names that stand in a class attribute or in a string, and beginnings of such names."""
    texts: list[str] = []
    for path in (ROOT / "templates").rglob("*.html"):
        page = path.read_text()
        texts += ATTRIBUTE.findall(page) + CONTAINER.findall(page)
        texts += [found[1] for tag in TAG.findall(page) for found in QUOTED.findall(tag)]
    for path in [*(ROOT / "static").glob("*.js"), *(ROOT / "jobs").rglob("*.py")]:
        texts += [found[1] for found in QUOTED.findall(path.read_text())]
    everything = "\n".join(texts)
    return set(WORD.findall(everything)), tuple(set(BEGUN.findall(everything)))


def test_every_class_in_our_style_sheets_is_used() -> None:
    words, begun = used_classes()
    unused = []
    for path in sorted((ROOT / "static").glob("*.css")):
        selectors = DECLARATIONS.sub(" ", COMMENT.sub("", path.read_text()))
        unused += [
            f"{path.name}: .{name}"
            for name in sorted(set(CLASS.findall(selectors)))
            if name not in words and not name.startswith(begun) and not THEIRS.match(name)
        ]
    assert not unused, "\n".join(["", *unused])
