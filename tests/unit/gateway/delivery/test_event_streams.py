"""Event streams are sessions like others: the same messages, shared bytes, conflation, resumption by id."""

import random
from typing import Any

from depthcast.gateway.delivery.subscription_group import GroupState
from depthcast.gateway.protocol.messages import Encoding
from tests.unit.gateway.model_client import connected, kinds
from tests.unit.gateway.small_market import START, OrdersMarket, Published, lively_market, random_changes
from tests.unit.gateway.stream_client import StreamClient


def of(messages: list[dict[str, Any]], *wanted: str) -> list[dict[str, Any]]:
    return [message for message in messages if message["type"] in wanted]


def test_a_stream_has_the_messages_of_a_websocket() -> None:
    market, rng = lively_market(), random.Random(7)
    websocket = connected(market)
    websocket.subscribe("AAA", "BBB", depth=5)
    stream = StreamClient(market, "symbols=AAA,BBB&depth=5")
    assert kinds(stream.read())[0] == "welcome"
    for number in range(200):
        symbol = rng.choice(("AAA", "BBB"))
        market.publish(symbol, *random_changes(rng, market.books[symbol]), tick=number % 3 > 0)
    market.relist("AAA", 1, "0.5")
    market.publish("AAA", {-1: 1})
    market.doubt("BBB", "gap")
    market.now += 100
    market.heartbeat()
    said = websocket.take()
    assert set(kinds(said)) == {"subscribed", "snapshot", "delta", "status"}
    assert stream.take()[1:] == said
    stream.check_current()


def test_the_bytes_are_made_once_for_all_streams() -> None:
    market = lively_market()
    streams = [StreamClient(market, "symbols=AAA&depth=5") for _ in range(10)]
    market.tick()
    before = market.core.counters.delta_encodings
    for quantity in range(1, 6):
        market.publish("AAA", {-1: 10 + quantity})
    assert market.core.counters.delta_encodings - before == 5
    assert {client.writer.taken[-200:].hex() for client in streams} == {streams[0].writer.taken[-200:].hex()}
    (cohort,) = market.core.flusher.cohorts.values()
    assert cohort.key.encoding is Encoding.EVENTS
    assert {group.state for group in cohort.synced} == {GroupState.SYNCED}
    assert len(cohort.synced) == 10


def test_a_stream_that_nobody_reads_conflates_and_never_grows() -> None:
    market, rng = lively_market(write_buffer_bytes=1024), random.Random(3)
    stream = StreamClient(market, "symbols=AAA,BBB&depth=10", reads=False)
    for _ in range(1000):
        for symbol in ("AAA", "BBB"):
            market.publish(symbol, *random_changes(rng, market.books[symbol]))
    assert stream.writer.most_waiting < 4096
    for _ in range(20):
        stream.drain(4096)
    stream.check_current()
    assert len(of(stream.messages, "delta", "snapshot")) < 20
    assert market.core.counters.conflated > 100


def test_a_browser_comes_back_with_the_last_id_and_resumes() -> None:
    market = lively_market()
    stream = StreamClient(market, "symbols=AAA&depth=5")
    market.publish("AAA", {-1: 9})
    stream.read()
    market.publish("AAA", {-1: 8})
    market.publish("AAA", {-4: 1})
    again = stream.again()
    again.read()
    [subscribed] = of(again.messages, "subscribed")
    [delta] = of(again.messages, "snapshot", "delta")
    assert subscribed["resumed"]
    assert (delta["type"], delta["prev_seq"], delta["merged"]) == ("delta", stream.seqs["AAA"], 2)
    again.check_current()
    assert market.core.counters.resumed == 1


def test_of_several_symbols_those_resume_whose_ids_are_offered() -> None:
    market = lively_market()
    stream = StreamClient(market, "symbols=AAA,BBB&depth=5")
    stream.read()
    ids = [event.last_id for event in stream.events if event.message["type"] == "snapshot"]
    market.publish("AAA", {-1: 9})
    market.publish("BBB", {-1: 9})
    one, both = stream.again(), stream.again(",".join(ids))
    for client, resumed in ((one, 1), (both, 2)):
        client.read()
        assert sum(message["resumed"] for message in of(client.messages, "subscribed")) == resumed
        assert len(of(client.messages, "snapshot")) == 2 - resumed
        client.check_current()


def counted_market() -> OrdersMarket:
    """An orders feed, and a levels feed beside it."""
    made = OrdersMarket("AAA")
    made.books["LVL"] = Published(START.epoch)
    made.list_instruments()
    made.load()
    made.publish("AAA", {-1: 5, -2: 6, -3: 7}, {1: 8, 2: 9})
    return made


def test_with_the_number_of_orders_it_has_the_messages_of_a_websocket_too() -> None:
    market, rng = counted_market(), random.Random(5)
    websocket = connected(market)
    websocket.subscribe("LVL", "AAA", depth=5, orders=True)
    stream = StreamClient(market, "symbols=LVL,AAA&depth=5&orders=true")
    for _ in range(100):
        market.publish("AAA", *random_changes(rng, market.books["AAA"]))
    said = websocket.take()
    assert stream.take()[1:] == said
    assert [(error["symbol"], error["code"]) for error in of(said, "error")] == [("LVL", "no_orders")]
    assert all("orders_digest" in message for message in of(said, "snapshot", "delta"))
    assert len(of(said, "delta")) > 50
    stream.check_current()


def test_with_the_number_of_orders_it_resumes_by_both_digests() -> None:
    market = counted_market()
    connected(market).subscribe("AAA", depth=5)
    stream = StreamClient(market, "symbols=AAA&depth=5&orders=true")
    stream.read()
    last_id = stream.source.last_id
    levels, _, orders_digest = last_id.rpartition(":")
    market.publish("AAA", {-1: 9})
    offered = {last_id: True, levels: False, f"{levels}:{int(orders_digest) ^ 1}": False}
    for offer, resumed in offered.items():
        again = stream.again(offer)
        again.read()
        [subscribed] = of(again.messages, "subscribed")
        assert (subscribed["orders"], subscribed["resumed"]) == (True, resumed)
        assert kinds(of(again.messages, "snapshot", "delta")) == ["delta" if resumed else "snapshot"]
        again.check_current()
    without = StreamClient(market, "symbols=AAA&depth=5", last_id)
    without.views, without.seqs = stream.views, stream.seqs
    assert of(without.read(), "subscribed")[0]["resumed"], "who does not ask for it takes no notice of it"
    without.check_current()


def test_an_id_of_another_book_brings_a_snapshot() -> None:
    market = lively_market()
    stream = StreamClient(market, "symbols=AAA&depth=5")
    stream.read()
    symbol, seq, digest = stream.source.last_id.split(":")
    for wrong in (
        f"{symbol}:{seq}:{int(digest) ^ 1}",
        f"BBB:{seq}:{digest}",
        "AAA:0:1",
        "of another service",
    ):
        again = stream.again(wrong)
        again.read()
        assert [message["resumed"] for message in of(again.messages, "subscribed")] == [False]
        assert kinds(of(again.messages, "snapshot", "delta")) == ["snapshot"]


def test_what_has_ended_is_not_offered() -> None:
    market = lively_market()
    relisted, removed = (StreamClient(market, f"symbols={symbol}&depth=5") for symbol in ("AAA", "BBB"))
    for client in (relisted, removed):
        client.read()
        assert client.source.last_id
    market.relist("AAA", 1, "0.5")
    del market.books["BBB"]
    market.list_instruments()
    relisted.read()
    [before, after] = [event for event in relisted.events if event.message["type"] == "subscribed"]
    assert (before.last_id, after.last_id) == ("", "")
    assert relisted.source.last_id.split(":")[1] == str(market.books["AAA"].seq)
    assert removed.read()[-1]["type"] == "unsubscribed"
    assert removed.source.last_id == ""


def test_heartbeats_are_events_of_their_own_name() -> None:
    market = lively_market()
    stream = StreamClient(market, "symbols=AAA&depth=5")
    stream.read()
    last_id = stream.source.last_id
    for _ in range(2):
        market.now += market.core.settings.heartbeat_ms / 1000
        market.core.sweep(market.now)
    assert kinds(stream.read()) == ["heartbeat"]
    assert (stream.events[-1].type, stream.events[-1].last_id) == ("heartbeat", last_id)


def test_symbols_that_cannot_be_served_are_named_beside_the_others() -> None:
    market = lively_market(subscriptions_max=1)
    stream = StreamClient(market, "symbols=NOPE,AAA,BBB&depth=5")
    stream.read()
    errors = of(stream.messages, "error")
    assert [(error["symbol"], error["code"]) for error in errors] == [
        ("NOPE", "unknown_symbol"), ("BBB", "limit"),
    ]  # fmt: skip
    stream.check_current()
