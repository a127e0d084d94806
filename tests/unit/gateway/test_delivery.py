"""What sessions are sent, and when: states, resumes, credit, intervals, slow clients, heartbeats, time-outs."""

from typing import Any

from depthcast.gateway.delivery.writer import Send
from depthcast.shared.close_codes import CloseCode
from tests.unit.gateway.market import Market, ModelClient, Published, connected, kinds, lively_market

# --- states -----------------------------------------------------------------------------------------------------------


def test_a_symbol_without_a_book_is_stale_until_it_comes() -> None:
    made = lively_market()
    made.books["NEW"] = Published(7)
    made.list_instruments()
    made.load("NEW")
    made.tick()
    client = connected(made)
    assert kinds(client.subscribe("NEW")) == ["subscribed", "status"]
    delta = made.books["NEW"].move({-1: 1}, {})
    made.apply(made.entry({"NEW": delta._replace(prev_seq=0)}))
    made.tick()
    snapshot, status = client.read()
    assert (snapshot["type"], snapshot["bids"]) == ("snapshot", [[-1, 1]])
    assert (status["type"], status["state"]) == ("status", "live")


def test_silence_makes_stale_and_a_broadcast_makes_live() -> None:
    made = lively_market(stale_ms=5000)
    before, after = connected(made), connected(made)
    before.subscribe("AAA", "BBB")
    made.now += 5.1
    made.tick()
    assert [(m["symbol"], m["state"]) for m in before.take()[-2:]] in (
        [("AAA", "stale"), ("BBB", "stale")], [("BBB", "stale"), ("AAA", "stale")],
    )  # fmt: skip
    assert kinds(after.subscribe("AAA")) == ["subscribed", "snapshot", "status"]
    made.tick()
    assert before.read() == after.read() == []
    made.publish("AAA", {-1: 1})
    assert sorted(kinds(before.read())) == ["delta", "status", "status"]
    assert kinds(after.read()) == ["delta", "status"]
    assert set(before.states.values()) == {"live"}


def test_a_slow_client_is_told_of_a_state_only_if_it_differs_in_the_end() -> None:
    made = lively_market(stale_ms=5000, write_buffer_bytes=1024)
    client = connected(made, capacity=0)
    client.drain(10_000)
    client.subscribe("AAA")
    client.drain(10_000)
    client.outlet.paused = True
    for wait in (6, 0):
        made.now += wait
        made.tick() if wait else made.heartbeat()
    client.outlet.paused = False
    client.session.serve()
    client.drain(10_000)
    assert "status" not in kinds(client.take())
    client.outlet.paused = True
    made.now += 6
    made.tick()
    client.outlet.paused = False
    client.session.serve()
    client.drain(10_000)
    assert client.states == {"AAA": "stale"}


def test_a_gap_is_stale_until_the_snapshot() -> None:
    made = lively_market()
    client = connected(made)
    client.subscribe("AAA")
    client.take()
    made.lose("AAA")
    made.publish("AAA", {-1: 1})
    assert [m["state"] for m in client.take()] == ["stale"]
    made.load()
    made.tick()
    assert [(m["type"], m.get("state")) for m in client.take()] == [("snapshot", None), ("status", "live")]
    assert made.core.counters.replaced == 1


def test_a_gap_that_changed_nothing_in_the_view_sends_no_snapshot() -> None:
    made = lively_market()
    client = connected(made)
    client.subscribe("AAA", depth=1)
    client.take()
    made.lose("AAA")
    made.publish("AAA", {-3: 1})
    made.load()
    made.tick()
    assert kinds(client.take()) == ["status", "status"]
    made.publish("AAA", {-1: 1})
    assert kinds(client.take()) == ["delta"]


# --- resume -----------------------------------------------------------------------------------------------------------


def resumed(made: Market, old: ModelClient, **change: int) -> list[dict[str, Any]]:
    new = connected(made)
    new.views, new.seqs = old.views, old.seqs
    state = {"seq": old.seqs["AAA"], "digest": old.digests["AAA"]} | change
    return new.subscribe("AAA", resume={"AAA": state})


def test_resume_at_the_head_and_behind_it() -> None:
    made = lively_market()
    old = connected(made)
    old.subscribe("AAA")
    seq = old.seqs["AAA"]
    made.core.close(old.session)
    [subscribed] = resumed(made, old)
    assert (subscribed["resumed"], subscribed["seq"]) == (True, seq)
    for quantity in (4, 3):
        made.publish("AAA", {-1: quantity})
    subscribed, delta = resumed(made, old)
    assert (subscribed["resumed"], subscribed["seq"]) == (True, seq)
    assert (delta["prev_seq"], delta["merged"], delta["bids"]) == (seq, 2, [[-1, 3]])


def test_resume_with_another_digest_or_of_another_gateway() -> None:
    made = lively_market()
    old = connected(made)
    old.subscribe("AAA")
    assert kinds(resumed(made, old, digest=1)) == ["subscribed", "snapshot"]
    # A seq this gateway never had: the newest before it counts, or the oldest.
    assert resumed(made, old, seq=old.seqs["AAA"] + 5)[0]["resumed"]
    assert resumed(made, old, seq=1)[0]["resumed"]


def test_resume_of_a_stale_symbol_says_so() -> None:
    made = lively_market(stale_ms=1000)
    old = connected(made)
    old.subscribe("AAA")
    made.now += 2
    made.tick()
    assert kinds(resumed(made, old)) == ["subscribed", "status"]


def test_a_channel_lingers_for_those_who_resume() -> None:
    made = lively_market(channel_linger_s=10)
    client = connected(made)
    client.subscribe("AAA")
    made.core.close(client.session)
    for wait in (0, 9):
        made.now += wait
        made.core.sweep(made.now)
    assert made.core.hub.listings["AAA"].channels
    made.now += 1
    made.core.sweep(made.now)
    assert not made.core.hub.listings["AAA"].channels


# --- credit and intervals ---------------------------------------------------------------------------------------------


def test_credit_counts_snapshots_and_deltas_only() -> None:
    made = lively_market()
    client = connected(made)
    client.send(op="credit", messages=1)
    assert kinds(client.subscribe("AAA", "BBB")) == ["subscribed", "subscribed", "snapshot"]
    for quantity in (4, 3, 2):
        made.publish("AAA", {-1: quantity})
    assert client.send(op="ping")[0]["type"] == "pong"
    [snapshot] = client.send(op="credit", messages=1)
    assert (snapshot["symbol"], snapshot["type"]) == ("BBB", "snapshot"), "it waited longest"
    [delta] = client.send(op="credit", messages=5)
    assert (delta["symbol"], delta["merged"]) == ("AAA", 3)
    assert client.session.credit == 4
    assert client.session.lanes[0].cursors is None


def test_the_symbol_that_waited_longest_goes_first_in_any_interval() -> None:
    made = lively_market("AAA", "BBB", "CCC")
    client = connected(made)
    client.send(op="credit", messages=3)
    client.subscribe("AAA", "BBB")
    client.subscribe("CCC", interval_ms=50)
    for symbol in ("CCC", "BBB", "AAA", "CCC", "BBB"):
        made.publish(symbol, {-1: made.position.n + 100})
    made.grid()
    order = [client.send(op="credit", messages=1)[0]["symbol"] for _ in range(3)]
    assert order == ["CCC", "BBB", "AAA"]


def test_states_need_no_credit() -> None:
    made = lively_market(stale_ms=1000)
    client = connected(made)
    client.send(op="credit", messages=1)
    client.subscribe("AAA")
    client.take()
    made.publish("AAA", {-1: 4})
    made.now += 2
    made.tick()
    assert kinds(client.take()) == ["status"]


def test_an_interval_sends_the_net_change_on_the_grid_then_is_silent() -> None:
    made = lively_market()
    client = connected(made)
    assert kinds(client.subscribe("AAA", interval_ms=50)) == ["subscribed", "snapshot"]
    made.grid()
    client.take()
    for quantity in (4, 3):
        made.publish("AAA", {-1: quantity})
    assert client.read() == []
    assert made.alarms == [50]
    made.grid()
    assert [message["merged"] for message in client.take()] == [2]
    assert made.alarms == []


def test_one_interval_and_one_set_of_symbols_share_their_bytes() -> None:
    made = lively_market()
    clients = [connected(made) for _ in range(50)]
    for client in clients:
        client.subscribe("AAA", "BBB", interval_ms=50)
    made.publish("AAA", {-1: 4})
    made.publish("BBB", {-1: 4})
    before = made.core.counters.delta_encodings
    made.grid()
    assert made.core.counters.delta_encodings - before == 2
    assert len(made.core.flusher.cohorts) == 1
    writes = {client.outlet.writes for client in clients}
    assert len(writes) == 1
    assert all(kinds(client.take())[-2:] == ["delta", "delta"] for client in clients)


# --- slow clients -----------------------------------------------------------------------------------------------------


def test_a_slow_client_costs_a_cursor_and_gets_the_last_change_when_it_drains() -> None:
    made = lively_market(write_buffer_bytes=1024)
    slow = connected(made, capacity=0)
    slow.drain(100_000)
    slow.subscribe("AAA")
    for number in range(500):
        made.publish("AAA", {-1: number + 1})
    assert slow.outlet.most_waiting < 2048
    slow.drain(100_000)
    slow.drain(100_000)
    slow.check_current()
    assert made.core.counters.conflated > 200


def test_many_snapshots_go_out_as_the_client_drains() -> None:
    symbols = [f"S{number}" for number in range(100)]
    made = lively_market(*symbols, write_buffer_bytes=1024)
    slow = connected(made, capacity=0)
    slow.drain(100_000)
    slow.subscribe(*symbols)
    controls = len(slow.outlet.waiting)
    most = 0
    for _ in range(400):
        slow.drain(512)
        if not slow.outlet.waiting:
            break
        most = max(most, len(slow.outlet.waiting))
    assert most <= max(controls, 2 * 1024)
    slow.check_current()
    assert slow.session.lanes[0].cursors is None


# --- time -------------------------------------------------------------------------------------------------------------


def test_heartbeat_when_nothing_else_was_sent() -> None:
    made = lively_market(heartbeat_ms=1000)
    client = connected(made)
    client.subscribe("AAA")
    for _ in range(3):
        made.now += 0.5
        made.core.sweep(made.now)
    assert kinds(client.take())[-1] == "heartbeat"
    made.publish("AAA", {-1: 4})
    made.now += 0.9
    made.core.sweep(made.now)
    assert kinds(client.take()) == ["delta"]


def test_a_client_that_reads_nothing_is_too_slow() -> None:
    made = lively_market(stall_timeout_s=10, subscribe_timeout_s=100, heartbeat_ms=600_000)
    client = connected(made, capacity=0)
    made.now += 9
    assert made.core.sweep(made.now) == []
    client.drain(5)
    made.now += 9
    assert made.core.sweep(made.now) == []
    made.now += 10
    assert made.core.sweep(made.now) == [(client.session, CloseCode.TOO_SLOW)]


def test_waiting_for_credit_is_no_stall() -> None:
    made = lively_market(stall_timeout_s=10, heartbeat_ms=600_000)
    client = connected(made)
    client.send(op="credit", messages=1)
    client.subscribe("AAA")
    made.publish("AAA", {-1: 4})
    made.now += 100
    assert made.core.sweep(made.now) == []


def test_a_client_that_never_subscribed_is_silent() -> None:
    made = lively_market(subscribe_timeout_s=10)
    client, silent = connected(made), connected(made)
    client.subscribe("AAA")
    client.send(op="unsubscribe", symbols=["AAA"])
    for wait, expected in ((9, []), (1, [(silent.session, CloseCode.SILENT)])):
        made.now += wait
        assert made.core.sweep(made.now) == expected


def test_a_closed_session_leaves_nothing_behind() -> None:
    made = lively_market()
    clients = [connected(made) for _ in range(5)]
    for client in clients:
        client.subscribe("AAA", interval_ms=50)
        client.subscribe("BBB")
    made.publish("AAA", {-1: 4})
    for client in clients:
        made.core.close(client.session)
        made.core.close(client.session)
    flusher = made.core.flusher
    assert not flusher.cohorts
    assert not any(flusher.loose.values())
    made.grid()
    made.publish("BBB", {-1: 4})
    assert all(not client.take()[4:] for client in clients)
    channels = [c for listing in made.core.hub.listings.values() for c in listing.channels.values()]
    assert all(not channel.cohorts and not channel.subscribers for channel in channels)


def test_readiness_needs_live_books_once() -> None:
    made = Market("AAA")
    assert made.core.hub.was_live
    made = Market()
    assert not made.core.hub.was_live
    made.heartbeat()
    assert not made.core.hub.was_live, "they may have been registered meanwhile"
    made.list_instruments()
    made.tick()
    assert made.core.hub.was_live, "no instruments at all is valid"


def test_without_a_direct_way_a_client_is_sent_the_same() -> None:
    made = Market("AAA")
    client = made.connect()

    def none_left() -> Send:
        raise OSError("too many open files")

    client.outlet.direct = none_left  # type: ignore[method-assign]
    client.send(op="subscribe", symbols=["AAA"])
    for price in range(1, 6):
        made.publish("AAA", {price: 5})
    assert not client.session.lanes[0].in_step
    assert [message["type"] for message in client.read()][-5:] == ["delta"] * 5


def test_a_short_send_is_completed_by_the_transport_before_anything_else() -> None:
    made = Market("AAA")
    client = made.connect()
    taken = client.outlet.write
    client.outlet.direct = lambda: lambda data: taken(data[:7]) or 7  # type: ignore[method-assign]
    client.send(op="subscribe", symbols=["AAA"])
    for price in range(1, 6):
        made.publish("AAA", {price: 5})
    assert [message["type"] for message in client.read()][-5:] == ["delta"] * 5
