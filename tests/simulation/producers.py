"""Producers: random events, valid and not, appended over the network. An unknown outcome is left as it is."""

import asyncio
import json
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from redis.asyncio import Redis

from depthcast.shared.errors import RedisUnavailable
from depthcast.shared.instruments import Feed, Instrument, OnCross, to_json
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.partition import partition_of
from depthcast.shared.runtime.redis import Connect, execute
from depthcast.shared.types import Symbol
from tests.random_events import encode, random_array

PREFIX: Final = "sim"
KEYS: Final = DeploymentKeys(PREFIX)
URL: Final = "redis://simulated"
KINDS: Final = tuple(
    (feed, on_cross) for on_cross in (OnCross.REJECT, OnCross.EVICT) for feed in (Feed.LEVELS, Feed.ORDERS)
)
BURST: Final = 6
BURST_EVERY_S: Final = 0.03

UNKNOWN: Final = "NOBODY"
"""A symbol that is never registered."""

Kind = tuple[str, str]


def make_instruments(rng: Random, count: int) -> dict[str, Instrument]:
    """`count` instruments; the first has a levels feed, the second an orders feed."""
    kinds = [*KINDS[:2], *(rng.choice(KINDS) for _ in range(count))]
    return {
        f"S{number}": Instrument(Symbol(f"S{number}"), "0.01", "0.001", *kinds[number])
        for number in range(count)
    }


DOUBTS: list[dict[str, Any]] = [
    {},
    {},
    {},
    {"stale": "gap"},
    {"stale": "checksum"},
    {"live": True},
    {"live": True},
]


@dataclass
class Corpus:
    """The meaning of the bytes that were sent; None if they have none."""

    arrays: dict[bytes, list[Any] | None] = field(default_factory=dict)
    atomic: dict[bytes, bool | None] = field(default_factory=dict)
    doubts: dict[bytes, dict[str, Any]] = field(default_factory=dict)

    def array(self, rng: Random, events: list[Any]) -> bytes:
        """An encoded array of events, sometimes corrupted."""
        if rng.random() < 0.01:
            spoiled = rng.choice((b"\xc1", b"[[", b"", b"7"))
            self.arrays[spoiled] = None
            return spoiled
        raw = encode(events, rng.random() < 0.4)
        self.arrays[raw] = events
        return raw

    def mark(self, rng: Random, *, atomic: bool) -> bytes:
        """An encoded `_`, sometimes corrupted."""
        if rng.random() < 0.03:
            self.atomic[b"{]"] = None
            return b"{]"
        doubt = rng.choice(DOUBTS)
        raw = encode({"atomic": atomic, **doubt}, rng.random() < 0.5)
        self.atomic[raw], self.doubts[raw] = atomic, doubt
        return raw


class Producer:
    """Sends to `active` symbols, which sometimes change; sends nothing while `silent`.

    `sent` counts attempts.
    """

    client: Redis

    def __init__(
        self, rng: Random, corpus: Corpus, instruments: dict[str, Instrument], partitions: int
    ) -> None:
        self.rng = rng
        self.corpus = corpus
        self.partitions = partitions
        self.symbols = list(instruments)
        self.active = self.symbols
        self.sent = 0
        self.silent = False
        self.unknown = 0

    async def run(self, connect: Connect, entries: int, until_s: float) -> None:
        """Send about `entries` entries until the loop's time `until_s`."""
        loop = asyncio.get_running_loop()
        self.client = connect(URL)
        mean_s = (until_s - loop.time()) / entries
        while loop.time() < until_s:
            for _ in range(self.rng.choice((1, 1, 1, 2, 6))):
                if not self.silent:
                    await self._send()
            await asyncio.sleep(min(self.rng.expovariate(1 / (2.2 * mean_s)), until_s - loop.time()))

    async def relist(self, wanted: Instrument) -> None:
        """Ask for a listing, whatever the book holds; now and then with events for it."""
        symbol = str(wanted.symbol)
        raw = json.dumps({"relist": {symbol: json.loads(to_json(wanted))}}).encode()
        self.corpus.atomic[raw], self.corpus.doubts[raw] = False, {}
        fields = [(b"_", raw)]
        if self.rng.random() < 0.5:
            fields.append((symbol.encode(), self.corpus.array(self.rng, random_array(self.rng, 4))))
        if not self.silent:
            await self._append(symbol, fields)

    async def burst(self, symbol: str) -> None:
        """Send some entries of one symbol soon after each other, or none."""
        for _ in range(self.rng.choice((0, BURST))):
            await asyncio.sleep(self.rng.expovariate(1 / BURST_EVERY_S))
            if not self.silent:
                await self._send(symbol)

    async def _send(self, symbol: str | None = None) -> None:
        rng = self.rng
        if rng.random() < 0.1:
            self.active = rng.sample(self.symbols, rng.randint(1, len(self.symbols)))
        symbol = symbol or rng.choice(self.active)
        number = partition_of(symbol, self.partitions)
        neighbours = [
            s
            for s in {symbol: None, **dict.fromkeys(self.active)}
            if partition_of(s, self.partitions) == number
        ]
        names = [symbol, *rng.choices(neighbours, k=rng.choice((0, 0, 1)))]
        if rng.random() < 0.05:
            names.append(rng.choice((UNKNOWN, *self.symbols)))
        fields = [(name.encode(), self.corpus.array(rng, random_array(rng, 4))) for name in names]
        if rng.random() < 0.3:
            fields.append((b"_", self.corpus.mark(rng, atomic=rng.random() < 0.8)))
        self.sent += 1
        await self._append(symbol, fields)

    async def _append(self, symbol: str, fields: list[tuple[bytes, bytes]]) -> None:
        events = KEYS.partition(partition_of(symbol, self.partitions)).events
        try:
            await execute(self.client, "XADD", events, "*", *(part for pair in fields for part in pair))
        except RedisUnavailable:
            self.unknown += 1
