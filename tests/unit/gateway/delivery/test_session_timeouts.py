"""Heartbeats and time-outs of a session, at the times that `sweep` is called with."""

from depthcast.gateway.delivery.subscription_group import GroupState
from depthcast.shared.close_codes import CloseCode
from tests.unit.gateway.model_client import connected, kinds
from tests.unit.gateway.small_market import lively_market


def test_heartbeat_when_nothing_else_was_sent() -> None:
    market = lively_market(heartbeat_ms=1000)
    client = connected(market)
    client.subscribe("AAA")
    for _ in range(3):
        market.now += 0.5
        market.core.sweep(market.now)
    assert kinds(client.take())[-1] == "heartbeat"
    market.publish("AAA", {-1: 4})
    market.now += 0.9
    market.core.sweep(market.now)
    assert kinds(client.take()) == ["delta"]


def test_a_client_that_reads_nothing_is_too_slow() -> None:
    market = lively_market(stall_timeout_s=10, subscribe_timeout_s=100, heartbeat_ms=600_000)
    client = connected(market, reads=False)
    market.now += 9
    assert market.core.sweep(market.now) == []
    client.drain(5)
    market.now += 9
    assert market.core.sweep(market.now) == []
    market.now += 10
    assert market.core.sweep(market.now) == [(client.session, CloseCode.TOO_SLOW)]


def test_waiting_for_credit_is_no_stall() -> None:
    market = lively_market(stall_timeout_s=10, heartbeat_ms=600_000)
    client = connected(market)
    client.send(op="credit", messages=1)
    client.subscribe("AAA")
    market.publish("AAA", {-1: 4})
    market.now += 100
    assert market.core.sweep(market.now) == []


def test_a_client_that_never_subscribed_is_silent() -> None:
    market = lively_market(subscribe_timeout_s=10)
    client, silent = connected(market), connected(market)
    client.subscribe("AAA")
    client.send(op="unsubscribe", symbols=["AAA"])
    for wait, expected in ((9, []), (1, [(silent.session, CloseCode.SILENT)])):
        market.now += wait
        assert market.core.sweep(market.now) == expected


def test_bytes_of_the_fast_path_put_a_heartbeat_off() -> None:
    market = lively_market(heartbeat_ms=1000)
    client = connected(market)
    client.subscribe("AAA")
    for quantity in range(20, 30):
        market.now += 0.6
        market.publish("AAA", {-1: quantity})
        market.core.sweep(market.now)
    assert next(iter(client.session.groups)).state is GroupState.SYNCED
    assert "heartbeat" not in kinds(client.take())
    market.now += 1.0
    market.core.sweep(market.now)
    assert kinds(client.take()) == ["heartbeat"]


def test_no_heartbeat_joins_what_a_paused_client_has_not_read() -> None:
    market = lively_market(heartbeat_ms=1000, write_buffer_bytes=1024)
    client = connected(market)
    client.fill()
    for _ in range(2):
        market.now += 1.1
        market.core.sweep(market.now)
    assert market.core.counters.heartbeats == 0
