"""A damaged file of a data vendor ends in the right book, or replay says that it does not.

Lines are swapped or doubled, the file is cut off anywhere, or a value becomes one of another type. What
nothing in the file proves is left out: a digit that changes, or a line that is missing.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgpack import packb

from depthcast.ingestor.engine import Engine
from depthcast.runtime.feed_file import RecordedFeed, open_feed
from depthcast.shared.errors import FeedError
from depthcast.shared.types import Symbol
from tests.unit.depthcast.feed import databento_rows, itch_messages

Side = dict[int, int]
State = tuple[Side, Side]

STEPS = 14
DEPTH = 2
"""Levels of the LOBSTER files."""


@dataclass(frozen=True)
class Step:
    """A change of one order, and the book after it; `size` is what was added or taken."""

    kind: str
    order: int
    side: int
    price: int
    size: int
    state: State


@dataclass
class Market:
    """Orders that come and go; bids are below 100 and asks above, so that nothing crosses."""

    seed: int
    steps: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        random_, orders = random.Random(self.seed), dict[int, list[int]]()
        for number in range(1, STEPS + 1):
            kind = random_.choice(("add", "take", "delete")) if len(orders) > 2 else "add"
            if kind == "add":
                side = random_.randrange(2)
                order, price, size = number, random_.randrange(95, 100) + 6 * side, random_.randrange(2, 9)
                orders[order] = [side, price, size]
            else:
                order = random_.choice(list(orders))
                side, price, left = orders[order]
                kind = "delete" if left == 1 else kind
                size = left if kind == "delete" else random_.randrange(1, left)
                orders[order][2] -= size
                if kind == "delete":
                    del orders[order]
            self.steps.append(Step(kind, order, side, price, size, _state(orders.values())))

    @property
    def states(self) -> list[State]:
        return [step.state for step in self.steps]


def _state(orders: Any) -> State:
    state: State = ({}, {})
    for side, price, size in orders:
        state[side][price] = state[side].get(price, 0) + size
    return state


Lines = list[bytes]


def mbo(market: Market) -> Lines:
    rows = [databento_rows.MBO, databento_rows.CLEARED]
    for number, step in enumerate(market.steps, 1):
        action = "A" if step.kind == "add" else "C"
        rows.append(
            databento_rows.mbo(action, "BA"[step.side], f"{step.price}.0", step.size, step.order, at=number)
        )
    return [row.encode() for row in rows]


def mbp(market: Market) -> Lines:
    names = [
        f"{side}_{what}_{level:02}" for level in range(5) for side in ("bid", "ask") for what in ("px", "sz")
    ]
    lines = [f"ts_event,action,flags,instrument_id,symbol,{','.join(names)}\n"]
    for number, state in enumerate(market.states, 1):
        levels = [sorted(state[0].items(), reverse=True), sorted(state[1].items())]
        values = [
            f"{levels[side][level][0]}.0,{levels[side][level][1]}" if level < len(levels[side]) else ",0"
            for level in range(5)
            for side in (0, 1)
        ]
        lines.append(f"{databento_rows.AT_NS + number * 1_000_000},A,130,5482,ES,{','.join(values)}\n")
    return [line.encode() for line in lines]


def tardis(market: Market) -> Lines:
    lines = ["exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount\n"]
    before: State = ({}, {})
    for number, state in enumerate(market.states, 1):
        for side, name in enumerate(("bid", "ask")):
            for price in sorted({*before[side], *state[side]}):
                if before[side].get(price) != state[side].get(price):
                    amount = state[side].get(price, 0)
                    snapshot = "true" if number == 1 else "false"
                    lines.append(f"e,ES,{number},{number},{snapshot},{name},{price},{amount}\n")
        before = state
    return [line.encode() for line in lines]


def itch(market: Market) -> Lines:
    messages = [itch_messages.system(b"O", at=0), itch_messages.directory(b"ES", at=0)]
    for at, step in enumerate(market.steps, 1):
        if step.kind == "add":
            side = b"BS"[step.side : step.side + 1]
            messages.append(itch_messages.add(step.order, side, step.size, step.price * 10_000, b"ES", at=at))
        elif step.kind == "delete":
            messages.append(itch_messages.deleted(step.order, at=at))
        else:
            messages.append(itch_messages.executed(step.order, step.size, at=at))
    return [*messages, itch_messages.system(b"C", at=STEPS + 1)]


def damaged(random_: random.Random, lines: Lines, kinds: Sequence[str]) -> Lines:
    """Swap, double, cut, or replace a value."""
    if not lines:
        return lines
    kind, at = random_.choice(kinds), random_.randrange(len(lines))
    if kind == "swap":
        other = random_.randrange(len(lines))
        lines = [*lines]
        lines[at], lines[other] = lines[other], lines[at]
    elif kind == "double":
        place = random_.randrange(len(lines) + 1)
        lines = [*lines[:place], lines[at], *lines[place:]]
    elif kind == "cut":
        part = lines[at][: random_.randrange(len(lines[at]))]
        lines = [*lines[:at], *([part] if part else [])]
    else:
        values = lines[at].rstrip(b"\n").split(b",")
        values[random_.randrange(len(values))] = random_.choice((b"x", b"", b"maybe", "é".encode(), b'"'))
        lines = [*lines[:at], b",".join(values) + b"\n", *lines[at + 1 :]]
    return lines


def outcome(lines: Lines, name: str = "feed", beside: tuple[str, Lines] | None = None) -> State | None:
    """Return the live book after a replay that says that everything got there; None if it says otherwise."""
    with TemporaryDirectory() as folder:
        (Path(folder) / name).write_bytes(b"".join(lines))
        if beside is not None:
            (Path(folder) / beside[0]).write_bytes(b"".join(beside[1]))
        try:
            feed = open_feed(Path(folder) / name, None, {})
            books = applied(feed)
        except FeedError:
            return None
    if feed.account.problems() or feed.account.notes or None in books:
        return None
    (book,) = books
    return book


def applied(feed: RecordedFeed) -> list[State | None]:
    """Return the books that an ingestor makes; None for one that is in doubt or had an event rejected."""
    engine, rejected = Engine(0, 1), set[str]()
    for instrument in feed.instruments().values():
        engine.register(instrument)
    engine.drain()  # a birth is published alone, the interval before the first levels
    for number, entry in enumerate(feed.entries(), 1):
        about = {"atomic": entry.atomic} | ({"stale": entry.stale} if entry.stale else {"live": entry.live})
        fields = [(entry.symbol.encode(), packb(entry.events)), (b"_", packb(about))]
        engine.apply(f"{number}-0", fields)
        rejected |= {reject.symbol for reject in engine.drain().rejects}
    return [
        None if engine.doubt(symbol) or symbol in rejected else _book(engine, symbol)
        for symbol in feed.instruments()
    ]


def _book(engine: Engine, symbol: Symbol) -> State:
    snapshot = engine.snapshot(symbol)
    bids, asks = (dict(zip(flat[::2], flat[1::2], strict=True)) for flat in (snapshot.bids, snapshot.asks))
    return bids, asks


@pytest.mark.parametrize("write", [mbo, mbp, tardis])
@settings(max_examples=120)
@given(st.integers(0, 2**32), st.integers(0, 3))
@example(seed=2598, faults=3)  # of MBP-10, it leaves a single record
def test_damaged_tables(write: Callable[[Market], Lines], seed: int, faults: int) -> None:
    market, random_ = Market(seed), random.Random(seed)
    lines = whole = write(market)
    for _ in range(faults):
        lines = damaged(random_, lines, ("swap", "double", "cut", "type"))
    found = outcome(lines)
    if not faults:
        assert found == market.states[-1]
    elif found is not None:
        assert found in ([market.states[-1]] if whole[-1] in lines else ends_of(write, market, whole))


def ends_of(write: Callable[[Market], Lines], market: Market, whole: Lines) -> list[State]:
    """Return the states in which a file may end whose last lines are missing, as nobody can tell that."""
    if write is not tardis:
        return market.states
    # A state is several lines there, and some of them make another one.
    ends = list[State]()
    state: State = ({}, {})
    for line in whole[1:]:
        *_, side, price, amount = line.decode().strip().split(",")
        levels = dict(state[side == "ask"]) | {int(price): int(amount)}
        levels = {each: size for each, size in levels.items() if size}
        state = (state[0], levels) if side == "ask" else (levels, state[1])
        ends.append(state)
    return ends


@settings(max_examples=120)
@given(st.integers(0, 2**32), st.integers(0, 3))
def test_damaged_messages_of_itch(seed: int, faults: int) -> None:
    pytest.importorskip("itch.messages", reason="itchfeed is not installed")
    market, random_ = Market(seed), random.Random(seed)
    lines = itch(market)
    for _ in range(faults):
        lines = damaged(random_, lines, ("swap", "double", "cut"))
    found = outcome(lines)
    assert found == market.states[-1] if not faults else found in (None, market.states[-1])


def _best(state: State) -> State:
    bids, asks = sorted(state[0].items(), reverse=True), sorted(state[1].items())
    return dict(bids[:DEPTH]), dict(asks[:DEPTH])


def lobster(market: Market) -> tuple[Lines, Lines, list[State]]:
    """Return messages and order books of few levels, as LOBSTER has them, and the states that they show."""
    messages, rows, states, before = Lines(), Lines(), list[State](), _best(({}, {}))
    for number, step in enumerate(market.steps, 1):
        after = _best(step.state)
        if after != before:
            kind = {"add": 1, "take": 4, "delete": 3}[step.kind]
            values = (kind, step.order, step.size, step.price * 10_000, 1 - 2 * step.side)
            messages.append(f"{number}.5,{','.join(map(str, values))}\n".encode())
            bids, asks = sorted(after[0].items(), reverse=True), sorted(after[1].items())
            row = []
            for level in range(DEPTH):
                ask = asks[level] if level < len(asks) else (999_999.9999, 0)
                bid = bids[level] if level < len(bids) else (-999_999.9999, 0)
                row += [round(ask[0] * 10_000), ask[1], round(bid[0] * 10_000), bid[1]]
            rows.append((",".join(map(str, row)) + "\n").encode())
            states.append(after)
        before = after
    return messages, rows, states


@settings(max_examples=200)
@given(st.integers(0, 2**32), st.integers(0, 2))
def test_files_of_few_levels_with_and_without_damage(seed: int, faults: int) -> None:
    market, random_ = Market(seed), random.Random(seed)
    messages, rows, states = lobster(market)
    last = messages[-1]
    name = "X_2012-06-21_34200000_57600000_message_2.csv"
    beside = name.replace("message", "orderbook")
    kinds = ("swap", "double", "cut", "type")
    for _ in range(faults):
        if random_.randrange(2):
            messages = damaged(random_, messages, kinds)
        else:
            rows = damaged(random_, rows, kinds)
    found = outcome(messages, name, (beside, rows))
    if not faults:
        assert found == states[-1]
    elif found is not None:
        assert found in states if last not in messages else found == states[-1]
    assert outcome(messages, name) is None, "without its order book it is in doubt"
