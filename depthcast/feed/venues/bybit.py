"""Bybit v5: spot, linear and inverse contracts; the topic `orderbook.1000`.

Sources: "Orderbook", "Connect" and "Get Instruments Info" (Bybit v5 API documentation). A snapshot comes
after each subscription, and again whenever the venue has had a problem; with u = 1 after a restart. Each
delta's u is the previous message's u + 1. `seq` says which of two states is the newer one.
"""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from depthcast.feed.venue import (
    Alive,
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
from depthcast.feed.venues.fields import Object, array, batches, integer, parsed, shown, table, text, word
from depthcast.feed.venues.kept_books import KeptBook, State
from depthcast.feed.venues.message_adapter import MessageAdapter
from depthcast.feed.venues.text_book import decimal_text, read_levels
from depthcast.feed.venues.times import from_ms

DEPTH: Final = 1000
TOPICS_PER_REQUEST: Final = 10
"""The limit for spot; contracts have none."""

UNKNOWN_SYMBOL: Final = 10001
RESTARTED: Final = 1

_TOPIC: Final = re.compile(r"orderbook\.(\d+)\.([^\s,\]]+)")


Sides = tuple[list[VenueLevel], list[VenueLevel]]
"""Bids and asks."""


class _Seen(NamedTuple):
    """The newest message of a book: its u, `seq` and time."""

    u: int
    seq: int
    ts: int


class BybitAdapter(MessageAdapter):
    """One connection; see `depthcast.feed.venue.Adapter`."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[str, _Seen] = {}
        self._depths: dict[str, str] = {}
        self._requests: dict[str, Sequence[str]] = {}
        self._id = 0

    def subscribe(self, symbols: Sequence[str]) -> list[str | bytes]:
        self.books.subscribe(symbols)
        return self._request("subscribe", symbols)

    def unsubscribe(self, symbols: Sequence[str]) -> list[str | bytes]:
        self.books.unsubscribe(symbols)
        return self._request("unsubscribe", symbols)

    def ping(self, now: int) -> str | bytes | None:  # noqa: ARG002 - of the interface
        return json.dumps({"op": "ping"})

    def lost(self) -> list[Doubt]:
        self._seen.clear()
        self._depths.clear()
        self._requests.clear()
        return super().lost()

    def _request(self, op: str, symbols: Sequence[str]) -> list[str | bytes]:
        messages: list[str | bytes] = []
        for batch in batches(symbols, TOPICS_PER_REQUEST):
            self._id += 1
            if op == "subscribe":
                self._requests[str(self._id)] = batch
            topics = [f"orderbook.{DEPTH}.{symbol}" for symbol in batch]
            messages.append(json.dumps({"req_id": str(self._id), "op": op, "args": topics}))
        return messages

    def read(self, message: Object) -> Iterable[Output]:
        if "topic" not in message:
            return self._answer(message)
        topic = text(message, "topic")
        name = _TOPIC.fullmatch(topic)
        data = message.get("data")
        if name is None:
            if isinstance(data, dict) and "u" in data:
                raise ValueError(f"a book has the topic {shown(topic)}")
            return [Skipped(topic.partition(".")[0])]
        depth, symbol = name.groups()
        data = table(message, "data")
        if data.get("s") != symbol:
            raise ValueError(f"a message of {symbol} is about {shown(data.get('s'))}")
        if depth == "1" or depth != self._depths.setdefault(symbol, depth):
            return [Skipped(f"orderbook.{depth}")]
        return self.about(symbol, self._book, message)

    def _book(self, book: KeptBook, message: Object) -> Iterable[Output]:
        data = message["data"]
        ts = from_ms(message.get("ts"))
        if ts is None:
            raise ValueError("ts is no time")
        now = _Seen(integer(data, "u"), integer(data, "seq"), ts)
        bids, asks = read_levels(data.get("b")), read_levels(data.get("a"))
        last = self._seen.get(book.symbol)
        kind = text(message, "type")
        if kind == "snapshot":
            return self._snapshot(book, (bids, asks), now, last)
        if kind != "delta":
            raise ValueError(f"type is {shown(kind)}")
        return self._delta(book, (bids, asks), now, last)

    def _snapshot(self, book: KeptBook, sides: Sides, now: _Seen, last: _Seen | None) -> list[Output]:
        if last is not None and (now.ts < last.ts or (now.seq < last.seq and now.u != RESTARTED)):
            # A late one, or the venue began anew with a clock that is behind: only a new connection tells.
            return book.doubt(DoubtReason.RESET, f"a snapshot with u {now.u} after {last.u}")
        self._seen[book.symbol] = now
        outputs: list[Output] = []
        if book.state is State.PROVEN and now.u == RESTARTED:
            outputs += book.doubt(DoubtReason.RESET, "the venue restarted")
        return [*outputs, *book.replace(*sides, ts=now.ts, sequence=now.seq, ordered=False)]

    def _delta(self, book: KeptBook, sides: Sides, now: _Seen, last: _Seen | None) -> list[Output]:
        if book.state is not State.PROVEN or last is None:
            if last is None or now.ts >= last.ts:
                self._seen[book.symbol] = now
            return []
        if now.u == last.u and now.seq == last.seq:
            return [Skipped("repeated")]
        if now.u != last.u + 1 or now.seq < last.seq:
            reason = DoubtReason.GAP if now.u > last.u + 1 else DoubtReason.RESET
            return book.doubt(reason, f"u goes from {last.u} to {now.u}")
        self._seen[book.symbol] = now
        return book.change(*sides, ts=now.ts, sequence=now.seq, ordered=False)

    def _answer(self, message: Object) -> Iterable[Output]:
        op = text(message, "op")
        if op in ("ping", "pong") or message.get("success") is True:
            self._requests.pop(word(message, "req_id"), None)
            return [Alive()]
        if message.get("success") is not False:
            raise ValueError(f"the answer to {shown(op)} says neither success nor failure")
        symbols = self._requests.pop(word(message, "req_id"), ())
        detail = word(message, "ret_msg")[:200]
        found = _TOPIC.search(detail)
        named = found[2] if found else ""
        unknown = "not found" in detail or "Invalid symbol" in detail
        # One topic that is refused takes the whole request along.
        refused = [Refused(symbol, detail, final=unknown and symbol == named) for symbol in symbols]
        return refused or [Refused(named or None, detail, final=unknown and bool(named))]


class BybitVenue:
    """One market of Bybit; see `depthcast.feed.venue.Venue`."""

    def __init__(self, name: str, title: str, category: str) -> None:
        self._category = category
        self.profile: Final = Profile(
            name=name,
            title=title,
            ws_url=f"wss://stream.bybit.com/v5/public/{category}",
            rest_url="https://api.bybit.com",
            quality=Quality("u = previous u + 1", "", f"the best {DEPTH}"),
            symbols_per_connection=200,
            sends_per_s=5,
            request_weight_per_min=6000,
            ping_every_s=20.0,
            silence_s=45.0,
        )

    def adapter(self) -> BybitAdapter:
        return BybitAdapter()

    def instruments_requests(self, symbols: Sequence[str]) -> Sequence[Request]:
        """Ask for all of spot, and for each contract: their list comes in pages."""
        path = f"/v5/market/instruments-info?category={self._category}"
        if self._category == "spot":
            return [Request(path)]
        return [Request(f"{path}&symbol={quote(symbol, safe='')}") for symbol in symbols]

    def read_instruments(self, answers: Sequence[bytes]) -> dict[str, Sizes]:
        found: dict[str, Sizes] = {}
        for raw in answers:
            answer = parsed(raw)
            if answer.get("retCode") == UNKNOWN_SYMBOL:
                continue
            listed = array(table(answer, "result"), "list")
            if answer.get("retCode") != 0:
                raise ValueError(f"no list of instruments: {shown(answer)}")
            found.update(filter(None, map(_sizes, listed)))
        return found


def _sizes(listed: Any) -> tuple[str, Sizes] | None:
    """Return symbol and sizes; None for an instrument that has none."""
    try:
        lots = listed["lotSizeFilter"]
        tick = decimal_text(listed["priceFilter"].get("tickSize"))
        lot = decimal_text(lots.get("qtyStep", lots.get("basePrecision")))
        return text(listed, "symbol"), Sizes(tick, lot, listed.get("status") == "Trading")
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


SPOT: Final = BybitVenue("bybit", "Bybit spot", "spot")
LINEAR: Final = BybitVenue("bybit-linear", "Bybit linear contracts", "linear")
INVERSE: Final = BybitVenue("bybit-inverse", "Bybit inverse contracts", "inverse")
