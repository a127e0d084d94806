"""A conversation of an adapter with the model of its venue, without sockets, seeded, and spoiled on the way.

After each message every book that the adapter calls right must be a state that the venue's book had, and
never an older one than before. Without any more faults all books must come to be right again. Pure.
"""

from collections import deque
from collections.abc import Collection, Iterable
from decimal import Decimal
from random import Random
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from depthcast.feed.venue import Adapter, Doubt, Output, Reply, Snapshot, Update, Venue
from tests.venues.field_faults import field_fault
from tests.venues.market import ModelBook
from tests.venues.model import Kind, Message, ModelVenue, RestAnswer
from tests.venues.mutations import BETWEEN, Mutation, spoilt

STEP_US: Final = 100_000
START_US: Final = 1_780_000_000_000_000


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
                side[_units(price, self.book.price_unit)] = _units(quantity, self.book.quantity_unit)
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

    `mutations`: what happens on the way; `rate`: how often to a message, of 1, and a tenth as often between
    two steps. `control`: also to answers and heartbeats. `taken`: snapshots and updates so far.
    """

    def __init__(
        self,
        venue: Venue,
        model: ModelVenue,
        random: Random,
        mutations: Collection[Mutation] = (),
        *,
        rate: float = 0.0,
        control: bool = False,
    ) -> None:
        self.model = model
        self.random = random
        self.rate = rate
        self.taken = 0
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
        self._kinds = sorted(set(mutations) - BETWEEN)
        self._between = sorted(BETWEEN.intersection(mutations))
        self._control = control
        self._connect()

    def run(self, steps: int) -> None:
        """Let the venue speak for so many intervals."""
        for _ in range(steps):
            self.now += STEP_US
            self.model.market.step(self.random.randrange(4))
            if self._between and self.random.random() < self.rate / 10:
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

    @property
    def doubts(self) -> list[Doubt]:
        """Every doubt so far."""
        return [doubt for replica in self.replicas.values() for doubt in replica.doubts]

    def _receive(self, messages: list[Message]) -> None:
        for message in messages:
            for spoiled in self._spoiled(message):
                raw = spoiled.raw
                if isinstance(raw, str) and self.random.random() < 0.2:
                    raw = raw.encode()
                self._take(self.adapter.take(raw, self.now))
            if message.kind is not Kind.CONTROL:
                self._history.append(message)

    def _take(self, outputs: Iterable[Output]) -> None:
        for output in outputs:
            self.outputs.append(output)
            if isinstance(output, Reply):
                self._send([output.payload])
            elif isinstance(output, Snapshot | Update | Doubt):
                self.taken += not isinstance(output, Doubt)
                self.replicas[output.symbol].apply(output)

    def _spoiled(self, message: Message) -> list[Message]:
        if self._held is not None:
            held, self._held = self._held, None
            return [message, held]
        plain = message.kind is Kind.CONTROL and not self._control
        if plain or not self._kinds or self.random.random() >= self.rate:
            return [message]
        mutation = self.random.choice(self._kinds)
        if mutation is Mutation.SWAP:
            self._held = message
        return self._in_place_of(message, mutation)

    def _in_place_of(self, message: Message, mutation: Mutation) -> list[Message]:
        match mutation:
            case Mutation.DROP | Mutation.SWAP:
                return []
            case Mutation.DUPLICATE:
                return [message, message]
            case Mutation.LATE:
                return [message, self.random.choice([*self._history, message])]
            case Mutation.GARBAGE:
                return [Message("{", Kind.BOOK), message]
            case _:
                return [spoilt(mutation, message, self.model, self.random)]

    def _disturb(self) -> None:
        symbol = self.random.choice(self.symbols)
        match self.random.choice(self._between):
            case Mutation.RESET:
                self.model.reset(symbol, self.now)
            case Mutation.RECONNECT:
                self._take(self.adapter.lost())
                self._held = None
                self._history.clear()  # what an ended connection sent does not come by another one
                self._connect()
            case Mutation.ASK:
                self._ask(symbol)
            case _:
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
                if not self._ask(symbol) and not self.by_rest:
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


def _units(text: str, size: str) -> int:
    units = Decimal(text) / Decimal(size)
    assert units == int(units)
    return int(units)
