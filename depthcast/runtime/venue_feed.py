"""Feeds books live from a venue: connections and adapters on one side, the input log on the other.

    connection ─▶ adapter ─▶ SymbolFeed ─▶ PartitionWriter ─▶ events
    (per group of symbols)   (per symbol)   (per partition)

Parts beside: `venue_slot` (connects again, in time), `venue_connection`, `venue_rest` (snapshots by HTTP),
`venue_instruments` (the venue's list), `venue_sizes` (a change of sizes), `venue_writer`, `venue_watch` (what
goes wrong behind the input log), `venue_sources` (who feeds what).
"""

import asyncio
import logging
import os
import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import aiohttp
from redis.asyncio import Redis

from depthcast.feed.feeding import Feeding, FeedRefused, check_feed, check_registered, same_sizes
from depthcast.feed.scale import Scale
from depthcast.feed.source import source_of
from depthcast.feed.symbol_feed import LiveEntry, LocalDoubt, SymbolFeed
from depthcast.feed.venue import Doubt, DoubtReason, Refused, Sizes, Snapshot, Update, Venue
from depthcast.runtime.venue_connection import ConnectionEnded, Limits, VenueConnection
from depthcast.runtime.venue_fed import Fed
from depthcast.runtime.venue_instruments import InstrumentList
from depthcast.runtime.venue_rest import VenueRest
from depthcast.runtime.venue_sizes import RELIST_AGAIN_S, SizeKeeper
from depthcast.runtime.venue_slot import ConnectionSlot
from depthcast.runtime.venue_sources import Sources
from depthcast.runtime.venue_stats import VenueFeedStats
from depthcast.runtime.venue_watch import Watch
from depthcast.runtime.venue_writer import PartitionWriter
from depthcast.shared.backoff import Backoff, no_jitter
from depthcast.shared.errors import InstrumentsError, RedisUnavailable
from depthcast.shared.instruments import Instrument
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.listing import Listing
from depthcast.shared.partition import partition_of
from depthcast.shared.runtime.outage import Outage
from depthcast.shared.settings import VenueFeedSettings
from depthcast.shared.types import Symbol

logger = logging.getLogger(__name__)

PUBLISH_S: Final = 1.0
"""Time between two refreshes of the hash `sources`."""

LAST_WORDS_S: Final = 5.0
"""At its end a feeder has so long to mark its books stale."""

REWRITE_S: Final = 1.0
REWRITE_S_MAX: Final = 60.0
"""First and longest wait before a book is written again whose entries were rejected."""

ABSENCES: Final = 2
"""A symbol that is not in so many lists of the venue in a row is delisted."""

RETRIES: Final = 3
"""A symbol that the list has is asked for so often again: the venue may have delisted it for a moment."""


class VenueFeed:
    """The feed of some symbols of one venue; `run` goes on until it is cancelled or nothing is left to do.

    - `registered`: the instruments as they are registered, whose books exist; `listings`: their listings, if
      leaders record them, whose sizes count.
    - `before`: what the venue's sizes were when a feed compared them last, where that is known.
    - `may_relist`: whether a change of the venue's sizes begins a new listing.
    - `feeder`: a name that no other process has.
    """

    def __init__(
        self,
        settings: VenueFeedSettings,
        venue: Venue,
        feedings: Sequence[Feeding],
        registered: Mapping[Symbol, Instrument],
        listings: Mapping[Symbol, Listing],
        before: Mapping[Symbol, Instrument],
        *,
        may_relist: bool,
        client: Redis,
        watch_client: Redis,
        keys: DeploymentKeys,
        partitions: int,
        session: aiohttp.ClientSession,
        rest: VenueRest,
        stats: VenueFeedStats,
        feeder: str,
    ) -> None:
        self.settings = settings
        self.venue = venue
        self.feeder = feeder
        self.stats = stats
        self.keys = keys
        self.problems: list[str] = []
        self._session = session
        self._rest = rest
        self._now = asyncio.get_running_loop().time
        self._sources = Sources(watch_client, self.keys, feeder)
        self._fed: dict[str, Fed] = {}
        self._by_symbol: dict[Symbol, Fed] = {}
        self._writers: dict[int, PartitionWriter] = {}
        self._numbers = 0
        self._others: dict[str, str] = {}
        self._nothing_left = asyncio.Event()
        for feeding in feedings:
            listing = listings.get(feeding.symbol) or Listing(0, registered[feeding.symbol])
            self._add(feeding, listing, before.get(feeding.symbol), client, partitions)
        self._watch = Watch(
            watch_client,
            self.keys,
            {number: frozenset(writer_symbols) for number, writer_symbols in self._by_partition().items()},
            {feeding.symbol: registered[feeding.symbol] for feeding in feedings},
            on_reject=self._on_reject,
            on_lost=self._on_lost,
            on_instrument=self._on_instrument,
            on_listing=self._on_listing,
            listings=listings,
        )
        self._list = InstrumentList(
            venue,
            rest,
            self._listed_symbols,
            settings.instruments_interval_s,
            settings.retry_max_s,
            self._on_list,
        )
        self._sizes = SizeKeeper(watch_client, self.keys, self._watch, may_relist=may_relist, put=self._put)
        profile = venue.profile
        lifetime_s = settings.connection_lifetime_s
        self._limits = Limits(
            settings.silence_s or profile.silence_s,
            profile.quiet_s if settings.quiet_s is None else settings.quiet_s,
            settings.snapshot_wait_s,
            profile.lifetime_s if lifetime_s is None else lifetime_s,
            settings.retry_max_s,
        )
        self._slot_of: dict[str, ConnectionSlot] = {}
        self._slots = [self._slot(names) for names in groups(list(self._fed), profile.symbols_per_connection)]
        self._connect_stats()

    async def run(self) -> None:
        """Feed; raises `FeedRefused` when no symbol is left that may be fed."""
        await self._claim()
        tasks = [
            asyncio.ensure_future(work)
            for work in (
                *(writer.run() for writer in self._writers.values()),
                *(slot.run() for slot in self._slots),
                self._watch.run(),
                self._list.run(),
                self._publish(),
                self._rewrite_rejected(),
                self._nothing_left.wait(),
            )
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            raise FeedRefused(f"nothing is left to feed: {'; '.join(self.problems)}")
        finally:
            connecting = tasks[len(self._writers) :]
            await _cancel(connecting)
            await self._say_goodbye()
            await _cancel(tasks)

    # --- what connections say

    def take(self, number: int, output: Snapshot | Update | Doubt) -> bool:
        """Take an output of the adapter of connection `number` (`venue_connection.Receiver`)."""
        fed = self._fed.get(output.symbol)
        if fed is None:
            return False
        step = fed.feed.take(number, output, self._now())
        self._put(fed, step.entries)
        if isinstance(output, Snapshot):
            fed.refusals = 0
        if step.unfit:
            fed.unfit = step.detail
            self._list.ask()
        if step.doubt:
            logger.warning(
                "a book is in doubt",
                extra={"symbol": fed.feed.symbol, "reason": step.doubt, "detail": step.detail},
            )
        return step.resync

    def refused(self, number: int, refused: Refused) -> None:
        """Take a refusal of the venue."""
        connection = next((each for each in self._connections() if each.number == number), None)
        fed = self._fed.get(refused.symbol or "")
        logger.warning(
            "the venue refused a request",
            extra={"symbol": refused.symbol or "", "detail": refused.detail, "final": refused.final},
        )
        if not refused.final:
            if connection is not None:
                connection.end("refused", refused.detail)
        elif connection is not None and any(slot.is_replacing(connection) for slot in self._slots):
            connection.end("refused", refused.detail)  # the one that it was to replace goes on
            self._list.ask()
        elif fed is not None:
            if not fed.refusal and not fed.feed.absent:
                fed.refusal = f"the venue refuses {refused.symbol}: {refused.detail}"
                self._put(fed, fed.feed.lose(LocalDoubt.REFUSED, self._now()))
                self._leave(fed)
                self._list.ask()  # it refuses a symbol that it has delisted, too
        elif refused.symbol is None and connection is not None:
            for name in connection.symbols:
                self._fed[name].suspicion = f"the venue refuses the connection: {refused.detail}"
            self._list.ask()  # a symbol that it has delisted may be why
            connection.end("refused", refused.detail)

    # --- what the deployment says

    def _on_reject(self, symbol: Symbol, reason: str) -> None:
        fed = self._by_symbol[symbol]
        now = self._now()
        if now - fed.rejected_at > REWRITE_S_MAX:
            fed.backoff.reset()
        fed.rejected_at = now
        if fed.rewrite_at is None and not fed.feed.finished:
            logger.error("an event was rejected", extra={"symbol": symbol, "reason": reason})
            self._put(fed, fed.feed.doubt(LocalDoubt.REJECTED, now))
            fed.rewrite_at = now + fed.backoff.next_s()

    def _on_lost(self, partition: int | None, why: str) -> None:
        logger.error("input was lost", extra={"partition": partition, "problem": why})
        for fed in self._by_symbol.values():
            if partition in (None, fed.partition) and not fed.feed.finished:
                self._put(fed, fed.feed.doubt(LocalDoubt.INPUT_LOST, self._now()))
                self._writers[fed.partition].rewrite(fed.feed)

    def _on_instrument(self, symbol: Symbol, instrument: Instrument | None) -> None:
        fed = self._by_symbol[symbol]
        if instrument is None:
            self._refuse(fed, f"{symbol} was withdrawn")
        elif fed.feed.listing is not None:
            return  # its listing goes on, whatever the hash says; see `_on_listing`
        elif not same_sizes(instrument, fed.registered):
            self._refuse(fed, f"the sizes of {symbol} were changed: start the feed again")

    def _on_listing(self, symbol: Symbol, listing: Listing) -> None:
        fed, sizes = self._by_symbol[symbol], listing.instrument
        try:
            check_feed(fed.feeding, sizes)
        except InstrumentsError as error:
            self._refuse(fed, str(error))
            return
        logger.warning("another listing has begun", extra={"symbol": symbol, "listing": listing.number})
        fed.list_with(sizes)
        price, quantity = Scale(sizes.tick_size), Scale(sizes.lot_size)
        entry = fed.feed.relist(listing.number, price, quantity, self._now())
        self._watch.hurry = any(each.feed.relisting is not None for each in self._fed.values())
        if same_sizes(sizes, fed.feeding.instrument):
            fed.followed = fed.feeding.instrument
        else:
            self._list.ask()
        if entry is not None:
            self._put(fed, [entry])
            for connection in self._connections():
                connection.resync(fed.feeding.venue_symbol)

    # --- what the venue's list says

    def _listed_symbols(self) -> list[str]:
        return [name for name, fed in self._fed.items() if not fed.feed.finished]

    async def _on_list(self, listed: Mapping[str, Sizes]) -> None:
        for name in self._listed_symbols():
            fed, sizes = self._fed[name], listed.get(name)
            if sizes is None:
                self._on_absent(fed)
                continue
            self._on_present(fed)
            if not fed.feed.finished:
                fed.feeding = fed.feeding.with_sizes(sizes)
                if await self._sizes.follow(fed, self._now()):
                    self._list.ask()
        self._settle_suspicions()

    def _settle_suspicions(self) -> None:
        """Refuse symbols of connections that were refused too often, unless a delisted one explains it."""
        explained = [self._slot_of[name] for name, fed in self._fed.items() if fed.absences]
        for name, fed in self._fed.items():
            if fed.suspicion and self._slot_of[name] not in explained:
                fed.refusals += 1
                if fed.refusals > RETRIES:
                    self._refuse(fed, fed.suspicion)
            fed.suspicion = ""

    def _on_absent(self, fed: Fed) -> None:
        fed.absences += 1
        if fed.absences < ABSENCES:
            self._list.ask()
        elif not fed.feed.absent:
            logger.error("the venue lists this symbol no more", extra={"symbol": fed.feed.symbol})
            entry = fed.feed.delist(self._now())
            self._put(fed, [] if entry is None else [entry])
            self._leave(fed)

    def _on_present(self, fed: Fed) -> None:
        fed.absences = 0
        if fed.feed.absent:
            logger.warning("the venue lists this symbol again", extra={"symbol": fed.feed.symbol})
            fed.feed.list_again()
            self._join(fed)
        elif fed.refusal:
            fed.refusals += 1
            if fed.refusals > RETRIES:
                self._refuse(fed, fed.refusal)
            else:
                self._join(fed)

    def _join(self, fed: Fed) -> None:
        fed.refusal = ""
        for connection in self._slot_of[fed.feeding.venue_symbol].open:
            connection.join(fed.feeding.venue_symbol)

    def _on_taken(self, feed: SymbolFeed, other: str) -> None:
        self._other(feed.symbol, other)
        self._refuse(self._by_symbol[feed.symbol], f"{other} has taken over {feed.symbol}")

    # --- inside

    def _add(
        self,
        feeding: Feeding,
        listing: Listing,
        before: Instrument | None,
        client: Redis,
        partitions: int,
    ) -> None:
        sizes = listing.instrument
        check_registered(feeding, sizes, before if listing.number else None)
        number = partition_of(feeding.symbol, partitions)
        feed = SymbolFeed(
            feeding.symbol,
            Scale(sizes.tick_size),
            Scale(sizes.lot_size),
            self._now(),
            listing=listing.number or None,
            numbers_by_connection=self.venue.profile.numbers_by_connection,
        )
        backoff = Backoff(REWRITE_S, REWRITE_S_MAX, no_jitter)
        fed = Fed(feeding, feed, number, backoff, sizes, before or feeding.instrument)
        self._fed[feeding.venue_symbol] = self._by_symbol[feeding.symbol] = fed
        if number not in self._writers:
            self._writers[number] = PartitionWriter(
                client,
                self.keys.partition(number),
                self.feeder,
                self.settings.pending_events_max,
                self._now,
                self._on_taken,
            )

    def _by_partition(self) -> dict[int, list[Symbol]]:
        found: dict[int, list[Symbol]] = {}
        for symbol, fed in self._by_symbol.items():
            found.setdefault(fed.partition, []).append(symbol)
        return found

    def _slot(self, names: Sequence[str]) -> ConnectionSlot:
        def make() -> VenueConnection:
            self._numbers += 1
            profile = self.venue.profile
            return VenueConnection(
                self._numbers,
                [name for name in names if self._fed[name].is_fed],
                profile=profile,
                adapter=self.venue.adapter(),
                session=self._session,
                ws_url=self.settings.ws_url or profile.ws_url,
                rest=self._rest,
                limits=self._limits,
                receiver=self,
                counts=self.stats.connections,
            )

        slot = ConnectionSlot(
            make,
            self._taken_over,
            lambda: any(self._fed[name].is_fed for name in names),
            self._limits.lifetime_s,
            self._limits.retry_max_s,
            self._on_ended,
            self._return_to,
        )
        self._slot_of.update(dict.fromkeys(names, slot))
        return slot

    def _taken_over(self, connection: VenueConnection) -> bool:
        feds = [self._fed[name] for name in connection.symbols]
        return all(not fed.is_fed or fed.feed.source >= connection.number for fed in feds)

    def _on_ended(self, connection: VenueConnection, error: ConnectionEnded) -> None:
        ends = self.stats.connections.disconnects
        ends[error.reason] = ends.get(error.reason, 0) + 1
        logger.warning(
            "a connection ended",
            extra={"symbols": len(connection.symbols), "reason": error.reason, "detail": error.detail},
        )

    def _return_to(self, connection: VenueConnection) -> None:
        """Go on with a connection, as the one that was to replace it has ended.

        What that one had taken over, or was to check, nobody knows now: it is subscribed again.
        """
        for name in list(connection.symbols):
            fed = self._fed[name]
            if fed.feed.return_to(connection.number) or connection.is_quiet(name):
                self._put(fed, fed.feed.lose(DoubtReason.DISCONNECTED, self._now()))
                connection.resync(name)

    def _connections(self) -> list[VenueConnection]:
        return [connection for slot in self._slots for connection in slot.open]

    def _connect_stats(self) -> None:
        stats = self.stats
        stats.feeds = [fed.feed for fed in self._by_symbol.values()]
        stats.writers = {number: writer.counts for number, writer in self._writers.items()}
        stats.connected = lambda: sum(each.opened_at is not None for each in self._connections())
        stats.rejects = lambda: self._watch.rejects
        stats.input_lag_ms = lambda: self._watch.lag_ms
        stats.answers = self._rest.answers
        stats.handovers = lambda: sum(slot.handovers for slot in self._slots)
        stats.other_feeders = self._others

    def _put(self, fed: Fed, entries: Sequence[LiveEntry]) -> None:
        if entries:
            self._writers[fed.partition].put(entries)

    def _leave(self, fed: Fed) -> None:
        for connection in self._connections():
            connection.leave(fed.feeding.venue_symbol)

    def _refuse(self, fed: Fed, why: str) -> None:
        if fed.feed.finished:
            return
        logger.error("a symbol is fed no more", extra={"symbol": fed.feed.symbol, "problem": why})
        self.problems.append(why)
        self._put(fed, fed.feed.refuse(why, self._now()))
        self._leave(fed)
        if all(each.feed.finished for each in self._fed.values()):
            self._nothing_left.set()

    async def _claim(self) -> None:
        """Take all symbols over from whoever fed them before, and mark their books stale."""
        outage = Outage(logger, "the feed waits for Redis")
        while True:
            try:
                for fed in self._by_symbol.values():
                    await self._writers[fed.partition].claim(fed.feed)
                await self._watch.start()
            except RedisUnavailable as error:
                outage.note(error)
                await asyncio.sleep(PUBLISH_S / 2)
            else:
                break
        outage.over()
        for fed in self._by_symbol.values():
            self._writers[fed.partition].rewrite(fed.feed)
        await self._on_list({name: fed.feeding.sizes for name, fed in self._fed.items()})

    async def _rewrite_rejected(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            now = self._now()
            for fed in self._by_symbol.values():
                if fed.rewrite_at is not None and now >= fed.rewrite_at:
                    fed.rewrite_at = None if fed.feed.relisting is None else now + RELIST_AGAIN_S
                    self._writers[fed.partition].rewrite(fed.feed)

    async def _publish(self) -> None:
        """Refresh the hash `sources`, and look for other feeders."""
        outage = Outage(logger, "the hash of sources waits for Redis")
        while True:
            try:
                await self._publish_once()
            except RedisUnavailable as error:
                outage.note(error)
            else:
                outage.over()
            await asyncio.sleep(PUBLISH_S)

    async def _publish_once(self) -> None:
        for writer in self._writers.values():
            await writer.check_owners()
        others = await self._sources.others(list(self._by_symbol))
        for symbol, entry in others.items():
            self._other(symbol, str(entry.get("feeder")))
        for symbol in self._others.keys() - others.keys():
            if not self._is_taken(self._by_symbol[Symbol(symbol)]):
                del self._others[symbol]
        for symbol in self._sources.given_up:
            fed = self._by_symbol[Symbol(symbol)]
            self._writers[fed.partition].rewrite(fed.feed)
        own = {symbol: fed for symbol, fed in self._by_symbol.items() if not self._is_taken(fed)}
        await self._sources.publish({symbol: self._source(fed) for symbol, fed in own.items()})

    def _other(self, symbol: str, feeder: str) -> None:
        if self._others.get(symbol) != feeder:
            self._others[symbol] = feeder
            logger.error("another process feeds this symbol", extra={"symbol": symbol, "feeder": feeder})

    def _is_taken(self, fed: Fed) -> bool:
        return bool(self._writers[fed.partition].lines[fed.feed.symbol].taken_by)

    def _source(self, fed: Fed) -> dict[str, Any]:
        since = time.time_ns() // 1000 - round((self._now() - fed.feed.since) * 1e6)
        return source_of(
            self.venue.profile, fed.feeding, fed.feed, fed.followed, feeder=self.feeder, since=since
        )

    async def _say_goodbye(self) -> None:
        """Mark every book stale, as nobody feeds it any more, and say so in `sources`."""
        for fed in self._by_symbol.values():
            self._put(fed, fed.feed.end(self._now()))
        with suppress(TimeoutError, RedisUnavailable):
            async with asyncio.timeout(LAST_WORDS_S):
                for writer in self._writers.values():
                    await writer.written()
                await self._publish_once()


def groups(names: Sequence[str], most: int) -> list[Sequence[str]]:
    """Share names evenly over as few groups as the limit allows."""
    count = -(-len(names) // max(1, most))
    return [names[place::count] for place in range(count)]


def new_feeder_name() -> str:
    """Return a name that no other process has."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


async def _cancel(tasks: Sequence["asyncio.Future[Any]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
