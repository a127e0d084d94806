"""Limits of HTTP requests: at a time, in a second, and bytes that nobody reads."""

import pytest

from depthcast.gateway.counters import GatewayCounters
from depthcast.gateway.runtime.http_limits import HttpLimits, NotNow
from depthcast.shared.settings import GatewaySettings


def limits(**settings: int) -> HttpLimits:
    return HttpLimits(GatewaySettings(**settings), GatewayCounters(), 100.0)  # type: ignore[arg-type]


def test_so_many_at_a_time() -> None:
    bounded = limits(http_requests_max=2)
    bounded.enter(100.0)
    bounded.enter(100.0)
    with pytest.raises(NotNow, match="2 requests are being served") as refused:
        bounded.enter(100.0)
    assert (refused.value.status, refused.value.code, refused.value.retry_s) == (503, "unavailable", 1)
    bounded.leave()
    bounded.enter(100.0)
    assert bounded.counters.limit_http_requests == 1


def test_so_many_a_second_and_large_bodies_count_more() -> None:
    bounded = limits(http_requests_per_s=10)
    for _ in range(20):
        bounded.enter(100.0)
    with pytest.raises(NotNow, match="more than 10 requests a second") as refused:
        bounded.enter(100.0)
    assert (refused.value.status, refused.value.code, refused.value.retry_s) == (429, "rate_limited", 1)
    bounded.enter(100.2)
    bounded.encoded(40_000)
    with pytest.raises(NotNow) as refused:
        bounded.enter(100.2)
    assert refused.value.retry_s == 4
    assert bounded.counters.limit_http_rate == 2


def test_an_address_that_used_up_its_own_share_is_told_when_that_is_there_again() -> None:
    bounded = limits(http_requests_per_s=10)
    bounded.enter(100.0, "a")
    bounded.encoded(29_000, "a")
    with pytest.raises(NotNow) as refused:
        bounded.enter(100.0, "a")
    assert refused.value.retry_s == 5  # 20 below zero, and 1 for the request, at 5 a second


def test_answers_that_nobody_reads_are_bounded_and_one_always_fits() -> None:
    bounded = limits(http_answer_bytes_max=1024)
    bounded.hold(5000)
    with pytest.raises(NotNow, match="1024 bytes wait") as refused:
        bounded.hold(1)
    assert (refused.value.status, refused.value.code) == (503, "unavailable")
    bounded.release(5000)
    bounded.hold(1000)
    bounded.hold(24)
    with pytest.raises(NotNow):
        bounded.hold(1)
    assert bounded.counters.limit_http_answer_bytes == 2


def test_a_large_answer_may_take_longer() -> None:
    bounded = limits()
    assert bounded.time_to_read_s(0) == 30
    assert bounded.time_to_read_s(16_384 * 10) == 40


def test_one_address_gets_half_of_the_requests_and_of_the_bytes() -> None:
    bounded = limits(http_requests_max=4, http_answer_bytes_max=6000)
    bounded.enter(100.0, "a")
    bounded.enter(100.0, "a")
    with pytest.raises(NotNow):
        bounded.enter(100.0, "a")
    bounded.enter(100.0, "b")
    bounded.leave("a")
    bounded.enter(100.0, "a")
    bounded.hold(2999, "a")
    with pytest.raises(NotNow):
        bounded.hold(2, "a")
    bounded.hold(2999, "b")
    bounded.release(2999, "a")
    bounded.hold(3000, "a")


def test_one_who_stopped_reading_makes_room_for_others() -> None:
    stuck = [True]
    bounded = limits(http_requests_max=1, http_answer_bytes_max=1024)
    bounded.make_room = lambda: bool(stuck and stuck.pop())
    bounded.enter(100.0)
    bounded.enter(100.0)
    with pytest.raises(NotNow):
        bounded.enter(100.0)
    stuck.append(True)
    bounded.hold(1000)
    bounded.hold(1000)
    with pytest.raises(NotNow):
        bounded.hold(1000)


def test_who_asks_little_is_served_however_much_another_address_asks() -> None:
    bounded = limits(http_requests_per_s=10)
    for _ in range(8):
        bounded.enter(100.0, "many")
    bounded.encoded(500_000, "many")
    with pytest.raises(NotNow, match="more than 10"):
        bounded.enter(100.0, "many")
    for _ in range(5):
        bounded.enter(100.0, "few")
    with pytest.raises(NotNow):
        bounded.enter(100.0, "few")
    with pytest.raises(NotNow):
        bounded.enter(101.0, "many")
