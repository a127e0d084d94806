"""Bad demands, machines, numbers and costs are refused, each by name."""

import math
from typing import Any

import pytest

from depthcast.capacity.checks import parse_count
from depthcast.capacity.costs import UnitCosts
from depthcast.capacity.demand import DEMAND_BOUNDS, MACHINE_BOUNDS, Demand, Machines
from depthcast.shared.errors import SettingsError
from tests.unit.depthcast.capacity.made_up import COSTS


@pytest.mark.parametrize("name", DEMAND_BOUNDS)
@pytest.mark.parametrize("value", [-1, math.nan, math.inf, True, "3"])
def test_a_bad_demand_is_named(name: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=rf"^{name}: ") as caught:
        Demand(**{name: value})
    assert caught.value.name == name


@pytest.mark.parametrize("name", MACHINE_BOUNDS)
@pytest.mark.parametrize("value", [-1, math.nan, 1e12])
def test_bad_machines_are_named(name: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=rf"^{name}: "):
        Machines(**{name: value})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"clients": 1.5}, "clients: 1.5 must be a whole number"),
        ({"symbols": 5, "subscriptions": 6}, "subscriptions: 6 must be at most symbols, 5"),
        ({"broadcasts_per_s": 21}, "broadcasts_per_s: 21 must be at most 20, one in 50 ms"),
        ({"popular_per_s": 21}, "popular_per_s: 21 must be at most 20, one in 50 ms"),
    ],
)
def test_what_contradicts_itself_is_refused(values: Any, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Demand(**values)
    assert str(caught.value) == said


def test_no_more_than_70_percent_of_a_machine_is_planned() -> None:
    assert Machines(share=0.7).network_bytes_s == pytest.approx(0.7 * 10e9 / 8)
    with pytest.raises(SettingsError, match=r"share: 0.71 must be from 0.05 to 0.7"):
        Machines(share=0.71)
    with pytest.raises(SettingsError, match="readers: 'all' must be one of worker, machine"):
        Machines(readers="all")


@pytest.mark.parametrize(
    ("text", "value"), [("10k", 10_000), ("1.5M", 1_500_000), ("100_000", 1e5), ("1,000", 1e3), ("0.5", 0.5)]
)
def test_numbers_as_people_write_them(text: str, value: float) -> None:
    assert parse_count("--clients", text) == value


@pytest.mark.parametrize("text", ["", "k", "ten", "1T", "nan", "inf", "1 0 k k"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="--clients: "):
        parse_count("--clients", text)


def test_costs_are_read_as_they_were_written() -> None:
    assert UnitCosts.from_json(COSTS.to_json()) == COSTS


def test_bad_costs_are_named() -> None:
    good = COSTS.to_json()
    cases: list[tuple[Any, str]] = [
        (None, "costs.version: None must be 2"),
        ({**good, "version": 1}, "costs.version: 1 must be 2"),
        ({name: part for name, part in good.items() if name != "redis"}, "costs.redis: None is missing"),
        ({**good, "relay": {}}, "costs.relay: 'relay' is not known"),
        ({**good, "redis": 3}, "costs.redis: 3 must be a table"),
        ({**good, "redis": {**good["redis"], "append": -1}}, "costs.redis.append: -1 must be a finite"),
        ({**good, "redis": {**good["redis"], "append": math.nan}}, "costs.redis.append: nan must be"),
        ({**good, "redis": {**good["redis"], "fork": 1}}, "costs.redis.fork: 'fork' is not known"),
    ]
    for value, said in cases:
        with pytest.raises(SettingsError) as caught:
            UnitCosts.from_json(value)
        assert str(caught.value).startswith(said)
