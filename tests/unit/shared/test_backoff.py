"""Waits between attempts."""

from depthcast.shared.backoff import Backoff, no_jitter


def test_waits_double_up_to_the_limit_and_begin_again() -> None:
    backoff = Backoff(0.25, 1.0, no_jitter)
    assert [backoff.next_s() for _ in range(4)] == [0.25, 0.5, 1.0, 1.0]
    backoff.reset()
    assert backoff.next_s() == 0.25


def test_each_wait_is_a_random_fraction_of_its_bound() -> None:
    draws = iter([0.5, 0.0, 1.0])
    backoff = Backoff(0.2, 1.0, lambda: next(draws))
    assert [backoff.next_s() for _ in range(3)] == [0.1, 0.0, 0.8]
