"""A process that carries out one attack and prints what it got.

`python -m tests.attack.attacker NAME PORT SECONDS SYMBOLS`
"""

import asyncio
import contextlib
import os
import resource
import sys
import time

import orjson

from tests.attack.catalog import load
from tests.attack.wire import Gone, Scene

GRACE_S = 3.0
"""An attack that has not noticed that its time is over is cut off after this."""


async def main(name: str, port: int, seconds: float, symbols: int) -> None:
    attack = load()[name]
    scene = Scene("127.0.0.1", port, seconds, symbols)
    sys.stdout.write(f"{time.monotonic()}\n")
    sys.stdout.flush()
    with contextlib.suppress(TimeoutError, Gone):
        async with asyncio.timeout(seconds + GRACE_S):
            await attack.body(scene)
    sys.stdout.buffer.write(orjson.dumps(scene.outcome) + b"\n")
    sys.stdout.flush()
    os._exit(0)  # leave as a killed process does


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])))
