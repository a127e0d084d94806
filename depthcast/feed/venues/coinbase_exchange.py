"""Coinbase, by the WebSocket of Coinbase Exchange: `level2_batch`, `ticker` and `heartbeat`.

`level2_batch` needs no key ("Exchange WebSocket Channels"; `level2` does, "Exchange WebSocket
Authentication"), but neither carries numbers: the venue only promises that all updates are delivered, in
order. Of what is lost, doubled or swapped on the way, nothing can be noticed but updates whose time is
before that of the update before, and books that cross. That nothing is lost rests on TCP and TLS. Live,
`coinbase` is the better choice; this adapter is for recordings and for pairs that only the Exchange has.

A snapshot after each subscription, then `l2update` with absolute sizes; 0 removes a level. `ticker` is sent
with each trade, and its best prices are those of the book at that time: of the last `l2update` with the same
`time`. The first one after a subscription tells of a trade before the snapshot. Its `sequence` numbers
other channels, so it is not passed on.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from depthcast.feed.exact_json import loads
from depthcast.feed.venue import (
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
from depthcast.feed.venues.coinbase import product_in
from depthcast.feed.venues.fields import Object, all_tables, array, described, shown, text, word
from depthcast.feed.venues.kept_books import KeptBook, State
from depthcast.feed.venues.message_adapter import MessageAdapter
from depthcast.feed.venues.text_book import decimal_text, read_levels
from depthcast.feed.venues.times import from_rfc3339


class CoinbaseExchangeAdapter(MessageAdapter):
    """One connection to Coinbase Exchange."""

    ALIVE = frozenset({"heartbeat", "subscriptions"})
    SKIPPED = frozenset({"match", "last_match", "status", "received", "open", "done", "change", "activate"})

    def __init__(self) -> None:
        super().__init__()
        self._times: dict[str, int] = {}
        """Time of the last update of each proven book; not of its snapshot, which another clock may give."""

    def subscribe(self, symbols: Sequence[str]) -> list[str | bytes]:
        """Subscribe to each symbol by a message of its own, because a refusal concerns a whole message."""
        self.books.subscribe(symbols)
        return [_request("subscribe", symbol) for symbol in symbols]

    def unsubscribe(self, symbols: Sequence[str]) -> list[str | bytes]:
        self.books.unsubscribe(symbols)
        return [_request("unsubscribe", symbol) for symbol in symbols]

    def lost(self) -> list[Doubt]:
        self._times.clear()
        return super().lost()

    def read(self, message: Object) -> Iterable[Output]:
        kind = word(message, "type")
        if kind in {"snapshot", "l2update"}:
            read = self._snapshot if kind == "snapshot" else self._update
            return self.about(text(message, "product_id"), read, message)
        if kind == "ticker":
            return [_best(message)]
        return [self._refused(message)] if kind == "error" else self.other_message(kind)

    def _snapshot(self, book: KeptBook, message: Object) -> list[Output]:
        self._times.pop(book.symbol, None)
        bids, asks = read_levels(message.get("bids")), read_levels(message.get("asks"))
        return book.replace(bids, asks, ts=_time(message) if "time" in message else None, ordered=False)

    def _update(self, book: KeptBook, message: Object) -> list[Output]:
        time = _time(message)
        sides: tuple[list[VenueLevel], list[VenueLevel]] = ([], [])
        for entry in array(message, "changes"):
            side, level = _change(entry)
            sides[side].append(level)
        if book.state is not State.PROVEN:
            return [Skipped("update without a snapshot")]
        if time < self._times.get(book.symbol, time):
            return book.doubt(DoubtReason.GAP, "an update is older than the one before")
        self._times[book.symbol] = time
        return book.change(*sides, ts=time, ordered=False)

    @staticmethod
    def _refused(message: Object) -> Refused:
        detail = f"{word(message, 'message')}: {word(message, 'reason')}"
        return Refused(product_in(detail), detail, final="rate" not in detail.lower())


class CoinbaseExchange:
    """The venue Coinbase, by Coinbase Exchange."""

    profile = Profile(
        name="coinbase-exchange",
        title="Coinbase Exchange",
        ws_url="wss://ws-feed.exchange.coinbase.com",
        rest_url="https://api.exchange.coinbase.com",
        quality=Quality(
            continuity="none by the venue; times never go back, and the order of TCP is relied on",
            checksum="",
            depth="all levels, every 50 ms",
        ),
        symbols_per_connection=30,
        sends_per_s=20.0,  # 100 a second for each address ("Exchange WebSocket Rate Limits")
        request_weight_per_min=300,  # 10 a second for public endpoints
        silence_s=10.0,  # a heartbeat comes every second
    )

    def adapter(self) -> CoinbaseExchangeAdapter:
        return CoinbaseExchangeAdapter()

    def instruments_requests(self, symbols: Sequence[str]) -> Sequence[Request]:  # noqa: ARG002 - all in one
        return [Request("/products")]

    def read_instruments(self, answers: Sequence[bytes]) -> dict[str, Sizes]:
        """Read "Get all known trading pairs"."""
        products = (product for answer in answers for product in all_tables(loads(answer), "the answer"))
        return described(products, _sizes)


def _request(kind: str, symbol: str) -> str:
    return json.dumps({"type": kind, "product_ids": [symbol], "channels": ["level2_batch", "heartbeat"]})


def _sizes(product: Object) -> tuple[str, Sizes]:
    trading = product.get("status") == "online" and not product.get("trading_disabled")
    tick, lot = decimal_text(product.get("quote_increment")), decimal_text(product.get("base_increment"))
    return text(product, "id"), Sizes(tick, lot, trading=trading)


def _time(message: Object) -> int:
    time = from_rfc3339(message.get("time"))
    if time is None:
        raise ValueError(f"time is {shown(message.get('time'))}")
    return time


def _change(entry: Any) -> tuple[int, VenueLevel]:
    """Read a change such as ["buy", "0.7901", "1548.0"] as side and level."""
    if not isinstance(entry, list) or len(entry) != 3 or entry[0] not in ("buy", "sell"):
        raise ValueError(f"a change is {shown(entry)}")
    return int(entry[0] == "sell"), (decimal_text(entry[1]), decimal_text(entry[2]))


def _best(message: Object) -> Output:
    """Read a ticker; those of before 2022 have no quantities."""
    try:
        bid, ask = (
            (decimal_text(message.get(f"best_{side}")), decimal_text(message.get(f"best_{side}_size", "0")))
            for side in ("bid", "ask")
        )
        return Best(text(message, "product_id"), bid, ask, None, _time(message))
    except ValueError:
        return Skipped("ticker")


VENUE: Final = CoinbaseExchange()
