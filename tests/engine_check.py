"""Runs an engine beside naive models and compares them after every step. Used by the property tests."""

import json
from random import Random
from typing import Any

import msgpack

from depthcast.ingestor.book_state import NO_KEY, BookState
from depthcast.ingestor.engine import Engine
from depthcast.ingestor.interval import Interval
from depthcast.ingestor.orders import OrdersState
from depthcast.shared.instruments import Feed, Instrument, OnCross
from depthcast.shared.order_counts import OrderCounts, counts_in
from depthcast.shared.types import Snapshot, Symbol
from tests.book_model import ModelBook, Result, brute_digest, doubt_after, refuses
from tests.random_events import LIMIT, encode, random_array

EPOCH = 1_767_225_600_001


OPTIONS: list[Any] = [{"ts": -1}, {"ts": "now"}, {"ts": 5e15, "x": 1}, {"atomic": False}, {"atomic": True}]
OPTIONS += [{"atomic": 1}, {"atomic": None, "ts": 5}, [], None, "atomic"]


Sides = dict[str, dict[int, int]]
"""Per side price → quantity, or number of orders."""

DOUBTS: list[dict[str, Any]] = [{"stale": "gap"}, {"stale": "é" * 64}, {"live": True}, {"live": True}]


def last_atomic(fields: list[tuple[bytes, bytes]]) -> bool:
    """What the last `_` that says `atomic` says."""
    said = [raw.endswith((b"true}", b"\xc3")) for name, raw in fields if name == b"_" and b"atomic" in raw]
    return bool(said and said[-1])


def last_ts(fields: list[tuple[bytes, bytes]]) -> int | None:
    """The source time of the last `_` that has a good one, of options that do not refuse the entry."""
    found = None
    for raw in (raw for name, raw in fields if name == b"_"):
        said = json.loads(raw) if raw[:1] == b"{" else msgpack.unpackb(raw)
        ts = said.get("ts")
        if isinstance(ts, int | float) and not isinstance(ts, bool) and 0 <= ts < 2**53:
            found = int(ts)
    return found


def flat_levels(snapshot: Snapshot) -> dict[str, dict[int, int]]:
    return {
        side: dict(zip(flat[::2], flat[1::2], strict=True))
        for side, flat in (("bid", snapshot.bids), ("ask", snapshot.asks))
    }


class EngineCheck:
    """Symbols A (levels) and B (orders), which reject, and AE and BE, which evict, each with its model."""

    def __init__(self) -> None:
        self.engine = Engine(0, 1)
        self.models: dict[str, ModelBook] = {}
        self.drained: dict[str, tuple[int, Sides]] = {}
        self.drained_counts: dict[str, Sides] = {}
        self.only_counts_changed = 0
        for symbol, feed, on_cross in (
            ("A", Feed.LEVELS, OnCross.REJECT),
            ("AE", Feed.LEVELS, OnCross.EVICT),
            ("B", Feed.ORDERS, OnCross.REJECT),
            ("BE", Feed.ORDERS, OnCross.EVICT),
        ):
            self.engine.register(Instrument(Symbol(symbol), feed=feed, on_cross=on_cross))
            self.models[symbol] = ModelBook(feed, on_cross)
        for symbol, delta in self.engine.begin_epoch(EPOCH):
            assert delta == (0, 2048, [], [], 0, 0)
            self.drained[symbol] = (2048, {"bid": {}, "ask": {}})
            self.drained_counts[symbol] = {"bid": {}, "ask": {}}
        assert self.engine.drain().born == list(self.models)
        self.sent = self.applied = self.rejected = self.ignored = self.evicted = self.entries = 0
        self.rejects: list[tuple[str, str, str, int, int]] = []
        self.events = dict.fromkeys(self.models, 0)
        self.doubts: dict[str, str] = {}
        self.drained_doubts: dict[str, str] = {}
        self.inputs: set[str] = set()
        self.newest: dict[str, int] = {}
        self.last_input: dict[str, int] = {}
        self.last_ts: dict[str, int] = {}
        self.src = "0-0"

    def step(self, rng: Random) -> None:
        """Apply a random entry, then perhaps drain; compare everything observable."""
        atomic = rng.random() < 0.3
        arrays = [(rng.choice(list(self.models)), random_array(rng)) for _ in range(rng.randint(1, 3))]
        fields = [(symbol.encode(), encode(events, rng.random() < 0.4)) for symbol, events in arrays]
        if atomic:
            fields.insert(rng.randint(0, len(fields)), (b"_", encode({"atomic": True}, rng.random() < 0.5)))
        if rng.random() < 0.05:
            options = encode(rng.choice(OPTIONS), rng.random() < 0.5)
            fields.insert(rng.randint(0, len(fields)), (b"_", options))
            if refuses(options):
                self.refuse(fields, options)
                arrays = []
            else:
                atomic = last_atomic(fields)
        doubt = rng.choice(DOUBTS) if rng.random() < 0.2 else {}
        if doubt:
            fields.insert(rng.randint(0, len(fields)), (b"_", encode(doubt, rng.random() < 0.5)))
        if rng.random() < 0.4:
            ts = encode({"ts": rng.randint(0, 99)}, rng.random() < 0.5)
            fields.insert(rng.randint(0, len(fields)), (b"_", ts))
        if arrays:
            failed = self.apply(fields, arrays, atomic=atomic, stale="stale" in doubt)
            self.doubt(arrays, doubt, failed)
        for symbol in {symbol for symbol, _ in arrays}:
            self.check_state(symbol)
        if rng.random() < 0.3:
            self.drain()
        if rng.random() < 0.1:
            self.replace_orders(rng.choice(["B", "BE"]))

    def replace_orders(self, symbol: str) -> None:
        """Let one of two orders at a level take over the other's quantity, and nothing else change."""
        at: dict[tuple[str, int], list[Any]] = {}
        for order_id, side, price, quantity in self.models[symbol].orders:
            at.setdefault((side, price), []).append((order_id, quantity))
        for (side, price), ((kept, first), (gone, second), *_) in (
            (level, orders) for level, orders in at.items() if len(orders) > 1
        ):
            if first + second <= LIMIT:
                self.drain()
                events = [["delete", None, None, None, gone], ["update", side, price, first + second, kept]]
                fields = [(symbol.encode(), encode(events, as_json=True))]
                self.apply(fields, [(symbol, events)], atomic=False)
                self.drain()
                return

    def apply(
        self,
        fields: list[tuple[bytes, bytes]],
        arrays: list[tuple[str, list[Any]]],
        *,
        atomic: bool,
        stale: bool = False,
    ) -> set[str]:
        """Apply an entry whose good arrays are `arrays`; returns the symbols with rejected events."""
        failed = set()
        self.entries += 1
        self.src = f"{self.entries}-0"
        self.engine.apply(self.src, fields)
        ts = last_ts(fields)
        for symbol, events in arrays:
            result = self.models[symbol].apply(events, atomic=atomic)
            self.note_input(symbol, result, ts, counts=bool(result.applied) or not stale, empty=not events)
            self.sent += len(events)
            self.applied += result.applied
            self.ignored += result.ignored
            self.evicted += result.evicted
            self.events[symbol] += result.applied
            for reason, index, count in result.rejects:
                failed.add(symbol)
                self.rejected += count
                self.rejects.append((symbol, reason, self.src, index, count))

        return failed

    def note_input(self, symbol: str, result: Result, ts: int | None, *, counts: bool, empty: bool) -> None:
        """Note that a symbol had input, and the source time of its applied events."""
        if not counts or not (result.applied or result.ignored or empty):
            return
        self.inputs.add(symbol)
        if result.applied and ts is not None:
            self.newest[symbol] = max(ts, self.newest.get(symbol, ts))

    def doubt(self, arrays: list[tuple[str, list[Any]]], said: dict[str, Any], failed: set[str]) -> None:
        """Begin or end the doubt about the books of an entry."""
        for symbol in {symbol for symbol, _ in arrays}:
            own = [events for name, events in arrays if name == symbol]
            doubt = doubt_after(self.doubts.pop(symbol, None), said, own, failed=symbol in failed)
            if doubt is not None:
                self.doubts[symbol] = doubt

    def refuse(self, fields: list[tuple[bytes, bytes]], options: bytes) -> None:
        """Apply an entry that is refused whole for its `options`."""
        self.entries += 1
        self.src = f"{self.entries}-0"
        self.engine.apply(self.src, fields)
        names = [name.decode() for name, _ in fields if name != b"_"]
        self.rejects.append(("_", "malformed", self.src, -1, 1))
        self.rejects += [(name, "bad_options", self.src, -1, 1) for name in names]
        self.rejected += 1 + len(names)
        self.sent += 1 + len(names)

    def check_state(self, symbol: str) -> None:
        state, model = self.engine._books.states[Symbol(symbol)], self.models[symbol]
        bids, asks = state.book.bids, state.book.asks
        assert {"bid": bids.levels, "ask": asks.levels} == model.levels()
        assert not state.book.crossed()
        check_consistent(state)
        snapshot = self.engine.snapshot(symbol)
        seq, levels = self.drained[symbol]
        assert flat_levels(snapshot) == levels
        assert (snapshot.seq, snapshot.digest) == (seq, brute_digest(levels))
        assert list(snapshot.bids[::2]) == sorted(levels["bid"], reverse=True)
        assert list(snapshot.asks[::2]) == sorted(levels["ask"])
        if model.feed == Feed.ORDERS:
            assert {"bid": bids.orders, "ask": asks.orders} == model.order_counts()
            counts, drained = counts_in(snapshot), self.drained_counts[symbol]
            assert counts is not None
            assert dict(zip(snapshot.bids[::2], counts.bids, strict=True)) == drained["bid"]
            assert dict(zip(snapshot.asks[::2], counts.asks, strict=True)) == drained["ask"]
            assert counts.digest == brute_digest(drained)
        else:
            assert (bids.orders, asks.orders, snapshot.marks) == (None, None, None)

    def drain(self) -> Interval:
        """Drain and compare with the models' net changes."""
        interval = self.engine.drain(("B", "A", "nobody"))
        assert not self.engine.dirty()
        assert [reject[:5] for reject in interval.rejects] == self.rejects
        assert (interval.src, interval.applied) == (self.src, self.applied)
        assert (interval.rejected, interval.ignored) == (self.rejected, self.ignored)
        assert interval.applied + interval.rejected + interval.ignored == self.sent
        assert self.engine.evicted == self.evicted
        deltas = dict(interval.deltas)
        assert len(deltas) == len(interval.deltas)
        for symbol, model in self.models.items():
            seq, before = self.drained[symbol]
            after = model.levels()
            counts_before, counts_after = self.drained_counts[symbol], model.order_counts()
            changed = (after, counts_after) != (before, counts_before)
            doubt, doubt_before = self.doubts.get(symbol), self.drained_doubts.get(symbol)
            assert (Symbol(symbol) in interval.doubts) == (doubt != doubt_before)
            assert interval.doubts.get(Symbol(symbol)) == (doubt if doubt != doubt_before else None)
            assert self.engine.doubt(symbol) == doubt
            assert (Symbol(symbol) in deltas) == (changed or doubt != doubt_before)
            if changed or doubt != doubt_before:
                delta = deltas[Symbol(symbol)]
                events = self.events[symbol] if changed else 0
                assert (delta.prev_seq, delta.seq, delta.events) == (seq, seq + 1, events)
                assert delta.digest == brute_digest(after)
                counts = interval.counts.get(Symbol(symbol))
                assert (counts is not None) == (model.feed == Feed.ORDERS)
                if counts is None:
                    assert net(before["bid"], after["bid"]) == pairs(delta.bids)
                    assert net(before["ask"], after["ask"]) == pairs(delta.asks)
                else:
                    self.check_counts(symbol, (delta.bids, delta.asks), counts, after, counts_after)
                self.drained[symbol], self.drained_counts[symbol] = (delta.seq, after), counts_after
            else:
                assert Symbol(symbol) not in interval.counts
            self.events[symbol] = 0
            self.check_state(symbol)
        self.drained_doubts = dict(self.doubts)
        self.check_times(interval, {str(symbol) for symbol, delta in interval.deltas if delta.events})
        assert list(interval.orders) == ["B"]
        self.rejects = []
        return interval

    def check_times(self, interval: Interval, changed: set[str]) -> None:
        """Symbols that changed have their source times, and others that had input are named."""
        times = {symbol: ts for symbol, ts in self.newest.items() if symbol in changed}
        assert interval.event_times == times
        assert set(interval.inputs) == self.inputs - changed
        assert len(set(interval.inputs)) == len(interval.inputs)
        assert changed <= self.inputs
        self.last_ts.update(times)
        self.last_input.update(dict.fromkeys(self.inputs, int(self.src.partition("-")[0]) * 1000))
        for symbol in self.models:
            assert self.engine.times(symbol) == (
                self.last_ts.get(symbol), self.last_input.get(symbol, 0)
            )  # fmt: skip
        self.inputs, self.newest = set(), {}

    def check_counts(
        self, symbol: str, sides: tuple[Any, Any], counts: OrderCounts, after: Sides, counts_after: Sides
    ) -> None:
        """A delta of an orders feed has exactly the levels whose quantity or number of orders changed."""
        _, before = self.drained[symbol]
        counts_before = self.drained_counts[symbol]
        assert counts.digest == brute_digest(counts_after)
        for name, flat, numbers in (("bid", sides[0], counts.bids), ("ask", sides[1], counts.asks)):
            was, now = both(before[name], counts_before[name]), both(after[name], counts_after[name])
            expected = {
                price: now.get(price, (0, 0))
                for price in was.keys() | now.keys()
                if was.get(price) != now.get(price)
            }
            rows = zip(flat[::2], flat[1::2], numbers, strict=True)
            assert {price: (quantity, number) for price, quantity, number in rows} == expected
            assert len(flat) == 2 * len(expected)
            self.only_counts_changed += any(
                before[name].get(price) == after[name].get(price) for price in expected
            )


def both(levels: dict[int, int], counts: dict[int, int]) -> dict[int, tuple[int, int]]:
    """Price → quantity and number of orders."""
    return {price: (quantity, counts[price]) for price, quantity in levels.items()}


def net(before: dict[int, int], after: dict[int, int]) -> list[tuple[int, int]]:
    prices = before.keys() | after.keys()
    changes = ((price, after.get(price, 0)) for price in prices if before.get(price) != after.get(price))
    return sorted(changes)


def pairs(flat: Any) -> list[tuple[int, int]]:
    return sorted(zip(flat[::2], flat[1::2], strict=True))


def check_consistent(state: BookState) -> None:
    """Check every state at rest: no zero level, index and caches correct, orders add up to levels."""
    for number, side in enumerate(state.book.sides):
        assert all(side.levels.values())
        assert list(side.index) == sorted(price * side.sign for price in side.levels)
        assert state._best_keys[number] == min(side.index, default=NO_KEY)
        if isinstance(state, OrdersState):
            sums: dict[int, int] = {}
            counts: dict[int, int] = {}
            at: dict[int, set[Any]] = {}
            for order_id, (price, quantity) in state._orders[number].items():
                assert quantity > 0
                sums[price] = sums.get(price, 0) + quantity
                counts[price] = counts.get(price, 0) + 1
                at.setdefault(price, set()).add(order_id)
            assert sums == side.levels
            assert counts == side.orders
            assert state._counts[number] is side.orders
            assert state.merger.pending[number].keys() == state.merger.pending_orders[number].keys()
            assert state._ids_at_price is None or state._ids_at_price[number] == at
