"""Appends entries to the input log, each exactly once, and waits while Redis is away or refuses them.

An append whose answer was lost may have happened, may still happen, or may never. Each producer therefore has
a key of its own, which the appending script sets in the same step: it holds the number of the last append and
the IDs that it gave. The same append again finds its number there and only returns the IDs; one that arrives
late does nothing. A failover that loses the entries loses the key with them. In a cluster there is such a key
for each partition, and an append is one step for each.
"""

import asyncio
import logging
import secrets
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from redis.asyncio import Redis

from depthcast.shared.backoff import Backoff, no_jitter
from depthcast.shared.errors import RedisUnavailable
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.partition import partition_of
from depthcast.shared.position import Position
from depthcast.shared.runtime import redis
from depthcast.shared.runtime.outage import Outage

logger = logging.getLogger(__name__)

RETRY_S: Final = 0.1
RETRY_S_MAX: Final = 2.0
"""Pauses between attempts while Redis refuses entries or is away."""

MARKER_S: Final = 86_400
"""The key of a producer goes after this long: an append is not repeated later than that."""

Fields = Sequence[str | bytes]
"""Names and values of an entry, alternating."""

_APPEND: Final = """
local last_id = '18446744073709551615-18446744073709551615'
local function refused(key, kind, ...)
  local held = redis.call('TYPE', key).ok
  if held ~= 'none' and held ~= kind then
    return redis.error_reply('WRONGTYPE ' .. key .. ' holds a ' .. held .. ', not a ' .. kind)
  end
  if not redis.acl_check_cmd(...) then
    return redis.error_reply('NOPERM this user may not run ' .. select(1, ...) .. ' on ' .. key)
  end
  if held == 'stream' then
    local info = redis.pcall('XINFO', 'STREAM', key)
    for i = 1, #info, 2 do
      if info[i] == 'last-generated-id' and info[i + 1] == last_id then
        return redis.error_reply('ERR ' .. key .. ' has had its last possible ID')
      end
    end
  end
end
local marker, number, marker_ms = KEYS[1], tonumber(ARGV[1]), ARGV[2]
local refusal = refused(marker, 'string', 'SET', marker, '')
for i = 2, #KEYS do
  refusal = refusal or refused(KEYS[i], 'stream', 'XADD', KEYS[i], '*', '_', '')
end
if refusal then return refusal end
local held = redis.call('GET', marker)
if held then
  local last, ids = unpack(cmsgpack.unpack(held))
  if last == number then return ids end
  if last > number then return redis.error_reply('ERR a later append was made') end
end
local ids, at = {}, 3
for i = 2, #KEYS do
  local last = at + tonumber(ARGV[at])
  ids[i - 1] = redis.call('XADD', KEYS[i], '*', unpack(ARGV, at + 1, last))
  at = last + 1
end
redis.call('SET', marker, cmsgpack.pack({number, ids}), 'PX', marker_ms)
return ids
"""
"""Append entries, all or none, once. KEYS: the producer's own, then the log of each entry.

ARGV: the number of the append, how long to remember it (ms), then for each entry the number of its words and
these.
"""


class InputLog:
    """Adds entries to a deployment's input log, one append after the other."""

    def __init__(self, client: Redis, keys: DeploymentKeys, partitions: int) -> None:
        self.client = client
        self.keys = keys
        self.partitions = partitions
        self._append = client.register_script(_APPEND)
        self._name = secrets.token_hex(8)
        self._markers: set[str] = set()
        self._number = 0
        self._outage = Outage(logger, "the producer waits for Redis")

    async def append(self, entries: Sequence[tuple[str, Fields]]) -> list[tuple[int, Position]]:
        """Add `(symbol, fields)` of each entry; returns partition and ID of each.

        All in one step; in a cluster, all of a partition.
        """
        self._number += 1
        places = [partition_of(symbol, self.partitions) for symbol, _ in entries]
        steps: dict[str, list[int]] = {}
        for number, place in enumerate(places):
            steps.setdefault(self.keys.producer(self._name, place), []).append(number)
        found: dict[int, Position] = {}
        for numbers, ids in zip(
            steps.values(),
            await asyncio.gather(
                *(
                    self._step(
                        marker,
                        [
                            (self.keys.partition(places[number]).events, entries[number][1])
                            for number in numbers
                        ],
                    )
                    for marker, numbers in steps.items()
                )
            ),
            strict=True,
        ):
            found.update(zip(numbers, ids, strict=True))
        return [(place, found[number]) for number, place in enumerate(places)]

    async def _step(self, marker: str, entries: Sequence[tuple[str, Fields]]) -> list[Position]:
        """Add each entry to the log with its name, in one step with the producer's own key."""
        self._markers.add(marker)
        names = [marker, *(name for name, _ in entries)]
        words = [word for _, fields in entries for word in (len(fields), *fields)]
        arguments = [self._number, MARKER_S * 1000, *words]
        backoff = Backoff(RETRY_S, RETRY_S_MAX, no_jitter)
        while True:
            try:
                async with redis.map_errors():
                    ids = await self._append(names, arguments)
            except RedisUnavailable as error:
                self._outage.note(error)
                await asyncio.sleep(backoff.next_s())
            else:
                self._outage.over()
                return [Position.parse(name) for name in ids]

    async def forget(self) -> None:
        """Delete the producer's own keys, if Redis is there: nothing will be appended any more."""
        with suppress(RedisUnavailable):
            for marker in self._markers:
                await redis.execute(self.client, "DEL", marker)
