"""The WebSocket protocol against a real server, with an independent client library."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from depthcast.runtime.embedded import EmbeddedServer
from tests.integration.gateway_harness import (
    ASKS,
    BIDS,
    FakeIngestor,
    RunningGateway,
    client_of,
    fake_ingestor,
    running_gateway,
    served,
)
from tests.waiting import eventually

NONE: dict[int, int] = {}


@pytest.fixture
def settings() -> dict[str, Any]:
    """Settings of the gateway of a test; parametrize it to change them."""
    return {}


@pytest.fixture
async def served_market(
    redis_url: str, prefix: str, settings: dict[str, Any]
) -> AsyncIterator[tuple[RunningGateway, FakeIngestor]]:
    async with served(redis_url, prefix, **settings) as both:
        yield both


@pytest.fixture
def gateway(served_market: tuple[RunningGateway, FakeIngestor]) -> RunningGateway:
    return served_market[0]


@pytest.fixture
def ingestor(served_market: tuple[RunningGateway, FakeIngestor]) -> FakeIngestor:
    return served_market[1]


def with_settings(**settings: Any) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("settings", [settings])


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
async def test_subscribe_and_follow(gateway: RunningGateway, ingestor: FakeIngestor, encoding: str) -> None:
    async with client_of(gateway, encoding) as client:
        assert client.connection.subprotocol == f"depthcast.v1.{encoding}"
        await client.send(op="subscribe", symbols=["AAA"], depth=1, id="x")
        subscribed = await client.receive()
        assert (subscribed["type"], subscribed["id"], subscribed["tick_size"]) == ("subscribed", "x", "0.01")
        await client.until("snapshot", symbol="AAA")
        await ingestor.publish("AAA", {99: 1}, {})
        seq = await ingestor.publish("AAA", {100: 0}, {})
        delta = await client.until_seq("AAA", seq)
        assert (delta["bids"], delta["merged"]) == ([[100, 0], [99, 1]], 1)


async def test_without_a_subprotocol_it_is_json(gateway: RunningGateway) -> None:
    async with connect(gateway.ws_url) as connection:
        assert connection.subprotocol is None
        assert '"welcome"' in str(await connection.recv())
    async with connect(gateway.ws_url, subprotocols=[Subprotocol("other")]) as connection:
        assert connection.subprotocol is None


async def test_several_entries_in_one_read_are_each_a_delta(
    gateway: RunningGateway, ingestor: FakeIngestor
) -> None:
    async with client_of(gateway) as client:
        await client.send(op="subscribe", symbols=["AAA"], depth=0)
        await client.until("snapshot")
        seq = 0
        for quantity in range(200):
            seq = await ingestor.publish("AAA", {100: quantity + 1}, {101: quantity % 3})
        await client.until_seq("AAA", seq)
        deltas = [message for message in client.messages if message["type"] == "delta"]
        assert len(deltas) == 200
        assert {message["merged"] for message in deltas} == {1}


async def test_every_op_and_error(gateway: RunningGateway) -> None:
    async with client_of(gateway) as client:
        requests: list[tuple[dict[str, Any], str]] = [
            ({"op": "subscribe", "symbols": []}, "bad_request"),
            ({"op": "nonsense"}, "unknown_op"),
            ({"op": "auth", "token": "x"}, "unknown_op"),
            ({"op": "subscribe", "symbols": ["NOPE"]}, "unknown_symbol"),
            ({"op": "subscribe", "symbols": ["AAA"], "depth": 7}, "bad_depth"),
            ({"op": "subscribe", "symbols": ["AAA"], "interval_ms": -1}, "bad_interval"),
            ({"op": "subscribe", "symbols": ["AAA"], "group": 0}, "bad_group"),
            ({"op": "unsubscribe", "symbols": ["AAA"]}, "not_subscribed"),
        ]
        for number, (request, code) in enumerate(requests):
            await client.send(**request, id=number)
            error = await client.receive()
            assert (error["type"], error["code"], error["id"]) == ("error", code, number)
        await client.send(op="ping", id=1)
        assert (await client.receive())["type"] == "pong"
        await client.send(op="subscribe", symbols=["*"], depth=5)
        await client.until("snapshot", symbol="BBB")
        await client.send(op="unsubscribe", symbols=["AAA"])
        assert (await client.until("unsubscribed"))["symbol"] == "AAA"


@with_settings(wildcard=False, subscriptions_max=1, full_depth_max=2)
async def test_forbidden_and_limits(gateway: RunningGateway) -> None:
    async with client_of(gateway) as client:
        await client.send(op="subscribe", symbols=["*"])
        assert (await client.receive())["code"] == "forbidden"
        await client.send(op="subscribe", symbols=["AAA"], depth=0)
        assert (await client.receive())["code"] == "limit"
        await client.send(op="subscribe", symbols=["AAA", "BBB"])
        assert (await client.until("error"))["symbol"] == "BBB"


async def test_before_anything_exists(redis_url: str, prefix: str) -> None:
    with running_gateway(redis_url, prefix) as running:
        async with client_of(running) as client:
            await client.send(op="subscribe", symbols=["AAA"], id=1)
            assert (await client.receive())["code"] == "unavailable"
            async with fake_ingestor(redis_url, prefix, "AAA") as ingestor:
                await ingestor.birth("AAA", BIDS, ASKS)
                await ingestor.until_live(running)
                await client.send(op="subscribe", symbols=["AAA"], id=2)
                assert (await client.until("snapshot"))["bids"] == [[100, 5], [99, 6], [98, 7]]


async def test_later_and_removed_symbols(gateway: RunningGateway, ingestor: FakeIngestor) -> None:
    async with client_of(gateway) as client:
        await client.send(op="subscribe", symbols=["*"])
        await client.until("snapshot", symbol="BBB")
        await ingestor.register("CCC")
        await client.until("subscribed", symbol="CCC")
        assert (await client.until("status", symbol="CCC"))["state"] == "stale"
        await ingestor.birth("CCC", BIDS, ASKS)
        await client.until("snapshot", symbol="CCC")
        await client.until("status", symbol="CCC", state="live")
        await ingestor.unregister("AAA")
        assert (await client.until("unsubscribed", symbol="AAA"))["reason"] == "removed"


@with_settings(stale_ms=300)
async def test_stale_and_live_again(gateway: RunningGateway, ingestor: FakeIngestor) -> None:
    async with client_of(gateway) as client:
        await client.send(op="subscribe", symbols=["AAA"])
        await client.until("status", symbol="AAA", state="stale")
        seq = await ingestor.publish("AAA", {100: 1})
        await client.until_seq("AAA", seq)
        await client.until("status", symbol="AAA", state="live")


async def test_a_gap_is_mended_by_the_next_snapshot(gateway: RunningGateway, ingestor: FakeIngestor) -> None:
    async with client_of(gateway) as client:
        await client.send(op="subscribe", symbols=["AAA"], depth=0)
        await client.until("snapshot")
        book = ingestor.books["AAA"]
        lost = ingestor._move("AAA", {100: 77}, {})
        assert lost.seq == book.seq
        seq = await ingestor.publish("AAA", {99: 78})
        await client.until("status", state="stale")
        await ingestor.snapshot("AAA")
        snapshot = await client.until("snapshot")
        assert (snapshot["seq"], snapshot["bids"][:2]) == (seq, [[100, 77], [99, 78]])
        await client.until("status", state="live")
        assert gateway.process.market_reader.gaps == 1


async def test_several_partitions_go_out_together(redis_url: str, prefix: str) -> None:
    symbols = [f"S{number}" for number in range(12)]
    async with fake_ingestor(redis_url, prefix, *symbols, partitions=4) as ingestor:
        for symbol in symbols:
            await ingestor.birth(symbol, BIDS, ASKS)
        with running_gateway(redis_url, prefix) as running:
            await ingestor.until_live(running)
            async with client_of(running) as client:
                await client.send(op="subscribe", symbols=["*"], depth=0)
                for symbol in symbols:
                    await client.until_seq(symbol, ingestor.books[symbol].seq)
                for quantity in range(50):
                    await ingestor.publish_many({symbol: ({100: quantity + 10}, NONE) for symbol in symbols})
                for symbol in symbols:
                    await client.until_seq(symbol, ingestor.books[symbol].seq)
                deltas = [message for message in client.messages if message["type"] == "delta"]
                assert len(deltas) == 50 * len(symbols)
                assert {message["merged"] for message in deltas} == {1}


async def test_redis_goes_away_and_comes_back() -> None:
    with EmbeddedServer(append_only=True, options={"appendfsync": "always"}) as server:
        async with fake_ingestor(server.url, "depthcast", "AAA") as ingestor:
            await ingestor.birth("AAA", BIDS, ASKS)
            with running_gateway(server.url, "depthcast", stale_ms=300) as running:
                async with ingestor.beating():
                    await eventually(lambda: running.process.core.market.was_live)
                await restart_under(running, server, ingestor)


async def restart_under(running: RunningGateway, server: EmbeddedServer, ingestor: FakeIngestor) -> None:
    async with client_of(running) as client:
        await client.send(op="subscribe", symbols=["AAA"])
        await client.until("snapshot")
        await client.until("status", state="stale")
        await asyncio.to_thread(server.restart)
        await eventually(lambda: running.process.market_reader.followers[0].outages)
        seq = await ingestor.publish("AAA", {100: 4})
        await client.until_seq("AAA", seq)
        async with ingestor.beating():
            await client.until("status", state="live")


# --- credit, intervals, resume ----------------------------------------------------------------------------


async def test_credit(gateway: RunningGateway, ingestor: FakeIngestor) -> None:
    async with client_of(gateway) as client:
        await client.send(op="credit", messages=1)
        await client.send(op="subscribe", symbols=["AAA"])
        await client.until("snapshot")
        seq = 0
        for quantity in range(5):
            seq = await ingestor.publish("AAA", {100: quantity + 10})
        await eventually(lambda: gateway.process.core.market.listings["AAA"].channels[25].head)
        await eventually(lambda: _seen(gateway, "AAA") == seq)
        await client.send(op="ping")
        assert (await client.receive())["type"] == "pong"
        await client.send(op="credit", messages=1)
        delta = await client.receive()
        assert (delta["merged"], delta["seq"]) == (5, seq)


def _seen(gateway: RunningGateway, symbol: str) -> int:
    view = gateway.process.core.market.listings[symbol].channels[25].view
    return view.seq if view is not None else 0


async def test_an_interval_brings_the_last_change_within_it(
    gateway: RunningGateway, ingestor: FakeIngestor
) -> None:
    async with client_of(gateway) as client:
        await client.send(op="subscribe", symbols=["AAA"], interval_ms=200)
        assert (await client.until("subscribed"))["interval_ms"] == 200
        await client.until("snapshot")
        seq = 0
        for quantity in range(20):
            seq = await ingestor.publish("AAA", {100: quantity + 10})
        loop = asyncio.get_running_loop()
        began = loop.time()
        await client.until_seq("AAA", seq)
        assert loop.time() - began < 2.0
        deltas = [message for message in client.messages if message["type"] == "delta"]
        assert sum(message["merged"] for message in deltas) == 20
        assert len(deltas) < 10


async def test_resume(gateway: RunningGateway, ingestor: FakeIngestor) -> None:
    async with client_of(gateway) as client:
        await client.send(op="subscribe", symbols=["AAA"])
        snapshot = await client.until("snapshot")
    seq = 0
    for quantity in (11, 12):
        seq = await ingestor.publish("AAA", {100: quantity})
    async with client_of(gateway) as again:
        again.books = client.books
        state = {"seq": snapshot["seq"], "digest": snapshot["digest"]}
        await again.send(op="subscribe", symbols=["AAA"], resume={"AAA": state})
        subscribed = await again.receive()
        assert (subscribed["resumed"], subscribed["seq"]) == (True, snapshot["seq"])
        await again.until_seq("AAA", seq)
        assert all(message["type"] != "snapshot" for message in again.messages)
    async with client_of(gateway) as third:
        await third.send(op="subscribe", symbols=["AAA"], resume={"AAA": {"seq": seq, "digest": 1}})
        assert (await third.receive())["resumed"] is False
        assert (await third.receive())["type"] == "snapshot"
