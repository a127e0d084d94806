"""A recording with lines lost, doubled, swapped or damaged ends in right books, or replay says what is wrong.

Binance numbers its messages, so lines may be lost, doubled or swapped. Kraken confirms each state by a
checksum, so a digit may change anywhere as well.
"""

import json
import random
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zlib import crc32

from hypothesis import example, given, settings
from hypothesis import strategies as st

from depthcast.runtime.feed_file import RecordedFeed, open_feed
from depthcast.shared.book import Book
from depthcast.shared.errors import FeedError
from tests.unit.depthcast.feed.replayed import Replayed

Side = dict[int, int]
State = tuple[Side, Side]

CHANGES = 12
LEVELS = 8
"""A checksum covers ten levels, so it covers the whole book."""


class Market:
    """A book that changes, as lines of a recording; prices and quantities are whole numbers."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.state: State = ({100 - at: 5 + at for at in range(4)}, {101 + at: 6 + at for at in range(4)})
        self.states = [self._copy()]

    def change(self) -> tuple[int, int, int]:
        """Change one level; returns side, price and quantity."""
        side = self.random.randrange(2)
        levels = self.state[side]
        room = len(levels) < LEVELS
        new = self.random.randrange(90, 101) if side == 0 else self.random.randrange(101, 112)
        price = new if room else self.random.choice(list(levels))
        quantity = self.random.randrange(0 if len(levels) > 2 else 1, 9)
        levels.pop(price, None)
        if quantity:
            levels[price] = quantity
        self.states.append(self._copy())
        return side, price, quantity

    def _copy(self) -> State:
        return dict(self.state[0]), dict(self.state[1])


def binance(market: Market) -> list[str]:
    bids, asks = ([[str(price), str(size)] for price, size in side.items()] for side in market.state)
    messages: list[Any] = [{"lastUpdateId": 100, "bids": bids, "asks": asks}]
    for number in range(101, 101 + CHANGES):
        side, price, quantity = market.change()
        changed: list[list[list[str]]] = [[], []]
        changed[side].append([str(price), str(quantity)])
        data = {
            "e": "depthUpdate",
            "E": 1,
            "s": "X",
            "U": number,
            "u": number,
            "b": changed[0],
            "a": changed[1],
        }
        messages.append({"stream": "x@depth", "data": data})
    return [f"{1723161255000000000 + at} {json.dumps(message)}" for at, message in enumerate(messages)]


def kraken(market: Market) -> list[str]:
    def levels(side: Side) -> list[list[str]]:
        return [[f"{price}.0", f"{size}.00000000", "1618678134.0"] for price, size in side.items()]

    def checksum() -> str:
        bids, asks = market.state
        best = [*sorted(asks.items()), *sorted(bids.items(), reverse=True)]
        return str(crc32("".join(f"{price}0{size}00000000" for price, size in best).encode()))

    books: list[Any] = [{"as": levels(market.state[1]), "bs": levels(market.state[0])}]
    for _ in range(CHANGES):
        side, price, quantity = market.change()
        books.append({"ba"[side]: levels({price: quantity}), "c": checksum()})
    return [
        f"{1618678134 + at}.5: {json.dumps([1, book, 'book-10', 'X/Y'])}" for at, book in enumerate(books)
    ]


def damage(random_: random.Random, lines: list[str], *, digits: bool) -> list[str]:
    """Lose, double or swap a line, or change a digit."""
    at, kind = random_.randrange(len(lines)), random_.randrange(4 if digits else 3)
    if kind == 0:
        return lines[:at] + lines[at + 1 :]
    if kind == 1:
        return [*lines[: at + 1], lines[random_.randrange(len(lines))], *lines[at + 1 :]]
    if kind == 2:
        other = random_.randrange(len(lines))
        lines = [*lines]
        lines[at], lines[other] = lines[other], lines[at]
        return lines
    places = [place for place, sign in enumerate(lines[at]) if sign.isdigit()]
    place = random_.choice(places)
    damaged = lines[at][:place] + random_.choice("0123456789") + lines[at][place + 1 :]
    return [*lines[:at], damaged, *lines[at + 1 :]]


def book_states(feed: RecordedFeed, *, proven: bool) -> list[State | None]:
    """The book after each entry, in whole numbers; None while it is in doubt.

    Not `proven`: snapshots have no checksum, so they are believed until the next message, and left out here.
    """
    replayed, states, doubted = Replayed(), list[State | None](), False
    (recorded,) = feed.recording.recorded.values()
    whole = {
        symbol: instrument._replace(tick_size="1", lot_size="1")
        for symbol, instrument in feed.instruments().items()
    }
    assert recorded.tick_needed % 1 == recorded.lot_needed % 1 == 0
    for entry in feed.entries(whole):
        book = replayed.apply(entry)
        doubted = (doubted or bool(entry.stale)) and not entry.live
        left_out = doubted or (entry.live and not proven)
        states.append(None if left_out else _state(book))
    return states


def _state(book: Book) -> State:
    return dict(book.bids.top(100)), dict(book.asks.top(100))


def check(market: Market, lines: list[str], last: Callable[[list[str]], State] | None = None) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "feed"
        path.write_text("\n".join(lines) + "\n")
        try:
            feed = open_feed(path, None, {})
            fits = all(
                each.tick_needed % 1 == each.lot_needed % 1 == 0 for each in feed.recording.recorded.values()
            )
            if len(feed.recording.recorded) > 1 or not fits:
                return  # a digit of a symbol or of a number of another precision: refused by its sizes
            states = book_states(feed, proven=last is not None)
        except FeedError:
            return
    known = [state for state in states if state is not None]
    assert all(state in market.states for state in known), "a state that never was, and not in doubt"
    if last is not None and not feed.account.problems():
        assert known
        assert known[-1] == last(lines)


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(0, 4))
@example(127803, 1)
def test_lines_of_binance_lost_doubled_or_swapped(seed: int, faults: int) -> None:
    market, random_ = Market(seed), random.Random(seed)
    lines = whole = binance(market)
    for _ in range(faults):
        lines = damage(random_, lines, digits=False)

    def last(kept: list[str]) -> State:
        """Nobody can tell that lines at the end are missing."""
        return market.states[max(whole.index(line) for line in kept)]

    check(market, lines, last)


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(0, 4))
@example(6061625, 3)
def test_lines_of_kraken_lost_doubled_swapped_or_damaged(seed: int, faults: int) -> None:
    market, random_ = Market(seed), random.Random(seed)
    lines = kraken(market)
    for _ in range(faults):
        lines = damage(random_, lines, digits=True)
    check(market, lines)  # checksums have no order: any state that was is right
