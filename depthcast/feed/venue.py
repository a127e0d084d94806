"""What an adapter of a venue is: the venue's messages go in, what they mean for its books comes out.

Adapters are pure: no clock, socket or randomness. The live feed, replay, `--verify` and the tests share
them.

An adapter says `Snapshot` and `Update` only for what it can prove: every number of the venue's rule of
continuity is there, and its checksum, where it keeps one, is right. Otherwise it says `Doubt`, and nothing
more about that symbol before the next `Snapshot`. Symbols are named as the venue names them; prices and
quantities are decimal text, exactly as the venue wrote them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

VenueLevel = tuple[str, str]
"""Price and quantity as the venue wrote them; quantity 0 removes the level."""


class Snapshot(NamedTuple):
    """The whole book that the venue keeps for a subscriber; replaces everything that is known.

    - `bids`, `asks`: in any order, each price at most once, no quantity of 0.
    - `ts`: time at the venue in µs since 1970; None if it says none.
    - `sequence`: the venue's number of this state; None if it has none.
    - `checked`: a checksum of the venue agreed with this state.
    """

    symbol: str
    bids: Sequence[VenueLevel]
    asks: Sequence[VenueLevel]
    ts: int | None = None
    sequence: int | None = None
    checked: bool = False


class Update(NamedTuple):
    """One atomic change: every level named has that quantity afterwards. Fields as in `Snapshot`.

    It includes the removal of levels that the venue drops without a word, such as those beyond its depth.
    """

    symbol: str
    bids: Sequence[VenueLevel]
    asks: Sequence[VenueLevel]
    ts: int | None = None
    sequence: int | None = None
    checked: bool = False


class DoubtReason(StrEnum):
    """Why a book can no longer be proven right."""

    GAP = "gap"
    """The venue's numbers do not follow each other: messages are missing."""
    RESET = "reset"
    """The venue began its numbers anew, or said that its book did."""
    CHECKSUM = "checksum"
    """The venue's checksum is another one."""
    CROSSED = "crossed"
    """The adapter's own book is crossed or locked after a whole message."""
    MALFORMED = "malformed"
    """A message of the book is not as the venue documents it."""
    DEPTH = "depth"
    """Prices moved beyond the levels that the snapshot held."""
    OVERFLOW = "overflow"
    """More messages than the limit came before the snapshot."""
    DISCONNECTED = "disconnected"
    """The connection ended, or was silent for too long."""
    PARTIAL = "partial"
    """A recording does not have the whole book: it begins within it, or shows some of its orders only."""
    SUSPENDED = "suspended"
    """The venue said that it does not publish this book now, as in maintenance."""


class Doubt(NamedTuple):
    """The book can no longer be proven right: it must be marked stale, and a snapshot is needed."""

    symbol: str
    reason: DoubtReason
    detail: str


class Refresh(NamedTuple):
    """The book is right, but may not be for long: a new snapshot is wanted, and no doubt is raised yet.

    Said once until the next snapshot, such as when prices have moved far towards the end of its depth; again
    if the answer was too old.
    """

    symbol: str
    detail: str


class Closing(NamedTuple):
    """The venue said that it will end this connection soon: open a new one before that."""

    detail: str


class Best(NamedTuple):
    """Best prices from a channel of their own, an oracle for `--verify`; `sequence` as in `Update`.

    A quantity of 0: the venue said none.
    """

    symbol: str
    bid: VenueLevel
    ask: VenueLevel
    sequence: int | None = None
    ts: int | None = None


class Refused(NamedTuple):
    """The venue refused a request: of one symbol, or of the connection (symbol None).

    `final`: trying again is useless, as for a symbol that does not exist.
    """

    symbol: str | None
    detail: str
    final: bool = True


class Alive(NamedTuple):
    """The venue said that it is alive: a heartbeat, a pong, or the confirmation of a request.

    `symbol`: the book that it said has not changed; empty if it named none.
    """

    symbol: str = ""


class Reply(NamedTuple):
    """Something that must be sent back at once, such as the answer to a ping."""

    payload: str | bytes


class Skipped(NamedTuple):
    """A message that concerns no book, such as a trade; `kind` names it for the summary."""

    kind: str


Output = Snapshot | Update | Doubt | Refresh | Closing | Best | Refused | Alive | Reply | Skipped


class Sizes(NamedTuple):
    """Sizes of an instrument from the venue's own list, as decimal text.

    `trading` False: listed, but not open now.
    """

    tick_size: str
    lot_size: str
    trading: bool = True


class Request(NamedTuple):
    """One HTTP GET; `path` is added to the venue's REST address, with its query."""

    path: str
    weight: int = 1


class Quality(NamedTuple):
    """What proves a venue's book right, for `status`, metrics and documents.

    - `continuity`: the rule that proves that no message is missing, such as "U = previous u + 1".
    - `checksum`: what the venue's checksum covers, such as "CRC32 of the best 25"; empty without one.
    - `depth`: how much of the book the venue sends, such as "all levels" or "the best 400".
    """

    continuity: str
    checksum: str
    depth: str


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Facts about a venue that the live feed keeps to.

    - `ws_url`, `rest_url`: public addresses; a setting replaces them.
    - `symbols_per_connection`: subscriptions that one connection may have.
    - `sends_per_s`: messages a second that one connection may send; `request_weight_per_min`: for REST.
    - `ping_every_s`: the adapter's `ping` is due so often; 0 = never, WebSocket pings are answered anyway.
    - `silence_s`: after so long without any message the connection counts as dead.
    - `quiet_s`: after so long without a message of a book, that book is checked.
    - `lifetime_s`: the venue ends a connection after this time; a new one is opened before; 0 = never.
    - `numbers_by_connection`: `sequence` orders the states that one connection has sent, and no others.
    - `snapshot_by_rest`: snapshots are fetched; False: the venue sends one after each subscription.
    """

    name: str
    title: str
    ws_url: str
    rest_url: str
    quality: Quality
    symbols_per_connection: int
    sends_per_s: float
    request_weight_per_min: int
    ping_every_s: float = 0.0
    silence_s: float = 30.0
    quiet_s: float = 300.0
    lifetime_s: float = 0.0
    numbers_by_connection: bool = False
    snapshot_by_rest: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


BUFFERED_MOST: Final = 10_000
"""Messages that an adapter buffers for one symbol until its snapshot; after more, `Doubt(OVERFLOW)`."""


class Adapter(Protocol):
    """One connection's state machine. Times are µs since 1970 by the caller's clock.

    No method raises for what a venue sent: a message that is not as documented is `Doubt(MALFORMED)` for the
    symbol that it concerns, or for all subscribed ones if that cannot be told.
    """

    def connect_path(self, symbols: Sequence[str]) -> str:
        """Return what is added to `ws_url` for a connection with these symbols; usually nothing."""
        ...

    def subscribe(self, symbols: Sequence[str]) -> list[str | bytes]:
        """Return the messages that subscribe to the books, in batches the venue accepts."""
        ...

    def unsubscribe(self, symbols: Sequence[str]) -> list[str | bytes]:
        """Return the messages that end subscriptions; they are followed by `subscribe` to get a snapshot."""
        ...

    def ping(self, now: int) -> str | bytes | None:
        """Return the venue's own ping; None if it has none."""
        ...

    def take(self, raw: str | bytes, now: int) -> Iterable[Output]:
        """Take one WebSocket message."""
        ...

    def take_snapshot(self, symbol: str, raw: bytes, now: int) -> Iterable[Output]:
        """Take the answer to `snapshot_request`. A snapshot that is too old yields nothing: ask again."""
        ...

    def snapshot_request(self, symbol: str) -> Request | None:
        """Return the request for a symbol's snapshot.

        None where a new subscription brings it, and while no answer could be proven: ask again later.
        """
        ...

    def check_request(self, symbol: str) -> Request | None:
        """Return the request by which a book of which nothing comes is compared with the venue's.

        None where only the snapshot of a new connection tells, and for a book that is not known.
        """
        ...

    def take_check(self, symbol: str, raw: bytes) -> Iterable[Output]:
        """Take the answer to `check_request`.

        `Alive` with the symbol if the venue's book is equal, or if a message has come meanwhile. If it
        differs: nothing the first time, as a message may be on its way, so ask again; then a `Doubt`.
        """
        ...

    def lost(self) -> Iterable[Doubt]:
        """Forget everything but the subscribed symbols: the connection is gone. One `Doubt` for each book."""
        ...

    def top(self, symbol: str, count: int) -> tuple[Sequence[VenueLevel], Sequence[VenueLevel]] | None:
        """Return the best levels of the adapter's own book, best first; None if it keeps none."""
        ...


class Venue(Protocol):
    """A venue: its facts, its list of instruments, and adapters for it."""

    @property
    def profile(self) -> Profile: ...

    def adapter(self) -> Adapter:
        """Make the adapter of a new connection."""
        ...

    def instruments_requests(self, symbols: Sequence[str]) -> Sequence[Request]:
        """Return the requests whose answers `read_instruments` takes."""
        ...

    def read_instruments(self, answers: Sequence[bytes]) -> dict[str, Sizes]:
        """Return the sizes of every instrument in the answers. Raises `ValueError` for other answers."""
        ...
