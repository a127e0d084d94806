"""The clients behind one interface, without sockets, so that one conversation can be had with each."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from depthcast.client.book import SubscriptionOptions
from depthcast.client.session import ClientSession
from tests.vectors.preference import Wanted

Message = dict[str, Any]


class Shown(NamedTuple):
    """What a client shows of a symbol.

    `claims`: the options whose view it says that this is. `counts`: the number of orders at each level, None
    if it does not know them.
    """

    state: str
    seq: int
    bids: dict[int, int]
    asks: dict[int, int]
    tick_size: str
    claims: Wanted
    counts: tuple[dict[int, int], dict[int, int]] | None


class Peer(Protocol):
    """A client's session. `sent`: what it has sent, oldest first; `shown`: what it shows, by symbol.

    `begin` makes a new client, with a window of credit (0: none). `try_later`: it wants another connection,
    because this gateway has no catalog yet. `passes`: the time passes after which it repeats what the gateway
    refused as too much at a time, if it does that. `during`: if it has listeners, one makes a call at its
    next event of a kind: it subscribes to `symbols`, or unsubscribes if nothing is wanted. `called`: such
    calls that were made.
    """

    sent: list[Message]
    called: list[tuple[list[str], Wanted | None]]

    @property
    def shown(self) -> dict[str, Shown]: ...
    @property
    def try_later(self) -> bool: ...

    def begin(self, credit_window: int) -> None: ...
    def subscribe(self, symbols: Sequence[str], wanted: Wanted) -> None: ...
    def unsubscribe(self, symbols: Sequence[str]) -> None: ...
    def opened(self) -> None: ...
    def lost(self) -> None: ...
    def receive(self, message: Message) -> None: ...
    def during(self, event: str, symbols: Sequence[str], wanted: Wanted | None) -> None: ...
    def passes(self) -> None: ...


class PythonPeer:
    """The Python client's session."""

    def __init__(self) -> None:
        self.begin(0)

    def begin(self, credit_window: int) -> None:
        self.session = ClientSession(credit_window or None)
        self.sent: list[Message] = []
        self.called: list[tuple[list[str], Wanted | None]] = []

    @property
    def try_later(self) -> bool:
        return self.session.gateway_not_ready

    @property
    def shown(self) -> dict[str, Shown]:
        """Books that were shown at least once."""
        found = {}
        for symbol, book in self.session.books.items():
            if book.has_view:
                sides = book.replica.book.sides
                bids, asks = (dict(side.levels) for side in sides)
                depth, interval_ms, group, orders = book.options
                known = book.replica.orders_digest is not None
                found[symbol] = Shown(
                    str(book.state), book.replica.seq, bids, asks, book.sizes.tick_size,
                    Wanted(depth, group, orders, interval_ms),
                    (dict(sides[0].orders or {}), dict(sides[1].orders or {})) if known else None,
                )  # fmt: skip
        return found

    def subscribe(self, symbols: Sequence[str], wanted: Wanted) -> None:
        depth, group, orders, interval_ms = wanted
        self.session.subscribe(symbols, SubscriptionOptions(depth, interval_ms, group, orders))
        self._collect()

    def unsubscribe(self, symbols: Sequence[str]) -> None:
        self.session.unsubscribe(symbols)
        self._collect()

    def opened(self) -> None:
        self.session.connected()
        self._collect()

    def lost(self) -> None:
        self.session.disconnected()
        self.session.outbox.clear()
        self.sent.clear()

    def receive(self, message: Message) -> None:
        self.session.receive(message)
        self.session.failures.clear()
        self.session.updates.clear()
        self.session.return_credit()
        self._collect()

    def during(self, event: str, symbols: Sequence[str], wanted: Wanted | None) -> None:
        """It has no listeners: its user takes updates."""

    def passes(self) -> None:
        """It repeats nothing: its user gets the error."""

    def _collect(self) -> None:
        self.sent += self.session.outbox
        self.session.outbox.clear()
