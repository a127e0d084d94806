"""Says that a book is in doubt whose live feed has ended without a word: killed, or with its machine.

A live feed refreshes the entry of each of its symbols in the hash `sources` every second. Every ingestor
looks at that hash. Whoever finds an entry that is old though it says `live` marks the entry as `gone` and the
book as stale by an entry of the input log, in one step, so it happens once and is ordered with the feed's own
entries. A feed that was only cut off finds the mark, and writes its book again.
"""

import asyncio
import json
import logging
from typing import Final

from redis.asyncio import Redis

from depthcast.ingestor.runtime.lease import wait_for
from depthcast.shared.errors import DeploymentMismatch, RedisUnavailable
from depthcast.shared.feed_source import GONE, GONE_US
from depthcast.shared.json_object import json_object
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.partition import partition_of
from depthcast.shared.runtime.catalog import read_deployed
from depthcast.shared.runtime.outage import Outage
from depthcast.shared.runtime.redis import connect, execute, map_errors, read_hash
from depthcast.shared.settings import IngestorSettings

logger = logging.getLogger(__name__)

LOOK_S: Final = 1.0
UNCHANGED_S: Final = 3.0
"""An old entry must not have changed for so long either: a failover may bring another clock."""

LIVE: Final = "live"
"""State of an entry whose book is right."""

UNFED: Final = "unfed"
"""The reason for doubt."""

_MARK: Final = """
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
if not redis.acl_check_cmd('HSET', KEYS[1], ARGV[1], ARGV[3]) then
  return redis.error_reply('NOPERM this user may not run HSET on ' .. KEYS[1])
end
redis.call('XADD', KEYS[2], '*', '_', ARGV[4], ARGV[1], '[]')
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
"""
"""Nothing is added unless the entry can be marked: otherwise it would be added again each second.

KEYS: sources, the symbol's input log. ARGV: symbol, its entry as read, its entry from now on, options."""


class FeederWatch:
    """Looks at the feeds of one deployment, whose `keys` were read."""

    def __init__(self, client: Redis, keys: DeploymentKeys, partitions: int) -> None:
        self.client = client
        self.keys = keys
        self.partitions = partitions
        self._mark = client.register_script(_MARK)
        self._seen: dict[bytes, tuple[bytes, float]] = {}

    async def look(self, now: float) -> list[str]:
        """Mark the books of feeds that are gone; returns their symbols. `now`: seconds of a steady clock.

        Raises `RedisUnavailable`.
        """
        table: dict[bytes, bytes] = {}
        for key in self.keys.all_sources():
            table |= await read_hash(self.client, key)
        if not table:
            return []
        seconds, us = await execute(self.client, "TIME")
        server_us = int(seconds) * 1_000_000 + int(us)
        self._seen = {
            name: seen if (seen := self._seen.get(name)) is not None and seen[0] == raw else (raw, now)
            for name, raw in table.items()
        }
        marked = []
        for name, (raw, since) in self._seen.items():
            symbol = name.decode("utf-8", "replace")
            if now - since >= UNCHANGED_S and await self._mark_gone(symbol, raw, server_us):
                marked.append(symbol)
        return marked

    async def _mark_gone(self, symbol: str, raw: bytes, now_us: int) -> bool:
        """Mark one entry if its feed is gone; False if it is not, or if somebody else was first."""
        entry = json_object(raw) or {}
        at = entry.get("at")
        if entry.get("state") != LIVE or type(at) is not int or now_us - at < GONE_US:
            return False
        events = self.keys.partition(partition_of(symbol, self.partitions)).events
        gone = json.dumps({**entry, "state": GONE, "reason": UNFED}, separators=(",", ":"))
        words: list[str | bytes] = [symbol, raw, gone, json.dumps({"stale": UNFED})]
        async with map_errors(events):
            marked = bool(await self._mark([self.keys.sources_of(symbol), events], words))
        if marked:
            about = {"symbol": symbol, "feeder": entry.get("feeder"), "venue": entry.get("venue")}
            logger.error("a live feed is gone without a word; its book is marked stale", extra=about)
        return marked


async def watch_feeders(settings: IngestorSettings, stop: asyncio.Event) -> None:
    """Look each second until `stop` is set; waits while there is no deployment, and while Redis is away."""
    keys = DeploymentKeys.at(settings.redis_url, settings.prefix)
    outage = Outage(logger, "nobody watches the live feeds")
    watch: FeederWatch | None = None
    async with connect(settings.redis_url) as client:
        while not await wait_for(stop, LOOK_S):
            try:
                if watch is None and (deployed := await read_deployed(client, keys, None)) is not None:
                    watch = FeederWatch(client, deployed.keys, deployed.partitions)
                if watch is not None:
                    await watch.look(asyncio.get_running_loop().time())
                outage.over()
            except RedisUnavailable as error:
                outage.note(error)
            except DeploymentMismatch:
                return  # the ingestor itself says so, and ends
            except Exception:
                logger.exception("looking at the live feeds failed; it is done again")
