"""How far streams may be trimmed: nothing that is still needed."""

from random import Random

import pytest

from depthcast.broadcaster.retention import STALE_FACTOR, Retention
from depthcast.shared.position import ZERO, Position


def at(n: int) -> Position:
    return Position(1000, n)


def test_nothing_goes_before_there_is_enough_history() -> None:
    retention = Retention(30.0)
    assert retention.deltas_from(100.0) is None
    retention.record_entry(at(1), 100.0)
    assert retention.deltas_from(129.9) is None
    assert retention.deltas_from(130.0) == at(1)


def test_the_oldest_of_the_newest_snapshots_holds_deltas() -> None:
    retention = Retention(0.0)
    retention.record_state({"A": at(3), "B": at(5)}, {})
    retention.record_entry(at(9), 100.0)
    assert retention.deltas_from(100.0) == at(3)
    retention.record_state({"A": at(8)}, {})
    assert retention.deltas_from(100.0) == at(5)
    retention.record_state({"B": at(9)}, {})
    assert retention.deltas_from(100.0) == at(8)


def test_a_symbol_whose_state_is_not_renewed_yet_holds_everything() -> None:
    retention = Retention(0.0)
    retention.record_entry(at(9), 100.0)
    retention.record_state({"A": ZERO, "B": at(9)}, {"A": ZERO})
    assert retention.deltas_from(200.0) == ZERO
    assert retention.events_from(at(9)) == ZERO


def test_the_oldest_checkpoint_holds_events() -> None:
    retention = Retention(0.0)
    assert retention.events_from(Position(7, 1)) == Position(7, 1)
    retention.record_state({}, {"A": Position(5, 0), "B": Position(6, 0)})
    assert retention.events_from(Position(7, 1)) == Position(5, 0)
    retention.record_state({}, {"A": Position(7, 1)})
    assert retention.events_from(Position(7, 1)) == Position(6, 0)
    retention.record_state({}, {"A": Position(9, 0), "B": Position(8, 0)})
    assert retention.events_from(Position(7, 1)) == Position(7, 1)


@pytest.mark.parametrize("retention_s", [0.0, 0.5, 1.0, 5.0])
@pytest.mark.parametrize("seed", range(3))
def test_never_more_than_allowed_and_not_much_less(retention_s: float, seed: int) -> None:
    rng = Random(seed)
    retention = Retention(retention_s)
    now, written, snapshots = 0.0, list[tuple[float, Position]](), {"A": ZERO, "B": ZERO}
    retention.record_state(snapshots, {})
    for n in range(600):
        now += rng.random() * 0.2
        retention.record_entry(at(n), now)
        written.append((now, at(n)))
        if rng.random() < 0.05:
            symbol = rng.choice(["A", "B"])
            snapshots[symbol] = rng.choice(written[-20:])[1]
            retention.record_state({symbol: snapshots[symbol]}, {})
        later = now + rng.random() * 0.01
        first = retention.deltas_from(later)
        now = later
        kept = [position for time, position in written if later - time < retention_s]
        assert first is None or first <= min([at(n), *snapshots.values(), *kept])
        needed = [position for time, position in written if later - time < retention_s + 1.2]
        if len(needed) < len(written) and all(snapshots.values()) and ZERO not in snapshots.values():
            assert first is not None
            assert first >= min([*needed, *snapshots.values()])
    assert len(retention._history) <= retention_s + 3


@pytest.mark.parametrize("seed", range(3))
def test_the_oldest_is_what_a_look_at_every_symbol_finds(seed: int) -> None:
    rng = Random(seed)
    retention = Retention(0.0)
    checkpoints = dict[str, Position]()
    names = [f"S{number}" for number in range(8)]
    for n in range(2000):
        some = {name: at(max(n - rng.randrange(30), 0)) for name in rng.sample(names, 2)}
        checkpoints |= some
        retention.record_state({}, some)
        if rng.random() < 0.1:
            gone = rng.choice(names)
            checkpoints.pop(gone, None)
            retention.forget_checkpoints([gone])
        assert retention.events_from(at(n)) == min([at(n), *checkpoints.values()])
    assert len(retention._checkpoints._in_order) < 100


def test_one_symbol_that_is_not_renewed_keeps_no_positions_of_the_others() -> None:
    retention = Retention(0.0)
    retention.record_state({}, {"stuck": at(0)})
    for n in range(1, 1000):
        retention.record_state({}, {"renewed": at(n)})
    assert retention.events_from(at(1000)) == at(0)
    assert len(retention._checkpoints._in_order) <= STALE_FACTOR * 3
