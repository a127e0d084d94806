"""The sweep over event streams: many, unread, abandoned, flooded, and asked for with junk."""

import asyncio

from tests.attack.catalog import ALLOWED, CUT, REQUESTS, attack
from tests.attack.wire import Scene, get

ALL = "/v1/stream?symbols=*&depth=50"
ONE = "/v1/stream?symbols=S000&depth=5"
JUNK = "/v1/stream?depth=50&symbols=" + ",".join(f"{number:x}" for number in range(900))


@attack("streams-held", "3,000 event streams of one address, held", due=REQUESTS, seconds=10)
async def held(scene: Scene) -> None:
    async def body() -> None:
        async with await scene.line() as line:
            line.discard()
            await line.send(get(ONE))
            await scene.rest()

    await scene.crowd(3000, body)


@attack("streams-unread", "100 event streams of all symbols, not read", due=ALLOWED)
async def unread(scene: Scene) -> None:
    async def body() -> None:
        async with await scene.line(receive_bytes=4096) as line:
            await line.send(get(ALL))
            await scene.rest()

    await scene.crowd(100, body, again=False)


@attack("streams-abandoned", "event streams of all symbols, left at once, again and again", due=ALLOWED)
async def abandoned(scene: Scene) -> None:
    async def body() -> None:
        async with await scene.line() as line:
            await line.send(get(ALL))
            await line.head()

    await scene.crowd(8, body)


@attack("streams-flood", "event streams whose clients send on and on", due=CUT)
async def flood(scene: Scene) -> None:
    async def body() -> None:
        async with await scene.line() as line:
            line.discard()
            await line.send(get(ONE))
            while scene.running:
                await line.send(b"x" * 65_536)
                await asyncio.sleep(0)

    await scene.crowd(8, body)


@attack("streams-junk", "requests for streams of 900 symbols that do not exist", due=("http 404",))
async def junk(scene: Scene) -> None:
    async def body() -> None:
        async with await scene.line() as line:
            await line.send(get(JUNK))
            await line.answer()

    await scene.crowd(8, body)
