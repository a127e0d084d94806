"""A cohort's flush: one write per group on the fast path, and which groups are left over."""

import pytest

from depthcast.gateway.delivery.cohort import Cohort, LeftOver
from depthcast.gateway.delivery.fan_out import DirectBatch
from depthcast.gateway.delivery.subscription_group import GroupState, SubscriptionGroup
from depthcast.gateway.delivery.writer import Send
from depthcast.gateway.protocol.messages import Encoding
from tests.unit.gateway.delivery.parts import MARK_BYTES, Parts, writer_of
from tests.unit.gateway.small_market import lively_market


class Scene(Parts):
    """A cohort of AAA and BBB, flushed by hand."""

    def __init__(self, interval_ms: int = 0) -> None:
        super().__init__(lively_market())
        self.interval_ms = interval_ms
        self.batch = DirectBatch()
        self.cohort = Cohort(self.new_group().key(), self.market)

    def new_group(self, *, reads: bool = True) -> SubscriptionGroup:
        return self.group("AAA", "BBB", interval_ms=self.interval_ms, reads=reads)

    def member(self, *, reads: bool = True) -> SubscriptionGroup:
        group = self.new_group(reads=reads)
        self.cohort.add(group)
        return group

    def flush(self) -> list[LeftOver]:
        """As the flusher does: the bytes of each channel that changed, then the flush."""
        for channel in self.market.changed:
            data, deltas = channel.fresh_deltas(Encoding.JSON)
            self.cohort.parts.append(data)
            self.cohort.extra_deltas += deltas - 1
            self.cohort.history_reset |= channel.history_reset
        left_over: list[LeftOver] = []
        if self.cohort.add_parts(self.batch):
            for _, group, data, sent in self.batch.finish():
                self.cohort.write_rest(group, data, sent)
        else:
            left_over += self.cohort.flush(self.batch)
        self.market.end_tick()
        return left_over

    def tick(self, symbol: str = "AAA", quantities: tuple[int, ...] = (4,)) -> list[LeftOver]:
        for quantity in quantities:
            self.broadcast(symbol, quantity)
        return self.flush()

    def synced(self, count: int) -> list[SubscriptionGroup]:
        groups = [self.member() for _ in range(count)]
        self.flush()  # the channels were loaded
        self.tick(quantities=(77,))
        assert [group.state for group in groups] == [GroupState.SYNCED] * count
        for group in groups:
            writer_of(group).writes = 0
            writer_of(group).taken.clear()
        return groups


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_synced_groups_get_one_write_of_the_same_bytes_each(scene: Scene) -> None:
    groups = scene.synced(3)
    before = (scene.counters.deltas, scene.counters.bytes_sent)
    scene.broadcast("BBB", 9)
    assert scene.tick(quantities=(5, 6)) == []
    taken = [bytes(writer_of(group).taken) for group in groups]
    assert taken[0]
    assert taken == [taken[0]] * 3
    assert [writer_of(group).writes for group in groups] == [1] * 3
    assert scene.counters.deltas - before[0] == 9
    assert scene.counters.bytes_sent - before[1] == 3 * len(taken[0])
    assert scene.cohort.flushed_to == scene.market.number


def test_gathered_bytes_are_sent_once(scene: Scene) -> None:
    [group] = scene.synced(1)
    scene.tick()
    first = bytes(writer_of(group).taken)
    scene.tick(quantities=(8,))
    assert len(writer_of(group).taken) < 2 * len(first) + 10
    assert scene.cohort.parts == []


def test_a_group_that_needs_the_same_is_synced_by_it(scene: Scene) -> None:
    [first] = scene.synced(1)
    later = scene.member()
    assert scene.tick() == []
    assert later.state is GroupState.SYNCED
    assert writer_of(later).taken == writer_of(first).taken
    assert scene.cohort.others == set()
    assert len(scene.cohort) == 2


def test_a_group_whose_bytes_wait_is_not_synced(scene: Scene) -> None:
    group = scene.member(reads=False)
    assert scene.tick() == []
    assert (group.state, group.cursor) == (GroupState.ONE_CURSOR, scene.market.number)
    assert group.sender.bytes_written == len(writer_of(group).waiting) > 0


def test_a_paused_group_is_passed_over(scene: Scene) -> None:
    group = scene.member(reads=False)
    writer_of(group).write(b"x" * (MARK_BYTES + 1))
    before = group.cursor
    for skipped in (1, 2):
        assert scene.tick(quantities=(10 + skipped,)) == []
        assert (scene.counters.skipped, group.cursor, writer_of(group).writes) == (skipped, before, 1)


def test_what_a_flush_cannot_serve_is_left_over(scene: Scene) -> None:
    scene.synced(1)
    behind, credited = scene.member(), scene.member()
    behind.cursor -= 1
    credited.sender.add_credit(5)
    assert set(scene.tick()) == {LeftOver(behind, kept_up=False), LeftOver(credited, kept_up=True)}
    assert writer_of(behind).writes == writer_of(credited).writes == 0


def test_without_anything_to_send_only_those_behind_are_left_over(scene: Scene) -> None:
    behind, here = scene.member(), scene.member()
    scene.flush()
    behind.cursor -= 1
    here.cursor = scene.cohort.flushed_to
    assert scene.flush() == [LeftOver(behind, kept_up=False)]


@pytest.mark.parametrize("others", [0, 1])
def test_the_rest_of_a_short_write_waits_and_the_group_leaves_the_fast_path(
    scene: Scene, others: int
) -> None:
    short, full = scene.synced(2)
    for _ in range(others):
        scene.member()
    writer = writer_of(short)

    def send(data: bytes) -> int:
        writer.taken += data[:7]
        writer.reads = False
        return 7

    scene.cohort.synced[short] = send
    scene.tick()
    assert (short.state, full.state) == (GroupState.ONE_CURSOR, GroupState.SYNCED)
    assert short.cursor == scene.market.number
    assert writer.taken + writer.waiting == writer_of(full).taken
    scene.cohort.leave_fast_path(full)
    assert short.sender.bytes_written == full.sender.bytes_written > len(writer_of(full).taken)


def test_without_a_direct_way_it_is_visited_each_time(scene: Scene) -> None:
    group = scene.member()

    def none_left() -> Send:
        raise OSError("too many open files")

    writer_of(group).direct = none_left  # type: ignore[method-assign]
    for quantity in (4, 3):
        assert scene.tick(quantities=(quantity,)) == []
        assert group.state is GroupState.ONE_CURSOR
    assert writer_of(group).writes == 2


def test_a_reset_history_sends_a_snapshot_to_all(scene: Scene) -> None:
    groups = scene.synced(2)
    before = scene.counters.snapshots
    scene.small.lose("AAA")
    scene.broadcast()
    scene.small.books["AAA"].move({-1: 4321}, {})
    scene.small.load()
    assert scene.flush() == []
    assert all(b'"snapshot"' in writer_of(group).taken for group in groups)
    assert scene.counters.snapshots - before == 2
    assert not scene.cohort.history_reset
    assert scene.cohort.extra_deltas == 0


def test_with_an_interval_broadcasts_are_merged() -> None:
    scene = Scene(interval_ms=50)
    group = scene.member()
    scene.market.end_tick()
    for quantity in (4, 3):
        scene.broadcast(quantity=quantity)
        scene.market.end_tick()
    assert scene.flush() == []
    assert b'"merged":2' in writer_of(group).taken
    assert scene.counters.conflated == 1


def test_a_group_that_is_removed_takes_its_cursor_along(scene: Scene) -> None:
    gone, stays = scene.synced(2)
    scene.tick()
    scene.cohort.remove(gone)
    assert (gone.state, gone.cursor) == (GroupState.ONE_CURSOR, scene.market.number)
    assert set(scene.cohort.synced) == {stays}
    scene.tick(quantities=(9,))
    assert len(writer_of(gone).taken) < len(writer_of(stays).taken)
