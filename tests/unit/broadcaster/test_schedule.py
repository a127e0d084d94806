"""When to broadcast and which snapshots are due, on the test's clock."""

import itertools
from random import Random

import pytest

from depthcast.broadcaster.schedule import (
    HEARTBEAT_S,
    STALE_FACTOR,
    UNCHANGED_SNAPSHOT_S,
    BroadcastSchedule,
    SnapshotSchedule,
)

INTERVAL_S = 0.05


class TestBroadcastSchedule:
    def test_a_quiet_books_first_change_goes_out_at_once(self) -> None:
        schedule = BroadcastSchedule(INTERVAL_S, 100.0)
        assert schedule.due(dirty=True) <= 100.0
        schedule.record_entry(100.0, dirty=True)
        assert schedule.due(dirty=True) == 100.05
        assert schedule.due(dirty=True) <= 107.0

    def test_broadcasts_are_an_interval_apart(self) -> None:
        schedule = BroadcastSchedule(INTERVAL_S, 0.0)
        schedule.record_entry(10.0, dirty=True)
        assert not schedule.may_broadcast(10.04)
        assert schedule.may_broadcast(10.05)

    def test_a_heartbeat_delays_no_change(self) -> None:
        schedule = BroadcastSchedule(INTERVAL_S, 0.0)
        schedule.record_entry(1.0, dirty=True)
        schedule.record_entry(2.0, dirty=False)
        assert schedule.due(dirty=True) == 1.05
        assert schedule.due(dirty=False) == 2.0 + HEARTBEAT_S

    def test_no_interval_means_at_once_always(self) -> None:
        schedule = BroadcastSchedule(0.0, 0.0)
        schedule.record_entry(5.0, dirty=True)
        assert schedule.due(dirty=True) == 5.0
        assert schedule.may_broadcast(5.0)

    @pytest.mark.parametrize("interval_s", [0.0, 0.05, 0.9, 5.0, 60.0])
    def test_whatever_happens_there_is_an_entry_a_second_and_broadcasts_keep_apart(
        self, interval_s: float
    ) -> None:
        rng = Random(7)
        schedule = BroadcastSchedule(interval_s, 0.0)
        now, entries, broadcasts = 0.0, [0.0], list[float]()
        dirty = False
        while now < 300:
            dirty = dirty or rng.random() < 0.5
            due = schedule.due(dirty)
            if due > now:
                now = min(due, now + rng.random()) if dirty or rng.random() < 0.5 else due
                continue
            sends = dirty and schedule.may_broadcast(now)
            assert sends or now >= entries[-1] + HEARTBEAT_S
            schedule.record_entry(now, dirty=sends)
            entries.append(now)
            if sends:
                broadcasts.append(now)
                dirty = False
            now += 0.001
        gaps = [after - before for before, after in itertools.pairwise(broadcasts)]
        assert min(gaps) >= interval_s - 1e-9
        assert max(after - before for before, after in itertools.pairwise(entries)) < 1.0


class TestSnapshotSchedule:
    def test_joining_spreads_over_the_interval(self) -> None:
        schedule = SnapshotSchedule(5.0)
        symbols = [f"S{number}" for number in range(100)]
        schedule.add(symbols, 1000.0)
        schedule.mark_changed(symbols)
        taken: list[int] = []
        for tenth in range(51):
            due = schedule.due(1000.0 + tenth / 10)
            schedule.mark_taken(due, 1000.0 + tenth / 10)
            taken.append(len(due))
        assert sum(taken) == 100
        assert max(taken) <= 3
        assert schedule.symbols() == symbols

    def test_a_changed_symbol_each_interval_an_unchanged_one_each_30_s(self) -> None:
        schedule = SnapshotSchedule(5.0)
        schedule.add(["busy"], 0.0)
        schedule.add(["idle"], 0.0)
        taken: dict[str, list[float]] = {"busy": [], "idle": []}
        for second in range(1, 91):
            schedule.mark_changed(["busy"])
            due = schedule.due(float(second))
            schedule.mark_taken(due, float(second))
            for symbol in due:
                taken[symbol].append(float(second))
        assert taken["busy"] == [5.0 * round_ for round_ in range(1, 19)]
        assert taken["idle"] == [30.0, 60.0, 90.0]
        assert UNCHANGED_SNAPSHOT_S == 30.0

    def test_a_change_waits_for_the_interval_and_is_then_done_with(self) -> None:
        schedule = SnapshotSchedule(5.0)
        schedule.add(["A"], 0.0)
        schedule.mark_changed(["A"])
        assert schedule.due(4.9) == []
        assert schedule.due(5.0) == ["A"]
        schedule.mark_taken(["A"], 5.0)
        assert schedule.due(34.9) == []
        schedule.mark_changed(["A"])
        assert schedule.due(34.9) == ["A"]

    def test_a_long_interval_does_not_stretch_the_30_s(self) -> None:
        schedule = SnapshotSchedule(600.0)
        schedule.add(["A"], 0.0)
        assert schedule.due(29.9) == []
        assert schedule.due(30.0) == ["A"]

    def test_others_than_members_are_ignored_and_joining_twice_changes_nothing(self) -> None:
        schedule = SnapshotSchedule(5.0)
        schedule.mark_changed(["A"])
        schedule.add(["A"], 0.0)
        assert schedule.due(10.0) == []
        schedule.mark_changed(["A"])
        schedule.add(["A", "B"], 100.0)
        assert schedule.due(10.0) == ["A"]
        schedule.add([], 100.0)
        assert schedule.symbols() == ["A", "B"]

    @pytest.mark.parametrize("interval_s", [0.05, 5.0, 600.0])
    @pytest.mark.parametrize("seed", range(3))
    def test_what_is_due_is_what_a_look_at_every_symbol_finds(self, interval_s: float, seed: int) -> None:
        rng = Random(seed)
        schedule = SnapshotSchedule(interval_s)
        taken, changed, now = dict[str, float](), set[str](), 0.0
        names = [f"S{number}" for number in range(20)]
        for _ in range(3000):
            now += rng.choice([0.001, 0.25, 3.0])
            some = rng.sample(names, 4)
            if rng.random() < 0.1:
                schedule.add(some, now)
                new = [name for name in some if name not in taken]
                taken |= {name: now - interval_s * place / len(new) for place, name in enumerate(new)}
            if rng.random() < 0.05:
                schedule.remove(some)
                taken = {name: at for name, at in taken.items() if name not in some}
                changed -= set(some)
            if rng.random() < 0.5:
                schedule.mark_changed(some)
                changed |= {name for name in some if name in taken}
            waits = {name: min(interval_s, 30.0) if name in changed else 30.0 for name in taken}
            due = {name for name, at in taken.items() if at + waits[name] <= now}
            assert set(schedule.due(now)) == due
            if rng.random() < 0.5:
                done = [name for name in due if rng.random() < 0.8]
                schedule.mark_taken(done, now)
                taken |= dict.fromkeys(done, now)
                changed -= set(done)

    def test_the_queue_does_not_grow_with_the_times_that_a_symbol_was_taken(self) -> None:
        schedule = SnapshotSchedule(5.0)
        schedule.add(["A", "B"], 0.0)
        for number in range(1000):
            schedule.mark_changed(["A"])
            schedule.mark_taken(["A"], number / 1000)
        assert len(schedule._in_order) <= STALE_FACTOR * 3 + 1
        assert set(schedule.due(31.0)) == {"A", "B"}
