"""A gateway's counters: each changes by what happened, and by nothing else."""

from dataclasses import asdict

import pytest

from depthcast.gateway.counters import GatewayCounters
from depthcast.gateway.delivery.request_handler import answer
from depthcast.gateway.protocol.messages import Encoding
from tests.unit.gateway.model_client import ModelClient, connected
from tests.unit.gateway.small_market import SmallMarket, lively_market


class Counted:
    """The counters that moved since it was made, and by how much."""

    def __init__(self, market: SmallMarket) -> None:
        self._counters = market.core.counters
        self._before = asdict(self._counters)

    def __call__(self, *left_out: str) -> dict[str, int]:
        moved = {name: value - self._before[name] for name, value in asdict(self._counters).items()}
        return {name: count for name, count in moved.items() if count and name not in left_out}


def test_everything_begins_at_0() -> None:
    assert set(asdict(GatewayCounters()).values()) == {0}


def test_a_subscription_and_a_broadcast() -> None:
    market = lively_market()
    client = connected(market)
    counted = Counted(market)
    client.subscribe("AAA")
    assert counted("bytes_sent") == {
        "requests": 1, "others": 1, "snapshots": 1, "snapshot_encodings": 1, "cohorts_made": 1,
    }  # fmt: skip
    counted = Counted(market)
    market.publish("AAA", {-1: 4})
    assert counted("bytes_sent") == {
        "entries": 1, "broadcasts": 1, "flushes": 1, "deltas": 1, "delta_encodings": 1,
    }  # fmt: skip


def test_bytes_are_those_that_were_taken() -> None:
    market = lively_market()
    counted = Counted(market)
    clients = [ModelClient(market) for _ in range(3)]
    raw = [bytes(client.writer.taken) for client in clients]
    for client in clients:
        client.subscribe("AAA", "BBB")
    before = market.core.counters.bytes_sent
    market.publish("AAA", {-1: 4})
    taken = sum(len(client.writer.taken) for client in clients)
    assert market.core.counters.bytes_sent - before == taken
    assert counted()["others"] == 3 + 2 * 3
    assert all(raw)


@pytest.mark.parametrize(("encoding", "kind"), [(Encoding.JSON, "JSON"), (Encoding.MSGPACK, "msgpack")])
def test_what_cannot_be_parsed(encoding: Encoding, kind: str) -> None:
    market = lively_market()
    client = connected(market, encoding=encoding)
    counted = Counted(market)
    list(answer(client.session, b"\xc1"))
    [error] = client.read()
    assert error["message"].startswith(f"not {kind}: ")
    assert counted("bytes_sent") == {"requests": 1, "unparsable": 1, "others": 1}


def test_resumed_is_counted_only_where_it_was() -> None:
    market = lively_market()
    old = connected(market)
    old.subscribe("AAA")
    state = {"seq": old.seqs["AAA"], "digest": old.digests["AAA"]}
    for digest, resumed in ((state["digest"], 1), (state["digest"] + 1, 0)):
        new = connected(market)
        new.views, new.seqs = dict(old.views), dict(old.seqs)
        counted = Counted(market)
        new.subscribe("AAA", resume={"AAA": {**state, "digest": digest}})
        assert counted().get("resumed", 0) == resumed


def test_time_outs_and_heartbeats() -> None:
    market = lively_market(stall_timeout_s=10, subscribe_timeout_s=20, heartbeat_ms=1000, stale_ms=600_000)
    reading, stalled = connected(market), connected(market, reads=False)
    reading.subscribe("AAA")
    stalled.subscribe("AAA")
    silent = connected(market)
    counted = Counted(market)
    market.now += 1
    market.core.sweep(market.now)
    market.now += 1
    market.core.sweep(market.now)
    assert counted().get("heartbeats", 0) >= 2
    assert "stalls" not in counted()
    market.now += 9
    closing = market.core.sweep(market.now)
    assert [session for session, _ in closing] == [stalled.session]
    assert (counted()["stalls"], counted().get("silent", 0)) == (1, 0)
    market.core.close(stalled.session)
    market.now += 9
    assert [session for session, _ in market.core.sweep(market.now)] == [silent.session]
    assert (counted()["stalls"], counted()["silent"]) == (1, 1)


def test_skipped_is_a_client_that_is_not_ready() -> None:
    market = lively_market()
    client = connected(market)
    client.subscribe("AAA")
    client.merged_allowed = False
    client.fill()
    counted = Counted(market)
    market.publish("AAA", {-1: 4})
    assert counted()["skipped"] == 1
    assert "deltas" not in counted()


def test_what_was_merged_is_conflated() -> None:
    market = lively_market()
    client = connected(market)
    client.subscribe("AAA", interval_ms=50)
    market.grid()
    counted = Counted(market)
    for quantity in (1, 2, 3):
        market.publish("AAA", {-1: quantity})
    market.grid()
    assert (counted()["deltas"], counted()["conflated_by_interval"]) == (1, 2)


def test_what_was_merged_counts_for_each_view_by_its_own_cause() -> None:
    market = lively_market("AAA", "BBB")
    client = connected(market)
    client.subscribe("AAA")
    client.subscribe("BBB", interval_ms=50)
    market.grid()
    client.fill()
    counted = Counted(market)
    for quantity in (1, 2, 3):
        market.publish("AAA", {-1: quantity})
    client.writer.reads = True
    client.drain(1 << 20)
    for quantity in (1, 2):
        market.publish("BBB", {-1: quantity})
    market.grid()
    causes = [each["because"] for each in client.take() if each.get("merged", 1) > 1]
    assert causes == ["buffer", "interval"]
    assert (counted()["conflated_by_buffer"], counted()["conflated_by_interval"]) == (2, 1)


@pytest.mark.parametrize("earlier", [0, 2], ids=["visited one by one", "on the fast path"])
def test_every_broadcast_between_two_ticks_is_a_delta(earlier: int) -> None:
    market = lively_market()
    clients = [connected(market) for _ in range(2)]
    for client in clients:
        client.subscribe("AAA")
    for quantity in range(earlier):
        market.publish("AAA", {-1: 10 + quantity})
    for client in clients:
        client.read()
    counted = Counted(market)
    for quantity in (1, 2, 3):
        market.publish("AAA", {-1: quantity}, tick=False)
    market.tick()
    assert [len(client.read()) for client in clients] == [3, 3]
    assert counted("bytes_sent") == {
        "entries": 3, "broadcasts": 3, "flushes": 1, "deltas": 6, "delta_encodings": 3,
    }  # fmt: skip


def test_welcome_names_every_limit() -> None:
    settings = {
        "subscriptions_max": 7,
        "full_depth_max": 8,
        "part_levels_max": 6,
        "interval_max_ms": 9,
        "message_bytes_max": 1000,
        "wildcard": False,
        "stall_timeout_s": 1.5,
        "subscribe_timeout_s": 2.5,
        "stale_ms": 900,
        "subscription_changes_per_s": 70,
        "messages_per_s": 71,
        "input_bytes_per_s": 720,
        "input_lag_max_ms": 800,
    }
    [welcome] = ModelClient(lively_market(heartbeat_ms=400, **settings)).read()
    assert welcome == {
        "type": "welcome",
        "protocol": 1,
        "session": "name",
        "heartbeat_ms": 400,
        "limits": {
            {"stall_timeout_s": "stall_timeout", "subscribe_timeout_s": "subscribe_timeout"}.get(
                name, name
            ): value
            for name, value in settings.items()
        },
    }


def test_subscribers_of_a_channel_are_those_who_have_it() -> None:
    market = lively_market(channel_linger_s=10)
    clients = [connected(market) for _ in range(2)]
    for client in clients:
        client.subscribe("AAA")
    channel = market.core.market.listings["AAA"].channels[25]
    assert channel.subscribers == 2
    clients[0].subscribe("AAA", interval_ms=50)
    assert channel.subscribers == 2
    clients[0].send(op="unsubscribe", symbols=["AAA"])
    assert channel.subscribers == 1
    market.core.close(clients[1].session)
    assert channel.subscribers == 0
