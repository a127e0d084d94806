"""The sweep over messages: every op, big, many and fast, in both encodings; what subscriptions cost."""

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Any

import msgpack
import orjson

from tests.attack.catalog import ALLOWED, FLOODED, TOO_MUCH, Body, attack
from tests.attack.measured_attacks import BIG_SYMBOL, STAR, repeat
from tests.attack.wire import BINARY, DEFLATE, TEXT, Scene, deflated, frame, message

BIG_BYTES = 900_000
MANY = 30_000
FAST = 500
"""Small messages in one write."""
DEPTHS = (1, 5, 10, 25, 50, 100, 500, 1000, 0)
GROUPS = 40
"""More than a gateway keeps of one symbol."""

OPS: dict[str, dict[str, Any]] = {
    "subscribe": {"symbols": ["S000"]},
    "unsubscribe": {"symbols": ["S000"]},
    "credit": {"messages": 1},
    "ping": {"id": 1},
    "auth": {"token": "x"},
    "nonsense": {},
}
MANY_OF: dict[str, dict[str, Any]] = {
    "subscribe": {"symbols": [f"X{number}" for number in range(MANY)]},
    "unsubscribe": {"symbols": [f"X{number}" for number in range(MANY)]},
    "credit": {"messages": list(range(MANY))},
    "ping": {"id": {f"X{number}": number for number in range(MANY)}},
    "auth": {"token": [[] for _ in range(MANY)]},
    "nonsense": {f"X{number}": number for number in range(MANY)},
}


def shapes(op: str) -> Iterator[tuple[str, str, dict[str, Any], int]]:
    """Each shape of an op: name, description, message, and how many go in one write."""
    fields = {"op": op} | OPS[op]
    yield "fast", f"`{op}`s as fast as they go", fields, FAST
    yield "big", f"`{op}`s of {BIG_BYTES:,} bytes", fields | {"padding": "x" * BIG_BYTES}, 1
    yield "many", f"`{op}`s with {MANY:,} values", fields | MANY_OF[op], 1


def as_text(value: object) -> bytes:
    return frame(TEXT, orjson.dumps(value))


def as_binary(value: object) -> bytes:
    packed: bytes = msgpack.packb(value)
    return frame(BINARY, packed)


async def send_again(scene: Scene, encoding: str, fields: dict[str, Any], count: int) -> None:
    """One connection that sends the same message again and again."""
    encode = as_text if encoding == "json" else as_binary
    data = encode(fields) * count

    async def body() -> None:
        async with await scene.websocket(encoding=encoding) as line:
            await repeat(scene, line, data)

    await scene.crowd(1, body)


for _op in OPS:
    for _shape, _what, _fields, _count in shapes(_op):
        _encoding = "msgpack" if _shape == "many" else "json"
        _body: Body = partial(send_again, encoding=_encoding, fields=_fields, count=_count)
        attack(f"{_op}-{_shape}", _what, due=FLOODED if _shape == "fast" else TOO_MUCH)(_body)


INFLATED = {
    "inflate-msgpack-nulls": (b"\xdd\x00\x0f\x42\x40" + b"\xc0" * 1_000_000, "a list of a million nulls"),
    "inflate-msgpack-maps": (b"\xdd\x00\x0f\x42\x00" + b"\x80" * 999_936, "a list of a million maps"),
    "inflate-msgpack-deep": (b"\x91" * 1_000_000, "a million lists in each other"),
}


async def send_inflating(scene: Scene, data: bytes) -> None:
    async def body() -> None:
        async with await scene.websocket(offer=DEFLATE, encoding="msgpack") as line:
            await repeat(scene, line, data)

    await scene.crowd(1, body)


for _name, (_payload, _what) in INFLATED.items():
    attack(_name, f"compressed messages of {_what}")(partial(send_inflating, data=deflated(_payload, BINARY)))


@attack("no-json", "messages that are not JSON, ten for each connection")
async def no_json(scene: Scene) -> None:
    async def body() -> None:
        async with await scene.websocket() as line:
            await line.send(frame(TEXT, b"{" * 1000) * 10)
            await line.gone()

    await scene.crowd(4, body)


# --- what subscriptions may cost ----------------------------------------------------------------------


@attack("every-view", "every depth of every symbol, a connection for each depth", due=TOO_MUCH, seconds=8)
async def every_view(scene: Scene) -> None:
    depths = iter(DEPTHS)

    async def body() -> None:
        depth = next(depths)
        async with await scene.websocket() as line:
            await line.send(message(op="subscribe", symbols=scene.symbols, depth=depth))
            await scene.rest()

    await scene.crowd(len(DEPTHS), body, again=False)


@attack("every-view-in-a-loop", "the depth of every symbol changed again and again")
async def every_view_in_a_loop(scene: Scene) -> None:
    async def body() -> None:
        async with await scene.websocket() as line:
            while scene.running:
                for depth in DEPTHS:
                    await line.send(message(op="subscribe", symbols=scene.symbols, depth=depth))

    await scene.crowd(4, body)


@attack("every-group", "every symbol in 40 groups, a connection for each group", due=TOO_MUCH, seconds=8)
async def every_group(scene: Scene) -> None:
    groups = iter(range(2, 2 + GROUPS))

    async def body() -> None:
        group = next(groups)
        async with await scene.websocket() as line:
            await line.send(message(op="subscribe", symbols=scene.symbols, group=group))
            await scene.rest()

    await scene.crowd(GROUPS, body, again=False)


@attack("own-groups-in-a-loop", "the group of every symbol changed again and again, to one that nobody had")
async def own_groups_in_a_loop(scene: Scene) -> None:
    groups = iter(range(2, 2**31))

    async def body() -> None:
        async with await scene.websocket() as line:
            while scene.running:
                await line.send(message(op="subscribe", symbols=scene.symbols, group=next(groups)))

    await scene.crowd(4, body)


@attack("own-intervals", "200 connections with an interval of their own for 50 symbols each", due=ALLOWED)
async def own_intervals(scene: Scene) -> None:
    number = 0

    async def body() -> None:
        nonlocal number
        number += 1
        async with await scene.websocket() as line:
            symbols = scene.symbols[:50]
            await line.send(message(op="subscribe", symbols=symbols, depth=1, interval_ms=number))
            await scene.rest()

    await scene.crowd(200, body, again=False)


@attack("unread-stars", '20 connections subscribe `["*"]` at depth 1000 and never read', due=ALLOWED)
async def unread_stars(scene: Scene) -> None:
    async def body() -> None:
        async with await scene.websocket(listen=False, receive_bytes=4096) as line:
            await line.send(message(op="subscribe", symbols=STAR, depth=1000))
            await scene.rest()

    await scene.crowd(20, body, again=False)


@attack("unread-big-books", "200 connections subscribe a deep book in full and never read", due=ALLOWED)
async def unread_big_books(scene: Scene) -> None:
    async def body() -> None:
        async with await scene.websocket(listen=False, receive_bytes=4096) as line:
            await line.send(message(op="subscribe", symbols=[BIG_SYMBOL], depth=0))
            await scene.rest()

    await scene.crowd(200, body, again=False)


@attack("big-books-in-a-loop", "a deep book subscribed in full again and again, 8 connections")
async def big_books_in_a_loop(scene: Scene) -> None:
    data = message(op="subscribe", symbols=[BIG_SYMBOL], depth=0) * 10

    async def body() -> None:
        async with await scene.websocket() as line:
            await repeat(scene, line, data)

    await scene.crowd(8, body)


@attack("credit-drops", "5,000 subscriptions, then credit for one message 1,000 times a second")
async def credit_drops(scene: Scene) -> None:
    async def body() -> None:
        async with await scene.websocket() as line:
            await line.send(message(op="credit", messages=1))
            await line.send(message(op="subscribe", symbols=scene.symbols, depth=1))
            await repeat(scene, line, message(op="credit", messages=1) * 10, 0.01)

    await scene.crowd(1, body)


@attack("resume-storm", "connect, resume 5,000 symbols with wrong digests, leave, again")
async def resume_storm(scene: Scene) -> None:
    resume = {symbol: {"seq": 1 << 52, "digest": 1} for symbol in scene.symbols}
    data = message(op="subscribe", symbols=scene.symbols, resume=resume)

    async def body() -> None:
        async with await scene.websocket() as line:
            await line.send(data)
            await asyncio.sleep(0.02)

    await scene.crowd(4, body)


@attack("repeated-symbol", "one symbol 150,000 times in a list, as fast as they go")
async def repeated_symbol(scene: Scene) -> None:
    data = message(op="subscribe", symbols=["S000"] * 130_000)

    async def body() -> None:
        async with await scene.websocket() as line:
            await repeat(scene, line, data)

    await scene.crowd(2, body)


@attack(
    "pings-with-credit",
    "5,000 subscriptions in two intervals with credit for ever, then 500 `ping`s a second",
)
async def pings_with_credit(scene: Scene) -> None:
    half = len(scene.symbols) // 2

    async def body() -> None:
        async with await scene.websocket() as line:
            await line.send(message(op="credit", messages=1 << 50))
            await line.send(message(op="subscribe", symbols=scene.symbols[:half], depth=1))
            await line.send(message(op="subscribe", symbols=scene.symbols[half:], depth=1, interval_ms=1000))
            await repeat(scene, line, message(op="ping") * 5, 0.01)

    await scene.crowd(1, body)
