"""`--watch`: clients of the composition, connected all the while, and what they saw of the upgrade.

They are those of `make rolling`, and are judged as there.
"""

import asyncio
import json
import time
import urllib.request
from collections.abc import Callable
from typing import Final

from deploy.upgrade.rolling import Say
from tests.rolling.clients import Crowd
from tests.rolling.result import Result
from tests.waiting import eventually

SYMBOLS_MAX: Final = 4
BACK_S: Final = 30.0
"""A client that was closed last has its books again by then."""


def watch(url: str, token: str, count: int, say: Say, upgrade: Callable[[], None]) -> Result:
    """Run an upgrade in a thread, with clients that read all the while; raises what it raises."""
    return asyncio.run(_watch(url, token, count, say, upgrade))


async def _watch(url: str, token: str, count: int, say: Say, upgrade: Callable[[], None]) -> Result:
    crowd = Crowd(url, count, await asyncio.to_thread(symbols_at, url, token), token)
    await crowd.start()
    say(f"{count} clients have their books of {', '.join(crowd.symbols)}")
    began = time.monotonic()
    try:
        await asyncio.to_thread(upgrade)
        seconds = time.monotonic() - began
        try:
            await eventually(lambda: not _away(crowd), BACK_S)
        except AssertionError:
            for number in _away(crowd):
                crowd.seen[number].failed = f"not back within {BACK_S:g} s"
    finally:
        await crowd.end()
    return Result(crowd.seen, seconds)


def _away(crowd: Crowd) -> list[int]:
    """Which clients have no connection, or not all of their books live."""
    return [
        seen.number
        for seen, client in zip(crowd.seen, crowd.clients, strict=True)
        if client is not None
        and not seen.failed
        and not (client.connected and all(client.state(each).value == "live" for each in crowd.symbols))
    ]


def symbols_at(url: str, token: str) -> list[str]:
    """Return some symbols of a gateway."""
    headers = {"Authorization": f"Bearer {token}"}
    asked = urllib.request.Request(f"{url}/v1/symbols", headers=headers)  # noqa: S310  # it is http
    with urllib.request.urlopen(asked, timeout=10) as answer:  # noqa: S310
        return [each["symbol"] for each in json.load(answer)][:SYMBOLS_MAX]
