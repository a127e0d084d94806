"""A levels feed whose book is so deep that memory is fetched ahead: as if each event came alone."""

from random import Random

import msgpack
import pytest

import depthcast.ingestor.levels
from depthcast.ingestor.levels import LevelsState
from depthcast.ingestor.packed_events import read_packed
from depthcast.shared.compiled import is_compiled
from depthcast.shared.digest import digest_of
from depthcast.shared.types import Side

pytestmark = pytest.mark.skipif(
    not is_compiled(depthcast.ingestor.levels), reason="as Python, events are not read into numbers"
)

FETCHED_MIN = 20_000
"""As in `depthcast.ingestor.levels`, whose number is one of C."""
MID = 10_000_000
REACH = 20_000


def _event(rng: Random) -> list[int]:
    """Mostly on its own side; sometimes it crosses, and levels are evicted."""
    side = rng.randrange(2)
    distance = rng.randint(1, REACH) if rng.random() > 0.001 else rng.randint(-30, 0)
    return [rng.choice([1, 1, 1, 2]), side, MID + (distance if side else -distance), rng.randint(0, 5)]


def test_a_deep_book_from_packed_events_is_that_of_lists() -> None:
    rng = Random(3)
    packed_book, listed_book = LevelsState(evicts=True), LevelsState(evicts=True)
    opening = [MID + distance for distance in range(1, REACH)]
    bids, asks = [2 * MID - price for price in opening], opening
    for state in (packed_book, listed_book):
        state.load_levels(
            1,
            [number for price in bids for number in (price, 1)],
            [number for price in asks for number in (price, 1)],
            digest_of([(price, 1) for price in bids], [(price, 1) for price in asks]),
        )
    for number in range(300):
        events = [_event(rng) for _ in range(150)]
        packed = read_packed(msgpack.packb(events))
        assert packed is not None
        atomic = number % 3 == 0
        found, expected = (packed_book.apply(packed, atomic=atomic), listed_book.apply(events, atomic=atomic))
        assert found == expected
        if number % 20 == 19:
            assert len(packed_book.book.bids) + len(packed_book.book.asks) >= FETCHED_MIN
            assert packed_book.merger.drain(0) == listed_book.merger.drain(0)
    assert packed_book.merger.digest == digest_of(packed_book.book.bids.top(), packed_book.book.asks.top())
    for side in Side:
        assert packed_book.book.sides[side].index == listed_book.book.sides[side].index
