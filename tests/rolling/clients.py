"""The clients of a rolling restart: what each of them sees, and whether that is right."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from depthcast import connect
from depthcast.client.client import Client

DEPTHS: Final = (1, 5, 10, 25, 50, 100, 0)
GROUPS: Final = (1, 1, 1, 5, 10)
SYMBOLS: Final = ("BTC-USD", "ETH-PERP", "SOL-USD", "ETH-USD")


@dataclass
class Seen:
    """What one client saw. `silences_s`: times between two updates while it was to get some.

    `not_resumed`: views that it lost at a reconnect, though it held them: each was a snapshot too much.
    """

    number: int
    views: int
    depth: int
    group: int
    reconnects: int = 0
    not_resumed: int = 0
    gaps: int = 0
    wrong: int = 0
    failed: str = ""
    silences_s: list[float] = field(default_factory=list)

    @property
    def fine(self) -> bool:
        """At most one reconnect, no gap, no wrong book, no snapshot that was not needed."""
        return self.reconnects <= 1 and not (self.not_resumed or self.gaps or self.wrong or self.failed)


class Crowd:
    """Clients with as many different views as there are, so that few are known at every gateway."""

    def __init__(
        self, url: str, count: int, symbols: Sequence[str] = SYMBOLS, token: str | None = None
    ) -> None:
        self.url, self.symbols, self.token = url, symbols, token
        self.seen = [
            Seen(n, len(symbols), DEPTHS[n % len(DEPTHS)], GROUPS[n // len(DEPTHS) % len(GROUPS)])
            for n in range(count)
        ]
        self.clients: list[Client | None] = [None] * count
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Connect all, and wait until each has its views."""
        begun = [asyncio.Event() for _ in self.seen]
        self._tasks = [
            asyncio.create_task(self._run(seen, event)) for seen, event in zip(self.seen, begun, strict=True)
        ]
        await asyncio.gather(*(event.wait() for event in begun))

    async def _run(self, seen: Seen, begun: asyncio.Event) -> None:
        number = seen.number
        encoding = "msgpack" if number % 2 else "json"
        try:
            async with connect(self.url, encoding, token=self.token) as client:
                self.clients[number] = client
                await client.subscribe(self.symbols, depth=seen.depth, group=seen.group)
                for symbol in self.symbols:
                    await client.wait_for(symbol)
                begun.set()
                last = time.monotonic()
                async for _ in client:
                    now = time.monotonic()
                    seen.silences_s.append(now - last)
                    last = now
        except Exception as error:  # noqa: BLE001  # it is what this client saw
            seen.failed = repr(error)
        finally:
            begun.set()

    async def end(self) -> None:
        """End all clients, and note what each counted."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for seen, client in zip(self.seen, self.clients, strict=True):
            if client is not None:
                counters = client.counters
                seen.reconnects, seen.gaps = counters.reconnects, counters.gaps
                seen.wrong += counters.mismatches
                seen.not_resumed = counters.reconnects * seen.views - counters.resumed
