"""Pictures of results as plain SVG for light and dark backgrounds: bars where x is text, else lines."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final
from xml.sax.saxutils import escape

COLOURS: Final = ("#0969da", "#e16f24", "#1a7f37", "#8250df", "#bf3989", "#9a6700", "#57606a", "#cf222e")
STYLE: Final = """\
text { font: 12px system-ui, sans-serif; fill: #6e7781 }
.title { font-size: 14px; font-weight: 600 }
.frame { fill: none; stroke: #8c959f }
.grid { stroke: #8c959f; stroke-opacity: .25 }
@media (prefers-color-scheme: dark) { text { fill: #c9d1d9 } }
"""
WIDTH: Final = 720
LABELS: Final = 230
BAR: Final = 22
PLOT_HEIGHT: Final = 260
NAMES: Final = 4
"""So many names of lines stand side by side."""

Series = Mapping[str, Sequence[Sequence[Any]]]


def draw(chart: Mapping[str, Any]) -> str:
    """SVG of one chart of a result: `title`, `unit`, and `series` of points."""
    series: Series = chart["series"]
    is_bars = any(isinstance(x, str) for points in series.values() for x, _ in points)
    height, parts = (_bars if is_bars else _lines)(series, chart["unit"])
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size}>'
    title = f'<text class="title" x="16" y="24">{escape(chart["title"])}</text>'
    return "\n".join([head, f"<style>{STYLE}</style>", title, *parts, "</svg>", ""])


def _bars(series: Series, unit: str) -> tuple[int, list[str]]:
    """A group for each x, a bar in it for each series that has it."""
    groups = list(dict.fromkeys(x for points in series.values() for x, _ in points))
    greatest = max(value for points in series.values() for _, value in points) or 1.0
    room = WIDTH - LABELS - 90
    parts: list[str] = []
    y = 44
    for group in groups:
        parts.append(f'<text class="title" x="16" y="{y + 14}">{escape(str(group))}</text>')
        y += 24
        for number, (name, points) in enumerate(series.items()):
            for x, value in points:
                if x != group:
                    continue
                long = max(1.0, value / greatest * room)
                parts += [
                    f'<text x="{LABELS - 8}" y="{y + 14}" text-anchor="end">{escape(name)}</text>',
                    (
                        f'<rect x="{LABELS}" y="{y + 2}" width="{long:.1f}" height="{BAR - 6}" '
                        f'fill="{_colour(number)}"/>'
                    ),
                    f'<text x="{LABELS + long + 6:.1f}" y="{y + 14}">{value:.3g} {escape(unit)}</text>',
                ]
                y += BAR
        y += 10
    return y + 6, parts


def _lines(series: Series, unit: str) -> tuple[int, list[str]]:
    """One line for each series, both axes from 0."""
    left, right = 70, WIDTH - 20
    top = 66 + (len(series) - 1) // NAMES * 20
    most_x, most_y = (
        _ceiling(max(point[axis] for points in series.values() for point in points)) for axis in (0, 1)
    )
    bottom = top + PLOT_HEIGHT

    def at(x: float, y: float) -> str:
        return f"{left + x / most_x * (right - left):.1f},{bottom - y / most_y * PLOT_HEIGHT:.1f}"

    parts = [f'<rect class="frame" x="{left}" y="{top}" width="{right - left}" height="{PLOT_HEIGHT}"/>']
    for step in range(5):
        x, y = left + (right - left) * step / 4, bottom - PLOT_HEIGHT * step / 4
        parts += [
            f'<line class="grid" x1="{x}" x2="{x}" y1="{top}" y2="{bottom}"/>',
            f'<line class="grid" x1="{left}" x2="{right}" y1="{y}" y2="{y}"/>',
            f'<text x="{x}" y="{bottom + 16}" text-anchor="middle">{most_x * step / 4:g}</text>',
            f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{most_y * step / 4:g}</text>',
        ]
    for number, (name, points) in enumerate(series.items()):
        line = " ".join(at(x, y) for x, y in points)
        x, y = left + number % NAMES * 160, 44 + number // NAMES * 20
        parts += [
            f'<polyline fill="none" stroke="{_colour(number)}" stroke-width="2" points="{line}"/>',
            f'<path stroke="{_colour(number)}" stroke-width="2" d="M{x} {y}h20"/>',
            f'<text x="{x + 26}" y="{y + 4}">{escape(name)}</text>',
        ]
    parts.append(f'<text x="{left}" y="{bottom + 34}">{escape(unit)}</text>')
    return bottom + 46, parts


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _ceiling(value: float) -> float:
    """The next of 1, 2, 4, 5, 8 and 10 times a power of ten."""
    if value <= 0:
        return 1.0
    power: float = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 5, 8, 10) if step * power >= value * 0.9999)
