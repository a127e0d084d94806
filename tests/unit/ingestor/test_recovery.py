"""Rebuilding the published state, and refusing any inconsistency."""

import json
import logging
from typing import Any

import pytest

from depthcast.broadcaster.numbering import ORIGIN_MS, first_seq
from depthcast.ingestor.checkpoint import Checkpoint
from depthcast.ingestor.engine import Engine
from depthcast.ingestor.orders import OrdersCopy
from depthcast.ingestor.recovery import (
    PublishedState,
    StateFold,
    check_checkpoint,
    prove_orders,
    replay,
    restore_levels,
)
from depthcast.shared.codec import encode_delta, encode_info
from depthcast.shared.digest import digest_of_flat
from depthcast.shared.errors import RecoveryError
from depthcast.shared.instruments import Feed, Instrument
from depthcast.shared.position import ZERO, Position
from depthcast.shared.replica import Replica
from depthcast.shared.types import Delta, EntryInfo, Snapshot, Symbol

EPOCH = ORIGIN_MS + 40_000_000_000
"""An epoch as leaders use them; before `ORIGIN_MS` no seq is too low for its epoch."""

FIRST = first_seq(EPOCH, 0)
INFO = EntryInfo(1, "7-0", 3, 2, 1)
A = Instrument(Symbol("A"))
O = Instrument(Symbol("O"), feed=Feed.ORDERS)  # noqa: E741


def at(n: int, epoch: int = EPOCH) -> Position:
    return Position(epoch, n)


def entry(position: Position, prev: Position | None = None, **deltas: Delta) -> Any:
    info = INFO._replace(prev=None if prev is None else str(prev))
    fields = [(name.encode(), encode_delta(delta)) for name, delta in deltas.items()]
    return position, [(b"_", encode_info(info)), *fields]


def snapshot(number: int, *bids: int) -> Snapshot:
    """With the seq `number` places after the first of `EPOCH`."""
    return Snapshot(FIRST + number, bids, [], digest_of_flat(bids, []), 0)


def delta(before: int, number: int, *bids: int) -> Delta:
    """From the seq `before` to the seq `number` places after the first of `EPOCH`."""
    return Delta(FIRST + before, FIRST + number, bids, [], digest_of_flat(bids, []), 1)


def birth(number: int, epoch: int = EPOCH) -> Delta:
    return Delta(0, first_seq(epoch, 0) + number, [], [], 0, 0)


def move(replica: Snapshot, epoch: int) -> Delta:
    """The first delta that the leader of `epoch` publishes for a symbol that continues."""
    return Delta(replica.seq, first_seq(epoch, replica.seq), [], [], replica.digest, 0)


class TestLevels:
    def test_snapshots_and_deltas_give_the_published_state(self) -> None:
        fold = StateFold(
            0, at(7), {"A": (at(5), snapshot(10, 100, 1)), "B": None, "C": (at(6), snapshot(3, 7, 7))}
        )
        assert fold.position == at(5)
        fold.add([entry(at(6), A=delta(10, 11, 100, 5), C=delta(2, 3, 7, 7), X=delta(1, 2, 9, 9))])
        fold.add([entry(at(7), B=birth(50), C=delta(3, 4, 7, 8))])
        published = fold.finish(at(7), INFO, "ABC")
        assert (published.position, published.info) == (at(7), INFO)
        assert {name: (found.seq, found.book.bids.flat()) for name, found in published.replicas.items()} == {
            "A": (FIRST + 11, [100, 5]),
            "B": (FIRST + 50, []),
            "C": (FIRST + 4, [7, 8]),
        }

    def test_through_a_change_of_epoch(self) -> None:
        before = snapshot(10, 100, 1)
        fold = StateFold(0, at(1, EPOCH + 1), {"A": (at(5), before)})
        fold.add(
            [
                entry(at(6)),
                entry(at(0, EPOCH + 1), prev=at(6)),
                entry(at(1, EPOCH + 1), A=move(before, EPOCH + 1)),
            ]
        )
        assert fold.finish(at(1, EPOCH + 1), INFO, "A").replicas["A"].seq == first_seq(EPOCH + 1, 0)

    @pytest.mark.parametrize("seals", [1, 2])
    def test_a_leader_that_died_right_after_its_seal_loses_no_book(self, seals: int) -> None:
        """No symbol was moved into its epoch, and all of them continue."""
        fold = StateFold(0, at(6), {"A": (at(5), snapshot(10, 100, 1)), "B": None})
        fold.add([entry(at(6), B=birth(3))])
        previous = at(6)
        for later in range(1, seals + 1):
            sealed = at(0, EPOCH + later)
            fold.add([entry(sealed, prev=previous)])
            previous = sealed
        published = fold.finish(previous, INFO, "AB")
        assert {name: (found.seq, found.book.bids.flat()) for name, found in published.replicas.items()} == {
            "A": (FIRST + 10, [100, 1]),
            "B": (FIRST + 3, []),
        }
        assert fold.last_registered().keys() == {"A", "B"}

    @pytest.mark.parametrize("moved", [0, 1, 2])
    def test_a_leader_that_died_amid_the_steps_of_its_moves_loses_no_book(self, moved: int) -> None:
        """The symbol that was withdrawn before stays so; the others continue, moved or not."""
        replicas = {"A": snapshot(10, 100, 1), "B": snapshot(12, 7, 7)}
        gone = snapshot(0)._replace(seq=FIRST - 5)
        snapshots = {name: (at(5), replica) for name, replica in (replicas | {"W": gone}).items()}
        fold = StateFold(0, at(5), snapshots)
        fold.add([entry(at(0, EPOCH + 1), prev=at(5))])
        for step, name in enumerate(list(replicas)[:moved], EPOCH + 2):
            moves = {name: move(replicas[name], EPOCH + 3)}
            fold.add([entry(at(0, step), prev=at(0, step - 1), **moves)])
        assert fold.position == at(0, EPOCH + 1 + moved)
        found = fold.finish(fold.position, INFO, "ABW").replicas
        assert {name: replica.book.bids.flat() for name, replica in found.items()} == {
            "A": [100, 1],
            "B": [7, 7],
        }
        if moved == 2:  # and once it says so, they alone are of the leadership
            fold.add([entry(at(1, EPOCH + 3))])
            assert fold.last_registered().keys() == {"A", "B"}

    def test_what_the_last_leadership_did_not_list_begins_empty(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        kept, withdrawn = snapshot(10, 100, 1), snapshot(12, 7, 7)
        fold = StateFold(0, at(6), {"A": (at(5), kept), "B": (at(5), withdrawn)})
        fold.add([entry(at(6)), entry(at(0, EPOCH + 1), prev=at(6))])
        assert set(fold.last_registered()) == {"A", "B"}
        fold.add([entry(at(1, EPOCH + 1), A=move(kept, EPOCH + 1))])
        with caplog.at_level(logging.WARNING):
            assert set(fold.finish(at(1, EPOCH + 1), INFO, "AB").replicas) == {"A"}
        assert [(record.symbol, record.partition) for record in caplog.records] == [("B", 0)]  # type: ignore[attr-defined]

    def test_a_snapshot_of_an_earlier_epoch_than_the_newest_is_not_continued(self) -> None:
        """The newest snapshot says which leadership was the last; nothing need follow it in the stream."""
        newest = snapshot(0)._replace(seq=first_seq(EPOCH + 1, 0))
        at_end = at(9, EPOCH + 1)
        fold = StateFold(0, at_end, {"A": (at_end, newest), "B": (at_end, snapshot(12, 7, 7))})
        assert set(fold.last_registered()) == {"A"}

    @pytest.mark.parametrize(
        ("listed", "lost"),
        [
            ({}, []),
            ({"A": at(1), "B": at(1), "N": at(1)}, ["B", "N"]),
            ({"B": at(9, EPOCH + 7)}, ["B"]),
            ({"B": at(9, EPOCH - 1), "N": at(1)}, ["N"]),
            ({"X": at(1)}, []),
        ],
    )
    def test_a_listed_symbol_of_which_nothing_is_left_is_lost(
        self, listed: dict[str, Position], lost: list[str]
    ) -> None:
        """Unless a leadership that kept no record came later, or it is not registered now."""
        fold = StateFold(0, at(6), {"A": (at(5), snapshot(10, 100, 1)), "B": None, "N": None, "C": None})
        fold.add([entry(at(6), C=birth(3))])
        fold.finish(at(6), INFO, "ABNC")
        assert fold.lost(listed | {"C": at(6)}, "NBAC") == lost

    def test_without_any_snapshot_left_all_that_was_listed_is_lost(self) -> None:
        fold = StateFold(0, at(6), {"A": None, "B": None})
        fold.finish(at(6), INFO, "AB")
        assert fold.lost({"A": at(1), "B": at(1)}, "AB") == ["A", "B"]

    def test_nothing_was_published_yet(self) -> None:
        fold = StateFold(0, ZERO, {"A": None})
        assert fold.position == ZERO
        assert fold.finish(ZERO, INFO, "A") == PublishedState(ZERO, INFO, {})

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
        with pytest.raises(RecoveryError, match=f"read to {at(6)}, but the stream ends at {at(9)}"):
            fold.finish(at(9), INFO, "A")

    def test_a_snapshot_from_beyond_the_end_is_refused(self) -> None:
        fold = StateFold(0, at(7), {"A": (at(5), snapshot(10, 100, 1)), "B": (at(8), snapshot(3, 7, 7))})
        with pytest.raises(
            RecoveryError, match=f"the snapshot of B is at {at(8)}, but the stream ended at {at(7)}"
        ):
            fold.finish(at(7), INFO, "AB")

    def test_a_symbol_that_was_not_followed_from_its_beginning_is_refused(self) -> None:
        fold = StateFold(0, at(5), {"A": (at(5), snapshot(10, 100, 1))})
        assert fold.add([entry(at(6), B=birth(50), C=delta(7, 8, 1, 1))]) == ["B"]
        assert fold.add([entry(at(7), B=delta(50, 51, 3, 3), C=delta(8, 9, 1, 1))]) == []
        assert set(fold.finish(at(7), INFO, "AB").replicas) == {"A", "B"}
        with pytest.raises(RecoveryError, match="C was not followed from its beginning"):
            fold.finish(at(7), INFO, "ABC")

    def test_a_symbol_born_in_the_stream_that_then_fails_is_not_recovered(self) -> None:
        fold = StateFold(0, at(5), {"A": (at(5), snapshot(10, 100, 1))})
        fold.add([entry(at(6), B=birth(3))])
        fold.add([entry(at(7), B=delta(9, 11, 3, 3))])
        assert set(fold.replicas) == {"A"}
        assert set(fold.finish(at(7), INFO, "A").replicas) == {"A"}
        with pytest.raises(RecoveryError, match="B was not followed from its beginning"):
            fold.finish(at(7), INFO, "AB")

    def test_snapshots_may_be_as_new_as_the_stream(self) -> None:
        fold = StateFold(0, at(8), {"A": (at(8), snapshot(10, 100, 1)), "B": (at(8), snapshot(3))})
        assert set(fold.finish(at(8), INFO, "AB").replicas) == {"A", "B"}

    def test_the_engine_takes_what_was_published(self) -> None:
        engine = Engine(0, 1)
        published = PublishedState(
            at(7), INFO, {"A": Replica(snapshot(10, 100, 1, 99, 2)), "O": Replica(snapshot(3))}
        )
        restore_levels(engine, published.replicas, {"A": A, "O": O, "B": Instrument(Symbol("B"))})
        assert engine.symbols() == ["A"]
        assert engine.snapshot("A") == snapshot(10, 100, 1, 99, 2)._replace(bids=[100, 1, 99, 2])
        assert not engine.dirty()


class TestOrders:
    def checkpoint(self, position: Position, src: Position) -> Checkpoint:
        return Checkpoint(position, src, OrdersCopy(["x"], [[100, 5]], [], []))

    def published(self, *bids: int) -> PublishedState:
        return PublishedState(at(9), INFO, {"O": Replica(snapshot(20, *bids))})

    def restored(self, published: PublishedState, checkpoints: dict[str, Checkpoint]) -> Engine:
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
        for entry in entries:
            for _ in replay(engine, entry, {"O": found["O"].src}):
                pass
        prove_orders(engine, 0, Position(7, 0), published.replicas)
        plain = engine.snapshot("O")._replace(marks=None)
        assert plain == snapshot(20, 100, 9, 98, 1)._replace(bids=[100, 9, 98, 1])
        assert not engine.dirty()
        assert engine.drain(["O"]).orders == {"O": (["x", "y", "z"], [(100, 5), (100, 4), (98, 1)], [], [])}

    def test_what_was_published_otherwise_is_refused(self) -> None:
        published = self.published(100, 6)
        engine = self.restored(published, {"O": self.checkpoint(at(5), Position(3, 0))})
        with pytest.raises(
            RecoveryError, match=r"O: checkpoint and replay to 7-0 give digest \d+, but \d+ was"
        ) as caught:
            prove_orders(engine, 3, Position(7, 0), published.replicas)
        assert caught.value.partition == 3

    def test_another_number_of_orders_than_was_published_is_refused(self) -> None:
        published = self.published(100, 5)
        engine = self.restored(published, {"O": self.checkpoint(at(5), Position(3, 0))})
        replica = published.replicas["O"]
        for known in (None, engine.orders_digest("O")):
            replica.orders_digest = known
            prove_orders(engine, 3, Position(7, 0), published.replicas)
        replica.orders_digest = engine.orders_digest("O") ^ 1
        with pytest.raises(RecoveryError, match=r"O: .* give digest of the number of orders"):
            prove_orders(engine, 3, Position(7, 0), published.replicas)

    def test_a_checkpoint_may_be_as_new_as_the_stream(self) -> None:
        engine = self.restored(self.published(100, 5), {"O": self.checkpoint(at(9), Position(7, 0))})
        assert engine.snapshot("O").bids == [100, 5]

    @pytest.mark.parametrize("found", [None, Checkpoint(at(10), ZERO, OrdersCopy([], [], [], []))])
    def test_a_refusal_names_its_partition(self, found: Checkpoint | None) -> None:
        with pytest.raises(RecoveryError) as caught:
            check_checkpoint(3, "O", found, at(9))
        assert caught.value.partition == 3

    def test_no_checkpoint_is_refused(self) -> None:
        with pytest.raises(RecoveryError, match="O has no checkpoint, its orders are unknown"):
            self.restored(self.published(100, 5), {})

    def test_a_checkpoint_from_beyond_the_end_is_refused(self) -> None:
        with pytest.raises(
            RecoveryError, match=f"checkpoint of O is at {at(10)}, but the stream ended at {at(9)}"
        ):
            self.restored(self.published(100, 5), {"O": self.checkpoint(at(10), Position(3, 0))})

    @pytest.mark.parametrize(
        "orders",
        [
            OrdersCopy(["x", "x"], [[1, 1], [1, 1]], [], []),
            OrdersCopy(["x"], [], [], []),
            OrdersCopy(["x"], [[1, 1], [2, 2]], [], []),
            OrdersCopy(["x"], [[1]], [], []),
            OrdersCopy(["x"], [[1, 0]], [], []),
            OrdersCopy(["x"], [["1", 1]], [], []),  # type: ignore[list-item]
            OrdersCopy(["x"], [[1, 1.5]], [], []),  # type: ignore[list-item]
            OrdersCopy([1], [[True, 1]], [], []),
            OrdersCopy([["x"]], [[1, 1]], [], []),  # type: ignore[list-item]
            OrdersCopy(["x"], [[1, 1]], ["x"], [[2, 1]]),
        ],
    )
    def test_orders_that_contradict_each_other_are_refused(self, orders: OrdersCopy) -> None:
        with pytest.raises(RecoveryError, match="the orders kept of O are wrong"):
            self.restored(self.published(100, 5), {"O": Checkpoint(at(5), Position(3, 0), orders)})

    def test_a_symbol_never_published_is_left_to_be_born(self) -> None:
        engine = self.restored(PublishedState(at(9), INFO, {}), {})
        assert engine.symbols() == []
