"""Events into books: our engine beside other books, in a market, at fixed depth and in a deep book.

All begin with the same msgpack batches of 100 events, but for the Go program, which is spared the decoding.
What is measured is CPU time, so that other programs of the machine disturb less.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.books.keeper import Keeper, depthcast, go_scan, peer
from benchmarks.books.load import levels_load, market_load, orders_load, write, write_numbers
from benchmarks.harness import Absent, Benchmark, Contender, Metric, Run, Target

LEVELS: Final = 500
DEEP: Final = 1_000_000
EVENTS_PER_ROUND: Final = 100_000
GO_EVENTS_PER_ROUND: Final = 10_000
MARKET_EVENTS_PER_ROUND: Final = 50_000

METRICS: Final = (
    Metric("ns", "CPU per event", "ns", 0),
    Metric("rate", "events", "M/s"),
)
OURS: Final = "Depthcast"
ORDERS: Final = "Depthcast, orders"
ORDER_BOOK: Final = "order-book, best prices cached"
NAUTILUS: Final = "nautilus_trader, order + update"
GO: Final = "Go, maps and a scan"

AS_PYTHON: Final[dict[str, list[str]]] = {
    "not compiled": [],
    "nor the hot loop": ["hot-loop"],
    "nor the flat index": ["flat-index"],
    "nor either": ["hot-loop", "flat-index"],
}
"""Parts left out, by words of `benchmarks.books.without`."""


def run(run: Run) -> None:
    """A market; a fixed depth; parts left out; two depths."""
    with tempfile.TemporaryDirectory(prefix="depthcast-bench-") as folder:
        _market(run, Path(folder))
    with tempfile.TemporaryDirectory(prefix="depthcast-bench-") as folder:
        _peers(run, Path(folder))
    with tempfile.TemporaryDirectory(prefix="depthcast-bench-") as folder:
        _parts(run, Path(folder))
    with tempfile.TemporaryDirectory(prefix="depthcast-bench-") as folder:
        _depths(run, Path(folder))


def _market(run: Run, folder: Path) -> None:
    levels, orders = folder / "levels", folder / "orders"
    write(levels, market_load("BTC-USD", run.rounds * MARKET_EVENTS_PER_ROUND), run.rounds)
    write(orders, market_load("ETH-USD", run.rounds * MARKET_EVENTS_PER_ROUND), run.rounds)
    makers: dict[str, Callable[[], Keeper]] = {
        OURS: lambda: depthcast("levels", levels, "atomic"),
        ORDERS: lambda: depthcast("orders", orders),
        ORDER_BOOK: lambda: peer("order_book", levels),
        NAUTILUS: lambda: peer("nautilus", levels),
    }
    targets = (
        Target("rate", OURS, ORDER_BOOK, least=1.5),
        Target("rate", OURS, NAUTILUS, least=4),
        Target("rate", ORDERS, NAUTILUS, least=3),
    )
    _compare(run, "a market", makers, OURS, targets)
    run.note(
        "A market: the built-in synthetic BTC-USD (levels, about 1,900 a side, each batch one unit) and "
        "ETH-USD (orders). Nine changes in ten make a level or remove one, and the best prices move "
        "all the time."
    )


def _peers(run: Run, folder: Path) -> None:
    rounds = run.rounds
    levels, orders, numbers = folder / "levels", folder / "orders", folder / "numbers"
    load = levels_load(LEVELS, rounds * EVENTS_PER_ROUND)
    write(levels, load, rounds)
    write_numbers(numbers, load, rounds)
    write(orders, orders_load(LEVELS, rounds * EVENTS_PER_ROUND), rounds)
    del load
    makers: dict[str, Callable[[], Keeper]] = {
        OURS: lambda: depthcast("levels", levels),
        ORDERS: lambda: depthcast("orders", orders),
        ORDER_BOOK: lambda: peer("order_book", levels),
        NAUTILUS: lambda: peer("nautilus", levels),
        GO: lambda: go_scan(numbers, GO_EVENTS_PER_ROUND),
    }
    targets = (
        Target("rate", OURS, least=1.5),
        Target("rate", ORDERS, least=1.0),
        Target("ns", OURS, ORDER_BOOK, most=1.2),
        Target("rate", OURS, NAUTILUS, least=4),
        Target("rate", ORDERS, NAUTILUS, least=3),
        Target("rate", OURS, GO, least=10),
    )
    samples = _compare(run, f"{LEVELS} levels a side", makers, OURS, targets)
    bars = {"CPU per event": [(name, _median(found["ns"])) for name, found in samples.items()]}
    run.note(
        f"{LEVELS} levels a side: 70 % of the events change a level's volume, 15 % make a level, 15 % remove "
        "one, anywhere in the book. The best prices hardly ever move, and order-book sorts "
        "its prices only when somebody asks."
    )
    run.chart("books", f"CPU per event, {LEVELS} levels a side", "ns", bars)


def _parts(run: Run, folder: Path) -> None:
    """What single optimisations are worth."""
    for feed, make in (("levels", levels_load), ("orders", orders_load)):
        load = folder / feed
        write(load, make(LEVELS, run.rounds * EVENTS_PER_ROUND), run.rounds)
        makers = {OURS: partial(depthcast, feed, load)}
        for name, words in AS_PYTHON.items():
            makers[name] = partial(depthcast, feed, load, *words, compiled=False)
        _compare(run, f"parts, {feed} feed", makers, OURS, ())


def _depths(run: Run, folder: Path) -> None:
    deep = DEEP // 10 if run.quick else DEEP
    paths = {depth: folder / str(depth) for depth in (LEVELS, deep)}
    for depth, path in paths.items():
        write(path, levels_load(depth, run.rounds * EVENTS_PER_ROUND), run.rounds)
    names = {depth: f"{depth:,} levels a side" for depth in paths}
    makers: dict[str, Callable[[], Keeper]] = {
        names[LEVELS]: lambda: depthcast("levels", paths[LEVELS]),
        names[deep]: lambda: depthcast("levels", paths[deep]),
    }
    targets = [Target("ns", names[deep], names[LEVELS], most=3)]
    _compare(run, "depth", makers, names[LEVELS], targets)


def _compare(
    run: Run,
    title: str,
    makers: Mapping[str, Callable[[], Keeper]],
    baseline: str,
    targets: Sequence[Target],
) -> dict[str, dict[str, list[float]]]:
    with ExitStack() as stack:
        contenders = []
        for name, make in makers.items():
            try:
                contenders.append(Contender(name, stack.enter_context(make()).round))
            except Absent as absent:
                run.absent(name, absent)
        return run.compare(title, contenders, METRICS, baseline=baseline, targets=targets)


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


BENCHMARK = Benchmark("books", "Events into books", run, rounds=15, quick_rounds=5)
