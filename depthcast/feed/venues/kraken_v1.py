"""Kraken's WebSocket v1, as in older recordings: the `book` channel.

A message is `[channel id, {…}, "book-1000", "XBT/USD"]`, or has two maps, one for each side. A snapshot has
`as` and `bs`; an update `a` or `b`, and in its last map the checksum `c` as text. A level is
`[price, quantity, time]`, with a fourth item "r" if the venue publishes it again, and one message may name a
price several times: the last one counts. Depth and checksum are as in v2, but a snapshot has no checksum.
Source: Kraken's page "Spot Websockets (v1) Book Checksum".
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from depthcast.feed import exact_json
from depthcast.feed.venue import Adapter, Alive, Doubt, Output, Skipped
from depthcast.feed.venues.kept_books import KeptBook, State, SubscribingAdapter
from depthcast.feed.venues.kraken import KrakenVenue, agrees, answer, batches, status
from depthcast.feed.venues.text_book import read_levels
from depthcast.feed.venues.times import from_seconds, whole_number

_CHANNEL: Final = re.compile(r"book-(\d{1,5})\Z", re.ASCII)
WIDTH: Final = 3
_KEYS: Final = frozenset(("a", "b", "as", "bs", "c"))


class KrakenV1Adapter(SubscribingAdapter):
    """Adapter of one connection, or of one recording."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.depth = depth
        self._depths: dict[str, int] = {}

    def subscribe(self, symbols: Sequence[str]) -> list[str | bytes]:
        self.books.subscribe(symbols)
        return self._requests("subscribe", symbols)

    def unsubscribe(self, symbols: Sequence[str]) -> list[str | bytes]:
        self.books.unsubscribe(symbols)
        return self._requests("unsubscribe", symbols)

    def ping(self, now: int) -> str:  # noqa: ARG002 - it names no time
        return '{"event":"ping"}'

    def lost(self) -> list[Doubt]:
        self._depths.clear()
        return super().lost()

    def take(self, raw: str | bytes, now: int) -> list[Output]:  # noqa: ARG002 - no rule depends on the clock
        try:
            message = exact_json.loads(raw)
        except ValueError as error:
            return self.books.malformed(None, f"no JSON: {error}")
        if isinstance(message, dict):
            return self._take_event(message)
        if not isinstance(message, list) or len(message) < 4:
            return self.books.malformed(None, "neither an event nor a message of a channel")
        *maps, channel, symbol = message[1:]
        match = _CHANNEL.match(channel) if isinstance(channel, str) else None
        if match is not None and isinstance(symbol, str):
            return self._take_book(symbol, int(match[1]), maps)
        if isinstance(channel, str) and isinstance(symbol, str) and not channel.startswith("book"):
            return [Skipped(channel[:40])]
        return self.books.malformed(symbol, "a message without its channel or its pair")

    def _requests(self, event: str, symbols: Sequence[str]) -> list[str | bytes]:
        subscription = {"name": "book", "depth": self.depth}
        return [
            json.dumps({"event": event, "pair": list(some), "subscription": subscription})
            for some in batches(symbols)
        ]

    def _take_event(self, message: dict[str, Any]) -> list[Output]:
        event = message.get("event")
        if event == "systemStatus":
            return status(self.books, message.get("status"))
        if event in ("subscriptionStatus", "error"):
            return [answer(message, message.get("pair"))]
        return [Alive()] if event in ("heartbeat", "pong") else [Skipped(str(event)[:40])]

    def _take_book(self, symbol: str, depth: int, maps: list[Any]) -> list[Output]:
        book = self.books.get(symbol)
        if book is None:
            return [Skipped("book that is not subscribed")]
        if depth != self._depths.setdefault(symbol, depth):
            return [
                Skipped(f"book-{depth}")
            ]  # one pair subscribed at two depths: each has messages of its own
        fields: dict[str, Any] = {}
        for item in maps:
            if not isinstance(item, dict) or not item.keys() <= _KEYS - fields.keys():
                return self.books.malformed(symbol, "a book message with unknown or repeated fields")
            fields |= item
        if fields.keys() == {"as", "bs"}:
            return self._take_levels(book, fields["bs"], fields["as"], None, depth)
        checksum = whole_number(fields.get("c"))
        if checksum is None or fields.keys() & {"as", "bs"} or len(fields) < 2:
            return self.books.malformed(symbol, "neither a snapshot nor an update with its checksum")
        if book.state is not State.PROVEN:
            return [Skipped("update before a snapshot")]
        return self._take_levels(book, fields.get("b", []), fields.get("a", []), checksum, depth)

    def _take_levels(
        self, book: KeptBook, raw_bids: object, raw_asks: object, checksum: int | None, depth: int
    ) -> list[Output]:
        try:
            bids, asks = read_levels(raw_bids, WIDTH), read_levels(raw_asks, WIDTH)
            ts = _newest(raw_bids, raw_asks)
        except ValueError as error:
            return self.books.malformed(book.symbol, str(error))
        check = None if checksum is None else lambda levels: agrees(levels, checksum)
        take = book.replace if checksum is None else book.change
        # a level that is published again brings its old time, so times say nothing about the order
        return take(bids, asks, ts=ts, checksum=check, depth=depth, ordered=False)


def _newest(*sides: Any) -> int | None:
    """Return the newest time of the levels; raises `ValueError` for a level without one."""
    times = [from_seconds(level[2]) for side in sides for level in side]
    if None in times:
        raise ValueError("a level has no time")
    return max((time for time in times if time is not None), default=None)


class KrakenV1Venue(KrakenVenue):
    """Kraken by WebSocket v1."""

    names: Mapping[str, str] = {}
    ws_url = "wss://ws.kraken.com"

    def adapter(self) -> Adapter:
        return KrakenV1Adapter(self.depth)


VENUE: Final = KrakenV1Venue("kraken-v1", "Kraken spot by WebSocket v1, 1000 levels", depth=1000)
