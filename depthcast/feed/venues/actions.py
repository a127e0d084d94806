"""What OKX and Bitget have in common: messages `{"arg": …, "action": …, "data": […]}`, and their checksum.

Both venues have withdrawn the checksum: the field is gone, or always 0. So 0 means that there is none, if the
book's snapshot had none either. Sources: OKX's notice "OKX Order Book Channels Checksum Field Deprecation";
Bitget's page "Depth Channel" of the unified account.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, zip_longest
from typing import Any, Final
from zlib import crc32

from depthcast.feed import exact_json
from depthcast.feed.venue import Alive, Closing, DoubtReason, Output, Refused, Skipped
from depthcast.feed.venues.fields import Object, array, parsed, shown
from depthcast.feed.venues.kept_books import Checksum, KeptBook, State, SubscribingAdapter
from depthcast.feed.venues.text_book import TextBook
from depthcast.feed.venues.times import whole_number

CHECKED_LEVELS: Final = 25
_NAMED: Final = re.compile(r"(?:instId|symbol):\s?([A-Za-z0-9_.-]{1,64})")


class BrokenChainError(Exception):
    """A message does not follow the one before it."""

    def __init__(self, reason: DoubtReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class ActionAdapter(SubscribingAdapter, ABC):
    """Adapter of one connection; a venue adds how it subscribes, and its rule of continuity.

    - `final`: codes of errors after which trying again is useless; after any other it may succeed.
    """

    final: frozenset[str] = frozenset()

    def ping(self, now: int) -> str:  # noqa: ARG002 - it names no time
        return "ping"

    def take(self, raw: str | bytes, now: int) -> list[Output]:  # noqa: ARG002 - no rule depends on the clock
        if raw in ("pong", b"pong"):
            return [Alive()]
        try:
            message = exact_json.loads(raw)
        except ValueError as error:
            return self.books.malformed(None, f"no JSON: {error}")
        arg = message.get("arg") if isinstance(message, dict) else None
        if isinstance(message, dict) and "event" in message:
            return [self._event(message, arg if isinstance(arg, dict) else {})]
        if not isinstance(arg, dict):
            return self.books.malformed(None, "neither an event nor a message of a channel")
        return self._take_channel(message, arg)

    @abstractmethod
    def take_entry(
        self, book: KeptBook, entry: dict[str, Any], arg: dict[str, Any], *, first: bool
    ) -> list[Output]:
        """Take one book, a snapshot if `first`.

        May raise `BrokenChainError`, and `ValueError` for what is not as documented.
        """

    def take_early(self, book: KeptBook, entry: dict[str, Any]) -> list[Output]:  # noqa: ARG002 - see OKX
        """Take an update of a book without a snapshot; may raise as `take_entry` does."""
        return [Skipped("update before a snapshot")]

    def of_channel(self, arg: dict[str, Any]) -> bool:  # noqa: ARG002 - for a venue with several markets
        """Return whether a channel's books belong to this adapter's market."""
        return True

    def _take_channel(self, message: dict[str, Any], arg: dict[str, Any]) -> list[Output]:
        channel, symbol = arg.get("channel", arg.get("topic")), arg.get("instId", arg.get("symbol"))
        if not isinstance(channel, str) or not isinstance(symbol, str):
            return self.books.malformed(symbol, "a message without its channel or its instrument")
        if channel != "books" or not self.of_channel(arg):
            return [Skipped(channel[:40])]
        book = self.books.get(symbol)
        if book is None:
            return [Skipped("book that is not subscribed")]
        data, action = message.get("data"), message.get("action")
        if action not in ("snapshot", "update") or not isinstance(data, list) or not data:
            return self.books.malformed(symbol, "a book without its action or its data")
        return list(chain.from_iterable(self._take_book(book, entry, arg, action) for entry in data))

    def _take_book(self, book: KeptBook, entry: Any, arg: dict[str, Any], action: str) -> list[Output]:
        if not isinstance(entry, dict):
            return self.books.malformed(book.symbol, "a book that is no object")
        try:
            if action == "update" and book.state is not State.PROVEN:
                return self.take_early(book, entry)
            return self.take_entry(book, entry, arg, first=action == "snapshot")
        except BrokenChainError as error:
            return book.doubt(error.reason, str(error))
        except ValueError as error:
            return book.doubt(DoubtReason.MALFORMED, str(error))

    def _event(self, message: dict[str, Any], arg: dict[str, Any]) -> Output:
        event = message["event"]
        if event == "error":
            code, detail = str(message.get("code")), str(message.get("msg"))[:200]
            named = _NAMED.search(detail)
            symbol = arg.get("instId", arg.get("symbol", named[1] if named else None))
            return Refused(
                symbol if isinstance(symbol, str) else None, f"{code}: {detail}", code in self.final
            )
        if event == "notice":
            return Closing(str(message.get("msg"))[:200])
        if event in ("subscribe", "unsubscribe"):
            return Alive()
        return Skipped(str(event)[:40])


def listed(answers: Iterable[bytes], code: str) -> Iterator[Object]:
    """Yield the instruments in `data` of each answer. Raises `ValueError` for one whose `code` is another."""
    for answer in answers:
        body = parsed(answer)
        if body.get("code") != code:
            raise ValueError(f"no list of instruments: {shown(body)}")
        yield from (item for item in array(body, "data") if isinstance(item, dict))


def checksum_of(entry: dict[str, Any], book: KeptBook, *, first: bool) -> Checksum | None:
    """Return the check of an entry's checksum; None if the venue keeps none for this book.

    Raises `ValueError` for what is no checksum, and if it is missing although the snapshot had one.
    """
    value = entry.get("checksum")
    number = 0 if value is None else whole_number(value)
    if number is None or not -(2**31) <= number < 2**32:
        raise ValueError("the checksum is no integer of 32 bits")
    if number:
        return lambda levels: interleaved(levels) == number % 2**32
    if book.checked and not first:
        raise ValueError("the checksum is missing")
    return None


def interleaved(levels: TextBook) -> int:
    """Return the CRC32 of `bid:quantity:ask:quantity:…`, as written, of the best 25 of each side."""
    bids, asks = levels.top(CHECKED_LEVELS)
    pairs: Sequence[Any] = list(zip_longest(bids, asks, fillvalue=()))
    return crc32(":".join(text for pair in pairs for level in pair for text in level).encode())
