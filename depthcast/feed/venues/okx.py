"""OKX's books: the public channel `books`, the best 400 levels.

Rules, from OKX's page "WS / Order book channel":

- A snapshot has `prevSeqId` -1. Each update's `prevSeqId` is the `seqId` of the message before it.
- After 60 s without changes comes an update without levels whose two numbers are equal.
- After maintenance a `seqId` may be below its `prevSeqId`; the chain goes on from it.
- A `notice` comes a minute before the venue closes the connection.
- Until June 2026 each message had a CRC32 of the best 25; recordings of before 2023 have no numbers, only it.

The venue has announced that the channel will send no snapshot any more ("Delist initial snapshot and
checksum field in order book channels"). So where updates come without one, or a second subscription brings
none either, it is requested ("GET / Order book", which has a `seqId`) and joined to the updates by the rule
given there.
"""

import json
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote

from depthcast.feed import exact_json
from depthcast.feed.venue import (
    BUFFERED_MOST,
    Adapter,
    Alive,
    Doubt,
    DoubtReason,
    Output,
    Profile,
    Quality,
    Request,
    Sizes,
    Skipped,
    Snapshot,
)
from depthcast.feed.venues.actions import ActionAdapter, BrokenChainError, checksum_of, listed
from depthcast.feed.venues.chained_snapshot import ChainedSnapshot, Joint, Numbered
from depthcast.feed.venues.fields import Object, described, text
from depthcast.feed.venues.kept_books import KeptBook, State
from depthcast.feed.venues.text_book import decimal_text, read_levels
from depthcast.feed.venues.times import from_ms, whole_number

FIRST: Final = -1
"""`prevSeqId` of a snapshot."""
WIDTH: Final = 4
"""Items of a level: price, quantity, one without meaning now, number of orders."""
DEPTH: Final = 400
SUBSCRIPTIONS_MOST: Final = 2
"""A snapshot is requested once so many subscriptions have brought none."""


class OkxAdapter(ActionAdapter):
    """Adapter of one connection, or of one recording."""

    final = frozenset(("51001", "60012", "60013", "60018", "64003"))

    def __init__(self) -> None:
        super().__init__()
        self._early: dict[str, ChainedSnapshot] = {}
        """What came of books that wait for a snapshot."""
        self._subscriptions: Counter[str] = Counter()
        """Subscriptions of each book since its last snapshot."""

    def subscribe(self, symbols: Sequence[str]) -> list[str | bytes]:
        self.books.subscribe(symbols)
        self._subscriptions.update(symbols)
        return [_request("subscribe", symbols)]

    def unsubscribe(self, symbols: Sequence[str]) -> list[str | bytes]:
        self.books.unsubscribe(symbols)
        for symbol in symbols:
            self._early.pop(symbol, None)
        return [_request("unsubscribe", symbols)]

    def lost(self) -> list[Doubt]:
        self._early.clear()
        self._subscriptions.clear()
        return super().lost()

    def snapshot_request(self, symbol: str) -> Request | None:
        book = self.books.get(symbol)
        if book is None or book.state is not State.WAITING:
            return None
        early = self._early.get(symbol)
        if early is None and self._subscriptions[symbol] < SUBSCRIPTIONS_MOST:
            return None
        if not self._early.setdefault(symbol, ChainedSnapshot()).wants_snapshot():
            return None
        return Request(f"/api/v5/market/books?instId={quote(symbol, safe='')}&sz={DEPTH}&source=0")

    def take_snapshot(self, symbol: str, raw: bytes, now: int) -> list[Output]:  # noqa: ARG002 - no rule needs it
        book = self.books.get(symbol)
        if book is None or book.state is not State.WAITING:
            return [Skipped("snapshot of a book that needs none")]
        try:
            snapshot = _requested(raw)
        except ValueError as error:
            return [Skipped(f"malformed snapshot: {error}"[:100])]
        early = self._early.setdefault(symbol, ChainedSnapshot())
        return self._join(book, early.take_snapshot(snapshot))

    def take_early(self, book: KeptBook, entry: dict[str, Any]) -> list[Output]:
        """Keep an update that came before a snapshot; a recording's, or one without numbers, is of no use."""
        subscribed = book.symbol in self.books.subscribed
        if book.state is not State.WAITING or not subscribed or entry.get("seqId") is None:
            return super().take_early(book, entry)
        bids, asks = read_levels(entry.get("bids"), WIDTH), read_levels(entry.get("asks"), WIDTH)
        number, previous = whole_number(entry.get("seqId")), whole_number(entry.get("prevSeqId"))
        if number is None or previous is None or number < 0:
            raise ValueError("seqId or prevSeqId is missing")
        if number == previous and (bids or asks):
            raise ValueError("levels with the number of the message before")
        early = self._early.setdefault(book.symbol, ChainedSnapshot())
        joint = early.take_update(Numbered(number, previous, bids, asks, from_ms(entry.get("ts"))))
        if early.overflown:
            early.overflown = False
            return book.doubt(DoubtReason.OVERFLOW, f"no snapshot in {BUFFERED_MOST} updates")
        return self._join(book, joint) or [Skipped("update before a snapshot")]

    def _join(self, book: KeptBook, joint: Joint | None) -> list[Output]:
        if joint is None:
            return []
        del self._early[book.symbol]
        snapshot, last = joint.snapshot, joint.snapshot
        outputs = book.replace(
            snapshot.bids, snapshot.asks, ts=snapshot.ts, sequence=snapshot.number, ordered=False
        )
        for last in joint.updates:
            if book.state is State.PROVEN:
                outputs = book.change(last.bids, last.asks, ts=last.ts, sequence=last.number, ordered=False)
        if book.state is not State.PROVEN:
            return outputs
        bids, asks = list(book.levels.bids), list(book.levels.asks)
        return [Snapshot(book.symbol, bids, asks, last.ts, last.number)]

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
            return [Alive(book.symbol)]
        if first:
            self._early.pop(book.symbol, None)
            self._subscriptions.pop(book.symbol, None)
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


def _requested(raw: bytes) -> Numbered:
    """Read the answer to a request for a book. Raises `ValueError` for any other."""
    answer = exact_json.loads(raw)
    data = answer.get("data") if isinstance(answer, dict) and answer.get("code") == "0" else None
    entry = data[0] if isinstance(data, list) and len(data) == 1 else None
    if not isinstance(entry, dict):
        raise ValueError("no book in the answer")
    number = whole_number(entry.get("seqId"))
    if number is None or not 0 <= number < 2**63:
        raise ValueError("seqId is missing")
    bids, asks = (
        [level for level in read_levels(entry.get(side), WIDTH) if Decimal(level[1])]
        for side in ("bids", "asks")
    )
    return Numbered(number, number, bids, asks, from_ms(entry.get("ts")))


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
