"""A table of resting orders does what a dict does, and its columns say what it held."""

import subprocess
import sys
from random import Random
from typing import Any

import msgpack
import pytest

import depthcast.ingestor.order_table
from depthcast.ingestor.order_table import OrderTable, columns_of, new_orders, orders_from
from depthcast.shared.compiled import is_compiled

compiled_only = pytest.mark.skipif(
    not is_compiled(depthcast.ingestor.order_table), reason="as Python, resting orders are a dict"
)

NO_NUMBERS: list[Any] = ["", "1", "é", "x" * 64, 2**63, 2**64 - 1, -(2**63) - 1]
EDGES: list[Any] = [0, 1, -1, 2**63 - 1, -(2**63), *NO_NUMBERS]
ODD_KEYS: list[Any] = [1.0, True, 0.5, None, float("nan"), float("inf"), 2.0**63, b"1", (1,)]


def order_of(rng: Random) -> tuple[int, int]:
    return rng.choice([rng.randint(-9, 9), 2**53 - 1, 1 - 2**53]), rng.choice([1, 2, 2**53 - 1])


def id_of(rng: Random, spread: int) -> Any:
    return rng.choice(EDGES) if rng.random() < 0.2 else rng.randrange(-spread, spread)


@compiled_only
@pytest.mark.parametrize(("seed", "spread"), [(1, 4), (2, 40), (3, 1_000), (4, 2**62)])
def test_any_operations_leave_what_they_leave_of_a_dict(seed: int, spread: int) -> None:
    rng = Random(seed)
    table: Any = OrderTable()
    held: dict[Any, Any] = {}
    adds = 0.6
    for step in range(12_000):
        if step % 2_000 == 0:
            adds = rng.choice([0.2, 0.4, 0.6, 0.9])
        key = rng.choice([*held, 0]) if held and step % 7 == 0 else id_of(rng, spread)
        if rng.random() < adds:
            table[key] = held[key] = order_of(rng)
        elif rng.random() < 0.5:
            assert table.pop(key, None) == held.pop(key, None)
        elif key in held:
            del table[key], held[key]
        else:
            with pytest.raises(KeyError):
                del table[key]
        probe = id_of(rng, spread)
        assert (probe in table) == (probe in held)
        assert table.get(probe) == held.get(probe)
        assert len(table) == len(held)
        if step % 500 == 0:
            same(table, held)
            assert table.longest_search() < 200
        if rng.random() < 0.0005:
            table.clear()
            held.clear()
    same(table, held)


def same(table: Any, held: dict[Any, Any]) -> None:
    assert table == held
    assert dict(table.items()) == held
    assert set(table) == set(table.keys()) == held.keys()
    assert sorted(table.values()) == sorted(held.values())
    assert not held or table != {**held, "another": (1, 1)}
    ids, orders = columns_of(table)
    assert len(ids) == len(orders) == len(held)
    assert dict(zip(ids, orders, strict=True)) == held
    assert [ids[at] for at in range(len(ids))] == list(ids)
    assert orders[:] == list(orders)
    assert {type(number) for order in orders for number in order} <= {int}


@compiled_only
def test_keys_are_found_by_equality() -> None:
    table: Any = OrderTable()
    held: dict[Any, Any] = {}
    for key in EDGES:
        table[key] = held[key] = (len(held), 1)
    for key in ODD_KEYS:
        assert (key in table) == (key in held), key
        assert table.get(key, 5) == held.get(key, 5), key
    for key in ([], {}):
        with pytest.raises(TypeError):
            table.get(key)
        with pytest.raises(TypeError):
            key in table  # noqa: B015
    with pytest.raises(KeyError):
        table["nobody"]
    with pytest.raises(KeyError):
        table.pop(7)


@compiled_only
def test_what_is_no_order_is_not_kept() -> None:
    table: Any = OrderTable()
    for order in ((1, 0), (1, -1), (2**63, 1), (1, 2**63), (1, 1.5), ("1", 1), (1,), 5):
        for key in (1, "x"):
            with pytest.raises((ValueError, TypeError)):
                table[key] = order
    assert len(table) == 0


@compiled_only
def test_orders_that_come_or_go_end_an_iteration() -> None:
    table = OrderTable()
    table.update((key, (1, 1)) for key in range(50))
    keys = iter(table)
    next(keys)
    table[100] = (1, 1)
    with pytest.raises(RuntimeError):
        next(keys)
    keys = iter(table)
    next(keys)
    del table[100]
    with pytest.raises(RuntimeError):
        next(keys)


@pytest.mark.parametrize("count", [0, 1, 5, 2_345])
def test_columns_are_those_of_the_moment(count: int) -> None:
    rng = Random(count)
    held: Any = {at * 3: order_of(rng) for at in range(count)}
    held |= {f"x{at}": order_of(rng) for at in range(count // 2)}
    orders = new_orders()
    orders.update(held)
    ids, pairs = columns_of(orders)
    before = list(ids), list(pairs)
    assert dict(zip(*before, strict=True)) == held == orders_from(*before)
    orders["y"] = (1, 1)
    orders.pop(0, None)
    assert (list(ids), list(pairs)) == before
    assert (ids, pairs) == before
    for start in range(0, len(ids), 999):
        for column, whole in ((ids, before[0]), (pairs, before[1])):
            assert column[start : start + 999] == whole[start : start + 999]
            assert column[-start:-1] == whole[-start:-1]
            assert column[start::7] == whole[start::7]
            assert msgpack.packb(column[start : start + 999])
            assert column[start] == whole[start]
            assert column[-1] == whole[-1]
    for index in (len(ids), -len(ids) - 1):
        with pytest.raises(IndexError):
            ids[index]
    assert ids != [*before[0], 1]
    assert str(ids) == str(before[0])


@compiled_only
def test_orders_from_one_table_take_no_long_searches_in_another() -> None:
    table = OrderTable()
    table.update((key, (key, 1)) for key in range(100_000))
    other = OrderTable()
    for key in table:
        other[key] = table[key]
        if len(other) in (10, 100, 1_000, 10_000, 90_000):
            assert other.longest_search() < 500, len(other)
    assert other == table
    for key in list(other)[:99_900]:
        del other[key]
        if len(other) in (50_000, 10_000, 5_000, 1_000, 101):
            assert other.longest_search() < 500, len(other)
    assert len(other) == 100


MEMORY = """
import resource
from depthcast.ingestor.order_table import OrderTable

table = OrderTable()
held = resource.getrlimit(resource.RLIMIT_AS)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (16 << 20), held[1]))
number = 0
try:
    while True:
        table[number] = (number, 1)
        number += 1
except MemoryError:
    pass
resource.setrlimit(resource.RLIMIT_AS, held)
assert len(table) == number > 10_000, (len(table), number)
assert all(table[key] == (key, 1) for key in range(number)) and number not in table
table[number] = (1, 1)
assert len(table) == number + 1
"""


@compiled_only
@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_without_memory_nothing_changes() -> None:
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
