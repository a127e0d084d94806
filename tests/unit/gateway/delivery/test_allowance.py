"""An allowance: what was saved up, what comes each second, and clocks that step back."""

import pytest

from depthcast.gateway.delivery.allowance import Allowance


def test_it_is_full_at_first_and_refills() -> None:
    allowance = Allowance(per_s=10, most=3, now=100.0)
    assert [allowance.take(1, 100.0) for _ in range(4)] == [True, True, True, False]
    assert not allowance.take(1, 100.09)
    assert allowance.take(1, 100.11)
    assert [allowance.take(1, 1000.0) for _ in range(4)] == [True, True, True, False], "no more than the most"


def test_more_than_is_left_may_be_used_and_is_owed() -> None:
    allowance = Allowance(per_s=10, most=3, now=0.0)
    allowance.use(8)
    assert not allowance.take(0, 0.4)
    assert allowance.wait_s(0) == pytest.approx(0.1)
    assert allowance.take(0, 0.6)
    assert allowance.wait_s(1) == pytest.approx(0.0)


def test_a_clock_that_steps_back_takes_nothing_away() -> None:
    allowance = Allowance(per_s=1, most=2, now=100.0)
    assert allowance.take(2, 100.0)
    assert not allowance.take(1, 50.0)
    assert allowance.take(1, 51.5), "counted on from the time it stepped to"
