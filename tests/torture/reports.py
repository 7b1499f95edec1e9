"""The sum of many runs, in words and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from .runs import Result


@dataclass
class Report:
    wanted: int
    results: list[Result] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def failed(self) -> list[Result]:
        return [result for result in self.results if not result.is_good]

    def sums(self) -> dict[str, Counter[str]]:
        """Kills, faults, reasons why jobs were held, and all other numbers, added up."""
        return {
            "kills": total(result.kills for result in self.results),
            "faults": total(result.faults for result in self.results),
            "held": total(result.held for result in self.results),
            "counts": total(result.counts for result in self.results),
        }

    def as_json(self) -> dict[str, Any]:
        return {
            "runs": len(self.results),
            "failed": len(self.failed),
            "seconds": round(self.seconds, 1),
            **{name: dict(sorted(counter.items())) for name, counter in self.sums().items()},
            "results": [asdict(result) for result in self.results],
        }

    def __str__(self) -> str:
        sums = self.sums()
        counts = sums["counts"]
        runs = f"{len(self.results)} of {self.wanted} runs in {self.seconds:.0f} s"
        lines = [f"{runs}: {len(self.failed)} failed"]
        if self.results:
            lines[0] += f", {mean_seconds(self.results):.0f} s a run on average"
        for title, name in (("Kills", "kills"), ("Faults that fell", "faults")):
            lines += [f"\n{title}: {sums[name].total()}", *table(sums[name])]
        lines += [f"\nJobs held, and why: {sums['held'].total()}", *table(sums["held"])]
        lines += ["\nNumbers", *table(counts)]
        exact, files = counts["result files exact"], counts["result files"]
        changed = counts["result files with a line that a fault changed"]
        lines += [
            "",
            f"Rows accepted twice: {counts['rows accepted twice']}",
            f"Rows paid twice: {counts['rows paid twice']}",
            f"Result files exact: {exact} of {files}; with a line that a fault changed: {changed}",
        ]
        return "\n".join([*lines, *map(words_of, self.failed)])


def total(counters: Iterable[dict[str, int]]) -> Counter[str]:
    added: Counter[str] = Counter()
    for counter in counters:
        added.update(counter)
    return added


def mean_seconds(results: list[Result]) -> float:
    return sum(result.seconds for result in results) / len(results)


def table(counter: Counter[str]) -> list[str]:
    return [f"  {number:>8,}  {name[:110]}" for name, number in sorted(counter.items())]


def words_of(result: Result) -> str:
    """What is wrong with a run, where its folder is, and the line that repeats it."""
    lines = [f"\n{result.name} FAILED after {result.seconds:.0f} s"]
    if result.expected:
        lines.append(f"  A mutant that should break {', '.join(result.expected)}, and nothing else")
    for invariant, sentences in result.wrong.items():
        lines += [f"  {invariant}: {sentence}" for sentence in sentences[:8]]
        if len(sentences) > 8:
            lines.append(f"  {invariant}: ... and {len(sentences) - 8} more")
    lines += [f"  its folder: {result.folder}", f"  to repeat it: {result.repeat}"]
    return "\n".join(lines)
