"""A roster exactly at its limit of silence, and shares that are even to the last partition."""

from collections import Counter
from zlib import crc32

import pytest

from depthcast.ingestor.sharing import Roster, shares


@pytest.mark.parametrize("partitions", range(1, 9))
@pytest.mark.parametrize("members", [1, 2, 3, 5])
def test_everybody_has_an_even_share(partitions: int, members: int) -> None:
    names = [f"ingestor-{number}" for number in range(members)]
    counts = Counter(shares(partitions, names).values())
    least = partitions // members
    assert sorted(counts[name] for name in names) == [least] * (members - partitions % members) + [
        least + 1
    ] * (partitions % members)


def test_preference_spreads_what_is_taken_over() -> None:
    """Partitions of a member that left go to several others: each has its own order of preference."""
    names = ["a", "b", "c", "d"]
    held = shares(64, names)
    after = shares(64, names[1:], {partition: owner for partition, owner in held.items() if owner != "a"})
    moved = Counter(after[partition] for partition, owner in held.items() if owner == "a")
    assert set(moved) == {"b", "c", "d"}
    assert [
        partition for partition in held if held[partition] != "a" and held[partition] != after[partition]
    ] == []


@pytest.mark.parametrize(
    "names", [["a", "b", "c"], ["x1", "x2", "x3", "x4"], [f"host-{n}:7" for n in range(9)]]
)
def test_preference_is_the_same_in_every_version(names: list[str]) -> None:
    """During an upgrade, ingestors of two versions must compute the same shares."""
    assert shares(1, names) == {0: min(names, key=lambda name: crc32(f"{name}/0".encode()))}


class TestRoster:
    def test_silence_of_exactly_the_limit_is_gone(self) -> None:
        roster = Roster(alive_s=2.0)
        roster.update({"here": 0.0, "nearly": 1.75, "gone": 2.0}, now=100.0)
        assert roster.alive == roster.present == {"here", "nearly"}

    def test_nobody_is_known_before_the_first_listing(self) -> None:
        roster = Roster(alive_s=2.0)
        assert roster.alive == roster.present == frozenset()
        assert roster.alive_s == 2.0

    def test_a_later_word_counts_whatever_an_older_listing_says(self) -> None:
        roster = Roster(alive_s=2.0)
        roster.update({"a": 0.0}, now=100.0)
        roster.update({"a": 1.5}, now=100.5)
        roster.update({}, now=101.75)
        assert roster.alive == {"a"}
        roster.update({}, now=102.0)
        assert roster.alive == frozenset()

    def test_cut_off_for_exactly_the_limit_is_being_cut_off(self) -> None:
        roster = Roster(alive_s=2.0)
        roster.update({"a": 0.0}, now=100.0)
        roster.update({}, now=102.0)
        assert roster.alive == {"a"}

    def test_each_listing_in_time_lets_silence_grow(self) -> None:
        roster = Roster(alive_s=2.0)
        for now in (100.0, 101.0):
            roster.update({"a": now - 100.0}, now=now)
            assert roster.alive == {"a"}
        roster.update({"a": 2.0}, now=102.0)
        assert roster.alive == frozenset()

    def test_who_left_and_comes_back_is_there(self) -> None:
        roster = Roster(alive_s=2.0)
        roster.update({"a": -1.0}, now=100.0)
        assert roster.alive == roster.present == frozenset()
        roster.update({"a": 0.0}, now=100.1)
        assert roster.alive == roster.present == {"a"}
