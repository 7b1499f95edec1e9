"""The picture of docs/performance.md: time and memory by the number of rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

WIDTH, HEIGHT = 780, 330
LEFT, TOP, PLOT_WIDTH, PLOT_HEIGHT = 60, 50, 290, 220
GAP = 90  # between the two plots
COLOURS = {"batchsite": "#206bc4", "script": "#d6336c"}
NAMES = {"batchsite": "batchsite", "script": "the plain script"}

# Rows, seconds, MB.
Points = Sequence[tuple[int, float, float]]


def draw(lines: Mapping[str, Points]) -> str:
    """An SVG: seconds of the processor for 100,000 rows on the left, MB at the most on the right;
    the rows on a scale of powers of ten. Flat lines grow as the rows do."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        ' font-family="system-ui, sans-serif" font-size="12">',
        "<title>Processor seconds for 100,000 rows, and memory, at three sizes of a job</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="#fff"/>',
    ]
    seconds = {
        name: [(rows, took * 100_000 / rows) for rows, took, _mb in points]
        for name, points in lines.items()
    }
    memory = {name: [(rows, mb) for rows, _took, mb in points] for name, points in lines.items()}
    parts += _plot("Processor seconds for 100,000 rows", seconds, LEFT)
    parts += _plot("Memory at the most, in MB (of the worker)", memory, LEFT + PLOT_WIDTH + GAP)
    for place, name in enumerate(lines):
        x, y = LEFT + place * 180, HEIGHT - 16
        parts.append(
            f'<path d="M{x} {y - 4}h24" stroke="{COLOURS[name]}" stroke-width="2.5"/>'
            f'<text x="{x + 30}" y="{y}" fill="#333">{NAMES[name]}</text>'
        )
    return "\n".join([*parts, "</svg>\n"])


def _plot(title: str, lines: Mapping[str, Sequence[tuple[int, float]]], left: int) -> list[str]:
    points = [point for line in lines.values() for point in line]
    top = _round_up(max(value for _rows, value in points))
    first, last = (math.log10(edge(rows for rows, _value in points)) for edge in (min, max))

    def place(rows: int, value: float) -> tuple[float, float]:
        x = left + (math.log10(rows) - first) / ((last - first) or 1) * PLOT_WIDTH
        return x, TOP + (1 - value / top) * PLOT_HEIGHT

    parts = [f'<text x="{left}" y="28" font-size="14" fill="#111">{title}</text>']
    for step in range(5):
        value = top * step / 4
        _x, y = place(points[0][0], value)
        parts.append(
            f'<path d="M{left} {y:.1f}h{PLOT_WIDTH}" stroke="#ddd"/>'
            f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#555">'
            f"{value:,.0f}</text>"
        )
    for rows in sorted({rows for rows, _value in points}):
        x, y = place(rows, 0)
        parts.append(
            f'<text x="{x:.1f}" y="{y + 20:.1f}" text-anchor="middle" fill="#555">{rows:,}</text>'
        )
    for name, line in lines.items():
        at = [place(*point) for point in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{COLOURS[name]}" stroke-width="2.5"/>'
        )
        parts += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{COLOURS[name]}"/>' for x, y in at
        ]
    return parts


def _round_up(value: float) -> float:
    """To 1, 2, 4 or 8 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(times * power for times in (1, 2, 4, 8, 10) if times * power >= value)
