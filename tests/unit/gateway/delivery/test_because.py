"""Why a delta is merged: what held its broadcasts back, and that clients with the same cause share it."""

from typing import Any

import pytest

from depthcast.gateway.delivery.sender import Sender
from depthcast.gateway.market.held_back import FREE, PACED, HeldBack
from depthcast.gateway.protocol.messages import Encoding
from tests.unit.gateway.delivery.parts import MARK_BYTES, Parts
from tests.unit.gateway.fake_writer import FakeWriter
from tests.unit.gateway.model_client import ModelClient, connected
from tests.unit.gateway.small_market import SmallMarket, lively_market

EVERYTHING = 1 << 20


@pytest.fixture
def market() -> SmallMarket:
    return lively_market("AAA", "BBB")


def publish(market: SmallMarket, count: int, symbol: str = "AAA") -> None:
    for _ in range(count):
        market.publish(symbol, {-1: 10 + market.position.n})


def deltas(client: ModelClient) -> list[tuple[str, int, Any]]:
    """Symbol, `merged` and `because` of the deltas received since the last call."""
    found = [message for message in client.take() if message["type"] == "delta"]
    return [(message["symbol"], message["merged"], message.get("because")) for message in found]


def read_all(client: ModelClient) -> None:
    client.writer.reads = True
    client.drain(EVERYTHING)


def test_a_client_that_keeps_up_is_told_nothing(market: SmallMarket) -> None:
    client = connected(market)
    client.subscribe("AAA")
    publish(market, 2)
    assert deltas(client) == [("AAA", 1, None), ("AAA", 1, None)]


def test_a_full_buffer(market: SmallMarket) -> None:
    client = connected(market)
    client.subscribe("AAA")
    client.fill()
    publish(market, 3)
    read_all(client)
    assert deltas(client) == [("AAA", 3, "buffer")]
    client.fill()
    publish(market, 1)
    read_all(client)
    assert deltas(client) == [("AAA", 1, None)], "nothing was merged"


def test_no_credit(market: SmallMarket) -> None:
    client = connected(market)
    client.send(op="credit", messages=1)
    client.subscribe("AAA")
    publish(market, 3)
    client.send(op="credit", messages=9)
    assert deltas(client) == [("AAA", 3, "credit")]


def test_too_little_credit_for_all_broadcasts_of_a_tick(market: SmallMarket) -> None:
    client = connected(market)
    client.send(op="credit", messages=2)
    client.subscribe("AAA")
    for quantity in (11, 12):
        market.publish("AAA", {-1: quantity}, tick=False)
    market.tick()
    assert deltas(client) == [("AAA", 2, "credit")]


def test_an_interval(market: SmallMarket) -> None:
    client = connected(market)
    client.subscribe("AAA", interval_ms=50)
    for _ in range(2):
        publish(market, 3)
        market.grid()
        assert deltas(client) == [("AAA", 3, "interval")]


def test_the_most_severe_cause_is_told(market: SmallMarket) -> None:
    slow, poor = connected(market), connected(market)
    poor.send(op="credit", messages=1)
    for client in (slow, poor):
        client.subscribe("AAA", interval_ms=50)
        market.grid()
    assert deltas(poor) == []
    slow.fill()
    for _ in range(2):
        publish(market, 2)
        market.grid()
    read_all(slow)
    assert deltas(slow) == [("AAA", 4, "buffer")]
    poor.fill()
    publish(market, 1)
    market.grid()
    poor.send(op="credit", messages=9)
    read_all(poor)
    assert deltas(poor) == [("AAA", 5, "buffer")], "a full buffer, no credit, and an interval"
    for client in (slow, poor):
        deltas(client)
    publish(market, 2)
    market.grid()
    assert deltas(slow) == deltas(poor) == [("AAA", 2, "interval")], "that was long ago"


def test_what_came_after_the_buffer_was_full_has_another_cause(market: SmallMarket) -> None:
    client = connected(market)
    client.subscribe("AAA")
    client.subscribe("BBB", interval_ms=50)
    market.grid()
    client.fill()
    publish(market, 2)
    read_all(client)
    publish(market, 2, "BBB")
    market.grid()
    assert deltas(client) == [("AAA", 2, "buffer"), ("BBB", 2, "interval")]


def test_a_client_that_was_away_was_not_held_back(market: SmallMarket) -> None:
    before, client = connected(market), connected(market)
    before.subscribe("AAA")
    client.views, client.seqs, client.digests = dict(before.views), dict(before.seqs), dict(before.digests)
    market.core.close(before.session)
    publish(market, 2)
    held = {"seq": client.seqs["AAA"], "digest": client.digests["AAA"]}
    client.subscribe("AAA", resume={"AAA": held})
    assert deltas(client) == [("AAA", 2, None)]


def test_a_delta_is_encoded_once_for_each_cause(market: SmallMarket) -> None:
    clients = [connected(market) for _ in range(4)]
    for client in clients[2:]:
        client.send(op="credit", messages=1)
    for client in clients:
        client.subscribe("AAA")
    for client in clients[:2]:
        client.fill()
    publish(market, 3)
    before = market.core.counters.delta_encodings
    for client in clients[:2]:
        read_all(client)
    for client in clients[2:]:
        client.send(op="credit", messages=1)
    found = [deltas(client) for client in clients]
    assert found == [[("AAA", 3, "buffer")]] * 2 + [[("AAA", 3, "credit")]] * 2
    assert market.core.counters.delta_encodings == before + 2


def test_one_broadcast_is_the_same_for_all_causes(market: SmallMarket) -> None:
    parts = Parts(market)
    channel = parts.channel()
    parts.broadcast(quantity=4)
    channel.end_tick()
    cursor = channel.head - 1
    alone = channel.catch_up(cursor, Encoding.JSON)
    assert channel.catch_up(cursor, Encoding.JSON, HeldBack(full_at=channel.head)) is alone
    assert channel.catch_up(cursor, Encoding.JSON, PACED) is alone


@pytest.mark.parametrize("encoding", [Encoding.JSON, Encoding.JSON_DEFLATED])
def test_a_merged_delta_is_shared_by_clients_with_the_same_cause(encoding: Encoding) -> None:
    market = lively_market("AAA", deflate_bytes_min=1)
    parts = Parts(market)
    channel = parts.channel()
    cursor = parts.market.number
    for quantity in (4, 5):
        parts.broadcast(quantity=quantity, levels=3)
        channel.end_tick()
    first, last = cursor + 1, parts.market.number
    full = channel.catch_up(cursor, encoding, HeldBack(full_at=first))
    assert channel.catch_up(cursor, encoding, HeldBack(full_at=last, no_credit_at=last)) is full
    paced = channel.catch_up(cursor, encoding, PACED)
    assert channel.catch_up(cursor, encoding, HeldBack(full_at=cursor, paced=True)) is paced
    assert len({full.data, paced.data, channel.catch_up(cursor, encoding).data}) == 3


def test_clients_that_get_equal_bytes_were_held_back_equally() -> None:
    writer, counters = FakeWriter(MARK_BYTES, reads=True), lively_market().core.counters
    sender = Sender(writer, Encoding.JSON, MARK_BYTES, counters)
    assert (sender.held_back(0, 0), sender.held_back(0, 50)) == (FREE, PACED)
    sender.note_not_ready(7)
    assert sender.held_back(0, 0) is FREE, "it was ready"
    sender.credit = 0
    sender.note_not_ready(8)
    sender.full_at = 5
    assert sender.held_back(4, 0) == HeldBack(full_at=5, no_credit_at=8)
    assert sender.held_back(5, 50) == HeldBack(no_credit_at=8, paced=True)
    assert sender.held_back(8, 50) is PACED
    assert [HeldBack(5, 8, paced=True).because(first) for first in (5, 6, 8, 9)] == [
        "buffer", "credit", "credit", "interval",
    ]  # fmt: skip
