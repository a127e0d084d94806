"""The hash `sources`: who feeds which symbol from which venue, how good that is, and how it is now."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from redis.asyncio import Redis

from depthcast.feed.source import is_running, read_source
from depthcast.shared.feed_source import GONE
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.runtime import redis


class Sources:
    """Reads and writes the entries of some symbols."""

    def __init__(self, client: Redis, keys: DeploymentKeys, feeder: str) -> None:
        self.client = client
        self.keys = keys
        self.feeder = feeder
        self.given_up: set[str] = set()
        """Own symbols that an ingestor took for unfed, and whose books it marked stale; as last read."""

    async def others(self, symbols: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return the entries of other feeders that are running. Raises `RedisUnavailable`."""
        now = await self._now_us()
        found = await self.read(symbols)
        self.given_up = {
            symbol
            for symbol, entry in found.items()
            if entry.get("feeder") == self.feeder and entry.get("state") == GONE
        }
        return {
            symbol: entry
            for symbol, entry in found.items()
            if entry.get("feeder") != self.feeder and is_running(entry, now)
        }

    async def read(self, symbols: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return the entries, whoever wrote them; empty ones for none. Raises `RedisUnavailable`."""
        found: dict[str, bytes | None] = {}
        for key, named in self._by_key(symbols).items():
            found.update(zip(named, await redis.execute(self.client, "HMGET", key, *named), strict=True))
        return {symbol: read_source(found[symbol]) for symbol in symbols}

    async def publish(self, entries: Mapping[str, Mapping[str, Any]]) -> None:
        """Write entries, with the time by the server's clock. Raises `RedisUnavailable`."""
        if not entries:
            return
        at = await self._now_us()
        for key, symbols in self._by_key(entries).items():
            words = [
                word
                for symbol in symbols
                for word in (symbol, json.dumps({**entries[symbol], "at": at}, separators=(",", ":")))
            ]
            await redis.execute(self.client, "HSET", key, *words)

    def _by_key(self, symbols: Iterable[str]) -> dict[str, list[str]]:
        """Symbols by the hash that has their entries."""
        found: dict[str, list[str]] = {}
        for symbol in symbols:
            found.setdefault(self.keys.sources_of(symbol), []).append(symbol)
        return found

    async def _now_us(self) -> int:
        seconds, us = await redis.execute(self.client, "TIME")
        return int(seconds) * 1_000_000 + int(us)
