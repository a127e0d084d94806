"""A process with clients that behave: `python -m tests.attack.witness NAME=PORT …` prints what they see.

Each client holds the book of one symbol at depth 25 and prints a line for each message: when, by the clock
that all processes of a machine share, and how old it was. `knock` lines say how long `/healthz`, or a book,
took for somebody new at the first gateway.
"""

import asyncio
import itertools
import sys
import time
from typing import Final

import orjson
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Subprotocol

SYMBOL: Final = "S000"
PATHS: Final = (b"/healthz", f"/v1/books/{SYMBOL}".encode())
KNOCK_S: Final = 0.25
KNOCK_TIMEOUT_S: Final = 2.0


def say(name: str, what: str, value: float) -> None:
    """One line: the client, when, what, and a number."""
    sys.stdout.write(f"{time.monotonic():.6f} {name} {what} {value:.3f}\n")
    sys.stdout.flush()


async def follow(name: str, port: int) -> None:
    """Follow the book, and come back whenever the connection is lost."""
    while True:
        try:
            async with connect(
                f"ws://127.0.0.1:{port}/v1/ws",
                subprotocols=[Subprotocol("depthcast.v1.json")],
                compression=None,
                ping_interval=None,
                proxy=None,
            ) as socket:
                await socket.send(
                    orjson.dumps({"op": "subscribe", "symbols": [SYMBOL], "depth": 25}).decode()
                )
                while True:
                    message = orjson.loads(await socket.recv())
                    if message["type"] in ("delta", "snapshot"):
                        say(name, "book", time.time() * 1e3 - message["ts"] / 1e3)
        except ConnectionClosed as closed:
            say(name, "lost", closed.rcvd.code if closed.rcvd else 1006)
        except (OSError, WebSocketException, TimeoutError):
            say(name, "lost", 0)
        await asyncio.sleep(0.1)


async def knock(port: int) -> None:
    """Ask for `/healthz` or for a book on a new connection, again and again."""
    for path in itertools.cycle(PATHS):
        began = time.monotonic()
        try:
            async with asyncio.timeout(KNOCK_TIMEOUT_S):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                try:
                    writer.write(b"GET " + path + b" HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n")
                    status = await reader.readline()
                finally:
                    writer.close()
            answered = b" 200 " in status
        except (OSError, TimeoutError):
            answered = False
        say("new", "knock" if answered else "shut", (time.monotonic() - began) * 1e3)
        await asyncio.sleep(KNOCK_S)


async def main(clients: dict[str, int]) -> None:
    async with asyncio.TaskGroup() as group:
        for name, port in clients.items():
            group.create_task(follow(name, port))
        group.create_task(knock(next(iter(clients.values()))))


if __name__ == "__main__":
    asyncio.run(main({name: int(port) for name, port in (word.split("=") for word in sys.argv[1:])}))
