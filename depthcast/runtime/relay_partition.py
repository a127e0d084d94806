"""Copies the entries of one partition, so that the copy is always a run of the source's entries.

Where to go on is not stored anywhere: the relay looks at the end of the copy each time it begins, after each
error and each refusal. So it may be killed at any instant.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from depthcast.relay.comparison import (
    End,
    Entry,
    Verdict,
    compare,
    goes_on,
    parts,
    size_of,
    symbols_to_copy,
    written_us,
)
from depthcast.relay.pace import Pace
from depthcast.runtime.relay_sides import SOURCE, TARGET, CopyWriter, LeaseHeld, Side
from depthcast.runtime.relay_snapshots import SnapshotCopier
from depthcast.shared.backoff import Backoff, no_jitter
from depthcast.shared.errors import Fenced, RedisUnavailable
from depthcast.shared.freshness import ServerClock
from depthcast.shared.keys import PartitionKeys
from depthcast.shared.position import Position
from depthcast.shared.runtime.redis import Connect, execute, parse_entries
from depthcast.shared.runtime.tail import ReplyTooBig, Tail
from depthcast.shared.settings import RelaySettings

logger = logging.getLogger(__name__)

BLOCK_MS: Final = 1000
"""A read of the source waits this long for entries; a leader writes at least once a second."""

RETRY_S: Final = 0.05
RETRY_S_MAX: Final = 2.0

RELEASE_S: Final = 0.5

NAME_PREFIX: Final = "relay-"
"""Names of relays begin with it; those of ingestors do not."""


class PartitionRelay:
    """The copy of one partition.

    - `follows`: the copy goes on from the source now, and every entry is copied as it comes.
    - `standing_by`: another relay copies the partition.
    - `problem`: why we do not; empty if we do. `snapshots_problem`: why snapshots are not copied, or the copy
      is not trimmed.
    - `entries`, `bytes`, `replaced`: how much was copied, and how often the copy had to begin again.
    - `read_bytes`: of the last reply with entries. `limited`: reads of fewer than wanted, for their bytes.
    - `delay_s`: of the newest entry that was copied, the time from its write at the source to that of the
      copy.
    """

    def __init__(
        self,
        number: int,
        keys: tuple[PartitionKeys, PartitionKeys],
        addresses: tuple[str, str],
        settings: RelaySettings,
        name: str,
        clock: ServerClock,
        *,
        symbols: Callable[[], Iterable[str]],
        connect: Connect,
    ) -> None:
        self.number = number
        self.source_keys, self.target_keys = keys
        self.settings = settings
        self.clock = clock
        self.follows = self.standing_by = False
        self.problem = self.snapshots_problem = ""
        self.entries = self.bytes = self.replaced = self.read_bytes = 0
        self.failures: Counter[str] = Counter()
        self.delay_s: float | None = None
        self.position: Position | None = None
        self._written_us: int | None = None
        self._source = connect(addresses[0])
        self._target = connect(addresses[1])
        self._source_side = Side(SOURCE, self.failures, key=self.source_keys.deltas)
        target_side = Side(TARGET, self.failures, key=self.target_keys.deltas)
        lease_ms = settings.relay_lease_ms
        self.writer = CopyWriter(self._target, target_side, (number, self.target_keys), name, lease_ms)
        self.snapshots = SnapshotCopier(
            (self._source, Side(SOURCE, self.failures, job="snapshots"), self.source_keys),
            self.writer,
            symbols,
            settings.relay_batch_bytes,
            settings.relay_read_bytes_max,
        )
        self.pace = Pace(settings.relay_read_bytes_max, settings.relay_batch_entries)
        self._several = Tail(
            self._source, self.source_keys.deltas, reply_bytes_max=settings.relay_read_bytes_max
        )
        self._single = Tail(self._source, self.source_keys.deltas)
        self._block_ms = min(BLOCK_MS, max(lease_ms // 3, 1))
        self._backoff = Backoff(RETRY_S, RETRY_S_MAX, no_jitter)

    @property
    def limited(self) -> int:
        return self.pace.limited + self.snapshots.pace.limited

    def lag_s(self, now: float) -> float | None:
        """Age of the newest entry in the copy by the source's clock, None if it is not known."""
        now_us = self.clock.now_us(now)
        if now_us is None or self._written_us is None:
            return None
        return max(now_us - self._written_us, 0.0) / 1e6

    async def run(self) -> None:
        """Copy until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._copy_entries())
            tasks.create_task(self._copy_snapshots())

    async def close(self) -> None:
        """Give the lease back, and close connections."""
        try:
            async with asyncio.timeout(RELEASE_S):
                await self.writer.release()
        except (RedisUnavailable, TimeoutError) as error:
            logger.debug("left without notice", extra={"problem": str(error)})
        finally:
            try:
                await self._source.aclose()
            finally:
                await self._target.aclose()

    # --- entries ----------------------------------------------------------------------------------------

    async def _copy_entries(self) -> None:
        while True:
            try:
                await self._follow()
            except LeaseHeld as error:
                self.follows = False
                self._stand_by(error.holder)
            except Fenced as error:
                about = {"key": self.target_keys.deltas, "problem": str(error)}
                logger.warning("the copy was changed by somebody else", extra=about)
            except RedisUnavailable as error:
                self.problem = error.problem
            finally:
                self.follows = False
            await asyncio.sleep(self._backoff.next_s())

    def _stand_by(self, holder: str) -> None:
        self.standing_by = holder.startswith(NAME_PREFIX)
        problem = f"{holder} copies it" if self.standing_by else f"{holder} leads it, and is no relay: end it"
        if problem != self.problem:
            level = logging.INFO if self.standing_by else logging.ERROR
            logger.log(level, "not copied here", extra={"key": self.target_keys.leader, "problem": problem})
        self.problem = problem

    async def _follow(self) -> None:
        """Take the lease, and copy until something is refused; raises what ended it."""
        end = await self.writer.take()
        self.standing_by = False
        self._note(end)
        async with self.snapshots.busy:
            await self.snapshots.look()
            await self.snapshots.copy_new()
        try:
            while True:
                end = await self._step(end)
        finally:
            await self._several.release()
            await self._single.release()

    async def _step(self, end: End) -> End:
        """Copy what has come behind `end`; returns the new end."""
        if not self.follows:
            end = await self._verified(end)
            if not self.follows:
                await asyncio.sleep(self._block_ms / 1000)
                return await self._kept(end)
        entries = await self._read(end.last)
        if not entries or not goes_on(entries[0], end.last):
            before = end
            end = await self._verified(end)
            if end is not before or not self.follows:
                return end
        if not entries:
            return await self._kept(end)
        for part in parts(entries, self.settings.relay_batch_bytes):
            end = await self._append(end, part)
        return end

    async def _read(self, after: Position) -> Sequence[Entry]:
        """The entries behind `after`, as many as fit the limit; one at least, however large it is."""
        while True:
            tail = self._several if self.pace.count > 1 else self._single
            try:
                async with self._source_side.reached():
                    entries = await tail.read(after, count=self.pace.count, block_ms=self._block_ms)
            except ReplyTooBig:
                self.pace.too_big()
                continue
            self.read_bytes = tail.reply_bytes
            self.pace.note(max(map(size_of, entries), default=0))
            return entries

    async def _kept(self, end: End) -> End:
        """Renew the lease, and look whether the copy still ends where we left it."""
        found = await self.writer.take()
        if found.last != end.last or (found.newest is None) != (end.newest is None):
            raise Fenced(self.number, end.last, found.last)
        if found.newest is not None and end.newest is not None and found.newest[0] != end.newest[0]:
            raise Fenced(self.number, end.last, found.last)
        return found

    async def _append(self, end: End, part: Sequence[Entry]) -> End:
        if symbols := symbols_to_copy(part, self.snapshots.copied):
            async with self.snapshots.busy:
                await self.snapshots.copy_new(symbols)
        if any(position.n == 0 for position, _ in part):
            async with self.snapshots.busy:
                await self.snapshots.take_back(end.last)
        await self.writer.append(end.last, part)
        return self._copied(part)

    def _copied(self, part: Sequence[Entry]) -> End:
        end = End(part[-1][0], part[-1])
        self.entries += len(part)
        self.bytes += sum(map(size_of, part))
        self._backoff.reset()
        self._note(end)
        self.delay_s = self.lag_s(asyncio.get_running_loop().time())
        return end

    def _note(self, end: End) -> None:
        self.position = end.last
        if end.newest is not None:
            self._written_us = written_us([end.newest]) or self._written_us

    async def _verified(self, end: End) -> End:
        """Compare the copy with the source, and begin it again where they differ; returns the end."""
        verdict = compare(end, *await self._seen(end))
        if verdict is Verdict.WAIT:
            self.follows = False
            self.problem = "the source holds no entries"
        elif verdict is Verdict.REPLACE:
            end = await self._replace(end)
        if verdict is not Verdict.WAIT:
            self.follows, self.problem = True, ""
        return end

    async def _seen(self, end: End) -> tuple[Entry | None, Entry | None, Entry | None]:
        """The source's entry at the end of the copy, the one behind it, and the oldest one."""
        key, at = self.source_keys.deltas, str(end.last)
        async with self._source_side.reached():
            held = await self._first(key, at, at)
            behind = await self._first(key, f"({at}", "+")
            return held, behind, await self._first(key, "-", "+")

    async def _first(self, key: str, least: str, most: str) -> Entry | None:
        entries = parse_entries(await execute(self._source, "XRANGE", key, least, most, "COUNT", 1))
        return entries[0] if entries else None

    async def _replace(self, end: End) -> End:
        """Let the copy begin again with what the source holds: all snapshots, then the oldest entries.

        Readers of the copy that are elsewhere load again. The rest follows as usual.
        """
        async with self.snapshots.busy:
            await self.snapshots.copy_all()
            async with self._source_side.reached():
                reply = await execute(
                    self._source, "XRANGE", self.source_keys.deltas, "-", "+", "COUNT", self.pace.count,
                )  # fmt: skip
                entries = parse_entries(reply)
            if not entries:
                raise RedisUnavailable("the source was emptied meanwhile")
            first, *others = parts(entries, self.settings.relay_batch_bytes)
            logger.warning(
                "the copy begins again: its source does not go on from it",
                extra={"key": self.target_keys.deltas, "end": str(end.last), "from": str(first[0][0])},
            )
            await self.writer.append(end.last, first, replace=True)
            self.replaced += 1
            end = self._copied(first)
        for part in others:
            end = await self._append(end, part)
        return end

    # --- snapshots --------------------------------------------------------------------------------------

    async def _copy_snapshots(self) -> None:
        """Copy new snapshots, and trim the copy behind them as the source is."""
        while True:
            await asyncio.sleep(self.settings.snapshot_poll_ms / 1000)
            if not self.follows:
                continue
            try:
                async with self.snapshots.busy:
                    replaced = self.replaced
                    # Read first: the source keeps what its snapshots of this moment need.
                    oldest = await self.snapshots.oldest()
                    await self.snapshots.copy_new()
                    if oldest is not None and self.follows and replaced == self.replaced:
                        await self.writer.trim(oldest)
            except RedisUnavailable as error:
                self.snapshots_problem = f"snapshots are not copied: {error.problem}"
            except LeaseHeld as error:
                logger.debug("snapshots not copied", extra={"problem": str(error)})
            else:
                self.snapshots_problem = ""
