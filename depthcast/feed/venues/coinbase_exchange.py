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
    Snapshot,
    Update,
    VenueLevel,
)
from depthcast.feed.venues.proven_books import Object, StreamAdapter, iso_time, items, table, text, word
from depthcast.feed.venues.text_book import decimal_text, read_levels

_SIDES: Final = {"buy": 0, "sell": 1}


class CoinbaseExchangeAdapter(StreamAdapter):
    """One connection to Coinbase Exchange."""

    ALIVE = frozenset({"heartbeat", "subscriptions"})
    SKIPPED = frozenset({"match", "last_match", "status", "received", "open", "done", "change", "activate"})

    def __init__(self) -> None:
        super().__init__()
        self._times: dict[str, int] = {}
        """Time of the last update of each proven book; not of its snapshot, which another clock may give."""

    def subscribe(self, symbols: Sequence[str]) -> list[str | bytes]:
        """Subscribe to each symbol by a message of its own, because a refusal concerns a whole message."""
        self._books.expect(symbols)
        return [_request("subscribe", symbol) for symbol in symbols]

    def unsubscribe(self, symbols: Sequence[str]) -> list[str | bytes]:
        self._books.forget(symbols)
        return [_request("unsubscribe", symbol) for symbol in symbols]

    def lost(self) -> Iterable[Doubt]:
        self._times.clear()
        return super().lost()

    def _read(self, message: Object) -> Iterable[Output]:
        kind = word(message.get("type"))
        if kind in {"snapshot", "l2update"}:
            read = self._snapshot if kind == "snapshot" else self._update
            return self._about(text(message.get("product_id"), "product_id"), read, message)
        if kind == "ticker":
            return [_best(message)]
        return [self._refused(message)] if kind == "error" else self._other_message(kind)

    def _snapshot(self, symbol: str, message: Object) -> list[Output]:
        time = iso_time(message["time"]) if "time" in message else None
        bids, asks = read_levels(message.get("bids")), read_levels(message.get("asks"))
        self._times.pop(symbol, None)
        return [self._books.replace(Snapshot(symbol, bids, asks, time))]

    def _update(self, symbol: str, message: Object) -> list[Output]:
        time = iso_time(message.get("time"))
        sides: tuple[list[VenueLevel], list[VenueLevel]] = ([], [])
        for change in items(message.get("changes"), "changes"):
            side, level = _change(items(change, "a change"))
            sides[side].append(level)
        book = self._books.proven(symbol)
        if book is None:
            return [Skipped("update without a snapshot")]
        if time < self._times.get(symbol, time):
            return self._books.doubt(symbol, DoubtReason.GAP, "an update is older than the one before")
        self._times[symbol] = time
        return [self._books.apply(book, Update(symbol, *sides, time))]

    def _refused(self, message: Object) -> Refused:
        detail = f"{word(message.get('message'))}: {word(message.get('reason'))}"
        named = [symbol for symbol in self._books if symbol in detail.split()]
        return Refused(named[0] if named else None, detail, final="rate" not in detail.lower())


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
        sizes = {}
        for answer in answers:
            for item in items(loads(answer), "the answer"):
                product = table(item, "a product")
                sizes[text(product.get("id"), "id")] = Sizes(
                    decimal_text(product.get("quote_increment")),
                    decimal_text(product.get("base_increment")),
                    trading=product.get("status") == "online" and not product.get("trading_disabled"),
                )
        return sizes


def _request(kind: str, symbol: str) -> str:
    return json.dumps({"type": kind, "product_ids": [symbol], "channels": ["level2_batch", "heartbeat"]})


def _change(entry: list[Any]) -> tuple[int, VenueLevel]:
    """Read a change such as ["buy", "0.7901", "1548.0"] as side and level."""
    side = _SIDES.get(word(entry[0])) if len(entry) == 3 else None
    if side is None:
        raise ValueError(f"a change is {str(entry)[:64]}")
    return side, (decimal_text(entry[1]), decimal_text(entry[2]))


def _best(message: Object) -> Output:
    """Read a ticker; those of before 2022 have no quantities."""
    try:
        symbol, time = text(message.get("product_id"), "product_id"), iso_time(message.get("time"))
        bid, ask = (
            (decimal_text(message.get(f"best_{side}")), decimal_text(message.get(f"best_{side}_size", "0")))
            for side in ("bid", "ask")
        )
    except ValueError:
        return Skipped("ticker")
    return Best(symbol, bid, ask, None, time)


VENUE: Final = CoinbaseExchange()
