"""Everything a gateway knows of the market: instruments, replicas, whether each is live, and the channels on them.

The hub numbers what happens: each `deltas` entry, each load and each change of a symbol's state takes the next
broadcast number, through all partitions. Sessions compare their cursors with these numbers. It knows no session.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Collection, Mapping
from typing import Final

from depthcast.gateway.counters import GatewayCounters
from depthcast.gateway.market.channel import Channel
from depthcast.gateway.market.view import View
from depthcast.shared.instruments import Instrument
from depthcast.shared.partition import partition_of
from depthcast.shared.reader import AppliedEntry, PartitionReader, ReplicaUpdate
from depthcast.shared.replica import Replica

TURNS_KEPT: Final = 256
"""State changes remembered per symbol. They take `stale_ms` each, so no client that lives is this far behind."""


class Listing:
    """One symbol: its instrument, its replica, its state, its channels by depth.

    `turns` holds the numbers at which `stale` changed, so that what a client at a cursor was last told follows from
    their parity, and nothing has to be kept per client. `ts` is that of the last broadcast that carried the symbol.
    """

    __slots__ = ("channels", "instrument", "replica", "stale", "ts", "turns")

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.replica: Replica | None = None
        self.stale = True
        self.ts = 0
        self.turns: deque[int] = deque(maxlen=TURNS_KEPT)
        self.channels: dict[int, Channel] = {}

    def turned_since(self, cursor: int) -> bool:
        """Whether the state differs from the one at `cursor`."""
        if not self.turns or self.turns[-1] <= cursor:
            return False
        return (len(self.turns) - bisect_right(self.turns, cursor)) % 2 == 1

    def levels(self) -> int:
        """Levels on the longer side of the book."""
        if self.replica is None:
            return 0
        return max(len(self.replica.book.bids), len(self.replica.book.asks))

    def view(self, depth: int) -> View | None:
        """The view at `depth`: the one clients follow if there is such a channel, otherwise a passing one."""
        channel = self.channels.get(depth)
        if channel is not None:
            return channel.view
        return View(self.replica, depth, self.ts) if self.replica is not None else None


class Upstream:
    """One partition: its reader, its symbols, and when it was last heard of (monotonic seconds).

    `speaks`: an entry of its stream was read, so an ingestor has been there. `unsettled`: the states of all its symbols
    are to be worked out anew. `troubled`: symbols that were being loaded when they were worked out last.
    """

    __slots__ = ("heard", "late", "lost", "reader", "speaks", "symbols", "troubled", "unsettled")

    def __init__(self) -> None:
        self.symbols: set[str] = set()
        self.reader = PartitionReader(self.symbols.__contains__)
        self.heard: float | None = None
        self.late = False
        self.lost = True
        self.troubled: set[str] = set()
        self.speaks = False
        self.unsettled = True


class Hub:
    """The market as this gateway knows it.

    - `number`: the last broadcast number given; `turned`: the number of the last change of any symbol's state.
    - `dirty`: channels that changed since the last tick; `overgrown`: full-depth channels beyond `full_depth_max`.
    - `was_live`: whether all books were live at the same time once.
    """

    def __init__(
        self,
        counters: GatewayCounters,
        *,
        history_deltas: int,
        deflate_bytes_min: int,
        full_depth_max: int,
        stale_ms: int,
        channel_linger_s: float,
    ) -> None:
        self.counters = counters
        self.listings: dict[str, Listing] = {}
        self.upstreams: list[Upstream] = []
        self.number = 0
        self.turned = 0
        self.dirty: dict[Channel, None] = {}
        self.overgrown: dict[Channel, None] = {}
        self.was_live = False
        self._surely_empty = False
        self._history_deltas = history_deltas
        self._deflate_bytes_min = deflate_bytes_min
        self._full_depth_max = full_depth_max
        self._stale_s = stale_ms / 1000
        self._linger_s = channel_linger_s

    # --- instruments ------------------------------------------------------------------------------------------------

    def divide(self, partitions: int) -> None:
        """The deployment has `partitions` partitions; known once, before any instrument."""
        self.upstreams = [Upstream() for _ in range(partitions)]

    def list_instruments(self, instruments: Mapping[str, Instrument]) -> tuple[list[str], list[str]]:
        """Take the catalog as it is now; returns the symbols that came and the symbols that went."""
        self._surely_empty = not instruments and all(upstream.speaks for upstream in self.upstreams)
        removed = [symbol for symbol in self.listings if symbol not in instruments]
        added = [symbol for symbol in instruments if symbol not in self.listings]
        for symbol, instrument in instruments.items():
            if symbol in self.listings:
                self.listings[symbol].instrument = instrument
        for symbol in removed:
            self._delist(symbol)
        for symbol in added:
            self.listings[symbol] = Listing(instruments[symbol])
            upstream = self._upstream(symbol)
            upstream.symbols.add(symbol)
            upstream.reader.want(symbol)
            upstream.unsettled = True
        return added, removed

    def _delist(self, symbol: str) -> None:
        listing = self.listings.pop(symbol)
        for channel in listing.channels.values():
            self.dirty.pop(channel, None)
            self.overgrown.pop(channel, None)
        upstream = self._upstream(symbol)
        upstream.symbols.discard(symbol)
        upstream.reader.forget(symbol)

    def _upstream(self, symbol: str) -> Upstream:
        return self.upstreams[partition_of(symbol, len(self.upstreams))]

    # --- broadcasts -------------------------------------------------------------------------------------------------

    def apply(self, upstream: Upstream, entry: AppliedEntry, now: float) -> None:
        """One entry of a partition, or a load of its snapshots (`info` None), arrived at `now`.

        The reader's replicas must stand right there, and not at a later entry.
        """
        self.number += 1
        if entry.info is not None or upstream.heard is None:
            upstream.heard = now
        if entry.info is not None:
            upstream.speaks = True
            self.counters.entries += 1
        for update in entry.updates:
            listing = self.listings.get(update.symbol)
            if listing is not None:
                self._update(listing, update, entry, upstream)

    def _update(
        self, listing: Listing, update: ReplicaUpdate, entry: AppliedEntry, upstream: Upstream
    ) -> None:
        listing.ts = entry.info.ts if entry.info else update.replica.loaded_ts
        self.counters.broadcasts += 1
        if update.delta is None:
            self.counters.replaced += listing.replica is not None
            listing.replica = update.replica
            upstream.unsettled = True
            for channel in listing.channels.values():
                if channel.show(update.replica, listing.ts, self.number):
                    self.dirty[channel] = None
        else:
            seq, ts, number = update.delta.seq, listing.ts, self.number
            for channel in listing.channels.values():
                if channel.advance(update.changes, seq, ts, number):
                    self.dirty[channel] = None
        if 0 in listing.channels and listing.levels() > self._full_depth_max:
            self.overgrown[listing.channels[0]] = None

    def settle(self) -> None:
        """A tick was flushed: from now on everything up to here is history."""
        for channel in self.dirty:
            channel.settle()
        self.dirty.clear()

    # --- live or stale ----------------------------------------------------------------------------------------------

    def judge(self, now: float) -> bool:
        """Work out anew which symbols are live; returns whether any state changed."""
        before = self.turned
        for upstream in self.upstreams:
            self._judge_symbols(upstream, self._doubtful(upstream, now))
        self.was_live = self.was_live or self._all_live()
        return self.turned != before

    def _doubtful(self, upstream: Upstream, now: float) -> Collection[str]:
        """Symbols whose state may have changed since the last time; in the usual case none."""
        reader = upstream.reader
        late = upstream.heard is None or now - upstream.heard > self._stale_s
        lost = reader.lost_reason is not None
        everything = upstream.unsettled or late != upstream.late or lost != upstream.lost
        upstream.late, upstream.lost, upstream.unsettled = late, lost, False
        doubtful = upstream.troubled
        if doubtful or reader.missing or reader.rebuilding:
            upstream.troubled = {*reader.missing, *reader.rebuilding}
            doubtful = doubtful | upstream.troubled
        return upstream.symbols if everything else doubtful & upstream.symbols

    def _judge_symbols(self, upstream: Upstream, symbols: Collection[str]) -> None:
        number = self.number + 1
        for symbol in symbols:
            listing = self.listings[symbol]
            stale = upstream.late or listing.replica is None or not upstream.reader.is_current(symbol)
            if stale != listing.stale:
                listing.stale = stale
                listing.turns.append(number)
                self.number = self.turned = number

    def _all_live(self) -> bool:
        """Whether every book there is is live, and there is one, or there are surely none.

        An ingestor registers its instruments before it says anything, so a catalog read after that is complete.
        """
        if not self.listings:
            return self._surely_empty and not any(upstream.late for upstream in self.upstreams)
        shown = [listing for listing in self.listings.values() if listing.replica is not None]
        return bool(shown) and not any(listing.stale for listing in shown)

    def stale_count(self) -> int:
        """How many symbols are stale now."""
        return sum(listing.stale for listing in self.listings.values())

    # --- channels ---------------------------------------------------------------------------------------------------

    def too_deep(self, listing: Listing, depth: int) -> bool:
        """Whether `depth` asks for a full book of more levels than are served."""
        return depth == 0 and listing.levels() > self._full_depth_max

    def channel(self, listing: Listing, depth: int) -> Channel:
        """The channel of a symbol at a depth, made if nobody asked for it yet."""
        channel = listing.channels.get(depth)
        if channel is None:
            symbol = listing.instrument.symbol
            channel = Channel(
                symbol,
                depth,
                steps_max=self._history_deltas,
                deflate_bytes_min=self._deflate_bytes_min,
                counters=self.counters,
            )
            listing.channels[depth] = channel
            if listing.replica is not None:
                channel.show(listing.replica, listing.ts, self.number)
        return channel

    def let_go(self, now: float) -> None:
        """Drop channels that nobody has subscribed to for `channel_linger_s`."""
        for listing in self.listings.values():
            for channel in tuple(listing.channels.values()):
                if channel.subscribers:
                    channel.idle_since = None
                elif channel.idle_since is None:
                    channel.idle_since = now
                elif now - channel.idle_since >= self._linger_s:
                    del listing.channels[channel.depth]
                    self.dirty.pop(channel, None)
                    self.overgrown.pop(channel, None)
