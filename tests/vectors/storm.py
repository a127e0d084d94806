"""A seeded conversation between a client and a real gateway, with all that a user, a market and a network do.

Whatever happens, a book that the client shows as live is the view that it claims to be, of the gateway at
that seq, with the sizes of its listing. When all is over, the client shows every book as its user wants it.
"""

import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import orjson

from depthcast.gateway.delivery.request_handler import answer
from tests.unit.gateway.small_market import START, PublishedOrders, random_changes
from tests.vectors.gateways import Gateways
from tests.vectors.peers import Message, Peer
from tests.vectors.preference import Preference, Wanted
from tests.vectors.scene import Connection

SYMBOLS: Final = ("AAA", "BBB", "CCC")
DEPTHS: Final = (1, 5, 0)
INTERVALS_MS: Final = (0, 0, 50)
FIRST_SIZE: Final = "0.01"
NO_DEPTH: Final = 7
"""A depth that no gateway serves: it refuses the whole message."""
EVENTS: Final = ("update", "status", "removed", "problem")
LIMITED_LEVELS: Final = 12
"""Where full and grouped books have a limit, it is this."""


class ClientStorm:
    """One seeded run. `arriving`: messages on their way to the client; `log`: what happened so far.

    `groups`: those that the user asks for, each as likely as the others. `answered`: by symbol, the options
    of the last `subscribed` on this connection. `refuses`: the gateway refuses and ends subscriptions.
    """

    def __init__(self, seed: int, peer: Peer, groups: Sequence[int] = (1,)) -> None:
        self.rng = random.Random(seed)
        self.peer = peer
        self.groups = groups
        self.refuses = self.rng.random() < 0.4
        self.with_orders = self.rng.random() < 0.4
        self.credit_window = self.rng.choice((0, 0, 1, 4))
        self.peer.begin(self.credit_window)
        self.market = Gateways(
            *SYMBOLS,
            rng=self.rng,
            with_orders=self.with_orders,
            full_depth_max=LIMITED_LEVELS if self.refuses else 1000,
            history_deltas=self.rng.choice((1, 4, 64)),
            part_levels_max=self.rng.choice((1, 3, 1000)),
            write_buffer_bytes=1024,
            channel_linger_s=5.0,
        )
        self.connection: Connection | None = None
        self.arriving: deque[Message] = deque()
        self.working: Iterator[bool | None] = iter(())
        self.answered: dict[str, Wanted] = {}
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
            *[self.lag] * 2, *[self.grid] * 3, self.silence, self.save, self.another_gateway, self.no_catalog,
            self.listen, self.listen,
        ]  # fmt: skip
        if self.refuses:
            actions += [self.too_many, self.passes, self.passes, self.wrong_depth, self.unknown]
        self.open()
        for _ in range(steps):
            self.market.now += 0.01
            action = self.rng.choice(actions)
            self.log.append(action.__name__)
            action()
            self._heard()
            self.check()
            if self.peer.try_later:
                self.reconnect()
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
            self.doubted.discard(symbol)
            self.market.removes(symbol)

    def list_again(self) -> None:
        for symbol in SYMBOLS:
            if symbol not in self.market.books:
                self.market.lists(symbol, START.epoch + 1_000_000 * (self.listings[symbol] + 1))
                self._relist(symbol)
                self.market.publish(symbol, {-5: 5})
                self.market.save()

    def silence(self) -> None:
        """Nothing is written for so long that the gateway calls its books stale, until something is."""
        self.market.now += 6
        self.market.tick()

    # --- the gateway

    def lag(self) -> None:
        """The gateway reads some of what it has not read, or nothing from now on."""
        if self.market.lags:
            self.market.catch_up(self.rng.randint(1, 5))
        else:
            self.market.lags = self.rng.random() < 0.3

    def grid(self) -> None:
        self.market.grid()

    def save(self) -> None:
        self.market.save()

    def another_gateway(self) -> None:
        self._leave()
        self.market.another()
        self.open()

    def no_catalog(self) -> None:
        """The client reconnects to a gateway that has no instruments yet, or that one gets them."""
        if not self.market.core.market.listings:
            self.market.ready()
        elif self.rng.random() < 0.3:
            self._leave()
            self.market.unready()
            self.open()

    def too_many(self) -> None:
        """The client has changed too many subscriptions: the gateway carries no further one out."""
        assert self.connection is not None
        self.connection.session.changes.left = self.rng.choice((-1.0, 0.0, 1.0))

    def passes(self) -> None:
        """A second passes, after which the gateway takes changes again."""
        assert self.connection is not None
        self.market.now += 1
        self.connection.session.refill_changes()
        self.peer.passes()

    # --- the user

    def subscribe(self) -> None:
        symbols = self.rng.sample(SYMBOLS, self.rng.randint(1, 2))
        self._subscribe(symbols)

    def everything(self) -> None:
        self._subscribe(["*"])

    def _subscribe(self, symbols: list[str]) -> None:
        self._wants(symbols, self._any_options())

    def _any_options(self) -> Wanted:
        orders = self.with_orders and self.rng.random() < 0.4
        group = 1 if orders else self.rng.choice(self.groups)
        return Wanted(self.rng.choice(DEPTHS), group, orders, self.rng.choice(INTERVALS_MS))

    def _wants(self, symbols: list[str], wanted: Wanted) -> None:
        self.log.append(f"  wants {symbols} {wanted}")
        self.preference.subscribe(symbols, wanted)
        self.peer.subscribe(symbols, wanted)
        self._heard()

    def wrong_depth(self) -> None:
        symbols = self.rng.choice((["*"], self.rng.sample(SYMBOLS, 2)))
        self._wants(symbols, Wanted(NO_DEPTH))

    def unknown(self) -> None:
        self._wants([*self.rng.sample(SYMBOLS, 1), "NO-SUCH"], self._any_options())

    def listen(self) -> None:
        """A listener is to make a call in the middle of an event, if the client has listeners."""
        symbols = self.rng.choice((["*"], [self.rng.choice(SYMBOLS)], [self.rng.choice(SYMBOLS)]))
        wanted = self._any_options() if self.rng.random() < 0.7 else None
        self.peer.during(self.rng.choice(EVENTS), symbols, wanted)

    def _heard(self) -> None:
        """What listeners have asked for meanwhile is what the user wants."""
        for symbols, wanted in self.peer.called:
            self.log.append(f"  a listener wants {symbols} {wanted}")
            if wanted is None:
                self.preference.unsubscribe(symbols[0])
            else:
                self.preference.subscribe(symbols, wanted)
        self.peer.called.clear()

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
        self.working = iter(())
        self.answered.clear()
        self.peer.opened()

    def reconnect(self) -> None:
        """The connection is lost, and all that was on its way."""
        self._leave()
        if self.rng.random() < 0.5:
            self.publish()
        self.open()

    def _leave(self) -> None:
        assert self.connection is not None
        self.market.core.close(self.connection.session)
        self.peer.lost()

    def gateway_reads(self) -> None:
        """The gateway gets to some of what the client has sent, and carries it out step by step."""
        for _ in range(self.rng.randint(1, 3)):
            self._works()

    def _works(self) -> bool:
        """The gateway takes the next step; False if it has nothing to do."""
        assert self.connection is not None
        for _ in self.working:
            return True
        if not self.peer.sent:
            return False
        message = self.peer.sent.pop(0)
        self.log.append(f"  takes {message}")
        self.working = answer(self.connection.session, orjson.dumps(message))
        next(self.working, None)
        return True

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
        self._note(message)
        self.peer.receive(message)
        self._heard()
        self.check()

    def _note(self, message: Message) -> None:
        """Keep what the gateway says of subscriptions."""
        kind, symbol = message["type"], message.get("symbol", "")
        if kind == "subscribed":
            group, orders = message.get("group", 1), message.get("orders", False)
            self.answered[symbol] = Wanted(message["depth"], group, orders)
        elif kind == "unsubscribed":
            self.answered.pop(symbol, None)
        if kind == "error" or (kind == "unsubscribed" and "reason" in message):
            self.preference.unsure.update([symbol] if symbol else SYMBOLS)

    def _next_book_message(self) -> Message | None:
        """Only these can be lost or spoiled without breaking the order of subscriptions."""
        if self.waiting() and self.arriving[0]["type"] in ("snapshot", "delta"):
            return self.arriving.popleft()
        return None

    def lose(self) -> None:
        if not self.credit_window:  # the credit would be lost with it
            self._next_book_message()

    def repeat(self) -> None:
        if (message := self._next_book_message()) is not None:
            self.receive(message)
            self.receive(message)

    def spoil(self) -> None:
        if (message := self._next_book_message()) is not None:
            side = self.rng.choice(("bids", "asks"))
            level = [self.rng.randint(-40, 40), self.rng.randint(1, 3)]
            number = [1] if "orders_digest" in message else []
            self.receive({**message, side: [*message[side], level + number]})

    def fill(self) -> None:
        assert self.connection is not None
        self.connection.writer.reads = False

    def drain(self) -> None:
        assert self.connection is not None
        self.connection.writer.reads = True
        self.connection.writer.drain(len(self.connection.writer.waiting))

    # --- what must be true

    def check(self) -> None:
        """What is shown as live is the view that it claims to be, and the one that the gateway last began."""
        for symbol, shown in self.peer.shown.items():
            if shown.state != "live":
                continue
            about = (symbol, shown, self.log[-40:])
            claims = shown.claims.levels
            assert claims == self.answered.get(symbol), (self.answered.get(symbol), *about)
            book = self.market.books.get(symbol)
            if book is None or shown.seq not in book.states:
                continue  # withdrawn meanwhile, so the market no longer has its states
            assert (shown.bids, shown.asks) == book.view(shown.seq, claims.depth, claims.group), about
            assert (shown.counts is not None) == claims.orders, about
            if shown.counts is not None and isinstance(book, PublishedOrders) and shown.seq in book.counted:
                assert shown.counts == book.count_view(shown.seq, claims.depth), about
            size = next(size for since, size in reversed(self.sizes[symbol]) if since <= shown.seq)
            assert shown.tick_size == size, (size, *about)

    def settle(self) -> None:
        """Everything arrives, and every book moves once more: nothing is left stale, behind or missing."""
        assert self.connection is not None
        self.market.ready()
        if self.peer.try_later:
            self.reconnect()
        self.list_again()
        for symbol in sorted(self.doubted):
            self.market.doubt(symbol, None, {-6: 6})
        self.drain()
        for quantity in (71, 72):
            self._all_move(quantity)
            self.passes()
            self.exchange()
        self.check_current()
        self._wants(["*"], Wanted(5, 1 if self.refuses else self.groups[-1]))
        self.exchange()
        self.check_current()
        self.peer.unsubscribe(["*"])
        self.exchange()
        assert not self.peer.shown, self.log[-40:]
        assert not self.connection.session.subscriptions, self.log[-60:]

    def _all_move(self, quantity: int) -> None:
        for symbol in SYMBOLS:
            self.market.publish(symbol, {-1: quantity}, {1: quantity})

    def exchange(self) -> None:
        """Let everything through, until both sides are quiet."""
        for _ in range(1000):
            if self._works():
                continue
            if not self.waiting():
                self.grid()
            if not self.waiting():
                return
            self.receive(self.arriving.popleft())
            if self.peer.try_later:
                self.reconnect()
        raise AssertionError(f"they never come to rest: {self.log[-20:]}")

    def check_current(self) -> None:
        """At rest: each book is shown as it is wanted, and the gateway serves no other."""
        assert self.connection is not None
        for symbol in SYMBOLS:
            book, shown = self.market.books[symbol], self.peer.shown.get(symbol)
            unsure = symbol in self.preference.unsure
            about = (symbol, shown, self.preference.__dict__, self.log[-60:])
            if shown is None:
                assert unsure or None in self.preference.shown(symbol, was_gone=symbol in self.gone), about
                assert symbol not in self.connection.session.subscriptions, ("served in vain", *about)
                continue
            claims = shown.claims
            assert shown.state == "live", about
            assert (shown.bids, shown.asks) == book.view(book.seq, claims.depth, claims.group), about
            assert not claims.orders or shown.counts == book.count_view(book.seq, claims.depth), about
            wanted = self.preference.shown(symbol, was_gone=symbol in self.gone)
            assert unsure or claims.levels in {each and each.levels for each in wanted}, (wanted, *about)
