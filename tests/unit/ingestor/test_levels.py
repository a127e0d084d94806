"""What each op does to a levels feed, and why it may be refused."""

from typing import Any

import pytest

from depthcast.ingestor.levels import LevelsState
from depthcast.shared.instruments import Feed, OnCross
from tests.unit.ingestor.feeding import Feeder, both_encodings

MAX = 2**53 - 1
BOOK = (["add", "bid", 100, 5], ["add", "bid", 99, 7], ["add", "ask", 102, 6], ["add", "ask", 103, 8])
BIDS, ASKS = {100: 5, 99: 7}, {102: 6, 103: 8}


def fed(encode: Any, on_cross: OnCross = OnCross.REJECT) -> Feeder:
    feeder = Feeder(Feed.LEVELS, on_cross, encode)
    assert feeder(*BOOK)[:3] == (BIDS, ASKS, 4)
    return feeder


APPLIED = [
    (["add", "bid", 100, 2], {100: 7, 99: 7}, ASKS),
    ([0, 0, 98, 2], {**BIDS, 98: 2}, ASKS),
    (["add", "ask", 104, MAX, None], BIDS, {**ASKS, 104: MAX}),
    (["update", "ask", 102, 1, 17, "more"], BIDS, {102: 1, 103: 8}),
    ([1, 1, 101, 4], BIDS, {**ASKS, 101: 4}),
    (["update", "bid", 100, 0], {99: 7}, ASKS),
    (["update", "bid", -MAX, MAX], {**BIDS, -MAX: MAX}, ASKS),
    (["update", 1, MAX, 1], BIDS, {**ASKS, MAX: 1}),
    (["delete", "bid", 99], {100: 5}, ASKS),
    ([2, 1, 102, "no matter"], BIDS, {103: 8}),
    (["delete", "ask", 103, 1.5, {}], BIDS, {102: 6}),
    (["reduce", "bid", 100, 2], {100: 3, 99: 7}, ASKS),
    ([3, "ask", 103, 8], BIDS, {102: 6}),
    (["clear"], {}, {}),
    (["clear", None], {}, {}),
    ([4, "bid", "no matter"], {}, ASKS),
    (["clear", 1], BIDS, {}),
]

IGNORED = [
    ["delete", "bid", 98],
    ["update", "ask", 101, 0],
    ["update", "bid", 102, 0],
    ["delete", "ask", 99, 4],
]

BY_REASON: dict[str, list[Any]] = {
    "malformed": [
        None, True, 1, "add", {}, [], [None], ["buy", "bid", 1, 1], [5, 0, 1, 1], [-1, 0, 1, 1],
        [True, 0, 1, 1],
        [1.5, 0, 1, 1], [["add"], 0, 1, 1], [{}, 0, 1, 1], ["add"], ["add", "bid"], ["add", "bid", 1],
        ["add", "buy", 1, 1], ["add", 2, 1, 1], ["add", -1, 1, 1], ["add", True, 1, 1], ["add", 0.5, 1, 1],
        ["add", None, 1, 1], ["add", [], 1, 1], ["add", 0, None, 1], ["add", 0, "1", 1], ["add", 0, 1.5, 1],
        ["add", 0, True, 1], ["add", 0, 1, None], ["add", 0, 1, True], ["add", 0, 1, 2.5],
        ["update", 0, 1, "0"], ["add", 0, 2.0**53, 1],
        ["reduce", 0, 1], ["delete", 0], ["delete", None, 1], ["clear", "buy"], ["clear", True], ["clear", 2],
        ["add", 0, MAX + 1, None],
    ],
    "bad_price": [
        ["add", 0, MAX + 1, 1], ["update", 1, -MAX - 1, 0], ["delete", 0, 2**63], ["add", 0, -(2**63), -1],
    ],
    "bad_quantity": [
        ["add", 0, 1, 0], ["add", 0, 1, -1], ["add", 0, 1, MAX + 1], ["update", 0, 1, -1],
        ["update", 0, 1, 2**63],
        ["reduce", "bid", 100, 0], ["reduce", "bid", 100, 6], ["reduce", "bid", 98, 0],
    ],
    "unknown_level": [["reduce", "bid", 98, 1], ["reduce", "ask", 100, MAX]],
    "overflow": [["add", "bid", 100, MAX - 4]],
    "crossed": [
        ["add", "bid", 102, 1], ["update", "bid", 500, 1], ["add", "ask", 100, 1], ["update", 1, -5, 3],
    ],
}  # fmt: skip
REFUSED = [(event, reason) for reason, events in BY_REASON.items() for event in events]


@both_encodings
@pytest.mark.parametrize(("event", "bids", "asks"), APPLIED)
def test_applied(encode: Any, event: Any, bids: dict[int, int], asks: dict[int, int]) -> None:
    assert fed(encode)(event) == (bids, asks, 1, 0, [])


@both_encodings
@pytest.mark.parametrize("event", IGNORED)
def test_ignored_and_counted(encode: Any, event: Any) -> None:
    assert fed(encode)(event) == (BIDS, ASKS, 0, 1, [])


@both_encodings
@pytest.mark.parametrize(("event", "reason"), REFUSED)
def test_refused_changing_nothing(encode: Any, event: Any, reason: str) -> None:
    feeder = fed(encode)
    result = feeder(["add", "bid", 97, 9], event, ["delete", "bid", 97])
    assert result == (BIDS, ASKS, 2, 0, [(reason, 1, 1)])
    refused = feeder(["add", "bid", 97, 9], event, atomic=True)
    assert refused == (BIDS, ASKS, 0, 0, [("crossed", -1, 2) if reason == "crossed" else (reason, 1, 2)])


def test_clearing_an_empty_side_is_applied() -> None:
    assert Feeder(Feed.LEVELS)(["clear", "bid"], ["clear"]) == ({}, {}, 2, 0, [])


def test_every_zero_is_gone_at_once() -> None:
    feeder = Feeder(Feed.LEVELS)
    result = feeder(
        ["add", "bid", 10, 1],
        ["add", "bid", 10, 2],
        ["update", "bid", 10, 9],
        ["delete", "bid", 10],
        ["add", "ask", 9, 1],
    )
    assert result == ({}, {9: 1}, 5, 0, [])


def test_aggregation_of_adds_updates_and_deletes() -> None:
    feeder = Feeder(Feed.LEVELS)
    feeder.engine.apply(
        "1-0", [(b"BTC-USD", feeder.encode([["add", 0, 10, 1], ["add", 0, 10, 2], ["add", 0, 11, 4]]))]
    )
    feeder.engine.apply(
        "2-0", [(b"BTC-USD", feeder.encode([["update", 0, 10, 20], ["delete", 0, 11], ["add", 0, 10, 1]]))]
    )
    ((_, delta),) = feeder.engine.drain().deltas
    assert (delta.bids, delta.asks, delta.events) == ([10, 21], [], 6)


class TestAtomic:
    def test_may_cross_on_the_way(self) -> None:
        feeder = fed(Feeder(Feed.LEVELS).encode)
        result = feeder(
            ["update", "bid", 104, 1], ["delete", "ask", 102], ["delete", "ask", 103], atomic=True
        )
        assert result == ({**BIDS, 104: 1}, {}, 3, 0, [])

    def test_may_not_end_crossed(self) -> None:
        feeder = fed(Feeder(Feed.LEVELS).encode)
        result = feeder(["update", "bid", 104, 1], ["delete", "ask", 102], atomic=True)
        assert result == (BIDS, ASKS, 0, 0, [("crossed", -1, 2)])

    def test_a_refused_array_leaves_nothing_pending(self) -> None:
        """A symbol without applied events is not drained, so what refused arrays left would accumulate."""
        state = LevelsState(evicts=False)
        state.apply([[1, 0, 100, 5], [1, 1, 110, 5]], atomic=False)
        state.merger.drain(1)
        state.apply([[1, 0, 99, 7]], atomic=False)
        array = [[1, 0, 101, 1], [1, 0, 101, 0], [2, 0, 100], [1, 0, 99, 8], [4, 1], [1, 0, 98, 1], []]
        assert state.apply(array, atomic=True).applied == 0
        assert state.merger.pending == ({99: 0}, {})
        assert (state.book.bids.flat(), state.book.asks.flat()) == ([100, 5, 99, 7], [110, 5])

    def test_ignored_events_of_an_applied_array_count_as_ignored(self) -> None:
        feeder = fed(Feeder(Feed.LEVELS).encode)
        assert feeder(["delete", "ask", 1], ["delete", "ask", 102], atomic=True) == (BIDS, {103: 8}, 1, 1, [])

    def test_clear_and_reload_is_undone_whole(self) -> None:
        feeder = fed(Feeder(Feed.LEVELS).encode)
        result = feeder(
            ["clear"], ["add", "bid", 7, 1], ["add", "bid", 100, 1], ["reduce", "ask", 1, 1], atomic=True
        )
        assert result == (BIDS, ASKS, 0, 0, [("unknown_level", 3, 4)])
        assert feeder(["add", "bid", 102, 1]).rejects == [("crossed", 0, 1)]

    def test_an_empty_array_is_nothing(self) -> None:
        assert fed(Feeder(Feed.LEVELS).encode)(atomic=True) == (BIDS, ASKS, 0, 0, [])


class TestEvict:
    def test_the_newer_event_wins(self) -> None:
        feeder = fed(Feeder(Feed.LEVELS).encode, OnCross.EVICT)
        assert feeder(["add", "bid", 102, 1]) == ({**BIDS, 102: 1}, {103: 8}, 1, 0, [])
        assert feeder(["update", "ask", 99, 2]) == ({}, {99: 2, 103: 8}, 1, 0, [])
        assert feeder.engine.evicted == 4

    def test_event_by_event_within_an_atomic_array_too(self) -> None:
        feeder = fed(Feeder(Feed.LEVELS).encode, OnCross.EVICT)
        result = feeder(["add", "bid", 103, 1], ["delete", "bid", 103], ["add", "ask", 101, 1], atomic=True)
        assert result == (BIDS, {101: 1}, 3, 0, [])
        assert feeder.engine.evicted == 2

    def test_evictions_are_undone_with_their_array(self) -> None:
        feeder = fed(Feeder(Feed.LEVELS).encode, OnCross.EVICT)
        assert feeder(["add", "bid", 103, 1], [], atomic=True) == (BIDS, ASKS, 0, 0, [("malformed", 1, 2)])
        assert feeder.engine.evicted == 0

    def test_a_refused_event_evicts_nothing(self) -> None:
        feeder = fed(Feeder(Feed.LEVELS).encode, OnCross.EVICT)
        assert feeder(["add", "bid", 103, 0])[:2] == (BIDS, ASKS)
