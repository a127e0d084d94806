"""One partition in one ingestor: follows while another ingestor leads, then takes the lease and leads.

It leads until it is fenced, loses the lease or is relieved. One `Publisher` behind one lock makes all writes
to the partition's streams, so that draining, numbering and publishing stay consistent. `Leadership` does the
work of leading.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Final

from redis.asyncio import Redis

from depthcast.broadcaster.publication import Broadcast
from depthcast.broadcaster.runtime.publisher import Publisher
from depthcast.broadcaster.runtime.server_identity import ServerIdentity
from depthcast.ingestor.recent_rejects import RecentRejects
from depthcast.ingestor.recovery import Republication
from depthcast.ingestor.runtime.environment import Environment
from depthcast.ingestor.runtime.guard import EntryGuard, read_mark
from depthcast.ingestor.runtime.leadership import Leadership, RetainedState
from depthcast.ingestor.runtime.lease import Lease, wait_for
from depthcast.ingestor.runtime.membership import Membership
from depthcast.ingestor.runtime.recover import Recovered, emptied_tail, input_continues, surviving_src
from depthcast.ingestor.runtime.standby import Standby
from depthcast.ingestor.runtime.stats import PartitionStats
from depthcast.shared.backoff import Backoff, no_jitter
from depthcast.shared.errors import Fenced, RecoveryError, RedisUnavailable, WrongKey
from depthcast.shared.instruments import Instrument
from depthcast.shared.keys import PartitionKeys
from depthcast.shared.partition import partition_of
from depthcast.shared.position import ZERO, Position
from depthcast.shared.runtime.redis import OnConnect, execute, last_fields, last_position, newest_entry
from depthcast.shared.runtime.server_checks import ServerChecks
from depthcast.shared.settings import IngestorSettings

logger = logging.getLogger(__name__)

RETRY_S: Final = 0.1
"""Pause before the next attempt after a leadership ended because of Redis; doubles until one leads."""

UNEXPECTED_RETRY_S: Final = 1.0
"""Pause before the next attempt after a leadership ended by an error of any other kind."""

RECOVERY_RETRY_S: Final = 5.0
"""Pause before reading an inconsistent state again."""

TRIES_PER_LEASE: Final = 10
TRY_S_MAX: Final = 0.2

OFFER_S: Final = 1.0
OFFER_TRY_S: Final = 0.005
"""Pause between requests for a lease that is being handed over to us; requests stop after `OFFER_S`."""

InstrumentSource = tuple[Callable[[], Mapping[str, Instrument]], Callable[[], Awaitable[None]]]
"""(function that returns all registered instruments as last read, function that reads them now)"""


class PartitionLeader:
    """Leads one partition whenever it holds the lease, and follows it otherwise.

    `leadership`: the current one, None while standing by.
    """

    def __init__(
        self,
        settings: IngestorSettings,
        partition: tuple[int, int],
        keys: PartitionKeys,
        instruments: InstrumentSource,
        membership: Membership,
        stats: PartitionStats,
        environment: Environment,
        *,
        checks: ServerChecks | None = None,
    ) -> None:
        self.settings = settings
        self.environment = environment
        self.checks = checks
        self.partition, self.partitions = partition
        self.keys = keys
        self.instruments, self._read_instruments = instruments
        self.membership = membership
        self.stats = stats
        self.leadership: Leadership | None = None
        self._problem = ""
        self._lease: Lease | None = None
        self._retry = Backoff(RETRY_S, RECOVERY_RETRY_S, no_jitter)
        self.standby = Standby(
            partition, keys, self._own_instruments, environment, stats, membership.name, self._on_offer
        )
        self._retained: RetainedState | None = None
        self._recent_rejects = RecentRejects()
        # What the last leadership of this process left: the mark of an entry that did no harm, and the entry
        # that could not be applied.
        self._harmless_mark = b""
        self._failed_at: Position | None = None
        # The last epoch that this process led, until the stream is seen to have reached it.
        self._led = 0
        self._wake = asyncio.Event()
        self._end = asyncio.Event()
        self._offered_until = 0.0
        # The leadership for which instruments are being read, and what it had consumed when that began.
        self._read_for: Leadership | None = None
        self._read_after = ""
        # All instruments as the leadership has taken them, and those of this partition as last selected.
        self._taken: Mapping[str, Instrument] | None = None
        self._own: tuple[Mapping[str, Instrument] | None, dict[str, Instrument]] = (None, {})

    @property
    def problem(self) -> str:
        """Why the partition cannot be led, or not fully; empty if it can."""
        leading = "" if self.leadership is None else self.leadership.problem
        leased = "" if self._lease is None else self._lease.outage.lasting
        return self._problem or leading or leased or self.standby.outage.lasting

    def begin_read(self) -> None:
        """Note, before instruments are read, what the leadership has consumed, if there is one."""
        self._read_for = self.leadership
        if self.leadership is not None:
            self._read_after = self.leadership.engine.last_consumed()

    def refresh(self) -> None:
        """Pass newly read instruments to the leadership that there was when reading began."""
        if self.leadership is None or self.leadership is not self._read_for:
            return
        instruments, own = self.instruments(), self._own_instruments()
        if instruments is self._taken:
            self.leadership.look_again(own, self._read_after)
        else:
            self._taken = instruments
            self.leadership.update_instruments(own, instruments.keys(), self._read_after)

    def on_listed(self) -> None:
        """Check, after ingestors were listed, whether the partition is still ours.

        Not checked at other times: an ingestor that has just handed us the partition would still be in the
        old list.
        """
        self._wake.set()
        if self.leadership is not None and self._present_successor() is not None:
            self._end.set()

    def end(self) -> None:
        """End the leadership, if there is one, because the server may delete any key."""
        if self.leadership is not None:
            self._end.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Lead and stand by until `stop` is set."""
        client = self.environment.connect(self.settings.redis_url)
        lease = Lease(client, self.partition, self.keys, self.settings.lease_ms, self.membership.name)
        self._lease = lease
        stopping = asyncio.create_task(self._forward_stop(stop))
        try:
            while await self._stand_by(client, lease, stop):
                await self._hold(lease, stop)
        finally:
            stopping.cancel()
            await client.aclose()

    async def _forward_stop(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._wake.set()
        self._end.set()

    # --- standing by ---------------------------------------------------------------------------------------

    async def _stand_by(self, client: Redis, lease: Lease, stop: asyncio.Event) -> bool:
        """Follow until the lease is ours; False if `stop` was set first."""
        following = asyncio.create_task(self.standby.follow(client))
        try:
            return await self._claim(lease, stop, following)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _claim(self, lease: Lease, stop: asyncio.Event, following: asyncio.Task[None]) -> bool:
        """Request the lease when it is our turn: the partition is assigned or offered to us, or unclaimed.

        Raises the error if `following` fails; it never ends otherwise.
        """
        loop = asyncio.get_running_loop()
        free_since: float | None = None
        logged = ""
        while not stop.is_set():
            if following.done():
                await following
            try:
                ours = self._offered_until > loop.time() or self._owner() == self.membership.name
                holder = None if ours else await lease.holder()
                free_since = (free_since or loop.time()) if holder is None and not ours else None
                unclaimed = free_since is not None and loop.time() - free_since >= lease.lease_s
                refusal = await self.checks.refusal() if self.checks is not None else ""
                if (ours or unclaimed) and not refusal and await lease.acquire():
                    return True
                if not refusal and await self._is_behind_us(lease.client) and await lease.holder():
                    logger.warning(
                        "taking the lease: the leader is in an earlier epoch than ours, which readers saw",
                        extra={"partition": self.partition, "epoch": self._led},
                    )
                    await lease.seize()
                    return True
                problem = "another ingestor leads" if ours or holder else "no ingestor leads"
                if refusal:
                    problem = self._problem = refusal
                elif ours or holder:
                    self._retained, self._problem = None, ""
            except WrongKey as error:
                problem = self._problem = error.problem
            except RedisUnavailable as error:
                problem = error.problem
            if problem != logged:
                logger.info("waiting for the lease", extra={"partition": self.partition, "problem": problem})
                logged = problem
            offered = self._offered_until > loop.time()
            await wait_for(self._wake, OFFER_TRY_S if offered else self._try_s(lease))
            self._wake.clear()
        return False

    async def _is_behind_us(self, client: Redis) -> bool:
        """Whether somebody leads in an earlier epoch than the last one of ours.

        Ours was at a server that others had replaced already, and is lost. Its readers show no seq below
        those that they saw, so only a later epoch has books for them.
        """
        if not self._led:
            return False
        newest = await newest_entry(client, self.keys.deltas)
        if newest is not None and newest[0].epoch >= self._led:
            self._led = 0
        return bool(self._led and newest is not None and newest[0].n)

    def _try_s(self, lease: Lease) -> float:
        return min(lease.lease_s / TRIES_PER_LEASE, TRY_S_MAX)

    def _on_offer(self) -> None:
        """Request the lease at once: the leader that just ended named us as its successor."""
        self._offered_until = asyncio.get_running_loop().time() + OFFER_S
        self._wake.set()

    def _owner(self) -> str | None:
        return self.membership.owner(self.partition)

    def _present_successor(self) -> str | None:
        """The other ingestor that this partition is assigned to, if it is certainly present."""
        owner = self._owner()
        return owner if owner in self.membership.roster.present else None

    # --- leading -------------------------------------------------------------------------------------------

    async def _hold(self, lease: Lease, stop: asyncio.Event) -> None:
        """Lead while we hold the lease, then give it back."""
        pause_s = 0.0
        unexpected = False
        self._offered_until = 0.0
        try:
            await self._lead(lease, stop)
        except (RecoveryError, WrongKey) as error:
            self._problem = str(error)
            self.stats.recovery_failures += 1
            pause_s = RECOVERY_RETRY_S
            logger.error(  # noqa: TRY400
                "the partition is not led", extra={"partition": self.partition, "problem": str(error)}
            )
        except (Fenced, RedisUnavailable) as error:
            self.stats.step_downs += 1
            pause_s = self._retry.next_s()
            logger.warning("leadership ended", extra={"partition": self.partition, "problem": str(error)})
        except Exception:
            # Whatever it is: the books are built again from what was published.
            unexpected = True
            self.stats.step_downs += 1
            self.stats.errors += 1
            pause_s = UNEXPECTED_RETRY_S
            logger.exception("leadership ended by an error", extra={"partition": self.partition})
        finally:
            self._remember(self.leadership, unexpected=unexpected)
            self.leadership = None
            self.stats.leading = False
            self.stats.input_lag_s = 0.0
            await lease.release()
        await wait_for(stop, pause_s)

    def _remember(self, leadership: Leadership | None, *, unexpected: bool) -> None:
        """Keep what the next leadership of this process needs to know about the one that ended.

        After an unexpected error the engine may hold what was never published, so it is not retained.
        """
        if self._retained is not None and not self._retained.engine.whole:
            self._retained = None
        if leadership is None:
            return
        self._led = max(self._led, leadership.publisher.position.epoch)
        self._retained = None if unexpected else leadership.retained_state()
        self._failed_at = leadership.failed_at
        self._harmless_mark = b"" if unexpected else leadership.guard.marked

    async def _lead(self, lease: Lease, stop: asyncio.Event) -> None:
        # Use one server from recovery to the last write, because another server may hold different data.
        identity = ServerIdentity(self.partition, self.environment.new_name)
        client = self.environment.connect(self.settings.redis_url, on_connect=identity.check)
        if not stop.is_set():
            self._end.clear()
        renewing = asyncio.create_task(lease.keep())
        starting = asyncio.create_task(self._begin(client, identity.check))
        tasks: list[asyncio.Task[Any]] = [renewing, starting, asyncio.create_task(self._end.wait())]
        try:
            # An aborted start does no more harm than a crash, so `stop` and a lost lease cancel it.
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if renewing.done():
                await renewing
            if not starting.done():
                return
            self.leadership = await starting
            self._problem = ""
            self._retry.reset()
            self.stats.leading = True
            await self.leadership.run(self._end, renewing, lambda: self._successor(stop))
        finally:
            for task in tasks:
                task.cancel()
            try:
                await asyncio.gather(*tasks, return_exceptions=True)
            finally:
                await client.aclose()

    def _successor(self, stop: asyncio.Event) -> str | None:
        successor = self.membership.successor(self.partition) if stop.is_set() else self._present_successor()
        self.stats.handovers += successor is not None
        return successor

    async def _begin(self, client: Redis, on_connect: OnConnect) -> Leadership:
        """Recover, seal, and move every symbol into the new epoch.

        `on_connect`: checks that a connection goes to the server where `client` has its own.
        """
        # A symbol that we have only now read may already have been born under the last leader.
        await self._read_instruments()
        self._taken, own = self.instruments(), self._own_instruments()
        known = self._taken.keys()
        recovered = await self._from_retained(client) or await self.standby.take_over(client)
        epoch = await self._epoch_after(client, recovered)
        publisher = Publisher(
            client,
            (self.partition, self.keys),
            recovered.position,
            rejects_max=self.settings.rejects_max,
        )
        info = recovered.info
        if recovered.republication is not None:
            # This process has the only copy of this state until it is published again.
            symbols, rejects = recovered.engine.symbols(), recovered.republication.rejects
            self._retained = RetainedState(recovered.engine, recovered.position, info, rejects, symbols)
        counts = info._replace(event_ts=None, prev=None, successor=None, lag_ms=None, inputs=None)
        sealed = counts._replace(ts=self.environment.now_us())
        await publisher.seal(epoch, Broadcast(sealed, ()))
        unread = await publisher.read_stub(Position.parse(recovered.engine.last_consumed()))
        guard = await self._guard(client, publisher)
        leadership = Leadership(
            self.settings,
            recovered.engine,
            publisher,
            self.stats,
            self.environment,
            guard,
            self._recent_rejects,
            on_connect=on_connect,
        )
        try:
            await leadership.begin(
                epoch,
                own,
                known,
                recovered.republication,
                info,
                recovered.listings,
                recovered.recorded,
                oldest=unread[0][0] if unread else ZERO,
            )
        except BaseException:
            if self._retained is not None and leadership.unpublished:
                self._retained = self._retained._replace(rejects=leadership.unpublished)
            raise
        self.stats.restatements += recovered.republication is not None
        about = {
            "partition": self.partition,
            "epoch": publisher.position.epoch,
            "src": info.src,
            "ingestor": self.membership.name,
        }
        logger.info("leading", extra=about)
        self._retained = None
        return leadership

    async def _guard(self, client: Redis, publisher: Publisher) -> EntryGuard:
        """What this leadership has to beware of: the entry that its predecessor did not survive."""
        mark, suspect = await read_mark(client, self.keys)
        if self._failed_at is not None:
            suspect = self._failed_at
        elif suspect is not None and mark == self._harmless_mark:
            suspect = None
        return EntryGuard(publisher, suspect)

    async def _from_retained(self, client: Redis) -> Recovered | None:
        """The state that our last leadership retained, if it is needed.

        It is needed if Redis has lost streams, snapshots or input since then and no other leader has written.
        """
        retained = self._retained
        if retained is None:
            return None
        published = await surviving_src(client, self.keys, retained.info.src)
        tail, rejects = await emptied_tail(client, self.keys), retained.rejects
        emptied = tail is not None
        if tail is None:
            tail = await last_position(client, self.keys.deltas)
            if tail != retained.position:
                return None
            if str(published) == retained.info.src and await self._has_snapshots(client, retained.symbols):
                return None
        if not await self._fits_input(client, retained, emptied=emptied):
            # Another leader has consumed more since then, or a failover lost input that this state includes.
            logger.warning(
                "the books in memory do not fit the input that survived, and are not published again",
                extra={"partition": self.partition, "src": retained.engine.last_consumed()},
            )
            return None
        src = await surviving_src(client, self.keys, retained.engine.last_consumed())
        if emptied:
            newest = await last_fields(client, self.keys.rejects)
            rejects = self._recent_rejects.missing(newest, rejects, src)
        logger.warning("Redis lost published state, publishing it again", extra={"partition": self.partition})
        retained.engine.continue_from(str(src))
        info = retained.info._replace(src=str(published), entries=None)
        return Recovered(retained.engine, tail, info, Republication(rejects))

    async def _fits_input(self, client: Redis, retained: RetainedState, *, emptied: bool) -> bool:
        """Whether the input log continues what a state has consumed.

        What was published of it counts whatever became of its input, unless the stream was `emptied`.
        """
        published, consumed = retained.info.src, retained.engine.last_consumed()
        for src in (published, consumed):
            counts = emptied or src != published
            if counts and not await input_continues(client, self.keys, Position.parse(src)):
                return False
        return True

    async def _has_snapshots(self, client: Redis, symbols: Collection[str]) -> bool:
        """Whether each of these symbols has a snapshot; without one, its book would begin empty."""
        keys = [self.keys.snapshots(symbol) for symbol in symbols]
        return not keys or await execute(client, "EXISTS", *keys) == len(keys)

    def _own_instruments(self) -> Mapping[str, Instrument]:
        """Those of this partition; the same object as long as the instruments are the same."""
        instruments, (of, own) = self.instruments(), self._own
        if of is not instruments:
            own = {
                symbol: instruments[symbol]
                for symbol in instruments
                if partition_of(symbol, self.partitions) == self.partition
            }
            self._own = (instruments, own)
        return own

    async def _epoch_after(self, client: Redis, recovered: Recovered) -> int:
        """Milliseconds since 1970, once they exceed the epoch of the recovered state.

        Using that epoch + 1 instead could repeat an epoch after a failover. Raises `Fenced` if the stream
        changes meanwhile, and keeps the state: an operator deletes the stream if the wait is too long.
        """
        last, logged = recovered.position.epoch, False
        while (epoch := self.environment.now_ms()) <= last:
            if not logged:
                self._problem = (
                    f"the clock is {last - epoch} ms behind the last epoch, waiting for it: a clock was ahead"
                    f" once; if that takes too long, delete the stream (DEL {self.keys.deltas})"
                )
                logger.warning(
                    "the partition waits", extra={"partition": self.partition, "problem": self._problem}
                )
                logged = True
            await asyncio.sleep(min((last - epoch + 1) / 1000, 1.0))
            if (found := await last_position(client, self.keys.deltas)) != recovered.position:
                again = Republication() if recovered.republication is None else recovered.republication
                symbols = recovered.engine.symbols()
                self._retained = RetainedState(
                    recovered.engine, recovered.position, recovered.info, again.rejects, symbols
                )
                raise Fenced(self.partition, recovered.position, found)
        return epoch
