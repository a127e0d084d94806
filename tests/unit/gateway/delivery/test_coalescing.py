"""Entries of several partitions that come together go out together; nothing waits in a quiet market."""

from depthcast.gateway.delivery.coalescing import Coalescing

WINDOW_S = 0.002


def test_a_quiet_market_waits_for_nothing() -> None:
    coalescing = Coalescing(WINDOW_S)
    for now in range(10):
        assert coalescing.wait_s(now % 3, now) == 0
        coalescing.flush(now)


def test_a_flush_never_begins_earlier_than_a_window_after_the_last_one() -> None:
    coalescing = Coalescing(WINDOW_S)
    assert coalescing.wait_s(0, 1.0) == 0
    coalescing.flush(1.0)
    assert abs(coalescing.wait_s(0, 1.0005) - 0.0015) < 1e-9
    coalescing.flush(1.002)
    assert coalescing.wait_s(0, 1.0041) == 0, "one partition alone gathers nothing"


def test_partitions_that_come_together_are_gathered_from_the_second_time_on() -> None:
    coalescing = Coalescing(WINDOW_S)
    coalescing.wait_s(0, 1.0)
    coalescing.flush(1.0)
    assert coalescing.wait_s(1, 1.001) == WINDOW_S
    coalescing.wait_s(2, 1.0015)
    coalescing.flush(1.003)
    for now in (2.0, 3.0):
        assert coalescing.wait_s(0, now) == WINDOW_S
        coalescing.wait_s(1, now + 0.001)
        coalescing.flush(now + WINDOW_S)
    assert coalescing.wait_s(0, 4.0) == WINDOW_S
    coalescing.flush(4.0 + WINDOW_S)
    assert coalescing.wait_s(0, 5.0) == 0, "it waited in vain"


def test_a_flush_of_nothing_delays_nothing() -> None:
    coalescing = Coalescing(WINDOW_S)
    coalescing.flush(1.0)
    assert coalescing.wait_s(0, 1.0) == 0
