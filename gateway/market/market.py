"""A gateway's whole market: instruments, replicas, statuses and channels.

Each `deltas` entry, each load and each change of a symbol's status takes the next broadcast number, across
all partitions. Cursors are compared with these numbers. The market knows no session.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from depthcast.gateway.counters import GatewayCounters
from depthcast.gateway.market.book_history import BookHistories, BookHistory
from depthcast.gateway.market.channel import Channel
from depthcast.gateway.market.demand import Demand
from depthcast.gateway.market.grouping import Grouping
from depthcast.gateway.market.groupings import Groupings
from depthcast.gateway.market.history import HistoryBound
from depthcast.gateway.market.input_age import InputAges
from depthcast.gateway.market.listing import NONE, Listing
from depthcast.gateway.market.listings import Listings
from depthcast.gateway.market.orders_channel import OrdersChannel
from depthcast.gateway.market.past import ViewKind, has_orders, past_of
from depthcast.gateway.market.snapshot_parts import PartsBound
from depthcast.gateway.market.view import ViewSource
from depthcast.gateway.protocol.messages import UNGROUPED, Message
from depthcast.shared.freshness import Freshness, ServerClock
from depthcast.shared.instrument_table import InstrumentTable
from depthcast.shared.instruments import Instrument
from depthcast.shared.partition import partition_of
from depthcast.shared.reader import AppliedEntry, PartitionReader, ReplicaUpdate, Written
from depthcast.shared.replica import Replica

DROPPED_AT_ONCE_MAX: Final = 400
"""Channels that are dropped without a pause; thousands of them would delay everybody's broadcasts."""


class Upstream:
    """One partition: its reader and its `symbols`, those of them that are followed.

    - `freshness`: of the newest entry applied; `ingestor_seen`: whether any was read yet.
    - `fresh`, `lost`, `loading`: results of the last `Market.update_statuses`: `freshness` allows live books,
      a reader without a position, symbols without a current replica.
    - `all_possibly_changed`: every symbol's status must be computed again.
    """

    __slots__ = (
        "all_possibly_changed", "fresh", "freshness", "ingestor_seen", "loading", "lost", "reader", "symbols",
    )  # fmt: skip

    def __init__(self, freshness: Freshness) -> None:
        self.freshness = freshness
        self.symbols: set[str] = set()
        self.reader = PartitionReader(self.symbols.__contains__, as_numbers=True)
        self.ingestor_seen = False
        self.fresh = False
        self.lost = True
        self.loading: set[str] = set()
        self.all_possibly_changed = True


class Market:
    """The market of this gateway.

    - `number`: the last broadcast number; `last_status_change`: the number of the last status change.
    - `changed`: channels that changed since the last tick.
    - `overgrown`: channels that need the whole book, full-depth and grouped ones, of a book that has more
      than `full_depth_max` levels.
    - `outdated`: symbols that were removed, whose books stand for something else now, or whose full-depth
      or grouped channel, or one with the number of orders, has ended, until all sessions were told;
      `unannounced`: there are some of which nobody was told.
    - `channel_count`: channels kept, of all symbols; `groupings`: those of all symbols.
    - `catalog_number`: how often the instruments changed.
    - `was_live`: whether all books have ever been current at the same time, under a living ingestor.
    - `clock`: the clock of the server that holds the streams.
    - `parts_bound`: of all snapshots that clients get in parts.
    - `input_ages`: how long symbols have had no input.
    - `demand`: which symbols are asked for, if not all are followed.
    """

    def __init__(
        self,
        counters: GatewayCounters,
        *,
        history_deltas: int,
        history_deltas_total: int,
        deflate_bytes_min: int,
        part_levels_max: int,
        parts_bytes_max: int,
        full_depth_max: int,
        stale_ms: int,
        input_lag_max_ms: int,
        input_age_max_ms: int | None = None,
        channel_linger_s: float,
        channels_max: int,
        groups_max: int,
        groups_per_symbol_max: int,
        book_history_s: float = 0,
        book_history_bytes_max: int = 0,
        follow_everything: bool = True,
        follow_linger_s: float = 0,
    ) -> None:
        self.counters = counters
        self.listings = Listings(lambda symbol: self._upstream(symbol).freshness)
        self.upstreams: list[Upstream] = []
        self.number = 0
        self.last_status_change = 0
        self.changed: dict[Channel, None] = {}
        self.overgrown: dict[Channel, None] = {}
        self.outdated: dict[str, None] = {}
        self.unannounced = False
        self.was_live = False
        self.channel_count = 0
        self.catalog_number = 0
        self._instruments: Mapping[str, Instrument] = InstrumentTable()
        self._surely_empty = False
        self.history_bound = HistoryBound(history_deltas, history_deltas_total)
        self.histories = BookHistories(book_history_s, book_history_bytes_max, counters)
        self._rebuilding: dict[str, BookHistory] = {}
        self._deflate_bytes_min = deflate_bytes_min
        self.parts_bound = PartsBound(part_levels_max, parts_bytes_max, counters)
        self._full_depth_max = full_depth_max
        self.clock = ServerClock()
        self.input_ages = InputAges(self.clock, input_age_max_ms)
        self._stale_s = stale_ms / 1000
        self._input_lag_max_ms = input_lag_max_ms
        self._linger_s = channel_linger_s
        self._channels_max = channels_max
        self._idle: dict[Channel, None] = {}
        self.groupings = Groupings(groups_max, groups_per_symbol_max)
        self.demand = Demand(follow_linger_s, everything=follow_everything)

    # --- instruments ----------------------------------------------------------------------------------------

    def set_partitions(self, count: int) -> None:
        """Set the deployment's number of partitions; called once, before any instrument is listed."""
        self.upstreams = [
            Upstream(Freshness(self.clock, self._stale_s, self._input_lag_max_ms)) for _ in range(count)
        ]
        for upstream in self.upstreams:
            upstream.reader.on_rebuilding = self._note_past
        self.demand.asked = [{} for _ in self.upstreams]

    def list_instruments(self, instruments: Mapping[str, Instrument]) -> tuple[list[str], list[str]]:
        """Update to the current catalog; returns the symbols added and the symbols removed.

        `instruments` is never changed afterwards: the same object means that nothing is new.
        """
        self._surely_empty = not instruments and all(upstream.ingestor_seen for upstream in self.upstreams)
        if instruments is self._instruments:
            return [], []
        if instruments != self._instruments:
            self.catalog_number += 1
        before, self._instruments = self._instruments, instruments
        self.listings.replace(instruments)
        removed = [symbol for symbol in before if symbol not in instruments]
        added = [symbol for symbol in instruments if symbol not in before]
        for symbol, listing in self.listings.made.items():
            if symbol in instruments:
                self._want(listing, instruments[symbol])
        for symbol in removed:
            self._remove(symbol)
        for symbol in added:
            if self.demand.everything:
                upstream = self._upstream(symbol)
                upstream.symbols.add(symbol)
                upstream.reader.want(symbol)
            elif symbol in self.demand.held:
                self.ask((symbol,))  # it was withdrawn, and its clients are still to be told
        return added, removed

    def _want(self, listing: Listing, instrument: Instrument) -> None:
        """Take what the catalog says; it counts for the book only while the stream does not say it."""
        if listing.wanted == instrument:
            return
        listing.wanted = instrument
        self._upstream(instrument.symbol).all_possibly_changed = True
        if listing.stated is None and listing.stand_for(instrument):
            self._begin_anew(listing)

    def _begin_anew(self, listing: Listing) -> None:
        """Give the symbol new channels; those of before show nothing that is published from now on."""
        self._forget_channels(listing)
        self._outdate(listing.instrument.symbol)
        self.catalog_number += 1

    def _outdate(self, symbol: str) -> None:
        self.outdated[symbol] = None
        self.unannounced = True

    def _forget_channels(self, listing: Listing) -> None:
        channels, listing.channels = listing.channels, NONE
        counted, listing.orders_channels = listing.orders_channels, NONE
        groupings, listing.groupings = listing.groupings, NONE
        for grouping in groupings.values():
            self.groupings.forget(grouping)
        grouped = [grouping.channels for grouping in groupings.values()]
        for of_depth in (channels, counted, *grouped):
            for channel in of_depth.values():
                self._forget_channel(channel)

    def _remove(self, symbol: str) -> None:
        listing = self.listings.pop(symbol)
        if listing is not None:
            self._forget_channels(listing)
            self._replace_history(listing, None)
        self._outdate(symbol)
        self._unfollow(symbol)

    def _upstream(self, symbol: str) -> Upstream:
        return self.upstreams[self._partition(symbol)]

    def _partition(self, symbol: str) -> int:
        return partition_of(symbol, len(self.upstreams))

    # --- what is followed -----------------------------------------------------------------------------------

    def ask(self, symbols: Iterable[str], *, past: bool = False) -> None:
        """Follow these symbols, those of them that are listed, as somebody asks for them now.

        `past`: what their books were before is wanted, too, because somebody may resume.
        """
        if self.demand.everything:
            return
        for symbol in symbols:
            if symbol in self.listings:
                partition = self._partition(symbol)
                followed = symbol in self.upstreams[partition].symbols
                self.demand.ask(symbol, partition, followed=followed, past=past)

    def awaited(self, symbols: Iterable[str]) -> list[str]:
        """Those of `symbols` that were asked for and are not taken up yet."""
        if self.demand.everything:
            return []
        asked = self.demand.asked
        return [symbol for symbol in symbols if symbol in asked[self._partition(symbol)]]

    def note_earlier(self, update: ReplicaUpdate, ts: int) -> None:
        """Take what changed in a book before it is followed, on the way to the reader's position."""
        update.replica.loaded_ts = ts
        self._note_past(update, ts)
        self.number += 1

    def adopt(
        self,
        partition: int,
        beside: PartitionReader,
        symbols: Iterable[str],
        now: float,
        written: Written | None = None,
    ) -> None:
        """Follow symbols that were taken up, those of them that are still asked for.

        `beside` is where the reader of the partition is. `written`: how fresh that is, if nobody has read the
        partition so far.
        """
        upstream, asked = self.upstreams[partition], self.demand.asked[partition]
        wanted = [symbol for symbol in symbols if symbol in asked]
        for symbol in wanted:
            del asked[symbol]
        upstream.symbols.update(wanted)
        self.counters.taken_up += len(wanted)
        updates = upstream.reader.adopt(beside, wanted)
        upstream.all_possibly_changed = True
        assert upstream.reader.position is not None
        self.apply(upstream, AppliedEntry(upstream.reader.position, None, updates, written), now)
        for symbol in symbols:
            if symbol not in upstream.symbols:
                self._end_past(symbol)

    def unfollow_idle(self, now: float) -> None:
        """Follow no longer what nobody has asked for in a while."""
        for symbol in self.demand.expired(now, self._is_needed):
            listing = self.listings[symbol]
            self._replace_history(listing, None)
            self._unfollow(symbol)
            self.number = self.last_status_change = self.number + 1
            listing.forget_book(self.number)
            self.counters.unfollowed += 1

    def _is_needed(self, symbol: str) -> bool:
        listing = self.listings.get(symbol)
        return listing is None or symbol in self.demand.held or listing.has_channels

    def _unfollow(self, symbol: str) -> None:
        self._end_past(symbol)
        partition = self._partition(symbol)
        self.demand.forget(symbol, partition)
        upstream = self.upstreams[partition]
        upstream.symbols.discard(symbol)
        upstream.reader.forget(symbol)

    def _end_past(self, symbol: str) -> None:
        if (past := self._rebuilding.pop(symbol, None)) is not None:
            self.histories.end(past)

    def followed_count(self) -> int:
        """How many symbols are followed."""
        return sum(len(upstream.symbols) for upstream in self.upstreams)

    def followed(self) -> Iterable[Listing]:
        """The listings of the symbols that are followed."""
        made, listings = self.listings.made, self.listings
        symbols = (symbol for upstream in self.upstreams for symbol in upstream.symbols)
        return (made.get(symbol) or listings[symbol] for symbol in symbols)

    def is_followed(self, symbol: str) -> bool:
        """Whether a listed symbol is followed."""
        return symbol in self._upstream(symbol).symbols

    # --- broadcasts -----------------------------------------------------------------------------------------

    def apply(self, upstream: Upstream, entry: AppliedEntry, now: float) -> None:
        """Apply one entry of a partition, or a load of its snapshots (`info` None), that arrived at `now`.

        The reader's replicas must be at exactly this entry, not at a later one.
        """
        self.number += 1
        if entry.written is not None:
            upstream.freshness.record(entry.written, now)
            upstream.ingestor_seen = upstream.ingestor_seen or entry.written.is_new
        if entry.info is not None:
            upstream.ingestor_seen = True
            self.counters.entries += 1
        made, listings = self.listings.made, self.listings
        for update in entry.updates:
            listing = made.get(update.symbol) or listings.get(update.symbol)
            if listing is not None:
                self._update(listing, update, entry, upstream)

    def _update(
        self, listing: Listing, update: ReplicaUpdate, entry: AppliedEntry, upstream: Upstream
    ) -> None:
        listing.ts = entry.info.ts if entry.info else update.replica.loaded_ts
        self.counters.broadcasts += 1
        stated = update.replica.listing
        if stated is not None and stated is not listing.stated:
            upstream.all_possibly_changed = True
            if listing.state(stated):
                self._begin_anew(listing)
            if stated.withdrawn:
                if update.symbol in self.outdated:
                    self.unannounced = True  # who was told already has to be told again
                listing.replica = None
                self._replace_history(listing, None)
                self._forget_channels(listing)  # what clients hold stays, and is stale; nobody else gets it
                return
        if update.replica.doubt != listing.doubt:
            upstream.all_possibly_changed = True
        if update.delta is None:
            self.counters.replaced += listing.replica is not None
            listing.replica = update.replica
            self._replace_history(listing, self._past_of(update.symbol, update.replica))
            upstream.all_possibly_changed = True
            for channel in listing.channels.values():
                if channel.load(update.replica, listing.ts, self.number):
                    self.changed[channel] = None
        else:
            seq, ts, number, event_ts = update.delta.seq, listing.ts, self.number, update.event_ts
            assert listing.history is not None, "a replica was shown first"
            self.histories.append(listing.history, number, ts, update.changes, event_ts)
            for channel in listing.channels.values():
                if channel.advance(update.changes, seq, ts, number, event_ts):
                    self.changed[channel] = None
        if 0 in listing.channels or listing.groupings or listing.orders_channels:
            self._update_whole(listing, update)

    def _update_whole(self, listing: Listing, update: ReplicaUpdate) -> None:
        """Update grouped books and what has the number of orders.

        Note what needs the whole book if that has too many levels.
        """
        ts, number = listing.ts, self.number
        for grouping in listing.groupings.values():
            if update.delta is None:
                changed = grouping.load(update.replica, ts, number)
            else:
                seq, event_ts = update.delta.seq, update.event_ts
                changed = grouping.advance(update.changes, seq, ts, number, event_ts)
            self.changed.update(dict.fromkeys(changed))
        if listing.levels() > self._full_depth_max:
            self._overgrow(listing)
        if listing.orders_channels:
            self._update_orders(listing, update)

    def _overgrow(self, listing: Listing) -> None:
        if 0 in listing.channels:
            self.overgrown[listing.channels[0]] = None
        for grouping in listing.groupings.values():
            self.overgrown.update(dict.fromkeys(grouping.channels.values()))

    def _update_orders(self, listing: Listing, update: ReplicaUpdate) -> None:
        """Offer the update to the channels with the number of orders; they end if nobody says it any more."""
        channels, ts, number = listing.orders_channels, listing.ts, self.number
        if listing.without_orders() is not None:
            for ended in tuple(channels.values()):
                self._drop_channel(ended)
            self._outdate(update.symbol)
            return
        for channel in channels.values():
            if update.delta is None:
                changed = channel.load(update.replica, ts, number)
            else:
                seq = update.delta.seq
                changed = channel.advance(update.changes, seq, ts, number, update.event_ts)
            if changed:
                self.changed[channel] = None
        if 0 in channels and listing.levels() > self._full_depth_max:
            self.overgrown[channels[0]] = None

    def end_overgrown(self) -> None:
        """End the full-depth and grouped channels whose book has more levels than the limit."""
        for channel in tuple(self.overgrown):
            self.counters.limit_full_depth += 1
            self._drop_channel(channel)
            self._outdate(channel.symbol)

    def end_tick(self) -> None:
        """End the tick: everything was flushed and becomes history."""
        for channel in self.changed:
            channel.end_tick()
        self.changed.clear()

    # --- what books were ------------------------------------------------------------------------------------

    def _note_past(self, update: ReplicaUpdate, ts: int) -> None:
        """Keep what changed in a book that is not shown yet: clients may come that have seen it elsewhere."""
        symbol, replica, _, changes, event_ts = update
        past = self._rebuilding.get(symbol)
        number = self.number + 1  # that of the entry, which is about to be applied
        if past is not None and past.replica is replica and past.doubt == replica.doubt:
            self.histories.append(past, number, ts, changes, event_ts)
            return
        if past is not None:
            self.histories.end(past)
        self._rebuilding[symbol] = BookHistory(replica, number)

    def _past_of(self, symbol: str, replica: Replica) -> BookHistory:
        """The history of a book that is shown from now on."""
        past = self._rebuilding.pop(symbol, None)
        if past is not None and past.replica is replica and past.doubt == replica.doubt:
            return past
        if past is not None:
            self.histories.end(past)
        return BookHistory(replica, self.number)

    def _replace_history(self, listing: Listing, history: BookHistory | None) -> None:
        if listing.history is not None:
            self.histories.end(listing.history)
        listing.history = history

    def begin_earlier(self, listing: Listing, channel: Channel, seq: int) -> int:
        """Let a channel's history begin at the state that its book had at `seq`, if that is kept.

        Returns how many changes of the book were computed again.
        """
        history, replica, begins = listing.history, listing.replica, channel.history.base
        if history is None or replica is None or channel.view is None or seq >= begins.seq:
            return 0
        state = history.state_at(seq)
        if not channel.begins_at <= state.broadcast < begins.broadcast:
            return 0
        changes = history.since(state)
        if channel.orders and not has_orders(changes):
            return 0
        kind = ViewKind(channel.depth, channel.group_ticks, channel.orders)
        channel.begin_earlier(*past_of(replica, state, changes, begins.broadcast, kind))
        return len(changes) + 1

    # --- live or stale --------------------------------------------------------------------------------------

    def update_statuses(self, now: float) -> bool:
        """Determine which symbols are live; returns whether any status changed."""
        before = self.last_status_change
        ages_changed = self.input_ages.look(now)
        for upstream in self.upstreams:
            upstream.all_possibly_changed = upstream.all_possibly_changed or ages_changed
            self._update_statuses_of(upstream, self._possibly_changed(upstream, now))
        self.was_live = self.was_live or self._all_live()
        return self.last_status_change != before

    def _possibly_changed(self, upstream: Upstream, now: float) -> Collection[str]:
        """Symbols whose status may have changed since the last call; usually none."""
        reader = upstream.reader
        fresh = upstream.freshness.update(now)
        lost = reader.lost_reason is not None
        everything = upstream.all_possibly_changed or fresh != upstream.fresh or lost != upstream.lost
        upstream.fresh, upstream.lost, upstream.all_possibly_changed = fresh, lost, False
        possibly_changed = upstream.loading
        if possibly_changed or reader.missing or reader.rebuilding:
            upstream.loading = {*reader.missing, *reader.rebuilding}
            possibly_changed = possibly_changed | upstream.loading
        return upstream.symbols if everything else possibly_changed & upstream.symbols

    def _update_statuses_of(self, upstream: Upstream, symbols: Collection[str]) -> None:
        number, made, listings = self.number + 1, self.listings.made, self.listings
        for symbol in symbols:
            listing = made.get(symbol) or listings[symbol]
            stale = (
                not upstream.fresh
                or listing.replica is None
                or listing.ended
                or not upstream.reader.is_current(symbol)
            )
            doubt = None if listing.replica is None else listing.replica.doubt
            listing.quiet = self.input_ages.too_old(listing.replica)
            stale = stale or doubt is not None or listing.quiet
            changed = stale != listing.stale
            if changed:
                listing.set_stale(stale, number)
            if doubt != listing.doubt:
                listing.doubt, listing.doubt_changed_at, changed = doubt, number, True
            if changed:
                self.number = self.last_status_change = number

    def status_message(self, listing: Listing) -> Message:
        """The `status` of a symbol to send now."""
        return listing.status_message(self.input_ages.of(listing.replica) if listing.quiet else None)

    def _all_live(self) -> bool:
        """Whether all known books are current under a living ingestor, or the catalog is known to be empty.

        Input lag does not count: more gateways may be needed just then. An ingestor registers its instruments
        before it writes anything else, so a catalog read after that is complete.
        """
        if any(upstream.freshness.late for upstream in self.upstreams):
            return False
        if not self.listings:
            return self._surely_empty
        if any(upstream.lost for upstream in self.upstreams):
            return False
        shown = [listing.instrument.symbol for listing in self.followed() if listing.replica is not None]
        if not shown and self.demand.everything:
            return False
        return all(self._upstream(symbol).reader.is_current(symbol) for symbol in shown)

    def stale_count(self) -> int:
        """How many of the symbols that are followed are stale now."""
        return sum(listing.stale for listing in self.followed())

    # --- channels -------------------------------------------------------------------------------------------

    def too_deep(self, listing: Listing, depth: int, group_ticks: int = UNGROUPED) -> bool:
        """Whether the whole book is needed, for depth 0 or a grouping, and has more levels than the limit."""
        return (depth == 0 or group_ticks != UNGROUPED) and listing.levels() > self._full_depth_max

    def room_for(
        self, listing: Listing, depth: int, group_ticks: int = UNGROUPED, *, orders: bool = False
    ) -> bool:
        """Whether there is a channel of a symbol at a depth, or room for it; an idle channel makes room."""
        channel = listing.channel(depth, group_ticks, orders=orders)
        if channel is not None or self.channel_count < self._channels_max:
            return True
        if not self._idle:
            return False
        self._drop_channel(next(iter(self._idle)))
        return True

    def room_for_group(self, listing: Listing, group_ticks: int) -> bool:
        """Whether there is a grouping of a symbol, or room for it; an idle grouping makes room."""
        if self.groupings.has_room(listing, group_ticks):
            return True
        idle = self.groupings.replaceable(listing)
        if idle is None:
            return False
        for channel in tuple(idle.channels.values()):
            self._drop_channel(channel)
        return True

    def channel(
        self, listing: Listing, depth: int, group_ticks: int = UNGROUPED, *, orders: bool = False
    ) -> Channel:
        """The channel of a symbol at a depth, made if there is none yet.

        `orders`: with the number of orders, which groups do not have.
        """
        channel = listing.channel(depth, group_ticks, orders=orders)
        if channel is None:
            symbol = listing.instrument.symbol
            self.ask((symbol,))
            channel = (OrdersChannel if orders else Channel)(
                symbol,
                depth,
                group_ticks=group_ticks,
                history_bound=self.history_bound,
                deflate_bytes_min=self._deflate_bytes_min,
                parts_bound=self.parts_bound,
                counters=self.counters,
            )
            self._count_channels(1)
            self._idle[channel] = None
            source: ViewSource | None = listing.replica
            if orders:
                listing.orders_channels = {**listing.orders_channels, depth: channel}
            elif group_ticks == UNGROUPED:
                listing.channels = {**listing.channels, depth: channel}
            else:
                grouping = self.groupings.get(listing, group_ticks)
                grouping.channels[depth] = channel
                source = grouping.replica
            if source is not None:
                channel.load(source, listing.ts, self.number)
                channel.begins_at = 0  # nobody has seen anything of it yet
        return channel

    def hold(self, channel: Channel) -> None:
        """Count one more subscription to `channel`, which keeps it."""
        channel.subscribers += 1
        self.demand.hold(channel.symbol)
        self._idle.pop(channel, None)
        if channel.group_ticks != UNGROUPED:
            self.groupings.hold(self._grouping(channel))

    def release(self, channel: Channel) -> None:
        """Count one subscription to `channel` less; without any, it is kept for `channel_linger_s`."""
        channel.subscribers -= 1
        self.demand.release(channel.symbol)
        if not self.is_kept(channel):
            return
        if not channel.subscribers:
            channel.idle_since = None
            self._idle[channel] = None
        if channel.group_ticks != UNGROUPED:
            self.groupings.release(self._grouping(channel))

    def _grouping(self, channel: Channel) -> Grouping:
        return self.listings.made[channel.symbol].groupings[channel.group_ticks]

    def drop_idle_channels(self, now: float) -> None:
        """Drop channels without subscriptions for `channel_linger_s`: a few at a time, for it takes time."""
        expired: list[Channel] = []
        for channel in self._idle:
            if channel.idle_since is None:
                channel.idle_since = now
            elif now - channel.idle_since >= self._linger_s and len(expired) < DROPPED_AT_ONCE_MAX:
                expired.append(channel)
        for channel in expired:
            self._drop_channel(channel)

    def _count_channels(self, more: int) -> None:
        self.channel_count += more
        self.history_bound.share(self.channel_count)

    def is_kept(self, channel: Channel) -> bool:
        """Whether `channel` is the one of its symbol, depth and kind; not after its listing has ended."""
        listing = self.listings.made.get(channel.symbol)
        kind = channel.depth, channel.group_ticks
        return listing is not None and listing.channel(*kind, orders=channel.orders) is channel

    def is_over(self, channel: Channel) -> bool:
        """Whether nothing of `channel` may be sent any more, because its sessions are about to be told why.

        A channel of a withdrawn symbol is not over: its status is still sent.
        """
        return channel.symbol in self.outdated and not self.is_kept(channel)

    def _drop_channel(self, channel: Channel) -> None:
        listing = self.listings.made[channel.symbol]
        if channel.orders:
            listing.orders_channels = _without(listing.orders_channels, channel.depth)
        elif channel.group_ticks == UNGROUPED:
            listing.channels = _without(listing.channels, channel.depth)
        else:
            self.groupings.drop(listing, channel)
        self._forget_channel(channel)

    def _forget_channel(self, channel: Channel) -> None:
        self._count_channels(-1)
        self.demand.rest(channel.symbol)
        self._idle.pop(channel, None)
        self.changed.pop(channel, None)
        self.overgrown.pop(channel, None)


def _without(channels: Mapping[int, Channel], depth: int) -> Mapping[int, Channel]:
    """`channels` without one."""
    return {kept: channels[kept] for kept in channels if kept != depth} or NONE
