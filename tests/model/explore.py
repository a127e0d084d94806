"""Goes through every order of what the model's processes can do; a counterexample is a shortest one."""

from collections import deque
from collections.abc import Iterator
from typing import Final, NamedTuple

from tests.model.moves import (
    LEADER,
    START,
    STEPS,
    Books,
    Bounds,
    Ingestor,
    Mind,
    Reader,
    Rules,
    Store,
    Write,
    WrongError,
    execute,
    publishing,
    reads,
    recovered,
    sealing,
    seqs_of,
    step,
)

READS_MAX: Final = 50
"""A reader that has not settled after so many steps never does."""

Published = frozenset[tuple[str, tuple[int, int]]]


class State(NamedTuple):
    """All processes. `saved`: the state that a failover goes back to; `lost`: what was published since.

    After the failover, `lost` is what nobody may publish again with other contents.
    """

    store: Store
    ingestors: tuple[Ingestor, ...]
    reader: Reader
    clock: int
    seals: int
    unknown: int
    saved: Store | None = None
    lost: Published = frozenset()
    failovers: int = 0


class Found(NamedTuple):
    """`problem`: what does not hold, and `path`: the actions that lead there; empty if all holds."""

    states: int
    problem: str = ""
    path: tuple[str, ...] = ()


Action = tuple[str, State]


class Explorer:
    """Explores one set of rules within bounds."""

    def __init__(self, rules: Rules, bounds: Bounds) -> None:
        self.rules, self.bounds = rules, bounds
        self._completed: dict[tuple[Store, Reader, int], str] = {}

    def run(self) -> Found:
        """Visit every state that can be reached; ends at the first problem."""
        leader = Ingestor(LEADER, sealed=True)
        start = State(START, _sorted([Ingestor(), leader]), Reader(), clock=1, seals=0, unknown=0)
        came_from: dict[State, Action | None] = {start: None}
        waiting = deque([start])
        while waiting:
            state = waiting.popleft()
            try:
                self._complete(state)
                for action, after in self._actions(state):
                    if after not in came_from:
                        came_from[after] = (action, state)
                        waiting.append(after)
            except WrongError as error:
                return Found(len(came_from), str(error), _path(came_from, state))
        return Found(len(came_from))

    # --- actions -------------------------------------------------------------------------------------------

    def _actions(self, state: State) -> Iterator[Action]:
        after = reads(state.store, state.reader)
        if after is not None:
            yield "the reader reads", state._replace(reader=after)
        for number, ingestor in enumerate(state.ingestors):
            if number and ingestor == state.ingestors[0]:
                continue
            for said, changed in self._of(state, ingestor):
                others = [*state.ingestors[:number], *state.ingestors[number + 1 :]]
                yield said, changed._replace(ingestors=_sorted([*others, *changed.ingestors]))
        if not state.failovers and state.saved is None and self.bounds.failovers:
            yield "(a replica stays behind)", state._replace(saved=state.store)
        if state.saved is not None and state.saved != state.store:
            noticed = state._replace(ingestors=(Ingestor(), Ingestor()), failovers=1)
            yield "a failover", noticed._replace(store=state.saved, saved=None)

    def _of(self, state: State, ingestor: Ingestor) -> Iterator[Action]:
        """What one ingestor can do; the states have only this ingestor."""
        if ingestor.under_way is not None:
            arrived = self._written(state, ingestor.under_way) or state
            yield "a write arrives late", arrived._replace(ingestors=(ingestor._replace(under_way=None),))
        mind = ingestor.mind
        if mind is not None:
            crashed = Ingestor(under_way=ingestor.under_way)
            yield "a leader crashes", state._replace(ingestors=(crashed,))
        if ingestor.unsure is not None:
            assert mind is not None
            yield from self._resolve(state, ingestor, mind, ingestor.unsure)
        elif mind is None:
            if state.seals < self.bounds.seals:
                varied = self.bounds.varied
                next_clock = _after(state)
                for clock in range(next_clock, next_clock + 1 + varied):
                    begun = state._replace(clock=clock, seals=state.seals + 1)
                    for steps in range(STEPS - varied, STEPS + 1):
                        begins = sealing(state.store, clock, self.rules, steps)
                        yield from self._send(begun, ingestor, *begins, sealed=False)
        elif mind.left:
            clock = max(state.clock, mind.epoch) if self.rules.waits else state.clock
            yield from self._send(state._replace(clock=clock), ingestor, *step(mind, self.rules))
        else:
            inputs = range(0 if mind.at[1] == 0 else 1, self.bounds.inputs - mind.src + 1)
            for count in inputs:
                for stores in (False, True):
                    yield from self._send(state, ingestor, *publishing(mind, count, stores=stores))

    def _send(
        self, state: State, ingestor: Ingestor, mind: Mind, write: Write, *, sealed: bool = True
    ) -> Iterator[Action]:
        """A write with each outcome; a leader that is not `sealed` yet gives up when it does not know."""
        (epoch, n), symbols = write.entry.at, "".join(each.symbol for each in write.entry.deltas)
        said = f"writes {epoch}-{n} {symbols}"
        done = self._written(state, write)
        if done is None:
            yield f"{said}: fenced", state._replace(ingestors=(ingestor._replace(mind=None),))
        else:
            yield said, done._replace(ingestors=(ingestor._replace(mind=mind, sealed=True),))
        if state.unknown < self.bounds.unknown:
            unsure = Ingestor(mind, True, write, ingestor.under_way) if sealed else ingestor
            lost = (done or state)._replace(unknown=state.unknown + 1)
            yield f"{said}, no reply", lost._replace(ingestors=(unsure,))
            if ingestor.under_way is None:
                late = state._replace(unknown=state.unknown + 1)
                yield f"{said}, under way", late._replace(ingestors=(unsure._replace(under_way=write),))

    def _resolve(self, state: State, ingestor: Ingestor, mind: Mind, write: Write) -> Iterator[Action]:
        """Send again what has an unknown outcome; refused, look whether it is there."""
        known = ingestor._replace(unsure=None)
        done = self._written(state, write)
        if done is not None:
            yield "sends it again", done._replace(ingestors=(known,))
        elif write.entry in state.store.entries:
            yield "finds it written", state._replace(ingestors=(known,))
        else:
            yield "finds itself fenced", state._replace(ingestors=(known._replace(mind=None),))
        assert mind.at == write.entry.at

    def _written(self, state: State, write: Write) -> State | None:
        """The state after a write, None if it is refused; raises if a seq has two contents."""
        store = execute(state.store, write, self.rules)
        if store is None:
            return None
        lost = state.lost
        for symbol, (seq, held) in seqs_of(write.entry):
            for other_symbol, (other_seq, other) in lost:
                if (symbol, seq) == (other_symbol, other_seq) and held != other:
                    raise WrongError(f"{symbol} has seq {seq} for {other}, which was lost, and for {held}")
        if state.saved is not None:
            lost |= set(seqs_of(write.entry))
        return state._replace(store=store, lost=lost)

    # --- completion ----------------------------------------------------------------------------------------

    def _complete(self, state: State) -> None:
        """From here a fresh leader, undisturbed, comes to the right books, and so does the reader."""
        place = (state.store, state.reader, state.clock)
        if place not in self._completed:
            self._completed[place] = ""
            self._lead(state)

    def _lead(self, state: State) -> None:
        mind, write = sealing(state.store, _after(state), self.rules)
        store, reader = self._goes_on(state.store, state.reader, write)
        while mind.left:
            mind, write = step(mind, self.rules)
            store, reader = self._goes_on(store, reader, write)
        for inputs, stores in ((self.bounds.inputs - mind.src, False), (0, True)):
            mind, write = publishing(mind, inputs, stores=stores)
            store, reader = self._goes_on(store, reader, write)
        src, books = recovered(store, self.rules)
        if (src, books) != (self.bounds.inputs, mind.books):
            raise WrongError(f"at last {books} are published of input up to {src}, not {mind.books}")
        if reader.at != store.last or reader.shown != books:
            raise WrongError(f"at last the reader at {reader.at} shows {_said(reader.shown)}, not {books}")

    def _goes_on(self, store: Store, reader: Reader, write: Write) -> tuple[Store, Reader]:
        after = execute(store, write, self.rules)
        assert after is not None, "nobody disturbs it"
        for _ in range(READS_MAX):
            more = reads(after, reader)
            if more is None:
                return after, reader
            reader = more
        raise WrongError("a reader begins again and again")


def _sorted(ingestors: list[Ingestor]) -> tuple[Ingestor, ...]:
    """In an order of their own: it makes no difference which of them does something."""
    return tuple(sorted(ingestors, key=repr))


def _after(state: State) -> int:
    """The next epoch: a leader waits until its clock is past the last one."""
    return max(state.clock, state.store.last[0]) + 1


def _said(books: Books | None) -> str:
    return "nothing" if books is None else str(books)


def _path(came_from: dict[State, Action | None], state: State) -> tuple[str, ...]:
    path = []
    while (before := came_from[state]) is not None:
        path.append(before[0])
        state = before[1]
    return tuple(reversed(path))
