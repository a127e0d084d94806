"""Buckets at their edges, sums that exceed a quantity, and what a broadcast changes."""

import pytest

from depthcast.gateway.market.grouped_replica import GroupedReplica, bucket_of
from depthcast.shared.replica import Replica
from depthcast.shared.types import MAX_INTEGER
from tests.unit.gateway.small_market import Levels, Published, replica_of

BID, ASK = -1, 1


@pytest.mark.parametrize(
    ("price", "group", "bid", "ask"),
    [
        (0, 10, 0, 0),
        (1, 10, 0, 10),
        (9, 10, 0, 10),
        (10, 10, 10, 10),
        (11, 10, 10, 20),
        (-1, 10, -10, 0),
        (-10, 10, -10, -10),
        (-11, 10, -20, -10),
        (7, 1, 7, 7),
        (MAX_INTEGER, 2, MAX_INTEGER - 1, MAX_INTEGER),
        (-MAX_INTEGER, 2, -MAX_INTEGER, -MAX_INTEGER + 1),
        (5, MAX_INTEGER, 0, MAX_INTEGER),
        (-5, MAX_INTEGER, -MAX_INTEGER, 0),
    ],
)
def test_bids_round_down_and_asks_up(price: int, group: int, bid: int, ask: int) -> None:
    assert (bucket_of(price, BID, group), bucket_of(price, ASK, group)) == (bid, ask)


class Followed:
    """A grouped book whose replica follows a market."""

    def __init__(self, group: int, bids: Levels) -> None:
        self.book = Published(1)
        self.book.move(bids, {})
        self.replica: Replica = replica_of(self.book)
        self.grouped = GroupedReplica(self.replica, group)

    def move(self, bids: Levels) -> list[tuple[int, int, int]]:
        """The buckets of bids that change: (price, new, old)."""
        _, changes = self.replica.apply(self.book.move(bids, {}))
        return list(self.grouped.advance(changes).bids)

    def bids(self) -> Levels:
        return dict(self.grouped.book.bids.levels)


def test_levels_of_a_bucket_are_one_level() -> None:
    followed = Followed(10, {19: 3, 10: 4, 9: 5})
    assert followed.bids() == {10: 7, 0: 5}
    assert followed.move({19: 1, 12: 2, 9: 0}) == [(0, 0, 5)]
    assert followed.bids() == {10: 7}
    assert followed.move({10: 0, 12: 0, 19: 0, 25: 1}) == [(10, 0, 7), (20, 1, 0)]


def test_a_change_within_a_bucket_changes_nothing() -> None:
    followed = Followed(10, {19: 3, 10: 4})
    before = followed.grouped.digest
    assert followed.move({19: 4, 10: 3}) == []
    assert followed.grouped.digest == before


def test_a_sum_beyond_a_quantity_is_shown_as_the_largest_and_is_not_forgotten() -> None:
    followed = Followed(10, {12: MAX_INTEGER, 11: 5})
    assert followed.bids() == {10: MAX_INTEGER}
    assert followed.move({13: MAX_INTEGER}) == []
    assert followed.move({12: 0}) == []
    assert followed.move({13: 7}) == [(10, 12, MAX_INTEGER)]
    assert followed.move({13: MAX_INTEGER - 5}) == [(10, MAX_INTEGER, 12)], "exactly the largest"
    assert followed.move({13: 0, 11: 0}) == [(10, 0, MAX_INTEGER)]
