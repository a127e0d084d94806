"""Following a partition from where a service has come to, instead of from its end.

The books of that position are rebuilt from snapshots that are not newer, as long as the stream goes on from
those. A symbol that has none any more, because the position is older than its last two snapshots, begins with
its newest one.
"""

import logging
from collections.abc import Callable, Collection

from redis.asyncio import Redis

from depthcast.shared.keys import PartitionKeys
from depthcast.shared.position import Position, follows
from depthcast.shared.reader import OldestEntry, PartitionReader
from depthcast.shared.runtime.follow import Follower, Start
from depthcast.shared.runtime.redis import oldest_entry
from depthcast.shared.runtime.replicas import ReadingClient

logger = logging.getLogger(__name__)


class ResumingFollower(Follower):
    """Follows a partition from the position `since` the first time; None: from its end.

    `since` becomes None if the stream does not go on from there any more.
    """

    def __init__(
        self,
        client: Redis,
        keys: PartitionKeys,
        reader: PartitionReader,
        symbols: Callable[[], Collection[str]],
        since: Position | None,
    ) -> None:
        super().__init__(client, keys, reader, symbols)
        self.since = since
        self._resumed = False

    async def _start(self, symbols: Collection[str]) -> Start:
        since = None if self._resumed else self.since
        if since is None:
            return await super()._start(symbols)
        moves = self._moves
        oldest = await oldest_entry(self.client, self.keys.deltas)
        newest = await super()._start(symbols)
        if not goes_on(since, oldest, newest.tail) and await self._was_at_replica(moves, since):
            return await self._start(symbols)
        if not goes_on(since, oldest, newest.tail):
            extra = {"key": self.keys.deltas, "since": str(since), "tail": str(newest.tail)}
            logger.warning("a gap: the stream does not go on from there any more", extra=extra)
            self.since = None
            return newest
        start = await self._start_at(since, symbols, oldest, newest)
        self._resumed = True
        return start

    @property
    def _moves(self) -> int:
        return self.client.moves if isinstance(self.client, ReadingClient) else 0

    async def _was_at_replica(self, moves: int, since: Position) -> bool:
        """Whether a replica said what was read since `moves`, at least in part; the primary is read then.

        It may lack entries that the primary holds, and two servers together say nothing of either. So only
        the primary alone can say that there is a gap.
        """
        client = self.client
        if not isinstance(client, ReadingClient):
            return False
        if client.at_replica:
            await client.to_primary(f"the stream does not go on from {since} there")
            return True
        return client.moves != moves

    async def _start_at(
        self, since: Position, symbols: Collection[str], oldest: OldestEntry | None, newest: Start
    ) -> Start:
        """Begin with the books of `since`, as if it were the end: all after it is read entry by entry."""
        earlier = await self._snapshots(symbols, oldest, upto=since)
        return Start(since, {symbol: earlier[symbol] or newest.snapshots[symbol] for symbol in symbols}, None)


def goes_on(since: Position, oldest: OldestEntry | None, tail: Position) -> bool:
    """Whether a stream with this oldest entry and this end still holds everything after `since`."""
    if oldest is None or since > tail:
        return False
    return oldest.position <= since or follows(oldest.position, since, oldest.prev)
