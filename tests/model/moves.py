"""A model of leaders that move their books in steps, and of a reader: every order of their actions.

Two books are moved, one in a step: `X`, which has all input, and `Y`, which has none. `W` was withdrawn by
the leadership before, and must not come back. What a book holds is the number of the last input it includes.

Two ingestors may take over at any time, because the lease only decides that somebody leads, and crash at
any time. A write is executed, or its reply is lost, or it is under way until some later time or for ever.
Once, all keys return to an earlier state, as by a failover to a replica that lagged behind. A reader joins at
any time and reads with any delay. The rules are those of `docs/protocol.md`, 2.2 and 2.4, written down once
more.

`Rules` has those that this is about; each other choice than the default is a mistake that `explore` finds.
"""

from collections.abc import Iterator
from enum import StrEnum
from functools import cache
from typing import Final, NamedTuple

SEQS: Final = 100
"""Numbers of an epoch."""

STEPS: Final = 2
X, Y, W = "X", "Y", "W"

Position = tuple[int, int]
"""Epoch and n."""

Book = tuple[int, int]
"""Seq, and the last input it includes."""

Books = tuple[Book, Book]
"""Of X and Y."""


class Complete(StrEnum):
    """What says that a leadership has moved all its symbols."""

    N_ABOVE_0 = "an entry with n > 0"
    ANY_MOVE = "any entry that moves a book"
    ANY_ENTRY = "any entry of its epoch"


class Numbers(StrEnum):
    """The epoch whose numbers the moves of a leadership have."""

    LAST = "that of the last step"
    OWN = "that of each step"
    SEAL = "that of the seal"


class Rules(NamedTuple):
    """Rules of the moves.

    `waits`: for the clock to be in the last step's epoch. `compares`: the end of the stream with what was
    written last. `in_one_epoch`: steps are the entries n = 1, 2, … of the seal's epoch.
    """

    complete: Complete = Complete.N_ABOVE_0
    numbers: Numbers = Numbers.LAST
    waits: bool = True
    compares: bool = True
    in_one_epoch: bool = False


class Bounds(NamedTuple):
    """How much happens: input entries, further leaderships, writes whose reply is lost, failovers.

    `varied`: leaders may also begin a while later, and move all books at once.
    """

    inputs: int = 1
    seals: int = 2
    unknown: int = 1
    failovers: int = 1
    varied: bool = False


class Move(NamedTuple):
    """A delta of a book: `prev_seq`, and the book after it."""

    symbol: str
    prev_seq: int
    book: Book


class Entry(NamedTuple):
    """An entry of `deltas`; `src`: the last input consumed."""

    at: Position
    prev: Position | None
    src: int
    deltas: tuple[Move, ...] = ()


class Snapshots(NamedTuple):
    """The newest snapshots: position and book."""

    x: tuple[Position, Book]
    y: tuple[Position, Book]
    w: tuple[Position, Book]


class Store(NamedTuple):
    """What Redis holds of a partition."""

    entries: tuple[Entry, ...]
    snapshots: Snapshots

    @property
    def last(self) -> Position:
        return self.entries[-1].at


class Write(NamedTuple):
    """A publish: refused unless the stream ends at `previous`. `stores`: snapshots of X and Y, and trims."""

    previous: Position
    entry: Entry
    stores: Books | None = None


class Mind(NamedTuple):
    """What a leader knows: its last position, the last input consumed, its books, and how far it is.

    `left`: the steps to come; `epoch`: that of its numbers.
    """

    at: Position
    src: int
    books: Books
    left: int
    epoch: int


class Ingestor(NamedTuple):
    """`mind` None: it stands by. `sealed`: whether its seal was written. `unsure`: a write without a reply.

    `under_way`: a write that may still be executed, also after its ingestor has crashed.
    """

    mind: Mind | None = None
    sealed: bool = False
    unsure: Write | None = None
    under_way: Write | None = None


class Reader(NamedTuple):
    """A reader: `snapshot` of X while that of Y is still to be read; `at`: its position once it follows."""

    snapshot: tuple[Position, Book] | None = None
    at: Position | None = None
    books: Books = ((0, 0), (0, 0))
    shown: Books | None = None


class WrongError(Exception):
    """A property does not hold."""


_BEGIN: Final = Entry((1, 1), (1, 0), 0, (Move(X, 1, (SEQS, 0)), Move(Y, 1, (SEQS, 0))))
START: Final = Store((_BEGIN,), Snapshots(((1, 1), (SEQS, 0)), ((1, 1), (SEQS, 0)), ((0, 5), (5, 0))))
"""A leadership in epoch 1 has moved X and Y and stored them; W had its last snapshot in epoch 0."""

LEADER: Final = Mind((1, 1), 0, ((SEQS, 0), (SEQS, 0)), 0, 1)
"""The leader of epoch 1."""


def execute(store: Store, write: Write, rules: Rules) -> Store | None:
    """The store after a write; None if it is refused."""
    if write.entry.at <= store.last or (rules.compares and store.last != write.previous):
        return None
    entries, snapshots = (*store.entries, write.entry), store.snapshots
    if write.stores is not None:
        x, y = write.stores
        snapshots = Snapshots((write.entry.at, x), (write.entry.at, y), snapshots.w)
        entries = entries[-1:]
    return Store(entries, snapshots)


def continues(entry: Entry, at: Position) -> bool:
    """Whether an entry directly follows a position."""
    if entry.at[1] == 0:
        return entry.prev == at
    return entry.at == (at[0], at[1] + 1)


@cache
def recovered(store: Store, rules: Rules) -> tuple[int, Books]:
    """What a leader that begins finds: the last input consumed, and the books; it must be all there is."""
    snapshots = dict(zip((X, Y, W), store.snapshots, strict=True))
    books = {symbol: book for symbol, (_, book) in snapshots.items()}
    at = min(store.snapshots.x[0], store.snapshots.y[0])
    newest = max(position[0] for position, _ in snapshots.values())
    src = -1
    for entry in store.entries:
        src = entry.src
        if entry.at > at:
            if not continues(entry, at):
                raise WrongError(f"a hole between {at} and {entry.at}")
            at = entry.at
        for symbol, prev_seq, book in entry.deltas:
            if entry.at > snapshots[symbol][0]:
                if books[symbol][0] != prev_seq:
                    raise WrongError(f"{symbol} is at {books[symbol]}, but {entry} continues {prev_seq}")
                books[symbol] = book
        if (
            entry.at[1] > 0
            or (rules.complete is Complete.ANY_MOVE and entry.deltas)
            or rules.complete is Complete.ANY_ENTRY
        ):
            newest = max(newest, entry.at[0])
    registered = {symbol for symbol, (seq, _) in books.items() if seq >= newest * SEQS}
    if registered != {X, Y}:
        raise WrongError(f"{sorted(registered)} continue in epoch {newest}, all others begin empty: {books}")
    if books[X][1] != src or books[Y][1]:
        raise WrongError(f"input up to {src} was consumed, but the books are {books}")
    return src, (books[X], books[Y])


def sealing(store: Store, clock: int, rules: Rules, steps: int = STEPS) -> tuple[Mind, Write]:
    """The mind of a leader at a new epoch, and its seal; with 1 step, all books are moved at once."""
    src, books = recovered(store, rules)
    at = (clock, 0)
    in_epochs = steps == STEPS and rules.numbers is not Numbers.SEAL and not rules.in_one_epoch
    epoch = clock + STEPS if in_epochs else clock
    return Mind(at, src, books, steps, epoch), Write(store.last, Entry(at, store.last, src))


def moves_at_once(mind: Mind) -> tuple[Mind, Write]:
    """Move all books in the entry after the seal."""
    moved = tuple((max(seq + 1, mind.epoch * SEQS), held) for seq, held in mind.books)
    deltas = tuple(
        Move(symbol, book[0], after) for symbol, book, after in zip((X, Y), mind.books, moved, strict=True)
    )
    at = (mind.at[0], 1)
    after = mind._replace(at=at, books=(moved[0], moved[1]), left=0)
    return after, Write(mind.at, Entry(at, None, mind.src, deltas))


def step(mind: Mind, rules: Rules) -> tuple[Mind, Write]:
    """The next step of the moves."""
    if mind.left == 1 and mind.at == (mind.epoch, 0):
        return moves_at_once(mind)
    place = STEPS - mind.left
    at = (mind.at[0], mind.at[1] + 1) if rules.in_one_epoch else (mind.at[0] + 1, 0)
    epoch = at[0] if rules.numbers is Numbers.OWN else mind.epoch
    seq, held = mind.books[place]
    moved = (max(seq + 1, epoch * SEQS), held)
    entry = Entry(at, None if at[1] else mind.at, mind.src, (Move((X, Y)[place], seq, moved),))
    after = mind._replace(at=at, books=replaced(mind.books, place, moved), left=mind.left - 1)
    return after, Write(mind.at, entry)


def publishing(mind: Mind, inputs: int, *, stores: bool) -> tuple[Mind, Write]:
    """The next entry, which consumes so many further inputs; `stores`: with snapshots."""
    at, src, (x, y) = (mind.at[0], mind.at[1] + 1), mind.src + inputs, mind.books
    deltas: tuple[Move, ...] = ()
    if inputs:
        deltas = (Move(X, x[0], (x[0] + 1, src)),)
        x = deltas[0].book
    after = mind._replace(at=at, src=src, books=(x, y))
    return after, Write(mind.at, Entry(at, None, src, deltas), (x, y) if stores else None)


def replaced(books: Books, place: int, book: Book) -> Books:
    """The books with another one at a place."""
    return (book, books[1]) if place == 0 else (books[0], book)


def reads(store: Store, reader: Reader) -> Reader | None:
    """The reader after its next step; None if there is nothing to do."""
    if reader.at is None:
        if reader.snapshot is None:
            return reader._replace(snapshot=store.snapshots.x)
        (at_x, x), (at_y, y) = reader.snapshot, store.snapshots.y
        return showing(Reader(None, min(at_x, at_y), (x, y), reader.shown))
    entry = next((entry for entry in store.entries if entry.at > reader.at), None)
    again = Reader(shown=reader.shown)
    if entry is None:
        return again if store.last < reader.at else None
    if not continues(entry, reader.at):
        return again
    books = reader.books
    for symbol, prev_seq, book in entry.deltas:
        place = (X, Y).index(symbol)
        if books[place][0] == prev_seq:
            books = replaced(books, place, book)
        elif book[0] > books[place][0]:
            return again
    return showing(reader._replace(at=entry.at, books=books))


def showing(reader: Reader) -> Reader:
    """The reader after it has shown what it holds, unless that is older than what it has shown."""
    shown, books = reader.shown, reader.books
    if shown is None:
        return reader._replace(shown=books)
    for place in (0, 1):
        if books[place][0] > shown[place][0]:
            shown = replaced(shown, place, books[place])
        elif books[place][0] == shown[place][0] and books[place] != shown[place]:
            raise WrongError(f"a reader shows {shown[place]} and {books[place]} under one seq")
    return reader._replace(shown=shown)


def seqs_of(entry: Entry) -> Iterator[tuple[str, Book]]:
    """The states that an entry publishes."""
    return ((symbol, book) for symbol, _, book in entry.deltas)
