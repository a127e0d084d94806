"""Rebuilding the published state, and refusing whatever does not add up."""

import json
from typing import Any

import pytest

from depthcast.ingestor.checkpoint import Checkpoint
from depthcast.ingestor.engine import Engine
from depthcast.ingestor.orders import OrdersCopy
from depthcast.ingestor.recovery import (
    Published,
    StateFold,
    adopt_levels,
    check_checkpoint,
    prove_orders,
    replay,
)
from depthcast.shared.codec import encode_delta, encode_info
from depthcast.shared.digest import digest_of_flat
from depthcast.shared.errors import RecoveryError
from depthcast.shared.instruments import Feed, Instrument
from depthcast.shared.position import ZERO, Position
from depthcast.shared.replica import Replica
from depthcast.shared.types import Delta, EntryInfo, Snapshot, Symbol

EPOCH = 1000
INFO = EntryInfo(1, "7-0", 3, 2, 1)
A = Instrument(Symbol("A"))
O = Instrument(Symbol("O"), feed=Feed.ORDERS)  # noqa: E741


def at(n: int, epoch: int = EPOCH) -> Position:
    return Position(epoch, n)


def entry(position: Position, prev: Position | None = None, **deltas: Delta) -> Any:
    info = INFO._replace(prev=None if prev is None else str(prev))
    fields = [(name.encode(), encode_delta(delta)) for name, delta in deltas.items()]
    return position, [(b"_", encode_info(info)), *fields]


def snapshot(seq: int, *bids: int) -> Snapshot:
    return Snapshot(seq, bids, [], digest_of_flat(bids, []), 0)


def delta(prev_seq: int, seq: int, *bids: int) -> Delta:
    return Delta(prev_seq, seq, bids, [], digest_of_flat(bids, []), 1)


class TestLevels:
    def test_snapshots_and_deltas_give_the_published_state(self) -> None:
        fold = StateFold(
            0, at(7), {"A": (at(5), snapshot(10, 100, 1)), "B": None, "C": (at(6), snapshot(3, 7, 7))}
        )
        assert fold.position == at(5)
        fold.add([entry(at(6), A=delta(10, 11, 100, 5), C=delta(2, 3, 7, 7), X=delta(1, 2, 9, 9))])
        fold.add([entry(at(7), B=Delta(0, 50, [], [], 0, 0), C=delta(3, 4, 7, 8))])
        published = fold.finish(at(7), INFO, "ABC")
        assert (published.position, published.info) == (at(7), INFO)
        assert {name: (found.seq, found.book.bids.flat()) for name, found in published.replicas.items()} == {
            "A": (11, [100, 5]),
            "B": (50, []),
            "C": (4, [7, 8]),
        }

    def test_through_a_change_of_epoch(self) -> None:
        fold = StateFold(0, at(1, EPOCH + 1), {"A": (at(5), snapshot(10, 100, 1))})
        move = Delta(10, 9000, [], [], snapshot(0, 100, 1).digest, 0)
        fold.add([entry(at(6)), entry(at(0, EPOCH + 1), prev=at(6)), entry(at(1, EPOCH + 1), A=move)])
        assert fold.finish(at(1, EPOCH + 1), INFO, "A").replicas["A"].seq == 9000

    def test_nothing_was_published_yet(self) -> None:
        fold = StateFold(0, ZERO, {"A": None})
        assert fold.position == ZERO
        assert fold.finish(ZERO, INFO, "A") == Published(ZERO, INFO, {})

    def test_no_instruments(self) -> None:
        assert StateFold(0, at(9), {}).finish(at(9), INFO, "").position == at(9)

    @pytest.mark.parametrize(
        "entries",
        [
            [entry(at(7))],
            [entry(at(6), A=delta(11, 12, 1, 1))],
            [entry(at(6), A=delta(10, 11, 1, 1)._replace(digest=5))],
            [entry(at(0, EPOCH + 1), prev=at(4))],
            [(at(6), [(b"_", b"\xc1")])],
            [(at(6), [])],
        ],
    )
    def test_what_does_not_fit_is_refused(self, entries: Any) -> None:
        fold = StateFold(4, at(9), {"A": (at(5), snapshot(10, 100, 1))})
        with pytest.raises(RecoveryError, match="partition 4 cannot be recovered") as caught:
            fold.add(entries)
        assert caught.value.partition == 4

    def test_an_end_that_is_not_reached_is_refused(self) -> None:
        fold = StateFold(0, at(9), {"A": (at(5), snapshot(10, 100, 1))})
        fold.add([entry(at(6))])
        with pytest.raises(RecoveryError, match="read to 1000-6, but the stream ends at 1000-9"):
            fold.finish(at(9), INFO, "A")

    def test_a_snapshot_from_beyond_the_end_is_refused(self) -> None:
        fold = StateFold(0, at(7), {"A": (at(5), snapshot(10, 100, 1)), "B": (at(8), snapshot(3, 7, 7))})
        with pytest.raises(
            RecoveryError, match="the snapshot of B stands at 1000-8, but the stream ended at 1000-7"
        ):
            fold.finish(at(7), INFO, "AB")

    def test_a_symbol_that_was_not_followed_from_its_beginning_is_refused(self) -> None:
        fold = StateFold(0, at(5), {"A": (at(5), snapshot(10, 100, 1))})
        assert fold.add([entry(at(6), B=Delta(0, 50, [], [], 0, 0), C=delta(7, 8, 1, 1))]) == ["B"]
        assert fold.add([entry(at(7), B=delta(50, 51, 3, 3), C=delta(8, 9, 1, 1))]) == []
        assert set(fold.finish(at(7), INFO, "AB").replicas) == {"A", "B"}
        with pytest.raises(RecoveryError, match="C was not followed from its beginning"):
            fold.finish(at(7), INFO, "ABC")

    def test_the_engine_takes_what_was_published(self) -> None:
        engine = Engine(0, 1)
        published = Published(
            at(7), INFO, {"A": Replica(snapshot(10, 100, 1, 99, 2)), "O": Replica(snapshot(3))}
        )
        adopt_levels(engine, published.replicas, {"A": A, "O": O, "B": Instrument(Symbol("B"))})
        assert engine.symbols() == ["A"]
        assert engine.snapshot("A") == Snapshot(
            10, [100, 1, 99, 2], [], snapshot(10, 100, 1, 99, 2).digest, 0
        )
        assert not engine.dirty()


class TestOrders:
    def checkpoint(self, position: Position, src: Position) -> Checkpoint:
        return Checkpoint(position, src, OrdersCopy(["x"], [[100, 5]], [], []))

    def published(self, *bids: int) -> Published:
        return Published(at(9), INFO, {"O": Replica(snapshot(20, *bids))})

    def restored(self, published: Published, checkpoints: dict[str, Checkpoint]) -> Engine:
        engine = Engine(0, 1)
        for symbol, replica in published.replicas.items():
            found = checkpoints.get(symbol)
            check_checkpoint(0, symbol, found, published.position)
            assert found is not None
            engine.restore(O, replica.seq, (), (), 0, orders=found.orders)
        return engine

    def input(self, source: int, *events: Any, atomic: bool = False) -> Any:
        fields = [(b"O", json.dumps(events).encode())]
        return Position(source, 0), [*fields, (b"_", b'{"atomic":true}')] if atomic else fields

    def test_a_checkpoint_and_the_input_after_it_give_the_published_state(self) -> None:
        found = {"O": self.checkpoint(at(5), Position(3, 0))}
        published = self.published(100, 9, 98, 1)
        engine = self.restored(published, found)
        entries = [
            self.input(2, ["add", "bid", 50, 1, "before"]),
            self.input(3, ["add", "bid", 51, 1, "also before"]),
            self.input(4, ["add", "bid", 100, 4, "y"], ["add", "bid", 1, 1, "x"], "junk"),
            self.input(5, ["add", "bid", 98, 1, "z"], ["delete", None, None, None, "none"], atomic=True),
            self.input(6, ["add", "bid", 98, 1, "z"]),
        ]
        replay(engine, entries, {"O": found["O"].src})
        prove_orders(engine, 0, Position(7, 0), published.replicas)
        assert engine.snapshot("O") == Snapshot(20, [100, 9, 98, 1], [], published.replicas["O"].digest, 0)
        assert not engine.dirty()
        assert engine.drain(["O"]).orders == {"O": (["x", "y", "z"], [(100, 5), (100, 4), (98, 1)], [], [])}

    def test_what_was_published_otherwise_is_refused(self) -> None:
        published = self.published(100, 6)
        engine = self.restored(published, {"O": self.checkpoint(at(5), Position(3, 0))})
        with pytest.raises(
            RecoveryError, match=r"O: checkpoint and replay to 7-0 give digest \d+, but \d+ was"
        ):
            prove_orders(engine, 0, Position(7, 0), published.replicas)

    def test_no_checkpoint_is_refused(self) -> None:
        with pytest.raises(RecoveryError, match="O has no checkpoint, its orders are unknown"):
            self.restored(self.published(100, 5), {})

    def test_a_checkpoint_from_beyond_the_end_is_refused(self) -> None:
        with pytest.raises(
            RecoveryError, match="checkpoint of O stands at 1000-10, but the stream ended at 1000-9"
        ):
            self.restored(self.published(100, 5), {"O": self.checkpoint(at(10), Position(3, 0))})

    @pytest.mark.parametrize(
        "orders",
        [
            OrdersCopy(["x", "x"], [[1, 1], [1, 1]], [], []),
            OrdersCopy(["x"], [], [], []),
            OrdersCopy(["x"], [[1]], [], []),
            OrdersCopy(["x"], [[1, 0]], [], []),
            OrdersCopy(["x"], [["1", 1]], [], []),  # type: ignore[list-item]
            OrdersCopy([["x"]], [[1, 1]], [], []),  # type: ignore[list-item]
            OrdersCopy(["x"], [[1, 1]], ["x"], [[2, 1]]),
        ],
    )
    def test_orders_that_contradict_each_other_are_refused(self, orders: OrdersCopy) -> None:
        with pytest.raises(RecoveryError, match="the orders kept of O are wrong"):
            self.restored(self.published(100, 5), {"O": Checkpoint(at(5), Position(3, 0), orders)})

    def test_a_symbol_never_published_is_left_to_be_born(self) -> None:
        engine = self.restored(Published(at(9), INFO, {}), {})
        assert engine.symbols() == []
