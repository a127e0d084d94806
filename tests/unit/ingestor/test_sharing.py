"""Partitions are spread evenly and seldom move; a member that Redis merely forgot is not gone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthcast.ingestor.sharing import Roster, shares

NAMES = st.sets(st.text("abcdef0123456789", min_size=4, max_size=8), min_size=1, max_size=9)


@given(st.integers(1, 40), NAMES, st.data())
def test_everybody_works_out_the_same_even_shares(
    partitions: int, members: set[str], data: st.DataObject
) -> None:
    holders = st.sampled_from([*sorted(members), "gone"])
    held = data.draw(st.dictionaries(st.integers(0, partitions - 1), holders))
    owners = shares(partitions, members, held)
    assert owners == shares(partitions, sorted(members, reverse=True), held)
    assert sorted(owners) == list(range(partitions))
    counts = [list(owners.values()).count(member) for member in members]
    assert max(counts) - min(counts) <= 1
    assert shares(partitions, members, owners) == owners, "once shared out, nothing moves"


def test_nobody_leads_without_members() -> None:
    assert shares(4, []) == {}


@pytest.mark.parametrize("partitions", [1, 6, 64])
def test_only_what_must_moves_when_a_member_comes_or_goes(partitions: int) -> None:
    names = [f"ingestor-{number}" for number in range(9)]
    held = shares(partitions, names[:1])
    for count in [*range(2, 10), *range(8, 0, -1)]:
        now = shares(partitions, names[:count], held)
        kept = {partition: owner for partition, owner in held.items() if owner in names[:count]}
        counts = [list(kept.values()).count(name) for name in names[:count]]
        most = -(-partitions // count)
        must = (partitions - len(kept)) + sum(max(0, number - most) for number in counts)
        moved = sum(held[partition] != now[partition] for partition in range(partitions))
        # The odd ones: that some hold one more than others is even, but who those are may have to change.
        assert must <= moved <= must + count
        held = now


def test_who_gets_a_partition_depends_on_more_than_the_order_of_names() -> None:
    owners = [shares(1, [f"a{number}", f"b{number}"])[0][0] for number in range(40)]
    assert 5 < owners.count("a") < 35


def test_each_partition_has_its_own_order_of_preference() -> None:
    owners = shares(200, [f"ingestor-{number}" for number in range(100)])
    neighbours = sum(owners[partition] == owners[partition + 1] for partition in range(0, 200, 2))
    assert neighbours < 10


def test_the_only_partition_stays_with_its_leader() -> None:
    assert shares(1, ["a", "b", "c"], {0: "b"}) == {0: "b"}


class TestRoster:
    @pytest.fixture
    def roster(self) -> Roster:
        roster = Roster(alive_s=2.0)
        roster.update({"a": 0.1, "b": 1.9, "old": 2.1}, now=100.0)
        assert roster.alive == roster.present == {"a", "b"}
        return roster

    def test_a_silent_member_is_gone_after_a_while(self, roster: Roster) -> None:
        roster.update({"a": 0.2, "b": 2.3}, now=100.4)
        assert roster.alive == roster.present == {"a"}

    def test_one_that_left_the_list_is_living_until_it_is_silent_for_long(self, roster: Roster) -> None:
        roster.update({"b": 0.1}, now=100.4)
        assert roster.alive == {"a", "b"}
        assert roster.present == {"b"}
        roster.update({"b": 0.1}, now=102.0)
        assert roster.alive == {"b"}

    def test_one_that_says_that_it_leaves_is_gone_at_once(self, roster: Roster) -> None:
        roster.update({"a": 0.1, "b": -1.0}, now=100.05)
        assert roster.alive == {"a"}

    def test_a_list_that_redis_lost_moves_nothing(self, roster: Roster) -> None:
        roster.update({}, now=100.05)
        assert roster.alive == {"a", "b"}
        assert not roster.present
        roster.update({"a": 0.0, "b": 0.3}, now=100.4)
        assert roster.alive == roster.present == {"a", "b"}

    def test_after_being_cut_off_others_get_the_time_to_be_heard_of(self, roster: Roster) -> None:
        roster.update({"a": 60.0, "b": 60.0}, now=160.0)
        assert roster.alive == {"a", "b"}
        assert roster.present == frozenset()
        roster.update({"a": 0.1, "b": 61.0}, now=161.0)
        roster.update({"a": 0.1, "b": 62.0}, now=162.0)
        assert roster.alive == {"a"}
