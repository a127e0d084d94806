"""How close the synthetic market comes to recorded ones: `python -m benchmarks.synthetic_market`.

Reads the recordings, generates a stretch of equal length for each, measures both with
`depthcast.feed.statistics`, prints a table and puts it into docs/synthetic.md, and draws
docs/synthetic-market.svg.
"""

import argparse
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.synthetic_plot import draw
from depthcast.feed.entry import Event
from depthcast.feed.statistics import PER_SECOND, LevelQuantities, Statistics, measure, quantile, windows
from depthcast.feed.synthetic import Venue
from depthcast.feed.synthetic_activity import STEP_S
from depthcast.feed.synthetic_profiles import MARKET
from depthcast.runtime.feed_file import open_feed
from depthcast.runtime.synthetic import open_venue
from depthcast.shared.instruments import Feed
from depthcast.shared.types import Side, Symbol

ROOT: Final = Path(__file__).parents[1]
DOCUMENT: Final = ROOT / "docs" / "synthetic.md"
PICTURE: Final = ROOT / "docs" / "synthetic-market.svg"
DATA: Final = ROOT.parent / "shared" / "data"
MARKS: Final = ("<!-- table -->\n", "<!-- end of table -->\n")


class Pair(NamedTuple):
    """A recording and its built-in symbol. `lot_value`: of a recorded lot in USD, None = by its price."""

    title: str
    file: str
    symbol: Symbol
    lot_value: float | None = None


PAIRS: Final = (
    Pair("spot BTC", "spot_btcusdt_20240808.gz", Symbol("BTC-USD")),
    Pair("spot ETH", "spot_ethusdt_20240808.gz", Symbol("ETH-USD")),
    Pair("perpetual ETH", "cm_ethusd_perp_20240808.gz", Symbol("ETH-PERP"), 10.0),
)


class Measured(NamedTuple):
    """Statistics of a market; `lot_value` in USD."""

    statistics: Statistics
    lot_value: float


def recorded(pair: Pair, data: Path, seconds: float | None = None) -> Measured:
    """Measure a recording, or its first `seconds`."""
    feed = open_feed(data / pair.file, None, {})
    (instrument,) = feed.instruments().values()
    entries = feed.entries()
    opening = _levels(next(entries).events)
    changes = windows((entry.ts or 0, entry.events) for entry in entries)
    statistics = measure(opening, islice(changes, None if seconds is None else round(seconds * PER_SECOND)))
    by_price = statistics.mids[0] * float(instrument.tick_size) * float(instrument.lot_size)
    return Measured(statistics, pair.lot_value or by_price)


def generated(symbol: Symbol, seconds: float, seed: int) -> Measured:
    """Measure so many seconds of a built-in symbol; its levels, whatever its feed."""
    item = MARKET[symbol]
    instrument = item.instrument._replace(feed=Feed.LEVELS)
    venue = open_venue(item._replace(instrument=instrument), seed)
    statistics = measure(_levels(venue.open()), windows(_steps(venue, seconds)))
    return Measured(statistics, item.mid * float(instrument.tick_size) * float(instrument.lot_size))


def figures(measured: Measured) -> dict[str, str]:
    """All figures of a market, by name."""
    found, bands = measured.statistics, measured.statistics.bands
    lines = {"seconds": f"{found.seconds:.0f}", "levels changed a second": f"{found.changes:.0f}"}
    for share in (0.1, 0.5, 0.9, 0.99):
        lines[f"changes in 100 ms, {share:.0%} quantile"] = f"{quantile(found.counts, share):.0f}"
    for lag in (1, 2, 5, 10):
        lines[f"their correlation with those {lag}00 ms on"] = f"{found.correlation(lag):.2f}"
    lines["changes that make a level"] = f"{found.appeared:.0%}"
    lines["changes that remove a level"] = f"{found.vanished:.0%}"
    lines["spread is one tick"] = f"{found.tight:.1%}"
    lines["mid moves within 100 ms"] = f"{found.moved:.1%}"
    for seconds in (1, 10):
        lines[f"move in {seconds} s, rms, bp"] = f"{found.move_bp(seconds):.2f}"
    names = [f"{band.low_bp:g} to {band.high_bp:g} bp" for band in bands]
    for name, band in zip(names, bands, strict=True):
        lines[f"levels a side, {name}"] = f"{band.levels:.1f}"
    for name, band in zip(names, bands, strict=True):
        lines[f"1,000 USD a side, {name}"] = f"{band.volume * measured.lot_value / 1e3:,.0f}"
    for name, band in zip(names, bands, strict=True):
        lines[f"changes a second, {name}"] = f"{band.changes:.1f}"
    return lines


def table(pairs: list[tuple[Measured, Measured]]) -> str:
    """Markdown: a line for each figure, recorded and synthetic side by side."""
    columns = [figures(measured) for pair in pairs for measured in pair]
    titles = " | ".join(f"{pair.title}, recorded | synthetic" for pair in PAIRS)
    lines = [f"| | {titles} |", "| :-- |" + " --: | --: |" * len(PAIRS)]
    lines += [f"| {name} | {' | '.join(column[name] for column in columns)} |" for name in columns[0]]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, and write picture and table into docs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the recordings")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    pairs = []
    for pair in PAIRS:
        real = recorded(pair, options.data)
        pairs.append((real, generated(pair.symbol, real.statistics.seconds, options.seed)))
    text = table(pairs)
    print(text, end="")
    before, rest = DOCUMENT.read_text(encoding="utf-8").split(MARKS[0])
    DOCUMENT.write_text(before + MARKS[0] + text + MARKS[1] + rest.split(MARKS[1])[1], encoding="utf-8")
    rows = [(pair.title, real, made) for pair, (real, made) in zip(PAIRS, pairs, strict=True)]
    PICTURE.write_text(draw(rows), encoding="utf-8")


def _levels(events: Iterable[Event]) -> LevelQuantities:
    """An opening, which begins with a clear, as levels."""
    return {(Side(event[1]), event[2]): event[3] for event in events if len(event) > 1}


def _steps(venue: Venue, seconds: float) -> Iterator[tuple[int, Iterable[Event]]]:
    for number in range(round(seconds / STEP_S)):
        yield round(number * STEP_S * 1e6), venue.step()


if __name__ == "__main__":
    main()
