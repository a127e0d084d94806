"""What HTTP requests may cost a gateway: so many at a time and a second, and answers that nobody reads."""

import asyncio
import socket
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import aiohttp
import pytest

from depthcast.shared.digest import digest_of
from tests.integration.gateway_harness import FakeIngestor, RunningGateway, running_gateway
from tests.waiting import eventually

LEVELS = 4_000


@pytest.fixture
async def ingestor(redis_url: str, prefix: str) -> AsyncIterator[FakeIngestor]:
    """A publisher of one book of many levels."""
    made = await FakeIngestor(redis_url, prefix).create("AAA")
    side = range(1, LEVELS + 1)
    await made.birth("AAA", {-price: 5 for price in side}, dict.fromkeys(side, 6))
    yield made
    await made.redis.aclose()


def unread(gateway: RunningGateway) -> socket.socket:
    """A client that asks for the whole book, and reads nothing of it."""
    address = urlsplit(gateway.url)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect((address.hostname, address.port))
    client.sendall(b"GET /v1/books/AAA?depth=0 HTTP/1.1\r\nHost: x\r\n\r\n")
    return client


async def test_requests_beyond_the_rate_are_told_when_to_come_again(
    redis_url: str, prefix: str, ingestor: FakeIngestor
) -> None:
    with running_gateway(redis_url, prefix, http_requests_per_s=6) as gateway:
        await ingestor.until_live(gateway)
        async with aiohttp.ClientSession(gateway.url) as http:
            answers = []
            for _ in range(60):
                async with http.get("/v1/books/AAA?depth=1") as response:
                    answers.append(
                        (response.status, await response.json(), response.headers.get("Retry-After"))
                    )
                if response.status != 200:
                    break
            assert len(answers) > 6
            status, body, retry_after = answers[-1]
            assert (status, body["error"]["code"], retry_after) == (429, "rate_limited", "1")
            for path in ("/healthz", "/readyz"):
                async with http.get(path) as response:
                    assert response.status == 200, "whoever watches it is always answered"
        assert gateway.process.counters.limit_http_rate == 1


async def test_answers_that_nobody_reads_are_bounded_and_given_up(
    redis_url: str, prefix: str, ingestor: FakeIngestor
) -> None:
    with running_gateway(
        redis_url, prefix, http_answer_bytes_max=300_000, stall_timeout_s=1.0, send_buffer_bytes=4096
    ) as gateway:
        await ingestor.until_live(gateway)
        counters = gateway.process.counters
        clients = [unread(gateway) for _ in range(12)]
        try:
            await eventually(lambda: counters.limit_http_answer_bytes > 0)
            async with aiohttp.ClientSession(gateway.url) as http:
                async with http.get("/v1/books/AAA?depth=0") as response:
                    assert response.status == 503
                    assert response.headers["Retry-After"] == "1"
                    assert (await response.json())["error"]["code"] == "unavailable"
                await eventually(lambda: counters.http_timeouts > 0)

                async def served() -> bool:
                    async with http.get("/v1/books/AAA?depth=0") as response:
                        return response.status == 200 and len((await response.json())["bids"]) == LEVELS

                await eventually(served, message="room is made by those whose time was over")
        finally:
            for client in clients:
                client.close()


async def test_so_many_requests_at_a_time(redis_url: str, prefix: str, ingestor: FakeIngestor) -> None:
    with running_gateway(redis_url, prefix, http_requests_max=4, send_buffer_bytes=4096) as gateway:
        await ingestor.until_live(gateway)
        counters = gateway.process.counters
        clients = [unread(gateway) for _ in range(3)]
        try:
            await eventually(lambda: counters.limit_http_requests == 1)
        finally:
            for client in clients:
                client.close()

        async def served() -> bool:
            async with aiohttp.ClientSession(gateway.url) as http, http.get("/v1/symbols") as response:
                return response.status == 200

        await eventually(served, message="clients that have gone do not count")


async def test_the_whole_book_is_that_of_one_moment(
    redis_url: str, prefix: str, ingestor: FakeIngestor
) -> None:
    """Asked for again and again while it changes, each answer has a digest of its own levels."""
    with running_gateway(redis_url, prefix) as gateway:
        await ingestor.until_live(gateway)
        seqs = set()

        async def publish() -> None:
            for quantity in range(10, 40):
                await ingestor.publish("AAA", {-1: quantity, -LEVELS: quantity}, {1: quantity})
                await asyncio.sleep(0.01)

        async with aiohttp.ClientSession(gateway.url) as http:
            publishing = asyncio.create_task(publish())
            while not publishing.done():
                async with http.get("/v1/books/AAA?depth=0") as response:
                    book = await response.json()
                assert book["digest"] == digest_of(
                    [(price, quantity) for price, quantity in book["bids"]],
                    [(price, quantity) for price, quantity in book["asks"]],
                )
                seqs.add(book["seq"])
            await publishing
        assert len(seqs) > 1
