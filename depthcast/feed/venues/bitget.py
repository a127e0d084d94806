"""Bitget's books: the public channel `books`, all levels.

The feed uses the unified account's WebSocket (v3), because only there each message names the one before it:
`pseq` is the last `seq`. After a restart of the venue a message has `pseq` 0, and a new snapshot is needed.
Source: Bitget's page "Depth Channel" of the unified account.

Recordings of v2 and v1 are read too. In v2 `seq` only grows, in v1 there is none; both had a CRC32 of the
best 25 ("Depth Channel" of the classic account).
"""

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from depthcast.feed.decimals import size_of
from depthcast.feed.venue import Adapter, DoubtReason, Output, Profile, Quality, Request, Sizes
from depthcast.feed.venues.actions import ActionAdapter, BrokenChainError, checksum_of, listed
from depthcast.feed.venues.fields import described, text
from depthcast.feed.venues.kept_books import KeptBook
from depthcast.feed.venues.text_book import decimal_text, read_levels
from depthcast.feed.venues.times import from_ms, whole_number

_OLD_NAMES: Final = {"sp": "spot", "mc": "usdt-futures"}
"""Markets as v1 names them."""


class BitgetAdapter(ActionAdapter):
    """Adapter of one connection, or of one recording, for one market such as "spot"."""

    final = frozenset(("30001", "30002", "30003"))

    def __init__(self, market: str) -> None:
        super().__init__()
        self.market = market

    def subscribe(self, symbols: Sequence[str]) -> list[str | bytes]:
        self.books.subscribe(symbols)
        return [self._request("subscribe", symbols)]

    def unsubscribe(self, symbols: Sequence[str]) -> list[str | bytes]:
        self.books.unsubscribe(symbols)
        return [self._request("unsubscribe", symbols)]

    def of_channel(self, arg: dict[str, Any]) -> bool:
        market = str(arg.get("instType")).lower()
        return _OLD_NAMES.get(market, market) == self.market

    def take_entry(
        self, book: KeptBook, entry: dict[str, Any], arg: dict[str, Any], *, first: bool
    ) -> list[Output]:
        chained = "topic" in arg
        names = ("b", "a") if chained else ("bids", "asks")
        bids, asks = read_levels(entry.get(names[0])), read_levels(entry.get(names[1]))
        sequence = _follow(book.sequence, entry, first=first, chained=chained)
        checksum = checksum_of(entry, book, first=first)
        if sequence is None and checksum is None:
            raise ValueError("neither a number nor a checksum")
        take = book.replace if first else book.change
        ts = from_ms(entry.get("ts"))
        ordered = first or sequence is None  # an update with its number needs no time to prove its order
        return take(bids, asks, ts=ts, sequence=sequence, checksum=checksum, ordered=ordered)

    def _request(self, op: str, symbols: Sequence[str]) -> str:
        args = [{"instType": self.market, "topic": "books", "symbol": symbol} for symbol in symbols]
        return json.dumps({"op": op, "args": args})


def _follow(last: int | None, entry: dict[str, Any], *, first: bool, chained: bool) -> int | None:
    """Return the number of the state after an entry; None if the recording has none."""
    if entry.get("seq") is None and not chained and (first or last is None):
        return None
    number, previous = whole_number(entry.get("seq")), whole_number(entry.get("pseq"))
    if number is None or number <= 0:
        raise ValueError("seq is missing")
    if first:
        return number
    if chained:
        if previous is None:
            raise ValueError("pseq is missing")
        if previous != last:
            reason = DoubtReason.GAP if previous else DoubtReason.RESET
            raise BrokenChainError(reason, f"pseq {previous} after {last}")
    if last is None or number <= last:
        raise BrokenChainError(DoubtReason.RESET, f"seq {number} after {last}")
    return number


class BitgetVenue:
    """One market of Bitget; `category`: as its list of instruments names it."""

    def __init__(self, name: str, title: str, market: str) -> None:
        self.market = market
        self.profile = Profile(
            name=name,
            title=title,
            ws_url="wss://ws.bitget.com/v3/ws/public",
            rest_url="https://api.bitget.com",
            quality=Quality("pseq = seq before", "", "all levels"),
            symbols_per_connection=50,
            sends_per_s=5.0,
            request_weight_per_min=600,
            ping_every_s=25.0,
            silence_s=40.0,
            lifetime_s=24 * 3600.0,
        )

    def adapter(self) -> Adapter:
        return BitgetAdapter(self.market)

    def instruments_requests(self, symbols: Sequence[str]) -> Sequence[Request]:  # noqa: ARG002 - it lists all
        return (Request(f"/api/v3/market/instruments?category={self.market.upper()}"),)

    def read_instruments(self, answers: Sequence[bytes]) -> dict[str, Sizes]:
        """Read the answers of v3 ("Instruments") and of v2 ("Get Symbol Info", "Get Contract Config")."""
        return described(listed(answers, "00000"), lambda item: (text(item, "symbol"), _sizes(item)))


def _sizes(item: dict[str, Any]) -> Sizes:
    if "pricePlace" in item:  # a contract of v2: its last decimal moves in steps
        step = Decimal(decimal_text(item.get("priceEndStep")))
        tick = f"{step.scaleb(-_places(item['pricePlace'])):f}"
        lot = _size(item, "sizeMultiplier", "volumePlace")
    else:
        tick = _size(item, "priceMultiplier", "pricePrecision")
        lot = _size(item, "quantityMultiplier", "quantityPrecision")
    if not Decimal(tick) or not Decimal(lot):
        raise ValueError("a size of 0")
    return Sizes(tick, lot, item.get("status", item.get("symbolStatus")) in ("online", "normal"))


def _size(item: dict[str, Any], step: str, count: str) -> str:
    """Return a size by its step, or by its count of decimals where no step is given."""
    if item.get(step) not in (None, "", "0", 0):
        return decimal_text(item[step])
    return size_of(_places(item.get(count)))


def _places(value: object) -> int:
    places = whole_number(value)
    if places is None or not 0 <= places <= 20:
        raise ValueError("no count of decimals")
    return places


VENUE: Final = BitgetVenue("bitget", "Bitget spot", "spot")
USDT_FUTURES: Final = BitgetVenue("bitget-usdt-futures", "Bitget futures in USDT", "usdt-futures")
COIN_FUTURES: Final = BitgetVenue("bitget-coin-futures", "Bitget futures in coins", "coin-futures")
