"""A seeded conversation between a client and a real gateway, with all that a user, a market and a network do.

Whatever happens, a book that the client shows as live is the view of the gateway at that seq, with the sizes
of its listing. When all is over, the client shows every book as it is.
"""

import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from tests.unit.gateway.small_market import START, Published, SmallMarket, random_changes
from tests.vectors.peers import Message, Peer
from tests.vectors.scene import Connection

SYMBOLS: Final = ("AAA", "BBB", "CCC")
DEPTHS: Final = (1, 5, 0)
FIRST_SIZE: Final = "0.01"


class Wanted(NamedTuple):
    """Options of a subscription."""

    depth: int
    group: int


class Preference:
    """What the user wants now, by a naive model: options by name, and those of everything else."""

    def __init__(self) -> None:
        self.named: dict[str, Wanted] = {}
        self.all: Wanted | None = None
        self.without: set[str] = set()

    def subscribe(self, symbols: list[str], wanted: Wanted) -> None:
        if symbols == ["*"]:
            self.named, self.all, self.without = {}, wanted, set()
        else:
            self.named.update(dict.fromkeys(symbols, wanted))
            self.without.difference_update(symbols)

    def unsubscribe(self, symbol: str) -> None:
        if symbol == "*":
            self.named, self.all, self.without = {}, None, set()
        else:
            self.named.pop(symbol, None)
            self.without.add(symbol)

    def shown(self, symbol: str, *, was_gone: bool) -> set[Wanted]:
        """How the symbol may be shown. What was removed may have come back by everything alone."""
        everything = set() if self.all is None or symbol in self.without else {self.all}
        named = {self.named[symbol]} if symbol in self.named else set()
        return named | everything if was_gone or not named else named


class ClientStorm:
    """One seeded run. `arriving`: messages on their way to the client; `log`: what happened so far.

    `groups`: those that the user asks for, each as likely as the others.
    """

    def __init__(self, seed: int, peer: Peer, groups: Sequence[int] = (1,)) -> None:
        self.rng = random.Random(seed)
        self.peer = peer
        self.groups = groups
        self.market = SmallMarket(
            *SYMBOLS,
            history_deltas=self.rng.choice((1, 4, 64)),
            part_levels_max=self.rng.choice((1, 3, 1000)),
            write_buffer_bytes=1024,
            channel_linger_s=5.0,
        )
        self.connection: Connection | None = None
        self.arriving: deque[Message] = deque()
        self.log: list[str] = []
        self.listings = dict.fromkeys(SYMBOLS, 0)
        self.sizes: dict[str, list[tuple[int, str]]] = {symbol: [(0, FIRST_SIZE)] for symbol in SYMBOLS}
        self.doubted: set[str] = set()
        self.gone: set[str] = set()
        self.preference = Preference()
        for symbol in SYMBOLS:
            self._relist(symbol)

    def run(self, steps: int) -> None:
        """Take so many random steps, then let everything come to rest."""
        actions: list[Callable[[], None]] = [
            *[self.publish] * 8, *[self.deliver] * 10, *[self.gateway_reads] * 6, *[self.subscribe] * 3,
            *[self.unsubscribe] * 2, self.everything, self.nothing, self.spoil, self.repeat, self.lose,
            self.reconnect, self.relist, self.doubt, self.remove, self.list_again, self.fill, self.drain,
        ]  # fmt: skip
        self.open()
        for _ in range(steps):
            self.market.now += 0.01
            action = self.rng.choice(actions)
            self.log.append(action.__name__)
            action()
            self.check()
        self.settle()

    # --- the market

    def listed(self) -> list[str]:
        return sorted(self.market.books)

    def publish(self) -> None:
        symbol = self.rng.choice(self.listed())
        self.market.publish(symbol, *random_changes(self.rng, self.market.books[symbol], 3))

    def relist(self) -> None:
        self._relist(self.rng.choice(self.listed()))

    def _relist(self, symbol: str) -> None:
        """Begin the next listing, with sizes that no other has."""
        self.listings[symbol] += 1
        number = self.listings[symbol]
        size = FIRST_SIZE if number == 1 else f"0.{number:03}1"
        self.market.relist(symbol, number, size)
        self.sizes[symbol].append((self.market.books[symbol].seq, size))
        self.doubted.discard(symbol)

    def doubt(self) -> None:
        symbol = self.rng.choice(self.listed())
        reason = None if symbol in self.doubted else "gap"
        (self.doubted.discard if reason is None else self.doubted.add)(symbol)
        self.market.doubt(symbol, reason, random_changes(self.rng, self.market.books[symbol], 2)[0])

    def remove(self) -> None:
        listed = self.listed()
        if len(listed) > 1:
            symbol = self.rng.choice(listed)
            self.gone.add(symbol)
            del self.market.books[symbol]
            self.market.list_instruments()
            self.market.tick()

    def list_again(self) -> None:
        for symbol in SYMBOLS:
            if symbol not in self.market.books:
                self.market.books[symbol] = Published(START.epoch + 1_000_000 * (self.listings[symbol] + 1))
                self.market.list_instruments()
                self.market.load()
                self._relist(symbol)
                self.market.publish(symbol, {-5: 5})

    # --- the user

    def subscribe(self) -> None:
        symbols = self.rng.sample(SYMBOLS, self.rng.randint(1, 2))
        self._subscribe(symbols)

    def everything(self) -> None:
        self._subscribe(["*"])

    def _subscribe(self, symbols: list[str]) -> None:
        wanted = Wanted(self.rng.choice(DEPTHS), self.rng.choice(self.groups))
        self.log[-1] += f" {symbols} {wanted}"
        self._wants(symbols, wanted)

    def _wants(self, symbols: list[str], wanted: Wanted) -> None:
        self.preference.subscribe(symbols, wanted)
        # Not every peer takes groups.
        self.peer.subscribe(symbols, *(wanted if wanted.group != 1 else wanted[:1]))

    def unsubscribe(self) -> None:
        symbol = self.rng.choice(SYMBOLS)
        self.log[-1] += f" {symbol}"
        self.preference.unsubscribe(symbol)
        self.peer.unsubscribe([symbol])

    def nothing(self) -> None:
        self.preference.unsubscribe("*")
        self.peer.unsubscribe(["*"])

    # --- the network

    def open(self) -> None:
        self.connection = Connection(self.market)
        self.arriving.clear()
        self.peer.opened()

    def reconnect(self) -> None:
        """The connection is lost, and all that was on its way."""
        assert self.connection is not None
        self.market.core.close(self.connection.session)
        self.peer.lost()
        if self.rng.random() < 0.5:
            self.publish()
        self.open()

    def gateway_reads(self) -> None:
        """The gateway gets to some of what the client has sent."""
        assert self.connection is not None
        for _ in range(self.rng.randint(1, 3)):
            if self.peer.sent:
                self.connection.take(self.peer.sent.pop(0))

    def deliver(self) -> None:
        for _ in range(self.rng.randint(1, 6)):
            if self.waiting():
                self.receive(self.arriving.popleft())

    def waiting(self) -> bool:
        """Whether something is on its way to the client."""
        assert self.connection is not None
        sent = self.connection.sent()
        self.arriving.extend(sent)
        sent.clear()
        return bool(self.arriving)

    def receive(self, message: Message) -> None:
        self.log.append(f"  {message}")
        self.peer.receive(message)
        self.check()

    def _next_book_message(self) -> Message | None:
        """Only these can be lost or spoiled without breaking the order of subscriptions."""
        if self.waiting() and self.arriving[0]["type"] in ("snapshot", "delta"):
            return self.arriving.popleft()
        return None

    def lose(self) -> None:
        self._next_book_message()

    def repeat(self) -> None:
        if (message := self._next_book_message()) is not None:
            self.receive(message)
            self.receive(message)

    def spoil(self) -> None:
        if (message := self._next_book_message()) is not None:
            side = self.rng.choice(("bids", "asks"))
            price = self.rng.randint(-40, 40)
            self.receive({**message, side: [*message[side], [price, self.rng.randint(1, 3)]]})

    def fill(self) -> None:
        assert self.connection is not None
        self.connection.writer.reads = False

    def drain(self) -> None:
        assert self.connection is not None
        self.connection.writer.reads = True
        self.connection.writer.drain(len(self.connection.writer.waiting))

    # --- what must be true

    def check(self) -> None:
        """Whatever is shown as live is a view of the market, with the sizes that it has at that seq."""
        for symbol, shown in self.peer.shown.items():
            if shown.state != "live":
                continue
            book = self.market.books.get(symbol)
            if book is None or shown.seq not in book.states:
                continue  # withdrawn meanwhile, so the market no longer has its states
            views = [book.view(shown.seq, depth, group) for depth in DEPTHS for group in set(self.groups)]
            assert (shown.bids, shown.asks) in views, (symbol, shown, self.log[-40:])
            size = next(size for since, size in reversed(self.sizes[symbol]) if since <= shown.seq)
            assert shown.tick_size == size, (symbol, shown, size, self.log[-40:])

    def settle(self) -> None:
        """Everything arrives, and every book moves once more: nothing is left stale or behind."""
        self.list_again()
        for symbol in sorted(self.doubted):
            self.market.doubt(symbol, None, {-6: 6})
        self.drain()
        for quantity in (71, 72):
            for symbol in SYMBOLS:
                self.market.publish(symbol, {-1: quantity}, {1: quantity})
            self.exchange()
        self.check_current()
        self._wants(["*"], Wanted(5, self.groups[-1]))
        self.exchange()
        assert sorted(self.peer.shown) == sorted(SYMBOLS), self.log[-40:]
        self.check_current()
        self.peer.unsubscribe(["*"])
        self.exchange()
        assert not self.peer.shown, self.log[-40:]

    def exchange(self) -> None:
        """Let everything through, until both sides are quiet."""
        assert self.connection is not None
        for _ in range(1000):
            if self.peer.sent:
                self.connection.take(self.peer.sent.pop(0))
            elif self.waiting():
                self.receive(self.arriving.popleft())
            else:
                return
        raise AssertionError(f"they never come to rest: {self.log[-20:]}")

    def check_current(self) -> None:
        for symbol, shown in self.peer.shown.items():
            book = self.market.books[symbol]
            assert shown.state == "live", (symbol, shown, self.log[-60:])
            wanted = self.preference.shown(symbol, was_gone=symbol in self.gone)
            views = [book.view(book.seq, *options) for options in wanted]
            assert (shown.bids, shown.asks) in views, (symbol, shown, self.log[-60:])
