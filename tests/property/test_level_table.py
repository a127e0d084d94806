"""The tables of a compiled book against dicts, by random operations."""

import copy
import os
import pickle
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import depthcast.broadcaster.pending
import depthcast.shared.level_table
from depthcast.broadcaster.merger import Merger
from depthcast.broadcaster.pending import BYTES_A_PAIR, KEPT_BYTES_MAX, PendingTable, new_pending
from depthcast.shared.book import Book, BookSide
from depthcast.shared.compiled import is_compiled
from depthcast.shared.level_table import LevelTable, NumberMap, new_levels
from depthcast.shared.types import MAX_INTEGER, Side

COMPILED = is_compiled(depthcast.shared.level_table)
pytestmark = pytest.mark.skipif(not COMPILED, reason="without a compiler levels are a dict")

KINDS: list[type[NumberMap]] = [LevelTable, PendingTable]

# Few enough that they meet, near each other as in a book and far apart.
PRICES = st.one_of(
    st.integers(-40, 40),
    st.integers(10_000_000, 10_000_200),
    st.sampled_from([-MAX_INTEGER, MAX_INTEGER, 0, 1 << 32, -(1 << 32), (1 << 63) - 1, -(1 << 63) + 1]),
)
QUANTITIES = st.one_of(st.integers(0, 9), st.just(MAX_INTEGER))


class Compared(RuleBasedStateMachine):
    """A table and a dict, to which the same is done."""

    made: Any
    model: dict[int, int]

    @initialize(kind=st.sampled_from(KINDS))
    def begin(self, kind: type[NumberMap]) -> None:
        self.made, self.model = kind(), {}

    @rule(price=PRICES, quantity=QUANTITIES)
    def set_one(self, price: int, quantity: int) -> None:
        self.made[price] = self.model[price] = quantity

    @rule(
        first=st.integers(-500, 500), count=st.integers(1, 600), step=st.sampled_from([1, -3, 1024, 1 << 40])
    )
    def set_many(self, first: int, count: int, step: int) -> None:
        pairs = [(first + number * step, number) for number in range(count)]
        self.made.update(pairs)
        self.model.update(pairs)

    @rule(price=PRICES, quantity=QUANTITIES)
    def set_unless_there(self, price: int, quantity: int) -> None:
        assert self.made.setdefault(price, quantity) == self.model.setdefault(price, quantity)

    @rule(price=PRICES)
    def pop_any(self, price: int) -> None:
        assert self.made.pop(price, None) == self.model.pop(price, None)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def delete_one(self, data: st.DataObject) -> None:
        price = data.draw(st.sampled_from(list(self.model)))
        del self.made[price], self.model[price]

    @rule(keep=st.integers(0, 9))
    def delete_most(self, keep: int) -> None:
        for price in list(self.model)[keep:]:
            del self.made[price], self.model[price]

    @rule()
    def clear(self) -> None:
        self.made.clear()
        self.model.clear()

    @rule(price=PRICES)
    def miss(self, price: int) -> None:
        if price not in self.model:
            with pytest.raises(KeyError):
                self.made[price]
            with pytest.raises(KeyError):
                del self.made[price]
            with pytest.raises(KeyError):
                self.made.pop(price)

    @rule()
    def copy(self) -> None:
        for other in (self.made.copy(), copy.copy(self.made), pickle.loads(pickle.dumps(self.made))):  # noqa: S301  # our own
            assert other == self.model
            other[77] = -(77 not in self.model) + 5
            assert self.made == self.model

    @invariant()
    def same(self) -> None:
        made, model = self.made, self.model
        assert len(made) == len(model)
        assert bool(made) is bool(model)
        assert made == model == made
        assert dict(made) == dict(made.items()) == {**made} == model
        assert sorted(made) == sorted(model)
        assert sorted(made.values()) == sorted(model.values())
        assert made.keys() == model.keys()
        assert all(made[price] == made.get(price) == model[price] and price in made for price in model)
        assert {type(number) for pair in made.items() for number in pair} <= {int}
        if isinstance(made, PendingTable):
            assert list(made.items()) == list(model.items()), "in the order in which they came"


TestCompared = Compared.TestCase
TestCompared.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@settings(max_examples=40, deadline=None)
@given(prices=st.lists(st.integers(-MAX_INTEGER, MAX_INTEGER), min_size=1, max_size=3_000), data=st.data())
def test_every_price_is_found_after_others_were_removed(prices: list[int], data: st.DataObject) -> None:
    made = LevelTable()
    made.update((price, 1) for price in prices)
    gone = set(data.draw(st.lists(st.sampled_from(prices))))
    for price in gone:
        del made[price]
    assert set(made) == set(prices) - gone
    assert all((price in made) is (price not in gone) for price in prices)


@pytest.mark.parametrize("kind", KINDS)
def test_keys_are_compared_as_in_a_dict(kind: type[NumberMap]) -> None:
    made: Any = kind()
    made[1], made[0] = 5, 6
    assert (made[1.0], made[True], made.get(False), 1 + 0j in made) == (5, 5, 6, False)
    for other in (1.5, "1", None, 1 << 63, -(1 << 63), 1 << 200, float("inf"), float("nan"), (1,)):
        assert other not in made
        assert made.get(other, 7) == 7
    with pytest.raises(TypeError, match="unhashable"):
        made.get([])
    with pytest.raises(TypeError, match="unhashable"):
        hash(made)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("price", "quantity", "error"),
    [
        (1.5, 1, TypeError),
        ("price", 1, TypeError),
        (1, "quantity", TypeError),
        (1, None, TypeError),
        (1 << 63, 1, OverflowError),
        (-(1 << 63), 1, OverflowError),
        (1, 1 << 63, OverflowError),
    ],
)
def test_what_is_no_number_is_refused(
    kind: type[NumberMap], price: Any, quantity: Any, error: type[Exception]
) -> None:
    made = kind()
    with pytest.raises(error):
        made[price] = quantity
    assert made == {}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", ["add", "remove", "clear"])
def test_a_change_ends_an_iteration(kind: type[NumberMap], change: str) -> None:
    made = kind()
    made.update((price, 1) for price in range(20))
    for each in (iter(made), iter(made.items()), iter(made.values())):
        next(each)
        if change == "add":
            made[len(made) + 1_000] = 1
        elif change == "remove":
            del made[next(iter(list(made)))]
        else:
            made.clear()
        with pytest.raises(RuntimeError, match="during iteration"):
            next(each)
        made.update((price, 1) for price in range(20))


def test_a_quantity_may_change_during_an_iteration() -> None:
    made = LevelTable()
    made.update((price, 1) for price in range(100))
    for price in made:
        made[price] = 2
    assert made == dict.fromkeys(range(100), 2)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_united_with_mappings(kind: type[NumberMap]) -> None:
    made = kind()
    made.update({1: 2, 3: 4})
    assert made | {3: 5} == {1: 2, 3: 5}
    assert {3: 5} | made == {1: 2, 3: 4}
    assert repr(made) in ("{1: 2, 3: 4}", "{3: 4, 1: 2}")
    assert made.items() & {(1, 2), (9, 9)} == {(1, 2)}
    found = {made.popitem(), made.popitem()}
    assert found == {(1, 2), (3, 4)}
    with pytest.raises(KeyError):
        made.popitem()


def test_refused_changes_leave_no_trace_however_many_there_are() -> None:
    made: Any = PendingTable()
    made[1], size = 1, 0
    for number in range(10_000):
        made[2], made[3] = 2, 3
        del made[2], made[3]
        made[1 - 2 * (number % 2)], made[50] = 7, 7
        made.pop(1 - 2 * ((number + 1) % 2), None)
        size = max(size, made.room())
    assert (sorted(made), size) == ([-1, 50], 8)


def _interval(made: Any, first: int, count: int) -> None:
    """Fill the table with that many, compare it with a dict, and clear it."""
    made.update((7 * number, number) for number in range(first, first + count))
    del made[7 * first]
    expected = {7 * number: number for number in range(first + 1, first + count)}
    assert list(made.items()) == list(expected.items())
    assert all(made[price] == quantity for price, quantity in expected.items())
    assert not any(price + 1 in made for price in expected)
    made.clear()
    assert not made
    assert not list(made)
    assert not any(price in made for price in expected)


def test_all_tables_of_a_process_keep_a_bounded_memory() -> None:
    tables: list[Any] = [PendingTable() for _ in range(12)]

    def with_memory() -> int:
        for table in tables:
            for _ in range(2):
                _interval(table, 0, 100_000)
        return sum(table.room() > 0 for table in tables)

    kept = with_memory()
    assert kept * 131_072 * BYTES_A_PAIR <= KEPT_BYTES_MAX
    assert 0 < kept < len(tables)
    assert with_memory() == kept, "those that keep it go on"
    del tables[:6]
    assert with_memory() == min(kept, len(tables)), "what is gone keeps nothing"
    for table in tables:
        _interval(table, 0, 1)
    assert not any(table.room() for table in tables)


def test_memory_for_pending_changes_stays_if_it_is_needed_in_each_interval() -> None:
    made: Any = PendingTable()
    rooms = []
    for number, count in enumerate([5_000, 6_000, 3_000, 5_000, 9_000, 9_000, 100, 9_000, 1_000, 1_000]):
        _interval(made, 2_000 * number, count)
        rooms.append(made.room())
    assert rooms == [0, 8192, 8192, 8192, 16384, 16384, 0, 0, 0, 0]


def test_a_compiled_book_has_tables() -> None:
    assert isinstance(BookSide(Side.BID).levels, LevelTable)
    assert isinstance(new_levels(), LevelTable)
    assert isinstance(Merger(Book()).pending[0], PendingTable)
    assert isinstance(new_pending(), PendingTable)


def test_prices_belong_elsewhere_in_another_process() -> None:
    """Or a producer could choose prices that all meet in one slot."""
    program = (
        "from depthcast.shared.level_table import LevelTable\n"
        "made = LevelTable(); made.update((price, 1) for price in range(100)); print(*made)"
    )
    surroundings = {name: value for name, value in os.environ.items() if name != "PYTHONHASHSEED"}
    orders = {
        subprocess.run(
            [sys.executable, "-c", program], env=surroundings, capture_output=True, check=True
        ).stdout
        for _ in range(3)
    }
    assert len(orders) == 3


@pytest.mark.parametrize("step", [1, 10, 1_000, 1 << 10, 1 << 20, 1 << 32, 1 << 40])
def test_regular_prices_do_not_crowd(step: int) -> None:
    made = LevelTable()
    made.update((number * step, 1) for number in range(1_000))
    assert made.longest_search() < 60


def test_prices_from_one_table_take_no_long_searches_in_another() -> None:
    table = LevelTable()
    table.update((price, 1) for price in range(100_000))
    other = LevelTable()
    for price in table:
        other[price] = 1
        if len(other) in (10, 100, 1_000, 10_000, 90_000):
            assert other.longest_search() < 500, len(other)
    assert other == table


MEMORY = """
import resource
from depthcast.shared.level_table import LevelTable
from depthcast.broadcaster.pending import PendingTable
for kind in (LevelTable, PendingTable):
    made = kind()
    held = resource.getrlimit(resource.RLIMIT_AS)
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 64_000_000, held[1]))
    number = 0
    try:
        while True:
            made[number] = number
            number += 1
    except MemoryError:
        pass
    resource.setrlimit(resource.RLIMIT_AS, held)
    assert len(made) == number > 10_000, (kind, len(made), number)
    assert all(made[price] == price for price in range(number)) and number not in made
    made[number] = 1
    assert len(made) == number + 1
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_without_memory_nothing_changes() -> None:
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
