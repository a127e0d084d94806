"""Finds the entry after which a book must have the best prices of a ticker; the rule depends on the venue.

A ticker comes by a channel of its own, so it may be before or after the message of the book that it agrees
with. Entries are held back until it is known which tickers are theirs.
"""

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from enum import StrEnum
from itertools import accumulate
from typing import Final, NamedTuple

from depthcast.feed.entry import CLEAR, FeedEntry
from depthcast.feed.oracle import BestPrices

HELD_MOST: Final = 20_000
"""Entries that are held back at most; beyond, the oldest goes with what is known by then."""


class Rule(StrEnum):
    """Which state of the book a ticker is of."""

    SEQUENCE = "sequence"
    """The latest ticker with a number up to that of the book's message."""
    TIME = "time"
    """The last message that is not after the ticker, by the venue's times."""
    SAME_TIME = "same time"
    """The last message before the ticker, if both have the same time."""
    ORDER = "order"
    """Tickers are in the order of the messages, each of some state before it."""


class Ticker(NamedTuple):
    """Best prices with their number and time at the venue."""

    symbol: str
    prices: BestPrices
    sequence: int | None
    ts: int | None


class Numbered(NamedTuple):
    """An entry with the number of its message, and the best prices of the adapter's own book if known."""

    entry: FeedEntry
    sequence: int | None = None
    best: BestPrices | None = None


def with_oracles(made: Iterable[Numbered | Ticker], rule: Rule) -> Iterator[FeedEntry]:
    """Yield the entries in their order, with the tickers that are theirs."""
    kind = {Rule.SEQUENCE: _BySequence, Rule.SAME_TIME: _BySameTime}.get(rule)
    waiting = kind() if kind else (_ByTime() if rule is Rule.TIME else _ByOrder())
    for each in made:
        if isinstance(each, Ticker):
            waiting.ticker(each)
        else:
            waiting.take(each)
        yield from waiting.ready()
    yield from waiting.rest()


class _Waiting(ABC):
    """Entries that are held back, in their order; this base decides nothing before the end."""

    def __init__(self) -> None:
        self.held: deque[Numbered] = deque()

    def take(self, numbered: Numbered) -> None:
        self.held.append(numbered)

    @abstractmethod
    def ticker(self, ticker: Ticker) -> None:
        """Take a ticker."""

    def decided(self, numbered: Numbered) -> bool:
        return numbered.entry.oracle is not None

    def resolved(self, numbered: Numbered) -> FeedEntry:
        return numbered.entry

    def given_up(self, numbered: Numbered) -> FeedEntry:
        """Return an entry that was held back for too long to be decided."""
        return numbered.entry

    def ready(self) -> Iterator[FeedEntry]:
        """Yield the entries in front that are decided, and those beyond `HELD_MOST`."""
        while self.held:
            numbered = self.held[0]
            decided = self.decided(numbered)
            if not decided and len(self.held) <= HELD_MOST:
                return
            self.held.popleft()
            yield self.resolved(numbered) if decided else self.given_up(numbered)

    def rest(self) -> Iterator[FeedEntry]:
        """Yield what is left at the end of the recording."""
        for numbered in self.held:
            yield self.resolved(numbered)


class _BySequence(_Waiting):
    def __init__(self) -> None:
        super().__init__()
        self.tickers: defaultdict[str, deque[tuple[int, BestPrices]]] = defaultdict(deque)
        self.newest: dict[str, int] = {}
        self.latest: dict[str, BestPrices] = {}

    def take(self, numbered: Numbered) -> None:
        super().take(numbered)
        entry = numbered.entry
        newest = self.newest.get(entry.symbol, 0)
        if _reloads(entry) and numbered.sequence is not None and numbered.sequence < newest:
            # The venue may have begun its numbers anew: earlier tickers are of other numbers.
            del self.newest[entry.symbol]

    def ticker(self, ticker: Ticker) -> None:
        if ticker.sequence is not None:
            self.tickers[ticker.symbol].append((ticker.sequence, ticker.prices))
            self.newest[ticker.symbol] = ticker.sequence

    def decided(self, numbered: Numbered) -> bool:
        entry, sequence, _ = numbered
        return super().decided(numbered) or sequence is None or self.newest.get(entry.symbol, -1) > sequence

    def resolved(self, numbered: Numbered) -> FeedEntry:
        entry, sequence, _ = numbered
        if entry.oracle is not None or sequence is None:
            return entry
        known = self.tickers[entry.symbol]
        while known and known[0][0] <= sequence:
            self.latest[entry.symbol] = known.popleft()[1]
        # A snapshot may be later than the tickers around it.
        return entry if _reloads(entry) else entry._replace(oracle=self.latest.get(entry.symbol))


class _BySameTime(_Waiting):
    """An entry is decided when the next one of its symbol has come."""

    def __init__(self) -> None:
        super().__init__()
        self.last: dict[str, FeedEntry] = {}
        self.found: dict[int, BestPrices] = {}

    def take(self, numbered: Numbered) -> None:
        super().take(numbered)
        self.last[numbered.entry.symbol] = numbered.entry

    def ticker(self, ticker: Ticker) -> None:
        entry = self.last.get(ticker.symbol)
        if entry is not None and entry.ts is not None and entry.ts == ticker.ts and not _reloads(entry):
            self.found[id(entry)] = ticker.prices

    def decided(self, numbered: Numbered) -> bool:
        return self.last[numbered.entry.symbol] is not numbered.entry

    def resolved(self, numbered: Numbered) -> FeedEntry:
        entry = numbered.entry
        return entry._replace(oracle=self.found.pop(id(entry), entry.oracle))

    def given_up(self, numbered: Numbered) -> FeedEntry:
        del self.last[numbered.entry.symbol]
        return self.resolved(numbered)


class _AtTheEnd(_Waiting):
    """Tickers are given to entries when the recording ends, or more than `HELD_MOST` are held back."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[int, BestPrices] = {}

    def resolved(self, numbered: Numbered) -> FeedEntry:
        entry = numbered.entry
        return entry._replace(oracle=self.found.pop(id(entry), entry.oracle))

    def given_up(self, numbered: Numbered) -> FeedEntry:
        return self.resolved(numbered)


class _ByTime(_AtTheEnd):
    def __init__(self) -> None:
        super().__init__()
        self.tickers: deque[Ticker] = deque(maxlen=HELD_MOST)

    def ticker(self, ticker: Ticker) -> None:
        self.tickers.append(ticker)

    def rest(self) -> Iterator[FeedEntry]:
        timed: defaultdict[str, list[tuple[int, FeedEntry]]] = defaultdict(list)
        for entry in (numbered.entry for numbered in self.held):
            if entry.ts is not None:
                timed[entry.symbol].append((entry.ts, entry))
        # The least time from each entry on only grows, and the last entry up to a time is found by it.
        least = {
            symbol: list(accumulate((ts for ts, _ in reversed(entries)), min))[::-1]
            for symbol, entries in timed.items()
        }
        for ticker in self.tickers:
            at = bisect_right(least.get(ticker.symbol, ()), ticker.ts) if ticker.ts is not None else 0
            if at:
                self.found[id(timed[ticker.symbol][at - 1][1])] = ticker.prices
        yield from super().rest()


class _ByOrder(_AtTheEnd):
    """A ticker is of the first state with its prices that is not before that of the ticker before it."""

    def __init__(self) -> None:
        super().__init__()
        self.states: defaultdict[str, deque[Numbered]] = defaultdict(lambda: deque(maxlen=HELD_MOST))

    def take(self, numbered: Numbered) -> None:
        super().take(numbered)
        self.states[numbered.entry.symbol].append(numbered)

    def ticker(self, ticker: Ticker) -> None:
        states = self.states[ticker.symbol]
        while len(states) > 1 and states[0].best != ticker.prices:
            states.popleft()
        if states:
            self.found[id(states[0].entry)] = ticker.prices


def _reloads(entry: FeedEntry) -> bool:
    return bool(entry.events) and entry.events[0][0] == CLEAR
