"""Messages of the reader process: one ReaderInput on standard input, then ReaderOutputs on standard
output, each prefixed with its length."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from operator import add

import msgspec

from ..rules.pricing import LONG_FROM
from .corrected_rows import CorrectedFile
from .finding_kinds import remedy_of, title_of
from .shapes import LINES_NAMED, Choices, Finding, Limits, Option, ParsedRow, Reader

# Facts about the ready-made requests to one model. `cached` and `in_the_us` are 1 if any request
# asks for it; `searches` and `turns` are sums. `bytes` of text have about as many tokens as the
# inputs. `most`: the most tokens of all inputs; `most_row`: of the longest; `surplus`: how many
# more tokens than bytes one can have. `linked`: with files that the provider fetches; `long`: these
# may cost more because of their length.
MODEL_FACTS = (
    "rows",
    "bytes",
    "most",
    "most_row",
    "surplus",
    "linked",
    "max_tokens_sum",
    "max_tokens_most",
    "cached",
    "in_the_us",
    "searches",
    "turns",
    "long",
    "long_bytes",
    "long_most",
    "long_max_tokens_sum",
)
_LENGTH = struct.Struct("!I")
_encoder = msgspec.msgpack.Encoder()


class ReaderInput(msgspec.Struct):
    path: str
    choices: Choices
    limits: Limits
    slice: int = 2_000  # rows per message
    corrections: list[str] = []  # files with corrected rows, the latest last
    # The file is a corrected file of an upload that was read with `choices`.
    corrected: bool = False


class FindingGroup(msgspec.Struct):
    """Findings of one kind. `texts`, `lines` and `options` are parallel and list the first ones."""

    kind: str
    count: int = 0
    lines: list[int] = []
    texts: list[str] = []
    leaves_out: bool = False  # the rows cannot be sent
    fix: str = ""  # of the first finding with a fix: see request_fixes.fix_label
    options: list[list[Option]] = []

    @property
    def title(self) -> str:
        """One sentence for all of them."""
        return title_of(self.kind, self.count, self.texts)

    @property
    def remedy(self) -> str:
        return remedy_of(self.kind)

    @property
    def places(self) -> list[tuple[int, str]]:
        """The first findings: line (0: the whole file) and text."""
        return list(zip(self.lines, self.texts, strict=True))

    def add(self, finding: Finding) -> None:
        self.count += 1
        self.fix = self.fix or finding.fix
        if len(self.texts) < LINES_NAMED:
            self.texts.append(finding.text)
            self.lines.append(finding.line or 0)
            self.options.append(list(finding.options))


class FileFacts(msgspec.Struct, frozen=True):
    """How a file was read and what is in it; sizes in bytes of UTF-8. What an older version did not
    store has its default."""

    format: str = ""  # "" until a file was read
    # Of its Choices, what applied: chosen or detected.
    encoding: str = ""
    delimiter: str = ""
    sheet: str = ""
    header: int = 0
    sheets: list[str] = []
    blank_lines: int = 0
    text_bytes: int = 0
    column_bytes: list[int] = []  # of a table
    longest_row: int = 0  # its number; of ready-made requests, the one with the most tokens
    models: dict[str, dict[str, int]] = {}  # of ready-made requests: MODEL_FACTS by model


class UploadSummary(msgspec.Struct):
    """What a reader found; sizes in bytes of UTF-8."""

    format: str
    kind: str
    understood: Choices = Choices()
    sheets: list[str] = []
    columns: list[str] = []
    rows: int = 0
    skipped: int = 0
    blank_lines: int = 0
    text_bytes: int = 0
    column_bytes: list[int] = []
    longest_row: int = 0  # its number; of ready-made requests, the one with the most tokens
    longest_size: int = -1
    models: dict[str, dict[str, int]] = {}
    groups: list[FindingGroup] = []

    def add(self, line: ParsedRow) -> None:
        self.rows += 1
        if line.problem:
            self.skipped += 1
            self.note(line.problem, leaves_out=True)
            return
        size = line.size
        self.text_bytes += size
        if line.model:
            self._add_request(line)
            size = line.most
        elif sums := self.column_bytes:
            sums[:] = map(add, sums, line.cell_sizes)
        else:
            self.column_bytes = list(line.cell_sizes)
        if size > self.longest_size:
            self.longest_row, self.longest_size = self.rows, size

    def _add_request(self, line: ParsedRow) -> None:
        model = self.models.setdefault(line.model, dict.fromkeys(MODEL_FACTS, 0))
        model["rows"] += 1
        model["cached"] |= line.cached
        model["in_the_us"] |= line.in_the_us
        model["searches"] += line.searches
        model["turns"] += line.turns
        model["bytes"] += line.usual
        model["most"] += line.most
        model["most_row"] = max(model["most_row"], line.most)
        model["surplus"] = max(model["surplus"], line.most - line.size)
        model["linked"] += line.is_linked
        model["max_tokens_sum"] += line.max_tokens
        if line.most > LONG_FROM:
            model["long"] += 1
            model["long_bytes"] += line.usual
            model["long_most"] += line.most
            model["long_max_tokens_sum"] += line.max_tokens
        model["max_tokens_most"] = max(model["max_tokens_most"], line.max_tokens)

    @property
    def facts(self) -> FileFacts:
        understood = self.understood
        return FileFacts(
            self.format,
            understood.encoding,
            understood.delimiter,
            understood.sheet,
            understood.header,
            self.sheets,
            self.blank_lines,
            self.text_bytes,
            self.column_bytes,
            self.longest_row,
            self.models,
        )

    def note(self, finding: Finding, *, leaves_out: bool = False) -> None:
        for group in self.groups:
            if group.kind == finding.kind:
                break
        else:
            group = FindingGroup(finding.kind, leaves_out=leaves_out)
            self.groups.append(group)
        group.add(finding)

    def close(self, reader: Reader) -> None:
        self.understood = reader.understood
        self.sheets = list(reader.sheets)
        self.columns = reader.columns
        self.blank_lines = reader.blank_lines
        for remark in reader.remarks:
            self.note(remark)
        for name, size in zip(self.columns, self.column_bytes, strict=False):
            if not size:
                text = f"The column “{name}” is empty."
                self.note(Finding("empty_column", text))


class RowsRead(msgspec.Struct, tag=True):
    """Some rows: line, source, size, problem as text."""

    rows: list[tuple[int, str, int, str]]
    position: int


class FileRead(msgspec.Struct, tag=True):
    """The file was read completely."""

    summary: UploadSummary


class CorrectedRowsRead(msgspec.Struct, tag=True):
    """Some rows of a corrected file; see CorrectedFile.rows."""

    rows: list[tuple[int, list[str | None]]]


class CorrectedFileRead(msgspec.Struct, tag=True):
    """A corrected file was read completely, after its rows were sent."""

    file: CorrectedFile


class Failed(msgspec.Struct, tag=True):
    """The file cannot be read; `summary`: what was found so far. With `correction`, that corrected
    file cannot be used."""

    findings: list[Finding]
    correction: int | None = None
    summary: UploadSummary | None = None


ReaderOutput = RowsRead | FileRead | CorrectedRowsRead | CorrectedFileRead | Failed
_decoder = msgspec.msgpack.Decoder(ReaderOutput)


def frame(answer: ReaderOutput) -> bytes:
    raw = _encoder.encode(answer)
    return _LENGTH.pack(len(raw)) + raw


def frames(blocks: Iterator[bytes]) -> Iterator[ReaderOutput]:
    """The ReaderOutputs in a stream of bytes, without one that is cut off. Raises
    msgspec.DecodeError."""
    buffer = bytearray()
    for block in blocks:
        buffer += block
        begin = 0
        while len(buffer) - begin >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer, begin)
            end = begin + _LENGTH.size + length
            if len(buffer) < end:
                break
            yield _decoder.decode(memoryview(buffer)[begin + _LENGTH.size : end])
            begin = end
        del buffer[:begin]


def too_much(limits: Limits) -> Finding:
    megabytes = limits.memory // 1_000_000
    return Finding("too_much", f"Reading this file needs more than {megabytes:,} MB of memory.")


def too_long(limits: Limits) -> Finding:
    return Finding("too_much", f"Reading this file takes longer than {limits.seconds:,} seconds.")
