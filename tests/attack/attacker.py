"""A process that carries out one attack and prints what it got.

`python -m tests.attack.attacker NAME PORT SECONDS SYMBOLS [short]`; a short attack has fewer attackers, and
ends when the first of them is refused.
"""

import asyncio
import contextlib
import os
import resource
import sys
import time
from typing import Final

import orjson

from tests.attack.catalog import Attack, load
from tests.attack.wire import Gone, Scene

GRACE_S = 3.0
"""An attack that has not noticed that its time is over is cut off after this."""


SHORT_MAX: Final = 60
"""Attackers of a short attack."""
LOOK_S: Final = 0.05


async def until_refused(attack: Attack, scene: Scene) -> None:
    """Carry out an attack, and break it off when what is due has come."""
    body = asyncio.ensure_future(attack.body(scene))
    while not body.done() and not (attack.due and attack.refused(list(scene.outcome))):
        await asyncio.wait({body}, timeout=LOOK_S)
        scene.look()
    body.cancel()


async def main(name: str, port: int, seconds: float, symbols: int, *, short: bool) -> None:
    attack = load()[name]
    scene = Scene("127.0.0.1", port, seconds, symbols, most=SHORT_MAX if short else None)
    sys.stdout.write(f"{time.monotonic()}\n")
    sys.stdout.flush()
    with contextlib.suppress(TimeoutError, Gone):
        async with asyncio.timeout(seconds + GRACE_S):
            await (until_refused(attack, scene) if short else attack.body(scene))
    sys.stdout.buffer.write(orjson.dumps(scene.outcome) + b"\n")
    sys.stdout.flush()
    os._exit(0)  # leave as a killed process does


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(
        main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), short=len(sys.argv) > 5)
    )
