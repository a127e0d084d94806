"""The gateway as a process: HTTP, admin address, workers, signals, exit statuses."""

import asyncio
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from depthcast.runtime.deployment import NO_DRAINING
from depthcast.shared.digest import digest_of
from depthcast.shared.gateway_entry import decode_entry
from depthcast.shared.runtime.redis import execute
from tests.environment import without_settings
from tests.integration.gateway_harness import Client, FakeIngestor, fake_ingestor, running_gateway
from tests.waiting import TIMEOUT_S, eventually

BIDS, ASKS = {100: 5, 99: 6, 98: 7}, {101: 8, 102: 9}
START_S = 60.0


class Started:
    """A gateway's process, and the address that it printed."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.url = ""
        self.admin = ""

    @property
    def ws_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "/v1/ws"

    async def announced(self, admin: bool) -> None:
        assert self.process.stdout is not None
        async with asyncio.timeout(START_S):
            while not self.url or (admin and not self.admin):
                line = (await self.process.stdout.readline()).decode()
                assert line, "it ended"
                if line.startswith("gateway listening on "):
                    self.url = line.split()[-1]
                elif line.startswith("admin listening on "):
                    self.admin = line.split()[-1]

    async def ended(self) -> int:
        async with asyncio.timeout(TIMEOUT_S):
            return await self.process.wait()


async def spawn(redis_url: str, prefix: str, *words: str, **settings: Any) -> Started:
    options = {"redis_url": redis_url, "prefix": prefix, "port": 0} | NO_DRAINING | settings
    variables = {f"DEPTHCAST_{name.upper()}": str(value) for name, value in options.items()}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "depthcast.gateway",
        *words,
        stdout=PIPE,
        stderr=PIPE,
        env=without_settings() | variables,
    )
    return Started(process)


@asynccontextmanager
async def started(redis_url: str, prefix: str, **settings: Any) -> AsyncIterator[Started]:
    running = await spawn(redis_url, prefix, **settings)
    try:
        await running.announced("admin_port" in settings)
        yield running
    finally:
        if running.process.returncode is None:
            running.process.kill()
        await running.process.communicate()


async def get(url: str) -> tuple[int, Any, aiohttp.ClientResponse]:
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        text = await response.text()
        return response.status, json.loads(text) if "json" in response.content_type else text, response


async def ready(url: str) -> bool:
    return (await get(f"{url}/readyz"))[0] == 200


@pytest.fixture
async def ingestor(redis_url: str, prefix: str) -> AsyncIterator[FakeIngestor]:
    async with fake_ingestor(redis_url, prefix, "AAA", "BBB") as made:
        await made.birth("AAA", BIDS, ASKS)
        yield made


async def test_http_endpoints(redis_url: str, prefix: str, ingestor: FakeIngestor) -> None:
    settings: dict[str, Any] = {
        "cors_origin": "*",
        "full_depth_max": 2,
        "frame_origins": "self,https://shop.example",
    }
    with running_gateway(redis_url, prefix, **settings) as gateway:
        await eventually(lambda: _ready_beside(ingestor, gateway.url))
        await get(f"{gateway.url}/v1/books/AAA")  # it may be followed only from now on
        status, symbols, response = await get(f"{gateway.url}/v1/symbols")
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert {row["symbol"]: row["state"] for row in symbols} == {"AAA": "live", "BBB": "stale"}
        assert symbols[0]["tick_size"] == "0.01"
        _, book, _ = await get(f"{gateway.url}/v1/books/AAA?depth=1")
        assert (book["type"], book["bids"], book["asks"], book["state"]) == (
            "snapshot",
            [[100, 5]],
            [[101, 8]],
            "live",
        )
        assert book["digest"] == digest_of([(100, 5)], [(101, 8)])
        assert (await get(f"{gateway.url}/v1/books/AAA"))[1]["depth"] == 25
        for path, status, code in (
            ("NOPE", 404, "unknown_symbol"),
            ("AAA?depth=3", 400, "bad_depth"),
            ("AAA?depth=x", 400, "bad_depth"),
            ("AAA?depth=0", 400, "limit"),
            ("AAA?group=0", 400, "bad_group"),
            ("AAA?group=-5", 400, "bad_group"),
            ("AAA?group=x", 400, "bad_group"),
            (f"AAA?group={10**16 - 1}", 400, "bad_group"),
            ("AAA?group=5", 400, "limit"),
            ("AAA?orders=1", 400, "bad_request"),
            ("AAA?orders=true&group=5", 400, "bad_request"),
            ("AAA?orders=true", 400, "no_orders"),
            ("BBB", 503, "unavailable"),
        ):
            answered, body, _ = await get(f"{gateway.url}/v1/books/{path}")
            assert (answered, body["error"]["code"]) == (status, code)
            assert body["error"]["message"]
        assert (await get(f"{gateway.url}/healthz"))[0] == 200
        status, page, response = await get(f"{gateway.url}/")
        policy = response.headers["Content-Security-Policy"]
        assert policy.endswith("; frame-ancestors 'self' https://shop.example")
        assert (status, "<!doctype html>" in page) == (200, True)
        for module in ("page/main.js", "book.js"):
            status, _, response = await get(f"{gateway.url}/web/{module}")
            assert (status, response.content_type.endswith("/javascript")) == (200, True)

        async def listed_in_order() -> bool:
            return [row["symbol"] for row in (await get(f"{gateway.url}/v1/symbols"))[1]] == [
                "AA",
                "AAA",
                "BBB",
            ]

        await ingestor.register("AA")
        await eventually(listed_in_order, message="what was registered last has its place among the symbols")


async def test_before_redis_and_before_any_ingestor(redis_url: str, prefix: str) -> None:
    async with started("redis://127.0.0.1:1/0", prefix) as gateway:
        assert (await get(f"{gateway.url}/healthz"))[0] == 200
        assert (await get(f"{gateway.url}/readyz"))[0] == 503
        assert (await get(f"{gateway.url}/v1/symbols"))[1] == []
        assert (await get(f"{gateway.url}/v1/books/AAA"))[0] == 503
        gateway.process.terminate()
        assert await gateway.ended() == 0
        assert gateway.process.stderr is not None
        assert b"waiting for Redis" in await gateway.process.stderr.read()


async def test_sigterm_ends_cleanly(redis_url: str, prefix: str, ingestor: FakeIngestor) -> None:
    async with started(redis_url, prefix, admin_port=0) as gateway:
        await eventually(lambda: _ready_beside(ingestor, gateway.url))
        assert (await get(f"{gateway.admin}/healthz"))[0] == 200
        async with connect(gateway.ws_url, compression=None) as connection:
            client = Client(connection)
            await client.send(op="subscribe", symbols=["AAA"])
            await client.until("snapshot")
            await eventually(lambda: _metric(gateway, "depthcast_gateway_messages_total", 'type="snapshot"'))
            await eventually(lambda: _equals(gateway, "depthcast_gateway_connections", 1))
            assert await _equals(gateway, "depthcast_build_info", 1)
            gateway.process.send_signal(signal.SIGTERM)
            with suppress(ConnectionClosed):
                while True:
                    await client.receive()
            assert connection.close_code == 1012
        assert await gateway.ended() == 0


@asynccontextmanager
async def clients_of(gateway: Started, count: int) -> AsyncIterator[list[Client]]:
    """Subscribed clients."""
    async with AsyncExitStack() as stack:
        clients = []
        for _ in range(count):
            connection = await stack.enter_async_context(connect(gateway.ws_url, compression=None))
            client = Client(connection)
            await client.send(op="subscribe", symbols=["AAA"])
            await client.until("snapshot")
            clients.append(client)
        yield clients


async def closed_at(client: Client) -> float:
    """When the gateway closed it; it has to be with 1012."""
    with suppress(ConnectionClosed):
        while True:
            await client.receive()
    assert client.connection.close_code == 1012
    return asyncio.get_running_loop().time()


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_gateway_that_drains_serves_its_clients_and_closes_them_one_by_one(
    redis_url: str, prefix: str, ingestor: FakeIngestor, workers: int
) -> None:
    slow = {"drain_delay_s": 3.0, "drain_spread_s": 1.0, "workers": workers}
    async with (
        started(redis_url, prefix, admin_port=0, **slow) as gateway,
        ingestor.beating(),
        aiohttp.ClientSession() as http,
    ):
        await eventually(lambda: _ready_beside(ingestor, gateway.admin))
        stream = await http.get(f"{gateway.url}/v1/stream?symbols=AAA")
        async with clients_of(gateway, 6) as clients:
            gateway.process.send_signal(signal.SIGTERM)
            began = asyncio.get_running_loop().time()
            await eventually(lambda: _is_unready(gateway.admin))
            await eventually(lambda: _equals(gateway, "depthcast_gateway_draining", workers))
            with pytest.raises(InvalidStatus) as refused:
                await connect(gateway.ws_url, compression=None)
            assert refused.value.response.status_code == 503
            seq = await ingestor.publish("AAA", {100: 55})
            for client in clients:
                await client.until_seq("AAA", seq)
            times = [time - began for time in await asyncio.gather(*map(closed_at, clients))]
        assert min(times) >= 2.9, "nobody is closed before balancers noticed"
        assert max(times) - min(times) >= 0.25, "not all in the same moment"
        assert b'"code":1012' in await stream.content.read()
        assert await gateway.ended() == 0


async def _is_unready(url: str) -> bool:
    return not await ready(url)


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_second_sigterm_ends_at_once(
    redis_url: str, prefix: str, ingestor: FakeIngestor, workers: int
) -> None:
    slow = {"drain_delay_s": 600, "drain_spread_s": 600, "workers": workers}
    async with started(redis_url, prefix, admin_port=0, **slow) as gateway, ingestor.beating():
        await eventually(lambda: _ready_beside(ingestor, gateway.admin))
        async with clients_of(gateway, 4) as clients:
            gateway.process.send_signal(signal.SIGTERM)
            await eventually(lambda: _is_unready(gateway.admin))
            gateway.process.send_signal(signal.SIGTERM)
            await asyncio.gather(*map(closed_at, clients))
        assert await gateway.ended() == 0


@pytest.mark.parametrize("workers", [1, 2])
async def test_sigusr1_refuses_new_clients_and_keeps_the_others(
    redis_url: str, prefix: str, ingestor: FakeIngestor, workers: int
) -> None:
    async with started(redis_url, prefix, admin_port=0, workers=workers) as gateway, ingestor.beating():
        await eventually(lambda: _ready_beside(ingestor, gateway.admin))
        async with clients_of(gateway, 2) as clients:
            gateway.process.send_signal(signal.SIGUSR1)
            await eventually(lambda: _equals(gateway, "depthcast_gateway_draining", workers))
            assert not await ready(gateway.admin)
            with pytest.raises(InvalidStatus):
                await connect(gateway.ws_url, compression=None)
            seq = await ingestor.publish("AAA", {100: 56})
            for client in clients:
                await client.until_seq("AAA", seq)
            gateway.process.send_signal(signal.SIGTERM)
            await asyncio.gather(*map(closed_at, clients))
        assert await gateway.ended() == 0


async def test_a_gateway_that_does_not_fit_the_deployment_goes_away_1001(redis_url: str, prefix: str) -> None:
    async with started(redis_url, prefix, partitions=7) as gateway:
        async with (
            connect(gateway.ws_url, compression=None) as connection,
            fake_ingestor(redis_url, prefix),
        ):
            client = Client(connection)
            with suppress(ConnectionClosed):
                while True:
                    await client.receive()
            assert connection.close_code == 1001
        assert await gateway.ended() == 2


async def _metric(gateway: Started, name: str, label: str = "") -> float:
    """Sum of a metric's samples."""
    _, text, _ = await get(f"{gateway.admin}/metrics")
    lines = [line for line in text.splitlines() if line.startswith(name) and label in line]
    return sum(float(line.split()[-1]) for line in lines)


async def test_workers_share_a_port(redis_url: str, prefix: str, ingestor: FakeIngestor) -> None:
    async with started(redis_url, prefix, workers=2, admin_port=0) as gateway:
        await eventually(lambda: _ready_beside(ingestor, gateway.admin))
        connections = [await connect(gateway.ws_url, compression=None) for _ in range(12)]
        clients = [Client(connection) for connection in connections]
        for client in clients:
            await client.send(op="subscribe", symbols=["AAA"])
            await client.until("snapshot")
        seq = await ingestor.publish("AAA", {100: 55})
        for client in clients:
            await client.until_seq("AAA", seq)
        await eventually(lambda: _equals(gateway, "depthcast_gateway_connections", 12))
        for name, worker in (
            ("depthcast_stage_seconds_count", "0"),
            ("depthcast_stage_seconds_count", "1"),
            ("process_resident_memory_bytes", "0"),
            ("process_resident_memory_bytes", "1"),
            ("process_resident_memory_bytes", "supervisor"),
        ):
            await eventually(partial(_metric, gateway, name, f'worker="{worker}"'), message=name)
        assert await _equals(gateway, "depthcast_build_info", 1)
        await eventually(lambda: _equals(gateway, "depthcast_gateway_broadcasts_total", 4))
        _, body, _ = await get(f"{gateway.admin}/readyz")
        assert len(body["workers"]) == 2
        members = await execute(ingestor.redis, "ZRANGE", ingestor.keys.gateways, 0, -1)
        listed = [entry for member in members if (entry := decode_entry(member)) is not None]
        assert sorted((entry.worker, entry.address) for entry in listed) == [
            (number, gateway.url) for number in range(2)
        ]

        # A worker that is killed is replaced; the other one's clients notice nothing.
        killed = await _kill_a_worker(gateway.process.pid)
        alive = [client for client in clients if not await _closed(client)]
        await eventually(lambda: _workers(gateway.process.pid, without=killed, count=2))
        await eventually(lambda: _ready_beside(ingestor, gateway.admin))
        seq = await ingestor.publish("AAA", {100: 56})
        for client in alive:
            await client.until_seq("AAA", seq)
        async with connect(gateway.ws_url, compression=None) as connection:
            assert (await Client(connection).receive())["type"] == "welcome"

        gateway.process.terminate()
        assert await gateway.ended() == 0
        await eventually(lambda: not _children(gateway.process.pid))
        for connection in connections:
            await connection.close()


async def _ready_beside(ingestor: FakeIngestor, url: str) -> bool:
    """Whether the gateway is ready while an ingestor writes."""
    await ingestor.publish_to(0, {})
    return await ready(url)


async def _equals(gateway: Started, name: str, value: float) -> bool:
    return await _metric(gateway, name) == value


async def _closed(client: Client) -> bool:
    """Whether the connection has ended: its pong never comes then."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await (await client.connection.ping())
    except ConnectionClosed:
        return True
    return False


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _workers(pid: int, *, without: int, count: int) -> bool:
    children = _children(pid)
    return without not in children and len(children) >= count


def _all_workers(pid: int, count: int) -> list[int]:
    """The children; nothing as long as there are fewer than `count`."""
    found = _children(pid)
    return found if len(found) >= count else []


async def _kill_a_worker(pid: int) -> int:
    child = _children(pid)[0]
    os.kill(child, signal.SIGKILL)
    await eventually(lambda: child not in _children(pid))
    return child


async def test_workers_end_with_their_supervisor(redis_url: str, prefix: str, ingestor: FakeIngestor) -> None:
    async with started(redis_url, prefix, workers=2) as gateway:
        children = await eventually(lambda: _all_workers(gateway.process.pid, 2))
        gateway.process.kill()
        await gateway.ended()
        await eventually(lambda: not any(Path(f"/proc/{child}").exists() for child in children))


async def test_bad_settings_end_with_2(redis_url: str, prefix: str, ingestor: FakeIngestor) -> None:
    refused = await spawn(redis_url, prefix, heartbeat_ms=1)
    assert await refused.ended() == 2
    refused = await spawn(redis_url, prefix, partitions=7)
    _, stderr = await refused.process.communicate()
    assert refused.process.returncode == 2
    assert b"DEPTHCAST_PARTITIONS is set to 7 here, but the deployment was created with 1" in stderr


async def test_a_worker_names_the_option_that_its_supervisor_was_given(
    redis_url: str, prefix: str, ingestor: FakeIngestor
) -> None:
    refused = await spawn(redis_url, prefix, "--partitions", "7", workers=2)
    _, stderr = await refused.process.communicate()
    assert refused.process.returncode == 2
    assert b"Error: --partitions is set to 7 here, but the deployment was created with 1" in stderr


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_port_in_use_ends_with_2(redis_url: str, prefix: str, workers: int) -> None:
    with running_gateway(redis_url, prefix) as gateway:
        port = gateway.url.rsplit(":", 1)[1]
        refused = await spawn(redis_url, prefix, port=port, workers=workers)
        _, stderr = await refused.process.communicate()
        assert refused.process.returncode == 2
        assert b"cannot be served on" in stderr


@pytest.mark.slow
async def test_idle_connections_beyond_the_limit_of_open_files_keep_nobody_out(
    redis_url: str, prefix: str, ingestor: FakeIngestor
) -> None:
    limit = "import os, resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256)); "
    options = {"redis_url": redis_url, "prefix": prefix, "port": 0, "connections_per_address_max": 10_000}
    variables = {f"DEPTHCAST_{name.upper()}": str(value) for name, value in options.items()}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        limit + "os.execv(sys.executable, [sys.executable, '-m', 'depthcast.gateway'])",
        stdout=PIPE,
        stderr=PIPE,
        env=without_settings() | variables,
    )
    gateway = Started(process)
    idle: list[socket.socket] = []
    try:
        await gateway.announced(admin=False)
        await eventually(lambda: _ready_beside(ingestor, gateway.url))
        address = urlsplit(gateway.url)
        async with connect(gateway.ws_url, compression=None) as connection:
            for _ in range(700):
                one = socket.create_connection((address.hostname, address.port))
                idle.append(one)
            for _ in range(10):
                assert (await get(f"{gateway.url}/healthz"))[0] == 200
            client = Client(connection)
            await client.send(op="subscribe", symbols=["AAA"])
            await client.until("snapshot")
            async with connect(gateway.ws_url, compression=None) as second:
                assert (await Client(second).receive())["type"] == "welcome"
        process.terminate()
        assert await gateway.ended() == 0
        assert process.stderr is not None
        assert b"Too many open files" not in await process.stderr.read()
    finally:
        for one in idle:
            one.close()
        if process.returncode is None:
            process.kill()
        await process.communicate()
