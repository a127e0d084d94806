"""When groups are visited, and which cohorts read which channel."""

import pytest

from depthcast.gateway.delivery import flusher
from depthcast.gateway.delivery.cursor import NeedsSnapshot
from depthcast.gateway.delivery.flusher import Flusher
from depthcast.gateway.delivery.subscription_group import GroupState, SubscriptionGroup
from tests.unit.gateway.delivery.parts import MARK_BYTES, Parts, state_of, writer_of
from tests.unit.gateway.small_market import lively_market


class Scene(Parts):
    """A separate flusher on a small market."""

    def __init__(self) -> None:
        super().__init__(lively_market("AAA", "BBB", stale_ms=1000))
        self.alarms: list[int] = []
        self.flusher = Flusher(self.market, self.alarms.append)

    def new(self, *symbols: str, interval_ms: int = 0, reads: bool = True) -> SubscriptionGroup:
        group = self.group(*(symbols or ("AAA",)), interval_ms=interval_ms, reads=reads)
        self.flusher.add(group)
        return group

    def joined(self, *symbols: str, interval_ms: int = 0, reads: bool = True) -> SubscriptionGroup:
        group = self.new(*symbols, interval_ms=interval_ms, reads=reads)
        self.flusher.serve(group)
        assert state_of(group) is GroupState.ONE_CURSOR
        return group

    def tick(self, symbol: str = "AAA", quantity: int = 4) -> None:
        self.broadcast(symbol, quantity)
        self.flusher.tick()


@pytest.fixture
def scene() -> Scene:
    return Scene()


# --- cohorts and readers ----------------------------------------------------------------------------------


def test_equal_groups_share_a_cohort_and_others_do_not(scene: Scene) -> None:
    for _ in range(3):
        scene.joined("AAA", "BBB")
    scene.joined("AAA")
    scene.joined("AAA", interval_ms=50)
    assert sorted(map(len, scene.flusher.cohorts.values())) == [1, 1, 3]
    assert scene.counters.cohorts_made == 3
    assert not scene.flusher.split


def test_the_readers_of_a_channel_are_known_until_the_last_goes(scene: Scene) -> None:
    first, second, throttled = scene.joined(), scene.joined(), scene.joined(interval_ms=50)
    channel = scene.channel()
    for group, left in ((first, True), (second, True), (throttled, False)):
        scene.flusher.remove(group)
        assert state_of(group) is GroupState.CLOSED
        assert bool(scene.flusher.readers.get(channel)) is left
    assert (scene.flusher.cohorts, scene.flusher.readers) == ({}, {})


def test_a_channel_that_nobody_reads_is_flushed_to_nobody(scene: Scene) -> None:
    group = scene.joined("BBB")
    scene.tick("AAA")
    assert writer_of(group).writes == 0
    assert not scene.market.changed


def test_a_changed_subscription_leaves_the_cohort_and_comes_back(scene: Scene) -> None:
    group = scene.joined("AAA")
    scene.tick()
    assert state_of(group) is GroupState.SYNCED
    scene.flusher.subscribe(group, scene.channel("BBB"), NeedsSnapshot(scene.market.number))
    assert state_of(group) is GroupState.CURSOR_PER_CHANNEL
    assert not scene.flusher.cohorts
    scene.flusher.serve(group)
    assert state_of(group) is GroupState.ONE_CURSOR
    [key] = scene.flusher.cohorts
    assert key.channels == {scene.channel("AAA"), scene.channel("BBB")}
    scene.flusher.unsubscribe(group, scene.channel("AAA"))
    assert set(group.cursors) == {scene.channel("BBB")}


def test_a_new_subscription_hears_of_statuses_only_after_those_before_it(scene: Scene) -> None:
    group = scene.joined("AAA")
    scene.small.now += 2
    scene.market.update_statuses(scene.small.now)
    scene.flusher.subscribe(group, scene.channel("BBB"), scene.market.number)
    taken = bytes(writer_of(group).taken)
    assert b"AAA" in taken
    assert b"BBB" not in taken


# --- ticks ------------------------------------------------------------------------------------------------


def test_a_tick_syncs_those_that_keep_up(scene: Scene) -> None:
    groups = [scene.joined(), scene.joined()]
    flushes = scene.counters.flushes
    scene.tick()
    scene.tick(quantity=3)
    assert [group.state for group in groups] == [GroupState.SYNCED] * 2
    assert [writer_of(group).writes for group in groups] == [2, 2]
    assert scene.counters.flushes == flushes + 2


def test_what_a_flush_leaves_over_is_served(scene: Scene) -> None:
    credited = scene.joined()
    credited.sender.add_credit(1)
    scene.tick()
    assert writer_of(credited).writes == 1
    assert credited.sender.credit == 0
    assert credited.cursor == scene.market.number
    scene.tick(quantity=3)
    assert writer_of(credited).writes == 1


def test_a_group_that_kept_up_is_sent_any_number_of_bytes_at_once(scene: Scene) -> None:
    group = scene.joined("AAA", "BBB")
    group.sender.add_credit(100)
    group.sender.write_bytes_max = 8
    scene.broadcast("BBB", 4)
    scene.tick("AAA")
    assert (group.state, writer_of(group).writes) == (GroupState.ONE_CURSOR, 1)


def test_a_group_that_fell_behind_gets_a_cursor_per_channel(scene: Scene) -> None:
    group = scene.joined("AAA", "BBB", reads=False)
    writer_of(group).write(b"x" * (MARK_BYTES + 1))
    scene.tick("AAA")
    scene.tick("BBB")
    assert state_of(group) is GroupState.ONE_CURSOR
    skipped = scene.counters.skipped
    for more in (1, 2):
        scene.flusher.serve(group)
        assert scene.counters.skipped == skipped + more
    writer_of(group).drain(2 * MARK_BYTES)
    group.sender.write_bytes_max, writer_of(group).mark_bytes = 8, 8
    scene.flusher.serve(group)
    assert state_of(group) is GroupState.CURSOR_PER_CHANNEL
    assert scene.flusher.split == {group: None}
    writer_of(group).drain(2 * MARK_BYTES)
    scene.tick("AAA", quantity=2)
    writer_of(group).drain(2 * MARK_BYTES)
    scene.tick("AAA", quantity=1)
    assert state_of(group) is GroupState.ONE_CURSOR, "a tick visits those that catch up"


def test_the_fast_path_is_left_before_anything_waits(scene: Scene) -> None:
    group = scene.joined()
    scene.tick()
    scene.flusher.leave_fast_path(group)
    scene.flusher.leave_fast_path(group)
    assert state_of(group) is GroupState.ONE_CURSOR
    assert group.sender.bytes_written == len(writer_of(group).taken)


# --- intervals --------------------------------------------------------------------------------------------


def test_a_grid_time_is_asked_for_once_and_flushes_what_changed(scene: Scene) -> None:
    group = scene.joined(interval_ms=50)
    for quantity in (4, 3):
        scene.tick(quantity=quantity)
    assert scene.alarms == [50]
    assert writer_of(group).writes == 0
    scene.flusher.flush_grid(50)
    assert writer_of(group).writes == 1
    assert b'"merged":2' in writer_of(group).taken
    assert scene.flusher.scheduled == {}
    scene.tick(quantity=2)
    assert scene.alarms == [50, 50]


def test_due_is_what_was_there_at_the_last_grid_time(scene: Scene) -> None:
    group = scene.new(interval_ms=50)
    assert scene.flusher.due_below(50) == 0
    scene.flusher.flush_grid(50)
    assert scene.flusher.due_below(50) == scene.market.number
    assert scene.flusher.due_below(100) == 0
    assert scene.flusher.due_below(0) > scene.market.number
    scene.flusher.remove(group)
    assert scene.flusher.grid_marks == {}
    scene.flusher.flush_grid(50)
    assert scene.flusher.grid_marks == {}, "nobody has the interval any more"


def test_a_throttled_group_that_catches_up_is_visited_at_the_next_grid_time(scene: Scene) -> None:
    group = scene.new(interval_ms=50)
    scene.flusher.tick()
    assert scene.alarms == [], "nothing changed"
    scene.tick()
    assert scene.alarms == [50]
    assert writer_of(group).writes == 0
    scene.flusher.flush_grid(50)
    assert writer_of(group).writes == 1
    assert state_of(group) is GroupState.ONE_CURSOR


def test_a_cohort_that_is_gone_is_not_flushed(scene: Scene) -> None:
    group = scene.joined(interval_ms=50)
    scene.tick()
    scene.flusher.remove(group)
    assert scene.flusher.scheduled == {}
    scene.flusher.flush_grid(50)
    assert writer_of(group).writes == 0


def test_an_interval_that_comes_and_goes_asks_for_one_grid_time(scene: Scene) -> None:
    for _ in range(3):
        group = scene.joined(interval_ms=50)
        scene.tick()
        scene.flusher.remove(group)
    assert scene.alarms == [50], "a timer that runs is not asked for again"
    scene.flusher.flush_grid(50)
    scene.joined(interval_ms=50)
    scene.tick(quantity=2)
    assert scene.alarms == [50, 50]


# --- bounds -----------------------------------------------------------------------------------------------


def test_what_does_not_fit_into_one_turn_comes_in_the_next(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flusher, "VISITS_COST_MAX", 2)
    monkeypatch.setattr(flusher, "JOINS_AT_ONCE_MAX", 0)
    monkeypatch.setattr(flusher, "CHANNELS_PER_QUIET_TICK", 0)
    groups = [scene.new() for _ in range(3)]
    scene.tick()
    assert [writer_of(group).writes for group in groups] == [1, 0, 0]
    assert scene.alarms == [flusher.AT_ONCE]
    scene.flusher.flush_grid(flusher.AT_ONCE)
    assert [writer_of(group).writes for group in groups] == [1, 1, 0]
    scene.tick(quantity=2)
    assert [writer_of(group).writes for group in groups] == [1, 1, 1], "who waited longest goes first"
    for _ in range(3):
        scene.flusher.flush_grid(flusher.AT_ONCE)
    assert [writer_of(group).writes for group in groups] == [2, 2, 1]
    assert b'"merged":2' in writer_of(groups[2]).taken
    assert scene.flusher.due == {}
    assert set(scene.flusher.grid_marks) == set()


def test_one_session_is_not_sent_everything_at_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flusher, "VISIT_COST_MAX", 1)
    monkeypatch.setattr(flusher, "VISITS_COST_MAX", 1)
    group = scene.new("AAA", "BBB")
    group.sender.write_bytes_max = 0
    scene.broadcast("AAA", 4)
    scene.tick("BBB")
    assert writer_of(group).writes == 1
    assert scene.alarms == [flusher.AT_ONCE]
    scene.flusher.flush_grid(flusher.AT_ONCE)
    assert writer_of(group).writes == 2
    assert not group.owes


def test_a_session_that_ends_is_not_visited(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flusher, "VISITS_COST_MAX", 0)
    group, throttled = scene.new(), scene.new(interval_ms=50)
    scene.new(interval_ms=50)
    scene.tick()
    assert group.siblings in scene.flusher.due
    assert throttled.siblings in scene.flusher.scheduled[50]
    for each in (group, throttled):
        scene.flusher.close(each.siblings, {})
        assert each.siblings not in scene.flusher.due
    assert throttled.siblings not in scene.flusher.scheduled[50]
    assert len(scene.flusher.split) == 1


def test_a_tick_lets_few_channels_join(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flusher, "JOINS_AT_ONCE_MAX", 0)
    monkeypatch.setattr(flusher, "CHANNELS_PER_QUIET_TICK", 1)
    monkeypatch.setattr(flusher, "JOINING_CHANNELS_MAX", 2)
    groups = [scene.new("AAA", "BBB") for _ in range(2)]
    scene.new("AAA").changed_at = 9
    for group in groups:
        scene.flusher.serve(group)
        assert group in scene.flusher.joining
    split = []
    for quantity in range(10, 14):
        scene.tick(quantity=quantity)
        split.append(sum(state_of(group) is GroupState.CURSOR_PER_CHANNEL for group in groups))
    assert split == [2, 1, 0, 0], "two ticks without changes for two channels, then one of them in each tick"


# --- statuses ---------------------------------------------------------------------------------------------


def test_a_changed_status_reaches_every_kind_of_group_once(scene: Scene) -> None:
    synced, other, throttled = scene.joined(), scene.joined(), scene.joined(interval_ms=50)
    scene.tick()
    scene.flusher.leave_fast_path(other)
    split = scene.new()
    split.sender.add_credit(1)
    split.sender.credit = 0
    scene.flusher.flush_grid(50)
    scene.small.now += 2
    scene.market.update_statuses(scene.small.now)
    assert scene.flusher.statuses_unsent()
    for group in (synced, other, throttled, split):
        writer_of(group).taken.clear()
    scene.flusher.tick()
    assert not scene.flusher.statuses_unsent()
    scene.flusher.tick()
    for group in (synced, other, throttled, split):
        assert writer_of(group).taken.count(b'"state":"stale"') == 1
