"""What sessions send, and when: statuses, resumes, credit, intervals, slow clients, time-outs."""

from typing import Any

from depthcast.gateway.delivery.subscription_group import GroupState
from depthcast.gateway.delivery.writer import Send
from tests.unit.gateway.model_client import ModelClient, connected, kinds
from tests.unit.gateway.small_market import Published, SmallMarket, lively_market

# --- statuses ----------------------------------------------------------------------------------------------


def test_a_symbol_without_a_book_is_stale_until_it_comes() -> None:
    market = lively_market()
    market.books["NEW"] = Published(7)
    market.list_instruments()
    market.load("NEW")
    market.tick()
    client = connected(market)
    assert kinds(client.subscribe("NEW")) == ["subscribed", "status"]
    delta = market.books["NEW"].move({-1: 1}, {})
    market.apply(market.entry({"NEW": delta._replace(prev_seq=0)}))
    market.tick()
    snapshot, status = client.read()
    assert (snapshot["type"], snapshot["bids"]) == ("snapshot", [[-1, 1]])
    assert (status["type"], status["state"]) == ("status", "live")


def test_silence_makes_stale_and_a_broadcast_makes_live() -> None:
    market = lively_market(stale_ms=5000)
    before, after = connected(market), connected(market)
    before.subscribe("AAA", "BBB")
    market.now += 5.1
    market.tick()
    assert [(m["symbol"], m["state"]) for m in before.take()[-2:]] in (
        [("AAA", "stale"), ("BBB", "stale")], [("BBB", "stale"), ("AAA", "stale")],
    )  # fmt: skip
    assert kinds(after.subscribe("AAA")) == ["subscribed", "snapshot", "status"]
    market.tick()
    assert before.read() == after.read() == []
    market.publish("AAA", {-1: 1})
    assert sorted(kinds(before.read())) == ["delta", "status", "status"]
    assert kinds(after.read()) == ["delta", "status"]
    assert set(before.states.values()) == {"live"}


def test_a_slow_client_is_sent_a_status_only_if_it_differs_in_the_end() -> None:
    market = lively_market(stale_ms=5000, write_buffer_bytes=1024)
    client = connected(market)
    client.subscribe("AAA")
    client.fill()
    for wait in (6, 0):
        market.now += wait
        market.tick() if wait else market.heartbeat()
    client.drain(10_000)
    assert kinds(client.take()) == ["subscribed", "snapshot", "filler"]
    client.fill()
    market.now += 6
    market.tick()
    client.drain(10_000)
    client.drain(10_000)
    assert kinds(client.take()) == ["filler", "status"]
    assert client.states == {"AAA": "stale"}


def test_a_gap_is_stale_until_the_snapshot() -> None:
    market = lively_market()
    client = connected(market)
    client.subscribe("AAA")
    client.take()
    market.lose("AAA")
    market.publish("AAA", {-1: 1})
    assert [m["state"] for m in client.take()] == ["stale"]
    market.load()
    market.tick()
    assert [(m["type"], m.get("state")) for m in client.take()] == [("snapshot", None), ("status", "live")]
    assert market.core.counters.replaced == 1


def test_a_gap_that_changed_nothing_in_the_view_sends_no_snapshot() -> None:
    market = lively_market()
    client = connected(market)
    client.subscribe("AAA", depth=1)
    client.take()
    market.lose("AAA")
    market.publish("AAA", {-3: 1})
    market.load()
    market.tick()
    assert kinds(client.take()) == ["status", "status"]
    market.publish("AAA", {-1: 1})
    assert kinds(client.take()) == ["delta"]


# --- resume -----------------------------------------------------------------------------------------------


def resumed(market: SmallMarket, old: ModelClient, **change: int) -> list[dict[str, Any]]:
    new = connected(market)
    new.views, new.seqs = old.views, old.seqs
    state = {"seq": old.seqs["AAA"], "digest": old.digests["AAA"]} | change
    return new.subscribe("AAA", resume={"AAA": state})


def test_resume_at_the_head_and_behind_it() -> None:
    market = lively_market()
    old = connected(market)
    old.subscribe("AAA")
    seq = old.seqs["AAA"]
    market.core.close(old.session)
    [subscribed] = resumed(market, old)
    assert (subscribed["resumed"], subscribed["seq"]) == (True, seq)
    for quantity in (4, 3):
        market.publish("AAA", {-1: quantity})
    subscribed, delta = resumed(market, old)
    assert (subscribed["resumed"], subscribed["seq"]) == (True, seq)
    assert (delta["prev_seq"], delta["merged"], delta["bids"]) == (seq, 2, [[-1, 3]])


def test_resume_with_another_digest_or_of_another_gateway() -> None:
    market = lively_market()
    old = connected(market)
    old.subscribe("AAA")
    assert kinds(resumed(market, old, digest=1)) == ["subscribed", "snapshot"]
    # A seq this gateway never had: the newest before it counts, or the oldest.
    assert resumed(market, old, seq=old.seqs["AAA"] + 5)[0]["resumed"]
    assert resumed(market, old, seq=1)[0]["resumed"]


def test_resume_of_a_stale_symbol_says_so() -> None:
    market = lively_market(stale_ms=1000)
    old = connected(market)
    old.subscribe("AAA")
    market.now += 2
    market.tick()
    assert kinds(resumed(market, old)) == ["subscribed", "status"]


def test_a_channel_lingers_for_those_who_resume() -> None:
    market = lively_market(channel_linger_s=10)
    client = connected(market)
    client.subscribe("AAA")
    market.core.close(client.session)
    for wait in (0, 9):
        market.now += wait
        market.core.sweep(market.now)
    assert market.core.market.listings["AAA"].channels
    market.now += 1
    market.core.sweep(market.now)
    assert not market.core.market.listings["AAA"].channels


# --- credit and intervals ---------------------------------------------------------------------------------


def test_credit_counts_snapshots_and_deltas_only() -> None:
    market = lively_market()
    client = connected(market)
    client.send(op="credit", messages=1)
    assert kinds(client.subscribe("AAA", "BBB")) == ["subscribed", "subscribed", "snapshot"]
    for quantity in (4, 3, 2):
        market.publish("AAA", {-1: quantity})
    assert client.send(op="ping")[0]["type"] == "pong"
    [snapshot] = client.send(op="credit", messages=1)
    assert (snapshot["symbol"], snapshot["type"]) == ("BBB", "snapshot"), "it waited longest"
    [delta] = client.send(op="credit", messages=5)
    assert (delta["symbol"], delta["merged"]) == ("AAA", 3)
    assert client.session.sender.credit == 4
    assert next(iter(client.session.groups)).state is not GroupState.CURSOR_PER_CHANNEL


def test_the_symbol_that_waited_longest_goes_first_in_any_interval() -> None:
    market = lively_market("AAA", "BBB", "CCC")
    client = connected(market)
    client.send(op="credit", messages=3)
    client.subscribe("AAA", "BBB")
    client.subscribe("CCC", interval_ms=50)
    for symbol in ("CCC", "BBB", "AAA", "CCC", "BBB"):
        market.publish(symbol, {-1: market.position.n + 100})
    market.grid()
    order = [client.send(op="credit", messages=1)[0]["symbol"] for _ in range(3)]
    assert order == ["CCC", "BBB", "AAA"]


def test_statuses_need_no_credit() -> None:
    market = lively_market(stale_ms=1000)
    client = connected(market)
    client.send(op="credit", messages=1)
    client.subscribe("AAA")
    client.take()
    market.publish("AAA", {-1: 4})
    market.now += 2
    market.tick()
    assert kinds(client.take()) == ["status"]


def test_an_interval_sends_the_net_change_on_the_grid_then_is_silent() -> None:
    market = lively_market()
    client = connected(market)
    assert kinds(client.subscribe("AAA", interval_ms=50)) == ["subscribed", "snapshot"]
    market.grid()
    client.take()
    for quantity in (4, 3):
        market.publish("AAA", {-1: quantity})
    assert client.read() == []
    assert market.alarms == [50]
    market.grid()
    assert [message["merged"] for message in client.take()] == [2]
    assert market.alarms == []


def test_one_interval_and_one_set_of_symbols_share_their_bytes() -> None:
    market = lively_market()
    clients = [connected(market) for _ in range(50)]
    for client in clients:
        client.subscribe("AAA", "BBB", interval_ms=50)
    market.publish("AAA", {-1: 4})
    market.publish("BBB", {-1: 4})
    before = market.core.counters.delta_encodings
    market.grid()
    assert market.core.counters.delta_encodings - before == 2
    assert len(market.core.flusher.cohorts) == 1
    writes = {client.writer.writes for client in clients}
    assert len(writes) == 1
    assert all(kinds(client.take())[-2:] == ["delta", "delta"] for client in clients)


# --- slow clients -----------------------------------------------------------------------------------------


def test_a_slow_client_costs_a_cursor_and_gets_the_last_change_when_it_drains() -> None:
    market = lively_market(write_buffer_bytes=1024)
    slow = connected(market, reads=False)
    slow.drain(100_000)
    slow.subscribe("AAA")
    for number in range(500):
        market.publish("AAA", {-1: number + 1})
    assert slow.writer.most_waiting < 2048
    slow.drain(100_000)
    slow.drain(100_000)
    slow.check_current()
    assert market.core.counters.conflated > 200


def test_many_snapshots_go_out_as_the_client_drains() -> None:
    symbols = [f"S{number}" for number in range(100)]
    market = lively_market(*symbols, write_buffer_bytes=1024)
    slow = connected(market, reads=False)
    slow.drain(100_000)
    slow.subscribe(*symbols)
    controls = len(slow.writer.waiting)
    most = 0
    for _ in range(400):
        slow.drain(512)
        if not slow.writer.waiting:
            break
        most = max(most, len(slow.writer.waiting))
    assert most <= max(controls, 2 * 1024)
    slow.check_current()
    for quantity in range(3):
        market.publish(symbols[0], {-1: 100 + quantity})
        slow.drain(100_000)
    assert next(iter(slow.session.groups)).state is not GroupState.CURSOR_PER_CHANNEL


# --- around the sessions ----------------------------------------------------------------------------------


def test_a_closed_session_leaves_nothing_behind() -> None:
    market = lively_market()
    clients = [connected(market) for _ in range(5)]
    for client in clients:
        client.subscribe("AAA", interval_ms=50)
        client.subscribe("BBB")
    market.publish("AAA", {-1: 4})
    for client in clients:
        market.core.close(client.session)
        market.core.close(client.session)
    flusher = market.core.flusher
    assert not flusher.cohorts
    assert (flusher.split, flusher.due, flusher.joining, flusher.readers) == ({}, {}, {}, {})
    market.grid()
    market.publish("BBB", {-1: 4})
    assert all(not client.take()[4:] for client in clients)
    channels = [c for listing in market.core.market.listings.values() for c in listing.channels.values()]
    assert not flusher.readers
    assert not any(channel.subscribers for channel in channels)


def test_readiness_needs_live_books_once() -> None:
    market = SmallMarket("AAA")
    was_live = [market.core.market.was_live]
    market.heartbeat()
    assert [*was_live, market.core.market.was_live] == [False, True]
    market = SmallMarket()
    assert not market.core.market.was_live
    market.heartbeat()
    assert not market.core.market.was_live, "they may have been registered meanwhile"
    market.list_instruments()
    market.tick()
    assert market.core.market.was_live, "no instruments at all is valid"


def test_without_a_direct_way_a_client_is_sent_the_same() -> None:
    market = SmallMarket("AAA")
    market.heartbeat()
    client = ModelClient(market)

    def none_left() -> Send:
        raise OSError("too many open files")

    client.writer.direct = none_left  # type: ignore[method-assign]
    client.send(op="subscribe", symbols=["AAA"])
    for price in range(1, 6):
        market.publish("AAA", {price: 5})
    assert next(iter(client.session.groups)).state is GroupState.ONE_CURSOR
    assert [message["type"] for message in client.read()][-5:] == ["delta"] * 5


def test_a_short_send_is_completed_by_the_transport_before_anything_else() -> None:
    market = SmallMarket("AAA")
    market.heartbeat()
    client = ModelClient(market)
    taken = client.writer.write
    client.writer.direct = lambda: lambda data: taken(data[:7]) or 7  # type: ignore[method-assign]
    client.send(op="subscribe", symbols=["AAA"])
    for price in range(1, 6):
        market.publish("AAA", {price: 5})
    assert [message["type"] for message in client.read()][-5:] == ["delta"] * 5
