"""OKX's books: the public channel `books`, the best 400 levels.

Rules, from OKX's page "WS / Order book channel":

- A snapshot has `prevSeqId` -1. Each update's `prevSeqId` is the `seqId` of the message before it.
- After 60 s without changes comes an update without levels whose two numbers are equal.
- After maintenance a `seqId` may be below its `prevSeqId`; the chain goes on from it.
- A `notice` comes a minute before the venue closes the connection.
- Until June 2026 each message had a CRC32 of the best 25; recordings of before 2023 have no numbers, only it.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

from depthcast.feed.venue import Adapter, Alive, DoubtReason, Output, Profile, Quality, Request, Sizes
from depthcast.feed.venues.actions import ActionAdapter, BrokenChainError, checksum_of, listed
from depthcast.feed.venues.fields import Object, described, text
from depthcast.feed.venues.kept_books import KeptBook
from depthcast.feed.venues.text_book import decimal_text, read_levels
from depthcast.feed.venues.times import from_ms, whole_number

FIRST: Final = -1
"""`prevSeqId` of a snapshot."""
WIDTH: Final = 4
"""Items of a level: price, quantity, one without meaning now, number of orders."""


class OkxAdapter(ActionAdapter):
    """Adapter of one connection, or of one recording."""

    final = frozenset(("51001", "60012", "60013", "60018", "64003"))

    def subscribe(self, symbols: Sequence[str]) -> list[str | bytes]:
        self.books.subscribe(symbols)
        return [_request("subscribe", symbols)]

    def unsubscribe(self, symbols: Sequence[str]) -> list[str | bytes]:
        self.books.unsubscribe(symbols)
        return [_request("unsubscribe", symbols)]

    def take_entry(
        self,
        book: KeptBook,
        entry: dict[str, Any],
        arg: dict[str, Any],  # noqa: ARG002 - all books have one form
        *,
        first: bool,
    ) -> list[Output]:
        bids, asks = read_levels(entry.get("bids"), WIDTH), read_levels(entry.get("asks"), WIDTH)
        sequence = _follow(book.sequence, entry, first=first)
        checksum = checksum_of(entry, book, first=first)
        if sequence is None and checksum is None:
            raise ValueError("neither numbers nor a checksum")
        if not first and sequence is not None and sequence == book.sequence:
            if bids or asks:
                raise ValueError("levels with the number of the message before")
            return [Alive()]
        take = book.replace if first else book.change
        ts = from_ms(entry.get("ts"))
        ordered = first or sequence is None  # an update with its number needs no time to prove its order
        return take(bids, asks, ts=ts, sequence=sequence, checksum=checksum, ordered=ordered)


def _follow(last: int | None, entry: dict[str, Any], *, first: bool) -> int | None:
    """Return the number of the state after an entry; None if the recording has none."""
    if entry.get("seqId") is None and entry.get("prevSeqId") is None and (first or last is None):
        return None
    number, previous = whole_number(entry.get("seqId")), whole_number(entry.get("prevSeqId"))
    if number is None or previous is None or number < 0:
        raise ValueError("seqId or prevSeqId is missing")
    if first and previous != FIRST:
        raise ValueError(f"a snapshot that follows {previous}")
    if not first and previous != last:
        raise BrokenChainError(DoubtReason.GAP, f"prevSeqId {previous} after {last}")
    return number


def _request(op: str, symbols: Sequence[str]) -> str:
    return json.dumps({"op": op, "args": [{"channel": "books", "instId": symbol} for symbol in symbols]})


class OkxVenue:
    """OKX: spot, swaps, futures and options."""

    profile = Profile(
        name="okx",
        title="OKX",
        ws_url="wss://ws.okx.com:8443/ws/v5/public",
        rest_url="https://www.okx.com",
        quality=Quality("prevSeqId = seqId before", "", "the best 400"),
        symbols_per_connection=25,
        sends_per_s=2.0,
        request_weight_per_min=300,
        ping_every_s=15.0,
        silence_s=30.0,
    )

    def adapter(self) -> Adapter:
        return OkxAdapter()

    def instruments_requests(self, symbols: Sequence[str]) -> Sequence[Request]:
        queries = sorted({_query(symbol) for symbol in symbols})
        return [Request(f"/api/v5/public/instruments?{query}") for query in queries]

    def read_instruments(self, answers: Sequence[bytes]) -> dict[str, Sizes]:
        """Read the answers that the page "Get instruments" describes."""
        return described(listed(answers, "0"), _sizes)


def _sizes(item: Object) -> tuple[str, Sizes]:
    sizes = Sizes(decimal_text(item.get("tickSz")), decimal_text(item.get("lotSz")))
    return text(item, "instId"), sizes._replace(trading=item.get("state") == "live")


def _query(symbol: str) -> str:
    parts = symbol.split("-")
    if len(parts) == 5:
        return f"instType=OPTION&instFamily={parts[0]}-{parts[1]}"
    kind = "SPOT" if len(parts) == 2 else "SWAP" if parts[-1] == "SWAP" else "FUTURES"
    return f"instType={kind}"


VENUE: Final = OkxVenue()
