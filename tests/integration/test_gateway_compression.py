"""Compression, negotiated and decoded by an independent library; all clients share the bytes."""

import pytest
from websockets.asyncio.client import connect
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.typing import Subprotocol

from tests.integration.gateway_harness import Client, FakeIngestor, RunningGateway, served

LEVELS = dict.fromkeys(range(1, 90), 10**10)


def deflating(gateway: RunningGateway, encoding: str, window_bits: int | None = None) -> connect:
    return connect(
        gateway.ws_url,
        subprotocols=[Subprotocol(f"depthcast.v1.{encoding}")],
        compression=None,
        extensions=[ClientPerMessageDeflateFactory(server_max_window_bits=window_bits)],
    )


async def follow(client: Client, ingestor: FakeIngestor) -> None:
    """A snapshot, a large delta and a small one; each message is applied and its digest compared."""
    await client.send(op="subscribe", symbols=["AAA"], depth=100)
    await client.until("snapshot", symbol="AAA")
    await ingestor.publish("AAA", LEVELS)
    await client.until_seq("AAA", ingestor.books["AAA"].seq)
    await ingestor.publish("AAA", {1: 11})
    await client.until_seq("AAA", ingestor.books["AAA"].seq)


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
async def test_clients_that_compress_share_the_bytes(redis_url: str, prefix: str, encoding: str) -> None:
    async with (
        served(redis_url, prefix) as (gateway, ingestor),
        deflating(gateway, encoding) as one,
        deflating(gateway, encoding) as other,
    ):
        for connection in (one, other):
            offered = connection.protocol.extensions
            assert [extension.name for extension in offered] == ["permessage-deflate"]
        clients = [Client(one), Client(other)]
        await clients[1].send(op="subscribe", symbols=["AAA"], depth=100)
        await clients[1].until("snapshot", symbol="AAA")
        await follow(clients[0], ingestor)
        await clients[1].until_seq("AAA", ingestor.books["AAA"].seq)
        counters = gateway.process.core.counters
        assert counters.deflated == 1, "the large delta, once for both; the rest is too small"
        assert counters.deflated_bytes_saved > 0


async def test_a_size_of_zero_negotiates_nothing(redis_url: str, prefix: str) -> None:
    async with (
        served(redis_url, prefix, deflate_bytes_min=0) as (gateway, ingestor),
        deflating(gateway, "json") as connection,
    ):
        assert connection.protocol.extensions == []
        await follow(Client(connection), ingestor)
        assert gateway.process.core.counters.deflated == 0


async def test_a_client_that_wants_a_smaller_window_gets_plain_messages(redis_url: str, prefix: str) -> None:
    async with (
        served(redis_url, prefix) as (gateway, ingestor),
        deflating(gateway, "json", window_bits=10) as connection,
    ):
        assert connection.protocol.extensions == []
        await follow(Client(connection), ingestor)
        assert gateway.process.core.counters.deflated == 0
