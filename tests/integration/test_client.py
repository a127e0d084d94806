"""The WebSocket client over a real connection: following, resync, reconnect, resume, credit, backpressure."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from copy import deepcopy
from typing import Any

import pytest

from depthcast import BookUpdate, Client, ClientError, Kind, State, connect
from depthcast.client.transport import ConnectionLost, Transport
from tests.integration.scripted_gateway import ScriptedGateway
from tests.waiting import eventually

QUICK = (0.01, 0.05)


@pytest.fixture
async def gateway() -> AsyncIterator[ScriptedGateway]:
    async with ScriptedGateway() as gateway:
        gateway.book.change(0, 10, 5)
        gateway.book.change(1, 12, 7)
        yield gateway


def right(client: Client, gateway: ScriptedGateway) -> bool:
    book = client.book("X")
    return (dict(book.bids.levels), dict(book.asks.levels)) == gateway.book.states[client.seq("X")]


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
async def test_following_a_book(gateway: ScriptedGateway, encoding: str) -> None:
    async with connect(gateway.url, encoding) as client:
        await client.subscribe(["X"], depth=10, interval_ms=20)
        assert gateway.received[0] | {"id": 0} == {
            "op": "subscribe",
            "symbols": ["X"],
            "depth": 10,
            "interval_ms": 20,
            "parts": True,
            "id": 0,
        }
        first = await anext(client)
        assert (first.kind, first.seq, first.state) == (Kind.SNAPSHOT, 102, State.LIVE)
        await gateway.change(0, 11, 3)
        second = await anext(client)
        assert (second.kind, second.bids, second.book.bids.top()) == (
            Kind.DELTA,
            [(11, 3)],
            [(11, 3), (10, 5)],
        )
        assert await client.ping() > 0
        await client.unsubscribe(["X"])
        with pytest.raises(ClientError, match="not_subscribed"):
            client.book("X")


async def test_refused_symbols_are_an_error(gateway: ScriptedGateway) -> None:
    async with connect(gateway.url) as client:
        with pytest.raises(ClientError) as caught:
            await client.subscribe(["X", "Y"])
        assert (caught.value.code, caught.value.symbol) == ("unknown_symbol", "Y")
        await client.wait_for("X")


async def test_several_tasks_may_wait_at_once(gateway: ScriptedGateway) -> None:
    async with connect(gateway.url) as client:
        await client.subscribe(["X"])
        waiting = [asyncio.create_task(client.wait_for("X", 102 + n)) for n in range(1, 6)]
        pinging = [asyncio.create_task(client.ping()) for _ in range(5)]
        for quantity in range(1, 6):
            await gateway.change(0, 11, quantity)
        await asyncio.gather(*waiting, *pinging)
        assert client.seq("X") == 107


async def test_a_bare_name_is_one_symbol(gateway: ScriptedGateway) -> None:
    async with connect(gateway.url) as client:
        await client.subscribe("X")
        await client.wait_for("X")
        assert gateway.received[0]["symbols"] == ["X"]
        await client.unsubscribe("X")
        assert gateway.received[-1]["symbols"] == ["X"]


async def test_following_keeps_books_current_and_leaves_updates_to_who_iterates(
    gateway: ScriptedGateway,
) -> None:
    async with connect(gateway.url) as client:
        await client.subscribe("X")
        following = asyncio.create_task(client.follow())
        for quantity in (1, 2, 3):
            await gateway.change(0, 11, quantity)
        await eventually(lambda: client.seq("X") == gateway.book.seq)
        update = await anext(client)
        assert (update.kind, update.seq) == (Kind.SNAPSHOT, gateway.book.seq)
        await gateway.send({"type": "error", "code": "limit", "message": "too much"})
        await gateway.change(0, 11, 4)
        await eventually(lambda: client.seq("X") == gateway.book.seq)
        assert client.ended is None
        await gateway.close(1008)
        with pytest.raises(ClientError, match="1008"):
            await following
        assert client.ended is not None


async def test_updates_by_callback(gateway: ScriptedGateway) -> None:
    class EnoughError(Exception):
        pass

    seen: list[int] = []

    async def note(update: BookUpdate) -> None:
        seen.append(update.seq)
        if len(seen) == 3:
            raise EnoughError
        await gateway.change(0, 11, len(seen))

    async with connect(gateway.url) as client:
        await client.subscribe("X")
        with pytest.raises(EnoughError):
            await client.run(note)
        assert seen == [102, 103, 104]


@pytest.mark.parametrize("code", [1001, 1012, 1013, 4410])
async def test_it_reconnects_and_resumes(gateway: ScriptedGateway, code: int) -> None:
    async with connect(gateway.url, backoff_s=QUICK) as client:
        await client.subscribe(["X"])
        await client.wait_for("X")
        await gateway.close(code)
        assert (await anext(client)).kind is Kind.SNAPSHOT
        stale = await anext(client)
        assert (stale.kind, stale.state, stale.book.bids.top()) == (Kind.STATUS, State.STALE, [(10, 5)])
        assert (await anext(client)).state is State.LIVE
        assert (client.counters.reconnects, client.counters.resumed, client.counters.snapshots) == (1, 1, 1)
        await gateway.change(0, 11, 3)
        await client.wait_for("X", 103)
        assert right(client, gateway)


async def test_a_cut_connection_and_a_book_that_moved_on(gateway: ScriptedGateway) -> None:
    async with connect(gateway.url, backoff_s=QUICK) as client:
        await client.subscribe(["X"])
        await client.wait_for("X")
        gateway.cut()
        gateway.book.change(0, 11, 3)
        await client.wait_for("X", 103)
        assert right(client, gateway)
        assert (client.counters.reconnects, client.counters.resumed, client.counters.snapshots) == (1, 0, 2)


async def test_it_keeps_trying_while_the_gateway_is_down(gateway: ScriptedGateway) -> None:
    async with connect(gateway.url, backoff_s=QUICK) as client:
        await client.subscribe(["X"])
        await client.wait_for("X")
        await gateway.stop()
        waiting = asyncio.create_task(client.wait_for("X", 103))
        await eventually(lambda: client.state("X") is State.STALE)
        gateway.refuse = 503
        await gateway.start()
        refused = len(gateway.tokens)
        await eventually(lambda: len(gateway.tokens) >= refused + 2)
        gateway.refuse = 0
        gateway.book.change(0, 11, 3)
        await waiting
        assert right(client, gateway)


@pytest.mark.parametrize("code", [1008, 1009, 4401])
async def test_some_close_codes_are_final(gateway: ScriptedGateway, code: int) -> None:
    async with connect(gateway.url, backoff_s=QUICK) as client:
        await client.subscribe(["X"])
        await gateway.close(code)
        with pytest.raises(ClientError, match=str(code)):
            await client.wait_for("X", 103)
        with pytest.raises(ClientError, match=str(code)):
            await client.ping()
    assert gateway.connections == 1


@pytest.mark.parametrize(("status", "code"), [(401, "unauthorized"), (403, "forbidden"), (404, "not_found")])
async def test_a_refused_handshake_says_why(gateway: ScriptedGateway, status: int, code: str) -> None:
    gateway.refuse = status
    with pytest.raises(ClientError) as caught:
        await connect(gateway.url, token="secret").__aenter__()
    assert caught.value.code == code
    assert gateway.tokens == ["Bearer secret"]


async def test_nobody_there() -> None:
    with pytest.raises(ClientError, match="unreachable"):
        await connect("http://127.0.0.1:1").__aenter__()


@pytest.mark.parametrize(
    ("url", "encoding"), [("127.0.0.1:80", "json"), ("ftp://x", "json"), ("http://x", "xml")]
)
def test_what_cannot_be_connected_to(url: str, encoding: str) -> None:
    with pytest.raises(ClientError, match="bad_"):
        connect(url, encoding)


async def test_a_silent_connection_is_given_up(
    gateway: ScriptedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("depthcast.client.client.HEARTBEATS_MISSED", 0.1)
    async with connect(gateway.url, backoff_s=QUICK) as client:
        gateway.heartbeat_ms = 10_000
        await client.subscribe(["X"])
        async for update in client:
            if update.state is State.STALE:
                break
        await client.wait_for("X")
        assert client.counters.resumed >= 1


async def test_credit_follows_what_was_read(gateway: ScriptedGateway) -> None:
    async with connect(gateway.url, credit_window=4) as client:
        await client.subscribe(["X"])
        assert gateway.received[0] == {"op": "credit", "messages": 4}
        for quantity in range(1, 8):
            await gateway.change(0, 11, quantity)
        await client.wait_for("X", 109)
        await client.ping()
        paid = [message["messages"] for message in gateway.received if message["op"] == "credit"]
        assert paid == [4, 2, 2, 2, 2]


async def test_a_user_who_does_not_read_stops_the_reading(gateway: ScriptedGateway) -> None:
    async with connect(gateway.url) as client:
        await client.subscribe(["X"])
        sent = 0

        async def publish() -> None:
            nonlocal sent
            while True:
                await gateway.send({"type": "news", "text": "x" * 50_000})
                sent += 1

        publishing = asyncio.create_task(publish())
        stalls = 0
        while stalls < 20:  # until the sockets are full: nothing moves any more
            before = sent
            await asyncio.sleep(0.01)
            stalls = stalls + 1 if sent == before else 0
        assert client.counters.messages < 5
        assert sent * 50_000 < 64 * 2**20
        publishing.cancel()
        await asyncio.wait([publishing])


class Tampering:
    """A connection whose incoming messages pass through `tamper`: it returns those to deliver."""

    def __init__(self, inner: Transport, tamper: Callable[[dict[str, Any]], list[dict[str, Any]]]) -> None:
        self.inner = inner
        self.tamper = tamper
        self.ready: deque[dict[str, Any]] = deque()

    async def receive(self) -> Mapping[str, Any]:
        while not self.ready:
            self.ready.extend(self.tamper(dict(await self.inner.receive())))
        return self.ready.popleft()

    async def send(self, message: Mapping[str, Any]) -> None:
        await self.inner.send(message)

    async def close(self) -> None:
        await self.inner.close()


def dropping(message: dict[str, Any]) -> list[dict[str, Any]]:
    return [] if message["type"] == "delta" and message["seq"] % 3 == 0 else [message]


def repeating(message: dict[str, Any]) -> list[dict[str, Any]]:
    return [message, deepcopy(message)] if message["type"] in ("delta", "snapshot") else [message]


def spoiling(message: dict[str, Any]) -> list[dict[str, Any]]:
    if message["type"] == "delta" and message["seq"] % 3 == 0:
        message["bids"] = [[price, quantity + 1] for price, quantity in message["bids"]]
    return [message]


class Reordering:
    """Swaps each pair of deltas."""

    def __init__(self) -> None:
        self.held: list[dict[str, Any]] = []

    def __call__(self, message: dict[str, Any]) -> list[dict[str, Any]]:
        if message["type"] == "delta" and not self.held:
            self.held.append(message)
            return []
        held, self.held = self.held, []
        return [message, *held]


@pytest.mark.parametrize("tamper", [dropping, repeating, spoiling, Reordering()])
async def test_tampering_is_noticed_and_recovered(
    gateway: ScriptedGateway, tamper: Callable[[dict[str, Any]], list[dict[str, Any]]]
) -> None:
    async with connect(gateway.url, wrap_transport=lambda transport: Tampering(transport, tamper)) as client:
        await client.subscribe(["X"])
        rounds = 0
        while rounds < 20 or client.seq("X") < gateway.book.seq or client.state("X") is State.STALE:
            rounds += 1
            await gateway.change(0, 11, rounds)
            await gateway.change(0, 9, rounds)
            await client.ping()
            if client.state("X") is State.LIVE:
                assert right(client, gateway)
            await client.ping()  # behind what was asked for after a gap
        assert right(client, gateway)
        counted = client.counters
        assert (counted.gaps > 0) == (tamper is not repeating and tamper is not spoiling)
        assert (counted.mismatches > 0) == (tamper is spoiling)
        assert (counted.ignored > 0) or tamper is not repeating


async def test_a_lost_connection_in_the_middle_of_a_request(gateway: ScriptedGateway) -> None:
    class Losing(Tampering):
        async def receive(self) -> Mapping[str, Any]:
            message = await super().receive()
            if message["type"] == "subscribed" and gateway.connections == 1:
                raise ConnectionLost(1006)
            return message

    async with connect(
        gateway.url,
        backoff_s=QUICK,
        wrap_transport=lambda transport: Losing(transport, lambda message: [message]),
    ) as client:
        await client.subscribe(["X"])
        await client.wait_for("X")
        assert client.counters.reconnects == 1
