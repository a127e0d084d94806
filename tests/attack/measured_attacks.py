"""The attacks that were measured before there was any defence; all others are of the kind of one of them."""

import asyncio
from functools import cache, partial

from tests.attack.catalog import ALLOWED, CUT, FLOODED, REQUESTS, TOO_MUCH, attack
from tests.attack.wire import (
    BINARY,
    CONTINUATION,
    DEFLATE,
    PONG,
    TEXT,
    Line,
    Scene,
    deflate,
    deflated,
    frame,
    get,
    message,
    upgrade,
)

BIG_SYMBOL = "BIG"
"""A symbol whose book is nearly as deep as a gateway shows."""
BURST = 64
"""Messages that are sent in one write."""
STAR = ["*"]


async def repeat(scene: Scene, line: Line, data: bytes, pause_s: float = 0.0) -> None:
    """Send the same again and again until the time is over."""
    while scene.running:
        await line.send(data)
        await asyncio.sleep(pause_s)


# --- messages that grow when they are inflated --------------------------------------------------------


@cache
def inflating() -> dict[str, bytes]:
    """Messages of about 1 KB that inflate to 1 MB, as frames."""
    zeros = b"0," * 499_000 + b"0"
    return {
        "symbols": deflated(b'{"op":"subscribe","symbols":[' + zeros + b"]}"),
        "depth": deflated(b'{"op":"subscribe","symbols":["S000"],"depth":[' + zeros + b"]}"),
        "spaces": deflated(b'{"op":"ping"' + b" " * 1_000_000 + b"}"),
    }


async def _inflate(scene: Scene, kind: str) -> None:
    async def body() -> None:
        async with await scene.websocket(offer=DEFLATE) as line:
            await repeat(scene, line, inflating()[kind])

    await scene.crowd(1, body)


for _kind, _what in (
    ("symbols", "`symbols` with 500,000 numbers"),
    ("depth", "`depth` a long list"),
    ("spaces", "spaces"),
):
    attack(
        f"inflate-{_kind}",
        f"1 KB messages that inflate to 1 MB ({_what}), as fast as they go",
        due=FLOODED if _kind == "spaces" else TOO_MUCH,
        measured=True,
    )(partial(_inflate, kind=_kind))


@attack(
    "deflate-bombs",
    "40 messages that inflate to 512 MiB, JSON depth bombs between them",
    due=("close 1009",),
    measured=True,
)
async def deflate_bombs(scene: Scene) -> None:
    bomb = frame(TEXT, deflate(b" " * (1 << 26)) * 8, rsv=4)
    deep = deflated(b"[" * 500_000)

    async def body() -> None:
        async with await scene.websocket(offer=DEFLATE) as line:
            await line.send(deep)
            await line.send(bomb)
            await line.gone()

    await scene.crowd(4, body)


# --- what grows with a client's own subscriptions -----------------------------------------------------


async def _without_credit(scene: Scene) -> Line:
    line = await scene.websocket()
    half = len(scene.symbols) // 2
    await line.send(message(op="credit", messages=1))
    await line.send(message(op="subscribe", symbols=scene.symbols[:half], depth=1))
    await line.send(message(op="subscribe", symbols=scene.symbols[half:], depth=1, interval_ms=100))
    await asyncio.sleep(min(0.5, scene.seconds / 4))
    return line


@attack(
    "pings-without-credit",
    "5,000 subscriptions in two intervals with credit used up, then 500 `ping`s a second",
    due=ALLOWED,
    measured=True,
)
async def pings_without_credit(scene: Scene) -> None:
    async def body() -> None:
        async with await _without_credit(scene) as line:
            await repeat(scene, line, message(op="ping") * 5, 0.01)

    await scene.crowd(1, body)


@attack(
    "ping-burst-without-credit", "the same, then one burst of 256 KB of `ping`s", due=FLOODED, measured=True
)
async def ping_burst_without_credit(scene: Scene) -> None:
    ping = message(op="ping")

    async def body() -> None:
        async with await _without_credit(scene) as line:
            await line.send(ping * (262_144 // len(ping)))
            await scene.rest()

    await scene.crowd(1, body)


@attack(
    "ping-and-credit-burst",
    "5,000 subscriptions, then 262 KB of `ping`s and 131 KB of `credit`s in one burst",
    due=FLOODED,
    measured=True,
)
async def ping_and_credit_burst(scene: Scene) -> None:
    ping, credit = message(op="ping"), message(op="credit", messages=1)

    async def body() -> None:
        async with await _without_credit(scene) as line:
            await line.send(ping * (262_144 // len(ping)) + credit * (131_072 // len(credit)))
            await scene.rest()

    await scene.crowd(1, body)


@attack(
    "star-loop", '`["*"]` of 5,000 symbols subscribed and unsubscribed in a loop', due=TOO_MUCH, measured=True
)
async def star_loop(scene: Scene) -> None:
    data = message(op="subscribe", symbols=STAR) + message(op="unsubscribe", symbols=STAR)

    async def body() -> None:
        async with await scene.websocket() as line:
            await repeat(scene, line, data)

    await scene.crowd(1, body)


@attack(
    "list-loop",
    "5,000 symbols subscribed and unsubscribed in a loop, 8 connections",
    due=ALLOWED,
    measured=True,
)
async def list_loop(scene: Scene) -> None:
    data = message(op="subscribe", symbols=scene.symbols) + message(op="unsubscribe", symbols=scene.symbols)

    async def body() -> None:
        async with await scene.websocket() as line:
            await repeat(scene, line, data)

    await scene.crowd(8, body)


@attack(
    "star-burst",
    '65 KB of `["*"]` subscribed and unsubscribed in one burst, attacker gone',
    due=ALLOWED,
    measured=True,
)
async def star_burst(scene: Scene) -> None:
    pair = message(op="subscribe", symbols=STAR) + message(op="unsubscribe", symbols=STAR)
    async with await scene.websocket() as line:
        await line.send(pair * (65_536 // len(pair)))


@attack("resume-maps", "`resume` maps of 27,000 symbols, 8 connections", due=TOO_MUCH, measured=True)
async def resume_maps(scene: Scene) -> None:
    state = {"seq": 1, "digest": 1}
    data = message(op="subscribe", symbols=["S000"], resume={f"X{number}": state for number in range(27_000)})

    async def body() -> None:
        async with await scene.websocket() as line:
            await repeat(scene, line, data)

    await scene.crowd(8, body)


@attack(
    "intervals",
    "one symbol subscribed with 60,000 different intervals, one after the other",
    due=ALLOWED,
    measured=True,
)
async def intervals(scene: Scene) -> None:
    count = 0

    async def body() -> None:
        nonlocal count
        async with await scene.websocket() as line:
            while scene.running and count < 60_000:
                some = range(count + 1, count + 1 + BURST)
                count += BURST
                burst = (message(op="subscribe", symbols=["S000"], interval_ms=number) for number in some)
                await line.send(b"".join(burst))
                await asyncio.sleep(0)
            await scene.rest()

    await scene.crowd(1, body)


# --- frames that carry nothing ------------------------------------------------------------------------


async def _flood(scene: Scene, data: bytes, first: bytes) -> None:
    async def body() -> None:
        async with await scene.websocket() as line:
            await line.send(first)
            await repeat(scene, line, data * 500)

    await scene.crowd(1, body)


for _name, _data, _first in (
    ("empty-continuations", frame(CONTINUATION, fin=False), frame(TEXT, b"{", fin=False)),
    ("application-pings", message(op="ping"), b""),
    ("unsolicited-pongs", frame(PONG), b""),
):
    attack(_name, f"{_name.replace('-', ' ')}, as fast as they go", due=FLOODED, measured=True)(
        partial(_flood, data=_data, first=_first)
    )


@attack(
    "unfinished-messages",
    "500 connections with an unfinished message of 1 MB each",
    due=("close 1013",),
    measured=True,
)
async def unfinished_messages(scene: Scene) -> None:
    part = frame(BINARY, bytes(65_000), fin=False)
    more = frame(CONTINUATION, bytes(65_000), fin=False)

    async def body() -> None:
        async with await scene.websocket(encoding="msgpack") as line:
            await line.send(part)
            for _ in range(15):
                await line.send(more)
                await asyncio.sleep(0)
            await scene.rest()

    await scene.crowd(500, body)


# --- HTTP and TCP -------------------------------------------------------------------------------------


def big_headers(size: int) -> bytes:
    """Header lines of about `size` bytes together, each of a length that servers take."""
    return b"".join(b"X-%06d: %s\r\n" % (number, b"a" * 7_900) for number in range(size // 8_000))


@attack(
    "big-headers",
    "300 handshakes with 960 KB of headers, half of them unfinished",
    due=("http 431",),
    measured=True,
)
async def big_headers_of_handshakes(scene: Scene) -> None:
    whole = upgrade(extra=big_headers(960_000))
    asked = 0

    async def body() -> None:
        nonlocal asked
        asked += 1
        unfinished = asked % 2
        async with await scene.line() as line:
            await line.send(whole[:-2] if unfinished else whole)
            if unfinished:
                line.discard()
                await scene.rest()
            elif await line.head() == 101:
                line.listen()
                await scene.rest()

    await scene.crowd(300, body)


@attack(
    "unread-books",
    "400 `GET …?depth=0` of a deep book whose answers are not read",
    due=REQUESTS,
    measured=True,
)
async def unread_books(scene: Scene) -> None:
    async def body() -> None:
        async with await scene.line(receive_bytes=4096) as line:
            await line.send(get(f"/v1/books/{BIG_SYMBOL}?depth=0"))
            await scene.rest()

    await scene.crowd(400, body, again=False)


@attack(
    "slow-handshakes", "2,000 handshakes of one byte every two seconds", due=CUT, measured=True, seconds=15
)
async def slow_handshakes(scene: Scene) -> None:
    whole = upgrade()

    async def body() -> None:
        async with await scene.line() as line:
            line.discard()
            for byte in whole:
                await line.send(bytes([byte]))
                await asyncio.sleep(2.0)
                if not scene.running:
                    return

    await scene.crowd(2000, body)


@attack("silent-connections", "5,000 TCP connections without a byte", due=CUT, measured=True, seconds=15)
async def silent_connections(scene: Scene) -> None:
    async def body() -> None:
        async with await scene.line() as line:
            line.discard()
            await scene.rest()

    await scene.crowd(5000, body)


@attack(
    "silent-connections-1024",
    "the same against a gateway that may open 1,024 files",
    due=CUT,
    measured=True,
    seconds=15,
    descriptors=1024,
)
async def silent_connections_of_few(scene: Scene) -> None:
    await silent_connections(scene)


@attack(
    "malformed-requests",
    "malformed requests of 25 bytes, as fast as they go",
    due=("http 400",),
    measured=True,
)
async def malformed_requests(scene: Scene) -> None:
    async def body() -> None:
        async with await scene.line() as line:
            await line.send(b"GET / HTTP/9\r\nA b: c\r\n\r\n")
            await line.head()

    await scene.crowd(8, body)
