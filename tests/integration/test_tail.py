"""Reading the end of a stream without the library: same entries, same errors, no connection is lost."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop
from redis.asyncio import Redis

from depthcast.shared.errors import RedisRefused, RedisUnavailable, WrongKey
from depthcast.shared.position import ZERO, Position
from depthcast.shared.runtime.redis import RawEntry, connect, execute, read_stream
from depthcast.shared.runtime.tail import Tail
from tests.proxy import FaultProxy
from tests.waiting import TIMEOUT_S, eventually

Runs = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def runs(request: pytest.FixtureRequest) -> Runs:
    """Runs a test to its end on either loop: their transports have little in common."""

    def run(test: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(asyncio.wait_for(test, 60))

    return run


async def read(tail: Tail, after: Position = ZERO, block_ms: int = 5) -> list[RawEntry]:
    return await tail.read(after, count=10, block_ms=block_ms)


async def connection_id(client: Redis) -> int:
    found: int = await execute(client, "CLIENT", "ID")
    return found


def test_it_reads_what_the_library_reads(runs: Runs, redis_url: str, prefix: str) -> None:
    async def test() -> None:
        async with connect(redis_url) as client:
            tail = Tail(client, prefix)
            assert await read(tail) == []
            for n, value in enumerate([b"", b"1", b"x" * 3_000_000, b"-ERR\r\n", b"\xff"]):
                await execute(client, "XADD", prefix, f"7-{n}", "a", value, "a", "again")
            whole = await read_stream(client, prefix, ZERO, count=10)
            assert await read(tail) == whole
            assert await read(tail, Position(7, 1)) == whole[2:]
            assert await tail.read(ZERO, count=1, block_ms=1) == whole[:1]
            assert [entry async for entry in one_by_one(tail)] == whole

    runs(test())


async def one_by_one(tail: Tail) -> AsyncIterator[RawEntry]:
    after = ZERO
    while found := await tail.read(after, count=1, block_ms=1):
        yield found[0]
        after = found[0][0]


def test_it_waits_for_what_comes(runs: Runs, redis_url: str, prefix: str) -> None:
    async def test() -> None:
        async with connect(redis_url) as client, connect(redis_url) as writer:
            tail = Tail(client, prefix)
            for n in range(1, 20):
                reading = asyncio.create_task(read(tail, Position(7, n - 1), 30_000))
                await execute(writer, "XADD", prefix, f"7-{n}", "a", n)
                assert await reading == [(Position(7, n), [(b"a", b"%d" % n)])]

    runs(test())


def test_one_connection_serves_everything(runs: Runs, redis_url: str, prefix: str) -> None:
    async def test() -> None:
        async with connect(redis_url, connections_max=1) as client:
            number = await connection_id(client)
            tail = Tail(client, prefix)
            assert await read(tail) == []
            assert await connection_id(client) == number, "nothing came: it was given back"
            await execute(client, "XADD", prefix, "7-0", "a", "b")
            assert await read(tail)
            with pytest.raises(RedisUnavailable):
                await execute(client, "PING")
            await tail.release()
            await tail.release()
            assert await connection_id(client) == number
            assert await read(tail)

    runs(test())


def test_a_reply_of_error_is_the_librarys(runs: Runs, redis_url: str, prefix: str) -> None:
    async def test() -> None:
        async with connect(redis_url, connections_max=1) as client:
            await execute(client, "SET", prefix, "no stream")
            tail = Tail(client, prefix)
            for _ in range(3):
                with pytest.raises(WrongKey, match=f"{prefix} holds a value of another type"):
                    await read(tail)
            await execute(client, "DEL", prefix)
            await execute(client, "XADD", prefix, "7-0", "a", "b")
            assert await read(tail)

    runs(test())


def test_a_server_that_goes_away_is_unavailable_and_found_again(
    runs: Runs, redis_url: str, prefix: str
) -> None:
    async def test() -> None:
        async with FaultProxy(redis_url, word=b"XREAD") as link, connect(link.url) as client:
            tail = Tail(client, prefix)
            await execute(client, "XADD", prefix, "7-0", "a", "b")
            for _ in range(3):
                assert await read(tail)
                reading = asyncio.create_task(read(tail, Position(7, 0), 30_000))
                await eventually(lambda: link._tasks)
                link.cut()
                with pytest.raises(RedisUnavailable, match=r"Connection closed|Error while reading"):
                    await reading

    runs(test())


def test_a_connection_lost_between_reads_is_made_anew(runs: Runs, redis_url: str, prefix: str) -> None:
    async def test() -> None:
        async with FaultProxy(redis_url) as link, connect(link.url, connections_max=1) as client:
            tail = Tail(client, prefix)
            await execute(client, "XADD", prefix, "7-0", "a", "b")
            for _ in range(3):
                assert await read(tail)
                link.cut()
                await eventually(lambda: not tail._direct.usable)
                assert await read(tail)

    runs(test())


def test_a_client_may_be_closed_while_it_reads(runs: Runs, redis_url: str, prefix: str) -> None:
    async def test() -> None:
        client = connect(redis_url)
        tail = Tail(client, prefix)
        await execute(client, "XADD", prefix, "7-0", "a", "b")
        assert await read(tail)
        await client.aclose()
        assert await read(tail), "as the library's, it connects again"
        await client.aclose()

    runs(test())


def test_a_cancellation_is_never_lost_and_loses_no_connection(
    runs: Runs, redis_url: str, prefix: str
) -> None:
    async def test() -> None:
        async with connect(redis_url, connections_max=1) as client:
            await execute(client, "XADD", prefix, "7-0", "a", "b")
            tail = Tail(client, prefix)

            async def read_for_ever() -> None:
                while True:
                    await read(tail)
                    await read(tail, Position(7, 0), 1)

            for steps in range(60):
                reading = asyncio.create_task(read_for_ever())
                for _ in range(steps):
                    await asyncio.sleep(0)
                reading.cancel()
                done, _ = await asyncio.wait([reading], timeout=TIMEOUT_S)
                assert done, f"cancelled after {steps} steps, it reads on"
                assert await read(tail)

    runs(test())


# --- a server that says what it is told -------------------------------------------------------------------

ENTRY = b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n7-0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n"
FOUND = [(Position(7, 0), [(b"a", b"b")])]


@asynccontextmanager
async def scripted(*answers: list[bytes], timeout_s: float = 5.0) -> AsyncIterator[tuple[Tail, list[int]]]:
    """Answers every XREAD with the next pieces, sent one by one; an empty answer closes the connection."""
    left, made = list(answers), list[int]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made.append(1)
        try:
            while words := int((await reader.readline())[1:] or 0):
                command = [(await reader.readline(), await reader.readline())[1] for _ in range(words)]
                if command[0] != b"XREAD\r\n":
                    writer.write(b"+OK\r\n")
                    continue
                pieces = left.pop(0)
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                if not pieces:
                    return
        except ConnectionError:
            pass  # the client closed it before it had read everything
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
        async with connect(url, connections_max=1, timeout_s=timeout_s) as client:
            yield Tail(client, "s"), made


def test_a_reply_in_pieces_is_one(runs: Runs) -> None:
    async def test() -> None:
        pieces = [ENTRY[at : at + 1] for at in range(len(ENTRY))]
        async with scripted(pieces, pieces, [ENTRY]) as (tail, made):
            for _ in range(3):
                assert await read(tail) == FOUND
            assert len(made) == 1

    runs(test())


def test_an_error_in_pieces_is_one(runs: Runs) -> None:
    async def test() -> None:
        async with scripted([ENTRY], [b"-", b"LOADING the dataset\r", b"\n"], [b"-ERR no\r\n"]) as (tail, _):
            assert await read(tail) == FOUND
            with pytest.raises(RedisUnavailable, match="dataset"):
                await read(tail)
            with pytest.raises(RedisRefused, match="no"):
                await read(tail)

    runs(test())


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ([b"what?\r\n"], "InvalidResponse"),
        ([], r"Connection closed|Error while reading"),
        ([b"*1\r\n"], "Timeout reading from 127"),
    ],
    ids=["garbage", "nothing", "half of a reply"],
)
def test_after_any_trouble_it_connects_anew(runs: Runs, answer: list[bytes], problem: str) -> None:
    async def test() -> None:
        async with scripted([ENTRY], answer, [ENTRY], timeout_s=0.3) as (tail, made):
            assert await read(tail) == FOUND
            with pytest.raises(RedisUnavailable, match=problem):
                await read(tail)
            assert await read(tail) == FOUND
            assert len(made) == 2

    runs(test())


def test_what_nobody_asked_for_ends_the_connection(runs: Runs) -> None:
    async def test() -> None:
        async with scripted([ENTRY + b"+MORE\r\n"], [ENTRY], [ENTRY]) as (tail, made):
            for _ in range(3):
                assert await read(tail) == FOUND
            assert len(made) == 2

    runs(test())
