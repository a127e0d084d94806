"""How many entries a relay reads at once."""

import pytest

from depthcast.relay.pace import FIRST, Pace


def test_it_begins_with_few_and_doubles_up_to_the_most() -> None:
    pace = Pace(bytes_max=1_000_000, count_max=40)
    counts = []
    for _ in range(4):
        counts.append(pace.count)
        pace.note(10)
    assert counts == [FIRST, 2 * FIRST, 4 * FIRST, 40]
    assert pace.limited == 0


def test_each_of_the_next_may_be_as_large_as_the_largest() -> None:
    pace = Pace(bytes_max=1000, count_max=200)
    pace.note(400)
    assert (pace.count, pace.limited) == (2, 1)
    pace.note(0)
    assert pace.count == 2, "nothing came, so nothing is known"
    pace.note(5000)
    assert pace.count == 1, "one is read, whatever its size"


def test_large_ones_are_remembered_for_a_while() -> None:
    pace = Pace(bytes_max=1000, count_max=200)
    pace.note(1000)
    counts = []
    for _ in range(5):
        pace.note(1)
        counts.append(pace.count)
    assert counts == [2, 4, 8, 16, 32]


def test_after_a_reply_that_was_given_up_one_is_read() -> None:
    pace = Pace(bytes_max=1000, count_max=200)
    pace.too_big()
    assert (pace.count, pace.limited) == (1, 1)


@pytest.mark.parametrize("most", [1, 3])
def test_never_more_than_the_most(most: int) -> None:
    assert Pace(1000, most).count == most
