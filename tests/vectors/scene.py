"""Composes a client's conversation: a real gateway answers, and its market says what the client must hold.

A scene has no client: its author says what one must send, and which message of the gateway arrives when.
"""

from collections import deque
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, Final

import orjson

from depthcast.gateway.delivery.request_handler import answer
from depthcast.gateway.protocol.frames import TEXT, frame
from depthcast.gateway.protocol.messages import Encoding
from depthcast.shared.close_codes import CloseCode, closing
from tests.unit.gateway.fake_writer import FakeWriter
from tests.unit.gateway.model_client import split_frames
from tests.unit.gateway.small_market import START, Levels, Published, PublishedOrders, SmallMarket
from tests.vectors.lines import Line, book_line

SYMBOL: Final = "BTC-USD"
SIZES: Final = ("0.01", "0.001")
FILLER: Final = "filler"
INTERVAL_US: Final = 50_000
START_US: Final = START.epoch * 1000

Message = dict[str, Any]
Counts = tuple[Levels, Levels]
Edit = Callable[[Message], Message]


class StoryMarket(SmallMarket):
    """A small market whose broadcasts have times of day."""

    def ts(self) -> int:
        return self.position.epoch * 1000 + self.position.n * INTERVAL_US


class Connection:
    """One connection to the gateway: its session, and messages on their way to the client."""

    def __init__(self, market: SmallMarket) -> None:
        self.writer = FakeWriter(market.core.settings.write_buffer_bytes, reads=True)
        self.session = market.core.open(self.writer, Encoding.JSON, "vector", market.now)
        self.writer.on_full = self.session.leave_fast_path
        self.writer.on_drained = self.session.serve
        self._messages: deque[Message] = deque()

    def sent(self) -> deque[Message]:
        """Messages of the gateway that have not arrived yet."""
        found = [orjson.loads(data) for _, data in split_frames(self.writer.taken)]
        self._messages.extend(message for message in found if message["type"] != FILLER)
        return self._messages

    def take(self, message: Message) -> None:
        """The gateway carries out a request."""
        for _ in answer(self.session, orjson.dumps(message)):
            pass


class OrdersStoryMarket(StoryMarket):
    """The same with orders feeds."""

    BOOK = PublishedOrders


class Scene:
    """One conversation. Each method adds its lines; `seqs`: of what arrived last of each symbol.

    `depth`, `group`: those of a subscription that names no other. `parts`: the client asks for snapshots in
    parts. `orders`: whether subscriptions are with the number of orders, from now on; all books of a scene
    that begins so are orders feeds.
    """

    def __init__(
        self,
        *symbols: str,
        depth: int = 5,
        group: int = 1,
        parts: bool = False,
        orders: bool = False,
        **settings: Any,
    ) -> None:
        market = OrdersStoryMarket if orders else StoryMarket
        self.market = market(*(symbols or (SYMBOL,)), **settings)
        self.depth = depth
        self.group = group
        self.parts = parts
        self.orders = orders
        self.lines: list[Line] = []
        self.seqs: dict[str, int] = {}
        self._ids = count(1)
        self._unread: list[Message] = []
        self._connection: Connection | None = None
        counts: Counts | None = ({6500010: 2, 6500000: 1}, {6500020: 3}) if orders else None
        for symbol in self.market.books:
            self.publishes({6500010: 5, 6500000: 12}, {6500020: 7}, symbol, counts)

    @property
    def connection(self) -> Connection:
        assert self._connection is not None, "open a connection first"
        return self._connection

    # --- what happens

    def opens(self) -> None:
        self._connection = Connection(self.market)
        self.lines.append({"connection": "opens"})
        self.arrives()

    def closes(self, code: int = CloseCode.LOST) -> None:
        """The connection ends, and all that is on its way is lost."""
        self.market.core.close(self.connection.session)
        self._connection = None
        self._unread.clear()
        self.lines.append({"connection": {"closes": int(code), "reconnect": closing(code).reconnect.value}})

    def publishes(
        self,
        bids: Levels,
        asks: Levels | None = None,
        symbol: str = SYMBOL,
        counts: Counts | None = None,
        event_ts: int | None = None,
    ) -> None:
        """A broadcast; `counts`: of an orders feed, the number of orders at each of these levels."""
        if counts is None:
            self.market.publish(symbol, bids, asks, event_ts=event_ts)
            return
        book = self.market.books[symbol]
        assert isinstance(book, PublishedOrders)
        self.market.apply(self.market.entry({symbol: book.move(bids, asks or {}, counts=counts)}))
        self.market.tick()

    def lists(self, symbol: str) -> None:
        """A further symbol, whose book the gateway does not have yet."""
        self.market.books[symbol] = Published(START.epoch)
        self.market.list_instruments()

    def has_book(self) -> None:
        """The gateway has read the snapshots that it lacked."""
        self.market.load()
        self.market.tick()

    def removes(self, symbol: str) -> None:
        del self.market.books[symbol]
        self.market.list_instruments()

    def waits(self, seconds: float) -> None:
        self.market.now += seconds
        self.market.tick()

    def fills(self) -> None:
        """The client stops reading, and its connection is full."""
        writer = self.connection.writer
        writer.reads = False
        writer.write(frame(TEXT, b'{"type":"filler","pad":"%s"}' % (b" " * (writer.mark_bytes + 1))))

    def drains(self) -> None:
        """The client reads again."""
        writer = self.connection.writer
        writer.reads = True
        writer.drain(len(writer.waiting))

    def slows_down(self) -> None:
        """From now on the gateway sends nothing more until the client takes what was sent."""
        writer = self.connection.writer
        writer.reads, writer.mark_bytes = False, 0
        self.connection.session.sender.write_bytes_max = 0

    def takes(self) -> None:
        """A client that has slowed down takes what was sent, and the gateway sends the next message."""
        self.connection.writer.drain(len(self.connection.writer.waiting))

    # --- the user, and what the client must send

    def user_subscribes(self, *symbols: str, depth: int | None = None, group: int | None = None) -> None:
        asked = {"subscribe": list(symbols or (SYMBOL,)), "depth": self.depth if depth is None else depth}
        self.lines.append({"user": asked | self._options(group)})

    def user_unsubscribes(self, *symbols: str) -> None:
        self.lines.append({"user": {"unsubscribe": list(symbols or (SYMBOL,))}})

    def subscribes(
        self,
        *symbols: str,
        depth: int | None = None,
        group: int | None = None,
        resume: Mapping[str, Mapping[str, int]] | None = None,
        read: bool = True,
    ) -> None:
        """The client must subscribe; `read`: whether the gateway gets to it at once."""
        message: Message = {
            "op": "subscribe",
            "id": f"${next(self._ids)}",
            "symbols": list(symbols or (SYMBOL,)),
            "depth": self.depth if depth is None else depth,
        }
        message |= self._options(group)
        parts = {"parts": True} if self.parts else {}
        self._sends(message | parts | ({"resume": resume} if resume else {}), read=read)

    def _options(self, group: int | None) -> Message:
        """The field `group`, which one tick does not need, and `orders`, which is there if it is true."""
        group = self.group if group is None else group
        grouped = {} if group == 1 else {"group": group}
        return grouped | ({"orders": True} if self.orders else {})

    def unsubscribes(self, *symbols: str, read: bool = True) -> None:
        message = {"op": "unsubscribe", "id": f"${next(self._ids)}", "symbols": list(symbols or (SYMBOL,))}
        self._sends(message, read=read)

    def gateway_reads(self, most: int | None = None) -> None:
        """The gateway gets to what the client has sent, or to the first `most` messages of that."""
        read = self._unread[:most]
        del self._unread[:most]
        for message in read:
            self.connection.take(message)

    def _sends(self, message: Message, *, read: bool) -> None:
        self.lines.append({"sends": message})
        self._unread.append(message)
        if read:
            self.gateway_reads()

    def offer(
        self,
        at: int,
        seq: int | None = None,
        symbol: str = SYMBOL,
        depth: int | None = None,
        group: int | None = None,
    ) -> dict[str, dict[str, int]]:
        """What to resume from: the view at `at`, under the number `seq`."""
        depth, group = self.depth if depth is None else depth, self.group if group is None else group
        book = self._book_line(symbol, at, depth, group)
        digests: dict[str, int] = {name: book[name] for name in ("digest", "orders_digest") if name in book}
        return {symbol: {"seq": seq or at, **digests}}

    def _book_line(self, symbol: str, at: int, depth: int, group: int) -> Line:
        """What `holds` says of the view at `at`, 0 before there is one."""
        if not at:
            return book_line(0, {}, {})
        book = self.market.books[symbol]
        counts = book.count_view(at, depth) if self.orders else None
        return book_line(at, *book.view(at, depth, group), counts)

    # --- messages of the gateway

    def arrives(self, most: int | None = None, edit: Edit | None = None) -> list[Message]:
        """What the gateway has sent arrives, up to `most` messages; `edit` changes each of them first."""
        sent = self.connection.sent()
        arrived: list[Message] = []
        assert sent, "the gateway has sent nothing"
        while sent and (most is None or len(arrived) < most):
            message = sent.popleft()
            arrived.append(edit(message) if edit else message)
            self.says(arrived[-1])
        return arrived

    def says(self, message: Message) -> None:
        """A message arrives, whether the gateway has sent it or not."""
        self.lines.append({"gateway": message})
        if message["type"] in ("snapshot", "delta"):
            self.seqs[message["symbol"]] = message["seq"]

    def loses(self) -> Message:
        """The next message of the gateway is lost."""
        lost = self.connection.sent().popleft()
        self.lines.append({"lost": lost})
        return lost

    def answers_pings(self) -> None:
        self.lines.append({"pongs": True})

    # --- what the client must hold

    def live(self, symbol: str = SYMBOL, **about: Any) -> None:
        self._holds("live", symbol, **about)

    def stale(self, symbol: str = SYMBOL, **about: Any) -> None:
        self._holds("stale", symbol, **about)

    def not_live(self, symbol: str = SYMBOL) -> None:
        """The client shows the book as stale, or not at all."""
        self.lines.append({"not_live": symbol})

    def nothing(self, symbol: str = SYMBOL) -> None:
        self.lines.append({"holds": {symbol: None}})

    def credit(self, least: int, most: int) -> None:
        self.lines.append({"credit": {"least": least, "most": most}})

    def _holds(
        self,
        state: str,
        symbol: str,
        *,
        at: int | None = None,
        seq: int | None = None,
        depth: int | None = None,
        group: int | None = None,
        sizes: tuple[str, str] = SIZES,
        reason: str | None = None,
    ) -> None:
        """The view at `at` (by default of what arrived last), which the client knows as `seq`."""
        at = self.seqs.get(symbol, 0) if at is None else at
        depth = self.depth if depth is None else depth
        group = self.group if group is None else group
        book = self._book_line(symbol, at, depth, group) | {"seq": seq or at}
        held = {"state": state, **book, "tick_size": sizes[0], "lot_size": sizes[1], "reason": reason}
        self.lines.append({"holds": {symbol: held}})
