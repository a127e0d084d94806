"""The Redis client of all processes: cancelled cleanly, limited in time, its errors mapped."""

import asyncio
from pathlib import Path

import pytest
from redis.asyncio import Redis

from depthcast.runtime.embedded import EmbeddedServer
from depthcast.shared.errors import CodecError, RedisRefused, RedisUnavailable, SettingsError
from depthcast.shared.position import ZERO
from depthcast.shared.runtime import error_replies
from depthcast.shared.runtime.redis import connect, execute, newest_snapshots, read_stream, stream_info
from tests.waiting import TIMEOUT_S, eventually


async def test_a_cancellation_is_never_lost_wherever_it_arrives(redis_url: str, prefix: str) -> None:
    for steps in range(60):
        client = connect(redis_url)

        async def read_for_ever(client: Redis = client) -> None:
            while True:
                await read_stream(client, f"{prefix}:nothing", ZERO, count=1, block_ms=60_000)

        reading = asyncio.create_task(read_for_ever())
        for _ in range(steps):
            await asyncio.sleep(0)
        reading.cancel()
        done, _ = await asyncio.wait([reading], timeout=TIMEOUT_S)
        assert done, f"cancelled after {steps} steps, it reads on"
        await client.aclose()


@pytest.mark.parametrize("value", [b"x", b"x" * 50_000_000], ids=["answers nothing", "does not even read"])
async def test_a_server_that_hangs_is_unavailable(value: bytes) -> None:
    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await released.wait()
        writer.close()
        hung.append(writer)

    released, hung = asyncio.Event(), list[asyncio.StreamWriter]()
    async with await asyncio.start_server(hang, "127.0.0.1", 0, limit=1000) as server:
        client = connect(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0", timeout_s=0.2)
        with pytest.raises(RedisUnavailable):
            await execute(client, "SET", "x", value)
        await client.aclose()
        released.set()
        await eventually(lambda: hung)


async def test_a_stream_that_is_yet_to_come_is_no_error_reply(redis_url: str, prefix: str) -> None:
    async with connect(redis_url) as client:
        before = dict(error_replies.totals())
        assert await stream_info(client, f"{prefix}:nothing") is None
        assert error_replies.totals() == before, "nobody is called for a deployment that begins"
        with pytest.raises(RedisRefused):
            await execute(client, "HURRAH")
        assert error_replies.totals() == before | {"ERR": before["ERR"] + 1}


async def test_nobody_listening_is_unavailable() -> None:
    with EmbeddedServer() as server:
        url = server.url
    client = connect(url)
    with pytest.raises(RedisUnavailable, match="Connect"):
        await execute(client, "PING")
    await client.aclose()


async def test_through_a_socket_file(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with EmbeddedServer(options={"unixsocket": str(path)}):
        client = connect(f"unix://{path}")
        await execute(client, "SET", "x", "y")
        assert await execute(client, "GET", "x") == b"y"
        await client.aclose()


@pytest.mark.parametrize(
    "url", ["redis://h:x", "redis://h?what=5", "rediss://h?ssl_cert_reqs=odd", "redis://[::1"]
)
def test_an_address_that_means_nothing(url: str) -> None:
    with pytest.raises(SettingsError, match=r"DEPTHCAST_REDIS_URL: .* is not a usable address: ."):
        connect(url)


async def test_a_malformed_snapshot_hides_no_other(redis_url: str, prefix: str) -> None:
    client = connect(redis_url)
    keys = [f"{prefix}:{name}" for name in ("bad", "good", "none", "odd")]
    await execute(client, "XADD", keys[0], "5-1", "s", b"\xc1")
    await execute(client, "XADD", keys[1], "5-2", "s", bytes.fromhex("950590900007"))
    await execute(client, "XADD", keys[3], "5-3", "x", b"")
    bad, good, none, odd = await newest_snapshots(client, keys, unreadable=set())
    assert (bad, none, odd) == (None, None, None)
    assert good is not None
    assert good[1].seq == 5
    with pytest.raises(CodecError, match="snapshot"):
        await newest_snapshots(client, keys)
    await client.aclose()
