"""Clients of a gateway that was ended resume at another one, also at one that has started after them."""

from typing import Any

import pytest

from tests.integration.gateway_harness import ASKS, BIDS, Client, FakeIngestor, fake_ingestor, running_gateway


async def held(client: Client, symbol: str) -> dict[str, Any]:
    """What a client that comes back offers."""
    newest = [each for each in client.messages if each.get("symbol") == symbol and "digest" in each][-1]
    return {"seq": newest["seq"], "digest": newest["digest"]}


async def market(ingestor: FakeIngestor) -> None:
    await ingestor.birth("AAA", BIDS, ASKS)
    for quantity in range(1, 4):
        await ingestor.publish("AAA", {100: quantity})


@pytest.mark.parametrize("depth", [0, 5, 10])
@pytest.mark.parametrize("began", ["before", "afterwards"])
async def test_at_a_gateway_where_nobody_was_subscribed(
    redis_url: str, prefix: str, depth: int, began: str
) -> None:
    async with fake_ingestor(redis_url, prefix, "AAA") as ingestor:
        await market(ingestor)
        with running_gateway(redis_url, prefix) as first:
            await ingestor.until_live(first)
            async with first.connect() as connection:
                client = Client(connection)
                await client.send(op="subscribe", symbols=["AAA"], depth=depth)
                await client.until("snapshot")
                await client.until_seq("AAA", await ingestor.publish("AAA", {100: 44}, {101: 0}))
                offer = await held(client, "AAA")
            if began == "before":
                with running_gateway(redis_url, prefix) as other:
                    await ingestor.until_live(other)
                    await changes(ingestor)
                    await resumes(other, ingestor, client, depth, offer)
                return
        # Snapshots are newer than what the client holds; the one before the last is not.
        await changes(ingestor)
        await ingestor.snapshot("AAA", beside=True)
        with running_gateway(redis_url, prefix) as fresh:
            await ingestor.until_live(fresh)
            await resumes(fresh, ingestor, client, depth, offer)


async def changes(ingestor: FakeIngestor) -> None:
    await ingestor.publish("AAA", {100: 45, 99: 0})
    await ingestor.publish("AAA", {}, {101: 3})


async def resumes(
    gateway: Any, ingestor: FakeIngestor, old: Client, depth: int, offer: dict[str, Any]
) -> None:
    async with gateway.connect() as connection:
        client = Client(connection)
        client.books = old.books
        await client.send(op="subscribe", symbols=["AAA"], depth=depth, resume={"AAA": offer})
        answer = await client.until("subscribed")
        assert answer["resumed"], answer
        client.books["AAA"].seq = answer["seq"]
        seq = await ingestor.publish("AAA", {100: 46})
        await client.until_seq("AAA", seq)
        assert not [each for each in client.messages if each["type"] == "snapshot"]
    assert gateway.process.core.counters.resumed == 1
