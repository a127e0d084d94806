"""IDs that were sent are told from all others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthcast.producer import sent
from depthcast.producer.sent import SentIds
from depthcast.shared.position import Position


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 3)), max_size=20))
def test_ours_are_known_and_no_others(steps: list[tuple[int, int]]) -> None:
    ids, ours, at = SentIds(), set(), 0
    for others, count in steps:
        at += others
        ours |= set(range(at, at + count))
        ids.add(Position(7, at), Position(7, at + count - 1))
        at += count
    for number in range(at + 3):
        assert (Position(7, number) in ids) is (number in ours)


def test_the_oldest_are_forgotten_and_ids_may_begin_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sent, "RANGES_MAX", 10)
    ids = SentIds()
    for number in range(21):
        ids.add(Position(number, 0), Position(number, 5))
    assert Position(9, 0) not in ids
    assert Position(10, 5) in ids
    ids.add(Position(3, 0), Position(3, 0))
    assert Position(20, 0) not in ids
    assert Position(3, 0) in ids
