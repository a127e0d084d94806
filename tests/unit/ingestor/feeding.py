"""A small engine with one symbol, and the results of the events fed to it."""

import json
from typing import Any, NamedTuple

import msgpack
import pytest

from depthcast.ingestor.engine import Engine
from depthcast.shared.instruments import Feed, Instrument, OnCross
from depthcast.shared.types import Symbol

SYMBOL = Symbol("BTC-USD")

both_encodings = pytest.mark.parametrize("encode", [msgpack.packb, lambda value: json.dumps(value).encode()])


class Result(NamedTuple):
    """The book afterwards, and the counts. `rejects`: (reason, index, count)."""

    bids: dict[int, int]
    asks: dict[int, int]
    applied: int
    ignored: int
    rejects: list[tuple[str, int, int]]


class Feeder:
    """Feeds one symbol and drains after each entry."""

    def __init__(self, feed: Feed, on_cross: OnCross = OnCross.REJECT, encode: Any = msgpack.packb) -> None:
        self.engine = Engine(0, 1)
        self.engine.register(Instrument(SYMBOL, feed=feed, on_cross=on_cross))
        self.engine.drain()
        self.encode = encode
        self.before = (0, 0)
        self.number = 0

    def __call__(self, *events: Any, atomic: bool = False) -> Result:
        fields = [(SYMBOL.encode(), self.encode(list(events)))]
        if atomic:
            fields.append((b"_", b'{"atomic":true}'))
        self.number += 1
        self.engine.apply(f"{self.number}-0", fields)
        return self.result()

    def result(self) -> Result:
        interval = self.engine.drain()
        counts = interval.applied - self.before[0], interval.ignored - self.before[1]
        self.before = interval.applied, interval.ignored
        snapshot = self.engine.snapshot(SYMBOL)
        bids = dict(zip(snapshot.bids[::2], snapshot.bids[1::2], strict=True))
        asks = dict(zip(snapshot.asks[::2], snapshot.asks[1::2], strict=True))
        return Result(
            bids,
            asks,
            *counts,
            [(str(reject.reason), reject.index, reject.count) for reject in interval.rejects],
        )
