"""What each op does to an orders feed, and why it may be refused."""

from typing import Any

import pytest

from depthcast.ingestor.orders import OrdersCopy, OrdersState
from depthcast.shared.instruments import Feed, OnCross
from tests.unit.ingestor.feeding import SYMBOL, Feeder, both_encodings

MAX = 2**53 - 1
BOOK = (
    ["add", "bid", 100, 5, 1],
    ["add", "bid", 100, 3, "1"],
    ["add", "bid", 99, 7, 2],
    ["add", "ask", 102, 6, "é"],
    ["add", "ask", 103, 8, -(2**63)],
    ["add", "ask", 103, 1, 2**64 - 1],
)
BIDS, ASKS = {100: 8, 99: 7}, {102: 6, 103: 9}


def fed(encode: Any, on_cross: OnCross = OnCross.REJECT) -> Feeder:
    feeder = Feeder(Feed.ORDERS, on_cross, encode)
    assert feeder(*BOOK)[:3] == (BIDS, ASKS, 6)
    return feeder


def plain() -> Feeder:
    return fed(Feeder(Feed.ORDERS).encode)


APPLIED = [
    (["add", "bid", 100, 2, 3], {100: 10, 99: 7}, ASKS),
    ([0, 1, 101, 2, "x" * 64, "more"], BIDS, {**ASKS, 101: 2}),
    (["add", "bid", -MAX, MAX, "é" * 32], {**BIDS, -MAX: MAX}, ASKS),
    (["update", "bid", 100, 9, 1], {100: 12, 99: 7}, ASKS),
    (["update", "bid", 100, MAX - 5, "1"], {100: MAX, 99: 7}, ASKS),
    (["update", "bid", 99, 1, "1"], {100: 5, 99: 8}, ASKS),
    (["update", "bid", 101, 2, 2], {100: 8, 101: 2}, ASKS),
    ([1, 0, 99, 0, 1], {100: 3, 99: 7}, ASKS),
    (["update", "bid", 500, 0, 2], {100: 8}, ASKS),
    (["update", "ask", 101, 6, "é"], BIDS, {101: 6, 103: 9}),
    (["delete", "bid", 100, 5, 1], {100: 3, 99: 7}, ASKS),
    (["delete", None, None, None, "1"], {100: 5, 99: 7}, ASKS),
    ([2, [], {}, 1.5, 2**64 - 1], BIDS, {102: 6, 103: 8}),
    (["reduce", None, None, 2, 1], {100: 6, 99: 7}, ASKS),
    ([3, "?", 2.5, 7, 2], {100: 8}, ASKS),
    (["clear", "bid"], {}, ASKS),
    ([4], {}, {}),
]

BY_REASON: dict[str, list[Any]] = {
    "malformed": [
        [], [None, 0, 1, 1, 1], [False, 0, 1, 1, 7], ["add", None, 1, 1, 7], ["add", 0, None, 1, 7],
        ["add", 0, 1, None, 7], ["add", 0, 1, 1, True], ["add", 0, 1, 1, 1.5], ["add", 0, 1, 1, []],
        ["add", 0, 1, 1, 2.0**53],
        ["add", 0, 1, 1, "x" * 65], ["add", 0, 1, 1, "é" * 33], ["add", 0, 1, 0, {}], ["update", 2, 99, 1, 2],
        ["update", 0, 99, None, 2], ["update", None, 99, 1, 2], ["update", "ask", 102, 1, 2],
        ["update", "ask", MAX + 1, -1, 2], ["update", 1, 99, 0, 2], ["delete", 0, 99, 1, 2.5],
        ["reduce", 0, 99, None, 2],
        ["reduce", 0, 99, True, 2], ["reduce", 0, 99], ["clear", True],
    ],
    "bad_price": [["add", 0, MAX + 1, 0, 7], ["update", 0, -MAX - 1, 1, None]],
    "bad_quantity": [
        ["add", 0, 99, 0, 7], ["add", 0, 99, 0], ["update", 0, 99, -1, 2], ["reduce", 0, 99, 0, 2],
        ["reduce", 0, 99, 8, 2], ["reduce", 0, 99, 0, "nobody"], ["reduce", 0, 99, MAX + 1, None],
    ],
    "missing_order_id": [
        ["add", 0, 99, 1], ["update", 0, 99, 1, None], ["delete"], ["delete", 0, 99, 1], ["reduce", 0, 99, 1],
    ],
    "unknown_order": [
        ["update", 0, 99, 1, "2"], ["delete", 0, 99, 1, "nobody"], ["reduce", 0, 99, MAX, 103],
    ],
    "duplicate_order": [["add", 0, 1, 1, 1], ["add", 1, 1, 1, "1"], ["add", 0, 100, MAX, "é"]],
    "overflow": [
        ["add", 0, 100, MAX - 7, 7], ["update", 0, 100, MAX, 1], ["update", 0, 100, MAX - 4, "1"],
        ["update", 0, 100, MAX, 2],
    ],
    "crossed": [
        ["add", 0, 102, 1, 7], ["add", 1, 100, 1, 7], ["update", 0, 102, 1, 1], ["update", 1, 99, 1, "é"],
    ],
}  # fmt: skip
REFUSED = [(event, reason) for reason, events in BY_REASON.items() for event in events]


@both_encodings
@pytest.mark.parametrize(("event", "bids", "asks"), APPLIED)
def test_applied(encode: Any, event: Any, bids: dict[int, int], asks: dict[int, int]) -> None:
    assert fed(encode)(event) == (bids, asks, 1, 0, [])


@both_encodings
@pytest.mark.parametrize(("event", "reason"), REFUSED)
def test_refused_changing_nothing(encode: Any, event: Any, reason: str) -> None:
    feeder = fed(encode)
    orders = feeder.engine.drain([SYMBOL]).orders[SYMBOL]
    result = feeder(["add", 0, 97, 1, 77], event, ["delete", 0, 0, 0, 77])
    assert result == (BIDS, ASKS, 2, 0, [(reason, 1, 1)])
    refused = feeder(["add", 0, 97, 1, 77], event, atomic=True)
    assert refused == (BIDS, ASKS, 0, 0, [("crossed", -1, 2) if reason == "crossed" else (reason, 1, 2)])
    assert feeder.engine.drain([SYMBOL]).orders[SYMBOL] == orders


def test_the_last_order_takes_its_level_along() -> None:
    feeder = plain()
    feeder(["delete", None, None, None, 1])
    assert feeder(["reduce", None, None, 3, "1"]) == ({99: 7}, ASKS, 1, 0, [])
    assert feeder(["add", "ask", 100, 1, 9]).rejects == []


def test_a_lone_surrogate_is_no_order_id() -> None:
    feeder = plain()
    feeder.engine.apply("9-0", [(SYMBOL.encode(), b'[["add",0,1,1,"\\ud800"]]')])
    (reject,) = feeder.engine.drain().rejects
    assert (reject.reason, reject.event) == ("malformed", b'["add",0,1,1,"\\ud800"]')


class TestAtomic:
    def test_reload_with_the_same_ids(self) -> None:
        result = plain()(["clear"], ["add", "ask", 100, 1, 1], ["add", "bid", 99, 2, "é"], atomic=True)
        assert result == ({99: 2}, {100: 1}, 3, 0, [])

    def test_an_order_that_changed_sides_on_the_way_is_put_back(self) -> None:
        feeder = plain()
        orders = feeder.engine.drain([SYMBOL]).orders[SYMBOL]
        feeder(["delete", 0, 0, 0, 2], ["add", "ask", 99, 2, 2], ["update", 1, 104, 1, "é"], atomic=True)
        after = feeder.engine.drain([SYMBOL]).orders[SYMBOL]
        for ids, values in ((0, 1), (2, 3)):
            ours, theirs = (dict(zip(copy[ids], copy[values], strict=True)) for copy in (orders, after))
            assert ours == theirs


class TestEvict:
    def test_orders_go_with_their_levels(self) -> None:
        feeder = fed(Feeder(Feed.ORDERS).encode, OnCross.EVICT)
        assert feeder(["add", "ask", 100, 4, 50]) == ({99: 7}, {**ASKS, 100: 4}, 1, 0, [])
        assert feeder(["delete", 0, 0, 0, 1], ["reduce", 0, 0, 1, "1"]).rejects == [
            ("unknown_order", 0, 1),
            ("unknown_order", 1, 1),
        ]
        assert feeder.engine.evicted == 1

    def test_by_an_update_of_price(self) -> None:
        feeder = fed(Feeder(Feed.ORDERS).encode, OnCross.EVICT)
        assert feeder(["update", "bid", 103, 7, 2]) == ({100: 8, 103: 7}, {}, 1, 0, [])
        assert feeder.engine.evicted == 2
        assert feeder.engine.stats().orders == 3

    def test_undone_with_its_array(self) -> None:
        feeder = fed(Feeder(Feed.ORDERS).encode, OnCross.EVICT)
        result = feeder(["update", "bid", 103, 7, 2], ["delete", 0, 0, 0, "é"], atomic=True)
        assert result == (BIDS, ASKS, 0, 0, [("unknown_order", 1, 2)])
        assert feeder(["delete", 0, 0, 0, "é"], ["reduce", 0, 0, 8, -(2**63)]) == (BIDS, {103: 1}, 2, 0, [])


class TestLoad:
    def test_levels_and_digest_follow_from_the_orders(self) -> None:
        feeder = plain()
        state = OrdersState(evicts=True)
        state.load_orders(4, feeder.engine.drain([SYMBOL]).orders[SYMBOL])
        assert (state.book.bids.levels, state.book.asks.levels) == (BIDS, ASKS)
        assert (state.merger.seq, state.merger.digest) == (4, feeder.engine.digest(SYMBOL))
        assert state.merger.idle()

    @pytest.mark.parametrize(
        "orders",
        [
            OrdersCopy([1, 1], [(1, 1), (2, 2)], [], []),
            OrdersCopy([1], [(1, 1)], [1], [(2, 1)]),
            OrdersCopy([1], [], [], []),
            OrdersCopy([1], [(1, 0)], [], []),
            OrdersCopy([1], [(1, 2**64)], [], []),
            OrdersCopy([1], [(MAX + 1, 1)], [], []),
            OrdersCopy([1, 2], [(1, MAX), (1, 1)], [], []),
        ],
    )
    def test_contradictions_are_refused(self, orders: OrdersCopy) -> None:
        with pytest.raises(ValueError, match=r"order|level|longer|shorter"):
            OrdersState(evicts=False).load_orders(1, orders)
