"""What of the last rejects a stream has lost is recorded again, and nothing else."""

from random import Random

import pytest

from depthcast.ingestor.output import reject_fields
from depthcast.ingestor.recent_rejects import RecentRejects
from depthcast.ingestor.rejects import Reason, Reject
from depthcast.shared.position import Position

ALL = Position(100, 0)
"""All input is there."""


def made(number: int) -> Reject:
    """Two rejects of each input entry."""
    return Reject("S", Reason.CROSSED, f"{number // 2}-0", number % 2, 1, b"[1]")


REJECTS = [made(number) for number in range(30)]


def stream_end(number: int) -> dict[bytes, bytes]:
    return dict(reject_fields(REJECTS[number]))


def recent(count: int, most: int = 1000) -> RecentRejects:
    """After the first `count` rejects were published."""
    found = RecentRejects(most)
    for reject in REJECTS[:count]:
        found.record([reject])
    return found


@pytest.mark.parametrize("seed", range(50))
def test_the_stream_ends_with_all_of_them_in_order_wherever_it_was_cut(seed: int) -> None:
    rng = Random(seed)
    published = rng.randint(0, 20)
    unpublished = REJECTS[published : rng.randint(published, 30)]
    kept = rng.randint(0, published + len(unpublished))
    newest = stream_end(kept - 1) if kept else None
    missing = recent(published).missing(newest, unpublished, ALL)
    assert REJECTS[:kept] + missing == REJECTS[: published + len(unpublished)]


def test_more_than_are_remembered_were_lost() -> None:
    assert recent(20, most=4).missing(stream_end(3), REJECTS[20:22], ALL) == REJECTS[16:22]


@pytest.mark.parametrize("newest", [{b"x": b"y"}, {b"source": b"?"}, dict(reject_fields(made(70)))])
def test_an_end_that_is_not_ours_says_nothing_of_what_is_missing(newest: dict[bytes, bytes]) -> None:
    assert recent(20).missing(newest, REJECTS[20:22], ALL) == REJECTS[20:22]


def test_nothing_is_known_of_rejects_before_the_first() -> None:
    assert recent(0).missing({b"source": b"1-0"}, REJECTS[:2], ALL) == REJECTS[:2]


def test_rejects_of_input_that_was_lost_with_them_are_not_recorded_again() -> None:
    assert recent(20).missing(stream_end(3), REJECTS[20:22], Position(5, 0)) == [
        *REJECTS[4:12],
        *REJECTS[20:22],
    ]
