"""The picture of docs/synthetic.md: small multiples as plain SVG, readable on light and on dark ground."""

import math
from collections.abc import Callable, Sequence
from typing import Final

from depthcast.feed.statistics import Band, Statistics

Points = list[tuple[float, float]]
Market = tuple[Statistics, float]
"""Statistics, and the value of a lot in USD."""

COLUMN: Final = 300
ROW: Final = 190
PLOT: Final = (232, 132)
LEFT: Final = 62
TOP: Final = 70

STYLE: Final = """\
text { font: 12px system-ui, sans-serif; fill: #6e7781 }
.title { font-size: 14px; font-weight: 600 }
.small { font-size: 11px }
.frame { fill: none; stroke: #8c959f; stroke-width: 1 }
.grid { stroke: #8c959f; stroke-opacity: .25 }
.recorded { fill: none; stroke: #0969da; stroke-width: 2 }
.synthetic { fill: none; stroke: #e16f24; stroke-width: 2; stroke-dasharray: 6 3 }
@media (prefers-color-scheme: dark) {
  text { fill: #c9d1d9 } .recorded { stroke: #58a6ff } .synthetic { stroke: #f0883e }
}
"""


class Axis:
    """A range of values on a line of pixels, logarithmic or not."""

    def __init__(self, low: float, high: float, pixels: float, *, logarithmic: bool) -> None:
        self.low, self.high, self.pixels, self.logarithmic = low, high, pixels, logarithmic

    def at(self, value: float) -> float:
        """Pixels from the lower end; values outside go to the nearest end."""
        value = min(max(value, self.low), self.high)
        if self.logarithmic:
            return math.log(value / self.low) / math.log(self.high / self.low) * self.pixels
        return (value - self.low) / (self.high - self.low) * self.pixels

    def ticks(self) -> list[float]:
        """Where to write numbers."""
        if not self.logarithmic:
            return [self.low + (self.high - self.low) * part / 4 for part in range(5)]
        first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
        return [10.0**power for power in range(first, last + 1)]


class Panel:
    """One diagram: what is drawn of a market, and the axes."""

    def __init__(
        self,
        name: str,
        unit: str,
        points: Callable[[Market], Points],
        *,
        x: tuple[float, float],
        y: tuple[float, float],
        logarithmic: bool = True,
    ) -> None:
        self.name, self.unit, self.points = name, unit, points
        self.x = Axis(*x, PLOT[0], logarithmic=logarithmic)
        self.y = Axis(*y, PLOT[1], logarithmic=logarithmic)

    def draw(self, left: float, top: float, markets: Sequence[Market]) -> list[str]:
        """The diagram with its upper left corner there; the first market is the recorded one."""
        parts = [f'<g transform="translate({left} {top})">', *self._frame()]
        for market, kind in zip(markets, ("recorded", "synthetic"), strict=True):
            line = " ".join(
                f"{self.x.at(x):.1f},{PLOT[1] - self.y.at(y):.1f}" for x, y in self.points(market)
            )
            parts.append(f'<polyline class="{kind}" points="{line}"/>')
        return [*parts, "</g>"]

    def _frame(self) -> list[str]:
        width, height = PLOT
        parts = [f'<rect class="frame" width="{width}" height="{height}"/>']
        for value in self.x.ticks():
            x = self.x.at(value)
            parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y2="{height}"/>')
            parts.append(
                f'<text class="small" x="{x:.1f}" y="{height + 14}" text-anchor="middle">{value:g}</text>'
            )
        for value in self.y.ticks():
            y = height - self.y.at(value)
            parts.append(f'<line class="grid" x2="{width}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text class="small" x="-5" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
        parts.append(f'<text x="0" y="-6">{self.name}</text>')
        parts.append(
            f'<text class="small" x="{width}" y="{height + 28}" text-anchor="end">{self.unit}</text>'
        )
        return parts


def draw(rows: Sequence[tuple[str, Market, Market]]) -> str:
    """A column for each (title, recorded, synthetic)."""
    width, height = COLUMN * len(rows) + 16, TOP + ROW * len(PANELS)
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}">'
        ),
        f"<style>{STYLE}</style>",
        *_legend(),
    ]
    for column, (title, *markets) in enumerate(rows):
        left = LEFT + column * COLUMN
        parts.append(f'<text class="title" x="{left}" y="46">{title}</text>')
        for row, panel in enumerate(PANELS):
            parts += panel.draw(left, TOP + row * ROW, markets)
    return "\n".join([*parts, "</svg>", ""])


def _legend() -> list[str]:
    return [
        f'<path class="recorded" d="M{LEFT} 18h34"/><text x="{LEFT + 40}" y="22">recorded</text>',
        f'<path class="synthetic" d="M{LEFT + 120} 18h34"/><text x="{LEFT + 160}" y="22">synthetic</text>',
    ]


def _by_distance(figure: Callable[[Band, float], float]) -> Callable[[Market], Points]:
    """A figure per bp, at the middle of each band."""

    def points(market: Market) -> Points:
        statistics, lot_value = market
        return [
            (
                math.sqrt(max(band.low_bp, 0.02) * band.high_bp),
                figure(band, lot_value) / (band.high_bp - band.low_bp),
            )
            for band in statistics.bands
        ]

    return points


def _exceeded(market: Market) -> Points:
    """Share of the windows with more changes than that."""
    counts = sorted(market[0].counts)
    total = len(counts)
    return [(count, 1 - number / total) for number, count in enumerate(counts) if count and number % 8 == 0]


def _path(market: Market) -> Points:
    """The mid price once a second, in bp of where it began."""
    mids = market[0].mids[::10]
    return [(float(second), (mid / mids[0] - 1) * 1e4) for second, mid in enumerate(mids)]


PANELS: Final = (
    Panel("mid price, bp from its beginning", "seconds", _path, x=(0, 360), y=(-80, 80), logarithmic=False),
    Panel("share of 100 ms with more changes", "changed levels", _exceeded, x=(1, 1000), y=(0.001, 1)),
    Panel(
        "changes a second and bp",
        "bp from the touch",
        _by_distance(lambda band, _: band.changes),
        x=(0.04, 40),
        y=(0.5, 500),
    ),
    Panel(
        "levels a bp and side",
        "bp from the touch",
        _by_distance(lambda band, _: band.levels),
        x=(0.04, 40),
        y=(1, 100),
    ),
    Panel(
        "1,000 USD a bp and side",
        "bp from the touch",
        _by_distance(lambda band, lot_value: band.volume * lot_value / 1e3),
        x=(0.04, 40),
        y=(5, 5000),
    ),
)
