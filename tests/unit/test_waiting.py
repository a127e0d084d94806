"""The waiting helpers, and their error texts."""

from itertools import islice

import pytest

from tests.waiting import POLL_S_MAX, POLL_S_MIN, _pauses, eventually, eventually_sync


async def test_returns_the_first_true_value() -> None:
    values = iter([0, None, 3, 4])
    assert await eventually(lambda: next(values)) == 3


async def test_awaits_a_coroutine_condition() -> None:
    values = iter([False, True])

    async def condition() -> bool:
        return next(values)

    assert await eventually(condition) is True


async def test_says_what_was_late() -> None:
    with pytest.raises(AssertionError, match=r"the book fills: not so within 0 s; the last value was 0"):
        await eventually(lambda: 0, timeout_s=0, message="the book fills")


def test_waits_without_an_event_loop() -> None:
    values = iter(["", "there"])
    assert eventually_sync(lambda: next(values)) == "there"
    with pytest.raises(AssertionError, match="the last value was None"):
        eventually_sync(lambda: None, timeout_s=0)


def test_pauses_grow_to_a_bound() -> None:
    pauses = list(islice(_pauses(), 30))
    assert pauses[0] == POLL_S_MIN
    assert pauses == sorted(pauses)
    assert pauses[-1] == POLL_S_MAX
