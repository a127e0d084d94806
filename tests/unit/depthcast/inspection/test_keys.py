"""Every key of ours is known, and every key that is nearly one of ours is found."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthcast.inspection.keys import DEPLOYMENT_TYPES, PARTITION_TYPES, SYMBOL_TYPES, use_of
from depthcast.shared.keys import DeploymentKeys, PartitionKeys

PREFIX = "depthcast"
KEYS = DeploymentKeys(PREFIX)


def names_of(kind: type) -> set[str]:
    """The last part of every key that a class of keys makes without an argument."""
    return {
        name
        for name, value in vars(kind).items()
        if isinstance(value, property) and name not in ("tag", "base")
    }


def test_every_key_that_we_make_is_known() -> None:
    assert names_of(DeploymentKeys) <= DEPLOYMENT_TYPES.keys()
    assert names_of(PartitionKeys) <= PARTITION_TYPES.keys()
    for name, kind in DEPLOYMENT_TYPES.items():
        assert use_of(f"{PREFIX}:{name}", PREFIX, 4, ()) == (kind, "", "", "")
    for number in range(4):
        partition = KEYS.partition(number)
        for name, kind in PARTITION_TYPES.items():
            assert use_of(f"{partition.tag}:{name}", PREFIX, 4, ()) == (kind, "", "", "")
    assert use_of(KEYS.partition(0).snapshots("BTC-USD"), PREFIX, 4, ()) == ("stream", "", "", "")
    assert use_of(KEYS.partition(3).checkpoint("ETH-USD"), PREFIX, 4, ()) == ("string", "", "", "")
    assert SYMBOL_TYPES.keys() == {"snapshots", "checkpoint"}


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("depthcast:0:events", "{depthcast:0}:events"),
        ("{depthcast}:0:events", "{depthcast:0}:events"),
        ("depthcast:{0}:events", "{depthcast:0}:events"),
        ("{depthcast:0:events}", "{depthcast:0}:events"),
        ("{depthcast:0}events", "{depthcast:0}:events"),
        ("{depthcast:0}:event", "{depthcast:0}:events"),
        ("{Depthcast:3}:events", "{depthcast:3}:events"),
        ("{depthcast:0}:EVENTS", "{depthcast:0}:events"),
        ("{depthcast:00}:events", "{depthcast:0}:events"),
        ("{depthcast: 1}:events", "{depthcast:1}:events"),
        ("depthcast_0_events", "{depthcast:0}:events"),
        ("depthcast-0-events", "{depthcast:0}:events"),
        ("depthcast:events", "{depthcast:<p>}:events"),
        ("depthcast:9:events", "{depthcast:<p>}:events"),
        ("depthcast:Instruments", "depthcast:instruments"),
        ("depthcast:instrument", "depthcast:instruments"),
        ("{depthcast}:instruments", "depthcast:instruments"),
    ],
)
def test_a_key_that_is_nearly_one_of_ours_is_named_with_the_right_one(name: str, right: str) -> None:
    use = use_of(name, PREFIX, 4, ())
    assert use is not None
    assert use.problem == "nobody reads this key"
    assert right in use.remedy


@given(
    number=st.integers(0, 10**6 - 1), partitions=st.integers(1, 64), kind=st.sampled_from([*PARTITION_TYPES])
)
def test_a_partition_exists_or_is_said_not_to(number: int, partitions: int, kind: str) -> None:
    use = use_of(f"{{{PREFIX}:{number}}}:{kind}", PREFIX, partitions, ())
    assert use is not None
    assert use.type == PARTITION_TYPES[kind]
    assert bool(use.problem) is (number >= partitions)


@given(st.text(max_size=12), st.text(max_size=12))
def test_no_key_under_our_prefix_goes_unnoticed(before: str, after: str) -> None:
    known = {*DEPLOYMENT_TYPES, *PARTITION_TYPES}
    name = f"{{{PREFIX}:{before}}}:{after}"
    use = use_of(name, PREFIX, 4, ())
    if "{" not in before and "}" not in before:
        assert use is not None
        is_ours = before in {"0", "1", "2", "3"} and (after in known or ":" in after)
        assert bool(use.problem) or is_ours


@pytest.mark.parametrize(
    "name", ["depthcasting", "app:events", "other", "x:depthcast:0:events:y", "", "events"]
)
def test_keys_of_others_are_none_of_our_business(name: str) -> None:
    assert use_of(name, PREFIX, 4, ()) is None


def test_input_with_a_prefix_that_no_deployment_has_is_found() -> None:
    use = use_of("{depthcats:0}:events", PREFIX, 4, ())
    assert use is not None
    assert "'depthcats'" in use.problem
    assert use.if_type == "stream"
    assert use_of("{depthcats:0}:events", PREFIX, 4, ["depthcats"]) is None


def test_a_deployment_whose_prefix_begins_with_ours_keeps_its_keys() -> None:
    for name in ("depthcast:eu:meta", "{depthcast:eu:0}:events", "{depthcast:eu:0}:snapshots:BTC-USD"):
        assert use_of(name, PREFIX, 4, ["depthcast:eu"]) is None
        assert use_of(name, PREFIX, 4, ()) is not None
    assert use_of("{depthcast:eu:0}:events", "depthcast:eu", 1, ["depthcast"]) == ("stream", "", "", "")


def test_a_book_in_another_partition_than_its_symbols_is_found() -> None:
    use = use_of(KEYS.partition(1).snapshots("BTC-USD"), PREFIX, 4, ())
    assert use is not None
    assert "does not belong to partition 1" in use.problem
