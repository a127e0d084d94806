"""Deribit: `book.<instrument>.100ms`, which needs no key; recordings may have `raw` or `agg2`.

The first message of a subscription has the whole book, those after it `new`, `change` and `delete` of single
levels. Each names its `change_id`, and but for the first the `prev_change_id`, which equals the `change_id`
of the message before if none is missing ("book.(instrument_name).(interval)"). That proves the continuity of
each book by itself. A change of a level that is not there, or a new one that is, disproves it.

`public/set_heartbeat` makes the venue send heartbeats; it closes a connection that does not answer its
`test_request` by `public/test` ("public/set_heartbeat"). Prices and amounts are JSON numbers. Amounts are in
USD for inverse perpetuals and futures, otherwise in the base currency.
"""

import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

from depthcast.feed.scale import common_divisor
from depthcast.feed.venue import (
    Alive,
    Best,
    Doubt,
    DoubtReason,
    Output,
    Profile,
    Quality,
    Refused,
    Reply,
    Request,
    Sizes,
    Skipped,
    VenueLevel,
)
from depthcast.feed.venues.fields import (
    Object,
    array,
    batches,
    described,
    integer,
    parsed,
    shown,
    table,
    tables,
    text,
    word,
)
from depthcast.feed.venues.kept_books import KeptBook, State
from depthcast.feed.venues.message_adapter import MessageAdapter
from depthcast.feed.venues.text_book import TextSide, decimal_text
from depthcast.feed.venues.times import from_ms

HEARTBEAT_S: Final = 10
"""The shortest interval that the venue accepts."""
_CHANNELS_MOST: Final = 50
"""Channels that are asked for in one request."""
_LATER: Final = frozenset({10028, 10040, 10041, 10047, 11051, 13028, 13888})
"""Error codes after which it is worth trying again: too many requests, overload, maintenance."""


class DeribitAdapter(MessageAdapter):
    """One connection to Deribit."""

    ALIVE = frozenset({"heartbeat"})

    def __init__(self) -> None:
        super().__init__()
        self._newest: dict[str, tuple[int, int]] = {}
        """Time and `change_id` of each book's newest message, also of those that were not used."""
        self._asked: dict[int, list[str]] = {}
        """Channels of requests to subscribe that are not answered yet, by their ids."""
        self._id = 0
        self._beats = False

    def subscribe(self, symbols: Sequence[str]) -> list[str | bytes]:
        self.books.subscribe(symbols)
        messages: list[str | bytes] = []
        if not self._beats:
            self._beats = True
            messages.append(self._request("public/set_heartbeat", {"interval": HEARTBEAT_S}))
        for channels in _batches(symbols):
            messages.append(self._request("public/subscribe", {"channels": channels}))
            self._asked[self._id] = channels
        return messages

    def unsubscribe(self, symbols: Sequence[str]) -> list[str | bytes]:
        self.books.unsubscribe(symbols)
        return [self._request("public/unsubscribe", {"channels": channels}) for channels in _batches(symbols)]

    def lost(self) -> list[Doubt]:
        self._newest.clear()
        self._asked.clear()
        self._beats = False
        return super().lost()

    def read(self, message: Object) -> Iterable[Output]:
        if "method" not in message:
            return self._answer(message)
        method, params = word(message, "method"), table(message, "params")
        if method == "subscription":
            return self._notified(text(params, "channel"), params)
        if method == "heartbeat" and params.get("type") == "test_request":
            return [Alive(), Reply(self._request("public/test", {}))]
        return self.other_message(method)

    def _notified(self, channel: str, params: Object) -> Iterable[Output]:
        """Take a notification. One that should be of a book, but is not, breaks the book's chain."""
        kind, _, rest = channel.partition(".")
        symbol = rest.rpartition(".")[0]
        if kind == "book" and self.books.get(symbol) is not None:
            return self.about(symbol, self._book, params)
        return [_best(kind, params) if kind in {"quote", "ticker"} else Skipped(kind)]

    def _book(self, book: KeptBook, params: Object) -> list[Output]:
        data = table(params, "data")
        if data.get("instrument_name") != book.symbol:
            raise ValueError(f"instrument_name is not that of the channel, {book.symbol}")
        kind, number, time = word(data, "type"), integer(data, "change_id"), _time(data)
        bids, asks = _changes(data, "bids"), _changes(data, "asks")
        newest = self._newest.get(book.symbol, (0, 0))
        self._newest[book.symbol] = max(newest, (time, number))
        if kind == "snapshot":
            if any(action != "new" for action, _ in [*bids, *asks]):
                raise ValueError("a snapshot has other entries than new ones")
            if (time, number) < newest:
                detail = f"a snapshot with change_id {number} is older than a message before it"
                return book.doubt(DoubtReason.RESET, detail) or [Skipped("old snapshot")]
            return book.replace(_levels(bids), _levels(asks), ts=time, sequence=number, ordered=False)
        if kind != "change":
            raise ValueError(f"type is {shown(kind)}")
        before = integer(data, "prev_change_id")
        if book.state is not State.PROVEN:
            return [Skipped("change without a snapshot")]
        if before != book.sequence or number <= before:
            detail = f"prev_change_id {before} and change_id {number} after {book.sequence}"
            return book.doubt(DoubtReason.GAP, detail)
        _check(book.levels.bids, bids)
        _check(book.levels.asks, asks)
        return book.change(_levels(bids), _levels(asks), ts=time, sequence=number, ordered=False)

    def _answer(self, message: Object) -> list[Output]:
        number = message.get("id")
        channels = self._asked.pop(number, []) if isinstance(number, int) else []
        if "error" in message:
            error = message["error"]
            code = error.get("code") if isinstance(error, dict) else None
            final = not (isinstance(code, int) and code in _LATER)
            detail = json.dumps(error)[:200]
            return [Refused(_symbol(channel), detail, final=final) for channel in channels] or [
                Refused(None, detail, final=final)
            ]
        if "result" not in message:
            raise ValueError("it is neither an answer nor a notification")
        result = message["result"]
        accepted = result if isinstance(result, list) else []
        missing = [_symbol(channel) for channel in channels if channel not in accepted]
        return [Alive(), *(Refused(symbol, "the venue has no such channel") for symbol in missing)]

    def _request(self, method: str, params: Object) -> str:
        self._id += 1
        return json.dumps({"jsonrpc": "2.0", "id": self._id, "method": method, "params": params})


class Deribit:
    """The venue Deribit."""

    profile = Profile(
        name="deribit",
        title="Deribit",
        ws_url="wss://www.deribit.com/ws/api/v2",
        rest_url="https://www.deribit.com",
        quality=Quality(
            continuity="prev_change_id = previous change_id", checksum="", depth="all levels, every 100 ms"
        ),
        symbols_per_connection=200,
        sends_per_s=3.0,  # "Rate Limits": 3.3 requests to subscribe a second
        request_weight_per_min=60,
        silence_s=HEARTBEAT_S * 2.5,
    )

    def adapter(self) -> DeribitAdapter:
        return DeribitAdapter()

    def instruments_requests(self, symbols: Sequence[str]) -> Sequence[Request]:  # noqa: ARG002 - all in one
        return [Request("/api/v2/public/get_instruments?currency=any")]

    def read_instruments(self, answers: Sequence[bytes]) -> dict[str, Sizes]:
        """Read "public/get_instruments".

        Options have other tick sizes above some prices (`tick_size_steps`), and books keep old prices when a
        size changes: the tick size here divides all of them. Likewise the lot size: it divides the size of a
        contract and the smallest amount.
        """
        listed = (instrument for answer in answers for instrument in tables(parsed(answer), "result"))
        return described(listed, _sizes)


def _sizes(instrument: Object) -> tuple[str, Sizes]:
    steps = tables(instrument, "tick_size_steps") if instrument.get("tick_size_steps") else []
    ticks = [instrument.get("tick_size"), *(step.get("tick_size") for step in steps)]
    lots = [instrument.get("contract_size"), instrument.get("min_trade_amount")]
    tick, lot = (common_divisor(map(decimal_text, sizes)) for sizes in (ticks, lots))
    return text(instrument, "instrument_name"), Sizes(tick, lot, trading=instrument.get("is_active") is True)


def _batches(symbols: Sequence[str]) -> list[list[str]]:
    return [list(batch) for batch in batches((f"book.{symbol}.100ms" for symbol in symbols), _CHANNELS_MOST)]


def _symbol(channel: str) -> str:
    return channel.removeprefix("book.").rpartition(".")[0]


def _time(data: Object) -> int:
    time = from_ms(integer(data, "timestamp"))
    if time is None:
        raise ValueError(f"timestamp is {shown(data['timestamp'])}")
    return time


def _changes(data: Object, side: str) -> list[tuple[str, VenueLevel]]:
    """Read entries such as ["change", 0.0015, 4737.0]; the amount is 0 for deletes alone."""
    changes = []
    for entry in array(data, side):
        if not isinstance(entry, list) or len(entry) != 3 or entry[0] not in ("new", "change", "delete"):
            raise ValueError(f"an entry is {shown(entry)}")
        price, amount = decimal_text(entry[1]), decimal_text(entry[2])
        if (entry[0] == "delete") != (not Decimal(amount)):
            raise ValueError(f"an entry is {shown(entry)}")
        changes.append((entry[0], (price, amount)))
    return changes


def _levels(changes: list[tuple[str, VenueLevel]]) -> list[VenueLevel]:
    return [level for _, level in changes]


def _check(side: TextSide, changes: list[tuple[str, VenueLevel]]) -> None:
    """Raise `ValueError` for a new level that is there, and for a change of one that is not."""
    there: dict[Decimal, bool] = {}
    for action, (price, _) in changes:
        key = Decimal(price)
        if there.get(key, price in side) is (action == "new"):
            raise ValueError(f"{action} {price} does not fit the book")
        there[key] = action != "delete"


def _best(kind: str, params: Object) -> Output:
    try:
        data = table(params, "data")
        bid, ask = (
            (decimal_text(data.get(f"best_{side}_price")), decimal_text(data.get(f"best_{side}_amount")))
            for side in ("bid", "ask")
        )
        if not Decimal(bid[1]) or not Decimal(ask[1]):
            return Skipped(f"{kind} of a book with an empty side")
        return Best(text(data, "instrument_name"), bid, ask, None, _time(data))
    except ValueError:
        return Skipped(kind)


VENUE: Final = Deribit()
