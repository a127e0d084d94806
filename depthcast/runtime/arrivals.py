"""Follows what becomes of sent entries: whether they were consumed, and which events were rejected."""

import asyncio
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import Final

from redis.asyncio import Redis

from depthcast.feed.account import Findings
from depthcast.feed.entry import FeedEntry
from depthcast.shared.codec import decode_info
from depthcast.shared.errors import CodecError, PositionError, RedisUnavailable
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.position import ZERO, Position
from depthcast.shared.runtime import redis

WAITING_MOST: Final = 50_000
"""Entries that may be sent and not yet consumed; beyond, sending waits."""

CHECKED_EVERY: Final = 5_000
"""Entries between two looks at the deployment while sending."""

POLL_S: Final = 0.05
GIVE_UP_S: Final = 20.0
"""Entries that nobody consumed for so long count as not applied."""

REJECTS_PER_READ: Final = 1_000
EVENT_SHOWN: Final = 120


class Arrivals:
    """Follows the entries of one replay. Call `begin` before the first is sent."""

    def __init__(self, client: Redis, keys: DeploymentKeys) -> None:
        self._client = client
        self._keys = keys
        self.rejected: Counter[str] = Counter()
        self.findings = Findings()
        self._waiting: defaultdict[int, deque[tuple[Position, FeedEntry]]] = defaultdict(deque)
        self._rejects: dict[int, Position] = {}
        self._lost_before: dict[int, int] = {}
        self._lost: dict[int, int] = {}
        self._since_look = 0

    @property
    def waiting(self) -> int:
        """Entries that were sent and are not known to be consumed."""
        return sum(map(len, self._waiting.values()))

    async def begin(self, partitions: Iterable[int]) -> None:
        """Note where the streams of rejects end, and what was lost before; waits while Redis is away."""
        for partition in set(partitions) - self._rejects.keys():
            while True:
                try:
                    key = self._keys.partition(partition).rejects
                    self._rejects[partition] = await redis.last_position(self._client, key)
                    await self._consumed(partition)
                    self._lost_before[partition] = self._lost.get(partition, 0)
                    break
                except RedisUnavailable:
                    await asyncio.sleep(POLL_S)

    def sent(self, places: Sequence[tuple[int, Position]], entries: Sequence[FeedEntry]) -> None:
        """Note entries that were added to the input log, with their partitions and IDs."""
        for (partition, position), entry in zip(places, entries, strict=True):
            self._waiting[partition].append((position, entry))
        self._since_look += len(entries)

    async def room(self) -> None:
        """Look at the deployment now and then; wait while too many entries are not consumed."""
        if self._since_look < CHECKED_EVERY:
            return
        self._since_look = 0
        await self.look()
        while self.waiting > WAITING_MOST:
            await asyncio.sleep(POLL_S)
            await self.look()

    async def finish(self, give_up_s: float = GIVE_UP_S) -> None:
        """Wait until all entries are consumed, or none was for `give_up_s`."""
        left, since = self.waiting, time.monotonic()
        await self.look()
        while self.waiting:
            if self.waiting != left:
                left, since = self.waiting, time.monotonic()
            elif time.monotonic() - since > give_up_s:
                return
            await asyncio.sleep(POLL_S)
            await self.look()

    async def look(self) -> None:
        """Read which entries were consumed, and the rejects of them."""
        for partition, waiting in self._waiting.items():
            if not waiting:
                continue
            try:
                # First what was consumed: its rejects were written in the same step.
                src = await self._consumed(partition)
                await self._read_rejects(partition, dict(waiting))
            except RedisUnavailable:
                continue
            while waiting and waiting[0][0] <= src:
                waiting.popleft()

    def problems(self) -> list[str]:
        """Why not all that was sent got into its book; empty if all did."""
        found = []
        if self.rejected:
            reasons = ", ".join(f"{count} {reason}" for reason, count in self.rejected.most_common())
            found.append(f"events rejected: {reasons}")
        if self.waiting:
            found.append(f"{self.waiting} entries were sent and not applied: is an ingestor running?")
        lost = sum(self._lost[partition] - before for partition, before in self._lost_before.items())
        if lost > 0:
            found.append(
                f"{lost} input entries were deleted before an ingestor had read them: somebody trims the "
                "input log; replay again"
            )
        return found

    async def _consumed(self, partition: int) -> Position:
        """Return the last entry whose result is published, and note how many were lost by then."""
        self._lost.setdefault(partition, 0)
        newest = await redis.newest_entry(self._client, self._keys.partition(partition).deltas)
        if newest is None:
            return ZERO
        try:
            info = decode_info(dict(newest[1])[b"_"])
            src = Position.parse(info.src)
        except (KeyError, CodecError, PositionError):
            return ZERO  # written by no leader; the next one goes on
        self._lost[partition] = info.lost or 0
        return src

    async def _read_rejects(self, partition: int, sent: dict[Position, FeedEntry]) -> None:
        key = self._keys.partition(partition).rejects
        while True:
            found = await redis.read_stream(
                self._client, key, self._rejects.get(partition, ZERO), count=REJECTS_PER_READ
            )
            for position, fields in found:
                self._rejects[partition] = position
                self._note(dict(fields), sent)
            if len(found) < REJECTS_PER_READ:
                return

    def _note(self, reject: dict[bytes, bytes], sent: dict[Position, FeedEntry]) -> None:
        try:
            entry = sent.get(Position.parse(reject[b"source"]))
            count = int(reject.get(b"count", b"1"))
        except (KeyError, PositionError, ValueError):
            return
        if entry is None:
            return  # somebody else's
        reason = reject.get(b"reason", b"").decode("utf-8", "replace")
        self.rejected[reason] += count
        self.findings.note(f"{entry.place}, {entry.symbol}: {_described(reason, reject, entry)}", count)


def _described(reason: str, reject: dict[bytes, bytes], entry: FeedEntry) -> str:
    """Describe one reject: the reason, what the ingestor says about it, and the event."""
    index = reject.get(b"index", b"-1").decode("ascii", "replace")
    detail = reject.get(b"detail", b"").decode("utf-8", "replace")
    text = f"{reason}: {detail}" if detail else reason
    if index.isdecimal() and int(index) < len(entry.events):
        shown = str(list(entry.events[int(index)]))
        text += f", event {index}: {shown[:EVENT_SHOWN]}"
    return text
