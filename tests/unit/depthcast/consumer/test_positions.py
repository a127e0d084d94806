"""Positions of several partitions as text; and whether a stream still goes on from one."""

import pytest

from depthcast import PositionError, Positions
from depthcast.consumer.resumption import goes_on
from depthcast.shared.position import Position
from depthcast.shared.reader import OldestEntry

EPOCH = 1767225600000
SOME = Positions({3: Position(EPOCH, 5), 0: Position(EPOCH, 17)})


def test_text_and_back() -> None:
    assert str(SOME) == f"0:{EPOCH}-17 3:{EPOCH}-5"
    assert Positions.parse(str(SOME)) == SOME
    assert dict(SOME) == {0: (EPOCH, 17), 3: (EPOCH, 5)}
    assert Positions.parse("") == Positions()


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "0:",
        "x:5-1",
        "-1:5-1",
        "0:5",
        "0:5-1,1:5-1",
        "0:5-1 0:5-2",
        "²:5-1",
        f"{'1' * 5000}:5-1",
        "0:5-1\n1:",
    ],
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(PositionError):
        Positions.parse(text)


def at(epoch: int, n: int, prev: Position | None = None) -> OldestEntry:
    return OldestEntry(Position(epoch, n), prev)


@pytest.mark.parametrize(
    ("oldest", "tail", "wanted"),
    [
        (at(5, 3), Position(5, 9), True),
        (at(5, 7), Position(5, 7), True),
        (at(5, 8), Position(5, 9), True),  # the next one is still there
        (at(5, 9), Position(5, 9), False),
        (at(6, 0, Position(5, 7)), Position(6, 4), True),
        (at(6, 0, Position(5, 8)), Position(6, 4), False),
        (at(5, 3), Position(5, 6), False),  # Redis has lost it
        (None, Position(5, 9), False),
    ],
)
def test_whether_a_stream_goes_on_after_an_entry(
    oldest: OldestEntry | None, tail: Position, wanted: bool
) -> None:
    assert goes_on(Position(5, 7), oldest, tail) is wanted
