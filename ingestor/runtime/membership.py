"""Makes this ingestor known to the others, and the others to it: a sorted set in Redis, scored by Redis's own clock."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from redis.asyncio import Redis

from depthcast.ingestor.runtime.lease import wait_for
from depthcast.ingestor.sharing import Roster, shares
from depthcast.shared.errors import RedisUnavailable
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.runtime.redis import execute

logger = logging.getLogger(__name__)

HEARTBEATS_PER_LEASE: Final = 5
HEARTBEAT_S_MAX: Final = 1.0
ALIVE_LEASES: Final = 0.9
"""A member silent for so many leases is gone: a little before its leases run out, so that successors know by then."""

FORGET_LEASES: Final = 30
"""A member silent for so long is taken off the list, by whoever sees it."""

LEAVE_S: Final = 0.5

ENTER_S: Final = 0.02
"""How often readiness to enter is looked at."""

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
"""KEYS: the set; a score is when its member was heard of (ms), negative when that was a farewell.

ARGV: our name; the age in ms at which others are removed; what to say of us: here, left or nothing. Replies the others
and their ages in ms, in turn, -1000 for those that have left.
"""


class Membership:
    """Our place among the ingestors of a deployment.

    `name` is our own. `joined`: others count on us, because we said that we are ready. `held`: partition → the ingestor
    that leads it. `on_listed` is called after each listing: the shares are fresh then.
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
        # Worked out once for each change: every partition asks again and again.
        self._owners: dict[int, str] = {}
        self._shared_among: frozenset[str] = frozenset()
        self._shared_from = self.held

    def owner(self, partition: int) -> str | None:
        """The ingestor that is to lead `partition`, None while nobody has entered."""
        members = self.roster.alive | self._ourselves()
        if members != self._shared_among or self.held is not self._shared_from:
            self._owners = shares(self.partitions, members, self.held)
            self._shared_among, self._shared_from = members, self.held
        return self._owners.get(partition)

    def successor(self, partition: int) -> str | None:
        """Who is to lead it without us, among those that are certainly there."""
        return shares(self.partitions, self.roster.present, self.held).get(partition)

    def count(self) -> int:
        """How many ingestors live, as far as we know."""
        return len(self.roster.alive | self._ourselves())

    async def run(self, ready: Callable[[], bool], stop: asyncio.Event) -> None:
        """Beat until `stop` is set, entered as soon as `ready` says so; then leave."""
        loop = asyncio.get_running_loop()
        while not await wait_for(stop, self.heartbeat_s if self.joined else ENTER_S):
            if self.joined or ready() or loop.time() >= self._next:
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
            # Nobody is taken for gone because Redis is: the last shares stand, and leases decide.
            logger.debug("ingestors not listed", extra={"problem": error.problem})
            return
        self.joined = entering
        now = loop.time()
        ages = {name.decode(): int(age) / 1000 for name, age in zip(flat[::2], flat[1::2], strict=True)}
        self.roster.update(ages, now)
        # A lease that is free for a moment is still its last holder's, if that one lives: Redis may have forgotten it.
        alive = self.roster.alive | self._ourselves()
        held = {**{number: name for number, name in self.held.items() if name in alive}, **held}
        if held != self.held:
            self.held = held
        self.on_listed()

    async def _leaders(self) -> dict[int, str]:
        """Who holds which lease now."""
        leases = [self.keys.partition(number).leader for number in range(self.partitions)]
        holders = await execute(self.client, "MGET", *leases)
        return {number: holder.decode() for number, holder in enumerate(holders) if holder is not None}

    async def _announce(self, word: str) -> list[bytes]:
        arguments = (self.keys.ingestors, self.name, self._forget_ms, word)
        flat: list[bytes] = await execute(self.client, "EVAL", _HEARTBEAT, 1, *arguments)
        return flat

    async def _leave(self) -> None:
        try:
            async with asyncio.timeout(LEAVE_S):
                # Not removed: whoever is missing may only have been forgotten by Redis, and is waited for.
                await self._announce("left")
        except (RedisUnavailable, TimeoutError) as error:
            logger.debug("left without saying so", extra={"problem": str(error)})

    def _ourselves(self) -> frozenset[str]:
        return frozenset((self.name,)) if self.joined else frozenset()
