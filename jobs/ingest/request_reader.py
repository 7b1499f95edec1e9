"""Ready-made requests, `{"custom_id": ..., "params": {...}}`: checked and fixed, they become rows.

A problem that can be fixed in all requests at once has a fix, a short code such as
"remove:temperature". The fixes that a person chose (`remedies`) are applied wherever they fit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from ..rules.model_capabilities import model_rules
from ..rules.pricing import all_models, find_model
from .input_sizes import InputSize, input_size
from .request_checks import SHOWN, find_problems
from .request_fixes import apply_fix, done_sentence, fix_label
from .request_shapes import Json
from .request_tools import count_uses
from .shapes import Finding, Limits, ParsedRow

ROUNDS = 20  # of fixing one request; every fix resolves a finding, so this is never reached

_encoder = msgspec.json.Encoder()
# Findings that do not skip the row.
_REMARKS = {"req_deprecated"}


class RequestReader:
    """Turns the ready-made requests of one file into rows, one by one."""

    def __init__(self, remedies: tuple[str, ...], limits: Limits) -> None:
        self._remedies = {code for code in remedies if fix_label(code)}
        self._limits = limits
        self._seen: dict[str, int] = {}
        self._fixed: Counter[str] = Counter()
        self._deprecated: dict[str, tuple[Finding, int]] = {}  # with how many of them there are
        self._with_tools = self._with_links = self._unmeasured = 0

    def line(self, number: int, source: str, request: Json) -> ParsedRow:
        """`source` is the text of `request`, on line `number` of the file. `request` is changed
        when a remedy applies to it."""
        findings = _findings(number, request, self._limits)
        fixed = set()
        for _round in range(ROUNDS):
            codes = {finding.fix for finding in findings} & self._remedies
            if not codes:
                break
            for code in codes:
                apply_fix(code, request)
            fixed |= codes
            findings = _findings(number, request, self._limits)
        if fixed:
            self._fixed.update(fixed)
            source = _encoder.encode(request).decode()
        problems = [finding for finding in findings if finding.kind not in _REMARKS]
        if problem := self._id_problem(number, request.get("custom_id")):
            problems.insert(0, problem)
        if problems:
            return ParsedRow(number, source, 0, _as_one(problems))
        for finding in findings:
            first, count = self._deprecated.get(finding.fix, (finding, 0))
            self._deprecated[finding.fix] = first, count + 1
        row = measured_row(number, source, request)
        self._with_tools += row.turns > 0
        self._with_links += row.is_linked
        self._unmeasured += row.is_open and not row.is_linked
        return row

    def is_wrong(self, number: int, request: Json) -> bool:
        """Whether the next request has problems without any fix."""
        findings = _findings(number, request, self._limits)
        if any(finding.kind not in _REMARKS for finding in findings):
            return True
        custom_id = request.get("custom_id")
        return not isinstance(custom_id, str) or not custom_id.strip() or custom_id in self._seen

    def remarks(self) -> Iterator[Finding]:
        """Remarks about the whole file, once all rows were read."""
        for code, count in sorted(self._fixed.items()):
            yield Finding("changed", f"{done_sentence(code)} in {_requests(count)}.")
        for finding, count in self._deprecated.values():
            text = f"{finding.text} {_requests(count)} {'asks' if count == 1 else 'ask'} for it."
            yield Finding(finding.kind, text, finding.line, finding.fix)
        if self._with_tools:
            text = f"{_requests(self._with_tools)} may search the web or fetch pages."
            yield Finding("req_finding", text)
        if self._with_links:
            link = "links" if self._with_links == 1 else "link"
            text = f"{_requests(self._with_links)} {link} files that are not in your upload."
            yield Finding("req_linked", text)
        if self._unmeasured:
            text = f"The length of {_requests(self._unmeasured)} is unknown."
            yield Finding("req_unmeasured", text)

    def _id_problem(self, number: int, custom_id: Any) -> Finding | None:
        """Any text is valid, because we send IDs of our own."""
        if not isinstance(custom_id, str) or not custom_id.strip():
            return Finding("req_id", "“custom_id” is missing, empty or not text.", number)
        if custom_id in self._seen:
            before = self._seen[custom_id]
            text = f"The custom_id “{custom_id[:SHOWN]}” is already used on line {before:,}."
            return Finding("req_same_id", text, number)
        self._seen[custom_id] = number
        return None


def measured_row(number: int, source: str, request: Json) -> ParsedRow:
    """The row of a `request` without problems, with all that its price depends on."""
    params = request["params"]
    searches, turns = count_uses(params.get("tools", []))
    size = len(bytes(_params_decoder.decode(source).params))
    found, most = measure_input(params, size)
    return ParsedRow(
        number,
        source,
        size,
        model=params["model"],
        max_tokens=params["max_tokens"],
        cached=_asks_for_caching(source, request),
        in_the_us=params.get("inference_geo") == "us",
        searches=searches,
        turns=turns,
        most=most,
        usual=found.usual,
        is_linked=found.is_linked,
        is_open=found.most is None,
    )


def measure_input(params: Json, size: int) -> tuple[InputSize, int]:
    """The size of a valid request's input, and its most tokens: at most the context of its model,
    because nothing longer is accepted or charged."""
    known = find_model(params["model"])
    found = input_size(params, size, model_rules(known.id if known else ""))
    context = known.context if known else max(one.context for one in all_models())
    return found, context if found.most is None else min(found.most, context)


def _asks_for_caching(source: str, request: Json) -> bool:
    """Whether it asks for prompt caching, also when written with escapes."""
    text = _encoder.encode(request).decode() if "\\u" in source else source
    return '"cache_control"' in text


class _Params(msgspec.Struct):
    params: msgspec.Raw


_params_decoder = msgspec.json.Decoder(_Params)


def _as_one(problems: list[Finding]) -> Finding:
    """A row has one problem: the first, with the texts of the others."""
    first, *others = problems
    if not others:
        return first
    text = " ".join([first.text, "Also:", *(other.text for other in others)])
    return Finding(first.kind, text, first.line, first.fix)


def _requests(count: int) -> str:
    return "1 request" if count == 1 else f"{count:,} requests"


# --- What is wrong --------------------------------------------------------------------------------


def _findings(number: int, request: Json, limits: Limits) -> list[Finding]:
    return [Finding(kind, text, number, fix) for kind, text, fix in find_problems(request, limits)]
