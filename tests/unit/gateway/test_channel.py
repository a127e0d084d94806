"""Channels: what is remembered, what is shared, and what a client at any cursor is given."""

import random
from typing import Any

import orjson
import pytest

import depthcast.gateway.market.channel
from depthcast.gateway.counters import GatewayCounters
from depthcast.gateway.market.channel import Channel, State
from depthcast.gateway.protocol.messages import Encoding
from depthcast.shared.replica import Replica
from tests.unit.gateway.market import Published, apply_rows, random_changes, split_frames

JSON = Encoding.JSON


class Feed:
    """A channel and the book it follows."""

    def __init__(self, depth: int = 10, steps_max: int = 100) -> None:
        self.counters = GatewayCounters()
        self.channel = Channel("AAA", depth, steps_max=steps_max, counters=self.counters)
        self.book = Published(100)
        self.book.move({-1: 5, -2: 6}, {1: 7})
        self.replica = Replica(self.book.snapshot())
        self.number = 1
        self.channel.show(self.replica, 0, self.number)

    def publish(self, bids: dict[int, int], asks: dict[int, int]) -> bool:
        delta = self.book.move(bids, asks)
        _, changes = self.replica.apply(delta)
        self.number += 1
        return self.channel.advance(changes, delta.seq, 0, self.number)

    def replace(self) -> bool:
        self.replica = Replica(self.book.snapshot())
        self.number += 1
        return self.channel.show(self.replica, 0, self.number)


def messages(*frames: bytes) -> list[dict[str, Any]]:
    return [orjson.loads(data) for _, data in split_frames(bytearray(b"".join(frames)))]


def deltas_since(feed: Feed, cursor: int) -> int:
    each = feed.channel.each_since(cursor, JSON)
    assert each is not None
    assert len(messages(each.data)) == each.deltas
    return each.deltas


def test_each_broadcast_is_encoded_once_for_all() -> None:
    feed = Feed()
    feed.publish({-1: 9}, {})
    feed.publish({-1: 8}, {})
    each = feed.channel.each_since(1, JSON)
    assert each is not None
    assert feed.channel.each_since(1, JSON) is each
    assert [message["bids"] for message in messages(each.data)] == [[[-1, 9]], [[-1, 8]]]
    assert feed.counters.delta_encodings == 2


def test_a_catch_up_is_merged_once_for_all_at_the_same_place() -> None:
    feed = Feed()
    for quantity in (9, 8, 7):
        feed.publish({-1: quantity, -quantity: 1}, {})
    feed.channel.settle()
    merged = feed.channel.catch_up(2, JSON)
    assert feed.channel.catch_up(2, JSON) is merged
    assert merged.merged == 2
    [message] = messages(merged.data)
    assert (message["merged"], message["prev_seq"], message["seq"]) == (2, 102, 104)
    assert feed.counters.delta_encodings == 1


def test_who_missed_a_tick_is_not_given_each_broadcast() -> None:
    feed = Feed()
    feed.publish({-1: 9}, {})
    feed.channel.settle()
    feed.publish({-1: 8}, {})
    assert feed.channel.each_since(1, JSON) is None
    assert deltas_since(feed, 2) == 1
    assert deltas_since(feed, 3) == 0


def test_a_snapshot_is_given_where_it_has_fewer_rows() -> None:
    feed = Feed()
    feed.publish({-1: 0, -2: 0}, {})
    feed.publish({}, {1: 9})
    feed.channel.settle()
    caught = feed.channel.catch_up(1, JSON)
    assert caught.is_snapshot
    assert caught.merged == 2
    assert messages(caught.data)[0]["asks"] == [[1, 9]]


def test_one_broadcast_is_a_delta_however_large() -> None:
    feed = Feed(depth=1)
    feed.publish({-1: 0}, {})
    feed.channel.settle()
    assert messages(feed.channel.catch_up(1, JSON).data)[0]["bids"] == [[-1, 0], [-2, 6]]


def test_what_was_undone_is_an_empty_delta() -> None:
    feed = Feed()
    feed.publish({-1: 9}, {})
    feed.publish({-1: 5}, {})
    [message] = messages(feed.channel.catch_up(1, JSON).data)
    assert (message["bids"], message["asks"], message["merged"]) == ([], [], 2)


def test_a_cursor_before_the_ring_needs_a_snapshot() -> None:
    feed = Feed(steps_max=2)
    for quantity in (6, 7, 8, 9):
        feed.publish({-1: quantity}, {})
    feed.channel.settle()
    assert feed.channel.catch_up(2, JSON).is_snapshot
    assert not feed.channel.catch_up(3, JSON).is_snapshot
    assert feed.channel.base == State(3, 103, feed.channel.base.digest)


def test_a_client_that_keeps_up_gets_more_than_is_remembered() -> None:
    feed = Feed(steps_max=1)
    for quantity in (6, 7, 8, 9):
        feed.publish({-1: quantity}, {})
    assert [deltas_since(feed, cursor) for cursor in (1, 3)] == [4, 2]
    assert feed.channel.waiting_since(1) == 2
    assert feed.channel.waiting_since(3) == 4


def test_history_is_bounded_in_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depthcast.gateway.market.channel, "ROWS_KEPT_MAX", 10)
    feed = Feed(depth=0)
    for step in range(8):
        feed.publish({-price: step + 1 for price in range(10, 14)}, {})
    assert len(feed.channel.ring) == 2
    assert feed.counters.limit_history == 6
    feed.publish({-price: 99 for price in range(10, 30)}, {})
    assert not feed.channel.ring
    feed.channel.settle()
    assert feed.channel.catch_up(feed.number - 1, JSON).is_snapshot


def test_a_replica_with_the_same_rows_goes_on() -> None:
    feed = Feed()
    feed.publish({-1: 9}, {})
    feed.book.move({}, {})
    assert not feed.replace()
    feed.publish({-1: 8}, {})
    [message] = messages(feed.channel.catch_up(2, JSON).data)
    assert (message["prev_seq"], message["seq"]) == (102, 104)


def test_a_different_replica_gives_history_up() -> None:
    feed = Feed()
    feed.publish({-1: 9}, {})
    feed.book.move({-1: 10}, {})
    assert feed.replace()
    assert feed.channel.catch_up(2, JSON).is_snapshot
    assert feed.channel.each_since(2, JSON) is None
    assert feed.channel.waiting_since(2) == 3
    assert feed.channel.remembered(0).seq == 103


def test_a_different_replica_at_the_same_seq_waits_for_a_higher_one() -> None:
    feed = Feed()
    feed.book.sides[0][-1] = 99
    assert not feed.replace()
    assert feed.channel.head == 1
    assert not feed.replace()
    assert feed.publish({}, {})
    caught = feed.channel.catch_up(1, JSON)
    assert caught.is_snapshot
    assert messages(caught.data)[0]["seq"] == 102


def test_the_states_a_resume_may_name() -> None:
    feed = Feed()
    digests = [feed.book.digest()]
    for quantity in (9, 8):
        feed.publish({-1: quantity}, {})
        digests.append(feed.book.digest())
    assert feed.channel.remembered(50) == State(1, 101, digests[0])
    assert feed.channel.remembered(101) == State(1, 101, digests[0])
    assert feed.channel.remembered(102) == State(2, 102, digests[1])
    assert feed.channel.remembered(999) == State(3, 103, digests[2])


@pytest.mark.parametrize("depth", [0, 1, 5])
@pytest.mark.parametrize("steps_max", [1, 7, 1000])
def test_from_every_cursor_the_catch_up_leads_to_the_view(depth: int, steps_max: int) -> None:
    rng = random.Random(depth)
    feed = Feed(depth, steps_max)
    held = {1: feed.book.view(feed.book.seq, depth)}
    seqs = {1: feed.book.seq}
    for _ in range(60):
        feed.publish(*random_changes(rng, feed.book, 2))
        if rng.random() < 0.2:
            feed.channel.settle()
        assert feed.channel.view is not None
        held[feed.number] = feed.book.view(feed.book.seq, depth)
        seqs[feed.number] = feed.channel.view.seq
    feed.channel.settle()
    for cursor, there in held.items():
        if feed.channel.head <= cursor:
            assert there == held[feed.number]
            continue
        [message] = messages(feed.channel.catch_up(cursor, JSON).data)
        if message["type"] == "snapshot":
            sides = (dict(message["bids"]), dict(message["asks"]))
        else:
            assert message["prev_seq"] == seqs[cursor]
            sides = (dict(there[0]), dict(there[1]))
            apply_rows(sides[0], message["bids"])
            apply_rows(sides[1], message["asks"])
        assert sides == held[feed.number]
        assert message["seq"] == seqs[feed.number]


def test_compressed_bytes_are_made_once_from_the_plain_ones() -> None:
    feed = Feed(depth=0)
    feed.channel = Channel("AAA", 0, steps_max=9, deflate_bytes_min=64, counters=feed.counters)
    feed.channel.show(feed.replica, 0, feed.number)
    feed.publish({-price: 10 for price in range(3, 40)}, {})
    deflated, counters = Encoding.JSON_DEFLATED, feed.counters
    each = feed.channel.fresh_each(deflated)
    assert feed.channel.fresh_each(deflated) is each
    assert len(each.data) < len(feed.channel.fresh_each(JSON).data)
    snapshot = feed.channel.snapshot(deflated)
    assert feed.channel.snapshot(deflated) is snapshot
    assert feed.channel.catch_up(0, deflated).data is snapshot.data, "who begins gets that snapshot too"
    assert (counters.delta_encodings, counters.snapshot_encodings, counters.deflated) == (1, 1, 2)


def test_a_compressed_catch_up_is_shared_by_all_who_stand_there() -> None:
    feed = Feed(depth=0)
    feed.channel = Channel("AAA", 0, steps_max=9, deflate_bytes_min=64, counters=feed.counters)
    feed.channel.show(feed.replica, 0, feed.number)
    feed.publish({-price: 10 for price in range(3, 90)}, {})
    feed.channel.settle()
    cursor = feed.number
    for quantity in (4, 5):
        feed.publish({-price: quantity for price in range(3, 40)}, {})
        feed.channel.settle()
    caught_up = feed.channel.catch_up(cursor, Encoding.JSON_DEFLATED)
    assert (caught_up.merged, caught_up.is_snapshot) == (2, False)
    assert feed.channel.catch_up(cursor, Encoding.JSON_DEFLATED) is caught_up
    assert (feed.counters.delta_encodings, feed.counters.deflated) == (1, 1)
