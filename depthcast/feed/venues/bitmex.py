"""BitMEX: `orderBookL2`, all levels in real time.

A table of levels is kept in step by differences: `partial` is the whole table; what comes before it must be
ignored; `insert`, `update` and `delete` name levels by `id` ("WebSocket API", subscriptions). Updates and
deletes have named the price too since 2023, and ids say nothing about it ("Potentially-Breaking API Update
to ID Generation on WebSocket Orderbook Feeds"); in older recordings the price is that of the id's insert.

There are no numbers and no checksum. What disproves a book: an unknown id in an update or delete, a known id
or a price that is taken in an insert, another side or price than the id's, a time before that of the message
before ("Changes to Order Book Level 2 Data": times are those of the matching engine), a crossed book. A lost
or doubled update of a quantity cannot be noticed before the level's next message, nor a lost insert or
delete before the level's id or price occurs again. That nothing is lost rests on TCP and TLS.

Each row of `quote` was the best of the book at some time: rows come in bursts after the changes that they
tell of, in order.

A client that received nothing for some seconds sends the text `ping` and gets `pong`.
"""

import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

from depthcast.feed.exact_json import loads
from depthcast.feed.venue import (
    Alive,
    Best,
    Doubt,
    DoubtReason,
    Output,
    Profile,
    Quality,
    Refused,
    Request,
    Sizes,
    Skipped,
    VenueLevel,
)
from depthcast.feed.venues.fields import (
    Object,
    all_tables,
    array,
    described,
    integer,
    shown,
    table,
    tables,
    text,
    word,
)
from depthcast.feed.venues.kept_books import KeptBook, State
from depthcast.feed.venues.message_adapter import MessageAdapter
from depthcast.feed.venues.text_book import decimal_text
from depthcast.feed.venues.times import from_rfc3339

_SIDES: Final = {"Buy": 0, "Sell": 1}


class Contradiction(Exception):
    """A message does not fit the book: one before it must be missing."""


class _Table:
    """The levels of a book by id, as (side, price as text)."""

    def __init__(self) -> None:
        self.levels: dict[int, tuple[int, str]] = {}
        self.prices: set[tuple[int, Decimal]] = set()
        self.time: int | None = None
        """Time of the last difference; not of the partial, which is that of another clock."""

    def insert(self, number: int, side: int, price: str) -> None:
        key = side, Decimal(price)
        if number in self.levels or key in self.prices:
            raise Contradiction(f"insert of {price} with id {number}, which is there")
        self.levels[number] = side, price
        self.prices.add(key)

    def price(self, number: int, side: int, price: str | None) -> str:
        """Return the price of a level that must be there, on that side and at that price, if it is given."""
        known = self.levels.get(number)
        if known is None or known[0] != side or (price is not None and Decimal(price) != Decimal(known[1])):
            raise Contradiction(f"id {number} is not on that side at that price")
        return known[1]

    def follow(self, time: int | None) -> None:
        if time is not None:
            if self.time is not None and time < self.time:
                raise Contradiction("a row is older than the one before")
            self.time = time

    def delete(self, number: int) -> None:
        side, price = self.levels.pop(number)
        self.prices.remove((side, Decimal(price)))


class BitmexAdapter(MessageAdapter):
    """One connection to BitMEX."""

    SKIPPED = frozenset({"trade", "instrument", "funding", "liquidation", "settlement", "orderBook10"})

    def __init__(self) -> None:
        super().__init__()
        self._tables: dict[str, _Table] = {}

    def subscribe(self, symbols: Sequence[str]) -> list[str | bytes]:
        """Subscribe to each symbol by a message of its own, so that a refusal names one symbol."""
        self.books.subscribe(symbols)
        return [_request("subscribe", symbol) for symbol in symbols]

    def unsubscribe(self, symbols: Sequence[str]) -> list[str | bytes]:
        self.books.unsubscribe(symbols)
        return [_request("unsubscribe", symbol) for symbol in symbols]

    def ping(self, now: int) -> str | bytes | None:  # noqa: ARG002 - of the interface
        return "ping"

    def lost(self) -> list[Doubt]:
        self._tables.clear()
        return super().lost()

    def take(self, raw: str | bytes, now: int) -> Iterable[Output]:
        return [Alive()] if raw in {"pong", b"pong"} else super().take(raw, now)

    def read(self, message: Object) -> Iterable[Output]:
        if "table" not in message:
            return [_answer(message)]
        name, action = word(message, "table"), word(message, "action")
        if name == "quote":
            return [_best(row) for row in tables(message, "data")]
        if name != "orderBookL2":
            return self.other_message(name)
        if action == "partial":
            return self.about(text(table(message, "filter"), "symbol"), self._partial, message)
        if action not in {"insert", "update", "delete"}:
            raise ValueError(f"action is {shown(action)}")
        return self._differences(action, tables(message, "data"))

    def _partial(self, book: KeptBook, message: Object) -> list[Output]:
        known = _Table()
        sides: tuple[list[VenueLevel], list[VenueLevel]] = ([], [])
        times = [0]
        for row in tables(message, "data"):
            if row.get("symbol") != book.symbol:
                raise ValueError("a row is not of the symbol of the filter")
            number, side, time = _row(row)
            times.append(time or 0)
            try:
                sides[side].append(_level(known, "insert", number, side, row))
            except Contradiction as error:
                raise ValueError(str(error)) from None
        self._tables[book.symbol] = known
        return book.replace(*sides, ts=max(times) or None, ordered=False)

    def _differences(self, action: str, rows: list[Object]) -> list[Output]:
        """Take rows by symbol: those of one symbol in one message are one change of its book."""
        by_symbol: dict[str, list[Object]] = {}
        for row in rows:
            by_symbol.setdefault(text(row, "symbol"), []).append(row)
        outputs: list[Output] = []
        for symbol, its_rows in by_symbol.items():
            outputs.extend(self.about(symbol, self._change, {"action": action, "rows": its_rows}))
        return outputs

    def _change(self, book: KeptBook, message: Object) -> list[Output]:
        if book.state is not State.PROVEN:
            return [Skipped("difference before the partial")]
        known = self._tables[book.symbol]
        sides: tuple[list[VenueLevel], list[VenueLevel]] = ([], [])
        try:
            for row in message["rows"]:
                number, side, time = _row(row)
                sides[side].append(_level(known, message["action"], number, side, row))
                known.follow(time)
        except Contradiction as error:
            return book.doubt(DoubtReason.GAP, str(error))
        return book.change(*sides, ts=known.time, ordered=False)


class Bitmex:
    """The venue BitMEX."""

    profile = Profile(
        name="bitmex",
        title="BitMEX",
        ws_url="wss://ws.bitmex.com/realtime",
        rest_url="https://www.bitmex.com",
        quality=Quality(
            continuity="none by the venue; ids and times must fit, and the order of TCP is relied on",
            checksum="",
            depth="all levels",
        ),
        symbols_per_connection=50,
        sends_per_s=5.0,
        request_weight_per_min=30,
        ping_every_s=5.0,
        silence_s=15.0,
    )

    def adapter(self) -> BitmexAdapter:
        return BitmexAdapter()

    def instruments_requests(self, symbols: Sequence[str]) -> Sequence[Request]:  # noqa: ARG002 - all in one
        return [Request("/api/v1/instrument/active")]

    def read_instruments(self, answers: Sequence[bytes]) -> dict[str, Sizes]:
        """Read "Get all active instruments"; an index, which has no book, is left out.

        Sizes in books are whole contracts, or for spot pairs whole parts of the base currency, of which it
        has `underlyingToPositionMultiplier`. `lotSize` is a rule for new orders, which older ones need not
        keep to: the lot size here is 1.
        """
        listed = (instrument for answer in answers for instrument in all_tables(loads(answer), "the answer"))
        return described(listed, _sizes)


def _request(kind: str, symbol: str) -> str:
    return json.dumps({"op": kind, "args": [f"orderBookL2:{symbol}"]})


def _sizes(instrument: Object) -> tuple[str, Sizes] | None:
    if "lotSize" not in instrument:
        return None
    tick_size = f"{Decimal(decimal_text(instrument.get('tickSize'))):f}"
    return text(instrument, "symbol"), Sizes(tick_size, "1", trading=instrument.get("state") == "Open")


def _row(row: Object) -> tuple[int, int, int | None]:
    """Return id, side and time of a row; rows of before 2022 have no time."""
    side = _SIDES.get(word(row, "side"))
    time = from_rfc3339(row.get("timestamp"))
    if side is None or (time is None and "timestamp" in row):
        raise ValueError(f"side is {shown(row.get('side'))}, timestamp is {shown(row.get('timestamp'))}")
    return integer(row, "id"), side, time


def _size(row: Object) -> str:
    size = integer(row, "size")
    if not size:
        raise ValueError("size is 0")
    return str(size)


def _level(known: _Table, action: str, number: int, side: int, row: Object) -> VenueLevel:
    """Change the table of ids, and return the level as it is now."""
    if action == "insert":
        level = decimal_text(row.get("price")), _size(row)
        known.insert(number, side, level[0])
        return level
    price = decimal_text(row["price"]) if "price" in row else None
    price = known.price(number, side, price)
    if action == "update":
        return price, _size(row)
    known.delete(number)
    return price, "0"


def _answer(message: Object) -> Output:
    """Read the welcome, and answers to requests."""
    if "error" not in message:
        if message.get("success") is True or "info" in message:
            return Alive()
        raise ValueError("it is neither an answer nor a table")
    request, status = message.get("request"), message.get("status")
    topics = array(request, "args") if isinstance(request, dict) and "args" in request else []
    symbol = word({"topic": topics[0]}, "topic").partition(":")[2] if len(topics) == 1 else ""
    later = isinstance(status, int) and (status == 429 or status >= 500)
    return Refused(symbol or None, word(message, "error"), final=not later)


def _best(row: Object) -> Output:
    try:
        bid, ask = (
            (decimal_text(row.get(f"{side}Price")), decimal_text(row.get(f"{side}Size")))
            for side in ("bid", "ask")
        )
        return Best(text(row, "symbol"), bid, ask, None, from_rfc3339(row.get("timestamp")))
    except ValueError:
        return Skipped("quote")


VENUE: Final = Bitmex()
