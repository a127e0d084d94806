"""Slots of keys, and tags whose slots are evenly spaced."""

from collections import Counter

import pytest

from depthcast.shared.keys import DeploymentKeys, default_tag
from depthcast.shared.slots import SLOTS, parse_tags, slot_of, spread_tags, tags_text, wanted_slot


@pytest.mark.parametrize(
    ("key", "slot"),
    [
        ("123456789", 12_739),  # the specification's
        ("foo", 12_182),
        ("{foo}:bar", 12_182),
        ("a{foo}{bar}", 12_182),
        ("{}foo", slot_of(b"{}foo")),
        ("{foo", slot_of(b"{foo")),
        ("", 0),
    ],
)
def test_the_slot_of_a_key(key: str, slot: int) -> None:
    assert slot_of(key) == slot_of(key.encode()) == slot


def test_braces_without_a_tag_do_not_count() -> None:
    assert slot_of("{}foo") != slot_of("foo")
    assert slot_of("{foo") != slot_of("foo")
    assert slot_of("}{foo}") == slot_of("foo")


@pytest.mark.parametrize("partitions", [1, 2, 3, 8, 16, 50])
def test_tags_are_different_and_have_the_wanted_slots(partitions: int) -> None:
    tags = list(spread_tags("depthcast", partitions))
    assert [slot_of(f"{tag}:events") for tag in tags] == [
        wanted_slot(n, partitions) for n in range(partitions)
    ]
    assert parse_tags(tags_text(tags).encode(), partitions) == tuple(tags)


def test_masters_with_equal_ranges_get_equal_numbers_of_partitions() -> None:
    for masters in range(1, 25):
        for partitions in range(1, 257):
            counts = [0] * masters
            for number in range(partitions):
                counts[wanted_slot(number, partitions) * masters // SLOTS] += 1
            assert max(counts) - min(counts) <= 1, (masters, partitions, counts)


def test_tags_without_an_ending_would_be_spread_unevenly() -> None:
    masters = Counter(slot_of(default_tag("depthcast", number)) * 6 // SLOTS for number in range(16))
    assert max(masters.values()) == 5  # as decision 44 says


def test_keys_that_one_step_touches_share_a_slot() -> None:
    keys = DeploymentKeys("eu", clustered=True).deployed(3, spread_tags("eu", 3))
    whole = {keys.meta, keys.instruments, keys.incarnation}
    assert len({slot_of(key) for key in whole}) == 1
    for number in range(3):
        partition = keys.partition(number)
        own = {partition.events, partition.deltas, partition.snapshots("X"), keys.producer("p", number)}
        assert {slot_of(key) for key in own} == {wanted_slot(number, 3)}
    assert slot_of(keys.sources_of("LEV")) == slot_of(keys.partition(2).events)  # crc32 mod 3
    assert keys.sources_of("LEV") in keys.all_sources()
