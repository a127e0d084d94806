"""Many threads at once on one engine: nothing is lost, and every snapshot is a state that was drained."""

import json
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from depthcast.ingestor.engine import Engine
from depthcast.ingestor.interval import Interval
from depthcast.shared.instruments import Feed, Instrument
from depthcast.shared.types import Delta, Snapshot, Symbol
from tests.book_model import ModelBook, brute_digest

Levels = dict[str, dict[int, int]]
FEEDERS = 4
ENTRIES = 150


@pytest.fixture(autouse=True)
def _frequent_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def entry_of(feeder: int, number: int) -> dict[str, list[Any]]:
    """An entry of one feeder; entries of different feeders commute.

    They only add to common levels, and change other levels and orders of their own.
    """
    own = -100 * (feeder + 1) - number % 7
    side = feeder % 2
    price = (-1 if side == 0 else 1) * (1 + number % 5)
    levels = [
        ["add", side, price, 1 + number % 3],
        ["update", "bid", own, 1 + number],
        ["delete", "bid", own - 1],
    ]
    orders = [["add", side, price, 3, f"{feeder}/{number}"], ["reduce", None, None, 1, f"{feeder}/{number}"]]
    if number >= 10:
        orders.append(["delete", None, None, None, f"{feeder}/{number - 10}"])
    return {"L": levels, "O": orders}


class Fold:
    """What a reader of the drained deltas holds now, and held at each seq."""

    def __init__(self) -> None:
        self.at: dict[tuple[str, int], Levels] = {}
        self.now: dict[str, tuple[int, Levels]] = {}

    def take(self, interval: Interval) -> None:
        for symbol, delta in interval.deltas:
            self._apply(symbol, delta)

    def _apply(self, symbol: str, delta: Delta) -> None:
        seq, before = self.now.get(symbol, (0, {"bid": {}, "ask": {}}))
        assert delta.prev_seq == seq
        after = {side: dict(held) for side, held in before.items()}
        for side, flat in (("bid", delta.bids), ("ask", delta.asks)):
            after[side].update(zip(flat[::2], flat[1::2], strict=True))
            after[side] = {price: quantity for price, quantity in after[side].items() if quantity}
        assert delta.digest == brute_digest(after)
        self.now[symbol] = (delta.seq, after)
        self.at[symbol, delta.seq] = after


def run_all(bodies: list[Callable[[], None]]) -> None:
    """Run each in its own thread; the first error is raised here."""
    errors: list[BaseException] = []

    def guarded(body: Callable[[], None]) -> None:
        try:
            body()
        except BaseException as error:  # noqa: BLE001  # raised in the test's own thread below
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_many_threads_feed_drain_and_look_at_once() -> None:
    engine = Engine(0, 1)
    for symbol, feed in (("L", Feed.LEVELS), ("O", Feed.ORDERS)):
        engine.register(Instrument(Symbol(symbol), feed=feed))
    fold = Fold()
    fold.take(engine.drain())
    started, fed = threading.Barrier(FEEDERS + 3), threading.Barrier(FEEDERS)
    over = threading.Event()
    snapshots: list[tuple[str, Snapshot]] = []

    def feed_in(feeder: int) -> None:
        started.wait()
        for number in range(ENTRIES):
            arrays = entry_of(feeder, number)
            engine.apply(
                "1-1", [(name.encode(), json.dumps(array).encode()) for name, array in arrays.items()]
            )
        fed.wait()
        over.set()

    def drain() -> None:
        started.wait()
        while not over.is_set():
            fold.take(engine.drain(["O"]))

    def look(symbol: str) -> None:
        started.wait()
        while not over.is_set():
            snapshots.append((symbol, engine.snapshot(symbol)))

    feeders: list[Callable[[], None]] = [lambda feeder=feeder: feed_in(feeder) for feeder in range(FEEDERS)]  # type: ignore[misc]
    run_all([*feeders, drain, lambda: look("L"), lambda: look("O")])
    fold.take(last := engine.drain())
    for symbol, model in expected().items():
        assert fold.now[symbol][1] == model.levels()
    total = sum(len(array) for number in range(ENTRIES) for array in entry_of(0, number).values())
    assert last.applied + last.ignored + last.rejected == total * FEEDERS
    assert snapshots
    for symbol, snapshot in snapshots:
        check_snapshot(snapshot, fold.at.get((symbol, snapshot.seq), {"bid": {}, "ask": {}}))


def expected() -> dict[str, ModelBook]:
    """The books after all entries, in whatever order the feeders came."""
    models = {"L": ModelBook("levels", "reject"), "O": ModelBook("orders", "reject")}
    for feeder in range(FEEDERS):
        for number in range(ENTRIES):
            for symbol, array in entry_of(feeder, number).items():
                models[symbol].apply(array, atomic=False)
    return models


def check_snapshot(snapshot: Snapshot, levels: Levels) -> None:
    assert snapshot.digest == brute_digest(levels)
    assert dict(zip(snapshot.bids[::2], snapshot.bids[1::2], strict=True)) == levels["bid"]
    assert dict(zip(snapshot.asks[::2], snapshot.asks[1::2], strict=True)) == levels["ask"]
