"""The clients behind one interface, without sockets, so that one conversation can be had with each."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from depthcast.client.book import SubscriptionOptions
from depthcast.client.session import ClientSession

Message = dict[str, Any]


class Shown(NamedTuple):
    """What a client shows of a symbol."""

    state: str
    seq: int
    bids: dict[int, int]
    asks: dict[int, int]
    tick_size: str


class Peer(Protocol):
    """A client's session. `sent`: what it has sent, oldest first; `shown`: what it shows, by symbol."""

    sent: list[Message]

    @property
    def shown(self) -> dict[str, Shown]: ...

    def subscribe(self, symbols: Sequence[str], depth: int, group: int = 1) -> None: ...
    def unsubscribe(self, symbols: Sequence[str]) -> None: ...
    def opened(self) -> None: ...
    def lost(self) -> None: ...
    def receive(self, message: Message) -> None: ...


class PythonPeer:
    """The Python client's session."""

    def __init__(self) -> None:
        self.session = ClientSession()
        self.sent: list[Message] = []

    @property
    def shown(self) -> dict[str, Shown]:
        """Books that were shown at least once."""
        found = {}
        for symbol, book in self.session.books.items():
            if book.has_view:
                bids, asks = (dict(side.levels) for side in book.replica.book.sides)
                found[symbol] = Shown(str(book.state), book.replica.seq, bids, asks, book.sizes.tick_size)
        return found

    def subscribe(self, symbols: Sequence[str], depth: int, group: int = 1) -> None:
        self.session.subscribe(symbols, SubscriptionOptions(depth, 0, group))
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
        self._collect()

    def _collect(self) -> None:
        self.sent += self.session.outbox
        self.session.outbox.clear()
