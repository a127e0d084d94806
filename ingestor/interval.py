"""What the engine hands out: the result of an interval, and the sizes of its books."""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from depthcast.ingestor.orders import OrdersCopy
from depthcast.ingestor.rejects import Reject
from depthcast.shared.listing import Listing
from depthcast.shared.order_counts import OrderCounts
from depthcast.shared.types import Delta, Symbol

NO_LISTINGS: Final[Mapping[Symbol, Listing]] = MappingProxyType({})
NO_DOUBTS: Final[Mapping[Symbol, str | None]] = MappingProxyType({})
NO_TIMES: Final[Mapping[Symbol, int]] = MappingProxyType({})
NO_COUNTS: Final[Mapping[Symbol, OrderCounts]] = MappingProxyType({})


class Interval(NamedTuple):
    """The result of one drain: everything that must be published in one atomic step.

    - `src`: ID of the last input entry consumed, `0-0` for none.
    - `event_ts`: newest source time (µs) consumed since the last drain.
    - `applied`, `rejected`, `ignored`: events since the partition began; `rejected` is the sum of `count`
      over all rejects.
    - `deltas`: at most one per symbol, births included.
    - `born`: symbols registered (again) since the last drain; their snapshots and checkpoints are published
      with the interval.
    - `orders`: copies of the orders as of `src`, for `born` symbols with an orders feed and for those
      requested.
    - `touched`: symbols with applied events; without a net change, their orders may still have changed.
    - `withdrawn`: symbols withdrawn since the last drain; their empty snapshots and checkpoints are published
      with the interval, so that nobody takes up their books, and no replay applies what was rejected since.
    - `unregistered`: those in `orders` that are withdrawn.
    - `listings`: the listings that began or ended since the last drain; `after`: the last input before that.
    - `doubts`: symbols whose books came into doubt since the last drain, with the reason, or are right again
      (None). Each has a delta, without levels if there is no net change.
    - `event_times`: newest source time (µs) of the applied events of symbols with a net change.
    - `inputs`: symbols that had input since the last drain, but no net change.
    - `counts`: the number of orders at each level of the deltas of orders feeds.
    """

    src: str
    event_ts: int | None
    applied: int
    rejected: int
    ignored: int
    deltas: list[tuple[Symbol, Delta]]
    rejects: list[Reject]
    born: list[Symbol]
    orders: dict[Symbol, OrdersCopy]
    touched: list[Symbol]
    withdrawn: Sequence[Symbol] = ()
    unregistered: Collection[Symbol] = ()
    listings: Mapping[Symbol, Listing] = NO_LISTINGS
    after: Mapping[Symbol, str] = MappingProxyType({})
    doubts: Mapping[Symbol, str | None] = NO_DOUBTS
    event_times: Mapping[Symbol, int] = NO_TIMES
    inputs: tuple[Symbol, ...] = ()
    counts: Mapping[Symbol, OrderCounts] = NO_COUNTS


class Stats(NamedTuple):
    """Sizes of all books at one moment, for metrics."""

    symbols: int
    levels: int
    orders: int
