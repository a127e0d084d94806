"""A conversation of an adapter with the model of its venue, without sockets, seeded, and spoiled on the way.

After each message every book that the adapter calls right must be a state that the venue's book had, and
never an older one than before. Without any more faults all books must come to be right again. Pure.
"""

import json
from collections import deque
from collections.abc import Iterable, Iterator
from decimal import Decimal
from random import Random
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from depthcast.feed.venue import Adapter, Doubt, Output, Reply, Snapshot, Update, Venue
from tests.venues.faults import Fault
from tests.venues.market import ModelBook
from tests.venues.model import Kind, Message, ModelVenue, RestAnswer

STEP_US: Final = 100_000
START_US: Final = 1_700_000_000_000_000
WRONG: Final[tuple[Any, ...]] = (None, "", "x", -1, 1.5, True, [], {}, [[]], [1], {"a": 1}, 10**30)
_ABSENT: Final = object()
SPOILED: Final = {
    "drop": Fault.GAP,
    "twice": Fault.DUPLICATE,
    "late": Fault.REORDER,
    "swap": Fault.REORDER,
    "cut": Fault.GARBAGE,
    "field": Fault.GARBAGE,
    "garbage": Fault.GARBAGE,
}
"""What is done to a message, and the fault that a venue's rule must notice for that."""
PLAIN: Final = frozenset({"price_level", "new_quantity", "price", "size"})
"""Keys of prices and quantities: another number there cannot be noticed without a checksum."""


class Replica:
    """One book by the adapter's outputs, checked against all states of the model's book."""

    def __init__(self, book: ModelBook) -> None:
        self.book = book
        self.sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self.live = False
        self.doubts: list[Doubt] = []
        self._at = 0

    def apply(self, output: Snapshot | Update | Doubt) -> None:
        if isinstance(output, Doubt):
            self.live = False
            self.doubts.append(output)
            return
        if isinstance(output, Snapshot):
            self.sides = ({}, {})
            self.live = True
        assert self.live, f"an update of a book in doubt: {output}"
        for side, levels in zip(self.sides, (output.bids, output.asks), strict=True):
            for price, quantity in levels:
                side[_units(price, self.book.tick_size)] = _units(quantity, self.book.lot_size)
            for gone in [key for key, units in side.items() if not units]:
                del side[gone]
        self._check(output)

    def is_current(self) -> bool:
        return self.live and self._state() == self.book.states[-1]

    def _check(self, output: Snapshot | Update) -> None:
        state = self._state()
        for number in range(self._at, len(self.book.states)):
            if self.book.states[number] == state:
                self._at = number
                return
        raise AssertionError(f"{self.book.symbol} never had this book after state {self._at}: {output}")

    def _state(self) -> tuple[frozenset[tuple[int, int]], frozenset[tuple[int, int]]]:
        return frozenset(self.sides[0].items()), frozenset(self.sides[1].items())


class Conversation:
    """One client of a model.

    `rate`: how often a message is spoiled, of 1.
    """

    def __init__(self, venue: Venue, model: ModelVenue, random: Random, *, rate: float = 0.0) -> None:
        self.model = model
        self.random = random
        self.rate = rate
        self.now = START_US
        self.adapter: Adapter = venue.adapter()
        self.by_rest = venue.profile.snapshot_by_rest
        self.replicas = {symbol: Replica(book) for symbol, book in model.market.books.items()}
        self.symbols = sorted(self.replicas)
        self.outputs: list[Output] = []
        self._history: deque[Message] = deque(maxlen=30)
        self._answers: list[tuple[int, str, RestAnswer]] = []
        self._asked_at: dict[str, int] = {}
        self._held: Message | None = None
        self._kinds = [kind for kind, fault in SPOILED.items() if fault in model.faults]
        self._connect()

    def run(self, steps: int) -> None:
        """Let the venue speak for so many intervals."""
        for _ in range(steps):
            self.now += STEP_US
            self.model.market.step(self.random.randrange(4))
            if self.random.random() < self.rate / 10:
                self._disturb()
            self._receive(self.connection.due(self.now))
            self._deliver_answers()
            self._recover()

    def settle(self, steps: int = 200) -> None:
        """Stop spoiling and go on until all books are right; fails after so many intervals."""
        self.rate = 0.0
        for _ in range(steps):
            self.run(1)
            if all(replica.is_current() for replica in self.replicas.values()):
                return
        raise AssertionError({symbol: replica.doubts[-3:] for symbol, replica in self.replicas.items()})

    def _connect(self) -> None:
        self.connection = self.model.connect(self.adapter.connect_path(self.symbols), self.now)
        self._send(self.adapter.subscribe(self.symbols))

    def _send(self, messages: Iterable[str | bytes]) -> None:
        for raw in messages:
            self._receive(self.connection.receive(raw, self.now))

    def _receive(self, messages: list[Message]) -> None:
        for message in messages:
            for spoiled in self._spoiled(message):
                self._take(self.adapter.take(spoiled.raw, self.now))
            if message.kind is not Kind.CONTROL:
                self._history.append(message)

    def _take(self, outputs: Iterable[Output]) -> None:
        for output in outputs:
            self.outputs.append(output)
            if isinstance(output, Reply):
                self._send([output.payload])
            elif isinstance(output, Snapshot | Update | Doubt):
                self.replicas[output.symbol].apply(output)

    def _spoiled(self, message: Message) -> list[Message]:
        if self._held is not None:
            held, self._held = self._held, None
            return [message, held]
        if message.kind is Kind.CONTROL or self.random.random() >= self.rate:
            return [message]
        kind = self.random.choice(self._kinds)
        if kind == "swap":
            self._held = message
        return self._in_place_of(message, kind)

    def _in_place_of(self, message: Message, kind: str) -> list[Message]:
        raw = message.raw if isinstance(message.raw, str) else message.raw.decode()
        match kind:
            case "twice":
                return [message, message]
            case "late":
                return [message, self.random.choice([*self._history, message])]
            case "garbage":
                return [Message("{", Kind.BOOK), message]
            case "cut":
                return [message._replace(raw=raw[: self.random.randrange(len(raw))])]
            case "field":
                return [message._replace(raw=field_fault(raw, self.random))]
            case _:
                return []

    def _disturb(self) -> None:
        kind = self.random.choice(("reset", "reconnect", "snapshot", "leave"))
        symbol = self.random.choice(self.symbols)
        if kind == "reset":
            self.model.reset(symbol, self.now)
        elif kind == "reconnect":
            self._take(self.adapter.lost())
            self._held = None
            self._history.clear()  # what an ended connection sent does not come by another one
            self._connect()
        elif kind == "snapshot":
            self._ask(symbol)
        elif kind == "leave":
            self._subscribe_again(symbol)

    def _subscribe_again(self, symbol: str) -> None:
        self.replicas[symbol].live = False
        self._send(self.adapter.unsubscribe([symbol]))
        self._send(self.adapter.subscribe([symbol]))

    def _recover(self) -> None:
        for symbol, replica in self.replicas.items():
            if replica.live:
                self._asked_at.pop(symbol, None)
            elif self.now - self._asked_at.get(symbol, 0) >= 8 * STEP_US:
                self._asked_at[symbol] = self.now
                if not self._ask(symbol) and replica.doubts and not self.by_rest:
                    self._subscribe_again(symbol)

    def _ask(self, symbol: str) -> bool:
        request = self.adapter.snapshot_request(symbol)
        if request is None:
            return False
        parts = urlsplit(request.path)
        answer = self.model.rest(parts.path, dict(parse_qsl(parts.query)), self.now)
        at = self.now + STEP_US * self.random.randrange(6)
        self._answers.append((at, symbol, answer))
        return True

    def _deliver_answers(self) -> None:
        due = [item for item in self._answers if item[0] <= self.now]
        self._answers = [item for item in self._answers if item[0] > self.now]
        for _, symbol, answer in due:
            body = answer.body
            if self.random.random() < self.rate:
                body = self.random.choice((body[: len(body) // 2], field_fault(body, self.random).encode()))
            self._take(self.adapter.take_snapshot(symbol, body, self.now))


def field_faults(raw: str | bytes) -> Iterator[str]:
    """Yield the message with each field absent, and with each of `WRONG` in its place.

    Of a list its first item is taken. Left out is what a venue could have meant: fewer levels, other numbers.
    """
    for path, wrong in _faults(raw):
        yield _changed(raw, path, wrong)


def field_fault(raw: str | bytes, random: Random) -> str:
    """Return one of `field_faults`."""
    return _changed(raw, *random.choice(list(_faults(raw))))


def _faults(raw: str | bytes) -> Iterator[tuple[tuple[Any, ...], Any]]:
    for path, value in _paths(json.loads(raw)):
        in_list = isinstance(path[-1], int)
        if not (in_list and isinstance(value, list | dict)):
            yield path, _ABSENT
        for wrong in WRONG:
            meant = (isinstance(value, list) and wrong == []) or (
                (in_list or path[-1] in PLAIN) and wrong in (1.5, 10**30)
            )
            if not meant:
                yield path, wrong


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if path:
        yield path, value
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value[:1])
    for key, item in items:
        yield from _paths(item, (*path, key))


def _changed(raw: str | bytes, path: tuple[Any, ...], wrong: Any) -> str:
    message = json.loads(raw)
    parent = message
    for key in path[:-1]:
        parent = parent[key]
    if wrong is _ABSENT:
        del parent[path[-1]]
    else:
        parent[path[-1]] = wrong
    return json.dumps(message)


def _units(text: str, size: str) -> int:
    units = Decimal(text) / Decimal(size)
    assert units == int(units)
    return int(units)
