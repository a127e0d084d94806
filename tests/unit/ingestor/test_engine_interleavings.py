"""Engine calls are linearizable in every interleaving of threads, up to two preemptions.

A line of the modules that change shared state (`ALL`), or of those that hold the lock and use copies
(`OUTER`), is a point where another thread may continue. The results of all calls and the final state must
equal those of a sequential order of whole calls in which a call that returned comes before one that was made
later.
"""

import itertools
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import pytest

import depthcast.broadcaster.merger
import depthcast.ingestor.book_state
import depthcast.ingestor.doubts
import depthcast.ingestor.engine
import depthcast.ingestor.levels
import depthcast.ingestor.listed_books
import depthcast.ingestor.orders
import depthcast.shared.book
from depthcast.ingestor.engine import Engine
from depthcast.shared.compiled import is_compiled
from depthcast.shared.instruments import Feed, Instrument, OnCross
from depthcast.shared.types import Symbol
from tests.interleave import Schedule, explore

# `tests/unit/test_pure.py` runs them as Python then.
pytestmark = pytest.mark.skipif(
    is_compiled(depthcast.shared.book), reason="a compiled module has no lines to step in between"
)

ENGINE = {str(depthcast.ingestor.engine.__file__)}
OUTER = {
    str(module.__file__)
    for module in (
        depthcast.ingestor.engine,
        depthcast.ingestor.listed_books,
        depthcast.ingestor.doubts,
        depthcast.broadcaster.merger,
    )
}
ALL = OUTER | {
    str(module.__file__)
    for module in (
        depthcast.ingestor.book_state,
        depthcast.ingestor.levels,
        depthcast.ingestor.orders,
        depthcast.shared.book,
    )
}
Call = Callable[[Engine], Any]
Lock = AbstractContextManager[object]
Order = tuple[tuple[int, int], ...]
LEVELS, ORDERS = Instrument(Symbol("L")), Instrument(Symbol("O"), feed=Feed.ORDERS, on_cross=OnCross.EVICT)


PENDING = (b"L", b"[[0,0,9,1]]")


def new_engine(lock: Lock) -> Engine:
    engine = Engine(0, 1, lock=lock)
    engine.register(LEVELS)
    engine.register(ORDERS)
    engine.begin_epoch(1_767_225_600_001)
    engine.apply("1-0", [(b"L", b"[[0,0,10,5],[0,1,12,5]]"), (b"O", b"[[0,0,10,5,1],[0,1,12,5,2]]")])
    engine.drain()
    engine.apply("1-1", (PENDING,))
    return engine


def apply(source: str, *fields: tuple[bytes, bytes]) -> Call:
    return lambda engine: engine.apply(source, fields)


def drain(engine: Engine) -> Any:
    return engine.drain(["O"])


def snapshot(symbol: str) -> Call:
    return lambda engine: engine.snapshot(symbol)


ADD = apply("2-0", (b"L", b"[[0,0,10,1]]"))
ADD_TOO = apply("3-0", (b"L", b"[[0,0,10,2]]"))
NEW_LEVEL = apply("2-1", (b"L", b"[[0,0,11,4],[2,0,10]]"))
UNIT = apply("4-0", (b"L", b"[[1,0,13,1],[4,1]]"), (b"_", b'{"atomic":true}'))
BAD_UNIT = apply("5-0", (b"L", b"[[1,0,11,1],[]]"), (b"_", b'{"atomic":true}'))
ORDER = apply("6-0", (b"O", b"[[3,0,0,2,1],[0,1,11,1,7]]"))
EVICTING = apply("7-0", (b"O", b"[[0,0,12,1,8]]"))

PAIRS: dict[str, list[list[Call]]] = {
    "two adds to one level": [[ADD], [ADD_TOO]],
    "add and drain": [[ADD], [drain]],
    "drain and snapshot": [[drain], [snapshot("L")]],
    "orders and their copies": [[EVICTING], [drain]],
}
UNITS: dict[str, list[list[Call]]] = {
    "atomic array and snapshot": [[UNIT], [snapshot("L")]],
    "atomic array refused": [[BAD_UNIT], [drain]],
    "atomic array refused, and snapshot": [[BAD_UNIT], [snapshot("L")]],
}
THREES: dict[str, list[list[Call]]] = {
    "add, drain, snapshot": [[ADD], [drain], [snapshot("L")]],
    "two orders feeders and drain": [[ORDER], [EVICTING], [drain]],
}


class History:
    """What each call returned, and what happened before what."""

    def __init__(self, engine: Engine, threads: Sequence[Sequence[Call]]) -> None:
        self.engine = engine
        self.threads = threads
        self.results: dict[tuple[int, int], Any] = {}
        self.moments: list[tuple[str, tuple[int, int]]] = []

    def body(self, thread: int) -> None:
        for place, call in enumerate(self.threads[thread]):
            name = (thread, place)
            self.moments.append(("called", name))
            try:
                self.results[name] = call(self.engine)
            except Exception as error:  # noqa: BLE001  # compared: no sequential order raises
                self.results[name] = repr(error)
            self.moments.append(("returned", name))

    def outcome(self) -> Any:
        final = self.engine.drain(["O"]), self.engine.snapshot("L"), self.engine.snapshot("O")
        return self.results, final

    def allows(self, order: Order) -> bool:
        """Whether `order` keeps every pair of calls that did not overlap."""
        place = {name: number for number, name in enumerate(order)}
        returned: list[tuple[int, int]] = []
        for what, name in self.moments:
            if what == "returned":
                returned.append(name)
            elif any(place[before] > place[name] for before in returned):
                return False
        return True


def sequential(threads: Sequence[Sequence[Call]]) -> Iterator[tuple[Order, Any]]:
    """Each order of whole calls that keeps each thread's own, with its outcome."""
    names = [(thread, place) for thread, calls in enumerate(threads) for place in range(len(calls))]
    for order in itertools.permutations(names):
        if all(
            list(order).index(a) < list(order).index(b) for a, b in itertools.pairwise(names) if a[0] == b[0]
        ):
            history = History(new_engine(nullcontext()), threads)
            for thread, place in order:
                history.results[thread, place] = threads[thread][place](history.engine)
            yield order, history.outcome()


def violations(
    threads: Sequence[Sequence[Call]],
    lock_of: Callable[[Schedule], Lock],
    files: Collection[str],
    *,
    bound: int = 2,
    opcodes: bool = False,
    part: int = 0,
    parts: int = 1,
) -> Iterator[bool]:
    """For each schedule of a part, as `explore` takes it, whether it was a violation."""
    allowed = list(sequential(threads))
    histories: list[History] = []

    def prepare(schedule: Schedule) -> list[Callable[[], None]]:
        history = History(new_engine(lock_of(schedule)), threads)
        histories.append(history)
        return [partial(history.body, number) for number in range(len(threads))]

    for schedule in explore(prepare, files, bound=bound, opcodes=opcodes, part=part, parts=parts):
        history = histories.pop()
        try:
            outcome = history.outcome()
        except Exception as error:  # noqa: BLE001  # a broken final state is a violation too
            outcome = repr(error)
        right = any(outcome == expected and history.allows(order) for order, expected in allowed)
        yield schedule.deadlocked or not right


@pytest.mark.parametrize(
    ("name", "bound"),
    [
        *((name, 1) for name in PAIRS),
        *(pytest.param(name, 2, marks=pytest.mark.deep) for name in PAIRS),
    ],
)
def test_two_calls_look_like_one_after_the_other(name: str, bound: int) -> None:
    found = list(violations(PAIRS[name], Schedule.lock, ALL, bound=bound))
    assert not any(found)
    assert len(found) > (100 if bound > 1 else 20)


@pytest.mark.parametrize("name", UNITS)
def test_nobody_sees_part_of_an_atomic_array(name: str) -> None:
    found = list(violations(UNITS[name], Schedule.lock, ALL, bound=1))
    assert not any(found)
    assert len(found) > 100


@pytest.mark.parametrize(
    ("files", "least"),
    [(ENGINE, 100), pytest.param(ALL, 1000, marks=pytest.mark.deep)],
    ids=["engine", "all"],
)
def test_three_calls_look_like_some_order_of_them(files: Collection[str], least: int) -> None:
    found = list(violations(THREES["add, drain, snapshot"], Schedule.lock, files, bound=1))
    assert not any(found)
    assert len(found) > least


class Further(NamedTuple):
    """What takes longer than a case of the tests above, in so many parts that each takes about as long."""

    threads: list[list[Call]]
    files: Collection[str]
    bound: int
    parts: int = 1


FURTHER: dict[str, Further] = {
    **{name: Further(threads, ALL, 2) for name, threads in UNITS.items()},
    "add, then drain and snapshot": Further([[ADD], [drain, snapshot("L")]], OUTER, 2),
    "two orders feeders and drain": Further(THREES["two orders feeders and drain"], ALL, 1),
    "add, drain, snapshot": Further(THREES["add, drain, snapshot"], ENGINE, 2, parts=8),
}


FURTHER_PARTS = [(name, part) for name, each in FURTHER.items() for part in range(each.parts)]


@pytest.mark.deep
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("name", "part"), FURTHER_PARTS)
def test_more_of_the_same(name: str, part: int) -> None:
    threads, files, bound, parts = FURTHER[name]
    found = list(violations(threads, Schedule.lock, files, bound=bound, part=part, parts=parts))
    assert not any(found)
    assert len(found) > 1000


@pytest.mark.skipif(
    sys.version_info[:2] == (3, 12), reason="CPython 3.12 crashes when threads are traced by opcode"
)
@pytest.mark.parametrize(
    ("files", "least"), [(OUTER, 100), pytest.param(ALL, 300, marks=pytest.mark.deep)], ids=["outer", "all"]
)
def test_also_between_single_opcodes(files: Collection[str], least: int) -> None:
    found = list(violations(PAIRS["two adds to one level"], Schedule.lock, files, bound=1, opcodes=True))
    assert not any(found)
    assert len(found) > least


@pytest.mark.parametrize("threads", [*PAIRS.values(), *UNITS.values(), *THREES.values()])
def test_without_a_lock_a_violation_is_found(threads: list[list[Call]]) -> None:
    assert any(violations(threads, lambda _: nullcontext(), ALL))
