"""Rebuilding an orders book from a checkpoint and the input log gives what was published."""

from random import Random

import pytest

from depthcast.ingestor.engine import Engine
from depthcast.ingestor.interval import Interval
from depthcast.ingestor.orders import OrdersCopy
from depthcast.shared.codec import pack, unpack
from depthcast.shared.instruments import Feed, Instrument, OnCross
from depthcast.shared.types import Symbol
from tests.random_events import encode, random_array

SYMBOL = Symbol("X")
Fields = list[tuple[bytes, bytes]]


def random_entries(rng: Random, count: int) -> list[tuple[str, Fields]]:
    entries = []
    for number in range(1, count + 1):
        fields = [(b"X", encode(random_array(rng), rng.random() < 0.3)) for _ in range(rng.randint(1, 2))]
        if rng.random() < 0.3:
            fields.append((b"_", b'{"atomic":true,"ts":5}'))
        entries.append((f"{number}-0", fields))
    return entries


def through_msgpack(orders: OrdersCopy) -> OrdersCopy:
    return OrdersCopy(*unpack(pack([list(column) for column in orders]), "orders"))


@pytest.mark.parametrize("on_cross", list(OnCross))
@pytest.mark.parametrize("seed", range(6))
def test_replay_from_a_checkpoint_gives_the_published_state(seed: int, on_cross: OnCross) -> None:
    rng = Random(seed)
    instrument = Instrument(SYMBOL, feed=Feed.ORDERS, on_cross=on_cross)
    engine = Engine(0, 1)
    engine.register(instrument)
    engine.drain()
    entries = random_entries(rng, 200)
    drained: dict[int, Interval] = {}
    for number, (source, fields) in enumerate(entries, 1):
        engine.apply(source, fields)
        if rng.random() < 0.2 or number == len(entries):
            drained[number] = engine.drain([SYMBOL])
    for number, interval in list(drained.items())[::10]:
        scratch = Engine(0, 1)
        orders = through_msgpack(interval.orders[SYMBOL])
        scratch.restore(instrument, engine.snapshot("X").seq, (), (), 0, orders)
        for source, fields in entries[number:]:
            scratch.replay(source, fields, {"X"})
        assert scratch.snapshot("X") == engine.snapshot("X")
        assert scratch.digest("X") == engine.digest("X")
        last = scratch.drain([SYMBOL])
        assert (last.src, last.applied, last.rejected, last.rejects, last.deltas) == ("0-0", 0, 0, [], [])
        ours, theirs = last.orders[SYMBOL], drained[len(entries)].orders[SYMBOL]
        assert dict(zip(ours.bid_ids, ours.bids, strict=True)) == dict(
            zip(theirs.bid_ids, theirs.bids, strict=True)
        )
        assert dict(zip(ours.ask_ids, ours.asks, strict=True)) == dict(
            zip(theirs.ask_ids, theirs.asks, strict=True)
        )
