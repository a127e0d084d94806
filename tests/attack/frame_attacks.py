"""The sweep over frames: every type as a flood, and what RFC 6455 forbids, again and again."""

import struct
from functools import partial

from tests.attack.catalog import ALLOWED, FLOODED, attack
from tests.attack.measured_attacks import repeat
from tests.attack.wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
    DEFLATE,
    PING,
    PONG,
    TEXT,
    Scene,
    deflate,
    frame,
    message,
)

COUNT = 500
PROTOCOL = ("close 1002", "close 1003", "close 1007", "close 1008", "close 1009")
FLOODS = {
    "empty-texts": frame(TEXT),
    "pings": frame(PING),
    "long-pings": frame(PING, b"x" * 125),
    "long-pongs": frame(PONG, b"x" * 125),
}
"""Allowed one by one; as a flood each is to be refused."""
FORBIDDEN = {
    "binary-where-text-is-spoken": frame(BINARY, b"{}"),
    "reserved-opcode": frame(3, b"x"),
    "reserved-control-opcode": frame(11),
    "unmasked": frame(TEXT, b'{"op":"ping"}', masked=False),
    "reserved-bits": frame(TEXT, b'{"op":"ping"}', rsv=3),
    "compressed-without-agreement": frame(TEXT, deflate(b'{"op":"ping"}'), rsv=4),
    "lone-continuation": frame(CONTINUATION, b"x"),
    "text-within-text": frame(TEXT, b"{", fin=False) * 2,
    "fragmented-ping": frame(PING, fin=False),
    "too-long-ping": frame(PING, b"x" * 126),
    "no-utf-8": frame(TEXT, b"\xff\xfe"),
    "length-of-2-to-the-62": struct.pack("!BBQ", 0x81, 0xFF, 1 << 62) + bytes(4),
    "length-of-2-to-the-63": struct.pack("!BBQ", 0x81, 0xFF, 1 << 63) + bytes(4),
    "longer-than-allowed": frame(TEXT, b" " * (5 << 20)),
}
"""Each is the end of the connection."""


async def flood(scene: Scene, data: bytes) -> None:
    """The same frames as fast as they go."""

    async def body() -> None:
        async with await scene.websocket() as line:
            await repeat(scene, line, data * COUNT)

    await scene.crowd(1, body)


async def forbidden(scene: Scene, data: bytes) -> None:
    """Connect, send what is forbidden, wait for the end, again."""

    async def body() -> None:
        async with await scene.websocket() as line:
            await line.send(data)
            await line.gone()

    await scene.crowd(2, body)


for _name, _data in FLOODS.items():
    attack(f"frames-{_name}", f"{_name.replace('-', ' ')}, as fast as they go", due=(*FLOODED, "close 1008"))(
        partial(flood, data=_data)
    )
for _name, _data in FORBIDDEN.items():
    _due = ("close 1009", "close 1002") if _name.startswith("l") else PROTOCOL
    attack(f"frames-{_name}", _name.replace("-", " "), due=_due)(partial(forbidden, data=_data))


@attack("frames-closes", "close frames as fast as they go, on 4 connections", due=("close 1000", "cut"))
async def closes(scene: Scene) -> None:
    async def body() -> None:
        async with await scene.websocket() as line:
            await line.send(frame(CLOSE, b"\x03\xe8") * 1000)
            await line.gone()

    await scene.crowd(4, body)


@attack("one-byte-fragments", "messages of 1 MB in fragments of one byte", due=FLOODED, seconds=8)
async def one_byte_fragments(scene: Scene) -> None:
    part = frame(CONTINUATION, b" ", fin=False) * 10_000

    async def body() -> None:
        async with await scene.websocket() as line:
            while scene.running:
                await line.send(frame(TEXT, b"{", fin=False))
                for _ in range(100):
                    await line.send(part)
                await line.send(frame(CONTINUATION, b"}"))

    await scene.crowd(1, body)


@attack("one-byte-writes", "`ping`s byte by byte in packets of their own, 8 connections", due=ALLOWED)
async def one_byte_writes(scene: Scene) -> None:
    ping = message(op="ping")

    async def body() -> None:
        async with await scene.websocket() as line:
            while scene.running:
                for byte in ping:
                    await line.send(bytes([byte]))

    await scene.crowd(8, body)


@attack("compressed-nothing", "compressed messages that inflate to nothing")
async def compressed_nothing(scene: Scene) -> None:
    data = frame(TEXT, b"\x00", rsv=4) * COUNT

    async def body() -> None:
        async with await scene.websocket(offer=DEFLATE) as line:
            await repeat(scene, line, data)

    await scene.crowd(1, body)


@attack("compressed-empty-blocks", "compressed messages of 60,000 empty blocks")
async def compressed_empty_blocks(scene: Scene) -> None:
    data = frame(TEXT, b"\x00\x00\x00\xff\xff" * 60_000, rsv=4)

    async def body() -> None:
        async with await scene.websocket(offer=DEFLATE) as line:
            await repeat(scene, line, data)

    await scene.crowd(1, body)
