"""Sessions: every op, every error, and the order of what is sent."""

from dataclasses import asdict

import pytest

from depthcast.gateway.delivery.request_handler import answer
from depthcast.gateway.protocol.messages import Encoding
from depthcast.shared.close_codes import CloseCode
from tests.unit.gateway.model_client import ModelClient, connected, kinds
from tests.unit.gateway.small_market import lively_market


def test_welcome_names_the_limits() -> None:
    market = lively_market(subscriptions_max=7)
    [welcome] = ModelClient(market).read()
    assert welcome["protocol"] == 1
    assert welcome["session"] == "name"
    assert welcome["heartbeat_ms"] == 5000
    settings = asdict(market.core.settings)
    on_the_wire = {name: name for name in welcome["limits"]} | {
        "stall_timeout": "stall_timeout_s", "subscribe_timeout": "subscribe_timeout_s",
    }  # fmt: skip
    assert welcome["limits"] == {name: settings[setting] for name, setting in on_the_wire.items()}
    assert set(welcome["limits"]) == {
        "subscriptions_max", "full_depth_max", "interval_max_ms", "message_bytes_max", "wildcard",
        "stall_timeout", "subscribe_timeout", "stale_ms", "subscription_changes_per_s", "messages_per_s",
        "input_bytes_per_s", "input_lag_max_ms", "part_levels_max",
    }  # fmt: skip
    assert welcome["limits"]["subscriptions_max"] == 7


@pytest.mark.parametrize("encoding", [Encoding.JSON, Encoding.MSGPACK])
def test_subscribed_then_snapshot_then_deltas(encoding: Encoding) -> None:
    market = lively_market()
    client = connected(market, encoding=encoding)
    subscribed, snapshot = client.subscribe("AAA", id=3, depth=5)
    assert subscribed == {
        "type": "subscribed", "id": 3, "symbol": "AAA", "depth": 5, "interval_ms": 0,
        "tick_size": "0.01", "lot_size": "0.001", "resumed": False,
    }  # fmt: skip
    assert snapshot["bids"] == [[-1, 5], [-2, 6], [-3, 7]]
    seq = market.publish("AAA", {-1: 4})
    [delta] = client.read()
    assert delta == {
        "type": "delta", "symbol": "AAA", "depth": 5, "prev_seq": snapshot["seq"], "seq": seq,
        "ts": market.position.n,
        "bids": [[-1, 4]], "asks": [], "merged": 1, "digest": market.books["AAA"].digest(),
    }  # fmt: skip


def test_a_broadcast_outside_the_view_sends_nothing() -> None:
    market = lively_market()
    client = connected(market)
    client.subscribe("AAA", depth=1)
    market.publish("AAA", {-2: 99}, {})
    assert client.read() == []
    market.publish("AAA", {-1: 99}, {})
    assert kinds(client.read()) == ["delta"]


def test_a_second_subscribe_replaces_the_first() -> None:
    market = lively_market()
    client = connected(market)
    client.subscribe("AAA", depth=1)
    assert kinds(client.subscribe("AAA", depth=5, interval_ms=50)) == ["subscribed", "snapshot"]
    market.publish("AAA", {-1: 4})
    assert client.read() == []
    market.grid()
    assert [message["depth"] for message in client.read()] == [5]
    assert len(client.session.subscriptions) == len(client.session.groups) == 1


def test_each_symbol_of_a_list_is_answered_by_itself() -> None:
    client = connected(lively_market())
    got = client.send(op="subscribe", id=9, symbols=["AAA", "NOPE", 5, "*", "AAA", "BBB"])
    assert kinds(got) == ["subscribed", "error", "error", "error", "subscribed", "snapshot", "snapshot"]
    assert [(m["code"], m.get("symbol"), m["id"]) for m in got if m["type"] == "error"] == [
        ("unknown_symbol", "NOPE", 9), ("bad_request", None, 9), ("unknown_symbol", "*", 9),
    ]  # fmt: skip


def test_unsubscribe() -> None:
    market = lively_market()
    client = connected(market)
    client.subscribe("AAA", "BBB")
    got = client.send(op="unsubscribe", id=1, symbols=["AAA", "CCC", 7])
    assert got[0] == {"type": "unsubscribed", "id": 1, "symbol": "AAA"}
    assert [message.get("code") for message in got[1:]] == ["not_subscribed", "bad_request"]
    market.publish("AAA", {-1: 4})
    assert client.read() == []
    market.publish("BBB", {-1: 4})
    assert kinds(client.read()) == ["delta"]
    assert [m["symbol"] for m in client.send(op="unsubscribe", symbols=["*"])] == ["BBB"]
    assert client.send(op="unsubscribe", symbols=["*"])[0]["code"] == "not_subscribed"


def test_wildcard() -> None:
    market = lively_market()
    client = connected(market)
    assert kinds(client.subscribe("*", depth=1)) == ["subscribed"] * 2 + ["snapshot"] * 2
    client.send(op="unsubscribe", symbols=["*"])
    assert client.session.wildcard is None
    market = lively_market(wildcard=False)
    [error] = connected(market).subscribe("*", id="w")
    assert (error["code"], error["id"]) == ("forbidden", "w")


def test_unavailable_while_nothing_is_known() -> None:
    market = lively_market()
    market.books.clear()
    market.list_instruments()
    client = connected(market)
    assert [m["code"] for m in client.subscribe("AAA") + client.subscribe("*")] == ["unavailable"] * 2


def test_limits() -> None:
    market = lively_market("AAA", "BBB", "CCC", subscriptions_max=2, full_depth_max=2, interval_max_ms=100)
    client = connected(market)
    got = client.subscribe("AAA", "BBB", "CCC", interval_ms=1000)
    assert [m["interval_ms"] for m in got if m["type"] == "subscribed"] == [100, 100]
    [error] = [message for message in got if message["type"] == "error"]
    assert (error["code"], error["symbol"]) == ("limit", "CCC")
    [error] = client.subscribe("AAA", depth=0)
    assert error["code"] == "limit"
    assert "3 levels" in error["message"]
    assert client.depths["AAA"] == 25, "what was there stays"
    counters = market.core.counters
    assert (counters.limit_subscriptions, counters.limit_full_depth, counters.limit_interval) == (1, 1, 1)


def test_a_book_that_outgrows_full_depth_ends_its_full_subscriptions() -> None:
    market = lively_market(full_depth_max=3)
    full, top = connected(market), connected(market)
    full.subscribe("AAA", depth=0)
    top.subscribe("AAA", depth=5)
    market.publish("AAA", {-4: 1})
    error, unsubscribed = full.take()[2:]
    assert (error["type"], error["code"], error["symbol"]) == ("error", "limit", "AAA")
    assert "4 levels" in error["message"]
    assert unsubscribed == {"type": "unsubscribed", "symbol": "AAA", "reason": "limit"}
    assert kinds(top.read()) == ["delta"]


def test_ping_and_errors_echo_ids() -> None:
    client = connected(lively_market())
    assert client.send(op="ping", id="a") == [{"type": "pong", "ts": 1_000_000_000, "id": "a"}]
    assert client.send(op="ping") == [{"type": "pong", "ts": 1_000_000_000}]
    [error] = client.send(op="auth", id=4, token="t")
    assert (error["code"], error["id"]) == ("unknown_op", 4)


def test_the_tenth_unparsable_message_is_the_last() -> None:
    client = connected(lively_market())
    codes = []
    for number in range(10):
        list(answer(client.session, "{"))
        client.send(op="nonsense", id=number)
        codes.append(client.session.ended)
    assert codes == [None] * 9 + [CloseCode.MISUSE]
    assert [m["code"] for m in client.take()].count("bad_request") == 10
