"""Registers this ingestor and lists the others: a sorted set in Redis, scored by Redis's own clock."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from redis.asyncio import Redis

from depthcast.ingestor.runtime.lease import wait_for
from depthcast.ingestor.sharing import Roster, shares
from depthcast.shared.errors import RedisUnavailable
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.runtime.cluster import by_slot
from depthcast.shared.runtime.outage import Outage
from depthcast.shared.runtime.redis import execute

logger = logging.getLogger(__name__)

HEARTBEATS_PER_LEASE: Final = 5
HEARTBEAT_S_MAX: Final = 1.0
ALIVE_LEASES: Final = 0.9
"""A member counts as gone if it was not seen for this many lease times.

This is shortly before its leases expire, so its successors are known by then.
"""

FORGET_LEASES: Final = 30
"""Any ingestor removes a member from the list if it was not seen for this many lease times."""

LEAVE_S: Final = 0.5

ENTER_S: Final = 0.02
"""Time between checks whether we are ready to join."""

_HEARTBEAT: Final = """
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local members = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
local ages = {}
for i = 1, #members, 2 do
  if members[i] ~= ARGV[1] then
    local score = tonumber(members[i + 1])
    local age = now - math.abs(score)
    ages[#ages + 1] = members[i]
    ages[#ages + 1] = score < 0 and '-1000' or string.format('%d', age)
    if age > tonumber(ARGV[2]) then redis.call('ZREM', KEYS[1], members[i]) end
  end
end
if ARGV[3] == 'here' then redis.call('ZADD', KEYS[1], now, ARGV[1]) end
if ARGV[3] == 'left' then redis.call('ZADD', KEYS[1], -now, ARGV[1]) end
return ages
"""
"""KEYS: the set. A score is the time when the member was last seen (ms), negative if it has left.

ARGV: our name; the age in ms at which others are removed; our state: here, left or nothing. Replies with the
names of the others and their ages in ms, alternating; -1000 for those that have left.
"""


class Membership:
    """Our place among the ingestors of a deployment.

    `name`: ours. `joined`: we have registered as ready, so partitions may be assigned to us. `held`:
    partition → the ingestor that leads it. `on_listed` is called after each listing, when the assignment is
    up to date.
    """

    def __init__(
        self,
        client: Redis,
        keys: DeploymentKeys,
        partitions: int,
        name: str,
        lease_ms: int,
        on_listed: Callable[[], None],
    ) -> None:
        self.client = client
        self.partitions = partitions
        self.keys = keys
        self.name = name
        self.on_listed = on_listed
        self.joined = False
        self.heartbeat_s = min(lease_ms / 1000 / HEARTBEATS_PER_LEASE, HEARTBEAT_S_MAX)
        self.held: dict[int, str] = {}
        self.roster = Roster(lease_ms / 1000 * ALIVE_LEASES)
        self._forget_ms = lease_ms * FORGET_LEASES
        self._next = 0.0
        self._outage = Outage(logger, "ingestors not listed", key=keys.ingestors)
        # Computed once per change, because every partition reads it often.
        self._owners: dict[int, str] = {}
        self._shared_among: frozenset[str] = frozenset()
        self._shared_from = self.held

    def owner(self, partition: int) -> str | None:
        """The ingestor that `partition` is assigned to, None if nobody has joined yet."""
        members = self.roster.alive | self._ourselves()
        if members != self._shared_among or self.held is not self._shared_from:
            self._owners = shares(self.partitions, members, self.held)
            self._shared_among, self._shared_from = members, self.held
        return self._owners.get(partition)

    def successor(self, partition: int) -> str | None:
        """The ingestor that `partition` goes to if we leave, among those certainly present."""
        return shares(self.partitions, self.roster.present, self.held).get(partition)

    def count(self) -> int:
        """Number of ingestors known to be running."""
        return len(self.roster.alive | self._ourselves())

    async def run(self, ready: Callable[[], bool], stop: asyncio.Event) -> None:
        """Send heartbeats until `stop` is set, as a member once `ready` returns true; then leave."""
        loop = asyncio.get_running_loop()
        while not await wait_for(stop, self.heartbeat_s if self.joined else ENTER_S):
            eager = self.joined or (ready() and not self._outage.problem)
            if eager or loop.time() >= self._next:
                self._next = loop.time() + self.heartbeat_s
                await self._refresh(ready, loop)
        await self._leave()

    async def _refresh(self, ready: Callable[[], bool], loop: asyncio.AbstractEventLoop) -> None:
        joining = not self.joined and ready()
        entering = self.joined or joining
        try:
            flat = await self._announce("here" if entering else "nothing")
            held = await self._leaders()
        except RedisUnavailable as error:
            # While Redis is away, no member counts as gone: the last assignment stays, and leases decide.
            self._outage.note(error)
            return
        self._outage.over()
        self.joined = entering
        now = loop.time()
        ages = {
            name.decode("utf-8", "replace"): int(age) / 1000
            for name, age in zip(flat[::2], flat[1::2], strict=True)
        }
        self.roster.update(ages, now)
        # A lease that has just become free still counts for its last holder, because Redis may have lost the
        # key.
        alive = self.roster.alive | self._ourselves()
        held = {**{number: name for number, name in self.held.items() if name in alive}, **held}
        if held != self.held:
            self.held = held
        self.on_listed()

    async def _leaders(self) -> dict[int, str]:
        """Partition → current holder of its lease."""
        leases = [self.keys.partition(number).leader for number in range(self.partitions)]
        held: dict[str, bytes | None] = {}
        for keys in by_slot(self.client, leases):
            held.update(zip(keys, await execute(self.client, "MGET", *keys), strict=True))
        named = ((number, held[lease]) for number, lease in enumerate(leases))
        return {number: holder.decode("utf-8", "replace") for number, holder in named if holder is not None}

    async def _announce(self, word: str) -> list[bytes]:
        arguments = (self.keys.ingestors, self.name, self._forget_ms, word)
        flat: list[bytes] = await execute(self.client, "EVAL", _HEARTBEAT, 1, *arguments)
        return flat

    async def _leave(self) -> None:
        try:
            async with asyncio.timeout(LEAVE_S):
                # Mark it instead of removing it: others wait for a missing member, because Redis may have
                # lost it.
                await self._announce("left")
        except (RedisUnavailable, TimeoutError) as error:
            logger.debug("left without notice", extra={"problem": str(error)})

    def _ourselves(self) -> frozenset[str]:
        return frozenset((self.name,)) if self.joined else frozenset()
