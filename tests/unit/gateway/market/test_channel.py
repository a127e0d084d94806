"""Channels: their history, what is shared, and what a client at any cursor gets."""

import random
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

import depthcast.gateway.market.channel
import depthcast.gateway.market.history
from depthcast.gateway.counters import GatewayCounters
from depthcast.gateway.market.channel import Channel
from depthcast.gateway.market.held_back import HeldBack
from depthcast.gateway.market.history import HistoryBound
from depthcast.gateway.market.snapshot_parts import PartsBound
from depthcast.gateway.market.step import ViewState
from depthcast.gateway.protocol.messages import Encoding
from depthcast.shared.replica import Replica
from tests.unit.gateway.model_client import apply_rows, split_frames
from tests.unit.gateway.small_market import Published, random_changes

JSON = Encoding.JSON


class FollowedBook:
    """A channel and the book it follows."""

    def __init__(self, depth: int = 10, steps_max: int = 100) -> None:
        self.counters = GatewayCounters()
        self.channel = Channel("AAA", depth, history_bound=HistoryBound(steps_max), counters=self.counters)
        self.book = Published(100)
        self.book.move({-1: 5, -2: 6}, {1: 7})
        self.replica = Replica(self.book.snapshot())
        self.number = 1
        self.channel.load(self.replica, 0, self.number)

    def publish(self, bids: dict[int, int], asks: dict[int, int], event_ts: int | None = None) -> bool:
        delta = self.book.move(bids, asks)
        _, changes = self.replica.apply(delta)
        if event_ts is not None:
            self.replica.event_ts = event_ts
        self.number += 1
        return self.channel.advance(changes, delta.seq, 0, self.number, event_ts)

    def replace(self) -> bool:
        self.replica = Replica(self.book.snapshot())
        self.number += 1
        return self.channel.load(self.replica, 0, self.number)


def messages(*frames: bytes) -> list[dict[str, Any]]:
    return [orjson.loads(data) for _, data in split_frames(bytearray(b"".join(frames)))]


def deltas_since(followed: FollowedBook, cursor: int) -> int:
    each = followed.channel.separate_since(cursor, JSON)
    assert each is not None
    assert len(messages(each.data)) == each.deltas
    return each.deltas


def test_each_broadcast_is_encoded_once_for_all() -> None:
    followed = FollowedBook()
    followed.publish({-1: 9}, {})
    followed.publish({-1: 8}, {})
    each = followed.channel.separate_since(1, JSON)
    assert each is not None
    assert followed.channel.separate_since(1, JSON) is each
    assert [message["bids"] for message in messages(each.data)] == [[[-1, 9]], [[-1, 8]]]
    assert followed.counters.delta_encodings == 2


def test_what_was_read_in_the_last_tick_is_encoded_at_once_and_nothing_else() -> None:
    followed = FollowedBook()
    channel, counters = followed.channel, followed.counters
    followed.publish({-1: 9}, {})
    assert counters.delta_encodings == 0, "nobody has read it yet"
    channel.fresh_deltas(JSON)
    channel.end_tick()
    followed.publish({-1: 8}, {})
    assert counters.delta_encodings == 2
    channel.fresh_deltas(JSON)
    assert counters.delta_encodings == 2
    channel.end_tick()
    followed.publish({-1: 7}, {})
    assert counters.delta_encodings == 3
    channel.end_tick()
    followed.publish({-1: 6}, {})
    assert counters.delta_encodings == 3, "nobody has read the one before"


@given(st.randoms(use_true_random=False), st.sampled_from((JSON, Encoding.MSGPACK)), st.none() | st.just(7))
def test_steps_that_are_encoded_at_once_are_the_same_in_every_encoding(
    chance: random.Random, read: Encoding, event_ts: int | None
) -> None:
    """Beside a channel that nobody has read in the last tick, with the same changes."""
    followed, other = FollowedBook(depth=5), FollowedBook(depth=5)
    followed.publish({-1: 9}, {})
    other.publish({-1: 9}, {})
    followed.channel.fresh_deltas(read)
    for each in (followed, other):
        each.channel.end_tick()
    since = followed.number
    for _ in range(chance.randrange(1, 4)):
        changes = random_changes(chance, followed.book)
        for each in (followed, other):
            each.publish(*changes, event_ts)
    for encoding in (JSON, Encoding.MSGPACK):
        assert followed.channel.fresh_deltas(encoding) == other.channel.fresh_deltas(encoding)
        if followed.channel.head > since:
            assert followed.channel.catch_up(since, encoding) == other.channel.catch_up(since, encoding)
    for each in (followed, other):
        each.channel.end_tick()
    assert followed.channel.history.since(0)[-1].delta == other.channel.history.since(0)[-1].delta


def test_a_catch_up_is_merged_once_for_all_at_the_same_cursor() -> None:
    followed = FollowedBook()
    for quantity in (9, 8, 7):
        followed.publish({-1: quantity, -quantity: 1}, {})
    followed.channel.end_tick()
    merged = followed.channel.catch_up(2, JSON)
    assert followed.channel.catch_up(2, JSON) is merged
    assert merged.merged == 2
    [message] = messages(merged.data)
    assert (message["merged"], message["prev_seq"], message["seq"]) == (2, 102, 104)
    assert followed.counters.delta_encodings == 1


def test_few_catch_ups_are_kept_and_the_snapshot_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depthcast.gateway.market.channel, "CATCH_UPS_KEPT_MAX", 2)
    followed = FollowedBook()
    for quantity in range(10, 16):
        followed.publish({-1: quantity}, {})
        followed.channel.end_tick()
    followed.channel.snapshot(JSON)
    for cursor in (1, 2, 3, 1):
        followed.channel.catch_up(cursor, JSON)
    assert followed.counters.delta_encodings == 4, "the first was given up for the third"
    followed.channel.catch_up(3, JSON)
    followed.channel.snapshot(JSON)
    assert (followed.counters.delta_encodings, followed.counters.snapshot_encodings) == (4, 1)


def test_a_delta_has_the_newest_source_time_of_what_is_merged_in_it() -> None:
    followed = FollowedBook()
    for quantity, event_ts in ((9, 70), (8, 90), (7, None), (6, 80)):
        followed.publish({-1: quantity}, {}, event_ts)
    each = followed.channel.separate_since(1, JSON)
    assert each is not None
    assert [message.get("event_ts") for message in messages(each.data)] == [70, 90, None, 80]
    followed.channel.end_tick()
    found = [messages(followed.channel.catch_up(cursor, JSON).data)[0] for cursor in (1, 2, 3, 4)]
    assert [message["event_ts"] for message in found] == [90, 90, 80, 80]
    followed.publish({-1: 5}, {})
    followed.channel.end_tick()
    assert "event_ts" not in messages(followed.channel.catch_up(5, JSON).data)[0]


def test_a_snapshot_has_the_source_time_of_the_last_change_that_had_one() -> None:
    followed = FollowedBook(depth=1)

    def event_ts() -> int | None:
        found: int | None = messages(followed.channel.snapshot(JSON).data)[0].get("event_ts")
        return found

    assert event_ts() is None
    followed.publish({-1: 9}, {}, 90)
    followed.publish({-2: 9}, {}, 95)
    assert event_ts() == 90, "the other change is outside of the view"
    followed.publish({-1: 8}, {}, 80)
    followed.publish({-1: 7}, {})
    assert event_ts() == 80
    followed.replica.event_ts = 85
    assert not followed.channel.load(followed.replica, 0, followed.number)
    assert event_ts() == 80, "the rows are the same"
    followed.book.move({-1: 6}, {})
    assert followed.replace()
    assert event_ts() is None


def test_who_missed_a_tick_is_not_given_each_broadcast() -> None:
    followed = FollowedBook()
    followed.publish({-1: 9}, {})
    followed.channel.end_tick()
    followed.publish({-1: 8}, {})
    assert followed.channel.separate_since(1, JSON) is None
    assert deltas_since(followed, 2) == 1
    assert deltas_since(followed, 3) == 0


def test_a_snapshot_is_given_where_it_has_fewer_rows() -> None:
    followed = FollowedBook()
    followed.publish({-1: 0, -2: 0}, {})
    followed.publish({}, {1: 9})
    followed.channel.end_tick()
    caught = followed.channel.catch_up(1, JSON)
    assert caught.is_snapshot
    assert caught.merged == 2
    assert messages(caught.data)[0]["asks"] == [[1, 9]]


def test_what_a_snapshot_replaces_was_held_back_from_its_first_broadcast_on() -> None:
    smaller, reset, forgotten = FollowedBook(), FollowedBook(), FollowedBook(steps_max=2)
    smaller.publish({-1: 0, -2: 0}, {})
    smaller.publish({}, {1: 9})
    reset.number += 5  # broadcasts of other symbols
    reset.book.move({-1: 10}, {})
    reset.replace()
    reset.publish({-1: 9}, {})
    for quantity in (6, 7, 8, 9):
        forgotten.publish({-1: quantity}, {})
    for followed, first, merged in ((smaller, 2, 1), (reset, 7, 1), (forgotten, 2, 2)):
        followed.channel.end_tick()
        for full_at, because in ((first - 1, None), (first, "buffer")):
            found = followed.channel.catch_up(1, JSON, HeldBack(full_at=full_at))
            assert found.is_snapshot
            assert found.conflated == {because: merged}


def test_a_snapshot_stands_for_one_broadcast_at_least() -> None:
    followed = FollowedBook()
    snapshot = followed.channel.snapshot(JSON)
    assert (snapshot.merged, snapshot.is_snapshot) == (1, True)


def test_what_was_not_flushed_is_caught_up_by_a_delta() -> None:
    followed = FollowedBook()
    followed.publish({-1: 9}, {})
    found = followed.channel.catch_up(followed.number - 1, JSON)
    assert (found.merged, found.is_snapshot) == (1, False)


def test_one_broadcast_is_a_delta_however_large() -> None:
    followed = FollowedBook(depth=1)
    followed.publish({-1: 0}, {})
    followed.channel.end_tick()
    assert messages(followed.channel.catch_up(1, JSON).data)[0]["bids"] == [[-1, 0], [-2, 6]]


def test_what_was_undone_is_an_empty_delta() -> None:
    followed = FollowedBook()
    followed.publish({-1: 9}, {})
    followed.publish({-1: 5}, {})
    [message] = messages(followed.channel.catch_up(1, JSON).data)
    assert (message["bids"], message["asks"], message["merged"]) == ([], [], 2)


def test_a_cursor_before_the_ring_needs_a_snapshot() -> None:
    followed = FollowedBook(steps_max=2)
    for quantity in (6, 7, 8, 9):
        followed.publish({-1: quantity}, {})
    followed.channel.end_tick()
    assert followed.channel.catch_up(2, JSON).is_snapshot
    assert not followed.channel.catch_up(3, JSON).is_snapshot
    assert followed.channel.history.base == ViewState(3, 103, followed.channel.history.base.digest)


def test_a_client_that_keeps_up_gets_more_than_is_remembered() -> None:
    followed = FollowedBook(steps_max=1)
    for quantity in (6, 7, 8, 9):
        followed.publish({-1: quantity}, {})
    assert [deltas_since(followed, cursor) for cursor in (1, 3)] == [4, 2]
    assert followed.channel.waiting_since(1) == 2
    assert followed.channel.waiting_since(3) == 4


def test_history_is_bounded_in_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depthcast.gateway.market.history, "ROWS_KEPT_MAX", 10)
    followed = FollowedBook(depth=0)
    for step in range(8):
        followed.publish({-price: step + 1 for price in range(10, 14)}, {})
    assert len(followed.channel.history) == 2
    assert followed.counters.limit_history == 6
    followed.publish({-price: 99 for price in range(10, 30)}, {})
    assert not followed.channel.history
    followed.channel.end_tick()
    assert followed.channel.catch_up(followed.number - 1, JSON).is_snapshot


def test_a_replica_with_the_same_rows_goes_on() -> None:
    followed = FollowedBook()
    followed.publish({-1: 9}, {})
    followed.book.move({}, {})
    assert not followed.replace()
    followed.publish({-1: 8}, {})
    [message] = messages(followed.channel.catch_up(2, JSON).data)
    assert (message["prev_seq"], message["seq"]) == (102, 104)


def test_a_different_replica_resets_history() -> None:
    followed = FollowedBook()
    followed.publish({-1: 9}, {})
    followed.book.move({-1: 10}, {})
    assert followed.replace()
    assert followed.channel.catch_up(2, JSON).is_snapshot
    assert followed.channel.separate_since(2, JSON) is None
    assert followed.channel.waiting_since(2) == 3
    assert followed.channel.history.state_at(0).seq == 103


def test_a_different_replica_at_the_same_seq_waits_for_a_higher_one() -> None:
    followed = FollowedBook()
    followed.book.sides[0][-1] = 99
    assert not followed.replace()
    assert followed.channel.head == 1
    assert not followed.replace()
    assert followed.publish({}, {})
    caught = followed.channel.catch_up(1, JSON)
    assert caught.is_snapshot
    assert messages(caught.data)[0]["seq"] == 102


def test_the_states_a_resume_may_name() -> None:
    followed = FollowedBook()
    digests = [followed.book.digest()]
    for quantity in (9, 8):
        followed.publish({-1: quantity}, {})
        digests.append(followed.book.digest())
    assert followed.channel.history.state_at(50) == ViewState(1, 101, digests[0])
    assert followed.channel.history.state_at(101) == ViewState(1, 101, digests[0])
    assert followed.channel.history.state_at(102) == ViewState(2, 102, digests[1])
    assert followed.channel.history.state_at(999) == ViewState(3, 103, digests[2])


@pytest.mark.parametrize("depth", [0, 1, 5])
@pytest.mark.parametrize("steps_max", [1, 7, 1000])
def test_from_every_cursor_the_catch_up_leads_to_the_view(depth: int, steps_max: int) -> None:
    rng = random.Random(depth)
    followed = FollowedBook(depth, steps_max)
    held = {1: followed.book.view(followed.book.seq, depth)}
    seqs = {1: followed.book.seq}
    for _ in range(60):
        followed.publish(*random_changes(rng, followed.book, 2))
        if rng.random() < 0.2:
            followed.channel.end_tick()
        assert followed.channel.view is not None
        held[followed.number] = followed.book.view(followed.book.seq, depth)
        seqs[followed.number] = followed.channel.view.seq
    followed.channel.end_tick()
    for cursor, there in held.items():
        if followed.channel.head <= cursor:
            assert there == held[followed.number]
            continue
        [message] = messages(followed.channel.catch_up(cursor, JSON).data)
        if message["type"] == "snapshot":
            sides = (dict(message["bids"]), dict(message["asks"]))
        else:
            assert message["prev_seq"] == seqs[cursor]
            sides = (dict(there[0]), dict(there[1]))
            apply_rows(sides[0], message["bids"])
            apply_rows(sides[1], message["asks"])
        assert sides == held[followed.number]
        assert message["seq"] == seqs[followed.number]


def test_compressed_bytes_are_made_once_from_the_plain_ones() -> None:
    followed = FollowedBook(depth=0)
    followed.channel = Channel(
        "AAA", 0, history_bound=HistoryBound(9), deflate_bytes_min=64, counters=followed.counters
    )
    followed.channel.load(followed.replica, 0, followed.number)
    followed.publish({-price: 10 for price in range(3, 40)}, {})
    deflated, counters = Encoding.JSON_DEFLATED, followed.counters
    each = followed.channel.fresh_deltas(deflated)
    assert followed.channel.fresh_deltas(deflated) is each
    assert len(each.data) < len(followed.channel.fresh_deltas(JSON).data)
    snapshot = followed.channel.snapshot(deflated)
    assert followed.channel.snapshot(deflated) is snapshot
    assert followed.channel.catch_up(0, deflated).data is snapshot.data, (
        "a new client gets that snapshot, too"
    )
    assert (counters.delta_encodings, counters.snapshot_encodings, counters.deflated) == (1, 1, 2)


def test_every_encoding_has_its_own_snapshot() -> None:
    channel = FollowedBook().channel
    found = {encoding: channel.snapshot(encoding).data for encoding in (JSON, Encoding.MSGPACK)}
    assert [channel.snapshot(encoding).data for encoding in found] == list(found.values())
    assert found[JSON].find(b'"snapshot"') > 0 > found[Encoding.MSGPACK].find(b'"snapshot"')


def test_a_compressed_catch_up_is_shared_by_all_at_that_cursor() -> None:
    followed = FollowedBook(depth=0)
    followed.channel = Channel(
        "AAA", 0, history_bound=HistoryBound(9), deflate_bytes_min=64, counters=followed.counters
    )
    followed.channel.load(followed.replica, 0, followed.number)
    followed.publish({-price: 10 for price in range(3, 90)}, {})
    followed.channel.end_tick()
    cursor = followed.number
    for quantity in (4, 5):
        followed.publish({-price: quantity for price in range(3, 40)}, {})
        followed.channel.end_tick()
    caught_up = followed.channel.catch_up(cursor, Encoding.JSON_DEFLATED)
    assert (caught_up.merged, caught_up.is_snapshot) == (2, False)
    assert followed.channel.catch_up(cursor, Encoding.JSON_DEFLATED) is caught_up
    assert (followed.counters.delta_encodings, followed.counters.deflated) == (1, 1)


def in_parts(levels_max: int, bytes_max: int = 1 << 30) -> FollowedBook:
    """A channel of a book of three levels that is sent in parts of up to `levels_max`."""
    followed = FollowedBook()
    bound = PartsBound(levels_max, bytes_max, followed.counters)
    followed.channel = Channel(
        "AAA",
        10,
        history_bound=HistoryBound(9),
        deflate_bytes_min=1,
        parts_bound=bound,
        counters=followed.counters,
    )
    followed.channel.load(followed.replica, 0, followed.number)
    return followed


def test_a_large_snapshot_in_parts_is_made_once_for_all_until_the_view_changes() -> None:
    followed = in_parts(2)
    found = followed.channel.snapshot(JSON, in_parts=True)
    assert followed.channel.snapshot(JSON, in_parts=True) is found
    assert (found.data, found.is_snapshot, found.snapshots) == (b"", True, 2)
    parts = messages(found.joined())
    assert [(each["part"], each["parts"], each["bids"], each["asks"]) for each in parts] == [
        (1, 2, [[-1, 5], [-2, 6]], []), (2, 2, [], [[1, 7]]),
    ]  # fmt: skip
    [whole] = messages(followed.channel.snapshot(JSON).data)
    assert [{**each, "part": 0, "parts": 0, "bids": [], "asks": []} for each in parts] == [
        {**whole, "part": 0, "parts": 0, "bids": [], "asks": []}
    ] * 2
    assert (followed.counters.snapshot_encodings, followed.counters.snapshots_in_parts) == (2, 1)
    followed.publish({-1: 9}, {})
    assert followed.channel.snapshot(JSON, in_parts=True) is not found
    assert followed.counters.snapshots_in_parts == 2


def test_a_snapshot_that_fits_in_one_part_is_that_of_all_others() -> None:
    channel = in_parts(3).channel
    assert not channel.large
    assert channel.snapshot(JSON, in_parts=True) is channel.snapshot(JSON)
    assert (channel.snapshot(JSON).snapshots, in_parts(2).channel.large) == (1, True)


def test_a_catch_up_is_a_snapshot_in_parts_only_for_who_wants_it() -> None:
    followed = in_parts(2)
    followed.publish({-3: 1}, {})
    followed.publish({-4: 1, -1: 0, -2: 0}, {})
    followed.channel.end_tick()
    for cursor, merged in ((0, 3), (1, 2)):
        parted = followed.channel.catch_up(cursor, JSON, in_parts=True)
        whole = followed.channel.catch_up(cursor, JSON)
        assert (parted.snapshots, parted.merged, whole.snapshots, whole.merged) == (2, merged, 1, merged)
    assert followed.channel.catch_up(2, JSON, in_parts=True).snapshots == 0


def test_parts_are_compressed_one_by_one_when_they_are_sent() -> None:
    followed = in_parts(2)
    found = followed.channel.snapshot(Encoding.JSON_DEFLATED, in_parts=True)
    assert found.parts is not None
    assert followed.counters.deflated == 0
    plain = followed.channel.snapshot(JSON, in_parts=True).parts
    assert plain is not None
    assert len(found.parts.frame(0)) < len(plain.frame(0))
    assert (followed.counters.deflated, followed.counters.snapshots_in_parts) == (1, 1)


def test_parts_that_were_given_up_are_made_again() -> None:
    followed = in_parts(2, bytes_max=1)
    found = followed.channel.snapshot(JSON, in_parts=True)
    followed.channel.snapshot(Encoding.MSGPACK, in_parts=True)
    assert found.parts is not None
    assert found.parts.dropped
    again = followed.channel.snapshot(JSON, in_parts=True)
    assert again.parts is not None
    assert (again.parts.dropped, len(messages(again.joined()))) == (False, 2)
