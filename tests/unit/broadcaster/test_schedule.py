"""When to broadcast and whose snapshot is due, on a clock of the test's own."""

import itertools
from random import Random

import pytest

from depthcast.broadcaster.schedule import HEARTBEAT_S, UNCHANGED_SNAPSHOT_S, BroadcastSchedule, SnapshotRota

INTERVAL_S = 0.05


class TestPacer:
    def test_a_quiet_books_first_change_goes_out_at_once(self) -> None:
        pacer = BroadcastSchedule(INTERVAL_S, 100.0)
        assert pacer.due(dirty=True) <= 100.0
        pacer.wrote(100.0, dirty=True)
        assert pacer.due(dirty=True) == 100.05
        assert pacer.due(dirty=True) <= 107.0

    def test_broadcasts_are_an_interval_apart(self) -> None:
        pacer = BroadcastSchedule(INTERVAL_S, 0.0)
        pacer.wrote(10.0, dirty=True)
        assert not pacer.may_broadcast(10.04)
        assert pacer.may_broadcast(10.05)

    def test_a_heartbeat_delays_no_change(self) -> None:
        pacer = BroadcastSchedule(INTERVAL_S, 0.0)
        pacer.wrote(1.0, dirty=True)
        pacer.wrote(2.0, dirty=False)
        assert pacer.due(dirty=True) == 1.05
        assert pacer.due(dirty=False) == 2.0 + HEARTBEAT_S

    def test_no_interval_means_at_once_always(self) -> None:
        pacer = BroadcastSchedule(0.0, 0.0)
        pacer.wrote(5.0, dirty=True)
        assert pacer.due(dirty=True) == 5.0
        assert pacer.may_broadcast(5.0)

    @pytest.mark.parametrize("interval_s", [0.0, 0.05, 0.9, 5.0, 60.0])
    def test_whatever_happens_there_is_an_entry_a_second_and_broadcasts_keep_apart(
        self, interval_s: float
    ) -> None:
        rng = Random(7)
        pacer = BroadcastSchedule(interval_s, 0.0)
        now, entries, broadcasts = 0.0, [0.0], list[float]()
        dirty = False
        while now < 300:
            dirty = dirty or rng.random() < 0.5
            due = pacer.due(dirty)
            if due > now:
                now = min(due, now + rng.random()) if dirty or rng.random() < 0.5 else due
                continue
            sends = dirty and pacer.may_broadcast(now)
            assert sends or now >= entries[-1] + HEARTBEAT_S
            pacer.wrote(now, dirty=sends)
            entries.append(now)
            if sends:
                broadcasts.append(now)
                dirty = False
            now += 0.001
        gaps = [after - before for before, after in itertools.pairwise(broadcasts)]
        assert min(gaps) >= interval_s - 1e-9
        assert max(after - before for before, after in itertools.pairwise(entries)) < 1.0


class TestSnapshotRota:
    def test_joining_spreads_over_the_interval(self) -> None:
        rota = SnapshotRota(5.0)
        symbols = [f"S{number}" for number in range(100)]
        rota.join(symbols, 1000.0)
        rota.changed(symbols)
        taken: list[int] = []
        for tenth in range(51):
            due = rota.due(1000.0 + tenth / 10)
            rota.taken(due, 1000.0 + tenth / 10)
            taken.append(len(due))
        assert sum(taken) == 100
        assert max(taken) <= 3
        assert rota.symbols() == symbols

    def test_a_changed_symbol_each_interval_an_unchanged_one_each_30_s(self) -> None:
        rota = SnapshotRota(5.0)
        rota.join(["busy"], 0.0)
        rota.join(["idle"], 0.0)
        taken: dict[str, list[float]] = {"busy": [], "idle": []}
        for second in range(1, 91):
            rota.changed(["busy"])
            due = rota.due(float(second))
            rota.taken(due, float(second))
            for symbol in due:
                taken[symbol].append(float(second))
        assert taken["busy"] == [5.0 * turn for turn in range(1, 19)]
        assert taken["idle"] == [30.0, 60.0, 90.0]
        assert UNCHANGED_SNAPSHOT_S == 30.0

    def test_a_change_waits_for_the_interval_and_is_then_done_with(self) -> None:
        rota = SnapshotRota(5.0)
        rota.join(["A"], 0.0)
        rota.changed(["A"])
        assert rota.due(4.9) == []
        assert rota.due(5.0) == ["A"]
        rota.taken(["A"], 5.0)
        assert rota.due(34.9) == []
        rota.changed(["A"])
        assert rota.due(34.9) == ["A"]

    def test_a_long_interval_does_not_stretch_the_30_s(self) -> None:
        rota = SnapshotRota(600.0)
        rota.join(["A"], 0.0)
        assert rota.due(29.9) == []
        assert rota.due(30.0) == ["A"]

    def test_others_than_members_are_ignored_and_joining_twice_changes_nothing(self) -> None:
        rota = SnapshotRota(5.0)
        rota.changed(["A"])
        rota.join(["A"], 0.0)
        assert rota.due(10.0) == []
        rota.changed(["A"])
        rota.join(["A", "B"], 100.0)
        assert rota.due(10.0) == ["A"]
        rota.join([], 100.0)
        assert rota.symbols() == ["A", "B"]
